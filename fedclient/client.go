package fedclient

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

const (
	maxReply = 1 << 20   // bytes, unless a Request says otherwise
	maxKeys  = 256 << 10 // of a key document
	maxGuess = 64 << 10  // bytes that are set aside for a reply because it says so
)

// A Config says how a [Client] works.
type Config struct {
	// UserAgent is the User-Agent of every request, "name/version". Required.
	UserAgent string
	// Transport carries the requests; see the package comment. nil: [NewDirect].
	Transport http.RoundTripper
	// Timeout bounds one request, and all of [Client.SendInvite]; 0: 60 s.
	Timeout time.Duration
	// KeyTimeout bounds a request for keys; 0: 10 s.
	KeyTimeout time.Duration
	// FallbackAlways makes SendInvite try the v1 endpoint after any 400 or 404, as
	// the specification says, in place of only when the v2 endpoint is unknown.
	// Either way this is done for room versions 1 and 2 only.
	FallbackAlways bool
}

// A Client makes requests to other servers. It is safe for concurrent use.
type Client struct{ config Config }

// New returns a Client. The error names the field that is missing or wrong.
func New(c Config) (*Client, error) {
	switch {
	case c.UserAgent == "":
		return nil, errors.New("fedclient: Config.UserAgent is required")
	case c.Timeout < 0 || c.KeyTimeout < 0:
		return nil, errors.New("fedclient: Config.Timeout and KeyTimeout must not be negative")
	}
	if c.Transport == nil {
		c.Transport = NewDirect(nil)
	}
	if c.Timeout == 0 {
		c.Timeout = time.Minute
	}
	if c.KeyTimeout == 0 {
		c.KeyTimeout = 10 * time.Second
	}
	return &Client{c}, nil
}

// A Request is one request to another server.
type Request struct {
	Method      string
	Destination fedinvite.ServerName // before delegation
	Path        []string             // segments, unescaped, as in "_matrix", "key", "v2", "server"
	Query       url.Values
	Body        []byte           // one JSON object, or nothing
	Signer      fedinvite.Signer // of the server of ours that asks; nil: not signed
	MaxReply    int64            // bytes; 0: 1 MiB

	pieces [][]byte // in place of Body: canonical JSON of our own
}

// Do makes a request and returns the body of the answer, if that has status 200 and
// is application/json. It does not look at the body, which is the peer's and may be
// anything up to the limit; the errors are those of the package comment. There are
// no retries and no redirects: a redirect is a [*RemoteError].
func (c *Client) Do(ctx context.Context, r Request) ([]byte, error) {
	return c.do(ctx, r, c.config.Timeout)
}

// FetchServerKeys returns the key document of server, unchecked, of 256 KiB at most
// (server-server API, GET /_matrix/key/v2/server). It makes the Client a Fetcher of
// package keyring. The errors are those of [Client.Do].
func (c *Client) FetchServerKeys(ctx context.Context, server fedinvite.ServerName) ([]byte, error) {
	return c.do(ctx, Request{
		Method:      http.MethodGet,
		Destination: server,
		Path:        []string{"_matrix", "key", "v2", "server"},
		MaxReply:    maxKeys,
	}, c.config.KeyTimeout)
}

func (c *Client) do(ctx context.Context, r Request, timeout time.Duration) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.doTracked(ctx, r, nil)
}

// doTracked notes in t, which may be nil, how far the request gets. ctx must have an end.
func (c *Client) doTracked(ctx context.Context, r Request, t *track) ([]byte, error) {
	if t != nil {
		ctx = t.watch(ctx)
	}
	req, err := c.newRequest(ctx, r, t)
	if err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %s %s: %w", ErrUnreachable, r.Method, r.Destination, err)
	}
	if t != nil {
		t.tried = true
	}
	// Not an http.Client: that would follow redirects and keep cookies.
	res, err := c.config.Transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %s: %w", ErrUnreachable, r.Method, r.Destination, err)
	}
	defer res.Body.Close()
	if t != nil {
		t.status = res.StatusCode
	}
	if res.StatusCode != http.StatusOK {
		return nil, readError(r.Destination, res)
	}
	body, err := readReply(res, r.limit())
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Destination, err)
	}
	return body, nil
}

func (c *Client) newRequest(ctx context.Context, r Request, t *track) (*http.Request, error) {
	if _, err := fedinvite.ParseServerName(string(r.Destination)); err != nil {
		return nil, fmt.Errorf("fedclient: destination: %w", err)
	}
	// The URL need not be written to be parsed again.
	req, err := http.NewRequestWithContext(ctx, r.Method, "/", nil)
	if err != nil {
		return nil, fmt.Errorf("fedclient: %w", err)
	}
	*req.URL, req.Host = r.url(), string(r.Destination)
	// Compressed, a reply of nothing could go on until the time is over.
	values := [...]string{c.config.UserAgent, "identity", "application/json"}
	req.Header["User-Agent"], req.Header["Accept-Encoding"] = values[:1:1], values[1:2:2]
	pieces := r.pieces
	if len(pieces) == 0 && len(r.Body) > 0 {
		pieces = [][]byte{r.Body}
	}
	if len(pieces) == 0 {
		req.Body, req.GetBody = http.NoBody, func() (io.ReadCloser, error) { return http.NoBody, nil }
	} else {
		req.Header["Content-Type"] = values[2:3:3]
		for _, p := range pieces {
			req.ContentLength += int64(len(p))
		}
		req.Body = newRequestBody(pieces, t)
		req.GetBody = func() (io.ReadCloser, error) { return newRequestBody(pieces, t), nil }
	}
	switch {
	case r.Signer == nil:
	case len(r.pieces) > 0:
		err = xmatrix.SignCanonical(ctx, req, r.pieces, r.Destination, asOwn(r.Signer))
	default:
		err = xmatrix.Sign(ctx, req, r.Body, r.Destination, asOwn(r.Signer))
	}
	if err != nil {
		return nil, err
	}
	return req, nil
}

func (r *Request) url() url.URL {
	var usual [256]byte
	path := usual[:0]
	for _, segment := range r.Path {
		path = append(append(path, '/'), segment...)
	}
	u := url.URL{Scheme: "https", Host: string(r.Destination), Path: string(path), RawQuery: r.Query.Encode()}
	// These net/url leaves alone in a Path, though in a segment they have to be escaped.
	if bytes.Count(path, []byte("/")) != len(r.Path) || bytes.IndexByte(path, ';') >= 0 || bytes.IndexByte(path, ',') >= 0 {
		for _, segment := range r.Path {
			u.RawPath += "/" + url.PathEscape(segment)
		}
	}
	return u
}

func (r *Request) limit() int64 {
	if r.MaxReply > 0 {
		return r.MaxReply
	}
	return maxReply
}

// readReply reads the body of a 200.
func readReply(res *http.Response, limit int64) ([]byte, error) {
	// A proxy's or a captive portal's page is not an answer of the server.
	if !isJSON(res.Header.Get("Content-Type")) {
		return nil, fmt.Errorf("%w: it is not application/json", ErrReply)
	}
	if coding := res.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, fmt.Errorf("%w: it is encoded, which was not asked for", ErrReply)
	}
	body, err := readAll(res.Body, min(res.ContentLength, limit, maxGuess), limit)
	switch {
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("%w: %w: more than %d bytes", ErrReply, fedinvite.ErrTooLarge, limit)
	case err != nil:
		return nil, fmt.Errorf("%w: reading the reply: %w", ErrUnreachable, err)
	}
	return body, nil
}

// readAll is io.ReadAll, for about guess bytes; it stops somewhere beyond limit.
func readAll(r io.Reader, guess, limit int64) ([]byte, error) {
	b := make([]byte, 0, max(guess+1, 512)) // one more, to come to the end
	for int64(len(b)) <= limit {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && strings.EqualFold(media, "application/json")
}
