package fedclient

import (
	"context"
	"errors"
	"io"
	"net/http/httptrace"
	"sync/atomic"
)

// A track says how far a request with a body got.
type track struct {
	tried  bool        // a RoundTripper was given it
	told   atomic.Bool // and asked for a connection, as that of net/http tells
	read   atomic.Bool // and took some of the body
	status int         // of the answer; 0: there was none
	trace  httptrace.ClientTrace
}

// watch returns a context for the request in which net/http tells of connections.
func (t *track) watch(ctx context.Context) context.Context {
	t.trace.GetConn = func(string) { t.told.Store(true) }
	return httptrace.WithClientTrace(ctx, &t.trace)
}

// maybeSeen reports whether the server may act as if it had agreed: nothing is known of
// its answer, or it was no refusal. No server acts on a request before it has the body. A
// RoundTripper that says nothing of connections may send what it likes.
func (t *track) maybeSeen() bool {
	switch {
	case t.status != 0:
		return t.status < 400 || t.status > 499
	case !t.tried:
		return false
	}
	return t.read.Load() || !t.told.Load()
}

// refusal returns err as the answer that refused the request, or nil if it is none.
func (t *track) refusal(err error) *RemoteError {
	if t.status == 0 || err == nil {
		return nil
	}
	var refused *RemoteError
	errors.As(err, &refused)
	return refused
}

// A requestBody reads pieces, and notes in its track, which may be nil, that it was read.
type requestBody struct {
	pieces [][]byte
	at     int // in the first
	track  *track
}

func newRequestBody(pieces [][]byte, t *track) io.ReadCloser {
	return &requestBody{pieces: pieces, track: t}
}

func (b *requestBody) Read(p []byte) (n int, err error) {
	if b.track != nil {
		b.track.read.Store(true)
	}
	for len(b.pieces) > 0 && n < len(p) {
		copied := copy(p[n:], b.pieces[0][b.at:])
		n += copied
		if b.at += copied; b.at == len(b.pieces[0]) {
			b.pieces, b.at = b.pieces[1:], 0
		}
	}
	if n == 0 && len(b.pieces) == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (b *requestBody) Close() error { return nil }
