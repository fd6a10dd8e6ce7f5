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
	maxBody = 1 << 20 // bytes of a body that are read
	// maxTransaction is that of a transaction, which is 9.4 MiB at most, and for handlers
	// of others.
	maxTransaction = 10 << 20
	maxReading     = 64 << 20 // bytes of all that are being read and answered
	readTimeout    = 30 * time.Second
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
	release, refusal := s.admit(r)
	defer release()
	if refusal != nil {
		// Else net/http would wait for the rest of the body, before it answers.
		inbound.SetReadDeadline(w, time.Now().Add(readTimeout))
		(&exchange{server: s, w: w, seen: s.seen.begin(r, nil, s.now())}).send(errorAnswer(refusal))
		return
	}
	body, err := readBody(w, r, s.maxBody(r.URL.Path))
	one := s.seen.begin(r, body, s.now())
	e := &exchange{server: s, w: w, r: r, body: body, seen: one}
	var tooLarge *http.MaxBytesError
	if errors.As(err, &tooLarge) {
		e.send(errorAnswer(errTooLarge()))
		return
	}
	if err != nil {
		s.seen.end(one, 0, nil, true)
		return
	}
	if fault, ok := s.state.of(r.URL.Path); ok && mayFail {
		fault.serve(e)
		return
	}
	e.send(e.answer())
}

// admit decides by its head whether a request is read. release is to be called once it is
// answered.
func (s *Server) admit(r *http.Request) (release func(), refusal *fedinvite.Error) {
	limit := s.maxBody(r.URL.Path)
	if r.ContentLength >= 0 {
		limit = min(limit, r.ContentLength)
	}
	release = func() { s.reading.Add(-limit) }
	switch all := s.reading.Add(limit); {
	case s.keysOnly && !strings.HasPrefix(r.URL.Path, keysPath) && r.URL.Path != versionPath:
		return release, &fedinvite.Error{Code: fedinvite.CodeUnrecognized, Status: http.StatusNotFound, Message: "no such endpoint here"}
	case r.ContentLength > limit:
		return release, errTooLarge()
	case all > maxReading:
		return release, &fedinvite.Error{Code: fedinvite.CodeLimitExceeded, Message: "too many requests at once", RetryAfter: time.Second}
	}
	return release, nil
}

// maxBody is the largest body that is read of a request.
func (s *Server) maxBody(path string) int64 {
	switch {
	case s.keysOnly:
		return 0
	case strings.HasPrefix(path, transactionPath), s.handlers.of(path, nil) != nil:
		return maxTransaction
	case strings.HasPrefix(path, inviteV1Path), strings.HasPrefix(path, inviteV2Path):
		return s.home.maxBody
	}
	return maxBody
}

func errTooLarge() *fedinvite.Error {
	return &fedinvite.Error{Code: fedinvite.CodeTooLarge, Status: http.StatusRequestEntityTooLarge, Message: "request body too large"}
}

// readBody reads what is bounded, and arrives in time. net/http's timeout for requests is
// not set, as that would be for the whole of a slow one.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	inbound.SetReadDeadline(w, time.Now().Add(readTimeout))
	defer inbound.SetReadDeadline(w, time.Time{})
	return io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
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
	a := newAnswer()
	e.r.Body = io.NopCloser(bytes.NewReader(e.body))
	e.server.handlers.of(e.r.URL.Path, e.server.home).ServeHTTP(a, e.r)
	a.WriteHeader(http.StatusOK)
	return a
}
