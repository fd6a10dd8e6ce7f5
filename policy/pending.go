package policy

import (
	"context"
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
)

// OnePending lets a user have one pending invite for each room; another is refused
// with 403 M_FORBIDDEN. pending returns the event ID of the invite to the room that
// the invitee has neither accepted nor declined and that nobody took back; "" if there
// is none. The pending invite itself passes, because a server that missed our answer
// sends it again. If pending fails the invite does not pass, and the peer sees 500
// M_UNKNOWN.
//
// Of two invites that arrive at once both may pass: it is the [fedinvite.Handler]
// that must store only one. In room versions 1 and 2 the inviting server chooses the
// event ID, and what comes under the ID of the pending invite may differ from it.
func OnePending(pending func(ctx context.Context, roomID, invitee string) (eventID string, err error)) Policy {
	if pending == nil {
		return withoutCallback("OnePending")
	}
	return func(ctx context.Context, inv *fedinvite.Invite) error {
		if inv.Event == nil {
			return errNoEvent
		}
		id, err := pending(ctx, inv.Event.RoomID(), inv.Invitee)
		if err != nil {
			return err
		}
		if id != "" && id != inv.Event.ID() {
			return refuse(fmt.Sprintf("OnePending: %q is pending", id))
		}
		return nil
	}
}
