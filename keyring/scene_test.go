package keyring_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// A report is what Config.Report was told.
type report struct {
	server fedinvite.ServerName
	err    error
}

// A scene is a ring, its network and its clock.
type scene struct {
	t       testing.TB
	net     *network
	ring    *keyring.Ring
	mu      sync.Mutex
	now     time.Time
	reports []report
}

func newScene(t testing.TB, change ...func(c *keyring.Config)) *scene {
	t.Helper()
	s := &scene{t: t, net: newNetwork(), now: start}
	c := keyring.Config{Fetcher: s.net, Now: s.clock, Report: s.report}
	for _, f := range change {
		f(&c)
	}
	var err error
	if s.ring, err = keyring.New(c); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *scene) report(server fedinvite.ServerName, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reports = append(s.reports, report{server, err})
}

// reported demands that as many faults of server were reported since the last call, all
// of which wrap target, if there is one, and no others.
func (s *scene) reported(server fedinvite.ServerName, want int, target error) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.reports {
		if r.server != server || target != nil && !errors.Is(r.err, target) {
			s.t.Errorf("reported of %q: %v", r.server, r.err)
		}
	}
	if len(s.reports) != want {
		s.t.Errorf("%d reports, want %d", len(s.reports), want)
	}
	s.reports = nil
}

// publishKeys has the servers of signers publish these keys, valid for a day from now.
func (s *scene) publishKeys(signers ...fedinvite.Signer) {
	s.t.Helper()
	for _, a := range signers {
		s.net.publish(a.ServerName(), invitetest.KeyDocument(a, s.clock().Add(day)))
	}
}

// publishes has a server publish its key, and returns that.
func (s *scene) publishes(name fedinvite.ServerName) fedinvite.Signer {
	s.t.Helper()
	signer := invitetest.Signer(name)
	s.publishKeys(signer)
	return signer
}

func (s *scene) clock() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now
}

func (s *scene) pass(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.now = s.now.Add(d)
}

// key looks a key up for a request, that is for now.
func (s *scene) key(server fedinvite.ServerName, id fedinvite.KeyID) (fedinvite.VerifyKey, error) {
	return s.ring.VerifyKey(s.t.Context(), server, id, s.clock())
}

// at demands that a key is known for an event of that time.
func (s *scene) at(signer fedinvite.Signer, at time.Time) (key fedinvite.VerifyKey) {
	s.t.Helper()
	key, err := s.ring.VerifyKey(s.t.Context(), signer.ServerName(), signer.KeyID(), at)
	if err == nil && !key.Public.Equal(signer.Public()) {
		err = fmt.Errorf("other bytes: %+v", key)
	}
	if err != nil {
		s.t.Errorf("%s %s: %v", signer.ServerName(), signer.KeyID(), err)
	}
	return key
}

// until demands that the key of signer is known, and its validity ends then.
func (s *scene) until(signer fedinvite.Signer, end time.Time) {
	s.t.Helper()
	if key := s.at(signer, s.clock()); !key.ValidUntil.Equal(end) || !key.ExpiredAt.IsZero() {
		s.t.Errorf("got %+v, want it valid until %v", key, end)
	}
}

// old demands that the key of signer was given up then.
func (s *scene) old(signer fedinvite.Signer, end time.Time) {
	s.t.Helper()
	if key := s.at(signer, s.clock()); !key.ExpiredAt.Equal(end) {
		s.t.Errorf("got %+v, want it given up at %v", key, end)
	}
}

// prefetched demands that the keys of all could be had.
func (s *scene) prefetched(signers ...fedinvite.Signer) {
	s.t.Helper()
	if err := s.ring.Prefetch(s.t.Context(), namesOf(signers...)); err != nil {
		s.t.Errorf("Prefetch: %v", err)
	}
}

// prefetch returns the errors of a Prefetch.
func (s *scene) prefetch(servers ...fedinvite.ServerName) map[fedinvite.ServerName]error {
	s.t.Helper()
	return serverErrors(s.t, s.ring.Prefetch(s.t.Context(), servers))
}

// current demands that the key of signer is good for requests.
func (s *scene) current(signer fedinvite.Signer) {
	s.t.Helper()
	if key := s.at(signer, s.clock()); !key.ExpiredAt.IsZero() || !key.ValidAt(s.clock()) {
		s.t.Errorf("not current: %+v", key)
	}
}

func (s *scene) unknown(server fedinvite.ServerName, id fedinvite.KeyID) {
	s.t.Helper()
	if key, err := s.key(server, id); !errors.Is(err, fedinvite.ErrUnknownKey) {
		s.t.Errorf("%s %s: got %+v, %v, want ErrUnknownKey", server, id, key, err)
	}
}

func (s *scene) outage(server fedinvite.ServerName, id fedinvite.KeyID) {
	s.t.Helper()
	if key, err := s.key(server, id); err == nil || errors.Is(err, fedinvite.ErrUnknownKey) {
		s.t.Errorf("%s %s: got %+v, %v, want an outage", server, id, key, err)
	}
}

func (s *scene) fetched(server fedinvite.ServerName, want int) {
	s.t.Helper()
	if got := s.net.fetches(server); got != want {
		s.t.Errorf("%s was asked %d times, want %d", server, got, want)
	}
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
