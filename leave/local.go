package leave

import (
	"context"
	"strconv"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/tidwall/gjson"
)

// Local makes the leave for an invite whose room no server lets us leave: it follows on
// the invite and nobody else will ever see it. d must name the invited user and the room
// of the invite ([fedinvite.ErrMismatch]), s be of the user's server
// ([fedinvite.ErrSignature]). The invite is its only prev_event and the last of its
// auth_events, of which the others are those of the invite, as many as there is room for.
// What the inviter wrote there instead of references is left out, so that it is neither
// signed nor a reason to fail.
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
	p.authEvents = list(append(authEvents(invite), string(ref))...)
	p.prevEvents = list(string(ref))
	depth := rules.MaxDepth
	if before := max(invite.Depth(), 0); before < depth {
		depth = before + 1
	}
	p.depth = strconv.AppendInt(nil, depth, 10)
	return p.sign(ctx, s)
}

// authEvents returns auth_events of an invite as raw JSON, those that a leave may name
// beside the invite: each once, and in room versions 1–2 with no more than its hash.
func authEvents(invite *fedinvite.Event) []string {
	rules := invite.Rules()
	refs := gjson.GetBytes(invite.AppendJSON(nil), "auth_events").Array()
	named := map[string]bool{invite.ID(): true}
	var all []string
	for i, id := range invite.AuthEventIDs() {
		if named[id] || len(id) > maxEventID || !isReference(refs[i], &rules) {
			continue
		}
		named[id] = true
		if all = append(all, refs[i].Raw); len(all) == maxAuthEvents-1 {
			break
		}
	}
	return all
}
