package invitetest_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// A server that signs whatever it is sent accepts every invite that is in order, and much
// that is none.
func ExampleAttacks() {
	signer := invitetest.Signer("careless.example")
	careless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		request, err := fedinvite.ParseRequestV2(body)
		if err != nil {
			fedinvite.WriteError(w, err)
			return
		}
		rules, err := request.RoomVersion.Rules()
		if err != nil {
			fedinvite.WriteError(w, err)
			return
		}
		signed, err := fedinvite.SignEventJSON(r.Context(), request.Event, rules, signer)
		if err != nil {
			fedinvite.WriteError(w, err)
			return
		}
		fmt.Fprintf(w, `{"event":%s}`, signed)
	})

	peer, err := invitetest.StartServer(invitetest.ServerConfig{Name: "peer.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer peer.Close()
	target := invitetest.Target{
		Name:    "careless.example",
		Handler: invitetest.WithKeys(careless, signer),
		Invitee: "@bob:careless.example",
		Peer:    peer,
	}
	for _, attack := range invitetest.Attacks() {
		switch strings.TrimPrefix(attack.Name, "attack/") {
		case "not-an-invite", "sender-elsewhere", "duplicate-keys":
			result := attack.Run(context.Background(), target)
			fmt.Println(attack.Name, result.Outcome)
		}
	}
	// Output:
	// attack/duplicate-keys ok
	// attack/sender-elsewhere departs
	// attack/not-an-invite departs
}
