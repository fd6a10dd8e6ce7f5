package discovery

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"strconv"
	"syscall"
	"time"
)

// DNS looks names up; [*net.Resolver] is one. Names are absolute: they end in a dot,
// so that no search domain of ours is tried.
type DNS interface {
	// LookupNetIP returns the addresses of host; network is "ip", "ip4" or "ip6". See
	// [net.Resolver.LookupNetIP].
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
	// LookupSRV returns the SRV records of _service._proto.name; see
	// [net.Resolver.LookupSRV].
	LookupSRV(ctx context.Context, service, proto, name string) (cname string, records []*net.SRV, err error)
}

// A DialFunc connects to an address, as [net.Dialer.DialContext] does: it gives up when
// the context ends, which is of no more concern to it once it has connected.
type DialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// A Dialer connects to addresses that may be connected to. The zero Dialer, and a nil
// one, goes to public addresses only. It is safe for concurrent use while its fields do
// not change.
type Dialer struct {
	// DNS looks names up; nil: the system's resolver, by Go ([net.Resolver.PreferGo]),
	// because the C library takes "0x7f.1" for an address. Of the hosts file only names
	// with a dot are used.
	DNS DNS
	// Dial connects to an IP address and port that may be connected to, and sees no
	// others; the network is "tcp4" or "tcp6". nil: a [net.Dialer]'s, which checks the
	// address once more as it is used. A [ConnectProxy] fits here.
	Dial DialFunc
	// Allow are exceptions: addresses that may be connected to though they are not
	// [Public], for tests and private federations. An address that holds another one
	// (NAT64, 6to4, Teredo, IPv4-compatible) is allowed only if that one may be
	// connected to as well. Of NAT64 for local use, 64:ff9b:1::/48, translators with
	// prefixes of 96 bits can be allowed, by those.
	Allow []netip.Prefix
	// Deny are addresses that must not be connected to whatever else is said: such as
	// public addresses of our own network that are not meant for strangers, a NAT64
	// prefix of our own, or 168.63.129.16 in Microsoft's cloud. A prefix that is not valid
	// denies every address, and one such as ::ffff:0:0/90, that holds all IPv4-mapped
	// addresses and is written as if it were of some, every IPv4 address; ::/0 is of
	// IPv6 addresses only.
	Deny []netip.Prefix
}

// Permits reports whether addr may be connected to. An IPv4-mapped address is judged as
// the IPv4 address that it is, and so are prefixes of such. Addresses with a zone, and
// the zero Addr, may not be.
func (d *Dialer) Permits(addr netip.Addr) bool {
	if !addr.IsValid() || addr.Zone() != "" {
		return false
	}
	addr = addr.Unmap()
	switch {
	case d == nil:
		return Public(addr)
	case d.denies(addr):
		return false
	default:
		return Public(addr) || d.allows(addr)
	}
}

// refusal is the error for an address that d does not permit.
func (d *Dialer) refusal(host string, addr netip.Addr) *AddressError {
	return &AddressError{Host: host, Addr: addr, Denied: d != nil && d.denies(addr.Unmap())}
}

// denies reports whether addr is one of those that must not be connected to.
func (d *Dialer) denies(addr netip.Addr) bool {
	for _, p := range d.Deny {
		if denies(p, addr) {
			return true
		}
	}
	return false
}

// allows reports whether addr is an exception.
func (d *Dialer) allows(addr netip.Addr) bool {
	for _, p := range d.Allow {
		if !contains(p, addr) {
			continue
		}
		if held, ok := inner(addr, p); !ok || d.Permits(held) {
			return true
		}
	}
	return false
}

// DialContext looks up the host of address, "host:port", and connects to the first of
// its permitted addresses that answers: the next one is tried if one has failed or has
// not answered after 300 ms (RFC 8305), with four attempts at a time at most. network is
// "tcp", "tcp4" or "tcp6", and the port a number. An empty host is refused. It fits
// [http.Transport.DialContext].
//
// The host is looked up once, as [Dialer.Lookup] does; that, and each attempt to
// connect, takes 10 s at most. So it is 51 s until a name with 16 addresses that are all
// silent is given up, unless ctx ends sooner. Errors are those of Lookup, or say and wrap
// what went wrong at each address.
func (d *Dialer) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	var family string
	switch network {
	case "tcp":
		family = "ip"
	case "tcp4":
		family = "ip4"
	case "tcp6":
		family = "ip6"
	default:
		return nil, net.UnknownNetworkError(network)
	}
	host, text, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &AddressError{Host: address}
	}
	port, err := strconv.ParseUint(text, 10, 16) // no names of ports
	if err != nil || port == 0 {
		return nil, &AddressError{Host: address}
	}
	addrs, err := d.lookup(ctx, family, host)
	if err != nil {
		return nil, err
	}
	return d.race(ctx, addrs, uint16(port))
}

// dial connects to one address, which may be connected to.
func (d *Dialer) dial(ctx context.Context, target netip.AddrPort) (net.Conn, error) {
	network := "tcp6"
	if target.Addr().Is4() {
		network = "tcp4"
	}
	if d != nil && d.Dial != nil {
		return d.Dial(ctx, network, target.String())
	}
	dialer := net.Dialer{ControlContext: d.control}
	return dialer.DialContext(ctx, network, target.String())
}

// control is asked by [net.Dialer] about the address that it is going to use, and
// refuses what it does not understand.
func (d *Dialer) control(_ context.Context, network, address string, _ syscall.RawConn) error {
	target, err := netip.ParseAddrPort(address)
	known := network == "tcp4" || network == "tcp6"
	if err != nil || !known || !d.Permits(target.Addr()) {
		return d.refusal(address, target.Addr())
	}
	return nil
}

// HTTPTransport returns a transport with connections of its own for ordinary https URLs
// that strangers choose, such as those of identity servers: it connects by d, never by
// a proxy of the environment, and does not decompress. config may set roots and
// more; it is copied, its ServerName is not used; nil: the system's roots. TLS 1.2 is the
// least.
//
// Response headers are at most 64 KiB, and so are a server's certificates; a TLS handshake
// takes 10 s at most; connections, by HTTP/1.1, are kept for 90 s, 2 for each host and 100
// in all. The rest is the caller's:
// timeouts, the size of bodies, which redirects to follow, and to ask for https only,
// because the transport would also do http.
func (d *Dialer) HTTPTransport(config *tls.Config) *http.Transport {
	if config = config.Clone(); config == nil {
		config = new(tls.Config)
	}
	config.ServerName = "" // it would be that of every host
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	boundCertificates(config)
	// The bounds on connections do not hold for net/http's HTTP/2.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		DialContext:            d.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		DisableCompression:     true,
		MaxIdleConns:           100,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		Protocols:              protocols,
	}
}
