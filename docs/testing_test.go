package docs_test

// book: testing.md
import (
	"context"
	"net/http"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// book: end

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// book: testing.md
func TestBobIsInvited(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	mine := newHomeserver(t, "mine.example", peer.Transport()) // an http.Handler: the server under test
	peer.Introduce("mine.example", mine)

	room := peer.NewRoom(fedinvite.RoomV12, "@alice:peer.example")
	room.Name("Tea")
	invite, err := peer.Invite(t.Context(), room, "@bob:mine.example")
	if err != nil {
		t.Fatal(err)
	}
	if stored := mine.db.invite(room.ID(), "@bob:mine.example", "peer.example"); stored.EventID != invite.ID() {
		t.Errorf("stored %q, want %s", stored.EventID, invite.ID())
	}
	if _, err := peer.TakeBack(t.Context(), room, "@bob:mine.example"); err != nil {
		t.Fatal(err)
	}
	if stored := mine.db.invite(room.ID(), "@bob:mine.example", "peer.example"); stored.EventID != "" {
		t.Errorf("%s is still there", stored.EventID)
	}
}

// book: end

// book: testing.md
func TestHandlerKeepsTheNewerInvite(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	table := newMemoryInvites()
	peer.IntroduceHandler("mine.example", inviteHandler{table})

	room := peer.NewRoom(fedinvite.RoomV11, "@alice:peer.example")
	for _, reason := range []string{"tea", "cake"} {
		invite, err := peer.Invite(t.Context(), room, "@bob:mine.example", invitetest.Set(reason, "content", "reason"))
		if err != nil {
			t.Fatal(err)
		}
		row, err := table.Get(t.Context(), inviteKey{room.ID(), "@bob:mine.example", "peer.example"})
		if err != nil || row == nil || row.EventID != invite.ID() {
			t.Errorf("%s: stored %v, %v", reason, row, err)
		}
	}
}

// book: end

// book: testing.md
func TestAnAnswerThatGotLost(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	mine := newHomeserver(t, "mine.example", peer.Transport())
	peer.Introduce("mine.example", mine)
	roomID, alice := mine.newRoom(t)

	peer.Break(invitetest.Cut, "/_matrix/federation/")
	if err := mine.Invite(t.Context(), roomID, alice, "@bob:peer.example", nil); err == nil {
		t.Fatal("half an answer was enough")
	}
	peer.Mend()
	if err := mine.Retry(t.Context(), mine.db.later[0], mine.db.states[0]); err != nil {
		t.Fatal(err)
	}
	if got := mine.db.membership(roomID, "@bob:peer.example"); got != "invite" {
		t.Errorf("bob's membership is %q", got)
	}
	for _, seen := range peer.Requests() {
		t.Log(seen.Method, seen.Target, seen.Status)
	}
}

// book: end

// book: testing.md
func TestFaultsAreNotTakenForAnAnswer(t *testing.T) {
	for _, fault := range []invitetest.Fault{invitetest.Redirect, invitetest.ContentType, invitetest.Huge, invitetest.KeyExpired} {
		t.Run(fault.String(), func(t *testing.T) {
			peer := invitetest.NewServer(t, "peer.example")
			mine := newHomeserver(t, "mine.example", peer.Transport())
			peer.Introduce("mine.example", mine)
			roomID, alice := mine.newRoom(t)
			peer.Break(fault)
			if err := mine.Invite(t.Context(), roomID, alice, "@bob:peer.example", nil); err == nil {
				t.Errorf("it took the invite for accepted; a server %s", fault.Expect())
			}
			for _, seen := range append(peer.Requests(), peer.KeyRequests()...) {
				if seen.Host != "peer.example" {
					t.Errorf("it followed the redirect: %s %s", seen.Method, seen.Target)
				}
			}
			if fault == invitetest.Huge {
				if _, err := peer.AwaitHungUp(t.Context()); err != nil {
					t.Error("it read all 32 MiB")
				}
			}
		})
	}
}

// book: end

// book: testing.md
func TestForgeriesAreRefused(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	mine := newHomeserver(t, "mine.example", peer.Transport())
	peer.Introduce("mine.example", mine)
	room := peer.NewRoom(fedinvite.RoomV12, "@alice:peer.example")
	invite := room.Invite("@bob:mine.example")

	for name, event := range map[string]any{
		"a ban":                  room.InviteDraft("@bob:mine.example", invitetest.Set("ban", "content", "membership")),
		"of another server":      room.InviteDraft("@bob:mine.example", invitetest.Set("@eve:other.example", "sender")),
		"changed after signing":  invitetest.Change(invite.AppendJSON(nil), invitetest.Set(7, "depth")),
		"without any signatures": invitetest.Change(invite.AppendJSON(nil), invitetest.Drop("signatures")),
	} {
		if draft, ok := event.(invitetest.Object); ok {
			event = room.Sign(draft)
		}
		status, body, err := peer.Send(t.Context(), room.Request(event, "mine.example"))
		if err != nil || status != http.StatusBadRequest {
			t.Errorf("%s: %d %s %v", name, status, body, err)
		}
	}
}

// book: end

// book: testing.md
func TestConformance(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	mine := newUnlimited(t, "mine.example", peer.Transport())
	invitetest.Run(t, invitetest.Target{
		Name: "mine.example", Handler: mine, Peer: peer, Invitee: "@bob:mine.example",
		Invite: func(ctx context.Context, version fedinvite.RoomVersion, invitee string) error {
			room := invitetest.NewRoom(version, "@alice:mine.example")
			mine.keep(t, room)
			return mine.Invite(ctx, room.ID(), room.Creator(), invitee, nil)
		},
	}, // Where this server departs, and means to:
		"receive/unsigned-kept", // nobody vouches for unsigned: the reply has none
		"auth/no-destination",   // Verifier.Assume is empty
		"state/v12-stripped",    // StateCreateOnly, as with the next two
		"state/v12-signature",
		"state/v12-other-room",
	)
}

// book: end

// book: testing.md
func TestOtherProcess(t *testing.T) {
	peer := invitetest.NewServer(t, "") // its name is its address
	address := startProcess(t, peer.Network())
	invitetest.Run(t, invitetest.Target{
		Name: fedinvite.ServerName(address), URL: "https://" + address, Peer: peer,
		Invitee: "@bob:" + address, Versions: []fedinvite.RoomVersion{fedinvite.RoomV11},
	}, "receive/unsigned-kept", "auth/no-destination")
}

// book: end

// startProcess starts a server that knows of the network only what another process would:
// it finds others by their addresses, and shows a certificate that it has read as PEM.
func startProcess(t *testing.T, network *invitetest.Network) (address string) {
	t.Helper()
	certificate, err := tls.X509KeyPair(network.CertificatePEM("127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(network.RootsPEM()) {
		t.Fatal("no roots")
	}
	transport, err := discovery.New(discovery.Config{TLS: &tls.Config{RootCAs: roots}, Allow: discovery.Loopback()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	name := fedinvite.ServerName(listener.Addr().String())
	server := &http.Server{
		Handler: newUnlimited(t, name, transport), ReadHeaderTimeout: time.Second,
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{certificate}},
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.ServeTLS(listener, "", "")
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-done
	})
	return string(name)
}

// newUnlimited is newHomeserver without the limit for each invitee.
func newUnlimited(t *testing.T, name fedinvite.ServerName, transport *discovery.Transport) *homeserver {
	t.Helper()
	h := newHomeserver(t, name, transport)
	h.config.Admit, h.config.Policy = nil, nil
	mux, err := h.routes(h.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.addEndings(mux, roomStore{h.db.Begin}, h.db.invites, nil); err != nil {
		t.Fatal(err)
	}
	h.handler = mux
	return h
}
