package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// A trial is one invite of the demonstration, in a room of its own. Its methods are
// what may become of it; they return what both servers have to show for it.
type trial struct {
	from, to        *peer
	sender, invitee string // user IDs
	room            *room  // as it was before the invite
	invite          *fedinvite.Event
}

// newTrial makes the room.
func newTrial(ctx context.Context, version fedinvite.RoomVersion, from *peer, sender string, to *peer, invitee string) (*trial, error) {
	rules, err := version.Rules()
	if err != nil {
		return nil, err
	}
	t := &trial{from: from, to: to, sender: from.user(sender), invitee: to.user(invitee)}
	t.room, err = newRoom(ctx, rules, from.signer, t.sender, "Room of "+sender)
	return t, err
}

// send has the sender invite the invitee, and puts the invite into the room.
func (t *trial) send(ctx context.Context) (invited *fedclient.Invited, err error) {
	if err := t.from.kept.found(t.room); err != nil {
		return nil, err
	}
	inviter, err := t.from.inviter(t.from.kept, nil)
	if err != nil {
		return nil, err
	}
	invited, err = inviter.Invite(ctx, fedclient.Invitation{RoomID: t.room.id, Sender: t.sender, Invitee: t.invitee})
	if err != nil {
		return nil, err
	}
	t.invite = invited.Event
	_, err = t.from.kept.add(t.invite)
	return invited, err
}

// invited sends the invite and returns the endpoint by which the other server got it.
func (t *trial) invited(ctx context.Context) (string, error) {
	if _, err := t.send(ctx); err != nil {
		return "", err
	}
	r := t.to.receipt(t.invite.ID())
	if r.event != eventInvited {
		return "", fmt.Errorf("%s has not stored the invite: %w", t.to.label, r.err)
	}
	return r.endpoint, nil
}

// signed has each server verify what the other signed.
func (t *trial) signed(ctx context.Context) (string, error) {
	return views(
		view{t.from, verifySignature(ctx, t.invite, t.from.name(), t.to.keys)},
		view{t.to, verifySignature(ctx, t.invite, t.to.name(), t.from.keys)})
}

// declines has the invitee decline.
func (t *trial) declines(ctx context.Context) (string, error) {
	held, err := t.to.kept.heldFrom(t.from.name(), t.room.id, t.invitee)
	if err != nil || held == nil {
		return "", fmt.Errorf("%s holds no invite: %w", t.to.label, err)
	}
	d, err := t.to.client.Decline(ctx, fedclient.DeclineRequest{Invite: held, Signer: t.to.signer, Time: time.Now()})
	if err != nil {
		return "", err
	}
	if d.Server != t.from.name() {
		return "", fmt.Errorf("%s did not take the leave: %w", t.from.label, d.Err)
	}
	if _, err := t.to.kept.drop(held); err != nil {
		return "", err
	}
	return views(
		view{t.from, errors.Join(t.gone(d.Event), t.from.told(d.Event, eventDeclined), verifySignature(ctx, d.Event, t.to.name(), t.from.keys))},
		view{t.to, t.forgotten()})
}

// takesBack has the sender take the invite back.
func (t *trial) takesBack(ctx context.Context) (string, error) {
	leave, err := t.from.takeBack(ctx, t.from.kept, fedclient.Invitation{RoomID: t.room.id, Sender: t.sender, Invitee: t.invitee})
	if err != nil {
		return "", err
	}
	if err := t.from.send(ctx, leave, t.to.name()); err != nil {
		return "", err
	}
	return views(
		view{t.from, t.gone(leave)},
		view{t.to, errors.Join(t.forgotten(), t.to.told(leave, eventTakenBack), verifySignature(ctx, leave, t.from.name(), t.to.keys))})
}

// local sends an invite within one server, and has another one verify it.
func (t *trial) local(ctx context.Context, other *peer) (string, error) {
	invited, err := t.send(ctx)
	switch {
	case err != nil:
		return "", err
	case !invited.Local || t.to.receipt(t.invite.ID()) != receipt{}:
		return "", errors.New("a local invite was sent to a server")
	}
	return views(view{t.from, verifySignature(ctx, t.invite, t.from.name(), other.keys)})
}

// gone returns an error unless the room shows that the invitee has left by an event.
func (t *trial) gone(leave *fedinvite.Event) error {
	r, err := t.from.kept.room(t.room.id)
	if err != nil {
		return err
	}
	if e := r.state().Get("m.room.member", t.invitee); e == nil || e.ID() != leave.ID() || e.Membership() != "leave" {
		return errors.New("the room does not show the leave")
	}
	return nil
}

// forgotten returns an error if the invite is still held.
func (t *trial) forgotten() error {
	held, err := t.to.kept.held(t.room.id, t.invitee)
	if err == nil && len(held) > 0 {
		err = errors.New("the invite is still held")
	}
	return err
}

// told returns an error unless the peer was told of an event of that kind.
func (p *peer) told(e *fedinvite.Event, event string) error {
	if p.receipt(e.ID()).event != event {
		return fmt.Errorf("it knows of no event that was %s", event)
	}
	return nil
}

// A view is what a server has to say: all is well, or what is not.
type view struct {
	of  *peer
	err error
}

// views marks the servers for which all is well.
func views(all ...view) (marks string, err error) {
	var good []string
	for _, v := range all {
		if v.err != nil {
			err = errors.Join(err, fmt.Errorf("%s: %w", v.of.label, v.err))
			continue
		}
		good = append(good, v.of.label+" ✓")
	}
	return strings.Join(good, " "), err
}
