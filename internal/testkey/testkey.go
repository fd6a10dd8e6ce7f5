// Package testkey makes signing keys for the tests of this module.
package testkey

import (
	"crypto/ed25519"
	"crypto/sha256"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

// Signer returns a signer whose key depends on server and ID only, so that every run
// signs alike.
func Signer(t testing.TB, server fedinvite.ServerName, id fedinvite.KeyID) fedinvite.Signer {
	t.Helper()
	seed := sha256.Sum256([]byte(string(server) + string(id)))
	s, err := fedinvite.NewSigner(server, id, ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}
