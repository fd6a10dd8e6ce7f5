package fedclient

import (
	"crypto/tls"
	"net"
	"net/http"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// Direct is a [net/http.RoundTripper] without server discovery: it dials host and
// port of the server name, or port 8448 if it has none (server-server API,
// "Resolving server names", steps 1, 2 and 6). It does not keep requests away from
// private networks.
type Direct struct{ base *http.Transport }

// NewDirect returns a Direct with connections of its own. config may set roots and
// more; it is copied, and TLS 1.2 is the least. nil: the system's roots. No proxy is
// used, whatever the environment says.
func NewDirect(config *tls.Config) *Direct {
	if config == nil {
		config = new(tls.Config)
	}
	config = config.Clone()
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	dialer := &net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second}
	return &Direct{&http.Transport{
		DialContext:            dialer.DialContext,
		TLSClientConfig:        config,
		TLSHandshakeTimeout:    10 * time.Second,
		MaxIdleConns:           1000, // two for each of many servers
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
	}}
}

// RoundTrip implements [net/http.RoundTripper].
func (d *Direct) RoundTrip(req *http.Request) (*http.Response, error) {
	if fedinvite.ServerName(req.URL.Host).Port() != "" {
		return d.base.RoundTrip(req)
	}
	// The copy keeps Host, the name without a port, which is what the specification
	// wants as the Host header.
	withPort := req.WithContext(req.Context())
	u := *req.URL
	u.Host += ":8448"
	withPort.URL = &u
	if withPort.Host == "" {
		withPort.Host = req.URL.Host
	}
	return d.base.RoundTrip(withPort)
}

// CloseIdleConnections closes the connections that no request is using.
func (d *Direct) CloseIdleConnections() { d.base.CloseIdleConnections() }
