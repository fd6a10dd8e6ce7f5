package eventauth_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"log"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// A store holds the state of one room.
type store map[eventauth.StateKey]*fedinvite.Event

// load returns what the room has of the state that is wanted.
func (s store) load(want []eventauth.StateKey) (state eventauth.State) {
	for _, key := range want {
		state = append(state, s[key]) // nil if there is none
	}
	return state
}

// exampleEvent returns an event as servers exchange it, with the right content hash. A
// server keeps its key in a file; see [fedinvite.ParseSigningKey].
func exampleEvent(server fedinvite.ServerName, rules fedinvite.Rules, event string) *fedinvite.Event {
	seed := bytes.Repeat([]byte(server[:1]), ed25519.SeedSize)
	signer, err := fedinvite.NewSigner(server, "ed25519:1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		log.Fatal(err)
	}
	raw, err := fedinvite.SignEventJSON(context.Background(), []byte(event), rules, signer)
	if err != nil {
		log.Fatal(err)
	}
	e, err := fedinvite.ParseEvent(raw, rules)
	if err != nil {
		log.Fatal(err)
	}
	return e
}

// exampleRoom is a room of version 11 in which Alice may invite and Bob is banned.
func exampleRoom(rules fedinvite.Rules) store {
	room := store{}
	for _, e := range []struct{ eventType, key, content string }{
		{"m.room.create", "", `{"room_version":"11"}`},
		{"m.room.power_levels", "", `{"users":{"@alice:a.example":50},"invite":50}`},
		{"m.room.join_rules", "", `{"join_rule":"invite"}`},
		{"m.room.member", "@alice:a.example", `{"membership":"join"}`},
		{"m.room.member", "@bob:b.example", `{"membership":"ban"}`},
	} {
		room[eventauth.StateKey{Type: e.eventType, Key: e.key}] = exampleEvent("a.example", rules, fmt.Sprintf(
			`{"room_id":"!room:a.example","sender":"@alice:a.example","type":%q,"state_key":%q,"content":%s,
			"depth":1,"origin_server_ts":1700000000000,"auth_events":[],"prev_events":[]}`, e.eventType, e.key, e.content))
	}
	return room
}

// Before an invite is made: may Alice invite these users?
func ExampleChange_Authorize() {
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		fmt.Println(err)
		return
	}
	room := exampleRoom(rules)
	for _, invitee := range []string{"@carol:c.example", "@bob:b.example"} {
		change := eventauth.Change{RoomID: "!room:a.example", Sender: "@alice:a.example", Target: invitee, Membership: "invite"}
		err := change.Authorize(rules, room.load(change.Needs()))

		var rejected *eventauth.RuleError
		switch {
		case err == nil:
			fmt.Println(invitee, "may be invited")
		case errors.As(err, &rejected):
			fmt.Println(invitee, "may not be invited by rule", rejected.Rule+":", rejected.Reason)
		default:
			fmt.Println("our own fault:", err)
		}
	}
	// Output:
	// @carol:c.example may be invited
	// @bob:b.example may not be invited by rule 4.4.3: the target is banned
}

// An event that another server made.
func ExampleAuthorize() {
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		fmt.Println(err)
		return
	}
	event := exampleEvent("m.example", rules, `{"room_id":"!room:a.example","sender":"@mallory:m.example",
		"type":"m.room.member","state_key":"@carol:c.example","content":{"membership":"invite"},
		"depth":7,"origin_server_ts":1700000000000,"auth_events":[],"prev_events":[]}`)
	change, err := eventauth.ChangeOf(event)
	if err != nil {
		fmt.Println("not for this package:", err)
		return
	}
	// By the state before the event. By its auth_events it has to be allowed too.
	room := exampleRoom(rules)
	fmt.Println(eventauth.Authorize(event, room.load(change.Needs())))
	// Output: room version 11, rule 4.4.2: the sender is not joined to the room
}

// The auth_events of an invite that is to be made.
func ExampleSelectAuthEvents() {
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		fmt.Println(err)
		return
	}
	room := exampleRoom(rules)
	change := eventauth.Change{RoomID: "!room:a.example", Sender: "@alice:a.example", Target: "@carol:c.example", Membership: "invite"}

	var draft fedinvite.Draft
	for _, e := range eventauth.SelectAuthEvents(change, rules, room.load(change.Needs())) {
		draft.AuthEvents = append(draft.AuthEvents, e.Ref())
		fmt.Println(e.Type())
	}
	// Output:
	// m.room.create
	// m.room.power_levels
	// m.room.join_rules
	// m.room.member
}

// How much power do people have?
func ExamplePowerLevels() {
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		fmt.Println(err)
		return
	}
	state := exampleRoom(rules).load([]eventauth.StateKey{{Type: "m.room.create"}, {Type: "m.room.power_levels"}})
	levels, err := eventauth.ParsePowerLevels(state.Get("m.room.create", ""), state.Get("m.room.power_levels", ""))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(levels.User("@alice:a.example"))
	fmt.Println(levels.User("@bob:b.example"))
	fmt.Println(levels.Kick())
	// Output:
	// 50 <nil>
	// 0 <nil>
	// 50 <nil>
}
