package discovery_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// A patchyNet is an internet of one address, with a DNS that may be silent. Connections
// are never made: packets are dropped, or connecting is refused.
type patchyNet struct {
	srv             atomic.Pointer[net.SRV] // nil: none
	silent, refuses atomic.Bool
	dialling, most  atomic.Int32
}

func (p *patchyNet) LookupNetIP(context.Context, string, string) (addrs []netip.Addr, err error) {
	for n := range byte(16) {
		addrs = append(addrs, netip.AddrFrom4([4]byte{8, 0, 0, n}))
	}
	return addrs, nil
}

func (p *patchyNet) LookupSRV(ctx context.Context, _, _, _ string) (string, []*net.SRV, error) {
	if p.silent.Load() {
		<-ctx.Done()
		return "", nil, ctx.Err()
	}
	if record := p.srv.Load(); record != nil {
		return "", []*net.SRV{record}, nil
	}
	return "", nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

func (p *patchyNet) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if p.refuses.Load() {
		return nil, errors.New("connection refused")
	}
	p.most.Store(max(p.most.Load(), p.dialling.Add(1)))
	defer p.dialling.Add(-1)
	<-ctx.Done()
	return nil, ctx.Err()
}

// resolver returns one with the clock of the bubble.
func (p *patchyNet) resolver(t *testing.T, change ...func(*discovery.ResolverConfig)) *discovery.Resolver {
	t.Helper()
	c := discovery.ResolverConfig{Dialer: &discovery.Dialer{DNS: p, Dial: p.dial}}
	for _, f := range change {
		f(&c)
	}
	r, err := discovery.NewResolver(c)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// wantAfter checks the step, "" for an error, and how long it takes until there is one.
func wantAfter(t *testing.T, r *discovery.Resolver, server fedinvite.ServerName, step string, want time.Duration) {
	t.Helper()
	began := time.Now()
	res, err := r.Resolve(context.Background(), server)
	if took := time.Since(began); res.Step != step || (err != nil) != (step == "") || took != want {
		t.Errorf("step %q after %v, want %q after %v; %v", res.Step, took, step, want, err)
	}
}

// A request for keys has 10 s.
func TestFindingAServerLeavesHalfOf10SecondsToTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(patchyNet)
		r := p.resolver(t)
		wantAfter(t, r, "a.ex", "6", 3*time.Second)
		p.silent.Store(true)
		wantAfter(t, r, "b.ex", "", 5*time.Second)
		slow := p.resolver(t, func(c *discovery.ResolverConfig) { c.Timeout = 50 * time.Second })
		wantAfter(t, slow, "b.ex", "", 50*time.Second)
	})
}

func TestConfigTimeoutAndMaxFetchesAreThoseOfTheResolver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(patchyNet)
		p.silent.Store(true)
		transport, err := discovery.New(discovery.Config{DNS: p, Dial: p.dial, Timeout: 10 * time.Second, MaxFetches: 1})
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error, 2)
		began := time.Now()
		for n := range 2 {
			go func() {
				_, err := transport.Resolver().Resolve(context.Background(), resolverName(n))
				results <- err
			}()
		}
		if err := <-results; !errors.Is(err, discovery.ErrBusy) || time.Since(began) != 2*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		if err := <-results; !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
	for _, c := range []discovery.Config{{Timeout: -1}, {MaxFetches: -1}, {MaxFetches: 1 << 62}} {
		if _, err := discovery.New(c); err == nil {
			t.Errorf("%+v is accepted", c)
		}
	}
}

func TestNobodyWaitsAgainForAWebServerThatDidNotAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(patchyNet)
		r := p.resolver(t)
		wantAfter(t, r, "a.ex", "6", 3*time.Second)
		for range 20 { // past all pauses
			time.Sleep(time.Hour)
			wantAfter(t, r, "a.ex", "6", 0)
			time.Sleep(4 * time.Second)
		}
		time.Sleep(2*time.Hour + time.Second) // and the time in which it counts late
		wantAfter(t, r, "a.ex", "6", 3*time.Second)
	})
}

func TestRecordsAreUsedAtOnceWhileTheDNSIsSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(patchyNet)
		p.refuses.Store(true)
		p.srv.Store(&net.SRV{Target: "b.ex.", Port: 1})
		r := p.resolver(t)
		wantAfter(t, r, "a.ex", "4", 0)
		p.silent.Store(true)
		for range 12 {
			time.Sleep(5 * time.Minute)
			wantAfter(t, r, "a.ex", "4", 0)
		}
		time.Sleep(5 * time.Minute)
		wantAfter(t, r, "a.ex", "", 2*time.Second)
	})
}

func TestConnectingEndsWithTheLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := new(patchyNet)
		r := p.resolver(t)
		var all sync.WaitGroup
		for n := range 10 {
			all.Go(func() { _, _ = r.Resolve(context.Background(), resolverName(n)) })
		}
		all.Wait()
		synctest.Wait()
		if n := p.dialling.Load(); n != 0 {
			t.Errorf("%d are being dialled when no look-up is under way", n)
		}
		if n := p.most.Load(); n > 10*4 {
			t.Errorf("%d were dialled at a time for 10 names", n)
		}
	})
}

// A lateConn is a connection to a server that says nothing until the look-up has ended.
type lateConn struct {
	net.Conn
	closed func()
}

func (c lateConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

func TestAConnectionEndsWithTheLookUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan struct{})
		ours, theirs := net.Pipe()
		go func() { _, _ = io.Copy(io.Discard, theirs) }()
		p := new(patchyNet)
		r := p.resolver(t, func(c *discovery.ResolverConfig) {
			c.Dialer.Dial = func(context.Context, string, string) (net.Conn, error) {
				return lateConn{ours, sync.OnceFunc(func() { close(closed) })}, nil
			}
		})
		wantAfter(t, r, "a.ex", "6", 3*time.Second)
		synctest.Wait()
		select {
		case <-closed:
		default:
			t.Error("it is open when the look-up is over")
		}
		<-closed // before the bubble's end
	})
}

func TestWellKnownIsAskedForByHTTP1AndTheConnectionClosed(t *testing.T) {
	w := newResolverWorld(t)
	w.page("a.ex", func(rw http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 1 || !r.Close {
			t.Errorf("%s, close %v", r.Proto, r.Close)
		}
		rw.WriteHeader(http.StatusNotFound)
	})
	w.wantStep("a.ex", "6")
	if n := w.fetches("a.ex"); n != 1 {
		t.Error(n, "requests")
	}
}

// flood has the Resolver busy with names that it knows nothing of, until release is
// called: so many look-ups are under way, and as many wait as may.
func (w *resolverWorld) flood(turns, waiting int) (release func()) {
	w.t.Helper()
	begun, free := make(chan struct{}, turns), make(chan struct{})
	names := turns + waiting + 1
	for n := range names {
		w.page(string(resolverName(n)), func(http.ResponseWriter, *http.Request) {
			begun <- struct{}{}
			<-free
		})
	}
	release = sync.OnceFunc(func() { close(free) })
	w.t.Cleanup(release)
	results := make(chan error, names)
	for n := range names {
		go func() {
			_, err := w.Resolve(context.Background(), resolverName(n))
			results <- err
		}()
	}
	for range turns {
		<-begun
	}
	if err := <-results; !errors.Is(err, discovery.ErrBusy) { // the one too many
		w.t.Errorf("%v, want ErrBusy", err)
	}
	return release
}

func TestAQuarterOfTheLookUpsIsForNamesOfWhichSomethingIsKnown(t *testing.T) {
	w := newResolverWorld(t, func(c *discovery.ResolverConfig) { c.MaxFetches, c.Timeout = 4, time.Minute })
	w.delegate("a.ex", "b.ex:443", "Cache-Control: max-age=0")
	w.status("plain.ex", 404)
	w.wantStep("a.ex", "3.2")
	w.wantStep("plain.ex", "6")
	w.at(5 * time.Minute)
	w.delegate("a.ex", "c.ex:443")
	release := w.flood(3, 16*4)
	if res := w.resolve("a.ex"); res.Host != "c.ex:443" {
		t.Errorf("%+v", res)
	}
	w.wantStep("plain.ex", "6") // as it was
	if n := w.fetches("plain.ex"); n != 1 {
		t.Error(n, "requests")
	}
	release()
}
