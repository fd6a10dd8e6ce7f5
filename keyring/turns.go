package keyring

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

const (
	// queueFactor is how many wait for each turn, at most.
	queueFactor = 16
	// parentShare is the part of the turns, and of the places in the queue, that the
	// servers of one parent domain get together.
	parentShare = 8
)

// errBusy is our own doing, and not held against a server.
var errBusy = errors.New("keyring: too many fetches at a time")

// turns bounds the fetches at a time. A quarter of them, and a queue of their own, are
// kept for servers of which a key is valid, so that made-up servers that take their
// time cannot keep us from renewing the keys of real ones. Whoever has one domain has any
// number of servers, so the servers of one get a part only.
type turns struct {
	all       chan struct{}
	strangers chan struct{} // those of servers of which no key is valid
	queues    map[bool]chan struct{}
	loads     chan struct{} // look-ups in the Store, which take no turn

	mu        sync.Mutex
	perParent int                // turns
	mostUsers int                // of one parent: turns and places in the queue
	parents   map[string]*shared // those that have a turn or wait for one
}

// A shared is what the servers of one parent domain share.
type shared struct {
	turns chan struct{}
	users int
}

func newTurns(most int) *turns {
	slots := func(n int) chan struct{} { return make(chan struct{}, n) }
	share := func(n int) int { return max(2, n/parentShare) }
	return &turns{
		all:       slots(most),
		strangers: slots(most - most/4),
		queues:    map[bool]chan struct{}{false: slots(queueFactor * most), true: slots(queueFactor * most)},
		loads:     slots(queueFactor * most),
		perParent: share(most),
		mostUsers: share(most) + share(queueFactor*most),
		parents:   make(map[string]*shared),
	}
}

// parent returns what stands for the servers that belong to the same people, as far as a
// name tells that: the last two labels of a host, an IPv4 address, an IPv6 network.
func parent(server fedinvite.ServerName) string {
	host := server.Host()
	if addr, err := netip.ParseAddr(host); err == nil {
		if addr = addr.Unmap(); addr.Is4() {
			return addr.String()
		}
		network, _ := addr.Prefix(64) // fails for other numbers of bits only
		return network.String()
	}
	host = strings.ToLower(strings.TrimRight(host, "."))
	if last := strings.LastIndexByte(host, '.'); last > 0 {
		host = host[strings.LastIndexByte(host[:last], '.')+1:]
	}
	return host
}

// enter waits for a turn of a server of parent, "" for none of the parents, as long as
// patience lasts. A full queue is an error at once.
func (t *turns) enter(ctx context.Context, parent string, known bool, patience time.Duration) (leave func(), err error) {
	out, ok := enterNow(t.queues[known])
	if !ok {
		return nil, errBusy
	}
	defer out()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var taken []func()
	leave = func() {
		for _, back := range slices.Backward(taken) {
			back()
		}
	}
	family, ok := t.join(parent)
	if !ok {
		return nil, errBusy
	}
	taken = append(taken, func() { t.part(parent) })
	// What more look-ups share comes last, so that nobody holds it while he waits.
	for _, slots := range []chan struct{}{family, t.strangersFor(known), t.all} {
		if slots == nil {
			continue
		}
		if !wait(ctx, slots) {
			leave()
			return nil, errBusy
		}
		taken = append(taken, func() { <-slots })
	}
	return leave, nil
}

func (t *turns) strangersFor(known bool) chan struct{} {
	if known {
		return nil
	}
	return t.strangers
}

// join counts one more user of parent and returns its turns; false if there are too many.
func (t *turns) join(parent string) (slots chan struct{}, ok bool) {
	if parent == "" {
		return nil, true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.parents[parent]
	if p == nil {
		p = &shared{turns: make(chan struct{}, t.perParent)}
		t.parents[parent] = p
	}
	if p.users >= t.mostUsers {
		return nil, false
	}
	p.users++
	return p.turns, true
}

// part takes back a join.
func (t *turns) part(parent string) {
	if parent == "" {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.parents[parent]
	if p.users--; p.users == 0 {
		delete(t.parents, parent)
	}
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
