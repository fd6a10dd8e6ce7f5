package invitetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// What does a key ring, here package keyring, make of the documents that servers publish?
func ExampleKeyDocument() {
	signer := invitetest.Signer("a.example")
	tomorrow := time.Now().Add(24 * time.Hour)
	for _, document := range []json.RawMessage{
		invitetest.KeyDocument(signer, tomorrow),
		invitetest.KeyDocument(signer, tomorrow, invitetest.Set("b.example", "server_name")),
		invitetest.KeyDocument(signer, tomorrow, invitetest.Drop("verify_keys")),
		invitetest.Change(invitetest.KeyDocument(signer, tomorrow), invitetest.Drop("signatures")),
	} {
		ring, err := keyring.New(keyring.Config{
			Fetcher: keyring.FetcherFunc(func(context.Context, fedinvite.ServerName) ([]byte, error) { return document, nil }),
		})
		if err != nil {
			fmt.Println(err)
			return
		}
		_, err = ring.VerifyKey(context.Background(), "a.example", invitetest.DefaultKey, time.Now())
		fmt.Println(err == nil, errors.Is(err, fedinvite.ErrUnknownKey))
	}
	// Output:
	// true false
	// false true
	// false true
	// false true
}
