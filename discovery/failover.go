package discovery

import (
	"errors"
	"net/http"
	"sync/atomic"

	"github.com/seed-0a46cb1a/fedinvite"
)

// send sends req to one of the targets, and closes its body whatever comes of it.
func (t *Transport) send(req *http.Request, r *Resolution) (*http.Response, error) {
	if len(r.Targets) == 1 {
		ctx := newErrand(req.Context()).traced(nil)
		res, err := t.ask(outgoing(ctx, req, r.Targets[0].poolKey(r.CertName), r.Host))
		if unconnected(err) {
			err = &unreachableError{r.Server, []error{err}}
		}
		return res, err
	}
	keys := make([]string, len(r.Targets))
	for i, target := range r.Targets {
		keys[i] = target.poolKey(r.CertName)
	}
	s := &sending{transport: t, request: req, host: r.Host, body: holdBody(req), errand: newErrand(req.Context())}
	defer s.body.release()
	return s.inTurn(r.Server, t.down.order(keys))
}

// ask makes one attempt. It closes the body of out.
func (t *Transport) ask(out *http.Request) (*http.Response, error) {
	if out.URL.Host == "" { // which net/http would not count as an attempt
		closeBody(out)
		return nil, &connectError{"a target", errors.New("neither a host name nor an address, or no port")}
	}
	return t.http.RoundTrip(out)
}

// unconnected reports whether err says that there was no connection to be had.
func unconnected(err error) bool {
	var failed *connectError
	return errors.As(err, &failed)
}

// A sending is a request on its way to one of several targets.
type sending struct {
	transport *Transport
	request   *http.Request
	host      string
	body      *heldBody // nil: none
	errand    *errand
	connected atomic.Bool // something may have been sent
}

// inTurn tries targets, keys of the pool, as long as nothing can have been sent.
func (s *sending) inTurn(server fedinvite.ServerName, keys []string) (*http.Response, error) {
	ctx := s.errand.traced(func() { s.connected.Store(true) })
	failed := &unreachableError{server: server}
	for i, key := range keys {
		if i > 0 {
			s.errand.dials.Store(0)
			if err := s.body.rewind(s.request); err != nil {
				failed.failures = append(failed.failures, err)
				break
			}
		}
		out := outgoing(ctx, s.request, key, s.host)
		out.Body = s.body.reader(out.Body)
		res, err := s.transport.ask(out)
		if err == nil {
			s.transport.down.remove(key)
			return res, nil
		}
		if !unconnected(err) {
			return nil, err
		}
		failed.failures = append(failed.failures, err)
		if s.connected.Load() { // which was lost, and there was no other
			break
		}
		s.transport.down.add(key)
	}
	return nil, failed
}
