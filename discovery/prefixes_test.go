package discovery_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

func TestParsePrefixes(t *testing.T) {
	for _, c := range []struct {
		list []string
		want string // "": an error
	}{
		{nil, "[]"},
		{[]string{"loopback"}, "[127.0.0.0/8 ::1/128]"},
		{[]string{"10.0.0.0/8"}, "[10.0.0.0/8]"},
		{[]string{"10.1.2.3/8"}, "[10.0.0.0/8]"},
		{[]string{"10.1.2.3"}, "[10.1.2.3/32]"},
		{[]string{"fd00::/8"}, "[fd00::/8]"},
		{[]string{"::1"}, "[::1/128]"},
		{[]string{"::ffff:10.0.0.0/104"}, "[::ffff:10.0.0.0/104]"},
		{[]string{"10.0.0.0/8", "loopback", "fd00::1"}, "[10.0.0.0/8 127.0.0.0/8 ::1/128 fd00::1/128]"},
		{[]string{"10.0.0.0/33"}, ""},
		{[]string{"10.0.0.0/08"}, ""},
		{[]string{"10.0.0.0/8,::1"}, ""},
		{[]string{" 10.0.0.0/8"}, ""},
		{[]string{"10.1"}, ""},
		{[]string{"010.0.0.1"}, ""},
		{[]string{"[::1]"}, ""},
		{[]string{"fe80::1%eth"}, ""},
		{[]string{"fe80::1%eth/64"}, ""},
		{[]string{"a.example"}, ""},
		{[]string{"localhost"}, ""},
		{[]string{"Loopback"}, ""},
		{[]string{""}, ""},
		{[]string{"loopback", "10.0.0.0/8", "x"}, ""},
	} {
		got, err := discovery.ParsePrefixes(c.list...)
		if c.want != "" {
			if err != nil || fmt.Sprint(got) != c.want {
				t.Errorf("%q: got %v, %v, want %s", c.list, got, err, c.want)
			}
			continue
		}
		if bad := fmt.Sprintf("%q", c.list[len(c.list)-1]); err == nil || got != nil || !strings.Contains(err.Error(), bad) {
			t.Errorf("%q: got %v, %v, want an error that shows %s", c.list, got, err, bad)
		}
	}
}

// The addresses of our own network, as an operator lists them.
func ExampleParsePrefixes() {
	allow, err := discovery.ParsePrefixes("10.1.0.0/16", "fd00::1", "loopback")
	if err != nil {
		fmt.Println(err)
		return
	}
	dialer := discovery.Dialer{Allow: allow}
	for _, addr := range []string{"10.1.2.3", "10.2.2.3", "fd00::1", "127.0.0.1"} {
		fmt.Println(addr, dialer.Permits(netip.MustParseAddr(addr)))
	}
	_, err = discovery.ParsePrefixes("intranet.example")
	fmt.Println(err)
	// Output:
	// 10.1.2.3 true
	// 10.2.2.3 false
	// fd00::1 true
	// 127.0.0.1 true
	// discovery: "intranet.example" is no prefix such as 10.0.0.0/8, no address and not "loopback"
}
