package invitetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

const (
	mine     = fedinvite.ServerName("mine.example")
	keyPath  = "/_matrix/key/v2/server"
	inviteV1 = "/_matrix/federation/v1/invite/"
	inviteV2 = "/_matrix/federation/v2/invite/"
)

// A departing server does what the specification says but in one respect.
type departing struct {
	name   string
	checks []string // that must find it; those that end in * by their beginning
	config func(*fedinvite.Config)
	wrap   func(http.Handler) http.Handler
	keys   func(*keyring.LocalKeys) // that it publishes
	sends  sender
}

// introduce starts it, and returns it as a target.
func introduce(t testing.TB, peer *invitetest.Server, d departing) invitetest.Target {
	receiver := peer.IntroduceHandler(mine, fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
		func(c *fedinvite.Config) {
			c.RoomState, c.Policy = fedinvite.StateStrict, wanted
			if d.config != nil {
				d.config(c)
			}
			c.Credentials = xmatrix.Verifier{Keys: c.Keys, Now: time.Now, Assume: mine}.Credentials
		})
	local := keyring.LocalKeys{Signers: []fedinvite.Signer{invitetest.Signer(mine)}}
	if d.keys != nil {
		d.keys(&local)
	}
	publish, err := keyring.NewPublishHandler(keyring.PublishConfig{Default: mine, Now: time.Now, Local: func(_ context.Context, name fedinvite.ServerName) (keyring.LocalKeys, error) {
		if name != mine {
			return keyring.LocalKeys{}, fedinvite.ErrNotLocal
		}
		return local, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	var h http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == keyPath {
			publish.ServeHTTP(w, r)
			return
		}
		receiver.ServeHTTP(w, r)
	})
	h = returnsUnsigned(h)
	if d.wrap != nil {
		h = d.wrap(h)
	}
	d.sends.peer = peer
	return invitetest.Target{
		Name: mine, Invitee: "@bob:mine.example", Blocking: "@private:mine.example", Peer: peer, Handler: h, Invite: d.sends.invite,
		Timeout: 5 * time.Second,
	}
}

// A reply is an answer that is being changed.
type reply struct {
	status int
	header http.Header
	body   []byte
}

func (a *reply) Header() http.Header { return a.header }

func (a *reply) WriteHeader(status int) { a.status = status }

func (a *reply) Write(b []byte) (int, error) {
	a.body = append(a.body, b...)
	return len(b), nil
}

// rewriting changes all answers.
func rewriting(change func(r *http.Request, a *reply)) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			a := &reply{status: http.StatusOK, header: http.Header{}}
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			h.ServeHTTP(a, r)
			r.Body = io.NopCloser(bytes.NewReader(body))
			change(r, a)
			a.header.Del("Content-Length")
			for name, values := range a.header {
				w.Header()[name] = values
			}
			w.WriteHeader(a.status)
			_, _ = w.Write(a.body)
		})
	}
}

// refusingAll refuses all invites, after they were looked at.
var refusingAll = rewriting(func(r *http.Request, a *reply) {
	if isInvite(r) {
		a.status, a.body = http.StatusForbidden, []byte(`{"errcode":"M_FORBIDDEN","error":"No."}`)
	}
})

// refusing answers some requests by an error and does not look at them any further.
func refusing(status int, code fedinvite.Code, some func(r *http.Request, body []byte) bool) func(http.Handler) http.Handler {
	return func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil {
				return
			}
			if some(r, body) {
				fedinvite.WriteError(w, &fedinvite.Error{Code: code, Status: status, Message: "No."})
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			h.ServeHTTP(w, r)
		})
	}
}

// refusingEvents is refusing of some events.
func refusingEvents(some func(event invitetest.Object) bool) func(http.Handler) http.Handler {
	return refusing(http.StatusBadRequest, fedinvite.CodeBadJSON, func(_ *http.Request, body []byte) bool {
		event := eventIn(body)
		return event != nil && some(event)
	})
}

// refusingHeaders is refusing of Authorization headers that do not match.
func refusingHeaders(pattern string) func(http.Handler) http.Handler {
	good := regexp.MustCompile(pattern)
	return refusing(http.StatusUnauthorized, fedinvite.CodeUnauthorized, func(r *http.Request, _ []byte) bool {
		return isInvite(r) && !good.MatchString(r.Header.Get("Authorization"))
	})
}

func isInvite(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, inviteV1) || strings.HasPrefix(r.URL.Path, inviteV2)
}

// eventIn is the event of a body, of whatever endpoint, or nil.
func eventIn(body []byte) invitetest.Object {
	var o invitetest.Object
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	if d.Decode(&o) != nil {
		return nil
	}
	if event, ok := o["event"].(invitetest.Object); ok {
		return event
	}
	return o
}

// returning changes the events of answers that accept.
func returning(change func(r *http.Request, event invitetest.Object)) func(http.Handler) http.Handler {
	return rewriting(func(r *http.Request, a *reply) {
		if !isInvite(r) || a.status != http.StatusOK {
			return
		}
		v1, err := fedinvite.ParseResponseV1(a.body)
		if err == nil {
			event := invitetest.Decode(v1.Event)
			change(r, event)
			a.body = invitetest.Encode([]any{200, invitetest.Object{"event": event}})
			return
		}
		event := eventIn(a.body)
		change(r, event)
		a.body = invitetest.Encode(invitetest.Object{"event": event})
	})
}

// returnsUnsigned has unsigned of answers be what it was in the request.
var returnsUnsigned = returning(func(r *http.Request, event invitetest.Object) {
	body, _ := io.ReadAll(r.Body)
	sent := eventIn(body)
	if unsigned, ok := sent["unsigned"]; ok {
		event["unsigned"] = unsigned
	}
})

// publishing changes the key document, and signs it anew if it should.
func publishing(sign bool, edits ...invitetest.Edit) func(http.Handler) http.Handler {
	return rewriting(func(r *http.Request, a *reply) {
		if r.URL.Path != keyPath {
			return
		}
		a.body = invitetest.Change(a.body, edits...)
		if sign {
			o := invitetest.Decode(a.body)
			delete(o, "signatures")
			signed, err := fedinvite.SignJSON(r.Context(), invitetest.Encode(o), invitetest.Signer(mine))
			if err != nil {
				panic(err)
			}
			a.body = signed
		}
	})
}

// signsAnything accepts whatever comes and signs it.
func signsAnything(http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		body, _ := io.ReadAll(r.Body)
		event := eventIn(body)
		var container any = invitetest.Object{"event": signAnything(r.Context(), event)}
		if strings.HasPrefix(r.URL.Path, inviteV1) {
			container = []any{200, container}
		}
		_, _ = w.Write(invitetest.Encode(container))
	})
}

func signAnything(ctx context.Context, event invitetest.Object) json.RawMessage {
	rules, err := fedinvite.RoomV5.Rules()
	if err != nil || event == nil {
		return json.RawMessage(`{}`)
	}
	signed, err := fedinvite.SignEventJSON(ctx, invitetest.Encode(event), rules, invitetest.Signer(mine))
	if err != nil {
		return json.RawMessage(`{}`)
	}
	return signed
}

// pinned has keys that are valid for ever.
type pinned struct{ fedinvite.KeySource }

func (k pinned) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, _ time.Time) (fedinvite.VerifyKey, error) {
	key, err := k.KeySource.VerifyKey(ctx, server, id, time.Time{})
	key.ValidUntil = time.Time{}
	return key, err
}

// strictness has rules with another StrictJSON.
func strictness(strict bool) func(*fedinvite.Config) {
	return func(c *fedinvite.Config) {
		c.Rules = func(v fedinvite.RoomVersion) (fedinvite.Rules, error) {
			rules, err := v.Rules()
			rules.StrictJSON = strict
			return rules, err
		}
	}
}

// alternating signs with two keys in turns.
func alternating() func(*fedinvite.Config) {
	var n atomic.Int32
	return func(c *fedinvite.Config) {
		c.Signer = func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) {
			if n.Add(1)%2 == 0 {
				return invitetest.SignerWithKey(mine, "ed25519:2"), nil
			}
			return invitetest.Signer(mine), nil
		}
	}
}

func another(local *keyring.LocalKeys) {
	local.Signers = append(local.Signers, invitetest.SignerWithKey(mine, "ed25519:2"))
}

// given up publishes a key as an old one of the future.
func givenUp(local *keyring.LocalKeys) {
	local.Old = map[fedinvite.KeyID]fedinvite.VerifyKey{
		"ed25519:2": {Public: invitetest.SignerWithKey(mine, "ed25519:2").Public(), ExpiredAt: time.Now().Add(time.Hour)},
	}
}

func roomState(policy fedinvite.RoomStatePolicy) func(*fedinvite.Config) {
	return func(c *fedinvite.Config) { c.RoomState = policy }
}

// departingReceivers are servers that receive.
func departingReceivers() []departing {
	badRequest := func(some func(*http.Request, []byte) bool) func(http.Handler) http.Handler {
		return refusing(http.StatusBadRequest, fedinvite.CodeUnknown, some)
	}
	return []departing{
		{name: "refuses everything", wrap: refusingAll, checks: []string{
			"receive/v1", "receive/v2", "receive/v3", "receive/v4", "receive/v5", "receive/v6", "receive/v7", "receive/v8", "receive/v9", "receive/v10",
			"receive/v11", "receive/v12", "receive/signatures-kept", "receive/signature-of-published-key", "receive/unsigned*", "receive/unknown-members",
			"receive/unknown-key", "receive/unknown-algorithm", "receive/twice", "receive/redacted-copy", "receive/other-signer", "receive/key-validity-ignored",
			"receive/event-id-escaped", "receive/path-escaped", "body/unknown-members", "event/canonical-json-ignored", "event/origin", "state/stripped",
			"state/absent", "v1/v1", "v1/v2", "auth/scheme-case", "auth/names-case", "auth/order", "auth/spaces", "auth/comma-spaces", "auth/token",
			"auth/unquoted-colon", "auth/backslash", "auth/unknown-parameter", "auth/quoted-comma", "auth/signature-parameter", "auth/no-destination",
			"auth/body-respelt", "auth/query", "http/content-type", "http/no-content-type", "http/charset",
		}},
		{name: "signs anything", wrap: signsAnything, checks: []string{
			"receive/type", "receive/membership", "receive/no*", "receive/sender", "receive/state-key", "receive/signature-missing",
			"receive/signature-wrong", "receive/key-validity", "receive/blocked", "body/unknown-room-version", "body/no*", "body/room-version-number",
			"body/event*", "body/list", "body/empty", "event/*limit", "event/auth*", "event/prev*", "event/state*", "event/event*", "event/create*", "event/no*",
			"event/canonical-json", "state/v12*", "v1/type", "v1/membership", "v1/sender", "v1/state-key", "v1/signature", "auth/destination", "auth/none",
			"auth/wrong", "auth/malformed", "http/unknown-endpoint", "http/method", "http/error*", "keys/document",
		}},
		{name: "signs with a key that it has given up", checks: []string{"receive/signature-of-published-key", "keys/old-keys"}, keys: givenUp, config: func(c *fedinvite.Config) {
			c.Signer = func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) {
				return invitetest.SignerWithKey(mine, "ed25519:2"), nil
			}
		}},
		{name: "signs with keys in turns", checks: []string{"receive/twice"}, config: alternating(), keys: another},
		{name: "returns its own signature only", checks: []string{"receive/signatures-kept"}, wrap: returning(func(_ *http.Request, event invitetest.Object) {
			event["signatures"] = invitetest.Object{string(mine): event["signatures"].(invitetest.Object)[string(mine)]}
		})},
		{name: "drops unsigned", checks: []string{"receive/unsigned-kept"}, wrap: returning(func(_ *http.Request, event invitetest.Object) { delete(event, "unsigned") })},
		{name: "changes unsigned", checks: []string{"receive/unsigned-kept", "receive/unsigned-not-added"}, wrap: returning(func(_ *http.Request, event invitetest.Object) {
			event["unsigned"] = invitetest.Object{"age": 7}
		})},
		{name: "drops what it does not know", checks: []string{"receive/unknown-members"}, wrap: returning(func(_ *http.Request, event invitetest.Object) {
			delete(event, "org.example.unknown")
		})},
		{name: "wants content hashes", checks: []string{"receive/redacted-copy"}, config: func(c *fedinvite.Config) { c.RefuseHashMismatch = true }},
		{name: "wants one signature", checks: []string{"receive/unknown-key", "receive/unknown-algorithm"}, wrap: refusingEvents(func(event invitetest.Object) bool {
			signers, _ := event["signatures"].(invitetest.Object)
			of, _ := signers["peer.example"].(invitetest.Object)
			return len(of) > 1
		})},
		{name: "wants one signer", checks: []string{"receive/other-signer"}, wrap: refusingEvents(func(event invitetest.Object) bool {
			signers, _ := event["signatures"].(invitetest.Object)
			return len(signers) > 1
		})},
		{name: "never looks at validity", checks: []string{"receive/key-validity"}, config: func(c *fedinvite.Config) { c.Keys = pinned{c.Keys} }},
		{name: "always looks at validity", checks: []string{"receive/key-validity-ignored"}, config: func(c *fedinvite.Config) {
			c.Rules = func(v fedinvite.RoomVersion) (fedinvite.Rules, error) {
				rules, err := v.Rules()
				rules.EnforceKeyValidity = true
				return rules, err
			}
		}},
		{name: "blocks without saying so", checks: []string{"receive/blocked"}, config: func(c *fedinvite.Config) {
			c.Policy = func(ctx context.Context, inv *fedinvite.Invite) error {
				if wanted(ctx, inv) != nil {
					return fedinvite.Refuse(fedinvite.CodeForbidden, "No.")
				}
				return nil
			}
		}},
		{name: "does not find users", checks: []string{"receive/unknown-user"}, wrap: refusing(404, fedinvite.CodeNotFound, func(_ *http.Request, body []byte) bool {
			return bytes.Contains(body, []byte(`"@nobody-`))
		})},
		{name: "unescapes too early", checks: []string{"receive/event-id-escaped"}, wrap: refusing(404, fedinvite.CodeUnrecognized, func(r *http.Request, _ []byte) bool {
			return strings.Count(r.URL.Path, "/") > 6
		})},
		{name: "does not unescape", checks: []string{"receive/path-escaped"}, wrap: badRequest(func(r *http.Request, _ []byte) bool {
			return strings.Contains(r.RequestURI, "%24")
		})},
		{name: "names no room version", checks: []string{"body/unknown-room-version-named"}, wrap: rewriting(func(_ *http.Request, a *reply) {
			a.body = bytes.Replace(a.body, []byte(`"room_version"`), []byte(`"version"`), 1)
		})},
		{name: "wants the body that it knows", checks: []string{"body/unknown-members"}, wrap: badRequest(func(_ *http.Request, body []byte) bool {
			var o map[string]any
			return json.Unmarshal(body, &o) == nil && o["org.example.unknown"] != nil
		})},
		{name: "calls everything M_UNKNOWN", checks: []string{"body/no*", "body/room-version-number", "body/event*", "body/list", "body/empty", "receive/type"},
			wrap: rewriting(func(_ *http.Request, a *reply) {
				if a.status == http.StatusBadRequest {
					a.body = []byte(`{"errcode":"M_UNKNOWN","error":"?"}`)
				}
			})},
		{name: "takes any number", checks: []string{"event/canonical-json"}, config: strictness(false)},
		{name: "takes integers only", checks: []string{"event/canonical-json-ignored"}, config: strictness(true)},
		{name: "does not know origin", checks: []string{"event/origin"}, wrap: refusingEvents(func(event invitetest.Object) bool { return event["origin"] != nil })},
		{name: "does not look at room state", checks: []string{"state/v12*"}, config: roomState(fedinvite.StateOff)},
		{name: "wants room state", checks: []string{"state/stripped", "state/absent"}, config: roomState(fedinvite.StateStrict)},
		{name: "fails at room state", checks: []string{"state/not-a-list"}, wrap: refusing(500, fedinvite.CodeUnknown, func(_ *http.Request, body []byte) bool {
			return bytes.Contains(body, []byte(`"invite_room_state":"x"`))
		})},
		{name: "answers v1 as v2", checks: []string{"v1/v1", "v1/v2"}, wrap: rewriting(func(r *http.Request, a *reply) {
			if v1, err := fedinvite.ParseResponseV1(a.body); err == nil {
				a.body = invitetest.Encode(invitetest.Object{"event": v1.Event})
			}
		})},
		{name: "is particular about the scheme", checks: []string{"auth/scheme-case"}, wrap: refusingHeaders(`^X-Matrix `)},
		{name: "is particular about names", checks: []string{"auth/names-case"}, wrap: refusingHeaders(`(?s)origin=.*sig|sig.*origin=|signature`)},
		{name: "is particular about the order", checks: []string{"auth/order"}, wrap: refusingHeaders(`(?i)origin=.*sig`)},
		{name: "is particular about spaces", checks: []string{"auth/spaces"}, wrap: refusingHeaders(`(?i)^x-matrix [a-z]`)},
		{name: "is particular about commas", checks: []string{"auth/comma-spaces"}, wrap: refusingHeaders(`^\S+\s+\S+$`)},
		{name: "wants quotes", checks: []string{"auth/token", "auth/unquoted-colon"}, wrap: refusingHeaders(`^\S+\s+(\w+="[^"]*"\s*,?\s*)+$`)},
		{name: "does not unescape quoted values", checks: []string{"auth/backslash"}, wrap: refusingHeaders(`^[^\\]*$`)},
		{name: "wants the parameters that it knows", checks: []string{"auth/unknown-parameter", "auth/quoted-comma"}, wrap: refusingHeaders(`(?i)^\S+\s+(\s*(origin|destination|key|sig|signature)\s*=\s*("([^"\\]|\\.)*"|[^",]*)\s*,?)+$`)},
		{name: "splits at commas", checks: []string{"auth/quoted-comma"}, wrap: badRequest(func(r *http.Request, _ []byte) bool {
			parts := strings.Split(r.Header.Get("Authorization"), ",")
			return slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(part, "=") })
		})},
		{name: "knows sig only", checks: []string{"auth/signature-parameter"}, wrap: refusingHeaders(`(?i)\bsig=`)},
		{name: "wants a destination", checks: []string{"auth/no-destination"}, wrap: refusingHeaders(`(?i)destination`)},
		{name: "signs bytes, not JSON", checks: []string{"auth/body-respelt"}, wrap: refusing(401, fedinvite.CodeUnauthorized, func(_ *http.Request, body []byte) bool {
			return bytes.Contains(body, []byte("\n"))
		})},
		{name: "signs the path only", checks: []string{"auth/query"}, wrap: func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				r.RequestURI, _, _ = strings.Cut(r.RequestURI, "?")
				h.ServeHTTP(w, r)
			})
		}},
		{name: "denies with 403", checks: []string{"auth/destination", "auth/none", "auth/wrong", "auth/malformed"}, wrap: rewriting(func(_ *http.Request, a *reply) {
			if a.status == http.StatusUnauthorized {
				a.status = http.StatusForbidden
			}
		})},
		{name: "does not know M_UNRECOGNIZED", checks: []string{"http/unknown-endpoint", "http/method"}, wrap: rewriting(func(_ *http.Request, a *reply) {
			a.body = bytes.Replace(a.body, []byte("M_UNRECOGNIZED"), []byte("M_NOT_FOUND"), 1)
		})},
		{name: "answers text", checks: []string{"http/content-type", "http/error-content-type", "keys/content-type"}, wrap: rewriting(func(_ *http.Request, a *reply) {
			a.header.Set("Content-Type", "text/plain")
		})},
		{name: "does not explain errors", checks: []string{"http/error-body"}, wrap: rewriting(func(_ *http.Request, a *reply) {
			a.body = bytes.Replace(a.body, []byte(`"error"`), []byte(`"message"`), 1)
		})},
		{name: "has errors of HTML", checks: []string{"http/error-body", "http/unknown-endpoint", "receive/type"}, wrap: rewriting(func(_ *http.Request, a *reply) {
			if a.status != http.StatusOK {
				a.body = []byte("<p>No.</p>")
			}
		})},
		{name: "wants a content type", checks: []string{"http/no-content-type"}, wrap: refusing(415, fedinvite.CodeUnknown, func(r *http.Request, _ []byte) bool {
			return isInvite(r) && r.Header.Get("Content-Type") == ""
		})},
		{name: "wants just one content type", checks: []string{"http/charset"}, wrap: refusing(415, fedinvite.CodeUnknown, func(r *http.Request, _ []byte) bool {
			return strings.Contains(r.Header.Get("Content-Type"), "charset")
		})},
		{name: "has no keys", checks: []string{"keys/*"}, wrap: refusing(404, fedinvite.CodeUnrecognized, func(r *http.Request, _ []byte) bool { return r.URL.Path == keyPath })},
		{name: "has keys without end", checks: []string{"keys/document", "keys/valid*"}, wrap: publishing(true, invitetest.Drop("valid_until_ts"))},
		{name: "has keys of another", checks: []string{"keys/server-name"}, wrap: publishing(true, invitetest.Set("other.example", "server_name"))},
		{name: "signs its keys with one of them", checks: []string{"keys/signatures"}, keys: another, wrap: publishing(true)},
		{name: "signed its keys long ago", checks: []string{"keys/signatures"}, wrap: publishing(false, invitetest.Set(1, "org.example.unknown"))},
		{name: "has keys of yesterday", checks: []string{"keys/valid*"}, wrap: publishing(true, invitetest.Set(time.Now().Add(-time.Hour).UnixMilli(), "valid_until_ts"))},
		{name: "has keys for minutes", checks: []string{"keys/valid-an-hour"}, wrap: publishing(true, invitetest.Set(time.Now().Add(5*time.Minute).UnixMilli(), "valid_until_ts"))},
		{name: "has keys with a dash", checks: []string{"keys/key-ids"}, wrap: publishing(true, invitetest.Set(invitetest.Object{"key": "AAAA"}, "verify_keys", "ed25519:a-b"))},
		{name: "pads base64", checks: []string{"keys/base64"}, wrap: rewriting(func(r *http.Request, a *reply) {
			if r.URL.Path == keyPath {
				a.body = regexp.MustCompile(`("key":"[^"]{43})"`).ReplaceAll(a.body, []byte(`$1="`))
			}
		})},
		{name: "does not say when keys ended", checks: []string{"keys/old-keys"}, wrap: publishing(true, invitetest.Set(invitetest.Object{"key": "AAAA"}, "old_verify_keys", "ed25519:0"))},
	}
}

// finds reports whether a check is one of those.
func finds(checks []string, name string) bool {
	return slices.ContainsFunc(checks, func(c string) bool {
		beginning, prefix := strings.CutSuffix(c, "*")
		return c == name || prefix && strings.HasPrefix(name, beginning)
	})
}

// The one that the others are variations of passes, so that it is the variation that is found.
func TestTheCompleteServerPasses(t *testing.T) {
	t.Parallel()
	peer := invitetest.NewServer(t, "peer.example")
	target := introduce(t, peer, departing{keys: func(local *keyring.LocalKeys) {
		local.Old = map[fedinvite.KeyID]fedinvite.VerifyKey{
			"ed25519:0": {Public: invitetest.SignerWithKey(mine, "ed25519:0").Public(), ExpiredAt: time.Now().Add(-time.Hour)},
		}
	}})
	for r := range invitetest.Results(t.Context(), target, harmless()...) {
		if except := r.Name == "state/stripped" || r.Name == "state/absent"; r.Outcome != invitetest.Passed && !except {
			t.Error(r)
		}
	}
}

// For every check there is a server that departs from its sentence, and that it finds.
func TestDepartingServersAreFound(t *testing.T) {
	t.Parallel()
	found := map[string]bool{}
	for _, d := range slices.Concat(departingReceivers(), departingSenders()) {
		t.Run(d.name, func(t *testing.T) {
			peer := invitetest.NewServer(t, "peer.example")
			target := introduce(t, peer, d)
			checks := slices.DeleteFunc(invitetest.Checks(), func(c invitetest.Check) bool {
				return strings.HasPrefix(c.Name, "attack/") || !finds(d.checks, c.Name)
			})
			if len(checks) == 0 {
				t.Fatal("by no check")
			}
			for r := range invitetest.Results(t.Context(), target, checks...) {
				switch {
				case r.Outcome == invitetest.Departed && r.Detail != "":
					found[r.Name] = true
				case !slices.Contains(d.checks, r.Name) && r.Outcome == invitetest.Skipped:
				default:
					t.Error(r)
				}
			}
		})
	}
	for _, c := range invitetest.Checks() {
		if !found[c.Name] && !strings.HasPrefix(c.Name, "attack/") {
			t.Errorf("no server departs from %s", c.Name)
		}
	}
}

// That a server signs what is no invite is nothing for publication.
func TestWhatIsSignedIsNotPublished(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	target := introduce(t, peer, departing{wrap: signsAnything})
	var markdown bytes.Buffer
	results := slices.Collect(invitetest.Results(t.Context(), target, harmless()...))
	if err := invitetest.WriteMarkdown(&markdown, results); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(markdown.String()) {
		if strings.Contains(line, "answers 200 where") && !strings.Contains(line, "| [state/") && !strings.Contains(line, "| [body/") &&
			!strings.Contains(line, "| [receive/blocked]") || strings.Contains(line, "attack/") {
			t.Error(line)
		}
	}
	if !strings.Contains(markdown.String(), "receive/v11") {
		t.Error("nothing is published")
	}
}
