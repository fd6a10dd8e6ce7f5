package discovery

import (
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/internal/lru"
)

const (
	// downFor is how long a target that could not be connected to comes after the others.
	downFor = time.Minute
	// maxDown is how many of them are remembered.
	maxDown = 1000
)

// downTargets remembers targets that could not be connected to, so that not every
// request to a server of several targets waits for a dead one. It is safe for concurrent
// use.
type downTargets struct {
	now func() time.Time

	mu    sync.Mutex
	since *lru.Cache[string, time.Time] // by key of the pool
}

func newDownTargets(now func() time.Time) *downTargets {
	return &downTargets{now: now, since: lru.New[string, time.Time](maxDown)}
}

// order returns keys with those that are down behind the others. keys is not changed.
func (d *downTargets) order(keys []string) []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.since.Len() == 0 {
		return keys
	}
	now := d.now()
	var up, down []string
	for _, key := range keys {
		since, ok := d.since.Get(key)
		if age := now.Sub(since); ok && 0 <= age && age < downFor { // or the clock was set back
			down = append(down, key)
		} else {
			up = append(up, key)
		}
	}
	return append(up, down...)
}

// set says whether the target of key could not be connected to just now.
func (d *downTargets) set(key string, down bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if down {
		d.since.Put(key, d.now())
	} else {
		d.since.Remove(key)
	}
}
