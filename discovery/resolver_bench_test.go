package discovery_test

import (
	"context"
	"net"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// resolverCases are names whose answers are remembered, with the allocations that
// resolving them may cost: the Targets, and the pool's key where it is not remembered.
func resolverCases(t testing.TB) (*resolverWorld, []resolverCase) {
	w := newResolverWorld(t, func(c *discovery.ResolverConfig) { c.Trace = nil })
	w.delegate("port.ex", "b.ex:443")
	w.delegate("fed.ex", "c.ex")
	w.dns.SRV("_matrix-fed._tcp.c.ex", net.SRV{Target: "d.ex.", Port: 1, Weight: 1}, net.SRV{Target: "e.ex.", Port: 1, Weight: 1})
	return w, []resolverCase{
		{"1", "192.0.2.1:8448", 3}, {"1, IPv6", "[2001:db8::1]:8448", 3}, {"2", "a.ex:8448", 3},
		{"3.2", "port.ex", 1}, {"3.3", "fed.ex", 1}, {"6", "plain.ex", 1},
	}
}

type resolverCase struct {
	name   string
	server fedinvite.ServerName
	allocs float64
}

// The limit is 1 µs.
func BenchmarkResolveCached(b *testing.B) {
	w, cases := resolverCases(b)
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			w.resolve(c.server)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := w.Resolve(context.Background(), c.server); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestARememberedAnswerCostsFewAllocations(t *testing.T) {
	w, cases := resolverCases(t)
	for _, c := range cases {
		w.resolve(c.server)
		n := testing.AllocsPerRun(100, func() { _, _ = w.Resolve(context.Background(), c.server) })
		if n > c.allocs {
			t.Errorf("step %s: %v allocations, want %v at most", c.name, n, c.allocs)
		}
	}
}
