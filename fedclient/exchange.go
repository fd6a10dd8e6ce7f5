package fedclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
)

// ExchangeThirdPartyInvite asks the server of e.Sender, who invited a third-party
// identifier, to make an invite for e.Invitee of it, who has that identifier and is on our
// server, that of s (server-server API, PUT
// /_matrix/federation/v1/exchange_third_party_invite/{roomId}). It is for rooms that our
// server is not in; the identity server said what e is, see [thirdparty.ParseBind]. If
// the other server agrees, it sends the invite to us as any other, perhaps before it
// answers. It is asked also if it is left alone, because a user waits for it.
//
// Errors are those of [Client.Do]; [ErrReply] also for an answer that is no object. What
// cannot be sent wraps [fedinvite.ErrNotLocal] if e.Invitee is not of the server of s,
// [fedinvite.ErrOrigin] if e.Sender is, or [fedinvite.ErrBadJSON]; or is an error of
// [thirdparty.Exchange.Check].
func (c *Client) ExchangeThirdPartyInvite(ctx context.Context, e thirdparty.Exchange, s fedinvite.Signer) error {
	inviter, body, err := checkExchange(e, s)
	if err != nil {
		return fmt.Errorf("fedclient: third-party invite not exchanged: %w", err)
	}
	answer, err := c.Do(ctx, Request{
		Method:        http.MethodPut,
		Destination:   inviter,
		Path:          []string{"_matrix", "federation", "v1", "exchange_third_party_invite", e.RoomID},
		Body:          body,
		Signer:        s,
		IgnoreBackoff: true,
	})
	if err != nil {
		return err
	}
	return checkObject(inviter, answer)
}

// checkExchange returns the inviter's server and the body for it, if the exchange is fit to be sent.
func checkExchange(e thirdparty.Exchange, s fedinvite.Signer) (fedinvite.ServerName, []byte, error) {
	if s == nil {
		return "", nil, errors.New("a signer is required")
	}
	if !strings.HasPrefix(e.RoomID, "!") {
		return "", nil, fmt.Errorf("%w: room ID", fedinvite.ErrIdentifier)
	}
	_, inviter, err := fedinvite.ParseUserID(e.Sender)
	if err != nil {
		return "", nil, fmt.Errorf("sender: %w", err)
	}
	_, ours, err := fedinvite.ParseUserID(e.Invitee)
	if err != nil {
		return "", nil, fmt.Errorf("invitee: %w", err)
	}
	switch {
	case ours != s.ServerName():
		return "", nil, fmt.Errorf("%w: the invited user is on %s, the signer of %s", fedinvite.ErrNotLocal, ours, s.ServerName())
	case inviter == ours:
		return "", nil, fmt.Errorf("%w: there is nobody to ask, the inviter is on our own server", fedinvite.ErrOrigin)
	}
	// What its receiver will check.
	if err := e.Check(e.RoomID, ours, inviter); err != nil {
		return "", nil, err
	}
	body, err := e.MarshalJSON()
	return inviter, body, err
}
