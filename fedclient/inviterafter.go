package fedclient

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/seed-0a46cb1a/fedinvite"
)

// Leave makes the leave event of a user of ours in a room that we are in: of one who
// declines an invite, or who leaves for another reason, with the room's policy server
// asked as for an invite. Invitee is the Sender, or empty; Content may hold a reason;
// ThirdParty must be nil. For invites to rooms that we are not in there is
// [Client.Decline].
//
// Store it and send it to the servers in the room. The error is an [*InviteError] as with
// [Inviter.TakeBack].
func (v *Inviter) Leave(ctx context.Context, i Invitation) (*fedinvite.Event, error) {
	if i.Invitee == "" {
		i.Invitee = i.Sender
	}
	return v.leave(ctx, &composition{config: &v.config, Invitation: i, membership: "leave", own: true})
}

// Resend sends an invite again that may have been seen: what failed says, with the same
// event and room state. The error is an [*InviteError], which says MaybeSeen if this try
// or that one does. What a policy server or a hook has refused is not sent: the error is
// failed. Use a context that has not ended, and see [Retryable] for when it may help.
func (v *Inviter) Resend(ctx context.Context, failed *InviteError) (*Invited, error) {
	if failed == nil || failed.Event == nil {
		return nil, &InviteError{Err: errors.New("fedclient: there is no event to send again")}
	}
	var policy *PolicyError
	var hook *hookError
	if !failed.MaybeSeen && (errors.As(failed.Err, &policy) || errors.As(failed.Err, &hook)) {
		return nil, failed // somebody said no before it was sent
	}
	again := *failed
	reply, maybeSeen, err := v.resend(ctx, failed)
	if err != nil {
		again.MaybeSeen = failed.MaybeSeen || maybeSeen
		again.Err = err
		return nil, &again
	}
	return &Invited{Event: reply.Event, RoomState: failed.RoomState, V1: reply.V1}, nil
}

func (v *Inviter) resend(ctx context.Context, failed *InviteError) (InviteReply, bool, error) {
	_, server, err := fedinvite.ParseUserID(failed.Event.Sender())
	if err != nil {
		return InviteReply{}, false, err
	}
	c := composition{config: &v.config}
	signer, err := c.findSigner(ctx, server)
	if err != nil {
		return InviteReply{}, false, err
	}
	if signer == nil {
		return InviteReply{}, false, fedinvite.ErrNotLocal
	}
	return v.config.Client.sendInvite(ctx, InviteRequest{
		Event: failed.Event, RoomState: failed.RoomState, Signer: signer, Keys: v.config.Keys,
	})
}

// ClientState returns the room state in the form for clients: type, state_key, sender and
// content, nothing else. It is what /sync shows a local invitee.
func (i *Invited) ClientState() []json.RawMessage {
	state, err := fedinvite.CheckRoomState(context.Background(), i.RoomState, i.Event, nil, fedinvite.StateOff)
	if err != nil {
		return nil // no Inviter made it
	}
	return state.Client()
}
