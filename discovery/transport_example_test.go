package discovery_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// A request to a homeserver. The server name is all that there is to know of it.
func ExampleTransport() {
	// A homeserver named example.com, on loopback.
	homeserver := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.RequestURI, "for", r.Host)
		_, _ = io.WriteString(w, `{"server":{"name":"example"}}`)
	}))
	defer homeserver.Close()
	roots := x509.NewCertPool()
	roots.AddCert(homeserver.Certificate())

	// On the internet only the user agent is needed.
	transport, err := discovery.New(discovery.Config{
		UserAgent: "example/1.0",
		TLS:       &tls.Config{RootCAs: roots},
		DNS:       exampleDNS{"example.com.": "127.0.0.1"},
		Allow:     discovery.Loopback(),
		Dial:      exampleNetwork{"127.0.0.1:8448": homeserver.Listener.Addr().String()}.dial,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer transport.CloseIdleConnections()

	request, err := http.NewRequest(http.MethodGet, "matrix://example.com/_matrix/federation/v1/version", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := transport.RoundTrip(request)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	fmt.Println(response.StatusCode, string(body), err)
	// Output:
	// GET /_matrix/federation/v1/version for example.com
	// 200 {"server":{"name":"example"}} <nil>
}

// A stranger's server name leads into our own network. It is not connected to.
func ExampleTransport_RoundTrip() {
	transport, err := discovery.New(discovery.Config{DNS: exampleDNS{"evil.example.": "10.0.0.1"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	request, err := http.NewRequest(http.MethodGet, "matrix://evil.example:8448/_matrix/key/v2/server", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	response, err := transport.RoundTrip(request)
	if err == nil {
		_ = response.Body.Close()
	}
	fmt.Println(errors.Is(err, discovery.ErrAddress))
	fmt.Println(err)
	// Output:
	// true
	// discovery: no connection: evil.example:8448: address is not allowed: "evil.example" (10.0.0.1) is not of the public internet
}

// An exampleDNS has one address for each name, and no SRV records.
type exampleDNS map[string]string

func (d exampleDNS) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if addr, ok := d[host]; ok {
		return []netip.Addr{netip.MustParseAddr(addr)}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (d exampleDNS) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// An exampleNetwork says where addresses are in truth. There is nothing at others.
type exampleNetwork map[string]string

func (n exampleNetwork) dial(ctx context.Context, network, address string) (net.Conn, error) {
	there, ok := n[address]
	if !ok {
		return nil, errors.New("connection refused")
	}
	return new(net.Dialer).DialContext(ctx, network, there)
}
