package routers

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

const (
	v1 = "/_matrix/federation/v1/invite/"
	v2 = "/_matrix/federation/v2/invite/"
)

// routers mount the Receiver in the way that is right for each.
var routers = map[string]func(receiver http.Handler) http.Handler{
	"none":              func(receiver http.Handler) http.Handler { return receiver },
	"ServeMux, subtree": mountServeMux,
	"ServeMux, pattern": mountServeMuxPattern,
	"StripPrefix":       mountStripPrefix,
	"chi":               mountChi,
	"chi, sub-router":   mountChiRoute,
	"chi, cleaning":     mountChiCleanPath,
	"gorilla":           mountGorilla,
	"gin":               mountGin,
	"echo":              mountEcho,
	"echo, parameters":  mountEchoParameters,
	"httprouter":        mountHTTPRouter,
}

// wrong are ways in which it must not be mounted, though ordinary invites get through.
var wrong = map[string]func(receiver http.Handler) http.Handler{
	"gorilla, cleaning":      mountGorillaPlain,
	"gorilla, variables":     mountGorillaVariables,
	"gin, parameters":        mountGinParameters,
	"httprouter, parameters": mountHTTPRouterParameters,
}

// These routers answer other methods themselves, and not with the JSON of a Matrix error.
var answersMethods = map[string]bool{"ServeMux, pattern": true, "echo, parameters": true, "httprouter": true}

// Scenario 27: mounted under any router, whatever is in the event ID: 200.
func TestPlumbing27Routers(t *testing.T) {
	receiver, a := newReceiver(t)
	for name, mount := range routers {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(mount(receiver))
			defer server.Close()
			for _, e := range slices.Concat(ordinaryInvites(t, a), slashedInvites(t, a)) {
				if status, body := send(t, server.URL, a, e); status != http.StatusOK || !strings.Contains(body, `"b.example":{"ed25519:1"`) {
					t.Errorf("%s: %d %s", e.ID(), status, body)
				}
			}
		})
	}
}

// What the book warns of does fail, and goes unnoticed until the first such event ID.
func TestWrongWaysOfMounting(t *testing.T) {
	receiver, a := newReceiver(t)
	for name, mount := range wrong {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(mount(receiver))
			defer server.Close()
			for _, e := range ordinaryInvites(t, a) {
				if status, body := send(t, server.URL, a, e); status != http.StatusOK {
					t.Errorf("%s: %d %s", e.ID(), status, body)
				}
			}
			refused := 0
			for _, e := range slashedInvites(t, a) {
				if status, _ := send(t, server.URL, a, e); status != http.StatusOK {
					refused++
				}
			}
			if refused == 0 {
				t.Error("all invites were accepted")
			}
		})
	}
}

func TestOtherMethodsGetAMatrixError(t *testing.T) {
	receiver, _ := newReceiver(t)
	for name, mount := range routers {
		r := httptest.NewRequest(http.MethodGet, v2+"!room:a.example/$event", nil)
		w := httptest.NewRecorder()
		mount(receiver).ServeHTTP(w, r)
		if got := strings.Contains(w.Body.String(), "M_UNRECOGNIZED"); got == answersMethods[name] || w.Code != http.StatusMethodNotAllowed {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
}

// newReceiver returns the Receiver of b.example and the signer of a.example.
func newReceiver(t *testing.T) (*fedinvite.Receiver, fedinvite.Signer) {
	t.Helper()
	a, b := newSigner(t, "a.example"), newSigner(t, "b.example")
	keys := fedinvite.KeyMap{}
	keys.Add(a)
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return b, nil },
		Keys:        keys,
		Handler:     fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
		Credentials: xmatrix.Verifier{Keys: keys, Now: time.Now}.Credentials,
	})
	if err != nil {
		t.Fatal(err)
	}
	return receiver, a
}

// ordinaryInvites have event IDs that every router takes.
func ordinaryInvites(t *testing.T, s fedinvite.Signer) []*fedinvite.Event {
	t.Helper()
	return []*fedinvite.Event{
		newInvite(t, s, fedinvite.RoomV3, func(id string) bool { return !strings.ContainsAny(id, "/+") }),
		newInvite(t, s, fedinvite.RoomV11, func(string) bool { return true }),
	}
}

// slashedInvites have event IDs with slashes and more, as room versions 1–3 have them.
func slashedInvites(t *testing.T, s fedinvite.Signer) []*fedinvite.Event {
	t.Helper()
	return []*fedinvite.Event{
		newInvite(t, s, fedinvite.RoomV1, func(string) bool { return true }),
		newInvite(t, s, fedinvite.RoomV3, func(id string) bool { return strings.Contains(id, "/") && strings.Contains(id, "+") }),
		newInvite(t, s, fedinvite.RoomV3, func(id string) bool { return strings.HasPrefix(id, "$/") }),
		newInvite(t, s, fedinvite.RoomV3, func(id string) bool { return strings.Contains(id, "//") }),
	}
}

func newSigner(t *testing.T, name fedinvite.ServerName) fedinvite.Signer {
	t.Helper()
	s, err := fedinvite.NewSigner(name, "ed25519:1", ed25519.NewKeyFromSeed(bytes.Repeat([]byte(name[:1]), ed25519.SeedSize)))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// newInvite returns an invite with an ID as wanted.
func newInvite(t *testing.T, s fedinvite.Signer, v fedinvite.RoomVersion, wanted func(id string) bool) *fedinvite.Event {
	t.Helper()
	rules, err := v.Rules()
	if err != nil {
		t.Fatal(err)
	}
	for depth := range int64(100_000) {
		e, err := fedinvite.NewInvite(t.Context(), fedinvite.Draft{
			RoomID: "!room:a.example", Sender: "@alice:a.example", Invitee: "@bob:b.example",
			Depth: depth, Time: time.Now(), EventID: eventID(v),
		}, rules, s)
		if err != nil {
			t.Fatal(err)
		}
		if wanted(e.ID()) {
			return e
		}
	}
	t.Fatal("no such event ID")
	return nil
}

// eventID is an ID that the server may choose in the first two room versions.
func eventID(v fedinvite.RoomVersion) string {
	if v == fedinvite.RoomV1 {
		return "$a/..//b%2F?c#d e:a.example"
	}
	return ""
}

func send(t *testing.T, base string, s fedinvite.Signer, e *fedinvite.Event) (status int, body string) {
	t.Helper()
	payload, err := fedinvite.Request{RoomVersion: e.Rules().Version, Event: e.AppendJSON(nil)}.MarshalV2()
	if err != nil {
		t.Fatal(err)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut,
		base+v2+url.PathEscape(e.RoomID())+"/"+url.PathEscape(e.ID()), bytes.NewReader(payload))
	if err != nil {
		t.Fatal(err)
	}
	if err := xmatrix.Sign(t.Context(), req, payload, "b.example", s); err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res.StatusCode, string(b)
}
