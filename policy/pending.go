package policy

import (
	"context"
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
)

// OnePending lets a server have one invite pending for each room and user; another one
// from it is refused with 403 M_FORBIDDEN. pending returns the event ID of the invite of
// origin to the room that the invitee has neither accepted nor declined and that nobody
// took back; "" if there is none. The pending invite itself passes, because a server that
// missed our answer sends it again. If pending fails the invite does not pass, and the
// peer sees 500 M_UNKNOWN.
//
// What it costs: an invite may have been taken back without our hearing of it, because the
// leave was lost, or was a moderator's and not the inviter's. Then the same server cannot
// invite the user to the room again before the user declines the first. Without OnePending
// the newer invite replaces the older, and package ratelimit bounds how many come. Never
// let pending tell of another server's invite: see "Pending invites" above.
//
// Of two invites that arrive at once both may pass: it is the [fedinvite.Handler]
// that must store only one. In room versions 1 and 2 the inviting server chooses the
// event ID, and what comes under the ID of the pending invite may differ from it.
func OnePending(pending func(ctx context.Context, origin fedinvite.ServerName, roomID, invitee string) (eventID string, err error)) Policy {
	if pending == nil {
		return withoutCallback("OnePending")
	}
	return func(ctx context.Context, inv *fedinvite.Invite) error {
		if inv.Event == nil {
			return errNoEvent
		}
		id, err := pending(ctx, inv.Origin, inv.Event.RoomID(), inv.Invitee)
		if err != nil {
			return err
		}
		if id != "" && id != inv.Event.ID() {
			return refuse(fmt.Sprintf("OnePending: %q is pending", id))
		}
		return nil
	}
}
