package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

const rescindUsage = `Usage:
    fedinvite rescind -server-name NAME -key FILE -store DIR
                      -room ROOMID -sender USER -to USER [-reason TEXT]
                      [-ca FILE] [-allow PREFIX …]

Take back an invite into a room that "fedinvite invite" has stored: make the leave
of the invited user, add it to the stored room and send it to the invited user's
server, in a transaction. The leave is written as one line of canonical JSON.

If it cannot be sent the exit status is 1, but it is in the room. Run the same
command again to send it again; the leave stays the one that it is.

A "fedinvite serve" with the same name and key must be running, or whatever else
publishes that key.

Options:
    -server-name NAME   our server's name (required)
    -key FILE           its signing key, see "fedinvite help keygen" (required)
    -store DIR          the store of "fedinvite invite" (required)
    -room ROOMID        the room, see room_id in the invite (required)
    -sender USER        who invited (required)
    -to USER            who was invited (required)
    -reason TEXT        why, for the members of the room to read
    -ca FILE            the certificate authorities to trust, in place of the
                        system's
    -allow PREFIX       addresses that may be connected to though they are not of
                        the public internet, such as 10.0.0.0/8, or "loopback"; may
                        be repeated

Other servers are found by their names as the specification says, by .well-known
and SRV records if a name has no port. Only addresses of the public internet, and
those of -allow, are connected to.

Example:
    $ fedinvite rescind -server-name a.example:8448 -key a.key -store a.store \
          -room '!tea:a.example' -sender @alice:a.example:8448 -to @bob:b.example
`

func runRescind(ctx context.Context, s streams, args []string) error {
	f := newActing("rescind")
	storeDir := f.needString("store")
	roomID := f.needString("room")
	sender := f.needUser("sender")
	invitee := f.needUser("to")
	reason := f.String("reason", "", "")
	if err := f.parseAlone(args); err != nil {
		return err
	}
	if err := f.ours("sender", sender); err != nil {
		return err
	}
	if err := f.theirs("to", invitee); err != nil {
		return err
	}
	content, err := leaveContent(*reason)
	if err != nil {
		return err
	}
	o, err := f.outbound()
	if err != nil {
		return err
	}
	defer o.close()
	leave, err := o.takeBack(ctx, newDisk(*storeDir), fedclient.Invitation{
		RoomID:  *roomID,
		Sender:  sender.id,
		Invitee: invitee.id,
		Content: content,
	})
	if err != nil {
		return err
	}
	if err := o.send(ctx, leave, invitee.server); err != nil {
		return fmt.Errorf("the leave is stored but not sent, run the command again to send it: %w", err)
	}
	return writeLine(s.out, leave.AppendJSON(nil))
}

// takeBack returns the leave that takes an invite back: a new one, which it puts into
// the room, or the one that is there from an earlier time.
func (o *outbound) takeBack(ctx context.Context, kept store, i fedclient.Invitation) (*fedinvite.Event, error) {
	now, err := kept.Snapshot(ctx, i.RoomID, nil)
	if err != nil {
		return nil, err
	}
	member := now.State.Get("m.room.member", i.Invitee)
	switch {
	case member == nil:
		return nil, fmt.Errorf("%s was never invited to %s", i.Invitee, i.RoomID)
	case member.Membership() == "leave" && member.Sender() == i.Sender:
		return member, nil
	case member.Membership() != "invite":
		return nil, fmt.Errorf("the invite of %s is over: %s by %s", i.Invitee, member.Membership(), member.Sender())
	}
	inviter, err := o.inviter(kept, nil)
	if err != nil {
		return nil, err
	}
	leave, err := inviter.TakeBack(ctx, i)
	if err != nil {
		return nil, err
	}
	_, err = kept.add(leave)
	return leave, err
}

// send sends an event to a server.
func (o *outbound) send(ctx context.Context, e *fedinvite.Event, to fedinvite.ServerName) error {
	failed, err := o.client.SendTransaction(ctx, fedclient.Transaction{
		ID:          rand.Text(),
		Destination: to,
		Events:      []*fedinvite.Event{e},
		Time:        time.Now(),
		Signer:      o.signer,
	})
	if reason, ok := failed[e.ID()]; ok && err == nil {
		return fmt.Errorf("%s did not take it: %q", to, reason)
	}
	return err
}
