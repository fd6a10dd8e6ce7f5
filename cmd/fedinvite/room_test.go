package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

func newTestSigner(t testing.TB, server fedinvite.ServerName) fedinvite.Signer {
	t.Helper()
	s, err := readSigner(server, writeFile(t, testKey))
	if err != nil {
		t.Fatal(err)
	}
	return s
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
			invite, err := r.invite(t.Context(), invitee)
			if err != nil {
				t.Fatal(err)
			}
			if err := fedinvite.CheckInvite(invite, "one.example:8448", "two.example"); err != nil {
				t.Error(err)
			}
			state, err := fedinvite.CheckRoomState(t.Context(), fedinvite.SelectRoomState(r.state, 0), invite, keys, fedinvite.StateStrict)
			if err != nil || len(state.Warnings) > 0 || len(state.Events) != 4 {
				t.Errorf("%d entries, warnings %v, %v", len(state.Events), state.Warnings, err)
			}
			checkChain(t, append(slices.Clone(r.state), invite), keys)
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
	want := []string{"m.room.create", "m.room.member", "m.room.power_levels", "m.room.join_rules"}
	if r.rules.RoomIDIsCreateEvent {
		want = want[1:]
		if create := r.state[0]; "!"+create.ID()[1:] != r.id || strings.Contains(r.id, ":") {
			t.Errorf("room ID %q, create event %q", r.id, create.ID())
		}
	}
	types := make(map[string]string)
	for _, e := range r.state {
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
	if err := json.Unmarshal(r.state[2].Content(), &content); err != nil {
		t.Fatal(err)
	}
	if _, listed := content.Users[r.creator]; listed == r.rules.Auth.PrivilegedCreators {
		t.Errorf("power levels %v", content.Users)
	}
}

func TestRoomWithoutName(t *testing.T) {
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRoom(t.Context(), rules, newTestSigner(t, "a.example"), "@a:a.example", "")
	if err != nil {
		t.Fatal(err)
	}
	if last := r.last()[0].Type(); len(r.state) != 4 || last != "m.room.join_rules" {
		t.Errorf("%d events, the last is %s", len(r.state), last)
	}
}
