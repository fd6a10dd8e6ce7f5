package discovery

import (
	"crypto/tls"
	"fmt"
)

// maxCertificates bounds the certificates of a peer, in bytes: crypto/tls would take 256 KiB
// of them, which are kept as long as the connection and take a multiple in memory. Those of
// the public internet are less than a tenth.
const maxCertificates = 64 << 10

// As a certificate that is not valid, it does not become so in a few seconds.
var errCertificates = &tls.CertificateVerificationError{Err: fmt.Errorf("more than %d KiB of certificates", maxCertificates>>10)}

// boundCertificates has config refuse peers with more certificates than there is any need
// for, and only then ask the VerifyConnection that it has.
func boundCertificates(config *tls.Config) {
	verify := config.VerifyConnection
	config.VerifyConnection = func(state tls.ConnectionState) error {
		size := 0
		for _, c := range state.PeerCertificates {
			size += len(c.Raw)
		}
		if size > maxCertificates {
			return errCertificates
		}
		if verify != nil {
			return verify(state)
		}
		return nil
	}
}
