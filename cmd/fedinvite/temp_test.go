package main

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// What a process that was killed has left goes when a store is opened, but not what
// another process may be about.
func TestOpenDiskSweeps(t *testing.T) {
	d := newTestDisk(t)
	for name, age := range map[string]time.Duration{"old": 2 * maxTempAge, "young": maxTempAge / 2} {
		dir, then := filepath.Join(d.tmp(), name), time.Now().Add(-age)
		err := errors.Join(
			os.Mkdir(dir, 0o700),
			os.WriteFile(filepath.Join(dir, "x"), nil, 0o600),
			os.Chtimes(dir, then, then))
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := openDisk(d.dir); err != nil {
		t.Fatal(err)
	}
	left, err := filepath.Glob(filepath.Join(d.tmp(), "*", "*"))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, []string{filepath.Join(d.tmp(), "young", "x")}, left)
}

// What fails leaves nothing behind.
func TestDiskFailuresLeaveNothing(t *testing.T) {
	d := newTestDisk(t)
	nowhere := filepath.Join(d.dir, "missing", "name")
	r := newTestRoom(t, "11")
	for i, err := range []error{
		d.createFile(nowhere, nil),
		d.replaceFile(nowhere, nil),
		d.createDir(nowhere, nil),
		d.removeDir(nowhere),
		d.createDir(filepath.Join(d.rooms(), "room"), map[string][]byte{"a/b": nil}),
		d.discard(r),
	} {
		if err == nil {
			t.Errorf("%d: no error", i)
		}
	}
	for _, dir := range []string{d.tmp(), d.rooms(), d.invites()} {
		if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
			t.Errorf("%v, %v", left, err)
		}
	}
}

// A room is removed whole: whoever is stopped while doing it leaves none, or all of it.
func TestDiskDiscardsWhole(t *testing.T) {
	r := newTestRoom(t, "11")
	d := newTestDisk(t)
	if err := d.found(r); err != nil {
		t.Fatal(err)
	}
	dir := d.roomDir(r.id)
	for i := len(r.events); i < maxRoomEvents; i++ {
		if err := os.Link(eventFile(dir, 1), eventFile(dir, i+1)); err != nil {
			t.Fatal(err)
		}
	}
	discarded := make(chan error, 1)
	go func() { discarded <- d.discard(r) }()
	for {
		_, file := os.Stat(eventFile(dir, 1))
		_, whole := os.Stat(dir)
		if file != nil && whole == nil {
			t.Fatal("a part of the room is there")
		}
		if whole != nil {
			break
		}
	}
	if err := <-discarded; err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(d.tmp()); err != nil || len(left) > 0 {
		t.Errorf("%v, %v", left, err)
	}
}
