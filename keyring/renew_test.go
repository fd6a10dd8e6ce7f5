package keyring_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// looked looks the key of signer up and waits for what that does in the background.
func (s *scene) looked(signer fedinvite.Signer, fetches int) {
	s.t.Helper()
	s.current(signer)
	synctest.Wait()
	s.fetched(signer.ServerName(), fetches)
}

// "Intermediate notary servers should cache a response for half of its lifetime": so do
// we, and nobody waits for the renewal.
func TestAKeyPastHalfOfItsTimeIsRenewedInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		a := s.publishes("a.ex")
		s.looked(a, 1)
		s.pass(day / 2)
		s.publishKeys(a)
		s.looked(a, 1)
		s.pass(time.Millisecond)

		land := s.net.hold()
		for range 100 {
			s.looked(a, 2) // at once, though the server does not answer yet
		}
		ctx, at := t.Context(), s.clock()
		if n := testing.AllocsPerRun(100, func() { _, _ = s.ring.VerifyKey(ctx, "a.ex", "ed25519:1", at) }); n != 0 {
			t.Errorf("%v allocations: look-ups pile up behind the renewal", n)
		}
		close(land)
		synctest.Wait()
		s.net.publish("a.ex", nil)
		s.pass(23 * time.Hour)
		s.current(a)
		s.until(a, start.Add(day+day/2))
	})
}

func TestARenewalThatFailsTakesNothingAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		a := s.publishes("a.ex")
		s.looked(a, 1)
		s.net.publish("a.ex", nil)
		s.pass(day/2 + time.Minute)
		s.looked(a, 2)
		s.pass(29 * time.Second)
		s.looked(a, 2) // the pause after a failure
		s.pass(31 * time.Second)
		s.looked(a, 3)
		s.publishKeys(a)
		s.pass(time.Hour)
		s.looked(a, 4)
		s.pass(time.Hour)
		s.looked(a, 4)
	})
}

// A document that is valid for a minute must not cause a fetch for each look-up, nor one
// for a key that its server lists no longer.
func TestRenewalsAreAMinuteApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
		s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(70*time.Second)))
		s.looked(a, 1)
		s.pass(40 * time.Second)
		s.looked(a, 1)
		s.pass(20 * time.Second)
		s.net.publish("a.ex", invitetest.KeyDocument(b, start.Add(day)))
		s.looked(a, 2)
		for range 10 {
			s.pass(time.Second)
			s.looked(a, 2)
		}
	})
}

// The half of what is left is waited for, then the half of that: about a dozen fetches
// for a key that is gone.
func TestAKeyThatIsListedNoLongerIsAskedAboutUntilItsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		a, b := s.publishes("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
		s.looked(a, 1)
		s.net.publish("a.ex", invitetest.KeyDocument(b, start.Add(3*day)))
		for range 24 * 60 {
			s.pass(time.Minute)
			s.current(a)
			synctest.Wait()
		}
		if n := s.net.fetches("a.ex"); n < 5 || n > 15 {
			t.Errorf("%d fetches", n)
		}
	})
}

func TestOldKeysAreNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		a, old := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:0")
		s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(day), invitetest.AddOldKeys(start, old)))
		s.looked(a, 1)
		s.pass(20 * time.Hour)
		for _, at := range []time.Time{{}, start, s.clock()} {
			s.at(old, at)
		}
		s.pass(20 * time.Hour) // the current one has run out, which matters to no old event
		s.at(a, start)
		synctest.Wait()
		s.fetched("a.ex", 1)
	})
}

func TestNotariesAreAskedForALongerValidity(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := invitetest.Signer("a.ex")
		s, o := newNotaryScene(t, notariesFirst)
		o.tell(invitetest.KeyDocument(a, start.Add(day)))
		s.looked(a, 0)
		s.pass(day/2 + time.Millisecond)
		s.looked(a, 1) // the notary has the same copy still, and the server is down
		q := o.queries()
		if len(q) != 2 || q[1]["a.ex"]["ed25519:1"] != start.Add(day).UnixMilli()+1 {
			t.Errorf("asked %v", q)
		}
		s.pass(time.Hour)
		o.tell(invitetest.KeyDocument(a, start.Add(2*day)))
		s.looked(a, 1)
		s.pass(6 * time.Hour)
		s.looked(a, 1)
		s.pass(day)
		s.current(a)
	})
}

// It is not known when a notary's answer came that was loaded from a Store: seven days
// before its end at the earliest.
func TestTheHalfOfAKeyThatOnlyANotaryTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := invitetest.Signer("a.ex")
		for left, fetches := range map[time.Duration]int{7 * day: 0, 4 * day: 0, 3 * day: 1} {
			s := newScene(t, withStore(careless{{Server: "a.ex", KeyID: "ed25519:1", Public: a.Public(), ValidUntil: start.Add(left)}}))
			s.looked(a, 0)
			s.looked(a, fetches)
		}
	})
}

// A clock that was ahead has filled the memory with times to come.
func TestAClockSetBackLeavesNothingThatOutweighsTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
		s.net.wait = func(context.Context) { s.pass(time.Second) }
		s.pass(300 * day)
		s.net.publish("a.ex", invitetest.KeyDocument(a, s.clock().Add(7*day)))
		s.looked(a, 1)
		s.pass(-300 * day)
		s.net.publish("a.ex", invitetest.KeyDocument(b, start.Add(day), invitetest.AddOldKeys(start.Add(-day), a)))
		s.looked(a, 1)
		s.current(b) // asks at once: no minute can be counted
		s.fetched("a.ex", 2)
		s.old(a, start.Add(-day))
		s.pass(time.Hour)
		s.looked(b, 2)
	})
}

func TestAClockSetBackDoesNotProlongAKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		a := invitetest.Signer("a.ex")
		s.pass(300 * day)
		s.net.publish("a.ex", invitetest.KeyDocument(a, s.clock().Add(7*day)))
		s.looked(a, 1)
		s.net.publish("a.ex", nil)
		s.pass(-300 * day)
		s.looked(a, 1)
		s.pass(4 * day)
		s.looked(a, 2) // half is over
		s.pass(3*day + time.Millisecond)
		s.until(a, start.Add(7*day))
	})
}

func TestAClockSetBackDoesNotProlongABackOff(t *testing.T) {
	s := newScene(t)
	s.outage("a.ex", "ed25519:1")
	s.pass(-day)
	s.outage("a.ex", "ed25519:1")
	s.fetched("a.ex", 2)
}

func TestAClockSetBackDuringAFetch(t *testing.T) {
	s := newScene(t)
	a := invitetest.Signer("a.ex")
	s.pass(300 * day)
	s.net.publish("a.ex", invitetest.KeyDocument(a, s.clock().Add(7*day)))
	s.net.wait = func(context.Context) { s.pass(-300 * day) }
	if key := s.at(a, start); !key.ValidUntil.Equal(start.Add(7 * day)) {
		t.Errorf("got %+v", key)
	}
	s.net.wait = nil
	s.unknown("a.ex", "ed25519:2")
	s.fetched("a.ex", 1)
}
