package eventauth_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// eachVersion runs a test in every room version.
func eachVersion(t *testing.T, test func(t *testing.T, rules fedinvite.Rules)) {
	t.Helper()
	for _, v := range fedinvite.RoomVersions() {
		t.Run("v"+string(v), func(t *testing.T) { test(t, rulesOf(t, v)) })
	}
}

// plays checks what becomes of a scene.
func (s scene) plays(t *testing.T, rules fedinvite.Rules, want string) {
	t.Helper()
	r, e := s.build(t, rules)
	checkRule(t, rules.Version, eventauth.Authorize(e, r.state), want)
}

// 3PID good; URL-safe key; only public_keys; only public_key: allowed.
func TestScenario66(t *testing.T) {
	if withKeys("$KEY") == withKeys("$URLKEY") {
		t.Fatal("the key looks the same in both kinds of base64")
	}
	for name, keys := range map[string]string{
		"good":                         "",
		"URL-safe key":                 `{"public_key":"$URLKEY"}`,
		"URL-safe key in public_keys":  `{"public_keys":[{"public_key":"$URLKEY"}]}`,
		"only public_keys":             `{"public_keys":[{"public_key":"$KEY"}]}`,
		"only public_key":              `{"public_key":"$KEY"}`,
		"the last of many public_keys": `{"public_key":"$OTHER","public_keys":[{"public_key":"$OTHER"},{"public_key":"$KEY"}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
				// The sender may have lost all power since, and has even left.
				scene{does: "invite", alice: "leave", third: &thirdParty{keys: keys}, levels: `{"invite":100}`}.plays(t, rules, "")
			})
		})
	}
}

// 3PID wrong mxid / sender / token / key / banned / empty content: 403 M_FORBIDDEN.
func TestScenario67(t *testing.T) {
	for name, s := range map[string]struct {
		third thirdParty
		bob   string
		want  string
	}{
		"mxid":          {thirdParty{signed: `{"mxid":"` + alice + `","token":"` + token + `"}`}, "", "invite.1.4"},
		"sender":        {thirdParty{by: dave}, "", "invite.1.6"},
		"token":         {thirdParty{signed: `{"mxid":"` + bob + `","token":"stale"}`}, "", "invite.1.5"},
		"key":           {thirdParty{keys: `{"public_key":"$OTHER","public_keys":[{"public_key":"$OTHER"}]}`}, "", "invite.1.8"},
		"banned":        {thirdParty{}, "ban", "invite.1.1"},
		"empty content": {thirdParty{keys: `{}`}, "", "invite.1.8"},
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
				r, e := scene{does: "invite", alice: "join", bob: s.bob, third: &s.third}.build(t, rules)
				err := eventauth.Authorize(e, r.state)
				checkRule(t, rules.Version, err, s.want)
				if wire := fedinvite.WireError(err); wire.Status != 403 || wire.Code != fedinvite.CodeForbidden {
					t.Errorf("answer %d %s, want 403 M_FORBIDDEN", wire.Status, wire.Code)
				}
			})
		})
	}
}

// 3PID signed with an extra field, which the signature covers: allowed. What the signature
// does not cover, or what is changed in it, is not.
func TestScenario68(t *testing.T) {
	extra := `{"mxid":"` + bob + `","token":"` + token + `","sender":"@x:y","a":{"b":[1,null,"\u00e9"]}}`
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		scene{does: "invite", third: &thirdParty{signed: extra}}.plays(t, rules, "")

		changed := strings.Replace(string(signed(t, extra)), `[1,`, `[2,`, 1)
		scene{does: "invite", alice: "join", third: &thirdParty{property: `{"signed":` + changed + `}`}}.plays(t, rules, "invite.1.8")
		added := strings.Replace(string(signed(t, goodSigned)), `{`, `{"more":1,`, 1)
		scene{does: "invite", alice: "join", third: &thirdParty{property: `{"signed":` + added + `}`}}.plays(t, rules, "invite.1.8")
		// unsigned is never signed.
		added = strings.Replace(string(signed(t, goodSigned)), `{`, `{"unsigned":{"age":1},`, 1)
		scene{does: "invite", third: &thirdParty{property: `{"signed":` + added + `}`}}.plays(t, rules, "")
	})
}

// 3PID redacted, v10 / v11: rejected / allowed.
func TestScenario69(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		s := scene{does: "invite", alice: "leave", third: &thirdParty{}, content: `{"displayname":"Bob"}`}
		r, e := s.build(t, rules)
		checkRule(t, rules.Version, eventauth.Authorize(e, r.state), "")

		want, wantAuth := "", "" // signed is kept
		if !rules.Redaction.KeepThirdParty {
			want, wantAuth = "invite.2", "auth.2" // an ordinary invite now, by who has left
		}
		c, err := eventauth.ChangeOf(e)
		if err != nil {
			t.Fatal(err)
		}
		auth := eventauth.SelectAuthEvents(c, rules, r.state)
		e = inviteWith(r, auth)
		redacted := e.Redacted()
		checkRule(t, rules.Version, eventauth.Authorize(redacted, r.state), want)
		checkRule(t, rules.Version, eventauth.CheckAuthEvents(redacted, auth), wantAuth)

		// Who changes an event on its way gets no more than that.
		o := invitetest.Decode(e.AppendJSON(nil))
		o["content"].(object)["displayname"] = "Mallory"
		forged := r.parse(invitetest.Encode(o))
		if forged.HashOK() {
			t.Fatal("the content hash covers no content")
		}
		checkRule(t, rules.Version, eventauth.Authorize(forged, r.state), want)
		checkRule(t, rules.Version, eventauth.CheckAuthEvents(forged, auth), wantAuth)
	})
}

// An invite that only pretends to be a third-party one does not need less than it has: a wrong
// content hash takes third_party_invite away, or all but signed.
func TestAWrongContentHashLeavesTheRedactedCopy(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		r, e := scene{does: "invite", alice: "join", levels: invite2}.build(t, rules)
		o := invitetest.Decode(e.AppendJSON(nil))
		good := (&thirdParty{}).add(r)
		o["content"].(object)["third_party_invite"] = good
		forged := r.parse(invitetest.Encode(o))
		want := "invite.5"
		if rules.Redaction.KeepThirdParty {
			want = "" // and a forged signed would not be signed
		}
		checkRule(t, rules.Version, eventauth.Authorize(forged, r.state), want)
		if c, err := eventauth.ChangeOf(forged); err != nil || (c.ThirdParty != nil) != rules.Redaction.KeepThirdParty {
			t.Errorf("ChangeOf: third_party_invite %s, error %v", c.ThirdParty, err)
		}
	})
}

// "Passes hash checks, otherwise it is redacted before being processed further": this goes
// for the events by which another is authorised too.
func TestStateWithAWrongContentHashIsRedacted(t *testing.T) {
	for _, tc := range []struct {
		name, versions string
		scene          scene
		eventType, key string // of the state event that is tampered with
		member         string // and what of its content
		value          any
		before, after  string // the rule that rejects
	}{
		{"a token with another's key", "", scene{does: "invite", third: &thirdParty{keys: `{"public_key":"$OTHER"}`}},
			"m.room.third_party_invite", token, "public_key", withKeys("$KEY"), "invite.1.8", "invite.1.8"},
		{"a token with one more key", "", scene{does: "invite", third: &thirdParty{keys: `{"public_key":"$OTHER"}`}},
			"m.room.third_party_invite", token, "public_keys", []object{{"public_key": withKeys("$KEY")}}, "invite.1.8", "invite.1.8"},
		{"a token with another name", "", scene{does: "invite", third: &thirdParty{}},
			"m.room.third_party_invite", token, "display_name", "", "", "invite.1.8"},
		{"a low invite level", "1-10", scene{does: "invite", alice: "join", levels: `{"invite":0,"users_default":-1}`},
			"m.room.power_levels", "", "invite", -1, "invite.5", "invite.5"},
		{"a high invite level, of which nothing is left", "1-10", scene{does: "invite", alice: "join", levels: `{}`},
			"m.room.power_levels", "", "invite", 100, "", ""},
		{"levels that redaction keeps, with something else", "11-", scene{does: "invite", alice: "join", levels: invite2},
			"m.room.power_levels", "", "more", true, "invite.5", "invite.5"},
		{"levels whose invite level redaction takes away", "1-10", scene{does: "invite", alice: "join", levels: invite2},
			"m.room.power_levels", "", "more", true, "invite.5", ""},
		{"a membership with something else", "", scene{does: "invite", alice: "join", bob: "ban"},
			"m.room.member", bob, "displayname", "B", "invite.3", "invite.3"},
		{"a join rule with something else", "7-", scene{does: "knock", to: alice, joinRule: "knock"},
			"m.room.join_rules", "", "more", true, "", ""},
		{"a creation that does not federate any more", "1-10", scene{does: "invite", alice: "join", creator: dave},
			"m.room.create", "", "m.federate", false, "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
				if !in(rules.Version, tc.versions) {
					return
				}
				r, e := tc.scene.build(t, rules)
				checkRule(t, rules.Version, eventauth.Authorize(e, r.state), tc.before)
				r.tamper(tc.eventType, tc.key, tc.member, tc.value)
				checkRule(t, rules.Version, eventauth.Authorize(e, r.state), tc.after)
				if tc.eventType != "m.room.third_party_invite" {
					return
				}
				good := json.RawMessage(e.ContentJSON("third_party_invite", "signed"))
				keys, err := eventauth.VerifyThirdParty(good, r.state.Get(tc.eventType, tc.key))
				if !errors.Is(err, fedinvite.ErrSignature) || keys != nil {
					t.Errorf("VerifyThirdParty: keys %v, error %v, want ErrSignature", keys, err)
				}
			})
		})
	}
}

// Auth: sender not joined / PL below / no PL event / v12 creator: reject / reject / allow / allow.
func TestScenario72(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		scene{does: "invite", alice: "leave", levels: invite1}.plays(t, rules, "invite.2")
		scene{does: "invite", alice: "join", levels: invite2}.plays(t, rules, "invite.5")
		scene{does: "invite", alice: "join"}.plays(t, rules, "")
		creator := "invite.5" // who has no power but what the event gives
		if rules.Auth.PrivilegedCreators {
			creator = ""
		}
		scene{does: "invite", alice: "join", creator: alice, levels: `{"invite":100}`}.plays(t, rules, creator)
	})
}

// Auth: target knock, invite, leave / join, ban: allow / reject.
func TestScenario73(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		for _, m := range []string{"invite", "leave", ""} {
			scene{does: "invite", alice: "join", bob: m}.plays(t, rules, "")
		}
		for _, m := range []string{"join", "ban"} {
			scene{does: "invite", alice: "join", bob: m}.plays(t, rules, "invite.3")
		}
		knocking := scene{does: "invite", alice: "join", bob: "knock"}
		if rules.Auth.Knock {
			knocking.plays(t, rules, "")
			return
		}
		// Before version 7 nobody can have knocked.
		r, e := knocking.build(t, rules)
		if err := eventauth.Authorize(e, r.state); !errors.Is(err, eventauth.ErrState) {
			t.Errorf("error %v, want ErrState", err)
		}
	})
}

func TestVerifyThirdParty(t *testing.T) {
	type keys = []eventauth.ThirdPartyKey
	key, url := withKeys("$KEY"), withKeys("$URLKEY")
	r := newRoom(t, rulesOf(t, "11"), carol, nil)
	good := signed(t, goodSigned)
	for _, tc := range []struct {
		name, content string
		signed        json.RawMessage
		want          keys
		err           error
	}{
		{"its URL", `{"public_key":"$KEY","key_validity_url":"https://id2/"}`, good, keys{{key, "https://id2/"}}, nil},
		{"no URL", `{"public_key":"$KEY"}`, good, keys{{key, ""}}, nil},
		{"every URL", `{"public_key":"$KEY","key_validity_url":"u","public_keys":[{"public_key":"$OTHER"},{"public_key":"$URLKEY","key_validity_url":"v"},{"public_key":"$KEY"}]}`,
			good, keys{{key, "u"}, {url, "v"}, {key, ""}}, nil},
		{"another key", `{"public_key":"$OTHER"}`, good, nil, fedinvite.ErrSignature},
		{"revoked", `{}`, good, nil, fedinvite.ErrSignature},
		{"unsigned", `{"public_key":"$KEY"}`, json.RawMessage(goodSigned), nil, fedinvite.ErrSignature},
		{"not JSON", `{"public_key":"$KEY"}`, json.RawMessage(`{`), nil, fedinvite.ErrNotJSON},
		{"nothing", `{"public_key":"$KEY"}`, nil, nil, fedinvite.ErrNotJSON},
		{"no object", `{"public_key":"$KEY"}`, json.RawMessage(`[]`), nil, fedinvite.ErrBadJSON},
		{"duplicate keys", `{"public_key":"$KEY"}`, json.RawMessage(`{"mxid":"@x:y",` + string(good[1:])), nil, fedinvite.ErrBadJSON},
		{"no keys at all", `{"public_key":"$KEY"}`, json.RawMessage(`{"signatures":{"a":7,"b":[],"c":{"ed25519:0":7,"ed25519:1":"AAAA","rsa:1":""}}}`), nil, fedinvite.ErrSignature},
	} {
		t.Run(tc.name, func(t *testing.T) {
			event := r.event("m.room.third_party_invite", alice, invitetest.Decode([]byte(withKeys(tc.content))))
			got, err := eventauth.VerifyThirdParty(tc.signed, event)
			if !errors.Is(err, tc.err) || !slices.Equal(got, tc.want) {
				t.Errorf("keys %v, error %v, want %v, %v", got, err, tc.want, tc.err)
			}
		})
	}
	for name, event := range map[string]*fedinvite.Event{"none": nil, "the zero event": new(fedinvite.Event), "another type": r.state[0]} {
		if _, err := eventauth.VerifyThirdParty(good, event); !errors.Is(err, eventauth.ErrState) {
			t.Errorf("%s: error %v, want ErrState", name, err)
		}
	}
}

// "If this URL is absent, the key must be considered valid indefinitely": one that is there
// and cannot be asked is not absent. The rules of the room do not look at it.
func TestAKeyWhoseValidityURLIsNone(t *testing.T) {
	type keys = []eventauth.ThirdPartyKey
	key, url := withKeys("$KEY"), withKeys("$URLKEY")
	for _, odd := range []string{`7`, `null`, `{"a":"https://id2/"}`, `["https://id2/"]`, `true`, `""`} {
		for _, tc := range []struct {
			name, content string
			want          keys
			err           error
		}{
			{"public_key", `{"public_key":"$KEY","key_validity_url":` + odd + `}`, nil, fedinvite.ErrSignature},
			{"one of public_keys", `{"public_keys":[{"public_key":"$KEY","key_validity_url":` + odd + `}]}`, nil, fedinvite.ErrSignature},
			{"beside others", `{"public_key":"$KEY","key_validity_url":` + odd + `,"public_keys":[{"public_key":"$URLKEY","key_validity_url":"v"},{"public_key":"$URLKEY"}]}`,
				keys{{url, "v"}, {url, ""}}, nil},
			{"behind another", `{"public_key":"$KEY","key_validity_url":"u","public_keys":[{"public_key":"$KEY","key_validity_url":` + odd + `}]}`, keys{{key, "u"}}, nil},
		} {
			t.Run(odd+"/"+tc.name, func(t *testing.T) {
				eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
					r, e := scene{does: "invite", third: &thirdParty{keys: tc.content}}.build(t, rules)
					checkRule(t, rules.Version, eventauth.Authorize(e, r.state), "")
					good := json.RawMessage(e.ContentJSON("third_party_invite", "signed"))
					got, err := eventauth.VerifyThirdParty(good, r.state.Get("m.room.third_party_invite", token))
					if !errors.Is(err, tc.err) || !slices.Equal(got, tc.want) {
						t.Errorf("keys %v, error %v, want %v, %v", got, err, tc.want, tc.err)
					}
				})
			})
		}
	}
}

// At most 128 signatures are checked: the good one is found as number 128 and not after it.
func TestVerifyThirdPartyChecksAtMost128Signatures(t *testing.T) {
	r := newRoom(t, rulesOf(t, "11"), carol, nil)
	good := invitetest.Decode(signed(t, goodSigned))["signatures"].(object)["id2.example"].(object)["ed25519:0"]
	bad := strings.Repeat("A", 86)
	for _, tc := range []struct {
		keys       string
		signatures int // of which the last is good
		want       error
	}{
		{`{"public_key":"$KEY"}`, 128, nil},
		{`{"public_key":"$KEY"}`, 129, fedinvite.ErrSignature},
		{`{"public_key":"$KEY"}`, 1000, fedinvite.ErrSignature},
		{`{"public_keys":[{"public_key":"$OTHER"},{"public_key":"$KEY"}]}`, 64, nil}, // each with the other key first
		{`{"public_keys":[{"public_key":"$OTHER"},{"public_key":"$KEY"}]}`, 65, fedinvite.ErrSignature},
		{`{"public_keys":[{"public_key":"$OTHER"},{"public_key":"$OTHER"},{"public_key":"$KEY"}]}`, 64, nil}, // no key twice
	} {
		all := object{}
		for i := range tc.signatures - 1 {
			all["ed25519:"+string(rune('一'+i))] = bad
		}
		o := invitetest.Decode([]byte(goodSigned))
		o["signatures"] = object{"a.example": all, "z.example": object{"ed25519:z": good}}
		event := r.event("m.room.third_party_invite", alice, invitetest.Decode([]byte(withKeys(tc.keys))))
		if _, err := eventauth.VerifyThirdParty(invitetest.Encode(o), event); !errors.Is(err, tc.want) {
			t.Errorf("%d signatures, keys %s: error %v, want %v", tc.signatures, tc.keys, err, tc.want)
		}
	}
}
