package docs_test

// book: receive.md
import (
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

func TestAnInviteArrives(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example") // another homeserver, on loopback
	f, err := newFederation(keyring.Signers(invitetest.Signer("mine.example")), peer.Transport(), nil)
	if err != nil {
		t.Fatal(err)
	}
	routes, err := f.routes(f.receiverConfig(fedinvite.HandlerFunc(announce)))
	if err != nil {
		t.Fatal(err)
	}
	peer.Introduce("mine.example", routes)
	if _, err := peer.Invite(t.Context(), peer.NewRoom(fedinvite.RoomV12, "@alice:peer.example"), "@bob:mine.example"); err != nil {
		t.Fatal(err)
	}
}

// book: end
