package discovery

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
)

// maxProxyHeader is the limit in bytes of a proxy's answer to CONNECT.
const maxProxyHeader = 16 << 10

// ConnectProxy returns a DialFunc that connects by way of an HTTP proxy, with its
// CONNECT method (RFC 9110, section 9.3.6), for servers that reach the internet in no
// other way. proxy is an http or https URL, with user and password if the proxy wants
// them; https is verified by the system's roots. dial connects to the proxy itself, whose
// address is ours to choose and is not judged; nil: a [net.Dialer]'s. The error says what is
// wrong with proxy.
//
// As the field Dial of a [Dialer] it is given IP addresses that the Dialer has judged, so that the
// proxy looks up no names and goes nowhere that the Dialer would not. Names, and
// addresses with a zone, are refused with an [*AddressError]. The proxy must answer 200, in
// at most 16 KiB, before the context ends.
func ConnectProxy(proxy *url.URL, dial DialFunc) (DialFunc, error) {
	return connectProxy(proxy, dial, nil)
}

// connectProxy is ConnectProxy with TLS settings for an https proxy.
func connectProxy(proxy *url.URL, dial DialFunc, config *tls.Config) (DialFunc, error) {
	p, err := parseProxy(proxy)
	if err != nil {
		return nil, err
	}
	if p.dial = dial; dial == nil {
		p.dial = new(net.Dialer).DialContext
	}
	if proxy.Scheme == "https" {
		if config = config.Clone(); config == nil {
			config = new(tls.Config)
		}
		config.ServerName, config.MinVersion = proxy.Hostname(), tls.VersionTLS12
		p.tls = config
	}
	return p.connect, nil
}

// A connector connects by way of a proxy.
type connector struct {
	address       string // of the proxy, host and port
	authorization string // header field and line end, or ""
	tls           *tls.Config
	dial          DialFunc
}

// parseProxy reads a proxy's URL. Its errors do not show the password.
func parseProxy(proxy *url.URL) (*connector, error) {
	if proxy == nil {
		return nil, errors.New("discovery: no proxy URL")
	}
	port := map[string]string{"http": "80", "https": "443"}[proxy.Scheme]
	if port == "" || proxy.Hostname() == "" {
		return nil, fmt.Errorf("discovery: proxy %q: want http://HOST:PORT or https://HOST:PORT", proxy.Redacted())
	}
	if proxy.Port() != "" {
		port = proxy.Port()
	}
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
		return nil, fmt.Errorf("discovery: proxy %q: no such port", proxy.Redacted())
	}
	p := &connector{address: net.JoinHostPort(proxy.Hostname(), port)}
	if user := proxy.User; user != nil {
		password, _ := user.Password()
		credentials := base64.StdEncoding.EncodeToString([]byte(user.Username() + ":" + password))
		p.authorization = "Proxy-Authorization: Basic " + credentials + "\r\n"
	}
	return p, nil
}

// connect is the DialFunc.
func (p *connector) connect(ctx context.Context, network, address string) (net.Conn, error) {
	target, err := netip.ParseAddrPort(address)
	if err != nil || target.Addr().Zone() != "" {
		return nil, &AddressError{Host: address, Addr: target.Addr()}
	}
	target = netip.AddrPortFrom(target.Addr().Unmap(), target.Port())
	switch is4 := target.Addr().Is4(); {
	case network == "tcp", network == "tcp4" && is4, network == "tcp6" && !is4:
	default:
		return nil, net.UnknownNetworkError(network)
	}
	conn, err := p.dial(ctx, "tcp", p.address)
	if err != nil {
		return nil, fmt.Errorf("proxy %s: %w", p.address, err)
	}
	// The end of ctx closes the connection, so that there are no deadlines to clear.
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	tunnel, err := p.tunnel(ctx, conn, target.String())
	if !stop() {
		err = ctx.Err()
	}
	if err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("proxy %s, to %s: %w", p.address, target, err)
	}
	return tunnel, nil
}

// tunnel asks the proxy at the other end of conn to connect to target.
func (p *connector) tunnel(ctx context.Context, conn net.Conn, target string) (net.Conn, error) {
	if p.tls != nil {
		secure := tls.Client(conn, p.tls)
		if err := secure.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		conn = secure
	}
	request := "CONNECT " + target + " HTTP/1.1\r\nHost: " + target + "\r\n" + p.authorization + "\r\n"
	if _, err := io.WriteString(conn, request); err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: conn, N: maxProxyHeader}
	reader := bufio.NewReader(limited)
	answer, err := http.ReadResponse(reader, &http.Request{Method: http.MethodConnect})
	switch {
	case err != nil && limited.N == 0:
		return nil, fmt.Errorf("the answer has more than %d bytes", maxProxyHeader)
	case err != nil: // which may quote all of the answer
		return nil, fmt.Errorf("no answer in HTTP: %.100q", err.Error())
	case answer.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("the answer is %d %s", answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	// After 200 there is no body, whatever the header says (RFC 9110, section 9.3.6):
	// answer.Body, which believes it, is neither read nor closed.
	early, err := reader.Peek(reader.Buffered())
	if err != nil || len(early) == 0 {
		return conn, err
	}
	return &earlyConn{conn, early}, nil
}

// An earlyConn is a connection of which some bytes have been read already.
type earlyConn struct {
	net.Conn
	early []byte
}

// Read returns those bytes first.
func (c *earlyConn) Read(b []byte) (int, error) {
	if len(c.early) == 0 {
		return c.Conn.Read(b)
	}
	n := copy(b, c.early)
	c.early = c.early[n:]
	return n, nil
}
