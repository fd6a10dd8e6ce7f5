package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"

	"github.com/seed-0a46cb1a/fedinvite"
)

func (d *disk) inviteDir(roomID, userID string) string {
	return filepath.Join(d.invites(), hashName(roomID, userID))
}

func inviteName(eventID string) string { return hashName(eventID) + ".json" }

func (d *disk) held(roomID, userID string) (*fedinvite.Event, error) {
	e, err := readOnly(d.inviteDir(roomID, userID))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil && (e.Membership() != "invite" || e.RoomID() != roomID || invitee(e) != userID) {
		err = errors.New("it is another event")
	}
	if err != nil {
		return nil, fmt.Errorf("stored invite of %q to %q: %w", userID, roomID, err)
	}
	return e, nil
}

// readOnly reads the only event in a directory. The error is [fs.ErrNotExist] if there
// is none, or none any more.
func readOnly(dir string) (*fedinvite.Event, error) {
	names, err := listDir(dir, 2)
	switch {
	case err != nil:
		return nil, err
	case len(names) == 0:
		return nil, fs.ErrNotExist
	case len(names) > 1:
		return nil, errors.New("there is more than one")
	}
	e, _, err := readRecord(filepath.Join(dir, names[0]), maxRecord)
	return e, err
}

// hold refuses an invite if there are too many: unlike a memory it forgets none.
func (d *disk) hold(invite *fedinvite.Event) error {
	record := encodeRecord(invite)
	if len(record) > maxRecord {
		return &fedinvite.Error{Code: fedinvite.CodeTooLarge, Status: http.StatusRequestEntityTooLarge, Message: "too much in unsigned"}
	}
	d.holding.Lock()
	defer d.holding.Unlock()
	dir := d.inviteDir(invite.RoomID(), invitee(invite))
	for range maxTries {
		current, err := d.held(invite.RoomID(), invitee(invite))
		switch {
		case err != nil:
			return err
		case current != nil:
			return oneHeld(current, invite)
		}
		_ = os.Remove(dir) // a drop that was cut short leaves it empty
		if err := d.vacancy(); err != nil {
			return err
		}
		err = d.createDir(dir, map[string][]byte{inviteName(invite.ID()): record})
		if !errors.Is(err, fs.ErrExist) { // else another process was faster
			return err
		}
	}
	return fmt.Errorf("stored invite of %q to %q: others came and went %d times", invitee(invite), invite.RoomID(), maxTries)
}

// vacancy returns an error unless there is a place for an invite more.
func (d *disk) vacancy() error {
	names, err := listDir(d.invites(), maxHeld)
	if err == nil && len(names) >= maxHeld {
		err = fedinvite.Refuse(fedinvite.CodeLimitExceeded, "too many invites are pending here")
	}
	return err
}

func (d *disk) drop(invite *fedinvite.Event) (dropped bool, err error) {
	dir := d.inviteDir(invite.RoomID(), invitee(invite))
	err = os.Remove(filepath.Join(dir, inviteName(invite.ID())))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		_ = os.Remove(dir) // unless the next invite is in it already
		syncDir(d.invites())
	}
	return err == nil, err
}
