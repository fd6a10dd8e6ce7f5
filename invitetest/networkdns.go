package invitetest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"

	"github.com/seed-0a46cb1a/fedinvite"
)

// Names get addresses of their own, 127.77.0.0 and up. Nobody listens there: dial knows
// better.
var inventedAddresses = netip.MustParsePrefix("127.77.0.0/16")

// allot returns the address of a host name, a new one if it has none. n.mu is held.
func (n *Network) allot(hostName string) netip.Addr {
	key := strings.ToLower(strings.TrimSuffix(hostName, "."))
	addr, ok := n.addresses[key]
	if !ok {
		// After 65,536 names it begins anew: no test has so many.
		i := len(n.addresses)
		addr = netip.AddrFrom4([4]byte{127, 77, byte(i >> 8), byte(i)})
		n.addresses[key] = addr
	}
	return addr
}

// addressOf returns where a server name leads without delegation. It need not be an address
// of loopback, see [onLoopback].
func (n *Network) addressOf(name fedinvite.ServerName) (netip.AddrPort, error) {
	if _, err := fedinvite.ParseServerName(string(name)); err != nil {
		return netip.AddrPort{}, fmt.Errorf("invitetest: %w", err)
	}
	port := uint64(8448)
	if text := name.Port(); text != "" {
		port, _ = strconv.ParseUint(text, 10, 16) // digits up to 65535, by the grammar
	}
	addr, err := netip.ParseAddr(name.Host())
	if err != nil {
		n.mu.Lock()
		addr = n.allot(name.Host())
		n.mu.Unlock()
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), nil
}

// onLoopback returns an error for names that are addresses elsewhere: the network's
// Transport connects to loopback only.
func onLoopback(name fedinvite.ServerName) error {
	if addr, err := netip.ParseAddr(name.Host()); err == nil && !addr.Unmap().IsLoopback() {
		return fmt.Errorf("invitetest: %q is no address of loopback", name)
	}
	return nil
}

// dial is the Dial of the network's Transport.
func (n *Network) dial(ctx context.Context, network, address string) (net.Conn, error) {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return nil, err
	}
	n.mu.Lock()
	p, ok := n.places[to]
	n.mu.Unlock()
	switch {
	case p.address != "":
		address = p.address
	case ok || inventedAddresses.Contains(to.Addr()):
		return nil, &net.OpError{Op: "dial", Net: network, Err: syscall.ECONNREFUSED}
	}
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	c := &networkConn{conn, n}
	n.mu.Lock()
	defer n.mu.Unlock()
	// Whoever was moved or has ended since is asked no more.
	if n.closed || n.places[to].address != p.address {
		_ = conn.Close()
		return nil, errNetworkClosed
	}
	n.conns[c] = to
	return c, nil
}

// A networkConn is one of the network's until it is closed.
type networkConn struct {
	net.Conn
	network *Network
}

func (c *networkConn) Close() error {
	c.network.mu.Lock()
	delete(c.network.conns, c)
	c.network.mu.Unlock()
	return c.Conn.Close()
}

// networkDNS is the DNS of a network. It has no SRV records.
type networkDNS Network

func (d *networkDNS) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	addr, ok := d.addresses[strings.ToLower(strings.TrimSuffix(host, "."))]
	if !ok || network == "ip6" {
		return nil, notFound(host)
	}
	return []netip.Addr{addr}, nil
}

func (d *networkDNS) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	return "", nil, notFound("_" + service + "._" + proto + "." + name)
}

func notFound(name string) error {
	return &net.DNSError{Err: "no server of that name in this test's Network: Introduce it", Name: name, IsNotFound: true}
}
