package fedinvite_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// inviteDraft is an invite of @bob:b.example by @alice:a.example.
func inviteDraft(v fedinvite.RoomVersion) fedinvite.Draft {
	return fedinvite.Draft{
		RoomID:     someRoomID(v),
		Sender:     "@alice:a.example",
		Invitee:    "@bob:b.example",
		AuthEvents: draftRefs(2),
		PrevEvents: draftRefs(1),
		Depth:      9,
		Time:       time.UnixMilli(1700000000000).Add(999 * time.Microsecond),
		Content:    json.RawMessage(`{"reason":"<hi> é", "displayname":"Bob"}`),
	}
}

func draftRefs(n int) []fedinvite.EventRef {
	var refs []fedinvite.EventRef
	for i := range n {
		refs = append(refs, fedinvite.EventRef{
			ID:     "$ref" + strings.Repeat("0", i) + ":a.example",
			SHA256: bytes.Repeat([]byte{byte(i)}, 32),
		})
	}
	return refs
}

func newInvite(t testing.TB, d fedinvite.Draft, v fedinvite.RoomVersion) *fedinvite.Event {
	t.Helper()
	e, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), invitetest.Signer("a.example"))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func newLeave(t testing.TB, d fedinvite.Draft, v fedinvite.RoomVersion, server fedinvite.ServerName) *fedinvite.Event {
	t.Helper()
	e, err := fedinvite.NewLeave(t.Context(), d, rulesOf(t, v), invitetest.Signer(server))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// builders are the functions that make an event from a draft.
var builders = map[string]func(context.Context, fedinvite.Draft, fedinvite.Rules, fedinvite.Signer) (*fedinvite.Event, error){
	"invite": fedinvite.NewInvite,
	"leave":  fedinvite.NewLeave,
}

// Computed by another implementation of hashes, redaction and Ed25519.
func TestNewInviteGolden(t *testing.T) {
	for v, want := range map[fedinvite.RoomVersion]string{
		fedinvite.RoomV1:  `{"auth_events":[["$ref:a.example",{"sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}],["$ref0:a.example",{"sha256":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}]],"content":{"displayname":"Bob","membership":"invite","reason":"<hi> é"},"depth":9,"event_id":"$tKUvkEMgUXdcgfGZCbrLAM7KKYxHutn3P0Fjo7q0Mkg:a.example","hashes":{"sha256":"ywxov2Jo+bpcy0o2qUOzMhgo5KVj1ci4/1exDJlJN0k"},"origin_server_ts":1700000000000,"prev_events":[["$ref:a.example",{"sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]],"room_id":"!room:a.example","sender":"@alice:a.example","signatures":{"a.example":{"ed25519:1":"s9pWueSyjJdPiCi/Q1fn90YRGWlJz9Pr3V2W4G3BtRn2m/Euee56J2TBiRVyll/shcUoSR9TL0so5NQ7DDNLAQ"}},"state_key":"@bob:b.example","type":"m.room.member"}`,
		fedinvite.RoomV11: `{"auth_events":["$ref:a.example","$ref0:a.example"],"content":{"displayname":"Bob","membership":"invite","reason":"<hi> é"},"depth":9,"hashes":{"sha256":"Bvg+zLydzAveZlJH9G9KxasoQ8hUQ1U/ncqjTkApGU4"},"origin_server_ts":1700000000000,"prev_events":["$ref:a.example"],"room_id":"!room:a.example","sender":"@alice:a.example","signatures":{"a.example":{"ed25519:1":"e8w1eZX77TIPa4+6cRXaDkblMpPE3lRWHqRkKsyw2iYdnqYOAmvjT8BDLAX7fxkPMtiupuxxxsmJ5KecVYe5AQ"}},"state_key":"@bob:b.example","type":"m.room.member"}`,
		fedinvite.RoomV12: `{"auth_events":["$ref:a.example","$ref0:a.example"],"content":{"displayname":"Bob","membership":"invite","reason":"<hi> é"},"depth":9,"hashes":{"sha256":"X2zEgaXKu2TArW/w2diqAhKe93QakYh/W5O/yUon3IA"},"origin_server_ts":1700000000000,"prev_events":["$ref:a.example"],"room_id":"!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM","sender":"@alice:a.example","signatures":{"a.example":{"ed25519:1":"9FLI1uY3CevxDYTI4jpWCN+hn7FwRTmGesFMaltLkyhvIYIbEPZcJ1gTCxeXapwEMA2QzoxIoDFFO3e+x8IsDg"}},"state_key":"@bob:b.example","type":"m.room.member"}`,
	} {
		if diff := cmp.Diff(want, string(newInvite(t, inviteDraft(v), v).AppendJSON(nil))); diff != "" {
			t.Errorf("v%s: -want +got\n%s", v, diff)
		}
	}
}

// Computed by the same other implementation.
func TestNewLeaveGolden(t *testing.T) {
	for v, want := range map[fedinvite.RoomVersion]string{
		fedinvite.RoomV1:  `{"auth_events":[["$ref:a.example",{"sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}],["$ref0:a.example",{"sha256":"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE"}]],"content":{"displayname":"Bob","membership":"leave","reason":"<hi> é"},"depth":9,"event_id":"$8N5qYBjJCPZYIOeDWxUo2YAs-b3HP9NGIAJH1xITliw:a.example","hashes":{"sha256":"9DyS8KEVJbshD3CcPE/8OC2pxVKC9Ff8sHChE7vPzwQ"},"origin_server_ts":1700000000000,"prev_events":[["$ref:a.example",{"sha256":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}]],"room_id":"!room:a.example","sender":"@alice:a.example","signatures":{"a.example":{"ed25519:1":"gipxJzc/c3Fpeb+rAX5EzKBdCp8IbTxgvTf9wqS7PosjkMu7/Y8S2GCZmsrGzxRgVlHnSZig6qiQ8jnxfKLYCQ"}},"state_key":"@bob:b.example","type":"m.room.member"}`,
		fedinvite.RoomV11: `{"auth_events":["$ref:a.example","$ref0:a.example"],"content":{"displayname":"Bob","membership":"leave","reason":"<hi> é"},"depth":9,"hashes":{"sha256":"7TRNk3gdn9LbvKk83NBrexin4RuZn/m3SKB+qYBW+jQ"},"origin_server_ts":1700000000000,"prev_events":["$ref:a.example"],"room_id":"!room:a.example","sender":"@alice:a.example","signatures":{"a.example":{"ed25519:1":"BnDxndGlCvQxH6kle78cYtgm7LlHXjxC1CDAIsRScT7/iM0PtyiS8g9JGGRsNnMpwQ8saaYVAOTSudvSVhclBQ"}},"state_key":"@bob:b.example","type":"m.room.member"}`,
		fedinvite.RoomV12: `{"auth_events":["$ref:a.example","$ref0:a.example"],"content":{"displayname":"Bob","membership":"leave","reason":"<hi> é"},"depth":9,"hashes":{"sha256":"rHJHelIG8Q1cydKTrzMx8R022wNqDifOwwp5137ZPdg"},"origin_server_ts":1700000000000,"prev_events":["$ref:a.example"],"room_id":"!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM","sender":"@alice:a.example","signatures":{"a.example":{"ed25519:1":"iD9sR5CXD+2Ru36JvazpFlNnANIg0fdhW6nEsO1+RK+1QPM26HlaO85bj8/0JsCgn6AgZ+HO3eWhR2ssa5BxCg"}},"state_key":"@bob:b.example","type":"m.room.member"}`,
	} {
		if diff := cmp.Diff(want, string(newLeave(t, inviteDraft(v), v, "a.example").AppendJSON(nil))); diff != "" {
			t.Errorf("v%s: -want +got\n%s", v, diff)
		}
	}
}

func TestNewInviteMakesAnInviteOfEveryVersion(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		d := inviteDraft(v)
		e := newInvite(t, d, v)
		key, _ := e.StateKey()
		want := map[string]any{
			"type": "m.room.member", "membership": "invite", "state_key": "@bob:b.example", "sender": "@alice:a.example",
			"room": someRoomID(v), "depth": int64(9), "time": int64(1700000000000),
			"auth": []string{"$ref:a.example", "$ref0:a.example"}, "prev": []string{"$ref:a.example"},
			"content": `{"displayname":"Bob","membership":"invite","reason":"<hi> é"}`,
		}
		got := map[string]any{
			"type": e.Type(), "membership": e.Membership(), "state_key": key, "sender": e.Sender(),
			"room": e.RoomID(), "depth": e.Depth(), "time": e.OriginServerTS().UnixMilli(),
			"auth": e.AuthEventIDs(), "prev": e.PrevEventIDs(), "content": string(e.Content()),
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if !e.HashOK() {
			t.Error("the content hash is wrong")
		}
		if err := e.Verify(t.Context(), invitetest.Keys("a.example"), "a.example"); err != nil {
			t.Error(err)
		}
		if err := fedinvite.CheckInvite(e, "a.example", "b.example"); err != nil {
			t.Error(err)
		}
		if again := parsed(t, e.AppendJSON(nil), v); again.ID() != e.ID() {
			t.Errorf("ID %s, parsed %s", e.ID(), again.ID())
		}
		m := membersOfJSON(t, e.AppendJSON(nil))
		if _, ok := m["event_id"]; ok != hasPairs(v) {
			t.Errorf("event_id %s", m["event_id"])
		}
		if _, ok := m["unsigned"]; ok {
			t.Error("there is an unsigned")
		}
	})
}

// "take an invite back" and "decline": who leaves, and who says so.
func TestNewLeaveTakesBackAndDeclinesInEveryVersion(t *testing.T) {
	for name, c := range map[string]struct {
		sender string
		server fedinvite.ServerName
	}{
		"the inviter takes it back": {"@alice:a.example", "a.example"},
		"the invitee declines":      {"@bob:b.example", "b.example"},
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
				d := inviteDraft(v)
				d.Sender = c.sender
				e := newLeave(t, d, v, c.server)
				key, _ := e.StateKey()
				want := []string{"m.room.member", "leave", "@bob:b.example", c.sender, someRoomID(v), `{"displayname":"Bob","membership":"leave","reason":"<hi> é"}`}
				if diff := cmp.Diff(want, []string{e.Type(), e.Membership(), key, e.Sender(), e.RoomID(), string(e.Content())}); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
				if diff := cmp.Diff([]fedinvite.ServerName{c.server}, e.RequiredSigners()); diff != "" {
					t.Errorf("required signers: -want +got\n%s", diff)
				}
				if err := e.Verify(t.Context(), invitetest.Keys(c.server)); err != nil {
					t.Error(err)
				}
				if again := parsed(t, e.AppendJSON(nil), v); again.ID() != e.ID() || !again.HashOK() {
					t.Errorf("ID %s, parsed %s, whose hash is right: %v", e.ID(), again.ID(), again.HashOK())
				}
				if err := fedinvite.CheckInvite(e, "a.example", "b.example"); !errors.Is(err, fedinvite.ErrNotInvite) {
					t.Errorf("CheckInvite: %v, want ErrNotInvite", err)
				}
			})
		})
	}
}

// What is built is what signing the object and parsing it gives: there is one way to
// hash, redact and sign.
func TestBuiltEventsAreWhatSignEventJSONMakes(t *testing.T) {
	for name, edit := range map[string]func(d *fedinvite.Draft){
		"as it is":            func(*fedinvite.Draft) {},
		"no content":          func(d *fedinvite.Draft) { d.Content = nil },
		"no references":       func(d *fedinvite.Draft) { d.AuthEvents, d.PrevEvents = nil, nil },
		"unsorted content":    func(d *fedinvite.Draft) { d.Content = json.RawMessage(`{ "z":[{"b":1,"a":2}], "n":0, "a":-0 }`) },
		"escaped keys":        func(d *fedinvite.Draft) { d.Content = json.RawMessage(`{"\n":{"\"":1},"\u00e9":1,"m\u0061":"\u0000"}`) },
		"escapes":             func(d *fedinvite.Draft) { d.Content = json.RawMessage(`{"reason":"\u0001\\\"\t\/<"}`) },
		"large numbers":       func(d *fedinvite.Draft) { d.Content = json.RawMessage(`{"a":9007199254740991,"b":-9007199254740991}`) },
		"members of an event": func(d *fedinvite.Draft) { d.Content = json.RawMessage(`{"unsigned":{},"signatures":{},"hashes":{}}`) },
		"third-party": func(d *fedinvite.Draft) {
			d.Content = json.RawMessage(`{"third_party_invite":{"display_name":"b","signed":{"mxid":"@bob:b.example"}}}`)
		},
		"a user ID with escapes": func(d *fedinvite.Draft) { d.Invitee = "@b\"\\\u0001é:b.example" },
		"a depth of 0":           func(d *fedinvite.Draft) { d.Depth = 0 },
		"the epoch":              func(d *fedinvite.Draft) { d.Time = time.UnixMilli(0) },
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
				for kind, build := range builders {
					d := inviteDraft(v)
					edit(&d)
					got, err := build(t.Context(), d, rulesOf(t, v), invitetest.Signer("a.example"))
					if err != nil {
						t.Fatal(err)
					}
					m := membersOfJSON(t, got.AppendJSON(nil))
					delete(m, "hashes")
					delete(m, "signatures")
					raw, err := fedinvite.SignEventJSON(t.Context(), m.json(), rulesOf(t, v), invitetest.Signer("a.example"))
					if err != nil {
						t.Fatal(err)
					}
					want := parsed(t, raw, v)
					if diff := cmp.Diff(allOf(want), allOf(got)); diff != "" {
						t.Errorf("%s: -want +got\n%s", kind, diff)
					}
				}
			})
		})
	}
}

// allOf returns what there is to know of an event.
func allOf(e *fedinvite.Event) map[string]any {
	key, ok := e.StateKey()
	return map[string]any{
		"json": string(e.AppendJSON(nil)), "id": e.ID(), "room": e.RoomID(), "type": e.Type(), "sender": e.Sender(),
		"state key": key, "state": ok, "membership": e.Membership(), "content": string(e.Content()), "unsigned": string(e.Unsigned()),
		"signatures": string(e.Signatures()), "depth": e.Depth(), "time": e.OriginServerTS().UnixMilli(), "auth": e.AuthEventIDs(),
		"prev": e.PrevEventIDs(), "reference hash": e.ReferenceHash(), "content hash": e.ContentHash(), "hash ok": e.HashOK(),
		"redacted": string(e.Redacted().AppendJSON(nil)), "signers": e.RequiredSigners(), "rules": e.Rules(),
	}
}

func TestEventIDIsDerivedFromTheEventInVersions1And2(t *testing.T) {
	for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV2} {
		first, same := newInvite(t, inviteDraft(v), v), newInvite(t, inviteDraft(v), v)
		if first.ID() != same.ID() {
			t.Errorf("v%s: %s and %s for the same draft", v, first.ID(), same.ID())
		}
		if !strings.HasPrefix(first.ID(), "$") || !strings.HasSuffix(first.ID(), ":a.example") || len(first.ID()) != 1+43+len(":a.example") {
			t.Errorf("v%s: %s", v, first.ID())
		}
		d := inviteDraft(v)
		d.Depth++
		if other := newInvite(t, d, v); other.ID() == first.ID() {
			t.Errorf("v%s: another event has the same ID", v)
		}
		d.EventID = "$mine:a.example"
		if got := newInvite(t, d, v).ID(); got != d.EventID {
			t.Errorf("v%s: ID %s, want %s", v, got, d.EventID)
		}
	}
}

func TestMembershipIsForcedAndAuthorisationRemoved(t *testing.T) {
	for content, want := range map[string]string{
		``:                      `{"membership":"%s"}`,
		`{}`:                    `{"membership":"%s"}`,
		`{"membership":"join"}`: `{"membership":"%s"}`,
		`{"membership":null,"join_authorised_via_users_server":"@r:r.example"}`:                      `{"membership":"%s"}`,
		`{"join_authorised_via_users_server":1,"x":{"join_authorised_via_users_server":"@r:r"}}`:     `{"membership":"%s","x":{"join_authorised_via_users_server":"@r:r"}}`,
		`{"join\u005fauthorised_via_users_server":"@r:r.example","m\u0065mbership":"ban","z":[ 1 ]}`: `{"membership":"%s","z":[1]}`,
	} {
		eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
			for membership, build := range builders {
				d := inviteDraft(v)
				d.Content = json.RawMessage(content)
				e, err := build(t.Context(), d, rulesOf(t, v), invitetest.Signer("a.example"))
				if err != nil {
					t.Fatal(err)
				}
				if diff := cmp.Diff(fmt.Sprintf(want, membership), string(e.Content())); diff != "" {
					t.Errorf("%s: -want +got\n%s", content, diff)
				}
			}
		})
	}
}

// Nothing is signed that is then refused.
func TestBuildersRefuse(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(d *fedinvite.Draft, v fedinvite.RoomVersion)
		want error
	}{
		{"a sender of another server", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.Sender = "@alice:c.example" }, fedinvite.ErrSignature},
		{"no sender", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.Sender = "" }, fedinvite.ErrBadJSON},
		{"a sender that is no user ID", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.Sender = "alice" }, fedinvite.ErrBadJSON},
		{"no invitee", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.Invitee = "" }, fedinvite.ErrIdentifier},
		{"an invitee that is no user ID", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.Invitee = "!bob:b.example" }, fedinvite.ErrIdentifier},
		{"an invitee of 256 bytes", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) {
			d.Invitee = "@" + strings.Repeat("x", 245) + ":b.example"
		}, fedinvite.ErrIdentifier},
		{"no room", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.RoomID = "" }, fedinvite.ErrBadJSON},
		{"a room ID of another version", func(d *fedinvite.Draft, v fedinvite.RoomVersion) {
			d.RoomID = hashRoomID
			if v == fedinvite.RoomV12 {
				d.RoomID = "!room:a.example"
			}
		}, fedinvite.ErrBadJSON},
		{"11 auth events", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.AuthEvents = draftRefs(11) }, fedinvite.ErrBadJSON},
		{"21 previous events", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.PrevEvents = draftRefs(21) }, fedinvite.ErrBadJSON},
		{"an auth event that is none", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.AuthEvents[0].ID = "x" }, fedinvite.ErrBadJSON},
		{"a previous event without ID", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.PrevEvents[0].ID = "" }, fedinvite.ErrBadJSON},
		{"a negative depth", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.Depth = -1 }, fedinvite.ErrBadJSON},
		{"content that is no JSON", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.Content = json.RawMessage(`{`) }, fedinvite.ErrNotJSON},
		{"content that is null", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.Content = json.RawMessage(`null`) }, fedinvite.ErrBadJSON},
		{"content that is no object", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.Content = json.RawMessage(`[]`) }, fedinvite.ErrBadJSON},
		{"content with duplicates", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.Content = json.RawMessage(`{"a":1,"a":1}`) }, fedinvite.ErrDuplicateKey},
		{"content with a float", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.Content = json.RawMessage(`{"a":1.0}`) }, fedinvite.ErrBadNumber},
		{"content with a large number", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) {
			d.Content = json.RawMessage(`{"a":9007199254740992}`)
		}, fedinvite.ErrBadNumber},
		{"content nested 128 deep, which makes 129", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) { d.Content = nested(128) }, fedinvite.ErrTooDeep},
		{"65523 bytes", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) {
			d.Content = json.RawMessage(`{"reason":"` + strings.Repeat("x", 65522) + `"}`)
		}, fedinvite.ErrBadJSON},
		{"content with a float in unsigned", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) {
			d.Content = json.RawMessage(`{"unsigned":{"a":1.5}}`)
		}, fedinvite.ErrBadNumber},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
				for kind, build := range builders {
					d := inviteDraft(v)
					c.edit(&d, v)
					s := &recordingSigner{Signer: invitetest.Signer("a.example")}
					e, err := build(t.Context(), d, rulesOf(t, v), s)
					if !errors.Is(err, c.want) || e != nil {
						t.Errorf("%s: error %v, want %v", kind, err, c.want)
					}
					if s.message != nil {
						t.Errorf("%s: it was signed all the same", kind)
					}
				}
			})
		})
	}
}

// nested returns an object with depth arrays and objects in each other.
func nested(depth int) json.RawMessage {
	return json.RawMessage(`{"x":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`)
}

func TestNewInviteTakesDraftsAtTheLimits(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		d := inviteDraft(v)
		d.AuthEvents, d.PrevEvents = draftRefs(10), draftRefs(20)
		d.Content = nested(127)
		d.Depth = rulesOf(t, v).MaxDepth
		if e := newInvite(t, d, v); e.Depth() != d.Depth {
			t.Errorf("depth %d, want %d", e.Depth(), d.Depth)
		}
		if d.Depth == math.MaxInt64 {
			return
		}
		d.Depth++
		if _, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), invitetest.Signer("a.example")); !errors.Is(err, fedinvite.ErrBadJSON) {
			t.Errorf("a depth past the maximum: error %v, want ErrBadJSON", err)
		}
	})
}

// NewInvite promises strict canonical JSON in every room version.
func TestNewInviteIsStrictCanonicalJSONInEveryVersion(t *testing.T) {
	for name, at := range map[string]time.Time{"time 2^53": time.UnixMilli(1 << 53), "time -1": time.UnixMilli(-1), "no time": {}} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
				d := inviteDraft(v)
				d.Time = at
				if _, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), invitetest.Signer("a.example")); !errors.Is(err, fedinvite.ErrBadJSON) {
					t.Errorf("error %v, want ErrBadJSON", err)
				}
			})
		})
	}
}

// What cannot be written is refused; U+FFFD in its place would be another user,
// room or event.
func TestNewInviteNeverRepairsBadText(t *testing.T) {
	for name, edit := range map[string]func(d *fedinvite.Draft){
		"sender":         func(d *fedinvite.Draft) { d.Sender = "@al\xffice:a.example" },
		"invitee":        func(d *fedinvite.Draft) { d.Invitee = "@b\xffob:b.example" },
		"room":           func(d *fedinvite.Draft) { d.RoomID = "!ro\xffom:a.example" },
		"event ID":       func(d *fedinvite.Draft) { d.EventID = "$e\xff:a.example" },
		"auth event":     func(d *fedinvite.Draft) { d.AuthEvents[0].ID = "$\xff" },
		"previous event": func(d *fedinvite.Draft) { d.PrevEvents[0].ID = "$\xff" },
	} {
		t.Run(name, func(t *testing.T) {
			for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV11} {
				d := inviteDraft(v)
				edit(&d)
				if e, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), invitetest.Signer("a.example")); !errors.Is(err, fedinvite.ErrBadJSON) {
					t.Errorf("v%s: error %v, want ErrBadJSON; made an event: %v", v, err, e != nil)
				}
			}
		})
	}
}

func TestReferencesOfVersions1And2NeedHashes(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		for _, length := range []int{0, 31, 33} {
			for _, refs := range []func(d *fedinvite.Draft) []fedinvite.EventRef{
				func(d *fedinvite.Draft) []fedinvite.EventRef { return d.AuthEvents },
				func(d *fedinvite.Draft) []fedinvite.EventRef { return d.PrevEvents },
			} {
				d := inviteDraft(v)
				refs(&d)[0].SHA256 = make([]byte, length)
				_, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), invitetest.Signer("a.example"))
				if (err != nil) != hasPairs(v) || err != nil && !errors.Is(err, fedinvite.ErrBadJSON) {
					t.Errorf("a hash of %d bytes: error %v", length, err)
				}
			}
		}
	})
}

func TestEventIDsOfDrafts(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		for id, want := range map[string]error{
			"$mine:a.example": nil, "$mine:c.example": fedinvite.ErrSignature, "mine:a.example": fedinvite.ErrBadJSON, "$mine": fedinvite.ErrBadJSON,
		} {
			if !hasPairs(v) {
				want = fedinvite.ErrBadJSON // it is computed
			}
			d := inviteDraft(v)
			d.EventID = id
			if _, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), invitetest.Signer("a.example")); !errors.Is(err, want) || want == nil && err != nil {
				t.Errorf("event ID %s: error %v, want %v", id, err, want)
			}
		}
	})
}

func TestLargestInviteHas65522Bytes(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		draft := func(filling int) fedinvite.Draft {
			d := inviteDraft(v)
			d.Content = json.RawMessage(`{"reason":"` + strings.Repeat("x", filling) + `"}`)
			return d
		}
		base := len(newInvite(t, draft(0), v).AppendJSON(nil))
		if got := len(newInvite(t, draft(65522-base), v).AppendJSON(nil)); got != 65522 {
			t.Errorf("the test's invite has %d bytes", got)
		}
		s := &recordingSigner{Signer: invitetest.Signer("a.example")}
		_, err := fedinvite.NewInvite(t.Context(), draft(65523-base), rulesOf(t, v), s)
		if !errors.Is(err, fedinvite.ErrBadJSON) || s.message != nil {
			t.Errorf("65523 bytes: error %v, want ErrBadJSON; signed %v", err, s.message != nil)
		}
	})
}

// "unless it is a third-party invite"
func TestThirdPartyInvitesMayBeSignedByAnotherServer(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		d := inviteDraft(v)
		d.Sender = "@carol:c.example"
		d.Content = json.RawMessage(`{"third_party_invite":{"signed":{"mxid":"@bob:b.example","token":"t"}}}`)
		e, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), invitetest.Signer("a.example"))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Verify(t.Context(), invitetest.Keys("a.example"), "a.example"); err != nil {
			t.Error(err)
		}
	})
}

// That exception is for invites alone.
func TestLeavesAreSignedByTheSendersServerAlways(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		d := inviteDraft(v)
		d.Sender = "@carol:c.example"
		d.Content = json.RawMessage(`{"third_party_invite":{"signed":{"mxid":"@bob:b.example","token":"t"}}}`)
		s := &recordingSigner{Signer: invitetest.Signer("a.example")}
		_, err := fedinvite.NewLeave(t.Context(), d, rulesOf(t, v), s)
		var failed *fedinvite.SignatureError
		if !errors.Is(err, fedinvite.ErrSignature) || !errors.As(err, &failed) || failed.Server != "c.example" {
			t.Errorf("error %v, want that c.example has to sign", err)
		}
		if s.message != nil {
			t.Error("it was signed all the same")
		}
	})
}

func TestNewInviteAllocatesLittle(t *testing.T) {
	d, rules, s := inviteDraft(fedinvite.RoomV11), rulesOf(t, fedinvite.RoomV11), invitetest.Signer("a.example")
	allocatesAtMost(t, 14, func() error {
		_, err := fedinvite.NewInvite(t.Context(), d, rules, s)
		return err
	})
}

func TestNewInviteLeavesTheDraftAlone(t *testing.T) {
	d, want := inviteDraft(fedinvite.RoomV1), inviteDraft(fedinvite.RoomV1)
	newInvite(t, d, fedinvite.RoomV1)
	if diff := cmp.Diff(want, d); diff != "" {
		t.Errorf("-before +after\n%s", diff)
	}
}

// replyTo returns the invite as the invited server sends it back.
func replyTo(t testing.TB, e *fedinvite.Event, signers ...fedinvite.Signer) *fedinvite.Event {
	t.Helper()
	for _, s := range signers {
		signed, err := e.WithSignature(t.Context(), s)
		if err != nil {
			t.Fatal(err)
		}
		e = signed
	}
	return e
}

func TestMergeReplyAddsTheInvitedServersSignature(t *testing.T) {
	keys := invitetest.Keys("a.example", "b.example", "z.example")
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		sent := newInvite(t, inviteDraft(v), v)
		want := replyTo(t, sent, invitetest.Signer("b.example"))
		for name, reply := range map[string]members{
			"as it is":         membersOfJSON(t, want.AppendJSON(nil)),
			"with an unsigned": changedReply(t, want, func(m members) { m["unsigned"] = `{"invite_room_state":[],"age":1.5}` }),
			"without ours": changedReply(t, want, func(m members) {
				m["signatures"] = string(members{"b.example": membersOfJSON(t, []byte(m["signatures"]))["b.example"]}.json())
			}),
			"with ours replaced": changedReply(t, want, func(m members) {
				m["signatures"] = string(members{"a.example": `{"ed25519:1":"wrong","ed25519:2":"x"}`, "b.example": membersOfJSON(t, []byte(m["signatures"]))["b.example"]}.json())
			}),
			"with another server's": membersOfJSON(t, replyTo(t, want, invitetest.Signer("z.example")).AppendJSON(nil)),
			"with unknown keys": changedReply(t, want, func(m members) {
				own := membersOfJSON(t, []byte(membersOfJSON(t, []byte(m["signatures"]))["b.example"]))
				own["ed25519:unknown"], own["ed448:1"] = `"x"`, `1`
				m["signatures"] = string(members{"b.example": string(own.json())}.json())
			}),
		} {
			for form, reply := range formsOf(reply.json()) {
				got, err := fedinvite.MergeReply(t.Context(), sent, reply, "b.example", keys)
				if err != nil {
					t.Errorf("%s, %s: %v", name, form, err)
					continue
				}
				if diff := cmp.Diff(allOf(want), allOf(got)); diff != "" {
					t.Errorf("%s, %s: -want +got\n%s", name, form, diff)
				}
				if err := got.Verify(t.Context(), keys, "b.example"); err != nil {
					t.Errorf("%s, %s: %v", name, form, err)
				}
			}
		}
	})
}

// formsOf returns the reply as it is and in a form that is not canonical.
func formsOf(reply []byte) map[string][]byte {
	return map[string][]byte{"as written": reply, "with a space": append([]byte(" "), reply...)}
}

func changedReply(t testing.TB, e *fedinvite.Event, edit func(m members)) members {
	t.Helper()
	m := membersOfJSON(t, e.AppendJSON(nil))
	edit(m)
	return m
}

func TestMergeReplyAddsEveryVerifiedKey(t *testing.T) {
	sent := newInvite(t, inviteDraft(fedinvite.RoomV11), fedinvite.RoomV11)
	first, second := invitetest.Signer("b.example"), invitetest.SignerWithKey("b.example", "ed25519:2")
	keys := fedinvite.KeyMap{}
	keys.Add(first)
	keys.Add(second)
	want := replyTo(t, sent, first, second)
	got, err := fedinvite.MergeReply(t.Context(), sent, want.AppendJSON(nil), "b.example", keys)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want.AppendJSON(nil)), string(got.AppendJSON(nil))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestMergeReplyNeverReplacesOurSignatures(t *testing.T) {
	sent := newInvite(t, inviteDraft(fedinvite.RoomV11), fedinvite.RoomV11)
	got, err := fedinvite.MergeReply(t.Context(), sent, sent.AppendJSON(nil), "a.example", invitetest.Keys("a.example"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(sent.AppendJSON(nil)), string(got.AppendJSON(nil))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// The same key, once in another spelling: the one that was sent stays.
	padded := bytes.Replace(sent.AppendJSON(nil), signatureText(t, sent), append(signatureText(t, sent), "=="...), 1)
	got, err = fedinvite.MergeReply(t.Context(), sent, padded, "a.example", invitetest.Keys("a.example"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(sent.AppendJSON(nil)), string(got.AppendJSON(nil))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func signatureText(t testing.TB, e *fedinvite.Event) []byte {
	t.Helper()
	var signatures map[string]map[string]string
	if err := json.Unmarshal(e.Signatures(), &signatures); err != nil {
		t.Fatal(err)
	}
	text := signatures["a.example"]["ed25519:1"]
	if b, err := base64.RawStdEncoding.DecodeString(text); err != nil || len(b) != 64 {
		t.Fatalf("signature %q: %v", text, err)
	}
	return []byte(text)
}

func TestMergeReplyRefusals(t *testing.T) {
	v := fedinvite.RoomV11
	sent := newInvite(t, inviteDraft(v), v)
	good := replyTo(t, sent, invitetest.Signer("b.example"))
	keys := invitetest.Keys("a.example", "b.example")
	for _, c := range []struct {
		name  string
		reply []byte
		keys  fedinvite.KeySource
		want  error
	}{
		{"nothing", nil, keys, fedinvite.ErrNotJSON},
		{"no JSON", []byte(`{`), keys, fedinvite.ErrNotJSON},
		{"no object", []byte(`[]`), keys, fedinvite.ErrBadJSON},
		{"an empty object", []byte(`{}`), keys, fedinvite.ErrMismatch},
		{"another depth", changedReply(t, good, func(m members) { m["depth"] = "10" }).json(), keys, fedinvite.ErrMismatch},
		{"a member more", changedReply(t, good, func(m members) { m["org.x"] = "1" }).json(), keys, fedinvite.ErrMismatch},
		{"a member less", changedReply(t, good, func(m members) { delete(m, "state_key") }).json(), keys, fedinvite.ErrMismatch},
		{"another hash", changedReply(t, good, func(m members) { m["hashes"] = `{"sha256":"x"}` }).json(), keys, fedinvite.ErrMismatch},
		{"redacted", good.Redacted().AppendJSON(nil), keys, fedinvite.ErrMismatch},
		{"a member more, the last", changedReply(t, good, func(m members) { m["zzz"] = "1" }).json(), keys, fedinvite.ErrMismatch},
		{"a member more, the first", changedReply(t, good, func(m members) { m["aaa"] = "1" }).json(), keys, fedinvite.ErrMismatch},
		{"the last member less", changedReply(t, good, func(m members) { delete(m, "type") }).json(), keys, fedinvite.ErrMismatch},
		{"no signatures", changedReply(t, good, func(m members) { delete(m, "signatures") }).json(), keys, fedinvite.ErrSignature},
		{"duplicates", []byte(`{"a":1,"a":1}`), keys, fedinvite.ErrDuplicateKey},
		{"the event as it was sent", sent.AppendJSON(nil), keys, fedinvite.ErrSignature},
		{"signed by another server", replyTo(t, sent, invitetest.Signer("z.example")).AppendJSON(nil), invitetest.Keys("z.example", "b.example"), fedinvite.ErrSignature},
		{"signed by another key", good.AppendJSON(nil), fedinvite.KeyMap{"b.example": keys["a.example"]}, fedinvite.ErrSignature},
		{"signed by an unknown key", good.AppendJSON(nil), fedinvite.KeyMap{}, fedinvite.ErrSignature},
		{"signed by an expired key", good.AppendJSON(nil), fedinvite.KeyMap{"b.example": {"ed25519:1": {Public: invitetest.Signer("b.example").Public(), ExpiredAt: time.UnixMilli(1)}}}, fedinvite.ErrSignature},
		{"keys that cannot be had", good.AppendJSON(nil), outage{}, fedinvite.ErrKeysUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			for form, reply := range formsOf(c.reply) {
				got, err := fedinvite.MergeReply(t.Context(), sent, reply, "b.example", c.keys)
				if !errors.Is(err, c.want) || got != nil {
					t.Errorf("%s: error %v, want %v", form, err, c.want)
				}
			}
		})
	}
}

// "the same event": wherever a byte is changed outside of the signatures, it is another.
func TestMergeReplyNoticesEveryChange(t *testing.T) {
	keys := invitetest.Keys("b.example")
	for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV11} {
		sent := newInvite(t, inviteDraft(v), v)
		reply := replyTo(t, sent, invitetest.Signer("b.example"))
		text := reply.AppendJSON(nil)
		start := bytes.Index(text, reply.Signatures())
		for i, c := range text {
			if start <= i && i < start+len(reply.Signatures()) {
				continue
			}
			for _, other := range []byte{c ^ 1, '}', ' '} {
				if other == c {
					continue
				}
				changed := bytes.Clone(text)
				changed[i] = other
				if got, err := fedinvite.MergeReply(t.Context(), sent, changed, "b.example", keys); err == nil || got != nil {
					t.Errorf("v%s: byte %d changed to %q: merged", v, i, other)
				}
			}
		}
	}
}

// Whatever an event held when it was sent, it is merged or refused as if it were read
// for the first time.
func TestMergeReplyToEventsOfEveryKind(t *testing.T) {
	v := fedinvite.RoomV11
	invite := membersOfJSON(t, newInvite(t, inviteDraft(v), v).AppendJSON(nil))
	for _, c := range []struct {
		name   string
		stored bool // read without limits
		edit   func(m members)
		want   error
	}{
		{"no signatures", false, func(m members) { delete(m, "signatures") }, nil},
		{"empty signatures", false, func(m members) { m["signatures"] = "{}" }, nil},
		{"a large unsigned", false, func(m members) { m["unsigned"] = `{"x":"` + strings.Repeat("x", 70000) + `"}` }, nil},
		{"99 signatures", false, func(m members) { m["signatures"] = signaturesOf(99) }, nil},
		{"100 signatures", false, func(m members) { m["signatures"] = signaturesOf(100) }, fedinvite.ErrBadJSON},
		{"from the store", true, func(members) {}, nil},
		{"11 auth events, from the store", true, func(m members) { m["auth_events"] = eventRefs(v, 11) }, fedinvite.ErrBadJSON},
		{"70000 bytes, from the store", true, func(m members) { m["content"] = `{"membership":"invite","x":"` + strings.Repeat("x", 70000) + `"}` }, fedinvite.ErrBadJSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := maps.Clone(invite)
			c.edit(m)
			parse := fedinvite.ParseEvent
			if c.stored {
				parse = fedinvite.ParseStored
			}
			sent, err := parse(m.json(), rulesOf(t, v))
			if err != nil {
				t.Fatal(err)
			}
			for _, sent := range []*fedinvite.Event{sent, sent.Redacted()} {
				want := replyTo(t, sent, invitetest.Signer("b.example"))
				_, err := fedinvite.ParseEvent(want.AppendJSON(nil), rulesOf(t, v))
				for form, reply := range formsOf(want.AppendJSON(nil)) {
					got, merged := fedinvite.MergeReply(t.Context(), sent, reply, "b.example", invitetest.Keys("b.example"))
					switch {
					case (merged == nil) != (err == nil) || merged != nil && !errors.Is(merged, fedinvite.ErrBadJSON):
						t.Errorf("%s: error %v, ParseEvent says %v", form, merged, err)
					case merged == nil:
						if diff := cmp.Diff(allOf(want), allOf(got)); diff != "" {
							t.Errorf("%s: -want +got\n%s", form, diff)
						}
					}
				}
			}
			_, err = fedinvite.MergeReply(t.Context(), sent, replyTo(t, sent, invitetest.Signer("b.example")).AppendJSON(nil), "b.example", invitetest.Keys("b.example"))
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

// What stands in the place of signatures may be anything.
func TestMergeReplyLooksAtWhatIsInThePlaceOfSignatures(t *testing.T) {
	v := fedinvite.RoomV11
	sent := newInvite(t, inviteDraft(v), v)
	text := string(sent.AppendJSON(nil))
	good := string(replyTo(t, sent, invitetest.Signer("b.example")).Signatures())
	unsigned, err := fedinvite.ParseEvent(changedMembers(t, sent.AppendJSON(nil), func(m members) { delete(m, "signatures") }), rulesOf(t, v))
	if err != nil {
		t.Fatal(err)
	}
	deep := func(n int) string { // n open at once, the object of signatures and the event not counted
		return `{"0":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `,` + good[1:]
	}
	in := func(signatures string) string { return strings.Replace(text, string(sent.Signatures()), signatures, 1) }
	for _, c := range []struct {
		name  string
		sent  *fedinvite.Event
		reply string
		want  error
	}{
		{"an object", sent, in(good), nil},
		{"spaces", sent, in(" " + good + "\n"), nil},
		{"keys out of order", sent, in(strings.TrimSuffix(good, "}") + `,"0":{}}`), nil},
		{"nested 128 deep", sent, in(deep(126)), nil},
		{"nested 129 deep", sent, in(deep(127)), fedinvite.ErrTooDeep},
		{"duplicate keys", sent, in(`{"b.example":{},` + good[1:]), fedinvite.ErrDuplicateKey},
		{"a float", sent, in(`{"0":1.5,` + good[1:]), fedinvite.ErrBadNumber},
		{"a number", sent, in(`1`), fedinvite.ErrSignature},
		{"a string", sent, in(`"{}"`), fedinvite.ErrSignature},
		{"nothing", sent, in(``), fedinvite.ErrNotJSON},
		{"two objects", sent, in(`{}` + good), fedinvite.ErrNotJSON},
		{"an object and a member", sent, in(good + `,"skewed":1`), fedinvite.ErrMismatch},
		{"an object and the same member again", sent, in(good + `,"sender":"@alice:a.example"`), fedinvite.ErrDuplicateKey},
		{"the end of the event", sent, in(`{}}`), fedinvite.ErrNotJSON},
		{"the event without the beginning of its end", sent, text[:len(text)-1], fedinvite.ErrNotJSON},
		{"an object before an event without signatures", unsigned, good + string(unsigned.AppendJSON(nil)), fedinvite.ErrNotJSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			for form, reply := range formsOf([]byte(c.reply)) {
				got, err := fedinvite.MergeReply(t.Context(), c.sent, reply, "b.example", invitetest.Keys("b.example"))
				if !errors.Is(err, c.want) || (got == nil) != (c.want != nil) {
					t.Errorf("%s: error %v, want %v", form, err, c.want)
				}
			}
		})
	}
}

func TestMergeReplyOfVersionsBefore5IgnoresKeyValidity(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		sent := newInvite(t, inviteDraft(v), v)
		reply := replyTo(t, sent, invitetest.Signer("b.example"))
		keys := fedinvite.KeyMap{"b.example": {"ed25519:1": {Public: invitetest.Signer("b.example").Public(), ValidUntil: time.UnixMilli(1)}}}
		_, err := fedinvite.MergeReply(t.Context(), sent, reply.AppendJSON(nil), "b.example", keys)
		if legacy := slices.Index(fedinvite.RoomVersions(), v) < 4; (err == nil) != legacy {
			t.Errorf("error %v, want one: %v", err, !legacy)
		}
	})
}

// An event ID that is derived has at most 255 bytes, however long the server's name is.
func TestNewInviteOfALongServerName(t *testing.T) {
	for _, length := range []int{209, 210, 211, 250, 253} {
		server := fedinvite.ServerName(strings.Repeat("a", length))
		d := inviteDraft(fedinvite.RoomV1)
		d.Sender, d.EventID = "@:"+string(server), ""
		e, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, fedinvite.RoomV1), invitetest.Signer(server))
		if err != nil {
			t.Errorf("%d: %v", length, err)
			continue
		}
		if want := min(255, 1+43+1+length); len(e.ID()) != want {
			t.Errorf("%d: ID of %d bytes, want %d", length, len(e.ID()), want)
		}
	}
	for _, length := range []int{254, 255} { // which no user ID fits
		d := inviteDraft(fedinvite.RoomV1)
		d.EventID = ""
		server := fedinvite.ServerName(strings.Repeat("a", length))
		if _, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, fedinvite.RoomV1), invitetest.Signer(server)); err == nil {
			t.Errorf("%d: no error", length)
		}
	}
}
