package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A Config says how a [Transport] works. The zero Config is right for a server on the
// public internet.
type Config struct {
	// UserAgent is the User-Agent of requests for .well-known; "": none.
	UserAgent string
	// TLS may set roots and more; it is copied, TLS 1.2 is the least, and ServerName and
	// NextProtos are not used. nil: the system's roots.
	TLS *tls.Config
	// Allow, Deny, DNS and Dial are those of [Dialer].
	Allow, Deny []netip.Prefix
	DNS         DNS
	Dial        DialFunc
	// Now, Random, MaxServers, MaxFetches, Timeout and Trace are those of
	// [ResolverConfig]. Timeout bounds finding servers only, not requests to them.
	Now        func() time.Time
	Random     func(n uint64) uint64
	MaxServers int
	MaxFetches int
	Timeout    time.Duration
	Trace      func(ctx context.Context, a Answer)
}

// A Transport is a [net/http.RoundTripper] for requests to Matrix servers. The URL of a
// request is matrix://SERVERNAME/…, or https://SERVERNAME/…, which means the same: the
// host is a server name, not a host to connect to. Method, path, query and headers are
// sent as they are, so that a signature over them holds; the Host header is set as the
// resolution says, whatever the request has. It is safe for concurrent use.
//
// HTTP/2 is spoken with servers that do. Connections are shared by all server names
// that lead to the same host and port and want a certificate for the same name. Idle
// ones are kept for 90 s, and 2 for each such target; of HTTP/2 there are more where a
// server allows few requests on one, until none waits for an answer there. Before a
// connection is made that would be more than the 1000th, idle ones are closed, those of
// targets that were used least lately first: there are more than 1000 only if that many are
// in use or being made. One that stays in use serves as long as it lasts, whatever has
// become of the DNS records that led to its address.
//
// Connecting takes 30 s at most and a TLS handshake 10 s, and goes on without the request
// that it was for. Where a server has other targets to be tried, both together take half of
// the time that the request has left, or 2 s if that is more. The certificates of a peer
// are at most 64 KiB, and response headers too. All else is bounded by the context of the
// request alone: give it an end. No cookies are kept, no redirects followed and nothing is
// decompressed; [net/http.Client] would do the first two.
type Transport struct {
	dialer      *Dialer
	resolver    *Resolver
	connections *connections
	down        *downTargets
}

// New returns a Transport with connections, Dialer and Resolver of its own. The error
// names the field that is wrong.
func New(c Config) (*Transport, error) {
	if c.TLS != nil && c.TLS.MaxVersion != 0 && c.TLS.MaxVersion < tls.VersionTLS12 {
		return nil, errors.New("discovery: Config.TLS must not exclude TLS 1.2 and newer")
	}
	invalid := func(p netip.Prefix) bool { return !p.IsValid() }
	if slices.ContainsFunc(c.Allow, invalid) || slices.ContainsFunc(c.Deny, invalid) {
		return nil, errors.New("discovery: Config.Allow and Deny must have valid prefixes only")
	}
	dialer := &Dialer{DNS: c.DNS, Dial: c.Dial, Allow: slices.Clone(c.Allow), Deny: slices.Clone(c.Deny)}
	if c.Now == nil {
		c.Now = time.Now
	}
	resolver, err := NewResolver(ResolverConfig{
		Dialer:     dialer,
		TLS:        c.TLS,
		UserAgent:  c.UserAgent,
		Now:        c.Now,
		Random:     c.Random,
		MaxServers: c.MaxServers,
		MaxFetches: c.MaxFetches,
		Timeout:    c.Timeout,
		Trace:      c.Trace,
	})
	if err != nil {
		return nil, err
	}
	down := newDownTargets(c.Now)
	return &Transport{dialer, resolver, newPoolDialer(dialer, c.TLS, down).connections, down}, nil
}

// Dialer returns the Dialer by which t makes all its connections.
func (t *Transport) Dialer() *Dialer { return t.dialer }

// Resolver returns the Resolver that t asks.
func (t *Transport) Resolver() *Resolver { return t.resolver }

// RoundTrip implements [net/http.RoundTripper]. If there are several targets, it tries
// one after the other until it is connected to one, those last that could not be
// connected to within the last minute, for this request or another. Once a connection is
// made, the request is sent there: what the server answers is the answer, also if it is an
// error. Like [net/http.Transport], it sends a request again if a connection that was kept
// turns out to be closed, provided that the request is idempotent or the server cannot have
// acted on it; and if there is no other connection to that target, to the next one.
//
// A 101 (Switching Protocols) to a request that has no Upgrade header has an empty
// body, and the connection is closed.
//
// A trace of package httptrace is told of the request and its connections, not of what
// was asked to find the server. Its GetConn is called with the server name, before that is
// resolved, and with each target that is tried: "host:port", or "name_host:port" if the
// certificate is to be for another name than the host.
//
// Errors wrap [fedinvite.ErrIdentifier] if the host is no server name, those of
// [Resolver.Resolve], and [ErrAddress] or what the DNS, TLS and the network said of each
// target. What follows once there is a connection is an error of net/http.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	server, err := checkRequest(req)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	if trace := httptrace.ContextClientTrace(req.Context()); trace != nil && trace.GetConn != nil {
		trace.GetConn(string(server))
	}
	resolution, err := t.resolver.resolve(req.Context(), server)
	if err != nil {
		closeBody(req)
		return nil, fmt.Errorf("discovery: resolving: %w", err) // whoever made the request names the server
	}
	res, err := t.send(req, &resolution)
	if err != nil {
		return nil, err
	}
	res.Request = req
	if res.StatusCode == http.StatusSwitchingProtocols && req.Header.Get("Upgrade") == "" {
		// The body is the connection: it would not end with the context.
		_ = res.Body.Close()
		res.Body = http.NoBody
	}
	return res, nil
}

// CloseIdleConnections closes the connections that no request is using.
func (t *Transport) CloseIdleConnections() {
	t.connections.closeIdle()
}

// checkRequest returns the server that the request is for.
func checkRequest(req *http.Request) (fedinvite.ServerName, error) {
	if req.URL == nil || req.URL.Scheme != "matrix" && req.URL.Scheme != "https" {
		return "", errors.New("discovery: the URL of a request must be matrix://SERVERNAME/…")
	}
	// Any other would name the server once more, and differently.
	if opaque := req.URL.Opaque; opaque != "" && (opaque[0] != '/' || strings.HasPrefix(opaque, "//")) {
		return "", errors.New("discovery: an opaque URL must begin with one slash")
	}
	server, err := fedinvite.ParseServerName(req.URL.Host)
	if err != nil {
		return "", fmt.Errorf("discovery: %w", err)
	}
	return server, nil
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		_ = req.Body.Close()
	}
}

// outgoing returns a copy of req for net/http that goes to a key of the pool. req is not
// changed.
func outgoing(ctx context.Context, req *http.Request, key, host string) *http.Request {
	out := req.WithContext(ctx)
	out.URL = new(url.URL)
	*out.URL = *req.URL
	out.URL.Scheme, out.URL.Host, out.URL.User = "https", key, nil
	out.Host = host
	return out
}
