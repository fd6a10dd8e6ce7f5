package invitetest_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// hostNamed answers with a name and the Host it was asked by.
func hostNamed(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, name, " for ", r.Host) })
}

func get(t *testing.T, transport http.RoundTripper, url string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return "unreachable"
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestNamesLeadToTheirServers(t *testing.T) {
	n := invitetest.NewNetwork(t)
	for _, name := range []fedinvite.ServerName{"a.example", "b.example:1", "127.0.0.2:8448", "[::1]:9", "C.example", "localhost.example:8448"} {
		if err := n.Serve(name, hostNamed(string(name))); err != nil {
			t.Fatal(err)
		}
	}
	for url, want := range map[string]string{
		"https://a.example/":         "a.example for a.example",
		"https://A.EXAMPLE/":         "a.example for A.EXAMPLE",
		"https://a.example:8448/":    "a.example for a.example:8448",
		"https://a.example:8449/":    "unreachable",
		"https://b.example/":         "unreachable",
		"https://b.example:1/":       "b.example:1 for b.example:1",
		"https://127.0.0.2/":         "127.0.0.2:8448 for 127.0.0.2",
		"https://[::1]:9/":           "[::1]:9 for [::1]:9",
		"https://c.example/":         "C.example for c.example",
		"https://localhost.example/": "localhost.example:8448 for localhost.example",
		"https://nobody.example/":    "unreachable",
		"https://192.0.2.1/":         "unreachable",
	} {
		if got := get(t, n.Transport(), url); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
}

func TestTheLastServerOfANameCounts(t *testing.T) {
	n := invitetest.NewNetwork(t)
	for i := range 3 {
		if err := n.Serve("a.example", hostNamed(fmt.Sprint(i))); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if got, want := get(t, n.Transport(), "https://a.example/"), fmt.Sprint(i, " for a.example"); got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	}
	if err := n.Serve("a.example", nil); err != nil {
		t.Fatal(err)
	}
	if got := get(t, n.Transport(), "https://a.example/"); got != "unreachable" {
		t.Error("a server that is down:", got)
	}
}

func TestDelegation(t *testing.T) {
	n := invitetest.NewNetwork(t)
	if err := n.Serve("matrix.b.example:8443", hostNamed("b")); err != nil {
		t.Fatal(err)
	}
	if err := n.Delegate("b.example", "matrix.b.example:8443"); err != nil {
		t.Fatal(err)
	}
	if got := get(t, n.Transport(), "https://b.example/"); got != "b for matrix.b.example:8443" {
		t.Error(got)
	}
	for _, name := range []fedinvite.ServerName{"b.example:1", "127.0.0.1", "a b"} {
		if err := n.Delegate(name, "b.example"); err == nil {
			t.Error(name, "can be delegated")
		}
	}
}

// As a homeserver in another language is: it listens by itself.
func TestAPlaceThatListensByItself(t *testing.T) {
	n := invitetest.NewNetwork(t)
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{n.Certificate("a.example", "127.0.0.1")}})
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var serving sync.WaitGroup
	server := &http.Server{Handler: hostNamed("a")}
	serving.Go(func() { _ = server.Serve(l) })
	defer serving.Wait()
	defer server.Close()
	n.Place("a.example", l.Addr().String())
	if got := get(t, n.Transport(), "https://a.example/"); got != "a for a.example" {
		t.Error(got)
	}
}

// A homeserver in another language has the roots in a file, and finds servers by their addresses.
func TestAServerIsFoundByItsAddressWithTheRoots(t *testing.T) {
	s := invitetest.NewServer(t, "")
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(s.Network().RootsPEM()) || !roots.Equal(s.Network().Roots()) {
		t.Fatal("the roots differ")
	}
	for name, protocols := range map[string]func(*http.Protocols){
		"HTTP/1.1": func(p *http.Protocols) { p.SetHTTP1(true) },
		"HTTP/2.0": func(p *http.Protocols) { p.SetHTTP2(true) },
	} {
		transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, Protocols: new(http.Protocols)}
		protocols(transport.Protocols)
		defer transport.CloseIdleConnections()
		res, err := (&http.Client{Transport: transport}).Get("https://" + string(s.Name()) + "/_matrix/key/v2/server")
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != http.StatusOK || res.Proto != name {
			t.Error(res.Status, res.Proto)
		}
	}
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	everywhere := invitetest.NewServer(t, "", func(c *invitetest.ServerConfig) { c.Listener = l })
	if host := everywhere.Name().Host(); host != "127.0.0.1" {
		t.Error(host)
	}
}

func TestWhatCannotBeServed(t *testing.T) {
	n := invitetest.NewNetwork(t)
	for _, name := range []fedinvite.ServerName{"", "a b", "192.0.2.1"} {
		if err := n.Serve(name, hostNamed("")); err == nil {
			t.Errorf("%q is served", name)
		}
	}
	n.Close()
	if n.Serve("a.example", hostNamed("")) == nil || n.Delegate("a.example", "b.example") == nil {
		t.Error("served after the end")
	}
	if get(t, n.Transport(), "https://a.example/") != "unreachable" {
		t.Error("reached after the end")
	}
}

func TestANetworkIsUsedByManyAtOnce(t *testing.T) {
	n := invitetest.NewNetwork(t)
	a, b := n.NewServer(t, "a.example"), n.NewServer(t, "b.example")
	room := a.NewRoom(fedinvite.RoomV11, "@alice:a.example")
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			invitee := fmt.Sprintf("@u%d:b.example", i)
			if _, err := a.Invite(t.Context(), room, invitee); err != nil {
				t.Error(err)
			}
			if _, err := b.AwaitInvite(t.Context(), invitee); err != nil {
				t.Error(err)
			}
			if err := n.Serve(fedinvite.ServerName(fmt.Sprintf("c%d.example", i)), hostNamed("c")); err != nil {
				t.Error(err)
			}
			get(t, n.Transport(), fmt.Sprintf("https://c%d.example/", i))
			a.Requests()
			b.KeyRequests()
		})
	}
	work.Wait()
}
