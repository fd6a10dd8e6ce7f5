package docs_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// deliver sends what is queued for a server that is not in the room.
func (h *homeserver) deliver(t *testing.T, to fedinvite.ServerName) {
	t.Helper()
	for _, q := range h.db.queue {
		for _, also := range q.also {
			if also != to {
				continue
			}
			if done, err := h.sendTo(t.Context(), to, q.event); !done || err != nil {
				t.Errorf("sent: %v, %v", done, err)
			}
		}
	}
}

func TestInviteIsDeclined(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	roomID, alice := a.newRoom(t)
	bob := b.user("bob")
	if err := a.Invite(t.Context(), roomID, alice, bob, nil); err != nil {
		t.Fatal(err)
	}
	if a.db.rooms[roomID].sent != nil {
		t.Error("the invite is still under way")
	}
	row := b.db.invite(roomID, bob, a.signer.ServerName())
	leave, err := b.Decline(t.Context(), row, []byte(`{"reason":"no time"}`))
	if err != nil || leave.Membership() != "leave" || leave.ContentJSON("reason") != `"no time"` {
		t.Fatalf("%v, %v", leave, err)
	}
	if got := a.db.membership(roomID, bob); got != "leave" {
		t.Errorf("in the room: %q", got)
	}
}

// The user declines before we have read the answer to the invite.
func TestTheLeaveOvertakesTheInvite(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	roomID, alice := a.newRoom(t)
	bob := b.user("bob")
	routes := b.handler
	b.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		routes.ServeHTTP(w, r)
		if row := b.db.invite(roomID, bob, a.signer.ServerName()); row.EventID != "" && strings.Contains(r.URL.Path, "/invite/") {
			if _, err := b.Decline(context.WithoutCancel(r.Context()), row, nil); err != nil {
				t.Error(err)
			}
		}
	})
	if err := a.Invite(t.Context(), roomID, alice, bob, nil); err != nil {
		t.Fatal(err)
	}
	var sent []string
	for _, q := range a.db.queue {
		sent = append(sent, q.event.Membership())
	}
	if got := a.db.membership(roomID, bob); got != "leave" || !slices.Equal(sent, []string{"leave", "invite"}) {
		t.Errorf("in the room: %q; sent: %v", got, sent)
	}
}

func TestInviteIsTakenBack(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	roomID, alice := a.newRoom(t)
	bob := b.user("bob")
	if err := a.Invite(t.Context(), roomID, alice, bob, nil); err != nil {
		t.Fatal(err)
	}
	if err := a.TakeBack(t.Context(), roomID, alice, bob); err != nil {
		t.Fatal(err)
	}
	a.deliver(t, b.signer.ServerName())
	if len(b.db.invites.rows) != 0 || a.db.membership(roomID, bob) != "leave" {
		t.Errorf("%d invites, %q in the room", len(b.db.invites.rows), a.db.membership(roomID, bob))
	}
	wantRefusal(t, a.TakeBack(t.Context(), roomID, alice, bob), fedinvite.CodeForbidden)
}

func TestInviteOfOurOwnUser(t *testing.T) {
	a := newNetwork(t, 1)[0]
	roomID, alice := a.newRoom(t)
	if err := a.Invite(t.Context(), roomID, alice, a.user("bob"), nil); err != nil {
		t.Fatal(err)
	}
	if a.db.membership(roomID, a.user("bob")) != "invite" || len(a.db.shown) != 1 {
		t.Errorf("%q in the room, shown %d times", a.db.membership(roomID, a.user("bob")), len(a.db.shown))
	}
}

func TestRefusalsReachTheClient(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	roomID, alice := a.newRoom(t)
	b.db.blocks[b.user("bob")] = []byte(`{"default_action":"block"}`)
	wantRefusal(t, a.Invite(t.Context(), roomID, alice, b.user("bob"), nil), fedinvite.CodeInviteBlocked)
	if a.db.rooms[roomID].sent != nil || len(a.db.later) != 0 {
		t.Error("the invite is not forgotten")
	}
	wantRefusal(t, a.Invite(t.Context(), roomID, a.user("mallory"), b.user("bob"), nil), fedinvite.CodeForbidden)
	wantRefusal(t, a.Invite(t.Context(), "!none:a.example", alice, b.user("bob"), nil), fedinvite.CodeForbidden)
}

// An answer that got lost: the invite is sent again, and then in the room.
func TestRetry(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	roomID, alice := a.newRoom(t)
	bob := b.user("bob")
	routes, lose := b.handler, true
	b.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !lose || !strings.Contains(r.URL.Path, "/invite/") {
			routes.ServeHTTP(w, r)
			return
		}
		routes.ServeHTTP(httptest.NewRecorder(), r)
		_, _ = w.Write([]byte("lost"))
	})
	if err := a.Invite(t.Context(), roomID, alice, bob, nil); err == nil {
		t.Fatal("accepted")
	}
	if len(a.db.later) != 1 || len(b.db.invites.rows) != 1 || a.db.membership(roomID, bob) != "" {
		t.Fatalf("%d to be sent again, %d stored, %q in the room", len(a.db.later), len(b.db.invites.rows), a.db.membership(roomID, bob))
	}
	lose = false
	if err := a.Retry(t.Context(), a.db.later[0], a.db.states[0]); err != nil {
		t.Fatal(err)
	}
	if got := a.db.membership(roomID, bob); got != "invite" {
		t.Errorf("in the room: %q", got)
	}
}

// It is refused when it is sent again: it ends as taken back.
func TestRetryThatIsRefused(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	roomID, alice := a.newRoom(t)
	b.db.blocks[b.user("bob")] = []byte(`{"default_action":"block"}`)
	e, _ := offer(t, a, b, roomID, b.user("bob"), `{}`)
	draft := fedinvite.Draft{
		RoomID: roomID, Sender: alice, Invitee: b.user("bob"), Depth: e.Depth(), Time: eventTime,
		AuthEvents: []fedinvite.EventRef{a.db.rooms[roomID].state[eventauth.StateKey{Type: "m.room.create"}].Ref()},
	}
	e, err := fedinvite.NewInvite(t.Context(), draft, e.Rules(), a.signer)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Retry(t.Context(), e, nil); err != nil {
		t.Fatal(err)
	}
	if got := a.db.membership(roomID, b.user("bob")); got != "leave" {
		t.Errorf("in the room: %q", got)
	}
	var also []string
	for _, q := range a.db.queue {
		for _, name := range q.also {
			also = append(also, q.event.Membership()+" to "+string(name))
		}
	}
	if diff := cmp.Diff([]string{"leave to " + string(b.signer.ServerName())}, also); diff != "" {
		t.Errorf("queued -want +got:\n%s", diff)
	}
}

func TestRetryOfAServerThatIsDown(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	roomID, _ := a.newRoom(t)
	e, _ := offer(t, a, b, roomID, b.user("nobody"), `{}`)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.Retry(ctx, e, nil); !fedclient.Retryable(err) || !errors.Is(err, fedclient.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
}

// A room with m.room.policy is one whose snapshot says who is joined.
func TestSnapshotKnowsPolicyServers(t *testing.T) {
	a := newNetwork(t, 1)[0]
	room := invitetest.NewRoom(fedinvite.RoomV11, a.user("alice"))
	a.keep(t, room)
	rooms := roomStore{a.db.Begin}
	want := []eventauth.StateKey{{Type: "m.room.create"}, {Type: "m.room.policy"}}
	s, err := rooms.Snapshot(t.Context(), room.ID(), want)
	if err != nil || s.Joined != nil || len(s.State) != 1 || s.Depth != int64(len(room.Events())) {
		t.Fatalf("%+v, %v", s, err)
	}
	room.PolicyServer(invitetest.Signer("p.example"))
	a.keep(t, room)
	s, err = rooms.Snapshot(t.Context(), room.ID(), want)
	if err != nil || s.Joined == nil || s.Joined("p.example") || !s.Joined(a.signer.ServerName()) {
		t.Errorf("%+v, %v", s, err)
	}
}

func TestThirdPartyEndpointsAreMounted(t *testing.T) {
	a := newNetwork(t, 1)[0]
	for path, want := range map[string]int{
		"/_matrix/federation/v1/exchange_third_party_invite/!r:a.example": http.StatusUnauthorized,
		"/_matrix/federation/v1/3pid/onbind":                              http.StatusBadRequest, // not authenticated
	} {
		w := httptest.NewRecorder()
		a.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPut, path, strings.NewReader("{}")))
		if w.Code != want {
			t.Errorf("%s: %d %s", path, w.Code, w.Body)
		}
	}
}

// Nothing about a notification is signed: each of its invites counts against the address.
func TestNotificationsOfIdentityServersAreLimited(t *testing.T) {
	a := newNetwork(t, 1)[0]
	invite := `{"address":"a@b.c","medium":"email","mxid":"` + a.user("bob") + `","room_id":"!r:a.invalid","sender":"@x:a.invalid",` +
		`"signed":{"mxid":"` + a.user("bob") + `","token":"t","signatures":{"id.example":{"ed25519:0":"AAAA"}}}}`
	body := `{"address":"a@b.c","medium":"email","mxid":"` + a.user("bob") + `","invites":[` + invite + strings.Repeat(","+invite, 29) + `]}`
	var statuses []int
	for range 2 {
		w := httptest.NewRecorder()
		a.handler.ServeHTTP(w, httptest.NewRequest(http.MethodPut, "/_matrix/federation/v1/3pid/onbind", strings.NewReader(body)))
		statuses = append(statuses, w.Code)
	}
	if statuses[0] == http.StatusTooManyRequests || statuses[1] != http.StatusTooManyRequests {
		t.Errorf("two times 30 invites: %d", statuses)
	}
}
