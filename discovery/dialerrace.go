package discovery

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"time"
)

const (
	// headStart is how long an attempt has before the next one begins beside it; RFC
	// 8305, section 8, wants 100 ms to 2 s.
	headStart = 300 * time.Millisecond
	// maxAttempts bounds how many attempts there are at a time, and so how many sockets
	// a name can make us open for one connection.
	maxAttempts = 4
	// attemptTimeout bounds one attempt.
	attemptTimeout = 10 * time.Second
)

// An attempt is what became of dialling one address.
type attempt struct {
	conn net.Conn
	err  error
}

// race connects to the first of addrs that answers, and gives the others up. There is
// one address at least.
func (d *Dialer) race(ctx context.Context, addrs []netip.Addr, port uint16) (net.Conn, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // ends the losers, who see to their connections themselves
	results := make(chan attempt)
	next, running := 0, 0
	turn := time.NewTimer(headStart)
	defer turn.Stop()
	begin := func() {
		if next < len(addrs) && running < maxAttempts && ctx.Err() == nil {
			go d.try(ctx, netip.AddrPortFrom(addrs[next], port), results)
			next, running = next+1, running+1
			turn.Reset(headStart)
		}
	}
	var errs []error
	for begin(); running > 0 && ctx.Err() == nil; {
		select {
		case <-turn.C:
			begin()
		case <-ctx.Done():
		case a := <-results:
			if a.err == nil {
				return a.conn, nil
			}
			errs, running = append(errs, a.err), running-1
			begin()
		}
	}
	if err := ctx.Err(); err != nil {
		errs = append(errs, err)
	}
	return nil, &dialError{errs}
}

// try dials one address. A connection that nobody waits for any more is closed.
func (d *Dialer) try(ctx context.Context, target netip.AddrPort, results chan<- attempt) {
	limited, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	conn, err := d.dial(limited, target)
	select {
	case results <- attempt{conn, err}:
	case <-ctx.Done():
		if conn != nil && err == nil {
			_ = conn.Close()
		}
	}
}

// A dialError is what went wrong at each address, maxAddrs of them and the end of the
// context at most.
type dialError struct{ errs []error }

// Error returns one line.
func (e *dialError) Error() string {
	var text strings.Builder
	for i, err := range e.errs {
		if i > 0 {
			text.WriteString("; ")
		}
		text.WriteString(err.Error())
	}
	return text.String()
}

// Unwrap returns the errors, for errors.Is and errors.As.
func (e *dialError) Unwrap() []error { return e.errs }
