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
		if since, ok := d.since.Get(key); ok && now.Sub(since) < downFor {
			down = append(down, key)
		} else {
			up = append(up, key)
		}
	}
	return append(up, down...)
}

func (d *downTargets) add(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since.Put(key, d.now())
}

func (d *downTargets) remove(key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.since.Remove(key)
}
