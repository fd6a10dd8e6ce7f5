package fedinvite_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// members is a JSON object on its way to be one: raw values by key.
type members map[string]string

func (m members) json() []byte {
	var b bytes.Buffer
	for _, key := range slices.Sorted(maps.Keys(m)) {
		fmt.Fprintf(&b, ",%q:%s", key, m[key])
	}
	return []byte("{" + strings.TrimPrefix(b.String(), ",") + "}")
}

func membersOfJSON(t testing.TB, raw []byte) members {
	t.Helper()
	var all map[string]json.RawMessage
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	m := members{}
	for key, value := range all {
		m[key] = string(value)
	}
	return m
}

const hashRoomID = "!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"

// someRoomID returns a room ID of the form that the room version has.
func someRoomID(v fedinvite.RoomVersion) string {
	if v == fedinvite.RoomV12 {
		return hashRoomID
	}
	return "!room:a.example"
}

func hasPairs(v fedinvite.RoomVersion) bool { return v == fedinvite.RoomV1 || v == fedinvite.RoomV2 }

// eventRefs writes n references to made-up events.
func eventRefs(v fedinvite.RoomVersion, n int) string {
	all := []string{}
	for i := range n {
		if hasPairs(v) {
			all = append(all, fmt.Sprintf(`["$e%d:a.example",{"sha256":"%s"}]`, i, strings.Repeat("A", 43)))
		} else {
			all = append(all, fmt.Sprintf(`"$%043d"`, i))
		}
	}
	return "[" + strings.Join(all, ",") + "]"
}

// signedEvent returns a message of @alice:a.example that her server has hashed
// and signed; edit may change it before that.
func signedEvent(t testing.TB, v fedinvite.RoomVersion, edit func(m members)) []byte {
	t.Helper()
	m := members{
		"auth_events":      eventRefs(v, 3),
		"content":          `{"body":"hi","msgtype":"m.text"}`,
		"depth":            "12",
		"origin_server_ts": "1700000000000",
		"prev_events":      eventRefs(v, 2),
		"room_id":          strconv.Quote(someRoomID(v)),
		"sender":           `"@alice:a.example"`,
		"type":             `"m.room.message"`,
	}
	if hasPairs(v) {
		m["event_id"] = `"$event:a.example"`
	}
	if edit != nil {
		edit(m)
	}
	raw, err := fedinvite.SignEventJSON(t.Context(), m.json(), rulesOf(t, v), invitetest.Signer("a.example"))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// changedEvent is signedEvent, but the change is made after signing.
func changedEvent(t testing.TB, v fedinvite.RoomVersion, edit func(m members)) []byte {
	t.Helper()
	return changedMembers(t, signedEvent(t, v, nil), edit)
}

func changedMembers(t testing.TB, raw []byte, edit func(m members)) []byte {
	t.Helper()
	m := membersOfJSON(t, raw)
	edit(m)
	return m.json()
}

func parsed(t testing.TB, raw []byte, v fedinvite.RoomVersion) *fedinvite.Event {
	t.Helper()
	e, err := fedinvite.ParseEvent(raw, rulesOf(t, v))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// eachVersion runs f as a subtest for every room version.
func eachVersion(t *testing.T, f func(t *testing.T, v fedinvite.RoomVersion)) {
	for _, v := range fedinvite.RoomVersions() {
		t.Run("v"+string(v), func(t *testing.T) { f(t, v) })
	}
}

func TestParseEventReadsTheFormatOfEachVersion(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		e := parsed(t, signedEvent(t, v, nil), v)
		if !e.HashOK() {
			t.Error("the content hash is said to be wrong")
		}
		if err := e.Verify(t.Context(), invitetest.Keys("a.example")); err != nil {
			t.Error(err)
		}
		hash := e.ReferenceHash()
		wantID := "$" + base64.RawURLEncoding.EncodeToString(hash[:])
		prev := []string{"$0000000000000000000000000000000000000000000", "$0000000000000000000000000000000000000000001"}
		auth := append(slices.Clone(prev), "$0000000000000000000000000000000000000000002")
		switch v {
		case fedinvite.RoomV1, fedinvite.RoomV2:
			wantID = "$event:a.example"
			prev = []string{"$e0:a.example", "$e1:a.example"}
			auth = append(slices.Clone(prev), "$e2:a.example")
		case fedinvite.RoomV3:
			wantID = "$" + base64.RawStdEncoding.EncodeToString(hash[:])
		}
		_, isState := e.StateKey()
		got := map[string]any{
			"ID": e.ID(), "room": e.RoomID(), "type": e.Type(), "sender": e.Sender(), "state event": isState,
			"membership": e.Membership(), "content": string(e.Content()), "depth": e.Depth(),
			"time": e.OriginServerTS().UnixMilli(), "auth": e.AuthEventIDs(), "prev": e.PrevEventIDs(),
		}
		want := map[string]any{
			"ID": wantID, "room": someRoomID(v), "type": "m.room.message", "sender": "@alice:a.example", "state event": false,
			"membership": "", "content": `{"body":"hi","msgtype":"m.text"}`, "depth": int64(12),
			"time": int64(1700000000000), "auth": auth, "prev": prev,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

func TestParseEventTakesAnyFormOfJSON(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		raw := signedEvent(t, v, nil)
		want := parsed(t, raw, v)
		var indented bytes.Buffer
		if err := json.Indent(&indented, raw, " ", "\t"); err != nil {
			t.Fatal(err)
		}
		spelt := bytes.ReplaceAll(indented.Bytes(), []byte("m.room"), []byte(`\u006d.room`))
		spelt = bytes.Replace(spelt, []byte(`"sender"`), []byte(`"\u0073ender"`), 1)
		got := parsed(t, spelt, v)
		if got.ID() != want.ID() || got.Type() != "m.room.message" || got.Sender() != "@alice:a.example" || !got.HashOK() {
			t.Errorf("ID %s, want %s; type %q, sender %q, hash %v", got.ID(), want.ID(), got.Type(), got.Sender(), got.HashOK())
		}
		if diff := cmp.Diff(string(raw), string(got.AppendJSON(nil))); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

func TestParseEventRefusesWhatIsNoJSONObject(t *testing.T) {
	for _, c := range []struct {
		raw  string
		want error
	}{
		{``, fedinvite.ErrNotJSON},
		{`{`, fedinvite.ErrNotJSON},
		{`{}x`, fedinvite.ErrNotJSON},
		{`null`, fedinvite.ErrBadJSON},
		{`[]`, fedinvite.ErrBadJSON},
		{`"{}"`, fedinvite.ErrBadJSON},
		{`1`, fedinvite.ErrBadJSON},
		{`{}`, fedinvite.ErrBadJSON},
		{`{"type":"x","type":"x"}`, fedinvite.ErrDuplicateKey},
		{`{"type":"x","\u0074ype":"y"}`, fedinvite.ErrDuplicateKey},
		{"{\"type\":\"\xff\"}", fedinvite.ErrBadText},
		{`{"type":"\ud800"}`, fedinvite.ErrBadText},
		{strings.Repeat("[", 129) + strings.Repeat("]", 129), fedinvite.ErrTooDeep},
	} {
		for _, v := range fedinvite.RoomVersions() {
			if e, err := fedinvite.ParseEvent([]byte(c.raw), rulesOf(t, v)); !errors.Is(err, c.want) || e != nil {
				t.Errorf("v%s: %.40s: %v, error %v, want %v", v, c.raw, e, err, c.want)
			}
			if e, err := fedinvite.ParseStored([]byte(c.raw), rulesOf(t, v)); !errors.Is(err, c.want) || e != nil {
				t.Errorf("v%s: stored %.40s: %v, error %v, want %v", v, c.raw, e, err, c.want)
			}
		}
	}
}

func TestParseEventSaysWhereTheJSONIsWrong(t *testing.T) {
	raw := changedEvent(t, fedinvite.RoomV11, func(m members) { m["content"] = `{"a":{"b":1.5}}` })
	_, err := fedinvite.ParseEvent(raw, rulesOf(t, fedinvite.RoomV11))
	var where *fedinvite.JSONError
	if !errors.As(err, &where) || where.Pointer != "/content/a/b" || !errors.Is(err, fedinvite.ErrBadNumber) {
		t.Errorf("error %v, want ErrBadNumber at /content/a/b", err)
	}
}

// Every version's event format lists the same required members, but for event_id
// (versions 1 and 2) and the room_id of a create event (version 12).
func TestRequiredMembersAndTheirTypes(t *testing.T) {
	wrong := map[string][]string{
		"auth_events":      {"", `null`, `{}`, `"x"`, `1`, `true`},
		"content":          {"", `null`, `[]`, `"x"`, `1`, `true`},
		"depth":            {"", `null`, `[]`, `{}`, `"1"`, `true`},
		"hashes":           {"", `null`, `[]`, `{}`, `"x"`, `{"sha256":null}`, `{"sha256":1}`, `{"sha256":{}}`, `{"SHA256":"x"}`},
		"origin_server_ts": {"", `null`, `[]`, `{}`, `"1"`, `true`},
		"prev_events":      {"", `null`, `{}`, `"x"`, `1`, `true`},
		"room_id":          {"", `null`, `[]`, `{}`, `1`, `""`, `"room"`, `"@room:a.example"`},
		"sender":           {"", `null`, `[]`, `{}`, `1`, `""`, `"alice"`, `"@alice"`, `"alice:a.example"`, `"!alice:a.example"`, `"@alice:"`, `"@alice:a b"`},
		"signatures":       {`null`, `[]`, `"x"`, `1`, `true`},
		"state_key":        {`null`, `[]`, `{}`, `1`, `true`},
		"type":             {"", `null`, `[]`, `{}`, `1`, `true`},
	}
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		wrong := maps.Clone(wrong)
		if hasPairs(v) {
			wrong["event_id"] = []string{"", `null`, `1`, `""`, `"event"`, `"$event"`, `"$event:"`, `"!event:a.example"`, `"event:a.example"`}
		} else { // the ID is computed; a stray one would change it
			wrong["event_id"] = []string{`null`, `""`, `1`, `"$event:a.example"`}
		}
		for member, values := range wrong {
			for _, value := range values {
				raw := changedEvent(t, v, func(m members) {
					m[member] = value
					if value == "" {
						delete(m, member)
					}
				})
				for name, parse := range map[string]func([]byte, fedinvite.Rules) (*fedinvite.Event, error){
					"ParseEvent": fedinvite.ParseEvent, "ParseStored": fedinvite.ParseStored,
				} {
					if _, err := parse(raw, rulesOf(t, v)); !errors.Is(err, fedinvite.ErrBadJSON) {
						t.Errorf("%s, %s = %q: error %v, want ErrBadJSON", name, member, value, err)
					}
				}
			}
		}
	})
}

func TestRoomIDsHaveTheFormOfTheVersion(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		domainless := v == fedinvite.RoomV12
		for id, withDomain := range map[string]bool{
			`"!room:a.example"`:            true,
			`"!:a.example"`:                true, // an empty localpart
			`"!room:a.example:8448"`:       true,
			`"!\u00e9\n:a.example"`:        true,
			`"!room:"`:                     false,
			`"!room:a_b.example"`:          false,
			`"!ro\u0000om:a.example"`:      false,
			`"!room"`:                      false,
			`"#room:a.example"`:            false,
			`"` + hashRoomID[:43] + `"`:    false, // one character short
			`"` + hashRoomID + `A"`:        false,
			`"` + hashRoomID[:43] + `+"`:   false, // not URL-safe
			`"` + hashRoomID[:43] + `="`:   false,
			`"$` + hashRoomID[1:] + `"`:    false,
			`"` + hashRoomID + `:example"`: true,
		} {
			raw := signedEvent(t, v, func(m members) { m["room_id"] = id })
			_, err := fedinvite.ParseEvent(raw, rulesOf(t, v))
			if want := withDomain && !domainless; (err == nil) != want {
				t.Errorf("room_id %s: error %v, want one: %v", id, err, !want)
			}
		}
		raw := signedEvent(t, v, func(m members) { m["room_id"] = strconv.Quote(hashRoomID) })
		if _, err := fedinvite.ParseEvent(raw, rulesOf(t, v)); (err == nil) != domainless {
			t.Errorf("a room ID that is a hash: error %v", err)
		}
	})
}

func TestReferencesHaveTheFormOfTheVersion(t *testing.T) {
	hash := `{"sha256":"` + strings.Repeat("A", 43) + `"}`
	for _, member := range []string{"auth_events", "prev_events"} {
		for _, c := range []struct {
			list       string
			pairs, ids bool
		}{
			{`[]`, true, true},
			{`["$id"]`, false, true},
			{`["$id:a.example"]`, false, true},
			{`["$a","$b"]`, false, true},
			{`["$a",["$b",` + hash + `]]`, false, false},
			{`[["$id",` + hash + `]]`, true, false},
			{`[["$id:a.example",` + hash + `]]`, true, false},
			{`[["$id",{}]]`, true, false}, // as Synapse sends them
			{`[["$id",{"sha1":"x","sha256":"x"}]]`, true, false},
			{`[["$id"]]`, false, false},
			{`[[]]`, false, false},
			{`[["$id",null]]`, false, false},
			{`[["$id","x"]]`, false, false},
			{`[["$id",[]]]`, false, false},
			{`[["$id",` + hash + `,1]]`, false, false},
			{`[["$id",` + hash + `,1,2]]`, false, false},
			{`[[null,` + hash + `]]`, false, false},
			{`[["",` + hash + `]]`, false, false},
			{`[["id",` + hash + `]]`, false, false},
			{`[` + hash + `]`, false, false},
			{`[""]`, false, false},
			{`["id"]`, false, false},
			{`["!id"]`, false, false},
			{`[null]`, false, false},
			{`[1]`, false, false},
			{`[{}]`, false, false},
			{`["$` + strings.Repeat("x", 254) + `"]`, false, true},
			{`["$` + strings.Repeat("x", 255) + `"]`, false, false},
			{`[["$` + strings.Repeat("x", 254) + `",{}]]`, true, false},
			{`[["$` + strings.Repeat("x", 255) + `",{}]]`, false, false},
		} {
			for _, v := range fedinvite.RoomVersions() {
				want := c.ids
				if hasPairs(v) {
					want = c.pairs
				}
				_, err := fedinvite.ParseEvent(signedEvent(t, v, func(m members) { m[member] = c.list }), rulesOf(t, v))
				if (err == nil) != want || err != nil && !errors.Is(err, fedinvite.ErrBadJSON) {
					t.Errorf("v%s, %s %.60s: error %v, want one: %v", v, member, c.list, err, !want)
				}
			}
		}
	}
}

func TestEmptyHashObjectsOfReferencesAreKept(t *testing.T) {
	raw := signedEvent(t, fedinvite.RoomV1, func(m members) { m["prev_events"] = `[["$p:a.example",{}]]` })
	e := parsed(t, raw, fedinvite.RoomV1)
	if diff := cmp.Diff([]string{"$p:a.example"}, e.PrevEventIDs()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if !e.HashOK() || !bytes.Contains(e.AppendJSON(nil), []byte(`["$p:a.example",{}]`)) {
		t.Errorf("hash %v, event %s", e.HashOK(), e.AppendJSON(nil))
	}
}

// limitTest checks that an event, changed by edit, is taken or refused.
func limitTest(t *testing.T, v fedinvite.RoomVersion, what string, ok bool, edit func(m members)) {
	t.Helper()
	_, err := fedinvite.ParseEvent(signedEvent(t, v, edit), rulesOf(t, v))
	if (err == nil) != ok || err != nil && !errors.Is(err, fedinvite.ErrBadJSON) {
		t.Errorf("%s: error %v, want one: %v", what, err, !ok)
	}
}

func TestDepthHasTheLimitOfTheVersion(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		legacy := slices.Index(fedinvite.RoomVersions(), v) < 5
		for depth, ok := range map[string]bool{
			"0":                                true,
			"9007199254740991":                 true,
			"9007199254740992":                 legacy,
			"9223372036854775807":              legacy,
			"9223372036854775808":              false,
			"-1":                               false,
			"99999999999999999999999999999999": false,
		} {
			raw := bytes.Replace(signedEvent(t, v, nil), []byte(`"depth":12`), []byte(`"depth":`+depth), 1)
			e, err := fedinvite.ParseEvent(raw, rulesOf(t, v))
			if (err == nil) != ok || err != nil && !errors.Is(err, fedinvite.ErrBadJSON) {
				t.Errorf("depth %s: error %v, want one: %v", depth, err, !ok)
			}
			if want, _ := strconv.ParseInt(depth, 10, 64); err == nil && e.Depth() != want {
				t.Errorf("depth %s: got %d", depth, e.Depth())
			}
		}
	})
}

func TestDepthAndTimeAreIntegers(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		for _, value := range []string{"1.0", "1.5", "1e3", "0.0", `"1"`} {
			for _, member := range []string{"depth", "origin_server_ts"} {
				raw := changedEvent(t, v, func(m members) { m[member] = value })
				if _, err := fedinvite.ParseEvent(raw, rulesOf(t, v)); !errors.Is(err, fedinvite.ErrBadJSON) {
					t.Errorf("%s %s: error %v, want ErrBadJSON", member, value, err)
				}
			}
		}
	})
}

func TestTimesBeforeTheEpochAndFarAwayAreRead(t *testing.T) {
	for _, ts := range []int64{-1, 0, -(1<<53 - 1), 1<<53 - 1} {
		raw := signedEvent(t, fedinvite.RoomV11, func(m members) { m["origin_server_ts"] = fmt.Sprint(ts) })
		if got := parsed(t, raw, fedinvite.RoomV11).OriginServerTS(); got.UnixMilli() != ts {
			t.Errorf("origin_server_ts %d: %s", ts, got)
		}
	}
	for _, ts := range []int64{math.MinInt64, math.MaxInt64} {
		raw := signedEvent(t, fedinvite.RoomV5, func(m members) { m["origin_server_ts"] = fmt.Sprint(ts) })
		e := parsed(t, raw, fedinvite.RoomV5)
		if got := e.OriginServerTS().UnixMilli(); got != ts {
			t.Errorf("origin_server_ts %d: %d", ts, got)
		}
	}
	raw := changedEvent(t, fedinvite.RoomV5, func(m members) { m["origin_server_ts"] = "9223372036854775808" })
	if _, err := fedinvite.ParseEvent(raw, rulesOf(t, fedinvite.RoomV5)); !errors.Is(err, fedinvite.ErrBadJSON) {
		t.Errorf("a time of 64 bits without a sign: error %v", err)
	}
}

func TestLengthLimitsAre255Bytes(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		id := func(sigil string, length int) string {
			const domain = ":a.example"
			return strconv.Quote(sigil + strings.Repeat("x", length-len(sigil+domain)) + domain)
		}
		for _, length := range []int{255, 256} {
			ok := length == 255
			limitTest(t, v, fmt.Sprintf("type of %d bytes", length), ok, func(m members) {
				m["type"] = strconv.Quote(strings.Repeat("x", length))
			})
			limitTest(t, v, fmt.Sprintf("state_key of %d bytes", length), ok, func(m members) {
				m["state_key"] = strconv.Quote(strings.Repeat("x", length))
			})
			limitTest(t, v, fmt.Sprintf("sender of %d bytes", length), ok, func(m members) { m["sender"] = id("@", length) })
			if v != fedinvite.RoomV12 {
				limitTest(t, v, fmt.Sprintf("room_id of %d bytes", length), ok, func(m members) { m["room_id"] = id("!", length) })
			}
			if hasPairs(v) {
				limitTest(t, v, fmt.Sprintf("event_id of %d bytes", length), ok, func(m members) { m["event_id"] = id("$", length) })
			}
		}
		// Bytes, not characters; of the string, not of its spelling.
		limitTest(t, v, "state_key of 128 characters in 256 bytes", false, func(m members) {
			m["state_key"] = `"` + strings.Repeat("é", 128) + `"`
		})
		limitTest(t, v, "state_key of 255 escaped characters", true, func(m members) {
			m["state_key"] = `"` + strings.Repeat(`\n`, 255) + `"`
		})
	})
}

func TestCountLimits(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		for n, ok := range map[int]bool{0: true, 10: true, 11: false} {
			limitTest(t, v, fmt.Sprintf("%d auth_events", n), ok, func(m members) { m["auth_events"] = eventRefs(v, n) })
		}
		for n, ok := range map[int]bool{0: true, 20: true, 21: false} {
			limitTest(t, v, fmt.Sprintf("%d prev_events", n), ok, func(m members) { m["prev_events"] = eventRefs(v, n) })
		}
	})
}

// signaturesOf writes n entries of two for each server.
func signaturesOf(n int) string {
	all := []string{}
	for i := 0; i < n; i += 2 {
		entries := `"ed25519:1":"x"`
		if i+1 < n {
			entries += `,"ed25519:2":"x"`
		}
		all = append(all, fmt.Sprintf(`"s%d.example":{%s}`, i, entries))
	}
	return "{" + strings.Join(all, ",") + "}"
}

func TestAtMost100SignaturesInAnEvent(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		// The sender's server adds one.
		limitTest(t, v, "100 signatures", true, func(m members) { m["signatures"] = signaturesOf(99) })
		limitTest(t, v, "101 signatures", false, func(m members) { m["signatures"] = signaturesOf(100) })
	})
}

func TestEntriesOfSignaturesAreNotJudged(t *testing.T) {
	for _, entry := range []string{`null`, `[]`, `"x"`, `1`, `{"ed25519:1":null}`, `{"":""}`} {
		raw := signedEvent(t, fedinvite.RoomV11, func(m members) { m["signatures"] = `{"other.example":` + entry + `}` })
		e := parsed(t, raw, fedinvite.RoomV11)
		if err := e.Verify(t.Context(), invitetest.Keys("a.example")); err != nil {
			t.Errorf("%s: %v", entry, err)
		}
		if err := e.Verify(t.Context(), invitetest.Keys("a.example", "other.example"), "other.example"); !errors.Is(err, fedinvite.ErrSignature) {
			t.Errorf("%s: error %v, want ErrSignature", entry, err)
		}
	}
}

// sizedEvent returns an event whose canonical form without unsigned has size bytes.
func sizedEvent(t testing.TB, v fedinvite.RoomVersion, size int, unsigned string) []byte {
	t.Helper()
	build := func(filling int) []byte {
		return signedEvent(t, v, func(m members) {
			m["content"] = `{"body":"` + strings.Repeat("x", filling) + `"}`
			if unsigned != "" {
				m["unsigned"] = unsigned
			}
		})
	}
	base := len(build(0))
	if unsigned != "" {
		base -= len(`,"unsigned":` + unsigned)
	}
	return build(size - base)
}

func TestLargestEventHas65536BytesWithoutUnsigned(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		for name, unsigned := range map[string]string{
			"no unsigned": "", "empty unsigned": "{}", "large unsigned": `{"x":"` + strings.Repeat("x", 70000) + `"}`,
		} {
			e := parsed(t, sizedEvent(t, v, 65536, unsigned), v)
			if unsigned == "" && len(e.AppendJSON(nil)) != 65536 {
				t.Errorf("the test's event has %d bytes", len(e.AppendJSON(nil)))
			}
			raw := sizedEvent(t, v, 65537, unsigned)
			if _, err := fedinvite.ParseEvent(raw, rulesOf(t, v)); !errors.Is(err, fedinvite.ErrBadJSON) {
				t.Errorf("65537 bytes, %s: error %v, want ErrBadJSON", name, err)
			}
			if _, err := fedinvite.ParseStored(raw, rulesOf(t, v)); err != nil {
				t.Errorf("65537 bytes from the store, %s: %v", name, err)
			}
		}
		// It is the canonical form that counts.
		raw := sizedEvent(t, v, 65536, "")
		spaced := bytes.Replace(raw, []byte(`,"depth"`), []byte(",      \"depth\""), 1)
		parsed(t, spaced, v)
	})
}

func TestUnsignedIsNeitherJudgedNorHashed(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		want := parsed(t, signedEvent(t, v, nil), v)
		for value, object := range map[string]string{
			`null`: "", `[]`: "", `"x"`: "", `1`: "", `{}`: `{}`, `{"age":1.5,"big":99999999999999999999}`: `{"age":1.5,"big":99999999999999999999}`,
		} {
			e := parsed(t, changedEvent(t, v, func(m members) { m["unsigned"] = value }), v)
			if e.ID() != want.ID() || e.ReferenceHash() != want.ReferenceHash() || e.ContentHash() != want.ContentHash() || !e.HashOK() {
				t.Errorf("unsigned %s changes the event", value)
			}
			if got := string(e.Unsigned()); got != object {
				t.Errorf("unsigned %s: Unsigned() = %s", value, got)
			}
			if object == "" && e.Unsigned() != nil {
				t.Errorf("unsigned %s: Unsigned() is not nil", value)
			}
			if err := e.Verify(t.Context(), invitetest.Keys("a.example")); err != nil {
				t.Errorf("unsigned %s: %v", value, err)
			}
			if string(e.Redacted().Unsigned()) != "" || bytes.Contains(e.Redacted().AppendJSON(nil), []byte("unsigned")) {
				t.Errorf("unsigned %s survives redaction", value)
			}
		}
		for value, wrong := range map[string]error{
			`{"a":1,"a":1}`: fedinvite.ErrDuplicateKey, `{"a":"\ud800"}`: fedinvite.ErrBadText,
		} {
			raw := bytes.Replace(signedEvent(t, v, nil), []byte(`"type"`), []byte(`"unsigned":`+value+`,"type"`), 1)
			if _, err := fedinvite.ParseEvent(raw, rulesOf(t, v)); !errors.Is(err, wrong) {
				t.Errorf("unsigned %s: error %v, want %v", value, err, wrong)
			}
		}
	})
}

func TestNumbersOutsideUnsignedFollowTheVersion(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		legacy := slices.Index(fedinvite.RoomVersions(), v) < 5
		for _, number := range []string{"1.5", "1e10", "9007199254740992", "-9007199254740992"} {
			for _, edit := range []func(m members){
				func(m members) { m["content"] = `{"n":[` + number + `]}` },
				func(m members) { m["org.x"] = number },
			} {
				raw := changedEvent(t, v, edit)
				if _, err := fedinvite.ParseEvent(raw, rulesOf(t, v)); legacy != (err == nil) || err != nil && !errors.Is(err, fedinvite.ErrBadNumber) {
					t.Errorf("%s: error %v", raw, err)
				}
				if _, err := fedinvite.ParseStored(raw, rulesOf(t, v)); err != nil {
					t.Errorf("from the store, %s: %v", raw, err)
				}
			}
		}
	})
}

func TestParseStoredTakesOldEventsPastTheLimits(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, edit := range map[string]func(v fedinvite.RoomVersion) func(m members){
		"type": func(fedinvite.RoomVersion) func(m members) {
			return func(m members) { m["type"] = strconv.Quote(long) }
		},
		"state_key": func(fedinvite.RoomVersion) func(m members) {
			return func(m members) { m["state_key"] = strconv.Quote(long) }
		},
		"signatures": func(fedinvite.RoomVersion) func(m members) {
			return func(m members) { m["signatures"] = signaturesOf(300) }
		},
		"auth_events": func(v fedinvite.RoomVersion) func(m members) {
			return func(m members) { m["auth_events"] = eventRefs(v, 11) }
		},
		"prev_events": func(v fedinvite.RoomVersion) func(m members) {
			return func(m members) { m["prev_events"] = eventRefs(v, 21) }
		},
		"depth": func(fedinvite.RoomVersion) func(m members) {
			return func(m members) { m["depth"] = "-1" }
		},
		"event reference": func(v fedinvite.RoomVersion) func(m members) {
			return func(m members) {
				m["prev_events"] = `["$` + long + `"]`
				if hasPairs(v) {
					m["prev_events"] = `[["$` + long + `",{}]]`
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
				raw := signedEvent(t, v, edit(v))
				if _, err := fedinvite.ParseEvent(raw, rulesOf(t, v)); !errors.Is(err, fedinvite.ErrBadJSON) {
					t.Errorf("from the network: error %v, want ErrBadJSON", err)
				}
				e, err := fedinvite.ParseStored(raw, rulesOf(t, v))
				if err != nil {
					t.Fatalf("from the store: %v", err)
				}
				if !e.HashOK() {
					t.Error("from the store: the content hash is said to be wrong")
				}
			})
		})
	}
}

func createEvent(t testing.TB, v fedinvite.RoomVersion) []byte {
	t.Helper()
	return signedEvent(t, v, func(m members) {
		m["type"], m["state_key"] = `"m.room.create"`, `""`
		m["content"] = `{"room_version":"` + string(v) + `"}`
		m["auth_events"], m["prev_events"] = `[]`, `[]`
		if v == fedinvite.RoomV12 {
			delete(m, "room_id")
		}
	})
}

func TestRoomIDOfACreateEventIsItsReferenceHash(t *testing.T) {
	v := fedinvite.RoomV12
	raw := createEvent(t, v)
	e := parsed(t, raw, v)
	if want := "!" + strings.TrimPrefix(e.ID(), "$"); e.RoomID() != want || len(want) != 44 {
		t.Errorf("room ID %s, event ID %s", e.RoomID(), e.ID())
	}
	if got := e.Redacted().RoomID(); got != e.RoomID() {
		t.Errorf("redacted: room ID %s, want %s", got, e.RoomID())
	}
	stored, err := fedinvite.ParseStored(raw, rulesOf(t, v))
	if err != nil {
		t.Fatal(err)
	}
	if stored.RoomID() != e.RoomID() {
		t.Errorf("from the store: room ID %s, want %s", stored.RoomID(), e.RoomID())
	}
	m := membersOfJSON(t, raw)
	for _, id := range []string{e.RoomID(), hashRoomID, "!room:a.example", ""} {
		m["room_id"] = strconv.Quote(id)
		if _, err := fedinvite.ParseEvent(m.json(), rulesOf(t, v)); !errors.Is(err, fedinvite.ErrBadJSON) {
			t.Errorf("room_id %q on a create event: error %v, want ErrBadJSON", id, err)
		}
	}
}

func TestCreateEventsHaveARoomIDBeforeVersion12(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		if v == fedinvite.RoomV12 {
			t.Skip("it is computed")
		}
		raw := createEvent(t, v)
		if got := parsed(t, raw, v).RoomID(); got != "!room:a.example" {
			t.Errorf("room ID %s", got)
		}
		m := membersOfJSON(t, raw)
		delete(m, "room_id")
		if _, err := fedinvite.ParseEvent(m.json(), rulesOf(t, v)); !errors.Is(err, fedinvite.ErrBadJSON) {
			t.Errorf("without room_id: error %v, want ErrBadJSON", err)
		}
	})
}

func TestCreateEventIsNeverInAuthEventsOfVersion12(t *testing.T) {
	for _, c := range []struct {
		v              fedinvite.RoomVersion
		member, roomID string
		ok             bool
	}{
		{fedinvite.RoomV12, "auth_events", hashRoomID, false},
		{fedinvite.RoomV12, "prev_events", hashRoomID, true},
		{fedinvite.RoomV11, "auth_events", "!room:a.example", true},
	} {
		limitTest(t, c.v, string(c.v)+" "+c.member, c.ok, func(m members) {
			m[c.member] = `["$x","$` + c.roomID[1:] + `"]`
		})
	}
	raw := signedEvent(t, fedinvite.RoomV12, func(m members) { m["auth_events"] = `["$` + hashRoomID[1:] + `"]` })
	if _, err := fedinvite.ParseStored(raw, rulesOf(t, fedinvite.RoomV12)); !errors.Is(err, fedinvite.ErrBadJSON) {
		t.Errorf("from the store: error %v, want ErrBadJSON", err)
	}
}

func TestAccessorsOfAStateEvent(t *testing.T) {
	e := parsed(t, signedEvent(t, fedinvite.RoomV11, func(m members) {
		m["type"], m["state_key"] = `"m.room.member"`, `"@b\u00f6b:b.example"`
		m["content"] = `{"membership":"in\u0076ite"}`
		m["unsigned"] = `{"age":1}`
	}), fedinvite.RoomV11)
	key, ok := e.StateKey()
	if key != "@böb:b.example" || !ok {
		t.Errorf("state key %q, %v", key, ok)
	}
	if got := e.Membership(); got != "invite" {
		t.Errorf("membership %q", got)
	}
	if got := string(e.Unsigned()); got != `{"age":1}` {
		t.Errorf("unsigned %s", got)
	}
	if got := e.Rules(); got != rulesOf(t, fedinvite.RoomV11) {
		t.Errorf("rules %+v", got)
	}
	empty := parsed(t, signedEvent(t, fedinvite.RoomV11, func(m members) { m["state_key"] = `""` }), fedinvite.RoomV11)
	if key, ok := empty.StateKey(); key != "" || !ok {
		t.Errorf("empty state key: %q, %v", key, ok)
	}
}

func TestContentJSONFollowsThePath(t *testing.T) {
	const content = `{"":{"":"empty"},"a":{"b":{"c":[1,{"d":2}]},"s":"x","n":null},"a.b":1,"\u00e9\n\"\\":{"\u0001/~.*":"odd"},"z":-1}`
	e := parsed(t, signedEvent(t, fedinvite.RoomV11, func(m members) { m["content"] = content }), fedinvite.RoomV11)
	for _, c := range []struct {
		path []string
		want string
	}{
		{nil, string(e.Content())},
		{[]string{"a", "b", "c"}, `[1,{"d":2}]`},
		{[]string{"a", "b"}, `{"c":[1,{"d":2}]}`},
		{[]string{"a", "s"}, `"x"`},
		{[]string{"a", "n"}, `null`},
		{[]string{"z"}, `-1`},
		{[]string{"a.b"}, `1`},
		{[]string{"", ""}, `"empty"`},
		{[]string{"é\n\"\\", "\x01/~.*"}, `"odd"`},
		// There is none.
		{[]string{"x"}, ""},
		{[]string{"A"}, ""},
		{[]string{"a", "x"}, ""},
		{[]string{"a", "b", "c", "d"}, ""},
		{[]string{"a", "b", "c", "0"}, ""},
		{[]string{"a", "s", "x"}, ""},
		{[]string{"a", "n", ""}, ""},
		{[]string{"z", "z", "z"}, ""},
		{[]string{"x", "a"}, ""},
		{[]string{"a.b.c"}, ""},
		{[]string{"*"}, ""},
		{[]string{"a", "#"}, ""},
		{[]string{`\u00e9\n\"\\`}, ""},
	} {
		if got := e.ContentJSON(c.path...); got != c.want {
			t.Errorf("%q: %s, want %s", c.path, got, c.want)
		}
	}
	allocatesAtMost(t, 0, func() error {
		if e.ContentJSON("a", "b", "c") == "" || e.ContentJSON("a", "b", "x") != "" {
			return errors.New("wrong")
		}
		return nil
	})
}

func TestRefIsACopy(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		e := parsed(t, signedEvent(t, v, nil), v)
		hash := e.ReferenceHash()
		want := fedinvite.EventRef{ID: e.ID(), SHA256: hash[:]}
		changed := e.Ref()
		if diff := cmp.Diff(want, changed); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		for i := range changed.SHA256[:cap(changed.SHA256)] {
			changed.SHA256[:cap(changed.SHA256)][i]++
		}
		if diff := cmp.Diff(want, e.Ref()); diff != "" || e.ReferenceHash() != hash {
			t.Errorf("changing the reference changed the event: -want +got\n%s", diff)
		}
	})
}

// An event that another refers to is found by what Ref says.
func TestRefIsWhatADraftRefersBy(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		before := parsed(t, signedEvent(t, v, nil), v)
		d := inviteDraft(v)
		d.PrevEvents = []fedinvite.EventRef{before.Ref()}
		if diff := cmp.Diff([]string{before.ID()}, newInvite(t, d, v).PrevEventIDs()); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	})
}

func TestMembershipIsThatOfMemberEventsOnly(t *testing.T) {
	for _, c := range []struct{ eventType, content, want string }{
		{"m.room.member", `{"membership":"invite"}`, "invite"},
		{"m.room.member", `{"membership":"a\nb\"c\\d\u0001é"}`, "a\nb\"c\\d\x01é"},
		{"m.room.member", `{"membership":null}`, ""},
		{"m.room.member", `{"membership":["invite"]}`, ""},
		{"m.room.member", `{"membership":{"membership":"invite"}}`, ""},
		{"m.room.member", `{"Membership":"invite"}`, ""},
		{"m.room.member", `{}`, ""},
		{"m.room.message", `{"membership":"invite"}`, ""},
	} {
		e := parsed(t, signedEvent(t, fedinvite.RoomV11, func(m members) {
			m["type"], m["state_key"], m["content"] = strconv.Quote(c.eventType), `"@b:b.example"`, c.content
		}), fedinvite.RoomV11)
		if got := e.Membership(); got != c.want {
			t.Errorf("%s %s: membership %q, want %q", c.eventType, c.content, got, c.want)
		}
	}
}

func TestEventsWithoutSignaturesParseAndVerifyForNobody(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		for _, signatures := range []string{"", "{}", `{"a.example":{}}`} {
			raw := changedEvent(t, v, func(m members) {
				m["signatures"] = signatures
				if signatures == "" {
					delete(m, "signatures")
				}
			})
			e := parsed(t, raw, v)
			if err := e.Verify(t.Context(), invitetest.Keys("a.example")); !errors.Is(err, fedinvite.ErrSignature) {
				t.Errorf("signatures %q: error %v, want ErrSignature", signatures, err)
			}
			if got := string(e.Signatures()); signatures == "" && got != "{}" || signatures != "" && got != signatures {
				t.Errorf("signatures %q: Signatures() = %s", signatures, got)
			}
			if got, want := e.Redacted().ID(), e.ID(); got != want {
				t.Errorf("redacted: ID %s, want %s", got, want)
			}
		}
	})
}

func TestEventIsImmutable(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		raw := signedEvent(t, v, func(m members) { m["unsigned"] = `{"age":1}` })
		want := string(raw)
		e := parsed(t, raw, v)
		overwrite := func(b []byte) {
			for i := range b[:cap(b)] {
				b[:cap(b)][i] = '#'
			}
		}
		overwrite(raw)
		marshalled, err := e.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		for _, b := range [][]byte{marshalled, e.AppendJSON(nil), e.Content(), e.Unsigned(), e.Signatures()} {
			overwrite(b)
		}
		for _, ids := range [][]string{e.AuthEventIDs(), e.PrevEventIDs()} {
			for i := range ids {
				ids[i] = "changed"
			}
		}
		servers := e.RequiredSigners()
		servers[0] = "changed"
		hash := e.ReferenceHash()
		hash[0]++
		for _, other := range []fedinvite.ServerName{"b.example", "a.example"} {
			signed, err := e.WithSignature(t.Context(), invitetest.SignerWithKey(other, "ed25519:2"))
			if err != nil {
				t.Fatal(err)
			}
			overwrite(signed.AppendJSON(nil))
			overwrite(signed.Signatures())
			overwrite(signed.Redacted().AppendJSON(nil))
		}
		overwrite(e.Redacted().AppendJSON(nil))
		// A signer that writes into the message that it is asked to sign.
		if _, err := e.WithSignature(t.Context(), scribblingSigner{invitetest.Signer("c.example")}); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(e.AppendJSON(nil))); diff != "" {
			t.Errorf("the event changed: -want +got\n%s", diff)
		}
		fresh := parsed(t, []byte(want), v)
		for name, pair := range map[string][2]any{
			"content":   {string(fresh.Content()), string(e.Content())},
			"auth":      {fresh.AuthEventIDs(), e.AuthEventIDs()},
			"prev":      {fresh.PrevEventIDs(), e.PrevEventIDs()},
			"signers":   {fresh.RequiredSigners(), e.RequiredSigners()},
			"reference": {fresh.ReferenceHash(), e.ReferenceHash()},
			"redacted":  {string(fresh.Redacted().AppendJSON(nil)), string(e.Redacted().AppendJSON(nil))},
		} {
			if diff := cmp.Diff(pair[0], pair[1]); diff != "" {
				t.Errorf("%s changed: -want +got\n%s", name, diff)
			}
		}
		if err := e.Verify(t.Context(), invitetest.Keys("a.example")); err != nil {
			t.Errorf("the event no longer verifies: %v", err)
		}
	})
}

type scribblingSigner struct{ fedinvite.Signer }

func (s scribblingSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	signature, err := s.Signer.Sign(ctx, message)
	for i := range message {
		message[i] = '#'
	}
	return signature, err
}

func TestEventIsSafeForConcurrentUse(t *testing.T) {
	e := parsed(t, signedEvent(t, fedinvite.RoomV11, nil), fedinvite.RoomV11)
	keys, signer := invitetest.Keys("a.example"), invitetest.Signer("b.example")
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if err := e.Verify(t.Context(), keys); err != nil {
				t.Error(err)
			}
			if _, err := e.WithSignature(t.Context(), signer); err != nil {
				t.Error(err)
			}
			_ = e.Redacted().Redacted()
			_ = e.AuthEventIDs()
			_ = e.RequiredSigners()
		})
	}
	wg.Wait()
}

func TestWithSignaturePutsTheEntryInItsSortedPlace(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		e := parsed(t, signedEvent(t, v, func(m members) {
			m["signatures"] = `{"0.example":{"ed25519:9":"x"},"z.example":{"ed25519:1":"x","ed25519:a":"x"},"\"\\\u0001":{},"é":1}`
			m["unsigned"] = `{"age":1}`
		}), v)
		for _, s := range []struct {
			server fedinvite.ServerName
			id     fedinvite.KeyID
		}{
			{"0.example", "ed25519:1"}, {"a.example", "ed25519:0"}, {"a.example", "ed25519:2"}, {"b.example:8448", "ed25519:1"},
			{"z.example", "ed25519:2"}, {"zz.example", "ed25519:1"}, {"A.example", "ed25519:1"}, {"[::1]", "ed25519:1"},
		} {
			signer := invitetest.SignerWithKey(s.server, s.id)
			signed, err := e.WithSignature(t.Context(), signer)
			if err != nil {
				t.Fatal(err)
			}
			text := signed.AppendJSON(nil)
			canonical, err := fedinvite.LegacyCanonicalJSON(text)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(canonical), string(text)); diff != "" {
				t.Errorf("%s %s: not canonical: -want +got\n%s", s.server, s.id, diff)
			}
			again := parsed(t, text, v)
			if again.ID() != e.ID() || signed.ID() != e.ID() || again.ContentHash() != e.ContentHash() || !again.HashOK() {
				t.Errorf("%s %s: the event is not the same any more", s.server, s.id)
			}
			if diff := cmp.Diff(string(again.Signatures()), string(signed.Signatures())); diff != "" {
				t.Errorf("%s %s: -parsed +made\n%s", s.server, s.id, diff)
			}
			keys := invitetest.Keys("a.example")
			keys.Add(signer)
			if err := signed.Verify(t.Context(), keys, s.server); err != nil {
				t.Errorf("%s %s: %v", s.server, s.id, err)
			}
			var before, after map[string]any
			if json.Unmarshal(e.Signatures(), &before) != nil || json.Unmarshal(signed.Signatures(), &after) != nil {
				t.Fatal("signatures are no object")
			}
			own, _ := after[string(s.server)].(map[string]any)
			delete(own, string(s.id))
			if len(own) == 0 {
				delete(after, string(s.server))
			}
			if diff := cmp.Diff(before, after); diff != "" {
				t.Errorf("%s %s: other signatures changed: -before +after\n%s", s.server, s.id, diff)
			}
		}
	})
}

func TestWithSignatureReplacesTheSameKeysSignature(t *testing.T) {
	e := parsed(t, signedEvent(t, fedinvite.RoomV11, nil), fedinvite.RoomV11)
	again, err := e.WithSignature(t.Context(), invitetest.Signer("a.example"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(e.AppendJSON(nil)), string(again.AppendJSON(nil))); diff != "" {
		t.Errorf("-before +after\n%s", diff)
	}
}

// foreignSignature returns what a signer that is not ours makes of the event.
func foreignSignature(t testing.TB, e *fedinvite.Event, s fedinvite.Signer) []byte {
	t.Helper()
	message, _, err := fedinvite.SignedJSON(e.Redacted().AppendJSON(nil))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := s.Sign(t.Context(), message)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

// A policy server signs as the server that it is of, with a key ID of its own.
func TestWithForeignSignatureAddsOrReplaces(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		e := parsed(t, signedEvent(t, v, func(m members) { m["unsigned"] = `{"age":1}` }), v)
		before := string(e.AppendJSON(nil))
		for _, s := range []fedinvite.Signer{
			invitetest.SignerWithKey("a.example", "ed25519:policy_server"), // beside our own
			invitetest.SignerWithKey("b.example", "ed25519:policy_server"),
			invitetest.Signer("a.example"), // in the place of our own, which it equals
		} {
			want, err := e.WithSignature(t.Context(), s)
			if err != nil {
				t.Fatal(err)
			}
			got, err := e.WithForeignSignature(s.ServerName(), s.KeyID(), fedinvite.VerifyKey{Public: s.Public()}, foreignSignature(t, e, s))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(allOf(want), allOf(got)); diff != "" {
				t.Errorf("%s %s: -want +got\n%s", s.ServerName(), s.KeyID(), diff)
			}
			keys := invitetest.Keys("a.example")
			keys.Add(s)
			if err := got.Verify(t.Context(), keys, s.ServerName()); err != nil || got.ID() != e.ID() {
				t.Errorf("%s %s: ID %s, %v", s.ServerName(), s.KeyID(), got.ID(), err)
			}
		}
		// Another key under the ID of our own: the entry is that key's now.
		other := invitetest.Signer("other.example")
		got, err := e.WithForeignSignature("a.example", "ed25519:1", fedinvite.VerifyKey{Public: other.Public()}, foreignSignature(t, e, other))
		if err != nil {
			t.Fatal(err)
		}
		var all map[string]map[string]string
		if err := json.Unmarshal(got.Signatures(), &all); err != nil {
			t.Fatal(err)
		}
		want := map[string]map[string]string{"a.example": {"ed25519:1": base64.RawStdEncoding.EncodeToString(foreignSignature(t, e, other))}}
		if diff := cmp.Diff(want, all); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if diff := cmp.Diff(before, string(e.AppendJSON(nil))); diff != "" {
			t.Errorf("the event changed: -before +after\n%s", diff)
		}
	})
}

func TestWithForeignSignatureRefuses(t *testing.T) {
	e := parsed(t, signedEvent(t, fedinvite.RoomV11, nil), fedinvite.RoomV11)
	s := invitetest.SignerWithKey("b.example", "ed25519:policy_server")
	public, good := s.Public(), foreignSignature(t, e, s)
	for _, c := range []struct {
		name      string
		server    fedinvite.ServerName
		id        fedinvite.KeyID
		public    []byte
		signature []byte
		want      error
	}{
		{"nothing wrong", "b.example", "ed25519:policy_server", public, good, nil},
		{"a byte changed", "b.example", "ed25519:policy_server", public, append([]byte{good[0] ^ 1}, good[1:]...), fedinvite.ErrSignature},
		{"of other bytes", "b.example", "ed25519:policy_server", public, foreignSignature(t, parsed(t, createEvent(t, fedinvite.RoomV11), fedinvite.RoomV11), s), fedinvite.ErrSignature},
		{"no signature", "b.example", "ed25519:policy_server", public, nil, fedinvite.ErrSignature},
		{"63 bytes", "b.example", "ed25519:policy_server", public, good[:63], fedinvite.ErrSignature},
		{"65 bytes", "b.example", "ed25519:policy_server", public, append(slices.Clone(good), 0), fedinvite.ErrSignature},
		{"another key", "b.example", "ed25519:policy_server", invitetest.Signer("b.example").Public(), good, fedinvite.ErrSignature},
		{"no key", "b.example", "ed25519:policy_server", nil, good, fedinvite.ErrBadKey},
		{"a key of 31 bytes", "b.example", "ed25519:policy_server", public[:31], good, fedinvite.ErrBadKey},
		{"a key of small order", "b.example", "ed25519:policy_server", make([]byte, 32), good, fedinvite.ErrBadKey},
		{"no server name", "", "ed25519:policy_server", public, good, fedinvite.ErrIdentifier},
		{"a malformed server name", `b".example`, "ed25519:policy_server", public, good, fedinvite.ErrIdentifier},
		{"no key ID", "b.example", "", public, good, fedinvite.ErrIdentifier},
		{"no key version", "b.example", "ed25519:", public, good, fedinvite.ErrIdentifier},
		{"a malformed key ID", "b.example", `ed25519:"`, public, good, fedinvite.ErrIdentifier},
		{"another algorithm", "b.example", "ed448:1", public, good, fedinvite.ErrIdentifier},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := e.WithForeignSignature(c.server, c.id, fedinvite.VerifyKey{Public: c.public}, c.signature)
			if !errors.Is(err, c.want) || (got == nil) != (c.want != nil) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			var failed *fedinvite.SignatureError
			if wrong := c.want != nil && c.want != fedinvite.ErrIdentifier; errors.As(err, &failed) != wrong || wrong && (failed.Server != c.server || failed.KeyID != c.id) {
				t.Errorf("error %#v", err)
			}
		})
	}
}

// What others add goes into the room, so that everybody has to accept it.
func TestWithForeignSignatureKeepsTheLimits(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		s := invitetest.SignerWithKey("b.example", "ed25519:policy_server")
		entry := len(`,"b.example":{"ed25519:policy_server":""}`) + 86
		for past, want := range map[int]error{0: nil, 1: fedinvite.ErrBadJSON} {
			draft := inviteDraft(v)
			draft.Content = json.RawMessage(`{"reason":""}`)
			filling := 65536 + past - entry - len(newInvite(t, draft, v).AppendJSON(nil))
			draft.Content = json.RawMessage(`{"reason":"` + strings.Repeat("x", filling) + `"}`)
			e := newInvite(t, draft, v)
			got, err := e.WithForeignSignature("b.example", s.KeyID(), fedinvite.VerifyKey{Public: s.Public()}, foreignSignature(t, e, s))
			if !errors.Is(err, want) || (got == nil) != (want != nil) {
				t.Errorf("%d past the limit: error %v, want %v", past, err, want)
				continue
			}
			if got != nil {
				if size := len(got.AppendJSON(nil)); size != 65536 {
					t.Errorf("the test's event has %d bytes", size)
				}
				parsed(t, got.AppendJSON(nil), v)
			}
		}
	})
}

func TestRedactedIsIdempotentAndKeepsIDAndSignatures(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		e := parsed(t, signedEvent(t, v, func(m members) {
			m["unsigned"], m["org.x"] = `{"age":1}`, `"x"`
			m["signatures"] = `{"b.example":{"ed25519:1":"x"}}`
		}), v)
		r := e.Redacted()
		if r.ID() != e.ID() || r.RoomID() != e.RoomID() || r.Sender() != e.Sender() || r.Type() != e.Type() ||
			r.ReferenceHash() != e.ReferenceHash() || r.Depth() != e.Depth() || !r.OriginServerTS().Equal(e.OriginServerTS()) {
			t.Error("the redacted copy is another event")
		}
		if diff := cmp.Diff(string(e.Signatures()), string(r.Signatures())); diff != "" {
			t.Errorf("signatures: -want +got\n%s", diff)
		}
		if diff := cmp.Diff(e.AuthEventIDs(), r.AuthEventIDs()); diff != "" {
			t.Errorf("auth_events: -want +got\n%s", diff)
		}
		if got := string(r.Content()); got != "{}" {
			t.Errorf("content %s", got)
		}
		if r.HashOK() {
			t.Error("the redacted copy has the content hash")
		}
		if err := r.Verify(t.Context(), invitetest.Keys("a.example")); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(string(r.AppendJSON(nil)), string(r.Redacted().AppendJSON(nil))); diff != "" {
			t.Errorf("redacted twice: -once +twice\n%s", diff)
		}
		again := parsed(t, r.AppendJSON(nil), v)
		if again.ID() != e.ID() || again.ContentHash() != r.ContentHash() || again.HashOK() != r.HashOK() ||
			string(again.Content()) != string(r.Content()) || !bytes.Equal(again.AppendJSON(nil), r.AppendJSON(nil)) {
			t.Errorf("the redacted copy is another event when parsed: %s", r.AppendJSON(nil))
		}
	})
}

func TestContentHashLeavesOutWhatChangesOnTheWay(t *testing.T) {
	m := members{"type": `"x"`, "content": `{"signatures":1,"hashes":2,"unsigned":3}`}
	want, err := fedinvite.SignEventJSON(t.Context(), m.json(), rulesOf(t, fedinvite.RoomV11), invitetest.Signer("a.example"))
	if err != nil {
		t.Fatal(err)
	}
	// Independent of the package: SHA-256 over canonical JSON.
	hash := sha256.Sum256([]byte(`{"content":{"hashes":2,"signatures":1,"unsigned":3},"type":"x"}`))
	encoded := base64.RawStdEncoding.EncodeToString(hash[:])
	if !bytes.Contains(want, []byte(`"hashes":{"sha256":"`+encoded+`"}`)) {
		t.Errorf("%s, want the hash %s", want, encoded)
	}
	for _, member := range []string{"unsigned", "age_ts", "outlier", "destinations"} {
		m[member] = `{"x":1}`
	}
	m["signatures"] = `{"b.example":{"ed25519:1":"x"}}`
	m["hashes"] = `{"sha1":"x","sha256":"wrong"}`
	got, err := fedinvite.SignEventJSON(t.Context(), m.json(), rulesOf(t, fedinvite.RoomV11), invitetest.Signer("a.example"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(got, []byte(`"hashes":{"sha1":"x","sha256":"`+encoded+`"}`)) {
		t.Errorf("%s, want the hash %s", got, encoded)
	}
}

func TestHashOKComparesTheHashNotItsSpelling(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		raw := signedEvent(t, v, func(m members) { m["content"] = `{"body":"0"}` })
		var event struct {
			Hashes struct{ SHA256 string }
		}
		if err := json.Unmarshal(raw, &event); err != nil {
			t.Fatal(err)
		}
		right := event.Hashes.SHA256
		urlSafe := strings.NewReplacer("+", "-", "/", "_").Replace(right)
		last := strings.IndexByte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/", right[42])
		trailing := right[:42] + string("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[last+1])
		other := "A" + right[1:]
		if right[0] == 'A' {
			other = "B" + right[1:]
		}
		for hash, ok := range map[string]bool{
			right:                            true,
			right + "=":                      true,
			urlSafe:                          true,
			trailing:                         true,
			"":                               false,
			other:                            false,
			right[:42]:                       false,
			right[:40]:                       false,
			right + "A":                      false,
			right + "\n":                     false,
			right[:20] + "\n" + right[20:42]: false,
			" " + right:                      false,
			strings.Repeat("!", 43):          false,
			right + right:                    false,
		} {
			quoted, _ := json.Marshal(hash)
			e := parsed(t, changedMembers(t, raw, func(m members) { m["hashes"] = `{"sha256":` + string(quoted) + `}` }), v)
			if e.HashOK() != ok {
				t.Errorf("hash %q: HashOK() = %v", hash, e.HashOK())
			}
		}
		e := parsed(t, bytes.Replace(raw, []byte(`{"body":"0"}`), []byte(`{"body":"1"}`), 1), v)
		if e.HashOK() || e.Redacted().HashOK() {
			t.Error("the content was changed and its hash is said to be right")
		}
		if err := e.Redacted().Verify(t.Context(), invitetest.Keys("a.example")); err != nil {
			t.Errorf("the redacted copy of an event whose content was changed: %v", err)
		}
	})
}

func memberEvent(t testing.TB, v fedinvite.RoomVersion, content string) *fedinvite.Event {
	t.Helper()
	return parsed(t, signedEvent(t, v, func(m members) {
		m["type"], m["state_key"], m["content"] = `"m.room.member"`, `"@bob:b.example"`, content
	}), v)
}

func TestRequiredSignersOfMemberEvents(t *testing.T) {
	for _, c := range []struct {
		name, content string
		from          int // the first version in which the authorising server counts
		want          []fedinvite.ServerName
		waived        bool // the sender's server need not sign
	}{
		{name: "join", content: `{"membership":"join"}`},
		{name: "authorised join", content: `{"join_authorised_via_users_server":"@r:r.example","membership":"join"}`, from: 8, want: []fedinvite.ServerName{"a.example", "r.example"}},
		{name: "authorised by the sender's server", content: `{"join_authorised_via_users_server":"@r:a.example","membership":"join"}`, from: 8, want: []fedinvite.ServerName{"a.example"}},
		{name: "authorised knock", content: `{"join_authorised_via_users_server":"@r:r.example","membership":"knock"}`, from: 8, want: []fedinvite.ServerName{"a.example", "r.example"}},
		{name: "authorised leave", content: `{"join_authorised_via_users_server":"@r:r.example","membership":"leave"}`, from: 8, want: []fedinvite.ServerName{"a.example", "r.example"}},
		{name: "authorised by no user", content: `{"join_authorised_via_users_server":"r.example","membership":"join"}`},
		{name: "third-party invite", content: `{"membership":"invite","third_party_invite":{"signed":{}}}`, waived: true},
		{name: "third-party invite that is empty", content: `{"membership":"invite","third_party_invite":{}}`, waived: true},
		{name: "third-party join", content: `{"membership":"join","third_party_invite":{"signed":{}}}`},
		{name: "third-party invite that is null", content: `{"membership":"invite","third_party_invite":null}`},
		{name: "third-party invite that is a string", content: `{"membership":"invite","third_party_invite":"x"}`},
		{name: "third-party invite that is an array", content: `{"membership":"invite","third_party_invite":[{}]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
				e := memberEvent(t, v, c.content)
				n, _ := strconv.Atoi(string(v))
				want := []fedinvite.ServerName{"a.example"}
				switch {
				case c.waived && !hasPairs(v): // in versions 1 and 2 the event ID's server signs
					want = []fedinvite.ServerName{}
				case c.from > 0 && n >= c.from:
					want = c.want
				}
				if diff := cmp.Diff(want, e.RequiredSigners()); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
			})
		})
	}
}

func TestServerOfTheEventIDSignsInVersions1And2(t *testing.T) {
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		if !hasPairs(v) {
			t.Skip("the event ID is a hash")
		}
		raw := signedEvent(t, v, func(m members) { m["event_id"] = `"$event:c.example"` })
		e := parsed(t, raw, v)
		if diff := cmp.Diff([]fedinvite.ServerName{"a.example", "c.example"}, e.RequiredSigners()); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		keys := invitetest.Keys("a.example", "c.example")
		err := e.Verify(t.Context(), keys)
		var failed *fedinvite.SignatureError
		if !errors.As(err, &failed) || failed.Server != "c.example" || !errors.Is(err, fedinvite.ErrSignature) {
			t.Errorf("error %v, want one about c.example", err)
		}
		signed, err := e.WithSignature(t.Context(), invitetest.Signer("c.example"))
		if err != nil {
			t.Fatal(err)
		}
		if err := signed.Verify(t.Context(), keys); err != nil {
			t.Error(err)
		}
	})
}

func TestAuthorisingServerOnOtherEventsNeverSigns(t *testing.T) {
	e := parsed(t, signedEvent(t, fedinvite.RoomV11, func(m members) {
		m["content"] = `{"join_authorised_via_users_server":"@r:r.example"}`
	}), fedinvite.RoomV11)
	if diff := cmp.Diff([]fedinvite.ServerName{"a.example"}, e.RequiredSigners()); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

// A resident server must tell an unsigned authorised join from a forged event.
func TestErrAuthorisingServerIsAboutThatServerAlone(t *testing.T) {
	join := func(via string) *fedinvite.Event {
		return memberEvent(t, fedinvite.RoomV11, `{"join_authorised_via_users_server":`+via+`,"membership":"join"}`)
	}
	keys := invitetest.Keys("a.example", "r.example")
	wrongKeys := fedinvite.KeyMap{"r.example": keys["a.example"], "a.example": keys["r.example"]}
	signed, err := join(`"@r:r.example"`).WithSignature(t.Context(), invitetest.Signer("r.example"))
	if err != nil {
		t.Fatal(err)
	}
	if err := signed.Verify(t.Context(), keys); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name    string
		event   *fedinvite.Event
		keys    fedinvite.KeySource
		servers []fedinvite.ServerName
		want    error
		server  fedinvite.ServerName
	}{
		{"not signed", join(`"@r:r.example"`), keys, nil, fedinvite.ErrAuthorisingServer, "r.example"},
		{"wrong signature", signed, fedinvite.KeyMap{"a.example": keys["a.example"], "r.example": keys["a.example"]}, nil, fedinvite.ErrAuthorisingServer, "r.example"},
		{"no known key", signed, invitetest.Keys("a.example"), nil, fedinvite.ErrAuthorisingServer, "r.example"},
		{"no user ID", join(`"r.example"`), keys, nil, fedinvite.ErrAuthorisingServer, ""},
		{"not a string", join(`{}`), keys, nil, fedinvite.ErrAuthorisingServer, ""},
		{"null", join(`null`), keys, nil, fedinvite.ErrAuthorisingServer, ""},
		{"the sender's server did not sign either", signed, wrongKeys, nil, fedinvite.ErrSignature, "a.example"},
		{"the caller asks for it too", join(`"@r:r.example"`), keys, []fedinvite.ServerName{"r.example"}, fedinvite.ErrSignature, "r.example"},
		{"it is the sender's server", join(`"@r:a.example"`), invitetest.Keys(), nil, fedinvite.ErrSignature, "a.example"},
		{"another server that the caller asks for", signed, keys, []fedinvite.ServerName{"z.example"}, fedinvite.ErrSignature, "z.example"},
		{"keys that cannot be had", signed, outage{invitetest.Keys("a.example")}, nil, fedinvite.ErrKeysUnavailable, "r.example"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.event.Verify(t.Context(), c.keys, c.servers...)
			var failed *fedinvite.SignatureError
			if !errors.Is(err, c.want) || !errors.As(err, &failed) || failed.Server != c.server {
				t.Fatalf("error %v, want %v about %q", err, c.want, c.server)
			}
			for _, other := range []error{fedinvite.ErrAuthorisingServer, fedinvite.ErrSignature, fedinvite.ErrKeysUnavailable} {
				if errors.Is(err, other) != (other == c.want) {
					t.Errorf("errors.Is(%v, %v) = %v", err, other, other != c.want)
				}
			}
		})
	}
}

func TestVerifyOfNobodyIsAnError(t *testing.T) {
	e := memberEvent(t, fedinvite.RoomV11, `{"membership":"invite","third_party_invite":{"signed":{}}}`)
	if got := e.RequiredSigners(); len(got) != 0 {
		t.Fatalf("required signers %q", got)
	}
	if err := e.Verify(t.Context(), invitetest.Keys("a.example")); !errors.Is(err, fedinvite.ErrSignature) {
		t.Errorf("error %v, want ErrSignature", err)
	}
	if err := e.Verify(t.Context(), invitetest.Keys("a.example"), "a.example"); err != nil {
		t.Error(err)
	}
}

func TestVerifyChecksTheServersThatAreNamed(t *testing.T) {
	e := parsed(t, signedEvent(t, fedinvite.RoomV11, nil), fedinvite.RoomV11)
	keys := invitetest.Keys("a.example", "b.example")
	if err := e.Verify(t.Context(), keys, "b.example"); !errors.Is(err, fedinvite.ErrSignature) {
		t.Errorf("error %v, want ErrSignature", err)
	}
	signed, err := e.WithSignature(t.Context(), invitetest.Signer("b.example"))
	if err != nil {
		t.Fatal(err)
	}
	if err := signed.Verify(t.Context(), keys, "b.example", "a.example", "b.example"); err != nil {
		t.Error(err)
	}
}

// valid_until_ts must be "at least as large as the origin_server_ts" from version 5 on; "any
// keys that are known to have expired prior to the event's origin_server_ts are ignored" in
// every version.
func TestKeyValidityCountsFromVersion5On(t *testing.T) {
	at := time.UnixMilli(1700000000000)
	eachVersion(t, func(t *testing.T, v fedinvite.RoomVersion) {
		n, _ := strconv.Atoi(string(v))
		e := parsed(t, signedEvent(t, v, nil), v)
		public := invitetest.Signer("a.example").Public()
		for _, c := range []struct {
			name string
			key  fedinvite.VerifyKey
			ok   bool
		}{
			{"no end", fedinvite.VerifyKey{}, true},
			{"valid until the event", fedinvite.VerifyKey{ValidUntil: at}, true},
			{"valid until before the event", fedinvite.VerifyKey{ValidUntil: at.Add(-time.Millisecond)}, n < 5},
			{"expired at the event", fedinvite.VerifyKey{ExpiredAt: at}, true},
			{"expired before the event", fedinvite.VerifyKey{ExpiredAt: at.Add(-time.Millisecond), ValidUntil: at.Add(time.Hour)}, false},
		} {
			c.key.Public = public
			source := &recordingKeys{KeySource: fedinvite.KeyMap{"a.example": {"ed25519:1": c.key}}}
			err := e.Verify(t.Context(), source)
			if (err == nil) != c.ok || err != nil && !errors.Is(err, fedinvite.ErrSignature) {
				t.Errorf("%s: error %v, want one: %v", c.name, err, !c.ok)
			}
			wanted := []time.Time{at}
			if n < 5 {
				wanted = []time.Time{{}}
			}
			if diff := cmp.Diff(wanted, source.at); diff != "" {
				t.Errorf("%s: freshness asked for: -want +got\n%s", c.name, diff)
			}
		}
	})
}

func TestMarshalJSONIsCanonical(t *testing.T) {
	raw := signedEvent(t, fedinvite.RoomV11, func(m members) { m["content"] = `{"body":"<b>&\u2028"}` })
	e := parsed(t, raw, fedinvite.RoomV11)
	direct, err := e.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(raw), string(direct)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	prefix := []byte("prefix")
	if diff := cmp.Diff("prefix"+string(raw), string(e.AppendJSON(prefix))); diff != "" {
		t.Errorf("AppendJSON: -want +got\n%s", diff)
	}
	marshalled, err := json.Marshal(map[string]*fedinvite.Event{"event": e})
	if err != nil {
		t.Fatal(err)
	}
	var back struct{ Event json.RawMessage }
	if err := json.Unmarshal(marshalled, &back); err != nil {
		t.Fatal(err)
	}
	if again := parsed(t, back.Event, fedinvite.RoomV11); again.ID() != e.ID() || !again.HashOK() {
		t.Error("an event that went through encoding/json is another event")
	}
}

func TestSignEventJSONRefusesWhatIsNoCanonicalObject(t *testing.T) {
	for _, c := range []struct {
		raw  string
		v    fedinvite.RoomVersion
		want error
	}{
		{`[]`, fedinvite.RoomV11, fedinvite.ErrBadJSON},
		{``, fedinvite.RoomV11, fedinvite.ErrNotJSON},
		{`{"a":1.5}`, fedinvite.RoomV6, fedinvite.ErrBadNumber},
		{`{"a":1.5}`, fedinvite.RoomV5, nil},
		{`{"unsigned":{"a":1.5}}`, fedinvite.RoomV6, nil},
		{`{"a":1,"a":1}`, fedinvite.RoomV1, fedinvite.ErrDuplicateKey},
	} {
		_, err := fedinvite.SignEventJSON(t.Context(), []byte(c.raw), rulesOf(t, c.v), invitetest.Signer("a.example"))
		if !errors.Is(err, c.want) {
			t.Errorf("v%s %s: error %v, want %v", c.v, c.raw, err, c.want)
		}
	}
}

func TestParseEventAllocatesLittle(t *testing.T) {
	raw := signedEvent(t, fedinvite.RoomV11, func(m members) {
		m["type"], m["state_key"], m["content"] = `"m.room.member"`, `"@bob:b.example"`, `{"membership":"invite"}`
	})
	rules := rulesOf(t, fedinvite.RoomV11)
	allocatesAtMost(t, 6, func() error {
		_, err := fedinvite.ParseEvent(raw, rules)
		return err
	})
}

// allocatesAtMost runs f and counts its allocations, unless under the race detector,
// which makes sync.Pool forget on purpose.
func allocatesAtMost(t *testing.T, most float64, f func() error) {
	t.Helper()
	var err error
	allocs := testing.AllocsPerRun(200, func() { err = f() })
	if err != nil {
		t.Fatal(err)
	}
	if allocs > most && !raceDetector() {
		t.Errorf("%v allocations, more than %v", allocs, most)
	}
}

// raceDetector reports whether the tests run under the race detector.
func raceDetector() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}
