package eventauth_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// Alice acts, on Bob if not on herself, in a room that Carol made. Each server has one
// key; the identity server signs for third-party invites.
const (
	alice = "@alice:a.example"
	bob   = "@bob:b.example"
	carol = "@carol:a.example"
	dave  = "@dave:d.example"

	token = "t/o.k*e|n" // full of what means something in paths
)

type object = invitetest.Object

func rulesOf(t testing.TB, v fedinvite.RoomVersion) fedinvite.Rules {
	t.Helper()
	rules, err := v.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// A room is a room of any version, event by event.
type room struct {
	testing.TB
	rules fedinvite.Rules
	id    string
	count int
	state eventauth.State
}

// newRoom makes a room of one event: its creation, with what else the content holds.
func newRoom(t testing.TB, rules fedinvite.Rules, creator string, content object) *room {
	t.Helper()
	r := &room{TB: t, rules: rules, id: "!room:a.example"}
	all := object{"room_version": rules.Version}
	if !rules.Auth.CreatorIsSender {
		all["creator"] = creator
	}
	for k, v := range content {
		all[k] = v
	}
	create := r.add("m.room.create", "", creator, all)
	r.id = create.RoomID()
	return r
}

// add makes a state event and puts it into the state.
func (r *room) add(eventType, stateKey, sender string, content any) *fedinvite.Event {
	r.Helper()
	e := r.event(eventType, sender, content, func(o object) { o["state_key"] = stateKey })
	r.state = append(r.state, e)
	return e
}

func (r *room) member(userID, membership string) *fedinvite.Event {
	r.Helper()
	return r.add("m.room.member", userID, userID, object{"membership": membership})
}

// event makes an event, hashed and signed by its sender's server.
func (r *room) event(eventType, sender string, content any, edits ...func(object)) *fedinvite.Event {
	r.Helper()
	r.count++
	o := object{
		"type": eventType, "sender": sender, "room_id": r.id, "content": content,
		"depth": r.count, "origin_server_ts": 1_700_000_000_000 + r.count,
		"auth_events": []any{}, "prev_events": []any{},
	}
	if r.rules.RoomIDIsCreateEvent && eventType == "m.room.create" {
		delete(o, "room_id")
	}
	if r.rules.EventIDs == fedinvite.EventIDServer {
		o["event_id"] = fmt.Sprintf("$%d:a.example", r.count)
	}
	for _, edit := range edits {
		edit(o)
	}
	_, server, err := fedinvite.ParseUserID(sender)
	if err != nil {
		r.Fatal(err)
	}
	return r.parse(r.sign(invitetest.Encode(o), server))
}

func (r *room) sign(raw json.RawMessage, server fedinvite.ServerName) json.RawMessage {
	r.Helper()
	raw, err := fedinvite.SignEventJSON(r.Context(), raw, r.rules, invitetest.Signer(server))
	if err != nil {
		r.Fatal(err)
	}
	return raw
}

// tampered is an event whose content was changed after it had been hashed and signed,
// which its ID and its signatures do not show.
func tampered(r *room, e *fedinvite.Event, member string, value any) *fedinvite.Event {
	r.Helper()
	changed := r.parse(invitetest.Change(e.AppendJSON(nil), invitetest.Set(value, "content", member)))
	if changed.HashOK() || changed.ID() != e.ID() || changed.ReferenceHash() != e.ReferenceHash() {
		r.Fatalf("content hash right %v, ID %s, want false, %s", changed.HashOK(), changed.ID(), e.ID())
	}
	return changed
}

// tamper puts that event into the state in the place of the first of its type.
func (r *room) tamper(eventType, stateKey, member string, value any) {
	r.Helper()
	e := r.state.Get(eventType, stateKey)
	r.state[slices.Index(r.state, e)] = tampered(r, e, member, value)
}

func (r *room) parse(raw json.RawMessage) *fedinvite.Event {
	r.Helper()
	e, err := fedinvite.ParseStored(raw, r.rules)
	if err != nil {
		r.Fatalf("%v: %s", err, raw)
	}
	return e
}

// authEvents makes events the auth_events of one that is being made.
func (r *room) authEvents(events ...*fedinvite.Event) func(object) {
	return func(o object) {
		refs := []any{}
		for _, e := range events {
			if r.rules.EventIDs != fedinvite.EventIDServer {
				refs = append(refs, e.ID())
				continue
			}
			hash := base64.RawStdEncoding.EncodeToString(e.Ref().SHA256)
			refs = append(refs, []any{e.ID(), object{"sha256": hash}})
		}
		o["auth_events"] = refs
	}
}

// A scene is what a room looks like before Alice's event, and the event.
type scene struct {
	does  string // its membership; "": it has none
	to    string // its state key, which is Bob unless this says otherwise
	alice string // what her membership is before; "": there is none
	bob   string // likewise

	levels   string // the content of m.room.power_levels; "": there is no such event
	joinRule string // "": there is no such event
	creator  string // "": Carol
	create   string // what the content of m.room.create has besides

	content    string // what the content of the event has besides
	third      *thirdParty
	signer     fedinvite.ServerName // who signed it besides Alice's server
	noStateKey bool
	noCreate   bool // the state has no m.room.create event
}

// A thirdParty is the identity server's part of a third-party invite. The zero value is as
// it should be.
type thirdParty struct {
	property string // instead of {"signed":…}
	signed   string // instead of {"mxid":…,"token":…}; the identity server signs it
	keys     string // the content of m.room.third_party_invite instead of one public_key
	by       string // its sender instead of Alice
	none     bool   // there is no such event
}

// identity signs for third-party invites. Its key reads differently in URL-safe base64.
func identity() fedinvite.Signer { return invitetest.SignerWithKey("id2.example", "ed25519:0") }

// withKeys replaces $KEY by the identity server's key, $URLKEY by it in URL-safe base64 and
// $OTHER by a stranger's.
func withKeys(s string) string {
	key := identity().Public()
	return strings.NewReplacer(
		"$KEY", base64.RawStdEncoding.EncodeToString(key),
		"$URLKEY", base64.RawURLEncoding.EncodeToString(key),
		"$OTHER", base64.RawStdEncoding.EncodeToString(invitetest.SignerWithKey("other.example", "ed25519:0").Public()),
	).Replace(s)
}

// signed returns an object that is signed by the identity server.
func signed(t testing.TB, raw string) json.RawMessage {
	t.Helper()
	b, err := fedinvite.SignJSON(t.Context(), []byte(raw), identity())
	if err != nil {
		t.Fatal(err)
	}
	return b
}

const goodSigned = `{"mxid":"` + bob + `","token":"` + token + `"}`

// build makes the room, with its state, and the event.
func (s scene) build(t testing.TB, rules fedinvite.Rules) (*room, *fedinvite.Event) {
	t.Helper()
	create := object{}
	if s.create != "" {
		create = invitetest.Decode([]byte(s.create))
	}
	creator := s.creator
	if creator == "" {
		creator = carol
	}
	r := newRoom(t, rules, creator, create)
	if s.noCreate {
		r.state = nil
	}
	if s.levels != "" {
		r.add("m.room.power_levels", "", carol, invitetest.Decode([]byte(s.levels)))
	}
	if s.joinRule != "" {
		r.add("m.room.join_rules", "", carol, object{"join_rule": s.joinRule})
	}
	for _, m := range []struct{ user, membership string }{{alice, s.alice}, {bob, s.bob}} {
		if m.membership != "" {
			r.member(m.user, m.membership)
		}
	}
	return r, s.event(r)
}

// event makes Alice's event, and what a third-party invite needs.
func (s scene) event(r *room) *fedinvite.Event {
	r.Helper()
	content := object{}
	if s.content != "" {
		content = invitetest.Decode([]byte(s.content))
	}
	if s.does != "" {
		content["membership"] = s.does
	}
	if s.third != nil {
		content["third_party_invite"] = s.third.add(r)
	}
	return r.event("m.room.member", alice, content, func(o object) {
		if s.noStateKey {
			return
		}
		o["state_key"] = bob
		if s.to != "" {
			o["state_key"] = s.to
		}
	}, func(o object) {
		if s.signer != "" {
			o["signatures"] = object{string(s.signer): object{"ed25519:1": "c2lnbmF0dXJl"}}
		}
	})
}

// add puts the token's event into the room and returns content.third_party_invite.
func (p *thirdParty) add(r *room) json.RawMessage {
	r.Helper()
	if !p.none {
		keys, by := p.keys, p.by
		if keys == "" {
			keys = `{"display_name":"B…","key_validity_url":"https://id2.example/valid","public_key":"$KEY"}`
		}
		if by == "" {
			by = alice
		}
		r.add("m.room.third_party_invite", token, by, invitetest.Decode([]byte(withKeys(keys))))
		// Another one, which nobody asks for.
		r.add("m.room.third_party_invite", "another", alice, object{})
	}
	if p.property != "" {
		return json.RawMessage(p.property)
	}
	s := p.signed
	if s == "" {
		s = goodSigned
	}
	return invitetest.Encode(object{"signed": signed(r, s)})
}

// splitArray returns the elements of a JSON array.
func splitArray(raw []byte) (all []json.RawMessage) {
	if json.Unmarshal(raw, &all) != nil {
		return nil
	}
	return all
}

// canonicalText returns s as a JSON string in canonical form.
func canonicalText(t testing.TB, s string) []byte {
	t.Helper()
	b, err := fedinvite.MarshalCanonical(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
