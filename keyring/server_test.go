package keyring_test

import (
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// newServerScene returns a scene with one real server, a.ex, which publishes by the
// scene's clock.
func newServerScene(t *testing.T) (*scene, *invitetest.Server) {
	t.Helper()
	var peer *invitetest.Server
	s := newScene(t, func(c *keyring.Config) {
		peer = invitetest.NewServer(t, "a.ex", func(s *invitetest.ServerConfig) { s.Now = c.Now })
		c.Fetcher = peer.Client()
	})
	return s, peer
}

func wasAsked(t *testing.T, peer *invitetest.Server, want int) {
	t.Helper()
	if got := len(peer.KeyRequests()); got != want {
		t.Errorf("asked %d times, want %d", got, want)
	}
}

func TestANewKeyIsAskedForOnceAMinute(t *testing.T) {
	s, peer := newServerScene(t)
	a := peer.Signer()
	s.current(a)
	b := peer.RotateKey()
	for range 100 {
		s.unknown("a.ex", b.KeyID())
	}
	wasAsked(t, peer, 1)
	s.pass(time.Minute)
	s.current(b)
	wasAsked(t, peer, 2)
	if key, err := s.key("a.ex", a.KeyID()); err != nil || !key.ExpiredAt.Equal(start) {
		t.Errorf("the old key: %+v, %v", key, err)
	}
}

func TestADocumentThatHasRunOutIsAskedForOnceAMinute(t *testing.T) {
	s, peer := newServerScene(t)
	peer.Break(invitetest.KeyExpired)
	for range 10 {
		if key, err := s.key("a.ex", invitetest.DefaultKey); err != nil || key.ValidAt(s.clock()) {
			t.Errorf("got %+v, %v", key, err)
		}
	}
	wasAsked(t, peer, 1)
}

func TestPlumbing41RefetchFailsAfterExpiry(t *testing.T) {
	for _, f := range []invitetest.Fault{
		invitetest.Cut, invitetest.Internal, invitetest.Overloaded, invitetest.Redirect, invitetest.ContentType, invitetest.Huge,
	} {
		s, peer := newServerScene(t)
		s.current(peer.Signer())
		peer.Break(f)
		s.pass(2 * day)
		key, err := s.key("a.ex", invitetest.DefaultKey)
		if err != nil || key.ValidAt(s.clock()) || !key.ValidAt(start) {
			t.Errorf("%s: got %+v, %v, want the old copy", f, key, err)
		}
		for _, at := range []time.Time{start, {}} {
			if _, err := s.ring.VerifyKey(t.Context(), "a.ex", invitetest.DefaultKey, at); err != nil {
				t.Errorf("%s: %v", f, err)
			}
		}
		s.outage("a.ex", "ed25519:2")
		if n := len(peer.KeyRequests()); n != 2 {
			t.Errorf("%s: asked %d times", f, n)
		}
	}
}
