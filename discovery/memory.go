package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/internal/lru"
)

// A memory keeps what look-ups of one kind found, by name, and makes them: one for a
// name at a time. Names that have something to be found and others are kept apart, so that
// names that are merely made up cannot push out a delegation or SRV records. They can push
// out that a real server has neither, which is soon found again.
type memory[V any] struct {
	now   func() time.Time
	gate  *gate
	limit time.Duration // of a look-up

	mu      sync.Mutex
	real    *lru.Cache[string, *note[V]]
	other   *lru.Cache[string, *note[V]]
	flights map[string]*flight[V]
}

func newMemory[V any](servers int, now func() time.Time, g *gate, limit time.Duration) *memory[V] {
	return &memory[V]{
		now: now, gate: g, limit: limit,
		real: lru.New[string, *note[V]](servers), other: lru.New[string, *note[V]](servers),
		flights: map[string]*flight[V]{},
	}
}

// A finding is the outcome of a look-up: an answer or a failure.
type finding[V any] struct {
	value    V
	real     bool          // there is something to be found
	lifetime time.Duration // how long value counts
	early    time.Duration // before the end of it: ask again
	late     time.Duration // after the end of it: value counts if asking fails
	lasting  bool          // and while asking: nobody waits for that

	failure  error // instead of a value
	kept     error // what is remembered of failure
	definite bool  // it is an answer too, so an older value does not outlive its time
	// pause is how long to ask no more after a first failure, and what doubling it ends
	// at; softPause is pause while an older value counts.
	pause, softPause, maxPause time.Duration
	// grace is how long after its pause the failure counts if asking is not possible, and
	// while asking unless it is definite: what took long to fail may do so again.
	grace time.Duration
}

// A note is what is remembered of a name. It does not change. Nil stands for nothing.
type note[V any] struct {
	known   bool // there is a value
	real    bool
	value   V
	at      time.Time // when value was asked for
	early   time.Time // from when on it is to be asked for again
	until   time.Time // until when it counts
	late    time.Time // until when it counts after a failure
	lasting bool      // or without one

	failure  error // of the last look-up, if that failed
	failedAt time.Time
	definite bool
	pause    time.Duration
	grace    time.Duration
}

// A verdict is what is to be made of a note.
type verdict struct {
	counts bool // the value does, else the failure
	ask    bool // the network
	wait   bool // for what it says, because nothing counts until then
}

// judge says what is to be made of n now. A clock that was set back makes all of it
// doubtful.
func (n *note[V]) judge(now time.Time) verdict {
	if n == nil {
		return verdict{ask: true, wait: true}
	}
	due := n.failure == nil || now.Before(n.failedAt) || now.Sub(n.failedAt) >= n.pause
	switch {
	case n.countsTill(n.until, now):
		return verdict{counts: true, ask: due && !now.Before(n.early)}
	case n.countsTill(n.late, now) && (n.lasting || n.failure != nil): // else there is no trouble yet
		return verdict{counts: true, ask: due}
	}
	return verdict{ask: due, wait: due && (n.definite || !n.failedLately(now))}
}

// spare reports what counts if asking is not possible: the value, or else the failure, if
// ok.
func (n *note[V]) spare(now time.Time) (counts, ok bool) {
	if n == nil {
		return false, false
	}
	counts = n.countsTill(n.late, now)
	return counts, counts || n.failedLately(now)
}

// countsTill reports whether the value counts now, if it does so until end.
func (n *note[V]) countsTill(end, now time.Time) bool {
	return n.known && !now.Before(n.at) && now.Before(end)
}

// failedLately reports whether the failure is not too old to count.
func (n *note[V]) failedLately(now time.Time) bool {
	return n.failure != nil && !now.Before(n.failedAt) && now.Sub(n.failedAt) < n.pause+n.grace
}

// expires returns when what was just remembered ends: the failure, if it failed.
func (n *note[V]) expires() time.Time {
	if n.failure != nil {
		return n.failedAt.Add(n.pause)
	}
	return n.until
}

// recall returns what is remembered of name, nil if nothing is.
func (m *memory[V]) recall(name string) *note[V] {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(name)
}

func (m *memory[V]) find(name string) *note[V] {
	if n, ok := m.real.Get(name); ok {
		return n
	}
	n, _ := m.other.Get(name)
	return n
}

// A flight is a look-up that is under way. Unlike those of package singleflight it may
// be joined any number of times without cost, as those do who need not wait for it.
type flight[V any] struct {
	landed chan struct{} // closed; then
	note   *note[V]      // what is known
	counts bool          // its value does, else its failure
	fresh  bool          // a look-up was made, and told
	err    error         // or why there is nothing
}

// A question asks the network, within ctx. Tell is called with what is then remembered.
type question[V any] struct {
	ask  func(ctx context.Context) finding[V]
	tell func(f finding[V], n *note[V])
}

// join returns the flight for name, which begins now unless it has before.
func (m *memory[V]) join(name string, q question[V]) *flight[V] {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.flights[name]
	if f == nil {
		f = &flight[V]{landed: make(chan struct{})}
		m.flights[name] = f
		go m.fly(name, f, q)
	}
	return f
}

func (m *memory[V]) fly(name string, f *flight[V], q question[V]) {
	f.err = errors.New("the look-up broke off") // unless it comes to its end
	defer m.land(name, f)
	// A flight may have landed between the caller's look and the start of this one.
	n := m.recall(name)
	if v := n.judge(m.now()); !v.ask {
		f.note, f.counts, f.err = n, v.counts, nil
		return
	}
	leave, err := m.gate.enter(n != nil && n.known)
	if err != nil {
		if counts, ok := n.spare(m.now()); ok {
			f.note, f.counts, err = n, counts, nil
		}
		f.err = err
		return
	}
	defer leave()
	// Of the caller nothing is used, not even the values of its context: net/http's hooks
	// are among them, and those are for the caller's own request.
	ctx, cancel := context.WithTimeout(context.Background(), m.limit)
	defer cancel()
	at := m.now()
	found := q.ask(ctx)
	n = m.remember(name, found, at)
	q.tell(found, n)
	f.note, f.counts, f.fresh, f.err = n, n.known, true, nil
}

func (m *memory[V]) land(name string, f *flight[V]) {
	m.mu.Lock()
	if m.flights[name] == f {
		delete(m.flights, name)
	}
	m.mu.Unlock()
	close(f.landed)
}

// wait returns an error if ctx ends before the flight lands, or if it brought nothing.
func (f *flight[V]) wait(ctx context.Context) error {
	select {
	case <-f.landed:
		return f.err
	case <-ctx.Done():
		return fmt.Errorf("waiting for a look-up: %w", context.Cause(ctx))
	}
}

// remember notes what was found by a look-up that began at the time at. That ends the
// flight, for those who come now.
func (m *memory[V]) remember(name string, f finding[V], at time.Time) *note[V] {
	now := m.now()
	m.mu.Lock()
	defer m.mu.Unlock()
	next := &note[V]{known: true, real: f.real, value: f.value, at: at, until: at.Add(f.lifetime), lasting: f.lasting}
	next.early, next.late = next.until.Add(-f.early), next.until.Add(f.late)
	if f.failure != nil {
		next = m.find(name).failed(f, now)
	}
	delete(m.flights, name)
	name = strings.Clone(name) // it may be part of a long text, which is not to be kept
	if next.real {
		m.other.Remove(name)
		m.real.Put(name, next)
	} else {
		m.real.Remove(name)
		m.other.Put(name, next)
	}
	return next
}

// failed returns what is to be remembered after a failure. An older value is kept as long
// as it counts.
func (n *note[V]) failed(f finding[V], now time.Time) *note[V] {
	next, before, least := new(note[V]), time.Duration(0), f.pause
	if n != nil {
		before = n.pause
		*next = *n
	}
	if f.definite {
		next.late = next.until
	}
	if next.countsTill(next.late, now) {
		least = f.softPause
	} else {
		next = new(note[V])
	}
	next.failure, next.failedAt, next.definite, next.grace = f.kept, now, f.definite, f.grace
	next.pause = min(max(2*before, least), f.maxPause)
	return next
}
