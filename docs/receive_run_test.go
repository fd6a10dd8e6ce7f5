package docs_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
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
	row, ok := b.db.invites[[2]string{roomID, bob}]
	if !ok || a.db.membership(roomID, bob) != "invite" {
		t.Fatalf("stored %v; %q in the room", ok, a.db.membership(roomID, bob))
	}
	rules, err := row.RoomVersion.Rules()
	if err != nil {
		t.Fatal(err)
	}
	e, err := fedinvite.ParseStored(row.Event, rules)
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
	_, err = offer(t, a, b, roomID, b.user("bob"), `{"reason":"another"}`)
	if code(err) != fedinvite.CodeForbidden || !strings.Contains(err.Error(), "This invite is not allowed.") {
		t.Errorf("another: %v, want the policy's refusal", err)
	}
	// One that came at the same time is behind the policy already.
	inv := &fedinvite.Invite{Event: first, Invitee: b.user("bob")}
	if err := (inviteHandler{b.db}).HandleInvite(t.Context(), inv); err != nil {
		t.Errorf("the Handler, again: %v", err)
	}
	other, _ := offer(t, a, b, roomID, b.user("bob"), `{"reason":"a third"}`)
	wantRefusal(t, (inviteHandler{b.db}).HandleInvite(t.Context(), &fedinvite.Invite{Event: other, Invitee: b.user("bob")}), fedinvite.CodeForbidden)
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
	table := &watchful{inviteTable: b.db}
	if err := (inviteHandler{table}).HandleInvite(ctx, &fedinvite.Invite{Event: e, Invitee: b.user("nobody")}); err != nil {
		t.Fatal(err)
	}
	if table.err != nil || !table.bounded {
		t.Errorf("the context of the commit: %v, bounded: %v", table.err, table.bounded)
	}
}

// watchful looks at the context of Insert.
type watchful struct {
	inviteTable
	err     error
	bounded bool
}

func (w *watchful) Insert(ctx context.Context, row inviteRow) (string, error) {
	w.err = ctx.Err()
	_, w.bounded = ctx.Deadline()
	return w.inviteTable.Insert(ctx, row)
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
	err := outside(a.db)(t.Context(), &fedinvite.Invite{Event: join, Invitee: alice})
	wantRefusal(t, err, fedinvite.CodeForbidden)
	if err := outside(a.db)(t.Context(), &fedinvite.Invite{Event: join, Invitee: a.user("bob")}); err != nil {
		t.Errorf("somebody who is not in the room: %v", err)
	}
	a.db.led = join.ID()
	if err := outside(a.db)(t.Context(), &fedinvite.Invite{Event: join, Invitee: alice}); err != nil {
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

func TestSeveralNames(t *testing.T) {
	local := keyring.Signers(invitetest.Signer("a.example"), invitetest.Signer("b.example"))
	f, err := newFederation(local, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	mux, err := f.routes(f.receiverConfig(newMemory()))
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
