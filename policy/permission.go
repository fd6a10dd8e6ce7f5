package policy

import (
	"context"
	"encoding/json"

	"github.com/seed-0a46cb1a/fedinvite"
)

// InvitePermission refuses invites to users who do not want any, with 403
// M_INVITE_BLOCKED (client-server API, "Invite permission"). accountData returns the
// content of the user's global m.invite_permission_config account data; nil if there
// is none. The invite is refused if its default_action is "block": a missing, invalid
// or unsupported value means that the user wants to receive invites. If accountData
// fails the invite does not pass, and the peer sees 500 M_UNKNOWN.
//
// The specification demands more of a homeserver: while a user blocks invites, those
// already stored must not be served by GET /sync.
func InvitePermission(accountData func(ctx context.Context, userID string) (json.RawMessage, error)) Policy {
	if accountData == nil {
		return withoutCallback("InvitePermission")
	}
	return func(ctx context.Context, inv *fedinvite.Invite) error {
		content, err := accountData(ctx, inv.Invitee)
		if err != nil {
			return err
		}
		if blocksInvites(content) {
			return fedinvite.Refuse(fedinvite.CodeInviteBlocked, "The user does not accept invites.")
		}
		return nil
	}
}

// blocksInvites reads what a client once wrote, which may be anything. A map finds
// default_action under exactly this name; of two the last counts, as for most who
// will have read it before us.
func blocksInvites(content json.RawMessage) bool {
	var members map[string]json.RawMessage
	if json.Unmarshal(content, &members) != nil {
		return false
	}
	var action string
	return json.Unmarshal(members["default_action"], &action) == nil && action == "block"
}
