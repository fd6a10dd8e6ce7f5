package invitetest_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A sender invites as the specification says but in one respect.
type sender struct {
	peer     *invitetest.Server
	silent   bool // sends nothing
	edit     func(room *invitetest.Room, event invitetest.Object)
	change   []invitetest.Edit // after the event was signed
	signer   fedinvite.Signer
	state    func(room *invitetest.Room) []json.RawMessage
	body     []invitetest.Edit
	request  func(q *invitetest.Request)
	header   func(h http.Header)
	fallback func(early bool) bool
	believes bool // that all went well
	answers  func(reply fedinvite.Response, sent *fedinvite.Event) error
}

// invite is the Invite of a [invitetest.Target].
func (s sender) invite(ctx context.Context, v fedinvite.RoomVersion, invitee string) error {
	if s.silent {
		return nil
	}
	room := invitetest.NewRoom(v, "@carol:"+string(mine))
	room.Name("Tea")
	draft := room.InviteDraft(invitee)
	if s.edit != nil {
		s.edit(room, draft)
	}
	var signers []fedinvite.Signer
	if s.signer != nil {
		signers = append(signers, s.signer)
	}
	event := invitetest.Change(room.Sign(draft, signers...), s.change...)
	early := room.Rules().EventIDs == fedinvite.EventIDServer
	status, err := s.put(ctx, room, event, false)
	if status == http.StatusNotFound && (s.fallback == nil && early || s.fallback != nil && s.fallback(early)) {
		_, err = s.put(ctx, room, event, true)
	}
	if s.believes {
		return nil
	}
	return err
}

// put makes a request and checks its answer.
func (s sender) put(ctx context.Context, room *invitetest.Room, event json.RawMessage, v1 bool) (status int, err error) {
	state := room.RoomState()
	if s.state != nil {
		state = s.state(room)
	}
	q := room.RequestWithState(event, s.peer.Name(), invitetest.Encode(state))
	q.Body = invitetest.Change(q.Body, s.body...)
	if v1 {
		q = room.RequestV1(event, s.peer.Name())
	}
	if s.request != nil {
		s.request(&q)
	}
	req := q.HTTP(ctx, "https://"+string(s.peer.Name()))
	if s.header != nil {
		s.header(req.Header)
	}
	res, err := s.peer.Transport().RoundTrip(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }()
	body, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		return res.StatusCode, fmt.Errorf("status %d: %s, %w", res.StatusCode, body, err)
	}
	return res.StatusCode, s.check(ctx, room, event, body, v1)
}

func (s sender) check(ctx context.Context, room *invitetest.Room, event json.RawMessage, body []byte, v1 bool) error {
	parse := fedinvite.ParseResponseV2
	if v1 {
		parse = fedinvite.ParseResponseV1
	}
	response, err := parse(body)
	if err != nil {
		return err
	}
	sent := room.Parse(event)
	if s.answers != nil {
		if err := s.answers(response, sent); err != nil {
			return err
		}
	}
	_, err = fedinvite.MergeReply(ctx, sent, response.Event, s.peer.Name(), s.peer.Keys())
	return err
}

// stateWith replaces the entries of a type.
func stateWith(eventType string, change func(entry json.RawMessage) json.RawMessage) func(*invitetest.Room) []json.RawMessage {
	return func(room *invitetest.Room) []json.RawMessage {
		var all []json.RawMessage
		for _, entry := range room.RoomState() {
			if invitetest.Decode(entry)["type"] == eventType {
				entry = change(entry)
			}
			if entry != nil {
				all = append(all, entry)
			}
		}
		return all
	}
}

var strip = []invitetest.Edit{
	invitetest.Drop("hashes"), invitetest.Drop("signatures"), invitetest.Drop("depth"), invitetest.Drop("auth_events"), invitetest.Drop("prev_events"),
}

// departingSenders are servers that send.
func departingSenders() []departing {
	stripped := func(entry json.RawMessage) json.RawMessage { return invitetest.Change(entry, strip...) }
	return []departing{
		{name: "only says that it sends", sends: sender{silent: true}, checks: []string{"send/*"}},
		{name: "has the user's ID in the path", checks: []string{"send/endpoint", "send/v11"}, sends: sender{request: func(q *invitetest.Request) { q.EventID = "@invited:peer.example" }}},
		{name: "names no destination", checks: []string{"send/destination"}, sends: sender{header: func(h http.Header) {
			auth, err := xmatrix.Parse(h.Get("Authorization"))
			if err != nil {
				panic(err)
			}
			auth.Destination = ""
			h.Set("Authorization", auth.String())
		}}},
		{name: "has two spaces in its header", checks: []string{"send/header-form"}, sends: sender{header: func(h http.Header) {
			h.Set("Authorization", strings.Replace(h.Get("Authorization"), " ", "  ", 1))
		}}},
		{name: "names no content type", checks: []string{"send/content-type"}, sends: sender{header: func(h http.Header) { h.Del("Content-Type") }}},
		{name: "names another room version", checks: []string{"send/room-version"}, sends: sender{body: []invitetest.Edit{invitetest.Set("10", "room_version")}}},
		{name: "has many auth events", checks: []string{"send/event-format", "send/auth-events"}, sends: sender{edit: func(_ *invitetest.Room, event invitetest.Object) {
			event["auth_events"] = slices.Repeat(event["auth_events"].([]any), 4)
		}}},
		{name: "has not all auth events", checks: []string{"send/auth-events"}, sends: sender{edit: func(room *invitetest.Room, event invitetest.Object) {
			create := room.Get("m.room.create", "").ID()
			event["auth_events"] = slices.DeleteFunc(event["auth_events"].([]any), func(id any) bool { return id == create })
		}}},
		{name: "hashes something else", checks: []string{"send/content-hash"}, sends: sender{change: []invitetest.Edit{invitetest.Set(strings.Repeat("A", 43), "hashes", "sha256")}}},
		{name: "signs with a key that it does not publish", checks: []string{"send/signature", "send/v6"}, sends: sender{signer: invitetest.SignerWithKey(mine, "ed25519:9")}},
		{name: "lists the create event", checks: []string{"send/v12-create-not-in-auth-events", "send/v12"}, sends: sender{edit: func(room *invitetest.Room, event invitetest.Object) {
			event["auth_events"] = append([]any{"$" + strings.TrimPrefix(room.ID(), "!")}, event["auth_events"].([]any)...)
		}}},
		{name: "leaves the create event out", checks: []string{"send/state-create", "send/v12-state-create", "send/v12"}, sends: sender{
			state: stateWith("m.room.create", func(json.RawMessage) json.RawMessage { return nil }),
		}},
		{name: "strips the create event", checks: []string{"send/state-format", "send/v12-state-create", "send/v12"}, sends: sender{state: stateWith("m.room.create", stripped)}},
		{name: "sends no room state", checks: []string{"send/state-format", "send/state-create"}, sends: sender{state: func(*invitetest.Room) []json.RawMessage { return nil }}},
		{name: "has the create event of another room", checks: []string{"send/v12-state-create", "send/state-signatures"}, sends: sender{state: func(room *invitetest.Room) []json.RawMessage {
			return invitetest.NewRoom(room.Rules().Version, room.Creator()).RoomState()
		}}},
		{name: "strips the name", checks: []string{"send/state-format"}, sends: sender{state: stateWith("m.room.name", stripped)}},
		{name: "has room state with wrong signatures", checks: []string{"send/state-signatures"}, sends: sender{
			state: stateWith("m.room.name", func(entry json.RawMessage) json.RawMessage {
				return invitetest.Change(entry, invitetest.Set(7, "depth"))
			}),
		}},
		{name: "knows v2 only", checks: []string{"send/fallback"}, sends: sender{fallback: func(bool) bool { return false }}},
		{name: "tries v1 always", checks: []string{"send/no-fallback"}, sends: sender{fallback: func(bool) bool { return true }}},
		{name: "believes that all went well", checks: []string{"send/refused", "send/no-fallback"}, sends: sender{believes: true}},
		{name: "compares all of the event", checks: []string{"send/answer-unsigned"}, sends: sender{answers: func(reply fedinvite.Response, sent *fedinvite.Event) error {
			if invitetest.Decode(reply.Event)["unsigned"] != nil {
				return fedinvite.ErrMismatch
			}
			return nil
		}}},
		{name: "wants the answer that it knows", checks: []string{"send/answer-unknown-members"}, sends: sender{answers: func(reply fedinvite.Response, _ *fedinvite.Event) error {
			if len(reply.Extra) > 0 {
				return fedinvite.ErrBadJSON
			}
			return nil
		}}},
		{name: "is not answered", checks: []string{"send/v*"}, sends: sender{silent: true}},
		{name: "fails after all", checks: []string{"send/v7", "send/answer-unsigned", "send/fallback"}, sends: sender{answers: func(fedinvite.Response, *fedinvite.Event) error { return fedinvite.ErrSignature }}},
	}
}
