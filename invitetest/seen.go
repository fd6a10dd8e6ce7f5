package invitetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A Seen is a request that a [Server] got, and its answer.
type Seen struct {
	Time   time.Time
	Method string
	Target string               // as it was sent: path and query
	Host   string               // the header; another one than usual after a [Redirect]
	Origin fedinvite.ServerName // of its Authorization header, proven or not; "" if it has none
	Header http.Header
	Body   []byte // at most 1 MiB of it
	Status int    // of the answer; 0: there was none, or not yet
	Answer []byte // at most 1 MiB of it
	// HungUp says that whoever asked did not wait for the end of the answer. The server
	// learns of it a little later than they: see [Server.AwaitHungUp].
	HungUp bool
}

const (
	maxSeen      = 1 << 20  // bytes of a body or answer that are kept
	maxSeenTotal = 64 << 20 // bytes of all
	seenCost     = 4 << 10  // about what a request takes without body and answer
	maxHungUp    = 30       // requests that are kept for AwaitHungUp
)

// A seenLog has what a server saw, the latest if it is very much.
type seenLog struct {
	mu      sync.Mutex
	all     []*Seen
	total   int           // bytes
	hungUp  []*Seen       // those that AwaitHungUp has not returned
	changed chan struct{} // closed when there is one more of them; nil: nobody waits
}

// begin adds a request. What becomes of it is for end to say.
func (l *seenLog) begin(r *http.Request, body []byte, now time.Time) *Seen {
	one := &Seen{
		Time: now, Method: r.Method, Target: r.RequestURI, Host: r.Host,
		Header: r.Header.Clone(), Body: slices.Clone(body[:min(len(body), maxSeen)]),
	}
	if auth, err := xmatrix.Parse(r.Header.Get("Authorization")); err == nil {
		one.Origin = auth.Origin
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, one)
	l.grow(seenCost + len(one.Body))
	return one
}

func (l *seenLog) end(one *Seen, status int, answer []byte, hungUp bool) {
	answer = slices.Clone(answer[:min(len(answer), maxSeen)])
	l.mu.Lock()
	defer l.mu.Unlock()
	one.Status, one.Answer, one.HungUp = status, answer, hungUp
	l.grow(len(answer))
	if !hungUp {
		return
	}
	if l.hungUp = append(l.hungUp, one); len(l.hungUp) > maxHungUp {
		l.hungUp = l.hungUp[1:]
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// nextHungUp returns the first request that was not returned before, or a channel that is
// closed when it is worth while to ask again.
func (l *seenLog) nextHungUp() (Seen, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.hungUp) > 0 {
		one := *l.hungUp[0]
		l.hungUp = l.hungUp[1:]
		return one, nil
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return Seen{}, l.changed
}

// grow forgets the oldest if all have grown too much. l.mu is held.
func (l *seenLog) grow(n int) {
	for l.total += n; l.total > maxSeenTotal && len(l.all) > 1; l.all = l.all[1:] {
		l.total -= seenCost + len(l.all[0].Body) + len(l.all[0].Answer)
		l.all[0] = nil
	}
}

// some returns copies; what they refer to is written no more.
func (l *seenLog) some(keys bool) []Seen {
	l.mu.Lock()
	defer l.mu.Unlock()
	var list []Seen
	for _, one := range l.all {
		if one.aboutKeys() == keys {
			list = append(list, *one)
		}
	}
	return list
}

// Requests returns what the server was asked, in order, without requests for keys. Of very
// many the first are forgotten: 64 MiB of them are kept.
func (s *Server) Requests() []Seen { return s.seen.some(false) }

// KeyRequests returns the requests for keys.
func (s *Server) KeyRequests() []Seen { return s.seen.some(true) }

// AwaitHungUp waits for the next request whose end whoever made it did not wait for, as is
// expected of those who meet [Slow] and [Huge], and that was not returned before. Requests
// for keys count too. It is not enough to look at Requests, because the server learns of it
// a little later. The error is the end of ctx.
func (s *Server) AwaitHungUp(ctx context.Context) (Seen, error) {
	for {
		one, changed := s.seen.nextHungUp()
		if changed == nil {
			return one, nil
		}
		select {
		case <-changed:
		case <-s.over:
			return Seen{}, errors.New("invitetest: nobody has hung up: the server is closed")
		case <-ctx.Done():
			return Seen{}, fmt.Errorf("invitetest: nobody has hung up: %w", context.Cause(ctx))
		}
	}
}

// gaveKeys reports whether a request for keys was answered well.
func (s *Server) gaveKeys() bool {
	s.seen.mu.Lock()
	defer s.seen.mu.Unlock()
	return slices.ContainsFunc(s.seen.all, func(one *Seen) bool { return one.aboutKeys() && one.Status == http.StatusOK })
}

func (one *Seen) aboutKeys() bool { return strings.HasPrefix(one.Target, "/_matrix/key/") }
