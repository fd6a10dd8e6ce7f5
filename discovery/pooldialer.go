package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
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

// A poolDialer makes connections for pools.
type poolDialer struct {
	dialer      *Dialer
	tls         *tls.Config
	connections *connections
	down        *downTargets
}

// newPoolDialer does not change config; nil: the zero Config.
func newPoolDialer(dialer *Dialer, config *tls.Config, down *downTargets) *poolDialer {
	if config = config.Clone(); config == nil {
		config = new(tls.Config)
	}
	config.MinVersion = max(config.MinVersion, tls.VersionTLS12)
	config.NextProtos = []string{"h2", "http/1.1"}
	boundCertificates(config)
	d := &poolDialer{dialer: dialer, tls: config, down: down}
	d.connections = newConnections(d.transport)
	return d
}

// transport returns the transport of p. The host of its URLs is the key of p.
func (d *poolDialer) transport(p *pool) *http.Transport {
	return &http.Transport{
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return d.connect(ctx, network, p)
		},
		DisableCompression:     true, // it would ask for what the caller did not
		MaxIdleConnsPerHost:    maxIdle,
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

// connect makes a connection for p: connected, and with a certificate verified. net/http has
// detached ctx from that of the request, so that the connection may serve the next one. If
// the server has other targets, it notes whether this one is down, also when the request
// is long over. Errors are a [*connectError].
func (d *poolDialer) connect(ctx context.Context, network string, p *pool) (net.Conn, error) {
	certName, target, ok := parsePoolKey(p.key)
	if !ok {
		return nil, &connectError{p.key, errors.New("not a target")}
	}
	e := errandOf(ctx)
	limited, cancel := e.turn(ctx)
	defer cancel()
	if err := d.connections.opening(limited, p); err != nil {
		return nil, &connectError{target.address(), err}
	}
	closed := sync.OnceFunc(func() { d.connections.closed(p) })
	conn, err := d.reach(limited, network, certName, target, closed)
	if e.several && ctx.Err() == nil { // else net/http has no use for it any more
		d.down.set(p.key, err != nil)
	}
	if err != nil {
		closed()
		return nil, &connectError{target.address(), err}
	}
	d.connections.opened(p, conn.ConnectionState().NegotiatedProtocol == "h2")
	return conn, nil
}

// reach connects to target. The connection calls closed when it is.
func (d *poolDialer) reach(ctx context.Context, network, certName string, target Target, closed func()) (*tls.Conn, error) {
	if errandOf(ctx).dials.Add(1) > maxDials {
		return nil, errManyDials
	}
	conn, err := d.dial(ctx, network, target)
	if err != nil {
		return nil, err
	}
	config := d.tls.Clone()
	config.ServerName = certName // an IP address is verified, and not sent
	secure := tls.Client(&countedConn{conn, closed}, config)
	if err := handshake(ctx, secure); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

func (d *poolDialer) dial(ctx context.Context, network string, target Target) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return d.dialer.DialContext(ctx, network, target.address())
}

// handshake is not left to net/http, which would not bound it. It tells the trace of the
// caller what net/http would.
func handshake(ctx context.Context, conn *tls.Conn) error {
	limited, cancel := context.WithTimeout(ctx, handshakeTimeout)
	defer cancel()
	trace := errandOf(ctx).trace
	if trace == nil {
		trace = new(httptrace.ClientTrace)
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
