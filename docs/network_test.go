package docs_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// A homeserver is what the pages about receiving and sending build, on loopback.
type homeserver struct {
	*sender
	db      *memory
	signer  fedinvite.Signer
	own     *ownKeys
	config  fedinvite.Config // of the Receiver
	handler http.Handler
}

func (h *homeserver) user(localpart string) string {
	return "@" + localpart + ":" + string(h.signer.ServerName())
}

func (h *homeserver) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.handler.ServeHTTP(w, r) }

// newNetwork starts homeservers that find each other.
func newNetwork(t *testing.T, n int) (hosts []*homeserver) {
	t.Helper()
	network := invitetest.NewNetwork(t)
	for i := range n {
		h := newHomeserver(t, fedinvite.ServerName(fmt.Sprintf("s%d.example", i)), network.Transport())
		if err := network.Serve(h.signer.ServerName(), h); err != nil {
			t.Fatal(err)
		}
		hosts = append(hosts, h)
	}
	return hosts
}

// newHomeserver returns a homeserver with the user bob.
func newHomeserver(t *testing.T, name fedinvite.ServerName, transport *discovery.Transport) *homeserver {
	t.Helper()
	h := &homeserver{signer: invitetest.Signer(name)}
	h.db = newMemory(h.user("bob"))
	h.own = &ownKeys{keys: keyring.LocalKeys{Signers: []fedinvite.Signer{h.signer}}}
	f, err := newFederation(h.own.Local, transport, keyring.NewMemory(0))
	if err != nil {
		t.Fatal(err)
	}
	if h.config, err = f.production(h.db.invites, h.db, "blocked.example"); err != nil {
		t.Fatal(err)
	}
	rooms := roomStore{h.db.Begin}
	if h.sender, err = newSender(f, rooms, h.db, nil); err != nil {
		t.Fatal(err)
	}
	mux, err := f.routes(h.config)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.addEndings(mux, rooms, h.db.invites, nil); err != nil {
		t.Fatal(err)
	}
	identity := &http.Client{Transport: transport.Dialer().HTTPTransport(nil)}
	if err := h.addThirdParty(mux, rooms, identity); err != nil {
		t.Fatal(err)
	}
	h.handler = mux
	return h
}

// newRoom makes a room of version 11 with one user, alice.
func (h *homeserver) newRoom(t *testing.T) (roomID, creator string) {
	t.Helper()
	room := invitetest.NewRoom(fedinvite.RoomV11, h.user("alice"))
	room.Name("Tea")
	h.keep(t, room)
	return room.ID(), room.Creator()
}

// keep puts a room into the store.
func (h *homeserver) keep(t *testing.T, room *invitetest.Room) {
	t.Helper()
	for _, e := range room.State() {
		if err := h.db.Append(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
	h.db.queue = nil
}

// eventTime is the origin_server_ts of events that need none in particular.
var eventTime = time.UnixMilli(1_700_000_000_000)
