package main

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// Whoever knows a room ID, and the create event, can send an invite that names the room. It
// stands in the way neither of the real one nor of what ends that.
func TestAnInviteFromAnotherServerKeepsNoneOut(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	ours, theirs := kept(t), kept(t)
	one, two, third := st.serve(t, ours...), st.serve(t, theirs...), st.serve(t)
	bob := two.user("bob")
	for _, version := range []fedinvite.RoomVersion{"11", "12"} {
		t.Run("v"+string(version), func(t *testing.T) {
			alice := newHostess(t, one, ours[1], version)
			fake := squat(t, third, alice.room, bob)
			accepted(t, two, fake)
			genuine := alice.invite(t, bob)
			accepted(t, two, genuine)
			holdsAll(t, theirs[1], fake, genuine)

			// The squatter's next one replaces its own alone.
			newerFake := squat(t, third, alice.room, bob)
			accepted(t, two, newerFake)
			holdsAll(t, theirs[1], newerFake, genuine)

			// Each takes back its own.
			diff(t, ended(eventTakenBack, unsquat(t, third, two, newerFake)), two.next(t))
			holdsAll(t, theirs[1], genuine)
			newerFake = squat(t, third, alice.room, bob)
			accepted(t, two, newerFake)
			leave := one.rescind(t, ours[1], genuine).event(t, version)
			diff(t, ended(eventTakenBack, leave), two.next(t))
			holdsAll(t, theirs[1], newerFake)
		})
	}
}

// The older one may have been taken back without our hearing of it.
func TestANewerInviteOfTheSameServerReplacesTheOlder(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	ours, theirs := kept(t), kept(t)
	one, two := st.serve(t, ours...), st.serve(t, theirs...)
	for _, version := range []fedinvite.RoomVersion{"11", "12"} {
		t.Run("v"+string(version), func(t *testing.T) {
			alice := newHostess(t, one, ours[1], version)
			for range 2 {
				invite := alice.invite(t, two.user("bob"))
				accepted(t, two, invite)
				holdsAll(t, theirs[1], invite)
			}
			invite := alice.invite(t, two.user("bob"))
			accepted(t, two, invite)
			leave := one.rescind(t, ours[1], invite).event(t, version)
			diff(t, ended(eventTakenBack, leave), two.next(t))
			if holds(t, theirs[1], invite) {
				t.Error("still held")
			}
		})
	}
}

// Whoever declines leaves the room, whichever of the invites was the real one.
func TestDeclineTheInvitesOfAllServers(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	ours, theirs := kept(t), kept(t)
	one, two, third := st.serve(t, ours...), st.serve(t, theirs...), st.serve(t)
	alice := newHostess(t, one, ours[1], "12")
	squatted := squat(t, third, alice.room, two.user("bob"))
	invite := alice.invite(t, two.user("bob"))
	r := two.decline(t, theirs[1], invite)
	if r.status != statusOK || strings.Count(r.out, "\n") != 2 || strings.Count(r.err, "\n") != 2 ||
		!strings.Contains(r.err, one.name+" took the leave\n") || !strings.Contains(r.err, "counts here only") {
		t.Errorf("%+v", r)
	}
	if got := member(t, ours[1], alice.room.id, two.user("bob")).Membership(); got != "leave" {
		t.Errorf("the room shows %s", got)
	}
	if holds(t, theirs[1], invite) || holds(t, theirs[1], squatted) {
		t.Error("still held")
	}
}

// A hostess invites to one room, again and again.
type hostess struct {
	disk    *disk
	room    *room
	inviter *fedclient.Inviter
	sender  string
}

func newHostess(t testing.TB, s *server, dir string, version fedinvite.RoomVersion) *hostess {
	t.Helper()
	o, h := s.outbound(t), &hostess{sender: s.user("alice")}
	var err error
	if h.room, err = newRoom(t.Context(), newTestRules(t, version), o.signer, h.sender, ""); err != nil {
		t.Fatal(err)
	}
	if h.disk, err = openDisk(dir); err != nil {
		t.Fatal(err)
	}
	if err := h.disk.found(h.room); err != nil {
		t.Fatal(err)
	}
	if h.inviter, err = o.inviter(h.disk, nil); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *hostess) invite(t testing.TB, invitee string) *fedinvite.Event {
	t.Helper()
	invited, err := h.inviter.Invite(t.Context(), fedclient.Invitation{RoomID: h.room.id, Sender: h.sender, Invitee: invitee})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.disk.add(invited.Event); err != nil {
		t.Fatal(err)
	}
	return invited.Event
}

// squat sends an invite into a room of which the server knows the beginning only.
func squat(t testing.TB, s *server, r *room, invitee string) *fedinvite.Event {
	t.Helper()
	o := s.outbound(t)
	d := fedinvite.Draft{RoomID: r.id, Sender: s.user("mallory"), Invitee: invitee, Depth: 1, Time: time.Now()}
	e, err := fedinvite.NewInvite(t.Context(), d, r.rules, o.signer)
	if err != nil {
		t.Fatal(err)
	}
	reply, err := o.client.SendInvite(t.Context(), fedclient.InviteRequest{
		Event: e, RoomState: fedinvite.SelectRoomState(r.state(), 0), Signer: o.signer, Keys: o.keys,
	})
	if err != nil {
		t.Fatal(err)
	}
	return reply.Event
}

// unsquat takes such an invite back.
func unsquat(t testing.TB, s, from *server, invite *fedinvite.Event) *fedinvite.Event {
	t.Helper()
	o := s.outbound(t)
	d := fedinvite.Draft{
		RoomID: invite.RoomID(), Sender: invite.Sender(), Invitee: invitee(invite),
		AuthEvents: []fedinvite.EventRef{invite.Ref()}, Depth: 2, Time: time.Now(),
	}
	e, err := fedinvite.NewLeave(t.Context(), d, invite.Rules(), o.signer)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.send(t.Context(), e, fedinvite.ServerName(from.name)); err != nil {
		t.Fatal(err)
	}
	return e
}

// accepted reads the line about an invite that was accepted.
func accepted(t testing.TB, s *server, invite *fedinvite.Event) {
	t.Helper()
	if line := s.next(t); line.Event != eventInvited || line.EventID != invite.ID() {
		t.Errorf("%+v", line)
	}
}

// holdsAll makes sure that a store holds these invites to their room, and no others.
func holdsAll(t testing.TB, dir string, invites ...*fedinvite.Event) {
	t.Helper()
	held, err := newDisk(dir).held(invites[0].RoomID(), invitee(invites[0]))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, ids(invites), ids(held))
}

// ids returns the IDs of events, sorted.
func ids(events []*fedinvite.Event) (all []string) {
	for _, e := range events {
		all = append(all, e.ID())
	}
	slices.Sort(all)
	return all
}
