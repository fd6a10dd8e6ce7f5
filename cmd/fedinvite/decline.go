package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

const declineUsage = `Usage:
    fedinvite decline -server-name NAME -key FILE -store DIR
                      -room ROOMID -user USER [-reason TEXT] [-ca FILE]
                      [-allow PREFIX …]

Decline an invite that a "fedinvite serve" has stored: have the inviting server make
a leave, check it, sign it and send it back, and remove the invite from the store.
The leave is written as one line of canonical JSON.

If the inviting server does not take the leave, because it is gone, say, the invite
is removed all the same, as other homeservers do too: the leave is then our own and
nobody else sees it. Standard error has a line about which of the two happened, and
the exit status is 0 in both, because the user has got rid of the invite.

Whoever declines leaves the room, so if several servers have invited the user to it
all their invites are declined, with a leave and a line for each.

A "fedinvite serve" with the same name and key must be running, or whatever else
publishes that key.

Options:
    -server-name NAME   our server's name (required)
    -key FILE           its signing key, see "fedinvite help keygen" (required)
    -store DIR          the store of "fedinvite serve" (required)
    -room ROOMID        the room that the invite is to (required)
    -user USER          who was invited, a user of our server (required)
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
    $ fedinvite decline -server-name b.example:8448 -key b.key -store b.store \
          -room '!tea:a.example' -user @bob:b.example:8448 -reason "No time"
`

func runDecline(ctx context.Context, s streams, args []string) error {
	f := newActing("decline")
	storeDir := f.needString("store")
	roomID := f.needString("room")
	user := f.needUser("user")
	reason := f.String("reason", "", "")
	if err := f.parseAlone(args); err != nil {
		return err
	}
	if err := f.ours("user", user); err != nil {
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
	d := newDisk(*storeDir)
	held, err := d.held(*roomID, user.id)
	if err != nil {
		return err
	}
	if len(held) == 0 {
		return fmt.Errorf("%s holds no invite to %s", user.id, *roomID)
	}
	for _, invite := range held {
		// One that cannot be declined does not keep the others.
		err = errors.Join(err, decline(ctx, s, o, d, fedclient.DeclineRequest{
			Invite:  invite,
			Signer:  o.signer,
			Time:    time.Now(),
			Content: content,
		}))
	}
	return err
}

// decline declines one invite, and removes it.
func decline(ctx context.Context, s streams, o *outbound, kept store, r fedclient.DeclineRequest) error {
	declined, err := o.client.Decline(ctx, r)
	if err != nil {
		return err
	}
	if _, err := kept.drop(r.Invite); err != nil {
		return err
	}
	fmt.Fprintln(s.err, "fedinvite:", oneLine(told(declined)))
	return writeLine(s.out, declined.Event.AppendJSON(nil))
}

// told says who knows of a leave.
func told(d fedclient.Declined) string {
	switch {
	case d.Server != "":
		return string(d.Server) + " took the leave"
	case d.MaybeSeen:
		return fmt.Sprintf("the leave was sent, but perhaps not taken: %v", d.Err)
	}
	return fmt.Sprintf("no server took the leave, which counts here only: %v", d.Err)
}
