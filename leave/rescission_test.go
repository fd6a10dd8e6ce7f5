package leave_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/leave"
)

// rescission returns alice's leave for bob after the invite.
func rescission(t testing.TB, invite *fedinvite.Event, edits ...func(*fedinvite.Draft)) *fedinvite.Event {
	t.Helper()
	rules := invite.Rules()
	d := declineDraft(rules)
	d.Sender, d.PrevEvents, d.Depth = alice, []fedinvite.EventRef{invite.Ref()}, 9
	d.AuthEvents = append(d.AuthEvents, invite.Ref())
	for _, edit := range edits {
		edit(&d)
	}
	_, server, err := fedinvite.ParseUserID(d.Sender)
	if err != nil {
		t.Fatal(err)
	}
	e, err := fedinvite.NewLeave(t.Context(), d, rules, invitetest.Signer(server))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Scenario 64: rescission by the inviter, with the invite in auth_events, is accepted.
func TestScenario64(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		invite := newInvite(t, rules)
		for name, e := range map[string]*fedinvite.Event{
			"the invite last":  rescission(t, invite),
			"the invite first": rescission(t, invite, func(d *fedinvite.Draft) { slices.Reverse(d.AuthEvents) }),
			"with a reason":    rescission(t, invite, func(d *fedinvite.Draft) { d.Content = []byte(`{"reason":"a mistake"}`) }),
			"redacted":         rescission(t, invite).Redacted(),
		} {
			if err := leave.CheckRescission(e, invite); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if err := leave.CheckRescission(e, invite.Redacted()); err != nil {
				t.Errorf("%s, invite redacted: %v", name, err)
			}
		}
		changed, err := fedinvite.ParseEvent(set(t, rescission(t, invite).AppendJSON(nil), "content.reason", `"not hers"`), rules)
		if err != nil {
			t.Fatal(err)
		}
		if changed.HashOK() {
			t.Error("the content hash does not cover the content")
		}
		if err := leave.CheckRescission(changed, invite); err != nil {
			t.Errorf("with another content, of which the redacted copy counts: %v", err)
		}
	})
}

// Scenario 65: the same by another admin, with the invite not in auth_events, or for
// another user, is ignored; and so is all that is less than that.
func TestScenario65(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		invite := newInvite(t, rules)
		again := newInvite(t, rules, func(d *fedinvite.Draft) { d.Depth++ })
		other := fedinvite.RoomV3
		if rules.Version == other {
			other = fedinvite.RoomV4
		}
		for _, c := range []struct {
			name string
			e    *fedinvite.Event
			want error
		}{
			{"by another admin", rescission(t, invite, func(d *fedinvite.Draft) { d.Sender = "@admin:a.example" }), fedinvite.ErrOrigin},
			{"by an admin on another server", rescission(t, invite, func(d *fedinvite.Draft) { d.Sender = "@a:c.example" }), fedinvite.ErrOrigin},
			{"the invite not in auth_events", rescission(t, invite, func(d *fedinvite.Draft) { d.AuthEvents = refs(rules, "a", 4) }), fedinvite.ErrMismatch},
			{"the invite in prev_events only", rescission(t, invite, func(d *fedinvite.Draft) { d.AuthEvents = nil }), fedinvite.ErrMismatch},
			{"of another invite of the same user", rescission(t, again), fedinvite.ErrMismatch},
			{"other user", rescission(t, invite, func(d *fedinvite.Draft) { d.Invitee = "@x:b.example" }), fedinvite.ErrMismatch},
			{"other room", rescission(t, invite, func(d *fedinvite.Draft) { d.RoomID = roomID(rules)[:len(roomID(rules))-1] + "x" }), fedinvite.ErrMismatch},
			{"a room of another version", rescission(t, newInvite(t, rulesOf(t, other))), fedinvite.ErrMismatch},
			{"by the invited user", rescission(t, invite, func(d *fedinvite.Draft) { d.Sender = bob }), fedinvite.ErrMismatch},
			{"the inviter leaves", rescission(t, invite, func(d *fedinvite.Draft) { d.Invitee = alice }), fedinvite.ErrMismatch},
			{"the invite itself", invite, fedinvite.ErrNotLeave},
			{"a ban", banned(t, invite), fedinvite.ErrNotLeave},
			{"nothing", nil, fedinvite.ErrNotLeave},
		} {
			t.Run(c.name, func(t *testing.T) {
				if err := leave.CheckRescission(c.e, invite); !errors.Is(err, c.want) {
					t.Errorf("error %v, want %v", err, c.want)
				}
			})
		}
		for name, invite := range map[string]*fedinvite.Event{"nothing": nil, "a leave": rescission(t, invite)} {
			if err := leave.CheckRescission(rescission(t, again), invite); !errors.Is(err, fedinvite.ErrNotInvite) {
				t.Errorf("%s for an invite: %v", name, err)
			}
		}
	})
}

// One event may have the same ID under the rules of several versions. Those of room
// versions 1 and 2 are the same: who was invited by the v1 endpoint takes every room for
// one of version 1, and may know better when the leave comes.
func TestRescissionOfAnotherVersion(t *testing.T) {
	tried := 0
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		invite := newInvite(t, rules)
		for _, v := range fedinvite.RoomVersions() {
			same, err := fedinvite.ParseEvent(invite.AppendJSON(nil), rulesOf(t, v))
			if v == rules.Version || err != nil || same.ID() != invite.ID() || same.RoomID() != invite.RoomID() {
				continue
			}
			tried++
			want := fedinvite.ErrMismatch
			if twins(v, rules.Version) {
				want = nil
			}
			if err := leave.CheckRescission(rescission(t, invite), same); !errors.Is(err, want) {
				t.Errorf("invite in room version %s: %v, want %v", v, err, want)
			}
		}
	})
	if tried == 0 {
		t.Error("no versions were compared")
	}
}

// banned returns alice's ban of bob after the invite.
func banned(t testing.TB, invite *fedinvite.Event) *fedinvite.Event {
	t.Helper()
	raw := rescission(t, invite).AppendJSON(nil)
	raw = set(t, set(t, set(t, raw, "hashes", ""), "signatures", ""), "content.membership", `"ban"`)
	raw, err := fedinvite.SignEventJSON(t.Context(), raw, invite.Rules(), invitetest.Signer(serverA))
	if err != nil {
		t.Fatal(err)
	}
	e, err := fedinvite.ParseEvent(raw, invite.Rules())
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A user who invited and is invited, which no room allows, takes nothing back by leaving.
func TestInviteOfOneself(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV11)
	invite := newInvite(t, rules, func(d *fedinvite.Draft) { d.Invitee = alice })
	e := rescission(t, invite, func(d *fedinvite.Draft) { d.Invitee = alice })
	if err := leave.CheckRescission(e, invite); !errors.Is(err, fedinvite.ErrMismatch) {
		t.Error(err)
	}
	nobody := withoutStateKey(t, rules)
	if err := leave.CheckRescission(rescission(t, nobody), nobody); !errors.Is(err, fedinvite.ErrMismatch) {
		t.Error(err)
	}
}
