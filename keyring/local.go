package keyring

import (
	"context"
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
)

// LocalKeys are the keys of one of our servers.
type LocalKeys struct {
	// Signers are the keys in use, one at least; the first is the one that signs
	// events and requests. The published document lists and is signed by all of them.
	Signers []fedinvite.Signer
	// Old are keys that sign no longer, with Public and ExpiredAt: they verify
	// events from before. A key ID of Signers must not be among them.
	Old map[fedinvite.KeyID]fedinvite.VerifyKey
}

// Local returns the keys of one of our servers, or an error that wraps
// [fedinvite.ErrNotLocal] if server is not ours. It is called for every look-up and
// every published document, so that keys may change; it should be fast, and safe
// for concurrent use.
type Local func(ctx context.Context, server fedinvite.ServerName) (LocalKeys, error)

// Signers returns a [Local] for keys that never change. Several signers may be of
// one server.
func Signers(signers ...fedinvite.Signer) Local {
	servers := make(map[fedinvite.ServerName]LocalKeys)
	for _, s := range signers {
		keys := servers[s.ServerName()]
		keys.Signers = append(keys.Signers, s)
		servers[s.ServerName()] = keys
	}
	return func(_ context.Context, server fedinvite.ServerName) (LocalKeys, error) {
		keys, ok := servers[server]
		if !ok {
			return LocalKeys{}, fedinvite.ErrNotLocal // bare, because it is made for every key of others
		}
		return keys, nil
	}
}

// Signer returns the first of the signers of server. It fits the field Signer of
// [fedinvite.Config]. Its errors wrap those of l.
func (l Local) Signer(ctx context.Context, server fedinvite.ServerName) (fedinvite.Signer, error) {
	keys, err := l(ctx, server)
	if err != nil {
		return nil, fmt.Errorf("keyring: signer of %q: %w", server, err)
	}
	if len(keys.Signers) == 0 {
		return nil, fmt.Errorf("keyring: no signer for %q", server)
	}
	return keys.Signers[0], nil
}

func (k LocalKeys) find(id fedinvite.KeyID) (fedinvite.VerifyKey, error) {
	for _, s := range k.Signers {
		if s.KeyID() == id {
			return fedinvite.VerifyKey{Public: s.Public()}, nil
		}
	}
	if key, ok := k.Old[id]; ok {
		if key.ExpiredAt.IsZero() {
			return fedinvite.VerifyKey{}, fmt.Errorf("keyring: our old key %q has no ExpiredAt", id)
		}
		return key, nil
	}
	return fedinvite.VerifyKey{}, fmt.Errorf("%w: %q is no key of ours", fedinvite.ErrUnknownKey, id)
}
