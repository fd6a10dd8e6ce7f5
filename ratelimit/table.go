package ratelimit

import (
	"container/heap"
	"strings"
	"time"

	"golang.org/x/time/rate"
)

// A bucket counts what one name or address has used of a limit.
type bucket struct {
	*rate.Limiter
	key   key
	full  time.Time // when it will be full again, as of its last use
	place time.Time // its place in the heap: full, as it was a while ago
	known bool      // it is in a table
}

// used notes a use.
func (b *bucket) used(now time.Time, every time.Duration) {
	lacks := float64(b.Burst()) - b.TokensAt(now)
	b.full = now.Add(time.Duration(min(lacks*float64(every), 1<<62))) // a century is as good as two
}

// A table remembers buckets, a bounded number of them. The one that will be full again
// soonest is forgotten first: a full one tells nothing, and a nearly full one little.
type table struct {
	most   int
	byKey  map[key]*bucket
	byTime byTime // its order is put right when it matters, so that a use costs little
}

func newTable(most int) *table { return &table{most: most, byKey: make(map[key]*bucket)} }

// add remembers b, which is not known yet. If there are too many, another is forgotten.
func (t *table) add(b *bucket) {
	b.key.name = strings.Clone(b.key.name) // it may be part of a whole event
	b.known, b.place = true, b.full
	t.byKey[b.key] = b
	if len(t.byTime) < t.most {
		heap.Push(&t.byTime, b)
		return
	}
	delete(t.byKey, t.soonest().key)
	t.byTime[0] = b
	heap.Fix(&t.byTime, 0)
}

// soonest puts the bucket that will be full again soonest at the top of the heap. Each
// that is moved has been used since, so that a use pays for one move at most.
func (t *table) soonest() *bucket {
	for top := t.byTime[0]; ; top = t.byTime[0] {
		if !top.full.After(top.place) {
			return top
		}
		top.place = top.full
		heap.Fix(&t.byTime, 0)
	}
}

// byTime is a heap of buckets.
type byTime []*bucket

func (h byTime) Len() int           { return len(h) }
func (h byTime) Less(i, j int) bool { return h[i].place.Before(h[j].place) }
func (h byTime) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *byTime) Push(b any)        { *h = append(*h, b.(*bucket)) }
func (h *byTime) Pop() any          { return nil } // never called: one is forgotten when another comes
