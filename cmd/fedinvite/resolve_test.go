package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/dnstest"
)

// certificate issues a certificate for host names.
func (st *site) certificate(t testing.TB, names ...string) tls.Certificate {
	t.Helper()
	pair, err := st.authority.issue(&x509.Certificate{
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:    names,
	})
	if err != nil {
		t.Fatal(err)
	}
	return pair
}

// serveNames has a server with a certificate for names tell its version.
func (st *site) serveNames(t testing.TB, names ...string) (port uint16) {
	t.Helper()
	address := freeAddress(t)
	listenAndServe(t, address, st.certificate(t, names...), http.HandlerFunc(version))
	return netip.MustParseAddrPort(address).Port()
}

// inquire runs a command that asks our DNS server and may connect to our own machine.
func (st *site) inquire(t testing.TB, command string, dns *dnstest.Server, args ...string) result {
	t.Helper()
	all := []string{command, "-ca", st.ca, "-allow", "loopback", "-dns", dns.Address()}
	return runCommand(t.Context(), "", append(all, args...)...)
}

// idle is an address at which nothing listens.
const idle = "127.0.0.77"

var (
	aTime = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ`)
	aPort = regexp.MustCompile(`:\d{4,5}\b`)
)

// steady replaces what is another in each run.
func steady(text string) string {
	return aPort.ReplaceAllString(aTime.ReplaceAllString(text, "TIME"), ":PORT")
}

func TestResolveAddress(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	s := st.serve(t)
	r := runCommand(t.Context(), "", "resolve", "-connect", "-ca", st.ca, "-allow", "127.0.0.1", s.name)
	if r.status != statusOK || r.err != "" {
		t.Errorf("%+v", r)
	}
	diff(t, `server        127.0.0.1:PORT
step          1, the name is an IP address
Host header   127.0.0.1:PORT
certificate   for 127.0.0.1
target        127.0.0.1:PORT
              127.0.0.1  TLS 1.3, h2, certificate for localhost 127.0.0.1 ::1 until TIME by "CN=fedinvite demo"
version       "fedinvite" "`+moduleVersion()+`", asked at 127.0.0.1:PORT
`, steady(r.out))

	r = runCommand(t.Context(), "", "resolve", "-ca", st.ca, s.name)
	if r.status != statusRefused || steady(r.err) != "fedinvite: 127.0.0.1:PORT has no address that may be connected to\n" {
		t.Errorf("%+v", r)
	}
	if want := "              127.0.0.1  must not be connected to\n"; !strings.HasSuffix(r.out, want) {
		t.Errorf("got %s, want %s", r.out, want)
	}
}

func TestResolveByRecords(t *testing.T) {
	t.Parallel()
	st, dns := newSite(t), dnstest.New(t)
	port := st.serveNames(t, "a.test")
	dns.Addr("a.test", idle)
	dns.SRV("_matrix-fed._tcp.a.test", net.SRV{Target: "one.test", Port: port, Priority: 1}, net.SRV{Target: "two.test", Port: port, Priority: 2})
	dns.Addr("one.test", "127.0.0.1")
	dns.Addr("two.test", "10.0.0.1")
	r := st.inquire(t, "resolve", dns, "-connect", "a.test")
	if r.status != statusOK || r.err != "" {
		t.Errorf("%+v", r)
	}
	steps, found, _ := strings.Cut(steady(r.out), "\nserver ")
	for _, want := range []string{"step 3        https://a.test/.well-known/matrix/server\n              → ", "step 4        SRV _matrix-fed._tcp.a.test\n              → "} {
		if !strings.Contains(steps, want) {
			t.Errorf("got\n%s, want\n%s", steps, want)
		}
	}
	diff(t, `       a.test
step          4, by _matrix-fed._tcp records
Host header   a.test
certificate   for a.test
target        one.test:PORT
              127.0.0.1  TLS 1.3, h2, certificate for a.test until TIME by "CN=fedinvite demo"
target        two.test:PORT
              10.0.0.1  must not be connected to
version       "fedinvite" "`+moduleVersion()+`", asked at 127.0.0.1:PORT
`, found)
}

// A .well-known file is at port 443, which tests cannot have.
func TestResolveByWellKnown(t *testing.T) {
	t.Parallel()
	st, dns := newSite(t), dnstest.New(t)
	port := st.serveNames(t, "b.test")
	web := freeAddress(t)
	listenAndServe(t, web, st.certificate(t, "a.test"), http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"m.server":"b.test:`+strconv.Itoa(int(port))+`"}`)
	}))
	dns.Addr("a.test", "127.0.0.1")
	dns.Addr("b.test", "127.0.0.1")
	config := connecting(st.authority.roots, discovery.Loopback())
	config.DNS = dns.Resolver()
	config.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if strings.HasSuffix(address, ":443") {
			address = web
		}
		return new(net.Dialer).DialContext(ctx, network, address)
	}
	r := &route{Server: "a.test"}
	if err := r.find(t.Context(), config, true); err != nil {
		t.Error(err)
	}
	var text strings.Builder
	if err := r.text(&text); err != nil {
		t.Fatal(err)
	}
	steps, found, _ := strings.Cut(steady(text.String()), "\nserver ")
	if want := "step 3        https://a.test/.well-known/matrix/server\n              → "; !strings.HasPrefix(steps, want) || !strings.HasSuffix(steps, ", until TIME") {
		t.Errorf("got\n%s, want\n%s", steps, want)
	}
	diff(t, `       a.test
step          3.2, delegated by .well-known to a name with a port
delegated to  b.test:PORT
Host header   b.test:PORT
certificate   for b.test
target        b.test:PORT
              127.0.0.1  TLS 1.3, h2, certificate for b.test until TIME by "CN=fedinvite demo"
version       "fedinvite" "`+moduleVersion()+`", asked at 127.0.0.1:PORT
`, found)
}

func TestResolveAsJSON(t *testing.T) {
	t.Parallel()
	st, dns := newSite(t), dnstest.New(t)
	port := st.serveNames(t, "a.test")
	dns.Addr("a.test", "127.0.0.1")
	name := "a.test:" + strconv.Itoa(int(port))
	r := st.inquire(t, "resolve", dns, "-connect", "-json", name)
	if r.status != statusOK || r.err != "" || strings.Count(r.out, "\n") != 1 {
		t.Fatalf("%+v", r)
	}
	var got route
	if err := json.Unmarshal([]byte(r.out), &got); err != nil {
		t.Fatal(err)
	}
	c := got.Targets[0].Addresses[0].Connection
	if c == nil || c.Certificate == nil || c.Certificate.NotAfter < 1e12 {
		t.Fatal(r.out)
	}
	c.Certificate.NotAfter = 0
	self := netip.MustParseAddr("127.0.0.1")
	want := route{
		Server: "a.test:" + got.Server[len("a.test:"):], Answers: []answer{}, Step: "2", Host: name, CertName: "a.test",
		Targets: []target{{Host: "a.test", Port: port, Addresses: []address{{
			Address: self, Permitted: true,
			Connection: &connection{TLS: "TLS 1.3", Protocol: "h2", Certificate: &certificate{Names: []string{"a.test"}, Issuer: "CN=fedinvite demo"}},
		}}}},
		Version: &software{Name: "fedinvite", Version: moduleVersion(), Address: netip.AddrPortFrom(self, port).String()},
	}
	wantText, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	gotText, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, string(wantText), string(gotText))
}

func TestResolveFailures(t *testing.T) {
	t.Parallel()
	st, dns := newSite(t), dnstest.New(t)
	port := st.serveNames(t, "b.test")
	dns.Addr("a.test", "127.0.0.1")
	dns.Addr("c.test", idle)
	dns.SRV("_matrix-fed._tcp.c.test", net.SRV{Target: "."})
	dns.Addr("d.test", idle)
	dns.Fail("_matrix-fed._tcp.d.test")
	dns.Addr("e.test", "10.0.0.1", "169.254.169.254")
	dns.Addr("f.test", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "192.168.0.1")
	for _, c := range []struct {
		name     string
		args     []string
		out, err string
	}{
		{"no such name", []string{"no.test:1"}, "no such host", "no.test:1 has no address that may be connected to"},
		{"no service", []string{"c.test"}, "step 4        SRV _matrix-fed._tcp.c.test", "no server of that name"},
		{"DNS trouble", []string{"d.test"}, "step 4        SRV _matrix-fed._tcp.d.test", "server misbehaving"},
		{"private", []string{"e.test:1"}, "169.254.169.254  must not be connected to", "e.test:1 has no address that may be connected to"},
		{"private, not connected to", []string{"-connect", "e.test:1"}, "10.0.0.1  must not be connected to", "address is not allowed"},
		{"many addresses", []string{"f.test:1"}, "192.168.0.1  must not be connected to", "f.test:1 has no address that may be connected to"},
		{"our own machine", []string{"-connect", "localhost:1"}, "::1  failed: ", "connection refused"},
		{"certificate of another", []string{"-connect", "a.test:" + strconv.Itoa(int(port))}, "certificate for b.test until ", "certificate is valid for b.test, not a.test"},
		{"nothing there", []string{"-connect", idle + ":1"}, idle + "  failed: ", "asking for /_matrix/federation/v1/version: server cannot be reached: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := st.inquire(t, "resolve", dns, c.args...)
			if r.status != statusRefused || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, c.err) {
				t.Errorf("status %d, %q, want 1 and %q", r.status, r.err, c.err)
			}
			if !strings.Contains(r.out, c.out) {
				t.Errorf("got\n%s, want %q", r.out, c.out)
			}
			r = st.inquire(t, "resolve", dns, append([]string{"-json"}, c.args...)...)
			var got route
			if err := json.Unmarshal([]byte(r.out), &got); err != nil || !strings.Contains(got.Error, c.err) || r.status != statusRefused {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

func TestResolveDoesNotConnectUnlessTold(t *testing.T) {
	t.Parallel()
	l := listen(t, "127.0.0.1:0")
	accepted := make(chan struct{})
	go func() {
		defer close(accepted)
		if conn, err := l.Accept(); err == nil {
			_ = conn.Close()
			t.Error("a connection")
		}
	}()
	succeed(t, "", "resolve", "-allow", "loopback", l.Addr().String())
	runCommand(t.Context(), "", "resolve", "-connect", l.Addr().String()) // not allowed
	_ = l.Close()
	<-accepted
}

func TestParseVersion(t *testing.T) {
	for body, want := range map[string]string{
		`{"server":{"name":"a","version":"1"}}`: "a 1",
		`{"server":{"version":"1"}}`:            " 1",
		`{"server":{}}`:                         " ",
		`{}`:                                    " ",
		`{"Server":{"name":"a"},"server":{"NAME":"b"}}`: " ",
		`{"server":{"name":7}}`:                         "error",
		`{"server":[]}`:                                 "error",
		`{"server":{"name":"a","n\u0061me":"b"}}`:       "error",
		`[]`: "error",
		`{"x":1,"server":{"name":"a","version":"1","y":2}}`: "a 1",
	} {
		got := "error"
		if s, err := parseVersion([]byte(body)); err == nil {
			got = s.Name + " " + s.Version
		}
		if got != want {
			t.Errorf("%s: got %q, want %q", body, got, want)
		}
	}
}

func FuzzParseVersion(f *testing.F) {
	f.Add([]byte(`{"server":{"name":"a","version":"1"}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := parseVersion(body)
		if err != nil && s != (software{}) || !utf8.ValidString(s.Name+s.Version) {
			t.Error(s, err)
		}
	})
}
