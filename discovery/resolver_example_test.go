package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// Where a server is, and how that was found out.
func ExampleResolver() {
	resolver, err := discovery.NewResolver(discovery.ResolverConfig{
		// On the internet, leave the Dialer out.
		Dialer: &discovery.Dialer{DNS: exampleZone{}},
		Trace: func(_ context.Context, a discovery.Answer) {
			if a.Err != nil {
				fmt.Println("step", a.Step, a.Question, "failed")
				return
			}
			fmt.Println("step", a.Step, a.Question, "answered", a.Answer)
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	where, err := resolver.Resolve(context.Background(), "example.org")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("Host:", where.Host)
	fmt.Println("certificate for:", where.CertName)
	for _, target := range where.Targets {
		fmt.Println("connect to:", target.Host, target.Port)
	}
	// Output:
	// step 3 https://example.org/.well-known/matrix/server failed
	// step 4 SRV _matrix-fed._tcp.example.org answered 10 0 443 "matrix.example.org", 20 0 8448 "spare.example.org"
	// Host: example.org
	// certificate for: example.org
	// connect to: matrix.example.org 443
	// connect to: spare.example.org 8448
}

// An exampleZone is a DNS with the records of one service, and no addresses.
type exampleZone struct{}

func (exampleZone) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	if service != "matrix-fed" || proto != "tcp" || name != "example.org." {
		return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
	}
	return "", []*net.SRV{
		{Target: "spare.example.org.", Port: 8448, Priority: 20},
		{Target: "matrix.example.org.", Port: 443, Priority: 10},
	}, nil
}

func (exampleZone) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

// Some names say themselves where the server is. Nobody is asked.
func ExampleResolver_Resolve() {
	resolver, err := discovery.NewResolver(discovery.ResolverConfig{})
	if err != nil {
		fmt.Println(err)
		return
	}
	where, err := resolver.Resolve(context.Background(), "Matrix.Example.org:443")
	fmt.Println(where.Step, where.Host, where.CertName, where.Targets[0].Host, where.Targets[0].Port, err)

	_, err = resolver.Resolve(context.Background(), "example.org:0")
	fmt.Println(errors.Is(err, discovery.ErrNoServer), err)
	// Output:
	// 2 Matrix.Example.org:443 matrix.example.org matrix.example.org 443 <nil>
	// true discovery: resolving "example.org:0": no server of that name: port 0
}
