package keyring_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http/httptest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// direct is a Fetcher without a network; a server uses fedclient.Client.
type direct struct{ server *keyring.PublishHandler }

func (d direct) FetchServerKeys(_ context.Context, name fedinvite.ServerName) ([]byte, error) {
	w := httptest.NewRecorder()
	d.server.ServeHTTP(w, httptest.NewRequest("GET", "https://"+string(name)+"/_matrix/key/v2/server", nil))
	return w.Body.Bytes(), nil
}

// One server publishes its keys, another looks them up.
func Example() {
	seed := make([]byte, ed25519.SeedSize) // a real one is secret, see fedinvite.GenerateKey
	signer, err := fedinvite.NewSigner("a.example", "ed25519:1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		fmt.Println(err)
		return
	}
	publisher, err := keyring.NewPublishHandler(keyring.PublishConfig{Local: keyring.Signers(signer)})
	if err != nil {
		fmt.Println(err)
		return
	}

	ring, err := keyring.New(keyring.Config{Fetcher: direct{publisher}})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	key, err := ring.VerifyKey(ctx, "a.example", "ed25519:1", time.Now())
	fmt.Println(key.Public.Equal(signer.Public()), key.ValidAt(time.Now()), err)
	_, err = ring.VerifyKey(ctx, "a.example", "ed25519:2", time.Now())
	fmt.Println(errors.Is(err, fedinvite.ErrUnknownKey))
	// Output:
	// true true <nil>
	// true
}

// The servers of a big room, before its events are checked: a hundred in each question
// to the notary, and those that it does not know are asked themselves. What was found is
// in the Store when the program starts again.
func ExampleRing_Prefetch() {
	notary, err := keyring.ParseNotary("notary.example ed25519:a_key Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw") // as its operator tells it
	if err != nil {
		fmt.Println(err)
		return
	}
	down := errors.New("no route to host")
	ring, err := keyring.New(keyring.Config{
		Fetcher:       keyring.FetcherFunc(func(context.Context, fedinvite.ServerName) ([]byte, error) { return nil, down }),
		NotaryFetcher: silent{},
		Notaries:      []keyring.Notary{notary},
		Store:         keyring.NewMemory(0), // or a Store of package sqlstore
		Report:        func(server fedinvite.ServerName, err error) { fmt.Println("reported:", err) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	err = ring.Prefetch(context.Background(), []fedinvite.ServerName{"a.example", "not a name"})
	var failed keyring.PrefetchError
	if errors.As(err, &failed) {
		for _, f := range failed {
			fmt.Println(f)
		}
	}
	// Output:
	// keyring: fetching keys: "a.example": no route to host
	// malformed identifier: server name "not a name"
}

// silent is a NotaryFetcher whose notaries know nothing; a server uses fedclient.Client.
type silent struct{}

func (silent) QueryServerKeys(context.Context, fedinvite.ServerName, []byte) ([]byte, error) {
	return []byte(`{"server_keys":[]}`), nil
}
