package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
)

const (
	alice = "@alice:a.example"
	bob   = "@bob:b.example"
	room  = "!room:a.example"
)

var (
	start = time.UnixMilli(1_700_000_000_000)
	off   = ratelimit.Limit{Burst: -1}
)

// A clock stands still until it is told to go on.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func newClock() *clock { return &clock{now: start} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// none is a Config without limits, for tests that set one of them.
func none(c *clock) ratelimit.Config {
	return ratelimit.Config{Now: c.Now, Remote: off, Origin: off, Sender: off, Invitee: off, Room: off}
}

func newLimiter(t testing.TB, c ratelimit.Config) *ratelimit.Limiter {
	t.Helper()
	l, err := ratelimit.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// invite returns an invite as a Policy gets it.
func invite(t testing.TB, sender, invitee, roomID string) *fedinvite.Invite {
	t.Helper()
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		t.Fatal(err)
	}
	_, origin, err := fedinvite.ParseUserID(sender)
	if err != nil {
		t.Fatal(err)
	}
	event, err := fedinvite.NewInvite(t.Context(), fedinvite.Draft{
		RoomID: roomID, Sender: sender, Invitee: invitee, Depth: 2, Time: start,
	}, rules, invitetest.Signer(origin))
	if err != nil {
		t.Fatal(err)
	}
	return &fedinvite.Invite{Origin: origin, Destination: "b.example", Invitee: invitee, Event: event}
}

// from returns a Delivery from an address.
func from(addr string) *fedinvite.Delivery {
	return &fedinvite.Delivery{Origin: "a.example", Remote: netip.AddrPortFrom(netip.MustParseAddr(addr), 4711)}
}

// refused checks that err is a refusal of this package, and returns it.
func refused(t testing.TB, err error) *fedinvite.Error {
	t.Helper()
	e, ok := errors.AsType[*fedinvite.Error](err)
	if !ok {
		t.Fatalf("got %v, want a refusal", err)
	}
	if e.Code != fedinvite.CodeLimitExceeded || e.HTTPStatus() != http.StatusTooManyRequests || e.RetryAfter < time.Second {
		t.Errorf("refused with %s, %d, retry after %s", e.Code, e.HTTPStatus(), e.RetryAfter)
	}
	return e
}

// passes wants n calls to pass and the next to be refused.
func passes(t testing.TB, n int, call func() error) {
	t.Helper()
	for i := range n {
		if err := call(); err != nil {
			t.Fatalf("number %d of %d: %v", i+1, n, err)
		}
	}
	refused(t, call())
}

// asking returns a call of Policy about one invite.
func asking(ctx context.Context, l *ratelimit.Limiter, inv *fedinvite.Invite) func() error {
	return func() error { return l.Policy(ctx, inv) }
}

// admitting returns a call of Admit from one address.
func admitting(ctx context.Context, l *ratelimit.Limiter, addr string) func() error {
	return func() error { return l.Admit(ctx, from(addr)) }
}

// user returns one of many users of a server.
func user(i int, server string) string { return fmt.Sprintf("@user%d:%s", i, server) }
