package fedinvite_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// What peers tried that no scenario has.

// replyOf returns the invite as serverB sends it back, signed with n keys.
func replyOf(t *testing.T, sent *fedinvite.Event, n int) (json.RawMessage, fedinvite.KeyMap) {
	t.Helper()
	keys := fedinvite.KeyMap{}
	for i := range n {
		s := invitetest.SignerWithKey(serverB, fedinvite.KeyID(fmt.Sprintf("ed25519:%d", i)))
		keys.Add(s)
		var err error
		if sent, err = sent.WithSignature(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	return sent.AppendJSON(nil), keys
}

func TestMergeReplyWritesBase64AsWeDo(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	sent := r.Parse(r.signedInvite())
	reply, keys := replyOf(t, sent, 1)
	want := string(reply)
	o := decode(reply)
	own := o["signatures"].(object)[string(serverB)].(object)
	signature, err := base64.RawStdEncoding.DecodeString(own["ed25519:0"].(string))
	if err != nil {
		t.Fatal(err)
	}
	own["ed25519:0"] = base64.URLEncoding.EncodeToString(signature)
	merged, err := fedinvite.MergeReply(t.Context(), sent, encode(o), serverB, keys)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, string(merged.AppendJSON(nil))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestMergeReplyTakesTenSignaturesAtMost(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	sent := r.Parse(r.signedInvite())
	for n, want := range map[int]error{10: nil, 11: fedinvite.ErrSignature} {
		reply, keys := replyOf(t, sent, n)
		if _, err := fedinvite.MergeReply(t.Context(), sent, reply, serverB, keys); !errors.Is(err, want) {
			t.Errorf("%d signatures: %v, want %v", n, err, want)
		}
	}
}

// An event that nobody would take must not go into the room.
func TestMergeReplyKeepsTheLimitsOfAnEvent(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	fill := func(n int, edits ...edit) *fedinvite.Event {
		return r.Parse(r.signedInvite(append(edits, set(strings.Repeat("x", n), "content", "reason"))...))
	}
	grow := 65_536 - len(fill(0).AppendJSON(nil))
	reply, _ := replyOf(t, fill(0), 1)
	signature := len(reply) - len(fill(0).AppendJSON(nil))
	for name, unsigned := range map[string]edit{
		"no unsigned":              drop("unsigned"),
		"unsigned does not count":  set(object{"age": 1}, "unsigned"),
		"nor does unsigned null":   set(nil, "unsigned"),
		"nor one that is a string": set("x", "unsigned"),
	} {
		for over, want := range map[int]error{0: nil, 1: fedinvite.ErrBadJSON} {
			stored := fill(grow-signature+over, unsigned)
			for _, sent := range []*fedinvite.Event{stored, parsed(t, stored.AppendJSON(nil), fedinvite.RoomV11)} {
				reply, keys := replyOf(t, sent, 1)
				if _, err := fedinvite.MergeReply(t.Context(), sent, reply, serverB, keys); !errors.Is(err, want) {
					t.Errorf("%s, %d bytes over: %v, want %v", name, over, err, want)
				}
			}
		}
	}
}

// A third-party invite need not be signed by its sender's server, so it must not
// make the sender look verified.
func TestRoomStateVouchesOnlyForWhoSigned(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	raw := r.Sign(r.Draft(alice, "m.room.member", "@x:c.example", nil,
		set("@boss:b.example", "sender"),
		set(object{"membership": "invite", "third_party_invite": object{}, "join_authorised_via_users_server": "@x:c.example"}, "content")), invitetest.Signer(serverC))
	keys := invitetest.Keys(serverA, serverB, serverC)
	invite := r.Parse(r.signedInvite())
	state, err := fedinvite.CheckRoomState(t.Context(), []json.RawMessage{r.create(), raw}, invite, keys, fedinvite.StateStrict)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for _, e := range state.Events {
		got[e.Type] = e.Verified
	}
	if diff := cmp.Diff(map[string]bool{"m.room.create": true, "m.room.member": false}, got); diff != "" {
		t.Errorf("verified: -want +got\n%s", diff)
	}
}

// The room ID proves the create event, so this must be one that a room can start with.
func TestRoomStateCreateMustStartARoomOfTheVersion(t *testing.T) {
	for name, c := range map[string]struct {
		edit edit
		want error
	}{
		"as it should be":      {func(object) {}, nil},
		"another room version": {set("11", "content", "room_version"), fedinvite.ErrStateRoom},
		"no room version":      {drop("content", "room_version"), fedinvite.ErrStateRoom},
		"previous events":      {set([]any{"$before"}, "prev_events"), fedinvite.ErrStateRoom},
		"auth events":          {set([]any{"$before"}, "auth_events"), fedinvite.ErrStateRoom},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(fedinvite.RoomV12)
			create := decode(r.create())
			for _, member := range []string{"hashes", "signatures"} {
				delete(create, member)
			}
			c.edit(create)
			raw := r.Sign(create, invitetest.Signer(serverA))
			e, err := fedinvite.ParseEvent(raw, rulesOf(t, fedinvite.RoomV12))
			if err != nil {
				t.Fatal(err)
			}
			invite := r.Parse(r.signedInvite(set(e.RoomID(), "room_id")))
			keys := invitetest.Keys(serverA)
			_, err = fedinvite.CheckRoomState(t.Context(), []json.RawMessage{raw}, invite, keys, fedinvite.StateCreateOnly)
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

// What a KeySource's own requests were told is not for the peer.
func TestWireErrorOfAnOutageHidesItsRefusal(t *testing.T) {
	inner := fedinvite.Refuse(fedinvite.CodeForbidden, "secret")
	e := fedinvite.WireError(fmt.Errorf("%w: %w", fedinvite.ErrKeysUnavailable, inner))
	if e.Status != 503 || strings.Contains(e.Message, "secret") {
		t.Errorf("%d %s", e.Status, e.Message)
	}
	outer := &fedinvite.Error{Code: fedinvite.CodeForbidden, Message: "told", Err: fedinvite.ErrKeysUnavailable}
	if e := fedinvite.WireError(outer); e.Status != 403 || e.Message != "told" {
		t.Errorf("%d %s", e.Status, e.Message)
	}
}

// Values that no constructor made give errors, never signatures.
func TestZeroValues(t *testing.T) {
	if _, err := new(fedinvite.Event).WithSignature(t.Context(), invitetest.Signer(serverB)); err == nil {
		t.Error("the zero Event was signed")
	}
	signer := invitetest.Signer(serverB)
	signature, err := signer.Sign(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := new(fedinvite.Event).WithForeignSignature(serverB, signer.KeyID(), fedinvite.VerifyKey{Public: signer.Public()}, signature); err == nil {
		t.Error("the zero Event was signed by another")
	}
	if got := new(fedinvite.Event).ContentJSON("a"); got != "" {
		t.Errorf("the zero Event has content %s", got)
	}
	if err := new(fedinvite.Event).Verify(t.Context(), fedinvite.KeyMap{}); err == nil {
		t.Error("the zero Event was verified")
	}
	if _, err := fedinvite.CheckRoomState(t.Context(), nil, nil, nil, fedinvite.StateOff); err == nil {
		t.Error("room state without an invite was accepted")
	}
	if got := fedinvite.SelectRoomState([]*fedinvite.Event{nil}, 0); len(got) != 0 {
		t.Errorf("selected %s", got)
	}
}

func TestSignedJSON(t *testing.T) {
	for in, want := range map[string][2]string{
		`{"b":1,"a":{"signatures":0},"signatures":{"x":{}},"unsigned":2}`: {`{"a":{"signatures":0},"b":1}`, `{"x":{}}`},
		`{"signatures":[]}`: {`{}`, ``},
		`{}`:                {`{}`, ``},
	} {
		message, signatures, err := fedinvite.SignedJSON([]byte(in))
		if diff := cmp.Diff(want, [2]string{string(message), string(signatures)}); err != nil || diff != "" {
			t.Errorf("%s: %v, -want +got\n%s", in, err, diff)
		}
	}
	for in, want := range map[string]error{`[]`: fedinvite.ErrBadJSON, `{`: fedinvite.ErrNotJSON, `{"a":1,"a":1}`: fedinvite.ErrDuplicateKey} {
		if _, _, err := fedinvite.SignedJSON([]byte(in)); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", in, err, want)
		}
	}
}

func TestRoomStateGet(t *testing.T) {
	s := fedinvite.RoomState{Events: []fedinvite.StateEvent{{Type: "m.room.name", Sender: "@a:a.example"}, {Type: "m.room.member", StateKey: "@a:a.example"}}}
	if e, ok := s.Get("m.room.name", ""); !ok || e.Sender != "@a:a.example" {
		t.Errorf("name: %v, %v", e, ok)
	}
	if _, ok := s.Get("m.room.member", ""); ok {
		t.Error("found a member without a name")
	}
}

// A refusal tells the peer what is wrong in particular, where our own words say it.
func TestWireErrorDetails(t *testing.T) {
	l := newRoom(fedinvite.RoomV11).sendInvite()
	d := deliveryOf(t, l)
	d.EventID = "$other"
	_, err := newHost(t).Check(t.Context(), d)
	if got, want := fedinvite.WireError(err).Message, "does not match: the event ID of the path and that of the event"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

// Splicing signatures into an event must give what writing it anew gives, however
// many there were before.
func TestWithSignatureIsTheSameAsWritingAnew(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	for name, edits := range map[string][]edit{
		"none":              {drop("signatures")},
		"empty":             {set(object{}, "signatures")},
		"another's":         {},
		"ours, no object":   {set(1, "signatures", string(serverB))},
		"unsigned":          {set(object{"age": 1}, "unsigned")},
		"none and unsigned": {drop("signatures"), set(object{"age": 1}, "unsigned")},
	} {
		t.Run(name, func(t *testing.T) {
			e, err := fedinvite.ParseEvent(change(r.signedInvite(), edits...), rulesOf(t, fedinvite.RoomV11))
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range []*fedinvite.Event{e, e.Redacted()} {
				for _, id := range []fedinvite.KeyID{"ed25519:2", "ed25519:1", "ed25519:2"} {
					signer := invitetest.SignerWithKey(serverB, id)
					want := decode(e.AppendJSON(nil))
					signatures, _ := want["signatures"].(object)
					if signatures == nil {
						signatures = object{}
					}
					own, _ := signatures[string(serverB)].(object)
					if own == nil {
						own = object{}
					}
					message, _, err := fedinvite.SignedJSON(e.Redacted().AppendJSON(nil))
					if err != nil {
						t.Fatal(err)
					}
					signature, err := signer.Sign(t.Context(), message)
					if err != nil {
						t.Fatal(err)
					}
					own[string(id)] = base64.RawStdEncoding.EncodeToString(signature)
					signatures[string(serverB)] = own
					want["signatures"] = signatures
					if e, err = e.WithSignature(t.Context(), signer); err != nil {
						t.Fatal(err)
					}
					if diff := cmp.Diff(canonicalText(t, string(encode(want))), string(e.AppendJSON(nil))); diff != "" {
						t.Fatalf("-want +got\n%s", diff)
					}
					if diff := cmp.Diff(canonicalText(t, string(encode(signatures))), string(e.Signatures())); diff != "" {
						t.Fatalf("signatures: -want +got\n%s", diff)
					}
				}
			}
		})
	}
}
