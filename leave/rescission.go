package leave

import (
	"fmt"
	"slices"

	"github.com/seed-0a46cb1a/fedinvite"
)

// CheckRescission checks whether e takes invite back: a leave of the invitee by the
// inviter, in the same room, with the invite among its auth_events. Verify the
// signatures of e first ([fedinvite.Event.Verify]); all that counts here is in the
// redacted copy too, so that it holds whether e.HashOK or not. The specification does not
// say how invites are taken back; this is what today's servers send and accept. A ban
// does not count, nor does the leave that another user of the room sends, whatever their
// power: without the room's state nobody can tell whether they may.
//
// Errors wrap [fedinvite.ErrNotLeave] if e is no leave, or nil; [fedinvite.ErrNotInvite]
// if invite is no invite, or nil; [fedinvite.ErrMismatch] if room or state key differ, if
// the invite is not among the auth_events, or if it is the invitee who leaves;
// [fedinvite.ErrOrigin] if the sender is not the inviter.
func CheckRescission(e, invite *fedinvite.Event) error {
	switch {
	case e == nil || e.Membership() != membership:
		return fedinvite.ErrNotLeave
	case invite == nil || invite.Membership() != "invite":
		return fedinvite.ErrNotInvite
	case e.RoomID() != invite.RoomID() || e.Rules().Version != invite.Rules().Version:
		return fmt.Errorf("%w: the leave is in another room", fedinvite.ErrMismatch)
	}
	invitee, invited := invite.StateKey()
	leaver, ok := e.StateKey()
	switch {
	case !ok || !invited || leaver != invitee:
		return fmt.Errorf("%w: the leave is of another user", fedinvite.ErrMismatch)
	case e.Sender() == leaver:
		return fmt.Errorf("%w: the invited user left", fedinvite.ErrMismatch)
	case !slices.Contains(e.AuthEventIDs(), invite.ID()):
		return fmt.Errorf("%w: the invite is not among the leave's auth_events", fedinvite.ErrMismatch)
	case e.Sender() != invite.Sender():
		return fmt.Errorf("%w: the sender of the leave is not the inviter", fedinvite.ErrOrigin)
	}
	return nil
}
