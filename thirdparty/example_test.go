package thirdparty_test

import (
	"fmt"
	"log"

	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
)

// Alice has proven that an e-mail address is hers. Her server hears of an invite to it
// and asks the server of Joe, who sent it, for one to her.
func ExampleParseBind() {
	bind, err := thirdparty.ParseBind([]byte(`{
		"medium": "email", "address": "alice@example.com", "mxid": "@alice:b.example",
		"invites": [{
			"medium": "email", "address": "alice@example.com", "mxid": "@alice:b.example",
			"room_id": "!room:a.example", "sender": "@joe:a.example",
			"signed": {"mxid": "@alice:b.example", "token": "abc123", "signatures": {"id.example": {"ed25519:0": "…"}}}
		}]
	}`))
	if err != nil {
		log.Fatal(err)
	}
	for _, inv := range bind.Invites {
		body, err := inv.Exchange().MarshalJSON()
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(inv.RoomID, inv.Sender)
		fmt.Println(string(body))
	}
	// Output:
	// !room:a.example @joe:a.example
	// {"content":{"membership":"invite","third_party_invite":{"display_name":"","signed":{"mxid":"@alice:b.example","signatures":{"id.example":{"ed25519:0":"…"}},"token":"abc123"}}},"room_id":"!room:a.example","sender":"@joe:a.example","state_key":"@alice:b.example","type":"m.room.member"}
}

// Joe's server reads the request, and will make the invite of it once it has verified the
// signed object with the keys in the room.
func ExampleParseExchange() {
	body := []byte(`{"type":"m.room.member","room_id":"!room:a.example","sender":"@joe:a.example","state_key":"@alice:b.example",
		"content":{"membership":"invite","third_party_invite":{
			"signed":{"mxid":"@alice:b.example","token":"abc123","signatures":{"id.example":{"ed25519:0":"…"}}}}}}`)
	x, err := thirdparty.ParseExchange(body)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(x.Check("!room:a.example", "b.example", "a.example"))
	fmt.Println(x.Check("!room:a.example", "c.example", "a.example"))
	x.DisplayName = "a…@e…" // from the room's m.room.third_party_invite event
	fmt.Println(string(x.ThirdPartyInvite()))
	// Output:
	// <nil>
	// sender is not on the origin server: state_key is a user of another server
	// {"display_name":"a…@e…","signed":{"mxid":"@alice:b.example","signatures":{"id.example":{"ed25519:0":"…"}},"token":"abc123"}}
}
