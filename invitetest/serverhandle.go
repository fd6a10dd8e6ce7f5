package invitetest

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
)

// Handle has h answer requests whose path begins with prefix, such as
// "/_matrix/federation/v2/invite/", in place of the server: for answers that no server
// should give, and for endpoints that this one does not have. nil: the server does again.
// Of several prefixes the longest counts. h gets a body that was read already, 10 MiB at
// most; the request is not authenticated. What it answers goes out when it returns, and
// [Server.Break] holds for it too.
func (s *Server) Handle(prefix string, h http.Handler) { s.handlers.set(prefix, h) }

// A replier answers invites of one server to one user in its own way.
type replier struct {
	from    fedinvite.ServerName
	invitee string
	reply   func(event []byte) (status int, body []byte) // gets the event as it was sent
}

// answerInvites has by answer the invites that it is for, once they have passed all checks
// of the server, which answers everything else itself: others may know where it listens. It
// returns the end of that.
func (s *Server) answerInvites(by replier) (end func()) {
	s.Handle(inviteV1Path, s.answeredBy(by, fedinvite.ParseRequestV1))
	s.Handle(inviteV2Path, s.answeredBy(by, fedinvite.ParseRequestV2))
	return func() {
		s.Handle(inviteV1Path, nil)
		s.Handle(inviteV2Path, nil)
	}
}

func (s *Server) answeredBy(by replier, parse func([]byte) (fedinvite.Request, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body) // was read already
		r.Body = io.NopCloser(bytes.NewReader(body))
		var accepted *fedinvite.Invite
		a := newAnswer()
		s.home.ServeHTTP(a, r.WithContext(context.WithValue(r.Context(), acceptedKey{}, &accepted)))
		if accepted != nil && a.status == http.StatusOK {
			request, err := parse(body)
			if err == nil && accepted.Origin == by.from && accepted.Invitee == by.invitee {
				a = jsonAnswer(by.reply(request.Event))
			} else {
				s.invites.add(accepted)
			}
		}
		_ = a.write(w)
	})
}

// acceptedKey is that of a context with a **fedinvite.Invite, which takes an invite that was
// accepted in place of the server's log.
type acceptedKey struct{}

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
