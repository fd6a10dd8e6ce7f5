package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

func (d *disk) roomDir(id string) string   { return filepath.Join(d.rooms(), hashName(id)) }
func eventName(n int) string               { return fmt.Sprintf("%06d.json", n) }
func eventFile(dir string, n int) string   { return filepath.Join(dir, eventName(n)) }
func roomError(id string, err error) error { return fmt.Errorf("stored room %q: %w", id, err) }

func (d *disk) found(r *room) error {
	files := make(map[string][]byte)
	for i, e := range r.events {
		files[eventName(i+1)] = encodeRecord(e)
	}
	return d.createDir(d.roomDir(r.id), files)
}

// discard removes a room.
func (d *disk) discard(r *room) error { return d.removeDir(d.roomDir(r.id)) }

func (d *disk) room(roomID string) (*room, error) {
	dir := d.roomDir(roomID)
	names, err := listDir(dir, maxRoomEvents+1)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(names) == 0 {
		return nil, errNoRoom()
	}
	if err != nil {
		return nil, roomError(roomID, err)
	}
	r := &room{id: roomID}
	for i := range names {
		e, size, err := readRecord(eventFile(dir, i+1), maxInput-r.size)
		if err == nil {
			err = r.accept(e, size)
		}
		if err != nil {
			return nil, roomError(roomID, err)
		}
	}
	return r, nil
}

// accept takes the next event that was read, if it can be one of the room.
func (r *room) accept(e *fedinvite.Event, size int64) error {
	if len(r.events) == 0 {
		r.rules = e.Rules()
		if e.Type() != "m.room.create" {
			return errors.New("the first event is no m.room.create")
		}
	}
	if e.RoomID() != r.id || e.Rules() != r.rules {
		return fmt.Errorf("event %s is of another room or room version", e.ID())
	}
	r.events = append(r.events, e)
	r.size += size
	return nil
}

// Snapshot implements [fedclient.Room].
func (d *disk) Snapshot(_ context.Context, roomID string, _ []eventauth.StateKey) (*fedclient.Snapshot, error) {
	r, err := d.room(roomID)
	if err != nil {
		return nil, err
	}
	return r.snapshot(), nil
}

func (d *disk) add(e *fedinvite.Event) (added bool, err error) {
	for range maxTries {
		r, err := d.room(e.RoomID())
		if err != nil || r.has(e.ID()) {
			return false, err
		}
		if err := r.admit(e); err != nil {
			return false, err
		}
		err = d.createFile(eventFile(d.roomDir(r.id), len(r.events)+1), encodeRecord(e))
		if !errors.Is(err, fs.ErrExist) { // else another process was faster
			return err == nil, err
		}
	}
	return false, roomError(e.RoomID(), fmt.Errorf("the place of the next event was taken %d times", maxTries))
}

// replace puts an event in the place of the same event with fewer signatures.
func (d *disk) replace(e *fedinvite.Event) error {
	r, err := d.room(e.RoomID())
	if err != nil {
		return err
	}
	i := slices.IndexFunc(r.events, func(old *fedinvite.Event) bool { return old.ID() == e.ID() })
	if i < 0 {
		return roomError(r.id, fmt.Errorf("no event %s", e.ID()))
	}
	return d.replaceFile(eventFile(d.roomDir(r.id), i+1), encodeRecord(e))
}
