package fedserver

import (
	"context"
	"errors"
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
)

// An ExchangesConfig says how [Exchanges] work.
type ExchangesConfig struct {
	Endpoint
	// Room finds our rooms. Required.
	Room fedclient.Room
	// Inviter makes the invites, in the same rooms. Required.
	Inviter *fedclient.Inviter
	// KeyValid asks a key_validity_url whether the key is valid still;
	// [fedclient.KeyValid] makes one. Whoever may invite in the room chooses the URL: do
	// not connect to addresses of your own network. It is asked about three keys at most
	// for one invite. Required.
	KeyValid func(ctx context.Context, url, key string) (bool, error)
	// HandleInvite stores the invite, which the invited user's server has accepted, and
	// sends it to the servers in the room. Its context does not end with the request.
	// Required. See [Exchanges] for why the token should be remembered.
	HandleInvite func(ctx context.Context, inv *fedclient.Invited) error
}

// Exchanges makes invites of third-party invites that our users have sent, once the
// identifier belongs to a user of the server that asks (server-server API, "Third-party
// invites"): PUT /_matrix/federation/v1/exchange_third_party_invite/{roomId}.
//
// Nothing in a room's state says that a token was used, once the user has left or was
// removed: by the rules the same one invites them again, whenever their server likes. A
// store that remembers the tokens of the invites it has stored can prevent that: let Room
// leave the m.room.third_party_invite events of used tokens out of its snapshots.
type Exchanges struct {
	config  ExchangesConfig
	convert converter
}

// NewExchanges returns Exchanges. The error names the field that is missing.
func NewExchanges(c ExchangesConfig) (*Exchanges, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	err := missing("ExchangesConfig", []field{
		{"Room", c.Room != nil},
		{"Inviter", c.Inviter != nil},
		{"KeyValid", c.KeyValid != nil},
		{"HandleInvite", c.HandleInvite != nil},
	})
	if err != nil {
		return nil, err
	}
	return &Exchanges{c, converter{roomReader{c.Room, c.Rules}, c.Inviter, c.KeyValid}}, nil
}

// Exchange makes the invite that origin asks destination, a server of ours, for; both are
// believed. roomID is that of the path. In this order: e is about that room, its sender is
// a user of destination and its invitee one of origin ([thirdparty.Exchange.Check]); the
// ACL allows origin; the room's rules allow the invite, the signature in it and the user
// ID it is for included; the invitee is not joined already, and the sender is; one of the
// keys that signed is valid still; the Inviter makes the invite and has it signed by
// origin; HandleInvite. The display name is that of the room's m.room.third_party_invite
// event, whatever e says.
//
// That the sender must be in the room and the invitee must not are demands of ours: the
// rules for third-party invites look at neither. A user who is invited already, by the
// same token, is a success, for which nothing is made.
//
// Refusals because signed is for another user, because of somebody's membership, by the
// rules of the room, by its policy server, by origin of its own invite, and for keys that
// are no longer valid are a [*fedinvite.Error] of 403 M_FORBIDDEN. If a key_validity_url
// cannot be asked, so that no key is known to be valid, it is one of 503 M_UNKNOWN; if
// origin or the policy server cannot be, of 502 M_UNKNOWN: both may be tried again. They
// wrap the error of the Inviter, an [*fedclient.InviteError] perhaps, by which the invite
// may be known to origin though it is not to us. Other refusals are those of Check and of
// [Leaves.Make].
func (x *Exchanges) Exchange(ctx context.Context, origin, destination fedinvite.ServerName, roomID string, e thirdparty.Exchange) error {
	checking, cancel := context.WithTimeout(ctx, x.config.timeout())
	defer cancel()
	return x.exchange(ctx, checking, origin, destination, roomID, e)
}

func (x *Exchanges) exchange(ctx, checking context.Context, origin, destination fedinvite.ServerName, roomID string, e thirdparty.Exchange) error {
	err := e.Check(roomID, origin, destination)
	if errors.Is(err, fedinvite.ErrMismatch) {
		return refuse(http.StatusForbidden, fedinvite.CodeForbidden, "the third-party invite is for another user", err)
	}
	if err != nil {
		return err
	}
	if err := x.config.applyServerACL(checking, roomID, origin); err != nil {
		return err
	}
	view, err := x.convert.view(checking, e)
	if err != nil {
		return err
	}
	invited, err := x.convert.invite(ctx, checking, e, view)
	if errors.Is(err, errInvited) {
		return nil
	}
	if err != nil {
		return err
	}
	// The other server has the invite: whether it still listens does not matter.
	return fromHook(x.config.HandleInvite(context.WithoutCancel(ctx), invited))
}

const pathExchange = "/_matrix/federation/v1/exchange_third_party_invite/"

// ServeHTTP implements [http.Handler].
func (x *Exchanges) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.config.serve(w, r, x.config.Authenticate, []route{{[]string{http.MethodPut}, pathExchange, 1, x.answer}})
}

func (x *Exchanges) answer(ctx, checking context.Context, req Request, ids []string) ([]byte, error) {
	e, err := thirdparty.ParseExchange(req.Body)
	if err != nil {
		return nil, err
	}
	return []byte(`{}`), x.exchange(ctx, checking, req.Origin, req.Destination, ids[0], e)
}
