package fedclient

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// An Invitation is what a user asks for: invite somebody to a room, or, for
// [Inviter.TakeBack], take such an invite back.
type Invitation struct {
	RoomID, Sender, Invitee string
	Time                    time.Time // origin_server_ts, to the millisecond; zero: now
	// Content is a JSON object, or nil. It may hold reason, is_direct, displayname and
	// avatar_url of the invitee (not of the sender), and whatever else; membership and
	// third_party_invite are set, join_authorised_via_users_server is removed. Numbers must
	// be integers, as in all events.
	Content json.RawMessage
	// ThirdParty is content.third_party_invite, an object, for an invite that began as one
	// to a third-party identifier; nil: it did not.
	ThirdParty json.RawMessage
}

// An InviterConfig says how an [Inviter] works. The hooks may be called concurrently.
type InviterConfig struct {
	Client *Client             // required
	Keys   fedinvite.KeySource // of the servers that are invited; required
	Room   Room                // required
	Now    func() time.Time    // the clock; nil: time.Now
	// Signer finds the signers of our servers, as in [fedinvite.Config]; required. Users
	// of servers for which it returns fedinvite.ErrNotLocal are remote.
	Signer func(ctx context.Context, server fedinvite.ServerName) (fedinvite.Signer, error)
	// Policy may refuse invites to our own users, as Config.Policy of fedinvite does for
	// those from other servers; nil: none is refused. Here the invite is signed and the
	// room state is there: our own.
	Policy func(ctx context.Context, inv *fedinvite.Invite) error
	// Made is called with an invite to a remote user that is about to be sent to the user's
	// server, once the room's policy server has agreed to it; nil: nobody is told. The user
	// may decline before we have read the answer, and whoever answers make_leave has to
	// know the invite then: put it now where Room returns it as the user's membership. When
	// Invite returns, [Invited].Event takes its place; if it fails remove it, unless
	// MaybeSeen is set. An error ends the invite.
	Made func(ctx context.Context, e *fedinvite.Event) error
	// Rules, as in [fedinvite.Config]; nil: [fedinvite.RoomVersion.Rules]. The Room must
	// parse its events by the same.
	Rules func(fedinvite.RoomVersion) (fedinvite.Rules, error)
	// MaxRoomState is how many bytes of invite_room_state are sent; 0: what fits into
	// 64 KiB together with the invite, because servers store both in one event. If it is
	// too much, entries are left out in this order: topic, encryption, join rules, the
	// sender's membership, avatar, canonical alias, name; the create event never is. See
	// [fedinvite.SelectRoomState]. So are entries that are nested so deeply that receivers
	// would refuse the whole request.
	MaxRoomState int
}

// An Inviter makes invites: from a snapshot of the room to the event that is ready to be
// sent into it. It stores nothing. It is safe for concurrent use.
type Inviter struct{ config InviterConfig }

// NewInviter returns an Inviter. The error names the field that is missing or wrong.
func NewInviter(c InviterConfig) (*Inviter, error) {
	switch {
	case c.Client == nil:
		return nil, errors.New("fedclient: InviterConfig.Client is required")
	case c.Keys == nil:
		return nil, errors.New("fedclient: InviterConfig.Keys is required")
	case c.Room == nil:
		return nil, errors.New("fedclient: InviterConfig.Room is required")
	case c.Signer == nil:
		return nil, errors.New("fedclient: InviterConfig.Signer is required")
	case c.MaxRoomState < 0:
		return nil, errors.New("fedclient: InviterConfig.MaxRoomState must not be negative")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Rules == nil {
		c.Rules = fedinvite.RoomVersion.Rules
	}
	return &Inviter{c}, nil
}

// An Invited is an invite that everybody has agreed to who had to.
type Invited struct {
	// Event is the invite, signed by all who have to: store it and send it to the
	// servers in the room.
	Event *fedinvite.Event
	// RoomState is the invite_room_state, in the form that was or would be sent. It must not
	// be changed: the request may still be read by whoever carries it.
	RoomState []json.RawMessage
	Local     bool // the invitee is ours: nobody was asked
	V1        bool // it went by the v1 endpoint
}

// An InviteError says what became of an invite that failed, or of a leave that was to
// take one back. Every error of an [Inviter] is one.
type InviteError struct {
	// Event is the event as far as it was made, nil if it was not. If the invited server
	// failed or could not be reached, it may be sent there again as it is, with RoomState,
	// by [Client.SendInvite]; [Retryable] says whether that may help. If a policy server or
	// a hook refused, it must not be sent.
	Event *fedinvite.Event
	// RoomState is that of an invite that was to be sent. It must not be changed: the request
	// may still be read by whoever carries it.
	RoomState []json.RawMessage
	// MaybeSeen: the invited server may have accepted the invite and show it to its user:
	// the request was on its way when something failed, or the answer was no refusal, be it
	// that the request was repeated and then refused. Either
	// send the same event again, see [Inviter.Resend]; or store it, if the user's membership
	// has not changed since, and take it back. If a leave of the user has come meanwhile
	// there is nothing to do. The context of the failed try may have ended: use another. If
	// MaybeSeen is not set, nobody was shown anything, and a new invite is as good.
	MaybeSeen bool
	Err       error
}

// Error returns the text of Err.
func (e *InviteError) Error() string { return e.Err.Error() }

// Unwrap returns Err.
func (e *InviteError) Unwrap() error { return e.Err }

// Invite invites (server-server API, "Inviting to a room"). In this order it
//
//   - checks the invitation and finds the signer: that of the sender's server or, for a
//     third-party invite that arrived at the invitee's server, which is ours and in the
//     room, that of the invitee's;
//   - takes a snapshot of the room and authorises the invite by it; nothing is signed
//     before;
//   - makes and signs the event, which must have room for the signatures of others;
//   - asks the room's policy server, if it has one;
//   - for a remote user sends it with the room state, and checks the answer; for one of
//     ours asks Policy, and adds the signature of the invitee's server if that is another.
//
// Nothing is stored, and nobody but the policy server and the invited one hears of it:
// what becomes of the result is the caller's. Between taking the snapshot and storing the
// event the room may have moved on, as between any two servers.
//
// Each request is bounded by [Config.Timeout], all of it by ctx; once ctx ends, nothing
// more is done, and that is an [ErrUnreachable] also between two requests. The error is an
// [*InviteError], which says whether the invited server may have seen the invite. In it are
// a [*eventauth.RuleError] or another error that wraps [fedinvite.ErrForbidden], if the
// room does not allow it; [ErrSnapshot]; a [*PolicyError]; those of [Client.SendInvite];
// those of the hooks, as they are; and, for an invitation that cannot be or whose content
// does not fit into an event, one that wraps [fedinvite.ErrIdentifier],
// [fedinvite.ErrBadJSON] or [fedinvite.ErrNotJSON], or [fedinvite.ErrNotLocal] if no server
// of ours can sign it. [ClientError] turns it into what the user's client is told.
func (v *Inviter) Invite(ctx context.Context, i Invitation) (*Invited, error) {
	c := &composition{config: &v.config, Invitation: i, membership: "invite"}
	if err := c.run(ctx, compose[:]); err != nil {
		return nil, c.fail(err)
	}
	deliver := (*composition).deliverRemote
	if c.inviteeSigner != nil {
		deliver = (*composition).deliverLocal
	}
	if err := c.run(ctx, []step{deliver}); err != nil {
		return nil, c.fail(err)
	}
	return &Invited{Event: c.event, RoomState: c.roomState, Local: c.inviteeSigner != nil, V1: c.v1}, nil
}

// TakeBack makes the leave event by which the sender takes an invite back, with the
// room's policy server asked as for an invite. Content may hold a reason; ThirdParty must
// be nil.
//
// Store it and send it to the servers in the room and, if the invitee is remote, to the
// invitee's server too, which is not in the room: [Client.SendTransaction]. Servers that
// are not in the room believe it only from the sender of the invite; if somebody else
// takes it back, whom the room's rules let do so, the invitee goes on seeing the invite.
//
// The error is an [*InviteError] with what those of [Inviter.Invite] hold; MaybeSeen is
// never set. [fedinvite.ErrForbidden]: the rules do not allow it; the invitee is not
// invited (any more); or sender and invitee are one, who should decline: see
// [Inviter.Leave] and [Client.Decline].
func (v *Inviter) TakeBack(ctx context.Context, i Invitation) (*fedinvite.Event, error) {
	return v.leave(ctx, &composition{config: &v.config, Invitation: i, membership: "leave"})
}

func (v *Inviter) leave(ctx context.Context, c *composition) (*fedinvite.Event, error) {
	if err := c.run(ctx, compose[:]); err != nil {
		return nil, c.fail(err)
	}
	return c.event, nil
}
