package discovery_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/dnstest"
)

// targetsOf reads targets written as "host port".
func targetsOf(list ...string) (targets []discovery.Target) {
	for _, text := range list {
		host, port, _ := strings.Cut(text, " ")
		number, _ := net.LookupPort("tcp", port)
		targets = append(targets, discovery.Target{Host: host, Port: uint16(number)})
	}
	return targets
}

func TestPlumbing48EachStepSaysWhereHowAndWhoseCertificate(t *testing.T) {
	fed := func(name string) string { return "_matrix-fed._tcp." + name }
	legacy := func(name string) string { return "_matrix._tcp." + name }
	for _, c := range []struct {
		name   string
		server fedinvite.ServerName
		world  func(w *resolverWorld)
		want   discovery.Resolution
	}{
		{"1 IPv4", "192.0.2.1", nil,
			discovery.Resolution{Step: "1", Host: "192.0.2.1", CertName: "192.0.2.1", Targets: targetsOf("192.0.2.1 8448")}},
		{"1 IPv4 with a port", "192.0.2.1:443", nil,
			discovery.Resolution{Step: "1", Host: "192.0.2.1:443", CertName: "192.0.2.1", Targets: targetsOf("192.0.2.1 443")}},
		{"1 IPv6", "[2001:db8::1]", nil,
			discovery.Resolution{Step: "1", Host: "[2001:db8::1]", CertName: "2001:db8::1", Targets: targetsOf("2001:db8::1 8448")}},
		{"1 IPv6 with a port, spelt otherwise", "[2001:DB8:0::0001]:00443", nil,
			discovery.Resolution{Step: "1", Host: "[2001:DB8:0::0001]:00443", CertName: "2001:db8::1", Targets: targetsOf("2001:db8::1 443")}},
		{"2", "a.ex:443", nil,
			discovery.Resolution{Step: "2", Host: "a.ex:443", CertName: "a.ex", Targets: targetsOf("a.ex 443")}},
		{"2 in upper case, with a dot", "A.Ex.:8448", nil,
			discovery.Resolution{Step: "2", Host: "A.Ex.:8448", CertName: "a.ex", Targets: targetsOf("a.ex 8448")}},
		{"3.1 IPv4", "a.ex", func(w *resolverWorld) { w.delegate("a.ex", "192.0.2.1") },
			discovery.Resolution{Step: "3.1", Delegated: "192.0.2.1", Host: "192.0.2.1", CertName: "192.0.2.1", Targets: targetsOf("192.0.2.1 8448")}},
		{"3.1 IPv4 with a port", "a.ex", func(w *resolverWorld) { w.delegate("a.ex", "192.0.2.1:443") },
			discovery.Resolution{Step: "3.1", Delegated: "192.0.2.1:443", Host: "192.0.2.1:443", CertName: "192.0.2.1", Targets: targetsOf("192.0.2.1 443")}},
		{"3.1 IPv6", "a.ex", func(w *resolverWorld) { w.delegate("a.ex", "[2001:db8::1]") },
			discovery.Resolution{Step: "3.1", Delegated: "[2001:db8::1]", Host: "[2001:db8::1]", CertName: "2001:db8::1", Targets: targetsOf("2001:db8::1 8448")}},
		{"3.1 IPv6 with a port", "a.ex", func(w *resolverWorld) { w.delegate("a.ex", "[2001:db8::1]:443") },
			discovery.Resolution{Step: "3.1", Delegated: "[2001:db8::1]:443", Host: "[2001:db8::1]:443", CertName: "2001:db8::1", Targets: targetsOf("2001:db8::1 443")}},
		{"3.2", "a.ex", func(w *resolverWorld) {
			w.delegate("a.ex", "B.ex:443")
			w.dns.SRV(fed("b.ex"), net.SRV{Target: "c.ex.", Port: 1}) // not asked for
		}, discovery.Resolution{Step: "3.2", Delegated: "B.ex:443", Host: "B.ex:443", CertName: "b.ex", Targets: targetsOf("b.ex 443")}},
		{"3.3", "a.ex", func(w *resolverWorld) {
			w.delegate("a.ex", "b.ex")
			w.dns.SRV(fed("b.ex"), net.SRV{Target: "C.ex.", Port: 1})
			w.dns.SRV(legacy("b.ex"), net.SRV{Target: "d.ex.", Port: 2})
			w.dns.SRV(fed("a.ex"), net.SRV{Target: "e.ex.", Port: 3})
		}, discovery.Resolution{Step: "3.3", Delegated: "b.ex", Host: "b.ex", CertName: "b.ex", Targets: targetsOf("c.ex 1")}},
		{"3.4", "a.ex", func(w *resolverWorld) {
			w.delegate("a.ex", "b.ex")
			w.dns.SRV(legacy("b.ex"), net.SRV{Target: "d.ex.", Port: 2})
		}, discovery.Resolution{Step: "3.4", Delegated: "b.ex", Host: "b.ex", CertName: "b.ex", Targets: targetsOf("d.ex 2")}},
		{"3.5", "a.ex", func(w *resolverWorld) {
			w.delegate("a.ex", "B.ex")
			w.dns.SRV(fed("a.ex"), net.SRV{Target: "e.ex.", Port: 3})
		}, discovery.Resolution{Step: "3.5", Delegated: "B.ex", Host: "B.ex", CertName: "b.ex", Targets: targetsOf("b.ex 8448")}},
		{"4", "A.ex", func(w *resolverWorld) {
			w.status("a.ex", 404)
			w.dns.SRV(fed("a.ex"), net.SRV{Target: "c.ex.", Port: 1}, net.SRV{Target: "b.ex.", Port: 2, Priority: 1})
			w.dns.SRV(legacy("a.ex"), net.SRV{Target: "d.ex.", Port: 2})
		}, discovery.Resolution{Step: "4", Host: "A.ex", CertName: "a.ex", Targets: targetsOf("c.ex 1", "b.ex 2")}},
		{"5", "a.ex", func(w *resolverWorld) {
			w.dns.SRV(legacy("a.ex"), net.SRV{Target: "d.ex.", Port: 2})
		}, discovery.Resolution{Step: "5", Host: "a.ex", CertName: "a.ex", Targets: targetsOf("d.ex 2")}},
		{"6", "a.ex", func(w *resolverWorld) { w.dns.Addr("a.ex", "127.0.0.1") },
			discovery.Resolution{Step: "6", Host: "a.ex", CertName: "a.ex", Targets: targetsOf("a.ex 8448")}},
		{"6 in upper case, with a dot", "A.EX.", nil,
			discovery.Resolution{Step: "6", Host: "A.EX.", CertName: "a.ex", Targets: targetsOf("a.ex 8448")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newResolverWorld(t)
			if c.world != nil {
				c.world(w)
			}
			c.want.Server = c.server
			for _, which := range []string{"asked", "remembered"} {
				if diff := diffResolution(c.want, w.resolve(c.server)); diff != "" {
					t.Errorf("%s: %s", which, diff)
				}
			}
			if n := w.fetches("a.ex"); n > 1 {
				t.Errorf(".well-known was asked for %d times", n)
			}
		})
	}
}

func TestNamesThatSayWhereTheyAreAskNobody(t *testing.T) {
	w := newResolverWorld(t)
	for _, server := range []fedinvite.ServerName{"127.0.0.1", "[::1]:443", "a.ex:8448"} {
		w.resolve(server)
	}
	if n := w.dns.AllQuestions(); n != 0 || len(w.net.Dialled()) != 0 {
		t.Error(n, w.net.Dialled())
	}
}

func TestOneNameInAnyCaseIsAskedForOnce(t *testing.T) {
	w := newResolverWorld(t)
	w.delegate("a.ex", "b.ex")
	for _, server := range []fedinvite.ServerName{"a.ex", "A.ex", "a.EX."} {
		w.wantStep(server, "3.5")
	}
	if w.fetches("a.ex") != 1 || w.dns.Questions("_matrix._tcp.b.ex", dnstest.SRV) != 1 {
		t.Error(w.fetches("a.ex"), w.dns.Questions("_matrix._tcp.b.ex", dnstest.SRV))
	}
}

func TestWhatCannotBeResolved(t *testing.T) {
	long := strings.Repeat("a", 64) + ".ex"
	for _, c := range []struct {
		name   string
		server fedinvite.ServerName
		world  func(w *resolverWorld)
		want   error
	}{
		{"nothing", "", nil, fedinvite.ErrIdentifier},
		{"no server name", "a_b", nil, fedinvite.ErrIdentifier},
		{"another port", "a.ex:65536", nil, fedinvite.ErrIdentifier},
		{"a zone", "[fe80::1%eth0]", nil, fedinvite.ErrIdentifier},
		{"port 0", "a.ex:0", nil, discovery.ErrNoServer},
		{"port 0 of an address", "[::1]:000", nil, discovery.ErrNoServer},
		{"a dot", ".", nil, discovery.ErrAddress},
		{"a dot with a port", ".:8448", nil, discovery.ErrAddress},
		{"an empty label", "a..ex", nil, discovery.ErrAddress},
		{"a long label", fedinvite.ServerName(long), nil, discovery.ErrAddress},
		{"a number", "2130706433", nil, discovery.ErrAddress},
		{"an address of other programs", "127.1", nil, discovery.ErrAddress},
		{"delegated to port 0", "a.ex", func(w *resolverWorld) { w.delegate("a.ex", "b.ex:0") }, discovery.ErrNoServer},
		{"delegated to a dot", "a.ex", func(w *resolverWorld) { w.delegate("a.ex", ".") }, discovery.ErrAddress},
		{"delegated to a number", "a.ex", func(w *resolverWorld) { w.delegate("a.ex", "127.1") }, discovery.ErrAddress},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newResolverWorld(t)
			if c.world != nil {
				c.world(w)
			}
			for range 2 {
				res, err := w.Resolve(t.Context(), c.server)
				if !errors.Is(err, c.want) || res.Step != "" || len(err.Error()) > 600 {
					t.Errorf("%+v %v", res, err)
				}
			}
			if c.world == nil && (w.dns.AllQuestions() > 0 || len(w.net.Dialled()) > 0) {
				t.Error("somebody was asked")
			}
		})
	}
}

func TestNewResolverNamesTheWrongField(t *testing.T) {
	for field, c := range map[string]discovery.ResolverConfig{
		"MaxServers": {MaxServers: -1}, "MaxFetches": {MaxFetches: -1}, "MaxFetches ": {MaxFetches: 1<<20 + 1}, "Timeout": {Timeout: -1}, "UserAgent": {UserAgent: "a\r\nb"},
	} {
		if r, err := discovery.NewResolver(c); r != nil || err == nil || !strings.Contains(err.Error(), strings.TrimSpace(field)) {
			t.Error(field, err)
		}
	}
	if r, err := discovery.NewResolver(discovery.ResolverConfig{}); r == nil || err != nil {
		t.Error(err)
	}
}

func TestTargetsAreTheCallersOwn(t *testing.T) {
	w := newResolverWorld(t)
	w.dns.SRV("_matrix-fed._tcp.a.ex", net.SRV{Target: "b.ex.", Port: 1})
	w.delegate("c.ex", "d.ex:443")
	for _, server := range []fedinvite.ServerName{"a.ex", "b.ex", "c.ex"} {
		w.resolve(server).Targets[0].Host = "spoilt.ex"
		if got := w.resolve(server).Targets[0].Host; got == "spoilt.ex" {
			t.Error(server, "is spoilt")
		}
	}
}

func TestTraceTellsWhatWasAskedAndAnswered(t *testing.T) {
	type told struct{ step, question, answer, err string }
	later := func(d time.Duration) time.Time { return resolverStart.Add(d) }
	w := newResolverWorld(t)
	w.delegate("a.ex", "b.ex")
	w.status("d.ex", 404)
	w.dns.SRV("_matrix-fed._tcp.b.ex", net.SRV{Target: "c.ex.", Port: 1, Priority: 2, Weight: 3}, net.SRV{Target: "d.ex.", Port: 4, Priority: 5})
	w.dns.SRV("_matrix._tcp.d.ex", net.SRV{Target: "."})
	w.dns.Fail("_matrix._tcp.e.ex")
	for _, c := range []struct {
		server  fedinvite.ServerName
		want    []told
		expires []time.Time
	}{
		{"A.ex", []told{
			{"3", "https://a.ex/.well-known/matrix/server", `m.server is "b.ex"`, ""},
			{"3.3", "SRV _matrix-fed._tcp.b.ex", `2 3 1 "c.ex", 5 0 4 "d.ex"`, ""},
		}, []time.Time{later(24 * time.Hour), later(5 * time.Minute)}},
		{"c.ex", []told{
			{"3", "https://c.ex/.well-known/matrix/server", "", "no such host"},
			{"4", "SRV _matrix-fed._tcp.c.ex", "no records", ""},
			{"5", "SRV _matrix._tcp.c.ex", "no records", ""},
		}, []time.Time{later(5 * time.Minute), later(5 * time.Minute), later(5 * time.Minute)}},
		{"d.ex", []told{
			{"3", "https://d.ex/.well-known/matrix/server", "", "404"},
			{"4", "SRV _matrix-fed._tcp.d.ex", "no records", ""},
			{"5", "SRV _matrix._tcp.d.ex", "", discovery.ErrNoServer.Error()},
		}, []time.Time{later(5 * time.Minute), later(5 * time.Minute), later(5 * time.Minute)}},
		{"e.ex", []told{
			{"3", "https://e.ex/.well-known/matrix/server", "", "no such host"},
			{"4", "SRV _matrix-fed._tcp.e.ex", "no records", ""},
			{"5", "SRV _matrix._tcp.e.ex", "", "server misbehaving"},
		}, []time.Time{later(5 * time.Minute), later(time.Second), later(time.Second)}},
	} {
		for _, cached := range []bool{false, true} {
			w.traced = nil
			_, _ = w.Resolve(t.Context(), c.server)
			if len(w.traced) != len(c.want) {
				t.Errorf("%s: %+v", c.server, w.traced)
				continue
			}
			for i, a := range w.traced {
				errorText := ""
				if a.Err != nil {
					errorText = a.Err.Error()
				}
				got := told{a.Step, a.Question, a.Answer, c.want[i].err}
				if got != c.want[i] || !strings.Contains(errorText, c.want[i].err) || (errorText == "") != (c.want[i].err == "") ||
					a.Server != c.server || a.Cached != cached || !a.Expires.Equal(c.expires[i]) {
					t.Errorf("%s, cached %v: %+v, want %+v", c.server, cached, a, c.want[i])
				}
			}
		}
	}
}

func TestTraceHasTheValuesOfTheCallAndNotItsEnd(t *testing.T) {
	type key struct{}
	var got []any
	w := newResolverWorld(t, func(c *discovery.ResolverConfig) {
		c.Trace = func(ctx context.Context, a discovery.Answer) {
			got = append(got, ctx.Value(key{}))
			if _, ends := ctx.Deadline(); ends && !a.Cached {
				t.Error("it has a deadline")
			}
		}
	})
	ctx, cancel := context.WithTimeout(context.WithValue(t.Context(), key{}, 1), time.Minute)
	defer cancel()
	for range 2 {
		if _, err := w.Resolve(ctx, "a.ex"); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(got, []any{1, 1, 1, 1, 1, 1}) {
		t.Error(got)
	}
}

func TestUserAgent(t *testing.T) {
	for _, agent := range []string{"", "example/1.0"} {
		w := newResolverWorld(t, func(c *discovery.ResolverConfig) { c.UserAgent = agent })
		got := "not asked"
		w.page("a.ex", func(_ http.ResponseWriter, r *http.Request) { got = r.UserAgent() })
		w.resolve("a.ex")
		if got != agent {
			t.Errorf("%q, want %q", got, agent)
		}
	}
}
