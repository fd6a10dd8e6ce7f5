package discovery_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/dnstest"
)

// An internet is a network of its own: a DNS, a certificate authority and servers with
// public addresses, which are on loopback in truth. An address where nobody listens
// refuses connections.
type internet struct {
	t       testing.TB
	dns     *dnstest.Server
	roots   *x509.CertPool
	ca      *x509.Certificate
	key     *ecdsa.PrivateKey
	http1   bool // servers that are started from now on do not speak HTTP/2
	streams int  // they allow so many at a time by HTTP/2; 0: the usual number

	mu     sync.Mutex
	places map[string]string        // "8.0.0.1:8448": where it is on loopback
	stuck  map[string]chan struct{} // connecting there takes as long as the test
	dialed []string
	open   int // connections
}

func newInternet(t testing.TB) *internet {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	n := &internet{t: t, dns: dnstest.New(t), roots: x509.NewCertPool(), key: key, places: map[string]string{}, stuck: map[string]chan struct{}{}}
	n.ca = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: time.Unix(0, 0), NotAfter: time.Now().AddDate(100, 0, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, n.ca, n.ca, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	if n.ca, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	n.roots.AddCert(n.ca)
	return n
}

// certificate returns one for names and IP addresses.
func (n *internet) certificate(names ...string) tls.Certificate {
	n.t.Helper()
	template := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: n.ca.NotBefore, NotAfter: n.ca.NotAfter}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, n.ca, n.key.Public(), n.key)
	if err != nil {
		n.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: n.key}
}

// A peer is a server that notes what it is asked.
type peer struct {
	*httptest.Server
	mu    sync.Mutex
	asked []asked
	conns int
}

// An asked is a request as it arrived.
type asked struct{ Target, Host, SNI, Proto, Body string }

// serve starts a server at an address such as "8.0.0.1:8448", with a certificate for names.
// It answers with handler, or 200 and {} if that is nil.
func (n *internet) serve(address string, names []string, handler http.HandlerFunc) *peer {
	n.t.Helper()
	p := new(peer)
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		p.mu.Lock()
		p.asked = append(p.asked, asked{r.RequestURI, r.Host, r.TLS.ServerName, r.Proto, string(body)})
		p.mu.Unlock()
		if handler != nil {
			handler(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	}))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.mu.Lock()
			p.conns++
			p.mu.Unlock()
		}
	}
	p.EnableHTTP2, p.Config.HTTP2 = !n.http1, &http.HTTP2Config{MaxConcurrentStreams: n.streams}
	p.TLS = &tls.Config{Certificates: []tls.Certificate{n.certificate(names...)}}
	p.StartTLS()
	n.t.Cleanup(p.Close)
	n.place(address, p.Listener.Addr().String())
	return p
}

// listen has handle speak the protocol by hand with whoever connects to address.
func (n *internet) listen(address string, names []string, protocol string, handle func(net.Conn)) {
	n.t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{n.certificate(names...)}, NextProtos: []string{protocol}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = l.Close() })
	n.place(address, l.Addr().String())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
}

// place puts what listens on loopback at an address of the internet.
func (n *internet) place(address, loopback string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.places[address] = loopback
}

// stick has connecting to address take forever.
func (n *internet) stick(address string) {
	over := make(chan struct{})
	n.t.Cleanup(func() { close(over) })
	n.mu.Lock()
	defer n.mu.Unlock()
	n.stuck[address] = over
}

// wellKnown serves a delegation from host, which must have addresses in the DNS.
func (n *internet) wellKnown(host, address, delegated string) *peer {
	n.t.Helper()
	return n.serve(address+":443", []string{host}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"m.server":"`+delegated+`"}`)
	})
}

// dial is the Dial of a Config.
func (n *internet) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n.mu.Lock()
	place, over := n.places[address], n.stuck[address]
	n.dialed = append(n.dialed, address)
	n.mu.Unlock()
	switch {
	case over != nil:
		select {
		case <-over:
		case <-ctx.Done():
		}
		return nil, syscall.ETIMEDOUT
	case place == "":
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", place)
	if err != nil {
		return nil, err
	}
	n.count(1)
	return &countedConn{Conn: conn, closed: sync.OnceFunc(func() { n.count(-1) })}, nil
}

type countedConn struct {
	net.Conn
	closed func()
}

func (c *countedConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

// count returns how many connections are open now.
func (n *internet) count(more int) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.open += more
	return n.open
}

// dials returns the addresses that were dialled since it was last asked, without those
// for .well-known.
func (n *internet) dials() []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	list := n.dialed
	n.dialed = nil
	return slices.DeleteFunc(list, func(address string) bool { return portOf(address) == "443" })
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// transport returns a Transport in this internet; change may be nil.
func (n *internet) transport(change func(*discovery.Config)) *discovery.Transport {
	n.t.Helper()
	c := discovery.Config{UserAgent: "test/1", TLS: &tls.Config{RootCAs: n.roots}, DNS: n.dns.Resolver(), Dial: n.dial}
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

// requests returns what p was asked.
func (p *peer) requests() []asked {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// connections returns how many connections p has had.
func (p *peer) connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns
}

// get asks for target, such as "a.ex/_matrix/key/v2/server", and returns the status and the body.
func get(t testing.TB, transport http.RoundTripper, target string) (int, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "matrix://"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}
