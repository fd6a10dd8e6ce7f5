package invitetest_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

func TestServersInviteEachOther(t *testing.T) {
	n := invitetest.NewNetwork(t)
	for _, names := range [][2]fedinvite.ServerName{{"a.example", "b.example"}, {"c.example:1234", ""}, {"", "D.example"}} {
		a, b := n.NewServer(t, names[0]), n.NewServer(t, names[1])
		for _, version := range fedinvite.RoomVersions() {
			room, invitee := a.NewRoom(version, "@alice:"+string(a.Name())), "@bob:"+string(b.Name())
			e, err := a.Invite(t.Context(), room, invitee)
			if err != nil {
				t.Fatalf("%v, version %s: %v", names, version, err)
			}
			if err := e.Verify(t.Context(), a.Keys(), a.Name(), b.Name()); err != nil {
				t.Error(err)
			}
			if got := room.Get("m.room.member", invitee); got != e {
				t.Errorf("in the room: %v", got)
			}
			inv, err := b.AwaitInvite(t.Context(), invitee)
			if err != nil || inv.Event.ID() != e.ID() {
				t.Errorf("received %v, %v", inv, err)
			}
		}
		if n := len(a.KeyRequests()); n != 1 {
			t.Errorf("%v: %d requests for keys", names, n)
		}
		if n := len(b.Requests()); n != 12 || len(b.Invites()) != 12 {
			t.Errorf("%v: %d requests, %d invites", names, n, len(b.Invites()))
		}
	}
}

func TestTheContentOfAnInviteIsEdited(t *testing.T) {
	n := invitetest.NewNetwork(t)
	a, b := n.NewServer(t, "a.example"), n.NewServer(t, "b.example")
	room := a.NewRoom(fedinvite.RoomV11, "@alice:a.example")
	e, err := a.Invite(t.Context(), room, "@bob:b.example", invitetest.Set("tea", "reason"), invitetest.Set("join", "membership"))
	if err != nil || string(e.Content()) != `{"membership":"invite","reason":"tea"}` {
		t.Errorf("%v, %v", e, err)
	}
	if _, err := a.Invite(t.Context(), room, "@carol:a.example"); err != nil || room.Get("m.room.member", "@carol:a.example") == nil {
		t.Error("a user of the same server:", err)
	}
	if len(b.Invites()) != 1 {
		t.Error(b.Invites())
	}
}

func TestInvitesAreDeclinedAndTakenBack(t *testing.T) {
	n := invitetest.NewNetwork(t)
	a, b := n.NewServer(t, "a.example"), n.NewServer(t, "b.example")
	for i, version := range fedinvite.RoomVersions() {
		room := a.NewRoom(version, "@alice:a.example")
		for _, invitee := range []string{"@bob:b.example", "@carol:b.example"} {
			if _, err := a.Invite(t.Context(), room, invitee); err != nil {
				t.Fatal(err)
			}
		}
		inv, err := b.AwaitInvite(t.Context(), "@bob:b.example")
		if err != nil {
			t.Fatal(err)
		}
		leave, err := b.Decline(t.Context(), inv)
		if err != nil {
			t.Fatal(version, err)
		}
		if got := room.Get("m.room.member", "@bob:b.example"); got == nil || got.ID() != leave.ID() || len(a.Declined()) != i+1 {
			t.Errorf("version %s: declined: %v, %v", version, got, a.Declined())
		}
		back, err := a.TakeBack(t.Context(), room, "@carol:b.example")
		if err != nil {
			t.Fatal(version, err)
		}
		if got := b.TakenBack(); len(got) != i+1 || got[i].ID() != back.ID() || room.Get("m.room.member", "@carol:b.example") != back {
			t.Errorf("version %s: taken back: %v", version, got)
		}
		if _, err := a.TakeBack(t.Context(), room, "@carol:b.example"); !errors.Is(err, fedinvite.ErrForbidden) {
			t.Errorf("taken back again: %v", err)
		}
	}
}

// Some homeservers decline at once, for users who do not want to be invited.
func TestAnInviteIsDeclinedBeforeItsAnswerHasCome(t *testing.T) {
	n := invitetest.NewNetwork(t)
	a := n.NewServer(t, "a.example")
	var b *invitetest.Server
	b = n.NewServer(t, "b.example", func(c *invitetest.ServerConfig) {
		c.Receiver = func(c *fedinvite.Config) {
			c.Handler = fedinvite.HandlerFunc(func(ctx context.Context, inv *fedinvite.Invite) error {
				_, err := b.Decline(ctx, inv)
				return err
			})
		}
	})
	room := a.NewRoom(fedinvite.RoomV10, "@alice:a.example")
	if _, err := a.Invite(t.Context(), room, "@bob:b.example"); err != nil {
		t.Fatal(err)
	}
	if got := room.Get("m.room.member", "@bob:b.example"); got == nil || got.Membership() != "leave" || len(a.Declined()) != 1 {
		t.Errorf("%s", got.AppendJSON(nil))
	}
}

func TestARefusedInviteIsNotInTheRoom(t *testing.T) {
	n := invitetest.NewNetwork(t)
	a := n.NewServer(t, "a.example")
	b := n.NewServer(t, "b.example", func(c *invitetest.ServerConfig) {
		c.Receiver = func(c *fedinvite.Config) {
			c.Policy = func(context.Context, *fedinvite.Invite) error {
				return fedinvite.Refuse(fedinvite.CodeInviteBlocked, "nobody here")
			}
		}
	})
	room := a.NewRoom(fedinvite.RoomV10, "@alice:a.example")
	_, err := a.Invite(t.Context(), room, "@bob:b.example")
	if remote := new(fedclient.RemoteError); !errors.As(err, &remote) || remote.Code != fedinvite.CodeInviteBlocked {
		t.Error(err)
	}
	if room.Get("m.room.member", "@bob:b.example") != nil || len(b.Invites()) != 0 {
		t.Error("the invite was kept")
	}
	if _, err := a.TakeBack(t.Context(), room, "@bob:b.example"); !errors.Is(err, fedinvite.ErrForbidden) {
		t.Error("an invite that was refused is held for one:", err)
	}
}

func TestAHandlerIsIntroduced(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	var got []string
	receiver := peer.IntroduceHandler("mine.example", fedinvite.HandlerFunc(func(_ context.Context, inv *fedinvite.Invite) error {
		got = append(got, inv.Invitee)
		return nil
	}), func(c *fedinvite.Config) {
		c.Policy = func(_ context.Context, inv *fedinvite.Invite) error {
			if inv.Invitee == "@no:mine.example" {
				return fedinvite.Refuse(fedinvite.CodeInviteBlocked, "no")
			}
			return nil
		}
	})
	room := peer.NewRoom(fedinvite.RoomV12, "@alice:peer.example")
	if _, err := peer.Invite(t.Context(), room, "@bob:mine.example"); err != nil || len(got) != 1 || got[0] != "@bob:mine.example" {
		t.Error(got, err)
	}
	if _, err := peer.Invite(t.Context(), room, "@no:mine.example"); err == nil || len(got) != 1 {
		t.Error("accepted:", got)
	}
	d, err := room.Request(room.Invite("@carol:mine.example").AppendJSON(nil), "mine.example").Delivery()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := receiver.Check(t.Context(), d); err != nil {
		t.Error("the Receiver by itself:", err)
	}
}

// A receiver that is made with the peer's client, and introduced afterwards.
func introduceReceiver(t *testing.T, peer *invitetest.Server, signer fedinvite.Signer) *fedinvite.Receiver {
	t.Helper()
	return peer.IntroduceHandler(signer.ServerName(), fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
		func(c *fedinvite.Config) {
			c.Signer = func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return signer, nil }
		})
}

func TestAnotherServerUnderTheNameTakesItsPlaceAndItsKeysAreForgotten(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	room := peer.NewRoom(fedinvite.RoomV11, "@alice:peer.example")
	for i := range 5 {
		key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{byte(i)}, ed25519.SeedSize))
		signer, err := fedinvite.NewSigner("mine.example", invitetest.DefaultKey, key)
		if err != nil {
			t.Fatal(err)
		}
		receiver := introduceReceiver(t, peer, signer)
		peer.Introduce("mine.example", invitetest.WithKeys(receiver, signer))
		e, err := peer.Invite(t.Context(), room, "@bob:mine.example")
		if err != nil {
			t.Fatalf("server %d: %v", i, err)
		}
		if err := e.Verify(t.Context(), signerKeys(peer.Signer(), signer), "mine.example"); err != nil {
			t.Errorf("server %d: %v", i, err)
		}
		if _, err := peer.TakeBack(t.Context(), room, "@bob:mine.example"); err == nil {
			t.Fatal("a Receiver takes a transaction")
		}
	}
}

func signerKeys(signers ...fedinvite.Signer) fedinvite.KeyMap {
	keys := fedinvite.KeyMap{}
	for _, s := range signers {
		keys.Add(s)
	}
	return keys
}

func TestAServerThatIsNotThereYetIsFoundLater(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	room := peer.NewRoom(fedinvite.RoomV11, "@alice:peer.example")
	if _, err := peer.Invite(t.Context(), room, "@bob:mine.example"); !errors.Is(err, fedclient.ErrUnreachable) {
		t.Fatal(err)
	}
	if _, err := peer.Keys().VerifyKey(t.Context(), "mine.example", invitetest.DefaultKey, time.Now()); err == nil {
		t.Fatal("the keys of nobody")
	}
	introduceReceiver(t, peer, invitetest.Signer("mine.example"))
	if _, err := peer.Invite(t.Context(), room, "@bob:mine.example"); err != nil {
		t.Error(err)
	}
}

func TestClocksAndKeysOfOnesOwn(t *testing.T) {
	now := func() time.Time { return time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC) }
	own := invitetest.SignerWithKey("a.example", "ed25519:own")
	n := invitetest.NewNetwork(t)
	a := n.NewServer(t, "a.example", func(c *invitetest.ServerConfig) { c.Now, c.Signer = now, own })
	b := n.NewServer(t, "b.example", func(c *invitetest.ServerConfig) { c.Now = now })
	late := n.NewServer(t, "late.example")
	room := a.NewRoom(fedinvite.RoomV11, "@alice:a.example")
	e, err := a.Invite(t.Context(), room, "@bob:b.example")
	if err != nil {
		t.Fatal(err)
	}
	if !e.OriginServerTS().Equal(now()) || b.Requests()[0].Time != now() || a.Signer() != own {
		t.Error(e.OriginServerTS(), b.Requests()[0].Time)
	}
	if err := e.Verify(t.Context(), signerKeys(own), "a.example"); err != nil {
		t.Error(err)
	}
	if _, err := late.AwaitInvite(ended(), "@bob:late.example"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	// What the present knows of the keys of 2040 is that they are good for seven days.
	if key, err := late.Keys().VerifyKey(t.Context(), "a.example", own.KeyID(), time.Now()); err != nil || key.ValidAt(now()) {
		t.Error(key, err)
	}
}

func ended() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

func TestRequestsAreSentAsTheyAreAndSeen(t *testing.T) {
	n := invitetest.NewNetwork(t)
	a, b := n.NewServer(t, "a.example"), n.NewServer(t, "b.example")
	room := a.NewRoom(fedinvite.RoomV11, "@alice:a.example")
	forged := room.Invite("@bob:b.example", invitetest.Set("@mallory:c.example", "sender"))
	q := room.Request(forged.AppendJSON(nil), "b.example")
	status, body, err := a.Send(t.Context(), q)
	if err != nil || status != http.StatusBadRequest || !strings.Contains(string(body), `"M_INVALID_PARAM"`) {
		t.Error(status, string(body), err)
	}
	seen := b.Requests()
	if len(seen) != 1 || seen[0].Method != http.MethodPut || seen[0].Target != q.Path() || seen[0].Origin != "a.example" ||
		seen[0].Host != "b.example" || !bytes.Equal(seen[0].Body, q.Body) || seen[0].Status != status || !bytes.Equal(seen[0].Answer, body) ||
		seen[0].Header.Get("Content-Type") != "application/json" || seen[0].HungUp {
		t.Errorf("%+v", seen)
	}
	if len(b.Invites()) != 0 {
		t.Error("accepted")
	}
	q.To = "nobody.example"
	if _, _, err := a.Send(t.Context(), q); err == nil {
		t.Error("nobody answered")
	}
}

func TestABodyWithoutEndIsRefused(t *testing.T) {
	a := invitetest.NewServer(t, "")
	for _, size := range []int{2 << 20, 11 << 20} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://"+string(a.Name())+"/_matrix/federation/v1/send/1", bytes.NewReader(make([]byte, size)))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", `X-Matrix origin="a.example",key="ed25519:1",sig="c2ln"`)
		res, err := a.Transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		// What says that it is too long is not read.
		want := 1 << 20
		if size > 10<<20 {
			want = 0
		}
		if seen := a.Requests(); len(seen[len(seen)-1].Body) != want || (res.StatusCode == http.StatusRequestEntityTooLarge) != (size > 10<<20) {
			t.Error(size, res.StatusCode, len(seen[len(seen)-1].Body))
		}
	}
}

func TestNobodyListensAfterClose(t *testing.T) {
	n := invitetest.NewNetwork(t)
	a, err := invitetest.StartServer(invitetest.ServerConfig{Network: n})
	if err != nil {
		t.Fatal(err)
	}
	waits := make(chan error)
	go func() {
		_, err := a.AwaitInvite(context.Background(), "@bob:a.example")
		waits <- err
	}()
	a.Close()
	a.Close()
	if err := <-waits; err == nil {
		t.Error("an invite")
	}
	if conn, err := net.Dial("tcp", string(a.Name())); err == nil {
		_ = conn.Close()
		t.Error("somebody listens")
	}
}

func TestTheNetworkOfAServerEndsWithIt(t *testing.T) {
	s, err := invitetest.StartServer(invitetest.ServerConfig{})
	if err != nil {
		t.Fatal(err)
	}
	s.Introduce("mine.example", hostNamed("mine"))
	if got := get(t, s.Transport(), "https://mine.example/"); got != "mine for mine.example" {
		t.Error(got)
	}
	s.Close()
	if got := get(t, s.Transport(), "https://mine.example/"); got != "unreachable" {
		t.Error(got)
	}
}

func TestServersThatCannotBe(t *testing.T) {
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	closed := invitetest.NewNetwork(t)
	closed.Close()
	for name, c := range map[string]invitetest.ServerConfig{
		"malformed name":          {Name: "a b"},
		"signer of another":       {Name: "a.example", Signer: invitetest.Signer("b.example")},
		"address of others":       {Name: "192.0.2.1:8448"},
		"receiver without a key":  {Receiver: func(c *fedinvite.Config) { c.Signer = nil }},
		"receiver without a hook": {Receiver: func(c *fedinvite.Config) { c.Handler = nil }},
		"network that is closed":  {Name: "a.example", Network: closed},
	} {
		c.Listener = listen()
		if s, err := invitetest.StartServer(c); err == nil {
			s.Close()
			t.Errorf("%s: no error", name)
		}
		if l, err := net.Listen("tcp", c.Listener.Addr().String()); err != nil {
			t.Errorf("%s: it listens: %v", name, err)
		} else {
			_ = l.Close()
		}
	}
}

func TestMisuseOfServersPanics(t *testing.T) {
	a := invitetest.NewServer(t, "a.example")
	for name, f := range map[string]func(){
		"a malformed name":              func() { a.Introduce("a b", http.NotFoundHandler()) },
		"a malformed name of a handler": func() { a.IntroduceHandler("a b", nil) },
		"no handler":                    func() { a.IntroduceHandler("b.example", nil) },
		"no signer":                     func() { invitetest.WithKeys(http.NotFoundHandler()) },
		"a room of others":              func() { a.NewRoom("11", "@alice:b.example") },
		"a fault that is none":          func() { a.Break(0) },
		"a fault too many":              func() { a.Break(100) },
		"a place of a malformed name":   func() { a.Network().Place("a b", "127.0.0.1:1") },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", name)
				}
			}()
			f()
		}()
	}
}

func TestAServerSaysItsVersionAndKnowsNoOtherPaths(t *testing.T) {
	a := invitetest.NewServer(t, "a.example")
	for path, want := range map[string]int{"/_matrix/federation/v1/version": 200, "/_matrix/federation/v1/nothing": 404} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://a.example"+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		res, err := a.Transport().RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		if res.StatusCode != want || res.ProtoMajor != 2 {
			t.Error(path, res.Status, res.Proto)
		}
	}
}

func TestOthersAnswerForTheServer(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	ask := func(path string) string { return get(t, peer.Transport(), "https://peer.example"+path) }
	peer.Handle("/_matrix/", hostNamed("short"))
	peer.Handle("/_matrix/key/", hostNamed("long"))
	if ask("/_matrix/x") != "short for peer.example" || ask("/_matrix/key/v2/server") != "long for peer.example" {
		t.Error(ask("/_matrix/x"), ask("/_matrix/key/v2/server"))
	}
	peer.Handle("/_matrix/key/", nil)
	peer.Handle("/_matrix/", hostNamed("again"))
	if ask("/_matrix/key/v2/server") != "again for peer.example" {
		t.Error(ask("/_matrix/key/v2/server"))
	}
	peer.Handle("/_matrix/", nil)
	if got := ask("/_matrix/key/v2/server"); !strings.Contains(got, `"server_name":"peer.example"`) {
		t.Error(got)
	}
	if n := len(peer.KeyRequests()); n != 3 {
		t.Error(n)
	}
}

func TestNothingIsLeftRunning(t *testing.T) {
	before := runtime.NumGoroutine()
	for range 5 {
		s, err := invitetest.StartServer(invitetest.ServerConfig{Name: "peer.example"})
		if err != nil {
			t.Fatal(err)
		}
		s.IntroduceHandler("mine.example", fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }))
		s.Break(invitetest.Redirect, "/nothing")
		if err := s.Network().Delegate("delegated.example", "mine.example"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Invite(t.Context(), s.NewRoom(fedinvite.RoomV12, "@alice:peer.example"), "@bob:mine.example"); err != nil {
			t.Fatal(err)
		}
		get(t, s.Transport(), "https://delegated.example/")
		s.Close()
	}
	// Connections that were closed end a little later.
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for runtime.NumGoroutine() > before {
		if runtime.Gosched(); ctx.Err() != nil {
			t.Fatalf("%d goroutines, before %d", runtime.NumGoroutine(), before)
		}
	}
}

// ExampleNewServer is of a test, and so it is run as one.
func TestExampleNewServer(t *testing.T) { testInvite(t) }
