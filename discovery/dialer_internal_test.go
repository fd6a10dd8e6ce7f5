package discovery

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

// What net.Dialer is about to use is judged once more, and nothing else passes.
func TestControlRefusesWhatMayNotBeUsed(t *testing.T) {
	var plain *Dialer
	private := &Dialer{Allow: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}
	for _, c := range []struct {
		d                *Dialer
		network, address string
		ok               bool
	}{
		{plain, "tcp4", "8.8.8.8:443", true},
		{plain, "tcp6", "[2606:4700::1]:443", true},
		{plain, "tcp4", "127.0.0.1:443", false},
		{plain, "tcp6", "[::1]:443", false},
		{plain, "tcp6", "[::ffff:127.0.0.1]:443", false},
		{plain, "tcp6", "[64:ff9b::7f00:1]:443", false},
		{plain, "tcp6", "[fe80::1%eth0]:443", false},
		{plain, "tcp4", "10.0.0.1:443", false},
		{private, "tcp4", "10.0.0.1:443", true},
		{plain, "tcp", "8.8.8.8:443", false},
		{plain, "udp4", "8.8.8.8:443", false},
		{plain, "unix", "/run/x", false},
		{plain, "tcp4", "", false},
		{plain, "tcp4", ":443", false}, // net.Dialer would go to localhost
		{plain, "tcp4", "8.8.8.8", false},
		{plain, "tcp4", "localhost:443", false},
	} {
		err := c.d.control(t.Context(), c.network, c.address, nil)
		if (err == nil) != c.ok || err != nil && !errors.Is(err, ErrAddress) {
			t.Errorf("%s %q: %v", c.network, c.address, err)
		}
	}
}

// The default way to dial asks control: an address that nobody has judged is not
// connected to.
func TestPlumbing55AddressIsJudgedAgainAsItIsUsed(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	port := uint16(l.Addr().(*net.TCPAddr).Port)
	var plain *Dialer
	for _, text := range []string{"127.0.0.1", "0.0.0.0", "::", "::1"} {
		conn, err := plain.dial(t.Context(), netip.AddrPortFrom(netip.MustParseAddr(text), port))
		if err == nil {
			_ = conn.Close()
		}
		if !errors.Is(err, ErrAddress) {
			t.Errorf("%s: %v", text, err)
		}
	}
	conn, err := (&Dialer{Allow: Loopback()}).dial(t.Context(), netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), port))
	if err != nil {
		t.Fatalf("allowed: %v", err)
	}
	_ = conn.Close()
}

func TestDefaultDNSIsGos(t *testing.T) {
	for _, d := range []*Dialer{nil, {}} {
		if r, ok := d.dns().(*net.Resolver); !ok || !r.PreferGo {
			t.Errorf("%#v", r)
		}
	}
}
