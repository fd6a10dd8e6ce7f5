package fedclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// A server that does not answer is left alone for a while, until it is heard from.
func ExampleClient_Heard() {
	clock := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) }
	backoff, err := fedclient.NewBackoff(fedclient.BackoffConfig{
		First: 10 * time.Second, Now: clock, Random: func() float64 { return 0 },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	down := errors.New("connection refused")
	client, err := fedclient.New(fedclient.Config{
		UserAgent: "example/1.0", Backoff: backoff, Retries: -1,
		Transport: tripper(func(*http.Request) (*http.Response, error) { return nil, down }),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	ask := func() {
		_, err := client.Do(ctx, fedclient.Request{
			Method: http.MethodGet, Destination: "b.example", Path: []string{"_matrix", "federation", "v1", "version"},
		})
		fmt.Println(err)
	}
	ask()
	ask()

	// In Done of a fedinvite.Config.
	done := func(ctx context.Context, _ *fedinvite.Delivery, inv *fedinvite.Invite, _ error) {
		if inv != nil {
			client.Heard(ctx, inv.Origin)
		}
	}
	done(ctx, nil, &fedinvite.Invite{Origin: "b.example"}, nil)
	ask()

	// Output:
	// server cannot be reached: GET b.example: connection refused
	// server cannot be reached: b.example is left alone until 2026-03-01T12:00:10Z
	// server cannot be reached: GET b.example: connection refused
}
