package invitetest

import (
	"crypto/ed25519"
	"crypto/sha256"
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
)

// DefaultKey is the ID of the key that servers of this package sign with.
const DefaultKey fedinvite.KeyID = "ed25519:1"

// Signer returns the signer of a server with [DefaultKey]. Its key depends on the server's
// name only. It panics if the name is malformed.
func Signer(server fedinvite.ServerName) fedinvite.Signer {
	return SignerWithKey(server, DefaultKey)
}

// SignerWithKey is [Signer] with another key, which depends on name and key ID only. It
// panics if one of them is malformed.
func SignerWithKey(server fedinvite.ServerName, id fedinvite.KeyID) fedinvite.Signer {
	return signer(server, id, string(server)+string(id))
}

// Impostor returns a signer who gives another key out for that of s: server name and key ID
// are the same. Its key depends on those only.
func Impostor(s fedinvite.Signer) fedinvite.Signer {
	return signer(s.ServerName(), s.KeyID(), "impostor of "+string(s.ServerName())+string(s.KeyID()))
}

func signer(server fedinvite.ServerName, id fedinvite.KeyID, secret string) fedinvite.Signer {
	seed := sha256.Sum256([]byte(secret))
	s, err := fedinvite.NewSigner(server, id, ed25519.NewKeyFromSeed(seed[:]))
	if err != nil {
		panic(fmt.Sprintf("invitetest: signer of %q with key %q: %v", server, id, err))
	}
	return s
}

// Keys returns the keys of [Signer] for servers, valid without end: a
// [fedinvite.KeySource] for tests that need no network.
func Keys(servers ...fedinvite.ServerName) fedinvite.KeyMap {
	keys := fedinvite.KeyMap{}
	for _, server := range servers {
		keys.Add(Signer(server))
	}
	return keys
}

// serverOf returns the server of a user ID, or panics.
func serverOf(userID string) fedinvite.ServerName {
	_, server, err := fedinvite.ParseUserID(userID)
	if err != nil {
		panic(fmt.Sprintf("invitetest: user ID %q: %v", userID, err))
	}
	return server
}
