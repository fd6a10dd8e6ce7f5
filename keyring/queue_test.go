package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/testkey"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// slowNetwork answers every request with a good document, after a while.
func slowNetwork(t *testing.T, delay time.Duration) keyring.Fetcher {
	return keyring.FetcherFunc(func(ctx context.Context, name fedinvite.ServerName) ([]byte, error) {
		select {
		case <-time.After(delay):
			s := testkey.Signer(t, name, "ed25519:1")
			return documentOf(name, time.Now().Add(day), s).signed(t, s), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
}

// A server that has to wait for its turn still has all of its time, and is not
// blamed for the wait.
func TestWaitingForATurnTakesNoTimeFromTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, err := keyring.New(keyring.Config{Fetcher: slowNetwork(t, 9*time.Second), Now: time.Now, MaxFetches: 1})
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error, 2)
		for _, name := range []fedinvite.ServerName{"a.ex", "b.ex"} {
			go func() {
				_, err := ring.VerifyKey(t.Context(), name, "ed25519:1", time.Time{})
				results <- err
			}()
		}
		for range 2 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
	})
}

// Whoever opens many connections must not pile up look-ups without end.
func TestLookUpsThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, err := keyring.New(keyring.Config{Fetcher: slowNetwork(t, 5*time.Second), Now: time.Now, MaxFetches: 1})
		if err != nil {
			t.Fatal(err)
		}
		const n, atOnce = 50, 1 + 16
		results := make(chan error, n)
		begin := time.Now()
		for i := range n {
			go func() {
				_, err := ring.VerifyKey(t.Context(), fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)), "ed25519:1", time.Time{})
				results <- err
			}()
		}
		for i := range n {
			err := <-results
			if errors.Is(err, fedinvite.ErrUnknownKey) {
				t.Errorf("an overload is no answer of the server: %v", err)
			}
			if refused := i < n-atOnce; refused && (err == nil || time.Since(begin) != 0) {
				t.Fatalf("look-up %d: %v after %s, want a refusal at once", i, err, time.Since(begin))
			}
		}
		// Not held against those servers.
		if _, err := ring.VerifyKey(t.Context(), "s49.ex", "ed25519:1", time.Time{}); err != nil {
			t.Error(err)
		}
	})
}
