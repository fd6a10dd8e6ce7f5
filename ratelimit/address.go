package ratelimit

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// plain is the form in which addresses are compared: unmapped, without a zone.
func plain(addr netip.Addr) netip.Addr { return addr.Unmap().WithZone("") }

// network returns what counts as one remote: an IPv4 address or the /64 of an IPv6 one, and
// the zero Prefix for the zero Addr. The address must be plain.
func network(addr netip.Addr) netip.Prefix {
	bits := 64
	if addr.Is4() {
		bits = 32
	}
	p, _ := addr.Prefix(bits) // fails for other numbers of bits only
	return p
}

// unmapped turns a prefix of IPv4-mapped addresses into one of IPv4 addresses, because
// addresses are compared in that form.
func unmapped(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// contains reports whether one of the prefixes holds addr, which must be plain.
func contains(prefixes []netip.Prefix, addr netip.Addr) bool {
	return slices.ContainsFunc(prefixes, func(p netip.Prefix) bool { return p.Contains(addr) })
}

// originKey leaves out of a server name what its owner can vary at will: the port, the case
// of letters, and how an IP address is written.
func originKey(origin fedinvite.ServerName) string {
	host := origin.Host()
	if isLiteral(host) {
		if addr, err := netip.ParseAddr(host); err == nil {
			return network(plain(addr)).String()
		}
	}
	return strings.ToLower(host)
}

// isLiteral reports whether host may be an IP address; names seldom end in a digit.
func isLiteral(host string) bool {
	return host != "" && host[len(host)-1] <= '9' || strings.Contains(host, ":")
}
