package main

import "context"

const inviteUsage = `Usage:
    fedinvite invite -server-name HOST:PORT -key FILE -room-version V
                     -sender USER -to USER [-room-name NAME] [-ca FILE]

Make a room, invite a user of another homeserver into it, check that server's
answer and signature, and write the finished event as one line of canonical JSON.

The other server fetches our keys before it accepts anything, so a "fedinvite
serve" with the same name and key must be running, or whatever else publishes that
key. The room exists in the invite only: nobody can join it.

Options:
    -server-name NAME   our server's name (required)
    -key FILE           its signing key, see "fedinvite help keygen" (required)
    -room-version V     the version of the room to make, 1 to 12 (required)
    -sender USER        who invites, a user of our server (required)
    -to USER            who is invited, a user of another server (required)
    -room-name NAME     a name for the room, which the invited user sees
    -ca FILE            the certificate authorities to trust, in place of the
                        system's

The other server is asked at the host and port of its name, 8448 if it has none;
delegation is not followed.

Example:
    $ fedinvite invite -server-name a.example:8448 -key a.key -room-version 12 \
          -sender @alice:a.example:8448 -to @bob:b.example -room-name "Tea at five"
`

func runInvite(ctx context.Context, s streams, args []string) error {
	f := newFlags("invite")
	name := f.needServer("server-name")
	keyFile := f.needString("key")
	rules := f.needRules()
	sender := f.needUser("sender")
	invitee := f.needUser("to")
	roomName := f.String("room-name", "", "")
	caFile := f.String("ca", "", "")
	if err := f.parseAlone(args); err != nil {
		return err
	}
	if sender.server != *name {
		return usageError("-sender must be a user of -server-name")
	}
	if invitee.server == *name {
		return usageError("-to must be a user of another server")
	}
	signer, err := readSigner(*name, *keyFile)
	if err != nil {
		return err
	}
	roots, err := readRoots(*caFile)
	if err != nil {
		return err
	}
	o, err := newOutbound(signer, roots)
	if err != nil {
		return err
	}
	r, err := newRoom(ctx, *rules, signer, sender.id, *roomName)
	if err != nil {
		return err
	}
	invite, err := r.invite(ctx, invitee.id)
	if err != nil {
		return err
	}
	finished, err := o.send(ctx, r, invite)
	if err != nil {
		return err
	}
	return writeLine(s.out, finished.AppendJSON(nil))
}
