package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
)

// A disk is a store in a directory that several processes share:
//
//	DIR/rooms/ROOM/000001.json …      the events of a room, in order
//	DIR/invites/INVITEE-ORIGIN.json   the invite of a server that a user of ours holds to a room
//	DIR/tmp                           what is not there yet, or no more
//
// ROOM, INVITEE (room and user) and ORIGIN are hashes of identifiers. Every file holds one
// event, appears whole and is read when it is asked for, so that a process sees at once what
// another has done. An event is added under the next free number, and whoever finds that
// taken reads the room again; an invite takes the place of an older one, and whoever removes
// one makes sure that it is not a newer one: nobody waits.
type disk struct {
	dir     string
	holding sync.Mutex // among the goroutines of one process, for the sake of maxHeld
}

// maxTries is how often somebody else may be faster before a process gives up.
const maxTries = 100

// newDisk returns the store in a directory, which need not be there.
func newDisk(dir string) *disk { return &disk{dir: dir} }

// openDisk returns the store in a directory, which it makes if need be.
func openDisk(dir string) (*disk, error) {
	d := newDisk(dir)
	for _, name := range []string{d.rooms(), d.invites(), d.tmp()} {
		if err := os.MkdirAll(name, 0o700); err != nil {
			return d, fmt.Errorf("store: %w", err)
		}
	}
	if err := d.sweep(); err != nil {
		return d, fmt.Errorf("store: %w", err)
	}
	return d, nil
}

func (d *disk) rooms() string   { return filepath.Join(d.dir, "rooms") }
func (d *disk) invites() string { return filepath.Join(d.dir, "invites") }
