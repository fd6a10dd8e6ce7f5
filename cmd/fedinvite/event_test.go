package main

import (
	"encoding/base64"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// An eventVector is an event of one of the files testdata/vectors/events/v*.json.
type eventVector struct {
	Name          string `json:"name"`
	RoomVersion   string `json:"room_version"`
	Event         string `json:"event"`
	ServerName    string `json:"server_name"`
	ContentHash   string `json:"content_hash"`
	SignedEvent   string `json:"signed_event"`
	RedactedEvent string `json:"redacted_event"`
	ReferenceHash string `json:"reference_hash"`
	EventID       string `json:"event_id"`
}

// A receivedVector is an event of testdata/vectors/events/receive.json.
type receivedVector struct {
	Name        string          `json:"name"`
	RoomVersion string          `json:"room_version"`
	Event       string          `json:"event"`
	EventBase64 string          `json:"event_base64"`
	Expect      string          `json:"expect"`
	Keys        json.RawMessage `json:"keys"`
}

// loadVectors reads the cases of the files that match a pattern.
func loadVectors[C any](t testing.TB, pattern string) (all []C) {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("..", "..", "testdata", "vectors", "events", pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Cases []C `json:"cases"`
		}
		if err := json.Unmarshal(data, &file); err != nil {
			t.Fatal(err)
		}
		all = append(all, file.Cases...)
	}
	if len(all) == 0 {
		t.Fatalf("no vectors in %s", pattern)
	}
	return all
}

func TestCanonical(t *testing.T) {
	const src = " {\"b\": \"\\u0041\",\n\"a\": [1, 2]} \n"
	want := `{"a":[1,2],"b":"A"}`
	if got := succeed(t, src, "canonical"); got != want {
		t.Errorf("standard input: %q", got)
	}
	if got := succeed(t, "", "canonical", writeFile(t, src)); got != want {
		t.Errorf("file: %q", got)
	}
	if got := succeed(t, "[1.0,1e3,9007199254740993]", "canonical", "-legacy"); got != "[1.0,1000.0,9007199254740993]" {
		t.Errorf("legacy: %q", got)
	}
}

// Every vector is signed, described and verified.
func TestEventVectors(t *testing.T) {
	key := writeFile(t, testKey)
	for _, v := range loadVectors[eventVector](t, "v*.json") {
		t.Run(v.Name+"/v"+v.RoomVersion, func(t *testing.T) {
			signed := succeed(t, v.Event, "sign", "-room-version", v.RoomVersion, "-server", v.ServerName, "-key", key)
			diff(t, v.SignedEvent+"\n", signed)

			var got struct {
				ContentHash   string          `json:"content_hash"`
				ContentHashOK bool            `json:"content_hash_ok"`
				EventID       string          `json:"event_id"`
				Redacted      json.RawMessage `json:"redacted"`
				ReferenceHash string          `json:"reference_hash"`
				RoomID        string          `json:"room_id"`
			}
			line := succeed(t, signed, "event", "-room-version", v.RoomVersion)
			if strings.Count(line, "\n") != 1 || !strings.HasSuffix(line, "\n") {
				t.Errorf("not one line: %q", line)
			}
			if err := json.Unmarshal([]byte(line), &got); err != nil {
				t.Fatal(err)
			}
			diff(t, v.RedactedEvent, string(got.Redacted))
			diff(t, []any{v.ContentHash, true, v.EventID, v.ReferenceHash},
				[]any{got.ContentHash, got.ContentHashOK, got.EventID, got.ReferenceHash})
			if got.RoomID == "" {
				t.Error("no room_id")
			}
			if canonical := succeed(t, line, "canonical", "-legacy"); canonical != strings.TrimSuffix(line, "\n") {
				t.Error("not canonical JSON")
			}
		})
	}
}

// Every vector of an event as received is judged as it should be.
func TestVerifyVectors(t *testing.T) {
	for _, v := range loadVectors[receivedVector](t, "receive.json") {
		t.Run(v.Name, func(t *testing.T) {
			event, err := base64.StdEncoding.DecodeString(v.EventBase64)
			if err != nil {
				t.Fatal(err)
			}
			event = append(event, v.Event...) // one of them is empty
			keys := writeFile(t, strings.ReplaceAll(string(v.Keys), `"public_key"`, `"key"`))
			r := runCommand(t.Context(), string(event), "verify", "-room-version", v.RoomVersion, "-keys", keys)
			redacted := strings.Contains(r.out, "only the redacted copy counts")
			switch v.Expect {
			case "accept_full":
				if r.status != statusOK || redacted {
					t.Errorf("%+v", r)
				}
			case "accept_redacted":
				if r.status != statusOK || !redacted {
					t.Errorf("%+v", r)
				}
			case "drop":
				if r.status != statusRefused {
					t.Errorf("%+v", r)
				}
			case "implementation-defined":
				if r.status == statusUsage {
					t.Errorf("%+v", r)
				}
			default:
				t.Errorf("unknown expectation %q", v.Expect)
			}
		})
	}
}

// signedEvent returns an event of @a:one.example, signed by it.
func signedEvent(t testing.TB, version string) string {
	t.Helper()
	event := `{"auth_events":[],"content":{"a":1},"depth":1,"origin_server_ts":1000,"prev_events":[],` +
		`"room_id":"!r:one.example","sender":"@a:one.example","type":"t"}`
	if version == "1" {
		event = event[:1] + `"event_id":"$e:two.example",` + event[1:]
	}
	return succeed(t, event, "sign", "-room-version", version, "-server", "one.example", "-key", writeFile(t, testKey))
}

func TestVerify(t *testing.T) {
	good := `{"one.example":{"ed25519:1":{"key":"` + testPublicKey + `"}}}`
	validity := func(name, ts string) string {
		return strings.Replace(good, `"}}}`, `","`+name+`":`+ts+`}}}`, 1)
	}
	v1, v4, v5, v11 := signedEvent(t, "1"), signedEvent(t, "4"), signedEvent(t, "5"), signedEvent(t, "11")
	altered := strings.Replace(v11, `{"a":1}`, `{"a":2}`, 1)
	forged := strings.Replace(v11, `"depth":1`, `"depth":2`, 1)
	const (
		okOne = "ok      signature of \"one.example\"\n"
		note  = "note    the content hash differs: only the redacted copy counts\n"
	)
	for _, c := range []struct {
		name, version, event, keys string
		signers                    []string
		want                       result
	}{
		{"good", "11", v11, good, nil, result{0, okOne, ""}},
		{"altered", "11", altered, good, nil, result{0, okOne + note, ""}},
		{"forged", "11", forged, good, nil, result{1,
			"failed  signature of \"one.example\" with key \"ed25519:1\": signature check failed\n" + note,
			"fedinvite: a receiver must drop the event: signature of \"one.example\" with key \"ed25519:1\": signature check failed\n"}},
		{"no key", "11", v11, `{}`, nil, result{1,
			"failed  signature of \"one.example\" with key \"ed25519:1\": signature check failed: unknown key\n",
			"fedinvite: a receiver must drop the event: signature of \"one.example\" with key \"ed25519:1\": signature check failed: unknown key\n"}},
		{"event ID of another server", "1", v1, good, nil, result{1,
			okOne + "failed  signature of \"two.example\": signature check failed: there is none\n",
			"fedinvite: a receiver must drop the event: signature of \"two.example\": signature check failed: there is none\n"}},
		{"further signer", "11", v11, good, []string{"two.example", "one.example"}, result{1,
			okOne + "failed  signature of \"two.example\": signature check failed: there is none\n",
			"fedinvite: a receiver must drop the event: signature of \"two.example\": signature check failed: there is none\n"}},
		{"valid until then", "5", v5, validity("valid_until_ts", "1000"), nil, result{0, okOne, ""}},
		{"valid until before", "5", v5, validity("valid_until_ts", "999"), nil, result{1,
			"failed  signature of \"one.example\" with key \"ed25519:1\": signature check failed: the key was not valid at that time\n",
			"fedinvite: a receiver must drop the event: signature of \"one.example\" with key \"ed25519:1\": signature check failed: the key was not valid at that time\n"}},
		{"valid until before, version 4", "4", v4, validity("valid_until_ts", "999"), nil, result{0, okOne, ""}},
		{"expired before, version 4", "4", v4, validity("expired_ts", "0"), nil, result{1,
			"failed  signature of \"one.example\" with key \"ed25519:1\": signature check failed: the key was not valid at that time\n",
			"fedinvite: a receiver must drop the event: signature of \"one.example\" with key \"ed25519:1\": signature check failed: the key was not valid at that time\n"}},
		{"expired then", "5", v5, validity("expired_ts", "1000"), nil, result{0, okOne, ""}},
		{"expired before", "5", v5, validity("expired_ts", "0"), nil, result{1,
			"failed  signature of \"one.example\" with key \"ed25519:1\": signature check failed: the key was not valid at that time\n",
			"fedinvite: a receiver must drop the event: signature of \"one.example\" with key \"ed25519:1\": signature check failed: the key was not valid at that time\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			args := []string{"verify", "-room-version", c.version, "-keys", writeFile(t, c.keys)}
			for _, s := range c.signers {
				args = append(args, "-signer", s)
			}
			got := runCommand(t.Context(), c.event, args...)
			if got != c.want {
				t.Errorf("got  %+v\nwant %+v", got, c.want)
			}
		})
	}
}

// A third-party invite of a room version from 3 on needs no signature by itself;
// that nobody signed is never good news.
func TestVerifyThirdPartyInvite(t *testing.T) {
	event := `{"auth_events":[],"content":{"membership":"invite","third_party_invite":{"signed":{}}},"depth":1,` +
		`"origin_server_ts":1000,"prev_events":[],"room_id":"!r:x.example","sender":"@a:x.example",` +
		`"state_key":"@b:y.example","type":"m.room.member"}`
	signed := succeed(t, event, "sign", "-room-version", "11", "-server", "one.example", "-key", writeFile(t, testKey))
	keys := writeFile(t, `{"one.example":{"ed25519:1":{"key":"`+testPublicKey+`"}}}`)
	r := runCommand(t.Context(), signed, "verify", "-room-version", "11", "-keys", keys)
	if r.status != statusRefused || !strings.Contains(r.err, "nobody is required") {
		t.Errorf("without -signer: %+v", r)
	}
	succeed(t, signed, "verify", "-room-version", "11", "-keys", keys, "-signer", "one.example")
}

func TestKeysFile(t *testing.T) {
	for _, c := range []struct{ keys, err string }{
		{`{"a":{"ed25519:1":{"key":"AAAA"}}}`, `key "ed25519:1" of "a": unusable key`},
		{`{"a":{"ed25519:1":{"key":"` + testPublicKey + `","valid_until":1}}}`, `unknown field "valid_until"`},
		{`{"a":{},"a":{}}`, "duplicate key"},
		{`[]`, "cannot unmarshal array"},
		{``, "not JSON"},
	} {
		t.Run(c.keys, func(t *testing.T) {
			r := runCommand(t.Context(), signedEvent(t, "11"), "verify", "-room-version", "11", "-keys", writeFile(t, c.keys))
			if r.status != statusRefused || !strings.Contains(r.err, c.err) {
				t.Errorf("%+v, want %q", r, c.err)
			}
		})
	}
}

func TestKeygen(t *testing.T) {
	key := succeed(t, "", "keygen")
	if fields := strings.Fields(key); len(fields) != 3 || fields[0] != "ed25519" || !strings.HasSuffix(key, "\n") || strings.Count(key, "\n") != 1 {
		t.Errorf("not a key line: %d bytes", len(key))
	}
	if key == succeed(t, "", "keygen") {
		t.Error("twice the same key")
	}
	signed := succeed(t, "{}", "sign", "-room-version", "12", "-server", "a.example", "-key", writeFile(t, key))
	if !strings.Contains(signed, `"signatures":{"a.example":{"ed25519:`) {
		t.Errorf("not signed: %s", signed)
	}
}

// The public key that keygen writes is what verify reads.
func TestKeygenPublic(t *testing.T) {
	key := writeFile(t, testKey)
	keys := succeed(t, "", "keygen", "-public", key, "-server", "one.example")
	if want := `{"one.example":{"ed25519:1":{"key":"` + testPublicKey + "\"}}}\n"; keys != want {
		t.Errorf("%s, want %s", keys, want)
	}
	succeed(t, signedEvent(t, "11"), "verify", "-room-version", "11", "-keys", writeFile(t, keys))
}
