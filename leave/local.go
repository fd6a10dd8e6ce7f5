package leave

import (
	"context"
	"strconv"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/tidwall/gjson"
)

const maxAuthEvents = 10 // of an event

// Local makes the leave for an invite whose room no server lets us leave: it follows on
// the invite and nobody else will ever see it. d must name the invited user and the room
// of the invite ([fedinvite.ErrMismatch]), s be of the user's server
// ([fedinvite.ErrSignature]). The invite is its only prev_event and the last of its
// auth_events, of which the others are those of the invite, as many as there is room for.
//
// Other errors wrap [fedinvite.ErrNotInvite] if invite is none, or nil, and
// [fedinvite.ErrBadJSON] for whatever breaks the format of the event; or come from s.
func Local(ctx context.Context, invite *fedinvite.Event, d Departure, s fedinvite.Signer) (*fedinvite.Event, error) {
	if invite == nil || invite.Membership() != "invite" {
		return nil, fedinvite.ErrNotInvite
	}
	if stateKey, ok := invite.StateKey(); !ok || d.UserID != stateKey {
		return nil, detail.Errorf(fedinvite.ErrMismatch, "the invite is for another user")
	}
	if d.RoomID != invite.RoomID() {
		return nil, detail.Errorf(fedinvite.ErrMismatch, "the invite is to another room")
	}
	rules := invite.Rules()
	p, err := newParts(d, rules)
	if err != nil {
		return nil, err
	}
	ref, err := encode(reference(invite.Ref(), rules))
	if err != nil {
		return nil, err
	}
	p.authEvents = list(append(authEvents(invite, maxAuthEvents-1), string(ref))...)
	p.prevEvents = list(string(ref))
	depth := rules.MaxDepth
	if before := max(invite.Depth(), 0); before < depth {
		depth = before + 1
	}
	p.depth = strconv.AppendInt(nil, depth, 10)
	return p.sign(ctx, s)
}

// authEvents returns the first n auth_events of an event, as raw JSON.
func authEvents(e *fedinvite.Event, n int) []string {
	var all []string
	gjson.GetBytes(e.AppendJSON(nil), "auth_events").ForEach(func(_, ref gjson.Result) bool {
		if len(all) < n {
			all = append(all, ref.Raw)
		}
		return len(all) < n
	})
	return all
}
