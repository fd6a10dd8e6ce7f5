package fedinvite_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

func raws(texts ...string) []json.RawMessage {
	all := []json.RawMessage{}
	for _, s := range texts {
		all = append(all, json.RawMessage(s))
	}
	return all
}

func TestRequestV1RoundTripIsByteEqual(t *testing.T) {
	for _, body := range []string{
		`{}`,
		`{"type":"m.room.member"}`,
		" {\n\t\"b\": 1.50, \"a\" : [ ] , \"unsigned\":{ \"age\" : 1e3 } }\r\n",
		`{"content":{"displayname":"\u00e9\/<&>","avatar_url":null},"extra":12345678901234567890}`,
		`{"unsigned":{"invite_room_state":[]}}`,
		`{"unsigned":{"invite_room_state":[{"type": "m.room.name", "x":1.0}, {} ],"age":1},"z":"` + "\u2028" + `"}`,
		`{"unsigned":{"invite_room_state":null}}`,
		`{"unsigned":{"invite_room_state":{}}}`,
		`{"\u0075nsigned":{"invite_room_stat\u0065":[{"a":1}]}}`,
		`{"unsigned":7}`,
	} {
		req, err := fedinvite.ParseRequestV1([]byte(body))
		if err != nil {
			t.Errorf("%s: %v", body, err)
			continue
		}
		got, err := req.MarshalV1()
		if err != nil {
			t.Errorf("%s: %v", body, err)
		}
		if diff := cmp.Diff(body, string(got)); diff != "" {
			t.Errorf("body (-sent +written):\n%s", diff)
		}
	}
}

func TestParseRequestV1(t *testing.T) {
	for _, c := range []struct {
		body string
		want []json.RawMessage
	}{
		{`{}`, nil},
		{`{"unsigned":{}}`, nil},
		{`{"unsigned":[{"invite_room_state":[1]}]}`, nil},
		{`{"invite_room_state":[1]}`, nil},
		{`{"unsigned.invite_room_state":[1]}`, nil},
		{`{"unsigned":{"invite_room_state":null}}`, nil},
		{`{"unsigned":{"invite_room_state":{ }}}`, nil},
		{`{"unsigned":{"invite_room_state":[]}}`, raws()},
		{`{"unsigned":{"invite_room_state":[ {"a": 1} ,2]}}`, raws(`{"a": 1}`, `2`)},
		{`{"\u0075nsigned":{"invite_room_stat\u0065":[{"a":1}]}}`, raws(`{"a":1}`)},
	} {
		req, err := fedinvite.ParseRequestV1([]byte(c.body))
		want := fedinvite.Request{RoomVersion: fedinvite.RoomV1, Event: json.RawMessage(c.body), RoomState: c.want}
		if diff := cmp.Diff(want, req); diff != "" || err != nil {
			t.Errorf("%s: %v, request (-want +got):\n%s", c.body, err, diff)
		}
	}
}

func TestRequestV2UnknownMembersSurvive(t *testing.T) {
	body := `{"org.example.b" : {"x": 1.0},"event":{"z":1, "a":2},"invite_room_state":[ {"type":"t"} ,{}],"a\"\\\u00e9":[ ],"room_version":"org.example \"v\""}`
	req, err := fedinvite.ParseRequestV2([]byte(body))
	if err != nil {
		t.Fatal(err)
	}
	want := fedinvite.Request{
		RoomVersion: `org.example "v"`,
		Event:       json.RawMessage(`{"z":1, "a":2}`),
		RoomState:   raws(`{"type":"t"}`, `{}`),
		Extra:       map[string]json.RawMessage{"org.example.b": json.RawMessage(`{"x": 1.0}`), "a\"\\é": json.RawMessage(`[ ]`)},
	}
	if diff := cmp.Diff(want, req); diff != "" {
		t.Fatalf("request (-want +got):\n%s", diff)
	}
	written, err := req.MarshalV2()
	if err != nil {
		t.Fatal(err)
	}
	again, err := fedinvite.ParseRequestV2(written)
	if diff := cmp.Diff(want, again); diff != "" || err != nil {
		t.Errorf("%s: %v, second reading (-want +got):\n%s", written, err, diff)
	}
}

func TestParseRequestV2RoomState(t *testing.T) {
	for _, c := range []struct {
		state string
		want  []json.RawMessage
		err   error
	}{
		{`null`, nil, nil},
		{`{}`, nil, nil},
		{"{ \n}", nil, nil},
		{`[]`, raws(), nil},
		{`[1]`, raws(`1`), nil},
		{`[{}]`, raws(`{}`), nil},
		{`[null,"x",[[]],{"a":{}}]`, raws(`null`, `"x"`, `[[]]`, `{"a":{}}`), nil},
		{`"x"`, nil, fedinvite.ErrBadJSON},
		{`7`, nil, fedinvite.ErrBadJSON},
		{`true`, nil, fedinvite.ErrBadJSON},
		{`{"a":1}`, nil, fedinvite.ErrBadJSON},
		{`[` + strings.Repeat(`1,`, 100) + `1]`, nil, fedinvite.ErrStateLimit},
	} {
		req, err := fedinvite.ParseRequestV2([]byte(`{"event":{},"room_version":"1","invite_room_state":` + c.state + `}`))
		if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
			t.Errorf("%s: error %v, want %v", c.state, err, c.err)
		}
		if diff := cmp.Diff(c.want, req.RoomState); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.state, diff)
		}
	}
}

func TestParseRequestRefuses(t *testing.T) {
	for _, c := range []struct {
		body string
		err  error
	}{
		{``, fedinvite.ErrNotJSON},
		{` `, fedinvite.ErrNotJSON},
		{`{`, fedinvite.ErrNotJSON},
		{`{} {}`, fedinvite.ErrNotJSON},
		{"\xef\xbb\xbf{}", fedinvite.ErrNotJSON},
		{`[]`, fedinvite.ErrBadJSON},
		{`"x"`, fedinvite.ErrBadJSON},
		{`null`, fedinvite.ErrBadJSON},
		{`{"a":1,"\u0061":2}`, fedinvite.ErrDuplicateKey},
		{`{"a":{"b":[{"c":1,"c":1}]}}`, fedinvite.ErrDuplicateKey},
		{`{"a":"\ud800"}`, fedinvite.ErrBadText},
		{"{\"a\":\"\xff\"}", fedinvite.ErrBadText},
		{`{"a":` + strings.Repeat("[", 128) + strings.Repeat("]", 128) + `}`, fedinvite.ErrTooDeep},
	} {
		for name, parse := range map[string]func([]byte) (fedinvite.Request, error){"v1": fedinvite.ParseRequestV1, "v2": fedinvite.ParseRequestV2} {
			if _, err := parse([]byte(c.body)); !errors.Is(err, c.err) {
				t.Errorf("%s %.40q: error %v, want %v", name, c.body, err, c.err)
			}
		}
		if _, err := fedinvite.ParseResponseV2([]byte(c.body)); !errors.Is(err, c.err) {
			t.Errorf("reply %.40q: error %v, want %v", c.body, err, c.err)
		}
	}
	for _, c := range []struct {
		body string
		err  error
	}{
		{`{}`, fedinvite.ErrMissing},
		{`{"event":{}}`, fedinvite.ErrMissing},
		{`{"room_version":"1"}`, fedinvite.ErrMissing},
		{`{"Event":{},"room_version":"1"}`, fedinvite.ErrMissing},
		{`{"event":[],"room_version":"1"}`, fedinvite.ErrBadJSON},
		{`{"event":{},"room_version":1}`, fedinvite.ErrBadJSON},
		{`{"event":{},"room_version":null}`, fedinvite.ErrBadJSON},
		{`{"event":{},"room_version":["1"]}`, fedinvite.ErrBadJSON},
	} {
		if _, err := fedinvite.ParseRequestV2([]byte(c.body)); !errors.Is(err, c.err) {
			t.Errorf("%s: error %v, want %v", c.body, err, c.err)
		}
	}
}

func TestMarshalRequest(t *testing.T) {
	event := json.RawMessage(`{"type":"m.room.member"}`)
	for _, c := range []struct {
		name   string
		req    fedinvite.Request
		v2, v1 string
		v2Err  error
		v1Err  error
	}{
		{"nil state is left out", fedinvite.Request{RoomVersion: "10", Event: event},
			`{"event":{"type":"m.room.member"},"room_version":"10"}`, `{"type":"m.room.member"}`, nil, nil},
		{"empty state is []", fedinvite.Request{RoomVersion: "10", Event: event, RoomState: raws()},
			`{"event":{"type":"m.room.member"},"invite_room_state":[],"room_version":"10"}`,
			`{"type":"m.room.member","unsigned":{"invite_room_state":[]}}`, nil, nil},
		{"state", fedinvite.Request{RoomVersion: "1", Event: event, RoomState: raws(`{"a":1}`, `{}`)},
			`{"event":{"type":"m.room.member"},"invite_room_state":[{"a":1},{}],"room_version":"1"}`,
			`{"type":"m.room.member","unsigned":{"invite_room_state":[{"a":1},{}]}}`, nil, nil},
		{"state beside other unsigned members", fedinvite.Request{RoomVersion: "1", Event: json.RawMessage(`{"unsigned":{"age":1}}`), RoomState: raws(`{}`)},
			`{"event":{"unsigned":{"age":1}},"invite_room_state":[{}],"room_version":"1"}`,
			`{"unsigned":{"age":1,"invite_room_state":[{}]}}`, nil, nil},
		{"other state in place of what is there", fedinvite.Request{RoomVersion: "1", Event: json.RawMessage(`{"unsigned":{"invite_room_state":[1]}}`), RoomState: raws(`{}`)},
			`{"event":{"unsigned":{"invite_room_state":[1]}},"invite_room_state":[{}],"room_version":"1"}`,
			`{"unsigned":{"invite_room_state":[{}]}}`, nil, nil},
		{"an event that ends with a new line", fedinvite.Request{RoomVersion: "1", Event: json.RawMessage("{\"a\":1}\n"), RoomState: raws(`{}`)},
			"{\"event\":{\"a\":1}\n,\"invite_room_state\":[{}],\"room_version\":\"1\"}",
			`{"a":1,"unsigned":{"invite_room_state":[{}]}}`, nil, nil},
		{"extra members, sorted, never the known ones", fedinvite.Request{RoomVersion: "1", Event: event, Extra: map[string]json.RawMessage{
			"z": json.RawMessage(`1`), "b": json.RawMessage(`[]`), "event": json.RawMessage(`{}`), "room_version": json.RawMessage(`"2"`), "invite_room_state": json.RawMessage(`[]`)}},
			`{"event":{"type":"m.room.member"},"room_version":"1","b":[],"z":1}`, `{"type":"m.room.member"}`, nil, nil},
		{"no event", fedinvite.Request{RoomVersion: "1"}, "", "", fedinvite.ErrMissing, fedinvite.ErrMissing},
		{"no room version", fedinvite.Request{Event: event}, "", `{"type":"m.room.member"}`, fedinvite.ErrMissing, nil},
		{"event that is no object", fedinvite.Request{RoomVersion: "1", Event: json.RawMessage(`[]`)}, "", "", fedinvite.ErrBadJSON, fedinvite.ErrBadJSON},
		{"event that breaks out", fedinvite.Request{RoomVersion: "1", Event: json.RawMessage(`{},"x":{}`)}, "", "", fedinvite.ErrNotJSON, fedinvite.ErrNotJSON},
		{"state that breaks out", fedinvite.Request{RoomVersion: "1", Event: event, RoomState: raws(`1],"x":[2`)}, "", "", fedinvite.ErrNotJSON, fedinvite.ErrNotJSON},
		{"unsigned that is no object", fedinvite.Request{RoomVersion: "1", Event: json.RawMessage(`{"unsigned":7}`), RoomState: raws()},
			`{"event":{"unsigned":7},"invite_room_state":[],"room_version":"1"}`, "", nil, fedinvite.ErrBadJSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			check := func(version, want string, wantErr error, got []byte, err error) {
				t.Helper()
				if !errors.Is(err, wantErr) || (err == nil) != (wantErr == nil) {
					t.Errorf("%s: error %v, want %v", version, err, wantErr)
				}
				if diff := cmp.Diff(want, string(got)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", version, diff)
				}
			}
			got, err := c.req.MarshalV2()
			check("v2", c.v2, c.v2Err, got, err)
			got, err = c.req.MarshalV1()
			check("v1", c.v1, c.v1Err, got, err)
		})
	}
}

func TestResponse(t *testing.T) {
	t.Run("golden", func(t *testing.T) {
		r := fedinvite.Response{Event: json.RawMessage(`{"a":1}`), Extra: map[string]json.RawMessage{"x": json.RawMessage(`2`), "event": json.RawMessage(`3`)}}
		v2, err2 := r.MarshalV2()
		v1, err1 := r.MarshalV1()
		want := []string{`{"event":{"a":1},"x":2}`, `[200,{"event":{"a":1},"x":2}]`}
		if diff := cmp.Diff(want, []string{string(v2), string(v1)}); diff != "" || err1 != nil || err2 != nil {
			t.Errorf("%v, %v, replies (-want +got):\n%s", err1, err2, diff)
		}
	})
	t.Run("what is no JSON is not written", func(t *testing.T) {
		for _, c := range []struct {
			event string
			err   error
		}{{``, fedinvite.ErrMissing}, {`{`, fedinvite.ErrNotJSON}, {`{},"event":{}`, fedinvite.ErrNotJSON}} {
			r := fedinvite.Response{Event: json.RawMessage(c.event)}
			if _, err := r.MarshalV1(); !errors.Is(err, c.err) {
				t.Errorf("v1 %q: error %v, want %v", c.event, err, c.err)
			}
			if _, err := r.MarshalV2(); !errors.Is(err, c.err) {
				t.Errorf("v2 %q: error %v, want %v", c.event, err, c.err)
			}
		}
	})
	t.Run("v2", func(t *testing.T) {
		got, err := fedinvite.ParseResponseV2([]byte(`{ "x":1 ,"event": {"a": 1} }`))
		want := fedinvite.Response{Event: json.RawMessage(`{"a": 1}`), Extra: map[string]json.RawMessage{"x": json.RawMessage(`1`)}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%v, reply (-want +got):\n%s", err, diff)
		}
		for _, body := range []string{`{}`, `{"Event":{}}`} {
			if _, err := fedinvite.ParseResponseV2([]byte(body)); !errors.Is(err, fedinvite.ErrMissing) {
				t.Errorf("%s: error %v, want %v", body, err, fedinvite.ErrMissing)
			}
		}
		for _, body := range []string{`{"event":null}`, `{"event":[]}`, `{"event":"x"}`, `[200,{"event":{}}]`} {
			if _, err := fedinvite.ParseResponseV2([]byte(body)); !errors.Is(err, fedinvite.ErrBadJSON) {
				t.Errorf("%s: error %v, want %v", body, err, fedinvite.ErrBadJSON)
			}
		}
	})
	for _, c := range []struct {
		name, body string
		want       json.RawMessage
		err        error
	}{
		{"58 [200,{event}]", ` [ 200 , {"event": {"a":1}} ] `, json.RawMessage(`{"a":1}`), nil},
		{"58 {event} bare", `{"event":{}}`, nil, fedinvite.ErrBadJSON},
		{"58 [200]", `[200]`, nil, fedinvite.ErrBadJSON},
		{"58 [200,{},1]", `[200,{"event":{}},1]`, nil, fedinvite.ErrBadJSON},
		{"58 [200,{}]", `[200,{}]`, nil, fedinvite.ErrMissing},
		{"58 []", `[]`, nil, fedinvite.ErrBadJSON},
		{"58 another status", `[403,{"event":{}}]`, nil, fedinvite.ErrBadJSON},
		{"58 status as text", `["200",{"event":{}}]`, nil, fedinvite.ErrBadJSON},
		{"58 the other way round", `[{"event":{}},200]`, nil, fedinvite.ErrBadJSON},
		{"58 object that looks like a pair", `{"0":200,"1":{"event":{}},"#":2}`, nil, fedinvite.ErrBadJSON},
		{"58 not JSON", `[200,{"event":{}}`, nil, fedinvite.ErrNotJSON},
		{"58 nothing", ``, nil, fedinvite.ErrNotJSON},
		{"58 duplicate keys", `[200,{"event":{},"event":{}}]`, nil, fedinvite.ErrDuplicateKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := fedinvite.ParseResponseV1([]byte(c.body))
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Errorf("error %v, want %v", err, c.err)
			}
			if diff := cmp.Diff(string(c.want), string(got.Event)); diff != "" {
				t.Errorf("event (-want +got):\n%s", diff)
			}
		})
	}
}

// What the inviting server does with the reply.
func TestMergeReply(t *testing.T) {
	r, v1 := newRoom(fedinvite.RoomV11), newRoom(fedinvite.RoomV1)
	b, c := invitetest.Signer(serverB), invitetest.Signer(serverC)
	keys := fedinvite.KeyMap{}
	for _, s := range []fedinvite.Signer{invitetest.Signer(serverA), b, c, invitetest.SignerWithKey(serverB, "ed25519:2")} {
		keys.Add(s)
	}
	sent := r.signedInvite(set("welcome", "content", "reason"))
	reply := r.Sign(sent, b)
	sentV1 := v1.signedInvite()
	bad := set(strings.Repeat("A", 86), "signatures", string(serverB), "ed25519:2")

	for _, c := range []struct {
		name  string
		room  testRoom
		sent  json.RawMessage
		reply json.RawMessage
		want  json.RawMessage // nil: err
		err   error
	}{
		{"the event plus signatures.B", r, sent, reply, reply, nil},
		{"the same, v1", v1, sentV1, v1.Sign(sentV1, b), v1.Sign(sentV1, b), nil},
		{"two signatures by known keys of B", r, sent, r.Sign(reply, invitetest.SignerWithKey(serverB, "ed25519:2")), r.Sign(reply, invitetest.SignerWithKey(serverB, "ed25519:2")), nil},
		{"an unknown key of B besides: only the known one's is added", r, sent, r.Sign(reply, invitetest.SignerWithKey(serverB, "ed25519:x")), reply, nil},
		{"53 reply lacks signatures.B", r, sent, sent, nil, fedinvite.ErrSignature},
		{"53 reply lacks signatures", r, sent, change(sent, drop("signatures")), nil, fedinvite.ErrSignature},
		{"53 bad signature", r, sent, change(reply, set(strings.Repeat("A", 86), "signatures", string(serverB), "ed25519:1")), nil, fedinvite.ErrSignature},
		{"53 one good and one bad signature", r, sent, change(reply, bad), nil, fedinvite.ErrSignature},
		{"53 unknown key only", r, sent, r.Sign(sent, invitetest.SignerWithKey(serverB, "ed25519:x")), nil, fedinvite.ErrSignature},
		{"53 signature of another server under B's name", r, sent, change(sent, set(decode(r.Sign(sent, c))["signatures"].(object)[string(serverC)], "signatures", string(serverB))), nil, fedinvite.ErrSignature},
		{"54 reply changes content", r, sent, change(reply, set("other", "content", "reason")), nil, fedinvite.ErrMismatch},
		{"54 reply is the redacted event", r, sent, change(reply, drop("content", "reason")), nil, fedinvite.ErrMismatch},
		{"54 reply changes depth and is signed anew", r, sent, r.Sign(change(sent, set(6, "depth")), b), nil, fedinvite.ErrMismatch},
		{"54 reply changes hashes", r, sent, change(reply, set("A", "hashes", "sha256")), nil, fedinvite.ErrMismatch},
		{"54 reply adds event_id", r, sent, change(reply, set("$x", "event_id")), nil, fedinvite.ErrMismatch},
		{"54 reply changes event_id, v1", v1, sentV1, v1.Sign(change(sentV1, set("$x:a.example", "event_id")), b), nil, fedinvite.ErrMismatch},
		{"55 reply is another event validly signed by A and B", r, sent, r.Sign(r.signedInvite(), b), nil, fedinvite.ErrMismatch},
		{"56 reply replaces signatures.A: ours kept", r, sent, change(reply, set("AAAA", "signatures", string(serverA), "ed25519:1")), reply, nil},
		{"56 reply adds to signatures.A", r, sent, change(reply, set("AAAA", "signatures", string(serverA), "ed25519:2")), reply, nil},
		{"56 reply drops signatures.A: ours kept", r, sent, change(reply, drop("signatures", string(serverA))), reply, nil},
		{"56 reply adds C: ignored", r, sent, r.Sign(reply, c), reply, nil},
		{"57 reply differs only in unsigned", r, sent, change(reply, set(json.RawMessage(`{"age":1.5}`), "unsigned")), reply, nil},
		{"57 the sent unsigned is missing in the reply", r, change(sent, set(1, "unsigned", "age")), reply, change(reply, set(1, "unsigned", "age")), nil},
		{"reply with white space and other escapes", r, sent, json.RawMessage(" " + strings.ReplaceAll(string(reply), `"welcome"`, "\n\"\\u0077elcome\"")), reply, nil},
		{"reply is not JSON", r, sent, json.RawMessage("{"), nil, fedinvite.ErrNotJSON},
		{"reply is no object", r, sent, json.RawMessage("[]"), nil, fedinvite.ErrBadJSON},
		{"reply is empty", r, sent, nil, nil, fedinvite.ErrNotJSON},
		{"reply has duplicate keys", r, sent, json.RawMessage(strings.Replace(string(reply), "{", `{"type":"x",`, 1)), nil, fedinvite.ErrDuplicateKey},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := c.room.Parse(c.sent)
			got, err := fedinvite.MergeReply(t.Context(), before, c.reply, serverB, keys)
			if diff := cmp.Diff(canonicalText(t, string(c.sent)), string(before.AppendJSON(nil))); diff != "" {
				t.Errorf("the event sent has changed (-want +got):\n%s", diff)
			}
			if c.want == nil {
				if !errors.Is(err, c.err) || got != nil {
					t.Errorf("event %v, error %v, want error %v", got, err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(canonicalText(t, string(c.want)), string(got.AppendJSON(nil))); diff != "" {
				t.Errorf("merged (-want +got):\n%s", diff)
			}
			if err := got.Verify(t.Context(), keys, serverA, serverB); err != nil {
				t.Errorf("merged: %v", err)
			}
			if got.ID() != before.ID() {
				t.Errorf("event ID %s, want %s", got.ID(), before.ID())
			}
		})
	}
	t.Run("keys of B unavailable", func(t *testing.T) {
		h := newStateHost()
		h.errs[serverB] = errors.New("down")
		if _, err := fedinvite.MergeReply(t.Context(), r.Parse(sent), reply, serverB, h); !errors.Is(err, fedinvite.ErrKeysUnavailable) {
			t.Errorf("error %v, want %v", err, fedinvite.ErrKeysUnavailable)
		}
	})
}
