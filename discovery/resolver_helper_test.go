package discovery_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/dnstest"
	"github.com/seed-0a46cb1a/fedinvite/internal/internet"
)

var resolverStart = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// A resolverWorld is an internet of one web server with many names, and a Resolver in it.
type resolverWorld struct {
	t   testing.TB
	net *internet.Network
	dns *dnstest.Server // its

	mu       sync.Mutex
	now      time.Time
	pages    map[string]http.HandlerFunc
	asked    map[string]int
	requests []*http.Request       // of .well-known
	answers  chan discovery.Answer // new ones
	traced   []discovery.Answer    // all
	*discovery.Resolver
}

// newResolverWorld returns a world without names. change may change what the Resolver is made of.
func newResolverWorld(t testing.TB, change ...func(*discovery.ResolverConfig)) *resolverWorld {
	t.Helper()
	n := internet.New(t)
	w := &resolverWorld{
		t: t, net: n, dns: n.DNS, now: resolverStart,
		pages: map[string]http.HandlerFunc{}, asked: map[string]int{}, answers: make(chan discovery.Answer, 10_000),
	}
	n.Serve("127.0.0.1:443", []string{"*.ex", "*.www.ex"}, w.serveHTTP)
	plain := httptest.NewServer(http.HandlerFunc(w.serveHTTP))
	t.Cleanup(plain.Close)
	n.Place("127.0.0.1:80", plain.Listener.Addr().String())
	config := discovery.ResolverConfig{
		Dialer: &discovery.Dialer{Allow: discovery.Loopback(), DNS: w.dns.Resolver(), Dial: n.Dial},
		TLS:    &tls.Config{RootCAs: n.Roots},
		Now:    w.clock,
		Trace:  w.trace,
	}
	for _, f := range change {
		f(&config)
	}
	var err error
	if w.Resolver, err = discovery.NewResolver(config); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *resolverWorld) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// at sets the clock.
func (w *resolverWorld) at(since time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = resolverStart.Add(since)
}

func (w *resolverWorld) trace(_ context.Context, a discovery.Answer) {
	w.mu.Lock()
	w.traced = append(w.traced, a)
	w.mu.Unlock()
	if !a.Cached {
		w.answers <- a
	}
}

// freshAnswer waits for the next new answer of .well-known.
func (w *resolverWorld) freshAnswer() discovery.Answer { return w.freshAnswerOf("3") }

// freshAnswerOf waits for the next new answer of a step.
func (w *resolverWorld) freshAnswerOf(step string) discovery.Answer {
	w.t.Helper()
	for {
		select {
		case a := <-w.answers:
			if a.Step == step {
				return a
			}
		case <-time.After(20 * time.Second):
			w.t.Fatal("nothing is asked")
		}
	}
}

func (w *resolverWorld) serveHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	page := w.pages[r.Host]
	w.asked[r.Host]++
	w.requests = append(w.requests, r)
	w.mu.Unlock()
	if page == nil {
		http.NotFound(rw, r)
		return
	}
	page(rw, r)
}

// page sets what the web server of a name answers, and gives the name an address.
func (w *resolverWorld) page(name string, f http.HandlerFunc) {
	w.dns.Addr(name, "127.0.0.1")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.pages[name] = f
}

// body sets the body of a name's .well-known, with headers as "Name: value".
func (w *resolverWorld) body(name, body string, headers ...string) {
	w.page(name, func(rw http.ResponseWriter, _ *http.Request) {
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			rw.Header().Add(name, value)
		}
		_, _ = io.WriteString(rw, body)
	})
}

// delegate sets the .well-known of a name.
func (w *resolverWorld) delegate(name, to string, headers ...string) {
	w.body(name, fmt.Sprintf(`{"m.server":%q}`, to), headers...)
}

// status sets the status of a name's .well-known.
func (w *resolverWorld) status(name string, status int) {
	w.page(name, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(status) })
}

// redirect sets where the .well-known of a name is.
func (w *resolverWorld) redirect(name, to string) {
	w.page(name, func(rw http.ResponseWriter, _ *http.Request) {
		rw.Header().Set("Location", to)
		rw.WriteHeader(http.StatusFound)
	})
}

// fetches returns how often the .well-known of a name was asked for.
func (w *resolverWorld) fetches(name string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.asked[name]
}

// resolve fails the test on an error.
func (w *resolverWorld) resolve(server fedinvite.ServerName) discovery.Resolution {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	res, err := w.Resolve(ctx, server)
	if err != nil {
		w.t.Fatal(err)
	}
	return res
}

// wantStep checks the step only.
func (w *resolverWorld) wantStep(server fedinvite.ServerName, step string) {
	w.t.Helper()
	if res := w.resolve(server); res.Step != step {
		w.t.Errorf("%s at %v: step %s, want %s", server, w.clock().Sub(resolverStart), res.Step, step)
	}
}

func diffResolution(want, got discovery.Resolution) string {
	return cmp.Diff(want, got, cmpopts.IgnoreUnexported(discovery.Target{}))
}
