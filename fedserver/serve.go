package fedserver

import (
	"context"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/inbound"
)

// A route is one endpoint of a handler.
type route struct {
	methods  []string
	prefix   string // of the path
	segments int    // behind it; 0: prefix is the whole path
	// answer returns the body of the answer. checking ends with
	// the time for reading and checking; ctx is the request's.
	answer func(ctx, checking context.Context, req Request, ids []string) ([]byte, error)
}

// match returns the unescaped segments behind the prefix.
func (t *route) match(path string) ([]string, bool) {
	if t.segments == 0 {
		return nil, path == t.prefix
	}
	return inbound.Segments(path, t.prefix, t.segments)
}

// serve answers a request to one of the routes, all but the first step of whose way,
// read, is the same for all.
func (p *Endpoint) serve(w http.ResponseWriter, r *http.Request, read func(http.ResponseWriter, *http.Request) (Request, error), routes []route) {
	checking, cancel := context.WithTimeout(r.Context(), p.timeout())
	defer cancel()
	var req Request
	chosen, ids, err := choose(w, r, routes)
	if err != nil {
		deadline, _ := checking.Deadline()
		inbound.SetReadDeadline(w, deadline) // for what net/http reads of the body
		closeUnread(w, r)
	} else {
		req, err = read(w, r.WithContext(checking))
	}
	var body []byte
	if err == nil {
		body, err = chosen.answer(r.Context(), checking, req, ids)
	}
	if p.Done != nil {
		p.Done(r, req, err)
	}
	if err != nil {
		fedinvite.WriteError(w, err)
		return
	}
	writeBody(w, body)
}

// choose finds the route by path and method.
func choose(w http.ResponseWriter, r *http.Request, routes []route) (*route, []string, error) {
	path := inbound.Path(r)
	for i := range routes {
		ids, ok := routes[i].match(path)
		if !ok {
			continue
		}
		allowed := routes[i].methods
		if !slices.Contains(allowed, r.Method) {
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			return nil, nil, refuse(http.StatusMethodNotAllowed, fedinvite.CodeUnrecognized, "use "+strings.Join(allowed, " or "), nil)
		}
		return &routes[i], ids, nil
	}
	return nil, nil, refuse(http.StatusNotFound, fedinvite.CodeUnrecognized, "no such endpoint", nil)
}

// closeUnread gives the connection up, rather than wait for a body that nobody wants.
func closeUnread(w http.ResponseWriter, r *http.Request) {
	if r.ContentLength != 0 && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
}

func writeBody(w http.ResponseWriter, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body) // a peer that hung up will ask again
}
