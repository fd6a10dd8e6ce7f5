// Package inbound reads federation requests as they were sent: the path before any
// router changed it, and a body within limits of size and time.
package inbound

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"
)

var (
	// ErrTooLarge: the body has more bytes than the limit.
	ErrTooLarge = errors.New("body too large")
	// ErrTooSlow: the body was not there by the read deadline.
	ErrTooSlow = errors.New("the body took too long")
)

// Path returns the path of the request target as the peer sent it, with its escapes,
// whatever a router has made of r.URL since.
func Path(r *http.Request) string {
	target := r.RequestURI
	if target == "" { // not from a server
		return r.URL.EscapedPath()
	}
	if _, rest, ok := strings.Cut(target, "://"); ok && !strings.HasPrefix(target, "/") {
		_, rest, _ = strings.Cut(rest, "/")
		target = "/" + rest
	}
	path, _, _ := strings.Cut(target, "?")
	return path
}

// Segments returns the n segments behind prefix in the escaped path, each unescaped
// once, after splitting. ok is false if there are not n of them, or one is empty or
// badly escaped.
func Segments(path, prefix string, n int) (segments []string, ok bool) {
	rest, ok := strings.CutPrefix(path, prefix)
	if !ok {
		return nil, false
	}
	segments = strings.SplitN(rest, "/", n+1)
	if len(segments) != n {
		return nil, false
	}
	for i, escaped := range segments {
		segment, err := url.PathUnescape(escaped)
		if err != nil || segment == "" {
			return nil, false
		}
		segments[i] = segment
	}
	return segments, true
}

// SetReadDeadline bounds the time for the body, also on a server that sets no
// timeouts; the zero time lifts it. After a refusal net/http reads what is left of a
// body before it answers, so the deadline has to be there from the start. Not every
// ResponseWriter can do this; servers with others have to bound the time themselves.
func SetReadDeadline(w http.ResponseWriter, t time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(t)
}

// ReadBody reads no more than limit bytes, and no longer than until the deadline that
// is set, which it lifts. Errors wrap [ErrTooLarge] or [ErrTooSlow], or say that the
// body broke off.
func ReadBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	if r.Body == nil { // not from a server
		return nil, nil
	}
	if r.ContentLength > limit {
		return nil, fmt.Errorf("%w: %d bytes, more than %d", ErrTooLarge, r.ContentLength, limit)
	}
	var b bytes.Buffer
	const trusted = 1 << 16 // a claimed length is not worth more memory than this
	b.Grow(int(min(max(r.ContentLength, 0), trusted)) + bytes.MinRead)
	_, err := io.Copy(&b, http.MaxBytesReader(w, r.Body, limit))
	if err == nil {
		SetReadDeadline(w, time.Time{})
		return b.Bytes(), nil
	}
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return nil, fmt.Errorf("%w: %w", ErrTooSlow, err)
	}
	return nil, fmt.Errorf("reading the body: %w", err)
}
