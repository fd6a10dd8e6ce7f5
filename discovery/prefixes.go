package discovery

import (
	"fmt"
	"net/netip"
)

// ParsePrefixes reads what an operator writes into a configuration or an option for
// [Dialer.Allow] and [Dialer.Deny], and for lists of addresses elsewhere: prefixes such as
// "10.0.0.0/8" and "fd00::/8", single addresses such as "10.1.2.3" and "::1", and the word
// "loopback" for what [Loopback] returns. It looks no names up, and takes no white space,
// zones or brackets. The bits of a prefix behind its length are cleared.
//
// The result has them in their order; of no entries it is nil. The error shows the first
// entry that is none of these.
func ParsePrefixes(list ...string) ([]netip.Prefix, error) {
	var prefixes []netip.Prefix
	for _, s := range list {
		if s == "loopback" {
			prefixes = append(prefixes, Loopback()...)
			continue
		}
		prefix, err := parsePrefix(s)
		if err != nil {
			return nil, err
		}
		prefixes = append(prefixes, prefix)
	}
	return prefixes, nil
}

func parsePrefix(s string) (netip.Prefix, error) {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		return prefix.Masked(), nil
	}
	addr, err := netip.ParseAddr(s)
	if err != nil || addr.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf(`discovery: %q is no prefix such as 10.0.0.0/8, no address and not "loopback"`, s)
	}
	return netip.PrefixFrom(addr, addr.BitLen()), nil
}
