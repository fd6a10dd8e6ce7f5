package docs_test

// book: testing.md
import (
	"context"
	"net/http"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// book: end

import "github.com/seed-0a46cb1a/fedinvite/discovery"

// book: testing.md
func TestBobIsInvited(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	mine := newHomeserver(t, "mine.example", peer.Transport()) // an http.Handler: the server under test
	peer.Introduce("mine.example", mine)

	room := peer.NewRoom(fedinvite.RoomV12, "@alice:peer.example")
	room.Name("Tea")
	invite, err := peer.Invite(t.Context(), room, "@bob:mine.example")
	if err != nil {
		t.Fatal(err)
	}
	if stored, _ := mine.db.Pending(t.Context(), room.ID(), "@bob:mine.example"); stored != invite.ID() {
		t.Errorf("stored %q, want %s", stored, invite.ID())
	}
	if _, err := peer.TakeBack(t.Context(), room, "@bob:mine.example"); err != nil {
		t.Fatal(err)
	}
	if stored, _ := mine.db.Pending(t.Context(), room.ID(), "@bob:mine.example"); stored != "" {
		t.Errorf("%s is still there", stored)
	}
}

// book: end

// book: testing.md
func TestHandlerRefusesASecondInvite(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	peer.IntroduceHandler("mine.example", inviteHandler{newMemory()})

	room := peer.NewRoom(fedinvite.RoomV11, "@alice:peer.example")
	if _, err := peer.Invite(t.Context(), room, "@bob:mine.example"); err != nil {
		t.Fatal(err)
	}
	_, err := peer.Invite(t.Context(), room, "@bob:mine.example", invitetest.Set("again", "content", "reason"))
	if told := fedclient.ClientError(err); told == nil || told.Code != fedinvite.CodeForbidden {
		t.Errorf("the second invite: %v", err)
	}
}

// book: end

// book: testing.md
func TestAnAnswerThatGotLost(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	mine := newHomeserver(t, "mine.example", peer.Transport())
	peer.Introduce("mine.example", mine)
	roomID, alice := mine.newRoom(t)

	peer.Break(invitetest.Cut, "/_matrix/federation/")
	if err := mine.Invite(t.Context(), roomID, alice, "@bob:peer.example", nil); err == nil {
		t.Fatal("half an answer was enough")
	}
	peer.Mend()
	if err := mine.Retry(t.Context(), mine.db.later[0], mine.db.states[0]); err != nil {
		t.Fatal(err)
	}
	if got := mine.db.membership(roomID, "@bob:peer.example"); got != "invite" {
		t.Errorf("bob's membership is %q", got)
	}
	for _, seen := range peer.Requests() {
		t.Log(seen.Method, seen.Target, seen.Status)
	}
}

// book: end

// book: testing.md
func TestForgeriesAreRefused(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	mine := newHomeserver(t, "mine.example", peer.Transport())
	peer.Introduce("mine.example", mine)
	room := peer.NewRoom(fedinvite.RoomV12, "@alice:peer.example")
	invite := room.Invite("@bob:mine.example")

	for name, event := range map[string]any{
		"a ban":                  room.InviteDraft("@bob:mine.example", invitetest.Set("ban", "content", "membership")),
		"of another server":      room.InviteDraft("@bob:mine.example", invitetest.Set("@eve:other.example", "sender")),
		"changed after signing":  invitetest.Change(invite.AppendJSON(nil), invitetest.Set(7, "depth")),
		"without any signatures": invitetest.Change(invite.AppendJSON(nil), invitetest.Drop("signatures")),
	} {
		if draft, ok := event.(invitetest.Object); ok {
			event = room.Sign(draft)
		}
		status, body, err := peer.Send(t.Context(), room.Request(event, "mine.example"))
		if err != nil || status != http.StatusBadRequest {
			t.Errorf("%s: %d %s %v", name, status, body, err)
		}
	}
}

// book: end

// book: testing.md
func TestConformance(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	mine := newUnlimited(t, "mine.example", peer.Transport())
	invitetest.Run(t, invitetest.Target{
		Name: "mine.example", Handler: mine, Peer: peer, Invitee: "@bob:mine.example",
		Invite: func(ctx context.Context, version fedinvite.RoomVersion, invitee string) error {
			room := invitetest.NewRoom(version, "@alice:mine.example")
			mine.keep(t, room)
			return mine.Invite(ctx, room.ID(), room.Creator(), invitee, nil)
		},
	}, // Where this server departs, and means to:
		"receive/unsigned-kept", // nobody vouches for unsigned: the reply has none
		"auth/no-destination",   // Verifier.Assume is empty
		"state/v12-stripped",    // StateCreateOnly, as with the next two
		"state/v12-signature",
		"state/v12-other-room",
	)
}

// book: end

// newUnlimited is newHomeserver without the limit for each invitee.
func newUnlimited(t *testing.T, name fedinvite.ServerName, transport *discovery.Transport) *homeserver {
	t.Helper()
	h := newHomeserver(t, name, transport)
	h.config.Admit, h.config.Policy = nil, nil
	mux, err := h.routes(h.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.addEndings(mux, roomStore{h.db.Begin}, h.db, nil); err != nil {
		t.Fatal(err)
	}
	h.handler = mux
	return h
}
