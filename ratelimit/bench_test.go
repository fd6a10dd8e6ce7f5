package ratelimit_test

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
)

// plenty is a Config whose limits nobody reaches.
func plenty() ratelimit.Config {
	limit := ratelimit.Limit{Every: time.Nanosecond, Burst: 1 << 30}
	return ratelimit.Config{Now: time.Now, Remote: limit, Origin: limit, Sender: limit, Invitee: limit, Room: limit}
}

// BenchmarkPolicy is the cost of an invite that passes, while 10,000 senders, invitees and
// rooms of 100 origins are remembered. Limit: 2 µs.
func BenchmarkPolicy(b *testing.B) {
	l := newLimiter(b, plenty())
	var invites []*fedinvite.Invite
	for i := range 10_000 {
		server := fmt.Sprintf("s%d.example", i%100)
		invites = append(invites, invite(b, user(i, server), user(i, "b.example"), fmt.Sprintf("!%d:%s", i, server)))
	}
	for _, inv := range invites {
		if err := l.Policy(b.Context(), inv); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if err := l.Policy(b.Context(), invites[i%len(invites)]); err != nil {
			b.Fatal(err)
		}
		i++
	}
}

// BenchmarkAdmit is the cost of a request: of a known address, of one that is new, and of
// one that is refused.
func BenchmarkAdmit(b *testing.B) {
	known := from("192.0.2.1")
	b.Run("known", func(b *testing.B) {
		l := newLimiter(b, plenty())
		b.ReportAllocs()
		for b.Loop() {
			if err := l.Admit(b.Context(), known); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		l := newLimiter(b, plenty())
		addr := netip.MustParseAddr("10.0.0.0")
		b.ReportAllocs()
		for b.Loop() {
			addr = addr.Next()
			if err := l.Admit(b.Context(), &fedinvite.Delivery{Remote: netip.AddrPortFrom(addr, 1)}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("refused", func(b *testing.B) {
		config := plenty()
		config.Remote = ratelimit.Limit{Every: time.Hour, Burst: 1}
		l := newLimiter(b, config)
		_ = l.Admit(b.Context(), known)
		b.ReportAllocs()
		for b.Loop() {
			if err := l.Admit(b.Context(), known); err == nil {
				b.Fatal("passed")
			}
		}
	})
}
