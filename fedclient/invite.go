package fedclient

import (
	"bytes"
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

	body [][]byte // for the v2 endpoint, in pieces, if it is made already
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
// endpoint for room versions "1" and "2", and else returns an [ErrOldServer], because that
// endpoint does not say the room version.
// [Config.Timeout] bounds all of it, and it goes also to a server that is left alone,
// because a user waits for it. The invite may be sent again: it is the same event.
//
// Errors are a [*RemoteError] if the server refuses, or wrap [ErrOldServer],
// [ErrUnreachable], or [ErrReply] with what MergeReply says; those of an invite
// that must not be sent are the ones of [fedinvite.CheckInvite]. See [Retryable] and
// [ClientError].
func (c *Client) SendInvite(ctx context.Context, r InviteRequest) (InviteReply, error) {
	reply, _, err := c.sendInvite(ctx, r)
	return reply, err
}

// sendInvite also reports, if it fails, whether the invited server may have accepted.
func (c *Client) sendInvite(ctx context.Context, r InviteRequest) (reply InviteReply, maybeSeen bool, err error) {
	invitee, err := r.check()
	if err != nil {
		return InviteReply{}, false, fmt.Errorf("fedclient: invite not sent: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, c.config.Timeout)
	defer cancel()
	t := new(track)
	v2 := t
	answer, err := c.putInvite(ctx, r, invitee, false, t)
	if refused := t.refusal(err); refused != nil {
		switch v1Fits := hasV1(r.Event.Rules().Version); {
		case v1Fits && c.fallBack(refused):
			t, reply.V1 = new(track), true
			answer, err = c.putInvite(ctx, r, invitee, true, t)
		case !v1Fits && refused.unknownEndpoint():
			err = fmt.Errorf("%w %s: %w", ErrOldServer, r.Event.Rules().Version, err)
		}
	}
	if err != nil {
		return InviteReply{}, v2.maybeSeen() || t.maybeSeen(), err
	}
	if reply.Event, err = readInviteReply(ctx, answer, r, invitee, reply.V1); err != nil {
		return InviteReply{}, true, fmt.Errorf("%w of %s: %w", ErrReply, invitee, err)
	}
	return reply, false, nil
}

// readInviteReply returns the event that was agreed to.
func readInviteReply(ctx context.Context, answer []byte, r InviteRequest, invitee fedinvite.ServerName, v1 bool) (*fedinvite.Event, error) {
	if inner, ok := onlyEvent(answer); ok && !v1 {
		merged, err := fedinvite.MergeReply(ctx, r.Event, inner, invitee, r.Keys)
		if !errors.Is(err, fedinvite.ErrNotJSON) || errors.Is(err, fedinvite.ErrKeysUnavailable) {
			return merged, err // what a KeySource says is no JSON is not the answer
		}
	}
	parse := fedinvite.ParseResponseV2
	if v1 {
		parse = fedinvite.ParseResponseV1
	}
	response, err := parse(answer)
	if err != nil {
		return nil, err
	}
	return fedinvite.MergeReply(ctx, r.Event, response.Event, invitee, r.Keys)
}

// onlyEvent cuts the event out of an answer that has no other member and no white space,
// the usual one. If what is returned is one JSON object, the answer was as it seems.
func onlyEvent(answer []byte) ([]byte, bool) {
	inner, ok := bytes.CutPrefix(answer, []byte(`{"event":`))
	if !ok {
		return nil, false
	}
	return bytes.CutSuffix(inner, []byte("}"))
}

// hasV1 reports whether the v1 endpoint is for invites of the room version.
func hasV1(version fedinvite.RoomVersion) bool {
	return version == fedinvite.RoomV1 || version == fedinvite.RoomV2
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
func (c *Client) putInvite(ctx context.Context, r InviteRequest, invitee fedinvite.ServerName, v1 bool, t *track) ([]byte, error) {
	endpoint := "v2"
	if v1 {
		endpoint = "v1"
	}
	req := Request{
		Method:        http.MethodPut,
		Destination:   invitee,
		Path:          []string{"_matrix", "federation", endpoint, "invite", r.Event.RoomID(), r.Event.ID()},
		Signer:        r.Signer,
		IgnoreBackoff: true,
	}
	if req.pieces = r.body; v1 || r.body == nil {
		req.pieces = nil
		var err error
		if req.Body, err = r.marshal(v1); err != nil {
			return nil, fmt.Errorf("fedclient: invite not sent: %w", err)
		}
	}
	answer, err := c.doTracked(ctx, req, t)
	if refused := t.refusal(err); refused != nil && refused.Code == fedinvite.CodeIncompatibleRoomVersion {
		refused.RoomVersion = r.Event.Rules().Version
	}
	return answer, err
}

// marshal makes the body for one version of the endpoint.
func (r *InviteRequest) marshal(v1 bool) ([]byte, error) {
	event, err := r.Event.MarshalJSON()
	if err != nil {
		return nil, err
	}
	req := fedinvite.Request{RoomVersion: r.Event.Rules().Version, Event: event, RoomState: r.RoomState}
	if v1 {
		return req.MarshalV1()
	}
	return req.MarshalV2()
}
