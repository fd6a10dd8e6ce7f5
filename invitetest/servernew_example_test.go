package invitetest_test

import (
	"context"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// users is the code under test: what a homeserver does with invites.
type users struct{ stored []string }

func (u *users) HandleInvite(_ context.Context, inv *fedinvite.Invite) error {
	if inv.Invitee != "@bob:mine.example" {
		return fedinvite.Refuse(fedinvite.CodeForbidden, "no such user")
	}
	u.stored = append(u.stored, inv.Event.ID())
	return nil
}

// testInvite would be named TestInvite.
func testInvite(t *testing.T) {
	var mine users
	peer := invitetest.NewServer(t, "peer.example")
	peer.IntroduceHandler("mine.example", &mine)

	room := peer.NewRoom(fedinvite.RoomV12, "@alice:peer.example")
	event, err := peer.Invite(t.Context(), room, "@bob:mine.example")
	if err != nil || len(mine.stored) != 1 || mine.stored[0] != event.ID() {
		t.Errorf("stored %q, %v", mine.stored, err)
	}
	if _, err := peer.Invite(t.Context(), room, "@eve:mine.example"); err == nil {
		t.Error("somebody was invited who does not exist")
	}
}

// The unit test of a Handler: a homeserver that is there for this test only invites our
// users. A whole homeserver is tested in the same way, with [Server.Introduce].
func ExampleNewServer() {
	var t *testing.T // what go test gives to TestInvite
	testInvite(t)
}
