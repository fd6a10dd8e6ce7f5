package invitetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"time"
)

// An authority signs certificates. All have its key, which saves making others.
type authority struct {
	certificateOfOwn *x509.Certificate
	key              *ecdsa.PrivateKey
	roots            *x509.CertPool
}

func newAuthority() (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("invitetest: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "invitetest"}, NotBefore: certificatesFrom, NotAfter: certificatesUntil,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("invitetest: %w", err)
	}
	ca := &authority{key: key, roots: x509.NewCertPool()}
	if ca.certificateOfOwn, err = x509.ParseCertificate(der); err != nil {
		return nil, fmt.Errorf("invitetest: %w", err)
	}
	ca.roots.AddCert(ca.certificateOfOwn)
	return ca, nil
}

// Certificates are good at any time that a test's clock may show.
var (
	certificatesFrom  = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
	certificatesUntil = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)
)

func (ca *authority) certificate(names ...string) (tls.Certificate, error) {
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("invitetest: %w", err)
	}
	template := &x509.Certificate{
		SerialNumber: serial, NotBefore: certificatesFrom, NotAfter: certificatesUntil,
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, ca.certificateOfOwn, ca.key.Public(), ca.key)
	if err != nil {
		return tls.Certificate{}, fmt.Errorf("invitetest: %w", err)
	}
	return tls.Certificate{Certificate: [][]byte{der, ca.certificateOfOwn.Raw}, PrivateKey: ca.key}, nil
}

// certificateFor makes one for the name that a client asks for.
func (ca *authority) certificateFor(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello.ServerName == "" {
		return nil, nil
	}
	certificate, err := ca.certificate(hello.ServerName)
	return &certificate, err
}

// pemOf writes a certificate with those that it rests on, and its private key.
func pemOf(c tls.Certificate) (certificate, key []byte, err error) {
	for _, der := range c.Certificate {
		certificate = append(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	return certificate, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}), err
}

func (ca *authority) pem() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.certificateOfOwn.Raw})
}
