package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

// What stands in a store is an error where it is not what it should be.
func TestDiskHostileFiles(t *testing.T) {
	r := newTestRoom(t, "11")
	invite := newTestInvite(t, r, "@a:a.example", "@b:b.example")
	good := string(encodeRecord(invite))
	foreign := string(encodeRecord(newTestRoom(t, "11").events[0]))
	old := string(encodeRecord(newTestRoom(t, "1").events[1]))
	for _, c := range []struct{ name, text, err string }{
		{"empty", "", "not an event of a store"},
		{"garbage", "\x00\xff{", "not an event of a store"},
		{"array", "[]", "not an event of a store"},
		{"null", "null", "unknown room version"},
		{"no event", `{"room_version":"11"}`, "not JSON"},
		{"null event", `{"room_version":"11","event":null}`, "bad JSON"},
		{"event of another form", `{"room_version":"11","event":{}}`, "type is missing"},
		{"unknown room version", strings.Replace(good, `"11"`, `"99"`, 1), "unknown room version"},
		{"other room version", strings.Replace(good, `"11"`, `"1"`, 1), "bad JSON"},
		{"other member", strings.Replace(good, `{"room_version"`, `{"x":1,"room_version"`, 1), "unknown field"},
		{"two of them", good + good, "not an event of a store"},
		{"cut", good[:len(good)/2], "not an event of a store"},
		{"too large", good + strings.Repeat(" ", maxRecord), "more than 1048576 bytes"},
		{"another room", foreign, "another"},
		{"another room version", old, "another"},
		{"another invite", string(encodeRecord(newTestInvite(t, newTestRoom(t, "11"), "@a:a.example", "@b:b.example"))), "another"},
		{"nested", `{"room_version":"11","event":` + strings.Repeat("[", 20000), "not an event of a store"},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newTestDisk(t)
			if err := d.found(r); err != nil {
				t.Fatal(err)
			}
			for _, file := range []string{eventFile(d.roomDir(r.id), 6), d.fileOf(invite)} {
				if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			_, room := d.Snapshot(t.Context(), r.id, nil)
			_, add := d.add(invite)
			_, held := d.held(r.id, "@b:b.example")
			_, heldFrom := d.heldFrom("a.example", r.id, "@b:b.example")
			_, drop := d.drop(invite)
			for i, err := range []error{room, add, held, heldFrom, drop} {
				if err == nil || !strings.Contains(err.Error(), c.err) || !strings.Contains(err.Error(), "stored ") {
					t.Errorf("%d: %v, want %q", i, err, c.err)
				}
			}
			// An invite that comes mends it.
			if err := d.hold(invite); err != nil {
				t.Error(err)
			}
			if e, err := d.heldFrom("a.example", r.id, "@b:b.example"); e == nil || err != nil {
				t.Errorf("%v, %v", e, err)
			}
		})
	}
}

func TestDiskHostileRooms(t *testing.T) {
	r := newTestRoom(t, "11")
	for _, c := range []struct {
		name  string
		spoil func(dir string) error
		err   string
	}{
		{"a hole", func(dir string) error { return os.Remove(eventFile(dir, 2)) }, "000002.json"},
		{"no create event", func(dir string) error { return os.Rename(eventFile(dir, 5), eventFile(dir, 1)) }, "no m.room.create"},
		{"a stranger's file", func(dir string) error { return os.WriteFile(filepath.Join(dir, "x"), nil, 0o600) }, "000006.json"},
		{"a directory", func(dir string) error { return os.Mkdir(eventFile(dir, 6), 0o700) }, "000006.json"},
		{"a file of the system's", func(dir string) error { return os.WriteFile(filepath.Join(dir, ".DS_Store"), nil, 0o600) }, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := newTestDisk(t)
			if err := d.found(r); err != nil {
				t.Fatal(err)
			}
			if err := c.spoil(d.roomDir(r.id)); err != nil {
				t.Fatal(err)
			}
			_, err := d.room(r.id)
			if c.err == "" && err != nil || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v, want %q", err, c.err)
			}
			if isNotFound(err) {
				t.Errorf("a broken room counts as none: %v", err)
			}
		})
	}
}

func TestRecord(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		e := newTestRoom(t, version).events[0]
		again, err := decodeRecord(encodeRecord(e))
		if err != nil {
			t.Fatal(err)
		}
		diff(t, string(e.AppendJSON(nil)), string(again.AppendJSON(nil)))
		if again.Rules() != e.Rules() || again.ID() != e.ID() {
			t.Errorf("version %s: %s is %s", version, e.ID(), again.ID())
		}
	}
}

func FuzzDecodeRecord(f *testing.F) {
	for _, version := range fedinvite.RoomVersions() {
		f.Add(encodeRecord(newTestRoom(f, version).events[1]))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		e, err := decodeRecord(text)
		if err != nil {
			return
		}
		again, err := decodeRecord(encodeRecord(e))
		if err != nil || again.ID() != e.ID() {
			t.Errorf("%s: %v", e.ID(), err)
		}
	})
}
