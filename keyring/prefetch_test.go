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

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

func TestPrefetchWithoutStoreAndNotaries(t *testing.T) {
	s := newScene(t)
	signers := signersOf("s", 150)
	s.publishKeys(signers...)
	twice := append(signers, signers[:20]...) // is once
	s.prefetched(twice...)
	for _, a := range signers {
		s.current(a)
		s.fetched(a.ServerName(), 1)
	}
	s.prefetched(twice...)
	s.fetched("s000.ex", 1)
	s.prefetched()
}

// Store, notaries, servers: each is asked only for what the one before did not have.
func TestPrefetchAsksOneAfterAnother(t *testing.T) {
	v := newVault()
	stored, notarized, direct, gone := signersOf("stored", 3), signersOf("notarized", 120), signersOf("direct", 4), signersOf("gone", 2)
	before := newScene(t, withStore(v))
	before.publishKeys(stored...)
	before.prefetched(stored...)
	v.loads, v.saves = 0, 0

	s, o := newNotaryScene(t, withStore(v))
	s.publishKeys(direct...)
	documents := map[fedinvite.ServerName][]byte{}
	for _, a := range notarized {
		documents[a.ServerName()] = invitetest.KeyDocument(a, start.Add(day))
	}
	// A stale copy, and one with more keys than were asked for, of which one is missing:
	// counting keys would not do.
	documents["direct000.ex"] = invitetest.KeyDocument(direct[0], start.Add(-day))
	more := invitetest.SignerWithKey("notarized000.ex", "ed25519:2")
	documents["notarized000.ex"] = documentOf(start.Add(day), notarized[0], more)
	o.answer = func(_ context.Context, _ fedinvite.ServerName, q query) ([]byte, error) {
		return q.answer(documents), nil
	}

	all := slices.Concat(gone, stored, notarized, direct)
	errs := s.prefetch(namesOf(all...)...)
	if len(errs) != 2 || !errors.Is(errs["gone000.ex"], errDown) || !errors.Is(errs["gone001.ex"], errDown) {
		t.Errorf("got %v", errs)
	}
	asked := 0
	for _, q := range o.queries() {
		asked += len(q)
		if len(q) > 100 || q["stored000.ex"] != nil {
			t.Errorf("a question about %d servers, or about one that was stored", len(q))
		}
	}
	if len(o.queries()) != 2 || asked != 126 {
		t.Errorf("%d questions about %d servers", len(o.queries()), asked)
	}
	v.counted(t, 1, 2+4) // a Load; a Save for each answer
	for _, a := range slices.Concat(stored, notarized) {
		s.current(a)
		s.fetched(a.ServerName(), 0)
	}
	s.current(more)
	for _, a := range slices.Concat(direct, gone) {
		s.fetched(a.ServerName(), 1)
	}
	for _, a := range direct {
		s.current(a)
	}

	// Those that failed are not asked again so soon; a notary may know of them by now.
	o.asked = map[fedinvite.ServerName][]query{}
	errs = s.prefetch(namesOf(all...)...)
	if len(errs) != 2 || !strings.Contains(fmt.Sprint(errs["gone000.ex"]), errDown.Error()) {
		t.Errorf("got %v", errs)
	}
	s.fetched("gone000.ex", 1)
	same(t, []query{{"gone000.ex": {}, "gone001.ex": {}}}, o.queries())
}

func TestPrefetchOfWhatNeedsNoKeys(t *testing.T) {
	us, v := invitetest.Signer("us.ex"), newVault()
	local := locals{"us.ex": {Signers: []fedinvite.Signer{us}}}
	s, o := newNotaryScene(t, withStore(v), func(c *keyring.Config) { c.Local = local.keys })
	s.prefetched(us)
	err := s.ring.Prefetch(t.Context(), []fedinvite.ServerName{"a/b", "us.ex", "broken.ex", "a/b", ""})
	errs := serverErrors(t, err)
	if len(errs) != 3 || !errors.Is(errs["a/b"], fedinvite.ErrIdentifier) || !errors.Is(errs[""], fedinvite.ErrIdentifier) || !errors.Is(errs["broken.ex"], errDown) {
		t.Errorf("got %v", errs)
	}
	if want := errs["a/b"].Error() + ", and those of 2 more servers"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	v.counted(t, 0, 0)
	o.counted(0)
}

func TestPrefetchAsksNotariesForTheKeyThatRanOut(t *testing.T) {
	s, o := newNotaryScene(t)
	a := s.publishes("a.ex")
	s.current(a)
	s.net.publish("a.ex", nil)
	s.pass(2 * day)
	o.tell(invitetest.KeyDocument(a, s.clock().Add(day)))
	if errs := s.prefetch("a.ex", "b.ex"); len(errs) != 1 {
		t.Errorf("got %v", errs)
	}
	same(t, []query{{"a.ex": {"ed25519:1": s.clock().UnixMilli()}, "b.ex": {}}}, o.queries())
	s.current(a)
	s.fetched("a.ex", 1)
	s.prefetched(a)
	o.counted(1) // a key that is valid is not asked for
}

func TestPrefetchOfAServerWithoutAValidKey(t *testing.T) {
	s := newScene(t)
	a := invitetest.Signer("a.ex")
	s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(-day)))
	for range 2 {
		if errs := s.prefetch("a.ex"); !errors.Is(errs["a.ex"], fedinvite.ErrUnknownKey) {
			t.Errorf("got %v", errs)
		}
	}
	s.fetched("a.ex", 1)
}

func TestPrefetchOfMoreServersThanMemoryHasRoomFor(t *testing.T) {
	v := newVault()
	signers := signersOf("s", 50)
	before := newScene(t, withStore(v))
	before.publishKeys(signers[:25]...)
	before.prefetched(signers[:25]...)
	s, o := newNotaryScene(t, withStore(v), func(c *keyring.Config) { c.MaxServers = 2 })
	o.tell()
	s.publishKeys(signers...)
	s.prefetched(signers...)
	for i, a := range signers {
		want := 0
		if i >= 25 {
			want = 1
		}
		s.fetched(a.ServerName(), want)
		s.current(a) // from the Store
		s.fetched(a.ServerName(), want)
	}
}

func TestPrefetchEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hungUp := errors.New("hung up")
		signers := signersOf("s", 200)
		for _, step := range []string{"Store", "notary", "server"} {
			v := newVault()
			s, o := newNotaryScene(t, withStore(v))
			s.publishKeys(signers...)
			switch step {
			case "Store":
				v.wait = stall
			case "notary":
				o.answer = hang
			case "server":
				o.tell()
				s.net.wait = stall
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			done := make(chan error)
			begin := time.Now()
			go func() { done <- s.ring.Prefetch(ctx, namesOf(signers...)) }()
			synctest.Wait()
			cancel(hungUp)
			errs := serverErrors(t, <-done)
			if len(errs) != 200 || !errors.Is(errs["s199.ex"], hungUp) {
				t.Errorf("%s: %d errors, of the last server %v", step, len(errs), errs["s199.ex"])
			}
			if time.Since(begin) != 0 {
				t.Errorf("%s: after %s", step, time.Since(begin))
			}
			s.reported("", 0, nil) // it was nobody's fault
			time.Sleep(time.Hour)  // for what still flies
			s.pass(time.Hour)
			v.wait, s.net.wait, o.answer = nil, nil, nil
			o.tell()
			s.prefetched(signers...)
		}
	})
}

func TestPrefetchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, o := newNotaryScene(t)
		var g gauge
		hold := func(context.Context) { g.during(func() { time.Sleep(time.Second) }) }
		o.answer = func(ctx context.Context, _ fedinvite.ServerName, _ query) ([]byte, error) {
			hold(ctx)
			return answerOf(), nil
		}
		signers := signersOf("s", 600)
		s.publishKeys(signers...)
		var both sync.WaitGroup
		for _, half := range [][]fedinvite.Signer{signers[:300], signers[300:]} {
			both.Go(func() { s.prefetched(half...) })
		}
		both.Wait()
		g.most(t, 4) // of two calls together
		o.counted(6)
		s.pass(2 * day)
		s.publishKeys(signers...)
		o.answer = nil
		o.tell()
		s.net.wait = hold
		s.prefetched(signers...)
		g.most(t, 32)
	})
}

// Whoever needs a key meanwhile waits for the same flight.
func TestPrefetchAndLookUpsShareFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		a := s.publishes("a.ex")
		land := s.net.hold()
		var both sync.WaitGroup
		both.Go(func() { s.prefetched(a) })
		synctest.Wait()
		both.Go(func() { s.current(a) })
		synctest.Wait()
		close(land)
		both.Wait()
		s.fetched("a.ex", 1)
	})
}
