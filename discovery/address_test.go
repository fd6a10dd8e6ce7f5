package discovery_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// Both registries, all of their entries, and the blocks that other registries reserve.
var specialBlocks = map[string]string{
	// IANA IPv4 Special-Purpose Address Registry
	"0.0.0.0/8":          "this network (RFC 791)",
	"0.0.0.0/32":         "this host on this network (RFC 1122)",
	"10.0.0.0/8":         "private use (RFC 1918)",
	"100.64.0.0/10":      "shared address space (RFC 6598)",
	"127.0.0.0/8":        "loopback (RFC 1122)",
	"169.254.0.0/16":     "link local (RFC 3927)",
	"172.16.0.0/12":      "private use (RFC 1918)",
	"192.0.0.0/24":       "IETF protocol assignments (RFC 6890)",
	"192.0.0.0/29":       "IPv4 service continuity prefix (RFC 7335)",
	"192.0.0.8/32":       "IPv4 dummy address (RFC 7600)",
	"192.0.0.9/32":       "port control protocol anycast (RFC 7723)",
	"192.0.0.10/32":      "TURN anycast (RFC 8155)",
	"192.0.0.170/31":     "NAT64 and DNS64 discovery (RFC 7050, 8880)",
	"192.0.2.0/24":       "documentation (RFC 5737)",
	"192.31.196.0/24":    "AS112-v4 (RFC 7535)",
	"192.52.193.0/24":    "AMT (RFC 7450)",
	"192.88.99.0/24":     "6to4 relay anycast (RFC 7526)",
	"192.88.99.2/32":     "6a44 relay anycast (RFC 6751)",
	"192.168.0.0/16":     "private use (RFC 1918)",
	"192.175.48.0/24":    "direct delegation AS112 service (RFC 7534)",
	"198.18.0.0/15":      "benchmarking (RFC 2544)",
	"198.51.100.0/24":    "documentation (RFC 5737)",
	"203.0.113.0/24":     "documentation (RFC 5737)",
	"240.0.0.0/4":        "reserved (RFC 1112)",
	"255.255.255.255/32": "limited broadcast (RFC 8190, 919)",
	// IANA IPv6 Special-Purpose Address Registry
	"::1/128":           "loopback (RFC 4291)",
	"::/128":            "unspecified (RFC 4291)",
	"64:ff9b::/96":      "IPv4-IPv6 translation (RFC 6052)",
	"64:ff9b:1::/48":    "IPv4-IPv6 translation (RFC 8215)",
	"100::/64":          "discard-only (RFC 6666)",
	"100:0:0:1::/64":    "dummy prefix (RFC 9780)",
	"2001::/23":         "IETF protocol assignments (RFC 2928)",
	"2001::/32":         "Teredo (RFC 4380)",
	"2001:1::1/128":     "port control protocol anycast (RFC 7723)",
	"2001:1::2/128":     "TURN anycast (RFC 8155)",
	"2001:1::3/128":     "DNS-SD service registration anycast (RFC 9665)",
	"2001:2::/48":       "benchmarking (RFC 5180)",
	"2001:3::/32":       "AMT (RFC 7450)",
	"2001:4:112::/48":   "AS112-v6 (RFC 7535)",
	"2001:10::/28":      "ORCHID (RFC 4843)",
	"2001:20::/28":      "ORCHIDv2 (RFC 7343)",
	"2001:30::/28":      "drone remote ID (RFC 9374)",
	"2001:db8::/32":     "documentation (RFC 3849)",
	"2002::/16":         "6to4 (RFC 3056)",
	"2620:4f:8000::/48": "direct delegation AS112 service (RFC 7534)",
	"3fff::/20":         "documentation (RFC 9637)",
	"5f00::/16":         "segment routing identifiers (RFC 9602)",
	"fc00::/7":          "unique local (RFC 4193)",
	"fe80::/10":         "link-local unicast (RFC 4291)",
	// Others
	"224.0.0.0/4": "multicast (RFC 1112)",
	"::/96":       "IPv4-compatible (RFC 4291)",
	"::/8":        "reserved by IETF (RFC 4291)",
	"400::/6":     "reserved by IETF (RFC 4291)",
	"800::/5":     "reserved by IETF (RFC 4291)",
	"1000::/4":    "reserved by IETF (RFC 4291)",
	"4000::/2":    "reserved by IETF (RFC 4291)",
	"8000::/2":    "reserved by IETF (RFC 4291)",
	"c000::/3":    "reserved by IETF (RFC 4291)",
	"fec0::/10":   "site-local (RFC 3879)",
	"ff00::/8":    "multicast (RFC 4291)",
}

func TestPublicRefusesEverySpecialPurposeBlock(t *testing.T) {
	for block, what := range specialBlocks {
		p := netip.MustParsePrefix(block)
		for _, addr := range []netip.Addr{p.Masked().Addr(), lastOf(p)} {
			if discovery.Public(addr) {
				t.Errorf("%s is public: %s", addr, what)
			}
			if addr.Is4() && discovery.Public(netip.AddrFrom16(addr.As16())) {
				t.Errorf("::ffff:%s is public: %s", addr, what)
			}
		}
	}
}

// lastOf returns the last address of p.
func lastOf(p netip.Prefix) netip.Addr {
	b := p.Masked().Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	last, _ := netip.AddrFromSlice(b)
	return last
}

// The neighbours of the blocks, and a few well-known hosts.
func TestPublicAcceptsWhatIsBeside(t *testing.T) {
	for addr := range strings.FieldsSeq(`
		1.0.0.0 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
		169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.1.255 192.0.3.0
		192.31.195.255 192.31.197.0 192.52.192.255 192.52.194.0 192.88.98.255 192.88.100.0 192.167.255.255
		192.169.0.0 192.175.47.255 192.175.49.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0
		203.0.112.255 203.0.114.0 223.255.255.255 8.8.8.8 ::ffff:8.8.8.8 ::ffff:1.0.0.0
		2000:: 2001:200:: 2001:db7:ffff:ffff:ffff:ffff:ffff:ffff 2001:db9:: 2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff
		2003:: 2620:4f:7fff:ffff:ffff:ffff:ffff:ffff 2620:4f:8001:: 3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff
		3fff:1000:: 3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 2606:4700:4700::1111
	`) {
		if !discovery.Public(netip.MustParseAddr(addr)) {
			t.Errorf("%s is not public", addr)
		}
	}
}

func TestPublicRefusesWhatIsNoAddress(t *testing.T) {
	for _, addr := range []netip.Addr{
		{},
		netip.MustParseAddr("2606:4700:4700::1111%eth0"),
		netip.MustParseAddr("::ffff:8.8.8.8").WithZone("1"),
		netip.MustParseAddr("fe80::1%lo"),
	} {
		if discovery.Public(addr) {
			t.Errorf("%s is public", addr)
		}
	}
}

func TestAddressErrorIsOneBoundedLine(t *testing.T) {
	for _, c := range []struct {
		err  discovery.AddressError
		want string
	}{
		{discovery.AddressError{}, `address is not allowed: "" is no name or address, or its port no number`},
		{discovery.AddressError{Host: "10.0.0.1", Addr: netip.MustParseAddr("10.0.0.1")}, `address is not allowed: "10.0.0.1" is not of the public internet`},
		{discovery.AddressError{Host: "a.ex", Addr: netip.MustParseAddr("::1")}, `address is not allowed: "a.ex" (::1) is not of the public internet`},
		{discovery.AddressError{Host: "a.ex", Addr: netip.MustParseAddr("8.8.8.8"), Denied: true}, `address is not allowed: "a.ex" (8.8.8.8) is denied`},
		{discovery.AddressError{Host: "a\n\x00ü"}, `address is not allowed: "a\n\x00ü" is no name or address, or its port no number`},
		{discovery.AddressError{Host: "b.ex", Addr: netip.MustParseAddr("fe80::1%\n")}, `address is not allowed: "b.ex" (fe80::1) is not of the public internet`},
	} {
		if got := c.err.Error(); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		if !errors.Is(&c.err, discovery.ErrAddress) {
			t.Errorf("%v does not wrap ErrAddress", &c.err)
		}
	}
	long := discovery.AddressError{Host: strings.Repeat("\x00", 1<<20)}
	if n := len(long.Error()); n > 2000 {
		t.Errorf("the text has %d bytes", n)
	}
}

// Without exceptions only public addresses are permitted, none that is denied, and a
// mapped address is the address that is mapped.
func FuzzPermits(f *testing.F) {
	for block := range specialBlocks {
		f.Add(netip.MustParsePrefix(block).Addr().AsSlice(), "", byte(0), false)
	}
	f.Add([]byte("\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xff\xff\x0a\x00\x00\x01"), "", byte(104), true)
	f.Add([]byte("\x00\x64\xff\x9b\x00\x00\x00\x00\x00\x00\x00\x00\x7f\x00\x00\x01"), "eth0", byte(96), true)
	f.Add([]byte("\x20\x02\x7f\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01"), "", byte(16), true)
	f.Add([]byte("\x08\x08\x08\x08"), "", byte(32), false)
	f.Fuzz(func(t *testing.T, raw []byte, zone string, bits byte, to6 bool) {
		addr, _ := netip.AddrFromSlice(raw)
		addr = addr.WithZone(zone)
		var none *discovery.Dialer
		public := discovery.Public(addr)
		if none.Permits(addr) != public || new(discovery.Dialer).Permits(addr) != public {
			t.Errorf("%s: public %t, permitted %t", addr, public, !public)
		}
		if public && (!addr.IsValid() || addr.Zone() != "") {
			t.Errorf("%s is public", addr)
		}
		if addr.Is4() && discovery.Public(netip.AddrFrom16(addr.As16())) != public {
			t.Errorf("%s and its mapped form differ", addr)
		}
		of := addr.Unmap()
		if to6 && of.Is4() {
			of = netip.AddrFrom16(of.As16())
		}
		prefix, err := of.WithZone("").Prefix(int(bits) % 129)
		if err != nil {
			return
		}
		if of.Is4In6() && prefix.Bits() < 96 {
			return // it is of IPv6 addresses, of which addr is none
		}
		list := []netip.Prefix{prefix}
		if d := (&discovery.Dialer{Allow: list, Deny: list}); prefix.Contains(addr) && d.Permits(addr) {
			t.Errorf("%s is permitted although %s is denied", addr, prefix)
		}
		if d := (&discovery.Dialer{Allow: list}); public && !d.Permits(addr) {
			t.Errorf("%s is public, and refused because %s is allowed", addr, prefix)
		}
	})
}
