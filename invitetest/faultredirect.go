package invitetest

import (
	"net/http"
	"sync"
)

// maxRedirected is the number of redirects that are remembered.
const maxRedirected = 1000

// redirected is where [Redirect] leads: another address of loopback.
type redirected struct {
	host *host

	mu   sync.Mutex
	auth map[string][]string // the Authorization headers of requests that were led here, by target
}

// startElsewhere opens that address, if it is not.
func (f *faultState) startElsewhere(s *Server) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.target != nil {
		return
	}
	t := &redirected{auth: map[string][]string{}}
	certificate := s.network.Certificate("127.0.0.1")
	t.host = must(startHost(nil, certificate, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { t.serve(s, w, r) })))
	f.target = t
}

// elsewhere returns the host of that address; nil if there is none.
func (f *faultState) elsewhere() *host {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.target == nil {
		return nil
	}
	return f.target.host
}

func serveRedirect(e *exchange) {
	f := &e.server.state
	f.mu.Lock()
	t := f.target
	f.mu.Unlock()
	t.mu.Lock()
	if len(t.auth) >= maxRedirected {
		clear(t.auth)
	}
	t.auth[e.r.RequestURI] = e.r.Header.Values("Authorization")
	t.mu.Unlock()
	a := newAnswer()
	a.status = http.StatusTemporaryRedirect
	a.header.Set("Location", "https://"+t.host.address()+e.r.RequestURI)
	e.send(a)
}

// serve answers a request that was led here, as the server would have.
func (t *redirected) serve(s *Server, w http.ResponseWriter, r *http.Request) {
	t.mu.Lock()
	auth := t.auth[r.RequestURI]
	t.mu.Unlock()
	if len(auth) > 0 && r.Header.Get("Authorization") == "" {
		r.Header["Authorization"] = auth // clients do not send it on to other hosts
	}
	s.receive(w, r, false)
}
