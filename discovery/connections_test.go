package discovery_test

import (
	"fmt"
	"io"
	"net/http"
	"runtime"
	"sync"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/internal/internet"
)

// forProtocols runs f by HTTP/1.1 and HTTP/2, in internets with a server for names below ex.
func forProtocols(t *testing.T, f func(t *testing.T, n *internet.Network)) {
	for name, http1 := range map[string]bool{"HTTP/1.1": true, "HTTP/2": false} {
		t.Run(name, func(t *testing.T) {
			n := internet.New(t)
			n.HTTP1 = http1
			for i := range 30 {
				n.DNS.Addr(fmt.Sprintf("n%d.ex", i), "8.0.0.1")
			}
			f(t, n)
		})
	}
}

func TestIdleConnectionsAreBoundedInAll(t *testing.T) {
	forProtocols(t, func(t *testing.T, n *internet.Network) {
		server := n.Serve("8.0.0.1:8448", []string{"*.ex"}, nil)
		transport := n.Transport(nil)
		transport.SetMaxConnections(10)
		for i := range 30 {
			for _, name := range []string{"n0", fmt.Sprintf("n%d", i)} { // n0 is used all the time
				if _, _, err := get(t, transport, name+".ex:8448/x"); err != nil {
					t.Fatal(err)
				}
			}
			if open := n.Open(); open != min(i+1, 10) {
				t.Fatalf("%d connections to %d targets", open, i+1)
			}
		}
		if got := server.Connections(); got != 30 {
			t.Errorf("%d connections were made: not those used least lately were closed", got)
		}
	})
}

func TestConnectionsInUseAreNotClosedThoughThereAreMany(t *testing.T) {
	forProtocols(t, func(t *testing.T, n *internet.Network) {
		release := make(chan struct{})
		n.Serve("8.0.0.1:8448", []string{"*.ex"}, func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			<-release
			_, _ = io.WriteString(w, "{}")
		})
		transport := n.Transport(nil)
		transport.SetMaxConnections(3)
		var requests sync.WaitGroup
		for i := range 10 {
			requests.Go(func() {
				if _, body, err := get(t, transport, fmt.Sprintf("n%d.ex:8448/x", i)); body != "{}" || err != nil {
					t.Errorf("got %q, %v", body, err)
				}
			})
		}
		for n.Open() < 10 {
			runtime.Gosched()
		}
		close(release)
		requests.Wait()
		for i := 10; n.Open() > 3; i = max(10, (i+1)%30) { // now that they are idle
			if _, _, err := get(t, transport, fmt.Sprintf("n%d.ex:8448/x", i)); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// net/http makes a connection for each request then, and keeps them all.
func TestIdleConnectionsToOneTargetAreFew(t *testing.T) {
	n := oneTarget(t)
	n.Streams = 2
	release := make(chan struct{})
	server := n.Serve("8.0.0.1:8448", []string{"a.ex"}, func(http.ResponseWriter, *http.Request) { <-release })
	transport := n.Transport(nil)
	var requests sync.WaitGroup
	for range 20 {
		requests.Go(func() { _, _, _ = get(t, transport, "a.ex:8448/x") })
	}
	for server.Connections() < 10 {
		runtime.Gosched()
	}
	close(release)
	requests.Wait()
	for n.Open() > 2 { // a connection may be in use still when its request has the answer
		_, _, _ = get(t, transport, "a.ex:8448/x")
	}
}

func TestPoolsWithoutConnectionsAreForgotten(t *testing.T) {
	forProtocols(t, func(t *testing.T, n *internet.Network) {
		n.Serve("8.0.0.1:8448", []string{"*.ex"}, nil)
		n.Serve("8.0.0.1:8449", []string{"another"}, nil)
		transport := n.Transport(nil)
		for _, dead := range []string{"n1.ex:1", "n1.ex:8449", "127.0.0.1:1"} { // no connection, no certificate, not permitted
			if _, _, err := get(t, transport, dead+"/x"); err == nil {
				t.Errorf("%s: no error", dead)
			}
		}
		if got := transport.Pools(); got != 0 {
			t.Errorf("%d pools without connections", got)
		}
		for i := range 5 {
			_, _, _ = get(t, transport, fmt.Sprintf("n%d.ex:8448/x", i))
		}
		if got := transport.Pools(); got != 5 {
			t.Errorf("%d pools", got)
		}
		for transport.Pools() > 0 { // what is not idle yet will be soon
			transport.CloseIdleConnections()
		}
		if got := n.Open(); got != 0 {
			t.Errorf("%d connections are left", got)
		}
	})
}
