package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

func withStore(s keyring.Store) func(c *keyring.Config) {
	return func(c *keyring.Config) { c.Store = s }
}

// stored returns what the Store knows of server, sorted by key ID.
func (v *vault) stored(t testing.TB, server fedinvite.ServerName) []keyring.Record {
	t.Helper()
	records, err := v.Memory.Load(t.Context(), []fedinvite.ServerName{server})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(records, func(a, b keyring.Record) int { return slices.Compare([]byte(a.KeyID), []byte(b.KeyID)) })
	return records
}

func TestWhatWasFetchedIsSavedBeforeTheLookUpEnds(t *testing.T) {
	v := newVault()
	s := newScene(t, withStore(v))
	a, old := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:0")
	s.net.publish("a.ex", documentOf("a.ex", start.Add(day), a).with("old_verify_keys", map[string]any{"ed25519:0": expired(old, start.Add(-day))}).signed(t, a))
	s.current(a)
	v.counted(t, 1, 1)
	want := []keyring.Record{
		{Server: "a.ex", KeyID: "ed25519:0", Public: old.Public(), ExpiredAt: start.Add(-day), Fetched: start},
		{Server: "a.ex", KeyID: "ed25519:1", Public: a.Public(), ValidUntil: start.Add(day), Fetched: start},
	}
	if diff := cmp.Diff(want, v.stored(t, "a.ex")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
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
	a := invitetest.Signer("a.ex")
	one, two := newScene(t, withStore(v)), newScene(t, withStore(v))
	one.publishKeys(a)
	one.current(a)
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
	v.mu.Lock()
	v.loads = 0
	v.mu.Unlock()
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
		v.wait = func(ctx context.Context) { <-ctx.Done() }
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
		v.mu.Lock()
		v.wait, v.loads, v.saves = nil, 0, 0
		v.mu.Unlock()
		look := func(name fedinvite.ServerName) {
			t.Helper()
			a := s.publishes(name)
			s.current(a)
		}
		s.pass(10*time.Second - 1)
		look("a.ex")
		v.counted(t, 0, 0)
		s.pass(1)
		look("b.ex")
		v.counted(t, 1, 1)
	})
}

func TestLookUpsInTheStoreAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault()
		v.wait = func(ctx context.Context) { <-ctx.Done() }
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
		a := s.publishes("a.ex") // to be refused is not held against the server
		s.current(a)
	})
}

// A careless is a Store that returns whatever it has.
type careless []keyring.Record

func (c careless) Load(context.Context, []fedinvite.ServerName) ([]keyring.Record, error) {
	return c, nil
}
func (c careless) Save(context.Context, []keyring.Record) error { return nil }

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
	document := documentOf("a.ex", start.Add(day), b).with("old_verify_keys", map[string]any{"ed25519:1": expired(a, start)}).signed(t, b)
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
				if key, err := s.key("a.ex", "ed25519:1"); err != nil || !key.ExpiredAt.Equal(start) {
					t.Errorf("got %+v, %v", key, err)
				}
				s.fetched("a.ex", 1)
			}
		})
	}
	t.Run("by two minutes", func(t *testing.T) {
		s := newScene(t, withStore(careless{{Server: "a.ex", KeyID: "ed25519:1", Public: a.Public(), ValidUntil: start.Add(7*day + 2*time.Minute), Fetched: start.Add(2 * time.Minute)}}))
		if key, err := s.key("a.ex", "ed25519:1"); err != nil || !key.ValidUntil.Equal(start.Add(7*day)) {
			t.Errorf("got %+v, %v", key, err)
		}
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
			right.net.publish("a.ex", documentOf("a.ex", right.clock().Add(day), b).with("old_verify_keys", map[string]any{"ed25519:1": expired(a, start)}).signed(t, b))
			if key, err := right.key("a.ex", "ed25519:1"); err != nil || !key.ExpiredAt.Equal(start) {
				t.Fatalf("at %v: got %+v, %v", right.clock(), key, err)
			}
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
	s.net.publish("a.ex", documentOf("a.ex", start.Add(day), a, b).signed(t, a, b))
	s.current(a)
	old := map[string]any{"ed25519:b": expired(b, start.Add(-100*day))}
	for i := range 60 {
		old[fmt.Sprintf("ed25519:%02d", i)] = expired(b, start.Add(-time.Duration(i)*day))
	}
	s.net.publish("a.ex", documentOf("a.ex", start.Add(day), a, c).with("old_verify_keys", old).signed(t, a, c))
	s.pass(time.Minute)
	if key, err := s.key("a.ex", "ed25519:59"); err != nil || !key.ExpiredAt.Equal(start.Add(-59*day)) {
		t.Errorf("got %+v, %v", key, err)
	}
	var got []string
	for _, r := range v.stored(t, "a.ex") {
		got = append(got, strings.TrimPrefix(string(r.KeyID), "ed25519:"))
		if r.KeyID == "ed25519:b" && r.ExpiredAt.IsZero() {
			t.Error("it is not saved that a key was given up")
		}
	}
	// The one that was wanted, the current ones, the one that was, the latest.
	want := strings.Fields("00 01 02 03 04 05 06 07 08 09 10 11 59 a b c")
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	s.key("a.ex", "ed25519:40")
	s.fetched("a.ex", 2) // it is in memory
}

// second returns another signer of the same name.
func second(t testing.TB, a fedinvite.Signer) fedinvite.Signer {
	t.Helper()
	b, err := fedinvite.NewSigner(a.ServerName(), a.KeyID(), ed25519Key("second"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func keepFirst(c *keyring.Config) { c.KeepFirst = true }

func TestANotaryIsNotFirstBeforeTheServer(t *testing.T) {
	a, n, o := invitetest.Signer("a.ex"), testNotary(t), newOffice(t)
	fake := second(t, a)
	v := newVault()
	s := newScene(t, withStore(v), withNotaries(o, n), keepFirst)
	o.tell(n, documentOf("a.ex", start.Add(day), fake).signed(t, fake))
	s.current(fake)
	s.pass(2 * day)
	s.publishKeys(a)
	s.current(a)
	if stored := v.stored(t, "a.ex"); len(stored) != 1 || !stored[0].Public.Equal(a.Public()) {
		t.Errorf("stored: %v", stored)
	}
	after := newScene(t, withStore(v), withNotaries(o, n), keepFirst)
	after.pass(2 * day)
	after.current(a)
}

// The Store cannot be loaded from for a moment, so that it is not known what was first.
func TestTheFirstBytesInTheStoreAreKept(t *testing.T) {
	for name, stillDown := range map[string]bool{"it can be when saving": false, "it still cannot be": true} {
		t.Run(name, func(t *testing.T) {
			v := newVault()
			a := invitetest.Signer("a.ex")
			b := second(t, a)
			one := newScene(t, withStore(v), keepFirst)
			one.publishKeys(a)
			one.current(a)

			two := newScene(t, withStore(v), keepFirst)
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
			if stored := v.stored(t, "a.ex"); len(stored) != 1 || !stored[0].Public.Equal(a.Public()) {
				t.Errorf("stored: %v", stored)
			}
			two.pass(time.Hour)
			two.unknown("a.ex", "ed25519:2") // loads again
			if key, err := two.key("a.ex", "ed25519:1"); err != nil || !key.Public.Equal(a.Public()) {
				t.Errorf("got %+v, %v", key, err)
			}
			if stored := v.stored(t, "a.ex"); len(stored) != 1 || !stored[0].Public.Equal(a.Public()) {
				t.Errorf("stored: %v", stored)
			}
		})
	}
}

func TestTheStoreDoesNotOverwriteWhatIsNewer(t *testing.T) {
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	wrong := invitetest.Signer("b.ex")
	s := newScene(t, withStore(careless{{Server: "a.ex", KeyID: "ed25519:1", Public: wrong.Public(), ValidUntil: start.Add(-day), Fetched: start.Add(-2 * day)}}))
	s.publishKeys(a)
	s.current(a)
	s.reported("a.ex", 1, fedinvite.ErrMismatch)
	s.pass(time.Hour)
	s.unknown("a.ex", b.KeyID()) // loads again
	s.current(a)
}

func TestKeysOfNotariesAreStoredAsSecondHand(t *testing.T) {
	v := newVault()
	a, n := invitetest.Signer("a.ex"), testNotary(t)
	o := newOffice(t)
	s := newScene(t, withStore(v), withNotaries(o, n))
	o.tell(n, documentOf("a.ex", start.Add(day), a).signed(t, a))
	s.current(a)
	want := []keyring.Record{{Server: "a.ex", KeyID: "ed25519:1", Public: a.Public(), ValidUntil: start.Add(day)}}
	if diff := cmp.Diff(want, v.stored(t, "a.ex")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	after := newScene(t, withStore(v))
	after.current(a)
	after.fetched("a.ex", 0)
}

func TestAKeyThatComesWithOtherBytes(t *testing.T) {
	for name, keepFirst := range map[string]bool{"the server is right": false, "the first ones are kept": true} {
		t.Run(name, func(t *testing.T) {
			v := newVault()
			s := newScene(t, withStore(v), func(c *keyring.Config) { c.KeepFirst = keepFirst })
			first, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
			second, err := fedinvite.NewSigner("a.ex", "ed25519:1", ed25519Key("second"))
			if err != nil {
				t.Fatal(err)
			}
			s.publishKeys(first)
			s.current(first)
			s.reported("", 0, nil)
			s.pass(time.Hour)
			s.net.publish("a.ex", documentOf("a.ex", s.clock().Add(day), second, b).signed(t, second, b))
			s.current(b) // fetches
			s.reported("a.ex", 1, fedinvite.ErrMismatch)
			want := second
			if keepFirst {
				want = first
			}
			s.current(want)
			if stored := v.stored(t, "a.ex"); len(stored) != 2 || !stored[0].Public.Equal(want.Public()) {
				t.Errorf("stored: %v", stored)
			}
		})
	}
}

func TestAStoreAnswerForOneKeyIsNoAnswerForAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault()
		a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
		before := newScene(t, withStore(v))
		before.publishKeys(a)
		before.current(a)

		held := make(chan struct{})
		v.wait = func(context.Context) { <-held }
		s := newScene(t, withStore(v))
		s.pass(time.Hour)
		s.net.publish("a.ex", documentOf("a.ex", s.clock().Add(day), a, b).signed(t, a, b))
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
