package main

import (
	"crypto/tls"
	"crypto/x509"
	"net/netip"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// network are the options of all commands that connect to other servers.
type network struct {
	caFile *string
	allow  []netip.Prefix
}

// network defines -ca and -allow.
func (f *flags) network() *network {
	n := &network{caFile: f.String("ca", "", "")}
	f.Func("allow", "", func(s string) error {
		prefixes, err := discovery.ParsePrefixes(s)
		n.allow = append(n.allow, prefixes...)
		return err
	})
	return n
}

// config reads what the options name.
func (n *network) config() (discovery.Config, error) {
	roots, err := readRoots(*n.caFile)
	return connecting(roots, n.allow), err
}

// connecting says how servers are connected to; see [discovery.Config]. Without roots the
// system's are trusted.
func connecting(roots *x509.CertPool, allow []netip.Prefix) discovery.Config {
	return discovery.Config{UserAgent: userAgent(), TLS: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}, Allow: allow}
}

func userAgent() string { return "fedinvite/" + moduleVersion() }
