package invitetest

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// serverKeys are the keys that a server knows, though it may forget them.
type serverKeys struct{ s *Server }

func (k serverKeys) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	k.s.mu.Lock()
	ring := k.s.ring
	k.s.mu.Unlock()
	return ring.VerifyKey(ctx, server, id, at)
}

// forgetKeys has the server ask others anew for their keys.
func (s *Server) forgetKeys() {
	ring := must(s.newRing())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ring = ring
}

func (s *Server) newRing() (*keyring.Ring, error) {
	return keyring.New(keyring.Config{Fetcher: s.client, Now: s.now, Local: s.local, Timeout: keyTimeout})
}

// local returns the server's keys; it is a [keyring.Local].
func (s *Server) local(_ context.Context, server fedinvite.ServerName) (keyring.LocalKeys, error) {
	if server != s.name {
		return keyring.LocalKeys{}, fmt.Errorf("%q: %w", server, fedinvite.ErrNotLocal)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return keyring.LocalKeys{Signers: []fedinvite.Signer{s.signer}, Old: maps.Clone(s.old)}, nil
}

// RotateKey gives the server a new signing key, "ed25519:2", "ed25519:3" and so on, and
// returns it. The old one signs no more and is published as expired by now.
func (s *Server) RotateKey() fedinvite.Signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.old == nil {
		s.old = map[fedinvite.KeyID]fedinvite.VerifyKey{}
	}
	s.old[s.signer.KeyID()] = fedinvite.VerifyKey{Public: s.signer.Public(), ExpiredAt: s.now()}
	for i := len(s.old) + 1; ; i++ {
		id := fedinvite.KeyID(fmt.Sprintf("ed25519:%d", i))
		if _, used := s.old[id]; !used {
			s.signer = SignerWithKey(s.name, id)
			return s.signer
		}
	}
}

// WithKeys returns a handler that publishes the keys of signers, as they are now, and leaves
// all else to h: a homeserver is made of a [fedinvite.Receiver] so.
//
//	peer.Introduce("mine.example", invitetest.WithKeys(receiver, signer))
//
// It panics if there is no signer.
func WithKeys(h http.Handler, signers ...fedinvite.Signer) http.Handler {
	return withKeys(h, time.Now, signers...)
}

func withKeys(h http.Handler, now func() time.Time, signers ...fedinvite.Signer) http.Handler {
	if len(signers) == 0 {
		panic("invitetest: WithKeys without a signer")
	}
	publish := must(keyring.NewPublishHandler(keyring.PublishConfig{
		Local: keyring.Signers(signers...), Now: now, Default: signers[0].ServerName(),
	}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, keysPath) {
			publish.ServeHTTP(w, r)
			return
		}
		h.ServeHTTP(w, r)
	})
}
