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
	s.old(a, start)
}

func TestADocumentThatHasRunOutIsAskedForOnceAMinute(t *testing.T) {
	s, peer := newServerScene(t)
	peer.Break(invitetest.KeyExpired)
	for range 10 {
		s.until(peer.Signer(), start.Add(-day))
	}
	wasAsked(t, peer, 1)
}

func TestPlumbing41RefetchFailsAfterExpiry(t *testing.T) {
	for _, f := range []invitetest.Fault{
		invitetest.Cut, invitetest.Internal, invitetest.Overloaded, invitetest.Redirect, invitetest.ContentType, invitetest.Huge,
	} {
		t.Run(f.String(), func(t *testing.T) {
			s, peer := newServerScene(t)
			a := peer.Signer()
			s.current(a)
			peer.Break(f)
			s.pass(2 * day)
			s.until(a, start.Add(day)) // the old copy
			s.at(a, start)
			s.at(a, time.Time{})
			s.outage("a.ex", "ed25519:2")
			wasAsked(t, peer, 2)
		})
	}
}
