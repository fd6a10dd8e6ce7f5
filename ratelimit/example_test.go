package ratelimit_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/policy"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A Receiver behind a reverse proxy on this machine. The limit by remote address is far
// below the default here, so that it shows.
func Example() {
	limiter, err := ratelimit.New(ratelimit.Config{
		Remote: ratelimit.Limit{Every: time.Minute, Burst: 2},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	seed := make([]byte, ed25519.SeedSize) // a real one is secret, see fedinvite.GenerateKey
	signer, err := fedinvite.NewSigner("b.example", "ed25519:1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		fmt.Println(err)
		return
	}
	keys := fedinvite.KeyMap{} // a real server has a key ring
	isUser := func(_ context.Context, userID string) (bool, error) { return userID == "@bob:b.example", nil }
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return signer, nil },
		Keys:        keys,
		Credentials: xmatrix.Verifier{Keys: keys}.Credentials,
		Admit:       limiter.Admit,
		Policy:      policy.Chain(policy.InviteeExists(isUser), policy.BlockServers("evil.example"), limiter.Policy),
		Handler:     fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	server := httptest.NewServer(ratelimit.ForwardedFor(receiver, netip.MustParsePrefix("127.0.0.0/8")))
	defer server.Close()

	// Requests of a server whose key nobody knows.
	stranger, err := fedinvite.NewSigner("a.example", "ed25519:1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		fmt.Println(err)
		return
	}
	body := []byte(`{"room_version":"11","event":{}}`)
	for _, client := range []string{"192.0.2.1", "192.0.2.1", "192.0.2.1", "192.0.2.2"} {
		req, err := http.NewRequest("PUT", server.URL+"/_matrix/federation/v2/invite/!r:a.example/$e", bytes.NewReader(body))
		if err != nil {
			fmt.Println(err)
			return
		}
		if err := xmatrix.Sign(context.Background(), req, body, "b.example", stranger); err != nil {
			fmt.Println(err)
			return
		}
		req.Header.Set("X-Forwarded-For", client)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		res.Body.Close()
		fmt.Println(client, res.Status)
	}
	// Output:
	// 192.0.2.1 401 Unauthorized
	// 192.0.2.1 401 Unauthorized
	// 192.0.2.1 429 Too Many Requests
	// 192.0.2.2 401 Unauthorized
}

// Limits of one's own: no limit for rooms, a stricter one for invitees.
func ExampleConfig() {
	limiter, err := ratelimit.New(ratelimit.Config{
		Invitee: ratelimit.Limit{Every: 5 * time.Minute, Burst: 5},
		Room:    ratelimit.Limit{Burst: -1},
	})
	fmt.Println(limiter != nil, err)

	_, err = ratelimit.New(ratelimit.Config{Sender: ratelimit.Limit{Burst: 5}})
	fmt.Println(err)
	// Output:
	// true <nil>
	// ratelimit: Config.Sender.Every must be positive, and a year at most
}
