package invitetest

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

const (
	hugeAnswer    = 32 << 20
	overloadedFor = 5 * time.Second
)

func serveSlow(e *exchange) {
	hungUp := false
	enough := time.NewTimer(writeTimeout)
	defer enough.Stop()
	select {
	case <-enough.C:
	case <-e.r.Context().Done():
		hungUp = true
	case <-e.server.over:
	}
	e.server.seen.end(e.seen, 0, nil, hungUp)
	panic(http.ErrAbortHandler) // else it would be answered now, with 200 and nothing
}

func serveCut(e *exchange) {
	a := e.answer()
	half := a.body.Bytes()[:a.body.Len()/2]
	a.writeHeader(e.w, a.body.Len())
	_, _ = e.w.Write(half)
	_ = http.NewResponseController(e.w).Flush()
	e.server.seen.end(e.seen, a.status, half, false)
	panic(http.ErrAbortHandler) // breaks the connection off, or the stream of HTTP/2
}

func serveInternal(e *exchange) {
	a := newAnswer()
	a.header.Set("Content-Type", "text/html")
	a.status = http.StatusInternalServerError
	a.body.WriteString("<h1>Internal Server Error</h1>\n")
	e.send(a)
}

func serveOverloaded(e *exchange) {
	refusal := fedinvite.Refuse(fedinvite.CodeLimitExceeded, "too many requests")
	refusal.RetryAfter = overloadedFor
	e.send(errorAnswer(refusal))
}

func serveContentType(e *exchange) {
	a := e.answer()
	a.header.Set("Content-Type", "text/html; charset=utf-8")
	e.send(a)
}

func serveOnlyV1(e *exchange) {
	e.send(errorAnswer(&fedinvite.Error{Code: fedinvite.CodeUnrecognized, Status: http.StatusNotFound, Message: "Unrecognized request"}))
}

// serveHuge puts white space behind the first bracket, where JSON may have it.
func serveHuge(e *exchange) {
	a := e.answer()
	first, rest := a.body.Bytes()[:1], a.body.Bytes()[1:]
	a.writeHeader(e.w, a.body.Len()+hugeAnswer)
	space := bytes.Repeat([]byte(" "), 64<<10)
	_, err := e.w.Write(first)
	for sent := 0; err == nil && sent < hugeAnswer; sent += len(space) {
		_, err = e.w.Write(space)
	}
	if err == nil {
		_, err = io.Copy(e.w, bytes.NewReader(rest))
	}
	e.server.seen.end(e.seen, a.status, a.body.Bytes(), err != nil)
}
