package discovery_test

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/internet"
)

// pad has p show others beside its certificate, of size bytes more.
func pad(t *testing.T, p *internet.Peer, size int) {
	t.Helper()
	value, err := asn1.Marshal(make([]byte, size/2))
	if err != nil {
		t.Fatal(err)
	}
	c := &p.TLS.Certificates[0]
	template := &x509.Certificate{SerialNumber: big.NewInt(3), ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Value: value}}}
	other, err := x509.CreateCertificate(rand.Reader, template, template, p.Certificate().PublicKey, c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	c.Certificate = append(c.Certificate, other, other)
}

// They stay in memory as long as the connection.
func TestCertificatesOfAPeerAreBounded(t *testing.T) {
	own := errors.New("not this one")
	for name, c := range map[string]struct {
		size  int
		own   error // of the caller's VerifyConnection
		asked bool  // it is
		ok    bool
	}{
		"few":                        {60 << 10, nil, true, true},
		"few, refused by the caller": {60 << 10, own, true, false},
		"many":                       {64 << 10, nil, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			n := oneTarget(t)
			pad(t, n.Serve("8.0.0.1:8448", []string{"a.ex"}, nil), c.size)
			asked := false
			config := &tls.Config{RootCAs: n.Roots, VerifyConnection: func(tls.ConnectionState) error {
				asked = true
				return c.own
			}}
			_, _, err := get(t, n.Transport(func(d *discovery.Config) { d.TLS = config }), "a.ex:8448/x")
			var invalid *tls.CertificateVerificationError
			if (err == nil) != c.ok || asked != c.asked || errors.Is(err, own) != (c.own != nil) || errors.As(err, &invalid) == c.asked {
				t.Errorf("got %v, asked %v", err, asked)
			}
		})
	}
}
