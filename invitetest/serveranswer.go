package invitetest

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/inbound"
)

const (
	// maxBody is the largest body that is read: that of a transaction is 9.4 MiB at most.
	maxBody     = 10 << 20
	readTimeout = 30 * time.Second
)

// A wholeAnswer is one that is whole before the first byte of it is sent. It is also the
// [http.ResponseWriter] that it is written to.
type wholeAnswer struct {
	status int
	header http.Header
	body   bytes.Buffer
}

func newAnswer() *wholeAnswer { return &wholeAnswer{header: http.Header{}} }

func jsonAnswer(status int, body []byte) *wholeAnswer {
	a := newAnswer()
	a.header.Set("Content-Type", "application/json")
	a.status = status
	a.body.Write(body)
	return a
}

// errorAnswer says what [fedinvite.WriteError] does.
func errorAnswer(err *fedinvite.Error) *wholeAnswer {
	a := newAnswer()
	fedinvite.WriteError(a, err)
	return a
}

func (a *wholeAnswer) Header() http.Header { return a.header }

func (a *wholeAnswer) WriteHeader(status int) {
	if a.status == 0 {
		a.status = status
	}
}

func (a *wholeAnswer) Write(b []byte) (int, error) {
	a.WriteHeader(http.StatusOK)
	return a.body.Write(b)
}

// write sends it. The error is that whoever asked hung up.
func (a *wholeAnswer) write(w http.ResponseWriter) error {
	a.writeHeader(w, a.body.Len())
	_, err := w.Write(a.body.Bytes())
	return err
}

// writeHeader announces a body of that length.
func (a *wholeAnswer) writeHeader(w http.ResponseWriter, length int) {
	for name, values := range a.header {
		w.Header()[name] = values
	}
	w.Header().Set("Content-Length", strconv.Itoa(length))
	w.WriteHeader(a.status)
}

// serveHTTP answers as a homeserver does, or as one that fails in the way it has to.
func (s *Server) serveHTTP(w http.ResponseWriter, r *http.Request) { s.receive(w, r, true) }

func (s *Server) receive(w http.ResponseWriter, r *http.Request, mayFail bool) {
	body, err := readBody(w, r)
	one := s.seen.begin(r, body, s.now())
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		a := errorAnswer(&fedinvite.Error{Code: fedinvite.CodeTooLarge, Status: http.StatusRequestEntityTooLarge, Message: "request body too large"})
		s.seen.end(one, a.status, a.body.Bytes(), a.write(w) != nil)
		return
	}
	if err != nil {
		s.seen.end(one, 0, nil, true)
		return
	}
	e := &exchange{server: s, w: w, r: r, body: body, seen: one}
	if fault, ok := s.state.of(r.URL.Path); ok && mayFail {
		fault.serve(e)
		return
	}
	e.send(e.answer())
}

// readBody reads what is bounded, and arrives in time. There is no timeout of the whole
// server, as net/http would end slow handlers by that too.
func readBody(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	inbound.SetReadDeadline(w, time.Now().Add(readTimeout))
	defer inbound.SetReadDeadline(w, time.Time{})
	return io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
}

// An exchange is one request and what is to become of it.
type exchange struct {
	server *Server
	w      http.ResponseWriter
	r      *http.Request
	body   []byte
	seen   *Seen
}

// send sends an answer and notes it.
func (e *exchange) send(a *wholeAnswer) {
	err := a.write(e.w)
	e.server.seen.end(e.seen, a.status, a.body.Bytes(), err != nil)
}

// answer is the right one, or that of another's making.
func (e *exchange) answer() *wholeAnswer {
	if strings.HasPrefix(e.r.URL.Path, inviteV2Path) || strings.HasPrefix(e.r.URL.Path, inviteV1Path) {
		if a := e.replied(); a != nil {
			return a
		}
	}
	a := newAnswer()
	e.r.Body = io.NopCloser(bytes.NewReader(e.body))
	e.server.handlers.of(e.r.URL.Path, e.server.home).ServeHTTP(a, e.r)
	a.WriteHeader(http.StatusOK)
	return a
}

// replied is the answer of Server.reply, if there is one.
func (e *exchange) replied() *wholeAnswer {
	e.server.mu.Lock()
	reply := e.server.reply
	e.server.mu.Unlock()
	if reply == nil {
		return nil
	}
	parse := fedinvite.ParseRequestV2
	if strings.HasPrefix(e.r.URL.Path, inviteV1Path) {
		parse = fedinvite.ParseRequestV1
	}
	request, err := parse(e.body)
	if err != nil {
		return errorAnswer(fedinvite.WireError(err))
	}
	return jsonAnswer(reply(request.Event))
}
