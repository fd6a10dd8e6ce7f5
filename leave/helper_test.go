package leave_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/leave"
	"github.com/tidwall/sjson"
)

// Alice, on serverA, invited bob, on serverB, to a room on serverA.
const (
	serverA fedinvite.ServerName = "a.example"
	serverB fedinvite.ServerName = "b.example"

	alice = "@a:a.example"
	bob   = "@b:b.example"
)

var eventTime = time.UnixMilli(1_700_000_000_000)

func rulesOf(t testing.TB, v fedinvite.RoomVersion) fedinvite.Rules {
	t.Helper()
	rules, err := v.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// eachVersion runs f for every room version.
func eachVersion(t *testing.T, f func(t *testing.T, rules fedinvite.Rules)) {
	t.Helper()
	for _, v := range fedinvite.RoomVersions() {
		t.Run("v"+string(v), func(t *testing.T) { f(t, rulesOf(t, v)) })
	}
}

func roomID(rules fedinvite.Rules) string {
	if rules.RoomIDIsCreateEvent {
		return "!" + strings.Repeat("r", 43)
	}
	return "!r:a.example"
}

// refs returns n references; name makes them differ from others.
func refs(rules fedinvite.Rules, name string, n int) []fedinvite.EventRef {
	all := make([]fedinvite.EventRef, n)
	for i := range all {
		all[i] = fedinvite.EventRef{ID: fmt.Sprintf("$%s%042d", name, i)}
		if rules.EventIDs == fedinvite.EventIDServer {
			all[i] = fedinvite.EventRef{ID: fmt.Sprintf("$%s%d:a.example", name, i), SHA256: []byte(fmt.Sprintf("%s%031d", name, i))}
		}
	}
	return all
}

// declineDraft is bob's leave as the resident server sees it.
func declineDraft(rules fedinvite.Rules) fedinvite.Draft {
	return fedinvite.Draft{
		RoomID: roomID(rules), Sender: bob, Invitee: bob,
		AuthEvents: refs(rules, "a", 3), PrevEvents: refs(rules, "p", 2), Depth: 8, Time: eventTime,
	}
}

func departure(rules fedinvite.Rules) leave.Departure {
	return leave.Departure{
		RoomID: roomID(rules), UserID: bob, Time: eventTime.Add(time.Second), Content: json.RawMessage(`{"reason":"no, thank you"}`),
	}
}

func newInvite(t testing.TB, rules fedinvite.Rules, edits ...func(*fedinvite.Draft)) *fedinvite.Event {
	t.Helper()
	d := declineDraft(rules)
	d.Sender = alice
	for _, edit := range edits {
		edit(&d)
	}
	e, err := fedinvite.NewInvite(t.Context(), d, rules, invitetest.Signer(serverA))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// newTemplate is the template of an honest resident server.
func newTemplate(t testing.TB, rules fedinvite.Rules) leave.Template {
	t.Helper()
	template, err := leave.NewTemplate(declineDraft(rules), serverA, rules)
	if err != nil {
		t.Fatal(err)
	}
	return template
}

// set sets the member at an sjson path to raw JSON; "" removes it.
func set(t testing.TB, text []byte, path, raw string) []byte {
	t.Helper()
	var err error
	if raw == "" {
		text, err = sjson.DeleteBytes(text, path)
	} else {
		text, err = sjson.SetRawBytes(text, path, []byte(raw))
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A countingSigner counts how often it was asked to sign.
type countingSigner struct {
	fedinvite.Signer
	asked int
}

func (s *countingSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	s.asked++
	return s.Signer.Sign(ctx, message)
}

func counting(t testing.TB, server fedinvite.ServerName) *countingSigner {
	t.Helper()
	return &countingSigner{Signer: invitetest.Signer(server)}
}

// A recordingSigner keeps what it signed.
type recordingSigner struct {
	fedinvite.Signer
	signed []string
}

func (s *recordingSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	s.signed = append(s.signed, string(message))
	return s.Signer.Sign(ctx, message)
}

// refused fails the test unless there is an error that wraps want, no event, and
// nothing reached the signer.
func refused(t testing.TB, e *fedinvite.Event, err, want error, s *countingSigner) {
	t.Helper()
	if e != nil || !errors.Is(err, want) {
		t.Errorf("got event %v, error %v; want %v", e, err, want)
	}
	if s.asked != 0 {
		t.Errorf("the signer was asked %d times", s.asked)
	}
}

// verified fails the test unless e is bob's leave, signed by his server and nobody else.
func verified(t testing.TB, e *fedinvite.Event, rules fedinvite.Rules) {
	t.Helper()
	keys := invitetest.Keys(serverB)
	if err := e.Verify(t.Context(), keys); err != nil || !e.HashOK() {
		t.Errorf("signatures: %v, hash %v", err, e.HashOK())
	}
	stateKey, _ := e.StateKey()
	got := []string{e.RoomID(), e.Type(), e.Membership(), e.Sender(), stateKey, fmt.Sprint(e.RequiredSigners())}
	want := []string{roomID(rules), "m.room.member", "leave", bob, bob, fmt.Sprint([]fedinvite.ServerName{serverB})}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("event (-want +got):\n%s", diff)
	}
	if err := leave.Check(e, serverB); err != nil {
		t.Error(err)
	}
}

func sameJSON(t testing.TB, what string, got, want []byte) {
	t.Helper()
	a, err := fedinvite.LegacyCanonicalJSON(got)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	b, err := fedinvite.LegacyCanonicalJSON(want)
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if diff := cmp.Diff(string(b), string(a)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}
