package discovery

import (
	"errors"
	"fmt"
	"net/netip"
)

// ErrAddress: an address must not be connected to. Errors that wrap it are of type
// [*AddressError].
var ErrAddress = errors.New("address is not allowed")

// An AddressError says which address was refused.
type AddressError struct {
	Host string     // as it was to be dialled: a name or an address
	Addr netip.Addr // what it stands for; the zero Addr if that is no address at all
	// Denied: it is one of Dialer.Deny; else it is not [Public], and none of Dialer.Allow.
	Denied bool
}

// Error returns one line of bounded length, whatever Host is.
func (e *AddressError) Error() string {
	host, addr := e.Host, e.Addr.WithZone("") // the zone is text from the network
	if len(host) > maxName {
		host = host[:maxName] + "…"
	}
	why := "is not of the public internet"
	switch {
	case !addr.IsValid():
		return fmt.Sprintf("%v: %q is no name or address, or its port no number", ErrAddress, host)
	case e.Denied:
		why = "is denied"
	}
	if addr.String() == host {
		return fmt.Sprintf("%v: %q %s", ErrAddress, host, why)
	}
	return fmt.Sprintf("%v: %q (%s) %s", ErrAddress, host, addr, why)
}

// Unwrap returns [ErrAddress].
func (e *AddressError) Unwrap() error { return ErrAddress }

// Public reports whether addr is an address of the public internet, which strangers
// may have us connect to: not loopback, private, shared (carrier-grade NAT),
// link-local, documentation, benchmarking, multicast, broadcast, unspecified or
// reserved (the special-purpose address registries of IANA, RFC 6890), and with no
// zone. An IPv4-mapped address is judged as the IPv4 address that it is; those that
// have an IPv4 address inside (NAT64, 6to4, Teredo) are not public, because they lead
// to networks that only the translator knows. The zero Addr is not public.
func Public(addr netip.Addr) bool {
	if !addr.IsValid() || addr.Zone() != "" {
		return false
	}
	if addr = addr.Unmap(); addr.Is4() {
		return !anyContains(special4, addr)
	}
	return globalUnicast.Contains(addr) && !anyContains(special6, addr)
}

// special4 are the blocks of the IANA IPv4 Special-Purpose Address Registry, with
// multicast. The few that the registry calls globally reachable are services at the
// nearest host of many, perhaps one of our own network, and never a homeserver.
var special4 = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),       // RFC 791, section 3.2: this network; 0.0.0.0 is often localhost
	netip.MustParsePrefix("10.0.0.0/8"),      // RFC 1918: private use
	netip.MustParsePrefix("100.64.0.0/10"),   // RFC 6598: shared address space
	netip.MustParsePrefix("127.0.0.0/8"),     // RFC 1122, section 3.2.1.3: loopback
	netip.MustParsePrefix("169.254.0.0/16"),  // RFC 3927: link-local; clouds have their metadata here
	netip.MustParsePrefix("172.16.0.0/12"),   // RFC 1918: private use
	netip.MustParsePrefix("192.0.0.0/24"),    // RFC 6890, section 2.1: IETF protocol assignments
	netip.MustParsePrefix("192.0.2.0/24"),    // RFC 5737: documentation (TEST-NET-1)
	netip.MustParsePrefix("192.31.196.0/24"), // RFC 7535: AS112-v4
	netip.MustParsePrefix("192.52.193.0/24"), // RFC 7450: AMT
	netip.MustParsePrefix("192.88.99.0/24"),  // RFC 7526: 6to4 relay anycast, deprecated
	netip.MustParsePrefix("192.168.0.0/16"),  // RFC 1918: private use
	netip.MustParsePrefix("192.175.48.0/24"), // RFC 7534: direct delegation AS112 service
	netip.MustParsePrefix("198.18.0.0/15"),   // RFC 2544: benchmarking
	netip.MustParsePrefix("198.51.100.0/24"), // RFC 5737: documentation (TEST-NET-2)
	netip.MustParsePrefix("203.0.113.0/24"),  // RFC 5737: documentation (TEST-NET-3)
	netip.MustParsePrefix("224.0.0.0/4"),     // RFC 1112, section 4: multicast
	netip.MustParsePrefix("240.0.0.0/4"),     // RFC 1112, section 4: reserved; RFC 919, section 7: broadcast
}

// globalUnicast is all that IANA gives out for use on the internet (RFC 4291, section
// 2.4, and the registry of the IPv6 address space). Outside of it, and so refused, are
//
//	::/128, ::1/128, ::/96      RFC 4291: unspecified, loopback, IPv4-compatible
//	64:ff9b::/96                RFC 6052: NAT64
//	64:ff9b:1::/48              RFC 8215: NAT64 for local use
//	100::/64                    RFC 6666: discard-only
//	100:0:0:1::/64              RFC 9780: dummy prefix
//	5f00::/16                   RFC 9602: segment routing identifiers
//	fc00::/7                    RFC 4193: unique local
//	fe80::/10                   RFC 4291: link-local
//	fec0::/10                   RFC 3879: site-local, deprecated
//	ff00::/8                    RFC 4291: multicast
//
// and what is not assigned at all.
var globalUnicast = netip.MustParsePrefix("2000::/3")

// special6 are the blocks of globalUnicast that are in the IANA IPv6 Special-Purpose
// Address Registry.
var special6 = []netip.Prefix{
	netip.MustParsePrefix("2001::/23"),         // RFC 2928: IETF protocol assignments, with Teredo (RFC 4380), benchmarking (RFC 5180), ORCHIDs (RFC 4843, 7343)
	netip.MustParsePrefix("2001:db8::/32"),     // RFC 3849: documentation
	netip.MustParsePrefix("2002::/16"),         // RFC 3056: 6to4
	netip.MustParsePrefix("2620:4f:8000::/48"), // RFC 7534: direct delegation AS112 service
	netip.MustParsePrefix("3fff::/20"),         // RFC 9637: documentation
}

func anyContains(prefixes []netip.Prefix, addr netip.Addr) bool {
	for i := range prefixes {
		if contains(prefixes[i], addr) {
			return true
		}
	}
	return false
}

// contains reports whether addr, which is not IPv4-mapped, is in p, which may be.
func contains(p netip.Prefix, addr netip.Addr) bool {
	if p.Addr().Is4In6() && p.Bits() >= mappedBits {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-mappedBits)
	}
	return p.Contains(addr)
}

// denies reports whether p, as a prefix of addresses that are denied, holds addr, which is
// not IPv4-mapped. Where p says nothing sensible the answer is yes: that is so if it is not
// valid, and, for IPv4 addresses, if it is written as mapped addresses but goes beyond them.
func denies(p netip.Prefix, addr netip.Addr) bool {
	beyond := p.Addr().Is4In6() && p.Bits() < mappedBits
	return !p.IsValid() || beyond && addr.Is4() || contains(p, addr)
}

// mappedBits is the length of ::ffff:0:0/96.
const mappedBits = 96

// The blocks of IPv6 addresses that hold the IPv4 address to which packets are sent on.
var (
	compatible = netip.MustParsePrefix("::/96")
	nat64      = netip.MustParsePrefix("64:ff9b::/96")
	nat64Local = netip.MustParsePrefix("64:ff9b:1::/48")
	teredo     = netip.MustParsePrefix("2001::/32")
	sixToFour  = netip.MustParsePrefix("2002::/16")
)

// inner returns the IPv4 address that addr holds, if it holds one. allowed is
// the prefix by which addr is allowed. For NAT64 of local use, where the translator
// looks depends on its prefix: it is known for those of 96 bits, and otherwise the
// answer is the zero Addr, which is never permitted.
func inner(addr netip.Addr, allowed netip.Prefix) (held netip.Addr, ok bool) {
	b := addr.As16()
	last := netip.AddrFrom4([4]byte(b[12:]))
	switch {
	case compatible.Contains(addr):
		return last, addr != netip.IPv6Unspecified() && addr != netip.IPv6Loopback()
	case nat64.Contains(addr):
		return last, true
	case nat64Local.Contains(addr):
		if allowed.Bits() < 96 {
			return netip.Addr{}, true
		}
		return last, true
	case teredo.Contains(addr): // the client's address is obscured (RFC 4380, section 4)
		return netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}), true
	case sixToFour.Contains(addr):
		return netip.AddrFrom4([4]byte(b[2:6])), true
	}
	return netip.Addr{}, false
}
