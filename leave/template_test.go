package leave_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/leave"
	"github.com/tidwall/gjson"
)

func TestParseTemplate(t *testing.T) {
	deep := strings.Repeat("[", 130) + strings.Repeat("]", 130)
	for _, c := range []struct {
		name, body string
		want       leave.Template
		err        error
	}{
		{"both members", `{"room_version":"2","event":{"b":1,"a":2}}`, leave.Template{RoomVersion: "2", Event: json.RawMessage(`{"a":2,"b":1}`)}, nil},
		{"room version not provided", `{"event":{}}`, leave.Template{Event: json.RawMessage(`{}`)}, nil},
		{"room version not known here", `{"room_version":"org.example","event":{}}`, leave.Template{RoomVersion: "org.example", Event: json.RawMessage(`{}`)}, nil},
		{"other members", `{"event":{},"room_ver\u0073ion":"1","x":[1.5]}`, leave.Template{RoomVersion: "1", Event: json.RawMessage(`{}`)}, nil},
		{"great integers keep their digits", `{"event":{"depth":9223372036854775807}}`, leave.Template{Event: json.RawMessage(`{"depth":9223372036854775807}`)}, nil},
		{"nothing", ``, leave.Template{}, fedinvite.ErrNotJSON},
		{"no JSON", `{"event":{}`, leave.Template{}, fedinvite.ErrNotJSON},
		{"trailing data", `{"event":{}}{}`, leave.Template{}, fedinvite.ErrNotJSON},
		{"an array", `[{"event":{}}]`, leave.Template{}, fedinvite.ErrBadJSON},
		{"null", `null`, leave.Template{}, fedinvite.ErrBadJSON},
		{"event absent", `{"room_version":"1"}`, leave.Template{}, fedinvite.ErrMissing},
		{"event in other letters", `{"room_version":"1","Event":{}}`, leave.Template{}, fedinvite.ErrMissing},
		{"event null", `{"event":null}`, leave.Template{}, fedinvite.ErrBadJSON},
		{"event a string", `{"event":"{}"}`, leave.Template{}, fedinvite.ErrBadJSON},
		{"event an array", `{"event":[]}`, leave.Template{}, fedinvite.ErrBadJSON},
		{"room version a number", `{"event":{},"room_version":10}`, leave.Template{}, fedinvite.ErrBadJSON},
		{"room version null", `{"event":{},"room_version":null}`, leave.Template{}, fedinvite.ErrBadJSON},
		{"room version empty", `{"event":{},"room_version":""}`, leave.Template{}, fedinvite.ErrBadJSON},
		{"event twice", `{"event":{},"event":{}}`, leave.Template{}, fedinvite.ErrDuplicateKey},
		{"event twice, spelt differently", `{"event":{},"\u0065vent":{}}`, leave.Template{}, fedinvite.ErrDuplicateKey},
		{"a key twice in the event", `{"event":{"content":{"membership":"leave","membership":"join"}}}`, leave.Template{}, fedinvite.ErrDuplicateKey},
		{"lone surrogate", `{"event":{"x":"\ud800"}}`, leave.Template{}, fedinvite.ErrBadText},
		{"invalid UTF-8", "{\"event\":{\"x\":\"\xff\"}}", leave.Template{}, fedinvite.ErrBadText},
		{"too deep", `{"event":{"x":` + deep + `}}`, leave.Template{}, fedinvite.ErrTooDeep},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := leave.ParseTemplate([]byte(c.body))
			if !errors.Is(err, c.err) || c.err == nil && err != nil {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("template (-want +got):\n%s", diff)
			}
		})
	}
}

func TestTemplateMarshal(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		template := newTemplate(t, rules)
		for _, v := range []fedinvite.RoomVersion{rules.Version, ""} {
			template.RoomVersion = v
			body, err := template.MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(body), "room_version") != (v != "") {
				t.Errorf("body for version %q: %s", v, body)
			}
			got, err := leave.ParseTemplate(body)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(template, got); diff != "" {
				t.Errorf("read again (-want +got):\n%s", diff)
			}
		}
	})
	for event, want := range map[string]error{``: fedinvite.ErrNotJSON, `[]`: fedinvite.ErrBadJSON, `{"a":1,"a":1}`: fedinvite.ErrDuplicateKey, `{},"x":{}`: fedinvite.ErrNotJSON} {
		if body, err := (leave.Template{Event: json.RawMessage(event)}).MarshalJSON(); body != nil || !errors.Is(err, want) {
			t.Errorf("%q: %s, error %v, want %v", event, body, err, want)
		}
	}
}

// Each case breaks one sentence of the list of GET make_leave: "Before signing the
// returned template […] the sending server MUST verify that".
var brokenTemplates = []struct {
	sentence, path, raw string
	want                error
}{
	{"the room_id is equal to the roomId path parameter: other room", "room_id", `"!other:a.example"`, fedinvite.ErrMismatch},
	{"the room_id is equal to the roomId path parameter: absent", "room_id", ``, fedinvite.ErrMismatch},
	{"the room_id is equal to the roomId path parameter: an array", "room_id", `["!r:a.example"]`, fedinvite.ErrMismatch},
	{"both the sender and state_key are equal to the userId path parameter: other sender", "sender", `"@other:b.example"`, fedinvite.ErrMismatch},
	{"both the sender and state_key are equal to the userId path parameter: sender in capitals", "sender", `"@B:b.example"`, fedinvite.ErrMismatch},
	{"both the sender and state_key are equal to the userId path parameter: no sender", "sender", ``, fedinvite.ErrMismatch},
	{"both the sender and state_key are equal to the userId path parameter: other state_key", "state_key", `"@other:b.example"`, fedinvite.ErrMismatch},
	{"both the sender and state_key are equal to the userId path parameter: no state_key", "state_key", ``, fedinvite.ErrMismatch},
	{"both the sender and state_key are equal to the userId path parameter: state_key null", "state_key", `null`, fedinvite.ErrMismatch},
	{"the type of the event is m.room.member: another", "type", `"m.room.power_levels"`, fedinvite.ErrNotLeave},
	{"the type of the event is m.room.member: absent", "type", ``, fedinvite.ErrNotLeave},
	{"the type of the event is m.room.member: a number", "type", `1`, fedinvite.ErrNotLeave},
	{"the membership field inside content is leave: join", "content.membership", `"join"`, fedinvite.ErrNotLeave},
	{"the membership field inside content is leave: ban", "content.membership", `"ban"`, fedinvite.ErrNotLeave},
	{"the membership field inside content is leave: a list", "content.membership", `["leave"]`, fedinvite.ErrNotLeave},
	{"the membership field inside content is leave: absent", "content.membership", ``, fedinvite.ErrNotLeave},
	{"the membership field inside content is leave: content absent", "content", ``, fedinvite.ErrNotLeave},
	{"the membership field inside content is leave: content a list", "content", `[{"membership":"leave"}]`, fedinvite.ErrNotLeave},
	{"the membership field inside content is leave: content a string", "content", `"leave"`, fedinvite.ErrNotLeave},
}

// Scenario 61: make_leave template membership join, other user, other room: refuse to sign.
func TestScenario61(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		for _, c := range brokenTemplates {
			t.Run(c.sentence, func(t *testing.T) {
				template, s := newTemplate(t, rules), counting(t, serverB)
				template.Event = set(t, template.Event, c.path, c.raw)
				if err := template.Check(roomID(rules), bob); !errors.Is(err, c.want) {
					t.Errorf("Check: %v, want %v", err, c.want)
				}
				e, err := template.Sign(t.Context(), departure(rules), rules, s)
				refused(t, e, err, c.want, s)
			})
		}
	})
}

// What the caller asked for is what counts, not what the template agrees with itself on.
func TestTemplateForAnotherRequest(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		template := newTemplate(t, rules)
		if err := template.Check(roomID(rules), bob); err != nil {
			t.Error(err)
		}
		for _, edit := range []func(*leave.Departure){
			func(d *leave.Departure) { d.RoomID = "!other:a.example" },
			func(d *leave.Departure) { d.UserID = "@other:b.example" },
			func(d *leave.Departure) { d.RoomID, d.UserID = "", "" },
		} {
			d, s := departure(rules), counting(t, serverB)
			edit(&d)
			e, err := template.Sign(t.Context(), d, rules, s)
			refused(t, e, err, fedinvite.ErrMismatch, s)
		}
	})
}

// What is absent is not equal to an empty string.
func TestCheckOfNothing(t *testing.T) {
	event := json.RawMessage(`{"content":{"membership":"leave"},"type":"m.room.member"}`)
	if err := (leave.Template{Event: event}).Check("", ""); !errors.Is(err, fedinvite.ErrMismatch) {
		t.Error(err)
	}
}

func TestCheckOfWhatIsNoObject(t *testing.T) {
	for event, want := range map[string]error{
		``: fedinvite.ErrNotJSON, `null`: fedinvite.ErrBadJSON, `[]`: fedinvite.ErrBadJSON, `"x"`: fedinvite.ErrBadJSON,
		`{"type":1,"type":1}`: fedinvite.ErrDuplicateKey,
	} {
		if err := (leave.Template{Event: json.RawMessage(event)}).Check("!r:a.example", bob); !errors.Is(err, want) {
			t.Errorf("%q: %v, want %v", event, err, want)
		}
	}
}

// Scenario 62: make_leave without room_version is treated as v1/2.
func TestScenario62(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		template, s := newTemplate(t, rules), counting(t, serverB)
		template.RoomVersion = ""
		e, err := template.Sign(t.Context(), departure(rules), rules, s)
		if rules.Version != fedinvite.RoomV1 && rules.Version != fedinvite.RoomV2 {
			refused(t, e, err, fedinvite.ErrMismatch, s)
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		verified(t, e, rules)
	})
}

func TestTemplateOfAnotherRoomVersion(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		template := newTemplate(t, rules)
		for _, v := range append(fedinvite.RoomVersions(), "99", fedinvite.RoomVersion(strings.Repeat("x", 1000))) {
			if v == rules.Version || twins(v, rules.Version) {
				continue
			}
			s := counting(t, serverB)
			template.RoomVersion = v
			e, err := template.Sign(t.Context(), departure(rules), rules, s)
			refused(t, e, err, fedinvite.ErrMismatch, s)
		}
	})
	s := counting(t, serverB)
	rules := rulesOf(t, fedinvite.RoomV11)
	template := newTemplate(t, rules)
	for _, v := range []fedinvite.RoomVersion{"", fedinvite.RoomV11} {
		template.RoomVersion = v
		e, err := template.Sign(t.Context(), departure(rules), fedinvite.Rules{}, s)
		refused(t, e, err, fedinvite.ErrRoomVersion, s)
	}
}

// twins reports whether both are among room versions 1 and 2.
func twins(v, w fedinvite.RoomVersion) bool {
	return (v == fedinvite.RoomV1 || v == fedinvite.RoomV2) && (w == fedinvite.RoomV1 || w == fedinvite.RoomV2)
}

// Who was invited by the v1 endpoint takes every room for one of version 1.
func TestTemplateOfRoomVersion2ForAnInviteOfRoomVersion1(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV1)
	template, s := newTemplate(t, rules), counting(t, serverB)
	want, err := template.Sign(t.Context(), departure(rules), rules, s)
	if err != nil {
		t.Fatal(err)
	}
	template.RoomVersion = fedinvite.RoomV2
	got, err := template.Sign(t.Context(), departure(rules), rules, s)
	if err != nil {
		t.Fatal(err)
	}
	verified(t, got, rules)
	if string(got.AppendJSON(nil)) != string(want.AppendJSON(nil)) {
		t.Errorf("got %s, want %s", got.AppendJSON(nil), want.AppendJSON(nil))
	}
}

// A custom version whose rules are those of a known one makes the same events.
func TestTemplateOfAVersionWithTheSameRules(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV11)
	rules.Version = "org.example.custom"
	template, s := newTemplate(t, rules), counting(t, serverB)
	template.RoomVersion = fedinvite.RoomV11
	e, err := template.Sign(t.Context(), departure(rules), rules, s)
	if err != nil {
		t.Fatal(err)
	}
	verified(t, e, rules)

	template.RoomVersion, s = fedinvite.RoomV10, counting(t, serverB)
	e, err = template.Sign(t.Context(), departure(rules), rules, s)
	refused(t, e, err, fedinvite.ErrMismatch, s)
}

// Nothing of the template is signed but auth_events, prev_events and depth: whatever a
// hostile resident server adds, the event is the same.
func TestSignTakesReferencesAndDepthOnly(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		template, s := newTemplate(t, rules), invitetest.Signer(serverB)
		plain, err := template.Sign(t.Context(), departure(rules), rules, s)
		if err != nil {
			t.Fatal(err)
		}
		for path, raw := range map[string]string{
			"content.join_authorised_via_users_server": `"@x:evil.example"`,
			"content.third_party_invite":               `{"signed":{}}`,
			"content.reason":                           `"because I am a fool"`,
			"content.displayname":                      `7.5`,
			"unsigned":                                 `{"invite_room_state":[],"prev_content":{"membership":"join"}}`,
			"event_id":                                 `"$evil:evil.example"`,
			"origin":                                   `"evil.example"`,
			"origin_server_ts":                         `1`,
			"redacts":                                  `"$x"`,
			"signatures":                               `{"b.example":{"ed25519:1":"x"},"evil.example":{}}`,
			"hashes":                                   `{"sha256":"x","md5":"y"}`,
			"membership":                               `"join"`,
			"prev_state":                               `[]`,
			"depth\u0000":                              `1`,
			"org\\.example\\.policy":                   `{"x":1e5}`,
		} {
			hostile := template
			hostile.Event = set(t, template.Event, path, raw)
			e, err := hostile.Sign(t.Context(), departure(rules), rules, s)
			if err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			sameJSON(t, path, e.AppendJSON(nil), plain.AppendJSON(nil))
		}
		verified(t, plain, rules)
		sameJSON(t, "content", plain.Content(), []byte(`{"membership":"leave","reason":"no, thank you"}`))
		if got, want := plain.OriginServerTS(), eventTime.Add(time.Second); !got.Equal(want) {
			t.Errorf("origin_server_ts %v, want our own, %v", got, want)
		}
		var members []string
		gjson.ParseBytes(plain.AppendJSON(nil)).ForEach(func(key, _ gjson.Result) bool {
			members = append(members, key.String())
			return true
		})
		want := []string{"auth_events", "content", "depth", "hashes", "origin_server_ts", "prev_events", "room_id", "sender", "signatures", "state_key", "type"}
		if rules.EventIDs == fedinvite.EventIDServer {
			want = slices.Insert(want, 3, "event_id")
		}
		if diff := cmp.Diff(want, members); diff != "" {
			t.Errorf("members (-want +got):\n%s", diff)
		}
	})
}

// A template that fits gives what the sender would have made with the room at hand.
func TestSignEqualsNewLeave(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		s := invitetest.Signer(serverB)
		d := declineDraft(rules)
		d.Depth = rules.MaxDepth
		d.AuthEvents, d.PrevEvents = refs(rules, "a", 10), refs(rules, "p", 20)
		template, err := leave.NewTemplate(d, serverA, rules)
		if err != nil {
			t.Fatal(err)
		}
		body, err := template.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if template, err = leave.ParseTemplate(body); err != nil {
			t.Fatal(err)
		}
		got, err := template.Sign(t.Context(), departure(rules), rules, s)
		if err != nil {
			t.Fatal(err)
		}
		d.Time, d.Content = departure(rules).Time, departure(rules).Content
		want, err := fedinvite.NewLeave(t.Context(), d, rules, s)
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, "event", got.AppendJSON(nil), want.AppendJSON(nil))
		if got.ID() != want.ID() || got.Depth() != rules.MaxDepth {
			t.Errorf("ID %s, want %s; depth %d", got.ID(), want.ID(), got.Depth())
		}
	})
}

// A reference as the template might have it, with hash where there is one.
func rawRef(rules fedinvite.Rules, i int, hash string) string {
	if rules.EventIDs != fedinvite.EventIDServer {
		return fmt.Sprintf(`"$%043d"`, i)
	}
	return fmt.Sprintf(`["$%d:a.example",%s]`, i, hash)
}

func emptyRef(rules fedinvite.Rules) string {
	if rules.EventIDs != fedinvite.EventIDServer {
		return `""`
	}
	return `["",{}]`
}

func rawRefs(rules fedinvite.Rules, n int) string {
	all := make([]string, n)
	for i := range all {
		all[i] = rawRef(rules, i, `{}`)
	}
	return "[" + strings.Join(all, ",") + "]"
}

func TestHostileTemplates(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		overDepth := "9223372036854775808"
		if rules.StrictJSON {
			overDepth = "9007199254740992"
		}
		type hostile struct{ name, path, raw string }
		cases := []hostile{
			{"11 auth_events", "auth_events", rawRefs(rules, 11)},
			{"21 prev_events", "prev_events", rawRefs(rules, 21)},
			{"no auth_events", "auth_events", ``},
			{"no prev_events", "prev_events", ``},
			{"no depth", "depth", ``},
			{"auth_events an object", "auth_events", `{"0":"$x"}`},
			{"prev_events null", "prev_events", `null`},
			{"auth_events of numbers", "auth_events", `[1]`},
			{"auth_events of null", "auth_events", `[null]`},
			{"auth_events of empty lists", "auth_events", `[[]]`},
			{"prev_events of objects", "prev_events", `[{"event_id":"$x"}]`},
			{"a reference that is no event ID", "prev_events", strings.ReplaceAll(rawRefs(rules, 1), "$", "!")},
			{"a reference of 256 bytes", "auth_events", strings.ReplaceAll(rawRefs(rules, 1), "$", "$"+strings.Repeat("x", 256))},
			{"an empty reference", "auth_events", strings.ReplaceAll(rawRefs(rules, 1), rawRef(rules, 0, `{}`), emptyRef(rules))},
			{"negative depth", "depth", `-1`},
			{"depth with an exponent", "depth", `1e3`},
			{"depth with a fraction", "depth", `1.5`},
			{"depth with a fraction of nothing", "depth", `8.0`},
			{"depth a string", "depth", `"8"`},
			{"depth null", "depth", `null`},
			{"depth a list", "depth", `[8]`},
			{"depth true", "depth", `true`},
			{"depth beyond the greatest", "depth", overDepth},
			{"depth of 4,000 digits", "depth", strings.Repeat("9", 4000)},
		}
		if rules.EventIDs == fedinvite.EventIDServer {
			cases = append(cases,
				hostile{"references of room version 3", "auth_events", `["$x:a.example"]`},
				hostile{"a pair of three", "auth_events", `[["$x:a.example",{},{}]]`},
				hostile{"a pair of one", "prev_events", `[["$x:a.example"]]`},
				hostile{"an object for a pair", "prev_events", `[{"0":"$x:a.example","1":{}}]`},
				hostile{"hashes a string", "prev_events", `[["$x:a.example","sha256"]]`},
				hostile{"hashes a list", "prev_events", `[["$x:a.example",[]]]`},
				hostile{"hashes that hold more", "prev_events", `[["$x:a.example",{"sha256":"","x":{"sign":"me"}}]]`},
				hostile{"hashes of another name", "prev_events", `[["$x:a.example",{"md5":""}]]`},
				hostile{"a hash of 31 bytes", "auth_events", `[["$x:a.example",{"sha256":"` + strings.Repeat("A", 42) + `"}]]`},
				hostile{"a hash that is no base64", "auth_events", `[["$x:a.example",{"sha256":"` + strings.Repeat("!", 43) + `"}]]`},
				hostile{"a hash that is no string", "auth_events", `[["$x:a.example",{"sha256":1}]]`},
			)
		} else {
			cases = append(cases,
				hostile{"references of room version 1", "auth_events", `[["$x:a.example",{}]]`},
				hostile{"references in objects", "prev_events", `[{}]`},
			)
		}
		if rules.RoomIDIsCreateEvent {
			cases = append(cases, hostile{"the create event among auth_events", "auth_events", `["$` + strings.TrimPrefix(roomID(rules), "!") + `"]`})
		}
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				template, s := newTemplate(t, rules), counting(t, serverB)
				template.Event = set(t, template.Event, c.path, c.raw)
				e, err := template.Sign(t.Context(), departure(rules), rules, s)
				refused(t, e, err, fedinvite.ErrBadJSON, s)
			})
		}
	})
}

// Today's servers send the references of room versions 1 and 2 without hashes.
func TestReferencesWithoutHashes(t *testing.T) {
	for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV2} {
		rules := rulesOf(t, v)
		for _, hash := range []string{`{}`, `{"sha256":""}`, `{"sha256":"` + strings.Repeat("A", 43) + `"}`, `{"sha256":"` + strings.Repeat("A", 43) + `="}`, `{"sha256":"` + strings.Repeat("_", 43) + `"}`} {
			template, list := newTemplate(t, rules), "["+rawRef(rules, 1, hash)+","+rawRef(rules, 2, hash)+"]"
			template.Event = set(t, set(t, template.Event, "auth_events", list), "prev_events", list)
			e, err := template.Sign(t.Context(), departure(rules), rules, invitetest.Signer(serverB))
			if err != nil {
				t.Fatalf("v%s, %s: %v", v, hash, err)
			}
			verified(t, e, rules)
			sameJSON(t, hash, []byte(gjson.GetBytes(e.AppendJSON(nil), "auth_events").Raw), []byte(list))
		}
	}
}

func TestGreatDepthKeepsItsDigits(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		for _, depth := range []int64{0, 1, 1<<53 - 1, rules.MaxDepth - 1, rules.MaxDepth} {
			template := newTemplate(t, rules)
			template.Event = set(t, template.Event, "depth", fmt.Sprint(depth))
			e, err := template.Sign(t.Context(), departure(rules), rules, invitetest.Signer(serverB))
			if err != nil || e.Depth() != depth {
				t.Errorf("depth %d: %v, %v", depth, e, err)
			}
		}
	})
}

func TestContentIsOurs(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV8) // in which join_authorised_via_users_server makes another server sign
	template := newTemplate(t, rules)
	for _, c := range []struct {
		name, content, want string
		err                 error
	}{
		{"nil", ``, `{"membership":"leave"}`, nil},
		{"empty", ` {} `, `{"membership":"leave"}`, nil},
		{"reason and more", `{"reason":"<\u00e9&>","org.example":[1,{"x":null}]}`, `{"membership":"leave","org.example":[1,{"x":null}],"reason":"<é&>"}`, nil},
		{"a membership", `{"membership":"join"}`, `{"membership":"leave"}`, nil},
		{"what makes others sign", `{"join_authorised_via_users_server":"@x:c.example","third_party_invite":{}}`, `{"membership":"leave"}`, nil},
		{"other letters", `{"Membership":"join"}`, `{"Membership":"join","membership":"leave"}`, nil},
		{"null", `null`, ``, fedinvite.ErrBadJSON},
		{"a list", `[]`, ``, fedinvite.ErrBadJSON},
		{"no JSON", `{`, ``, fedinvite.ErrNotJSON},
		{"a float", `{"x":1.5}`, ``, fedinvite.ErrBadNumber},
		{"twice", `{"reason":"a","reason":"b"}`, ``, fedinvite.ErrDuplicateKey},
		{"bad text", "{\"reason\":\"\xff\"}", ``, fedinvite.ErrBadText},
		{"too large", `{"reason":"` + strings.Repeat("x", 66000) + `"}`, ``, fedinvite.ErrBadJSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			d, s := departure(rules), counting(t, serverB)
			d.Content = json.RawMessage(c.content)
			e, err := template.Sign(t.Context(), d, rules, s)
			if c.err != nil {
				refused(t, e, err, c.err, s)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			verified(t, e, rules)
			sameJSON(t, "content", e.Content(), []byte(c.want))
		})
	}
}

// The largest leave is as large as the largest that NewLeave makes, and one byte more
// does not reach the signer.
func TestSizeLimit(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		template, d := newTemplate(t, rules), departure(rules)
		size := func(n int) (*fedinvite.Event, *countingSigner, error) {
			s := counting(t, serverB)
			d.Content = json.RawMessage(`{"reason":"` + strings.Repeat("x", n) + `"}`)
			e, err := template.Sign(t.Context(), d, rules, s)
			return e, s, err
		}
		e, _, err := size(0)
		if err != nil {
			t.Fatal(err)
		}
		room := 65522 - len(e.AppendJSON(nil))
		e, _, err = size(room)
		if err != nil || len(e.AppendJSON(nil)) != 65522 {
			t.Errorf("at the limit: %v", err)
		}
		e, s, err := size(room + 1)
		refused(t, e, err, fedinvite.ErrBadJSON, s)
	})
}

func TestTimeOutOfRange(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		for _, at := range []time.Time{{}, time.UnixMilli(-1), time.UnixMilli(1 << 53)} {
			d, s := departure(rules), counting(t, serverB)
			d.Time = at
			e, err := newTemplate(t, rules).Sign(t.Context(), d, rules, s)
			refused(t, e, err, fedinvite.ErrBadJSON, s)
		}
	})
}

// A failingSigner is of serverB and cannot sign.
type failingSigner struct {
	fedinvite.Signer
	signature []byte
	err       error
}

func (s failingSigner) Sign(context.Context, []byte) ([]byte, error) { return s.signature, s.err }

func TestSigners(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		template, d := newTemplate(t, rules), departure(rules)

		other := counting(t, serverA)
		e, err := template.Sign(t.Context(), d, rules, other)
		refused(t, e, err, fedinvite.ErrSignature, other)
		var failed *fedinvite.SignatureError
		if !errors.As(err, &failed) || failed.Server != serverB {
			t.Errorf("error %v does not name %s", err, serverB)
		}
		if e, err := template.Sign(t.Context(), d, rules, nil); e != nil || err == nil {
			t.Errorf("no signer: %v, %v", e, err)
		}
		broken := failingSigner{Signer: invitetest.Signer(serverB), err: errors.New("HSM on fire")}
		if e, err := template.Sign(t.Context(), d, rules, broken); e != nil || !errors.Is(err, broken.err) {
			t.Errorf("failing signer: %v, %v", e, err)
		}
		broken = failingSigner{Signer: broken.Signer, signature: make([]byte, 63)}
		if e, err := template.Sign(t.Context(), d, rules, broken); e != nil || err == nil {
			t.Errorf("short signature: %v, %v", e, err)
		}
	})
}

func TestNewTemplate(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		d := declineDraft(rules)
		d.Content, d.EventID = json.RawMessage(`{"membership":"ban","reason":"x"}`), "$x:a.example" // not used
		template, err := leave.NewTemplate(d, serverA, rules)
		if err != nil {
			t.Fatal(err)
		}
		if template.RoomVersion != rules.Version {
			t.Errorf("room version %q", template.RoomVersion)
		}
		event := gjson.ParseBytes(template.Event)
		for path, want := range map[string]string{
			"content": `{"membership":"leave"}`, "depth": `8`, "event_id": ``, "hashes": ``, "origin": `"a.example"`, "origin_server_ts": `1700000000000`,
			"room_id": `"` + roomID(rules) + `"`, "sender": `"` + bob + `"`, "signatures": ``, "state_key": `"` + bob + `"`, "type": `"m.room.member"`, "unsigned": ``,
		} {
			if got := event.Get(path).Raw; got != want {
				t.Errorf("%s is %s, want %s", path, got, want)
			}
		}
		firstID := `auth_events.0`
		if rules.EventIDs == fedinvite.EventIDServer {
			firstID = `auth_events.0.0`
			if got := event.Get("auth_events.0.1.sha256").Str; len(got) != 43 {
				t.Errorf("reference hash %q", got)
			}
		}
		if got := event.Get(firstID).Str; got != d.AuthEvents[0].ID {
			t.Errorf("first of auth_events %q", got)
		}
	})
}

func TestNewTemplateErrors(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		for _, c := range []struct {
			name string
			edit func(*fedinvite.Draft)
			want error
		}{
			{"sender and invitee differ", func(d *fedinvite.Draft) { d.Sender = alice }, fedinvite.ErrMismatch},
			{"no user", func(d *fedinvite.Draft) { d.Sender, d.Invitee = "", "" }, fedinvite.ErrIdentifier},
			{"no user ID", func(d *fedinvite.Draft) { d.Sender, d.Invitee = "b", "b" }, fedinvite.ErrIdentifier},
			{"no room", func(d *fedinvite.Draft) { d.RoomID = "" }, fedinvite.ErrBadJSON},
			{"a room ID that would have to be repaired", func(d *fedinvite.Draft) { d.RoomID = "!\xff:a.example" }, fedinvite.ErrBadText},
			{"an event ID that would have to be repaired", func(d *fedinvite.Draft) { d.PrevEvents[0].ID = "$\xff:a.example" }, fedinvite.ErrBadText},
			{"no event ID", func(d *fedinvite.Draft) { d.AuthEvents[0].ID = "x" }, fedinvite.ErrBadJSON},
			{"11 auth_events", func(d *fedinvite.Draft) { d.AuthEvents = refs(rules, "a", 11) }, fedinvite.ErrBadJSON},
			{"21 prev_events", func(d *fedinvite.Draft) { d.PrevEvents = refs(rules, "p", 21) }, fedinvite.ErrBadJSON},
			{"negative depth", func(d *fedinvite.Draft) { d.Depth = -1 }, fedinvite.ErrBadJSON},
			{"no time", func(d *fedinvite.Draft) { d.Time = time.Time{} }, fedinvite.ErrBadJSON},
		} {
			d := declineDraft(rules)
			c.edit(&d)
			if template, err := leave.NewTemplate(d, serverA, rules); template.Event != nil || !errors.Is(err, c.want) {
				t.Errorf("%s: %s, %v, want %v", c.name, template.Event, err, c.want)
			}
		}
		if _, err := leave.NewTemplate(declineDraft(rules), "a b", rules); !errors.Is(err, fedinvite.ErrIdentifier) {
			t.Errorf("resident: %v", err)
		}
		if rules.EventIDs == fedinvite.EventIDServer {
			d := declineDraft(rules)
			d.PrevEvents[1].SHA256 = make([]byte, 31)
			if _, err := leave.NewTemplate(d, serverA, rules); !errors.Is(err, fedinvite.ErrBadJSON) {
				t.Errorf("hash of 31 bytes: %v", err)
			}
		}
	})
	if _, err := leave.NewTemplate(declineDraft(rulesOf(t, fedinvite.RoomV11)), serverA, fedinvite.Rules{}); !errors.Is(err, fedinvite.ErrRoomVersion) {
		t.Errorf("no rules: %v", err)
	}
}

func TestNoReferencesAreEmptyLists(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV11)
	d := declineDraft(rules)
	d.AuthEvents, d.PrevEvents = nil, nil
	template, err := leave.NewTemplate(d, serverA, rules)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"auth_events", "prev_events"} {
		if got := gjson.GetBytes(template.Event, path).Raw; got != "[]" {
			t.Errorf("%s is %s", path, got)
		}
	}
}
