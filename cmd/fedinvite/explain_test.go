package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

var updateExplain = flag.Bool("update", false, "write the golden files of explain anew")

// captured is when the test requests were captured.
var captured = time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)

// A incident is a request for the invite endpoint that is made, step by step, and what explain
// is told about it. Its functions are the places where a test may interfere.
type incident struct {
	version fedinvite.RoomVersion
	claimed any // room_version in the body; nil: version

	event   func(object)           // before it is hashed and signed
	signed  func(object)           // after that
	signer  fedinvite.Signer       // of the event; nil: a.example
	state   func([]object) []any   // the entries of invite_room_state
	body    func([]byte) []byte    // before the request is signed
	path    func(v2 string) string // as it is signed
	origin  fedinvite.Signer       // of the request; nil: a.example
	dest    fedinvite.ServerName
	request func(head, body string) string // the capture
	keys    func(map[string]object)        // the key documents before they are signed
	noKeys  bool
	noNames bool // -server-name is not given
	args    []string
}

// signers returns the signer of a server, one of those with keys.
func incidentSigner(t testing.TB, server fedinvite.ServerName) fedinvite.Signer {
	t.Helper()
	return invitetest.Signer(server)
}

// build returns the capture and the key documents.
func (s incident) build(t testing.TB) (request string, documents []string) {
	t.Helper()
	if s.version == "" {
		s.version = fedinvite.RoomV11
	}
	rules, err := s.version.Rules()
	if err != nil {
		t.Fatal(err)
	}
	a := incidentSigner(t, "a.example")
	base := func(eventType, key, room string) object {
		o := object{
			"type": eventType, "state_key": key, "sender": "@a:a.example", "room_id": room, "content": object{}, "depth": 5,
			"origin_server_ts": captured.Add(-time.Minute).UnixMilli(), "auth_events": []any{}, "prev_events": []any{},
		}
		if rules.EventIDs == fedinvite.EventIDServer {
			o["event_id"] = "$" + strings.ReplaceAll(eventType, ".", "_") + ":a.example"
		}
		return o
	}
	sign := func(o object, by fedinvite.Signer) object {
		raw, err := json.Marshal(o)
		if err == nil {
			raw, err = fedinvite.SignEventJSON(t.Context(), raw, rules, by)
		}
		if err != nil {
			t.Fatal(err)
		}
		return decodeObject(t, raw)
	}
	room := "!r:a.example"
	create := base("m.room.create", "", room)
	create["content"] = object{"room_version": s.version}
	if rules.RoomIDIsCreateEvent {
		delete(create, "room_id")
	}
	create = sign(create, a)
	if e, err := fedinvite.ParseStored(encodeObject(t, create), rules); err == nil && rules.RoomIDIsCreateEvent {
		room = e.RoomID()
	}

	invite := base("m.room.member", "@b:b.example", room)
	invite["content"] = object{"membership": "invite", "reason": "Tea at five"}
	apply(s.event, invite)
	if s.signer == nil {
		s.signer = a
	}
	invite = sign(invite, s.signer)
	roomID, eventID := room, "$unknown"
	if e, err := fedinvite.ParseStored(encodeObject(t, invite), rules); err == nil {
		roomID, eventID = e.RoomID(), e.ID()
	}
	apply(s.signed, invite)

	if s.claimed == nil {
		s.claimed = s.version
	}
	entries := []any{create}
	if s.state != nil {
		entries = s.state([]object{create, sign(base("m.room.name", "", room), a)})
	}
	body := encodeObject(t, object{"event": invite, "room_version": s.claimed, "invite_room_state": entries})
	if s.body != nil {
		body = s.body(body)
	}
	path := "/_matrix/federation/v2/invite/" + url.PathEscape(roomID) + "/" + url.PathEscape(eventID)
	if s.path != nil {
		path = s.path(path)
	}
	return s.send(t, path, body), s.documents(t)
}

// send signs the request and writes it down.
func (s incident) send(t testing.TB, path string, body []byte) string {
	t.Helper()
	if s.origin == nil {
		s.origin = incidentSigner(t, "a.example")
	}
	if s.dest == "" {
		s.dest = "b.example"
	}
	req := httptest.NewRequest(http.MethodPut, path, nil)
	content := body
	if _, err := fedinvite.LegacyCanonicalJSON(body); err != nil || body[0] != '{' {
		content = nil
	}
	if err := xmatrix.Sign(t.Context(), req, content, s.dest, s.origin); err != nil {
		t.Fatal(err)
	}
	head := "PUT " + path + " HTTP/1.1\r\nHost: b.example\r\nAuthorization: " + req.Header.Get("Authorization") +
		"\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n"
	if s.request != nil {
		return s.request(head, string(body))
	}
	return head + "\r\n" + string(body)
}

func (s incident) documents(t testing.TB) []string {
	t.Helper()
	if s.noKeys {
		return nil
	}
	docs := make(map[string]object)
	for _, server := range []fedinvite.ServerName{"a.example", "c.example"} {
		docs[string(server)] = object{
			"server_name": server, "valid_until_ts": captured.Add(24 * time.Hour).UnixMilli(), "old_verify_keys": object{},
			"verify_keys": object{"ed25519:1": object{"key": keyOf(incidentSigner(t, server))}},
		}
	}
	if s.keys != nil {
		s.keys(docs)
	}
	var files []string
	for _, server := range slices.Sorted(maps.Keys(docs)) {
		raw := encodeObject(t, docs[server])
		for id := range docs[server]["verify_keys"].(object) {
			raw = invitetest.Sign(raw, invitetest.SignerWithKey(fedinvite.ServerName(server), fedinvite.KeyID(id)))
		}
		files = append(files, writeFile(t, string(raw)))
	}
	return files
}

// explain runs the command.
func (s incident) explain(t testing.TB, more ...string) result {
	t.Helper()
	request, documents := s.build(t)
	args := []string{"explain", "-at", captured.Format(time.RFC3339)}
	for _, d := range documents {
		args = append(args, "-keys", d)
	}
	return runCommand(t.Context(), request, slices.Concat(args, s.options(), more)...)
}

// options are those of the incident, and the name of the server if they have none.
func (s incident) options() []string {
	if s.noNames || slices.Contains(s.args, "-server-name") {
		return s.args
	}
	return append([]string{"-server-name", string(cmp.Or(s.dest, "b.example"))}, s.args...)
}

func apply(edit func(object), o object) {
	if edit != nil {
		edit(o)
	}
}

func encodeObject(t testing.TB, v any) json.RawMessage {
	t.Helper()
	raw, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func decodeObject(t testing.TB, raw []byte) object {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var o object
	if err := d.Decode(&o); err != nil {
		t.Fatal(err)
	}
	return o
}

func content(o object) object { return o["content"].(object) }

// head returns what changes the lines before the body.
func head(old, new string) func(head, body string) string {
	return func(head, body string) string { return strings.Replace(head, old, new, 1) + "\r\n" + body }
}

func replaced(old, new string) func([]byte) []byte {
	return func(b []byte) []byte { return bytes.Replace(b, []byte(old), []byte(new), 1) }
}

// retarget has the request arrive with another target than was signed.
func retarget(change func(string) string) func(head, body string) string {
	return func(head, body string) string {
		line, rest, _ := strings.Cut(head, "\r\n")
		parts := strings.Split(line, " ")
		return parts[0] + " " + change(parts[1]) + " " + parts[2] + "\r\n" + rest + "\r\n" + body
	}
}

func cutFront(front string) func(string) string {
	return func(s string) string { return strings.TrimPrefix(s, front) }
}

func withKeys(server string, edit func(object)) func(map[string]object) {
	return func(docs map[string]object) { edit(docs[server]) }
}

// incidents are all that explain has something to say of.
func incidents(t testing.TB) map[string]incident {
	a2, c := invitetest.SignerWithKey("a.example", "ed25519:2"), incidentSigner(t, "c.example")
	wrong := seeded(t, "a.example", "ed25519:1", "another key")
	both := withKeys("a.example", func(o object) {
		o["verify_keys"].(object)["ed25519:2"] = object{"key": keyOf(a2)}
	})
	all := map[string]incident{
		"accepted":             {},
		"accepted v1 endpoint": {version: "1", path: strings.NewReplacer("/v2/", "/v1/").Replace, body: func(b []byte) []byte { return bareEvent(t, b) }},
		"accepted strict":      {state: func(e []object) []any { return []any{e[0], e[1]} }, args: []string{"-room-state", "strict"}},
		"accepted as of its time": {keys: withKeys("a.example", func(o object) {
			o["old_verify_keys"] = object{"ed25519:1": object{"key": keyOf(incidentSigner(t, "a.example")), "expired_ts": captured.Add(time.Hour).UnixMilli()}}
			o["verify_keys"] = object{"ed25519:2": object{"key": keyOf(a2)}}
		})},
		"accepted, if served here": {noNames: true},
		"refused, if served here":  {noNames: true, event: func(o object) { o["type"] = "m.room.name" }},
		"refused at the latest":    {noKeys: true, args: []string{"-offline"}, event: func(o object) { o["type"] = "m.room.name" }},
		"no Host":                  {request: head("Host: b.example\r\n", "")},
		"escape that is none":      {request: retarget(func(s string) string { return strings.Replace(s, "$", "%zz", 1) })},
		"verbose":                  {args: []string{"-v"}},
		"offline":                  {noKeys: true, args: []string{"-offline"}},
		"body file": {request: func(_, body string) string { return body }, args: []string{
			"-path", "/_matrix/federation/v2/invite/!r:a.example/$x", "-header", `Authorization: X-Matrix origin="a.example",destination="b.example",key="ed25519:1",sig="AAAA"`, "-header", "Host: b.example"}},

		"path, front cut off": {request: retarget(cutFront("/_matrix"))},
		"path, front added":   {request: retarget(func(s string) string { return "/matrix" + s })},
		"path, doubled slash": {request: retarget(func(s string) string { return strings.Replace(s, "/$", "//$", 1) })},
		"path, decoded":       {version: "3", request: retarget(func(s string) string { p, _ := url.PathUnescape(s); return p }), event: func(o object) { slashed(t, o) }},
		"path, of another":    {request: retarget(func(string) string { return "/_matrix/federation/v1/send/1" })},
		"path, no IDs":        {request: retarget(func(string) string { return "/invite" })},
		"path, v1 without IDs": {version: "1", path: strings.NewReplacer("/v2/", "/v1/").Replace, body: func(b []byte) []byte { return bareEvent(t, b) },
			request: retarget(func(string) string { return "/_matrix/federation/v1/invite" })},
		"method":                        {request: head("PUT ", "GET ")},
		"authorization, none":           {request: head("Authorization", "X-Authorization")},
		"authorization, token":          {request: head("X-Matrix", "Bearer")},
		"authorization, broken":         {request: head(",key=", ",k=")},
		"authorization, no destination": {request: head(`,destination="b.example"`, "")},
		"destination":                   {dest: "matrix.b.example", args: []string{"-server-name", "b.example"}},
		"destination, case":             {dest: "B.example", args: []string{"-server-name", "b.example"}},
		"destination, other user":       {dest: "d.example", event: func(o object) { o["state_key"] = "@d:d.example" }, args: []string{"-server-name", "b.example"}},

		"body size, cut": {request: func(head, body string) string { return head + "\r\n" + body[:len(body)-100] }},
		"body size, short": {request: func(head, body string) string {
			return strings.Replace(head, "Content-Length: ", "Content-Length: 9", 1) + "\r\n" + body
		}},
		"body size, large and cut": {request: func(head, _ string) string {
			return strings.Replace(head, "Content-Length: ", "Content-Length: 9999", 1) + "\r\n"
		}},
		"body size, large": {body: func(b []byte) []byte {
			return replaced(`"invite_room_state"`, `"x":"`+strings.Repeat("y", 1<<20)+`","invite_room_state"`)(b)
		}},
		"body, duplicate key":       {body: replaced(`"type":"m.room.member"`, `"type":"m.room.name","\u0074ype":"m.room.member"`)},
		"body, ends early":          {body: func(b []byte) []byte { return b[:len(b)-50] }},
		"body, goes on":             {body: func(b []byte) []byte { return append(b, "{}"...) }},
		"body, text":                {body: replaced("Tea", "T\xffa")},
		"body, none":                {request: func(head, _ string) string { return strings.Replace(head, "Content-Length: ", "X: ", 1) + "\r\n" }},
		"body, compressed":          {body: func([]byte) []byte { return []byte("\x1f\x8b\x08\x00\x1b[2J") }},
		"body, bare event":          {body: func(b []byte) []byte { return bareEvent(t, b) }},
		"body, version as a number": {body: replaced(`"room_version":"11"}`, `"room_version":11}`), state: func([]object) []any { return []any{} }},
		"body, no version":          {body: replaced(`"room_version":"11"`, `"x":1`), state: func([]object) []any { return []any{} }},

		"request signature, body changed": {request: func(head, body string) string {
			return head + "\r\n" + strings.Replace(body, `"room_version":"11"`, `"room_version":"10"`, 1)
		}},
		"request signature, wrong key":    {origin: wrong, signer: wrong},
		"request signature, unknown key":  {origin: a2},
		"request signature, other key":    {request: head("ed25519:2", "ed25519:1"), origin: a2, keys: both},
		"request signature, other origin": {request: head(`origin="c.example"`, `origin="a.example"`), origin: c},
		"request signature, key expired":  {keys: withKeys("a.example", func(o object) { o["valid_until_ts"] = captured.Add(-time.Hour).UnixMilli() })},
		"request signature, key old": {keys: withKeys("a.example", func(o object) {
			o["old_verify_keys"] = object{"ed25519:1": object{"key": keyOf(incidentSigner(t, "a.example")), "expired_ts": captured.Add(-time.Hour).UnixMilli()}}
			o["verify_keys"] = object{"ed25519:2": object{"key": keyOf(a2)}}
		})},
		"request signature, other destination": {request: head(`destination="b.example"`, `destination="B.example"`), args: []string{"-server-name", "B.example"}},
		"request signature, key document":      {keys: withKeys("a.example", func(o object) { o["verify_keys"] = object{} })},

		"room version, unknown":     {claimed: "org.example.1\x1b[2J"},
		"event format, number":      {version: "5", claimed: "6", event: func(o object) { content(o)["x"] = json.Number("1.5") }},
		"event format, v1 endpoint": {version: "6", path: strings.NewReplacer("/v2/", "/v1/").Replace, body: func(b []byte) []byte { return bareEvent(t, b) }},
		"event format, v2 body":     {path: strings.NewReplacer("/v2/", "/v1/").Replace},
		"event format, create in auth_events": {version: "12", event: func(o object) {
			o["auth_events"] = []any{"$" + strings.TrimPrefix(o["room_id"].(string), "!")}
		}},
		"event format, old version": {version: "1", claimed: "11"},
		"path IDs, old version":     {version: "10", claimed: "11", event: func(o object) { o["origin"] = "a.example" }},
		"path IDs, escaped twice":   {path: func(s string) string { return strings.ReplaceAll(s, "$", "%2524") }},
		"path IDs, changed":         {signed: func(o object) { o["depth"] = 6 }},
		"path IDs, other room":      {path: strings.NewReplacer("r:a", "q:a").Replace},

		"invite, type":       {event: func(o object) { o["type"] = "m.room.name\u202e" }},
		"invite, sender":     {event: func(o object) { o["sender"] = "@c:c.example" }, signer: c},
		"invite, invitee":    {event: func(o object) { o["state_key"] = "@c:c.example" }},
		"invite, no invitee": {event: func(o object) { delete(o, "state_key") }},
		"invite, to itself":  {event: func(o object) { o["state_key"] = "@x:a.example" }, dest: "a.example"},

		"event signatures, none":               {signed: func(o object) { delete(o, "signatures") }},
		"event signatures, other":              {signer: c},
		"event signatures, unknown key":        {signer: a2},
		"event signatures, other key":          {signed: func(o object) { renameKey(o, "ed25519:2", "ed25519:1") }, signer: a2, keys: both},
		"event signatures, changed":            {signed: func(o object) { o["signatures"].(object)["a.example"].(object)["ed25519:1"] = strings.Repeat("A", 86) }},
		"event signatures, key expired":        {event: func(o object) { o["origin_server_ts"] = captured.Add(48 * time.Hour).UnixMilli() }},
		"event signatures, authorising server": {event: func(o object) { content(o)["join_authorised_via_users_server"] = "@c:c.example" }},

		"content hash, added":   {signed: func(o object) { content(o)["displayname"] = "Mallory" }},
		"content hash, changed": {signed: func(o object) { content(o)["reason"] = "Coffee" }},

		"room state, none in v12":     {version: "12", state: func([]object) []any { return []any{} }},
		"room state, stripped in v12": {version: "12", state: func(e []object) []any { return []any{stripped(e[0]), stripped(e[1])} }},
		"room state, signature":       {version: "12", state: func(e []object) []any { renameSignature(e[0]); return []any{e[0]} }},
		"room state, other room":      {version: "12", state: func(e []object) []any { return []any{e[0], with(e[1], "room_id", "!"+strings.Repeat("A", 43))} }},
		"room state, strict":          {state: func(e []object) []any { return []any{e[0], stripped(e[1])} }, args: []string{"-room-state", "strict"}},
		"room state, warnings":        {state: func(e []object) []any { return []any{stripped(e[1]), 7} }},
	}
	return all
}

// bareEvent makes the body of the v1 endpoint out of that of v2.
func bareEvent(t testing.TB, body []byte) []byte {
	return encodeObject(t, decodeObject(t, body)["event"])
}

// slashed changes an event of room version 3 until its ID has a slash.
func slashed(t testing.TB, o object) {
	rules := newTestRules(t, "3")
	for n := range 1000 {
		content(o)["n"] = n
		raw, err := fedinvite.SignEventJSON(t.Context(), encodeObject(t, o), rules, incidentSigner(t, "a.example"))
		if err != nil {
			t.Fatal(err)
		}
		if e, err := fedinvite.ParseStored(raw, rules); err == nil && strings.Count(e.ID(), "/") == 1 {
			return
		}
	}
	t.Fatal("no ID with a slash")
}

func stripped(o object) object {
	return object{"type": o["type"], "state_key": o["state_key"], "sender": o["sender"], "content": o["content"]}
}

func with(o object, key string, v any) object {
	o = maps.Clone(o)
	o[key] = v
	return o
}

func renameKey(o object, from, to string) {
	keys := o["signatures"].(object)["a.example"].(object)
	keys[to] = keys[from]
	delete(keys, from)
}

func renameSignature(o object) {
	o["signatures"].(object)["a.example"].(object)["ed25519:1"] = strings.Repeat("A", 86)
}

// The golden files are what an operator reads; read them too when they change.
func TestExplainGolden(t *testing.T) {
	for name, s := range incidents(t) {
		file := strings.NewReplacer(" ", "_", ",", "").Replace(name)
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := s.explain(t)
			explainGolden(t, file+".txt", fmt.Sprintf("%s\nexit status %d\n%s", r.out, r.status, r.err))
			if name != "request signature, unknown key" {
				return
			}
			var indented bytes.Buffer
			if err := json.Indent(&indented, []byte(s.explain(t, "-json").out), "", "  "); err != nil {
				t.Fatal(err)
			}
			explainGolden(t, file+".json", indented.String())
		})
	}
}

// explainGolden compares with a golden file, or writes it.
func explainGolden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", "explain", name)
	if *updateExplain {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, string(want), got)
}

// What explain says that the peer was told is what a Receiver tells it.
func TestExplainSaysWhatAReceiverSays(t *testing.T) {
	for name, s := range incidents(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got explanation
			r := s.explain(t, "-json")
			if err := json.Unmarshal([]byte(r.out), &got); err != nil {
				t.Fatalf("%v in %s", err, r.out)
			}
			if got.Verdict == verdictUndecided || name == "body file" {
				return // which has no keys, and which is no whole request
			}
			request, documents := s.build(t)
			c, err := parseCapture([]byte(request))
			if err != nil {
				t.Fatal(err)
			}
			given, _, err := readKeyDocuments(documents, captured)
			if err != nil {
				t.Fatal(err)
			}
			status, body := received(t, c, given, s.options())
			if got.Refusal != nil && len(got.Refusal.Unjudged) > 0 {
				if status == http.StatusOK {
					t.Errorf("%+v, and a Receiver accepts it", got.Refusal)
				}
				return
			}
			if got.Verdict == verdictAccepted {
				if status != http.StatusOK || r.status != statusOK {
					t.Errorf("accepted, and a Receiver says %d %s", status, body)
				}
				return
			}
			if status != got.Refusal.Status || string(body) != string(got.Refusal.Body) || r.status != statusRefused {
				t.Errorf("%+v %s, and a Receiver says %d %s", got.Refusal, got.Refusal.Body, status, body)
			}
		})
	}
}

// received has a Receiver answer a capture; of args those count that say how it is set up.
func received(t testing.TB, c *capture, given map[fedinvite.ServerName][]byte, args []string) (status int, body []byte) {
	t.Helper()
	keys, err := newKeyBook(nil, given, captured, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	config := fedinvite.Config{
		Signer: func(_ context.Context, name fedinvite.ServerName) (fedinvite.Signer, error) {
			if slices.Contains(args, "-server-name") && !slices.Contains(args, string(name)) {
				return nil, fedinvite.ErrNotLocal
			}
			return incidentSigner(t, name), nil
		},
		Keys:        keys,
		Credentials: xmatrix.Verifier{Keys: keys, Now: func() time.Time { return captured }}.Credentials,
		Handler:     fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
	}
	if slices.Contains(args, "strict") {
		config.RoomState = fedinvite.StateStrict
	}
	rc, err := fedinvite.NewReceiver(config)
	if err != nil {
		t.Fatal(err)
	}
	w := httptest.NewRecorder()
	rc.ServeHTTP(w, c.request(c.method, c.target, c.reader(), c.announced()))
	return w.Code, w.Body.Bytes()
}

func TestExplainKnowsAllSteps(t *testing.T) {
	want := []string{
		stepPath, stepMethod, stepAuthorization, stepServerNames, stepDestination, stepBodySize, stepBody, stepAdmit, stepRequestSignature,
		stepRoomVersion, stepEventFormat, stepPathIDs, stepInvite, stepServerACL, stepPolicy, stepEventSignatures, stepContentHash, stepRoomState,
		stepSign, stepHandler,
	}
	diff(t, fedinvite.Steps(), want)
}

// The lines that explain prints are safe for terminals, whatever the request holds.
func TestExplainIsSafeForTerminals(t *testing.T) {
	hostile := "\x1b[2J\u009b\u202e\r"
	quoted := `"` + strings.ReplaceAll(hostile, "\r", `\r`) + `"`
	for name, s := range map[string]incident{
		"target":       {request: retarget(func(string) string { return "/" + strings.ReplaceAll(hostile, "\r", "") })},
		"header":       {request: head("a.example", strings.ReplaceAll(hostile, "\r", ""))},
		"body":         {body: func([]byte) []byte { return []byte(hostile) }},
		"room_version": {claimed: hostile},
		"type":         {event: func(o object) { o["type"] = hostile }},
		"signers":      {signed: func(o object) { o["signatures"] = object{hostile: object{hostile: "x"}} }},
		"key":          {signed: func(o object) { renameKey(o, "ed25519:1", "ed25519:"+hostile) }},
		"state":        {version: "12", state: func([]object) []any { return []any{object{"type": hostile, "state_key": hostile}} }},
		"member":       {signed: func(o object) { content(o)[hostile] = json.RawMessage(`"x"`) }},
		"JSON":         {body: replaced(`"Tea at five"`, `{`+quoted+`:1e}`)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, option := range []string{"-v", "-json"} {
				r := s.explain(t, option)
				if strings.ContainsFunc(strings.ReplaceAll(r.out+r.err, "\n", ""), func(c rune) bool { return !unicode.IsPrint(c) }) {
					t.Errorf("%q", r.out+r.err)
				}
				if r.status == statusUsage || len(r.out) == 0 {
					t.Errorf("%+v", r)
				}
			}
		})
	}
}

func TestExplainUsage(t *testing.T) {
	for _, c := range []struct {
		args  []string
		stdin string
		err   string
	}{
		{[]string{"-at", "noon"}, "x", `invalid value "noon" for flag -at: no time such as 2026-01-02T15:04:05Z, and no seconds or milliseconds since 1970`},
		{[]string{"-room-state", "lax"}, "x", `invalid value "lax" for flag -room-state: not "create", "strict" or "off"`},
		{[]string{"-header", "Host"}, "x", `invalid value "Host" for flag -header: not of the form "Name: value"`},
		{[]string{"-header", "Host: a"}, "x", "-method and -header go with -path"},
		{[]string{"-method", "PUT"}, "x", "-method and -header go with -path"},
		{[]string{"a", "b"}, "x", `unexpected argument "b"; options come first`},
		{nil, "", "there is no request: the input is empty"},
	} {
		r := runCommand(t.Context(), c.stdin, append([]string{"explain"}, c.args...)...)
		if first, _, _ := strings.Cut(r.err, "\n"); r.status != statusUsage || first != "fedinvite: "+c.err {
			t.Errorf("%q: %+v", c.args, r)
		}
	}
	for name, text := range map[string]string{
		"not JSON": "{", "server_name is missing": "{}", "server_keys": `{"server_keys":1}`,
		"duplicate key": `{"server_name":"e.example","server_name":"e.example"}`,
	} {
		r := runCommand(t.Context(), "PUT / HTTP/1.1\n\n", "explain", "-keys", writeFile(t, text))
		if r.status != statusRefused || r.out != "" || !strings.Contains(r.err, name) {
			t.Errorf("%s: %+v", text, r)
		}
	}
}

// The answer of a notary holds key documents too.
func TestExplainWithTheAnswerOfANotary(t *testing.T) {
	request, documents := incident{}.build(t)
	var all []json.RawMessage
	for _, file := range documents {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, text)
	}
	r := runCommand(t.Context(), request, "explain", "-at", strconv.FormatInt(captured.UnixMilli(), 10),
		"-server-name", "b.example", "-keys", writeFile(t, string(encodeObject(t, object{"server_keys": all}))))
	if r.status != statusOK || !strings.Contains(r.out, "\naccepted ") {
		t.Errorf("%+v", r)
	}
}

// Without -keys and -offline servers are asked for their keys.
func TestExplainFetchesKeys(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	var signer fedinvite.Signer
	asked := 0
	name := st.serveKeys(t, func(server string) []byte {
		asked++
		signer = invitetest.Signer(fedinvite.ServerName(server))
		return keyDocument(t, server, object{"ed25519:1": object{"key": keyOf(signer)}}, object{}, signer)
	}, nil)
	from := invitetest.Signer(fedinvite.ServerName(name))
	s := incident{origin: from, signer: from, event: func(o object) {
		o["sender"] = "@a:" + name
		o["origin_server_ts"] = time.Now().UnixMilli()
	}}
	request, _ := s.build(t)
	explain := func(args ...string) result {
		return runCommand(t.Context(), request, append([]string{"explain", "-ca", st.ca}, args...)...)
	}
	r := explain("-allow", "loopback", "-server-name", "b.example")
	if r.status != statusOK || r.err != "" || !strings.Contains(r.out, "\naccepted ") || asked != 1 {
		t.Errorf("%+v, asked %d times", r, asked)
	}
	r = explain()
	if r.status != statusRefused || !strings.Contains(r.out, "503 M_UNKNOWN") || !strings.Contains(strings.Join(strings.Fields(r.out), " "), "fedinvite resolve -connect "+name) || !strings.Contains(r.out, "-allow makes") {
		t.Errorf("an address that must not be connected to: %+v", r)
	}
	r = explain("-offline")
	if r.status != statusOK || !strings.Contains(r.out, "\nundecided ") || asked != 1 {
		t.Errorf("offline: %+v, asked %d times", r, asked)
	}
}

// Who interrupts explain gets what was found until then, and nobody is blamed for the rest.
func TestExplainInterrupted(t *testing.T) {
	request, documents := incident{}.build(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt signal received"))
	r := runCommand(ctx, "", "explain", "-at", captured.Format(time.RFC3339), "-keys", documents[0], writeFile(t, request))
	if r.status != statusRefused || r.err != "fedinvite: interrupt signal received\n" || !strings.Contains(r.out, "\nundecided ") || strings.Contains(r.out, "FAILED") {
		t.Errorf("%+v", r)
	}
}

// What is large is looked into no longer than it is worth.
func TestExplainLargeRequests(t *testing.T) {
	many := func(prefix string, n int, v any) object {
		o := object{}
		for i := range n {
			o[prefix+strconv.Itoa(i)] = v
		}
		return o
	}
	for name, s := range map[string]incident{
		"content": {signed: func(o object) { maps.Copy(content(o), many("k", 4000, 1)) }},
		"signatures": {signed: func(o object) {
			o["signatures"] = object{"a.example": many("ed25519:", 100, strings.Repeat("A", 86))}
		}},
		"room state": {version: "12", state: func(e []object) []any {
			all := []any{e[0]}
			for range 99 {
				all = append(all, with(e[1], "content", many("k", 100, 1)))
			}
			return all
		}, args: []string{"-room-state", "strict"}},
		"unknown version": {claimed: "x", event: func(o object) { maps.Copy(content(o), many("k", 50_000, 1)) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if r := s.explain(t); len(r.out) > 20_000 || r.status == statusUsage {
				t.Errorf("%d bytes, %q", len(r.out), r.err)
			}
		})
	}
}

// Explain neither signs nor stores, and always ends.
func FuzzExplain(f *testing.F) {
	var documents []string
	for _, s := range incidents(f) {
		if s.noKeys {
			continue
		}
		request, files := s.build(f)
		if len(request) < 1<<12 {
			f.Add([]byte(request))
		}
		if s.keys == nil {
			documents = files
		}
	}
	given, _, err := readKeyDocuments(documents, captured)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		c, err := parseCapture(request)
		if err != nil {
			return
		}
		keys, err := newKeyBook(nil, given, captured, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		w := newWalk(c, []fedinvite.ServerName{"b.example"}, fedinvite.StateCreateOnly, keys, captured)
		if err := w.explain(t.Context()); err != nil {
			t.Fatal(err)
		}
		r := w.report()
		var out bytes.Buffer
		if err := r.text(&out); err != nil || strings.ContainsFunc(strings.ReplaceAll(out.String(), "\n", ""), func(c rune) bool { return !unicode.IsPrint(c) }) {
			t.Errorf("%v, %q", err, out.String())
		}
		status, body := received(t, c, given, []string{"-server-name", "b.example"})
		switch {
		case r.Verdict == verdictAccepted && status != http.StatusOK:
			t.Errorf("accepted, and a Receiver says %d %s", status, body)
		case r.Verdict == verdictRefused && status == http.StatusOK:
			t.Errorf("%+v, and a Receiver accepts it", r.Refusal)
		case r.Verdict == verdictRefused && status != http.StatusServiceUnavailable && string(body) != string(r.Refusal.Body):
			t.Errorf("%+v %s, and a Receiver says %d %s", r.Refusal, r.Refusal.Body, status, body)
		}
	})
}
