package fedclient_test

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// A script is a RoundTripper whose n-th attempt goes as its n-th step says, and the last as
// those that come after it.
type script struct {
	t     testing.TB
	steps []tripper
	asked []*http.Request
	at    []time.Duration // when, since the first
	began time.Time
}

func (s *script) RoundTrip(r *http.Request) (*http.Response, error) {
	if len(s.asked) == 0 {
		s.began = time.Now()
	}
	step := s.steps[min(len(s.asked), len(s.steps)-1)]
	s.asked, s.at = append(s.asked, r), append(s.at, time.Since(s.began))
	return step(r)
}

// client retries, with the shortest pauses: 0.4, 0.8 and 1.6 s.
func (s *script) client(change ...func(*fedclient.Config)) *fedclient.Client {
	soon := func(c *fedclient.Config) { c.Random = func() float64 { return 0 } }
	return newClient(s.t, s, append([]func(*fedclient.Config){retrying, soon}, change...)...)
}

func newScript(t testing.TB, steps ...tripper) *script { return &script{t: t, steps: steps} }

// connect says that there is a connection to be got, as net/http does.
func connect(r *http.Request) {
	if trace := httptrace.ContextClientTrace(r.Context()); trace != nil && trace.GetConn != nil {
		trace.GetConn(r.URL.Host)
	}
}

// answers takes the body and gives an answer.
func answers(status int, header map[string]string, body string) tripper {
	return func(r *http.Request) (*http.Response, error) {
		connect(r)
		_, _ = io.Copy(io.Discard, r.Body)
		return response(status, header, body), nil
	}
}

func answersJSON(status int, body string) tripper {
	return answers(status, map[string]string{"Content-Type": "application/json"}, body)
}

var errBroken = errors.New("connection broke")

// loses takes the body, perhaps to the server, and gives no answer.
func loses(r *http.Request) (*http.Response, error) {
	connect(r)
	_, _ = io.Copy(io.Discard, r.Body)
	return nil, errBroken
}

// breaks takes the beginning of the body.
func breaks(r *http.Request) (*http.Response, error) {
	connect(r)
	_, _ = r.Body.Read(make([]byte, 1))
	return nil, errBroken
}

// refuses gets no connection.
func refuses(r *http.Request) (*http.Response, error) {
	connect(r)
	return nil, &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}
}

// stutters gets a connection that is of no use.
func stutters(r *http.Request) (*http.Response, error) {
	connect(r)
	return nil, errBroken
}

// mute fails and does not say how far it got.
func mute(*http.Request) (*http.Response, error) { return nil, errBroken }

// fails fails before there is anything to connect to.
func fails(err error) tripper {
	return func(*http.Request) (*http.Response, error) { return nil, err }
}
