package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// invitePrefix begins the names of the files of all invites of a user to a room.
func invitePrefix(roomID, userID string) string { return hashName(roomID, userID) + "-" }

func (d *disk) inviteFile(origin fedinvite.ServerName, roomID, userID string) string {
	return filepath.Join(d.invites(), invitePrefix(roomID, userID)+hashName(string(origin))+".json")
}

// fileOf returns the place of an invite.
func (d *disk) fileOf(invite *fedinvite.Event) string {
	return d.inviteFile(origin(invite), invite.RoomID(), invitee(invite))
}

// readInvite reads the invite that has its place in a file; nil: there is none.
func (d *disk) readInvite(name string) (*fedinvite.Event, error) {
	e, _, err := readRecord(name, maxRecord)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && (e.Membership() != "invite" || d.fileOf(e) != name) {
		err = fmt.Errorf("%s: it is another event", name)
	}
	if err != nil {
		return nil, fmt.Errorf("stored invite: %w", err)
	}
	return e, nil
}

func (d *disk) heldFrom(origin fedinvite.ServerName, roomID, userID string) (*fedinvite.Event, error) {
	return d.readInvite(d.inviteFile(origin, roomID, userID))
}

func (d *disk) held(roomID, userID string) (held []*fedinvite.Event, err error) {
	names, err := listDir(d.invites(), 2*maxHeld) // other processes may have put in some too many
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	slices.Sort(names)
	for _, name := range names {
		if !strings.HasPrefix(name, invitePrefix(roomID, userID)) {
			continue
		}
		e, err := d.readInvite(filepath.Join(d.invites(), name))
		if err != nil {
			return nil, err
		}
		if e != nil {
			held = append(held, e)
		}
	}
	return held, nil
}

// hold refuses an invite if there are too many: unlike a memory it forgets none.
func (d *disk) hold(invite *fedinvite.Event) error {
	record := encodeRecord(invite)
	if len(record) > maxRecord {
		return &fedinvite.Error{Code: fedinvite.CodeTooLarge, Status: http.StatusRequestEntityTooLarge, Message: "too much in unsigned"}
	}
	d.holding.Lock()
	defer d.holding.Unlock()
	name := d.fileOf(invite)
	if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
		if err := d.vacancy(); err != nil {
			return err
		}
	}
	return d.replaceFile(name, record)
}

// vacancy returns an error unless there is a place for an invite more.
func (d *disk) vacancy() error {
	names, err := listDir(d.invites(), maxHeld)
	if err == nil && len(names) >= maxHeld {
		err = fedinvite.Refuse(fedinvite.CodeLimitExceeded, "too many invites are pending here")
	}
	return err
}

// drop takes the file away before it decides: another process may put a newer invite
// there at any time, which must stay.
func (d *disk) drop(invite *fedinvite.Event) (dropped bool, err error) {
	name := d.fileOf(invite)
	held, err := d.readInvite(name)
	if err != nil || held == nil || held.ID() != invite.ID() {
		return false, err
	}
	err = d.withTemp(func(temp string) error {
		if err := os.Rename(name, temp); err != nil {
			return err
		}
		taken, _, err := readRecord(temp, maxRecord)
		if dropped = err == nil && taken.ID() == invite.ID(); !dropped {
			return errors.Join(err, putBack(temp, name))
		}
		syncDir(d.invites())
		return nil
	})
	if errors.Is(err, fs.ErrNotExist) { // another process was faster
		err = nil
	}
	return dropped, err
}

// putBack returns a file to its place, unless there is a newer one by now.
func putBack(temp, name string) error {
	err := os.Link(temp, name)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}
