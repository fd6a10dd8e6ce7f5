package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

func newTestSigner(t testing.TB, server fedinvite.ServerName) fedinvite.Signer {
	t.Helper()
	id, key, err := fedinvite.ParseSigningKey(testKey)
	if err != nil {
		t.Fatal(err)
	}
	s, err := fedinvite.NewSigner(server, id, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newTestRules(t testing.TB, version fedinvite.RoomVersion) fedinvite.Rules {
	t.Helper()
	rules, err := version.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// newTestInvite makes an invite into the room, which stays as it is.
func newTestInvite(t testing.TB, r *room, sender, invitee string) *fedinvite.Event {
	t.Helper()
	return newTestMember(t, r, "invite", sender, invitee)
}

// newTestMember makes the next event of the room, signed by the sender's server.
func newTestMember(t testing.TB, r *room, membership, sender, target string) *fedinvite.Event {
	t.Helper()
	snapshot := r.snapshot()
	change := eventauth.Change{RoomID: r.id, Sender: sender, Target: target, Membership: membership}
	d := fedinvite.Draft{
		RoomID: r.id, Sender: sender, Invitee: target,
		PrevEvents: snapshot.Extremities, Depth: snapshot.Depth + 1, Time: time.UnixMilli(1e12),
	}
	for _, e := range eventauth.SelectAuthEvents(change, r.rules, snapshot.State) {
		d.AuthEvents = append(d.AuthEvents, e.Ref())
	}
	_, server, err := fedinvite.ParseUserID(sender)
	if err != nil {
		t.Fatal(err)
	}
	create := fedinvite.NewInvite
	if membership == "leave" {
		create = fedinvite.NewLeave
	}
	e, err := create(t.Context(), d, r.rules, newTestSigner(t, server))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// A new room and an invite into it pass every check of the format, are signed, and
// refer to each other as their room version has it.
func TestRoom(t *testing.T) {
	signer := newTestSigner(t, "one.example:8448")
	keys := make(fedinvite.KeyMap)
	keys.Add(signer)
	const creator, invitee = "@a:one.example:8448", "@b:two.example"
	for _, version := range fedinvite.RoomVersions() {
		t.Run("v"+string(version), func(t *testing.T) {
			rules, err := version.Rules()
			if err != nil {
				t.Fatal(err)
			}
			r, err := newRoom(t.Context(), rules, signer, creator, "Name")
			if err != nil {
				t.Fatal(err)
			}
			invite := newTestInvite(t, r, creator, invitee)
			if err := fedinvite.CheckInvite(invite, "one.example:8448", "two.example"); err != nil {
				t.Error(err)
			}
			state, err := fedinvite.CheckRoomState(t.Context(), fedinvite.SelectRoomState(r.state(), 0), invite, keys, fedinvite.StateStrict)
			if err != nil || len(state.Warnings) > 0 || len(state.Events) != 4 {
				t.Errorf("%d entries, warnings %v, %v", len(state.Events), state.Warnings, err)
			}
			checkChain(t, append(slices.Clone(r.events), invite), keys)
			checkAuth(t, r, invite)
		})
	}
}

// checkChain checks that each event follows the one before.
func checkChain(t *testing.T, chain []*fedinvite.Event, keys fedinvite.KeySource) {
	t.Helper()
	var prev []string
	for i, e := range chain {
		if err := e.Verify(t.Context(), keys); err != nil || !e.HashOK() {
			t.Errorf("%s: %v, content hash right: %v", e.Type(), err, e.HashOK())
		}
		if e.Depth() != int64(i)+1 || !slices.Equal(e.PrevEventIDs(), prev) || e.RoomID() != chain[0].RoomID() {
			t.Errorf("%s: depth %d, prev_events %q, room %q", e.Type(), e.Depth(), e.PrevEventIDs(), e.RoomID())
		}
		prev = []string{e.ID()}
	}
}

func checkAuth(t *testing.T, r *room, invite *fedinvite.Event) {
	t.Helper()
	want := []string{"m.room.create", "m.room.power_levels", "m.room.join_rules", "m.room.member"}
	if r.rules.RoomIDIsCreateEvent {
		want = want[1:]
		if create := r.events[0]; "!"+create.ID()[1:] != r.id || strings.Contains(r.id, ":") {
			t.Errorf("room ID %q, create event %q", r.id, create.ID())
		}
	}
	types := make(map[string]string)
	for _, e := range r.events {
		types[e.ID()] = e.Type()
	}
	var got []string
	for _, id := range invite.AuthEventIDs() {
		got = append(got, types[id])
	}
	diff(t, want, got)
	var content struct {
		Users map[string]int `json:"users"`
	}
	if err := json.Unmarshal(r.events[2].Content(), &content); err != nil {
		t.Fatal(err)
	}
	if _, listed := content.Users[r.events[0].Sender()]; listed == r.rules.Auth.PrivilegedCreators {
		t.Errorf("power levels %v", content.Users)
	}
}

func TestRoomWithoutName(t *testing.T) {
	r, err := newRoom(t.Context(), newTestRules(t, "11"), newTestSigner(t, "a.example"), "@a:a.example", "")
	if err != nil {
		t.Fatal(err)
	}
	if last := r.extremities()[0].Type(); len(r.events) != 4 || last != "m.room.join_rules" {
		t.Errorf("%d events, the last is %s", len(r.events), last)
	}
}

// Two leaves that follow on the same invite are both ends of the room, the latest first.
func TestSnapshot(t *testing.T) {
	r, err := newRoom(t.Context(), newTestRules(t, "1"), newTestSigner(t, "a.example"), "@a:a.example", "")
	if err != nil {
		t.Fatal(err)
	}
	r = r.with(newTestInvite(t, r, "@a:a.example", "@b:b.example"))
	declined := newTestMember(t, r, "leave", "@b:b.example", "@b:b.example")
	takenBack := newTestMember(t, r, "leave", "@a:a.example", "@b:b.example")
	r = r.with(declined).with(takenBack)
	s := r.snapshot()
	diff(t, []fedinvite.EventRef{takenBack.Ref(), declined.Ref()}, s.Extremities)
	if s.Version != "1" || s.Depth != 6 || !s.Joined("a.example") || s.Joined("b.example") {
		t.Errorf("version %s, depth %d", s.Version, s.Depth)
	}
	if e := s.State.Get("m.room.member", "@b:b.example"); len(s.State) != 5 || e != takenBack {
		t.Errorf("%d entries of state", len(s.State))
	}
}

// In room versions 1–2 events can refer to themselves and to each other. A room has an
// end all the same, and goes on from there.
func TestSnapshotOfEventsThatReferToThemselves(t *testing.T) {
	const bob = "@b:b.example"
	r := newTestRoom(t, "1")
	r = r.with(newTestInvite(t, r, "@a:a.example", bob))
	leave := func(id string, after ...string) *fedinvite.Event {
		d := fedinvite.Draft{RoomID: r.id, Sender: bob, Invitee: bob, EventID: id, Depth: 9, Time: time.UnixMilli(1)}
		for _, id := range after {
			d.PrevEvents = append(d.PrevEvents, fedinvite.EventRef{ID: id, SHA256: make([]byte, 32)})
		}
		e, err := fedinvite.NewLeave(t.Context(), d, r.rules, newTestSigner(t, "b.example"))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	invite := r.events[len(r.events)-1].ID()
	for _, leaves := range [][]*fedinvite.Event{
		{leave("$x:b.example", "$x:b.example", invite)},
		{leave("$x:b.example", "$y:b.example", invite), leave("$y:b.example", "$x:b.example")},
	} {
		now := *r
		for _, e := range leaves {
			now = *now.with(e)
		}
		last := leaves[len(leaves)-1]
		diff(t, []fedinvite.EventRef{last.Ref()}, now.snapshot().Extremities)
		again := newTestInvite(t, &now, "@a:a.example", bob)
		diff(t, []string{last.ID()}, again.PrevEventIDs())
	}
}
