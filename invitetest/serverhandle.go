package invitetest

import (
	"net/http"
	"slices"
	"strings"
	"sync"
)

// Handle has h answer requests whose path begins with prefix, such as
// "/_matrix/federation/v2/invite/", in place of the server: for answers that no server
// should give, and for endpoints that this one does not have. nil: the server does again.
// Of several prefixes the longest counts. h gets a body that was read already, 10 MiB at
// most; the request is not authenticated. What it answers goes out when it returns, and
// [Server.Break] holds for it too.
func (s *Server) Handle(prefix string, h http.Handler) { s.handlers.set(prefix, h) }

// A handlerList has the handlers of others than the server.
type handlerList struct {
	mu   sync.Mutex
	list []prefixHandler // the longest first
}

type prefixHandler struct {
	prefix  string
	handler http.Handler
}

func (l *handlerList) set(prefix string, h http.Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(p prefixHandler) bool { return p.prefix == prefix })
	if h != nil {
		l.list = append(l.list, prefixHandler{prefix, h})
	}
	slices.SortStableFunc(l.list, func(a, b prefixHandler) int { return len(b.prefix) - len(a.prefix) })
}

// of returns the handler for a path, or other.
func (l *handlerList) of(path string, other http.Handler) http.Handler {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, p := range l.list {
		if strings.HasPrefix(path, p.prefix) {
			return p.handler
		}
	}
	return other
}
