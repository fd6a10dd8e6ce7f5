package discovery

import "net/netip"

// Loopback returns the addresses of the loopback interface, for [Dialer.Allow] in
// tests.
func Loopback() []netip.Prefix {
	return []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
}
