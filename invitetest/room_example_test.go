package invitetest_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// A room, a member and an invite, of real events.
func ExampleRoom() {
	room := invitetest.NewRoom(fedinvite.RoomV12, "@alice:a.example")
	room.Name("Tea")
	room.Join("@carol:c.example")

	invite := room.Invite("@bob:b.example", invitetest.Set("Tea at five", "content", "reason"))
	fmt.Println(string(invite.Content()), len(invite.AuthEventIDs()), "auth events")
	fmt.Println("signatures:", invite.Verify(context.Background(), invitetest.Keys("a.example")))
	for _, e := range room.Events() {
		fmt.Println(e.Type(), "by", e.Sender())
	}
	// Output:
	// {"membership":"invite","reason":"Tea at five"} 3 auth events
	// signatures: <nil>
	// m.room.create by @alice:a.example
	// m.room.member by @alice:a.example
	// m.room.power_levels by @alice:a.example
	// m.room.join_rules by @alice:a.example
	// m.room.name by @alice:a.example
	// m.room.member by @alice:a.example
	// m.room.member by @carol:c.example
}

// Events that nobody should accept: broken before they are signed, and after.
func ExampleEdit() {
	room := invitetest.NewRoom(fedinvite.RoomV11, "@alice:a.example")

	ban := room.Invite("@bob:b.example", invitetest.Set("ban", "content", "membership"))
	fmt.Println(errors.Is(fedinvite.CheckInvite(ban, "a.example", "b.example"), fedinvite.ErrNotInvite))

	incomplete := room.Sign(room.InviteDraft("@bob:b.example", invitetest.Drop("depth")))
	_, err := fedinvite.ParseEvent(incomplete, room.Rules())
	fmt.Println(err)

	signed := room.Sign(room.InviteDraft("@bob:b.example"))
	changed := invitetest.Change(signed, invitetest.Set("x", "content", "reason"))
	fmt.Println("hash:", room.Parse(signed).HashOK(), room.Parse(changed).HashOK())
	// Output:
	// true
	// bad JSON: depth is not an integer from 0 to 9007199254740991
	// hash: true false
}

// A test of what receives invites, without HTTP.
func ExampleRequest() {
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer: keyring.Signers(invitetest.Signer("b.example")).Signer,
		Keys:   invitetest.Keys("a.example"),
		Handler: fedinvite.HandlerFunc(func(_ context.Context, inv *fedinvite.Invite) error {
			name, _ := inv.RoomState.Get("m.room.name", "")
			fmt.Println(inv.Invitee, "is invited:", string(name.Content))
			return nil
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	room := invitetest.NewRoom(fedinvite.RoomV12, "@alice:a.example")
	room.Name("Tea")
	right := room.Request(room.Invite("@bob:b.example"), "b.example")
	wrong := right
	wrong.EventID = "$other"

	for _, q := range []invitetest.Request{right, wrong} {
		delivery, err := q.Delivery()
		if err == nil {
			_, err = receiver.Receive(context.Background(), delivery)
		}
		fmt.Println("error:", err)
	}
	// Output:
	// @bob:b.example is invited: {"name":"Tea"}
	// error: <nil>
	// error: path IDs: does not match: the event ID of the path and that of the event
}
