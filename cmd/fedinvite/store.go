package main

import (
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// A store keeps the rooms that our server is in and the invites that its users hold.
// It is safe for concurrent use.
type store interface {
	fedclient.Room
	// found keeps a new room.
	found(r *room) error
	// room returns a room as it is now.
	room(roomID string) (*room, error)
	// add puts a member event into its room, if the room as it is now allows it; added is
	// false if it is there already.
	add(e *fedinvite.Event) (added bool, err error)
	// held returns the invite that a user holds, or nil.
	held(roomID, userID string) (*fedinvite.Event, error)
	// hold keeps an invite. It refuses an invite if the user holds another to the room;
	// the one that is held may come again.
	hold(invite *fedinvite.Event) error
	// drop removes an invite; dropped is false if it was not held, or another was.
	drop(invite *fedinvite.Event) (dropped bool, err error)
}

// openStore returns the store in a directory, or one in memory if the name is empty.
func openStore(dir string) (store, error) {
	if dir == "" {
		return newMemory(), nil
	}
	return openDisk(dir)
}

// invitee returns the user that a membership event is about.
func invitee(e *fedinvite.Event) string {
	userID, _ := e.StateKey()
	return userID
}

// errNoRoom is what users and peers are told about a room that is not kept.
func errNoRoom() error {
	e := fedinvite.Refuse(fedinvite.CodeNotFound, "no such room here")
	e.Status = http.StatusNotFound
	return e
}

// oneHeld refuses an invite unless it is the one that is held. In room versions 1–2 the
// event ID alone does not tell.
func oneHeld(held, invite *fedinvite.Event) error {
	if held.ID() == invite.ID() && held.ReferenceHash() == invite.ReferenceHash() {
		return nil
	}
	return fedinvite.Refuse(fedinvite.CodeForbidden, "This invite is not allowed.") // as policies say it
}

// maxHeld is how many invites a store keeps: what peers send must not fill it.
const maxHeld = 1000
