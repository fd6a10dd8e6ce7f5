package fedclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
)

// An InviteRequest is an invite that is ready to be sent to the invited user's
// server, which is the one in the event's state_key. All but RoomState is required.
type InviteRequest struct {
	// Event is the invite, built and signed by the inviting server.
	Event *fedinvite.Event
	// RoomState is the invite_room_state.
	RoomState []json.RawMessage
	// Signer is of the inviting server, on which the sender is.
	Signer fedinvite.Signer
	// Keys finds the keys of the invited server, to check its signature.
	Keys fedinvite.KeySource
}

// An InviteReply is what became of an invite.
type InviteReply struct {
	// Event is the invite with the invited server's signature added, and otherwise
	// as it was: ready to be sent to the room.
	Event *fedinvite.Event
	// V1 says that it went by the v1 endpoint.
	V1 bool
}

// SendInvite sends an invite to the invited user's server and checks the answer
// (server-server API, "Inviting to a room"): it must be the same event, with a valid
// signature of that server; see [fedinvite.MergeReply].
//
// It asks the v2 endpoint. If the server does not know that one, it asks the v1
// endpoint for room versions 1 and 2, and else returns an [ErrOldServer].
// [Config.Timeout] bounds all of it. The invite may be sent again: it is the same
// event.
//
// Errors are a [*RemoteError] if the server refuses, or wrap [ErrOldServer],
// [ErrUnreachable], or [ErrReply] with what MergeReply says; those of an invite
// that must not be sent are the ones of [fedinvite.CheckInvite]. See [Retryable] and
// [ClientError].
func (c *Client) SendInvite(ctx context.Context, r InviteRequest) (InviteReply, error) {
	invitee, err := r.check()
	if err != nil {
		return InviteReply{}, fmt.Errorf("fedclient: invite not sent: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	version := r.Event.Rules().Version
	answer, err := c.putInvite(ctx, r, invitee, false)
	v1 := false
	var refused *RemoteError
	if errors.As(err, &refused) {
		if version == fedinvite.RoomV1 || version == fedinvite.RoomV2 {
			if v1 = c.fallBack(refused); v1 {
				answer, err = c.putInvite(ctx, r, invitee, true)
			}
		} else if refused.unknownEndpoint() {
			err = fmt.Errorf("%w %s: %w", ErrOldServer, version, err)
		}
	}
	if err != nil {
		if errors.As(err, &refused) && refused.Code == fedinvite.CodeIncompatibleRoomVersion {
			refused.RoomVersion = version
		}
		return InviteReply{}, err
	}
	parse := fedinvite.ParseResponseV2
	if v1 {
		parse = fedinvite.ParseResponseV1
	}
	response, err := parse(answer)
	if err != nil {
		return InviteReply{}, fmt.Errorf("%w of %s: %w", ErrReply, invitee, err)
	}
	merged, err := fedinvite.MergeReply(ctx, r.Event, response.Event, invitee, r.Keys)
	if err != nil {
		return InviteReply{}, fmt.Errorf("%w of %s: %w", ErrReply, invitee, err)
	}
	return InviteReply{Event: merged, V1: v1}, nil
}

// fallBack reports whether the v1 endpoint may do better. The specification says so
// of every 400 and 404, which would repeat most refusals.
func (c *Client) fallBack(refused *RemoteError) bool {
	badOrNotFound := refused.Status == http.StatusBadRequest || refused.Status == http.StatusNotFound
	return refused.unknownEndpoint() || c.config.FallbackAlways && badOrNotFound
}

// check returns the invited server, if the invite is fit to be sent.
func (r *InviteRequest) check() (fedinvite.ServerName, error) {
	switch {
	case r.Event == nil:
		return "", errors.New("InviteRequest.Event is required")
	case r.Signer == nil:
		return "", errors.New("InviteRequest.Signer is required")
	case r.Keys == nil:
		return "", errors.New("InviteRequest.Keys is required")
	}
	key, _ := r.Event.StateKey()
	_, invitee, err := fedinvite.ParseUserID(key)
	if err != nil {
		return "", fmt.Errorf("%w: the state_key is no user ID", fedinvite.ErrNotInvite)
	}
	return invitee, fedinvite.CheckInvite(r.Event, r.Signer.ServerName(), invitee)
}

// putInvite asks one version of the endpoint.
func (c *Client) putInvite(ctx context.Context, r InviteRequest, invitee fedinvite.ServerName, v1 bool) ([]byte, error) {
	event, err := r.Event.MarshalJSON()
	if err != nil {
		return nil, err
	}
	req := fedinvite.Request{RoomVersion: r.Event.Rules().Version, Event: event, RoomState: r.RoomState}
	endpoint, marshal := "v2", req.MarshalV2
	if v1 {
		endpoint, marshal = "v1", req.MarshalV1
	}
	body, err := marshal()
	if err != nil {
		return nil, fmt.Errorf("fedclient: invite not sent: %w", err)
	}
	return c.Do(ctx, Request{
		Method:      http.MethodPut,
		Destination: invitee,
		Path:        []string{"_matrix", "federation", endpoint, "invite", r.Event.RoomID(), r.Event.ID()},
		Body:        body,
		Signer:      r.Signer,
	})
}
