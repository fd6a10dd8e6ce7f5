package fedclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

const unrecognized = `{"errcode":"M_UNRECOGNIZED","error":"no"}`

func TestInvitesOfEveryRoomVersion(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		t.Run(string(version), func(t *testing.T) {
			p := newPeer(t, version, nil, nil)
			reply, err := p.send()
			p.accepted(reply, err)
			p.asked("v2")
			if reply.V1 {
				t.Error("V1 is set")
			}
		})
	}
}

func TestScenario45UnknownEndpointFallsBackToV1(t *testing.T) {
	for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV2} {
		for _, status := range []int{400, 404, 405} {
			p := newPeer(t, version, saysJSON(status, unrecognized), nil)
			reply, err := p.send()
			p.accepted(reply, err)
			p.asked("v2", "v1")
			if !reply.V1 {
				t.Error("V1 is not set")
			}
		}
	}
}

func TestV1RequestCarriesTheRoomState(t *testing.T) {
	p := newPeer(t, fedinvite.RoomV1, nil, nil)
	p.Break(invitetest.OnlyV1)
	p.room.Name("n")
	reply, err := p.send()
	p.accepted(reply, err)
	if name, ok := p.Invites()[0].RoomState.Get("m.room.name", ""); !ok || string(name.Content) != `{"name":"n"}` {
		t.Errorf("got %+v", name)
	}
}

func TestScenario46UnknownEndpointForALaterVersion(t *testing.T) {
	for _, version := range fedinvite.RoomVersions()[2:] {
		for _, always := range []bool{false, true} {
			p := newPeer(t, version, saysJSON(404, unrecognized), nil, func(c *fedclient.Config) { c.FallbackAlways = always })
			_, err := p.send()
			p.asked("v2")
			var remote *fedclient.RemoteError
			if !errors.Is(err, fedclient.ErrOldServer) || !errors.As(err, &remote) || fedclient.Retryable(err) {
				t.Fatalf("%s: got %v", version, err)
			}
			told(t, err, 400, fedinvite.CodeUnsupportedRoomVersion)
		}
	}
}

func TestScenario47OtherRefusalsFallBackOnlyIfAskedTo(t *testing.T) {
	for _, c := range []struct {
		status    int
		body      string
		specFalls bool
	}{
		{404, `{"errcode":"M_NOT_FOUND","error":"no such room"}`, true},
		{400, `{"errcode":"M_INVALID_PARAM","error":"no"}`, true},
		{400, ``, true},
		{403, `{"errcode":"M_FORBIDDEN","error":"no"}`, false},
		{405, `{"errcode":"M_FORBIDDEN","error":"no"}`, false},
		{401, `{"errcode":"M_UNRECOGNIZED","error":"no"}`, false},
		{500, ``, false},
	} {
		p := newPeer(t, fedinvite.RoomV1, saysJSON(c.status, c.body), nil)
		_, err := p.send()
		var remote *fedclient.RemoteError
		if !errors.As(err, &remote) || remote.Status != c.status {
			t.Errorf("%d %s: got %v", c.status, c.body, err)
		}
		p.asked("v2")

		p = newPeer(t, fedinvite.RoomV2, saysJSON(c.status, c.body), nil, func(c *fedclient.Config) { c.FallbackAlways = true })
		reply, err := p.send()
		if c.specFalls {
			p.accepted(reply, err)
			p.asked("v2", "v1")
		} else {
			p.asked("v2")
		}

		p = newPeer(t, fedinvite.RoomV10, saysJSON(c.status, c.body), nil, func(c *fedclient.Config) { c.FallbackAlways = true })
		if _, err := p.send(); !errors.As(err, &remote) {
			t.Errorf("%d %s in version 10: got %v", c.status, c.body, err)
		}
		p.asked("v2")
	}
}

func TestScenario48UnknownEndpointAsOldServersSayIt(t *testing.T) {
	for _, says := range []http.Handler{
		says(405, "text/plain", ""),
		says(404, "text/html", "<h1>404</h1>"),
		says(404, "application/json", `{"error":"no"}`),
		says(404, "application/json", `"M_NOT_FOUND"`),
		says(404, "text/plain", strings.Repeat("x", 1<<20)),
	} {
		p := newPeer(t, fedinvite.RoomV1, says, nil)
		reply, err := p.send()
		p.accepted(reply, err)
		p.asked("v2", "v1")
	}
}

func TestARefusalByV1IsTheRefusal(t *testing.T) {
	p := newPeer(t, fedinvite.RoomV1, saysJSON(404, unrecognized), saysJSON(403, `{"errcode":"M_FORBIDDEN","error":"go away"}`))
	_, err := p.send()
	p.asked("v2", "v1")
	if e := told(t, err, 403, fedinvite.CodeForbidden); e.Message != "go away" {
		t.Errorf("got %q", e.Message)
	}
}

func TestScenario49RefusalsThatPass(t *testing.T) {
	for _, c := range []struct {
		status int
		code   fedinvite.Code
	}{
		{403, fedinvite.CodeInviteBlocked},
		{403, fedinvite.CodeForbidden},
		{400, fedinvite.CodeIncompatibleRoomVersion},
		{400, fedinvite.CodeUnsupportedRoomVersion},
	} {
		p := newPeer(t, fedinvite.RoomV10, saysJSON(c.status, `{"errcode":"`+string(c.code)+`","error":"why","room_version":"666"}`), nil)
		_, err := p.send()
		p.asked("v2")
		e := told(t, err, c.status, c.code)
		if e.Message != "why" || fedclient.Retryable(err) {
			t.Errorf("%s: %q", c.code, e.Message)
		}
		if c.code == fedinvite.CodeIncompatibleRoomVersion && e.RoomVersion != fedinvite.RoomV10 {
			t.Errorf("room version %q", e.RoomVersion)
		}
	}
}

func TestScenario50OurMistakesAreNotTheClients(t *testing.T) {
	for _, code := range []fedinvite.Code{fedinvite.CodeInvalidParam, fedinvite.CodeMissingParam} {
		p := newPeer(t, fedinvite.RoomV10, saysJSON(400, `{"errcode":"`+string(code)+`","error":"why"}`), nil)
		_, err := p.send()
		if fedclient.Retryable(err) {
			t.Error("retryable")
		}
		told(t, err, 502, fedinvite.CodeUnknown)
	}
}

func TestScenario51SessionCodesDoNotPass(t *testing.T) {
	p := newPeer(t, fedinvite.RoomV10, saysJSON(401, `{"errcode":"M_UNKNOWN_TOKEN","error":"why","soft_logout":false}`), nil)
	_, err := p.send()
	e := told(t, err, 502, fedinvite.CodeUnknown)
	if body, _ := e.MarshalJSON(); strings.Contains(string(body), "TOKEN") {
		t.Errorf("leaked: %s", body)
	}
}

func TestScenario52OverloadAndOutage(t *testing.T) {
	for _, c := range []struct {
		says http.Handler
		wait time.Duration
	}{
		{saysJSON(429, `{"errcode":"M_LIMIT_EXCEEDED","error":"slow down","retry_after_ms":1500}`), 1500 * time.Millisecond},
		{saysJSON(500, `{"errcode":"M_FORBIDDEN","error":"broken"}`), 0},
		{says(502, "text/html", `<h1>bad gateway</h1>`), 0},
	} {
		p := newPeer(t, fedinvite.RoomV1, c.says, nil)
		_, err := p.send()
		p.asked("v2")
		var remote *fedclient.RemoteError
		if !errors.As(err, &remote) || remote.RetryAfter != c.wait || !fedclient.Retryable(err) {
			t.Errorf("got %v", err)
		}
		told(t, err, 502, fedinvite.CodeUnknown)
	}

	p := newPeer(t, fedinvite.RoomV1, nil, nil, func(c *fedclient.Config) {
		c.Transport = tripper(func(*http.Request) (*http.Response, error) { return nil, io.ErrUnexpectedEOF })
	})
	_, err := p.send()
	if !errors.Is(err, fedclient.ErrUnreachable) || !errors.Is(err, io.ErrUnexpectedEOF) || !fedclient.Retryable(err) {
		t.Errorf("got %v", err)
	}
	told(t, err, 502, fedinvite.CodeUnknown)
}

func TestScenario52Timeout(t *testing.T) {
	us, rules := invitetest.Signer("a.ex"), rulesOf(t, fedinvite.RoomV1)
	synctest.Test(t, func(t *testing.T) {
		// v2 says nothing for 59 seconds and then 404; v1 gets the second that is left.
		client := newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
			if strings.Contains(r.URL.Path, "/v2/") {
				time.Sleep(59 * time.Second)
				return response(404, nil, ""), nil
			}
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		began := time.Now()
		_, err := client.SendInvite(t.Context(), fedclient.InviteRequest{
			Event: inviteFor("@b:b.ex", us, rules), Signer: us, Keys: fedinvite.KeyMap{},
		})
		if !errors.Is(err, fedclient.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || !fedclient.Retryable(err) {
			t.Errorf("got %v", err)
		}
		if d := time.Since(began); d != time.Minute {
			t.Errorf("after %v", d)
		}
		told(t, err, 502, fedinvite.CodeUnknown)
	})
}

func TestScenario53ReplyWithoutAValidSignature(t *testing.T) {
	for name, signatures := range map[string]func(p *peer) any{
		"unsigned":      func(*peer) any { return nil },
		"bad signature": func(*peer) any { return invitetest.Object{"ed25519:1": strings.Repeat("A", 86)} },
		"unknown key":   func(*peer) any { return invitetest.Object{"ed25519:2": strings.Repeat("A", 86)} },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, fedinvite.RoomV10, nil, nil)
			replies(p, func(event json.RawMessage) json.RawMessage {
				return invitetest.Change(event, invitetest.Set(signatures(p), "signatures", string(p.Name())))
			})
			unusable(t, p, fedinvite.ErrSignature)
		})
	}
}

func TestScenario54ReplyThatChangesTheEvent(t *testing.T) {
	for name, change := range map[string]invitetest.Edit{
		"content":  invitetest.Set("x", "content", "displayname"),
		"depth":    invitetest.Set(8, "depth"),
		"event_id": invitetest.Set("$x:a.ex", "event_id"),
		"a member": invitetest.Set(1, "x"),
		"less":     invitetest.Drop("prev_events"),
	} {
		for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV11} {
			t.Run(name+" in version "+string(version), func(t *testing.T) {
				p := newPeer(t, version, nil, nil)
				replies(p, func(event json.RawMessage) json.RawMessage { return p.sign(invitetest.Change(event, change)) })
				unusable(t, p, fedinvite.ErrMismatch)
				replies(p, func(event json.RawMessage) json.RawMessage { return invitetest.Change(p.sign(event), change) })
				unusable(t, p, fedinvite.ErrMismatch)
			})
		}
	}
}

func TestScenario55ReplyIsAnotherEventOfOurs(t *testing.T) {
	p := newPeer(t, fedinvite.RoomV11, nil, nil)
	other := invitetest.NewRoom(fedinvite.RoomV11, "@a:a.ex").Invite("@b:" + string(p.Name()))
	replies(p, func(json.RawMessage) json.RawMessage { return p.sign(other.AppendJSON(nil)) })
	unusable(t, p, fedinvite.ErrMismatch)
}

func TestScenario56OnlyTheInvitedServersSignatureIsTaken(t *testing.T) {
	p := newPeer(t, fedinvite.RoomV11, nil, nil)
	forged := strings.Repeat("A", 86)
	replies(p, func(event json.RawMessage) json.RawMessage {
		return invitetest.Change(p.sign(event), invitetest.Set(forged, "signatures", "a.ex", "ed25519:1"), invitetest.Set(forged, "signatures", "c.ex", "ed25519:1"))
	})
	reply, err := p.send()
	p.accepted(reply, err)
	if text := string(reply.Event.AppendJSON(nil)); strings.Contains(text, "c.ex") {
		t.Errorf("got %s", text)
	}
}

func TestScenario57ReplyWithOtherUnsigned(t *testing.T) {
	p := newPeer(t, fedinvite.RoomV11, nil, nil)
	replies(p, func(event json.RawMessage) json.RawMessage {
		return invitetest.Change(p.sign(event), invitetest.Set(invitetest.Object{"age": 5, "invite_room_state": []any{}}, "unsigned"))
	})
	reply, err := p.send()
	p.accepted(reply, err)
}

func TestScenario58V1RepliesOfTheWrongShape(t *testing.T) {
	for name, v1 := range map[string]string{
		"bare":               `{"event":{}}`,
		"[200]":              `[200]`,
		"[200,{},1]":         `[200,{},1]`,
		"[200,{}]":           `[200,{}]`,
		"[403,{}]":           `[403,{}]`,
		"[200,{event:null}]": `[200,{"event":null}]`,
		"[]":                 `[]`,
		"nothing":            ``,
		"duplicate keys":     `[200,{"event":{},"event":{}}]`,
	} {
		t.Run(name, func(t *testing.T) {
			unusable(t, newPeer(t, fedinvite.RoomV1, saysJSON(404, unrecognized), saysJSON(200, v1)), fedclient.ErrReply)
		})
	}
	t.Run("v1 shape from the v2 endpoint", func(t *testing.T) {
		unusable(t, newPeer(t, fedinvite.RoomV10, saysJSON(200, `[200,{"event":{}}]`), nil), fedinvite.ErrBadJSON)
	})
}

// The server that holds the keys is the one that was invited: what it says when
// asked for them is not its answer to the invite.
func TestKeysThatCannotBeHadAreNoRefusal(t *testing.T) {
	for _, status := range []int{403, 404} {
		p := newPeer(t, fedinvite.RoomV10, nil, nil)
		r := p.request()
		r.Keys = brokenKeys{&fedclient.RemoteError{Server: "b.ex", Status: status, Code: fedinvite.CodeForbidden}}
		_, err := p.client.SendInvite(t.Context(), r)
		if !errors.Is(err, fedclient.ErrReply) || !errors.Is(err, fedinvite.ErrKeysUnavailable) || !fedclient.Retryable(err) {
			t.Errorf("got %v", err)
		}
		p.asked("v2")
		told(t, err, 502, fedinvite.CodeUnknown)
	}
}

// What a KeySource says is no JSON is not the reply, which is not read twice for it.
func TestKeysThatAreNoJSONAreAskedForOnce(t *testing.T) {
	p := newPeer(t, fedinvite.RoomV10, nil, nil)
	r := p.request()
	asked := 0
	r.Keys = keysOf(func() { asked++ }, brokenKeys{fmt.Errorf("key document: %w", fedinvite.ErrNotJSON)})
	_, err := p.client.SendInvite(t.Context(), r)
	if !errors.Is(err, fedinvite.ErrKeysUnavailable) || asked != 1 {
		t.Errorf("asked %d times, got %v", asked, err)
	}
}

// As of an Inviter: a Signer that asks others is not the invited server.
func TestWhatTheSignerOfAnInviteSaysIsNoAnswer(t *testing.T) {
	p := newPeer(t, fedinvite.RoomV1, nil, nil)
	for _, refusal := range []*fedclient.RemoteError{
		{Server: "hsm.ex", Status: 503}, {Server: "hsm.ex", Status: 403, Code: "M_FORBIDDEN"}, {Server: "hsm.ex", Status: 404, Code: "M_UNRECOGNIZED"},
	} {
		r := p.request()
		r.Signer = failingSigner{r.Signer, refusal}
		_, err := p.client.SendInvite(t.Context(), r)
		if !errors.Is(err, refusal) || fedclient.Retryable(err) {
			t.Errorf("got %v", err)
		}
		told(t, err, 500, fedinvite.CodeUnknown)
		_, err = p.client.Do(t.Context(), fedclient.Request{Method: "GET", Destination: "b.ex", Path: []string{"x"}, Signer: r.Signer})
		if !errors.Is(err, refusal) || fedclient.Retryable(err) {
			t.Errorf("got %v", err)
		}
	}
	p.asked()
}

type brokenKeys struct{ err error }

func (k brokenKeys) VerifyKey(context.Context, fedinvite.ServerName, fedinvite.KeyID, time.Time) (fedinvite.VerifyKey, error) {
	return fedinvite.VerifyKey{}, k.err
}

func TestInvitesThatAreNotSent(t *testing.T) {
	us, rules := invitetest.Signer("a.ex"), rulesOf(t, fedinvite.RoomV11)
	good := inviteFor("@b:b.ex", us, rules)
	unasked := tripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, io.EOF
	})
	keys := fedinvite.KeyMap{}
	for name, c := range map[string]struct {
		r    fedclient.InviteRequest
		want error
	}{
		"no event":                 {fedclient.InviteRequest{Signer: us, Keys: keys}, nil},
		"no signer":                {fedclient.InviteRequest{Event: good, Keys: keys}, nil},
		"no keys":                  {fedclient.InviteRequest{Event: good, Signer: us}, nil},
		"a signer of another host": {fedclient.InviteRequest{Event: good, Signer: invitetest.Signer("c.ex"), Keys: keys}, fedinvite.ErrOrigin},
		"an invitee of ours":       {fedclient.InviteRequest{Event: inviteFor("@b:a.ex", us, rules), Signer: us, Keys: keys}, fedinvite.ErrOrigin},
		"room state of no JSON":    {fedclient.InviteRequest{Event: good, Signer: us, Keys: keys, RoomState: []json.RawMessage{[]byte("{")}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := newClient(t, unasked).SendInvite(t.Context(), c.r)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v", err)
			}
			told(t, err, 500, fedinvite.CodeUnknown)
		})
	}
}

func rulesOf(t testing.TB, version fedinvite.RoomVersion) fedinvite.Rules {
	t.Helper()
	rules, err := version.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// told demands what the inviting user's client is told.
func told(t *testing.T, err error, status int, code fedinvite.Code) *fedinvite.Error {
	t.Helper()
	e := fedclient.ClientError(err)
	if e == nil {
		t.Fatal("no error")
	}
	if e.HTTPStatus() != status || e.Code != code || !errors.Is(e, err) {
		t.Errorf("the client is told %d %s (%v), want %d %s", e.HTTPStatus(), e.Code, e, status, code)
	}
	return e
}

// unusable demands that the peer's reply is refused.
func unusable(t *testing.T, p *peer, want error) {
	t.Helper()
	reply, err := p.send()
	if !errors.Is(err, fedclient.ErrReply) || !errors.Is(err, want) || reply.Event != nil || fedclient.Retryable(err) {
		t.Errorf("got %v, %v, want %v", reply, err, want)
	}
	if err != nil {
		told(t, err, 502, fedinvite.CodeUnknown)
	}
}
