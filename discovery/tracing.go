package discovery

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// maxDials is how many connections are made for one attempt to send a request. A server
// that turns away what comes by HTTP/2, with GOAWAY or by allowing no streams, would have
// net/http connect again as long as the request lives. Some are made in vain where
// many requests at a time go to a server that allows few streams.
const maxDials = 20

var errManyDials = errors.New("too many connections were of no use")

// leastTurn is how long connecting to a target may take, however little time a request has
// that there are other targets for. One that takes longer counts as down.
const leastTurn = 2 * time.Second

// An errand is the context in which net/http makes one attempt to send a request, and
// connects for it.
type errand struct {
	context.Context
	trace   *httptrace.ClientTrace // the caller's, may be nil
	hides   bool                   // net/http does not see it
	several bool                   // the server has other targets
	more    bool                   // of which some are to be tried after this one
	dials   atomic.Int32
}

type errandKey struct{}

// newErrand returns the errand of a request with the context ctx.
func newErrand(ctx context.Context) *errand {
	return &errand{Context: ctx, trace: httptrace.ContextClientTrace(ctx)}
}

// errandOf returns the errand that ctx comes from.
func errandOf(ctx context.Context) *errand {
	e, ok := ctx.Value(errandKey{}).(*errand)
	if !ok { // net/http keeps values, but does not promise it
		return newErrand(ctx)
	}
	return e
}

// turn returns ctx, in which a target is connected to, with an end. It leaves other targets
// half of the time that the request still has.
func (e *errand) turn(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := connectTimeout + handshakeTimeout
	if end, ok := e.Deadline(); ok && e.more {
		limit = min(limit, max(time.Until(end)/2, leastTurn))
	}
	return context.WithTimeout(ctx, limit)
}

func (e *errand) Value(key any) any {
	if key == (errandKey{}) {
		return e
	}
	value := e.Context.Value(key)
	if _, ok := value.(*httptrace.ClientTrace); ok && e.hides { // httptrace has the key for itself
		return nil
	}
	return value
}

// traced returns the context for net/http. The caller's trace is told what it would be
// without us.
func (e *errand) traced() context.Context {
	// Handshakes are not net/http's, which would tell of them once they are over.
	if e.trace == nil || e.trace.TLSHandshakeStart == nil && e.trace.TLSHandshakeDone == nil {
		return e
	}
	e.hides = true
	trace := *e.trace
	trace.TLSHandshakeStart, trace.TLSHandshakeDone = nil, nil
	return httptrace.WithClientTrace(e, &trace)
}
