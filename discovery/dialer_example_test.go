package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// Whatever a stranger's host name turns out to mean, it does not lead into our network.
func ExampleDialer() {
	var dialer discovery.Dialer
	_, err := dialer.DialContext(context.Background(), "tcp", "[::ffff:10.0.0.1]:8448")
	var refused *discovery.AddressError
	if errors.As(err, &refused) {
		fmt.Println(refused.Addr)
	}
	fmt.Println(err)
	// Output:
	// ::ffff:10.0.0.1
	// address is not allowed: "::ffff:10.0.0.1" is not of the public internet
}

// A private federation names its networks.
func ExampleDialer_Permits() {
	dialer := discovery.Dialer{
		Allow: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")},
		Deny:  []netip.Prefix{netip.MustParsePrefix("10.20.0.1/32")}, // the router
	}
	for _, addr := range []string{"10.20.3.4", "10.20.0.1", "10.21.0.1", "127.0.0.1"} {
		fmt.Println(addr, dialer.Permits(netip.MustParseAddr(addr)))
	}
	// Output:
	// 10.20.3.4 true
	// 10.20.0.1 false
	// 10.21.0.1 false
	// 127.0.0.1 false
}

// A client for URLs that strangers choose.
func ExampleDialer_HTTPTransport() {
	var dialer discovery.Dialer
	client := http.Client{
		Transport: dialer.HTTPTransport(nil),
		Timeout:   10 * time.Second,
	}
	response, err := client.Get("https://127.0.0.1/_matrix/identity/v2")
	if err == nil {
		_ = response.Body.Close()
	}
	fmt.Println(errors.Is(err, discovery.ErrAddress))
	// Output: true
}

// A server that reaches the internet by a proxy only.
func ExampleConnectProxy() {
	proxy, err := url.Parse("http://user:password@proxy.internal:3128")
	if err != nil {
		fmt.Println(err)
		return
	}
	dial, err := discovery.ConnectProxy(proxy, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	// The Dialer judges the address, so that the proxy is not even asked for this one.
	dialer := discovery.Dialer{Dial: dial}
	_, err = dialer.DialContext(context.Background(), "tcp", "169.254.169.254:443")
	fmt.Println(err)
	// Output: address is not allowed: "169.254.169.254" is not of the public internet
}
