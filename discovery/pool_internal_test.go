package discovery

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

func TestPoolKeysSayTheTargetAndTheCertificate(t *testing.T) {
	for _, c := range []struct {
		cert   string
		target Target
		key    string
	}{
		{"a.ex", Target{Host: "a.ex", Port: 8448}, "a.ex:8448"},
		{"a.ex", Target{Host: "matrix.b.ex", Port: 443}, "a.ex_matrix.b.ex:443"},
		{"192.0.2.1", Target{Host: "192.0.2.1", Port: 8448}, "192.0.2.1:8448"},
		{"2001:db8::1", Target{Host: "2001:db8::1", Port: 65535}, "[2001:db8::1]:65535"},
		{"a.ex", Target{Host: "2001:db8::1", Port: 1}, "[a.ex_2001:db8::1]:1"},
		{"xn--bcher-kva.ex", Target{Host: "xn--bcher-kva.ex", Port: 8448}, "xn~bcher-kva.ex:8448"},
		{"a.ex", Target{Host: "b.xn--p1ai", Port: 8448}, "a.ex_b.xn~p1ai:8448"},
	} {
		key := poolKey(c.cert, c.target)
		if key != c.key {
			t.Errorf("%s, %v: got %q, want %q", c.cert, c.target, key, c.key)
		}
		if cert, target, ok := parsePoolKey(key); cert != c.cert || target != c.target || !ok {
			t.Errorf("%q: got %q, %v, %v", key, cert, target, ok)
		}
	}
}

func TestPoolKeysAreForNamesAndAddressesOnly(t *testing.T) {
	good := Target{Host: "a.ex", Port: 8448}
	for _, bad := range []string{"", "a_b", "a~b", "a b", "a:1", "[::1]", "fe80::1%eth0", "bü.ex", "a/b", "a@b", "a\x00", "::1_a"} {
		if key := poolKey(bad, good); key != "" {
			t.Errorf("certificate for %q: got %q", bad, key)
		}
		if key := poolKey("a.ex", Target{Host: bad, Port: 8448}); key != "" {
			t.Errorf("target %q: got %q", bad, key)
		}
	}
	if key := poolKey("a.ex", Target{Host: "a.ex"}); key != "" {
		t.Errorf("port 0: got %q", key)
	}
}

func TestPoolKeysHaveOneForm(t *testing.T) {
	for _, key := range []string{
		"", "a.ex", "a.ex:", "a.ex:0", "a.ex:08448", "a.ex:+1", "a.ex:65536", ":8448", "_:8448", "a.ex_:1", "_a.ex:1",
		"a.ex_a.ex:8448", "a_b_c:1", "xn--a:1", "a.ex_xn--a:1", "[a.ex]:1", "[a.ex_b.ex]:1", "::1:1", "[fe80::1%25e]:1", "[[::1]]:1",
	} {
		if cert, target, ok := parsePoolKey(key); ok {
			t.Errorf("%q: got %q, %v", key, cert, target)
		}
	}
}

// net/http takes the host of the URL for the key of its pools. That for HTTP/2 changes
// labels that begin with "xn--".
func TestPoolKeysStayAsTheyAreInNetHTTP(t *testing.T) {
	for _, name := range []string{"a.ex", "xn--abc-.ex", "xn--ib9b.ex", "xnxn---.ex", "XN--a.ex", "8.8.8.8", "::1", "2001:DB8::1", "a.ex.", "-", "."} {
		key := poolKey(name, Target{Host: name, Port: 8448})
		if sent := keyInHTTP1(t, key); sent != key {
			t.Errorf("%q: %q is dialled", key, sent)
		}
		if strings.Contains(key, "xn--") {
			t.Errorf("%q is not safe", key)
		}
	}
}

// keyInHTTP1 returns what net/http dials for the host of a URL.
func keyInHTTP1(t testing.TB, host string) (dialled string) {
	t.Helper()
	transport := &http.Transport{DialTLSContext: func(_ context.Context, _, address string) (net.Conn, error) {
		dialled = address
		return nil, net.ErrClosed
	}}
	_, err := transport.RoundTrip(&http.Request{URL: &url.URL{Scheme: "https", Host: host}, Header: http.Header{}})
	if err == nil {
		t.Fatal("no error")
	}
	return dialled
}

// Hostile server names and SRV targets must not reach the connections of others.
func FuzzPoolKey(f *testing.F) {
	f.Add("a.ex", "b.ex", "a.ex", "b.ex", uint16(8448))
	f.Add("a.ex", "a.ex", "a", "ex", uint16(1))
	f.Add("xn--ib9b", "xn--ib9b", "xn--jb9b", "xn--jb9b", uint16(443))
	f.Add("xnxn--", "xn---", "xn-", "-xn--", uint16(443))
	f.Add("a_b", "c", "a", "b_c", uint16(443))
	f.Add("::1", "::1", "a", "::1", uint16(443))
	f.Fuzz(func(t *testing.T, cert1, host1, cert2, host2 string, port uint16) {
		one, two := Target{Host: host1, Port: port}, Target{Host: host2, Port: port}
		key1, key2 := poolKey(cert1, one), poolKey(cert2, two)
		if key1 == "" {
			if _, err := fedinvite.ParseServerName(host1); err == nil && cert1 == host1 && port > 0 && fedinvite.ServerName(host1).Host() == host1 {
				t.Errorf("no key for %q", host1)
			}
			return
		}
		if cert, target, ok := parsePoolKey(key1); cert != cert1 || target != one || !ok {
			t.Errorf("%q, %v: %q is read as %q, %v, %v", cert1, one, key1, cert, target, ok)
		}
		same := cert1 == cert2 && host1 == host2
		if (key1 == key2) != same {
			t.Errorf("%q, %v and %q, %v: %q and %q", cert1, one, cert2, two, key1, key2)
		}
		if strings.Contains(key1, acePrefix) || keyInHTTP1(t, key1) != key1 {
			t.Errorf("%q, %v: net/http changes %q", cert1, one, key1)
		}
	})
}

func FuzzParsePoolKey(f *testing.F) {
	for _, key := range []string{"a.ex:1", "a_b:1", "[::1]:1", "[a_::1]:1", "xn~a:1"} {
		f.Add(key)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if cert, target, ok := parsePoolKey(key); ok && poolKey(cert, target) != key {
			t.Errorf("%q is read as %q, %v", key, cert, target)
		}
	})
}
