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
	publisher, err := keyring.NewPublishHandler(keyring.PublishConfig{Local: keyring.Signers(signer), Now: time.Now})
	if err != nil {
		fmt.Println(err)
		return
	}

	ring, err := keyring.New(keyring.Config{Fetcher: direct{publisher}, Now: time.Now})
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
