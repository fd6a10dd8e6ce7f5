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
	req, err := c.newRequest(ctx, r)
	if err != nil {
		return nil, err
	}
	// Not an http.Client: that would follow redirects and keep cookies.
	res, err := c.config.Transport.RoundTrip(req)
	if err != nil {
		return nil, fmt.Errorf("%w: %s %s: %w", ErrUnreachable, r.Method, r.Destination, err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return nil, readError(r.Destination, res)
	}
	body, err := readReply(res, r.limit())
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Destination, err)
	}
	return body, nil
}

func (c *Client) newRequest(ctx context.Context, r Request) (*http.Request, error) {
	if _, err := fedinvite.ParseServerName(string(r.Destination)); err != nil {
		return nil, fmt.Errorf("fedclient: destination: %w", err)
	}
	target := "https://" + string(r.Destination)
	for _, segment := range r.Path {
		target += "/" + url.PathEscape(segment)
	}
	if len(r.Query) > 0 {
		target += "?" + r.Query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, r.Method, target, bytes.NewReader(r.Body))
	if err != nil {
		return nil, fmt.Errorf("fedclient: %w", err)
	}
	req.Header.Set("User-Agent", c.config.UserAgent)
	// Compressed, a reply of nothing could go on until the time is over.
	req.Header.Set("Accept-Encoding", "identity")
	if len(r.Body) > 0 {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.Signer != nil {
		if err := xmatrix.Sign(ctx, req, r.Body, r.Destination, r.Signer); err != nil {
			return nil, err
		}
	}
	return req, nil
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
	if media, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); err != nil || !strings.EqualFold(media, "application/json") {
		return nil, fmt.Errorf("%w: it is not application/json", ErrReply)
	}
	if coding := res.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, fmt.Errorf("%w: it is encoded, which was not asked for", ErrReply)
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, limit+1))
	switch {
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("%w: %w: more than %d bytes", ErrReply, fedinvite.ErrTooLarge, limit)
	case err != nil:
		return nil, fmt.Errorf("%w: reading the reply: %w", ErrUnreachable, err)
	}
	return body, nil
}
