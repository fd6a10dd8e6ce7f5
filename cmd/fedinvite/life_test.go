package main

import (
	"crypto/tls"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

const inviteV2Path = "/_matrix/federation/v2/invite/"

// kept returns the options of a store in a fresh directory that is not there yet.
func kept(t testing.TB) (options []string) {
	t.Helper()
	return []string{"-store", filepath.Join(t.TempDir(), "store")}
}

// act runs a command of the server's, with its store.
func (s *server) act(t testing.TB, command, dir string, further ...string) result {
	t.Helper()
	args := []string{command, "-server-name", s.name, "-key", s.keyFile, "-ca", s.ca, "-allow", "loopback", "-store", dir}
	return runCommand(t.Context(), "", append(args, further...)...)
}

func (s *server) inviteStored(t testing.TB, dir, version, invitee string) result {
	t.Helper()
	return s.act(t, "invite", dir, "-room-version", version, "-sender", s.user("alice"), "-to", invitee)
}

func (s *server) decline(t testing.TB, dir string, invite *fedinvite.Event, further ...string) result {
	t.Helper()
	return s.act(t, "decline", dir, append([]string{"-room", invite.RoomID(), "-user", invitee(invite)}, further...)...)
}

func (s *server) rescind(t testing.TB, dir string, invite *fedinvite.Event, further ...string) result {
	t.Helper()
	return s.act(t, "rescind", dir, append([]string{"-room", invite.RoomID(), "-sender", invite.Sender(), "-to", invitee(invite)}, further...)...)
}

// event returns what a command that succeeded has written.
func (r result) event(t testing.TB, version fedinvite.RoomVersion) *fedinvite.Event {
	t.Helper()
	if r.status != statusOK || strings.Count(r.out, "\n") != 1 {
		t.Fatalf("%+v", r)
	}
	rules, err := version.Rules()
	if err != nil {
		t.Fatal(err)
	}
	e, err := fedinvite.ParseEvent([]byte(r.out), rules)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// member returns the user's membership in a stored room.
func member(t testing.TB, dir, roomID, userID string) *fedinvite.Event {
	t.Helper()
	r, err := newDisk(dir).room(roomID)
	if err != nil {
		t.Fatal(err)
	}
	return r.state().Get("m.room.member", userID)
}

func holds(t testing.TB, dir string, invite *fedinvite.Event) bool {
	t.Helper()
	e, err := newDisk(dir).heldFrom(origin(invite), invite.RoomID(), invitee(invite))
	if err != nil {
		t.Fatal(err)
	}
	return e != nil && e.ID() == invite.ID()
}

// ended is the line about the end of an invite.
func ended(event string, leave *fedinvite.Event) outcome {
	return outcome{
		Event: event, Sender: leave.Sender(), Invitee: invitee(leave), RoomID: leave.RoomID(),
		RoomVersion: leave.Rules().Version, EventID: leave.ID(),
	}
}

// An invite between two servers is declined, another is taken back: in both stores, and
// in the lines of both.
func TestLifeOfAnInvite(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	ours, theirs := kept(t), kept(t)
	one, two := st.serve(t, ours...), st.serve(t, theirs...)
	for _, version := range []fedinvite.RoomVersion{"1", "2", "10", "12"} {
		t.Run("v"+string(version), func(t *testing.T) {
			invited := func() *fedinvite.Event {
				t.Helper()
				e := one.inviteStored(t, ours[1], string(version), two.user("bob")).event(t, version)
				if line := two.next(t); line.Event != eventInvited || line.EventID != e.ID() || !holds(t, theirs[1], e) {
					t.Errorf("%+v", line)
				}
				diff(t, string(e.AppendJSON(nil)), string(member(t, ours[1], e.RoomID(), two.user("bob")).AppendJSON(nil)))
				return e
			}

			invite := invited()
			r := two.decline(t, theirs[1], invite, "-reason", "No <time>")
			leave := r.event(t, version)
			diff(t, "fedinvite: "+one.name+" took the leave\n", r.err)
			diff(t, `{"membership":"leave","reason":"No <time>"}`, string(leave.Content()))
			diff(t, ended(eventDeclined, leave), one.next(t))
			diff(t, leave.ID(), member(t, ours[1], invite.RoomID(), two.user("bob")).ID())
			if err := leave.Verify(t.Context(), keysOf(t, two)); err != nil || holds(t, theirs[1], invite) {
				t.Errorf("still held, or: %v", err)
			}
			if r := two.decline(t, theirs[1], invite); r.status != statusRefused || !strings.Contains(r.err, "holds no invite to") {
				t.Errorf("declined twice: %+v", r)
			}
			if r := one.rescind(t, ours[1], invite); r.status != statusRefused || !strings.Contains(r.err, "is over: leave by "+two.user("bob")) {
				t.Errorf("taken back once declined: %+v", r)
			}

			invite = invited()
			r = one.rescind(t, ours[1], invite, "-reason", "Oh")
			leave = r.event(t, version)
			diff(t, "", r.err)
			diff(t, `{"membership":"leave","reason":"Oh"}`, string(leave.Content()))
			diff(t, ended(eventTakenBack, leave), two.next(t))
			diff(t, leave.ID(), member(t, ours[1], invite.RoomID(), two.user("bob")).ID())
			if holds(t, theirs[1], invite) {
				t.Error("still held")
			}
			if again := one.rescind(t, ours[1], invite); again != r {
				t.Errorf("taken back twice: %+v", again)
			}
			if r := two.decline(t, theirs[1], invite); r.status != statusRefused || !strings.Contains(r.err, "holds no invite to") {
				t.Errorf("declined once taken back: %+v", r)
			}
		})
	}
	one.stopAll()
	for _, s := range []*server{one, two} {
		if status := s.stop(); status != statusOK {
			t.Errorf("serve ended with status %d", status)
		}
		for line := range s.lines {
			t.Errorf("one line too many: %+v", line)
		}
	}
}

// The room of an invite that is refused is not kept.
func TestInviteRefusedWithStore(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	one := st.serve(t)
	two := st.serve(t, "-block", one.name)
	dir := kept(t)[1]
	if r := one.inviteStored(t, dir, "11", two.user("bob")); r.status != statusRefused || !strings.Contains(r.err, "403 M_FORBIDDEN") {
		t.Errorf("%+v", r)
	}
	if left := rooms(t, dir); len(left) > 0 {
		t.Errorf("rooms %q", left)
	}
}

func rooms(t testing.TB, dir string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, "rooms", "*"))
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// What may have arrived is stored, can be taken back, and is sent again for as long as
// it has to be.
func TestInviteWithoutAnswer(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	one, _ := st.serveArgs(t) // does not run yet, neither does two
	two, args := st.serveArgs(t)
	dir := kept(t)[1]
	stop := st.listenAndServe(t, two.name, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }))
	r := one.inviteStored(t, dir, "11", two.user("bob"))
	stop()
	left := rooms(t, dir)
	if r.status != statusRefused || r.out != "" || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, "may have arrived and is stored") || len(left) != 1 {
		t.Fatalf("%+v, rooms %q", r, left)
	}
	first, _, err := readRecord(eventFile(left[0], 1), maxRecord)
	if err != nil {
		t.Fatal(err)
	}
	invite := member(t, dir, first.RoomID(), two.user("bob"))
	if invite == nil || invite.Membership() != "invite" || !strings.Contains(r.err, invite.RoomID()) {
		t.Fatalf("the invite is %v", invite)
	}

	r = one.rescind(t, dir, invite)
	leave := member(t, dir, invite.RoomID(), two.user("bob"))
	if r.status != statusRefused || r.out != "" || !strings.Contains(r.err, "stored but not sent") || leave.Membership() != "leave" {
		t.Fatalf("%+v, %s", r, leave.Membership())
	}
	one.start(t, one.args)
	two.start(t, args)
	diff(t, leave.ID(), one.rescind(t, dir, invite, "-reason", "too late").event(t, "11").ID())
}

// Whoever declines at once, even before we have an answer, finds the invite in the room.
func TestDeclineBeforeAnswer(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	ours, theirs := kept(t), kept(t)
	one := st.serve(t, ours...)
	two, _ := st.serveArgs(t)
	st.listenAndServe(t, two.name, st.homeserver(t, two, theirs[1], func(invite *fedinvite.Event) {
		if r := two.decline(t, theirs[1], invite); r.status != statusOK || !strings.Contains(r.err, " took the leave") {
			t.Errorf("%+v", r)
		}
	}))

	invite := one.inviteStored(t, ours[1], "12", two.user("bob")).event(t, "12")
	leave := member(t, ours[1], invite.RoomID(), two.user("bob"))
	if leave.Membership() != "leave" {
		t.Errorf("the room shows %s", leave.Membership())
	}
	diff(t, ended(eventDeclined, leave), one.next(t))
	room, err := newDisk(ours[1]).room(invite.RoomID())
	if err != nil {
		t.Fatal(err)
	}
	diff(t, texts([]*fedinvite.Event{invite, leave}), texts(room.events[len(room.events)-2:]))
}

// listenAndServe has a handler of the test's answer at the address, until the test ends
// or stop is called.
func (st *site) listenAndServe(t testing.TB, address string, h http.Handler) (stop func()) {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(st.cert, st.tlsKey)
	if err != nil {
		t.Fatal(err)
	}
	return listenAndServe(t, address, cert, h)
}

func listenAndServe(t testing.TB, address string, cert tls.Certificate, h http.Handler) (stop func()) {
	t.Helper()
	srv, l := newServer(h, cert, io.Discard), listen(t, address)
	var serving sync.WaitGroup
	serving.Go(func() { _ = srv.ServeTLS(l, "", "") })
	stop = func() {
		_ = srv.Close()
		serving.Wait()
	}
	t.Cleanup(stop)
	return stop
}

// outbound sends in the server's name.
func (s *server) outbound(t testing.TB) *outbound {
	t.Helper()
	signer, err := readSigner(fedinvite.ServerName(s.name), s.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	roots, err := readRoots(s.ca)
	if err != nil {
		t.Fatal(err)
	}
	o, err := newOutbound(signer, connecting(roots, discovery.Loopback()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.close)
	return o
}

// homeserver is what serve serves, and then is called before an accepted invite is answered.
func (st *site) homeserver(t testing.TB, s *server, dir string, then func(invite *fedinvite.Event)) http.Handler {
	t.Helper()
	d, err := openDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	anybody, err := newDoor(unlimited())
	if err != nil {
		t.Fatal(err)
	}
	h, err := newHomeserver(s.outbound(t), d, anybody, newOutcomes(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		h.ServeHTTP(answer, r)
		if strings.HasPrefix(r.URL.Path, inviteV2Path) && answer.Code == http.StatusOK {
			files, err := filepath.Glob(filepath.Join(d.invites(), "*"))
			if err != nil || len(files) != 1 {
				t.Errorf("invites %q, %v", files, err)
				return
			}
			invite, _, err := readRecord(files[0], maxRecord)
			if err != nil {
				t.Error(err)
				return
			}
			then(invite)
		}
		w.Header().Set("Content-Type", answer.Header().Get("Content-Type"))
		w.WriteHeader(answer.Code)
		_, _ = answer.Body.WriteTo(w)
	})
}

// If the inviting server is gone the invite goes too.
func TestDeclineWithoutServer(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	ours, theirs := kept(t), kept(t)
	one := st.serve(t, ours...)
	two := st.serve(t, theirs...)
	invite := one.inviteStored(t, ours[1], "11", two.user("bob")).event(t, "11")
	one.stop()
	r := two.decline(t, theirs[1], invite)
	leave := r.event(t, "11")
	if !strings.HasPrefix(r.err, "fedinvite: no server took the leave, which counts here only: ") || strings.Count(r.err, "\n") != 1 {
		t.Errorf("%q", r.err)
	}
	diff(t, []string{invite.ID()}, leave.PrevEventIDs())
	if holds(t, theirs[1], invite) {
		t.Error("still held")
	}
}

// A serve without rooms, or with another store, lets nobody leave.
func TestDeclineUnknownRoom(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	theirs := kept(t)
	one, two := st.serve(t), st.serve(t, theirs...)
	r := one.invite(t, "12", one.user("alice"), two.user("bob"))
	invite := r.event(t, "12")
	if r := two.decline(t, theirs[1], invite); r.status != statusOK || !strings.Contains(r.err, "404 M_NOT_FOUND") {
		t.Errorf("%+v", r)
	}
}

func TestLifeRefusals(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	s, _ := st.serveArgs(t)
	empty, spoilt := t.TempDir(), newTestDisk(t)
	room := newTestRoom(t, "11")
	invite := newTestInvite(t, room, "@a:a.example", s.user("bob"))
	for _, file := range []string{eventFile(spoilt.roomDir(invite.RoomID()), 1), spoilt.inviteFile("a.example", invite.RoomID(), s.user("bob"))} {
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o700), os.WriteFile(file, []byte(`{"room_version":`), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	decline := func(dir string, further ...string) []string {
		return append([]string{"decline", "-server-name", s.name, "-key", s.keyFile, "-ca", s.ca, "-allow", "loopback", "-store", dir}, further...)
	}
	rescind := func(dir string, further ...string) []string {
		args := decline(dir, further...)
		args[0] = "rescind"
		return args
	}
	for _, c := range []struct {
		args   []string
		status int
		err    string
	}{
		{decline(empty, "-user", s.user("bob")), statusUsage, "-room is required"},
		{decline(empty, "-room", "!r:a"), statusUsage, "-user is required"},
		{decline(empty, "-room", "!r:a", "-user", "@bob:b.example"), statusUsage, "-user must be a user of -server-name"},
		{decline(empty, "-room", "!r:a", "-user", "bob"), statusUsage, `invalid value "bob" for flag -user`},
		{decline("", "-room", "!r:a", "-user", s.user("bob")), statusUsage, `invalid value "" for flag -store`},
		{decline(empty, "-room", "!r:a", "-user", s.user("bob")), statusRefused, "holds no invite to !r:a"},
		{decline(filepath.Join(empty, "missing"), "-room", "../..", "-user", s.user("bob")), statusRefused, "holds no invite to ../.."},
		{decline(spoilt.dir, "-room", invite.RoomID(), "-user", s.user("bob")), statusRefused, "not an event of a store"},
		{decline(empty, "-room", "!r:a", "-user", s.user("bob"), "-key", empty), statusRefused, empty},
		{rescind(empty, "-room", "!r:a", "-sender", s.user("a")), statusUsage, "-to is required"},
		{rescind(empty, "-room", "!r:a", "-sender", "@a:b.example", "-to", "@b:b.example"), statusUsage, "-sender must be a user of -server-name"},
		{rescind(empty, "-room", "!r:a", "-sender", s.user("a"), "-to", s.user("b")), statusUsage, "-to must be a user of another server"},
		{rescind(empty, "-room", "!r:a", "-sender", s.user("a"), "-to", "@b:b.example"), statusRefused, "no such room here"},
		{rescind(spoilt.dir, "-room", invite.RoomID(), "-sender", s.user("a"), "-to", "@b:b.example"), statusRefused, "not an event of a store"},
	} {
		r := runCommand(t.Context(), "", c.args...)
		if r.status != c.status || r.out != "" || !strings.HasPrefix(r.err, "fedinvite: ") || !strings.Contains(r.err, c.err) {
			t.Errorf("%q: %+v, want %q", c.args, r, c.err)
		}
	}
	if names, err := os.ReadDir(empty); err != nil || len(names) > 0 {
		t.Errorf("a store was made of %v, %v", names, err)
	}
}

// The rules of the room decide who takes an invite back, and of whom.
func TestRescindRules(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	s, _ := st.serveArgs(t)
	d := newTestDisk(t)
	room, err := newRoom(t.Context(), newTestRules(t, "11"), newTestSigner(t, fedinvite.ServerName(s.name)), s.user("alice"), "")
	if err != nil {
		t.Fatal(err)
	}
	invite := newTestInvite(t, room, s.user("alice"), "@bob:b.example")
	if err := d.found(room.with(invite)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ sender, to, err string }{
		{"alice", "@carol:b.example", "@carol:b.example was never invited to " + room.id},
		{"mallory", "@bob:b.example", "rule 4.5.2: the sender is not joined"},
	} {
		r := s.act(t, "rescind", d.dir, "-room", room.id, "-sender", s.user(c.sender), "-to", c.to)
		if r.status != statusRefused || !strings.Contains(r.err, c.err) {
			t.Errorf("%+v, want %q", r, c.err)
		}
	}
	if kept := member(t, d.dir, room.id, "@bob:b.example"); kept.ID() != invite.ID() {
		t.Errorf("the room shows %s", kept.Membership())
	}
}

// A leave that the invited server does not take was not sent.
func TestRescindNotTaken(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	s, _ := st.serveArgs(t)
	d, other := newTestDisk(t), freeAddress(t)
	room, err := newRoom(t.Context(), newTestRules(t, "11"), newTestSigner(t, fedinvite.ServerName(s.name)), s.user("alice"), "")
	if err != nil {
		t.Fatal(err)
	}
	invite := newTestInvite(t, room, s.user("alice"), "@bob:"+other)
	if err := d.found(room.with(invite)); err != nil {
		t.Fatal(err)
	}
	st.listenAndServe(t, other, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		leave := member(t, d.dir, room.id, invitee(invite)).ID() // stored before it is sent
		w.Header().Set("Content-Type", "application/json")
		_ = json.NewEncoder(w).Encode(object{"pdus": object{leave: object{"error": "not\tnow"}}})
	}))
	r := s.rescind(t, d.dir, invite)
	if r.status != statusRefused || r.out != "" || !strings.Contains(r.err, "stored but not sent") || !strings.Contains(r.err, `not\tnow`) {
		t.Errorf("%+v", r)
	}
}
