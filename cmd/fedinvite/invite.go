package main

import (
	"context"

	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

const inviteUsage = `Usage:
    fedinvite invite -server-name NAME -key FILE -room-version V
                     -sender USER -to USER [-room-name NAME] [-ca FILE]
                     [-allow PREFIX …] [-store DIR]

Make a room, invite a user of another homeserver into it, check that server's
answer and signature, and write the finished event as one line of canonical JSON.

The other server fetches our keys before it accepts anything, so a "fedinvite
serve" with the same name and key must be running, or whatever else publishes that
key. Nobody can join the room.

With -store the room is kept, so that the invited user can decline at a "fedinvite
serve" with the same store, and "fedinvite rescind" can take the invite back. The
room is stored with the invite before the invite is sent. If the invite is refused
the room is removed again; if it may have arrived all the same, which the message
says, the room stays.

Options:
    -server-name NAME   our server's name (required)
    -key FILE           its signing key, see "fedinvite help keygen" (required)
    -room-version V     the version of the room to make, 1 to 12 (required)
    -sender USER        who invites, a user of our server (required)
    -to USER            who is invited, a user of another server (required)
    -room-name NAME     a name for the room, which the invited user sees
    -ca FILE            the certificate authorities to trust, in place of the
                        system's
    -allow PREFIX       addresses that may be connected to though they are not of
                        the public internet, such as 10.0.0.0/8, or "loopback"; may
                        be repeated
    -store DIR          where to keep the room; made if it is not there

Other servers are found by their names as the specification says, by .well-known
and SRV records if a name has no port. Only addresses of the public internet, and
those of -allow, are connected to.

Example:
    $ fedinvite invite -server-name a.example:8448 -key a.key -room-version 12 \
          -sender @alice:a.example:8448 -to @bob:b.example -room-name "Tea at five"
`

func runInvite(ctx context.Context, s streams, args []string) error {
	f := newActing("invite")
	rules := f.needRules()
	sender := f.needUser("sender")
	invitee := f.needUser("to")
	roomName := f.String("room-name", "", "")
	storeDir := f.String("store", "", "")
	if err := f.parseAlone(args); err != nil {
		return err
	}
	if err := f.ours("sender", sender); err != nil {
		return err
	}
	if err := f.theirs("to", invitee); err != nil {
		return err
	}
	j, err := newJournal(*storeDir)
	if err != nil {
		return err
	}
	o, err := f.outbound()
	if err != nil {
		return err
	}
	defer o.close()
	if j.room, err = newRoom(ctx, *rules, o.signer, sender.id, *roomName); err != nil {
		return err
	}
	inviter, err := o.inviter(newMemory(j.room), j.made)
	if err != nil {
		return err
	}
	invited, err := inviter.Invite(ctx, fedclient.Invitation{
		RoomID:  j.room.id,
		Sender:  sender.id,
		Invitee: invitee.id,
	})
	if err := j.settle(invited, err); err != nil {
		return err
	}
	return writeLine(s.out, invited.Event.AppendJSON(nil))
}
