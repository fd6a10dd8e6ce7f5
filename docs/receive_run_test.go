package docs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// wantRefusal checks what a client or a peer is told of err.
func wantRefusal(t *testing.T, err error, want fedinvite.Code) {
	t.Helper()
	if told := fedinvite.WireError(err); told == nil || told.Code != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestLoadSigner(t *testing.T) {
	id, key, err := fedinvite.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "a.key")
	if err := os.WriteFile(file, []byte(fedinvite.FormatSigningKey(id, key)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := loadSigner("a.example", file)
	if err != nil || s.KeyID() != id || !s.Public().Equal(key.Public()) {
		t.Errorf("%v, %v", s, err)
	}
	if _, err := loadSigner("a.example", file+"x"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestAnInviteIsStoredAndShown(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	roomID, alice := a.newRoom(t)
	bob := b.user("bob")
	if err := a.Invite(t.Context(), roomID, alice, bob, json.RawMessage(`{"reason":"tea"}`)); err != nil {
		t.Fatal(err)
	}
	row := b.db.invite(roomID, bob, a.signer.ServerName())
	if row.EventID == "" || a.db.membership(roomID, bob) != "invite" {
		t.Fatalf("stored %q; %q in the room", row.EventID, a.db.membership(roomID, bob))
	}
	e, err := row.parse()
	if err != nil || e.ID() != row.EventID {
		t.Fatalf("%v, %v", e, err)
	}
	keys := fedinvite.KeyMap{}
	keys.Add(a.signer)
	keys.Add(b.signer)
	if err := e.Verify(t.Context(), keys, a.signer.ServerName(), b.signer.ServerName()); err != nil {
		t.Error(err)
	}
	var shown []string
	for _, raw := range row.State {
		var entry map[string]json.RawMessage
		if err := json.Unmarshal(raw, &entry); err != nil || len(entry) != 4 {
			t.Errorf("%v in %s", err, raw)
		}
		shown = append(shown, string(entry["type"])+string(entry["state_key"]))
	}
	want := []string{`"m.room.member""` + bob + `"`, `"m.room.create"""`, `"m.room.join_rules"""`, `"m.room.name"""`, `"m.room.member""` + alice + `"`}
	slices.Sort(want)
	slices.Sort(shown)
	if diff := cmp.Diff(want, shown); diff != "" {
		t.Errorf("room state -want +got:\n%s", diff)
	}
}

// offer makes an invite of alice of a's to a user of b's, and sends it, whatever is in b.
func offer(t *testing.T, a, b *homeserver, roomID, invitee string, extra string) (*fedinvite.Event, error) {
	t.Helper()
	room := a.db.rooms[roomID]
	e, err := fedinvite.NewInvite(t.Context(), fedinvite.Draft{
		RoomID: roomID, Sender: a.user("alice"), Invitee: invitee, Depth: 9, Time: time.Now(), Content: json.RawMessage(extra),
	}, room.latest.Rules(), a.signer)
	if err != nil {
		t.Fatal(err)
	}
	return e, resend(t, a, b, e)
}

func resend(t *testing.T, a, b *homeserver, e *fedinvite.Event) error {
	t.Helper()
	keys := fedinvite.KeyMap{}
	keys.Add(b.signer)
	create := a.db.rooms[e.RoomID()].state[eventauth.StateKey{Type: "m.room.create"}]
	_, err := a.client.SendInvite(t.Context(), fedclient.InviteRequest{
		Event: e, RoomState: fedinvite.SelectRoomState([]*fedinvite.Event{create}, 0), Signer: a.signer, Keys: keys,
	})
	return err
}

func code(err error) fedinvite.Code {
	var remote *fedclient.RemoteError
	if errors.As(err, &remote) {
		return remote.Code
	}
	return ""
}

func TestTheHandlerIsIdempotent(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	roomID, _ := a.newRoom(t)
	first, err := offer(t, a, b, roomID, b.user("bob"), `{}`)
	if err != nil {
		t.Fatal(err)
	}
	if err := resend(t, a, b, first); err != nil {
		t.Errorf("sent again: %v", err)
	}
	if row := b.db.invite(roomID, b.user("bob"), a.signer.ServerName()); row.EventID != first.ID() || len(b.db.invites.rows) != 1 {
		t.Errorf("stored %q of %d", row.EventID, len(b.db.invites.rows))
	}
}

// The first invite was taken back, and the leave got lost or was a moderator's.
func TestANewerInviteOfAServerReplacesTheOlder(t *testing.T) {
	for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV11, fedinvite.RoomV12} {
		peer := invitetest.NewServer(t, "peer.example")
		mine := newHomeserver(t, "mine.example", peer.Transport())
		peer.Introduce("mine.example", mine)
		room := peer.NewRoom(version, "@alice:peer.example")
		for _, reason := range []string{"first", "again"} {
			e, err := peer.Invite(t.Context(), room, "@bob:mine.example", invitetest.Set(reason, "content", "reason"))
			if err != nil {
				t.Fatalf("%s, %s: %v", version, reason, err)
			}
			if row := mine.db.invite(room.ID(), "@bob:mine.example", "peer.example"); row.EventID != e.ID() {
				t.Errorf("%s, %s: %q is stored, want %s", version, reason, row.EventID, e.ID())
			}
		}
	}
}

// Somebody who is not in the room knows its ID, and in version 12 its create event.
func TestAStrangersInviteKeepsNoOtherOut(t *testing.T) {
	for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV11, fedinvite.RoomV12} {
		network := invitetest.NewNetwork(t)
		in := func(c *invitetest.ServerConfig) { c.Network = network }
		peer, stranger := invitetest.NewServer(t, "peer.example", in), invitetest.NewServer(t, "stranger.example", in)
		mine := newHomeserver(t, "mine.example", peer.Transport())
		peer.Introduce("mine.example", mine)
		room := peer.NewRoom(version, "@alice:peer.example")
		bob := "@bob:mine.example"

		own := invitetest.NewRoom(version, "@eve:stranger.example")
		event := own.Sign(own.InviteDraft(bob, invitetest.Set(room.ID(), "room_id")))
		create, err := json.Marshal([]json.RawMessage{room.Get("m.room.create", "").AppendJSON(nil)})
		if err != nil {
			t.Fatal(err)
		}
		status, body, err := stranger.Send(t.Context(), own.RequestWithState(event, "mine.example", create))
		if err != nil || status != http.StatusOK {
			t.Fatalf("%s: the stranger's: %d %s %v", version, status, body, err)
		}
		e, err := peer.Invite(t.Context(), room, bob)
		if err != nil {
			t.Fatalf("%s: %v", version, err)
		}
		if row := mine.db.invite(room.ID(), bob, "peer.example"); row.EventID != e.ID() || len(mine.db.invites.rows) != 2 {
			t.Errorf("%s: %q of %d is stored, want %s", version, row.EventID, len(mine.db.invites.rows), e.ID())
		}
		// Who takes an invite back takes back their own.
		if _, err := peer.TakeBack(t.Context(), room, bob); err != nil {
			t.Fatal(err)
		}
		if mine.db.invite(room.ID(), bob, "peer.example").EventID != "" || mine.db.invite(room.ID(), bob, "stranger.example").EventID == "" {
			t.Errorf("%s: taken back, and there are %v", version, mine.db.invites.rows)
		}
	}
}

// In room versions 1 and 2 the inviting server chooses the event ID.
func TestAnotherEventOfTheSameIDIsRefused(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	peer.IntroduceHandler("mine.example", inviteHandler{newMemoryInvites()})
	room := peer.NewRoom(fedinvite.RoomV1, "@alice:peer.example")
	for _, c := range []struct{ depth, want int }{{5, http.StatusOK}, {6, http.StatusForbidden}, {5, http.StatusOK}} {
		event := room.Sign(room.InviteDraft("@bob:mine.example", invitetest.Set("$same:peer.example", "event_id"), invitetest.Set(c.depth, "depth"), invitetest.Set(1, "origin_server_ts")))
		status, body, err := peer.Send(t.Context(), room.Request(event, "mine.example"))
		if err != nil || status != c.want {
			t.Errorf("depth %d: %d %s %v, want %d", c.depth, status, body, err, c.want)
		}
	}
}

// Whatever comes with an invite, /sync does not grow by more than what is needed.
func TestClientStateIsBounded(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	mine := newHomeserver(t, "mine.example", peer.Transport())
	peer.Introduce("mine.example", mine)
	room := peer.NewRoom(fedinvite.RoomV11, "@alice:peer.example")
	var state []json.RawMessage
	for _, eventType := range []string{"m.room.name", "m.room.topic", "m.room.avatar", "m.room.encryption", "org.example.other"} {
		state = append(state, json.RawMessage(fmt.Sprintf(`{"type":%q,"state_key":"","sender":"@alice:peer.example","content":{"a":%q}}`, eventType, strings.Repeat("y", 60_000))))
	}
	raw, err := json.Marshal(state)
	if err != nil {
		t.Fatal(err)
	}
	status, body, err := peer.Send(t.Context(), room.RequestWithState(room.Invite("@bob:mine.example"), "mine.example", raw))
	if err != nil || status != http.StatusOK {
		t.Fatalf("%d %s %v", status, body, err)
	}
	size := 0
	for _, entry := range mine.db.invite(room.ID(), "@bob:mine.example", "peer.example").State {
		size += len(entry)
	}
	if size < 60_000 || size > 66<<10 {
		t.Errorf("%d bytes are stored for /sync", size)
	}
}

// An inviting server that hangs up does not undo what it was told, or was about to be.
func TestTheCommitOutlivesTheRequest(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	roomID, _ := a.newRoom(t)
	e, err := offer(t, a, b, roomID, b.user("nobody"), `{}`)
	if code(err) != fedinvite.CodeForbidden {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	table := &watchful{inviteTable: b.db.invites}
	if err := (inviteHandler{table}).HandleInvite(ctx, &fedinvite.Invite{Event: e, Invitee: b.user("nobody")}); err != nil {
		t.Fatal(err)
	}
	if table.err != nil || !table.bounded {
		t.Errorf("the context of the commit: %v, bounded: %v", table.err, table.bounded)
	}
}

// watchful looks at the context of Put.
type watchful struct {
	inviteTable
	err     error
	bounded bool
}

func (w *watchful) Put(ctx context.Context, row inviteRow) (inviteRow, error) {
	w.err = ctx.Err()
	_, w.bounded = ctx.Deadline()
	return w.inviteTable.Put(ctx, row)
}

func TestHooks(t *testing.T) {
	for _, c := range []struct {
		name    string
		arrange func(b *homeserver, roomID string)
		invitee string
		want    fedinvite.Code
	}{
		{"nobody of that name", func(*homeserver, string) {}, "nobody", fedinvite.CodeForbidden},
		{"who takes no invites", func(b *homeserver, _ string) {
			b.db.blocks[b.user("bob")] = json.RawMessage(`{"default_action":"block"}`)
		}, "bob", fedinvite.CodeInviteBlocked},
		{"a server that the ACL denies", func(b *homeserver, _ string) {
			b.db.acl, _ = fedinvite.ParseServerACL([]byte(`{"allow":["*"],"deny":["s0.example"]}`))
		}, "bob", fedinvite.CodeForbidden},
		{"accepted", func(*homeserver, string) {}, "bob", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			hosts := newNetwork(t, 2)
			a, b := hosts[0], hosts[1]
			roomID, _ := a.newRoom(t)
			c.arrange(b, roomID)
			if _, err := offer(t, a, b, roomID, b.user(c.invitee), `{}`); code(err) != c.want || (err == nil) != (c.want == "") {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestUsersInTheRoomAreNotInvited(t *testing.T) {
	hosts := newNetwork(t, 1)
	a := hosts[0]
	roomID, alice := a.newRoom(t)
	join := a.db.rooms[roomID].state[eventauth.StateKey{Type: "m.room.member", Key: alice}]
	err := outside(a.db.Membership)(t.Context(), &fedinvite.Invite{Event: join, Invitee: alice})
	wantRefusal(t, err, fedinvite.CodeForbidden)
	if err := outside(a.db.Membership)(t.Context(), &fedinvite.Invite{Event: join, Invitee: a.user("bob")}); err != nil {
		t.Errorf("somebody who is not in the room: %v", err)
	}
	a.db.led = join.ID()
	if err := outside(a.db.Membership)(t.Context(), &fedinvite.Invite{Event: join, Invitee: alice}); err != nil {
		t.Errorf("the invite that was accepted, sent again: %v", err)
	}
}

func TestBlockedServersAreRefusedBeforeAnyKeyIsAskedFor(t *testing.T) {
	b := newNetwork(t, 1)[0]
	wantRefusal(t, b.config.Admit(t.Context(), &fedinvite.Delivery{Origin: "blocked.example"}), fedinvite.CodeForbidden)
	if err := b.config.Admit(t.Context(), &fedinvite.Delivery{Origin: "a.example"}); err != nil {
		t.Error(err)
	}
}

func TestObserve(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	var lines bytes.Buffer
	var steps []string
	b.observe(&b.config, slog.New(slog.NewJSONHandler(&lines, nil)), func(step string) { steps = append(steps, step) })
	mux, err := b.routes(b.config)
	if err != nil {
		t.Fatal(err)
	}
	b.handler = mux
	roomID, _ := a.newRoom(t)
	if _, err := offer(t, a, b, roomID, b.user("nobody"), `{}`); err == nil {
		t.Fatal("accepted")
	}
	if _, err := offer(t, a, b, roomID, b.user("bob"), `{}`); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"policy"}, steps); diff != "" {
		t.Errorf("steps -want +got:\n%s", diff)
	}
	for _, want := range []string{`"msg":"invite refused"`, `"errcode":"M_FORBIDDEN"`, `"status":403`, `"msg":"invite accepted"`, `"invitee":"` + b.user("bob") + `"`} {
		if !strings.Contains(lines.String(), want) {
			t.Errorf("no %s in\n%s", want, &lines)
		}
	}
}

func TestTheAddressBehindAProxy(t *testing.T) {
	var got string
	h := newHTTPServer("", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = r.RemoteAddr }), netip.MustParsePrefix("127.0.0.1/32"))
	for _, c := range []struct{ peer, header, want string }{
		{"127.0.0.1:1", "203.0.113.9", "203.0.113.9"},
		{"192.0.2.1:1", "203.0.113.9", "192.0.2.1"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.peer
		r.Header.Set("X-Forwarded-For", c.header)
		h.Handler.ServeHTTP(httptest.NewRecorder(), r)
		if host, _, err := net.SplitHostPort(got); err != nil || host != c.want {
			t.Errorf("%+v: got %s", c, got)
		}
	}
	if h.ReadHeaderTimeout == 0 || h.WriteTimeout <= 30*time.Second {
		t.Error("a server without timeouts")
	}
}

func TestChangingAKey(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	name := b.signer.ServerName()
	signs := func(want fedinvite.KeyID) {
		t.Helper()
		if s, err := b.local.Signer(t.Context(), name); err != nil || s.KeyID() != want {
			t.Errorf("signs with %v, %v; want %s", s, err, want)
		}
	}
	published := func() string {
		t.Helper()
		raw, err := a.client.FetchServerKeys(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		d, err := keyring.ReadDocument(raw, name, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		var all []string
		for _, r := range d.Records {
			state := " current"
			if !r.ExpiredAt.IsZero() {
				state = " old"
			}
			all = append(all, string(r.KeyID)+state)
		}
		return strings.Join(all, ", ")
	}
	signs("ed25519:1")
	b.own.Announce(invitetest.SignerWithKey(name, "ed25519:2"))
	signs("ed25519:1")
	if got, want := published(), "ed25519:1 current, ed25519:2 current"; got != want {
		t.Errorf("published %s, want %s", got, want)
	}
	b.own.Switch()
	signs("ed25519:2")
	b.own.Retire(time.Now())
	signs("ed25519:2")
	if got, want := published(), "ed25519:1 old, ed25519:2 current"; got != want {
		t.Errorf("published %s, want %s", got, want)
	}
	if _, err := b.own.Local(t.Context(), "c.example"); !errors.Is(err, fedinvite.ErrNotLocal) {
		t.Errorf("another server: %v", err)
	}
}

// The second main of the page, but for what it reads from files.
func TestAllOfIt(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	own := &ownKeys{keys: keyring.LocalKeys{Signers: []fedinvite.Signer{invitetest.Signer("mine.example")}}}
	f, err := newFederation(own.Local, peer.Transport(), nil)
	if err != nil {
		t.Fatal(err)
	}
	invites := newMemoryInvites()
	c, err := f.production(invites, standIn{}, "evil.example")
	if err != nil {
		t.Fatal(err)
	}
	routes, err := f.routes(c)
	if err != nil {
		t.Fatal(err)
	}
	peer.Introduce("mine.example", routes)
	if _, err := peer.Invite(t.Context(), peer.NewRoom(fedinvite.RoomV12, "@alice:peer.example"), "@bob:mine.example"); err != nil || len(invites.rows) != 1 {
		t.Errorf("%v, %d stored", err, len(invites.rows))
	}
	w := httptest.NewRecorder()
	routes.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/_matrix/federation/v1/version", nil))
	if w.Code != http.StatusOK || !json.Valid(w.Body.Bytes()) {
		t.Errorf("the version: %d %s", w.Code, w.Body)
	}
}

func TestSeveralNames(t *testing.T) {
	local := keyring.Signers(invitetest.Signer("a.example"), invitetest.Signer("b.example"))
	f, err := newFederation(local, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux, err := f.routes(f.receiverConfig(fedinvite.HandlerFunc(announce)))
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"a.example": 200, "b.example:443": 404, "b.example": 200, "c.example": 404} {
		r := httptest.NewRequest(http.MethodGet, "/_matrix/key/v2/server", nil)
		r.Host = host
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("%s: %d %s", host, w.Code, w.Body)
		}
	}
}

func TestReceiveWithoutHTTP(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	receiver, err := fedinvite.NewReceiver(b.config)
	if err != nil {
		t.Fatal(err)
	}
	roomID, _ := a.newRoom(t)
	e, _ := offer(t, a, b, roomID, b.user("nobody"), `{}`) // refused: it comes again below
	b.db.users[b.user("nobody")] = true
	body, err := fedinvite.Request{RoomVersion: fedinvite.RoomV11, Event: e.AppendJSON(nil)}.MarshalV2()
	if err != nil {
		t.Fatal(err)
	}
	d := fedinvite.Delivery{Origin: a.signer.ServerName(), Destination: b.signer.ServerName(), RoomID: roomID, EventID: e.ID()}
	status, answer, err := receive(t.Context(), receiver, d, body)
	if response, bad := fedinvite.ParseResponseV2(answer); status != 200 || err != nil || bad != nil || !bytes.Contains(response.Event, []byte(b.signer.ServerName())) {
		t.Errorf("%d %s %v", status, answer, err)
	}
	d.EventID = "$other"
	if status, answer, err := receive(t.Context(), receiver, d, body); status != 400 || err != nil || !strings.Contains(string(answer), "M_INVALID_PARAM") {
		t.Errorf("%d %s %v", status, answer, err)
	}
	if status, answer, err := receive(t.Context(), receiver, d, []byte("{")); status != 400 || err != nil || !strings.Contains(string(answer), "M_NOT_JSON") {
		t.Errorf("%d %s %v", status, answer, err)
	}
}

func TestARefusalWithATime(t *testing.T) {
	w := httptest.NewRecorder()
	fedinvite.WriteError(w, busy())
	text, err := io.ReadAll(w.Body)
	if err != nil || w.Code != http.StatusTooManyRequests || w.Header().Get("Retry-After") != "30" || strings.Contains(string(text), "queue") {
		t.Errorf("%d %v %s", w.Code, w.Header(), text)
	}
}
