package fedclient_test

import (
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// Bob does not want Alice's invite. Her server takes his leave and sends it to the room.
func ExampleClient_Decline() {
	const room, bob = "!room:a.example", "@bob:b.example"
	alices := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Method == http.MethodPut { // send_leave
			_, _ = io.WriteString(w, `{}`)
			return
		}
		_, _ = fmt.Fprintf(w, `{"room_version":"11","event":{
			"type":"m.room.member","room_id":%q,"sender":%q,"state_key":%q,"content":{"membership":"leave"},
			"auth_events":["$create","$invite"],"prev_events":["$latest"],"depth":14,"origin":"a.example","origin_server_ts":1
		}}`, room, bob, bob)
	}))
	defer alices.Close()
	alice := "@alice:" + strings.TrimPrefix(alices.URL, "https://")

	// Outside of tests, leave Transport nil.
	roots := x509.NewCertPool()
	roots.AddCert(alices.Certificate())
	transport, err := discovery.New(discovery.Config{
		UserAgent: "example/1.0", TLS: &tls.Config{RootCAs: roots}, Allow: discovery.Loopback(),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1.0", Transport: transport})
	if err != nil {
		fmt.Println(err)
		return
	}
	declined, err := client.Decline(context.Background(), fedclient.DeclineRequest{
		Invite:  inviteOf(alice, bob, room), // as the Handler stored it
		Signer:  signerOf("b.example"),
		Time:    time.Now(),
		Content: json.RawMessage(`{"reason":"no, thanks"}`),
	})
	if err != nil {
		fmt.Println("call again:", err)
		return
	}
	// Store declined.Event in place of the invite, whoever took it.
	fmt.Println(declined.Event.Membership(), declined.Event.PrevEventIDs())
	fmt.Println("the room knows:", declined.Server != "", declined.Err)
	// Output:
	// leave [$latest]
	// the room knows: true <nil>
}

func signerOf(server fedinvite.ServerName) fedinvite.Signer {
	seed := make([]byte, ed25519.SeedSize) // a real one is secret, see fedinvite.GenerateKey
	signer, err := fedinvite.NewSigner(server, "ed25519:1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		panic(err)
	}
	return signer
}

func inviteOf(sender, invitee, room string) *fedinvite.Event {
	_, server, err := fedinvite.ParseUserID(sender)
	if err != nil {
		panic(err)
	}
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		panic(err)
	}
	invite, err := fedinvite.NewInvite(context.Background(), fedinvite.Draft{
		RoomID: room, Sender: sender, Invitee: invitee, Depth: 12, Time: time.Now(),
	}, rules, signerOf(server))
	if err != nil {
		panic(err)
	}
	return invite
}
