package discovery_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/dnstest"
	"github.com/seed-0a46cb1a/fedinvite/internal/internet"
)

// forbidden are addresses of our own machine and network, as strangers may write them.
func forbidden() []string { return []string{"127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "::1"} }

// literalOf returns addr as a server name.
func literalOf(addr string) string {
	if strings.Contains(addr, ":") {
		return "[" + addr + "]"
	}
	return addr
}

// A prize is a server on loopback that must not be reached.
func prize(t *testing.T, n *internet.Network) *internet.Peer {
	p := n.Serve("127.0.0.1:1", []string{"a.ex"}, nil)
	for _, addr := range forbidden() {
		for _, port := range []string{"443", "8448", "9000", portOf(p.Listener.Addr().String())} {
			n.Place(net.JoinHostPort(netip.MustParseAddr(addr).Unmap().String(), port), p.Listener.Addr().String())
		}
	}
	return p
}

func TestPlumbing55ForbiddenAddressesAreNotConnectedTo(t *testing.T) {
	for name, lead := range map[string]func(n *internet.Network, addr, port string) (server string){
		"literal":           func(_ *internet.Network, addr, _ string) string { return literalOf(addr) },
		"literal with port": func(_ *internet.Network, addr, port string) string { return literalOf(addr) + ":" + port },
		"name": func(n *internet.Network, addr, _ string) string {
			n.DNS.Addr("a.ex", addr)
			return "a.ex"
		},
		"name with port": func(n *internet.Network, addr, port string) string {
			n.DNS.Addr("a.ex", addr)
			return "a.ex:" + port
		},
		".well-known": func(n *internet.Network, addr, port string) string {
			n.DNS.Addr("a.ex", "8.0.0.1")
			n.WellKnown("a.ex", "8.0.0.1", literalOf(addr)+":"+port)
			return "a.ex"
		},
		"name in .well-known": func(n *internet.Network, addr, port string) string {
			n.DNS.Addr("a.ex", "8.0.0.1")
			n.DNS.Addr("d.ex", addr)
			n.WellKnown("a.ex", "8.0.0.1", "d.ex:"+port)
			return "a.ex"
		},
		"SRV": func(n *internet.Network, addr, port string) string {
			n.DNS.Addr("a.ex")
			n.DNS.Addr("t.ex", addr)
			number, _ := strconv.ParseUint(port, 10, 16)
			n.DNS.SRV("_matrix-fed._tcp.a.ex", net.SRV{Target: "t.ex.", Port: uint16(number)})
			return "a.ex"
		},
	} {
		for _, addr := range forbidden() {
			t.Run(name+"/"+addr, func(t *testing.T) {
				n := internet.New(t)
				p := prize(t, n)
				server := lead(n, addr, portOf(p.Listener.Addr().String()))
				_, _, err := get(t, n.Transport(nil), server+"/x")
				var refused *discovery.AddressError
				if !errors.As(err, &refused) || !errors.Is(err, discovery.ErrAddress) {
					t.Errorf("got %v", err)
				}
				if dials := n.Dials(); len(dials) > 0 || p.Connections() > 0 {
					t.Errorf("dialled %v, %d connections", dials, p.Connections())
				}
			})
		}
	}
}

// What .well-known redirects to is not the server: step 4 follows.
func TestPlumbing55RedirectOfWellKnownToForbiddenAddresses(t *testing.T) {
	for _, addr := range forbidden() {
		for _, named := range []bool{false, true} {
			t.Run(addr, func(t *testing.T) {
				n := internet.New(t)
				p := prize(t, n)
				n.DNS.Addr("a.ex", "8.0.0.1")
				n.DNS.Addr("d.ex", addr)
				host := literalOf(addr)
				if named {
					host = "d.ex"
				}
				web := n.Serve("8.0.0.1:443", []string{"a.ex"}, func(w http.ResponseWriter, r *http.Request) {
					http.Redirect(w, r, "https://"+net.JoinHostPort(strings.Trim(host, "[]"), portOf(p.Listener.Addr().String()))+"/", http.StatusFound)
				})
				server := n.Serve("8.0.0.1:8448", []string{"a.ex"}, nil)
				_, _, err := get(t, n.Transport(nil), "a.ex/x")
				if err != nil || len(web.Requests()) != 1 || len(server.Requests()) != 1 || p.Connections() > 0 {
					t.Errorf("got %v, %d connections", err, p.Connections())
				}
				if got, want := n.Dials(), []string{"8.0.0.1:8448"}; !slices.Equal(got, want) {
					t.Errorf("got %v, want %v", got, want)
				}
			})
		}
	}
}

// By the connections of the package itself, not by those of a test.
func TestPlumbing55NoConnectionToLoopbackByDefault(t *testing.T) {
	n := internet.New(t)
	p := prize(t, n)
	port := portOf(p.Listener.Addr().String())
	n.DNS.Addr("a.ex", "127.0.0.1")
	transport := n.Transport(func(c *discovery.Config) { c.Dial = nil })
	for _, server := range []string{"127.0.0.1:" + port, "[::ffff:127.0.0.1]:" + port, "a.ex:" + port, "localhost:" + port, "a.localhost:" + port} {
		if _, _, err := get(t, transport, server+"/x"); !errors.Is(err, discovery.ErrAddress) {
			t.Errorf("%s: got %v", server, err)
		}
	}
	if p.Connections() > 0 {
		t.Errorf("%d connections", p.Connections())
	}
	allowed := n.Transport(func(c *discovery.Config) { c.Dial, c.Allow = nil, discovery.Loopback() })
	if _, _, err := get(t, allowed, "a.ex:"+port+"/x"); err != nil || p.Connections() != 1 {
		t.Errorf("allowed: got %v, %d connections", err, p.Connections())
	}
	denied := n.Transport(func(c *discovery.Config) { c.Dial, c.Allow, c.Deny = nil, discovery.Loopback(), discovery.Loopback() })
	if _, _, err := get(t, denied, "a.ex:"+port+"/x"); !errors.Is(err, discovery.ErrAddress) || p.Connections() != 1 {
		t.Errorf("denied: got %v, %d connections", err, p.Connections())
	}
}

// A DNS that says one address to whoever checks and another one to whoever connects.
func TestPlumbing56RebindingBetweenQuestions(t *testing.T) {
	n := internet.New(t)
	p := prize(t, n)
	server := n.Serve("8.0.0.1:8448", []string{"a.ex"}, nil)
	times := 0
	n.DNS.Hook(func(name string, kind dnstest.Type) {
		if name != "a.ex" || kind != dnstest.A {
			return
		}
		if times++; times%2 == 1 {
			n.DNS.Addr("a.ex", "8.0.0.1")
		} else {
			n.DNS.Addr("a.ex", "127.0.0.1")
		}
	})
	transport := n.Transport(nil)
	refused, served := 0, 0
	for range 10 {
		switch _, _, err := get(t, transport, "a.ex:8448/x"); {
		case err == nil:
			served++
		case errors.Is(err, discovery.ErrAddress):
			refused++
		default:
			t.Errorf("got %v", err)
		}
		transport.CloseIdleConnections()
	}
	if refused != 5 || served != 5 || len(server.Requests()) != 5 || p.Connections() > 0 {
		t.Errorf("%d refused, %d served, %d connections", refused, served, p.Connections())
	}
}

func TestPlumbing56RebindingBetweenWellKnownAndRequest(t *testing.T) {
	for name, delegated := range map[string]string{"no delegation": "", "delegation": "a.ex:8448"} {
		t.Run(name, func(t *testing.T) {
			n := internet.New(t)
			p := prize(t, n)
			n.DNS.Addr("a.ex", "8.0.0.1")
			web := n.Serve("8.0.0.1:443", []string{"a.ex"}, func(w http.ResponseWriter, _ *http.Request) {
				n.DNS.Addr("a.ex", "127.0.0.1")
				_, _ = io.WriteString(w, `{"m.server":"`+delegated+`"}`)
			})
			_, _, err := get(t, n.Transport(nil), "a.ex/x")
			if !errors.Is(err, discovery.ErrAddress) || len(web.Requests()) != 1 || p.Connections() > 0 || len(n.Dials()) > 0 {
				t.Errorf("got %v, %d connections", err, p.Connections())
			}
		})
	}
}

// The environment's proxies would be asked to connect anywhere.
func TestProxiesOfTheEnvironmentAreNotUsed(t *testing.T) {
	n := oneTarget(t)
	p := prize(t, n)
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "ALL_PROXY"} {
		t.Setenv(name, "http://"+p.Listener.Addr().String())
	}
	n.Serve("8.0.0.1:8448", []string{"a.ex"}, nil)
	if _, _, err := get(t, n.Transport(nil), "a.ex/x"); err != nil || p.Connections() > 0 {
		t.Errorf("got %v, %d connections", err, p.Connections())
	}
}

func TestDialerAndResolverAreThoseOfTheTransport(t *testing.T) {
	n := oneTarget(t)
	transport := n.Transport(func(c *discovery.Config) { c.Deny = []netip.Prefix{netip.MustParsePrefix("8.0.0.0/8")} })
	if transport.Dialer().Permits(netip.MustParseAddr("8.0.0.1")) || !transport.Dialer().Permits(netip.MustParseAddr("9.0.0.1")) {
		t.Error("the Dialer does not know what is denied")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if r, err := transport.Resolver().Resolve(t.Context(), "a.ex"); err != nil || r.Step != "6" {
		t.Errorf("got %+v, %v", r, err)
	}
	if r, err := transport.Resolver().Resolve(ctx, "a.ex"); err != nil || r.Step != "6" { // it remembers
		t.Errorf("got %+v, %v", r, err)
	}
}
