package fedinvite_test

import (
	"crypto/sha256"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"golang.org/x/crypto/ed25519"
)

// newSigner returns a Signer with a key made from the server's name, so that
// every run signs alike.
func newSigner(t testing.TB, server fedinvite.ServerName) fedinvite.Signer {
	t.Helper()
	return newSignerID(t, server, "ed25519:1")
}

func newSignerID(t testing.TB, server fedinvite.ServerName, id fedinvite.KeyID) fedinvite.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(string(server) + string(id)))
	s, err := fedinvite.NewSigner(server, id, ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
