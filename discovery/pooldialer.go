package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"time"
)

const (
	// connectTimeout bounds looking up a target and connecting to one of its addresses.
	connectTimeout = 30 * time.Second
	// handshakeTimeout bounds the TLS handshake after that.
	handshakeTimeout = 10 * time.Second
	// pingAfter and pingTimeout are how long an HTTP/2 connection may be silent until it is
	// asked for a sign of life, and until it counts as dead then.
	pingAfter, pingTimeout = 30 * time.Second, 15 * time.Second
)

// A poolDialer makes connections for keys of the pool.
type poolDialer struct {
	dialer *Dialer
	tls    *tls.Config
}

// newHTTPTransport returns the transport behind a [Transport]. The hosts of its URLs are
// keys of the pool. config is not changed; nil: the zero Config.
func newHTTPTransport(d *Dialer, config *tls.Config) *http.Transport {
	if config = config.Clone(); config == nil {
		config = new(tls.Config)
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.NextProtos = []string{"h2", "http/1.1"}
	p := &poolDialer{d, config}
	return &http.Transport{
		DialTLSContext:         p.connect,
		DisableCompression:     true, // it would ask for what the caller did not
		MaxIdleConns:           1000,
		MaxIdleConnsPerHost:    2,
		IdleConnTimeout:        90 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
		ForceAttemptHTTP2:      true,
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:           pingAfter,
			PingTimeout:               pingTimeout,
			MaxReceiveBufferPerStream: 1 << 20, // of what nobody has read yet
		},
	}
}

// connect makes the connection that key stands for: connected, and with a certificate
// verified. net/http has detached ctx from that of the request, so that the
// connection may serve the next one. Errors are a [*connectError].
func (p *poolDialer) connect(ctx context.Context, network, key string) (net.Conn, error) {
	certName, target, ok := parsePoolKey(key)
	if !ok {
		return nil, &connectError{key, errors.New("not a target")}
	}
	if e := errandOf(ctx); e != nil && e.dials.Add(1) > maxDials {
		return nil, &connectError{target.address(), errManyDials}
	}
	conn, err := p.dial(ctx, network, target)
	if err != nil {
		return nil, &connectError{target.address(), err}
	}
	config := p.tls.Clone()
	config.ServerName = certName // an IP address is verified, and not sent
	secure := tls.Client(conn, config)
	if err := handshake(ctx, secure); err != nil {
		_ = conn.Close()
		return nil, &connectError{target.address(), err}
	}
	return secure, nil
}

func (p *poolDialer) dial(ctx context.Context, network string, target Target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return p.dialer.DialContext(ctx, network, target.address())
}

// handshake is not left to net/http, which would not bound it. It tells the trace of the
// caller what net/http would.
func handshake(ctx context.Context, conn *tls.Conn) error {
	limited, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	trace := new(httptrace.ClientTrace)
	if e := errandOf(ctx); e != nil && e.trace != nil {
		trace = e.trace
	}
	if trace.TLSHandshakeStart != nil {
		trace.TLSHandshakeStart()
	}
	err := conn.HandshakeContext(limited)
	if trace.TLSHandshakeDone != nil {
		var state tls.ConnectionState
		if err == nil {
			state = conn.ConnectionState()
		}
		trace.TLSHandshakeDone(state, err)
	}
	return err
}
