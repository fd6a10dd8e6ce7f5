package discovery

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// defaultPort is that of a server name without a port.
const defaultPort = 8448

// A placeKind says how much of a place a server name tells.
type placeKind uint8

const (
	nameOnly placeKind = iota // the rest is to be asked
	namePort
	literal // an IP address
)

// A place is what a server name tells on its own.
type place struct {
	kind     placeKind
	host     string // of requests, the header
	certName string
	target   Target // unless nameOnly
}

// placeOf reads a server name that ParseServerName accepted. The error wraps ErrNoServer
// or ErrAddress.
func placeOf(server fedinvite.ServerName) (place, error) {
	p := place{host: string(server), certName: plainName(server.Host())}
	if p.certName == "" { // it was a dot
		return place{}, &AddressError{Host: p.host}
	}
	port := uint64(defaultPort)
	if text := server.Port(); text != "" {
		p.kind = namePort
		port, _ = strconv.ParseUint(text, 10, 16) // digits up to 65535, by the grammar
		if port == 0 {
			return place{}, fmt.Errorf("%w: port 0", ErrNoServer)
		}
	}
	if addr, ok := literalAddr(p.certName); ok {
		p.kind = literal
		p.certName = spell(addr, p.certName)
	}
	if p.kind != nameOnly {
		p.target = newTarget(p.certName, p.certName, uint16(port))
	}
	return p, nil
}

// plainName returns a host name as the DNS, TLS and our memory have it. Case does not
// matter to them, nor does a dot at the end.
func plainName(host string) string {
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// literalAddr parses host only if it looks like an address, because for others the parser
// would make an error.
func literalAddr(host string) (netip.Addr, bool) {
	if last := host[len(host)-1]; strings.IndexByte(host, ':') < 0 && (last < '0' || '9' < last) {
		return netip.Addr{}, false
	}
	addr, err := netip.ParseAddr(host)
	return addr, err == nil
}

// spell returns the one spelling of addr, which is often the given one.
func spell(addr netip.Addr, given string) string {
	var buf [48]byte
	if text := addr.AppendTo(buf[:0]); string(text) != given {
		return string(text)
	}
	return given
}
