package fedinvite_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// Invites go from alice on serverA to bob on serverB, which also serves serverB2.
// serverC is somebody else. All have a key "ed25519:1".
const (
	serverA  fedinvite.ServerName = "a.example"
	serverB  fedinvite.ServerName = "b.example"
	serverB2 fedinvite.ServerName = "b2.example"
	serverC  fedinvite.ServerName = "c.example"

	alice = "@a:a.example"
	bob   = "@b:b.example"
)

// eventTime is the origin_server_ts of test events.
var eventTime = time.UnixMilli(1_700_000_000_000)

type object = map[string]any

// An edit changes an event that is under construction.
type edit func(object)

// set sets a member, however deep; objects on the way are made.
func set(value any, path ...string) edit {
	return func(o object) { parent(o, path)[path[len(path)-1]] = value }
}

func drop(path ...string) edit {
	return func(o object) { delete(parent(o, path), path[len(path)-1]) }
}

// on returns a shallow copy of o with the edit.
func (e edit) on(o object) object {
	changed := maps.Clone(o)
	e(changed)
	return changed
}

func parent(o object, path []string) object {
	for _, key := range path[:len(path)-1] {
		next, ok := o[key].(object)
		if !ok {
			next = object{}
			o[key] = next
		}
		o = next
	}
	return o
}

func encode(t testing.TB, v any) json.RawMessage {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func decode(t testing.TB, raw []byte) object {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		t.Fatalf("%v in %s", err, raw)
	}
	return o
}

// change edits an event after it was signed.
func change(t testing.TB, raw json.RawMessage, edits ...edit) json.RawMessage {
	t.Helper()
	o := decode(t, raw)
	for _, e := range edits {
		e(o)
	}
	return encode(t, o)
}

// A testRoom is a room on serverA.
type testRoom struct {
	rules  fedinvite.Rules
	id     string
	create json.RawMessage // its create event
}

func newRoom(t testing.TB, v fedinvite.RoomVersion) testRoom {
	t.Helper()
	r := testRoom{rules: rulesOf(t, v), id: "!r:a.example"}
	r.create = r.sign(t, r.state("m.room.create", "", set(string(v), "content", "room_version"),
		set([]any{}, "auth_events"), set([]any{}, "prev_events")))
	if r.rules.RoomIDIsCreateEvent {
		r.create = r.sign(t, change(t, r.create, drop("room_id"), drop("signatures"), drop("hashes")))
		r.id = r.parse(t, r.create).RoomID()
	}
	return r
}

// state returns a state event by alice that nobody has signed.
func (r testRoom) state(eventType, stateKey string, edits ...edit) object {
	o := object{
		"type": eventType, "state_key": stateKey, "sender": alice, "room_id": r.id, "content": object{},
		"depth": 5, "origin_server_ts": eventTime.UnixMilli(), "auth_events": r.refs(2), "prev_events": r.refs(1),
	}
	if r.rules.EventIDs == fedinvite.EventIDServer {
		o["event_id"] = "$" + eventType + strings.ReplaceAll(stateKey, ":", "/") + ":a.example"
	}
	for _, e := range edits {
		e(o)
	}
	return o
}

// invite returns alice's invite for bob; nobody has signed it.
func (r testRoom) invite(edits ...edit) object {
	return r.state("m.room.member", bob, append([]edit{set("invite", "content", "membership")}, edits...)...)
}

// refs returns n references to events.
func (r testRoom) refs(n int) []any {
	all := []any{}
	for i := range n {
		if r.rules.EventIDs == fedinvite.EventIDServer {
			all = append(all, []any{fmt.Sprintf("$%d:a.example", i), object{"sha256": strings.Repeat("A", 43)}})
		} else {
			all = append(all, fmt.Sprintf("$%043d", i))
		}
	}
	return all
}

// sign hashes an event, an object or its JSON, and signs it: by serverA unless
// others are named.
func (r testRoom) sign(t testing.TB, event any, signers ...fedinvite.Signer) json.RawMessage {
	t.Helper()
	if len(signers) == 0 {
		signers = []fedinvite.Signer{newSigner(t, serverA)}
	}
	raw := encode(t, event)
	for _, s := range signers {
		var err error
		if raw, err = fedinvite.SignEventJSON(t.Context(), raw, r.rules, s); err != nil {
			t.Fatal(err)
		}
	}
	return raw
}

// signedInvite is sign of invite, by serverA.
func (r testRoom) signedInvite(t testing.TB, edits ...edit) json.RawMessage {
	t.Helper()
	return r.sign(t, r.invite(edits...))
}

// parse parses an event without its limits.
func (r testRoom) parse(t testing.TB, raw json.RawMessage) *fedinvite.Event {
	t.Helper()
	e, err := fedinvite.ParseStored(raw, r.rules)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A letter is a request for the invite endpoint.
type letter struct {
	from, to        fedinvite.ServerName
	endpoint        string // v1 or v2
	roomID, eventID string
	body            []byte
	event           json.RawMessage // what body holds, for comparison
	rules           fedinvite.Rules
}

// send returns the letter for an event, with the create event as its room state.
func (r testRoom) send(t testing.TB, event json.RawMessage) letter {
	t.Helper()
	return r.sendState(t, event, encode(t, []json.RawMessage{r.create}))
}

// sendState is send with another invite_room_state; nil leaves it out.
func (r testRoom) sendState(t testing.TB, event, state json.RawMessage) letter {
	t.Helper()
	body := object{"event": event, "room_version": r.rules.Version}
	if state != nil {
		body["invite_room_state"] = state
	}
	return r.sendBody(t, event, encode(t, body))
}

func (r testRoom) sendBody(t testing.TB, event json.RawMessage, body []byte) letter {
	t.Helper()
	l := letter{from: serverA, to: serverB, endpoint: "v2", roomID: r.id, eventID: "$unknown", event: event, body: body, rules: r.rules}
	if e, err := fedinvite.ParseStored(event, r.rules); err == nil {
		l.roomID, l.eventID = e.RoomID(), e.ID()
	}
	return l
}

// sendInvite is send of signedInvite.
func (r testRoom) sendInvite(t testing.TB, edits ...edit) letter {
	t.Helper()
	return r.send(t, r.signedInvite(t, edits...))
}

func (l letter) path() string {
	return "/_matrix/federation/" + l.endpoint + "/invite/" + url.PathEscape(l.roomID) + "/" + url.PathEscape(l.eventID)
}

// request returns the request for the letter, signed by its sender. A body that
// nobody can sign comes with the signature of a request without one.
func (l letter) request(t testing.TB) *http.Request {
	t.Helper()
	req := httptest.NewRequest(http.MethodPut, l.path(), bytes.NewReader(l.body))
	signed := l.body
	if _, err := fedinvite.LegacyCanonicalJSON(signed); err != nil || signed[0] != '{' {
		signed = nil
	}
	if err := xmatrix.Sign(t.Context(), req, signed, l.to, newSigner(t, l.from)); err != nil {
		t.Fatal(err)
	}
	return req
}

// delivery returns the letter for [fedinvite.Receiver.Receive].
func (l letter) delivery(t testing.TB) fedinvite.Delivery {
	t.Helper()
	parse := fedinvite.ParseRequestV2
	if l.endpoint == "v1" {
		parse = fedinvite.ParseRequestV1
	}
	req, err := parse(l.body)
	if err != nil {
		t.Fatal(err)
	}
	return fedinvite.Delivery{
		Origin: l.from, Destination: l.to, RoomID: l.roomID, EventID: l.eventID, V1: l.endpoint == "v1", Request: req,
	}
}

// An outcome is what the Done hook was told.
type outcome struct {
	delivery fedinvite.Delivery
	invite   *fedinvite.Invite
	err      error
}

// A host is a Receiver for serverB and serverB2 that remembers what it did.
type host struct {
	*fedinvite.Receiver
	keys fedinvite.KeyMap

	mu      sync.Mutex
	trace   []string // the hooks in the order in which they ran
	signed  int      // how often a signer was asked to sign
	handled []*fedinvite.Invite
	done    []outcome
}

// newHost returns a host that accepts everything that is valid; the edits change
// its configuration. Every hook is traced, whatever the edits make of it.
func newHost(t testing.TB, edits ...func(*fedinvite.Config)) *host {
	t.Helper()
	h := &host{keys: fedinvite.KeyMap{}}
	for _, s := range []fedinvite.ServerName{serverA, serverB, serverB2, serverC} {
		h.keys.Add(newSigner(t, s))
	}
	signers := map[fedinvite.ServerName]fedinvite.Signer{serverB: newSigner(t, serverB), serverB2: newSigner(t, serverB2)}
	c := fedinvite.Config{
		Signer: func(_ context.Context, name fedinvite.ServerName) (fedinvite.Signer, error) {
			if s := signers[name]; s != nil {
				return s, nil
			}
			return nil, fedinvite.ErrNotLocal
		},
		Keys:    h.keys,
		Handler: fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
	}
	for _, e := range edits {
		e(&c)
	}
	if c.Credentials == nil {
		c.Credentials = xmatrix.Verifier{Keys: keyFunc(h.traceKeys(c.Keys)), Now: func() time.Time { return eventTime }}.Credentials
	}
	h.traceHooks(&c)
	var err error
	if h.Receiver, err = fedinvite.NewReceiver(c); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *host) ran(hook string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trace = append(h.trace, hook)
}

// traceHooks wraps every hook.
func (h *host) traceHooks(c *fedinvite.Config) {
	inner := *c
	c.Keys = keyFunc(h.traceKeys(inner.Keys))
	c.Signer = func(ctx context.Context, name fedinvite.ServerName) (fedinvite.Signer, error) {
		h.ran("signer")
		s, err := inner.Signer(ctx, name)
		if s != nil {
			s = &tracedSigner{s, h}
		}
		return s, err
	}
	c.Credentials = func(r *http.Request) (fedinvite.Credentials, error) {
		h.ran("credentials")
		return inner.Credentials(r)
	}
	c.Admit = func(ctx context.Context, d *fedinvite.Delivery) error {
		h.ran("admit")
		if inner.Admit == nil {
			return nil
		}
		return inner.Admit(ctx, d)
	}
	c.ServerAllowed = func(ctx context.Context, roomID string, server fedinvite.ServerName) (bool, error) {
		h.ran("acl")
		if inner.ServerAllowed == nil {
			return true, nil
		}
		return inner.ServerAllowed(ctx, roomID, server)
	}
	c.Policy = func(ctx context.Context, inv *fedinvite.Invite) error {
		h.ran("policy")
		if inner.Policy == nil {
			return nil
		}
		return inner.Policy(ctx, inv)
	}
	c.Handler = fedinvite.HandlerFunc(func(ctx context.Context, inv *fedinvite.Invite) error {
		h.ran("handler")
		h.mu.Lock()
		h.handled = append(h.handled, inv)
		h.mu.Unlock()
		return inner.Handler.HandleInvite(ctx, inv)
	})
	c.Done = func(ctx context.Context, d *fedinvite.Delivery, inv *fedinvite.Invite, err error) {
		h.ran("done")
		h.mu.Lock()
		h.done = append(h.done, outcome{*d, inv, err})
		h.mu.Unlock()
		if inner.Done != nil {
			inner.Done(ctx, d, inv, err)
		}
	}
}

type keyFunc func(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error)

func (f keyFunc) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	return f(ctx, server, id, at)
}

func (h *host) traceKeys(keys fedinvite.KeySource) keyFunc {
	return func(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
		h.ran("key of " + string(server))
		return keys.VerifyKey(ctx, server, id, at)
	}
}

type tracedSigner struct {
	fedinvite.Signer
	h *host
}

func (s *tracedSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	s.h.ran("sign")
	s.h.mu.Lock()
	s.h.signed++
	s.h.mu.Unlock()
	return s.Signer.Sign(ctx, message)
}

// answer has the request served and returns what came back.
func answer(h http.Handler, req *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, req)
	return w
}

// A verdict is what a peer is told.
type verdict struct {
	Status int
	Code   fedinvite.Code
}

var (
	invalidParam = verdict{http.StatusBadRequest, fedinvite.CodeInvalidParam}
	badJSON      = verdict{http.StatusBadRequest, fedinvite.CodeBadJSON}
	notJSON      = verdict{http.StatusBadRequest, fedinvite.CodeNotJSON}
	missingParam = verdict{http.StatusBadRequest, fedinvite.CodeMissingParam}
	unauthorized = verdict{http.StatusUnauthorized, fedinvite.CodeUnauthorized}
	forbidden    = verdict{http.StatusForbidden, fedinvite.CodeForbidden}
	tooLarge     = verdict{http.StatusRequestEntityTooLarge, fedinvite.CodeTooLarge}
	notFound     = verdict{http.StatusNotFound, fedinvite.CodeUnrecognized}
	keysDown     = verdict{http.StatusServiceUnavailable, fedinvite.CodeUnknown}
	internal     = verdict{http.StatusInternalServerError, fedinvite.CodeUnknown}
)

// wantVerdict checks an error response and returns its body.
func wantVerdict(t testing.TB, w *httptest.ResponseRecorder, want verdict) object {
	t.Helper()
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q, want application/json", got)
	}
	body := decode(t, w.Body.Bytes())
	code, _ := body["errcode"].(string)
	if diff := cmp.Diff(want, verdict{w.Code, fedinvite.Code(code)}); diff != "" {
		t.Errorf("refusal (-want +got):\n%s%s", diff, w.Body)
	}
	if message, ok := body["error"].(string); !ok || message == "" {
		t.Errorf("no error text in %s", w.Body)
	}
	return body
}

// refuses sends the request and checks the refusal: that it is the wanted one,
// that nothing was signed, that nothing reached the Handler, and that Done heard
// of it once. It returns the body of the response and the error that Done got.
func (h *host) refuses(t testing.TB, req *http.Request, want verdict) (object, error) {
	t.Helper()
	body := wantVerdict(t, answer(h, req), want)
	if h.signed != 0 {
		t.Errorf("signed %d times, want never", h.signed)
	}
	if len(h.handled) != 0 {
		t.Errorf("the Handler got %d invites, want none", len(h.handled))
	}
	if len(h.done) != 1 || h.done[0].err == nil {
		t.Fatalf("Done got %v, want one error", h.done)
	}
	err := h.done[0].err
	if e := fedinvite.WireError(err); e.Code != want.Code || e.Status != want.Status {
		t.Errorf("Done got an error for %d %s, want that of the response: %v", e.Status, e.Code, err)
	}
	return body, err
}

// accepts sends the letter and checks that the reply is the event kept plus
// exactly our signature, which verifies; kept is l.event if nil. It returns the
// invite that the Handler got.
func (h *host) accepts(t testing.TB, l letter, kept json.RawMessage) *fedinvite.Invite {
	t.Helper()
	w := answer(h, l.request(t))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d, want 200: %s", w.Code, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q, want application/json", got)
	}
	if kept == nil {
		kept = l.event
	}
	reply := replyEvent(t, l.endpoint, w.Body.Bytes())
	h.checkSigned(t, reply, kept, l)
	if len(h.handled) != 1 || len(h.done) != 1 || h.signed != 1 {
		t.Fatalf("handled %d times, done %d times, signed %d times, want once each", len(h.handled), len(h.done), h.signed)
	}
	inv := h.handled[0]
	if h.done[0].err != nil || h.done[0].invite != inv {
		t.Errorf("Done got another invite or an error: %v", h.done[0].err)
	}
	if diff := cmp.Diff(string(reply), string(inv.Event.AppendJSON(nil))); diff != "" {
		t.Errorf("what is stored is not what is sent (-sent +stored):\n%s", diff)
	}
	type address struct {
		From, To fedinvite.ServerName
		Invitee  any
		V1       bool
	}
	want := address{l.from, l.to, decode(t, l.event)["state_key"], l.endpoint == "v1"}
	if diff := cmp.Diff(want, address{inv.Origin, inv.Destination, inv.Invitee, inv.V1}); diff != "" {
		t.Errorf("invite (-want +got):\n%s", diff)
	}
	return inv
}

// replyEvent takes the event out of the body of a reply.
func replyEvent(t testing.TB, endpoint string, body []byte) json.RawMessage {
	t.Helper()
	if endpoint == "v1" {
		var pair []json.RawMessage
		if err := json.Unmarshal(body, &pair); err != nil || len(pair) != 2 || string(pair[0]) != "200" {
			t.Fatalf("reply is not [200,{…}]: %s", body)
		}
		body = pair[1]
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(body, &members); err != nil || len(members) != 1 || members["event"] == nil {
		t.Fatalf("reply is not {\"event\":…}: %s", body)
	}
	return members["event"]
}

// checkSigned checks that reply is the event sent, without unsigned, and with a
// valid signature of the letter's addressee, and nothing else.
func (h *host) checkSigned(t testing.TB, reply, sent json.RawMessage, l letter) {
	t.Helper()
	want, got := decode(t, sent), decode(t, reply)
	delete(want, "unsigned")
	signatures, _ := got["signatures"].(object)
	ours, _ := signatures[string(l.to)].(object)
	if len(ours) != 1 || ours["ed25519:1"] == nil {
		t.Fatalf("signatures of %s: %v, want one by ed25519:1", l.to, ours)
	}
	drop("signatures", string(l.to))(got)
	drop("signatures", string(l.to))(want) // what a stranger wrote in our name
	// As text: cmp takes forever over deep nesting.
	if diff := cmp.Diff(string(encode(t, want)), string(encode(t, got))); diff != "" {
		t.Errorf("the reply is not the event plus our signature (-want +got):\n%s", diff)
	}
	e, err := fedinvite.ParseStored(reply, l.rules)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Verify(t.Context(), h.keys, l.to); err != nil {
		t.Errorf("our signature: %v", err)
	}
}
