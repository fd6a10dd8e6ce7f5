package fedclient

import (
	"crypto/tls"
	"crypto/x509"
	"net"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// permanent reports whether err, of a RoundTripper, will be the same in a few seconds. Of
// errors about several places where the server may be, all must.
func permanent(err error) bool {
	switch e := err.(type) {
	case *tls.CertificateVerificationError, x509.UnknownAuthorityError, x509.HostnameError, x509.CertificateInvalidError:
		return true
	case *net.DNSError:
		return e.IsNotFound
	case interface{ Unwrap() error }:
		return permanent(e.Unwrap())
	case interface{ Unwrap() []error }:
		return allPermanent(e.Unwrap())
	}
	return err == discovery.ErrAddress || err == discovery.ErrNoServer
}

// allPermanent reports whether all of errs are permanent, but for mere words such as
// ErrUnreachable.
func allPermanent(errs []error) bool {
	found := false
	for _, err := range errs {
		switch {
		case permanent(err):
			found = true
		case wraps(err):
			return false
		}
	}
	return found
}

// wraps reports whether err has another error in it.
func wraps(err error) bool {
	switch err.(type) {
	case interface{ Unwrap() error }, interface{ Unwrap() []error }:
		return true
	}
	return false
}
