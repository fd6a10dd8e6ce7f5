package keyring

import (
	"context"
	"errors"
	"time"
)

// queueFactor is how many wait for each turn, at most.
const queueFactor = 16

// errBusy is our own doing, and not held against a server.
var errBusy = errors.New("keyring: too many fetches at a time")

// turns bounds the fetches at a time. A quarter of them, and a queue of their own, are
// kept for servers of which keys are known, so that made-up servers that take their
// time cannot keep us from renewing the keys of real ones.
type turns struct {
	all       chan struct{}
	strangers chan struct{} // those of servers of which nothing is known
	queues    map[bool]chan struct{}
	loads     chan struct{} // look-ups in the Store, which take no turn
}

func newTurns(most int) *turns {
	slots := func(n int) chan struct{} { return make(chan struct{}, n) }
	return &turns{
		all:       slots(most),
		strangers: slots(most - most/4),
		queues:    map[bool]chan struct{}{false: slots(queueFactor * most), true: slots(queueFactor * most)},
		loads:     slots(queueFactor * most),
	}
}

// enter waits for a turn, as long as patience lasts. A full queue is an error at once.
func (t *turns) enter(ctx context.Context, known bool, patience time.Duration) (leave func(), err error) {
	out, ok := enterNow(t.queues[known])
	if !ok {
		return nil, errBusy
	}
	defer out()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if !known {
		if !wait(ctx, t.strangers) {
			return nil, errBusy
		}
	}
	if !wait(ctx, t.all) {
		if !known {
			<-t.strangers
		}
		return nil, errBusy
	}
	return func() {
		<-t.all
		if !known {
			<-t.strangers
		}
	}, nil
}

// wait takes a slot, unless ctx ends before there is one.
func wait(ctx context.Context, slots chan<- struct{}) bool {
	select {
	case slots <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

// enterNow takes a slot if there is one.
func enterNow(slots chan struct{}) (leave func(), ok bool) {
	select {
	case slots <- struct{}{}:
		return func() { <-slots }, true
	default:
		return nil, false
	}
}
