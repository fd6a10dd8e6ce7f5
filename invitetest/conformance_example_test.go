package invitetest_test

import (
	"context"
	"fmt"
	"net/http"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// A homeserver that takes every invite, and returns another event than the one that came.
func ExampleResults() {
	peer, err := invitetest.StartServer(invitetest.ServerConfig{Name: "peer.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer peer.Close()
	careless := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprint(w, `{"event":{}}`)
	})
	target := invitetest.Target{
		Name: "mine.example", Handler: careless, Invitee: "@bob:mine.example", Peer: peer,
		Keys: invitetest.Keys("mine.example"), Versions: []fedinvite.RoomVersion{fedinvite.RoomV12},
	}
	for r := range invitetest.Results(context.Background(), target, invitetest.Checks()...) {
		if r.Name == "receive/v12" || r.Name == "auth/none" {
			fmt.Println(r.Name, r.Outcome, r.Level)
		}
	}
	// Output:
	// receive/v12 departs MUST
	// auth/none departs practice
}

// newHomeserver is the homeserver that the test is about. It finds others by transport.
var newHomeserver func(name fedinvite.ServerName, transport http.RoundTripper) http.Handler

func ExampleRun() {
	testConformance := func(t *testing.T) {
		peer := invitetest.NewServer(t, "peer.example")
		invitetest.Run(t, invitetest.Target{
			Name:    "mine.example",
			Handler: newHomeserver("mine.example", peer.Transport()),
			Invitee: "@bob:mine.example",
			Peer:    peer,
		}, "receive/unsigned-kept") // we drop it
	}
	_ = testConformance // in a test of yours: func TestConformance(t *testing.T)
}
