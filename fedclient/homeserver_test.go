package fedclient_test

import (
	"errors"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

func TestOneServerInvitesAUserOfAnother(t *testing.T) {
	n := invitetest.NewNetwork(t)
	a, b := n.NewServer(t, ""), n.NewServer(t, "")
	alice, bob := "@a:"+string(a.Name()), "@b:"+string(b.Name())
	for _, version := range fedinvite.RoomVersions() {
		t.Run(string(version), func(t *testing.T) {
			room := a.NewRoom(version, alice)
			event := room.Invite(bob)
			reply, err := a.Client().SendInvite(t.Context(), fedclient.InviteRequest{
				Event: event, RoomState: room.RoomState(), Signer: a.Signer(), Keys: a.Keys(),
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := reply.Event.Verify(t.Context(), a.Keys(), b.Name()); err != nil {
				t.Error(err)
			}
			got, err := b.AwaitInvite(t.Context(), bob)
			if err != nil || got.Event.ID() != event.ID() || len(got.RoomState.Events) != len(room.RoomState()) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
	for _, s := range []*invitetest.Server{a, b} {
		if n := len(s.KeyRequests()); n != 1 {
			t.Errorf("the keys of %s were fetched %d times", s.Name(), n)
		}
	}
}

func TestAForgedOriginIsRefused(t *testing.T) {
	n := invitetest.NewNetwork(t)
	a, b := n.NewServer(t, ""), n.NewServer(t, "")
	forger, err := fedinvite.NewSigner(a.Name(), invitetest.DefaultKey, newKey(t, "evil"))
	if err != nil {
		t.Fatal(err)
	}
	room := a.NewRoom(fedinvite.RoomV11, "@a:"+string(a.Name()))
	event := room.Parse(room.Sign(room.InviteDraft("@b:"+string(b.Name())), forger))
	_, err = a.Client().SendInvite(t.Context(), fedclient.InviteRequest{Event: event, Signer: forger, Keys: a.Keys()})
	var remote *fedclient.RemoteError
	if !errors.As(err, &remote) || remote.Status != 401 || remote.Code != fedinvite.CodeUnauthorized {
		t.Errorf("got %v", err)
	}
	if len(b.Invites()) > 0 {
		t.Error("the invite was taken")
	}
}
