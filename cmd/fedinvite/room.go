package main

import (
	"slices"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// A room is the events of a room, each after those that it follows on.
type room struct {
	rules  fedinvite.Rules
	id     string
	events []*fedinvite.Event
	size   int64 // of their records, in bytes
}

// has reports whether an event is in the room.
func (r *room) has(eventID string) bool {
	return slices.ContainsFunc(r.events, func(e *fedinvite.Event) bool { return e.ID() == eventID })
}

// with returns the room with an event more; r stays as it is.
func (r *room) with(e *fedinvite.Event) *room {
	return &room{r.rules, r.id, append(slices.Clip(r.events), e), r.size + recordSize(e)}
}

// state returns the current state: of each type and state key the last event. That
// is no state resolution, which rooms with members on one server alone do not need.
func (r *room) state() eventauth.State {
	latest := make(map[eventauth.StateKey]*fedinvite.Event)
	for _, e := range r.events {
		if key, ok := e.StateKey(); ok {
			latest[eventauth.StateKey{Type: e.Type(), Key: key}] = e
		}
	}
	state := make(eventauth.State, 0, len(latest))
	for _, e := range r.events {
		if key, ok := e.StateKey(); ok && latest[eventauth.StateKey{Type: e.Type(), Key: key}] == e {
			state = append(state, e)
		}
	}
	return state
}

// extremities returns the events that no later one follows on, the latest first. What an
// event says of itself or of later ones does not count: in room versions 1–2 peers choose
// the IDs, and there is always an end of the room.
func (r *room) extremities() (ends []*fedinvite.Event) {
	followed := make(map[string]bool)
	for _, e := range slices.Backward(r.events) {
		if !followed[e.ID()] {
			ends = append(ends, e)
		}
		for _, id := range e.PrevEventIDs() {
			followed[id] = true
		}
	}
	return ends
}

// snapshot returns the room as an [fedclient.Inviter] wants to see it.
func (r *room) snapshot() *fedclient.Snapshot {
	s := &fedclient.Snapshot{Version: r.rules.Version, State: r.state(), Joined: r.joined}
	for _, e := range r.extremities() {
		s.Extremities = append(s.Extremities, e.Ref())
		s.Depth = max(s.Depth, e.Depth())
	}
	return s
}

// joined fits [fedclient.Snapshot].
func (r *room) joined(server fedinvite.ServerName) bool {
	return slices.ContainsFunc(r.state(), func(e *fedinvite.Event) bool {
		key, _ := e.StateKey()
		_, of, err := fedinvite.ParseUserID(key)
		return e.Membership() == "join" && err == nil && of == server
	})
}
