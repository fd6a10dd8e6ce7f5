package keyring

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/lru"
)

// How often a server is asked.
const (
	minInterval = time.Minute      // after an answer
	minBackoff  = 30 * time.Second // after a first failure
	maxBackoff  = time.Hour
)

// A memory is what a Ring knows of servers: their keys, and their failures, apart,
// so that made-up servers cannot push out real ones.
type memory struct {
	mu       sync.Mutex
	answers  *lru.Cache[fedinvite.ServerName, answered]
	failures *lru.Cache[fedinvite.ServerName, failed]
}

// An answered server returned a good document.
type answered struct {
	keys keySet
	at   time.Time
}

// A failed server did not return a good document when it was asked last.
type failed struct {
	err   error
	at    time.Time
	pause time.Duration
}

func newMemory(servers int) *memory {
	return &memory{answers: lru.New[fedinvite.ServerName, answered](servers), failures: lru.New[fedinvite.ServerName, failed](servers)}
}

// A question is one key look-up.
type question struct {
	server fedinvite.ServerName
	id     fedinvite.KeyID
	at     time.Time // freshness wanted; zero: any
}

// recall returns the key, or the error that stands for it, and whether asking the
// server now might give a better answer.
func (m *memory) recall(q question, now time.Time) (key fedinvite.VerifyKey, ask bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	answer, _ := m.answers.Get(q.server)
	failure, _ := m.failures.Get(q.server)
	key, known := answer.keys[q.id]
	switch {
	case known && fresh(key, q.at, now):
		return key, false, nil
	case failure.err != nil:
		ask, err = due(failure.at, failure.pause, now), failure.err
	case answer.keys != nil:
		ask = due(answer.at, minInterval, now)
		err = fmt.Errorf("%w: %q has no key %q", fedinvite.ErrUnknownKey, q.server, q.id)
	default:
		ask, err = true, errors.New("keyring: nothing is known of the server")
	}
	if known {
		err = nil
	}
	return key, ask, err
}

// fresh reports whether no document could say more of the key than is known: it
// covers the time wanted, or is old, or no document reaches that far.
func fresh(key fedinvite.VerifyKey, at, now time.Time) bool {
	return key.ValidAt(at) || !key.ExpiredAt.IsZero() || at.After(now.Add(maxValidity))
}

// due also holds if the clock was set back.
func due(last time.Time, pause time.Duration, now time.Time) bool {
	return now.Before(last) || now.Sub(last) >= pause
}

func (m *memory) succeed(server fedinvite.ServerName, keys keySet, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.failures.Remove(server)
	before, _ := m.answers.Get(server)
	m.answers.Put(server, answered{merge(before.keys, keys), now})
}

func (m *memory) fail(server fedinvite.ServerName, err error, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	before, _ := m.failures.Get(server)
	pause := min(max(2*before.pause, minBackoff), maxBackoff)
	m.failures.Put(server, failed{err, now, pause})
}
