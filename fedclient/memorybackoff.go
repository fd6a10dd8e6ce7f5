package fedclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/lru"
)

// A BackoffConfig says how a [MemoryBackoff] works. The zero BackoffConfig is right for
// most.
type BackoffConfig struct {
	// First is the pause after one failure, doubled after each that follows; 0: 10 s.
	First time.Duration
	// Longest is the longest pause, whatever a server asks for; 0: 1 h.
	Longest time.Duration
	// MaxServers is the number of servers that are remembered; 0: 10,000. Of those beyond,
	// the ones are forgotten that were not asked for longest.
	MaxServers int
	// Now is the clock; nil: time.Now.
	Now func() time.Time
	// Random is as in [Config].
	Random func() float64
}

const (
	defaultFirst      = 10 * time.Second
	defaultLongest    = time.Hour
	defaultMaxServers = 10_000
	shortened         = 0.2 // the part of a pause that is left to chance
)

// A MemoryBackoff is a [Backoff] in memory, which begins anew with the process and is its
// own. It is safe for concurrent use.
//
// After a failure a server is left alone for ten seconds; if it then fails again, for
// twenty, and so on up to an hour, each up to a fifth less at random. Failures while it is
// left alone, of requests that are made all the same, do not count. If it asks to be left
// alone for some time, by 429 or 5xx with Retry-After, it is left alone for that long at
// least; by 429 without, it has failed. Any other answer ends the pause, and so does being
// heard from, unless it was asked for by 429 with Retry-After.
type MemoryBackoff struct {
	config  BackoffConfig
	mu      sync.Mutex
	servers *lru.Cache[fedinvite.ServerName, recess]
}

// A recess is why and how long a server is left alone. It stays when it is over, for the
// next to be longer.
type recess struct {
	until    time.Time
	failures int  // in a row
	asked    bool // the server is up and asked for it
}

// NewBackoff returns a MemoryBackoff that knows of no failures. The error names the field
// that is wrong.
func NewBackoff(c BackoffConfig) (*MemoryBackoff, error) {
	if c.First < 0 || c.Longest < 0 || c.MaxServers < 0 {
		return nil, errors.New("fedclient: BackoffConfig.First, Longest and MaxServers must not be negative")
	}
	if c.First == 0 {
		c.First = defaultFirst
	}
	if c.Longest == 0 {
		c.Longest = defaultLongest
	}
	if c.MaxServers == 0 {
		c.MaxServers = defaultMaxServers
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	return &MemoryBackoff{config: c, servers: lru.New[fedinvite.ServerName, recess](c.MaxServers)}, nil
}

// Paused implements [Backoff].
func (b *MemoryBackoff) Paused(_ context.Context, server fedinvite.ServerName) (until time.Time, paused bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r, known := b.servers.Get(server)
	if !known || !b.config.Now().Before(r.until) {
		return time.Time{}, false
	}
	return r.until, true
}

// Report implements [Backoff].
func (b *MemoryBackoff) Report(_ context.Context, server fedinvite.ServerName, o Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch o.Kind {
	case OutcomeAnswered:
		b.servers.Remove(server)
	case OutcomeHeard:
		if r, known := b.servers.Get(server); known && !r.asked {
			b.servers.Remove(server)
		}
	case OutcomeLimited, OutcomeFailed:
		r, _ := b.servers.Get(server)
		b.servers.Put(server, b.after(r, o))
	}
}

// after returns what comes of a recess by another failure.
func (b *MemoryBackoff) after(r recess, o Outcome) recess {
	now := b.config.Now()
	wished := now.Add(min(o.RetryAfter, b.config.Longest))
	if o.Kind == OutcomeLimited && o.RetryAfter > 0 {
		if !r.asked || r.until.Before(wished) {
			r.until = wished
		}
		r.asked, r.failures = true, 0
		return r
	}
	if !now.Before(r.until) { // else it is known already
		r.until, r.asked = now.Add(b.length(r.failures)), false
		r.failures++
	}
	if r.until.Before(wished) {
		r.until = wished
	}
	return r
}

// length returns how long the pause is after so many failures before.
func (b *MemoryBackoff) length(failures int) time.Duration {
	d := b.config.Longest
	if b.config.First <= d>>failures { // no overflow
		d = b.config.First << failures
	}
	return time.Duration(float64(d) * (1 - shortened*b.config.Random()))
}
