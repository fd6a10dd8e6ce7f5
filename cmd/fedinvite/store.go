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
	// held returns the invites to a room that a user holds, from each server one at most.
	held(roomID, userID string) ([]*fedinvite.Event, error)
	// heldFrom returns the one from a server, or nil.
	heldFrom(origin fedinvite.ServerName, roomID, userID string) (*fedinvite.Event, error)
	// hold keeps an invite, in place of an older one from the same server: that may have
	// been taken back without our hearing of it. Those from other servers stay, because
	// nobody here can tell which is real.
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

// origin returns the server of the sender, which is the one that an invite came from.
func origin(e *fedinvite.Event) fedinvite.ServerName {
	_, server, _ := fedinvite.ParseUserID(e.Sender()) // was checked when it came
	return server
}

// errNoRoom is what users and peers are told about a room that is not kept.
func errNoRoom() error {
	e := fedinvite.Refuse(fedinvite.CodeNotFound, "no such room here")
	e.Status = http.StatusNotFound
	return e
}

// maxHeld is how many invites a store keeps: what peers send must not fill it.
const maxHeld = 1000
