package fedinvite_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// redactionGroup is one text of "Redactions": its versions, the top-level keys
// that it lists, and the content keys by event type.
type redactionGroup struct {
	versions []fedinvite.RoomVersion
	top      string
	content  map[string]string
}

const (
	oldTop = "auth_events content depth event_id hashes membership origin origin_server_ts prev_events prev_state room_id sender signatures state_key type"
	newTop = "auth_events content depth event_id hashes origin_server_ts prev_events room_id sender signatures state_key type"

	oldLevels = "ban events events_default kick redact state_default users users_default"
	everyKey  = "*"
)

var redactionGroups = []redactionGroup{
	{ // rooms/v1 to rooms/v5, "Redactions"
		[]fedinvite.RoomVersion{"1", "2", "3", "4", "5"}, oldTop, map[string]string{
			"m.room.member":             "membership",
			"m.room.create":             "creator",
			"m.room.join_rules":         "join_rule",
			"m.room.power_levels":       oldLevels,
			"m.room.aliases":            "aliases",
			"m.room.history_visibility": "history_visibility",
		},
	},
	{ // rooms/v6 and rooms/v7, "Redactions": m.room.aliases is gone
		[]fedinvite.RoomVersion{"6", "7"}, oldTop, map[string]string{
			"m.room.member":             "membership",
			"m.room.create":             "creator",
			"m.room.join_rules":         "join_rule",
			"m.room.power_levels":       oldLevels,
			"m.room.history_visibility": "history_visibility",
		},
	},
	{ // rooms/v8, "Redactions": allow
		[]fedinvite.RoomVersion{"8"}, oldTop, map[string]string{
			"m.room.member":             "membership",
			"m.room.create":             "creator",
			"m.room.join_rules":         "allow join_rule",
			"m.room.power_levels":       oldLevels,
			"m.room.history_visibility": "history_visibility",
		},
	},
	{ // rooms/v9 and rooms/v10, "Redactions": join_authorised_via_users_server
		[]fedinvite.RoomVersion{"9", "10"}, oldTop, map[string]string{
			"m.room.member":             "join_authorised_via_users_server membership",
			"m.room.create":             "creator",
			"m.room.join_rules":         "allow join_rule",
			"m.room.power_levels":       oldLevels,
			"m.room.history_visibility": "history_visibility",
		},
	},
	{ // rooms/v11 and rooms/v12, "Redactions"
		[]fedinvite.RoomVersion{"11", "12"}, newTop, map[string]string{
			"m.room.member":             "join_authorised_via_users_server membership third_party_invite",
			"m.room.create":             everyKey,
			"m.room.join_rules":         "allow join_rule",
			"m.room.power_levels":       "ban events events_default invite kick redact state_default users users_default",
			"m.room.history_visibility": "history_visibility",
			"m.room.redaction":          "redacts",
		},
	},
}

// Every key that some version keeps for some type, and neighbours that none keeps.
const contentKeys = "a aliases allow ban body creator event_id events events_default history_visibility invite join_authorised_via_users_server " +
	"join_rule kick membership membershi membershipp Membership notifications redact redacts room_version sender signed state_default " +
	"third_party_invite type unsigned users users_default z"

func TestRedactionKeepsWhatTheVersionLists(t *testing.T) {
	covered := 0
	for _, group := range redactionGroups {
		for _, v := range group.versions {
			covered++
			for _, eventType := range []string{
				"m.room.member", "m.room.create", "m.room.join_rules", "m.room.power_levels", "m.room.aliases",
				"m.room.history_visibility", "m.room.redaction", "m.room.third_party_invite", "m.room.server_acl",
				"m.room.message", "m.room.name", "m.room.MEMBER", "m.room.member ", "",
			} {
				t.Run(fmt.Sprintf("v%s/%s", v, eventType), func(t *testing.T) {
					checkRedaction(t, v, eventType, group.top, group.content[eventType])
				})
			}
		}
	}
	if covered != len(fedinvite.RoomVersions()) {
		t.Errorf("the table has %d room versions", covered)
	}
}

func checkRedaction(t *testing.T, v fedinvite.RoomVersion, eventType, top, kept string) {
	t.Helper()
	content := members{}
	for i, key := range strings.Fields(contentKeys) {
		content[key] = fmt.Sprintf(`{"signed":%d}`, i)
	}
	wantContent := members{}
	for _, key := range strings.Fields(kept) {
		wantContent[key] = content[key]
	}
	if kept == everyKey {
		wantContent = content
	}
	e := parsed(t, signedEvent(t, v, func(m members) {
		m["type"], m["state_key"] = strconv.Quote(eventType), `"@b:b.example"`
		m["content"] = string(content.json())
		for _, key := range []string{"age_ts", "destinations", "membership", "origin", "outlier", "prev_state", "redacts", "unsigned", "replaces_state", "org.x", "Type", "zz"} {
			m[key] = `{}`
		}
		if v == fedinvite.RoomV12 && eventType == "m.room.create" {
			delete(m, "room_id")
		}
	}), v)
	redacted := membersOfJSON(t, e.Redacted().AppendJSON(nil))
	wantTop := strings.Fields(top)
	wantTop = slices.DeleteFunc(wantTop, func(key string) bool {
		return key == "event_id" && !hasPairs(v) || key == "room_id" && v == fedinvite.RoomV12 && eventType == "m.room.create"
	})
	if diff := cmp.Diff(wantTop, slices.Sorted(maps.Keys(redacted))); diff != "" {
		t.Errorf("top-level keys: -want +got\n%s", diff)
	}
	if diff := cmp.Diff(string(wantContent.json()), redacted["content"]); diff != "" {
		t.Errorf("content: -want +got\n%s", diff)
	}
	before := membersOfJSON(t, e.AppendJSON(nil))
	for key, value := range redacted {
		if key != "content" && value != before[key] {
			t.Errorf("%s changed: %s, was %s", key, value, before[key])
		}
	}
}

// "Additionally, it allows the signed key of the third_party_invite key."
func TestRedactionKeepsOnlySignedOfThirdPartyInvites(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		n, _ := strconv.Atoi(string(v))
		for _, c := range []struct{ invite, kept string }{
			{`{"display_name":"x","signed":{"mxid":"@b:b.example","token":"t"},"z":1}`, `{"signed":{"mxid":"@b:b.example","token":"t"}}`},
			{`{"signed":null}`, `{"signed":null}`},
			{`{"signed":"x"}`, `{"signed":"x"}`},
			{`{"Signed":1,"signed ":2}`, `{}`},
			{`{}`, `{}`}, // as today's servers have it
			{`null`, ``},
			{`"signed"`, ``},
			{`["signed"]`, ``},
		} {
			want := `{"membership":"invite"}`
			if n >= 11 && c.kept != "" {
				want = `{"membership":"invite","third_party_invite":` + c.kept + `}`
			}
			e := memberEvent(t, v, `{"membership":"invite","third_party_invite":`+c.invite+`}`)
			if diff := cmp.Diff(want, string(e.Redacted().Content())); diff != "" {
				t.Errorf("%s: -want +got\n%s", c.invite, diff)
			}
		}
	})
}

func TestRedactionKeepsValuesWhateverTheirType(t *testing.T) {
	for _, value := range []string{`null`, `[]`, `[{"a":[]}]`, `{"a":{"b":{}}}`, `"\"}],{\\"`, `""`, `1`, `-1`, `true`, `false`} {
		for _, v := range fedinvite.RoomVersions() {
			e := memberEvent(t, v, `{"displayname":`+value+`,"membership":`+value+`}`)
			if diff := cmp.Diff(`{"membership":`+value+`}`, string(e.Redacted().Content())); diff != "" {
				t.Errorf("v%s: -want +got\n%s", v, diff)
			}
		}
	}
}

func TestLegacyNumbersSurviveRedactionUntouched(t *testing.T) {
	const numbers = `"ban":9007199254740993,"events_default":-99999999999999999999999999999999999,"kick":10000000000.0,"redact":1e+16,"state_default":0.1,"users":{"@a:b":9223372036854775808}`
	for _, v := range fedinvite.RoomVersions()[:5] {
		e := parsed(t, signedEvent(t, v, func(m members) {
			m["type"], m["state_key"] = `"m.room.power_levels"`, `""`
			m["content"] = `{` + numbers + `,"notifications":{"room":1.5}}`
			m["prev_state"] = `[12345678901234567890,1e2]`
		}), v)
		r := e.Redacted()
		if diff := cmp.Diff(`{`+numbers+`}`, string(r.Content())); diff != "" {
			t.Errorf("v%s: -want +got\n%s", v, diff)
		}
		var top struct {
			PrevState json.RawMessage `json:"prev_state"`
		}
		if err := json.Unmarshal(r.AppendJSON(nil), &top); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(`[12345678901234567890,100.0]`, string(top.PrevState)); diff != "" {
			t.Errorf("v%s: -want +got\n%s", v, diff)
		}
		if again := parsed(t, r.AppendJSON(nil), v); again.ID() != e.ID() {
			t.Errorf("v%s: ID %s, want %s", v, again.ID(), e.ID())
		}
	}
}

// The kept keys of a create event are all keys from version 11 on, in their bytes.
func TestRedactionKeepsTheWholeContentOfCreateEvents(t *testing.T) {
	const content = `{"additional_creators":["@c:c.example"],"creator":"x","m.federate":false,"predecessor":{"event_id":"$x","room_id":"!x"},"room_version":"12","\u0001\"é":null}`
	for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV11, fedinvite.RoomV12} {
		e := parsed(t, changedCreate(t, v, content), v)
		if diff := cmp.Diff(string(e.Content()), string(e.Redacted().Content())); diff != "" {
			t.Errorf("v%s: -want +got\n%s", v, diff)
		}
		if !e.Redacted().HashOK() {
			t.Errorf("v%s: the redacted copy, which lacks nothing, has another content hash", v)
		}
	}
}

func changedCreate(t testing.TB, v fedinvite.RoomVersion, content string) []byte {
	t.Helper()
	return signedEvent(t, v, func(m members) {
		m["type"], m["state_key"], m["content"] = `"m.room.create"`, `""`, content
		m["auth_events"], m["prev_events"] = `[]`, `[]`
		if v == fedinvite.RoomV12 {
			delete(m, "room_id")
		}
	})
}

// The low door takes events that are none; what it signs is still the redacted form.
func TestSignEventJSONOfContentThatIsNoObjectLeavesAnEmptyOne(t *testing.T) {
	for _, raw := range []string{`{"content":null,"type":"m.room.create"}`, `{"content":[1],"type":"m.room.member"}`, `{"content":"x","type":"x"}`, `{"content":1}`} {
		for _, v := range fedinvite.RoomVersions() {
			s := &recordingSigner{Signer: invitetest.Signer("a.example")}
			if _, err := fedinvite.SignEventJSON(t.Context(), []byte(raw), rulesOf(t, v), s); err != nil {
				t.Fatal(err)
			}
			if !strings.HasPrefix(string(s.message), `{"content":{},"hashes":`) {
				t.Errorf("v%s %s: signed %s", v, raw, s.message)
			}
		}
	}
}

// Through the low door a create event may name its room; that must not change what
// the room's ID is computed from.
func TestRoomIDOfACreateEventIsNeverSignedInVersion12(t *testing.T) {
	for _, c := range []struct {
		v      fedinvite.RoomVersion
		raw    string
		signed bool
	}{
		{fedinvite.RoomV12, `{"room_id":"!x","type":"m.room.create"}`, false},
		{fedinvite.RoomV12, `{"room_id":"!x","type":"m.room.member"}`, true},
		{fedinvite.RoomV11, `{"room_id":"!x","type":"m.room.create"}`, true},
	} {
		s := &recordingSigner{Signer: invitetest.Signer("a.example")}
		if _, err := fedinvite.SignEventJSON(t.Context(), []byte(c.raw), rulesOf(t, c.v), s); err != nil {
			t.Fatal(err)
		}
		if got := strings.Contains(string(s.message), `"room_id"`); got != c.signed {
			t.Errorf("v%s %s: signed %s", c.v, c.raw, s.message)
		}
	}
}
