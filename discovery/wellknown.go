package discovery

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/jsonobject"
)

// What is taken from a web server.
const (
	maxWellKnown = 50 << 10 // bytes
	maxRedirects = 5
)

// A wellKnown asks web servers for delegations (server-server API, "GET
// /.well-known/matrix/server").
type wellKnown struct {
	client    *http.Client
	userAgent string
}

// newWellKnown makes a client whose connections serve one request each, because the next
// one there is hours away.
func newWellKnown(d *Dialer, config *tls.Config, userAgent string) wellKnown {
	transport := d.HTTPTransport(config)
	transport.DialContext = lookUpDial(d.DialContext)
	transport.DisableKeepAlives = true
	return wellKnown{&http.Client{Transport: transport, CheckRedirect: checkRedirect}, userAgent}
}

// A lookUpKey stands for a context that ends with the look-up, among the values of the one
// that the request has: net/http connects with these, but not until the end of that.
type lookUpKey struct{}

// lookUpDial has a connection, and connecting, end with the look-up that it is for.
func lookUpDial(dial DialFunc) DialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		if lookUp, ok := ctx.Value(lookUpKey{}).(context.Context); ok {
			ctx = lookUp
		}
		conn, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		context.AfterFunc(ctx, func() { _ = conn.Close() })
		return conn, nil
	}
}

func wellKnownURL(name string) string { return "https://" + name + "/.well-known/matrix/server" }

// look asks the web server of a host name. Its headers are read by the clock at now.
// No connection outlives it.
func (w wellKnown) look(ctx context.Context, name string, now time.Time) finding[delegation] {
	lookUp, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end() // not before the request has: its error is to tell why
	ctx = context.WithValue(ctx, lookUpKey{}, lookUp)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, wellKnownURL(name), nil)
	if err != nil {
		return notFound(err, true)
	}
	req.Header.Set("User-Agent", w.userAgent) // "" stands for none, not for Go's
	res, err := w.client.Do(req)
	if err != nil {
		return notFound(err, isDefinite(err))
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK { // the body is not read: after a 101 it is the connection
		return notFound(fmt.Errorf("status %d", res.StatusCode), !isTrouble(res.StatusCode))
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxWellKnown+1))
	if err != nil {
		return notFound(err, false)
	}
	to, err := readWellKnown(body)
	if err != nil {
		return notFound(err, true)
	}
	d := delegation{to: to}
	d.place, d.err = placeOf(to)
	return d.found(lifetime(res.Header, now))
}

// readWellKnown reads the body of an answer.
func readWellKnown(body []byte) (fedinvite.ServerName, error) {
	if len(body) > maxWellKnown {
		return "", fedinvite.ErrTooLarge
	}
	text, err := jsonobject.Canonical(body)
	if err != nil {
		return "", err
	}
	var members map[string]json.RawMessage // exact names, unlike a struct
	if err := json.Unmarshal(text, &members); err != nil {
		return "", err
	}
	value, ok := members["m.server"]
	if !ok {
		return "", fmt.Errorf("%w: m.server", fedinvite.ErrMissing)
	}
	var name string
	if value[0] != '"' || json.Unmarshal(value, &name) != nil {
		return "", fmt.Errorf("%w: m.server is no string", fedinvite.ErrBadJSON)
	}
	to, err := fedinvite.ParseServerName(name)
	if err != nil {
		return "", fmt.Errorf("m.server: %w", err)
	}
	return to, nil
}

var (
	errRedirects = fmt.Errorf("more than %d redirects", maxRedirects)
	errLoop      = errors.New("redirects go round")
	errInsecure  = errors.New("redirect to something other than https")
)

// checkRedirect is asked before a redirect is followed. Nothing of the way goes with it.
func checkRedirect(req *http.Request, via []*http.Request) error {
	if req.URL.Scheme != "https" {
		return errInsecure
	}
	for _, before := range via {
		if req.URL.String() == before.URL.String() {
			return errLoop
		}
	}
	if len(via) > maxRedirects {
		return errRedirects
	}
	req.URL.User = nil // it would become an Authorization header
	req.Header.Del("Referer")
	return nil
}

// isDefinite reports whether an error says that there is no delegation, rather than that it could
// not be asked for.
func isDefinite(err error) bool {
	for _, definite := range []error{ErrAddress, errRedirects, errLoop, errInsecure} {
		if errors.Is(err, definite) {
			return true
		}
	}
	return isNotFound(err)
}

// isNotFound reports whether the DNS says that there is nothing.
func isNotFound(err error) bool {
	var dns *net.DNSError
	return errors.As(err, &dns) && dns.IsNotFound
}

// isTrouble reports whether a status tells of the web server's state, not of its content.
func isTrouble(status int) bool {
	return status >= 500 || status == http.StatusTooManyRequests || status == http.StatusRequestTimeout
}
