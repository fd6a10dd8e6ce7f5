package ratelimit_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
)

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, s := range texts {
		all = append(all, netip.MustParsePrefix(s))
	}
	return all
}

func TestForwardedFor(t *testing.T) {
	trusted := append(prefixes("127.0.0.0/8", "::ffff:10.0.0.0/104", "2001:db8::/64", "fe80::/10"), netip.Prefix{})
	for _, c := range []struct {
		name    string
		peer    string
		headers []string
		want    string // "": as it was
	}{
		{"one proxy", "127.0.0.1:1", []string{"192.0.2.1"}, "192.0.2.1:0"},
		{"what the client made up is left of it", "127.0.0.1:1", []string{"203.0.113.1, 192.0.2.1"}, "192.0.2.1:0"},
		{"two proxies", "127.0.0.1:1", []string{"203.0.113.1, 192.0.2.1, 10.0.0.1"}, "192.0.2.1:0"},
		{"two lines", "127.0.0.1:1", []string{"203.0.113.1,192.0.2.1", "10.0.0.1"}, "192.0.2.1:0"},
		{"what the client made up is in a line of its own", "127.0.0.1:1", []string{"203.0.113.1", "192.0.2.1"}, "192.0.2.1:0"},
		{"a line of trusted ones, and one without any", "127.0.0.1:1", []string{"192.0.2.1", "", "10.0.0.1 ,\t10.0.0.2"}, "192.0.2.1:0"},
		{"IPv6", "[2001:db8::1]:1", []string{"2001:db8:0:1::7"}, "[2001:db8:0:1::7]:0"},
		{"IPv6 in brackets", "127.0.0.1:1", []string{"[2001:db8:0:1::7]"}, "[2001:db8:0:1::7]:0"},
		{"with a port", "127.0.0.1:1", []string{"192.0.2.1:99"}, "192.0.2.1:99"},
		{"IPv6 with a port", "127.0.0.1:1", []string{"[2001:db8:0:1::7]:99"}, "[2001:db8:0:1::7]:99"},
		{"IPv4-mapped client", "127.0.0.1:1", []string{"::ffff:192.0.2.1"}, "192.0.2.1:0"},
		{"IPv4-mapped proxy", "[::ffff:10.0.0.1]:1", []string{"192.0.2.1, ::ffff:10.0.0.1"}, "192.0.2.1:0"},
		{"proxy with a zone", "[fe80::1%eth0]:1", []string{"192.0.2.1"}, "192.0.2.1:0"},

		{"the peer is not trusted", "192.0.2.9:1", []string{"192.0.2.1"}, ""},
		{"no header", "127.0.0.1:1", nil, ""},
		{"an empty header", "127.0.0.1:1", []string{""}, ""},
		{"nothing but proxies", "127.0.0.1:1", []string{"10.0.0.1, 10.0.0.2"}, ""},
		{"no address", "127.0.0.1:1", []string{"192.0.2.1, unknown"}, ""},
		{"a name", "127.0.0.1:1", []string{"client.example"}, ""},
		{"an empty element", "127.0.0.1:1", []string{"192.0.2.1,"}, ""},
		{"spaces inside", "127.0.0.1:1", []string{"192.0.2.1 192.0.2.2"}, ""},
		{"half a bracket", "127.0.0.1:1", []string{"[2001:db8:0:1::7"}, ""},
		{"IPv4 in brackets", "127.0.0.1:1", []string{"[192.0.2.1]"}, ""},
		{"malformed behind a proxy", "127.0.0.1:1", []string{"192.0.2.1, x, 10.0.0.1"}, ""},
		{"a peer without an address", "@", []string{"192.0.2.1"}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got string
			var inside *http.Request
			h := ratelimit.ForwardedFor(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				got, inside = r.RemoteAddr, r
			}), trusted...)
			r := httptest.NewRequest("PUT", "/x", strings.NewReader("body"))
			r.RemoteAddr = c.peer
			r.Header["X-Forwarded-For"] = c.headers
			h.ServeHTTP(httptest.NewRecorder(), r)
			want := c.want
			if want == "" {
				want = c.peer
			}
			if got != want {
				t.Errorf("RemoteAddr is %s, want %s", got, want)
			}
			if r.RemoteAddr != c.peer {
				t.Errorf("the caller's request was changed: %s", r.RemoteAddr)
			}
			if inside.RequestURI != r.RequestURI || inside.Body != r.Body || inside.Context() != r.Context() {
				t.Error("the request has lost something else")
			}
		})
	}
}

func TestForwardedForTrustsNobodyByItself(t *testing.T) {
	trusted := prefixes("127.0.0.0/8")
	var got string
	h := ratelimit.ForwardedFor(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }), trusted...)
	trusted[0] = netip.MustParsePrefix("192.0.2.9/32") // the caller's slice is its own
	r := httptest.NewRequest("PUT", "/x", nil)
	r.Header.Set("X-Forwarded-For", "192.0.2.1")
	for _, peer := range []string{"192.0.2.9:1", "[::1]:1"} {
		r.RemoteAddr = peer
		if h.ServeHTTP(httptest.NewRecorder(), r); got != peer {
			t.Errorf("RemoteAddr is %s, want %s", got, peer)
		}
	}
	ratelimit.ForwardedFor(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr })).
		ServeHTTP(httptest.NewRecorder(), r)
	if got != r.RemoteAddr {
		t.Errorf("RemoteAddr is %s though nobody is trusted", got)
	}
}

// Whatever a peer writes into the header: no panic, the request is handed on once, its
// address is one that parses or as it was, and never one of a trusted proxy.
func FuzzForwardedFor(f *testing.F) {
	for _, s := range []string{"", "192.0.2.1", "192.0.2.1, 10.0.0.1", "[::1]:80", "[::ffff:10.0.0.1%0]", "::%x,", ",,,", "[", "]", "1.2.3.4:99999"} {
		f.Add(s, s)
	}
	const peer = "127.0.0.1:1"
	trusted := prefixes("127.0.0.0/8", "10.0.0.0/8")
	f.Fuzz(func(t *testing.T, first, second string) {
		calls := 0
		h := ratelimit.ForwardedFor(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			calls++
			if r.RemoteAddr == peer {
				return
			}
			client, err := netip.ParseAddrPort(r.RemoteAddr)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range trusted {
				if p.Contains(client.Addr().Unmap().WithZone("")) {
					t.Errorf("%s is trusted", client)
				}
			}
		}), trusted...)
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		r.Header["X-Forwarded-For"] = []string{first, second}
		h.ServeHTTP(httptest.NewRecorder(), r)
		if calls != 1 || r.RemoteAddr != peer {
			t.Errorf("%d calls, RemoteAddr %s", calls, r.RemoteAddr)
		}
	})
}

// A listener on a Unix socket knows no addresses.
func TestForwardedForUnix(t *testing.T) {
	for _, c := range []struct{ name, peer, header, want string }{
		{"a peer without a name", "@", "203.0.113.1, 192.0.2.1", "192.0.2.1:0"},
		{"a peer with nothing", "", "192.0.2.1", "192.0.2.1:0"},
		{"a peer with a path", "/run/proxy.sock", "192.0.2.1", "192.0.2.1:0"},
		{"a proxy behind it", "@", "192.0.2.1, 10.0.0.1", "192.0.2.1:0"},
		{"a proxy with an address", "10.0.0.1:1", "192.0.2.1", "192.0.2.1:0"},
		{"a peer with an address that is not trusted", "192.0.2.9:1", "192.0.2.1", "192.0.2.9:1"},
		{"no header", "@", "", "@"},
		{"no address", "@", "unix:", "@"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var got string
			h := ratelimit.ForwardedForUnix(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }),
				prefixes("10.0.0.0/8")...)
			r := httptest.NewRequest("PUT", "/x", nil)
			r.RemoteAddr = c.peer
			r.Header.Set("X-Forwarded-For", c.header)
			if h.ServeHTTP(httptest.NewRecorder(), r); got != c.want {
				t.Errorf("RemoteAddr is %s, want %s", got, c.want)
			}
		})
	}
}
