package fedinvite_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// exampleSigner returns a signing key that is the same in every run. A server
// keeps its own in a file; see [fedinvite.ParseSigningKey].
func exampleSigner(server fedinvite.ServerName) fedinvite.Signer {
	seed := bytes.Repeat([]byte(server[:1]), ed25519.SeedSize)
	s, err := fedinvite.NewSigner(server, "ed25519:1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		log.Fatal(err)
	}
	return s
}

// exampleInvite returns an invite of @bob:b.example by @alice:a.example.
func exampleInvite() *fedinvite.Event {
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		log.Fatal(err)
	}
	invite, err := fedinvite.NewInvite(context.Background(), fedinvite.Draft{
		RoomID:     "!room:a.example",
		Sender:     "@alice:a.example",
		Invitee:    "@bob:b.example",
		AuthEvents: []fedinvite.EventRef{{ID: "$create"}, {ID: "$powerlevels"}, {ID: "$alice"}},
		PrevEvents: []fedinvite.EventRef{{ID: "$latest"}},
		Depth:      8,
		Time:       time.UnixMilli(1764000000000),
		Content:    json.RawMessage(`{"reason":"come and see"}`),
	}, rules, exampleSigner("a.example"))
	if err != nil {
		log.Fatal(err)
	}
	return invite
}

func ExampleCanonicalJSON() {
	canonical, err := fedinvite.CanonicalJSON([]byte(`{ "two": "\u00e9", "one": -0 }`))
	fmt.Println(string(canonical), err)
	_, err = fedinvite.CanonicalJSON([]byte(`{"users":{"@alice:a.example":1.5}}`))
	fmt.Println(err)
	// Output:
	// {"one":0,"two":"é"} <nil>
	// bad JSON: number not allowed in canonical JSON at byte 29, in "/users/@alice:a.example"
}

func ExampleNewInvite() {
	invite := exampleInvite()
	fmt.Println(invite.ID())
	fmt.Println(string(invite.Content()))
	fmt.Println(invite.RequiredSigners())
	// Output:
	// $XxPmyq9QAlkhUoC82f5gmG0TFij2BoRWxklS5uWifec
	// {"membership":"invite","reason":"come and see"}
	// [a.example]
}

// Functions alone: parse an event, check its signatures and its content hash.
func ExampleParseEvent() {
	raw := exampleInvite().AppendJSON(nil)
	keys := fedinvite.KeyMap{}
	keys.Add(exampleSigner("a.example"))

	rules, err := fedinvite.RoomVersion("11").Rules()
	if err != nil {
		log.Fatal(err)
	}
	event, err := fedinvite.ParseEvent(raw, rules)
	if err != nil {
		log.Fatal(err)
	}
	if err := event.Verify(context.Background(), keys); err != nil {
		log.Fatal(err)
	}
	if !event.HashOK() {
		event = event.Redacted()
	}
	fmt.Println(event.Type(), event.Membership(), event.Sender())

	forged := bytes.Replace(raw, []byte("@alice"), []byte("@mallory"), 1)
	event, err = fedinvite.ParseEvent(forged, rules)
	if err != nil {
		log.Fatal(err)
	}
	err = event.Verify(context.Background(), keys)
	fmt.Println(errors.Is(err, fedinvite.ErrSignature))
	// Output:
	// m.room.member invite @alice:a.example
	// true
}

// The pipeline without HTTP: for servers that authenticate requests themselves.
func ExampleReceiver_Receive() {
	ours := exampleSigner("b.example")
	keys := fedinvite.KeyMap{}
	keys.Add(exampleSigner("a.example"))
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer: func(_ context.Context, name fedinvite.ServerName) (fedinvite.Signer, error) {
			if name != ours.ServerName() {
				return nil, fedinvite.ErrNotLocal
			}
			return ours, nil
		},
		Keys: keys,
		Handler: fedinvite.HandlerFunc(func(_ context.Context, inv *fedinvite.Invite) error {
			fmt.Println("store:", inv.Invitee, "is invited to", inv.Event.RoomID())
			return nil
		}),
	})
	if err != nil {
		log.Fatal(err)
	}
	invite := exampleInvite()
	response, err := receiver.Receive(context.Background(), fedinvite.Delivery{
		Origin: "a.example", Destination: "b.example",
		RoomID: invite.RoomID(), EventID: invite.ID(),
		Request: fedinvite.Request{RoomVersion: "11", Event: invite.AppendJSON(nil)},
	})
	if err != nil {
		log.Fatal(err)
	}

	// What the inviting server does with the answer.
	keys.Add(ours)
	signed, err := fedinvite.MergeReply(context.Background(), invite, response.Event, "b.example", keys)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(signed.Verify(context.Background(), keys, "b.example"))
	// Output:
	// store: @bob:b.example is invited to !room:a.example
	// <nil>
}

// A whole invite endpoint, with a policy and request authentication.
func ExampleReceiver() {
	ours := exampleSigner("b.example")
	keys := fedinvite.KeyMap{} // use package keyring for other servers' keys
	keys.Add(exampleSigner("a.example"))
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer: func(_ context.Context, name fedinvite.ServerName) (fedinvite.Signer, error) {
			if name != ours.ServerName() {
				return nil, fedinvite.ErrNotLocal
			}
			return ours, nil
		},
		Keys:        keys,
		Credentials: xmatrix.Verifier{Keys: keys, Now: time.Now}.Credentials,
		Policy: func(_ context.Context, inv *fedinvite.Invite) error {
			if inv.Event.Sender() == "@alice:a.example" {
				return fedinvite.Refuse(fedinvite.CodeInviteBlocked, "bob does not want invites from alice")
			}
			return nil
		},
		Handler: fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
	})
	if err != nil {
		log.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/_matrix/federation/v1/invite/", receiver)
	mux.Handle("/_matrix/federation/v2/invite/", receiver)

	// Alice's server sends the invite.
	invite := exampleInvite()
	body, err := fedinvite.Request{RoomVersion: "11", Event: invite.AppendJSON(nil)}.MarshalV2()
	if err != nil {
		log.Fatal(err)
	}
	path := "/_matrix/federation/v2/invite/" + url.PathEscape(invite.RoomID()) + "/" + url.PathEscape(invite.ID())
	request := httptest.NewRequest(http.MethodPut, path, bytes.NewReader(body))
	if err := xmatrix.Sign(context.Background(), request, body, "b.example", exampleSigner("a.example")); err != nil {
		log.Fatal(err)
	}
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, request)
	fmt.Println(answer.Code, strings.TrimSpace(answer.Body.String()))
	// Output:
	// 403 {"errcode":"M_INVITE_BLOCKED","error":"bob does not want invites from alice"}
}

// The first event of a room. In room version 12 its hash is the room's ID.
func ExampleSignEventJSON() {
	rules, err := fedinvite.RoomV12.Rules()
	if err != nil {
		log.Fatal(err)
	}
	raw, err := fedinvite.SignEventJSON(context.Background(), []byte(`{
		"type": "m.room.create", "state_key": "", "sender": "@alice:a.example",
		"content": {"room_version": "12"},
		"auth_events": [], "prev_events": [], "depth": 1, "origin_server_ts": 1764000000000
	}`), rules, exampleSigner("a.example"))
	if err != nil {
		log.Fatal(err)
	}
	create, err := fedinvite.ParseEvent(raw, rules)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(create.ID())
	fmt.Println(create.RoomID())
	// Output:
	// $WVipJDLE2h2YJBtJoWx3h7Q7TlA5212ByuXj6L3Pz-U
	// !WVipJDLE2h2YJBtJoWx3h7Q7TlA5212ByuXj6L3Pz-U
}

func ExampleWireError() {
	for _, err := range []error{
		fedinvite.Refuse(fedinvite.CodeForbidden, "not here"),
		fmt.Errorf("step 9: %w", fedinvite.ErrNotInvite),
		errors.New("password of the database is hunter2"),
	} {
		e := fedinvite.WireError(err)
		body, _ := json.Marshal(e)
		fmt.Println(e.Status, string(body))
	}
	// Output:
	// 403 {"errcode":"M_FORBIDDEN","error":"not here"}
	// 400 {"errcode":"M_INVALID_PARAM","error":"not an invite"}
	// 500 {"errcode":"M_UNKNOWN","error":"internal error"}
}

func ExampleServerACL_Allows() {
	acl, err := fedinvite.ParseServerACL(json.RawMessage(
		`{"allow":["*"],"deny":["*.evil.example"],"allow_ip_literals":false}`))
	if err != nil {
		log.Fatal(err)
	}
	for _, server := range []fedinvite.ServerName{"a.example", "very.evil.example:8448", "[::1]:8448"} {
		fmt.Println(server, acl.Allows(server))
	}
	// Output:
	// a.example true
	// very.evil.example:8448 false
	// [::1]:8448 false
}

func ExampleRoomState_Client() {
	invite := exampleInvite()
	state, err := fedinvite.CheckRoomState(context.Background(), []json.RawMessage{
		json.RawMessage(`{"type":"m.room.name","state_key":"","sender":"@alice:a.example","content":{"name":"Tea"},"more":1}`),
	}, invite, fedinvite.KeyMap{}, fedinvite.StateCreateOnly)
	if err != nil {
		log.Fatal(err)
	}
	for _, event := range state.Client() {
		fmt.Println(string(event))
	}
	fmt.Println(state.Warnings)
	// Output:
	// {"content":{"name":"Tea"},"sender":"@alice:a.example","state_key":"","type":"m.room.name"}
	// [invite_room_state: no m.room.create event]
}
