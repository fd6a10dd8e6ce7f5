package leave_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"log"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/leave"
)

// exampleSigner returns a signing key that is the same in every run. A server keeps its
// own in a file; see [fedinvite.ParseSigningKey].
func exampleSigner(server fedinvite.ServerName) fedinvite.Signer {
	seed := bytes.Repeat([]byte(server[:1]), ed25519.SeedSize)
	s, err := fedinvite.NewSigner(server, "ed25519:1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		log.Fatal(err)
	}
	return s
}

// Bob declines: his server checks the template that make_leave returned, signs a leave
// and sends it with send_leave.
func ExampleTemplate_Sign() {
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		log.Fatal(err)
	}
	declined := leave.Departure{
		RoomID: "!room:a.example", UserID: "@bob:b.example", Time: time.UnixMilli(1764000000000),
		Content: json.RawMessage(`{"reason":"busy"}`),
	}
	for _, answer := range []string{
		`{"room_version":"11","event":{"type":"m.room.member","room_id":"!room:a.example",
			"sender":"@bob:b.example","state_key":"@bob:b.example","content":{"membership":"leave"},
			"auth_events":["$create","$invite"],"prev_events":["$latest"],"depth":9}}`,
		`{"room_version":"11","event":{"type":"m.room.member","room_id":"!room:a.example",
			"sender":"@bob:b.example","state_key":"@bob:b.example","content":{"membership":"join"},
			"auth_events":["$create","$invite"],"prev_events":["$latest"],"depth":9}}`,
	} {
		template, err := leave.ParseTemplate([]byte(answer))
		if err != nil {
			log.Fatal(err)
		}
		e, err := template.Sign(context.Background(), declined, rules, exampleSigner("b.example"))
		if err != nil {
			fmt.Println(err)
			continue
		}
		fmt.Println(e.Sender(), string(e.Content()), e.AuthEventIDs(), e.RequiredSigners())
	}
	// Output:
	// @bob:b.example {"membership":"leave","reason":"busy"} [$create $invite] [b.example]
	// not a leave: content.membership of the template
}

// A leave arrives in a transaction for a room that we are not in. Does it take back the
// invite that we hold?
func ExampleCheckRescission() {
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		log.Fatal(err)
	}
	ctx, a := context.Background(), exampleSigner("a.example")
	draft := fedinvite.Draft{
		RoomID: "!room:a.example", Sender: "@alice:a.example", Invitee: "@bob:b.example",
		AuthEvents: []fedinvite.EventRef{{ID: "$create"}, {ID: "$alice"}},
		PrevEvents: []fedinvite.EventRef{{ID: "$latest"}}, Depth: 8, Time: time.UnixMilli(1764000000000),
	}
	invite, err := fedinvite.NewInvite(ctx, draft, rules, a)
	if err != nil {
		log.Fatal(err)
	}

	draft.AuthEvents = append(draft.AuthEvents, invite.Ref())
	for _, sender := range []string{"@alice:a.example", "@admin:a.example"} {
		draft.Sender = sender
		e, err := fedinvite.NewLeave(ctx, draft, rules, a)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(sender, leave.CheckRescission(e, invite))
	}
	// Output:
	// @alice:a.example <nil>
	// @admin:a.example sender is not on the origin server: the sender of the leave is not the inviter
}
