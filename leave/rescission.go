package leave

import (
	"slices"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
)

// CheckRescission checks whether e takes invite back: a leave of the invitee by the
// inviter, in the same room, with the invite among its auth_events. Verify the
// signatures of e first ([fedinvite.Event.Verify]); all that counts here is in the
// redacted copy too, so that it holds whether e.HashOK or not. The specification does not
// say how invites are taken back; this is what today's servers send and accept. A ban
// does not count, nor does the leave that another user of the room sends, whatever their
// power: without the room's state nobody can tell whether they may. The two may have been
// parsed as room version 1 and as 2, which is one room to whoever was invited by the v1
// endpoint.
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
	case e.RoomID() != invite.RoomID() || !alike(e.Rules(), invite.Rules()):
		return detail.Errorf(fedinvite.ErrMismatch, "the leave is in another room")
	}
	invitee, invited := invite.StateKey()
	leaver, ok := e.StateKey()
	switch {
	case !ok || !invited || leaver != invitee:
		return detail.Errorf(fedinvite.ErrMismatch, "the leave is of another user")
	case e.Sender() == leaver:
		return detail.Errorf(fedinvite.ErrMismatch, "the invited user left")
	case !slices.Contains(e.AuthEventIDs(), invite.ID()):
		return detail.Errorf(fedinvite.ErrMismatch, "the invite is not among the leave's auth_events")
	case e.Sender() != invite.Sender():
		return detail.Errorf(fedinvite.ErrOrigin, "the sender of the leave is not the inviter")
	}
	return nil
}
