package discovery

import (
	"errors"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// ErrNoServer: a server name leads to no server, by the word of its owner: its SRV
// records say that the service is not offered, or name nothing that could be connected
// to, or the port is 0.
var ErrNoServer = errors.New("no server of that name")

// A Resolution is what a server name means.
type Resolution struct {
	// Server is the name that was resolved.
	Server fedinvite.ServerName
	// Step is the step of the specification that applied, "1" to "6", or "3.1" to
	// "3.5" (server-server API, "Resolving server names").
	Step string
	// Delegated is the name that .well-known has; "" unless Step is one of "3.…".
	Delegated fedinvite.ServerName
	// Host is the Host header of requests: the server name, or the delegated one, as
	// its owner writes it, with its port if it has one.
	Host string
	// CertName is whom the certificate must be for: a host name in lower case and
	// without a dot at its end, which is also sent in the TLS handshake (SNI), or an IP
	// address without brackets, which is not. It is never the target of an SRV record.
	CertName string
	// Targets are where to connect to, in the order in which they are to be tried. There
	// is one at least and 8 at most, and several only if there are several SRV records.
	// The slice is the caller's own.
	Targets []Target
}

// A Target is a place to connect to.
type Target struct {
	Host string // a host name as in CertName, or an IP address without brackets
	Port uint16
	key  string // of the connection pool, see poolKey; "" if it is not remembered
}

// newTarget returns the target for a certificate of certName.
func newTarget(certName, host string, port uint16) Target {
	t := Target{Host: host, Port: port}
	t.key = poolKey(certName, t)
	return t
}

// An Answer is what was found out on the way to a [Resolution].
type Answer struct {
	Server   fedinvite.ServerName // the name that is being resolved
	Step     string               // of the specification, as in [Resolution]; "3" for .well-known
	Question string               // "https://…/.well-known/matrix/server" or "SRV _matrix-fed._tcp.…"
	Answer   string               // in words; text from the network is quoted; "" if Err is set
	Expires  time.Time            // until when the answer, or the failure, is remembered
	Cached   bool                 // it was not asked for just now
	Err      error                // why there is no answer, or none that counts; only its text is remembered of .well-known
}
