package keyring

import (
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// ParseNotary reads a [Notary] from one line of a configuration: its server name, and one
// or more times the ID of a key and the key in base64, all separated by white space:
//
//	matrix.org ed25519:auto Noi6WqcDj0QmPxCNQqgezwTlBKrfqehY1u2FyWP9uYw
//
// That is what Synapse's trusted_key_servers has as server_name and verify_keys. Whoever
// runs the notary tells its keys, on a way that can be trusted.
//
// Errors wrap [fedinvite.ErrIdentifier] if the name is no server name or the ID not one of
// an Ed25519 key, and [fedinvite.ErrBadKey] if the key cannot be one.
func ParseNotary(line string) (Notary, error) {
	fields := strings.Fields(line)
	if len(fields) < 3 || len(fields)%2 == 0 {
		return Notary{}, errors.New(`keyring: a notary is to be of the form "SERVER ed25519:ID BASE64", with one or more keys`)
	}
	server, err := fedinvite.ParseServerName(fields[0])
	if err != nil {
		return Notary{}, fmt.Errorf("keyring: notary: %w", err)
	}
	n := Notary{Server: server, Keys: make(map[fedinvite.KeyID]ed25519.PublicKey)}
	for i := 1; i < len(fields); i += 2 {
		if err := n.pin(fedinvite.KeyID(fields[i]), fields[i+1]); err != nil {
			return Notary{}, fmt.Errorf("keyring: notary %q: %w", server, err)
		}
	}
	return n, nil
}

// pin adds a key.
func (n Notary) pin(id fedinvite.KeyID, encoded string) error {
	if !usableID(id) {
		return fmt.Errorf("%w: key ID %q", fedinvite.ErrIdentifier, id)
	}
	if _, again := n.Keys[id]; again {
		return fmt.Errorf("the key %q is there twice", id)
	}
	key, err := fedinvite.ParsePublicKey(encoded)
	if err != nil {
		return fmt.Errorf("key %q: %w", id, err)
	}
	n.Keys[id] = key
	return nil
}
