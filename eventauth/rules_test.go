package eventauth_test

import (
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// A row shows a rule at work. rule and want begin with the name of a part of the rules,
// for which numbers has the number.
type row struct {
	rule     string // the rule that the row is about
	versions string // in which room versions it is so; "": in all
	name     string
	scene    scene
	want     string // the rule that rejects; "": allowed
}

// numbers says where the parts of the rules are in the pages of the room versions.
func numbers(v fedinvite.RoomVersion) map[string]string {
	switch v {
	case "1", "2", "3", "4", "5":
		return map[string]string{"auth": "2", "federate": "3", "member": "5", "invite": "5.3", "leave": "5.4", "unknown": "5.6"}
	case "6":
		return map[string]string{"auth": "2", "federate": "3", "member": "4", "invite": "4.3", "leave": "4.4", "unknown": "4.6"}
	case "7":
		return map[string]string{"auth": "2", "federate": "3", "member": "4", "invite": "4.3", "leave": "4.4", "knock": "4.6", "unknown": "4.7"}
	case "8", "9", "10", "11":
		return map[string]string{"auth": "2", "federate": "3", "member": "4", "invite": "4.4", "leave": "4.5", "knock": "4.7", "unknown": "4.8"}
	}
	return map[string]string{"create": "2", "auth": "3", "federate": "4", "member": "5", "invite": "5.4", "leave": "5.5", "knock": "5.7", "unknown": "5.8"}
}

// number turns "invite.1.1" into the rule's number in the version.
func number(v fedinvite.RoomVersion, rule string) string {
	part, rest, nested := strings.Cut(rule, ".")
	n, ok := numbers(v)[part]
	switch {
	case rule == "":
		return ""
	case !ok:
		return "no rule " + rule
	case nested:
		return n + "." + rest
	}
	return n
}

// in reports whether a row is about the version: "1-6 8-".
func in(v fedinvite.RoomVersion, versions string) bool {
	n, _ := strconv.Atoi(string(v))
	for _, span := range strings.Fields(versions) {
		from, to, isSpan := strings.Cut(span, "-")
		first, _ := strconv.Atoi(from)
		last, err := strconv.Atoi(to)
		if !isSpan {
			last = first
		} else if err != nil {
			last = 99
		}
		if first <= n && n <= last {
			return true
		}
	}
	return versions == ""
}

// Levels in which Alice has 50 and Bob less, and others in which she has 49.
const (
	alice50 = `{"users":{"` + alice + `":50,"` + bob + `":49}}`
	alice49 = `{"users":{"` + alice + `":49,"` + bob + `":48}}`
	invite1 = `{"invite":1,"users":{"` + alice + `":1}}`
	invite2 = `{"invite":2,"users":{"` + alice + `":1}}`
)

// rows are the rules that Authorize checks. Where a rule allows, the row that rejects is
// about an event that is not quite so, and is rejected by the rule that follows.
var rows = []row{
	// If there is no m.room.create event among the entries, reject. (There is none in the room.)
	{"auth.4", "1-11", "the room has a create event", scene{does: "invite", alice: "join"}, ""},
	{"auth.4", "1-11", "the room has no create event", scene{does: "invite", alice: "join", noCreate: true}, "auth.4"},

	// If the event's room_id is not an event ID for an accepted m.room.create event, with the sigil ! instead of $, reject.
	{"create", "12", "the room ID is the create event", scene{does: "invite", alice: "join"}, ""},
	{"create", "12", "there is no such create event", scene{does: "invite", alice: "join", noCreate: true}, "create"},

	// If the content of the m.room.create event in the room state has the property m.federate set to false, and the sender domain
	// of the event does not match the sender domain of the create event, reject.
	{"federate", "", "m.federate is false, sender on the creator's server", scene{does: "invite", alice: "join", create: `{"m.federate":false}`}, ""},
	{"federate", "", "m.federate is false, sender elsewhere", scene{does: "invite", alice: "join", creator: dave, create: `{"m.federate":false}`}, "federate"},
	{"federate", "", "m.federate is true, sender elsewhere", scene{does: "invite", alice: "join", creator: dave, create: `{"m.federate":true}`}, ""},
	{"federate", "", "no m.federate, sender elsewhere", scene{does: "invite", alice: "join", creator: dave}, ""},
	{"federate", "", "m.federate is not quite false", scene{does: "invite", alice: "join", creator: dave, create: `{"m.federate":"false"}`}, ""},
	{"federate", "", "m.federate is false, a leave from elsewhere", scene{does: "leave", to: alice, alice: "invite", creator: dave, create: `{"m.federate":false}`}, "federate"},

	// If there is no state_key property, or no membership property in content, reject.
	{"member.1", "", "both are there", scene{does: "invite", alice: "join"}, ""},
	{"member.1", "", "no state_key", scene{does: "invite", alice: "join", noStateKey: true}, "member.1"},
	{"member.1", "", "no membership", scene{alice: "join"}, "member.1"},

	// If content has a join_authorised_via_users_server key: if the event is not validly signed by the homeserver of the user ID denoted by the key, reject.
	{"member.2.1", "8-", "signed by that server", scene{does: "invite", alice: "join", content: `{"join_authorised_via_users_server":"@x:d.example"}`, signer: "d.example"}, ""},
	{"member.2.1", "8-", "the sender's server is that server", scene{does: "invite", alice: "join", content: `{"join_authorised_via_users_server":"@x:a.example"}`}, ""},
	{"member.2.1", "8-", "signed by another server", scene{does: "invite", alice: "join", content: `{"join_authorised_via_users_server":"@x:d.example"}`, signer: "e.example"}, "member.2.1"},
	{"member.2.1", "8-", "no user ID", scene{does: "invite", alice: "join", content: `{"join_authorised_via_users_server":"a.example"}`}, "member.2.1"},
	{"member.2.1", "8-", "null", scene{does: "invite", alice: "join", content: `{"join_authorised_via_users_server":null}`}, "member.2.1"},
	{"member.2.1", "8-", "a leave", scene{does: "leave", to: alice, alice: "join", content: `{"join_authorised_via_users_server":"@x:d.example"}`}, "member.2.1"},
	{"member", "1-7", "join_authorised_via_users_server means nothing", scene{does: "invite", alice: "join", content: `{"join_authorised_via_users_server":"@x:d.example"}`}, ""},

	// If content has a third_party_invite property: if target user is banned, reject.
	{"invite.1.1", "", "target is not banned", scene{does: "invite", alice: "join", third: &thirdParty{}}, ""},
	{"invite.1.1", "", "target is joined", scene{does: "invite", alice: "join", bob: "join", third: &thirdParty{}}, ""},
	{"invite.1.1", "", "target is banned", scene{does: "invite", alice: "join", bob: "ban", third: &thirdParty{}}, "invite.1.1"},
	{"invite.1.1", "", "target is banned and all else is wrong too", scene{does: "invite", bob: "ban", third: &thirdParty{property: `null`}}, "invite.1.1"},

	// If content.third_party_invite does not have a signed property, reject.
	{"invite.1.2", "", "signed", scene{does: "invite", third: &thirdParty{}}, ""},
	{"invite.1.2", "", "no signed", scene{does: "invite", alice: "join", third: &thirdParty{property: `{"Signed":{}}`}}, "invite.1.2"},
	{"invite.1.2", "", "third_party_invite is null", scene{does: "invite", alice: "join", third: &thirdParty{property: `null`}}, "invite.1.2"},
	{"invite.1.2", "", "third_party_invite is text that looks like an object", scene{does: "invite", alice: "join", third: &thirdParty{property: `"{\"signed\":{}}"`}}, "invite.1.2"},

	// If signed does not have mxid and token properties, reject.
	{"invite.1.3", "", "mxid and token", scene{does: "invite", third: &thirdParty{}}, ""},
	{"invite.1.3", "", "no mxid", scene{does: "invite", third: &thirdParty{signed: `{"token":"` + token + `"}`}}, "invite.1.3"},
	{"invite.1.3", "", "no token", scene{does: "invite", third: &thirdParty{signed: `{"mxid":"` + bob + `"}`}}, "invite.1.3"},
	{"invite.1.3", "", "signed is null", scene{does: "invite", third: &thirdParty{property: `{"signed":null}`}}, "invite.1.3"},

	// If mxid does not match state_key, reject.
	{"invite.1.4", "", "mxid is the target", scene{does: "invite", third: &thirdParty{}}, ""},
	{"invite.1.4", "", "mxid is somebody else", scene{does: "invite", third: &thirdParty{signed: `{"mxid":"` + dave + `","token":"` + token + `"}`}}, "invite.1.4"},
	{"invite.1.4", "", "mxid and token are there but null", scene{does: "invite", third: &thirdParty{signed: `{"mxid":null,"token":null}`}}, "invite.1.4"},

	// If there is no m.room.third_party_invite event in the current room state with state_key matching token, reject.
	{"invite.1.5", "", "there is", scene{does: "invite", third: &thirdParty{}}, ""},
	{"invite.1.5", "", "there is none", scene{does: "invite", alice: "join", third: &thirdParty{none: true}}, "invite.1.5"},
	{"invite.1.5", "", "only of another token", scene{does: "invite", third: &thirdParty{signed: `{"mxid":"` + bob + `","token":"unknown"}`}}, "invite.1.5"},
	{"invite.1.5", "", "the token is no text", scene{does: "invite", third: &thirdParty{signed: `{"mxid":"` + bob + `","token":7}`}}, "invite.1.5"},

	// If sender does not match sender of the m.room.third_party_invite, reject.
	{"invite.1.6", "", "the same sender", scene{does: "invite", third: &thirdParty{by: alice}}, ""},
	{"invite.1.6", "", "another sender", scene{does: "invite", alice: "join", third: &thirdParty{by: carol}}, "invite.1.6"},

	// If any signature in signed matches any public key in the m.room.third_party_invite event, allow. The public keys are in content as:
	{"invite.1.7", "", "it does", scene{does: "invite", third: &thirdParty{}}, ""},
	{"invite.1.7", "", "it does not", scene{does: "invite", alice: "join", third: &thirdParty{keys: `{"public_key":"$OTHER"}`}}, "invite.1.8"},
	// A single public key in the public_key property.
	{"invite.1.7.1", "", "public_key alone", scene{does: "invite", third: &thirdParty{keys: `{"public_key":"$KEY"}`}}, ""},
	{"invite.1.7.1", "", "public_key in URL-safe base64", scene{does: "invite", third: &thirdParty{keys: `{"public_key":"$URLKEY"}`}}, ""},
	{"invite.1.7.1", "", "public_key is the right one, public_keys are not", scene{does: "invite", third: &thirdParty{keys: `{"public_key":"$KEY","public_keys":[{"public_key":"$OTHER"}]}`}}, ""},
	{"invite.1.7.1", "", "a key by another name", scene{does: "invite", alice: "join", third: &thirdParty{keys: `{"Public_Key":"$KEY"}`}}, "invite.1.8"},
	// A list of public keys in the public_keys property.
	{"invite.1.7.2", "", "public_keys alone", scene{does: "invite", third: &thirdParty{keys: `{"public_keys":[{"public_key":"$OTHER"},{"public_key":"$KEY"}]}`}}, ""},
	{"invite.1.7.2", "", "public_keys in URL-safe base64", scene{does: "invite", third: &thirdParty{keys: `{"public_key":"$OTHER","public_keys":[{"public_key":"$URLKEY"}]}`}}, ""},
	{"invite.1.7.2", "", "public_keys with what is no key", scene{does: "invite", third: &thirdParty{keys: `{"public_key":7,"public_keys":[null,"$KEY",{},{"public_key":"AA"},{"public_key":"$KEY"}]}`}}, ""},
	{"invite.1.7.2", "", "public_keys of others", scene{does: "invite", alice: "join", third: &thirdParty{keys: `{"public_keys":[{"public_key":"$OTHER"}]}`}}, "invite.1.8"},
	{"invite.1.7.2", "", "public_keys is no list of objects", scene{does: "invite", alice: "join", third: &thirdParty{keys: `{"public_keys":["$KEY"]}`}}, "invite.1.8"},
	{"invite.1.7.2", "", "public_keys is an object", scene{does: "invite", alice: "join", third: &thirdParty{keys: `{"public_keys":{"public_key":"$KEY"}}`}}, "invite.1.8"},
	// Otherwise, reject.
	{"invite.1.8", "", "signed", scene{does: "invite", third: &thirdParty{}}, ""},
	{"invite.1.8", "", "not signed", scene{does: "invite", alice: "join", third: &thirdParty{property: `{"signed":` + goodSigned + `}`}}, "invite.1.8"},
	{"invite.1.8", "", "revoked: the event's content is empty", scene{does: "invite", alice: "join", third: &thirdParty{keys: `{}`}}, "invite.1.8"},

	// If the sender's current membership state is not join, reject.
	{"invite.2", "", "sender is joined", scene{does: "invite", alice: "join"}, ""},
	{"invite.2", "", "sender was never there", scene{does: "invite"}, "invite.2"},
	{"invite.2", "", "sender is invited", scene{does: "invite", alice: "invite"}, "invite.2"},
	{"invite.2", "", "sender has left", scene{does: "invite", alice: "leave"}, "invite.2"},
	{"invite.2", "", "sender is banned", scene{does: "invite", alice: "ban"}, "invite.2"},
	{"invite.2", "7-", "sender knocks", scene{does: "invite", alice: "knock"}, "invite.2"},
	{"invite.2", "", "sender has left, target is joined", scene{does: "invite", alice: "leave", bob: "join"}, "invite.2"},
	{"invite.2", "", "sender invites themselves", scene{does: "invite", to: alice, alice: "leave"}, "invite.2"},

	// If target user's current membership state is join or ban, reject.
	{"invite.3", "", "target was never there", scene{does: "invite", alice: "join"}, ""},
	{"invite.3", "", "target has left", scene{does: "invite", alice: "join", bob: "leave"}, ""},
	{"invite.3", "", "target is invited already", scene{does: "invite", alice: "join", bob: "invite"}, ""},
	{"invite.3", "7-", "target knocks", scene{does: "invite", alice: "join", bob: "knock"}, ""},
	{"invite.3", "", "target is joined", scene{does: "invite", alice: "join", bob: "join"}, "invite.3"},
	{"invite.3", "", "target is banned", scene{does: "invite", alice: "join", bob: "ban"}, "invite.3"},
	{"invite.3", "", "target is the sender", scene{does: "invite", to: alice, alice: "join"}, "invite.3"},
	{"invite.3", "", "target is banned, sender lacks power", scene{does: "invite", alice: "join", bob: "ban", levels: invite2}, "invite.3"},

	// If the sender's power level is greater than or equal to the invite level, allow.
	{"invite.4", "", "no power levels: everybody may invite", scene{does: "invite", alice: "join"}, ""},
	{"invite.4", "", "no invite level: everybody may invite", scene{does: "invite", alice: "join", levels: `{}`}, ""},
	{"invite.4", "", "sender has the invite level", scene{does: "invite", alice: "join", levels: invite1}, ""},
	{"invite.4", "", "users_default is the invite level", scene{does: "invite", alice: "join", levels: `{"invite":3,"users_default":3}`}, ""},
	{"invite.4", "", "sender has less", scene{does: "invite", alice: "join", levels: invite2}, "invite.5"},
	{"invite.4", "", "users_default is less", scene{does: "invite", alice: "join", levels: `{"invite":3,"users_default":2}`}, "invite.5"},
	{"invite.4", "", "below no invite level at all", scene{does: "invite", alice: "join", levels: `{"users_default":-1}`}, "invite.5"},
	{"invite.4", "12", "a creator needs no level", scene{does: "invite", alice: "join", creator: alice, levels: `{"invite":1000}`}, ""},
	{"invite.4", "12", "so does an additional creator", scene{does: "invite", alice: "join", create: `{"additional_creators":["` + dave + `","` + alice + `"]}`, levels: `{"invite":1000}`}, ""},
	{"invite.4", "1-11", "a creator has the level of the event", scene{does: "invite", alice: "join", creator: alice, levels: `{"invite":1000}`}, "invite.5"},
	{"invite.4", "1-11", "nobody is an additional creator", scene{does: "invite", alice: "join", create: `{"additional_creators":["` + alice + `"]}`, levels: `{"invite":1000}`}, "invite.5"},
	// Otherwise, reject.
	{"invite.5", "", "enough power", scene{does: "invite", alice: "join", levels: invite1}, ""},
	{"invite.5", "", "too little power", scene{does: "invite", alice: "join", levels: invite2}, "invite.5"},

	// If the sender matches state_key, allow if and only if that user's current membership state is invite or join (or knock).
	{"leave.1", "", "declines", scene{does: "leave", to: alice, alice: "invite"}, ""},
	{"leave.1", "", "leaves", scene{does: "leave", to: alice, alice: "join"}, ""},
	{"leave.1", "7-", "knocks no longer", scene{does: "leave", to: alice, alice: "knock"}, ""},
	{"leave.1", "", "was never there", scene{does: "leave", to: alice}, "leave.1"},
	{"leave.1", "", "has left", scene{does: "leave", to: alice, alice: "leave"}, "leave.1"},
	{"leave.1", "", "is banned", scene{does: "leave", to: alice, alice: "ban"}, "leave.1"},

	// If the sender's current membership state is not join, reject.
	{"leave.2", "", "sender is joined", scene{does: "leave", alice: "join", bob: "invite", levels: alice50}, ""},
	{"leave.2", "", "sender has left", scene{does: "leave", alice: "leave", bob: "invite", levels: alice50}, "leave.2"},
	{"leave.2", "", "sender was never there", scene{does: "leave", bob: "invite", levels: alice50}, "leave.2"},
	{"leave.2", "", "sender is invited", scene{does: "leave", alice: "invite", bob: "join", levels: alice50}, "leave.2"},

	// If the target user's current membership state is ban, and the sender's power level is less than the ban level, reject.
	{"leave.3", "", "unbans with the ban level", scene{does: "leave", alice: "join", bob: "ban", levels: alice50}, ""},
	{"leave.3", "", "unbans with less", scene{does: "leave", alice: "join", bob: "ban", levels: `{"ban":51,"kick":0,"users":{"` + alice + `":50}}`}, "leave.3"},
	{"leave.3", "", "unbans with less than the ban level of a room that has none", scene{does: "leave", alice: "join", bob: "ban", levels: `{"kick":0,"users":{"` + alice + `":49}}`}, "leave.3"},
	{"leave.3", "", "the ban level does not matter for who is not banned", scene{does: "leave", alice: "join", bob: "invite", levels: `{"ban":51,"kick":0,"users":{"` + alice + `":50}}`}, ""},
	{"leave.3", "", "unbans with the ban level but not the kick level", scene{does: "leave", alice: "join", bob: "ban", levels: `{"ban":50,"kick":51,"users":{"` + alice + `":50}}`}, "leave.5"},

	// If the sender's power level is greater than or equal to the kick level, and the target user's power level is less than the sender's power level, allow.
	{"leave.4", "", "takes an invite back", scene{does: "leave", alice: "join", bob: "invite", levels: alice50}, ""},
	{"leave.4", "", "kicks", scene{does: "leave", alice: "join", bob: "join", levels: alice50}, ""},
	{"leave.4", "7-", "refuses a knock", scene{does: "leave", alice: "join", bob: "knock", levels: alice50}, ""},
	{"leave.4", "", "at the kick level of the room", scene{does: "leave", alice: "join", bob: "invite", levels: `{"kick":1,"users":{"` + alice + `":1}}`}, ""},
	{"leave.4", "", "below the kick level", scene{does: "leave", alice: "join", bob: "invite", levels: alice49}, "leave.5"},
	{"leave.4", "", "no power levels", scene{does: "leave", alice: "join", bob: "invite"}, "leave.5"},
	{"leave.4", "", "no power levels, the creator", scene{does: "leave", alice: "join", bob: "invite", creator: alice}, ""},
	{"leave.4", "", "target has as much power", scene{does: "leave", alice: "join", bob: "invite", levels: `{"users_default":50}`}, "leave.5"},
	{"leave.4", "", "target has more power", scene{does: "leave", alice: "join", bob: "invite", levels: `{"users":{"` + alice + `":50,"` + bob + `":51}}`}, "leave.5"},
	{"leave.4", "12", "a creator over all that an event can give", scene{does: "leave", alice: "join", bob: "join", creator: alice, levels: `{"users":{"` + bob + `":9007199254740991}}`}, ""},
	{"leave.4", "12", "creators cannot kick each other", scene{does: "leave", alice: "join", bob: "join", creator: alice, create: `{"additional_creators":["` + bob + `"]}`}, "leave.5"},
	// Otherwise, reject.
	{"leave.5", "", "enough power", scene{does: "leave", alice: "join", bob: "join", levels: alice50}, ""},
	{"leave.5", "", "too little power", scene{does: "leave", alice: "join", bob: "join", levels: alice49}, "leave.5"},

	// If the join_rule is anything other than knock (or knock_restricted), reject.
	{"knock.1", "7-", "join rule knock", scene{does: "knock", to: alice, joinRule: "knock"}, ""},
	{"knock.1", "10-", "join rule knock_restricted", scene{does: "knock", to: alice, joinRule: "knock_restricted"}, ""},
	{"knock.1", "7-9", "join rule knock_restricted is not known", scene{does: "knock", to: alice, joinRule: "knock_restricted"}, "knock.1"},
	{"knock.1", "7-", "join rule invite", scene{does: "knock", to: alice, joinRule: "invite"}, "knock.1"},
	{"knock.1", "7-", "join rule public", scene{does: "knock", to: alice, joinRule: "public"}, "knock.1"},
	{"knock.1", "7-", "join rule restricted", scene{does: "knock", to: alice, joinRule: "restricted"}, "knock.1"},
	{"knock.1", "7-", "no join rule", scene{does: "knock", to: alice}, "knock.1"},
	// If sender does not match state_key, reject.
	{"knock.2", "7-", "for oneself", scene{does: "knock", to: alice, joinRule: "knock"}, ""},
	{"knock.2", "7-", "for somebody else", scene{does: "knock", joinRule: "knock"}, "knock.2"},
	// If the sender's current membership is not ban, invite, or join, allow.
	{"knock.3", "7-", "was never there", scene{does: "knock", to: alice, joinRule: "knock"}, ""},
	{"knock.3", "7-", "has left", scene{does: "knock", to: alice, alice: "leave", joinRule: "knock"}, ""},
	{"knock.3", "7-", "knocks again", scene{does: "knock", to: alice, alice: "knock", joinRule: "knock"}, ""},
	{"knock.3", "7-", "is banned", scene{does: "knock", to: alice, alice: "ban", joinRule: "knock"}, "knock.4"},
	{"knock.3", "7-", "is invited", scene{does: "knock", to: alice, alice: "invite", joinRule: "knock"}, "knock.4"},
	// Otherwise, reject.
	{"knock.4", "7-", "is not joined", scene{does: "knock", to: alice, alice: "leave", joinRule: "knock"}, ""},
	{"knock.4", "7-", "is joined", scene{does: "knock", to: alice, alice: "join", joinRule: "knock"}, "knock.4"},

	// Otherwise, the membership is unknown. Reject.
	{"unknown", "", "a membership that there is", scene{does: "leave", to: alice, alice: "join"}, ""},
	{"unknown", "", "a membership that there is not", scene{does: "visit", to: alice, alice: "join"}, "unknown"},
	{"unknown", "", "membership in capitals", scene{does: "Invite", alice: "join"}, "unknown"},
	{"unknown", "", "membership is null", scene{content: `{"membership":null}`, alice: "join"}, "unknown"},
	{"unknown", "", "membership is a number", scene{content: `{"membership":7}`, alice: "join"}, "unknown"},
	{"unknown", "", "membership is empty", scene{content: `{"membership":""}`, alice: "join"}, "unknown"},
	{"unknown", "1-6", "knock", scene{does: "knock", to: alice, joinRule: "knock"}, "unknown"},
}

// checkRule checks that err is nil, or the rejection by a rule.
func checkRule(t testing.TB, v fedinvite.RoomVersion, err error, rule string) {
	t.Helper()
	want := number(v, rule)
	var got *eventauth.RuleError
	switch {
	case want == "" && err != nil:
		t.Errorf("%v, want it allowed", err)
	case want == "":
	case !errors.As(err, &got):
		t.Errorf("error %v, want a rejection by rule %s", err, want)
	case got.Rule != want || got.RoomVersion != v:
		t.Errorf("rejected by rule %s of room version %s, want %s of %s: %v", got.Rule, got.RoomVersion, want, v, err)
	case !errors.Is(err, fedinvite.ErrForbidden) || got.Reason == "":
		t.Errorf("%v does not wrap ErrForbidden or gives no reason", err)
	}
}

func TestRules(t *testing.T) {
	for _, v := range fedinvite.RoomVersions() {
		rules := rulesOf(t, v)
		for _, row := range rows {
			if !in(v, row.versions) {
				continue
			}
			t.Run("v"+string(v)+"/"+number(v, row.rule)+"/"+row.name, func(t *testing.T) {
				r, e := row.scene.build(t, rules)
				checkRule(t, v, eventauth.Authorize(e, r.state), row.want)
				if !e.HashOK() {
					t.Error("the content hash is wrong: another event was tested")
				}

				// Whatever the order, and with holes; and with no more than what Needs names.
				state := append(eventauth.State{nil}, r.state...)
				slices.Reverse(state)
				checkRule(t, v, eventauth.Authorize(e, state), row.want)

				c, err := eventauth.ChangeOf(e)
				if err != nil {
					if row.scene.does != "" && !row.scene.noStateKey || !errors.Is(err, eventauth.ErrUnsupported) {
						t.Fatal(err)
					}
					return
				}
				var needed eventauth.State
				for _, k := range c.Needs() {
					needed = append(needed, r.state.Get(k.Type, k.Key))
				}
				checkRule(t, v, eventauth.Authorize(e, needed), row.want)
				if row.rule == "member.2.1" {
					return // which is about the event alone
				}
				checkRule(t, v, c.Authorize(rules, needed), row.want)
			})
		}
	}
}

// specified are the rules about invites, leaves and knocks, auth_events and federation, as the
// pages of the room versions number them. Left out is 2.3 (3.3), "entries which were themselves
// rejected": the caller says that there are none.
var specified = []struct{ versions, rules string }{
	{"1-5", `2.1 2.2 2.4 2.5 3 5.1
		5.3.1.1 5.3.1.2 5.3.1.3 5.3.1.4 5.3.1.5 5.3.1.6 5.3.1.7 5.3.1.7.1 5.3.1.7.2 5.3.1.8 5.3.2 5.3.3 5.3.4 5.3.5
		5.4.1 5.4.2 5.4.3 5.4.4 5.4.5
		5.6`},
	{"6", `2.1 2.2 2.4 2.5 3 4.1
		4.3.1.1 4.3.1.2 4.3.1.3 4.3.1.4 4.3.1.5 4.3.1.6 4.3.1.7 4.3.1.7.1 4.3.1.7.2 4.3.1.8 4.3.2 4.3.3 4.3.4 4.3.5
		4.4.1 4.4.2 4.4.3 4.4.4 4.4.5
		4.6`},
	{"7", `2.1 2.2 2.4 2.5 3 4.1
		4.3.1.1 4.3.1.2 4.3.1.3 4.3.1.4 4.3.1.5 4.3.1.6 4.3.1.7 4.3.1.7.1 4.3.1.7.2 4.3.1.8 4.3.2 4.3.3 4.3.4 4.3.5
		4.4.1 4.4.2 4.4.3 4.4.4 4.4.5
		4.6.1 4.6.2 4.6.3 4.6.4 4.7`},
	{"8-11", `2.1 2.2 2.4 2.5 3 4.1 4.2.1
		4.4.1.1 4.4.1.2 4.4.1.3 4.4.1.4 4.4.1.5 4.4.1.6 4.4.1.7 4.4.1.7.1 4.4.1.7.2 4.4.1.8 4.4.2 4.4.3 4.4.4 4.4.5
		4.5.1 4.5.2 4.5.3 4.5.4 4.5.5
		4.7.1 4.7.2 4.7.3 4.7.4 4.8`},
	{"12", `2 3.1 3.2 3.4 4 5.1 5.2.1
		5.4.1.1 5.4.1.2 5.4.1.3 5.4.1.4 5.4.1.5 5.4.1.6 5.4.1.7 5.4.1.7.1 5.4.1.7.2 5.4.1.8 5.4.2 5.4.3 5.4.4 5.4.5
		5.5.1 5.5.2 5.5.3 5.5.4 5.5.5
		5.7.1 5.7.2 5.7.3 5.7.4 5.8`},
}

func TestEveryRuleHasAnAllowingAndARejectingRow(t *testing.T) {
	for _, v := range fedinvite.RoomVersions() {
		allowing, rejecting := map[string]bool{}, map[string]bool{}
		note := func(rule, versions, want string) {
			if !in(v, versions) {
				return
			}
			if n := number(v, rule); want == "" {
				allowing[n] = true
			} else {
				rejecting[n] = true
			}
		}
		for _, row := range rows {
			note(row.rule, row.versions, row.want)
		}
		for _, row := range authEventRows {
			note(row.rule, row.versions, row.want)
		}
		for _, s := range specified {
			if !in(v, s.versions) {
				continue
			}
			for _, rule := range strings.Fields(s.rules) {
				if !allowing[rule] || !rejecting[rule] {
					t.Errorf("room version %s, rule %s: allowing row %v, rejecting row %v, want both", v, rule, allowing[rule], rejecting[rule])
				}
				delete(allowing, rule)
				delete(rejecting, rule)
			}
		}
		for rule := range rejecting {
			t.Errorf("room version %s: rows about a rule %s that there is not", v, rule)
		}
	}
}
