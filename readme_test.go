package fedinvite_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/eventauth"

	// README: imports
	"net/http"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// README: code
// inviteRoutes answers invites and key requests for the server that signer signs for.
func inviteRoutes(signer fedinvite.Signer, store fedinvite.Handler) (http.Handler, error) {
	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1.0"})
	if err != nil {
		return nil, err
	}
	local := keyring.Signers(signer)
	ring, err := keyring.New(keyring.Config{Fetcher: client, Now: time.Now, Local: local})
	if err != nil {
		return nil, err
	}
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      local.Signer,
		Keys:        ring,
		Credentials: xmatrix.Verifier{Keys: ring, Now: time.Now}.Credentials,
		Handler:     store, // gets invites that are checked and signed
	})
	if err != nil {
		return nil, err
	}
	keys, err := keyring.NewPublishHandler(keyring.PublishConfig{Local: local, Now: time.Now, Default: signer.ServerName()})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/_matrix/federation/v1/invite/", receiver)
	mux.Handle("/_matrix/federation/v2/invite/", receiver)
	mux.Handle("/_matrix/key/v2/server", keys)
	return mux, nil
}

// README: end

// README: send
// newInviter returns what invites in the name of our users, into the rooms of a store.
func newInviter(client *fedclient.Client, ring *keyring.Ring, local keyring.Local, rooms fedclient.Room) (*fedclient.Inviter, error) {
	return fedclient.NewInviter(fedclient.InviterConfig{
		Client: client,
		Keys:   ring,
		Signer: local.Signer,
		Room:   rooms, // Snapshot: some state events, the forward extremities, the depth
		Now:    time.Now,
	})
}

// invite has one user invite another and returns the event for the room.
func invite(ctx context.Context, inviter *fedclient.Inviter, roomID, sender, invitee string) (*fedinvite.Event, error) {
	invited, err := inviter.Invite(ctx, fedclient.Invitation{
		RoomID:  roomID,
		Sender:  sender,
		Invitee: invitee, // of another server or of ours
		Content: json.RawMessage(`{"reason":"Tea at five"}`),
	})
	if err != nil {
		return nil, fedclient.ClientError(err) // what the inviting user's client is told
	}
	return invited.Event, nil // signed by all who have to: store it and send it to the room
}

// README: end

// What the README shows must compile and be what is tested here.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	between := func(from, to string) string {
		_, text, found := strings.Cut(string(source), "\n"+from)
		text, _, end := strings.Cut(text, to)
		if !found || !end {
			t.Fatalf("readme_test.go has no part from %q to %q", from, to)
		}
		return text
	}
	end := "\n// README: " + "end\n"
	for _, want := range []string{
		"import (\n" + between("\t// README: imports\n", ")\n") + ")\n\n" + between("// README: code\n", end),
		between("// README: send\n", end),
	} {
		if !strings.Contains(string(readme), "```go\n"+want+"```\n") {
			t.Errorf("README.md does not have this Go block:\n%s", want)
		}
	}

	routes, err := inviteRoutes(newSigner(t, "b.example"), fedinvite.HandlerFunc(nil))
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/_matrix/key/v2/server":                  `"server_name":"b.example"`,
		"/_matrix/federation/v2/invite/!r:a/$e:a": `"errcode":"M_UNAUTHORIZED"`,
	} {
		method := http.MethodGet
		if strings.Contains(path, "invite") {
			method = http.MethodPut
		}
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("{}")))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s, want %s", path, w.Body, want)
		}
	}
}

// A tearoom is a store with one room, of one user.
type tearoom struct{ t *testing.T }

func (r tearoom) Snapshot(context.Context, string, []eventauth.StateKey) (*fedclient.Snapshot, error) {
	parse := func(raw string) *fedinvite.Event {
		rules := rulesOf(r.t, fedinvite.RoomV11)
		signed, err := fedinvite.SignEventJSON(r.t.Context(), []byte(raw), rules, newSigner(r.t, "a.example"))
		if err != nil {
			r.t.Fatal(err)
		}
		e, err := fedinvite.ParseEvent(signed, rules)
		if err != nil {
			r.t.Fatal(err)
		}
		return e
	}
	create := parse(`{"auth_events":[],"content":{"room_version":"11"},"depth":1,"origin_server_ts":1,"prev_events":[],` +
		`"room_id":"!tea:a.example","sender":"@alice:a.example","state_key":"","type":"m.room.create"}`)
	join := parse(`{"auth_events":["` + create.ID() + `"],"content":{"membership":"join"},"depth":2,"origin_server_ts":2,` +
		`"prev_events":["` + create.ID() + `"],"room_id":"!tea:a.example","sender":"@alice:a.example","state_key":"@alice:a.example","type":"m.room.member"}`)
	return &fedclient.Snapshot{
		Version: fedinvite.RoomV11, State: eventauth.State{create, join}, Extremities: []fedinvite.EventRef{join.Ref()}, Depth: 2,
	}, nil
}

func TestREADMESend(t *testing.T) {
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		_, _ = io.WriteString(w, `{"errcode":"M_INVITE_BLOCKED","error":"no"}`)
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	client, err := fedclient.New(fedclient.Config{UserAgent: "test/1", Transport: fedclient.NewDirect(&tls.Config{RootCAs: roots})})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.New(keyring.Config{Fetcher: client, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	local := keyring.Signers(newSigner(t, "a.example"))
	inviter, err := newInviter(client, ring, local, tearoom{t})
	if err != nil {
		t.Fatal(err)
	}
	_, err = invite(t.Context(), inviter, "!tea:a.example", "@alice:a.example", "@bob:"+strings.TrimPrefix(server.URL, "https://"))
	var told *fedinvite.Error
	if !errors.As(err, &told) || told.Code != fedinvite.CodeInviteBlocked {
		t.Errorf("error %v, want what the client is told", err)
	}
}
