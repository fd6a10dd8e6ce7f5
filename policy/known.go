package policy

import (
	"context"

	"github.com/seed-0a46cb1a/fedinvite"
)

// KnownServers refuses invites from servers that known does not know, with 403
// M_FORBIDDEN. Server names are compared case-sensitively and with their port, as the
// specification has it: known gets the name as the server writes it. It is not asked
// about an invite within one server; if we have several names it has to know ours. If
// it fails the invite does not pass, and the peer sees 500 M_UNKNOWN.
//
// As [BlockServers] it serves the Admit hook of [fedinvite.Config] too, with
// &fedinvite.Invite{Origin: d.Origin, Destination: d.Destination}; there the origin
// is only claimed.
func KnownServers(known func(ctx context.Context, server fedinvite.ServerName) (bool, error)) Policy {
	if known == nil {
		return withoutCallback("KnownServers")
	}
	return func(ctx context.Context, inv *fedinvite.Invite) error {
		if inv.Origin == inv.Destination {
			return nil
		}
		ok, err := known(ctx, inv.Origin)
		return unless(ok, err, "KnownServers: unknown server")
	}
}

// KnownUsers refuses invites from users whom the invitee does not know, with 403
// M_FORBIDDEN: known gets the user IDs of the two and says whether sender may invite
// invitee, say because they share a room. If it fails the invite does not pass, and
// the peer sees 500 M_UNKNOWN.
func KnownUsers(known func(ctx context.Context, invitee, sender string) (bool, error)) Policy {
	if known == nil {
		return withoutCallback("KnownUsers")
	}
	return func(ctx context.Context, inv *fedinvite.Invite) error {
		if inv.Event == nil {
			return errNoEvent
		}
		ok, err := known(ctx, inv.Invitee, inv.Event.Sender())
		return unless(ok, err, "KnownUsers: unknown user")
	}
}

// InviteeExists refuses invites to users whom we do not have, with 403 M_FORBIDDEN: exists
// says whether one of our servers has the user of this ID, and may say no for users who
// are deactivated. The status is not 404, because some servers take every 404 for an
// endpoint that is unknown here, and send the invite again by version 1 of the API. If exists fails the invite does not pass, and
// the peer sees 500 M_UNKNOWN.
func InviteeExists(exists func(ctx context.Context, userID string) (bool, error)) Policy {
	if exists == nil {
		return withoutCallback("InviteeExists")
	}
	return func(ctx context.Context, inv *fedinvite.Invite) error {
		ok, err := exists(ctx, inv.Invitee)
		return unless(ok, err, "InviteeExists: no such user")
	}
}

// unless refuses unless a callback said ok; its failure comes first.
func unless(ok bool, err error, reason string) error {
	if err != nil || ok {
		return err
	}
	return refuse(reason)
}
