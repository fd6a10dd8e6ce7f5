package invitetest_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// newReceiver returns a Receiver of b.example that accepts all that is right by the
// strictest rules.
func newReceiver(t testing.TB) *fedinvite.Receiver {
	t.Helper()
	keys := invitetest.Keys("a.example", "b.example")
	r, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      keyring.Signers(invitetest.Signer("b.example")).Signer,
		Keys:        keys,
		Handler:     fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
		Credentials: xmatrix.Verifier{Keys: keys, Now: clock}.Credentials,
		RoomState:   fedinvite.StateStrict,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serve has the receiver answer and returns status and errcode.
func serve(t testing.TB, r http.Handler, req *http.Request) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	var body struct{ Errcode string }
	if strings.HasPrefix(w.Body.String(), "{") {
		if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
			t.Fatal(err)
		}
	}
	return w.Code, body.Errcode
}

func TestRequestsAreAcceptedInEveryRoomVersion(t *testing.T) {
	receiver := newReceiver(t)
	accepted := func(what string, q invitetest.Request) {
		t.Helper()
		if status, code := serve(t, receiver, q.Inbound(t.Context())); status != http.StatusOK {
			t.Errorf("%s: %d %s", what, status, code)
		}
		d, err := q.Delivery()
		if err != nil {
			t.Fatal(err)
		}
		inv, err := receiver.Check(t.Context(), d)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		name, _ := inv.RoomState.Get("m.room.name", "")
		if string(name.Content) != `{"name":"<Tea>"}` || !name.Verified {
			t.Errorf("%s: the name is %+v", what, name)
		}
	}
	for _, v := range fedinvite.RoomVersions() {
		r := quietRoom(v)
		r.Name("<Tea>")
		invite := r.Invite(bob)
		accepted("version "+string(v), r.Request(invite, "b.example"))
		accepted("JSON, version "+string(v), r.Request(json.RawMessage(invite.AppendJSON(nil)), "b.example"))
		accepted("bytes, version "+string(v), r.Request(invite.AppendJSON(nil), "b.example"))
		if v == fedinvite.RoomV1 || v == fedinvite.RoomV2 {
			accepted("v1 endpoint, version "+string(v), r.RequestV1(invite, "b.example"))
		}
	}
}

func TestRequestsAreWhatTheTestSays(t *testing.T) {
	r := quietRoom(fedinvite.RoomV11)
	invite := r.Invite(bob)
	receiver := newReceiver(t)
	from := func(s fedinvite.Signer) invitetest.Request {
		q := r.Request(invite, "b.example")
		q.From = s
		return q
	}
	for _, c := range []struct {
		name    string
		request invitetest.Request
		status  int
		code    string
	}{
		{"no Authorization", from(nil), 401, "M_UNAUTHORIZED"},
		{"from another server", from(invitetest.Signer("b.example")), 400, "M_INVALID_PARAM"},
		{"signed by another key", from(invitetest.SignerWithKey("a.example", "ed25519:2")), 401, "M_UNAUTHORIZED"},
		{"to another server", r.Request(invite, "c.example"), 401, "M_UNAUTHORIZED"},
		{"no room state", r.RequestWithState(invite, "b.example", nil), 400, "M_INVALID_PARAM"},
		{"room state that is no JSON", r.RequestWithState(invite, "b.example", json.RawMessage("[")), 400, "M_NOT_JSON"},
		{"an event that is no JSON", r.Request(json.RawMessage("{"), "b.example"), 400, "M_NOT_JSON"},
		{"duplicate keys", r.Request(json.RawMessage(`{"type":1,"type":2}`), "b.example"), 400, "M_BAD_JSON"},
		{"a body of its own", r.RequestWithBody(invite, "b.example", []byte("[]")), 400, "M_BAD_JSON"},
		{"no body", r.RequestWithBody(nil, "b.example", nil), 400, "M_NOT_JSON"},
		{"v1 endpoint", r.RequestV1(invite, "b.example"), 400, "M_INVALID_PARAM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			status, code := serve(t, receiver, c.request.Inbound(t.Context()))
			if status != c.status || code != c.code {
				t.Errorf("answer %d %s, want %d %s", status, code, c.status, c.code)
			}
		})
	}
	noJSON := r.RequestWithBody(invite, "b.example", []byte("[")).Inbound(t.Context())
	signed := noJSON.Header.Get("Authorization")
	if err := xmatrix.Sign(t.Context(), noJSON, nil, "b.example", invitetest.Signer("a.example")); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(noJSON.Header.Get("Authorization"), signed); diff != "" {
		t.Errorf("signature of a body that nobody can sign, -none +got:\n%s", diff)
	}
	if d, err := from(nil).Delivery(); err != nil || d.Origin != "" {
		t.Errorf("the origin of nobody is %q: %v", d.Origin, err)
	}
	if _, err := r.RequestWithBody(invite, "b.example", []byte("[]")).Delivery(); err == nil {
		t.Error("a body that cannot be read is delivered")
	}
}

// IDs go escaped into the path, by HTTP as well.
func TestRequestPath(t *testing.T) {
	r := invitetest.RoomConfig{Version: fedinvite.RoomV1, Creator: alice, Seed: "a/+%?"}.New()
	q := r.RequestV1(r.Invite(bob, invitetest.Set("$x/y+%?:a.example", "event_id")), "b.example")
	const path = "/_matrix/federation/v1/invite/%21a%2F+%25%3F:a.example/$x%2Fy+%25%3F:a.example"
	var seen string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil || string(body) != string(q.Body) || req.Method != http.MethodPut {
			t.Errorf("%s, body %s, %v", req.Method, body, err)
		}
		seen = req.RequestURI
		w.Header().Set("X-Status", "200")
	}))
	defer server.Close()
	resp, err := server.Client().Do(q.HTTP(t.Context(), server.URL))
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil {
		t.Fatal(err)
	}
	for what, got := range map[string]string{"Path": q.Path(), "HTTP": seen, "Inbound": q.Inbound(t.Context()).RequestURI} {
		if diff := cmp.Diff(path, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}
