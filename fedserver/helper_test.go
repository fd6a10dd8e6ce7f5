package fedserver_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/internal/testkey"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// The servers: serverA and serverA2 are ours, of one process; the others are not.
const (
	serverA  fedinvite.ServerName = "a.ex"
	serverA2 fedinvite.ServerName = "a2.ex"
	serverB  fedinvite.ServerName = "b.ex"
	serverC  fedinvite.ServerName = "c.ex"
)

const (
	alice  = "@alice:a.ex"
	albert = "@albert:a.ex"
	bob    = "@bob:b.ex"
	carol  = "@carol:c.ex"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

func signerOf(t testing.TB, server fedinvite.ServerName) fedinvite.Signer {
	t.Helper()
	return testkey.Signer(t, server, "ed25519:1")
}

func keysOf(t testing.TB, servers ...fedinvite.ServerName) fedinvite.KeyMap {
	t.Helper()
	keys := fedinvite.KeyMap{}
	for _, server := range servers {
		keys.Add(signerOf(t, server))
	}
	return keys
}

func allKeys(t testing.TB) fedinvite.KeyMap {
	t.Helper()
	return keysOf(t, serverA, serverA2, serverB, serverC)
}

// ours is a Signer hook for these servers.
func ours(t testing.TB, servers ...fedinvite.ServerName) func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) {
	t.Helper()
	signers := map[fedinvite.ServerName]fedinvite.Signer{}
	for _, server := range servers {
		signers[server] = signerOf(t, server)
	}
	return func(_ context.Context, server fedinvite.ServerName) (fedinvite.Signer, error) {
		s, ok := signers[server]
		if !ok {
			return nil, fedinvite.ErrNotLocal
		}
		return s, nil
	}
}

// endpoint is that of serverA and serverA2.
func endpoint(t testing.TB) fedserver.Endpoint {
	t.Helper()
	keys := allKeys(t)
	return fedserver.Endpoint{
		Signer:      ours(t, serverA, serverA2),
		Keys:        keys,
		Credentials: xmatrix.Verifier{Keys: keys, Now: clock}.Credentials,
		Now:         clock,
	}
}

func rulesOf(t testing.TB, v fedinvite.RoomVersion) fedinvite.Rules {
	t.Helper()
	rules, err := v.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

type object = map[string]any

func encode(t testing.TB, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// A room is one of serverA, with alice in it, and its author's store: a fedclient.Room.
type room struct {
	t     testing.TB
	rules fedinvite.Rules
	id    string

	mu     sync.Mutex
	state  map[eventauth.StateKey]*fedinvite.Event
	last   *fedinvite.Event
	joined map[fedinvite.ServerName]bool
	err    error // of Snapshot
	spoil  func(*fedclient.Snapshot)
}

func newRoom(t testing.TB, v fedinvite.RoomVersion) *room {
	t.Helper()
	return newRoomOf(t, rulesOf(t, v))
}

func newRoomOf(t testing.TB, rules fedinvite.Rules) *room {
	t.Helper()
	r := &room{t: t, rules: rules, id: "!r/+%:a.ex", state: map[eventauth.StateKey]*fedinvite.Event{}, joined: map[fedinvite.ServerName]bool{}}
	r.add("m.room.create", "", alice, object{"creator": alice, "room_version": rules.Version})
	r.id = r.last.RoomID()
	r.member(alice, "join")
	levels := object{alice: 100}
	if r.rules.Auth.PrivilegedCreators {
		levels = object{}
	}
	r.add("m.room.power_levels", "", alice, object{"users": levels})
	r.add("m.room.join_rules", "", alice, object{"join_rule": "invite"})
	r.member(albert, "join")
	return r
}

// add makes a state event of serverA and puts it into the room.
func (r *room) add(eventType, key, sender string, content object) *fedinvite.Event {
	r.t.Helper()
	e := r.make(eventType, key, sender, content, serverA)
	r.put(e)
	return e
}

// member gives a user of serverA a membership.
func (r *room) member(userID, membership string) *fedinvite.Event {
	r.t.Helper()
	return r.add("m.room.member", userID, userID, object{"membership": membership})
}

func (r *room) put(e *fedinvite.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	key, _ := e.StateKey()
	r.state[eventauth.StateKey{Type: e.Type(), Key: key}] = e
	r.last = e
}

func (r *room) get(eventType, key string) *fedinvite.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state[eventauth.StateKey{Type: eventType, Key: key}]
}

// make makes a state event behind the last one, signed by these servers.
func (r *room) make(eventType, key, sender string, content object, signers ...fedinvite.ServerName) *fedinvite.Event {
	r.t.Helper()
	e, err := fedinvite.ParseEvent(r.signed(r.draft(eventType, key, sender, content), signers...), r.rules)
	if err != nil {
		r.t.Fatal(err)
	}
	return e
}

func (r *room) draft(eventType, key, sender string, content object) object {
	auth, prev, depth := []any{}, []any{}, int64(1)
	wanted := []eventauth.StateKey{{Type: "m.room.power_levels"}, {Type: "m.room.member", Key: sender}}
	if !r.rules.RoomIDIsCreateEvent {
		wanted = append(wanted, eventauth.StateKey{Type: "m.room.create"})
	}
	if key != sender {
		wanted = append(wanted, eventauth.StateKey{Type: "m.room.member", Key: key})
	}
	for _, k := range wanted {
		if e := r.get(k.Type, k.Key); e != nil {
			auth = append(auth, r.ref(e.Ref()))
		}
	}
	if r.last != nil {
		prev, depth = append(prev, r.ref(r.last.Ref())), r.last.Depth()+1
	}
	o := object{
		"type": eventType, "state_key": key, "sender": sender, "room_id": r.id, "content": content, "depth": depth,
		"origin_server_ts": now.UnixMilli(), "auth_events": auth, "prev_events": prev,
	}
	if eventType == "m.room.create" && r.rules.RoomIDIsCreateEvent {
		delete(o, "room_id")
	}
	if r.rules.EventIDs == fedinvite.EventIDServer {
		_, server, _ := fedinvite.ParseUserID(sender)
		o["event_id"] = fmt.Sprintf("$%d/%s:%s", depth, strings.ReplaceAll(eventType+key, ":", "/"), server)
	}
	return o
}

func (r *room) ref(ref fedinvite.EventRef) any {
	if r.rules.EventIDs != fedinvite.EventIDServer {
		return ref.ID
	}
	return []any{ref.ID, object{"sha256": base64.RawStdEncoding.EncodeToString(ref.SHA256)}}
}

// signed hashes and signs an event.
func (r *room) signed(event object, signers ...fedinvite.ServerName) json.RawMessage {
	r.t.Helper()
	raw := encode(r.t, event)
	for _, server := range signers {
		var err error
		if raw, err = fedinvite.SignEventJSON(r.t.Context(), raw, r.rules, signerOf(r.t, server)); err != nil {
			r.t.Fatal(err)
		}
	}
	return raw
}

// invite makes an invite by alice and puts it into the room.
func (r *room) invite(invitee string) *fedinvite.Event {
	r.t.Helper()
	return r.add("m.room.member", invitee, alice, object{"membership": "invite"})
}

// Snapshot implements fedclient.Room.
func (r *room) Snapshot(_ context.Context, roomID string, want []eventauth.StateKey) (*fedclient.Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	if roomID != r.id {
		return nil, fedinvite.Refuse(fedinvite.CodeNotFound, "no such room")
	}
	s := &fedclient.Snapshot{
		Version: r.rules.Version, Extremities: []fedinvite.EventRef{r.last.Ref()}, Depth: r.last.Depth(),
		Joined: func(s fedinvite.ServerName) bool { return r.joined[s] },
	}
	for key, e := range r.state {
		if slices.Contains(want, key) {
			s.State = append(s.State, e)
		}
	}
	if r.spoil != nil {
		r.spoil(s)
	}
	return s, nil
}

// leaveOf is the leave of a user of another server, as a good server makes it.
func (r *room) leaveOf(userID string) object {
	return r.draft("m.room.member", userID, userID, object{"membership": "leave"})
}

// A letter is a signed request.
type letter struct {
	method, target string
	from, to       fedinvite.ServerName
	body           []byte
}

func (l letter) request(t testing.TB) *http.Request {
	t.Helper()
	req := httptest.NewRequest(l.method, l.target, bytes.NewReader(l.body))
	if l.from == "" {
		return req
	}
	if err := xmatrix.Sign(t.Context(), req, l.body, l.to, signerOf(t, l.from)); err != nil {
		t.Fatal(err)
	}
	return req
}

func target(parts ...string) string {
	s := "/_matrix/federation"
	for _, part := range parts {
		s += "/" + url.PathEscape(part)
	}
	return s
}

func answer(h http.Handler, req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// said is what an error body says.
type said struct {
	Code    fedinvite.Code `json:"errcode"`
	Message string         `json:"error"`
}

// wantRefusal demands an answer with this status and errcode.
func wantRefusal(t testing.TB, w *httptest.ResponseRecorder, status int, code fedinvite.Code) said {
	t.Helper()
	var body said
	if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil || w.Code != status || body.Code != code {
		t.Errorf("got %d %s (%v), want %d %s", w.Code, w.Body, err, status, code)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	return body
}

func wantOK(t testing.TB, w *httptest.ResponseRecorder, body string) {
	t.Helper()
	if w.Code != http.StatusOK || body != "" && w.Body.String() != body {
		t.Errorf("got %d %s, want 200 %s", w.Code, w.Body, body)
	}
}

// A network is a Transport of a fedclient.Client: it brings requests to the handlers of
// servers, by name.
type network struct {
	mu       sync.Mutex
	servers  map[string]http.Handler
	requests []string // method and target of each
}

func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	n.mu.Lock()
	h := n.servers[r.URL.Host]
	n.requests = append(n.requests, r.Method+" "+r.URL.RequestURI())
	n.mu.Unlock()
	if h == nil {
		return nil, fmt.Errorf("no route to %s", r.URL.Host)
	}
	inbound := httptest.NewRequestWithContext(r.Context(), r.Method, r.URL.RequestURI(), r.Body)
	inbound.Header = maps.Clone(r.Header)
	return answer(h, inbound).Result(), nil
}

func newNetwork(servers map[fedinvite.ServerName]http.Handler) *network {
	n := &network{servers: map[string]http.Handler{}}
	for name, h := range servers {
		n.servers[string(name)] = h
	}
	return n
}

// client returns a Client that repeats nothing: pauses are real time.
func (n *network) client(t testing.TB) *fedclient.Client {
	t.Helper()
	c, err := fedclient.New(fedclient.Config{UserAgent: "fedserver-test/1", Transport: n, Retries: -1})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// deny is a ServerAllowed hook that denies one server.
func deny(server fedinvite.ServerName) func(context.Context, string, fedinvite.ServerName) (bool, error) {
	return func(_ context.Context, _ string, s fedinvite.ServerName) (bool, error) { return s != server, nil }
}

func (r *room) keyOfToken() eventauth.StateKey {
	return eventauth.StateKey{Type: "m.room.third_party_invite", Key: "tok"}
}

func (r *room) tokenContent() object {
	r.t.Helper()
	var content object
	if err := json.Unmarshal(r.get("m.room.third_party_invite", "tok").Content(), &content); err != nil {
		r.t.Fatal(err)
	}
	return content
}

// edited changes an event after it was signed.
func edited(t testing.TB, event json.RawMessage, change func(o object)) json.RawMessage {
	t.Helper()
	var o object
	if err := json.Unmarshal(event, &o); err != nil {
		t.Fatal(err)
	}
	change(o)
	return encode(t, o)
}
