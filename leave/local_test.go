package leave_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/testkey"
	"github.com/seed-0a46cb1a/fedinvite/leave"
	"github.com/tidwall/gjson"
)

func TestLocal(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		invite := newInvite(t, rules)
		e, err := leave.Local(t.Context(), invite, departure(rules), testkey.Signer(t, serverB, "ed25519:1"))
		if err != nil {
			t.Fatal(err)
		}
		verified(t, e, rules)
		if diff := cmp.Diff([]string{invite.ID()}, e.PrevEventIDs()); diff != "" {
			t.Errorf("prev_events (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(append(invite.AuthEventIDs(), invite.ID()), e.AuthEventIDs()); diff != "" {
			t.Errorf("auth_events (-want +got):\n%s", diff)
		}
		if e.Depth() != invite.Depth()+1 || !e.OriginServerTS().Equal(departure(rules).Time) {
			t.Errorf("depth %d, time %v", e.Depth(), e.OriginServerTS())
		}
		sameJSON(t, "content", e.Content(), []byte(`{"membership":"leave","reason":"no, thank you"}`))

		// The same as the leave made from the invite's references.
		want, err := fedinvite.NewLeave(t.Context(), fedinvite.Draft{
			RoomID: roomID(rules), Sender: bob, Invitee: bob, AuthEvents: append(refs(rules, "a", 3), invite.Ref()),
			PrevEvents: []fedinvite.EventRef{invite.Ref()}, Depth: 9, Time: departure(rules).Time, Content: departure(rules).Content,
		}, rules, testkey.Signer(t, serverB, "ed25519:1"))
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, "event", e.AppendJSON(nil), want.AppendJSON(nil))
	})
}

func TestLocalAtTheLimits(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		invite := newInvite(t, rules, func(d *fedinvite.Draft) {
			d.AuthEvents, d.Depth = refs(rules, "a", 10), rules.MaxDepth
		})
		e, err := leave.Local(t.Context(), invite, departure(rules), testkey.Signer(t, serverB, "ed25519:1"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(append(invite.AuthEventIDs()[:9], invite.ID()), e.AuthEventIDs()); diff != "" {
			t.Errorf("auth_events (-want +got):\n%s", diff)
		}
		if e.Depth() != rules.MaxDepth {
			t.Errorf("depth %d, want %d", e.Depth(), rules.MaxDepth)
		}
	})
}

// In room versions 1 and 2 the references of the invite stay as they are.
func TestLocalKeepsReferences(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV1)
	raw := set(t, newInvite(t, rules).AppendJSON(nil), "auth_events", `[["$x:a.example",{}],["$y:a.example",{"sha256":"x"}]]`)
	raw = set(t, set(t, raw, "hashes", ""), "signatures", "")
	raw, err := fedinvite.SignEventJSON(t.Context(), raw, rules, testkey.Signer(t, serverA, "ed25519:1"))
	if err != nil {
		t.Fatal(err)
	}
	invite, err := fedinvite.ParseEvent(raw, rules)
	if err != nil {
		t.Fatal(err)
	}
	e, err := leave.Local(t.Context(), invite, departure(rules), testkey.Signer(t, serverB, "ed25519:1"))
	if err != nil {
		t.Fatal(err)
	}
	if got := gjson.GetBytes(e.AppendJSON(nil), "auth_events.0").Raw; got != `["$x:a.example",{}]` {
		t.Errorf("first of auth_events: %s", got)
	}
	if got := gjson.GetBytes(e.AppendJSON(nil), "auth_events.1").Raw; got != `["$y:a.example",{"sha256":"x"}]` {
		t.Errorf("second of auth_events: %s", got)
	}
}

func TestLocalErrors(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		invite := newInvite(t, rules)
		for _, c := range []struct {
			name   string
			invite *fedinvite.Event
			edit   func(*leave.Departure)
			server fedinvite.ServerName
			want   error
		}{
			{"no invite", nil, func(*leave.Departure) {}, serverB, fedinvite.ErrNotInvite},
			{"a leave", signedLeave(t, rules, "", ""), func(*leave.Departure) {}, serverB, fedinvite.ErrNotInvite},
			{"another user", invite, func(d *leave.Departure) { d.UserID = "@x:b.example" }, serverB, fedinvite.ErrMismatch},
			{"the inviter", invite, func(d *leave.Departure) { d.UserID = alice }, serverA, fedinvite.ErrMismatch},
			{"another room", invite, func(d *leave.Departure) { d.RoomID = "!x:a.example" }, serverB, fedinvite.ErrMismatch},
			{"the inviter's server", invite, func(*leave.Departure) {}, serverA, fedinvite.ErrSignature},
			{"no time", invite, func(d *leave.Departure) { d.Time = d.Time.AddDate(-1000, 0, 0) }, serverB, fedinvite.ErrBadJSON},
			{"content a list", invite, func(d *leave.Departure) { d.Content = []byte(`[]`) }, serverB, fedinvite.ErrBadJSON},
		} {
			t.Run(c.name, func(t *testing.T) {
				d, s := departure(rules), counting(t, c.server)
				c.edit(&d)
				e, err := leave.Local(t.Context(), c.invite, d, s)
				refused(t, e, err, c.want, s)
			})
		}
		if e, err := leave.Local(t.Context(), invite, departure(rules), nil); e != nil || err == nil {
			t.Errorf("no signer: %v, %v", e, err)
		}
	})
}

// An invite for which there is no user to leave.
func TestLocalWithoutStateKey(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV11)
	d, s := departure(rules), counting(t, serverB)
	d.UserID = ""
	e, err := leave.Local(t.Context(), withoutStateKey(t, rules), d, s)
	if !errors.Is(err, fedinvite.ErrMismatch) {
		t.Error(err)
	}
	refused(t, e, err, fedinvite.ErrMismatch, s)
}

// withoutStateKey returns alice's invite for nobody.
func withoutStateKey(t testing.TB, rules fedinvite.Rules) *fedinvite.Event {
	t.Helper()
	raw := newInvite(t, rules).AppendJSON(nil)
	for _, path := range []string{"state_key", "hashes", "signatures"} {
		raw = set(t, raw, path, "")
	}
	raw, err := fedinvite.SignEventJSON(t.Context(), raw, rules, testkey.Signer(t, serverA, "ed25519:1"))
	if err != nil {
		t.Fatal(err)
	}
	e, err := fedinvite.ParseEvent(raw, rules)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
