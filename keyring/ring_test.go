package keyring_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

func TestPlumbing40ValidityIsCutToSevenDays(t *testing.T) {
	s := newScene(t)
	a := invitetest.Signer("a.ex")
	s.net.publish("a.ex", invitetest.KeyDocument(a, time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)))
	s.until(a, start.Add(7*day))
	s.pass(3 * day)
	s.current(a)
	s.fetched("a.ex", 1)
	s.pass(4*day + time.Millisecond)
	s.current(a)
	s.fetched("a.ex", 2)
	s.pass(8 * day)
	s.current(a)
	s.fetched("a.ex", 3)
}

func TestExpiryOfOldKeysIsCutToo(t *testing.T) {
	s := newScene(t)
	a, old := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:0")
	s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(day), invitetest.AddOldKeys(start.Add(900*day), old)))
	s.old(old, start.Add(7*day))
}

func TestAnEventFromTheFarFutureCausesNoFetch(t *testing.T) {
	s := newScene(t)
	a := s.publishes("a.ex")
	s.current(a)
	s.pass(time.Hour)
	s.at(a, s.clock().Add(7*day+1))
	s.fetched("a.ex", 1)
	s.at(a, s.clock().Add(day))
	s.fetched("a.ex", 2)
}

func TestAClockSetBackDoesNotStopFetching(t *testing.T) {
	s := newScene(t)
	a, b := s.publishes("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	s.current(a)
	s.pass(-day)
	s.net.publish("a.ex", documentOf(start.Add(day), a, b))
	s.current(b)
}

func TestKeysAreMergedAndNeverDeleted(t *testing.T) {
	s := newScene(t)
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(2*day)))
	s.current(a)
	s.net.publish("a.ex", invitetest.KeyDocument(b, start.Add(3*day)))
	s.pass(time.Hour)
	s.current(b)
	s.until(a, start.Add(2*day)) // a key that is listed no longer
	s.net.publish("a.ex", invitetest.KeyDocument(b, start.Add(day)))
	s.pass(time.Hour)
	s.unknown("a.ex", "ed25519:3")
	s.until(b, start.Add(3*day)) // a validity that was promised
	s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(4*day), invitetest.AddOldKeys(start, b)))
	s.pass(time.Hour)
	s.unknown("a.ex", "ed25519:3")
	s.old(b, start) // a key that became old
	s.fetched("a.ex", 4)
}

func TestKeysOfOneServerAreBounded(t *testing.T) {
	s := newScene(t)
	first, last := invitetest.SignerWithKey("a.ex", "ed25519:first"), invitetest.SignerWithKey("a.ex", "ed25519:last")
	s.publishKeys(first)
	s.current(first)
	old := make([]fedinvite.Signer, 63)
	for i := range old {
		old[i] = invitetest.SignerWithKey("a.ex", fedinvite.KeyID(fmt.Sprint("ed25519:k", i)))
	}
	s.net.publish("a.ex", invitetest.KeyDocument(last, start.Add(day), invitetest.AddOldKeys(start, old...)))
	s.pass(time.Hour)
	s.current(last)
	s.unknown("a.ex", "ed25519:first")
}

// A Store may have more keys of a server than memory has room for.
func TestTheKeyThatIsAskedForIsKeptOfTooMany(t *testing.T) {
	var records careless
	keys := make([]fedinvite.Signer, 100)
	for i := range keys {
		a := invitetest.SignerWithKey("a.ex", fedinvite.KeyID(fmt.Sprintf("ed25519:%d", i)))
		fetched := start.Add(time.Duration(i-100) * day)
		records = append(records, keyring.Record{Server: "a.ex", KeyID: a.KeyID(), Public: a.Public(), ValidUntil: fetched.Add(day), Fetched: fetched})
		keys[i] = a
	}
	for _, i := range []int{0, 50, 99} {
		s := newScene(t, withStore(records))
		s.at(keys[i], time.Time{})
		s.fetched("a.ex", 0)
	}
	s := newScene(t, withStore(records))
	now := invitetest.SignerWithKey("a.ex", "ed25519:now")
	s.publishKeys(now)
	s.current(now)
	s.at(keys[99], time.Time{})
}

func TestServersAreBounded(t *testing.T) {
	s := newScene(t, func(c *keyring.Config) { c.MaxServers = 2 })
	a, b, c := s.publishes("a.ex"), s.publishes("b.ex"), s.publishes("c.ex")
	s.current(a)
	s.current(b)
	s.current(a) // b is now the one not asked about for longest
	for i := range 100 {
		s.outage(fedinvite.ServerName(fmt.Sprintf("made-up-%d.ex", i)), "ed25519:1")
	}
	s.current(a)
	s.current(b)
	s.fetched("a.ex", 1)
	s.fetched("b.ex", 1)
	s.current(c)
	s.current(b)
	s.fetched("b.ex", 1)
	s.current(a)
	s.fetched("a.ex", 2)
}

func TestPlumbing44And45OneFlightForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		a := s.publishes("a.ex")
		land := s.net.hold()
		ctx, cancel := context.WithCancelCause(t.Context())
		hungUp := errors.New("hung up")
		first := make(chan error, 1)
		go func() {
			_, err := s.ring.VerifyKey(ctx, "a.ex", "ed25519:1", start)
			first <- err
		}()
		synctest.Wait()
		var others sync.WaitGroup
		for range 100 {
			others.Go(func() { s.current(a) })
		}
		synctest.Wait()
		cancel(hungUp)
		if err := <-first; !errors.Is(err, hungUp) || errors.Is(err, fedinvite.ErrUnknownKey) {
			t.Errorf("the first caller got %v", err)
		}
		close(land)
		others.Wait()
		s.fetched("a.ex", 1)
	})
}

func TestManyKeysOfOneServerAtATime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		var signers []fedinvite.Signer
		for i := range 16 {
			signers = append(signers, invitetest.SignerWithKey("a.ex", fedinvite.KeyID(fmt.Sprintf("ed25519:%d", i))))
		}
		s.net.publish("a.ex", documentOf(start.Add(day), signers[0], signers[1:]...))
		land := s.net.hold()
		var all sync.WaitGroup
		for _, a := range signers {
			all.Go(func() { s.current(a) })
		}
		all.Go(func() { s.unknown("a.ex", "ed25519:none") })
		synctest.Wait()
		close(land)
		all.Wait()
		s.fetched("a.ex", 1)
	})
}

func TestNobodyIsAskedForACallerWhoHasGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		a := s.publishes("a.ex")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.ring.VerifyKey(ctx, "a.ex", "ed25519:1", start); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		synctest.Wait()
		s.fetched("a.ex", 0)
		s.current(a)
		if _, err := s.ring.VerifyKey(ctx, "a.ex", "ed25519:1", start); err != nil {
			t.Errorf("a key that is known: %v", err)
		}
	})
}

func TestPlumbing46FailuresAreRemembered(t *testing.T) {
	s := newScene(t)
	for range 10 {
		s.outage("a.ex", "ed25519:1")
		s.pass(time.Second)
	}
	s.fetched("a.ex", 1)
	s.pass(-10 * time.Second)
	pause, fetches := 30*time.Second, 1
	for range 10 {
		s.pass(pause - 1)
		s.outage("a.ex", "ed25519:1")
		s.fetched("a.ex", fetches)
		s.pass(1)
		s.outage("a.ex", "ed25519:1")
		fetches++
		s.fetched("a.ex", fetches)
		pause = min(2*pause, time.Hour)
	}
	// Success wipes the slate clean.
	a := s.publishes("a.ex")
	s.pass(time.Hour)
	s.current(a)
	s.net.publish("a.ex", nil)
	s.pass(2 * day)
	_, _ = s.key("a.ex", "ed25519:1")
	fetches += 2
	s.fetched("a.ex", fetches)
	s.pass(30 * time.Second)
	_, _ = s.key("a.ex", "ed25519:1")
	s.fetched("a.ex", fetches+1)
}

// The first caller gets what the Fetcher said, others a short copy of its text, which may
// have been sent by a stranger.
func TestOfAFailureAShortTextIsRemembered(t *testing.T) {
	said := strings.Repeat("é", 30<<10)
	for name, cause := range map[string]error{
		"an outage":        fmt.Errorf("%w: %s", errDown, said),
		"an unknown key":   fmt.Errorf("%w: %s", fedinvite.ErrUnknownKey, said),
		"one of few bytes": errDown,
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, func(c *keyring.Config) { c.Fetcher = fails(cause) })
			if _, err := s.key("a.ex", "ed25519:1"); !errors.Is(err, cause) {
				t.Errorf("first: %v", err)
			}
			s.pass(time.Second)
			_, err := s.key("a.ex", "ed25519:1")
			text := fmt.Sprint(err)
			if errors.Is(err, cause) || errors.Is(err, errDown) || errors.Is(err, fedinvite.ErrUnknownKey) != errors.Is(cause, fedinvite.ErrUnknownKey) {
				t.Errorf("second: %.300v", err)
			}
			if len(text) > 400 || !utf8.ValidString(text) || !strings.Contains(text, "since 2026-03-01T12:00:00Z") || !strings.Contains(text, "until 2026-03-01T12:00:30Z") {
				t.Errorf("second: %d bytes: %.400s", len(text), text)
			}
		})
	}
}

func TestABadDocumentIsNoOutageAndRemembered(t *testing.T) {
	s := newScene(t)
	s.net.publish("a.ex", []byte(`{}`))
	s.unknown("a.ex", "ed25519:1")
	s.unknown("a.ex", "ed25519:1")
	s.fetched("a.ex", 1)
}

func TestAFetchEndsAfterTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.net.wait = stall
		began := time.Now()
		_, err := s.key("a.ex", "ed25519:1")
		if !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, fedinvite.ErrUnknownKey) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(began); d != 10*time.Second {
			t.Errorf("after %v", d)
		}
	})
}

func TestFetchesAtATimeAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, func(c *keyring.Config) { c.MaxFetches = 2 })
		land := make(chan struct{})
		var g gauge
		s.net.wait = func(context.Context) { g.during(func() { <-land }) }
		var all sync.WaitGroup
		for i := range 10 {
			all.Go(func() { s.current(s.publishes(fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)))) })
		}
		synctest.Wait()
		close(land)
		all.Wait()
		g.most(t, 2)
	})
}

func TestWaitingInVainIsNotHeldAgainstTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, func(c *keyring.Config) { c.MaxFetches = 1; c.Timeout = time.Second })
		b := s.publishes("b.ex")
		s.net.wait = func(context.Context) { time.Sleep(2 * time.Second) } // a Fetcher that does not obey
		go func() { _, _ = s.key("a.ex", "ed25519:1") }()
		synctest.Wait()
		s.outage("b.ex", "ed25519:1")
		s.fetched("b.ex", 0)
		time.Sleep(2 * time.Second)
		s.net.wait = nil
		s.current(b)
	})
}

func TestPlumbing47RefusedKey(t *testing.T) {
	leaked := invitetest.Signer("a.ex")
	s := newScene(t, func(c *keyring.Config) {
		c.Refused = func(key ed25519.PublicKey) bool { return key.Equal(leaked.Public()) }
	})
	good := invitetest.SignerWithKey("a.ex", "ed25519:2")
	s.net.publish("a.ex", documentOf(start.Add(day), leaked, good))
	s.unknown("a.ex", "ed25519:1")
	s.current(good)
	s.fetched("a.ex", 1)
}

func TestMalformedNamesAreNeverAskedFor(t *testing.T) {
	s := newScene(t)
	for _, name := range []fedinvite.ServerName{"", "a b", "a/b", "127.0.0.1/x", "[::1", fedinvite.ServerName(strings.Repeat("a", 256))} {
		s.unknown(name, "ed25519:1")
		s.fetched(name, 0)
	}
	for _, id := range []fedinvite.KeyID{"", "1", "ed25519:", "ed448:1", fedinvite.KeyID("ed25519:" + strings.Repeat("a", 248))} {
		s.unknown("a.ex", id)
	}
	s.fetched("a.ex", 0)
}

func TestOurOwnKeysNeedNoNetwork(t *testing.T) {
	us, old := invitetest.Signer("us.ex"), invitetest.SignerWithKey("us.ex", "ed25519:0")
	local := locals{"us.ex": {
		Signers: []fedinvite.Signer{us},
		Old:     map[fedinvite.KeyID]fedinvite.VerifyKey{"ed25519:0": {Public: old.Public(), ExpiredAt: start}},
	}}
	s := newScene(t, func(c *keyring.Config) { c.Local = local.keys })
	s.current(us)
	s.old(old, start)
	s.unknown("us.ex", "ed25519:2")
	s.outage("broken.ex", "ed25519:1")
	s.fetched("us.ex", 0)
	s.fetched("broken.ex", 0)
	s.outage("other.ex", "ed25519:1")
	s.fetched("other.ex", 1)
}

func TestANameThatBecomesOursIsOurs(t *testing.T) {
	theirs := invitetest.Signer("a.ex")
	ours := invitetest.Impostor(theirs)
	local := locals{}
	s := newScene(t, func(c *keyring.Config) { c.Local = local.keys })
	s.publishKeys(theirs)
	s.current(theirs)
	local["a.ex"] = keyring.LocalKeys{Signers: []fedinvite.Signer{ours}}
	s.current(ours)
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	for want, c := range map[string]keyring.Config{
		"1,048,576":                    {Fetcher: newNetwork(), Now: time.Now, MaxFetches: 1 << 62},
		"Fetcher":                      {Now: time.Now},
		"NotariesFirst needs Notaries": {Fetcher: newNetwork(), NotaryFetcher: newOffice(t), NotariesFirst: true},
		"MaxServers":                   {Fetcher: newNetwork(), Now: time.Now, MaxServers: -1},
		"MaxFetches":                   {Fetcher: newNetwork(), Now: time.Now, MaxFetches: -1},
		"Timeout":                      {Fetcher: newNetwork(), Now: time.Now, Timeout: -1},
	} {
		if _, err := keyring.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want the name %s", err, want)
		}
	}
}
