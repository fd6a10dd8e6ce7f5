package fedinvite_test

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	// README: imports
	"context"
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
// invite sends an invite of the draft's sender and returns the event for the room.
func invite(ctx context.Context, client *fedclient.Client, ring *keyring.Ring, signer fedinvite.Signer,
	version fedinvite.RoomVersion, draft fedinvite.Draft, state []*fedinvite.Event) (*fedinvite.Event, error) {
	rules, err := version.Rules()
	if err != nil {
		return nil, err
	}
	event, err := fedinvite.NewInvite(ctx, draft, rules, signer)
	if err != nil {
		return nil, err
	}
	reply, err := client.SendInvite(ctx, fedclient.InviteRequest{
		Event:     event,
		RoomState: fedinvite.SelectRoomState(state, 32<<10), // create event, name, …
		Signer:    signer,
		Keys:      ring,
	})
	if err != nil {
		return nil, fedclient.ClientError(err) // what the inviting user's client is told
	}
	return reply.Event, nil // with the invited server's signature, checked
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
	draft := benchDraft()
	draft.Invitee = "@bob:" + strings.TrimPrefix(server.URL, "https://")
	_, err = invite(t.Context(), client, ring, newSigner(t, benchInviter), fedinvite.RoomV11, draft, nil)
	var told *fedinvite.Error
	if !errors.As(err, &told) || told.Code != fedinvite.CodeInviteBlocked {
		t.Errorf("error %v, want what the client is told", err)
	}
}
