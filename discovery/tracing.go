package discovery

import (
	"context"
	"errors"
	"net/http/httptrace"
	"sync/atomic"
)

// maxDials is how many connections are made for one attempt to send a request. A server
// that turns away what comes by HTTP/2, with GOAWAY or by allowing no streams, would have
// net/http connect again as long as the request lives. Some are made in vain where
// many requests at a time go to a server that allows few streams.
const maxDials = 20

var errManyDials = errors.New("too many connections were of no use")

// An errand is the context in which net/http sends a request, and connects for it.
type errand struct {
	context.Context
	trace *httptrace.ClientTrace // the caller's, may be nil
	hides bool                   // net/http does not see it
	dials atomic.Int32           // of this attempt
}

type errandKey struct{}

// newErrand returns the errand of a request with the context ctx.
func newErrand(ctx context.Context) *errand {
	return &errand{Context: ctx, trace: httptrace.ContextClientTrace(ctx)}
}

// errandOf returns the errand that ctx comes from, or nil.
func errandOf(ctx context.Context) *errand {
	e, _ := ctx.Value(errandKey{}).(*errand)
	return e
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
// without us; connected is called, unless it is nil, before anything is sent.
func (e *errand) traced(connected func()) context.Context {
	// Handshakes are not net/http's, which would tell of them once they are over.
	handshakes := e.trace != nil && (e.trace.TLSHandshakeStart != nil || e.trace.TLSHandshakeDone != nil)
	if !handshakes && connected == nil {
		return e
	}
	e.hides = true
	var trace httptrace.ClientTrace
	if e.trace != nil {
		trace = *e.trace
		trace.TLSHandshakeStart, trace.TLSHandshakeDone = nil, nil
	}
	if gotConn := trace.GotConn; connected != nil {
		trace.GotConn = func(info httptrace.GotConnInfo) {
			connected()
			if gotConn != nil {
				gotConn(info)
			}
		}
	}
	return httptrace.WithClientTrace(e, &trace)
}
