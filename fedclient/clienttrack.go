package fedclient

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptrace"
	"slices"
	"sync/atomic"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// A track says how far a request got, in all its attempts.
type track struct {
	first attempt
	later []*attempt
	last  *attempt // nil: none was begun
}

// next begins an attempt. Those before may go on being written to: what a RoundTripper
// has given up may still be on its way.
func (t *track) next() *attempt {
	if t.last == nil {
		t.last = &t.first
	} else {
		t.last = new(attempt)
		t.later = append(t.later, t.last)
	}
	return t.last
}

// maybeSeen reports whether the server may act as if it had agreed: a refusal says that
// one attempt came to nothing, and nothing of one before that may have been agreed to.
func (t *track) maybeSeen() bool {
	return t.first.maybeSeen() || slices.ContainsFunc(t.later, (*attempt).maybeSeen)
}

// refusal returns err as the answer that refused the request in the end, or nil if it is
// none.
func (t *track) refusal(err error) *RemoteError {
	if t.last == nil {
		return nil
	}
	return t.last.refusal(err)
}

// An attempt says how far one attempt got.
type attempt struct {
	tried   bool        // a RoundTripper was given it
	told    atomic.Bool // and asked for a connection, as that of net/http tells
	read    atomic.Bool // and took some of the body, or there is none
	nowhere bool        // there is nothing to be connected to
	status  int         // of the answer; 0: there was none
	trace   httptrace.ClientTrace
}

// watch returns a context for the attempt in which net/http tells of connections.
func (a *attempt) watch(ctx context.Context) context.Context {
	a.trace.GetConn = func(string) { a.told.Store(true) }
	return httptrace.WithClientTrace(ctx, &a.trace)
}

// maybeSeen reports whether the server may have agreed: nothing is known of its answer, or
// it was no refusal. No server acts on a request before it has the body. A RoundTripper
// that says nothing of connections may send what it likes.
func (a *attempt) maybeSeen() bool {
	switch {
	case a.status != 0:
		return a.status < 400 || a.status > 499
	case !a.tried:
		return false
	}
	return a.read.Load() || !a.told.Load() && !a.nowhere
}

// refusal returns err as the answer that refused the attempt, or nil if it is none.
func (a *attempt) refusal(err error) *RemoteError {
	if a.status == 0 || err == nil {
		return nil
	}
	var refused *RemoteError
	errors.As(err, &refused)
	return refused
}

// isNowhere reports whether err, of a RoundTripper, is that it found nothing to connect to,
// had no time to look, or was not let connect.
func isNowhere(err error) bool {
	var name *net.DNSError
	var network *net.OpError
	for _, nowhere := range []error{discovery.ErrAddress, discovery.ErrNoServer, discovery.ErrBusy} {
		if errors.Is(err, nowhere) {
			return true
		}
	}
	return errors.As(err, &name) || errors.As(err, &network) && network.Op == "dial"
}

// A requestBody reads pieces, and notes in its attempt that it was read.
type requestBody struct {
	pieces  [][]byte
	at      int // in the first
	attempt *attempt
}

func newRequestBody(pieces [][]byte, a *attempt) io.ReadCloser {
	return &requestBody{pieces: pieces, attempt: a}
}

func (b *requestBody) Read(p []byte) (n int, err error) {
	b.attempt.read.Store(true)
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
