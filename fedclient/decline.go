package fedclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/leave"
)

// maxDeclineServers bounds how long Decline may go on.
const maxDeclineServers = 10

// A DeclineRequest is an invite that the invited user does not want. Invite, Signer and
// Time are required.
type DeclineRequest struct {
	Invite  *fedinvite.Event // as it was accepted
	Signer  fedinvite.Signer // of the invited user's server
	Time    time.Time        // of the leave, to the millisecond
	Content json.RawMessage  // an object; may hold a reason; membership is set
	// Servers are those to ask, in this order, at most 10; empty: the inviter's. Any
	// server in the room will do. A server in a room ID means nothing.
	Servers []fedinvite.ServerName
}

// A Declined is how an invite was declined.
type Declined struct {
	// Event is the leave, never nil. Store it in place of the invite.
	Event *fedinvite.Event
	// Server took the leave and sends it to the room; "" if none is known to have: then
	// Event is for our own users, and Err says what each server said, in their order.
	Server fedinvite.ServerName
	// MaybeSeen, which goes with no Server, says that Event was on its way to a server
	// when something failed: it may be in the room. If it is not set, nobody but us has
	// seen Event.
	MaybeSeen bool
	Err       error
}

// Decline declines an invite to a room that our server is not in (server-server API,
// "Leaving Rooms (Rejecting Invites)"). For a room that it is in there is
// [Inviter.Leave].
//
// It asks one server after the other for a template, checks it, signs the leave that it
// makes of it and sends that back, until a server takes it. A server is passed over if it
// cannot be reached or refuses, or if its template is not for this user's leave in this
// room and room version; nothing is signed then but the requests. If no server takes the
// leave, it is one of our own making, see [leave.Local]: the user gets rid of the invite
// in any case. What a server did not take can be tried again with another Decline, which
// makes another event.
//
// A leave that was sent and not answered, or answered with what is neither agreement nor
// a 4xx, may be in the room. The next server is asked for a template still,
// because a server that hangs must not keep the others from hearing of it: two leaves of
// one user harm nobody. If no other takes one, the result is the first leave that was
// sent, not one of our own making, so that it has the same ID if it comes back to us.
//
// [Config.Timeout] bounds what is spent on one server, ctx all of it. Only the last server
// is asked for a template more than once. Servers that are left alone are asked too,
// because a user waits for it; our own, that of Signer, is not. The endpoints are v1
// make_leave and v2 send_leave, and v1 send_leave of servers that do not know that.
//
// There is an error, and no Declined, only if the request cannot be: one that wraps
// [fedinvite.ErrNotInvite], [fedinvite.ErrNotLocal] if Signer is not of the invited
// user's server, [fedinvite.ErrBadJSON], [fedinvite.ErrIdentifier] or
// [fedinvite.ErrTooLarge]; if Signer fails; and if ctx ends. No leave has left our server
// then, and nothing is changed: call again. Once one has, the end of ctx or a failure
// of Signer ends the search, and the result is that leave.
func (c *Client) Decline(ctx context.Context, r DeclineRequest) (Declined, error) {
	d, err := newDecliner(c, r)
	if err != nil {
		return Declined{}, fmt.Errorf("fedclient: invite not declined: %w", err)
	}
	var refusals []error
	for _, server := range d.servers {
		event, err := d.ask(ctx, server)
		if err == nil {
			return Declined{Event: event, Server: server}, nil
		}
		refusals = append(refusals, err)
		if d.signer.failed || ctx.Err() != nil {
			break
		}
	}
	err = errors.Join(refusals...)
	switch {
	case d.sent != nil:
		return Declined{Event: d.sent, MaybeSeen: true, Err: err}, nil
	case d.signer.failed:
		return Declined{}, fmt.Errorf("fedclient: invite not declined: %w", err)
	case ctx.Err() != nil:
		return Declined{}, fmt.Errorf("fedclient: invite not declined: %w: %w", ctx.Err(), err)
	}
	local, localErr := leave.Local(ctx, r.Invite, d.departure, asOwn(r.Signer))
	if localErr != nil {
		return Declined{}, fmt.Errorf("fedclient: invite not declined: %w", localErr)
	}
	return Declined{Event: local, Err: err}, nil
}

// check returns the invited server, if the request can be.
func (r *DeclineRequest) check() (fedinvite.ServerName, error) {
	switch {
	case r.Invite == nil:
		return "", errors.New("DeclineRequest.Invite is required")
	case r.Signer == nil:
		return "", errors.New("DeclineRequest.Signer is required")
	case r.Time.UnixMilli() < 0: // the zero time, too
		return "", fmt.Errorf("%w: DeclineRequest.Time is not set or before 1970", fedinvite.ErrBadJSON)
	case r.Invite.Membership() != "invite":
		return "", fedinvite.ErrNotInvite
	}
	key, _ := r.Invite.StateKey()
	_, ours, err := fedinvite.ParseUserID(key)
	if err != nil {
		return "", fmt.Errorf("%w: the state_key is no user ID", fedinvite.ErrNotInvite)
	}
	if s := r.Signer.ServerName(); s != ours {
		return "", fmt.Errorf("%w: the invited user is on %s, the signer of %s", fedinvite.ErrNotLocal, ours, s)
	}
	if len(r.Content) == 0 {
		return ours, nil
	}
	content, err := fedinvite.CanonicalJSON(r.Content)
	if err == nil && content[0] != '{' {
		err = fmt.Errorf("%w: it is no object", fedinvite.ErrBadJSON)
	}
	if err != nil {
		return "", fmt.Errorf("DeclineRequest.Content: %w", err)
	}
	return ours, nil
}

// servers returns whom to ask, each once, without ourselves.
func (r *DeclineRequest) servers(ours fedinvite.ServerName) ([]fedinvite.ServerName, error) {
	if len(r.Servers) > maxDeclineServers {
		return nil, fmt.Errorf("%w: DeclineRequest.Servers has %d entries, more than %d", fedinvite.ErrTooLarge, len(r.Servers), maxDeclineServers)
	}
	named := r.Servers
	if len(named) == 0 {
		_, inviter, err := fedinvite.ParseUserID(r.Invite.Sender())
		if err != nil {
			return nil, fmt.Errorf("%w: the sender is no user ID", fedinvite.ErrNotInvite)
		}
		named = []fedinvite.ServerName{inviter}
	}
	var servers []fedinvite.ServerName
	for _, server := range named {
		if _, err := fedinvite.ParseServerName(string(server)); err != nil {
			return nil, fmt.Errorf("DeclineRequest.Servers: %w", err)
		}
		if server != ours && !slices.Contains(servers, server) {
			servers = append(servers, server)
		}
	}
	if len(servers) == 0 {
		return nil, errors.New("no server to ask but our own: name others in DeclineRequest.Servers or, in a room that we are in, use Inviter.Leave")
	}
	return servers, nil
}
