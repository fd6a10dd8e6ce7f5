package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

func isRefusal(err error, code fedinvite.Code) bool {
	refusal, ok := errors.AsType[*fedinvite.Error](err)
	return ok && refusal.Code == code
}

// newForeignInvite makes an invite to a room, signed by the sender's server, as anybody
// can.
func newForeignInvite(t testing.TB, roomID, sender, invitee string) *fedinvite.Event {
	t.Helper()
	return newTestInvite(t, &room{rules: newTestRules(t, "11"), id: roomID}, sender, invitee)
}

// A user holds one invite to a room. What comes later does not displace it, and only it
// is removed in its name.
func TestStoreInvites(t *testing.T) {
	const tea = "!tea:a.example"
	first := newForeignInvite(t, tea, "@a:a.example", "@b:b.example")
	second := newForeignInvite(t, tea, "@c:c.example", "@b:b.example")
	other := newForeignInvite(t, tea, "@a:a.example", "@c:b.example")
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			holds := func(userID string, want *fedinvite.Event) {
				t.Helper()
				switch got, err := s.held(tea, userID); {
				case err != nil:
					t.Error(err)
				case got == nil || want == nil:
					if got != want {
						t.Errorf("%s holds %v, want %v", userID, got, want)
					}
				default:
					diff(t, want.ID(), got.ID())
				}
			}
			drop := func(e *fedinvite.Event, want bool) {
				t.Helper()
				if dropped, err := s.drop(e); dropped != want || err != nil {
					t.Errorf("dropped %v, %v", dropped, err)
				}
			}
			hold := func(e *fedinvite.Event) {
				t.Helper()
				if err := s.hold(e); err != nil {
					t.Error(err)
				}
			}
			holds("@b:b.example", nil)
			drop(first, false)
			hold(first)
			hold(other)
			if err := s.hold(second); !isRefusal(err, fedinvite.CodeForbidden) {
				t.Errorf("another invite to the room: %v", err)
			}
			hold(first) // sent again
			drop(second, false)
			holds("@b:b.example", first)
			holds("@c:b.example", other)
			drop(first, true)
			drop(first, false)
			holds("@b:b.example", nil)
			holds("@c:b.example", other)
			hold(second)
			drop(first, false)
			holds("@b:b.example", second)
		})
	}
}

// In room versions 1–2 another event may come under the ID of the one that is held.
func TestStoreInviteWithTheIDOfAnother(t *testing.T) {
	rules := newTestRules(t, "1")
	invite := func(depth int64) *fedinvite.Event {
		d := fedinvite.Draft{RoomID: "!r:a.example", Sender: "@a:a.example", Invitee: "@b:b.example", EventID: "$x:a.example", Depth: depth, Time: time.UnixMilli(1)}
		e, err := fedinvite.NewInvite(t.Context(), d, rules, newTestSigner(t, "a.example"))
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	for name, s := range stores(t) {
		if err := s.hold(invite(1)); err != nil {
			t.Fatal(err)
		}
		if err := s.hold(invite(2)); !isRefusal(err, fedinvite.CodeForbidden) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMemoryForgetsTheOldestInvite(t *testing.T) {
	invites := make([]*fedinvite.Event, maxHeld+1)
	m := newMemory()
	for i := range invites {
		invites[i] = newForeignInvite(t, "!r:a.example", "@a:a.example", fmt.Sprintf("@b%d:b.example", i))
		if err := m.hold(invites[i]); err != nil {
			t.Fatal(err)
		}
	}
	for i, want := range map[int]bool{0: false, 1: true, maxHeld: true} {
		if e, err := m.held("!r:a.example", invitee(invites[i])); err != nil || (e != nil) != want {
			t.Errorf("invite %d: %v, %v", i, e, err)
		}
	}
}

// fill has a disk hold so many invites.
func fill(t *testing.T, d *disk, n int) {
	t.Helper()
	for i := range n {
		if err := os.Mkdir(filepath.Join(d.invites(), fmt.Sprint(i)), 0o700); err != nil {
			t.Fatal(err)
		}
	}
}

// A disk takes no invite more than it may hold, whatever else is in its directory and
// however often one that it holds comes again.
func TestDiskInviteLimit(t *testing.T) {
	d := newTestDisk(t)
	fill(t, d, maxHeld-1)
	for i := range 20 {
		if err := os.WriteFile(filepath.Join(d.invites(), fmt.Sprintf(".x%d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	held := newForeignInvite(t, "!r:a.example", "@a:a.example", "@b:b.example")
	for range 2 {
		if err := d.hold(held); err != nil {
			t.Fatal(err)
		}
	}
	var again sync.WaitGroup
	again.Go(func() {
		for range 50 {
			if err := d.hold(held); err != nil {
				t.Errorf("one that is there: %v", err)
			}
		}
	})
	for i := range 50 {
		e := newForeignInvite(t, fmt.Sprintf("!r%d:a.example", i), "@a:a.example", "@b:b.example")
		if err := d.hold(e); !isRefusal(err, fedinvite.CodeLimitExceeded) {
			t.Errorf("one more: %v", err)
		}
	}
	again.Wait()
}

// Of many invites at once no more are taken than there are places.
func TestDiskInviteLimitAtOnce(t *testing.T) {
	d := newTestDisk(t)
	fill(t, d, maxHeld-1)
	var taken atomic.Int64
	var holding sync.WaitGroup
	for i := range 20 {
		e := newForeignInvite(t, fmt.Sprintf("!r%d:a.example", i), "@a:a.example", "@b:b.example")
		holding.Go(func() {
			if d.hold(e) == nil {
				taken.Add(1)
			}
		})
	}
	holding.Wait()
	if n := taken.Load(); n != 1 {
		t.Errorf("%d invites were taken", n)
	}
}

// Of two invites that come to two processes at once one is held, and that says so.
func TestDiskHoldAtOnce(t *testing.T) {
	invites := [2]*fedinvite.Event{}
	for i, sender := range []string{"@a:a.example", "@c:c.example"} {
		invites[i] = newForeignInvite(t, "!r:a.example", sender, "@b:b.example")
	}
	for range 30 {
		d := newTestDisk(t)
		errs := [2]error{}
		var holding sync.WaitGroup
		for i, e := range invites {
			holding.Go(func() { errs[i] = newDisk(d.dir).hold(e) })
		}
		holding.Wait()
		held, err := d.held("!r:a.example", "@b:b.example")
		if err != nil || held == nil {
			t.Fatalf("%v, %v", held, err)
		}
		for i, e := range invites {
			if (errs[i] == nil) != (held.ID() == e.ID()) || errs[i] != nil && !isRefusal(errs[i], fedinvite.CodeForbidden) {
				t.Errorf("%s is held; invite %d: %v", held.Sender(), i, errs[i])
			}
		}
	}
}

// Whoever removes an invite late, in another process, does not remove the next one.
func TestDiskDropAtOnce(t *testing.T) {
	first := newForeignInvite(t, "!r:a.example", "@a:a.example", "@b:b.example")
	next := newForeignInvite(t, "!r:a.example", "@c:a.example", "@b:b.example")
	for range 50 {
		d := newTestDisk(t)
		if err := d.hold(first); err != nil {
			t.Fatal(err)
		}
		var dropped atomic.Int64
		drop := func() {
			switch ok, err := newDisk(d.dir).drop(first); {
			case err != nil:
				t.Error(err)
			case ok:
				dropped.Add(1)
			}
		}
		var running sync.WaitGroup
		running.Go(drop)
		running.Go(func() {
			drop()
			if err := newDisk(d.dir).hold(next); err != nil {
				t.Error(err)
			}
		})
		running.Wait()
		held, err := d.held("!r:a.example", "@b:b.example")
		if err != nil || held == nil || held.ID() != next.ID() || dropped.Load() != 1 {
			t.Errorf("holds %v, dropped %d times, %v", held, dropped.Load(), err)
		}
	}
}

// A process that was killed while it removed an invite is in nobody's way.
func TestDiskDropCutShort(t *testing.T) {
	d := newTestDisk(t)
	invite := newForeignInvite(t, "!r:a.example", "@a:a.example", "@b:b.example")
	if err := os.Mkdir(d.inviteDir(invite.RoomID(), invitee(invite)), 0o700); err != nil {
		t.Fatal(err)
	}
	if e, err := d.held(invite.RoomID(), invitee(invite)); e != nil || err != nil {
		t.Errorf("%v, %v", e, err)
	}
	if err := d.hold(invite); err != nil {
		t.Error(err)
	}
}

// What is too large to be read again is not held.
func TestDiskHoldsWhatItCanRead(t *testing.T) {
	invite := newForeignInvite(t, "!r:a.example", "@a:a.example", "@b:b.example")
	text := string(invite.AppendJSON(nil))
	withUnsigned := func(n int) *fedinvite.Event {
		raw := strings.TrimSuffix(text, "}") + `,"unsigned":{"x":"` + strings.Repeat("x", n) + `"}}`
		e, err := fedinvite.ParseEvent([]byte(raw), invite.Rules())
		if err != nil {
			t.Fatal(err)
		}
		return e
	}
	d := newTestDisk(t)
	if err := d.hold(withUnsigned(maxRecord)); !isRefusal(err, fedinvite.CodeTooLarge) {
		t.Errorf("too large: %v", err)
	}
	most := maxRecord - int(recordSize(withUnsigned(0)))
	if err := d.hold(withUnsigned(most + 1)); !isRefusal(err, fedinvite.CodeTooLarge) {
		t.Errorf("too large: %v", err)
	}
	if err := d.hold(withUnsigned(most)); err != nil {
		t.Error(err)
	}
	if e, err := d.held(invite.RoomID(), invitee(invite)); e == nil || err != nil {
		t.Errorf("%v, %v", e, err)
	}
}
