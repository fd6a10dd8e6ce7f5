package eventauth_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"unicode"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// stored parses a state event by Carol as a store would have it, with numbers of any kind,
// and with the right content hash.
func stored(t testing.TB, rules fedinvite.Rules, roomID, eventType, content string) *fedinvite.Event {
	t.Helper()
	e, err := parseStored(rules, roomID, eventType, content)
	if err != nil {
		t.Fatalf("%v: %s", err, content)
	}
	return e
}

func parseStored(rules fedinvite.Rules, roomID, eventType, content string) (*fedinvite.Event, error) {
	room := fmt.Sprintf(`"room_id":%q,`, roomID)
	if rules.RoomIDIsCreateEvent && eventType == "m.room.create" {
		room = ""
	}
	if rules.EventIDs == fedinvite.EventIDServer {
		room += fmt.Sprintf(`"event_id":"$%s:a.example",`, eventType)
	}
	// fedinvite.SignEventJSON refuses some of the numbers; the hash does not cover itself.
	var e *fedinvite.Event
	var hash [32]byte
	for range 2 {
		var err error
		e, err = fedinvite.ParseStored([]byte(`{`+room+`"type":"`+eventType+`","state_key":"","sender":"`+carol+`","content":`+content+
			`,"depth":1,"origin_server_ts":1,"auth_events":[],"prev_events":[],"hashes":{"sha256":"`+base64.RawStdEncoding.EncodeToString(hash[:])+`"}}`), rules)
		if err != nil {
			return nil, err
		}
		hash = e.ContentHash()
	}
	if !e.HashOK() {
		return nil, errors.New("the content hash is wrong")
	}
	return e, nil
}

// levelsOf returns the power levels of a room that Carol made.
func levelsOf(t testing.TB, rules fedinvite.Rules, create, levels string) eventauth.PowerLevels {
	t.Helper()
	made := stored(t, rules, "!room:a.example", "m.room.create", create)
	var event *fedinvite.Event
	if levels != "" {
		event = stored(t, rules, made.RoomID(), "m.room.power_levels", levels)
	}
	p, err := eventauth.ParsePowerLevels(made, event)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// forms are values of power levels. In the versions that are not named they are none.
var forms = []struct {
	raw      string
	versions string
	want     eventauth.Level
}{
	{`50`, "1-", 50}, {`0`, "1-", 0}, {`-0`, "1-", 0}, {`-50`, "1-", -50},
	{`9007199254740991`, "1-", 9007199254740991},
	{`9223372036854775807`, "1-11", 9223372036854775807}, // in version 12 this is the creators'
	{`-9223372036854775808`, "1-", -9223372036854775808},
	{`9223372036854775808`, "none", 0}, {`-9223372036854775809`, "none", 0}, {`1000000000000000000000000`, "none", 0},

	// "Power levels accept values as strings": a single base 10 integer, no float values or decimal points, optionally with any number
	// of leading zeroes; optionally prefixed with a single - or + character before the integer; optionally with any number of leading
	// or trailing whitespace characters.
	{`"100"`, "1-9", 100}, {`"000100"`, "1-9", 100}, {`"+100"`, "1-9", 100}, {`"-100"`, "1-9", -100},
	{`" 100 "`, "1-9", 100}, {`" 00100 "`, "1-9", 100}, {`" +100 "`, "1-9", 100}, {`" -100 "`, "1-9", -100},
	{`"\t\n\r\u000b100\f"`, "1-9", 100}, {`"\u00a0100\u3000"`, "1-9", 100}, {`"-0"`, "1-9", 0},
	{`"00000000000000000000000000000000000000007"`, "1-9", 7},
	{`""`, "none", 0}, {`" "`, "none", 0}, {`"+"`, "none", 0}, {`"+-1"`, "none", 0}, {`"- 1"`, "none", 0}, {`"1 0"`, "none", 0},
	{`"1.0"`, "none", 0}, {`"1."`, "none", 0}, {`"1e2"`, "none", 0}, {`"0x10"`, "none", 0}, {`"1_000"`, "none", 0}, {`"\u0661"`, "none", 0},
	{`"1\u0000"`, "none", 0}, {`"NaN"`, "none", 0}, {`"Infinity"`, "none", 0}, {`"9223372036854775808"`, "none", 0},

	// "Power levels accept values as floats": first, exponential notation is applied; second, the value is truncated at the decimal point.
	{`5.114698E4`, "1-5", 51146}, {`51146.98`, "1-5", 51146}, {`50.57`, "1-5", 50}, {`-50.57`, "1-5", -50}, {`-0.9`, "1-5", 0},
	{`1.0`, "1-5", 1}, {`1e2`, "1-5", 100}, {`1e-400`, "1-5", 0}, {`1e18`, "1-5", 1000000000000000000},
	{`-9.223372036854775808e18`, "1-5", -9223372036854775808},
	{`9.223372036854775807e18`, "none", 0}, {`1e19`, "none", 0}, {`-1e19`, "none", 0}, {`1e308`, "none", 0},

	{`null`, "none", 0}, {`true`, "none", 0}, {`false`, "none", 0}, {`{}`, "none", 0}, {`[]`, "none", 0}, {`[50]`, "none", 0},
}

func TestPowerLevelForms(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		for _, f := range forms {
			p := levelsOf(t, rules, `{}`, `{"users":{"`+alice+`":`+f.raw+`},"users_default":`+f.raw+`,"invite":`+f.raw+`,"kick":`+f.raw+`,"ban":`+f.raw+`}`)
			for name, ask := range map[string]func() (eventauth.Level, error){
				"users":         func() (eventauth.Level, error) { return p.User(alice) },
				"users_default": func() (eventauth.Level, error) { return p.User(bob) },
				"invite":        p.Invite, "kick": p.Kick, "ban": p.Ban,
			} {
				got, err := ask()
				want, valid := f.want, in(rules.Version, f.versions)
				if f.raw == "null" && name != "users" && in(rules.Version, "1-9") { // as if it were absent
					want, valid = map[string]eventauth.Level{"kick": 50, "ban": 50}[name], true
				}
				if valid && (err != nil || got != want) {
					t.Errorf("%s %s: %d, error %v, want %d", name, f.raw, got, err, want)
				} else if !valid && (!errors.Is(err, eventauth.ErrState) || got != 0) {
					t.Errorf("%s %s: %d, error %v, want ErrState", name, f.raw, got, err)
				}
			}
		}
	})
}

func TestPowerLevelDefaults(t *testing.T) {
	const creator = `{"creator":"` + bob + `","additional_creators":["` + dave + `",7,null,"\"\u00e9"]}`
	type users = map[string]eventauth.Level
	for _, tc := range []struct {
		name, versions, levels string
		users                  users
		invite, kick, ban      eventauth.Level
	}{
		{"no event, creator is content.creator", "1-10", "", users{bob: 100, carol: 0, dave: 0, alice: 0}, 0, 50, 50},
		{"no event, creator is the sender", "11", "", users{bob: 0, carol: 100, dave: 0, alice: 0}, 0, 50, 50},
		{"no event, creators are privileged", "12", "", users{bob: 0, carol: eventauth.CreatorLevel, dave: eventauth.CreatorLevel, alice: 0, "": 0, `"é`: eventauth.CreatorLevel}, 0, 50, 50},
		{"empty event", "1-11", `{}`, users{bob: 0, carol: 0, dave: 0, alice: 0}, 0, 50, 50},
		{"empty event, creators are privileged", "12", `{}`, users{bob: 0, carol: eventauth.CreatorLevel, dave: eventauth.CreatorLevel, alice: 0}, 0, 50, 50},
		{"users", "1-11", `{"users":{"` + carol + `":7,"` + alice + `":-1},"users_default":5}`, users{bob: 5, carol: 7, alice: -1}, 0, 50, 50},
		{"users, creators are privileged", "12", `{"users":{"` + carol + `":7,"` + alice + `":-1},"users_default":5}`, users{bob: 5, carol: eventauth.CreatorLevel, alice: -1}, 0, 50, 50},
		{"users with what looks like users", "", `{"users":{"x":"` + alice + `","@é\"\\:a.example":4,"@\u0001:x":3},"users_default":5}`, users{alice: 5, `@é"\:a.example`: 4, "@\x01:x": 3}, 0, 50, 50},
		{"levels", "", `{"invite":1,"kick":2,"ban":3,"redact":4,"state_default":5}`, users{bob: 0}, 1, 2, 3},
		{"other values do not matter", "", `{"events":null,"users":{"` + bob + `":null,"` + alice + `":1},"redact":"x"}`, users{alice: 1}, 0, 50, 50},
	} {
		eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
			if !in(rules.Version, tc.versions) {
				return
			}
			t.Run(tc.name, func(t *testing.T) {
				p := levelsOf(t, rules, creator, tc.levels)
				for user, want := range tc.users {
					if got, err := p.User(user); err != nil || got != want {
						t.Errorf("%s: level %d, error %v, want %d", user, got, err, want)
					}
				}
				for name, q := range map[string]struct {
					ask  func() (eventauth.Level, error)
					want eventauth.Level
				}{"invite": {p.Invite, tc.invite}, "kick": {p.Kick, tc.kick}, "ban": {p.Ban, tc.ban}} {
					if got, err := q.ask(); err != nil || got != q.want {
						t.Errorf("%s: level %d, error %v, want %d", name, got, err, q.want)
					}
				}
			})
		})
	}
}

func TestPowerLevelsThatCannotBe(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		for _, levels := range []string{`{"users":null}`, `{"users":[]}`, `{"users":"{}"}`, `{"users":7}`} {
			p := levelsOf(t, rules, `{}`, levels)
			if _, err := p.User(bob); !errors.Is(err, eventauth.ErrState) {
				t.Errorf("%s: error %v, want ErrState", levels, err)
			}
		}
		create := stored(t, rules, "!room:a.example", "m.room.create", `{}`)
		levels := stored(t, rules, create.RoomID(), "m.room.power_levels", `{}`)
		foreign := stored(t, rules, "!"+strings.Repeat("x", 43)+map[bool]string{false: ":a.example"}[rules.RoomIDIsCreateEvent], "m.room.power_levels", `{}`)
		for name, pair := range map[string][2]*fedinvite.Event{
			"no create event":       {nil, levels},
			"the wrong way round":   {levels, create},
			"levels of other types": {create, create},
			"another room":          {create, foreign},
			"the zero event":        {create, new(fedinvite.Event)},
		} {
			if _, err := eventauth.ParsePowerLevels(pair[0], pair[1]); !errors.Is(err, eventauth.ErrState) {
				t.Errorf("%s: error %v, want ErrState", name, err)
			}
		}
	})
	var zero eventauth.PowerLevels
	for _, ask := range []func() (eventauth.Level, error){zero.Invite, zero.Kick, zero.Ban, func() (eventauth.Level, error) { return zero.User(alice) }} {
		if _, err := ask(); !errors.Is(err, eventauth.ErrState) {
			t.Errorf("the zero PowerLevels: error %v, want ErrState", err)
		}
	}
}

// A needed level that is none allows nothing, not even where the rules let it in: before
// version 10 they say nothing about all but users. One that is not needed does not matter.
func TestNeededLevels(t *testing.T) {
	for _, tc := range []struct {
		name   string
		does   string
		bob    string
		levels string
		want   error
	}{
		{"invite level", "invite", "", `{"invite":true}`, eventauth.ErrState},
		{"invite level of no integer", "invite", "", `{"invite":"fifty"}`, eventauth.ErrState},
		{"level of the inviter", "invite", "", `{"users":{"` + alice + `":null}}`, eventauth.ErrState},
		{"level of the inviter beyond 64 bits", "invite", "", `{"users":{"` + alice + `":"100000000000000000000"}}`, eventauth.ErrState},
		{"users_default of the inviter", "invite", "", `{"users_default":[]}`, eventauth.ErrState},
		{"level of the invited", "invite", "", `{"kick":null,"users":{"` + bob + `":null}}`, nil},
		{"kick level", "leave", "join", `{"kick":{}}`, eventauth.ErrState},
		{"level of the kicked", "leave", "join", `{"users":{"` + alice + `":50,"` + bob + `":null}}`, eventauth.ErrState},
		{"ban level", "leave", "ban", `{"ban":"","users":{"` + alice + `":50}}`, eventauth.ErrState},
		{"ban level, nobody banned", "leave", "invite", `{"ban":"","invite":null,"users":{"` + alice + `":50}}`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
				r, e := scene{does: tc.does, alice: "join", bob: tc.bob, levels: tc.levels}.build(t, rules)
				if err := eventauth.Authorize(e, r.state); !errors.Is(err, tc.want) {
					t.Errorf("error %v, want %v", err, tc.want)
				}
			})
		})
	}
}

// "Power levels are inferred from defaults when not explicitly supplied." Before version
// 10 the rules let null in, and it supplies nothing; from then on they do not.
func TestNullLevels(t *testing.T) {
	for _, tc := range []struct {
		name, does, to, bob, levels, want string // want is the rule in versions 1–9
	}{
		{"invite: everybody may invite", "invite", bob, "", `{"invite":null}`, ""},
		{"invite: but for who has less than nothing", "invite", bob, "", `{"invite":null,"users_default":-1}`, "invite.5"},
		{"users_default of the inviter: 0", "invite", bob, "", `{"users_default":null}`, ""},
		{"users_default of the inviter: 0, not 1", "invite", bob, "", `{"invite":1,"users_default":null}`, "invite.5"},
		{"kick: 50", "leave", bob, "join", `{"kick":null,"users":{"` + alice + `":50}}`, ""},
		{"kick: 50, not less", "leave", bob, "join", `{"kick":null,"users":{"` + alice + `":49}}`, "leave.5"},
		{"users_default of the kicked: 0", "leave", bob, "join", `{"users":{"` + alice + `":50},"users_default":null}`, ""},
		{"ban: 50", "leave", bob, "ban", `{"ban":null,"kick":0,"users":{"` + alice + `":50}}`, ""},
		{"ban: 50, not less", "leave", bob, "ban", `{"ban":null,"kick":0,"users":{"` + alice + `":49}}`, "leave.3"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
				r, e := scene{does: tc.does, to: tc.to, alice: "join", bob: tc.bob, levels: tc.levels}.build(t, rules)
				err := eventauth.Authorize(e, r.state)
				if in(rules.Version, "1-9") {
					checkRule(t, rules.Version, err, tc.want)
				} else if !errors.Is(err, eventauth.ErrState) {
					t.Errorf("error %v, want ErrState", err)
				}
			})
		})
	}
}

// What redaction leaves of events whose content hash is wrong is what counts.
func TestPowerLevelsOfRedactedCopies(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		r := newRoom(t, rules, carol, object{"creator": bob, "additional_creators": []string{alice}})
		levels := r.add("m.room.power_levels", "", carol, object{"invite": 7, "kick": 8})
		want := eventauth.Level(7)
		if !rules.Redaction.KeepInvite {
			want = 0
		}
		p, err := eventauth.ParsePowerLevels(r.state[0], tampered(r, levels, "more", true))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := p.Invite(); err != nil || got != want {
			t.Errorf("invite: level %d, error %v, want %d", got, err, want)
		}
		if got, err := p.Kick(); err != nil || got != 8 {
			t.Errorf("kick: level %d, error %v, want 8", got, err)
		}

		if rules.Redaction.KeepCreate {
			return // who changes it has another event
		}
		rules.Auth.PrivilegedCreators = true // no version has both
		r = newRoom(t, rules, carol, nil)
		if p, err = eventauth.ParsePowerLevels(tampered(r, r.state[0], "additional_creators", []string{alice}), nil); err != nil {
			t.Fatal(err)
		}
		if got, err := p.User(alice); err != nil || got != 0 {
			t.Errorf("a creator by forgery: level %d, error %v, want 0", got, err)
		}
	})
}

var (
	integerForm = regexp.MustCompile(`^[+-]?[0-9]+$`)
	floatForm   = regexp.MustCompile(`^-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?$`)
)

// wantLevel reads the canonical value of a level with math/big and regular expressions.
func wantLevel(t *testing.T, raw string, format fedinvite.PowerLevelFormat) (eventauth.Level, bool) {
	t.Helper()
	n := new(big.Int)
	switch {
	case strings.HasPrefix(raw, `"`):
		s := strings.TrimFunc(invitetest.Decode([]byte(`{"s":` + raw + `}`))["s"].(string), unicode.IsSpace)
		if format == fedinvite.PowerLevelIntegers || !integerForm.MatchString(s) {
			return 0, false
		}
		n.SetString(s, 10)
	case !floatForm.MatchString(raw):
		return 0, false
	case strings.ContainsAny(raw, ".e"):
		if format != fedinvite.PowerLevelLoose {
			return 0, false
		}
		f, _, err := big.ParseFloat(raw, 10, 53, big.ToNearestEven)
		if err != nil {
			t.Fatal(err)
		}
		n, _ = f.Int(nil)
	default:
		n.SetString(raw, 10)
	}
	return eventauth.Level(n.Int64()), n.IsInt64()
}

func FuzzPowerLevel(f *testing.F) {
	for i, form := range forms {
		f.Add(form.raw, uint8(i))
		f.Add(form.raw, uint8(0))
	}
	versions := fedinvite.RoomVersions()
	f.Fuzz(func(t *testing.T, raw string, version uint8) {
		canonical, err := fedinvite.LegacyCanonicalJSON([]byte(raw))
		if err != nil {
			return
		}
		rules := rulesOf(t, versions[int(version)%len(versions)])
		event, err := parseStored(rules, "!room:a.example", "m.room.create", `{}`)
		if err != nil {
			t.Fatal(err)
		}
		levels, err := parseStored(rules, event.RoomID(), "m.room.power_levels", `{"invite":`+raw+`,"users":{"`+alice+`":`+raw+`}}`)
		if err != nil {
			return // nested too deeply, or too many odd numbers
		}
		p, err := eventauth.ParsePowerLevels(event, levels)
		if err != nil {
			t.Fatal(err)
		}
		want, ok := wantLevel(t, string(canonical), rules.Auth.PowerLevels)
		if rules.Auth.PrivilegedCreators && want == eventauth.CreatorLevel {
			ok = false
		}
		if !ok {
			want = 0
		}
		for name, ask := range map[string]func() (eventauth.Level, error){
			"invite": p.Invite,
			"users":  func() (eventauth.Level, error) { return p.User(alice) },
		} {
			ok := ok || name == "invite" && string(canonical) == "null" && in(rules.Version, "1-9")
			got, err := ask()
			if got != want || (err == nil) != ok || err != nil && !errors.Is(err, eventauth.ErrState) {
				t.Fatalf("version %s, %s %s: level %d, error %v, want %d, %v", rules.Version, name, canonical, got, err, want, ok)
			}
		}
	})
}
