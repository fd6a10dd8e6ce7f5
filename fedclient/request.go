package fedclient

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// newRequest makes the request of the first attempt. What repeats it has the same
// headers: the signature holds no time.
func (c *Client) newRequest(ctx context.Context, r *Request, a *attempt) (*http.Request, error) {
	// The URL need not be written to be parsed again.
	req, err := http.NewRequestWithContext(ctx, r.Method, "/", nil)
	if err != nil {
		return nil, fmt.Errorf("fedclient: %w", err)
	}
	*req.URL, req.Host = r.url(), string(r.Destination)
	// Compressed, a reply of nothing could go on until the time is over.
	values := [...]string{c.config.UserAgent, "identity", "application/json"}
	req.Header["User-Agent"], req.Header["Accept-Encoding"] = values[:1:1], values[1:2:2]
	pieces := r.bodyPieces()
	if len(pieces) > 0 {
		req.Header["Content-Type"] = values[2:3:3]
		for _, p := range pieces {
			req.ContentLength += int64(len(p))
		}
	}
	a.setBody(req, pieces)
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

// repeated is req for another attempt, with the body from its beginning. The body of req
// may still be read by whoever carried it.
func (r *Request) repeated(ctx context.Context, req *http.Request, a *attempt) *http.Request {
	req = req.Clone(a.watch(ctx))
	a.setBody(req, r.bodyPieces())
	return req
}

// bodyPieces is the body in pieces; none of nothing.
func (r *Request) bodyPieces() [][]byte {
	if len(r.pieces) == 0 && len(r.Body) > 0 {
		return [][]byte{r.Body}
	}
	return r.pieces
}

// setBody gives req a body that a takes note of.
func (a *attempt) setBody(req *http.Request, pieces [][]byte) {
	if len(pieces) == 0 {
		a.read.Store(true) // a server that has the headers has it all
		req.Body, req.GetBody = http.NoBody, func() (io.ReadCloser, error) { return http.NoBody, nil }
		return
	}
	req.Body = newRequestBody(pieces, a)
	req.GetBody = func() (io.ReadCloser, error) { return newRequestBody(pieces, a), nil }
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

// check refuses what goes nowhere, before anybody hears of it.
func (r *Request) check() error {
	if _, err := fedinvite.ParseServerName(string(r.Destination)); err != nil {
		return fmt.Errorf("fedclient: destination: %w", err)
	}
	return nil
}

func (r *Request) limit() int64 {
	if r.MaxReply > 0 {
		return r.MaxReply
	}
	return maxReply
}

// repeatable reports whether doing it twice does no more than doing it once: all PUTs of
// the server-server API name what they put.
func (r *Request) repeatable() bool {
	switch r.Method {
	case http.MethodGet, "", http.MethodHead, http.MethodPut: // net/http takes "" for GET
		return true
	}
	return false
}
