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

// signersOf returns a signer for each of n servers, whose names start with prefix.
func signersOf(t testing.TB, prefix string, n int) []fedinvite.Signer {
	signers := make([]fedinvite.Signer, n)
	for i := range signers {
		signers[i] = invitetest.Signer(fedinvite.ServerName(fmt.Sprintf("%s%03d.ex", prefix, i)))
	}
	return signers
}

func namesOf(signers ...fedinvite.Signer) (names []fedinvite.ServerName) {
	for _, s := range signers {
		names = append(names, s.ServerName())
	}
	return names
}

// serverErrors returns the errors of a Prefetch by server.
func serverErrors(t testing.TB, err error) map[fedinvite.ServerName]error {
	t.Helper()
	errs := map[fedinvite.ServerName]error{}
	if err == nil {
		return errs
	}
	var failed keyring.PrefetchError
	if !errors.As(err, &failed) {
		t.Fatalf("%T is no PrefetchError", err)
	}
	for _, of := range failed {
		if !errors.Is(err, of.Err) {
			t.Errorf("%v is not wrapped", of)
		}
		if errs[of.Server] != nil {
			t.Errorf("%s is there twice", of.Server)
		}
		errs[of.Server] = of.Err
	}
	return errs
}

func TestPrefetchWithoutStoreAndNotaries(t *testing.T) {
	s := newScene(t)
	signers := signersOf(t, "s", 150)
	s.publishKeys(signers...)
	names := namesOf(signers...)
	names = append(names, names[:20]...) // twice is once
	if err := s.ring.Prefetch(t.Context(), names); err != nil {
		t.Fatal(err)
	}
	for _, a := range signers {
		s.current(a)
		s.fetched(a.ServerName(), 1)
	}
	if err := s.ring.Prefetch(t.Context(), names); err != nil {
		t.Fatal(err)
	}
	s.fetched("s000.ex", 1)
	if err := s.ring.Prefetch(t.Context(), nil); err != nil {
		t.Error(err)
	}
}

// Store, notaries, servers: each is asked only for what the one before did not have.
func TestPrefetchAsksOneAfterAnother(t *testing.T) {
	v, n, o := newVault(), testNotary(t), newOffice(t)
	stored, notarized, direct, gone := signersOf(t, "stored", 3), signersOf(t, "notarized", 120), signersOf(t, "direct", 4), signersOf(t, "gone", 2)
	before := newScene(t, withStore(v))
	before.publishKeys(stored...)
	if err := before.ring.Prefetch(t.Context(), namesOf(stored...)); err != nil {
		t.Fatal(err)
	}
	v.loads, v.saves = 0, 0

	s := newScene(t, withStore(v), withNotaries(o, n))
	s.publishKeys(direct...)
	documents := map[fedinvite.ServerName][]byte{}
	for _, a := range notarized {
		documents[a.ServerName()] = documentOf(a.ServerName(), start.Add(day), a).signed(t, a)
	}
	// A stale copy, and one with more keys than were asked for, of which one is missing:
	// counting keys would not do.
	documents["direct000.ex"] = documentOf("direct000.ex", start.Add(-day), direct[0]).signed(t, direct[0])
	more := invitetest.SignerWithKey("notarized000.ex", "ed25519:2")
	documents["notarized000.ex"] = documentOf("notarized000.ex", start.Add(day), notarized[0], more).signed(t, notarized[0], more)
	o.answer = func(_ context.Context, _ fedinvite.ServerName, q query) ([]byte, error) {
		var some [][]byte
		for server := range q {
			if d, ok := documents[server]; ok {
				signed, err := fedinvite.SignJSON(t.Context(), d, n)
				if err != nil {
					t.Error(err)
				}
				some = append(some, signed)
			}
		}
		return answerOf(some...), nil
	}

	all := slices.Concat(gone, stored, notarized, direct)
	errs := serverErrors(t, s.ring.Prefetch(t.Context(), namesOf(all...)))
	if len(errs) != 2 || !errors.Is(errs["gone000.ex"], errDown) || !errors.Is(errs["gone001.ex"], errDown) {
		t.Errorf("got %v", errs)
	}
	asked := 0
	for _, q := range o.queries("notary.ex") {
		asked += len(q)
		if len(q) > 100 || q["stored000.ex"] != nil {
			t.Errorf("a question about %d servers, or about one that was stored", len(q))
		}
	}
	if len(o.queries("notary.ex")) != 2 || asked != 126 {
		t.Errorf("%d questions about %d servers", len(o.queries("notary.ex")), asked)
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
	errs = serverErrors(t, s.ring.Prefetch(t.Context(), namesOf(all...)))
	if len(errs) != 2 || !strings.Contains(fmt.Sprint(errs["gone000.ex"]), errDown.Error()) {
		t.Errorf("got %v", errs)
	}
	s.fetched("gone000.ex", 1)
	if diff := cmp.Diff([]query{{"gone000.ex": {}, "gone001.ex": {}}}, o.queries("notary.ex")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestPrefetchOfWhatNeedsNoKeys(t *testing.T) {
	us, broken := invitetest.Signer("us.ex"), errors.New("no HSM")
	v, o := newVault(), newOffice(t)
	s := newScene(t, withStore(v), withNotaries(o, testNotary(t)), func(c *keyring.Config) {
		c.Local = func(_ context.Context, server fedinvite.ServerName) (keyring.LocalKeys, error) {
			switch server {
			case "us.ex":
				return keyring.LocalKeys{Signers: []fedinvite.Signer{us}}, nil
			case "broken.ex":
				return keyring.LocalKeys{}, broken
			}
			return keyring.LocalKeys{}, fedinvite.ErrNotLocal
		}
	})
	if err := s.ring.Prefetch(t.Context(), []fedinvite.ServerName{"us.ex"}); err != nil {
		t.Error(err)
	}
	err := s.ring.Prefetch(t.Context(), []fedinvite.ServerName{"a/b", "us.ex", "broken.ex", "a/b", ""})
	errs := serverErrors(t, err)
	if len(errs) != 3 || !errors.Is(errs["a/b"], fedinvite.ErrIdentifier) || !errors.Is(errs[""], fedinvite.ErrIdentifier) || !errors.Is(errs["broken.ex"], broken) {
		t.Errorf("got %v", errs)
	}
	if want := errs["a/b"].Error() + ", and those of 2 more servers"; err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
	v.counted(t, 0, 0)
	if len(o.queries("notary.ex")) != 0 {
		t.Error("a notary was asked")
	}
}

func TestPrefetchAsksNotariesForTheKeyThatRanOut(t *testing.T) {
	a, n := invitetest.Signer("a.ex"), testNotary(t)
	o := newOffice(t)
	s := newScene(t, withNotaries(o, n))
	s.publishKeys(a)
	s.current(a)
	s.net.publish("a.ex", nil)
	s.pass(2 * day)
	o.tell(n, documentOf("a.ex", s.clock().Add(day), a).signed(t, a))
	if err := s.ring.Prefetch(t.Context(), []fedinvite.ServerName{"a.ex", "b.ex"}); len(serverErrors(t, err)) != 1 {
		t.Error(err)
	}
	want := []query{{"a.ex": {"ed25519:1": s.clock().UnixMilli()}, "b.ex": {}}}
	if diff := cmp.Diff(want, o.queries("notary.ex")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	s.current(a)
	s.fetched("a.ex", 1)
	if err := s.ring.Prefetch(t.Context(), []fedinvite.ServerName{"a.ex"}); err != nil || len(o.queries("notary.ex")) != 1 {
		t.Errorf("a key that is valid is asked for: %v", err)
	}
}

func TestPrefetchOfAServerWithoutAValidKey(t *testing.T) {
	s := newScene(t)
	a := invitetest.Signer("a.ex")
	s.net.publish("a.ex", documentOf("a.ex", start.Add(-day), a).signed(t, a))
	for range 2 {
		if errs := serverErrors(t, s.ring.Prefetch(t.Context(), []fedinvite.ServerName{"a.ex"})); !errors.Is(errs["a.ex"], fedinvite.ErrUnknownKey) {
			t.Errorf("got %v", errs)
		}
	}
	s.fetched("a.ex", 1)
}

func TestPrefetchOfMoreServersThanMemoryHasRoomFor(t *testing.T) {
	v, n, o := newVault(), testNotary(t), newOffice(t)
	signers := signersOf(t, "s", 50)
	before := newScene(t, withStore(v))
	before.publishKeys(signers[:25]...)
	if err := before.ring.Prefetch(t.Context(), namesOf(signers[:25]...)); err != nil {
		t.Fatal(err)
	}
	s := newScene(t, withStore(v), withNotaries(o, n), func(c *keyring.Config) { c.MaxServers = 2 })
	o.tell(n)
	s.publishKeys(signers...)
	if err := s.ring.Prefetch(t.Context(), namesOf(signers...)); err != nil {
		t.Error(err)
	}
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
		signers := signersOf(t, "s", 200)
		for _, step := range []string{"Store", "notary", "server"} {
			v, o := newVault(), newOffice(t)
			s := newScene(t, withStore(v), withNotaries(o, testNotary(t)))
			s.publishKeys(signers...)
			switch hang := func(ctx context.Context) { <-ctx.Done() }; step {
			case "Store":
				v.wait = hang
			case "notary":
				o.answer = func(ctx context.Context, _ fedinvite.ServerName, _ query) ([]byte, error) {
					hang(ctx)
					return nil, ctx.Err()
				}
			case "server":
				o.tell(testNotary(t))
				s.net.wait = hang
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
			v.wait, s.net.wait = nil, nil
			o.answer = nil
			o.tell(testNotary(t))
			if err := s.ring.Prefetch(t.Context(), namesOf(signers...)); err != nil {
				t.Errorf("%s: %v", step, err)
			}
		}
	})
}

func TestPrefetchIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t)
		s := newScene(t, withNotaries(o, testNotary(t)))
		var mu sync.Mutex
		now, most := 0, 0
		hold := func(ctx context.Context) {
			mu.Lock()
			now++
			most = max(most, now)
			mu.Unlock()
			time.Sleep(time.Second)
			mu.Lock()
			now--
			mu.Unlock()
		}
		o.answer = func(ctx context.Context, _ fedinvite.ServerName, q query) ([]byte, error) {
			hold(ctx)
			return answerOf(), nil
		}
		signers := signersOf(t, "s", 600)
		s.publishKeys(signers...)
		limits := func(want int) {
			t.Helper()
			mu.Lock()
			defer mu.Unlock()
			if most != want {
				t.Errorf("%d at a time, want %d", most, want)
			}
			most = 0
		}
		var both sync.WaitGroup
		for _, half := range [][]fedinvite.Signer{signers[:300], signers[300:]} {
			both.Go(func() {
				if err := s.ring.Prefetch(t.Context(), namesOf(half...)); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		limits(4) // of two calls together
		if n := len(o.queries("notary.ex")); n != 6 {
			t.Errorf("%d questions", n)
		}
		s.pass(2 * day)
		s.publishKeys(signers...)
		o.answer = nil
		o.tell(testNotary(t))
		s.net.wait = hold
		if err := s.ring.Prefetch(t.Context(), namesOf(signers...)); err != nil {
			t.Error(err)
		}
		limits(32)
	})
}

// Whoever needs a key meanwhile waits for the same flight.
func TestPrefetchAndLookUpsShareFlights(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		a := s.publishes("a.ex")
		land := make(chan struct{})
		s.net.wait = func(context.Context) { <-land }
		var both sync.WaitGroup
		both.Go(func() {
			if err := s.ring.Prefetch(t.Context(), []fedinvite.ServerName{"a.ex"}); err != nil {
				t.Error(err)
			}
		})
		synctest.Wait()
		both.Go(func() { s.current(a) })
		synctest.Wait()
		close(land)
		both.Wait()
		s.fetched("a.ex", 1)
	})
}
