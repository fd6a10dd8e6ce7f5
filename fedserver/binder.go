package fedserver

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
)

// A Binder does what is usual with the invites of identity servers: its Bind is a
// HandleInvite of [BindsConfig]. It is safe for concurrent use.
type Binder struct {
	// Signer finds the signers of our servers, as in [Endpoint]. Required.
	Signer func(ctx context.Context, server fedinvite.ServerName) (fedinvite.Signer, error)
	// Client asks other servers. Required.
	Client *fedclient.Client

	// Room finds our rooms; nil: we are in none, and what follows is not needed.
	Room fedclient.Room
	// Inviter makes invites in the same rooms, KeyValid asks about keys: as in
	// [ExchangesConfig].
	Inviter  *fedclient.Inviter
	KeyValid func(ctx context.Context, url, key string) (bool, error)
	// Store stores an invite of one of our users to one of our rooms and sends it to the
	// servers in the room. Its context does not end with that of Bind. It should remember
	// the token, content.third_party_invite.signed.token: whoever has seen it can have a
	// user who has left, or has another invite since, invited by it again. What to do
	// about that is said at [Exchanges]. Of notifications that come at the same time all
	// may get here.
	Store func(ctx context.Context, inv *fedclient.Invited) error
	// Rules, as in [Endpoint].
	Rules func(fedinvite.RoomVersion) (fedinvite.Rules, error)
}

// Bind turns an invite of an identity server into one to inv.UserID, a user of ours. If
// we are in the room it makes the invite, whose sender may be on another server, signed
// by the invited user's server, and hands it to Store: the checks are those of
// [Exchanges.Exchange]. Else, that is if Room answers with a [*fedinvite.Error] of 403 or
// 404, it asks the sender's server, which then invites in the usual way. Checking takes
// 30 s at most, requests to other servers what Client and Inviter allow.
//
// A user who is in the room already, or invited by the same token, is a success, for
// which nothing is made: anybody can send such notifications again.
//
// Errors are a *fedinvite.Error: 400 for an invite that cannot be; 403 for a refusal, also
// if the sender is a user of ours and we are not in the room; 502 or 503 if somebody could
// not be asked or there was no time left, and another try may succeed; 500 for our own
// failure; or what Room and KeyValid refuse with. They wrap [fedinvite.ErrNotLocal] if the
// invited user is not ours.
func (b Binder) Bind(ctx context.Context, inv thirdparty.Invite) error {
	if err := b.complete(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return refuse(http.StatusServiceUnavailable, fedinvite.CodeUnknown, "out of time", err)
	}
	checking, cancel := context.WithTimeout(ctx, defaultTimeout)
	defer cancel()
	e := inv.Exchange()
	signer, err := b.check(checking, e)
	if err != nil {
		return fedinvite.WireError(err)
	}
	if b.Room == nil {
		return b.ask(ctx, checking, e, signer)
	}
	convert := converter{roomReader{b.Room, b.Rules}, b.Inviter, b.KeyValid}
	view, err := convert.view(checking, e)
	if isElsewhere(err) {
		return b.ask(ctx, checking, e, signer)
	}
	if err != nil {
		return fedinvite.WireError(err)
	}
	invited, err := convert.invite(ctx, checking, e, view)
	switch {
	case errors.Is(err, errJoined), errors.Is(err, errInvited):
		return nil
	case err != nil:
		return fedinvite.WireError(err)
	}
	return fromHook(b.Store(context.WithoutCancel(ctx), invited))
}

// check refuses what cannot be, and returns the signer of the invited user's server.
func (b *Binder) check(ctx context.Context, e thirdparty.Exchange) (fedinvite.Signer, error) {
	_, server, err := fedinvite.ParseUserID(e.Invitee)
	if err != nil {
		return nil, err
	}
	_, inviter, err := fedinvite.ParseUserID(e.Sender)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(e.RoomID, "!") {
		return nil, detail.Errorf(fedinvite.ErrIdentifier, "room_id")
	}
	if err := e.Check(e.RoomID, server, inviter); err != nil {
		return nil, err
	}
	return signerOf(ctx, b.Signer, server)
}

// isElsewhere reports whether Room says that we are not in the room.
func isElsewhere(err error) bool {
	var e *fedinvite.Error
	return errors.As(err, &e) && (e.HTTPStatus() == http.StatusForbidden || e.HTTPStatus() == http.StatusNotFound)
}

// ask has the sender's server make the invite. If that is ours, there is nobody to ask.
func (b *Binder) ask(ctx, checking context.Context, e thirdparty.Exchange, signer fedinvite.Signer) error {
	_, inviter, err := fedinvite.ParseUserID(e.Sender)
	if err != nil {
		return fedinvite.WireError(err)
	}
	switch _, err := signerOf(checking, b.Signer, inviter); {
	case err == nil:
		return refuse(http.StatusForbidden, fedinvite.CodeForbidden, "the sender's server is not in the room", nil)
	case !errors.Is(err, fedinvite.ErrNotLocal):
		return err
	}
	return fromInviter(b.Client.ExchangeThirdPartyInvite(ctx, e, signer))
}

// complete names the field that is missing.
func (b *Binder) complete() error {
	return missing("Binder", []field{
		{"Signer", b.Signer != nil},
		{"Client", b.Client != nil},
		{"Inviter", b.Inviter != nil || b.Room == nil},
		{"KeyValid", b.KeyValid != nil || b.Room == nil},
		{"Store", b.Store != nil || b.Room == nil},
	})
}
