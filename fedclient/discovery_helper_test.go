package fedclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/internal/dnstest"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// An internet has a DNS of its own and servers at public addresses, which are on loopback
// in truth. Connections to where there is no server are refused. Servers have a
// certificate for example.com.
type internet struct {
	t     testing.TB
	dns   *dnstest.Server
	roots *x509.CertPool

	mu     sync.Mutex
	places map[string]string // "8.0.0.1:8448": where it is on loopback
	dialed []string          // but for .well-known
}

func newInternet(t testing.TB) *internet {
	t.Helper()
	return &internet{t: t, dns: dnstest.New(t), roots: x509.NewCertPool(), places: map[string]string{}}
}

// twoTargets has example.com at 8.0.0.1:9001 and, if that is dead, at 8.0.0.2:9002, by SRV
// records.
func (n *internet) twoTargets() {
	n.dns.Addr("example.com")
	n.dns.Addr("t1.example.com", "8.0.0.1")
	n.dns.Addr("t2.example.com", "8.0.0.2")
	n.dns.SRV("_matrix-fed._tcp.example.com",
		net.SRV{Target: "t2.example.com.", Port: 9002, Priority: 20}, net.SRV{Target: "t1.example.com.", Port: 9001, Priority: 10})
}

// serve starts a server with a valid certificate at address.
func (n *internet) serve(address string, h http.Handler, change ...func(*httptest.Server)) {
	n.t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	for _, f := range change {
		f(s)
	}
	n.start(address, s)
	n.roots.AddCert(s.Certificate())
}

// serveInvalid starts one whose certificate an authority has signed that nobody knows.
func (n *internet) serveInvalid(address string) {
	n.t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { n.t.Error("asked") }))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{invitetest.NewNetwork(n.t).Certificate("example.com")}}
	n.start(address, s)
}

func (n *internet) start(address string, s *httptest.Server) {
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	n.t.Cleanup(s.Close)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.places[address] = s.Listener.Addr().String()
}

// dial is the Dial of a discovery.Config.
func (n *internet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	place := n.places[address]
	if !strings.HasSuffix(address, ":443") {
		n.dialed = append(n.dialed, address)
	}
	n.mu.Unlock()
	if place == "" {
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	return new(net.Dialer).DialContext(ctx, "tcp", place)
}

func (n *internet) dials() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.dialed)
}

// client returns a Client in this internet, and a count of its attempts.
func (n *internet) client(change ...func(*fedclient.Config)) (*fedclient.Client, *int) {
	n.t.Helper()
	transport := newTransport(n.t, n.roots, func(c *discovery.Config) { c.Allow, c.DNS, c.Dial = nil, n.dns.Resolver(), n.dial })
	attempts := new(int)
	counted := tripper(func(r *http.Request) (*http.Response, error) {
		*attempts++
		return transport.RoundTrip(r)
	})
	return newClient(n.t, counted, change...), attempts
}
