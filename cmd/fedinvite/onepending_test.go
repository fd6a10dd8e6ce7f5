package main

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// Another server that invites the same user to the same room does not get in the way of
// the invite that is there, nor of what ends it.
func TestInviteIsNotDisplaced(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	ours, theirs := kept(t), kept(t)
	one, two, third := st.serve(t, ours...), st.serve(t, theirs...), st.serve(t)
	bob := two.user("bob")
	invite := one.inviteStored(t, ours[1], "11", bob).event(t, "11")
	if line := two.next(t); line.EventID != invite.ID() {
		t.Errorf("%+v", line)
	}
	room, err := newDisk(ours[1]).room(invite.RoomID())
	if err != nil {
		t.Fatal(err)
	}
	send := func(o *outbound, e *fedinvite.Event) error {
		_, err := o.client.SendInvite(t.Context(), fedclient.InviteRequest{
			Event: e, RoomState: fedinvite.SelectRoomState(room.state(), 0), Signer: o.signer, Keys: o.keys,
		})
		return err
	}

	o := third.outbound(t)
	draft := fedinvite.Draft{RoomID: room.id, Sender: third.user("mallory"), Invitee: bob, Depth: 1, Time: time.Now()}
	other, err := fedinvite.NewInvite(t.Context(), draft, room.rules, o.signer)
	if err != nil {
		t.Fatal(err)
	}
	told, ok := errors.AsType[*fedclient.RemoteError](send(o, other))
	if !ok || told.Code != fedinvite.CodeForbidden {
		t.Errorf("another invite: %v", told)
	}
	// It is the policy that refuses, before anything is signed.
	if line := two.next(t); line.Event != eventRefused || line.EventID != other.ID() || !strings.Contains(line.Reason, "OnePending") {
		t.Errorf("%+v", line)
	}
	if err := send(one.outbound(t), invite); err != nil {
		t.Errorf("the same invite again: %v", err)
	}
	if line := two.next(t); line.Event != eventInvited || line.EventID != invite.ID() {
		t.Errorf("%+v", line)
	}
	leave := one.rescind(t, ours[1], invite).event(t, "11")
	diff(t, ended(eventTakenBack, leave), two.next(t))
	if holds(t, theirs[1], invite) {
		t.Error("still held")
	}
}
