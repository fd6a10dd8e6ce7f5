package leave_test

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/leave"
)

// signedLeave returns bob's leave, changed before it is signed by serverB.
func signedLeave(t testing.TB, rules fedinvite.Rules, path, raw string) *fedinvite.Event {
	t.Helper()
	event := set(t, newTemplate(t, rules).Event, "origin", "")
	if rules.EventIDs == fedinvite.EventIDServer {
		event = set(t, event, "event_id", `"$leave:b.example"`)
	}
	if path != "" {
		event = set(t, event, path, raw)
	}
	signed, err := fedinvite.SignEventJSON(t.Context(), event, rules, invitetest.Signer(serverB))
	if err != nil {
		t.Fatal(err)
	}
	e, err := fedinvite.ParseEvent(signed, rules)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Each case breaks one sentence of the list of PUT send_leave, but for its first, which
// is about signatures.
func TestCheck(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		for _, c := range []struct {
			sentence, path, raw string
			origin              fedinvite.ServerName
			want                error
		}{
			{"a valid leave", "", "", serverB, nil},
			{"The event type is not m.room.member", "type", `"m.room.name"`, serverB, fedinvite.ErrNotLeave},
			{"The membership field inside the event content is not leave: join", "content.membership", `"join"`, serverB, fedinvite.ErrNotLeave},
			{"The membership field inside the event content is not leave: absent", "content.membership", ``, serverB, fedinvite.ErrNotLeave},
			{"The membership field inside the event content is not leave: a number", "content.membership", `7`, serverB, fedinvite.ErrNotLeave},
			{"The event sender is not a user ID on the origin server", "", "", serverA, fedinvite.ErrOrigin},
			{"The event sender is not a user ID on the origin server: its port", "", "", serverB + ":8448", fedinvite.ErrOrigin},
			{"The event sender is not a user ID on the origin server: capitals", "", "", "B.example", fedinvite.ErrOrigin},
			{"The state_key is not equal to the sender: another user", "state_key", `"` + alice + `"`, serverB, fedinvite.ErrMismatch},
			{"The state_key is not equal to the sender: absent", "state_key", ``, serverB, fedinvite.ErrMismatch},
			{"The state_key is not equal to the sender: empty", "state_key", `""`, serverB, fedinvite.ErrMismatch},
		} {
			e := signedLeave(t, rules, c.path, c.raw)
			for what, e := range map[string]*fedinvite.Event{"": e, ", redacted": e.Redacted()} {
				if err := leave.Check(e, c.origin); !errors.Is(err, c.want) || c.want == nil && err != nil {
					t.Errorf("%s%s: %v, want %v", c.sentence, what, err, c.want)
				}
			}
		}
	})
	if err := leave.Check(nil, serverB); !errors.Is(err, fedinvite.ErrNotLeave) {
		t.Errorf("nil: %v", err)
	}
}

// What peers are told is the errcode that the endpoint asks for.
func TestCheckOnTheWire(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV11)
	for _, e := range []*fedinvite.Event{
		signedLeave(t, rules, "type", `"m.room.name"`), signedLeave(t, rules, "state_key", `""`), signedLeave(t, rules, "sender", `"@x:c.example"`),
	} {
		told := fedinvite.WireError(leave.Check(e, serverB))
		if body, _ := json.Marshal(told); told.Status != 400 || told.Code != fedinvite.CodeInvalidParam {
			t.Errorf("%d %s", told.Status, body)
		}
	}
}
