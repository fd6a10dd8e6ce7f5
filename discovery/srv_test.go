package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/dnstest"
)

const resolverFed, resolverLegacy = "_matrix-fed._tcp.a.ex", "_matrix._tcp.a.ex"

// hostsOf returns the targets as "host:port" in their order.
func hostsOf(res discovery.Resolution) (hosts []string) {
	for _, target := range res.Targets {
		hosts = append(hosts, fmt.Sprintf("%s:%d", target.Host, target.Port))
	}
	return hosts
}

func TestPlumbing54WhatSRVRecordsSay(t *testing.T) {
	good := net.SRV{Target: "b.ex.", Port: 1}
	none := net.SRV{Target: "."}
	for _, c := range []struct {
		name string
		dns  func(dns *dnstest.Server)
		step string
		err  error
	}{
		{"only legacy", func(dns *dnstest.Server) { dns.SRV(resolverLegacy, good) }, "5", nil},
		{"only legacy, the other name is there", func(dns *dnstest.Server) { dns.Addr(resolverFed); dns.SRV(resolverLegacy, good) }, "5", nil},
		{"neither", func(dns *dnstest.Server) {}, "6", nil},
		{"an alias", func(dns *dnstest.Server) {
			dns.CNAME(resolverFed, "_matrix-fed._tcp.c.ex")
			dns.SRV("_matrix-fed._tcp.c.ex", good)
		}, "4", nil},
		{"not offered", func(dns *dnstest.Server) { dns.SRV(resolverFed, none); dns.SRV(resolverLegacy, good) }, "", discovery.ErrNoServer},
		{"legacy not offered", func(dns *dnstest.Server) { dns.SRV(resolverLegacy, none) }, "", discovery.ErrNoServer},
		{"not offered among others", func(dns *dnstest.Server) { dns.SRV(resolverFed, none, good) }, "4", nil},
		{"only useless ones", func(dns *dnstest.Server) {
			dns.SRV(resolverFed, net.SRV{Target: "b.ex."})
			dns.SRV(resolverLegacy, good)
		}, "", discovery.ErrNoServer},
		{"SERVFAIL", func(dns *dnstest.Server) { dns.Fail(resolverFed); dns.SRV(resolverLegacy, good) }, "", new(net.DNSError)},
		{"SERVFAIL for legacy", func(dns *dnstest.Server) { dns.Fail(resolverLegacy) }, "", new(net.DNSError)},
		{"silence", func(dns *dnstest.Server) { dns.Silence(resolverFed); dns.SRV(resolverLegacy, good) }, "", new(net.DNSError)},
	} {
		t.Run(c.name, func(t *testing.T) {
			timeout := time.Minute
			if c.name == "silence" {
				timeout = 300 * time.Millisecond
			}
			w := newResolverWorld(t, func(c *discovery.ResolverConfig) { c.Timeout = timeout })
			c.dns(w.dns)
			for range 2 {
				res, err := w.Resolve(t.Context(), "a.ex")
				var dns *net.DNSError
				switch {
				case c.err == nil:
					if err != nil || res.Step != c.step {
						t.Errorf("%+v %v, want step %s", res, err, c.step)
					}
				case errors.As(c.err, &dns):
					if !errors.As(err, &dns) || dns.IsNotFound || errors.Is(err, discovery.ErrNoServer) {
						t.Error(err)
					}
				case !errors.Is(err, c.err):
					t.Error(err)
				}
			}
			if n := w.dns.Questions(resolverLegacy, dnstest.SRV); n > 0 && (c.step == "4" || strings.HasPrefix(c.name, "not offered")) {
				t.Error("legacy was asked for")
			}
		})
	}
}

func TestRecordsThatAreNoHostAndPortAreLeftOut(t *testing.T) {
	w := newResolverWorld(t)
	bad := []string{"127.0.0.1.", "1.2.", "0x7f.", "_b.ex.", "b_c.ex.", "b c.ex.", "b.ex:80.", "[::1].", "::1.", "*.ex.", "b.ex/.", "ä.ex."}
	var records []net.SRV
	for _, target := range bad {
		records = append(records, net.SRV{Target: target, Port: 1})
	}
	records = append(records, net.SRV{Target: "."}, net.SRV{Target: "zero.ex.", Port: 0})
	w.dns.SRV(resolverFed, append(records, net.SRV{Target: "Good.EX.", Port: 65535, Priority: 65535})...)
	if got := hostsOf(w.resolve("a.ex")); !slices.Equal(got, []string{"good.ex:65535"}) {
		t.Error(got)
	}
	w.dns.SRV("_matrix-fed._tcp.b.ex", records...)
	if res, err := w.Resolve(t.Context(), "b.ex"); !errors.Is(err, discovery.ErrNoServer) {
		t.Error(res, err)
	}
}

// A badDNS returns what no [net.Resolver] does.
type badDNS struct{ records []*net.SRV }

func (badDNS) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) { return nil, nil }

func (d badDNS) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", d.records, nil
}

func TestAnyDNSMayBeUsed(t *testing.T) {
	for _, c := range []struct {
		name    string
		records []*net.SRV
		want    string
	}{
		{"nothing", nil, "6"},
		{"nil", []*net.SRV{nil}, ""},
		{"no target", []*net.SRV{{Port: 1}}, ""},
		{"no dot at the end", []*net.SRV{{Target: "b.ex", Port: 1}}, "4"},
		{"two dots", []*net.SRV{{Target: "b.ex..", Port: 1}}, ""},
	} {
		r, err := discovery.NewResolver(discovery.ResolverConfig{Dialer: &discovery.Dialer{DNS: badDNS{c.records}}})
		if err != nil {
			t.Fatal(err)
		}
		res, err := r.Resolve(t.Context(), "a.ex")
		if res.Step != c.want || (c.want == "") != errors.Is(err, discovery.ErrNoServer) {
			t.Errorf("%s: %+v %v", c.name, res, err)
		}
	}
}

func TestThereAre8TargetsAtMost(t *testing.T) {
	w := newResolverWorld(t)
	var records []net.SRV
	for n := range 40 {
		records = append(records, net.SRV{Target: fmt.Sprintf("b%d.ex.", n), Port: 1, Priority: uint16(40 - n)})
	}
	w.dns.SRV(resolverFed, records[:8]...)
	w.dns.SRV("_matrix-fed._tcp.b.ex", records...)
	if n := len(w.resolve("a.ex").Targets); n != 8 {
		t.Error(n)
	}
	got := hostsOf(w.resolve("b.ex"))
	if len(got) != 8 || got[0] != "b39.ex:1" || got[7] != "b32.ex:1" {
		t.Error(got)
	}
}

// The DNS has records in any order.
func TestOfTooManyRecordsTheLightestOfTheLastPriorityAreLeftOut(t *testing.T) {
	records := []net.SRV{{Target: "last.ex.", Port: 1, Priority: 9, Weight: 65535}, {Target: "main.ex.", Port: 1, Priority: 1, Weight: 1}}
	for n := range 10 {
		records = append(records, net.SRV{Target: fmt.Sprintf("b%d.ex.", n), Port: 1, Priority: 2, Weight: uint16(n / 2)})
	}
	// b0 and b1 have the least weight; b2 and b3 have the same.
	want := []string{"b2.ex:1", "b4.ex:1", "b5.ex:1", "b6.ex:1", "b7.ex:1", "b8.ex:1", "b9.ex:1", "main.ex:1"}
	for range 20 {
		rand.Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
		w := newResolverWorld(t)
		w.dns.SRV(resolverFed, records...)
		got := hostsOf(w.resolve("a.ex"))
		if got[0] != "main.ex:1" {
			t.Error(got)
		}
		if slices.Sort(got); !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

func TestTargetsAreInOrderOfPriorityAndByWeight(t *testing.T) {
	var numbers []uint64 // that Random returns, and what it may be asked for
	var limits []uint64
	w := newResolverWorld(t, func(c *discovery.ResolverConfig) {
		c.Random = func(n uint64) uint64 {
			limits = append(limits, n)
			number := numbers[0]
			numbers = numbers[1:]
			return number
		}
	})
	w.dns.SRV(resolverFed,
		net.SRV{Target: "late.ex.", Port: 1, Priority: 20, Weight: 65535},
		net.SRV{Target: "five.ex.", Port: 1, Priority: 10, Weight: 5},
		net.SRV{Target: "ten.ex.", Port: 1, Priority: 10, Weight: 10},
		net.SRV{Target: "zero.ex.", Port: 1, Priority: 10, Weight: 0},
	)
	for _, c := range []struct {
		numbers, limits []uint64
		want            string
	}{
		{[]uint64{0, 0}, []uint64{16, 16}, "zero five ten late"},
		{[]uint64{1, 0}, []uint64{16, 11}, "five zero ten late"},
		{[]uint64{5, 1}, []uint64{16, 11}, "five ten zero late"},
		{[]uint64{6, 0}, []uint64{16, 6}, "ten zero five late"},
		{[]uint64{15, 5}, []uint64{16, 6}, "ten five zero late"},
		{[]uint64{16, 6}, []uint64{16, 6}, "ten five zero late"}, // beyond what it was asked for
	} {
		numbers, limits = c.numbers, nil
		got := strings.ReplaceAll(strings.Join(hostsOf(w.resolve("a.ex")), " "), ".ex:1", "")
		if got != c.want || !slices.Equal(limits, c.limits) {
			t.Errorf("%v: %s, want %s; limits %v, want %v", c.numbers, got, c.want, limits, c.limits)
		}
	}
	if n := w.dns.Questions(resolverFed, dnstest.SRV); n != 1 {
		t.Error(n, "questions")
	}
}

func TestRecordsOfNoWeightAreAlike(t *testing.T) {
	source := rand.New(rand.NewPCG(1, 2))
	w := newResolverWorld(t, func(c *discovery.ResolverConfig) { c.Random = source.Uint64N })
	w.dns.SRV(resolverFed, net.SRV{Target: "b.ex.", Port: 1}, net.SRV{Target: "c.ex.", Port: 1}, net.SRV{Target: "d.ex.", Port: 1})
	first := map[string]int{}
	for range 3000 {
		first[w.resolve("a.ex").Targets[0].Host]++
	}
	for _, name := range []string{"b.ex", "c.ex", "d.ex"} {
		if n := first[name]; n < 900 || 1100 < n {
			t.Error(first)
		}
	}
}

func TestRecordsAreRememberedFor5MinutesAndAnHourMoreIfTheDNSFails(t *testing.T) {
	for _, c := range []struct {
		name, step string
		dns        func(dns *dnstest.Server)
	}{
		{"records", "4", func(dns *dnstest.Server) { dns.SRV(resolverFed, net.SRV{Target: "b.ex.", Port: 1}) }},
		{"none", "6", func(dns *dnstest.Server) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newResolverWorld(t)
			c.dns(w.dns)
			w.wantStep("a.ex", c.step)
			w.dns.Fail(resolverFed)
			before := w.dns.Questions(resolverFed, dnstest.SRV)
			w.freshAnswerOf("4")
			w.at(5*time.Minute - 1)
			w.wantStep("a.ex", c.step)
			if n := w.dns.Questions(resolverFed, dnstest.SRV); n != before {
				t.Error("asked again")
			}
			w.at(5 * time.Minute)
			w.wantStep("a.ex", c.step)
			if a := w.freshAnswerOf("4"); a.Err == nil {
				t.Errorf("%+v", a)
			}
			w.at(65*time.Minute - 1)
			w.wantStep("a.ex", c.step)
			w.freshAnswerOf("4")
			w.at(65 * time.Minute)
			if res, err := w.Resolve(t.Context(), "a.ex"); err == nil {
				t.Errorf("%+v", res)
			}
			w.dns.SRV(resolverFed, net.SRV{Target: "c.ex.", Port: 2})
			w.at(2 * time.Hour)
			if got := hostsOf(w.resolve("a.ex")); !slices.Equal(got, []string{"c.ex:2"}) {
				t.Error(got)
			}
		})
	}
}

func TestAFailureOfTheDNSIsRememberedFrom1SecondTo10(t *testing.T) {
	w := newResolverWorld(t)
	w.dns.Fail(resolverFed)
	since := time.Duration(0)
	for _, pause := range []time.Duration{1, 2, 4, 8, 10, 10} {
		asked := w.dns.Questions(resolverFed, dnstest.SRV)
		if _, err := w.Resolve(t.Context(), "a.ex"); err == nil {
			t.Fatal("resolved")
		}
		before := w.dns.Questions(resolverFed, dnstest.SRV)
		if before == asked {
			t.Fatalf("after %v: not asked", since)
		}
		since += pause * time.Second
		w.at(since - 1)
		if _, err := w.Resolve(t.Context(), "a.ex"); err == nil || w.dns.Questions(resolverFed, dnstest.SRV) != before {
			t.Fatalf("before %v: asked again", since)
		}
		w.at(since)
	}
	w.dns.SRV(resolverFed, net.SRV{Target: "b.ex.", Port: 1})
	w.wantStep("a.ex", "4")
}

func TestRecordsThatAreGoneAreForgotten(t *testing.T) {
	w := newResolverWorld(t)
	w.dns.SRV(resolverFed, net.SRV{Target: "b.ex.", Port: 1})
	w.wantStep("a.ex", "4")
	w.freshAnswerOf("4")
	w.dns.Remove(resolverFed)
	w.at(5 * time.Minute)
	w.wantStep("a.ex", "4") // asks in the background
	w.freshAnswerOf("5")
	asked := w.dns.Questions(resolverFed, dnstest.SRV)
	w.wantStep("a.ex", "6")
	if w.dns.Questions(resolverFed, dnstest.SRV) != asked {
		t.Error("asked again")
	}
	w.dns.SRV(resolverFed, net.SRV{Target: "."})
	w.at(10 * time.Minute)
	w.wantStep("a.ex", "6")
	w.freshAnswerOf("4")
	if _, err := w.Resolve(t.Context(), "a.ex"); !errors.Is(err, discovery.ErrNoServer) {
		t.Error(err)
	}
	w.dns.SRV(resolverFed, net.SRV{Target: "b.ex.", Port: 1})
	w.at(15 * time.Minute)
	w.wantStep("a.ex", "4") // what leads nowhere is not used while there may be better
}
