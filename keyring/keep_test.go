package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

func TestWhatWasFetchedIsSavedBeforeTheLookUpEnds(t *testing.T) {
	v := newVault()
	s := newScene(t, withStore(v))
	a, old := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:0")
	s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(day), invitetest.AddOldKeys(start.Add(-day), old)))
	s.current(a)
	v.counted(t, 1, 1)
	want := []keyring.Record{
		{Server: "a.ex", KeyID: "ed25519:0", Public: old.Public(), ExpiredAt: start.Add(-day), Fetched: start},
		{Server: "a.ex", KeyID: "ed25519:1", Public: a.Public(), ValidUntil: start.Add(day), Fetched: start},
	}
	same(t, want, v.stored(t, "a.ex"))
}

func TestARestartCostsNoRequest(t *testing.T) {
	v := newVault()
	before := newScene(t, withStore(v))
	a := before.publishes("a.ex")
	before.current(a)

	after := newScene(t, withStore(v))
	after.current(a)
	after.current(a)
	after.fetched("a.ex", 0)
	v.counted(t, 2, 1)
}

// Two processes share a Store: what one has asked a moment ago the other need not ask.
func TestAServerIsAskedOnceAMinuteByAllProcesses(t *testing.T) {
	v := newVault()
	one, two := newScene(t, withStore(v)), newScene(t, withStore(v))
	one.current(one.publishes("a.ex"))
	two.pass(59 * time.Second)
	two.unknown("a.ex", "ed25519:2")
	two.fetched("a.ex", 0)
	two.pass(time.Second)
	two.outage("a.ex", "ed25519:2")
	two.fetched("a.ex", 1)
}

func TestARenewalByAnotherProcessIsFoundInTheStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault()
		a := invitetest.Signer("a.ex")
		one, two := newScene(t, withStore(v)), newScene(t, withStore(v))
		for _, s := range []*scene{one, two} {
			s.publishKeys(a)
			s.current(a)
			s.pass(day/2 + time.Hour)
			s.publishKeys(a)
		}
		one.looked(a, 2)
		two.looked(a, 0)
		two.pass(day / 2)
		two.looked(a, 0)
	})
}

// This process cannot reach the server, another can.
func TestTheStoreIsAskedDuringTheBackOff(t *testing.T) {
	v := newVault()
	a := invitetest.Signer("a.ex")
	s := newScene(t, withStore(v))
	for range 6 { // the pause is 16 minutes then
		s.outage("a.ex", "ed25519:1")
		s.pass(16 * time.Minute)
	}
	s.outage("a.ex", "ed25519:1")
	v.loads = 0
	for range 90 {
		s.pass(time.Second)
		s.outage("a.ex", "ed25519:1")
	}
	v.counted(t, 1, 0)
	other := newScene(t, withStore(v))
	other.pass(s.clock().Sub(start))
	other.publishKeys(a)
	other.current(a)
	s.pass(time.Minute)
	s.current(a)
	s.fetched("a.ex", 7)
}

func TestAStoreThatFailsIsReportedAndNoMore(t *testing.T) {
	v := newVault()
	v.err = errors.New("disk full")
	s := newScene(t, withStore(v))
	a := s.publishes("a.ex")
	s.current(a)
	s.reported("a.ex", 2, v.err)
	s.current(a)
	s.fetched("a.ex", 1)
	s.outage("b.ex", "ed25519:1")
	s.reported("b.ex", 1, v.err)
	v.counted(t, 2, 1)
}

func TestAStoreThatHangsIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault()
		v.wait = stall
		s := newScene(t, withStore(v), func(c *keyring.Config) { c.MaxFetches = 1 })
		begin := time.Now()
		var all sync.WaitGroup
		for i := range 3 { // no turn is held while they wait for the Store
			a := s.publishes(fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)))
			all.Go(func() { s.current(a) })
		}
		all.Wait()
		if d := time.Since(begin); d != 2500*time.Millisecond {
			t.Errorf("after %v, want a quarter of the Timeout once", d)
		}
		if len(s.reports) != 6 {
			t.Errorf("%d reports", len(s.reports))
		}
		v.wait, v.loads, v.saves = nil, 0, 0
		s.pass(10*time.Second - 1)
		s.current(s.publishes("a.ex"))
		v.counted(t, 0, 0)
		s.pass(1)
		s.current(s.publishes("b.ex"))
		v.counted(t, 1, 1)
	})
}

func TestLookUpsInTheStoreAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault()
		v.wait = stall
		s := newScene(t, withStore(v), func(c *keyring.Config) { c.MaxFetches = 1 })
		for i := range 16 {
			go func() { _, _ = s.key(fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)), "ed25519:1") }()
		}
		synctest.Wait()
		begin := time.Now()
		s.outage("a.ex", "ed25519:1")
		if time.Since(begin) != 0 {
			t.Error("the 17th waits")
		}
		time.Sleep(time.Minute)
		v.wait = nil
		s.current(s.publishes("a.ex")) // to be refused is not held against the server
	})
}

func TestRecordsOfTheStoreAreChecked(t *testing.T) {
	a := invitetest.Signer("a.ex")
	good := keyring.Record{Server: "a.ex", KeyID: "ed25519:1", Public: a.Public(), ValidUntil: start.Add(day), Fetched: start}
	with := func(change func(r *keyring.Record)) keyring.Record {
		r := good
		change(&r)
		return r
	}
	newScene(t, withStore(careless{good})).current(a)
	for name, r := range map[string]keyring.Record{
		"without end":       with(func(r *keyring.Record) { r.ValidUntil = time.Time{} }),
		"a short key":       with(func(r *keyring.Record) { r.Public = r.Public[:5] }),
		"no key":            with(func(r *keyring.Record) { r.Public = nil }),
		"of another server": with(func(r *keyring.Record) { r.Server = "b.ex" }),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, withStore(careless{r}))
			s.outage("a.ex", "ed25519:1")
			s.fetched("a.ex", 1)
		})
	}
	t.Run("of a server in other letters", func(t *testing.T) {
		newScene(t, withStore(careless{good, with(func(r *keyring.Record) { r.Server, r.Public = "A.ex", make([]byte, 32) })})).current(a)
	})
}

// What was saved while a clock was ahead says nothing: its server is asked.
func TestRecordsFromAClockThatIsAheadArePassedOver(t *testing.T) {
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	document := invitetest.KeyDocument(b, start.Add(day), invitetest.AddOldKeys(start, a))
	fetched := keyring.Record{Server: "a.ex", KeyID: "ed25519:2", Public: b.Public(), ValidUntil: start.Add(-time.Hour), Fetched: start}
	for name, r := range map[string]keyring.Record{
		"Fetched":        {ValidUntil: start.Add(day), Fetched: start.Add(2*time.Minute + time.Millisecond)},
		"all of it":      {ValidUntil: start.Add(365 * day), Fetched: start.Add(365 * day)},
		"ValidUntil":     {ValidUntil: start.Add(7*day + 2*time.Minute + time.Millisecond), Fetched: start},
		"told by notary": {ValidUntil: start.Add(8 * day)},
		"ExpiredAt":      {ExpiredAt: start.Add(8 * day), Fetched: start},
	} {
		t.Run(name, func(t *testing.T) {
			r.Server, r.KeyID, r.Public = "a.ex", "ed25519:1", a.Public()
			for range 3 { // also after a restart, because the record is still there
				s := newScene(t, withStore(careless{fetched, r}))
				s.net.publish("a.ex", document)
				s.old(a, start)
				s.fetched("a.ex", 1)
			}
		})
	}
	t.Run("by two minutes", func(t *testing.T) {
		s := newScene(t, withStore(careless{{Server: "a.ex", KeyID: "ed25519:1", Public: a.Public(), ValidUntil: start.Add(7*day + 2*time.Minute), Fetched: start.Add(2 * time.Minute)}}))
		s.until(a, start.Add(7*day))
		s.fetched("a.ex", 0)
	})
}

// One process had its clock a year ahead for a moment; a.ex has given its key up since.
func TestAClockThatWasAheadDoesNotProlongAKeyForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault()
		a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
		wrong := newScene(t, withStore(v))
		wrong.pass(365 * day)
		wrong.publishKeys(a)
		wrong.current(a)

		right := newScene(t, withStore(v))
		for range 20 {
			right.net.publish("a.ex", invitetest.KeyDocument(b, right.clock().Add(day), invitetest.AddOldKeys(start, a)))
			right.old(a, start)
			right.current(b)
			right.pass(day)
		}
		synctest.Wait()
	})
}

// A renewal is for what the server says now.
func TestALongerValidityInTheStoreEndsARenewalOnlyIfItWasFetchedLater(t *testing.T) {
	for name, c := range map[string]struct {
		fetched time.Time
		want    int
	}{"not later": {start, 2}, "by a notary": {time.Time{}, 2}, "later": {start.Add(time.Hour), 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				v := newVault()
				s := newScene(t, withStore(v))
				a := s.publishes("a.ex")
				s.looked(a, 1)
				r := keyring.Record{Server: "a.ex", KeyID: "ed25519:1", Public: a.Public(), ValidUntil: start.Add(7 * day), Fetched: c.fetched}
				if err := v.Memory.Save(t.Context(), []keyring.Record{r}); err != nil {
					t.Fatal(err)
				}
				s.pass(day/2 + time.Hour)
				s.looked(a, c.want)
			})
		})
	}
}

// Strangers with many names cost little room in the Store.
func TestOfALongDocumentSixteenKeysAreSaved(t *testing.T) {
	v := newVault()
	s := newScene(t, withStore(v))
	a, b, c := invitetest.SignerWithKey("a.ex", "ed25519:a"), invitetest.SignerWithKey("a.ex", "ed25519:b"), invitetest.SignerWithKey("a.ex", "ed25519:c")
	s.net.publish("a.ex", documentOf(start.Add(day), a, b))
	s.current(a)
	edits := []invitetest.Edit{invitetest.AddKeys(c), invitetest.AddOldKeys(start.Add(-100*day), b)}
	old := make([]fedinvite.Signer, 60)
	for i := range old {
		old[i] = invitetest.SignerWithKey("a.ex", fedinvite.KeyID(fmt.Sprintf("ed25519:%02d", i)))
		edits = append(edits, invitetest.AddOldKeys(start.Add(-time.Duration(i)*day), old[i]))
	}
	s.net.publish("a.ex", invitetest.Sign(invitetest.KeyDocument(a, start.Add(day), edits...), c))
	s.pass(time.Minute)
	s.old(old[59], start.Add(-59*day))
	var got []string
	for _, r := range v.stored(t, "a.ex") {
		got = append(got, strings.TrimPrefix(string(r.KeyID), "ed25519:"))
		if r.KeyID == "ed25519:b" && r.ExpiredAt.IsZero() {
			t.Error("it is not saved that a key was given up")
		}
	}
	// The one that was wanted, the current ones, the one that was, the latest.
	same(t, strings.Fields("00 01 02 03 04 05 06 07 08 09 10 11 59 a b c"), got)
	s.old(old[40], start.Add(-40*day))
	s.fetched("a.ex", 2) // it is in memory
}

func TestANotaryIsNotFirstBeforeTheServer(t *testing.T) {
	v, a := newVault(), invitetest.Signer("a.ex")
	fake := invitetest.Impostor(a)
	s, o := newNotaryScene(t, withStore(v), keepFirst)
	o.tell(invitetest.KeyDocument(fake, start.Add(day)))
	s.current(fake)
	s.pass(2 * day)
	s.publishKeys(a)
	s.current(a)
	v.has(t, a)
	after := newScene(t, withStore(v), withNotaries(o, notary), keepFirst)
	after.pass(2 * day)
	after.current(a)
}

// The Store cannot be loaded from for a moment, so that it is not known what was first.
func TestTheFirstBytesInTheStoreAreKept(t *testing.T) {
	for name, stillDown := range map[string]bool{"it can be when saving": false, "it still cannot be": true} {
		t.Run(name, func(t *testing.T) {
			v := newVault()
			one, two := newScene(t, withStore(v), keepFirst), newScene(t, withStore(v), keepFirst)
			a := one.publishes("a.ex")
			one.current(a)

			b := invitetest.Impostor(a)
			two.pass(time.Hour)
			two.publishKeys(b)
			two.net.wait = func(context.Context) {
				v.mu.Lock()
				defer v.mu.Unlock()
				if !stillDown {
					v.err = nil
				}
			}
			v.err = errDown
			two.current(b)
			v.err = nil
			v.has(t, a)
			two.pass(time.Hour)
			two.unknown("a.ex", "ed25519:2") // loads again
			two.at(a, two.clock())
			v.has(t, a)
		})
	}
}

func TestTheStoreDoesNotOverwriteWhatIsNewer(t *testing.T) {
	a := invitetest.Signer("a.ex")
	s := newScene(t, withStore(careless{{Server: "a.ex", KeyID: "ed25519:1", Public: invitetest.Impostor(a).Public(), ValidUntil: start.Add(-day), Fetched: start.Add(-2 * day)}}))
	s.publishKeys(a)
	s.current(a)
	s.reported("a.ex", 1, fedinvite.ErrMismatch)
	s.pass(time.Hour)
	s.unknown("a.ex", "ed25519:2") // loads again
	s.current(a)
}

func TestKeysOfNotariesAreStoredAsSecondHand(t *testing.T) {
	v, a := newVault(), invitetest.Signer("a.ex")
	s, o := newNotaryScene(t, withStore(v))
	o.tell(invitetest.KeyDocument(a, start.Add(day)))
	s.current(a)
	want := []keyring.Record{{Server: "a.ex", KeyID: "ed25519:1", Public: a.Public(), ValidUntil: start.Add(day)}}
	same(t, want, v.stored(t, "a.ex"))
	after := newScene(t, withStore(v))
	after.current(a)
	after.fetched("a.ex", 0)
}

func TestAKeyThatComesWithOtherBytes(t *testing.T) {
	for name, keepFirst := range map[string]bool{"the server is right": false, "the first ones are kept": true} {
		t.Run(name, func(t *testing.T) {
			v := newVault()
			s := newScene(t, withStore(v), func(c *keyring.Config) { c.KeepFirst = keepFirst })
			first, b := s.publishes("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
			second := invitetest.Impostor(first)
			s.current(first)
			s.reported("", 0, nil)
			s.pass(time.Hour)
			s.net.publish("a.ex", documentOf(s.clock().Add(day), second, b))
			s.current(b) // fetches
			s.reported("a.ex", 1, fedinvite.ErrMismatch)
			want := second
			if keepFirst {
				want = first
			}
			s.current(want)
			v.has(t, want, b)
		})
	}
}

func TestAStoreAnswerForOneKeyIsNoAnswerForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault()
		before := newScene(t, withStore(v))
		a, b := before.publishes("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
		before.current(a)

		held := make(chan struct{})
		v.wait = func(context.Context) { <-held }
		s := newScene(t, withStore(v))
		s.pass(time.Hour)
		s.net.publish("a.ex", documentOf(s.clock().Add(day), a, b))
		var both sync.WaitGroup
		both.Go(func() { s.current(a) })
		synctest.Wait()
		both.Go(func() { s.current(b) }) // waits for the flight of the other
		synctest.Wait()
		close(held)
		both.Wait()
		s.fetched("a.ex", 1)
	})
}
