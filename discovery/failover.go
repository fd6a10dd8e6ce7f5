package discovery

import (
	"errors"
	"net/http"
)

// send sends req to one of the targets, and closes its body whatever comes of it.
func (t *Transport) send(req *http.Request, r *Resolution) (*http.Response, error) {
	if len(r.Targets) > 1 {
		return t.sendInTurn(req, r)
	}
	ctx := newErrand(req.Context()).traced()
	res, err := t.ask(outgoing(ctx, req, r.Targets[0].poolKey(r.CertName), r.Host))
	if unconnected(err) {
		err = &unreachableError{[]error{err}}
	}
	return res, err
}

// sendInTurn tries several targets, one after the other. If there is no connection to one,
// nothing was sent there; or something was by a connection that was kept and lost, and
// net/http would send it again, so that it may as well go elsewhere.
func (t *Transport) sendInTurn(req *http.Request, r *Resolution) (*http.Response, error) {
	body := holdBody(req)
	defer body.release()
	keys := make([]string, len(r.Targets))
	for i, target := range r.Targets {
		keys[i] = target.poolKey(r.CertName)
	}
	failed := new(unreachableError)
	for i, key := range t.down.order(keys) {
		if i > 0 {
			if err := body.rewind(req); err != nil {
				failed.failures = append(failed.failures, err)
				break
			}
		}
		e := newErrand(req.Context())
		e.several, e.more = true, i < len(keys)-1
		out := outgoing(e.traced(), req, key, r.Host)
		out.Body = body.reader(out.Body)
		res, err := t.ask(out)
		if !unconnected(err) {
			return res, err
		}
		failed.failures = append(failed.failures, err)
	}
	return nil, failed
}

// ask makes one attempt. It closes the body of out.
func (t *Transport) ask(out *http.Request) (*http.Response, error) {
	if out.URL.Host == "" { // which net/http would not count as an attempt
		closeBody(out)
		return nil, &connectError{"a target", errors.New("neither a host name nor an address, or no port")}
	}
	p := t.connections.enter(out.URL.Host)
	defer t.connections.leave(p)
	return p.http.RoundTrip(out)
}

// unconnected reports whether err says that there was no connection to be had.
func unconnected(err error) bool {
	var failed *connectError
	return errors.As(err, &failed)
}
