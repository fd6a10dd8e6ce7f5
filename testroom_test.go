package fedinvite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
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

func eventClock() time.Time { return eventTime }

// Short names for the tables.
type (
	object = invitetest.Object
	edit   = invitetest.Edit
	letter = invitetest.Request
)

var (
	set    = invitetest.Set
	drop   = invitetest.Drop
	change = invitetest.Change
	encode = invitetest.Encode
	decode = invitetest.Decode
)

// A testRoom is a room of alice's. Its invites are for bob.
type testRoom struct{ *invitetest.Room }

func newRoom(v fedinvite.RoomVersion) testRoom {
	return testRoom{invitetest.RoomConfig{Version: v, Creator: alice, Seed: "r", Now: eventClock}.New()}
}

func (r testRoom) create() json.RawMessage { return r.Get("m.room.create", "").AppendJSON(nil) }

func (r testRoom) signedInvite(edits ...edit) json.RawMessage {
	return r.Sign(r.InviteDraft(bob, edits...))
}

func (r testRoom) sendInvite(edits ...edit) letter {
	return r.Request(r.signedInvite(edits...), serverB)
}

// refs returns n references to events that nobody asks for.
func (r testRoom) refs(n int) []any {
	all := []any{}
	for i := range n {
		if r.Rules().EventIDs == fedinvite.EventIDServer {
			all = append(all, []any{fmt.Sprintf("$%d:a.example", i), object{"sha256": strings.Repeat("A", 43)}})
		} else {
			all = append(all, fmt.Sprintf("$%043d", i))
		}
	}
	return all
}

// deliveryOf returns the letter for [fedinvite.Receiver.Receive].
func deliveryOf(t testing.TB, l letter) fedinvite.Delivery {
	t.Helper()
	d, err := l.Delivery()
	if err != nil {
		t.Fatal(err)
	}
	return d
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
	h := &host{keys: invitetest.Keys(serverA, serverB, serverB2, serverC)}
	c := fedinvite.Config{
		Signer:  keyring.Signers(invitetest.Signer(serverB), invitetest.Signer(serverB2)).Signer,
		Keys:    h.keys,
		Handler: fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
	}
	for _, e := range edits {
		e(&c)
	}
	if c.Credentials == nil {
		c.Credentials = xmatrix.Verifier{Keys: keyFunc(h.traceKeys(c.Keys)), Now: eventClock}.Credentials
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
	body := decode(w.Body.Bytes())
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

// accepts sends the letter and checks that the reply is the event kept, that of the
// letter if nil, plus exactly our signature, which verifies. It returns the invite that
// the Handler got.
func (h *host) accepts(t testing.TB, l letter, kept json.RawMessage) *fedinvite.Invite {
	t.Helper()
	w := answer(h, l.Inbound(t.Context()))
	if w.Code != http.StatusOK {
		t.Fatalf("status %d, want 200: %s", w.Code, w.Body)
	}
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q, want application/json", got)
	}
	reply := replyEvent(t, l, w.Body.Bytes())
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
	sent, _ := carried(t, l)
	want := address{l.From.ServerName(), l.To, decode(sent)["state_key"], l.V1}
	if diff := cmp.Diff(want, address{inv.Origin, inv.Destination, inv.Invitee, inv.V1}); diff != "" {
		t.Errorf("invite (-want +got):\n%s", diff)
	}
	return inv
}

// replyEvent takes the event out of the body of the reply to a letter.
func replyEvent(t testing.TB, l letter, body []byte) json.RawMessage {
	t.Helper()
	if l.V1 {
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

// carried returns the event in a letter, and the rules of its room version, as one reads
// them without the package.
func carried(t testing.TB, l letter) (json.RawMessage, fedinvite.Rules) {
	t.Helper()
	if l.V1 {
		return l.Body, rulesOf(t, fedinvite.RoomV1)
	}
	var body map[string]json.RawMessage
	var version fedinvite.RoomVersion
	if err := errors.Join(json.Unmarshal(l.Body, &body), json.Unmarshal(body["room_version"], &version)); err != nil {
		t.Fatal(err)
	}
	return body["event"], rulesOf(t, version)
}

// checkSigned checks that reply is the event sent, that of the letter if nil, without
// unsigned, and with a valid signature of the letter's addressee, and nothing else.
func (h *host) checkSigned(t testing.TB, reply, sent json.RawMessage, l letter) {
	t.Helper()
	event, rules := carried(t, l)
	if sent == nil {
		sent = event
	}
	want, got := decode(sent), decode(reply)
	delete(want, "unsigned")
	signatures, _ := got["signatures"].(object)
	ours, _ := signatures[string(l.To)].(object)
	if len(ours) != 1 || ours["ed25519:1"] == nil {
		t.Fatalf("signatures of %s: %v, want one by ed25519:1", l.To, ours)
	}
	drop("signatures", string(l.To))(got)
	drop("signatures", string(l.To))(want) // what a stranger wrote in our name
	// As text: cmp takes forever over deep nesting.
	if diff := cmp.Diff(string(encode(want)), string(encode(got))); diff != "" {
		t.Errorf("the reply is not the event plus our signature (-want +got):\n%s", diff)
	}
	e, err := fedinvite.ParseStored(reply, rules)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Verify(t.Context(), h.keys, l.To); err != nil {
		t.Errorf("our signature: %v", err)
	}
}
