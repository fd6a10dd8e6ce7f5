package leave

import (
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
)

// Check checks a leave that came by send_leave from origin, by the list of that endpoint
// (server-server API, PUT send_leave) but for its signatures: type and membership
// ([fedinvite.ErrNotLeave], also if e is nil), the sender on origin
// ([fedinvite.ErrOrigin]), the state key that of the sender ([fedinvite.ErrMismatch]).
// Redaction takes nothing of this away, so that it holds whether e.HashOK or not.
//
// The path of the request has to be compared with e.RoomID and e.ID, and the signatures
// verified ([fedinvite.Event.Verify]), by the caller.
func Check(e *fedinvite.Event, origin fedinvite.ServerName) error {
	if e == nil || e.Membership() != membership {
		return fedinvite.ErrNotLeave
	}
	_, server, err := fedinvite.ParseUserID(e.Sender())
	if err != nil {
		return err
	}
	if server != origin {
		return fedinvite.ErrOrigin
	}
	if stateKey, ok := e.StateKey(); !ok || stateKey != e.Sender() {
		return detail.Errorf(fedinvite.ErrMismatch, "the state key is not the sender")
	}
	return nil
}
