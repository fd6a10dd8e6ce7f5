package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
)

// Each limit counts what it is named after, and nothing else.
func TestEveryLimit(t *testing.T) {
	limit := ratelimit.Limit{Every: 10 * time.Second, Burst: 3}
	other := invite(t, "@other:c.example", "@other:b.example", "!other:c.example")
	for _, c := range []struct {
		name   string
		set    func(*ratelimit.Config)
		same   []*fedinvite.Invite // have it in common
		reason string
	}{
		{"origin", func(c *ratelimit.Config) { c.Origin = limit }, []*fedinvite.Invite{
			invite(t, alice, bob, room),
			invite(t, "@mallory:a.example", "@carol:b.example", "!next:a.example"),
			invite(t, "@mallory:A.Example:8448", "@dan:b.example", "!third:a.example"),
		}, "origin"},
		{"sender", func(c *ratelimit.Config) { c.Sender = limit }, []*fedinvite.Invite{
			invite(t, alice, bob, room),
			invite(t, alice, "@carol:b.example", "!next:a.example"),
		}, "sender"},
		{"invitee", func(c *ratelimit.Config) { c.Invitee = limit }, []*fedinvite.Invite{
			invite(t, alice, bob, room),
			invite(t, "@x:evil.example", bob, "!next:evil.example"),
		}, "invitee"},
		{"room", func(c *ratelimit.Config) { c.Room = limit }, []*fedinvite.Invite{
			invite(t, alice, bob, room),
			invite(t, "@x:evil.example", "@carol:b.example", room),
		}, "room"},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := newClock()
			config := none(now)
			c.set(&config)
			l := newLimiter(t, config)
			n := 0
			next := func() error { n++; return l.Policy(t.Context(), c.same[n%len(c.same)]) }
			passes(t, 3, next)
			passes(t, 3, asking(t.Context(), l, other))

			e := refused(t, next())
			if e.RetryAfter != 10*time.Second || !strings.Contains(e.Err.Error(), c.reason) {
				t.Errorf("retry after %s, %v", e.RetryAfter, e.Err)
			}
			now.pass(e.RetryAfter - time.Millisecond)
			if e = refused(t, next()); e.RetryAfter != time.Second {
				t.Errorf("retry after %s, want it rounded up to a second", e.RetryAfter)
			}
			now.pass(time.Millisecond)
			passes(t, 1, next)
			now.pass(time.Hour)
			passes(t, 3, next)
		})
	}
}

func TestRemote(t *testing.T) {
	now := newClock()
	config := none(now)
	config.Remote = ratelimit.Limit{Every: time.Second, Burst: 2}
	l := newLimiter(t, config)
	ctx := t.Context()
	passes(t, 2, admitting(ctx, l, "192.0.2.1"))
	passes(t, 2, admitting(ctx, l, "192.0.2.2"))
	t.Run("an IPv4-mapped address is the IPv4 address", func(t *testing.T) {
		refused(t, l.Admit(ctx, from("::ffff:192.0.2.1")))
	})
	t.Run("the port does not count", func(t *testing.T) {
		d := from("192.0.2.1")
		d.Remote = netip.AddrPortFrom(d.Remote.Addr(), 1)
		refused(t, l.Admit(ctx, d))
	})
	t.Run("the claimed origin does not count", func(t *testing.T) {
		d := from("192.0.2.1")
		d.Origin = "other.example"
		refused(t, l.Admit(ctx, d))
		d = from("192.0.2.3")
		if err := l.Admit(ctx, d); err != nil {
			t.Error(err)
		}
	})
	t.Run("deliveries without an address share one limit", func(t *testing.T) {
		n := 0
		passes(t, 2, func() error {
			n++
			return l.Admit(ctx, &fedinvite.Delivery{Origin: fedinvite.ServerName(fmt.Sprintf("s%d.example", n))})
		})
	})
	t.Run("tokens come back", func(t *testing.T) {
		now.pass(time.Second)
		passes(t, 1, admitting(ctx, l, "192.0.2.1"))
	})
}

// One machine has a /64 of IPv6 addresses.
func TestManyAddressesOfOneNetwork(t *testing.T) {
	config := none(newClock())
	config.Remote = ratelimit.Limit{Every: time.Second, Burst: 5}
	l := newLimiter(t, config)
	passed := 0
	for i := range 10_000 {
		d := from(fmt.Sprintf("2001:db8:0:1:%x:%x::%x", i, 10_000-i, i))
		if l.Admit(t.Context(), d) == nil {
			passed++
		}
	}
	if passed != 5 {
		t.Errorf("%d requests passed, want 5", passed)
	}
	if err := l.Admit(t.Context(), from("2001:db8:0:2::1")); err != nil {
		t.Errorf("the neighbour: %v", err)
	}
	refused(t, l.Admit(t.Context(), from("2001:db8:0:1::1%eth0")))
}

func TestTrusted(t *testing.T) {
	config := none(newClock())
	config.Remote = ratelimit.Limit{Every: time.Second, Burst: 1}
	config.Trusted = []netip.Prefix{
		netip.MustParsePrefix("::ffff:10.0.0.0/104"), netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("fe80::/10"),
	}
	l := newLimiter(t, config)
	for range 3 {
		for _, addr := range []string{"10.1.2.3", "::ffff:10.1.2.3", "2001:db8::1", "fe80::1%eth0"} {
			if err := l.Admit(t.Context(), from(addr)); err != nil {
				t.Errorf("%s: %v", addr, err)
			}
		}
	}
	passes(t, 1, admitting(t.Context(), l, "11.0.0.1"))
}

// An invite that one limit refuses must not count at the others, or else somebody who
// is limited could use up what an invitee may get.
func TestAllLimitsOrNone(t *testing.T) {
	now := newClock()
	config := none(now)
	config.Origin = ratelimit.Limit{Every: time.Second, Burst: 100, Queue: 5}
	config.Sender = ratelimit.Limit{Every: time.Hour, Burst: 2}
	config.Invitee = ratelimit.Limit{Every: time.Hour, Burst: 4}
	config.Room = ratelimit.Limit{Every: time.Hour, Burst: 3}
	l := newLimiter(t, config)
	ctx := t.Context()
	passes(t, 2, asking(ctx, l, invite(t, alice, bob, room)))
	for range 100 {
		refused(t, l.Policy(ctx, invite(t, alice, bob, room)))
	}
	// The room has one left, the invitee two.
	passes(t, 1, asking(ctx, l, invite(t, "@x:a.example", bob, room)))
	for range 100 {
		refused(t, l.Policy(ctx, invite(t, "@x:a.example", bob, room)))
	}
	passes(t, 1, asking(ctx, l, invite(t, "@y:a.example", bob, "!next:a.example")))
	// Four of the origin's hundred are taken, whatever was refused.
	for i := range 96 {
		if err := l.Policy(ctx, invite(t, user(i, "a.example"), user(i, "b.example"), fmt.Sprintf("!%d:a.example", i))); err != nil {
			t.Fatalf("number %d: %v", i, err)
		}
	}
}

// The reason that is reported, and the time, are those of the limit that takes longest.
func TestTheLongestTimeIsReported(t *testing.T) {
	config := none(newClock())
	config.Origin = ratelimit.Limit{Every: time.Minute, Burst: 1}
	config.Invitee = ratelimit.Limit{Every: time.Hour, Burst: 1}
	config.Room = ratelimit.Limit{Every: time.Second, Burst: 1}
	l := newLimiter(t, config)
	if err := l.Policy(t.Context(), invite(t, alice, bob, room)); err != nil {
		t.Fatal(err)
	}
	e := refused(t, l.Policy(t.Context(), invite(t, alice, bob, room)))
	if e.RetryAfter != time.Hour || !strings.Contains(e.Err.Error(), "invitee") {
		t.Errorf("retry after %s, %v", e.RetryAfter, e.Err)
	}
}

// A peer learns that it is too fast, not whose limit it met.
func TestTheMessageTellsNothing(t *testing.T) {
	config := none(newClock())
	config.Invitee = ratelimit.Limit{Every: time.Hour, Burst: 1}
	config.Remote = ratelimit.Limit{Every: time.Hour, Burst: 1}
	l := newLimiter(t, config)
	ctx := t.Context()
	var messages []string
	for range 2 {
		for _, err := range []error{l.Policy(ctx, invite(t, alice, bob, room)), l.Admit(ctx, from("192.0.2.1"))} {
			if err != nil {
				messages = append(messages, fedinvite.WireError(err).Message)
			}
		}
	}
	if len(messages) != 2 || messages[0] != messages[1] || messages[0] != "Too many invites. Try again later." {
		t.Errorf("%q", messages)
	}
}

// Whoever would have the full burst again soonest is forgotten and starts afresh.
func TestForgetting(t *testing.T) {
	now := newClock()
	config := none(now)
	config.Sender = ratelimit.Limit{Every: time.Hour, Burst: 2}
	config.MaxEntries = 3
	l := newLimiter(t, config)
	sender := func(i int) func() error {
		inv := invite(t, user(i, "a.example"), bob, room)
		return asking(t.Context(), l, inv)
	}
	send := func(senders ...int) {
		t.Helper()
		for _, i := range senders {
			if err := sender(i)(); err != nil {
				t.Fatalf("sender %d: %v", i, err)
			}
		}
	}
	send(0, 0, 1, 2, 2, 3) // 1 makes room for 3
	refused(t, sender(0)())
	refused(t, sender(2)())
	send(3) // so that all have used as much
	refused(t, sender(3)())
	passes(t, 2, sender(1)) // in the place of one of them

	now.pass(3 * time.Hour) // all are full again
	send(4, 5, 6, 6, 5, 4)
	for i := 4; i <= 6; i++ {
		refused(t, sender(i)())
	}
}

// However many come after somebody who has used much, if they come slowly.
func TestWhatHasRefilledIsForgottenFirst(t *testing.T) {
	now := newClock()
	config := none(now)
	config.Sender = ratelimit.Limit{Every: 9 * time.Minute, Burst: 20}
	config.MaxEntries = 10
	l := newLimiter(t, config)
	victim := asking(t.Context(), l, invite(t, alice, bob, room))
	passes(t, 20, victim)
	for i := range 19 * 9 { // each tenth finds the first full again
		now.pass(time.Minute)
		if err := l.Policy(t.Context(), invite(t, user(i, "a.example"), bob, room)); err != nil {
			t.Fatal(err)
		}
	}
	passes(t, 19, victim)
}

// 10,000 users who do not exist, and again 10,000, let nobody forget what an invitee got.
func TestMadeUpInviteesDoNotEvadeTheLimit(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Now: newClock().Now, Origin: off, Sender: off, Room: off})
	inv := invite(t, alice, bob, room)
	victim := asking(t.Context(), l, inv)
	passes(t, 20, victim)
	for i := range 20_000 {
		other := *inv
		other.Invitee = user(i, "b.example")
		if err := l.Policy(t.Context(), &other); err != nil {
			t.Fatal(err)
		}
	}
	refused(t, victim())
}

// Whoever is refused cannot have others forgotten.
func TestRefusedInvitesLetNothingBeForgotten(t *testing.T) {
	config := none(newClock())
	config.Origin = ratelimit.Limit{Every: time.Hour, Burst: 1}
	config.Invitee = ratelimit.Limit{Every: time.Hour, Burst: 1}
	config.MaxEntries = 3
	l := newLimiter(t, config)
	ctx := t.Context()
	if err := l.Policy(ctx, invite(t, alice, bob, room)); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		refused(t, l.Policy(ctx, invite(t, alice, user(i, "b.example"), room)))
	}
	refused(t, l.Policy(ctx, invite(t, "@x:c.example", bob, room)))
}

func TestDefaults(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Now: newClock().Now})
	ctx := t.Context()
	passes(t, 50, admitting(ctx, l, "192.0.2.1"))
	// Each from elsewhere, but for what is counted.
	distinct := func(i int) (sender, invitee, roomID string) {
		server := fmt.Sprintf("s%d.example", i)
		return user(i, server), user(i, "b.example"), "!r:" + server
	}
	for _, c := range []struct {
		name string
		n    int
		set  func(sender, invitee, roomID *string)
	}{
		{"invitee", 20, func(_, invitee, _ *string) { *invitee = bob }},
		{"room", 50, func(_, _, roomID *string) { *roomID = room }},
	} {
		l = newLimiter(t, ratelimit.Config{Now: newClock().Now})
		i := 0
		passes(t, c.n, func() error {
			i++
			sender, invitee, roomID := distinct(i)
			c.set(&sender, &invitee, &roomID)
			return l.Policy(ctx, invite(t, sender, invitee, roomID))
		})
	}
	config := ratelimit.Config{Now: newClock().Now, Origin: off}
	l = newLimiter(t, config)
	i := 0
	passes(t, 50, func() error {
		i++
		_, invitee, roomID := distinct(i)
		return l.Policy(ctx, invite(t, alice, invitee, roomID))
	})
}

func TestNewNamesTheFault(t *testing.T) {
	now := newClock().Now
	for _, c := range []struct {
		config ratelimit.Config
		want   string
	}{
		{ratelimit.Config{Now: now, MaxEntries: -1}, "Config.MaxEntries"},
		{ratelimit.Config{Now: now, Trusted: []netip.Prefix{netip.MustParsePrefix("::/0"), {}}}, "Config.Trusted[1]"},
		{ratelimit.Config{Now: now, Remote: ratelimit.Limit{Every: time.Second}}, "Config.Remote.Burst"},
		{ratelimit.Config{Now: now, Origin: ratelimit.Limit{Burst: 1}}, "Config.Origin.Every"},
		{ratelimit.Config{Now: now, Sender: ratelimit.Limit{Burst: 1, Every: -1}}, "Config.Sender.Every"},
		{ratelimit.Config{Now: now, Sender: ratelimit.Limit{Burst: 1, Every: 1<<63 - 1}}, "Config.Sender.Every"},
		{ratelimit.Config{Now: now, Invitee: ratelimit.Limit{Burst: 1, Every: 1, Queue: -1}}, "Config.Invitee.Queue"},
		{ratelimit.Config{Now: now, Room: ratelimit.Limit{Burst: 1, Every: time.Second, Queue: 61}}, "Config.Room: Queue"},
		{ratelimit.Config{Now: now, Room: ratelimit.Limit{Burst: 1, Every: time.Hour, Queue: 1 << 62}}, "Config.Room: Queue"},
	} {
		l, err := ratelimit.New(c.config)
		if err == nil || !strings.Contains(err.Error(), c.want) || l != nil {
			t.Errorf("got %v, want an error that names %s", err, c.want)
		}
	}
	for _, config := range []ratelimit.Config{
		{},
		{Now: now},
		{Now: now, Remote: off, Origin: ratelimit.Limit{Every: -1, Burst: -1, Queue: -1}},
		{Now: now, Room: ratelimit.Limit{Every: time.Second, Burst: 1, Queue: 60}},
		{Now: now, Room: ratelimit.Limit{Every: 365 * 24 * time.Hour, Burst: 1}},
	} {
		if _, err := ratelimit.New(config); err != nil {
			t.Error(err)
		}
	}
}

// The longest of all times does not overflow.
func TestOnceAYear(t *testing.T) {
	config := none(newClock())
	config.Sender = ratelimit.Limit{Every: 365 * 24 * time.Hour, Burst: 1}
	passes(t, 1, asking(t.Context(), newLimiter(t, config), invite(t, alice, bob, room)))
}

func TestInviteWithoutEvent(t *testing.T) {
	l := newLimiter(t, ratelimit.Config{Now: newClock().Now})
	for _, inv := range []*fedinvite.Invite{nil, {}} {
		err := l.Policy(t.Context(), inv)
		var e *fedinvite.Error
		if err == nil || errors.As(err, &e) {
			t.Errorf("got %v, want a failure of ours", err)
		}
	}
}

// IP literals are one origin however they are written.
func TestOriginsThatAreAddresses(t *testing.T) {
	config := none(newClock())
	config.Origin = ratelimit.Limit{Every: time.Hour, Burst: 1}
	l := newLimiter(t, config)
	for i, c := range []struct {
		origin fedinvite.ServerName
		passes bool
	}{
		{"[2001:db8::1]", true}, {"[2001:DB8:0:0::1]:8448", false}, {"[2001:db8::2]", false}, {"[2001:db8:0:1::1]", true},
		{"192.0.2.1", true}, {"[::ffff:192.0.2.1]:1", false}, {"192.0.2.2", true},
	} {
		inv := invite(t, alice, bob, room)
		inv.Origin = c.origin
		if err := l.Policy(t.Context(), inv); (err == nil) != c.passes {
			t.Errorf("%d: %s: %v", i, c.origin, err)
		}
	}
}

// Exactly the burst passes, however many ask at a time.
func TestConcurrentUse(t *testing.T) {
	config := none(newClock())
	config.Invitee = ratelimit.Limit{Every: time.Hour, Burst: 100}
	config.Remote = ratelimit.Limit{Every: time.Hour, Burst: 100}
	config.MaxEntries = 2
	l := newLimiter(t, config)
	invites := []*fedinvite.Invite{invite(t, alice, bob, room), invite(t, "@x:c.example", bob, "!r:c.example")}
	var mu sync.Mutex
	var invited, admitted int
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for range 50 {
				policyErr := l.Policy(context.Background(), invites[i%2])
				admitErr := l.Admit(context.Background(), from("192.0.2.1"))
				mu.Lock()
				if policyErr == nil {
					invited++
				}
				if admitErr == nil {
					admitted++
				}
				mu.Unlock()
			}
		})
	}
	group.Wait()
	if invited != 100 || admitted != 100 {
		t.Errorf("%d invited, %d admitted, want 100 of each", invited, admitted)
	}
}

func TestNoAllocations(t *testing.T) {
	ctx := t.Context()
	config := ratelimit.Config{Now: time.Now}
	for _, l := range []*ratelimit.Limit{&config.Remote, &config.Origin, &config.Sender, &config.Invitee, &config.Room} {
		*l = ratelimit.Limit{Every: time.Hour, Burst: 1 << 20}
	}
	l := newLimiter(t, config)
	inv, d := invite(t, alice, bob, room), from("2001:db8::1")
	if n := testing.AllocsPerRun(1000, func() {
		if l.Policy(ctx, inv) != nil || l.Admit(ctx, d) != nil {
			t.Fatal("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations for an invite that passes, want none", n)
	}
}

func TestWithoutNowTheTimeIsThatOfTheSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{Remote: ratelimit.Limit{Every: time.Minute, Burst: 1}})
		for i, want := range []bool{true, false, true} {
			err := l.Admit(t.Context(), &fedinvite.Delivery{Remote: netip.MustParseAddrPort("192.0.2.1:1")})
			if (err == nil) != want {
				t.Errorf("%d: got %v, want it to pass: %v", i, err, want)
			}
			time.Sleep(time.Minute - time.Second) // of the bubble
		}
	})
}
