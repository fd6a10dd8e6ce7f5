package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
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

// A user holds one invite to a room from each server, the newest, and only the one that is
// named is removed.
func TestStoreInvites(t *testing.T) {
	const tea = "!tea:a.example"
	first := newForeignInvite(t, tea, "@a:a.example", "@b:b.example")
	newer := newForeignInvite(t, tea, "@aa:a.example", "@b:b.example")
	foreign := newForeignInvite(t, tea, "@c:c.example", "@b:b.example")
	other := newForeignInvite(t, tea, "@a:a.example", "@c:b.example")
	elsewhere := newForeignInvite(t, "!coffee:a.example", "@a:a.example", "@b:b.example")
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			holds := func(userID string, want ...*fedinvite.Event) {
				t.Helper()
				held, err := s.held(tea, userID)
				if err != nil {
					t.Error(err)
				}
				diff(t, ids(want), ids(held))
				for _, server := range []fedinvite.ServerName{"a.example", "c.example"} {
					i := slices.IndexFunc(want, func(e *fedinvite.Event) bool { return origin(e) == server })
					got, err := s.heldFrom(server, tea, userID)
					if err != nil || (i < 0) != (got == nil) || i >= 0 && got.ID() != want[i].ID() {
						t.Errorf("from %s %s holds %v, %v", server, userID, got, err)
					}
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
			holds("@b:b.example")
			drop(first, false)
			for _, e := range []*fedinvite.Event{foreign, first, other, elsewhere, first} { // one is sent again
				hold(e)
			}
			drop(newer, false)
			holds("@b:b.example", foreign, first)
			holds("@c:b.example", other)
			hold(newer)
			drop(first, false)
			holds("@b:b.example", foreign, newer)
			drop(newer, true)
			drop(newer, false)
			holds("@b:b.example", foreign)
			hold(first)
			drop(foreign, true)
			holds("@b:b.example", first)
			holds("@c:b.example", other)
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
		for depth := int64(1); depth <= 2; depth++ {
			if err := s.hold(invite(depth)); err != nil {
				t.Fatal(err)
			}
			e, err := s.heldFrom("a.example", "!r:a.example", "@b:b.example")
			if err != nil || e == nil || e.Depth() != depth {
				t.Errorf("%s: %v, %v", name, e, err)
			}
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
		if e, err := m.heldFrom("a.example", "!r:a.example", invitee(invites[i])); err != nil || (e != nil) != want {
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

// Of the invites of one server that come to two processes at once one is held, and those
// of different servers all are.
func TestDiskHoldAtOnce(t *testing.T) {
	var invites []*fedinvite.Event
	for _, sender := range []string{"@a:a.example", "@b:a.example", "@c:c.example"} {
		invites = append(invites, newForeignInvite(t, "!r:a.example", sender, "@b:b.example"))
	}
	for range 30 {
		d := newTestDisk(t)
		var holding sync.WaitGroup
		for _, e := range invites {
			holding.Go(func() {
				if err := newDisk(d.dir).hold(e); err != nil {
					t.Error(err)
				}
			})
		}
		holding.Wait()
		held, err := d.held("!r:a.example", "@b:b.example")
		if err != nil || len(held) != 2 || origin(held[0]) == origin(held[1]) {
			t.Fatalf("%v, %v", held, err)
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
		held, err := d.heldFrom("a.example", "!r:a.example", "@b:b.example")
		if err != nil || held == nil || held.ID() != next.ID() || dropped.Load() != 1 {
			t.Errorf("holds %v, dropped %d times, %v", held, dropped.Load(), err)
		}
	}
}

// Nor if the next one comes while it is at it.
func TestDiskDropWhileHolding(t *testing.T) {
	first := newForeignInvite(t, "!r:a.example", "@a:a.example", "@b:b.example")
	next := newForeignInvite(t, "!r:a.example", "@c:a.example", "@b:b.example")
	d := newTestDisk(t)
	for range 200 {
		if err := d.hold(first); err != nil {
			t.Fatal(err)
		}
		var running sync.WaitGroup
		running.Go(func() {
			if _, err := newDisk(d.dir).drop(first); err != nil {
				t.Error(err)
			}
		})
		if err := d.hold(next); err != nil {
			t.Error(err)
		}
		running.Wait()
		if held, err := d.held("!r:a.example", "@b:b.example"); err != nil || len(held) != 1 || held[0].ID() != next.ID() {
			t.Fatalf("holds %v, %v", held, err)
		}
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
	if e, err := d.heldFrom("a.example", invite.RoomID(), invitee(invite)); e == nil || err != nil {
		t.Errorf("%v, %v", e, err)
	}
}
