package fedinvite_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/policy"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"

	// README: imports
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// README: code
// inviteRoutes answers invites and key requests for the server that signer signs for.
// client asks other servers for their keys.
func inviteRoutes(signer fedinvite.Signer, store fedinvite.Handler, client *fedclient.Client) (http.Handler, error) {
	local := keyring.Signers(signer)
	ring, err := keyring.New(keyring.Config{Fetcher: client, Local: local})
	if err != nil {
		return nil, err
	}
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      local.Signer,
		Keys:        ring,
		Credentials: xmatrix.Verifier{Keys: ring}.Credentials,
		Handler:     store, // gets invites that are checked and signed
	})
	if err != nil {
		return nil, err
	}
	keys, err := keyring.NewPublishHandler(keyring.PublishConfig{Local: local, Default: signer.ServerName()})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/_matrix/key/v2/server", keys)
	mux.Handle("/_matrix/", receiver) // v1 and v2; for what is nowhere 404 M_UNRECOGNIZED
	return mux, nil
}

// README: end

// README: test
func TestBobIsInvited(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example") // another homeserver, on loopback

	var stored *fedinvite.Invite
	store := fedinvite.HandlerFunc(func(_ context.Context, inv *fedinvite.Invite) error {
		stored = inv
		return nil
	})
	mine, err := inviteRoutes(invitetest.Signer("mine.example"), store, peer.Client())
	if err != nil {
		t.Fatal(err)
	}
	peer.Introduce("mine.example", mine) // any http.Handler

	room := peer.NewRoom(fedinvite.RoomV12, "@alice:peer.example")
	invite, err := peer.Invite(t.Context(), room, "@bob:mine.example")
	if err != nil {
		t.Fatal(err)
	}
	if stored == nil || stored.Event.ID() != invite.ID() {
		t.Errorf("stored: %+v", stored)
	}
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

// README: reach
// reach returns what finds other servers, connects to them and knows their keys. It is
// for the whole process: connections, keys and failures are remembered in it.
func reach(local keyring.Local, store keyring.Store, notaries ...keyring.Notary) (*fedclient.Client, *keyring.Ring, error) {
	transport, err := discovery.New(discovery.Config{
		UserAgent: "example/1.0",
		Deny:      []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}, // your own network's public addresses
	})
	if err != nil {
		return nil, nil, err
	}
	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1.0", Transport: transport})
	if err != nil {
		return nil, nil, err
	}
	ring, err := keyring.New(keyring.Config{
		Fetcher:  client,
		Notaries: notaries, // asked for the keys of servers that do not answer
		Store:    store,    // keyring/sqlstore, for all processes of a homeserver
		Local:    local,
	})
	return client, ring, err
}

// README: end

// README: guard
// guard adds policies and limits to the configuration of a Receiver, and says of requests
// whose signature does not verify what a reverse proxy may have done to them.
func guard(c *fedinvite.Config, ring *keyring.Ring, isUser func(context.Context, string) (bool, error)) error {
	limiter, err := ratelimit.New(ratelimit.Config{})
	if err != nil {
		return err
	}
	c.Admit = limiter.Admit // by remote address, before any key is fetched
	c.Policy = policy.Chain(policy.InviteeExists(isUser), policy.BlockServers("evil.example", "*.evil.example"), limiter.Policy)
	hints := xmatrix.NewHints(nil) // while the proxy is being set up
	c.Credentials = xmatrix.Verifier{Keys: ring, Hints: hints}.Credentials
	return nil
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
		between("// README: test\n", end),
		between("// README: send\n", end),
		between("// README: reach\n", end),
		between("// README: guard\n", end),
	} {
		if !strings.Contains(string(readme), "```go\n"+want+"```\n") {
			t.Errorf("README.md does not have this Go block:\n%s", want)
		}
	}

	client, err := fedclient.New(fedclient.Config{UserAgent: "test/1"})
	if err != nil {
		t.Fatal(err)
	}
	routes, err := inviteRoutes(invitetest.Signer("b.example"), fedinvite.HandlerFunc(nil), client)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/_matrix/federation/v1/nowhere":          `"errcode":"M_UNRECOGNIZED"`,
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
	transport, err := discovery.New(discovery.Config{TLS: &tls.Config{RootCAs: roots}, Allow: discovery.Loopback()})
	if err != nil {
		t.Fatal(err)
	}
	client, err := fedclient.New(fedclient.Config{UserAgent: "test/1", Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	ring, err := keyring.New(keyring.Config{Fetcher: client})
	if err != nil {
		t.Fatal(err)
	}
	local := keyring.Signers(invitetest.Signer("a.example"))
	room := invitetest.NewRoom(fedinvite.RoomV11, "@alice:a.example")
	inviter, err := newInviter(client, ring, local, room)
	if err != nil {
		t.Fatal(err)
	}
	_, err = invite(t.Context(), inviter, room.ID(), "@alice:a.example", "@bob:"+strings.TrimPrefix(server.URL, "https://"))
	var told *fedinvite.Error
	if !errors.As(err, &told) || told.Code != fedinvite.CodeInviteBlocked {
		t.Errorf("error %v, want what the client is told", err)
	}
}

func TestREADMEReach(t *testing.T) {
	var connections atomic.Int64
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.Config.ConnState = func(net.Conn, http.ConnState) { connections.Add(1) }
	server.StartTLS()
	defer server.Close()
	own := invitetest.Signer("a.example")
	client, ring, err := reach(keyring.Signers(own), keyring.NewMemory(0))
	if err != nil {
		t.Fatal(err)
	}
	name := fedinvite.ServerName(server.Listener.Addr().String())
	if _, err := client.FetchServerKeys(t.Context(), name); !errors.Is(err, discovery.ErrAddress) {
		t.Errorf("asking a server on the loopback interface: %v", err)
	}
	if _, err := ring.VerifyKey(t.Context(), name, "ed25519:1", time.Time{}); !errors.Is(err, discovery.ErrAddress) {
		t.Errorf("a key of that server: %v", err)
	}
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections to the loopback interface", n)
	}
	if key, err := ring.VerifyKey(t.Context(), own.ServerName(), own.KeyID(), time.Time{}); err != nil || !key.Public.Equal(own.Public()) {
		t.Errorf("our own key: %+v, %v", key, err)
	}
}

func TestREADMEGuard(t *testing.T) {
	_, ring, err := reach(keyring.Signers(invitetest.Signer("b.example")), nil)
	if err != nil {
		t.Fatal(err)
	}
	var c fedinvite.Config
	isUser := func(context.Context, string) (bool, error) { return true, nil }
	if err := guard(&c, ring, isUser); err != nil {
		t.Fatal(err)
	}
	d := fedinvite.Delivery{Remote: netip.MustParseAddrPort("198.51.100.7:4000")}
	for range 100 {
		if err = c.Admit(t.Context(), &d); err != nil {
			break
		}
	}
	var refusal *fedinvite.Error
	if !errors.As(err, &refusal) || refusal.Code != fedinvite.CodeLimitExceeded || refusal.RetryAfter <= 0 {
		t.Errorf("a hundred requests of one address: %v", err)
	}
	for _, origin := range []fedinvite.ServerName{"evil.example", "a.evil.example"} {
		err = c.Policy(t.Context(), &fedinvite.Invite{Origin: origin})
		if !errors.As(err, &refusal) || refusal.Code == fedinvite.CodeLimitExceeded {
			t.Errorf("%s, which is blocked: %v", origin, err)
		}
	}
}
