package invitetest

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// A Network is a small internet on loopback: names, a certificate authority, and the
// servers that are in it. Each [Server] is in one; give several the same to have them talk
// to each other. It is safe for concurrent use.
//
// Servers are found by [Network.Transport] alone, as the specification says: by
// .well-known, where there is a [Network.Delegate], else at their port, which is 8448 if
// their name has none. Nothing listens there in truth: what is dialled is led to the port
// of loopback that the server has got. A name that is a loopback address with a port leads
// there by itself.
type Network struct {
	authority *authority
	transport *discovery.Transport

	mu        sync.Mutex
	closed    bool
	addresses map[string]netip.Addr // of names in lower case
	places    map[netip.AddrPort]place
	conns     map[*networkConn]netip.AddrPort
	wellKnown *host
	delegated map[string]fedinvite.ServerName // by name in lower case
	servers   []*Server
}

// A place is where the server at an address is in truth.
type place struct {
	address string
	host    *host // nil: it is not the Network's to close
}

// NewNetwork returns a Network that ends with the test.
func NewNetwork(tb testing.TB) *Network {
	tb.Helper()
	n, err := StartNetwork()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(n.Close)
	return n
}

// StartNetwork returns a Network for programs that are no tests. Close it.
func StartNetwork() (*Network, error) {
	ca, err := newAuthority()
	if err != nil {
		return nil, err
	}
	n := &Network{
		authority: ca,
		addresses: map[string]netip.Addr{},
		places:    map[netip.AddrPort]place{},
		conns:     map[*networkConn]netip.AddrPort{},
		delegated: map[string]fedinvite.ServerName{},
	}
	n.transport, err = discovery.New(discovery.Config{
		UserAgent: userAgent,
		TLS:       &tls.Config{RootCAs: ca.roots},
		Allow:     discovery.Loopback(),
		DNS:       (*networkDNS)(n),
		Dial:      n.dial,
	})
	return n, err
}

// Close ends the network, what [Network.Serve] serves, and all connections to it. Servers
// in it have to be closed on their own.
func (n *Network) Close() {
	n.mu.Lock()
	n.closed = true
	var hosts []*host
	for _, p := range n.places {
		hosts = append(hosts, p.host)
	}
	hosts = append(hosts, n.wellKnown)
	conns := n.connsTo(func(netip.AddrPort) bool { return true })
	n.mu.Unlock()
	closeAll(conns)
	n.transport.CloseIdleConnections()
	for _, h := range hosts {
		h.close()
	}
}

var errNetworkClosed = errors.New("invitetest: the network is closed")

// Serve has handler answer for a server name, by TLS with a certificate for it. It takes the
// place of whoever had the name; the keys of that one are forgotten by the servers in the
// network. nil: nobody does, connections are refused. A name that is an address must be one
// of loopback.
func (n *Network) Serve(name fedinvite.ServerName, handler http.Handler) error {
	if err := onLoopback(name); err != nil {
		return err
	}
	if handler == nil {
		return n.settle(name, place{})
	}
	if _, err := fedinvite.ParseServerName(string(name)); err != nil {
		return fmt.Errorf("invitetest: %w", err)
	}
	certificate, err := n.authority.certificate(name.Host())
	if err != nil {
		return err
	}
	h, err := startHost(nil, certificate, handler)
	if err != nil {
		return err
	}
	if err := n.settle(name, place{h.address(), h}); err != nil {
		h.close()
		return err
	}
	return nil
}

// Place says that a server of that name is at a TCP address that listens already, such as
// "127.0.0.1:8448". Its certificate must be for the name and known to the network's roots:
// [Network.Certificate]. It takes the place of whoever had the name. It panics if the name
// is malformed, or an address elsewhere than on loopback.
func (n *Network) Place(name fedinvite.ServerName, address string) {
	err := onLoopback(name)
	if err == nil {
		err = n.settle(name, place{address: address})
	}
	if err != nil {
		panic(err.Error())
	}
}

// settle puts a server where its name leads, and turns out who was there.
func (n *Network) settle(name fedinvite.ServerName, p place) error {
	at, err := n.addressOf(name)
	if err != nil {
		return err
	}
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return errNetworkClosed
	}
	before := n.places[at]
	n.places[at] = p
	conns := n.connsTo(func(to netip.AddrPort) bool { return to == at })
	servers := slices.Clone(n.servers)
	n.mu.Unlock()
	closeAll(conns)
	n.transport.CloseIdleConnections()
	before.host.close()
	for _, s := range servers {
		s.forgetKeys()
	}
	return nil
}

// Delegate has the .well-known of one server name lead to another. Say so before somebody
// has asked for the name: answers are remembered. name must be a host name without a port.
func (n *Network) Delegate(name, to fedinvite.ServerName) error {
	if _, err := fedinvite.ParseServerName(string(name)); err != nil {
		return fmt.Errorf("invitetest: %w", err)
	}
	if _, err := netip.ParseAddr(name.Host()); err == nil || name.Port() != "" {
		return fmt.Errorf("invitetest: %q cannot be delegated: it says where it is", name)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return errNetworkClosed
	}
	if n.wellKnown == nil {
		certificate, err := n.authority.certificate("localhost")
		if err != nil {
			return err
		}
		if n.wellKnown, err = startHost(nil, certificate, http.HandlerFunc(n.serveWellKnown), n.authority.certificateFor); err != nil {
			return err
		}
	}
	n.delegated[strings.ToLower(string(name))] = to
	n.places[netip.AddrPortFrom(n.allot(name.Host()), 443)] = place{address: n.wellKnown.address()}
	return nil
}

func (n *Network) serveWellKnown(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	to := n.delegated[strings.ToLower(r.Host)]
	n.mu.Unlock()
	if r.URL.Path != "/.well-known/matrix/server" || to == "" {
		http.NotFound(w, r)
		return
	}
	jsonAnswer(http.StatusOK, Encode(Object{"m.server": to})).write(w)
}

// Certificate returns a certificate for names and IP addresses, such as "mine.example" and
// "127.0.0.1".
func (n *Network) Certificate(names ...string) tls.Certificate {
	certificate, err := n.authority.certificate(names...)
	if err != nil {
		panic(err.Error())
	}
	return certificate
}

// CertificatePEM is [Network.Certificate] for a server in another process, which reads it
// from files: the certificate with the one of the authority behind it, and the private key in
// PKCS #8. [Network.RootsPEM] has it trust the Network.
//
//	certificate, key := network.CertificatePEM("mine.example", "127.0.0.1")
//	write(t, "tls.crt", certificate)
//	write(t, "tls.key", key)
//	write(t, "ca.crt", network.RootsPEM())
//	command := exec.CommandContext(t.Context(), "./homeserver", "--listen=127.0.0.1:8448", …)
//
// [Network.Place] then says where it is. The key is that of the authority itself: it is not
// to be trusted outside of the test.
func (n *Network) CertificatePEM(names ...string) (certificate, key []byte) {
	certificate, key, err := pemOf(n.Certificate(names...))
	if err != nil {
		panic(err.Error())
	}
	return certificate, key
}

// Roots returns the certificate authority that all trust.
func (n *Network) Roots() *x509.CertPool { return n.authority.roots.Clone() }

// RootsPEM returns it as servers of other languages read it.
func (n *Network) RootsPEM() []byte { return n.authority.pem() }

// Transport returns what finds the servers of the network by their names, and connects to
// loopback only. It carries requests to https://SERVERNAME/…, and is the same for all: it
// keeps its connections for the next request, and ends them with the network.
func (n *Network) Transport() *discovery.Transport { return n.transport }

// NewServer is [NewServer] in this network.
func (n *Network) NewServer(tb testing.TB, name fedinvite.ServerName, change ...func(*ServerConfig)) *Server {
	tb.Helper()
	return NewServer(tb, name, append([]func(*ServerConfig){func(c *ServerConfig) { c.Network = n }}, change...)...)
}

// join has the server told when the keys of others have to be forgotten.
func (n *Network) join(s *Server) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers = append(n.servers, s)
}

// leave also frees the place of a server that has ended, if it is still its own.
func (n *Network) leave(s *Server) {
	at, err := n.addressOf(s.name)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.servers = slices.DeleteFunc(n.servers, func(other *Server) bool { return other == s })
	if err == nil && n.places[at].address == s.host.address() {
		delete(n.places, at)
	}
}

// connsTo returns the connections to some addresses. n.mu is held.
func (n *Network) connsTo(some func(netip.AddrPort) bool) (conns []net.Conn) {
	for conn, to := range n.conns {
		if some(to) {
			conns = append(conns, conn)
		}
	}
	return conns
}

// closeAll closes what would lock n.mu to say that it is closed.
func closeAll(conns []net.Conn) {
	for _, conn := range conns {
		_ = conn.Close()
	}
}
