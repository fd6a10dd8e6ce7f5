package homeserver

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// A host is a homeserver on the loopback interface, with one listener for each of its
// names.
type host struct {
	*Server
	db      *database
	signers []fedinvite.Signer
}

// user makes a user of one of the host's names.
func (h *host) user(localpart string, name int) string {
	userID := "@" + localpart + ":" + string(h.signers[name].ServerName())
	h.db.mu.Lock()
	defer h.db.mu.Unlock()
	h.db.users[userID] = true
	return userID
}

// newHosts starts two homeservers, the first with two names.
func newHosts(t *testing.T, blocked ...string) (two, one *host) {
	t.Helper()
	roots := x509.NewCertPool()
	two, one = &host{db: newDatabase()}, &host{db: newDatabase()}
	for _, h := range []*host{two, two, one} {
		srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(w, r) }))
		t.Cleanup(srv.Close)
		roots.AddCert(srv.Certificate())
		h.signers = append(h.signers, invitetest.Signer(fedinvite.ServerName(srv.Listener.Addr().String())))
	}
	for _, h := range []*host{two, one} {
		transport, err := discovery.New(discovery.Config{TLS: &tls.Config{RootCAs: roots}, Allow: discovery.Loopback()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(transport.CloseIdleConnections)
		if h.Server, err = New(h.db, transport, blocked, h.signers...); err != nil {
			t.Fatal(err)
		}
	}
	return two, one
}

// newRoom makes a room of version 11 whose creator is a user of the host's name.
func (h *host) newRoom(t *testing.T, creator string, name int, acl string) (roomID string) {
	t.Helper()
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		t.Fatal(err)
	}
	roomID = "!room:" + string(h.signers[name].ServerName())
	prev := []string{}
	for i, e := range []struct{ eventType, key, content string }{
		{"m.room.create", "", `{"room_version":"11"}`},
		{"m.room.member", creator, `{"membership":"join"}`},
		{"m.room.server_acl", "", acl},
	} {
		raw, err := json.Marshal(map[string]any{
			"auth_events": prev, "prev_events": prev, "content": json.RawMessage(e.content), "depth": i + 1, "origin_server_ts": 1,
			"room_id": roomID, "sender": creator, "state_key": e.key, "type": e.eventType,
		})
		if err != nil {
			t.Fatal(err)
		}
		signed, err := fedinvite.SignEventJSON(t.Context(), raw, rules, h.signers[name])
		if err != nil {
			t.Fatal(err)
		}
		event, err := fedinvite.ParseEvent(signed, rules)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.db.addEvent(t.Context(), event); err != nil {
			t.Fatal(err)
		}
		prev = []string{event.ID()}
	}
	return roomID
}

const openACL = `{"allow":["*"]}`

// wantCode fails the test unless err is what a client is told with that code.
func wantCode(t *testing.T, err error, want fedinvite.Code) {
	t.Helper()
	var told *fedinvite.Error
	if !errors.As(err, &told) || told == nil || told.Code != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

// state returns a user's member event in a room.
func (h *host) state(t *testing.T, roomID, userID string) *fedinvite.Event {
	t.Helper()
	room, err := h.db.read(t.Context(), roomID)
	if err != nil {
		t.Fatal(err)
	}
	defer room.done()
	return room.state[eventauth.StateKey{Type: "m.room.member", Key: userID}]
}

// membership returns what the room says of a user.
func (h *host) membership(t *testing.T, roomID, userID string) string {
	t.Helper()
	if e := h.state(t, roomID, userID); e != nil {
		return e.Membership()
	}
	return ""
}

// pending returns the invites of a user to a room.
func (h *host) pending(t *testing.T, roomID, userID string) []*fedinvite.Event {
	t.Helper()
	invites, err := h.db.invitesTo(t.Context(), roomID, userID)
	if err != nil {
		t.Fatal(err)
	}
	return invites
}

func TestInvitesInAndOutUnderTwoNames(t *testing.T) {
	two, one := newHosts(t)
	carol := one.user("carol", 0)
	for name := range two.signers {
		alice := two.user("alice", name)
		roomID := two.newRoom(t, alice, name, openACL)
		if err := two.Invite(t.Context(), roomID, alice, carol, json.RawMessage(`{"reason":"tea"}`)); err != nil {
			t.Fatal(err)
		}
		if one.pending(t, roomID, carol) == nil || two.membership(t, roomID, carol) != "invite" {
			t.Fatal("the invite is not stored at both servers")
		}
		if err := one.Decline(t.Context(), roomID, carol); err != nil {
			t.Fatal(err)
		}
		if got := two.membership(t, roomID, carol); got != "leave" {
			t.Errorf("membership %q after declining", got)
		}
		if one.pending(t, roomID, carol) != nil {
			t.Error("the invite is still there")
		}
	}

	roomID := one.newRoom(t, carol, 0, openACL)
	for name := range two.signers {
		bob := two.user("bob", name)
		if err := one.Invite(t.Context(), roomID, carol, bob, nil); err != nil {
			t.Fatal(err)
		}
		if two.pending(t, roomID, bob) == nil {
			t.Errorf("%s has no invite", bob)
		}
	}
}

func TestInviteBetweenOurOwnNames(t *testing.T) {
	two, _ := newHosts(t)
	alice, bob := two.user("alice", 0), two.user("bob", 1)
	roomID := two.newRoom(t, alice, 0, openACL)
	if err := two.Invite(t.Context(), roomID, alice, bob, nil); err != nil {
		t.Fatal(err)
	}
	if got := two.membership(t, roomID, bob); got != "invite" {
		t.Errorf("membership %q", got)
	}
}

func TestAnInviteIsTakenBack(t *testing.T) {
	two, one := newHosts(t)
	alice, carol := two.user("alice", 0), one.user("carol", 0)
	roomID := two.newRoom(t, alice, 0, openACL)
	if err := two.Invite(t.Context(), roomID, alice, carol, nil); err != nil {
		t.Fatal(err)
	}
	if err := two.TakeBack(t.Context(), roomID, alice, carol); err != nil {
		t.Fatal(err)
	}
	if got := two.membership(t, roomID, carol); got != "leave" {
		t.Errorf("membership %q", got)
	}
	if one.pending(t, roomID, carol) != nil {
		t.Error("the invite is still there")
	}
}

func TestAnInviteBetweenOurOwnNamesIsTakenBack(t *testing.T) {
	two, _ := newHosts(t)
	alice, bob := two.user("alice", 0), two.user("bob", 1)
	roomID := two.newRoom(t, alice, 0, openACL)
	if err := two.Invite(t.Context(), roomID, alice, bob, nil); err != nil {
		t.Fatal(err)
	}
	if err := two.TakeBack(t.Context(), roomID, alice, bob); err != nil {
		t.Fatal(err)
	}
	if got := two.membership(t, roomID, bob); got != "leave" {
		t.Errorf("membership %q", got)
	}
	wantCode(t, two.TakeBack(t.Context(), roomID, alice, bob), fedinvite.CodeForbidden)
}

// transact has the host send one event to another.
func (h *host) transact(t *testing.T, to *host, e *fedinvite.Event) map[string]string {
	t.Helper()
	failed, err := h.client.SendTransaction(t.Context(), fedclient.Transaction{
		ID: "1", Destination: to.signers[0].ServerName(), Events: []*fedinvite.Event{e}, Time: time.Now(), Signer: h.signers[0],
	})
	if err != nil {
		t.Fatal(err)
	}
	return failed
}

// What the example cannot store it refuses, and says so.
func TestEventsOfOurRoomsAreNotLostSilently(t *testing.T) {
	for acl, want := range map[string]string{
		openACL:                                errNoPipeline.Message,
		`{"allow":["*"],"deny":["127.0.0.*"]}`: fedinvite.ErrServerDenied.Error(),
	} {
		two, one := newHosts(t)
		alice := two.user("alice", 0)
		roomID := two.newRoom(t, alice, 0, acl)
		e := one.newInvite(t, "11", roomID, one.user("carol", 0), one.user("dan", 0))
		if got := one.transact(t, two, e)[e.ID()]; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// In a room that we are in, the leave that ends an invite is one of the room's events.
func TestALeaveInARoomThatWeAreInIsAnEventOfTheRoom(t *testing.T) {
	two, one := newHosts(t)
	alice, carol := two.user("alice", 0), one.user("carol", 0)
	roomID := two.newRoom(t, alice, 0, openACL)
	if err := two.Invite(t.Context(), roomID, alice, carol, nil); err != nil {
		t.Fatal(err)
	}
	room, err := two.db.read(t.Context(), roomID)
	if err != nil {
		t.Fatal(err)
	}
	create := room.state[eventauth.StateKey{Type: "m.room.create"}]
	room.done()
	if err := one.db.addEvent(t.Context(), create); err != nil {
		t.Fatal(err)
	}
	leave, err := two.inviter.TakeBack(t.Context(), fedclient.Invitation{RoomID: roomID, Sender: alice, Invitee: carol})
	if err != nil {
		t.Fatal(err)
	}
	if got := two.transact(t, one, leave)[leave.ID()]; got != errNoPipeline.Message {
		t.Errorf("got %q", got)
	}
	if one.pending(t, roomID, carol) == nil {
		t.Error("the invite is gone, and the leave is not in the room")
	}
}

func TestNobodyOfThatNameIsInvited(t *testing.T) {
	two, one := newHosts(t)
	alice := two.user("alice", 0)
	roomID := two.newRoom(t, alice, 0, openACL)
	for _, h := range []*host{one, two} { // of another server, and of ours
		nobody := "@nobody:" + string(h.signers[0].ServerName())
		wantCode(t, two.Invite(t.Context(), roomID, alice, nobody, nil), fedinvite.CodeForbidden)
	}
}

// Old servers decline by version 1.
func TestBothVersionsOfSendLeaveAreMounted(t *testing.T) {
	two, _ := newHosts(t)
	for _, version := range []string{"v1", "v2"} {
		w := httptest.NewRecorder()
		two.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/_matrix/federation/"+version+"/send_leave/!r:a/$e", nil))
		if w.Code != http.StatusUnauthorized {
			t.Errorf("%s: got %d %s", version, w.Code, w.Body)
		}
	}
}

// newInvite makes an invite of one of the host's users to any room.
func (h *host) newInvite(t *testing.T, version fedinvite.RoomVersion, roomID, sender, invitee string) *fedinvite.Event {
	t.Helper()
	rules, err := version.Rules()
	if err != nil {
		t.Fatal(err)
	}
	d := fedinvite.Draft{RoomID: roomID, Sender: sender, Invitee: invitee, Depth: 1, Time: time.Now()}
	e, err := fedinvite.NewInvite(t.Context(), d, rules, h.signers[0])
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// newLeave takes such an invite back.
func (h *host) newLeave(t *testing.T, invite *fedinvite.Event) *fedinvite.Event {
	t.Helper()
	invitee, _ := invite.StateKey()
	d := fedinvite.Draft{
		RoomID: invite.RoomID(), Sender: invite.Sender(), Invitee: invitee,
		AuthEvents: []fedinvite.EventRef{invite.Ref()}, Depth: 2, Time: time.Now(),
	}
	e, err := fedinvite.NewLeave(t.Context(), d, invite.Rules(), h.signers[0])
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// create returns a room's create event, as room state of an invite.
func (h *host) create(t *testing.T, roomID string) []json.RawMessage {
	t.Helper()
	room, err := h.db.read(t.Context(), roomID)
	if err != nil {
		t.Fatal(err)
	}
	defer room.done()
	return fedinvite.SelectRoomState([]*fedinvite.Event{room.state[eventauth.StateKey{Type: "m.room.create"}]}, 0)
}

// sendInvite has the host send any invite.
func (h *host) sendInvite(t *testing.T, to *host, e *fedinvite.Event, state []json.RawMessage) {
	t.Helper()
	keys := fedinvite.KeyMap{}
	keys.Add(to.signers[0])
	r := fedclient.InviteRequest{Event: e, RoomState: state, Signer: h.signers[0], Keys: keys}
	if _, err := h.client.SendInvite(t.Context(), r); err != nil {
		t.Error(err)
	}
}

// wantPending fails the test unless a user has just these invites to a room.
func (h *host) wantPending(t *testing.T, roomID, userID string, want ...*fedinvite.Event) {
	t.Helper()
	got := map[string]bool{}
	for _, e := range h.pending(t, roomID, userID) {
		got[e.ID()] = true
	}
	for _, e := range want {
		if !got[e.ID()] {
			t.Errorf("the invite of %s is not there", e.Sender())
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d invites are pending, want %d", len(got), len(want))
	}
}

// Whoever knows a room ID, and the create event, can send an invite that names the room. It
// stands in the way neither of the real one nor of what ends that.
func TestAnInviteFromAnotherServerKeepsNoneOut(t *testing.T) {
	for _, version := range []fedinvite.RoomVersion{"11", "12"} {
		t.Run("v"+string(version), func(t *testing.T) {
			evil, one := newHosts(t)
			alice, carol := evil.user("alice", 1), one.user("carol", 0) // the other name is another server
			room := invitetest.NewRoom(version, alice)
			for _, e := range room.State() {
				if err := evil.db.addEvent(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			state := evil.create(t, room.ID())
			first := evil.newInvite(t, version, room.ID(), evil.user("mallory", 0), carol)
			evil.sendInvite(t, one, first, state)
			if err := evil.Invite(t.Context(), room.ID(), alice, carol, nil); err != nil {
				t.Fatal(err)
			}
			invite := evil.state(t, room.ID(), carol)
			one.wantPending(t, room.ID(), carol, first, invite)

			next := evil.newInvite(t, version, room.ID(), evil.user("eve", 0), carol)
			evil.sendInvite(t, one, next, state)
			if err := one.db.removeInvite(t.Context(), nil, first); err != nil { // late
				t.Fatal(err)
			}
			one.wantPending(t, room.ID(), carol, next, invite)
			if err := evil.TakeBack(t.Context(), room.ID(), alice, carol); err != nil {
				t.Fatal(err)
			}
			one.wantPending(t, room.ID(), carol, next)
			if failed := evil.transact(t, one, evil.newLeave(t, next)); len(failed) > 0 {
				t.Error(failed)
			}
			one.wantPending(t, room.ID(), carol)
		})
	}
}

// The older one may have been taken back without our hearing of it.
func TestANewerInviteOfTheSameServerReplacesTheOlder(t *testing.T) {
	for _, version := range []fedinvite.RoomVersion{"11", "12"} {
		t.Run("v"+string(version), func(t *testing.T) {
			two, one := newHosts(t)
			alice, carol := two.user("alice", 0), one.user("carol", 0)
			room := invitetest.NewRoom(version, alice)
			for _, e := range room.State() {
				if err := two.db.addEvent(t.Context(), e); err != nil {
					t.Fatal(err)
				}
			}
			for _, reason := range []string{`{"reason":"tea"}`, `{"reason":"coffee"}`} {
				if err := two.Invite(t.Context(), room.ID(), alice, carol, json.RawMessage(reason)); err != nil {
					t.Fatal(err)
				}
				one.wantPending(t, room.ID(), carol, two.state(t, room.ID(), carol))
			}
			if err := two.TakeBack(t.Context(), room.ID(), alice, carol); err != nil {
				t.Fatal(err)
			}
			one.wantPending(t, room.ID(), carol)
		})
	}
}

// Whoever declines leaves the room, whichever of the invites was the real one.
func TestDeclineTheInvitesOfAllServers(t *testing.T) {
	two, one := newHosts(t)
	alice, carol := two.user("alice", 1), one.user("carol", 0)
	roomID := two.newRoom(t, alice, 1, openACL)
	two.sendInvite(t, one, two.newInvite(t, "11", roomID, two.user("mallory", 0), carol), two.create(t, roomID))
	if err := two.Invite(t.Context(), roomID, alice, carol, nil); err != nil {
		t.Fatal(err)
	}
	if err := one.Decline(t.Context(), roomID, carol); err != nil {
		t.Fatal(err)
	}
	one.wantPending(t, roomID, carol)
	if got := two.membership(t, roomID, carol); got != "leave" {
		t.Errorf("membership %q after declining", got)
	}
}

func TestBlocking(t *testing.T) {
	two, one := newHosts(t)
	alice, carol := two.user("alice", 0), one.user("carol", 0)
	roomID := two.newRoom(t, alice, 0, openACL)
	one.db.permissions[carol] = json.RawMessage(`{"default_action":"block"}`)
	wantCode(t, two.Invite(t.Context(), roomID, alice, carol, nil), fedinvite.CodeInviteBlocked)

	two, one = newHosts(t, "127.0.0.1")
	alice, carol = two.user("alice", 0), one.user("carol", 0)
	roomID = two.newRoom(t, alice, 0, openACL)
	wantCode(t, two.Invite(t.Context(), roomID, alice, carol, nil), fedinvite.CodeForbidden)
	if one.pending(t, roomID, carol) != nil {
		t.Error("a blocked invite is stored")
	}
}

// Strangers choose where our requests go.
func TestTheDefaultTransportLeavesOurOwnMachineAlone(t *testing.T) {
	two, one := newHosts(t)
	var err error
	if two.Server, err = New(two.db, nil, nil, two.signers...); err != nil {
		t.Fatal(err)
	}
	alice, carol := two.user("alice", 0), one.user("carol", 0)
	err = two.Invite(t.Context(), two.newRoom(t, alice, 0, openACL), alice, carol, nil)
	wantCode(t, err, fedinvite.CodeUnknown)
	if !errors.Is(err, discovery.ErrAddress) {
		t.Errorf("got %v", err)
	}
}

// Also those that turn out not to be authentic.
func TestInvitesAreLimited(t *testing.T) {
	two, one := newHosts(t)
	e := one.newInvite(t, "11", "!r:"+string(one.signers[0].ServerName()), one.user("carol", 0), two.user("alice", 0))
	body, err := fedinvite.Request{RoomVersion: fedinvite.RoomV11, Event: e.AppendJSON(nil)}.MarshalV2()
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	for status := http.StatusUnauthorized; status == http.StatusUnauthorized; sent++ {
		r := httptest.NewRequest("PUT", "/_matrix/federation/v2/invite/"+e.RoomID()+"/"+e.ID(), bytes.NewReader(body))
		r.Header.Set("Authorization", fmt.Sprintf(`X-Matrix origin=%q,destination=%q,key="ed25519:1",sig=%q`,
			one.signers[0].ServerName(), two.signers[0].ServerName(), strings.Repeat("A", 86)))
		w := httptest.NewRecorder()
		two.ServeHTTP(w, r)
		status = w.Code
		if status != http.StatusUnauthorized && (status != http.StatusTooManyRequests || sent < 50) || sent > 1000 {
			t.Fatalf("%d: got %d %s", sent, status, w.Body)
		}
	}
}

func TestServerACL(t *testing.T) {
	two, one := newHosts(t)
	alice, carol := two.user("alice", 0), one.user("carol", 0)
	roomID := two.newRoom(t, alice, 0, `{"allow":["*"],"deny":["127.0.0.*"]}`)
	// One knows the room too, and that two's users may no longer take part in it.
	room, err := two.db.read(t.Context(), roomID)
	if err != nil {
		t.Fatal(err)
	}
	acl := room.state[eventauth.StateKey{Type: "m.room.server_acl"}]
	room.done()
	if err := one.db.addEvent(t.Context(), acl); err != nil {
		t.Fatal(err)
	}
	wantCode(t, two.Invite(t.Context(), roomID, alice, carol, nil), fedinvite.CodeForbidden)
	if one.pending(t, roomID, carol) != nil {
		t.Error("an invite from a denied server is stored")
	}
}

func TestTheExampleFitsOnAFewScreens(t *testing.T) {
	text, err := os.ReadFile("homeserver.go")
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > 120 {
		t.Errorf("%d lines", n)
	}
}
