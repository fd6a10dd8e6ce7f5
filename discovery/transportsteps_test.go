package discovery_test

import (
	"crypto/x509"
	"errors"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/internet"
)

// A step is a row of the table of "Resolving server names" in a world where A is the
// address of a.ex, D that of d.ex and T that of t.ex.
type step struct {
	name      string
	server    string // A, D, T and [A] … stand for addresses here
	wellKnown string // of a.ex; "": there is none
	srv       string // the record that there is, to t.ex:9000
	dial      string
	host      string
	sni       string
	cert      string // whom the certificate must be for
	wrong     string // others that one for does not do
}

func steps() []step {
	return []step{
		{"1", "[A]", "", "", "[A]:8448", "[A]", "", "A", "D a.ex"},
		{"1 with port", "[A]:9001", "", "", "[A]:9001", "[A]:9001", "", "A", "D a.ex"},
		{"2", "a.ex:9001", "d.ex", "_matrix-fed._tcp.a.ex", "[A]:9001", "a.ex:9001", "a.ex", "a.ex", "d.ex t.ex A"},
		{"2 with the port of https", "a.ex:443", "", "", "[A]:443", "a.ex:443", "a.ex", "a.ex", "d.ex A"},
		{"3.1", "a.ex", "[D]", "", "[D]:8448", "[D]", "", "D", "A a.ex d.ex"},
		{"3.1 with port", "a.ex", "[D]:9001", "", "[D]:9001", "[D]:9001", "", "D", "A a.ex d.ex"},
		{"3.2", "a.ex", "d.ex:9001", "_matrix-fed._tcp.d.ex", "[D]:9001", "d.ex:9001", "d.ex", "d.ex", "a.ex t.ex D"},
		{"3.3", "a.ex", "d.ex", "_matrix-fed._tcp.d.ex", "[T]:9000", "d.ex", "d.ex", "d.ex", "a.ex t.ex T"},
		{"3.4", "a.ex", "d.ex", "_matrix._tcp.d.ex", "[T]:9000", "d.ex", "d.ex", "d.ex", "a.ex t.ex T"},
		{"3.5", "a.ex", "d.ex", "", "[D]:8448", "d.ex", "d.ex", "d.ex", "a.ex t.ex D"},
		{"4", "a.ex", "", "_matrix-fed._tcp.a.ex", "[T]:9000", "a.ex", "a.ex", "a.ex", "d.ex t.ex T"},
		{"5", "a.ex", "", "_matrix._tcp.a.ex", "[T]:9000", "a.ex", "a.ex", "a.ex", "d.ex t.ex T"},
		{"6", "a.ex", "", "", "[A]:8448", "a.ex", "a.ex", "a.ex", "d.ex t.ex A"},
	}
}

// in returns s with addresses of one family.
func (s step) in(family string) step {
	a, d, t := "8.0.0.1", "8.0.0.2", "8.0.0.3"
	pairs := []string{"[A]", a, "[D]", d, "[T]", t}
	if family == "IPv6" {
		a, d, t = "2a00::1", "2a00::2", "2a00::3"
		pairs = []string{"[A]", "[" + a + "]", "[D]", "[" + d + "]", "[T]", "[" + t + "]"}
	}
	replacer := strings.NewReplacer(append(pairs, "A", a, "D", d, "T", t)...)
	for _, field := range []*string{&s.server, &s.wellKnown, &s.dial, &s.host, &s.cert, &s.wrong} {
		*field = replacer.Replace(*field)
	}
	return s
}

// world returns the internet of s, but for the server itself.
func (s step) world(t *testing.T, family string) *internet.Network {
	n := internet.New(t)
	for name, letter := range map[string]string{"a.ex": "A", "d.ex": "D", "t.ex": "T"} {
		n.DNS.Addr(name, step{server: letter}.in(family).server)
	}
	if s.wellKnown != "" {
		n.WellKnown("a.ex", step{server: "[A]"}.in(family).server, s.wellKnown)
	}
	if s.srv != "" {
		n.DNS.SRV(s.srv, net.SRV{Target: "t.ex.", Port: 9000})
	}
	return n
}

func TestPlumbing48EachStepOfDiscovery(t *testing.T) {
	for _, family := range []string{"IPv4", "IPv6"} {
		for _, s := range steps() {
			s := s.in(family)
			t.Run(family+"/"+s.name, func(t *testing.T) {
				n := s.world(t, family)
				server := n.Serve(s.dial, []string{s.cert}, nil)
				status, body, err := get(t, n.Transport(nil), s.server+"/_matrix/key/v2/server")
				if status != 200 || body != "{}" || err != nil {
					t.Fatalf("got %d %q, %v", status, body, err)
				}
				want := []internet.Asked{{Target: "/_matrix/key/v2/server", Host: s.host, SNI: s.sni, Proto: "HTTP/2.0"}}
				if got := server.Requests(); !slices.Equal(got, want) {
					t.Errorf("got %+v, want %+v", got, want)
				}
				if dialled := n.Dialled(); dialled[len(dialled)-1] != s.dial {
					t.Errorf("got %v, want %s", dialled, s.dial)
				}
			})
		}
	}
}

func TestPlumbing48EachStepDemandsItsCertificate(t *testing.T) {
	for _, family := range []string{"IPv4", "IPv6"} {
		for _, s := range steps() {
			s := s.in(family)
			for wrong := range strings.FieldsSeq(s.wrong) {
				t.Run(family+"/"+s.name+"/"+wrong, func(t *testing.T) {
					n := s.world(t, family)
					server := n.Serve(s.dial, []string{wrong}, nil)
					_, _, err := get(t, n.Transport(nil), s.server+"/x")
					var mismatch x509.HostnameError
					if !errors.As(err, &mismatch) || mismatch.Host != s.cert {
						t.Errorf("got %v", err)
					}
					if server.Connections() == 0 || len(server.Requests()) > 0 {
						t.Errorf("got %d connections and %+v", server.Connections(), server.Requests())
					}
				})
			}
		}
	}
}

// The specification: "the target of the delegation must prove that it is a valid delegate
// for <hostname> via TLS".
func TestPlumbing57CertificateForSRVTarget(t *testing.T) {
	n := internet.New(t)
	n.DNS.Addr("a.ex")
	n.DNS.Addr("t.ex", "8.0.0.3")
	n.DNS.SRV("_matrix-fed._tcp.a.ex", net.SRV{Target: "t.ex.", Port: 9000})
	server := n.Serve("8.0.0.3:9000", []string{"t.ex"}, nil)
	_, _, err := get(t, n.Transport(nil), "a.ex/x")
	var mismatch x509.HostnameError
	if !errors.As(err, &mismatch) || mismatch.Host != "a.ex" || len(server.Requests()) > 0 {
		t.Errorf("got %v, %+v", err, server.Requests())
	}
	if open := n.Open(); open > 0 {
		t.Errorf("%d connections are left", open)
	}
}

func TestCertificateOfUnknownAuthority(t *testing.T) {
	n, other := internet.New(t), internet.New(t)
	n.DNS.Addr("a.ex", "8.0.0.1")
	server := n.Serve("8.0.0.1:8448", []string{"a.ex"}, nil)
	transport := n.Transport(func(c *discovery.Config) { c.TLS.RootCAs = other.Roots })
	_, _, err := get(t, transport, "a.ex:8448/x")
	var unknown x509.UnknownAuthorityError
	if !errors.As(err, &unknown) || len(server.Requests()) > 0 {
		t.Errorf("got %v", err)
	}
}
