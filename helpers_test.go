package fedinvite_test

import (
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/testkey"
)

// newSigner returns a Signer with a key made from the server's name, so that
// every run signs alike.
func newSigner(t testing.TB, server fedinvite.ServerName) fedinvite.Signer {
	t.Helper()
	return testkey.Signer(t, server, "ed25519:1")
}

func newSignerID(t testing.TB, server fedinvite.ServerName, id fedinvite.KeyID) fedinvite.Signer {
	t.Helper()
	return testkey.Signer(t, server, id)
}
