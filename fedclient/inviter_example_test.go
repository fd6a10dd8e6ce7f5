package fedclient_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// A store is a homeserver's rooms, in memory.
type store struct {
	mu    sync.RWMutex
	rooms map[string]*storedRoom
}

type storedRoom struct {
	version     fedinvite.RoomVersion
	state       map[eventauth.StateKey]*fedinvite.Event
	extremities []*fedinvite.Event
	joined      map[fedinvite.ServerName]int // users
}

// Snapshot implements fedclient.Room. In a database the lock is a read transaction, and
// state and extremities are three queries.
func (s *store) Snapshot(_ context.Context, roomID string, want []eventauth.StateKey) (*fedclient.Snapshot, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	room := s.rooms[roomID]
	if room == nil {
		return nil, fedinvite.Refuse(fedinvite.CodeForbidden, "you are not in the room")
	}
	snapshot := &fedclient.Snapshot{Version: room.version}
	for _, key := range want {
		snapshot.State = append(snapshot.State, room.state[key]) // nil is none
	}
	for _, e := range room.extremities {
		snapshot.Extremities = append(snapshot.Extremities, e.Ref())
		snapshot.Depth = max(snapshot.Depth, e.Depth())
	}
	if policy := room.state[eventauth.StateKey{Type: "m.room.policy"}]; policy != nil {
		var via string
		_ = json.Unmarshal([]byte(policy.ContentJSON("via")), &via)
		joined := room.joined[fedinvite.ServerName(via)] > 0
		snapshot.Joined = func(server fedinvite.ServerName) bool { return joined && string(server) == via }
	}
	return snapshot, nil
}

// Alice invites Bob, who is on another server, and takes the invite back.
func ExampleInviter() {
	ctx := context.Background()
	seed := make([]byte, ed25519.SeedSize) // a real one is secret, see fedinvite.GenerateKey
	ours, err := fedinvite.NewSigner("a.example", "ed25519:1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		fmt.Println(err)
		return
	}
	rooms, bobsServer := exampleRoom(ctx, ours), exampleServer(ours)

	client, err := fedclient.New(fedclient.Config{
		UserAgent: "example/1.0",
		Transport: bobsServer, // leave it nil, or use one with server discovery
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	inviter, err := fedclient.NewInviter(fedclient.InviterConfig{
		Client: client,
		Keys:   bobsServer.keys, // a keyring.Ring that uses client
		Room:   rooms,
		Signer: func(_ context.Context, server fedinvite.ServerName) (fedinvite.Signer, error) {
			if server != ours.ServerName() {
				return nil, fedinvite.ErrNotLocal
			}
			return ours, nil
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	invitation := fedclient.Invitation{
		RoomID: "!room:a.example", Sender: "@alice:a.example", Invitee: "@bob:b.example",
		Content: json.RawMessage(`{"reason":"It is about the garden"}`),
	}
	invited, err := inviter.Invite(ctx, invitation)
	if err != nil {
		body, _ := json.Marshal(fedclient.ClientError(err)) // what Alice's client is told
		fmt.Println(string(body))
		return
	}
	fmt.Println("invited:", string(invited.Event.Content()))
	fmt.Println("signed by b.example:", invited.Event.Verify(ctx, bobsServer.keys, "b.example") == nil)
	rooms.add(invited.Event) // and send it to the servers in the room

	invitation.Content = nil
	leave, err := inviter.TakeBack(ctx, invitation)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("taken back:", string(leave.Content()))
	rooms.add(leave) // and send it to the servers in the room and to b.example

	_, err = inviter.TakeBack(ctx, invitation)
	told := fedclient.ClientError(err)
	fmt.Println("again:", told.HTTPStatus(), told.Code, told.Message)
	// Output:
	// invited: {"membership":"invite","reason":"It is about the garden"}
	// signed by b.example: true
	// taken back: {"membership":"leave"}
	// again: 403 M_FORBIDDEN the user is not invited
}

// add makes a state event the latest of its room.
func (s *store) add(e *fedinvite.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, _ := e.StateKey()
	room := s.rooms[e.RoomID()]
	room.state[eventauth.StateKey{Type: e.Type(), Key: key}] = e
	room.extremities = []*fedinvite.Event{e}
}

// exampleRoom has a room that Alice has made and is alone in.
func exampleRoom(ctx context.Context, signer fedinvite.Signer) *store {
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		panic(err)
	}
	room := &storedRoom{version: rules.Version, state: map[eventauth.StateKey]*fedinvite.Event{}}
	s := &store{rooms: map[string]*storedRoom{"!room:a.example": room}}
	for i, e := range []struct{ eventType, key, content string }{
		{"m.room.create", "", `{"room_version":"11"}`},
		{"m.room.member", "@alice:a.example", `{"membership":"join"}`},
		{"m.room.power_levels", "", `{"users":{"@alice:a.example":100}}`},
		{"m.room.join_rules", "", `{"join_rule":"invite"}`},
		{"m.room.name", "", `{"name":"The garden"}`},
	} {
		raw := fmt.Appendf(nil, `{"room_id":"!room:a.example","sender":"@alice:a.example","type":%q,"state_key":%q,"content":%s,`+
			`"depth":%d,"origin_server_ts":1,"auth_events":[],"prev_events":[]}`, e.eventType, e.key, e.content, i+1)
		if raw, err = fedinvite.SignEventJSON(ctx, raw, rules, signer); err != nil {
			panic(err)
		}
		event, err := fedinvite.ParseStored(raw, rules)
		if err != nil {
			panic(err)
		}
		s.add(event)
	}
	return s
}

// exampleInvitee is the server b.example without a network: it agrees to everything.
type exampleInvitee struct {
	signer fedinvite.Signer
	keys   fedinvite.KeyMap
}

func exampleServer(inviter fedinvite.Signer) *exampleInvitee {
	signer, err := fedinvite.NewSigner("b.example", "ed25519:1", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		panic(err)
	}
	s := &exampleInvitee{signer, fedinvite.KeyMap{}}
	s.keys.Add(signer)
	s.keys.Add(inviter)
	return s
}

func (s *exampleInvitee) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	request, err := fedinvite.ParseRequestV2(body)
	if err != nil {
		return nil, err
	}
	rules, err := request.RoomVersion.Rules()
	if err != nil {
		return nil, err
	}
	signed, err := fedinvite.SignEventJSON(r.Context(), request.Event, rules, s.signer)
	if err != nil {
		return nil, err
	}
	answer, err := fedinvite.Response{Event: signed}.MarshalV2()
	return &http.Response{
		StatusCode: http.StatusOK,
		Header:     http.Header{"Content-Type": {"application/json"}},
		Body:       io.NopCloser(bytes.NewReader(answer)),
	}, err
}
