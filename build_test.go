package fedinvite_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
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
	e, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), newSigner(t, "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	return e
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
		if err := e.Verify(t.Context(), keysOf(t, "a.example"), "a.example"); err != nil {
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
		``:                      `{"membership":"invite"}`,
		`{}`:                    `{"membership":"invite"}`,
		`{"membership":"join"}`: `{"membership":"invite"}`,
		`{"membership":null,"join_authorised_via_users_server":"@r:r.example"}`:                      `{"membership":"invite"}`,
		`{"join_authorised_via_users_server":1,"x":{"join_authorised_via_users_server":"@r:r"}}`:     `{"membership":"invite","x":{"join_authorised_via_users_server":"@r:r"}}`,
		`{"join\u005fauthorised_via_users_server":"@r:r.example","m\u0065mbership":"ban","z":[ 1 ]}`: `{"membership":"invite","z":[1]}`,
	} {
		eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
			d := inviteDraft(v)
			d.Content = json.RawMessage(content)
			if diff := cmp.Diff(want, string(newInvite(t, d, v).Content())); diff != "" {
				t.Errorf("%s: -want +got\n%s", content, diff)
			}
		})
	}
}

func TestNewInviteRefusals(t *testing.T) {
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
		{"content with a float in unsigned", func(d *fedinvite.Draft, _ fedinvite.RoomVersion) {
			d.Content = json.RawMessage(`{"unsigned":{"a":1.5}}`)
		}, fedinvite.ErrBadNumber},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
				d := inviteDraft(v)
				c.edit(&d, v)
				e, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), newSigner(t, "a.example"))
				if !errors.Is(err, c.want) || e != nil {
					t.Errorf("error %v, want %v", err, c.want)
				}
			})
		})
	}
}

func TestNewInviteTakesDraftsAtTheLimits(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		d := inviteDraft(v)
		d.AuthEvents, d.PrevEvents = draftRefs(10), draftRefs(20)
		d.Depth = rulesOf(t, v).MaxDepth
		if e := newInvite(t, d, v); e.Depth() != d.Depth {
			t.Errorf("depth %d, want %d", e.Depth(), d.Depth)
		}
		if d.Depth == math.MaxInt64 {
			return
		}
		d.Depth++
		if _, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), newSigner(t, "a.example")); !errors.Is(err, fedinvite.ErrBadJSON) {
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
				if _, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), newSigner(t, "a.example")); !errors.Is(err, fedinvite.ErrBadJSON) {
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
				if e, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), newSigner(t, "a.example")); !errors.Is(err, fedinvite.ErrBadJSON) {
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
				_, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), newSigner(t, "a.example"))
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
			if _, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), newSigner(t, "a.example")); !errors.Is(err, want) || want == nil && err != nil {
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
		_, err := fedinvite.NewInvite(t.Context(), draft(65523-base), rulesOf(t, v), newSigner(t, "a.example"))
		if !errors.Is(err, fedinvite.ErrBadJSON) {
			t.Errorf("65523 bytes: error %v, want ErrBadJSON", err)
		}
	})
}

// "unless it is a third-party invite"
func TestThirdPartyInvitesMayBeSignedByAnotherServer(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		d := inviteDraft(v)
		d.Sender = "@carol:c.example"
		d.Content = json.RawMessage(`{"third_party_invite":{"signed":{"mxid":"@bob:b.example","token":"t"}}}`)
		e, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), newSigner(t, "a.example"))
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Verify(t.Context(), keysOf(t, "a.example"), "a.example"); err != nil {
			t.Error(err)
		}
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
	keys := keysOf(t, "a.example", "b.example", "z.example")
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		sent := newInvite(t, inviteDraft(v), v)
		want := replyTo(t, sent, newSigner(t, "b.example"))
		for name, reply := range map[string]members{
			"as it is":         membersOfJSON(t, want.AppendJSON(nil)),
			"with an unsigned": changedReply(t, want, func(m members) { m["unsigned"] = `{"invite_room_state":[],"age":1.5}` }),
			"without ours": changedReply(t, want, func(m members) {
				m["signatures"] = string(members{"b.example": membersOfJSON(t, []byte(m["signatures"]))["b.example"]}.json())
			}),
			"with ours replaced": changedReply(t, want, func(m members) {
				m["signatures"] = string(members{"a.example": `{"ed25519:1":"wrong","ed25519:2":"x"}`, "b.example": membersOfJSON(t, []byte(m["signatures"]))["b.example"]}.json())
			}),
			"with another server's": membersOfJSON(t, replyTo(t, want, newSigner(t, "z.example")).AppendJSON(nil)),
			"with unknown keys": changedReply(t, want, func(m members) {
				own := membersOfJSON(t, []byte(membersOfJSON(t, []byte(m["signatures"]))["b.example"]))
				own["ed25519:unknown"], own["ed448:1"] = `"x"`, `1`
				m["signatures"] = string(members{"b.example": string(own.json())}.json())
			}),
		} {
			got, err := fedinvite.MergeReply(t.Context(), sent, reply.json(), "b.example", keys)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if diff := cmp.Diff(string(want.AppendJSON(nil)), string(got.AppendJSON(nil))); diff != "" {
				t.Errorf("%s: -want +got\n%s", name, diff)
			}
			if err := got.Verify(t.Context(), keys, "b.example"); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			if got.ID() != sent.ID() {
				t.Errorf("%s: ID %s, want %s", name, got.ID(), sent.ID())
			}
		}
	})
}

func changedReply(t testing.TB, e *fedinvite.Event, edit func(m members)) members {
	t.Helper()
	m := membersOfJSON(t, e.AppendJSON(nil))
	edit(m)
	return m
}

func TestMergeReplyAddsEveryVerifiedKey(t *testing.T) {
	sent := newInvite(t, inviteDraft(fedinvite.RoomV11), fedinvite.RoomV11)
	first, second := newSigner(t, "b.example"), newSignerID(t, "b.example", "ed25519:2")
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
	got, err := fedinvite.MergeReply(t.Context(), sent, sent.AppendJSON(nil), "a.example", keysOf(t, "a.example"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(sent.AppendJSON(nil)), string(got.AppendJSON(nil))); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	// The same key, once in another spelling: the one that was sent stays.
	padded := bytes.Replace(sent.AppendJSON(nil), signatureText(t, sent), append(signatureText(t, sent), "=="...), 1)
	got, err = fedinvite.MergeReply(t.Context(), sent, padded, "a.example", keysOf(t, "a.example"))
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
	good := replyTo(t, sent, newSigner(t, "b.example"))
	keys := keysOf(t, "a.example", "b.example")
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
		{"duplicates", []byte(`{"a":1,"a":1}`), keys, fedinvite.ErrDuplicateKey},
		{"the event as it was sent", sent.AppendJSON(nil), keys, fedinvite.ErrSignature},
		{"signed by another server", replyTo(t, sent, newSigner(t, "z.example")).AppendJSON(nil), keysOf(t, "z.example", "b.example"), fedinvite.ErrSignature},
		{"signed by another key", good.AppendJSON(nil), fedinvite.KeyMap{"b.example": keys["a.example"]}, fedinvite.ErrSignature},
		{"signed by an unknown key", good.AppendJSON(nil), fedinvite.KeyMap{}, fedinvite.ErrSignature},
		{"signed by an expired key", good.AppendJSON(nil), fedinvite.KeyMap{"b.example": {"ed25519:1": {Public: newSigner(t, "b.example").Public(), ExpiredAt: time.UnixMilli(1)}}}, fedinvite.ErrSignature},
		{"keys that cannot be had", good.AppendJSON(nil), outage{}, fedinvite.ErrKeysUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := fedinvite.MergeReply(t.Context(), sent, c.reply, "b.example", c.keys)
			if !errors.Is(err, c.want) || got != nil {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
}

func TestMergeReplyOfVersionsBefore5IgnoresKeyValidity(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		sent := newInvite(t, inviteDraft(v), v)
		reply := replyTo(t, sent, newSigner(t, "b.example"))
		keys := fedinvite.KeyMap{"b.example": {"ed25519:1": {Public: newSigner(t, "b.example").Public(), ValidUntil: time.UnixMilli(1)}}}
		_, err := fedinvite.MergeReply(t.Context(), sent, reply.AppendJSON(nil), "b.example", keys)
		if legacy := slices.Index(fedinvite.RoomVersions(), v) < 4; (err == nil) != legacy {
			t.Errorf("error %v, want one: %v", err, !legacy)
		}
	})
}
