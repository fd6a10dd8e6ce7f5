package discovery_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// A deadFirst is an internet without a network, for synctest: a.ex is found by SRV records
// at 8.0.0.1:9001, which does not answer, and 8.0.0.2:9002, which refuses connections.
type deadFirst struct {
	silent bool // the first accepts connections and says nothing

	mu     sync.Mutex
	began  time.Time
	dialed []string // "8.0.0.1 0s"
}

func (*deadFirst) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	switch host {
	case "t1.ex.":
		return []netip.Addr{netip.MustParseAddr("8.0.0.1")}, nil
	case "t2.ex.":
		return []netip.Addr{netip.MustParseAddr("8.0.0.2")}, nil
	}
	return nil, &net.DNSError{IsNotFound: true}
}

func (*deadFirst) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", []*net.SRV{{Target: "t1.ex.", Port: 9001, Priority: 1}, {Target: "t2.ex.", Port: 9002, Priority: 2}}, nil
}

func (d *deadFirst) dial(ctx context.Context, network, address string) (net.Conn, error) {
	host, _, _ := strings.Cut(address, ":")
	d.mu.Lock()
	d.dialed = append(d.dialed, host+" "+time.Since(d.began).String())
	d.mu.Unlock()
	switch {
	case host != "8.0.0.1":
		return nil, errors.New("refused")
	case d.silent:
		return silentNetwork(ctx, network, address)
	}
	<-ctx.Done() // as when packets are dropped
	return nil, ctx.Err()
}

// ask sends a request that has so much time, and returns what was dialled until that was over
// and connecting too.
func (d *deadFirst) ask(t *testing.T, transport *discovery.Transport, left time.Duration) []string {
	ctx, cancel := context.WithTimeout(t.Context(), left)
	defer cancel()
	d.mu.Lock()
	d.began, d.dialed = time.Now(), nil
	d.mu.Unlock()
	if _, _, err := put(ctx, t, transport, "a.ex/x", "{}", true); err == nil {
		t.Error("no error")
	}
	time.Sleep(20 * time.Second)
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.dialed
}

func TestTargetThatDoesNotAnswerLeavesTimeForTheNext(t *testing.T) {
	for name, silent := range map[string]bool{"no connection": false, "no handshake": true} {
		for left, second := range map[time.Duration]string{
			time.Hour:        "10s",
			10 * time.Second: "5s",
			3 * time.Second:  "2s",
			time.Second:      "", // there is none left, but the target is known to be down then
		} {
			t.Run(name+" in "+left.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					d := &deadFirst{silent: silent}
					transport, err := discovery.New(discovery.Config{DNS: d, Dial: d.dial})
					if err != nil {
						t.Fatal(err)
					}
					want := []string{"8.0.0.1 0s", "8.0.0.2 " + second}
					if second == "" {
						want = want[:1]
					}
					if got := d.ask(t, transport, left); !slices.Equal(got, want) {
						t.Errorf("got %q, want %q", got, want)
					}
					if got := d.ask(t, transport, left); got[0] != "8.0.0.2 0s" && second == "" {
						t.Errorf("the next request began with %q", got)
					}
				})
			})
		}
	}
}

// It is then we who gave it up.
func TestTargetIsNotDownBecauseIdleConnectionsAreClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := new(deadFirst)
		transport, err := discovery.New(discovery.Config{DNS: d, Dial: d.dial})
		if err != nil {
			t.Fatal(err)
		}
		time.AfterFunc(1500*time.Millisecond, transport.CloseIdleConnections)
		d.ask(t, transport, time.Second)
		if got := d.ask(t, transport, time.Second); got[0] != "8.0.0.1 0s" {
			t.Errorf("the next request began with %q", got)
		}
	})
}
