package fedinvite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"golang.org/x/crypto/ed25519"
)

// The tests in this file are the black-box scenarios of receiving an invite, each
// with its number. Where nothing else is said the invite is a valid one in a room
// of version 11, sent to the v2 endpoint of serverB by serverA.

// A refusal is a letter that is refused.
type refusal struct {
	name   string
	letter letter
	config func(*fedinvite.Config)
	want   verdict
	err    error // what Done is told
}

func runRefusals(t *testing.T, cases []refusal) {
	t.Helper()
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var edits []func(*fedinvite.Config)
			if c.config != nil {
				edits = append(edits, c.config)
			}
			_, err := newHost(t, edits...).refuses(t, c.letter.Inbound(t.Context()), c.want)
			if !errors.Is(err, c.err) {
				t.Errorf("Done got %v, want %v", err, c.err)
			}
		})
	}
}

func TestScenarioAccepted(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)

	t.Run("01 base: 200, the event plus signatures.B, which verifies", func(t *testing.T) {
		l := r.sendInvite()
		inv := newHost(t).accepts(t, l, nil)
		// The signature covers the event as the specification says, worked out
		// here without the package: keys are sorted, nothing needs an escape.
		signed := decode(inv.Event.AppendJSON(nil))
		signature, _ := signed["signatures"].(object)[string(serverB)].(object)["ed25519:1"].(string)
		drop("signatures")(signed)
		if !ed25519.Verify(invitetest.Signer(serverB).Public(), encode(signed), fromBase64(t, signature+"==")) {
			t.Error("our signature is not over the event without signatures and unsigned")
		}
	})

	t.Run("02 base sent twice: 200 twice, identical bytes", func(t *testing.T) {
		h, l := newHost(t), r.sendInvite()
		first, second := answer(h, l.Inbound(t.Context())), answer(h, l.Inbound(t.Context()))
		if first.Code != http.StatusOK || second.Code != http.StatusOK {
			t.Fatalf("status %d, then %d, want 200 twice", first.Code, second.Code)
		}
		if diff := cmp.Diff(first.Body.String(), second.Body.String()); diff != "" {
			t.Errorf("second answer (-first +second):\n%s", diff)
		}
		if len(h.handled) != 2 || len(h.done) != 2 {
			t.Errorf("handled %d times, done %d times, want twice each", len(h.handled), len(h.done))
		}
	})

	for _, v := range fedinvite.RoomVersions() {
		t.Run("03 base in room version "+string(v)+": 200", func(t *testing.T) {
			r := newRoom(v)
			h := newHost(t)
			inv := h.accepts(t, r.sendInvite(), nil)
			if len(inv.RoomState.Warnings) != 0 {
				t.Errorf("warnings %v, want none", inv.RoomState.Warnings)
			}
		})
	}

	t.Run("08 a signature in our name is replaced by ours", func(t *testing.T) {
		forged := change(r.signedInvite(), set(strings.Repeat("A", 86), "signatures", string(serverB), "ed25519:1"))
		newHost(t).accepts(t, r.Request(forged, serverB), nil)
	})

	t.Run("10 known valid key and unknown key under A: 200", func(t *testing.T) {
		event := r.Sign(r.InviteDraft(bob), invitetest.Signer(serverA), invitetest.SignerWithKey(serverA, "ed25519:unknown"))
		newHost(t).accepts(t, r.Request(event, serverB), nil)
	})
	t.Run("10 a key of another algorithm under A: 200", func(t *testing.T) {
		event := change(r.signedInvite(), set(7, "signatures", string(serverA), "ml-dsa:1"))
		newHost(t).accepts(t, r.Request(event, serverB), nil)
	})
	t.Run("10 nonsense under the names of other servers: 200", func(t *testing.T) {
		event := change(r.signedInvite(), set(7, "signatures", string(serverC)), set("x", "signatures", "no server", "ed25519:1"))
		newHost(t).accepts(t, r.Request(event, serverB), nil)
	})

	t.Run("11 key valid until before origin_server_ts, v4: 200", func(t *testing.T) {
		r := newRoom(fedinvite.RoomV4)
		event := r.Sign(r.InviteDraft(bob), invitetest.SignerWithKey(serverA, "ed25519:old"))
		key := expiredKeys()["key valid until"]
		newHost(t, withKey(serverA, "ed25519:old", key)).accepts(t, r.Request(event, serverB), nil)
	})
	t.Run("11 key expired at origin_server_ts itself, v5: 200", func(t *testing.T) {
		r := newRoom(fedinvite.RoomV5)
		old := invitetest.SignerWithKey(serverA, "ed25519:old")
		key := fedinvite.VerifyKey{Public: old.Public(), ExpiredAt: eventTime}
		newHost(t, withKey(serverA, "ed25519:old", key)).accepts(t, r.Request(r.Sign(r.InviteDraft(bob), old), serverB), nil)
	})

	for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV2} {
		t.Run("12 v"+string(v)+" room, event_id on C, with C's signature: 200", func(t *testing.T) {
			r := newRoom(v)
			event := r.Sign(r.InviteDraft(bob, set("$x:c.example", "event_id")), invitetest.Signer(serverA), invitetest.Signer(serverC))
			newHost(t).accepts(t, r.Request(event, serverB), nil)
		})
	}

	t.Run("13 content changed after signing: the redacted copy is used", func(t *testing.T) {
		signed := r.signedInvite()
		changed := change(signed, set("forged", "content", "reason"), set("forged", "surplus"))
		l := r.Request(changed, serverB)
		inv := newHost(t).accepts(t, l, signed) // which is in redacted form
		if !inv.Event.HashOK() {
			t.Error("nothing that was signed is missing, but the hash is wrong")
		}
	})
	t.Run("13 the redacted copy of an invite from which the content was taken", func(t *testing.T) {
		signed := r.signedInvite(set("welcome", "content", "reason"))
		redacted := change(signed, drop("content", "reason"))
		newHost(t).accepts(t, r.Request(redacted, serverB), redacted)
	})

	for _, c := range []struct {
		v    fedinvite.RoomVersion
		want string
	}{{fedinvite.RoomV3, "/+"}, {fedinvite.RoomV4, "-_"}} {
		t.Run(fmt.Sprintf("16 v%s event ID with %q, percent-encoded path: 200", c.v, c.want), func(t *testing.T) {
			r := newRoom(c.v)
			for i := range 10_000 {
				event := r.signedInvite(set(i, "depth"))
				l := r.Request(event, serverB)
				if strings.Contains(l.EventID, c.want[:1]) && strings.Contains(l.EventID, c.want[1:]) {
					newHost(t).accepts(t, l, nil)
					return
				}
			}
			t.Fatal("no such event ID found")
		})
	}

	t.Run("20 A allowed by the ACL, C denied: 200", func(t *testing.T) {
		newHost(t, withACL(t, `{"allow":["*"],"deny":["C.EXAMPLE"]}`)).accepts(t, r.sendInvite(), nil)
	})

	for _, n := range []string{"1.5", "1e3", "9007199254740992", "-9007199254740992", "1E-7", "123456789012345678901234567890"} {
		t.Run("28 "+n+" in v5: accepted if the signature verifies", func(t *testing.T) {
			r := newRoom(fedinvite.RoomV5)
			l := r.sendInvite(set(json.RawMessage(n), "content", "n"))
			newHost(t).accepts(t, l, nil)
		})
	}

	t.Run("39 v1 endpoint, v1 room, unsigned.invite_room_state: [200,{event}], state extracted", func(t *testing.T) {
		r := newRoom(fedinvite.RoomV1)
		r.Name("Tea")
		inv := newHost(t).accepts(t, r.RequestV1(r.signedInvite(), serverB), nil)
		want := []string{
			`{"content":{"creator":"@a:a.example","room_version":"1"},"sender":"@a:a.example","state_key":"","type":"m.room.create"}`,
			`{"content":{"name":"Tea"},"sender":"@a:a.example","state_key":"","type":"m.room.name"}`,
			`{"content":{"membership":"join"},"sender":"@a:a.example","state_key":"@a:a.example","type":"m.room.member"}`,
			`{"content":{"join_rule":"invite"},"sender":"@a:a.example","state_key":"","type":"m.room.join_rules"}`,
		}
		if diff := cmp.Diff(want, texts(inv.RoomState.Client())); diff != "" {
			t.Errorf("room state (-want +got):\n%s", diff)
		}
	})
	t.Run("39 v1 endpoint, v2 room: 200", func(t *testing.T) {
		r := newRoom(fedinvite.RoomV2)
		newHost(t).accepts(t, r.sendV1(r.signedInvite()), nil)
	})

	for _, endpoint := range []string{"v1", "v2"} {
		t.Run("41 hostile unsigned, "+endpoint+": stripped from stored copy and reply, signature unaffected", func(t *testing.T) {
			r := newRoom(fedinvite.RoomV1)
			event := change(r.signedInvite(),
				set("join", "unsigned", "prev_content", "membership"),
				set(object{"type": "m.room.redaction"}, "unsigned", "redacted_because"),
				set(json.RawMessage("1.5"), "unsigned", "age"))
			l := r.Request(event, serverB)
			if endpoint == "v1" {
				l = r.sendV1(event)
			}
			if inv := newHost(t).accepts(t, l, nil); inv.Event.Unsigned() != nil {
				t.Errorf("unsigned %s, want none", inv.Event.Unsigned())
			}
		})
	}
	for name, unsigned := range map[string]any{"float": json.RawMessage(`{"age":1.5}`), "number": 7, "null": nil, "array": []any{}} {
		t.Run("41 v11, unsigned with "+name+": 200", func(t *testing.T) {
			newHost(t).accepts(t, r.Request(change(r.signedInvite(), set(unsigned, "unsigned")), serverB), nil)
		})
	}

	via := set("@x:c.example", "content", "join_authorised_via_users_server")
	t.Run("42 join_authorised_via_users_server, signed by its server: 200", func(t *testing.T) {
		newHost(t).accepts(t, r.Request(r.Sign(r.InviteDraft(bob, via), invitetest.Signer(serverA), invitetest.Signer(serverC)), serverB), nil)
	})
	t.Run("42 join_authorised_via_users_server, v7, unsigned by it: 200", func(t *testing.T) {
		newHost(t).accepts(t, newRoom(fedinvite.RoomV7).sendInvite(via), nil)
	})

	t.Run("third-party invite signed by the origin: 200", func(t *testing.T) {
		newHost(t).accepts(t, r.sendInvite(thirdParty), nil)
	})
	t.Run("origin, kept if present: 200", func(t *testing.T) {
		newHost(t).accepts(t, r.sendInvite(set("a.example", "origin")), nil)
	})
	t.Run("extra members of content and body: 200", func(t *testing.T) {
		event := r.signedInvite(set("é <&>\u2028", "content", "org.example.x"))
		body := change(r.Request(event, serverB).Body, set([]any{1, nil}, "org.example.y"))
		newHost(t).accepts(t, r.RequestWithBody(event, serverB, body), nil)
	})
}

// thirdParty makes a third-party invite, whose sender's server need not sign.
var thirdParty = set(object{
	"display_name": "bob",
	"signed":       object{"mxid": bob, "token": "abc", "signatures": object{}},
}, "content", "third_party_invite")

// expiredKeys returns A's "ed25519:old" as keys that did not count any more at the
// time of the event.
func expiredKeys() map[string]fedinvite.VerifyKey {
	public, before := invitetest.SignerWithKey(serverA, "ed25519:old").Public(), eventTime.Add(-time.Millisecond)
	return map[string]fedinvite.VerifyKey{
		"old key expired":              {Public: public, ExpiredAt: before},
		"key valid until":              {Public: public, ValidUntil: before},
		"old key expired, still valid": {Public: public, ExpiredAt: before, ValidUntil: eventTime.Add(time.Hour)},
	}
}

// withKey adds one key to those of the host.
func withKey(server fedinvite.ServerName, id fedinvite.KeyID, key fedinvite.VerifyKey) func(*fedinvite.Config) {
	return func(c *fedinvite.Config) { c.Keys.(fedinvite.KeyMap)[server][id] = key }
}

func withACL(t testing.TB, content string) func(*fedinvite.Config) {
	t.Helper()
	acl, err := fedinvite.ParseServerACL(json.RawMessage(content))
	if err != nil {
		t.Fatal(err)
	}
	return func(c *fedinvite.Config) {
		c.ServerAllowed = func(_ context.Context, _ string, s fedinvite.ServerName) (bool, error) { return acl.Allows(s), nil }
	}
}

func withPolicy(err error) func(*fedinvite.Config) {
	return func(c *fedinvite.Config) {
		c.Policy = func(context.Context, *fedinvite.Invite) error { return err }
	}
}

func texts(raw []json.RawMessage) []string {
	all := []string{}
	for _, r := range raw {
		all = append(all, string(r))
	}
	return all
}

// sendV1 returns the letter to the v1 endpoint with the bare event.
func (r testRoom) sendV1(event json.RawMessage) letter {
	l := r.RequestWithBody(event, serverB, event)
	l.V1 = true
	return l
}

func TestScenarioEvent(t *testing.T) {
	r, v1, v3, v10 := newRoom(fedinvite.RoomV11), newRoom(fedinvite.RoomV1), newRoom(fedinvite.RoomV3), newRoom(fedinvite.RoomV10)
	member := func(value any) letter { return r.sendInvite(set(value, "content", "membership")) }
	stateKey := func(key string) letter { return r.sendInvite(set(key, "state_key")) }
	by := func(signers ...fedinvite.Signer) letter {
		return r.Request(r.Sign(r.InviteDraft(bob), signers...), serverB)
	}
	signature := func(value any) letter {
		return r.Request(change(r.signedInvite(), set(value, "signatures", string(serverA), "ed25519:1")), serverB)
	}
	of := decode(r.signedInvite(set(6, "depth")))["signatures"].(object)[string(serverA)].(object)["ed25519:1"].(string)
	via := func(user any) edit { return set(user, "content", "join_authorised_via_users_server") }
	path := func(l letter, roomID, eventID string) letter {
		l.RoomID, l.EventID = roomID, eventID
		return l
	}
	from := func(l letter, server fedinvite.ServerName) letter {
		l.From = invitetest.Signer(server)
		return l
	}
	second := invitetest.SignerWithKey(serverA, "ed25519:2")
	withSecond := withKey(serverA, "ed25519:2", fedinvite.VerifyKey{Public: second.Public()})
	endpointV1 := func(l letter) letter {
		l.V1 = true
		return l
	}
	base := r.sendInvite()
	changedID := v3.Parse(v3.signedInvite(set(6, "depth"))).ID()

	cases := []refusal{
		{"04 type = m.room.name: M_INVALID_PARAM, nothing signed", r.sendInvite(set("m.room.name", "type")), nil, invalidParam, fedinvite.ErrNotInvite},
		{"04 type = M.ROOM.MEMBER", r.sendInvite(set("M.ROOM.MEMBER", "type")), nil, invalidParam, fedinvite.ErrNotInvite},
		{"05 membership = join", member("join"), nil, invalidParam, fedinvite.ErrNotInvite},
		{"05 membership = leave", member("leave"), nil, invalidParam, fedinvite.ErrNotInvite},
		{"05 membership = ban", member("ban"), nil, invalidParam, fedinvite.ErrNotInvite},
		{"05 membership = knock", member("knock"), nil, invalidParam, fedinvite.ErrNotInvite},
		{"05 membership = 7", member(7), nil, invalidParam, fedinvite.ErrNotInvite},
		{"05 membership = INVITE", member("INVITE"), nil, invalidParam, fedinvite.ErrNotInvite},
		{"05 membership = [invite]", member([]any{"invite"}), nil, invalidParam, fedinvite.ErrNotInvite},
		{"05 membership absent", r.sendInvite(drop("content", "membership")), nil, invalidParam, fedinvite.ErrNotInvite},
		{"05 membership only at the top", v10.sendInvite(drop("content", "membership"), set("invite", "membership")), nil, invalidParam, fedinvite.ErrNotInvite},
		{"06 sender @a:C, origin A, signed by C", r.Request(r.Sign(r.InviteDraft(bob, set("@a:c.example", "sender")), invitetest.Signer(serverC)), serverB), nil, invalidParam, fedinvite.ErrOrigin},
		{"06 sender @a:C, origin A, signed by A and C", r.Request(r.Sign(r.InviteDraft(bob, set("@a:c.example", "sender")), invitetest.Signer(serverA), invitetest.Signer(serverC)), serverB), nil, invalidParam, fedinvite.ErrOrigin},
		{"06 sender @a:A:8448, origin A", r.sendInvite(set("@a:a.example:8448", "sender")), nil, invalidParam, fedinvite.ErrOrigin},
		{"06 sender @a:A.EXAMPLE, origin A", r.sendInvite(set("@a:A.EXAMPLE", "sender")), nil, invalidParam, fedinvite.ErrOrigin},
		{"07 state_key @x:C", stateKey("@x:c.example"), nil, invalidParam, fedinvite.ErrNotLocal},
		{"07 state_key on our other server", stateKey("@x:b2.example"), nil, invalidParam, fedinvite.ErrNotLocal},
		{"07 state_key @b:B.EXAMPLE", stateKey("@b:B.EXAMPLE"), nil, invalidParam, fedinvite.ErrNotLocal},
		{"07 state_key empty", stateKey(""), nil, invalidParam, fedinvite.ErrNotLocal},
		{"07 state_key absent", r.sendInvite(drop("state_key")), nil, invalidParam, fedinvite.ErrNotLocal},
		{"07 state_key b:B", stateKey("b:b.example"), nil, invalidParam, fedinvite.ErrNotLocal},
		{"07 state_key null is no event", r.sendInvite(set(nil, "state_key")), nil, badJSON, fedinvite.ErrBadJSON},
		{"08 no signatures", r.Request(change(r.signedInvite(), drop("signatures")), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"08 empty signatures", r.Request(change(r.signedInvite(), set(object{}, "signatures")), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"08 A's part of signatures empty", r.Request(change(r.signedInvite(), set(object{}, "signatures", string(serverA))), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"08 A's part of signatures is no object", r.Request(change(r.signedInvite(), set("x", "signatures", string(serverA))), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"08 signed by C only", by(invitetest.Signer(serverC)), nil, invalidParam, fedinvite.ErrSignature},
		{"08 signed by us only", by(invitetest.Signer(serverB)), nil, invalidParam, fedinvite.ErrSignature},
		{"08 unknown key only", by(invitetest.SignerWithKey(serverA, "ed25519:unknown")), nil, invalidParam, fedinvite.ErrSignature},
		{"08 unknown algorithm only", r.Request(change(r.signedInvite(), set(object{"rsa:1": of}, "signatures", string(serverA))), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"08 signature of another event", signature(of), nil, invalidParam, fedinvite.ErrSignature},
		{"08 signature cut short", signature(of[:80]), nil, invalidParam, fedinvite.ErrSignature},
		{"08 signature empty", signature(""), nil, invalidParam, fedinvite.ErrSignature},
		{"08 signature is a number", signature(7), nil, invalidParam, fedinvite.ErrSignature},
		{"08 signature is no base64", signature(strings.Repeat("!", 86)), nil, invalidParam, fedinvite.ErrSignature},
		{"08 signature zero", signature(strings.Repeat("A", 86)), nil, invalidParam, fedinvite.ErrSignature},
		{"08 signatures is no object", r.Request(change(r.signedInvite(), set([]any{}, "signatures")), serverB), nil, badJSON, fedinvite.ErrBadJSON},
		{"08 third-party invite without a signature", r.Request(change(r.signedInvite(thirdParty), drop("signatures")), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"08 third-party invite signed by others only", r.Request(r.Sign(r.InviteDraft(bob, thirdParty), invitetest.Signer(serverB), invitetest.Signer(serverC)), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"08 third-party invite with a foreign sender, signed by the origin only", r.sendInvite(thirdParty, set("@a:c.example", "sender")), nil, invalidParam, fedinvite.ErrOrigin},
		{"08 third-party invite, v1, signed by the event ID's server only", v1.Request(v1.Sign(v1.InviteDraft(bob, thirdParty, set("$x:c.example", "event_id")), invitetest.Signer(serverC)), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"08 third-party invite signed by the authorising server only", r.Request(r.Sign(r.InviteDraft(bob, thirdParty, via("@x:c.example")), invitetest.Signer(serverC)), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"08 third-party invite whose content hash is wrong, signed by C only", r.Request(change(r.Sign(r.InviteDraft(bob), invitetest.Signer(serverC)), thirdParty), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"09 two A keys known, one signature bad", r.Request(change(r.signedInvite(), set(of, "signatures", string(serverA), "ed25519:2")), serverB), withSecond, invalidParam, fedinvite.ErrSignature},
		{"12 v1 room, event_id on C, no C signature", v1.sendInvite(set("$x:c.example", "event_id")), nil, invalidParam, fedinvite.ErrSignature},
		{"12 v1 room, event_id on C, C signature only", v1.Request(v1.Sign(v1.InviteDraft(bob, set("$x:c.example", "event_id")), invitetest.Signer(serverC)), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"13 content hash wrong, option to refuse", r.Request(change(r.signedInvite(), set("forged", "content", "reason")), serverB),
			func(c *fedinvite.Config) { c.RefuseHashMismatch = true }, invalidParam, fedinvite.ErrMismatch},
		{"13 membership changed after signing", r.Request(change(r.Sign(r.InviteDraft(bob, set("leave", "content", "membership"))), set("invite", "content", "membership")), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"13 invitee changed after signing", r.Request(change(r.signedInvite(), set("@b2:b.example", "state_key")), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"13 room changed after signing", r.Request(change(r.signedInvite(), set("!x:a.example", "room_id")), serverB), nil, invalidParam, fedinvite.ErrSignature},
		{"13 no hashes", r.Request(change(r.signedInvite(), drop("hashes")), serverB), nil, badJSON, fedinvite.ErrBadJSON},
		{"14 path roomId is not the body's", path(base, "!other:a.example", base.EventID), nil, invalidParam, fedinvite.ErrMismatch},
		{"15 path eventId is not the one computed", path(base, base.RoomID, "$"+strings.Repeat("A", 43)), nil, invalidParam, fedinvite.ErrMismatch},
		{"15 path eventId is that of another event", path(v3.sendInvite(), v3.ID(), changedID), nil, invalidParam, fedinvite.ErrMismatch},
		{"15 v1 room, path eventId is not event_id", path(v1.sendInvite(), v1.ID(), "$x:a.example"), nil, invalidParam, fedinvite.ErrMismatch},
		{"17 X-Matrix destination is not B", letterTo(base, "other.example"), nil, unauthorized, fedinvite.ErrUnauthorized},
		{"19 origin = B itself", from(r.Request(r.Sign(r.InviteDraft(bob, set("@x:b.example", "sender")), invitetest.Signer(serverB)), serverB), serverB), nil, invalidParam, fedinvite.ErrOrigin},
		{"20 A denied by ACL, written in other case", base, withACL(t, `{"allow":["*"],"deny":["A.EXAMPLE"]}`), forbidden, fedinvite.ErrServerDenied},
		{"24 room_version 99", r.withVersion(`"99"`), nil, verdict{http.StatusBadRequest, fedinvite.CodeIncompatibleRoomVersion}, fedinvite.ErrRoomVersion},
		{"25 room_version absent", r.withVersion(""), nil, missingParam, fedinvite.ErrMissing},
		{"25 room_version empty", r.withVersion(`""`), nil, missingParam, fedinvite.ErrMissing},
		{"25 room_version 10, a number", r.withVersion("10"), nil, badJSON, fedinvite.ErrBadJSON},
		{"25 room_version null", r.withVersion("null"), nil, badJSON, fedinvite.ErrBadJSON},
		{"26 event absent", r.RequestWithBody(nil, serverB, []byte(`{"room_version":"11","invite_room_state":[]}`)), nil, missingParam, fedinvite.ErrMissing},
		{"26 event is a string", r.RequestWithBody(nil, serverB, []byte(`{"event":"x","room_version":"11"}`)), nil, badJSON, fedinvite.ErrBadJSON},
		{"26 event is an array", r.RequestWithBody(nil, serverB, []byte(`{"event":[{}],"room_version":"11"}`)), nil, badJSON, fedinvite.ErrBadJSON},
		{"26 event is null", r.RequestWithBody(nil, serverB, []byte(`{"event":null,"room_version":"11"}`)), nil, badJSON, fedinvite.ErrBadJSON},
		{"26 event is empty", r.RequestWithBody(nil, serverB, []byte(`{"event":{},"room_version":"11"}`)), nil, badJSON, fedinvite.ErrBadJSON},
		{"27 body not JSON", r.RequestWithBody(nil, serverB, []byte(`{"event":`)), nil, notJSON, fedinvite.ErrNotJSON},
		{"27 body with trailing bytes", r.RequestWithBody(nil, serverB, append(slices.Clone(base.Body), '}')), nil, notJSON, fedinvite.ErrNotJSON},
		{"27 body is two objects", r.RequestWithBody(nil, serverB, append(slices.Clone(base.Body), base.Body...)), nil, notJSON, fedinvite.ErrNotJSON},
		{"27 body is a list", r.RequestWithBody(nil, serverB, append(append([]byte("["), base.Body...), ']')), nil, badJSON, fedinvite.ErrBadJSON},
		{"27 v1 body is a list", endpointV1(v1.RequestWithBody(nil, serverB, []byte(`[]`))), nil, badJSON, fedinvite.ErrBadJSON},
		{"38 v12 auth_events contains the create ID", v12AuthCreate(), nil, badJSON, fedinvite.ErrBadJSON},
		{"40 v1 endpoint, v10 event", endpointV1(v10.RequestWithBody(v10.signedInvite(), serverB, v10.signedInvite())), nil, invalidParam, fedinvite.ErrMismatch},
		{"42 join_authorised_via_users_server, unsigned by it", r.sendInvite(via("@x:c.example")), nil, invalidParam, fedinvite.ErrAuthorisingServer},
		{"42 join_authorised_via_users_server, v8, unsigned by it", newRoom(fedinvite.RoomV8).sendInvite(via("@x:c.example")), nil, invalidParam, fedinvite.ErrAuthorisingServer},
		{"42 join_authorised_via_users_server is no user ID", r.sendInvite(via(7)), nil, invalidParam, fedinvite.ErrAuthorisingServer},
		{"S17 event_id in a version that computes it", r.sendInvite(set("$x:a.example", "event_id")), nil, badJSON, fedinvite.ErrBadJSON},
		{"S17 content is no object", r.Request(change(r.signedInvite(), set("x", "content")), serverB), nil, badJSON, fedinvite.ErrBadJSON},
	}
	for name, key := range expiredKeys() {
		for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV4, fedinvite.RoomV5} {
			if v == fedinvite.RoomV4 && key.ExpiredAt.IsZero() {
				continue // accepted: valid_until_ts does not count there
			}
			r := newRoom(v)
			event := r.Sign(r.InviteDraft(bob), invitetest.SignerWithKey(serverA, "ed25519:old"))
			cases = append(cases, refusal{"11 " + name + " before origin_server_ts, v" + string(v), r.Request(event, serverB), withKey(serverA, "ed25519:old", key), invalidParam, fedinvite.ErrSignature})
		}
	}
	for _, n := range []string{"1.5", "1.0", "1e3", "9007199254740992", "-9007199254740992"} {
		for _, v := range fedinvite.RoomVersions()[5:] {
			// Signed by the number rules of older versions, as a careless peer would.
			r := newRoom(v)
			careless := r.Rules()
			careless.StrictJSON = false
			event, err := fedinvite.SignEventJSON(t.Context(), encode(r.InviteDraft(bob, set(json.RawMessage(n), "content", "n"))), careless, invitetest.Signer(serverA))
			if err != nil {
				t.Fatal(err)
			}
			cases = append(cases, refusal{"28 v" + string(v) + " with " + n, r.Request(event, serverB), nil, badJSON, fedinvite.ErrBadNumber})
		}
	}
	runRefusals(t, cases)

	t.Run("18 no Authorization", func(t *testing.T) {
		req := base.Inbound(t.Context())
		req.Header.Del("Authorization")
		newHost(t).refuses(t, req, unauthorized)
	})
	t.Run("24 the answer names the room version", func(t *testing.T) {
		body, _ := newHost(t).refuses(t, r.withVersion(`"99"`).Inbound(t.Context()), verdict{http.StatusBadRequest, fedinvite.CodeIncompatibleRoomVersion})
		if diff := cmp.Diff("99", body["room_version"]); diff != "" {
			t.Errorf("room_version (-want +got):\n%s", diff)
		}
	})
}

func letterTo(l letter, server fedinvite.ServerName) letter {
	l.To = server
	return l
}

// withVersion returns the base with another room_version, which is JSON; "" leaves
// it out.
func (r testRoom) withVersion(version string) letter {
	l := r.sendInvite()
	e := drop("room_version")
	if version != "" {
		e = set(json.RawMessage(version), "room_version")
	}
	l.Body = change(l.Body, e)
	return l
}

func v12AuthCreate() letter {
	r := newRoom(fedinvite.RoomV12)
	return r.sendInvite(set([]any{r.refs(1)[0], "$" + r.ID()[1:]}, "auth_events"))
}

func TestScenarioHooks(t *testing.T) {
	l := newRoom(fedinvite.RoomV11).sendInvite()
	blocked := verdict{http.StatusForbidden, fedinvite.CodeInviteBlocked}
	limited := fedinvite.Refuse(fedinvite.CodeLimitExceeded, "slow down")
	limited.RetryAfter = 1500 * time.Millisecond

	for _, c := range []struct {
		name    string
		refusal *fedinvite.Error
		want    verdict
	}{
		{"21 room blocked", fedinvite.Refuse(fedinvite.CodeForbidden, "this room is blocked"), forbidden},
		{"21 user refuses all", fedinvite.Refuse(fedinvite.CodeInviteBlocked, "no invites please"), blocked},
		{"22 invitee unknown", fedinvite.Refuse(fedinvite.CodeForbidden, "unknown user"), forbidden},
		{"22 rate limited", limited, verdict{http.StatusTooManyRequests, fedinvite.CodeLimitExceeded}},
		{"23 invitee already joined or banned", fedinvite.Refuse(fedinvite.CodeForbidden, "already in the room"), forbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			body, err := newHost(t, withPolicy(c.refusal)).refuses(t, l.Inbound(t.Context()), c.want)
			if diff := cmp.Diff(c.refusal.Message, body["error"]); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			if !errors.Is(err, c.refusal) {
				t.Errorf("Done got %v, want the hook's own error", err)
			}
		})
	}

	t.Run("22 rate limited: Retry-After in whole seconds, retry_after_ms", func(t *testing.T) {
		w := answer(newHost(t, withPolicy(limited)), l.Inbound(t.Context()))
		if diff := cmp.Diff("2", w.Header().Get("Retry-After")); diff != "" {
			t.Errorf("Retry-After (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(json.Number("1500"), decode(w.Body.Bytes())["retry_after_ms"]); diff != "" {
			t.Errorf("retry_after_ms (-want +got):\n%s", diff)
		}
	})
}

func TestScenario29Limits(t *testing.T) {
	r, v1 := newRoom(fedinvite.RoomV11), newRoom(fedinvite.RoomV1)
	// id returns an identifier of n bytes.
	id := func(sigil, server string, n int) string {
		return sigil + strings.Repeat("x", n-len(sigil)-len(server)-1) + ":" + server
	}
	// sized returns an invite of n bytes, and more in unsigned.
	sized := func(n int) letter {
		short := r.signedInvite(set("", "content", "pad"))
		event := r.signedInvite(set(strings.Repeat("x", n-len(short)), "content", "pad"))
		if len(event) != n {
			t.Fatalf("event of %d bytes, want %d", len(event), n)
		}
		return r.Request(change(event, set(strings.Repeat("y", 5000), "unsigned", "pad")), serverB)
	}
	signatures := func(n int) letter {
		event := r.signedInvite()
		for i := range n - 1 {
			event = change(event, set("x", "signatures", fmt.Sprintf("s%d.example", i/3), fmt.Sprintf("ed25519:%d", i)))
		}
		return r.Request(event, serverB)
	}
	state := func(n int) letter {
		return r.RequestWithState(r.signedInvite(), serverB, encode(slices.Repeat([]json.RawMessage{r.create()}, n)))
	}
	body := func(n int) letter {
		l := r.sendInvite()
		l.Body = append(l.Body, strings.Repeat(" ", n-len(l.Body))...)
		return l
	}

	for _, c := range []struct {
		name   string
		letter func(n int) letter
		limit  int
		at     verdict // at the limit; the zero value: accepted
		past   verdict
	}{
		{"PDU in bytes of canonical JSON, unsigned left out", sized, 65_536, verdict{}, badJSON},
		{"bytes of sender", func(n int) letter { return r.sendInvite(set(id("@", "a.example", n), "sender")) }, 255, verdict{}, badJSON},
		{"bytes of room_id", func(n int) letter { return r.sendInvite(set(id("!", "a.example", n), "room_id")) }, 255, verdict{}, badJSON},
		{"bytes of state_key", func(n int) letter { return r.sendInvite(set(id("@", "b.example", n), "state_key")) }, 255, verdict{}, badJSON},
		{"bytes of state_key in letters of two bytes", func(n int) letter {
			return r.sendInvite(set("@"+strings.Repeat("é", (n-11)/2)+strings.Repeat("x", (n-11)%2)+":b.example", "state_key"))
		}, 255, verdict{}, badJSON},
		{"bytes of type", func(n int) letter { return r.sendInvite(set(strings.Repeat("x", n), "type")) }, 255, invalidParam, badJSON},
		{"bytes of event_id", func(n int) letter { return v1.sendInvite(set(id("$", "a.example", n), "event_id")) }, 255, verdict{}, badJSON},
		{"bytes of an ID in prev_events", func(n int) letter {
			return r.sendInvite(set([]any{"$" + strings.Repeat("x", n-1)}, "prev_events"))
		}, 255, verdict{}, badJSON},
		{"auth_events", func(n int) letter { return r.sendInvite(set(r.refs(n), "auth_events")) }, 10, verdict{}, badJSON},
		{"auth_events of v1", func(n int) letter { return v1.sendInvite(set(v1.refs(n), "auth_events")) }, 10, verdict{}, badJSON},
		{"prev_events", func(n int) letter { return r.sendInvite(set(r.refs(n), "prev_events")) }, 20, verdict{}, badJSON},
		{"signatures", signatures, 100, verdict{}, badJSON},
		{"entries of invite_room_state", state, 100, verdict{}, invalidParam},
		{"bytes of the body", body, 1 << 20, verdict{}, tooLarge},
	} {
		t.Run("29 "+c.name, func(t *testing.T) {
			if l := c.letter(c.limit); c.at == (verdict{}) {
				newHost(t).accepts(t, l, nil)
			} else {
				newHost(t).refuses(t, l.Inbound(t.Context()), c.at)
			}
			newHost(t).refuses(t, c.letter(c.limit+1).Inbound(t.Context()), c.past)
		})
	}

	nested := func(depth int) json.RawMessage {
		n := json.RawMessage(strings.Repeat("[", depth-2) + strings.Repeat("]", depth-2))
		return v1.signedInvite(set(n, "content", "n"))
	}
	deeper := func(event json.RawMessage) json.RawMessage {
		return json.RawMessage(strings.Replace(string(event), "[]", "[[]]", 1))
	}
	t.Run("29 nesting of a body", func(t *testing.T) {
		newHost(t).accepts(t, v1.Request(nested(127), serverB), nil)
		newHost(t).refuses(t, v1.Request(deeper(nested(127)), serverB).Inbound(t.Context()), badJSON)
	})
	t.Run("29 nesting of an event that is the body", func(t *testing.T) {
		newHost(t).refuses(t, v1.sendV1(deeper(nested(128))).Inbound(t.Context()), badJSON)
		newHost(t).accepts(t, v1.sendV1(nested(128)), nil)
	})
}

// The scenarios of invite_room_state; roomstate_test.go has the policies in detail.
func TestScenarioRoomState(t *testing.T) {
	v11, v12 := newRoom(fedinvite.RoomV11), newRoom(fedinvite.RoomV12)
	strict := func(c *fedinvite.Config) { c.RoomState = fedinvite.StateStrict }
	list := func(entries ...any) json.RawMessage { return encode(entries) }
	stripped := func(eventType, content string) json.RawMessage {
		return json.RawMessage(`{"type":"` + eventType + `","state_key":"","sender":"@a:a.example","content":` + content + `}`)
	}
	name := stripped("m.room.name", `{"name":"Tea"}`)
	nameForClients := `{"content":{"name":"Tea"},"sender":"@a:a.example","state_key":"","type":"m.room.name"}`
	createForClients := func(r testRoom) string {
		return `{"content":` + r.Get("m.room.create", "").ContentJSON() + `,"sender":"@a:a.example","state_key":"","type":"m.room.create"}`
	}
	foreign := v11.Sign(v11.Draft(alice, "m.room.name", "", nil, set("!other:a.example", "room_id"), set("Coffee", "content", "name")))
	hundredfold := slices.Repeat([]any{name}, 98)

	type outcome struct {
		Client   []string
		Warnings []string
	}
	for _, c := range []struct {
		name   string
		room   testRoom
		state  json.RawMessage
		config func(*fedinvite.Config)
		want   outcome
	}{
		{"30 state absent, v11: 200 and a warning", v11, nil, nil, outcome{[]string{}, []string{"missing"}}},
		{"31 state null, v11", v11, json.RawMessage("null"), nil, outcome{[]string{}, []string{"missing"}}},
		{"31 state {}, v11", v11, json.RawMessage("{}"), nil, outcome{[]string{}, []string{"missing"}}},
		{"31 state [], v11", v11, list(), nil, outcome{[]string{}, []string{"missing"}}},
		{"31 state [1], v11", v11, list(1), nil, outcome{[]string{}, []string{"stripped", "missing"}}},
		{"31 state [{}], v11", v11, list(object{}), nil, outcome{[]string{}, []string{"stripped", "missing"}}},
		{"31 state [null, \"x\", [], name], v11: only valid entries reach clients", v11, list(nil, "x", []any{}, name), nil,
			outcome{[]string{nameForClients}, []string{"stripped", "stripped", "stripped", "missing"}}},
		{"32 v12 create PDU whose hash is the room ID", v12, list(v12.create()), nil, outcome{[]string{createForClients(v12)}, nil}},
		{"34 v12 full create and stripped name", v12, list(v12.create(), name), nil, outcome{[]string{createForClients(v12), nameForClients}, nil}},
		{"35 v11 name PDU of another room: dropped", v11, list(v11.create(), foreign), nil, outcome{[]string{createForClients(v11)}, []string{"room"}}},
		{"36 a hundred entries of one type and state key", v11, list(append(hundredfold, stripped("m.room.name", `{"name":"Coffee"}`), v11.create())...), nil,
			outcome{[]string{nameForClients, createForClients(v11)}, nil}},
		{"37 full PDUs: clients get sender, type, state_key and content only", v11, list(v11.create(), v11.Sign(v11.Draft(alice, "m.room.name", "", nil, set("Tea", "content", "name")))), strict,
			outcome{[]string{createForClients(v11), nameForClients}, nil}},
		{"state off", v12, list(name, stripped("m.room.create", v12.Get("m.room.create", "").ContentJSON())), func(c *fedinvite.Config) { c.RoomState = fedinvite.StateOff },
			outcome{[]string{nameForClients, createForClients(v12)}, nil}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t)
			if c.config != nil {
				h = newHost(t, c.config)
			}
			inv := h.accepts(t, c.room.RequestWithState(c.room.signedInvite(), serverB, c.state), nil)
			if diff := cmp.Diff(c.want, outcome{texts(inv.RoomState.Client()), warningNames(inv.RoomState.Warnings)}); diff != "" {
				t.Errorf("room state (-want +got):\n%s", diff)
			}
		})
	}

	otherCreate := v12.Sign(change(v12.create(), set("other", "content", "org.example.x"), drop("signatures"), drop("hashes")))
	forged := change(v12.create(), set(strings.Repeat("A", 86), "signatures", string(serverA), "ed25519:1"))
	send := func(r testRoom, state json.RawMessage) letter {
		return r.RequestWithState(r.signedInvite(), serverB, state)
	}
	runRefusals(t, []refusal{
		{"30 state absent, v12", send(v12, nil), nil, invalidParam, fedinvite.ErrStateMissing},
		{"31 state null, v12", send(v12, json.RawMessage("null")), nil, invalidParam, fedinvite.ErrStateMissing},
		{"31 state {}, v12", send(v12, json.RawMessage("{}")), nil, invalidParam, fedinvite.ErrStateMissing},
		{"31 state [1], v12", send(v12, list(1)), nil, invalidParam, fedinvite.ErrStateMissing},
		{"31 state [{}], v12", send(v12, list(object{})), nil, invalidParam, fedinvite.ErrStateMissing},
		{"31 state \"x\" is of the wrong type, v11", send(v11, json.RawMessage(`"x"`)), nil, badJSON, fedinvite.ErrBadJSON},
		{"31 state \"x\" is of the wrong type, v12", send(v12, json.RawMessage(`"x"`)), nil, badJSON, fedinvite.ErrBadJSON},
		{"31 state {\"a\":1} is of the wrong type", send(v11, json.RawMessage(`{"a":1}`)), nil, badJSON, fedinvite.ErrBadJSON},
		{"33 v12 create stripped", send(v12, list(stripped("m.room.create", "{}"))), nil, invalidParam, fedinvite.ErrStateStripped},
		{"33 v12 create with another hash", send(v12, list(otherCreate)), nil, invalidParam, fedinvite.ErrStateRoom},
		{"33 v12 create with a bad signature", send(v12, list(forged)), nil, invalidParam, fedinvite.ErrStateSignature},
		{"33 v12 create without signatures", send(v12, list(change(v12.create(), drop("signatures")))), nil, invalidParam, fedinvite.ErrStateSignature},
		{"34 v12 full create and stripped name, strict", send(v12, list(v12.create(), name)), strict, invalidParam, fedinvite.ErrStateStripped},
		{"35 v11 name PDU of another room, strict", send(v11, list(v11.create(), foreign)), strict, invalidParam, fedinvite.ErrStateRoom},
		{"36 10,000 entries", send(v11, encode(slices.Repeat([]int{1}, 10_000))), nil, invalidParam, fedinvite.ErrStateLimit},
	})
}

// warningNames names the sentinels that the warnings wrap.
func warningNames(warnings []error) (names []string) {
	for _, w := range warnings {
		name := w.Error()
		for sentinel, short := range map[error]string{
			fedinvite.ErrStateMissing: "missing", fedinvite.ErrStateStripped: "stripped",
			fedinvite.ErrStateRoom: "room", fedinvite.ErrStateSignature: "signature",
		} {
			if errors.Is(w, sentinel) {
				name = short
			}
		}
		names = append(names, name)
	}
	return names
}
