package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

// stores returns an empty store of each kind.
func stores(t *testing.T) map[string]store {
	t.Helper()
	return map[string]store{"memory": newMemory(), "disk": newTestDisk(t)}
}

func newTestDisk(t testing.TB) *disk {
	t.Helper()
	d, err := openDisk(filepath.Join(t.TempDir(), "store"))
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func newTestRoom(t testing.TB, version fedinvite.RoomVersion) *room {
	t.Helper()
	r, err := newRoom(t.Context(), newTestRules(t, version), newTestSigner(t, "a.example"), "@a:a.example", "Name")
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func isNotFound(err error) bool {
	refusal, ok := errors.AsType[*fedinvite.Error](err)
	return ok && refusal.Code == fedinvite.CodeNotFound && refusal.HTTPStatus() == 404
}

func TestStoreRooms(t *testing.T) {
	for name, s := range stores(t) {
		for _, version := range fedinvite.RoomVersions() {
			t.Run(name+"/v"+string(version), func(t *testing.T) {
				r := newTestRoom(t, version)
				invite := newTestInvite(t, r, "@a:a.example", "@b:b.example")
				if _, err := s.Snapshot(t.Context(), r.id, nil); !isNotFound(err) {
					t.Errorf("no room: %v", err)
				}
				if _, err := s.add(invite); !isNotFound(err) {
					t.Errorf("no room: %v", err)
				}
				if err := s.found(r); err != nil {
					t.Fatal(err)
				}
				for _, want := range []bool{true, false} { // the second time it is there
					if added, err := s.add(invite); added != want || err != nil {
						t.Errorf("added %v, %v", added, err)
					}
				}
				kept, err := s.room(r.id)
				if err != nil {
					t.Fatal(err)
				}
				diff(t, texts(r.with(invite).events), texts(kept.events))
				snapshot, err := s.Snapshot(t.Context(), r.id, nil)
				if err != nil {
					t.Fatal(err)
				}
				if snapshot.Version != version || snapshot.Depth != 6 || snapshot.State.Get("m.room.member", "@b:b.example").ID() != invite.ID() {
					t.Errorf("%+v", snapshot)
				}
				diff(t, []fedinvite.EventRef{invite.Ref()}, snapshot.Extremities)
			})
		}
	}
}

func texts(events []*fedinvite.Event) (all []string) {
	for _, e := range events {
		all = append(all, string(e.AppendJSON(nil)))
	}
	return all
}

func TestStoreRoomLimit(t *testing.T) {
	r := newTestRoom(t, "11")
	invite := newTestInvite(t, r, "@a:a.example", "@b:b.example")
	d := newTestDisk(t)
	if err := d.found(r); err != nil {
		t.Fatal(err)
	}
	for i := len(r.events); i < maxRoomEvents; i++ {
		if err := os.Link(eventFile(d.roomDir(r.id), 1), eventFile(d.roomDir(r.id), i+1)); err != nil {
			t.Fatal(err)
		}
	}
	m := newMemory(&room{rules: r.rules, id: r.id, events: slices.Repeat(r.events[:1], maxRoomEvents)})
	for _, s := range []store{d, m} {
		if added, err := s.add(invite); added || err == nil || !strings.Contains(err.Error(), "too many events") {
			t.Errorf("%T: added %v, %v", s, added, err)
		}
	}
}

// Several processes add to one room: every event is there, once, in some order.
func TestDiskConcurrency(t *testing.T) {
	r := newTestRoom(t, "11")
	d := newTestDisk(t)
	if err := d.found(r); err != nil {
		t.Fatal(err)
	}
	if err := d.found(r); err == nil {
		t.Error("a room is made twice")
	}
	const events, writers = 10, 3
	var want []string
	var writing sync.WaitGroup
	added := make([]int, events)
	var mu sync.Mutex
	for i := range events {
		e := newTestInvite(t, r, "@a:a.example", fmt.Sprintf("@b%d:b.example", i))
		want = append(want, e.ID())
		for range writers {
			writing.Go(func() {
				ok, err := newDisk(d.dir).add(e)
				if err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				if ok {
					added[i]++
				}
			})
		}
	}
	writing.Wait()
	kept, err := d.room(r.id)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range kept.events[len(r.events):] {
		got = append(got, e.ID())
	}
	slices.Sort(want)
	slices.Sort(got)
	diff(t, want, got)
	for i, n := range added {
		if n != 1 {
			t.Errorf("event %d was added %d times", i, n)
		}
	}
	if left, err := os.ReadDir(d.tmp()); err != nil || len(left) > 0 {
		t.Errorf("temporary files %v, %v", left, err)
	}
}

// An event is replaced in its place, and a room is removed as a whole.
func TestDiskReplaceAndDiscard(t *testing.T) {
	r := newTestRoom(t, "12")
	invite := newTestInvite(t, r, "@a:a.example", "@b:b.example")
	d := newTestDisk(t)
	if err := d.found(r.with(invite)); err != nil {
		t.Fatal(err)
	}
	if _, err := d.add(newTestMember(t, r.with(invite), "leave", "@b:b.example", "@b:b.example")); err != nil {
		t.Fatal(err)
	}
	finished, err := invite.WithSignature(t.Context(), newTestSigner(t, "b.example"))
	if err != nil {
		t.Fatal(err)
	}
	if err := d.replace(finished); err != nil {
		t.Fatal(err)
	}
	kept, err := d.room(r.id)
	if err != nil {
		t.Fatal(err)
	}
	diff(t, texts([]*fedinvite.Event{finished}), texts(kept.events[5:6]))
	if len(kept.events) != 7 {
		t.Errorf("%d events", len(kept.events))
	}
	if err := d.replace(newTestInvite(t, r, "@a:a.example", "@c:b.example")); err == nil {
		t.Error("an event that is not there was replaced")
	}
	if err := d.discard(r); err != nil {
		t.Fatal(err)
	}
	if _, err := d.room(r.id); !isNotFound(err) {
		t.Errorf("after all: %v", err)
	}
}

// No identifier leads out of the store, and other users cannot read what is in it.
func TestDiskFiles(t *testing.T) {
	d := newTestDisk(t)
	for _, id := range []string{"!../../../etc", "!/etc/passwd", "!\x00", "!..", ""} {
		room, invite := d.roomDir(id), d.inviteFile("../..", id, "@../..:b.example")
		if filepath.Dir(room) != d.rooms() || filepath.Dir(invite) != d.invites() || len(filepath.Base(room)) != 64 || len(filepath.Base(invite)) != 134 {
			t.Errorf("%q: %s, %s", id, room, invite)
		}
	}
	if hashName("a", "bc") == hashName("ab", "c") {
		t.Error("two invites share a file")
	}
	r := newTestRoom(t, "11")
	if err := errors.Join(d.found(r), d.hold(newTestInvite(t, r, "@a:a.example", "@b:b.example"))); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(d.dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Mode().Perm()&0o077 != 0 {
			t.Errorf("%s: %s", path, info.Mode())
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if _, err := openDisk(filepath.Join(writeFile(t, ""), "store")); err == nil {
		t.Error("a store in a file")
	}
}
