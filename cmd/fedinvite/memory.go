package main

import (
	"context"
	"slices"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// A memory is a store that lives as long as the process. If it holds too many invites it
// forgets the oldest.
type memory struct {
	mu      sync.Mutex
	rooms   map[string]*room
	invites []*fedinvite.Event // oldest first
}

func newMemory(rooms ...*room) *memory {
	m := &memory{rooms: make(map[string]*room)}
	for _, r := range rooms {
		m.rooms[r.id] = r
	}
	return m
}

func (m *memory) found(r *room) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rooms[r.id] = r
	return nil
}

func (m *memory) room(roomID string) (*room, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rooms[roomID]
	if !ok {
		return nil, errNoRoom()
	}
	return r, nil
}

// Snapshot implements [fedclient.Room].
func (m *memory) Snapshot(_ context.Context, roomID string, _ []eventauth.StateKey) (*fedclient.Snapshot, error) {
	r, err := m.room(roomID)
	if err != nil {
		return nil, err
	}
	return r.snapshot(), nil
}

func (m *memory) add(e *fedinvite.Event) (added bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.rooms[e.RoomID()]
	switch {
	case !ok:
		return false, errNoRoom()
	case r.has(e.ID()):
		return false, nil
	}
	if err := r.admit(e); err != nil {
		return false, err
	}
	m.rooms[r.id] = r.with(e)
	return true, nil
}

func (m *memory) held(roomID, userID string) (held []*fedinvite.Event, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, e := range m.invites {
		if e.RoomID() == roomID && invitee(e) == userID {
			held = append(held, e)
		}
	}
	return held, nil
}

func (m *memory) heldFrom(server fedinvite.ServerName, roomID, userID string) (*fedinvite.Event, error) {
	held, err := m.held(roomID, userID)
	if i := slices.IndexFunc(held, func(e *fedinvite.Event) bool { return origin(e) == server }); i >= 0 {
		return held[i], nil
	}
	return nil, err
}

func (m *memory) hold(invite *fedinvite.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.invites = slices.DeleteFunc(m.invites, func(e *fedinvite.Event) bool { return replaces(invite, e) })
	if len(m.invites) >= maxHeld {
		m.invites = slices.Delete(m.invites, 0, 1)
	}
	m.invites = append(m.invites, invite)
	return nil
}

func (m *memory) drop(invite *fedinvite.Event) (dropped bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	i := slices.IndexFunc(m.invites, func(e *fedinvite.Event) bool { return e.ID() == invite.ID() && replaces(invite, e) })
	if i < 0 {
		return false, nil
	}
	m.invites = slices.Delete(m.invites, i, i+1)
	return true, nil
}

// replaces reports whether an invite takes the place of another.
func replaces(invite, old *fedinvite.Event) bool {
	return old.RoomID() == invite.RoomID() && invitee(old) == invitee(invite) && origin(old) == origin(invite)
}
