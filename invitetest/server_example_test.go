package invitetest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// A Server takes invites that are sent with fedclient, or by any homeserver that finds it.
func ExampleStartServer() {
	peer, err := invitetest.StartServer(invitetest.ServerConfig{Name: "peer.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer peer.Close()
	// What sends is mine.example. All that the peer needs of it is its key.
	local := keyring.Signers(invitetest.Signer("mine.example"))
	publish, err := keyring.NewPublishHandler(keyring.PublishConfig{Local: local, Now: time.Now})
	if err != nil {
		fmt.Println(err)
		return
	}
	peer.Introduce("mine.example", publish)

	room := invitetest.NewRoom(fedinvite.RoomV11, "@alice:mine.example")
	inviter, err := fedclient.NewInviter(fedclient.InviterConfig{
		Client: peer.Client(), Keys: peer.Keys(), Room: room, Signer: local.Signer, Now: time.Now,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	invited, err := inviter.Invite(context.Background(), fedclient.Invitation{
		RoomID: room.ID(), Sender: "@alice:mine.example", Invitee: "@bob:peer.example",
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	got := peer.Invites()[0]
	fmt.Println(got.Origin, "invites", got.Invitee, got.Event.ID() == invited.Event.ID())
	for _, seen := range peer.Requests() {
		fmt.Println(seen.Method, seen.Target[:len("/_matrix/federation/v2/invite/")], seen.Status)
	}
	// Output:
	// mine.example invites @bob:peer.example true
	// PUT /_matrix/federation/v2/invite/ 200
}

// What does our server do if another is overloaded?
func ExampleServer_Break() {
	peer, err := invitetest.StartServer(invitetest.ServerConfig{Name: "peer.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer peer.Close()
	signer := invitetest.Signer("mine.example")
	room := invitetest.NewRoom(fedinvite.RoomV11, "@alice:mine.example")
	invite := fedclient.InviteRequest{Event: room.Invite("@bob:peer.example"), Signer: signer, Keys: peer.Keys()}

	peer.Break(invitetest.Overloaded)
	_, err = peer.Client().SendInvite(context.Background(), invite)
	var refused *fedclient.RemoteError
	if errors.As(err, &refused) {
		fmt.Println(refused.Code, "ask again after", refused.RetryAfter)
	}
	fmt.Println("expected: it", invitetest.Overloaded.Expect())
	// Output:
	// M_LIMIT_EXCEEDED ask again after 5s
	// expected: it asks again after the time that Retry-After says, and not before, or gives up
}
