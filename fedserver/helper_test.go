package fedserver_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
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

func allKeys() fedinvite.KeyMap { return invitetest.Keys(serverA, serverA2, serverB, serverC) }

// ours is a Signer hook for these servers.
func ours(servers ...fedinvite.ServerName) func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) {
	return keyring.Signers(signersOf(servers)...).Signer
}

func signersOf(servers []fedinvite.ServerName) []fedinvite.Signer {
	signers := make([]fedinvite.Signer, len(servers))
	for i, server := range servers {
		signers[i] = invitetest.Signer(server)
	}
	return signers
}

// endpoint is that of serverA and serverA2.
func endpoint(t testing.TB) fedserver.Endpoint {
	t.Helper()
	keys := allKeys()
	return fedserver.Endpoint{
		Signer:      ours(serverA, serverA2),
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

type object = invitetest.Object

func encode(v any) []byte { return invitetest.Encode(v) }

// A room is one of serverA, with alice and albert in it, and its author's store: a
// fedclient.Room.
type room struct {
	*invitetest.Room
	id    string
	rules fedinvite.Rules

	mu    sync.Mutex
	err   error // of Snapshot
	spoil func(*fedclient.Snapshot)
}

func newRoom(t testing.TB, v fedinvite.RoomVersion) *room {
	t.Helper()
	return newRoomOf(rulesOf(t, v))
}

func newRoomOf(rules fedinvite.Rules) *room {
	r := invitetest.RoomConfig{Rules: rules, Creator: alice, Seed: "r/+%", Now: clock}.New()
	r.Join(albert)
	return &room{Room: r, id: r.ID(), rules: rules}
}

// last returns the event that is the room's extremity.
func (r *room) last() *fedinvite.Event { return r.Events()[len(r.Events())-1] }

// signed hashes and signs an event.
func (r *room) signed(event any, signers ...fedinvite.ServerName) json.RawMessage {
	return r.Sign(event, signersOf(signers)...)
}

// invite makes an invite by alice and puts it into the room.
func (r *room) invite(invitee string) *fedinvite.Event {
	return r.Set("m.room.member", invitee, object{"membership": "invite"})
}

// member has somebody give a membership, allowed or not.
func (r *room) member(userID, by, membership string) *fedinvite.Event {
	return r.SetAs(by, "m.room.member", userID, object{"membership": membership})
}

// Snapshot implements fedclient.Room.
func (r *room) Snapshot(ctx context.Context, roomID string, want []eventauth.StateKey) (*fedclient.Snapshot, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return nil, r.err
	}
	s, err := r.Room.Snapshot(ctx, roomID, want)
	if err == nil && r.spoil != nil {
		r.spoil(s)
	}
	return s, err
}

// leaveOf is the leave of a user of another server, as a good server makes it.
func (r *room) leaveOf(userID string) object {
	return r.Draft(userID, "m.room.member", userID, object{"membership": "leave"})
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
	if err := xmatrix.Sign(t.Context(), req, l.body, l.to, invitetest.Signer(l.from)); err != nil {
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

// edited changes an event after it was signed.
func edited(event json.RawMessage, change func(o object)) json.RawMessage {
	return invitetest.Change(event, change)
}
