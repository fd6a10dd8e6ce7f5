package main

import (
	"errors"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// maxRoomEvents is how many events a room has at most, in maxInput bytes: what peers
// send must not fill a store, and a full room can be read.
const maxRoomEvents = 1000

// admit returns an error unless a member event may be the next event of the room.
func (r *room) admit(e *fedinvite.Event) error {
	if len(r.events) >= maxRoomEvents || r.size+recordSize(e) > maxInput {
		return fedinvite.Refuse(fedinvite.CodeForbidden, "the room has too many events")
	}
	state := r.state()
	err := eventauth.Authorize(e, state)
	if rule, ok := errors.AsType[*eventauth.RuleError](err); ok {
		refusal := fedinvite.Refuse(fedinvite.CodeForbidden, rule.Reason)
		refusal.Err = err
		return refusal
	}
	// The rules let users be removed who have left, which would end an invite twice.
	member := state.Get("m.room.member", invitee(e))
	if err == nil && e.Membership() == "leave" && member != nil && member.Membership() == "leave" {
		return fedinvite.Refuse(fedinvite.CodeForbidden, "the user has left")
	}
	return err
}
