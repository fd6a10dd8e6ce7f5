package routers

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/go-chi/chi/v5"
	"github.com/gorilla/mux"
	"github.com/julienschmidt/httprouter"
	"github.com/labstack/echo/v4"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

const (
	v1 = "/_matrix/federation/v1/invite/"
	v2 = "/_matrix/federation/v2/invite/"
)

// routers mount the Receiver in the way that is right for each. Most match paths
// that are unescaped already, in which an event ID of room version 3 may have more
// slashes than the pattern, so they get the whole subtree.
var routers = map[string]func(rc http.Handler) http.Handler{
	"none": func(rc http.Handler) http.Handler { return rc },
	"ServeMux, subtree": func(rc http.Handler) http.Handler {
		m := http.NewServeMux()
		m.Handle(v1, rc)
		m.Handle(v2, rc)
		return m
	},
	"ServeMux, pattern": func(rc http.Handler) http.Handler {
		m := http.NewServeMux()
		m.Handle("PUT "+v1+"{roomId}/{eventId}", rc)
		m.Handle("PUT "+v2+"{roomId}/{eventId}", rc)
		return m
	},
	"StripPrefix": func(rc http.Handler) http.Handler {
		m := http.NewServeMux()
		m.Handle("/_matrix/", http.StripPrefix("/_matrix/federation", rc))
		return m
	},
	"chi": func(rc http.Handler) http.Handler {
		m := chi.NewRouter()
		m.Handle(v1+"*", rc)
		m.Handle(v2+"*", rc)
		return m
	},
	"gorilla": func(rc http.Handler) http.Handler {
		m := mux.NewRouter().UseEncodedPath().SkipClean(true)
		m.PathPrefix(v1).Handler(rc)
		m.PathPrefix(v2).Handler(rc)
		return m
	},
	"gin": func(rc http.Handler) http.Handler {
		gin.SetMode(gin.ReleaseMode)
		m := gin.New()
		m.PUT(v1+"*rest", gin.WrapH(rc))
		m.PUT(v2+"*rest", gin.WrapH(rc))
		return m
	},
	"echo": func(rc http.Handler) http.Handler {
		m := echo.New()
		m.PUT(v1+"*", echo.WrapHandler(rc))
		m.PUT(v2+"*", echo.WrapHandler(rc))
		return m
	},
	"httprouter": func(rc http.Handler) http.Handler {
		m := httprouter.New()
		m.Handler(http.MethodPut, v1+"*rest", rc)
		m.Handler(http.MethodPut, v2+"*rest", rc)
		return m
	},
}

// Scenario 27: mounted under any router, whatever is in the event ID: 200. Others'
// paths: not ours.
func TestPlumbing27Routers(t *testing.T) {
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
	invites := []*fedinvite.Event{
		newInvite(t, a, fedinvite.RoomV1, func(string) bool { return true }),
		newInvite(t, a, fedinvite.RoomV3, func(id string) bool { return strings.Contains(id, "/") && strings.Contains(id, "+") }),
		newInvite(t, a, fedinvite.RoomV3, func(id string) bool { return strings.HasPrefix(id, "$/") }),
		newInvite(t, a, fedinvite.RoomV11, func(string) bool { return true }),
	}
	for name, mount := range routers {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(mount(receiver))
			defer server.Close()
			for _, e := range invites {
				if status, body := send(t, server.URL, a, e); status != http.StatusOK || !strings.Contains(body, `"b.example":{"ed25519:1"`) {
					t.Errorf("%s: %d %s", e.ID(), status, body)
				}
			}
		})
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
			Depth: depth, Time: time.Now(),
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
