package fedclient_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// made has the stage note what it is told to be made.
func (s *stage) made(answer func() error) *[]*fedinvite.Event {
	var all []*fedinvite.Event
	s.config.Made = func(_ context.Context, e *fedinvite.Event) error {
		s.note("made")
		all = append(all, e)
		return answer()
	}
	return &all
}

func agree() error { return nil }

func TestMadeIsToldBetweenPolicyServerAndInvitedServer(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	s.usePolicyServer("ps.ex", s.signs("ps.ex"))
	made := s.made(agree)
	invited, err := s.invite(bob)
	if err != nil {
		t.Fatal(err)
	}
	if len(*made) != 1 || (*made)[0].ID() != invited.Event.ID() {
		t.Fatalf("told of %d events", len(*made))
	}
	at := slices.Index(s.record, "made")
	if s.record[at-1] != "POST ps.ex/_matrix/policy/v1/sign" {
		t.Errorf("before: %q", s.record[:at])
	}
	if s.did("PUT b.ex") != 1 || slices.ContainsFunc(s.record[:at], func(r string) bool { return len(r) > 8 && r[:8] == "PUT b.ex" }) {
		t.Errorf("record: %q", s.record)
	}
}

func TestMadeIsNotToldOfLocalInvitesAndLeaves(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	made := s.made(agree)
	if _, err := s.invite("@b:a.ex"); err != nil {
		t.Fatal(err)
	}
	s.set("m.room.member", bob, `{"membership":"invite"}`)
	if _, err := s.inviter().TakeBack(t.Context(), s.invitation(bob)); err != nil {
		t.Fatal(err)
	}
	if len(*made) != 0 {
		t.Errorf("told of %d events", len(*made))
	}
}

func TestMadeEndsTheInvite(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	full := errors.New("disk full")
	s.made(func() error { return full })
	_, err := s.invite(bob)
	var failed *fedclient.InviteError
	if !errors.As(err, &failed) || !errors.Is(err, full) || failed.MaybeSeen || failed.Event == nil {
		t.Fatalf("error %#v", err)
	}
	if s.did("PUT b.ex") != 0 {
		t.Error("the invite was sent")
	}
	if told := fedclient.ClientError(err); told.Status != 500 {
		t.Errorf("the client is told %v", told)
	}

	s = newStage(t, fedinvite.RoomV11)
	ctx, cancel := context.WithCancel(t.Context())
	s.made(func() error { cancel(); return nil })
	if _, err = s.inviter().Invite(ctx, s.invitation(bob)); !errors.Is(err, context.Canceled) || s.did("PUT b.ex") != 0 {
		t.Errorf("error %v, record %q", err, s.record)
	}
}

func TestCheckedIsWhatANewEventNeeds(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		s := newStage(t, version)
		s.snapshot.State = append(s.snapshot.State, nil)
		s.snapshot.Extremities = s.extremities(30)
		want := []eventauth.StateKey{{Type: "m.room.create"}, {Type: "m.room.name"}, {Type: "m.room.none"}}
		got, err := s.snapshot.Checked(s.roomID, want, s.rules)
		if err != nil {
			t.Fatal(version, err)
		}
		if len(got.State) != 2 || got.State.Get("m.room.create", "") == nil || got.State.Get("m.room.name", "") == nil {
			t.Errorf("%s: state %v", version, got.State)
		}
		if len(got.Extremities) != 20 || got.Extremities[0].ID != s.snapshot.Extremities[0].ID || got.Depth != 17 || got.Version != version {
			t.Errorf("%s: %d extremities, depth %d", version, len(got.Extremities), got.Depth)
		}
		s.snapshot.Depth = s.rules.MaxDepth
		if got, err = s.snapshot.Checked(s.roomID, want, s.rules); err != nil || got.Depth != s.rules.MaxDepth-1 {
			t.Errorf("%s: %v, depth is not capped", version, err)
		}
		if got, err = s.snapshot.Checked(s.roomID, want[1:], s.rules); got != nil || !errors.Is(err, fedclient.ErrSnapshot) {
			t.Errorf("%s: without a create event: %v", version, err)
		}
	}
}

// What a state event's content hash does not cover is not taken from it.
func TestCheckedRedactsWhatIsNotHashed(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	name := s.snapshot.State.Get("m.room.name", "")
	forged := strings.Replace(string(name.AppendJSON(nil)), `"name":"n"`, `"name":"forged"`, 1)
	e, err := fedinvite.ParseStored([]byte(forged), s.rules)
	if err != nil || e.ID() != name.ID() || e.HashOK() {
		t.Fatal(err, e.ID())
	}
	s.snapshot.State[slices.Index(s.snapshot.State, name)] = e
	invited, err := s.invite(bob)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range invited.RoomState {
		if strings.Contains(string(entry), "forged") {
			t.Errorf("sent %s", entry)
		}
	}
}
