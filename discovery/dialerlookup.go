package discovery

import (
	"context"
	"net"
	"net/http/httptrace"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	// maxAddrs is the number of a name's addresses that are used, and maxJudged of those
	// that are looked at: an answer may have thousands.
	maxAddrs, maxJudged = 16, 256
	// maxName and maxLabel are the limits in bytes of DNS names and their labels (RFC
	// 1035, section 2.3.4), in writing and without the last dot.
	maxName, maxLabel = 253, 63
	// lookupTimeout bounds looking up one name.
	lookupTimeout = 10 * time.Second
)

// Lookup returns the addresses of host, a name or an IP address without brackets, in the
// order in which they are to be tried: those of IPv6 and IPv4 in turns, beginning with the
// kind that the DNS has first; 16 at most, of the first 256 that the DNS has. If one of
// them must not be connected to, the rest is still returned; if none may, the error is an
// [*AddressError]. So it is for a host that is neither a name nor an address, and for what
// other programs might take for an address, such as "127.1" and "0x7f000001". Other errors
// are those of the DNS, a [*net.DNSError] if there is no address.
//
// Names are looked up from the root of the DNS, with or without a dot at their end. The
// DNS is not asked about localhost and names below it: they are the loopback addresses
// (RFC 6761, section 6.3). A trace of package httptrace in ctx is told of the look-up, and
// not of the connections that it takes, as with [net.Dialer].
func (d *Dialer) Lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	return d.lookup(ctx, "ip", host)
}

// lookup is Lookup for one family of addresses, "ip4" or "ip6", or both, "ip".
func (d *Dialer) lookup(ctx context.Context, family, host string) ([]netip.Addr, error) {
	found, err := d.find(ctx, family, host)
	if err != nil {
		return nil, err
	}
	var refused error
	var permitted []netip.Addr
	for _, addr := range found[:min(len(found), maxJudged)] {
		plain := addr.Unmap()
		switch {
		case family == "ip4" && !plain.Is4(), family == "ip6" && !plain.Is6():
		case !d.Permits(addr):
			if refused == nil {
				refused = d.refusal(host, addr)
			}
		case !slices.Contains(permitted, plain):
			permitted = append(permitted, plain)
		}
	}
	switch {
	case len(permitted) > 0:
		return inTurns(permitted), nil
	case refused != nil:
		return nil, refused
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// find returns the addresses of host, unjudged.
func (d *Dialer) find(ctx context.Context, family, host string) ([]netip.Addr, error) {
	if addr, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{addr}, nil
	}
	name, ok := absoluteName(host)
	if !ok {
		return nil, &AddressError{Host: host}
	}
	if name == "localhost." || strings.HasSuffix(name, ".localhost.") {
		return []netip.Addr{netip.IPv6Loopback(), netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
	}
	ctx, cancel := context.WithTimeout(lookupTrace(ctx), lookupTimeout)
	defer cancel()
	return d.dns().LookupNetIP(ctx, family, name)
}

// lookupTrace returns a context whose trace is told what that of ctx is of look-ups, and
// nothing of connections.
func lookupTrace(ctx context.Context) context.Context {
	trace := httptrace.ContextClientTrace(ctx)
	if trace == nil {
		return ctx
	}
	return httptrace.WithClientTrace(untraced{ctx}, &httptrace.ClientTrace{
		DNSStart: trace.DNSStart, DNSDone: trace.DNSDone,
		ConnectStart: func(string, string) {}, ConnectDone: func(string, string, error) {},
	})
}

// untraced is a context that hides its trace, which would be told together with a new one.
type untraced struct{ context.Context }

func (c untraced) Value(key any) any {
	value := c.Context.Value(key)
	if _, ok := value.(*httptrace.ClientTrace); ok { // httptrace has the key for itself
		return nil
	}
	return value
}

// dns returns the DNS that is asked.
func (d *Dialer) dns() DNS {
	if d == nil || d.DNS == nil {
		return &net.Resolver{PreferGo: true}
	}
	return d.DNS
}

// absoluteName returns host in lower case and with a dot at its end, if it has the
// form of a DNS name and cannot be taken for an address.
func absoluteName(host string) (name string, ok bool) {
	name = strings.TrimSuffix(host, ".")
	if len(name) > maxName || strings.ContainsFunc(name, notInName) {
		return "", false
	}
	name = strings.ToLower(name)
	var label string
	for label = range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > maxLabel {
			return "", false
		}
	}
	return name + ".", !isNumber(label)
}

// notInName reports whether r is neither of a host name nor a dot. The DNS has addresses
// for names with an underscore too, though server names and SRV targets have none.
func notInName(r rune) bool {
	switch {
	case 'a' <= r && r <= 'z', 'A' <= r && r <= 'Z', '0' <= r && r <= '9':
		return false
	}
	return r != '.' && r != '-' && r != '_'
}

// isNumber reports whether the last label of a name is a number, decimal, octal or
// hexadecimal. No top-level domain is (RFC 3696, section 2), while inet_aton, and whoever
// follows it, takes such a name for an IPv4 address.
func isNumber(label string) bool {
	if digits, ok := strings.CutPrefix(label, "0x"); ok {
		return strings.Trim(digits, "0123456789abcdef") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}

// inTurns orders addrs so that the two families alternate (RFC 8305, section 4), and
// cuts them to maxAddrs. The first one stays the first.
func inTurns(addrs []netip.Addr) []netip.Addr {
	var first, second []netip.Addr
	for _, addr := range addrs {
		if addr.Is4() == addrs[0].Is4() {
			first = append(first, addr)
		} else {
			second = append(second, addr)
		}
	}
	turns := make([]netip.Addr, 0, len(addrs))
	for i := range max(len(first), len(second)) {
		turns = append(turns, first[min(i, len(first)):min(i+1, len(first))]...)
		turns = append(turns, second[min(i, len(second)):min(i+1, len(second))]...)
	}
	return turns[:min(len(turns), maxAddrs)]
}
