// Package internet has small internets for tests: a DNS, a certificate authority, and
// servers with public addresses, which are on loopback in truth.
//
//	n := internet.New(t)
//	n.DNS.Addr("a.ex", "8.0.0.1")
//	server := n.Serve("8.0.0.1:8448", []string{"a.ex"}, nil)
//	transport := n.Transport(nil) // finds a.ex there
//
// It is for tests of how servers are found and connected to; where they only have to be
// there, invitetest has a Network that needs fewer words.
package internet

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/dnstest"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// A Network is an internet of its own. An address where nobody listens refuses connections.
type Network struct {
	DNS     *dnstest.Server
	Roots   *x509.CertPool // the authority that has signed the certificates
	HTTP1   bool           // servers that are started from now on do not speak HTTP/2
	Streams int            // they allow so many at a time by HTTP/2; 0: the usual number

	t         testing.TB
	authority *invitetest.Network

	open atomic.Int32

	mu      sync.Mutex
	places  map[string]string // "8.0.0.1:8448": where it is on loopback
	dialled []string
	told    int // of them, by Dials
}

// stuck is the place of what neither accepts connections nor refuses them.
const stuck = "stuck"

// New returns a Network without names and servers, which ends with the test.
func New(t testing.TB) *Network {
	t.Helper()
	authority := invitetest.NewNetwork(t)
	return &Network{DNS: dnstest.New(t), Roots: authority.Roots(), t: t, authority: authority, places: map[string]string{}}
}

// TwoTargets has name at 8.0.0.1:9001 and, if that is dead, at 8.0.0.2:9002, by SRV records
// to t1.ex and t2.ex.
func (n *Network) TwoTargets(name string) {
	n.DNS.Addr(name)
	n.DNS.Addr("t1.ex", "8.0.0.1")
	n.DNS.Addr("t2.ex", "8.0.0.2")
	n.DNS.SRV("_matrix-fed._tcp."+name, net.SRV{Target: "t2.ex.", Port: 9002, Priority: 20}, net.SRV{Target: "t1.ex.", Port: 9001, Priority: 10})
}

// Certificate returns one for names and IP addresses.
func (n *Network) Certificate(names ...string) tls.Certificate {
	return n.authority.Certificate(names...)
}

// Place puts what listens on loopback at an address of the internet; "": nothing.
func (n *Network) Place(address, loopback string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.places[address] = loopback
}

// Stick has connecting to address take until its context or the test ends.
func (n *Network) Stick(address string) { n.Place(address, stuck) }

// Dial is the Dial of a [discovery.Config].
func (n *Network) Dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	place := n.places[address]
	n.dialled = append(n.dialled, address)
	n.mu.Unlock()
	switch place {
	case stuck:
		select {
		case <-n.t.Context().Done():
		case <-ctx.Done():
		}
		return nil, syscall.ETIMEDOUT
	case "":
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", place)
	if err != nil {
		return nil, err
	}
	n.open.Add(1)
	return &countedConn{Conn: conn, closed: sync.OnceFunc(func() { n.open.Add(-1) })}, nil
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// Open returns how many connections are open.
func (n *Network) Open() int { return int(n.open.Load()) }

// Dialled returns all addresses that were dialled.
func (n *Network) Dialled() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.dialled)
}

// Dials returns those that were dialled since it was last asked, without those for
// .well-known.
func (n *Network) Dials() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := slices.Clone(n.dialled[n.told:])
	n.told = len(n.dialled)
	return slices.DeleteFunc(list, func(address string) bool { return strings.HasSuffix(address, ":443") })
}

// Transport returns a Transport in this internet; change may be nil.
func (n *Network) Transport(change func(*discovery.Config)) *discovery.Transport {
	n.t.Helper()
	c := discovery.Config{UserAgent: "test/1", TLS: &tls.Config{RootCAs: n.Roots}, DNS: n.DNS.Resolver(), Dial: n.Dial}
	if change != nil {
		change(&c)
	}
	transport, err := discovery.New(c)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(transport.CloseIdleConnections)
	return transport
}
