package fedclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/leave"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

const decliner = "@b:b.ex"

// A notary is a signer that remembers what it signed, and may fail.
type notary struct {
	fedinvite.Signer
	mu     sync.Mutex
	signed []string
	fails  func(message string) bool
}

var errNotary = errors.New("the key is locked away")

func newNotary(t testing.TB) *notary {
	return &notary{Signer: invitetest.Signer("b.ex"), fails: func(string) bool { return false }}
}

func (n *notary) Sign(ctx context.Context, message []byte) ([]byte, error) {
	if n.fails(string(message)) {
		return nil, errNotary
	}
	n.mu.Lock()
	n.signed = append(n.signed, string(message))
	n.mu.Unlock()
	return n.Signer.Sign(ctx, message)
}

// isEvent tells events from requests.
func isEvent(message string) bool { return !strings.Contains(message, `"uri":`) }

// events returns the events that were signed.
func (n *notary) events() (events []string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, message := range n.signed {
		if isEvent(message) {
			events = append(events, message)
		}
	}
	return events
}

// A resident is a server in the room, which checks requests and gives the answers that its
// test wants.
type resident struct {
	t         *testing.T
	name      fedinvite.ServerName
	rules     fedinvite.Rules
	keys      fedinvite.KeyMap
	transport *discovery.Transport // to any server on the loopback interface
	// The answers; nil: good ones, but v1 is not known.
	makeLeave, sendLeave, sendLeaveV1 http.HandlerFunc
	change                            func(template map[string]any)

	mu    sync.Mutex
	asked []string // "make_leave v1", …
	sent  []*fedinvite.Event
}

func newResident(t *testing.T, version fedinvite.RoomVersion) *resident {
	t.Helper()
	p := &resident{t: t, rules: rulesOf(t, version), keys: fedinvite.KeyMap{}}
	p.name, p.transport = serveTLS(t, p)
	p.keys.Add(invitetest.Signer("b.ex"))
	return p
}

// invite is by @a of the server.
func (p *resident) invite() *fedinvite.Event {
	p.t.Helper()
	return inviteFor(decliner, invitetest.Signer(p.name), p.rules)
}

func (p *resident) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Error(err)
	}
	credentials, err := xmatrix.Verifier{Keys: p.keys, Now: clock}.Credentials(r)
	if err == nil {
		err = credentials.Verify(r.Context(), body)
	}
	if err != nil || credentials.Destination != p.name || credentials.Origin != "b.ex" {
		p.t.Errorf("%s: %+v, %v", r.RequestURI, credentials, err)
	}
	path := segments(p.t, r.RequestURI)
	if len(path) != 6 {
		p.t.Errorf("asked for %s", r.RequestURI)
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, path[3]+" "+path[2])
	p.mu.Unlock()
	switch r.Method + " " + path[3] + " " + path[2] {
	case "GET make_leave v1":
		p.serveMake(w, r, path[4], path[5])
	case "PUT send_leave v2":
		p.serveSend(w, r, p.sendLeave, path[4], path[5], body)
	case "PUT send_leave v1":
		if p.sendLeaveV1 == nil {
			p.t.Error("v1 send_leave")
		}
		p.serveSend(w, r, p.sendLeaveV1, path[4], path[5], body)
	default:
		p.t.Errorf("asked for %s %s", r.Method, r.RequestURI)
	}
}

func segments(t *testing.T, target string) []string {
	var all []string
	for s := range strings.SplitSeq(strings.TrimPrefix(target, "/"), "/") {
		s, err := url.PathUnescape(s)
		if err != nil {
			t.Error(err)
		}
		all = append(all, s)
	}
	return all
}

func (p *resident) serveMake(w http.ResponseWriter, r *http.Request, room, user string) {
	if p.makeLeave != nil {
		p.makeLeave(w, r)
		return
	}
	template := p.template(room, user)
	if p.change != nil {
		p.change(template)
	}
	body, err := json.Marshal(template)
	if err != nil {
		p.t.Error(err)
	}
	answerJSON(200, string(body))(w, r)
}

// template is a good one.
func (p *resident) template(room, user string) map[string]any {
	var refs any = []string{"$auth"}
	if p.rules.EventIDs == fedinvite.EventIDServer {
		refs = []any{[]any{"$auth:a.ex", map[string]string{"sha256": strings.Repeat("A", 43)}}}
	}
	return map[string]any{
		"room_version": p.rules.Version,
		"event": map[string]any{
			"type": "m.room.member", "room_id": room, "sender": user, "state_key": user,
			"content":     map[string]any{"membership": "leave", "evil": true},
			"auth_events": refs, "prev_events": refs, "depth": 41, "origin_server_ts": 1, "origin": p.name,
			"unsigned": map[string]any{"evil": true}, "evil": true,
		},
	}
}

// serveSend makes sure that whatever is sent is a good leave.
func (p *resident) serveSend(w http.ResponseWriter, r *http.Request, give http.HandlerFunc, room, id string, body []byte) {
	e, err := fedinvite.ParseEvent(body, p.rules)
	if err != nil {
		p.t.Error(err)
		return
	}
	if err := errors.Join(leave.Check(e, "b.ex"), e.Verify(r.Context(), p.keys, "b.ex")); err != nil {
		p.t.Error(err)
	}
	if e.RoomID() != room || e.ID() != id || !e.HashOK() || e.Depth() != 41 || strings.Contains(string(body), "evil") {
		p.t.Errorf("sent to %s: %s", r.RequestURI, body)
	}
	p.mu.Lock()
	p.sent = append(p.sent, e)
	p.mu.Unlock()
	if give == nil {
		give = answerJSON(200, "{}")
	}
	give(w, r)
}

// was demands the requests that were made.
func (p *resident) was(asked ...string) {
	p.t.Helper()
	if got := strings.Join(p.asked, ", "); got != strings.Join(asked, ", ") {
		p.t.Errorf("%s was asked %v, want %v", p.name, got, asked)
	}
}

func answerWith(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func answerJSON(status int, body string) http.HandlerFunc {
	return answerWith(status, "application/json", body)
}

// hangsUp ends the connection in place of an answer.
func hangsUp(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// hangsUntil ends the client's patience and gives no answer.
func hangsUntil(cancel func()) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
		hangsUp(w, r)
	}
}

// declineBy asks these servers to decline the invite of the first.
func declineBy(t *testing.T, n *notary, residents ...*resident) (fedclient.Declined, error) {
	t.Helper()
	r := fedclient.DeclineRequest{
		Invite: residents[0].invite(), Signer: n, Time: now.Add(time.Hour), Content: json.RawMessage(`{"reason":"no, thanks"}`),
	}
	for _, p := range residents {
		r.Servers = append(r.Servers, p.name)
	}
	return newClient(t, residents[0].transport).Decline(t.Context(), r)
}

// took demands that the server took the leave.
func took(t *testing.T, p *resident, d fedclient.Declined, err error) {
	t.Helper()
	if err != nil || d.Err != nil || d.MaybeSeen || d.Server != p.name {
		t.Fatalf("got %+v, %v", d, err)
	}
	if last := p.sent[len(p.sent)-1]; d.Event.ID() != last.ID() {
		t.Errorf("got %s, but sent %s", d.Event.ID(), last.ID())
	}
	isLeave(t, d.Event)
}

// wasLocal demands that the leave is one of our own making.
func wasLocal(t *testing.T, invite *fedinvite.Event, d fedclient.Declined, err error) {
	t.Helper()
	if err != nil || d.Err == nil || d.MaybeSeen || d.Server != "" {
		t.Fatalf("got %+v, %v", d, err)
	}
	if prev := d.Event.PrevEventIDs(); len(prev) != 1 || prev[0] != invite.ID() {
		t.Errorf("it follows on %v", prev)
	}
	isLeave(t, d.Event)
}

func isLeave(t *testing.T, e *fedinvite.Event) {
	t.Helper()
	keys := fedinvite.KeyMap{}
	keys.Add(invitetest.Signer("b.ex"))
	if err := errors.Join(leave.Check(e, "b.ex"), e.Verify(t.Context(), keys, "b.ex")); err != nil {
		t.Error(err)
	}
	if !e.OriginServerTS().Equal(now.Add(time.Hour)) || e.ContentJSON("reason") != `"no, thanks"` {
		t.Errorf("got %s", e.AppendJSON(nil))
	}
}
