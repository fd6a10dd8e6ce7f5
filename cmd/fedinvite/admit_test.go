package main

import (
	"bytes"
	"encoding/json"
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
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// newTestLeave makes one of many different leaves by which a user declines.
func newTestLeave(t testing.TB, r *room, userID string, ts int64, reason string) *fedinvite.Event {
	t.Helper()
	content, err := json.Marshal(object{"reason": reason})
	if err != nil {
		t.Fatal(err)
	}
	s := r.snapshot()
	d := fedinvite.Draft{
		RoomID: r.id, Sender: userID, Invitee: userID, Content: content,
		PrevEvents: s.Extremities, Depth: s.Depth + 1, Time: time.UnixMilli(ts),
	}
	_, server, err := fedinvite.ParseUserID(userID)
	if err != nil {
		t.Fatal(err)
	}
	e, err := fedinvite.NewLeave(t.Context(), d, r.rules, newTestSigner(t, server))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// Of different leaves that end one invite at once, one is stored.
func TestStoreLeavesAtOnce(t *testing.T) {
	const bob = "@b:b.example"
	r := newTestRoom(t, "11")
	r = r.with(newTestInvite(t, r, "@a:a.example", bob))
	leaves := []*fedinvite.Event{newTestMember(t, r, "leave", "@a:a.example", bob)}
	for i := range 20 {
		leaves = append(leaves, newTestLeave(t, r, bob, int64(i), ""))
	}
	for name, s := range stores(t) {
		t.Run(name, func(t *testing.T) {
			if err := s.found(r); err != nil {
				t.Fatal(err)
			}
			var adding sync.WaitGroup
			var stored atomic.Int64
			for _, e := range leaves {
				adding.Go(func() {
					switch added, err := s.add(e); {
					case added:
						stored.Add(1)
					case !isRefusal(err, fedinvite.CodeForbidden):
						t.Errorf("not stored: %v", err)
					}
				})
			}
			adding.Wait()
			now, err := s.room(r.id)
			if err != nil || len(now.events) != len(r.events)+1 || stored.Load() != 1 {
				t.Errorf("%d leaves were stored, %v", stored.Load(), err)
			}
		})
	}
}

// A room takes what its rules allow, as it is now.
func TestStoreAuthorises(t *testing.T) {
	r := newTestRoom(t, "11")
	invite := newTestInvite(t, r, "@a:a.example", "@b:b.example")
	leave := newTestMember(t, r.with(invite), "leave", "@b:b.example", "@b:b.example")
	kick := newTestMember(t, r.with(invite), "leave", "@a:a.example", "@b:b.example")
	for name, s := range stores(t) {
		if err := s.found(r); err != nil {
			t.Fatal(err)
		}
		for i, c := range []struct {
			event *fedinvite.Event
			added bool
		}{
			{leave, false}, // of nobody
			{newTestInvite(t, r, "@m:a.example", "@b:b.example"), false},
			{invite, true},
			{leave, true},
			{kick, false},
			{newTestLeave(t, r, "@b:b.example", 1, ""), false},
			{newTestInvite(t, r.with(invite).with(leave), "@a:a.example", "@b:b.example"), true},
			{kick, true}, // now it ends an invite
		} {
			added, err := s.add(c.event)
			if added != c.added || added != (err == nil) || !added && !isRefusal(err, fedinvite.CodeForbidden) {
				t.Errorf("%s, %d: added %v, %v", name, i, added, err)
			}
		}
		if added, err := s.add(leave); added || err != nil { // the rules forbid it now, but it is there
			t.Errorf("%s: added %v, %v", name, added, err)
		}
		_, err := s.add(newTestInvite(t, r, "@m:a.example", "@c:b.example"))
		if rule, ok := errors.AsType[*eventauth.RuleError](err); !ok || rule.Rule != "4.4.2" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A room gets as large as can be read, and no larger.
func TestDiskRoomSize(t *testing.T) {
	const bob = "@b:b.example"
	r := newTestRoom(t, "11")
	r = r.with(newTestInvite(t, r, "@a:a.example", bob))
	d := newTestDisk(t)
	if err := d.found(r); err != nil {
		t.Fatal(err)
	}
	const n, left = 17, 30_000
	size := (maxInput - r.size - left) / n
	filler := encodeRecord(newTestInvite(t, r, "@a:a.example", "@c:b.example"))
	filler = append(filler, bytes.Repeat([]byte(" "), int(size)-len(filler))...) // as if edited by hand
	for i := range n {
		if err := os.WriteFile(eventFile(d.roomDir(r.id), len(r.events)+1+i), filler, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	most := maxInput - r.size - n*size
	empty := recordSize(newTestLeave(t, r, bob, 1, ""))
	for _, more := range []int64{1, 0} {
		e := newTestLeave(t, r, bob, 1, strings.Repeat("x", int(most-empty+more)))
		added, err := d.add(e)
		if added != (more == 0) || added != (err == nil) || !added && !strings.Contains(err.Error(), "too many events") {
			t.Errorf("%d bytes too many: added %v, %v", more, added, err)
		}
	}
	if now, err := d.room(r.id); err != nil || now.size != maxInput {
		t.Errorf("the full room: %v", err)
	}
}

// Files that are not ours hide none of a room.
func TestDiskRoomAmongOtherFiles(t *testing.T) {
	r := newTestRoom(t, "11")
	d := newTestDisk(t)
	if err := d.found(r); err != nil {
		t.Fatal(err)
	}
	for i := range maxRoomEvents {
		if err := os.WriteFile(filepath.Join(d.roomDir(r.id), fmt.Sprintf(".x%d", i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if added, err := d.add(newTestInvite(t, r, "@a:a.example", "@b:b.example")); !added || err != nil {
		t.Errorf("added %v, %v", added, err)
	}
	if now, err := d.room(r.id); err != nil || len(now.events) != len(r.events)+1 {
		t.Errorf("%+v, %v", now, err)
	}
}
