package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/dnstest"
)

// resolverName returns one of many names.
func resolverName(n int) fedinvite.ServerName {
	return fedinvite.ServerName(fmt.Sprintf("n%d.ex", n))
}

// held is a .well-known that is answered only once release is called; begun has what
// is waiting for it.
func (w *resolverWorld) held(name, to string) (begun chan struct{}, release func()) {
	begun = make(chan struct{}, 100)
	free := make(chan struct{})
	w.page(name, func(rw http.ResponseWriter, r *http.Request) {
		begun <- struct{}{}
		select {
		case <-free:
			_, _ = io.WriteString(rw, fmt.Sprintf(`{"m.server":%q}`, to))
		case <-r.Context().Done():
		}
	})
	return begun, sync.OnceFunc(func() { close(free) })
}

func TestManyWhoAskAtOnceAreAnsweredByOneLookUp(t *testing.T) {
	w := newResolverWorld(t)
	begun, release := w.held("a.ex", "b.ex")
	defer release()
	results := make(chan error)
	for range 100 {
		go func() {
			res, err := w.Resolve(context.Background(), "a.ex")
			if err == nil && res.Step != "3.5" {
				err = fmt.Errorf("%+v", res)
			}
			results <- err
		}()
	}
	<-begun
	release()
	for range 100 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if n := w.fetches("a.ex"); n != 1 {
		t.Error(n, "requests")
	}
	if n := w.dns.Questions("_matrix-fed._tcp.b.ex", dnstest.SRV); n != 1 {
		t.Error(n, "questions")
	}
}

func TestWhoCancelsDoesNotCancelForOthers(t *testing.T) {
	w := newResolverWorld(t)
	begun, release := w.held("a.ex", "b.ex:443")
	defer release()
	cause := errors.New("no more")
	first, cancel := context.WithCancelCause(t.Context())
	results := make(chan error)
	ask := func(ctx context.Context) {
		_, err := w.Resolve(ctx, "a.ex")
		results <- err
	}
	go ask(first)
	<-begun
	cancel(cause)
	if err := <-results; !errors.Is(err, cause) {
		t.Error(err)
	}
	go ask(t.Context())
	release()
	if err := <-results; err != nil {
		t.Error(err)
	}
	if n := w.fetches("a.ex"); n != 1 {
		t.Error(n, "requests")
	}
}

func TestWhoCancelsWaitsNoLongerForRecords(t *testing.T) {
	w := newResolverWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	free := make(chan struct{})
	w.dns.Hook(func(name string, kind dnstest.Type) {
		if kind == dnstest.SRV {
			cancel()
			<-free
		}
	})
	if _, err := w.Resolve(ctx, "a.ex"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	close(free)
	w.wantStep("a.ex", "6")
}

func TestHooksOfTheCallersRequestSeeNothingOfALookUp(t *testing.T) {
	w := newResolverWorld(t)
	w.delegate("a.ex", "b.ex")
	seen := func(string) { t.Error("a hook was called") }
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GetConn: seen, DNSStart: func(httptrace.DNSStartInfo) { seen("") }, ConnectStart: func(string, string) { seen("") },
	})
	if _, err := w.Resolve(ctx, "a.ex"); err != nil {
		t.Error(err)
	}
}

func TestALookUpThatTakesTooLongIsAFailure(t *testing.T) {
	w := newResolverWorld(t, func(c *discovery.ResolverConfig) { c.Timeout = time.Second })
	_, release := w.held("a.ex", "b.ex:443")
	defer release()
	w.wantStep("a.ex", "6")
	if a := w.freshAnswer(); !errors.Is(a.Err, context.DeadlineExceeded) {
		t.Error(a.Err)
	}
}

func TestLookUpsAreBoundedAndOthersWait(t *testing.T) {
	const turns, waiting = 2, 16 * 2
	w := newResolverWorld(t, func(c *discovery.ResolverConfig) { c.MaxFetches = turns; c.Timeout = time.Minute })
	begun := make(chan struct{}, 1000)
	free := make(chan struct{})
	release := sync.OnceFunc(func() { close(free) })
	defer release()
	for n := range turns + waiting + 1 {
		w.page(string(resolverName(n)), func(rw http.ResponseWriter, r *http.Request) {
			begun <- struct{}{}
			<-free
			_, _ = io.WriteString(rw, `{"m.server":"b.ex:443"}`)
		})
	}
	results := make(chan error)
	for n := range turns + waiting + 1 {
		go func() {
			_, err := w.Resolve(context.Background(), resolverName(n))
			results <- err
		}()
	}
	for range turns {
		<-begun
	}
	if err := <-results; err == nil || !errors.Is(err, discovery.ErrBusy) || errors.Is(err, discovery.ErrNoServer) {
		t.Error(err) // the one too many, whichever it is
	}
	if len(begun) > 0 {
		t.Error("more look-ups at a time than there may be")
	}
	release()
	for range turns + waiting {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// A resolverSilence is a DNS that answers nothing before the context ends.
type resolverSilence struct{ badDNS }

func (resolverSilence) LookupSRV(ctx context.Context, _, _, _ string) (string, []*net.SRV, error) {
	<-ctx.Done()
	return "", nil, ctx.Err()
}

func TestATurnThatDoesNotComeIsNotHeldAgainstTheName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := discovery.NewResolver(discovery.ResolverConfig{MaxFetches: 1, Dialer: &discovery.Dialer{DNS: resolverSilence{}}})
		if err != nil {
			t.Fatal(err)
		}
		results := make(chan error, 3)
		began := time.Now()
		for n := range 3 {
			go func() {
				_, err := r.Resolve(context.Background(), resolverName(n))
				results <- err
			}()
		}
		busy, slow := 0, 0
		for range 3 {
			switch err := <-results; {
			case errors.Is(err, context.DeadlineExceeded):
				slow++
			case errors.Is(err, discovery.ErrBusy):
				busy++
			}
		}
		if busy+slow != 3 || slow == 0 || time.Since(began) > 40*time.Second {
			t.Errorf("%d without a turn, %d out of time, after %v", busy, slow, time.Since(began))
		}
	})
}

func TestManyNamesAtOnce(t *testing.T) {
	w := newResolverWorld(t, func(c *discovery.ResolverConfig) { c.MaxServers = 8; c.Trace = nil })
	for n := range 16 {
		w.delegate(string(resolverName(n)), fmt.Sprintf("d%d.ex", n%4), "Cache-Control: max-age=0")
	}
	var all sync.WaitGroup
	for n := range 8 {
		all.Go(func() {
			for i := range 200 {
				w.at(time.Duration(n*200+i) * time.Second)
				if _, err := w.Resolve(context.Background(), resolverName((n+i)%16)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
