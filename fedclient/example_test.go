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

// The invited server takes no invites; the user's client is told so.
func Example() {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errcode":"M_INVITE_BLOCKED","error":"Bob takes no invites"}`)
	}))
	defer server.Close()
	bob := "@bob:" + strings.TrimPrefix(server.URL, "https://")

	// Outside of tests, leave Transport nil.
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
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

	ctx := context.Background()
	seed := make([]byte, ed25519.SeedSize) // a real one is secret, see fedinvite.GenerateKey
	signer, err := fedinvite.NewSigner("a.example", "ed25519:1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		fmt.Println(err)
		return
	}
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		fmt.Println(err)
		return
	}
	event, err := fedinvite.NewInvite(ctx, fedinvite.Draft{
		RoomID: "!room:a.example", Sender: "@alice:a.example", Invitee: bob, Depth: 12, Time: time.Now(),
	}, rules, signer)
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.SendInvite(ctx, fedclient.InviteRequest{
		Event:     event,
		RoomState: []json.RawMessage{}, // see fedinvite.SelectRoomState
		Signer:    signer,
		Keys:      fedinvite.KeyMap{}, // a keyring.Ring that uses client
	})
	toClient := fedclient.ClientError(err)
	body, _ := json.Marshal(toClient)
	fmt.Println(toClient.HTTPStatus(), string(body))
	fmt.Println("try again later:", fedclient.Retryable(err))
	// Output:
	// 403 {"errcode":"M_INVITE_BLOCKED","error":"Bob takes no invites"}
	// try again later: false
}
