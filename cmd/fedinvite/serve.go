package main

import (
	"context"
	"fmt"
	"net"

	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
)

const serveUsage = `Usage:
    fedinvite serve -server-name NAME -listen ADDR -key FILE
                    -tls-cert FILE -tls-key FILE [-ca FILE] [-allow PREFIX …]
                    [-block NAME …] [-store DIR]

Be a homeserver for the whole life of an invite: answer requests for keys and
version; check the invites to users of the server as the specification says, and
sign, accept and store the good ones; let the users of other servers decline the
invites of "fedinvite invite" (make_leave, send_leave); and apply what takes an
invite back (transactions, of which everything else is acknowledged). Every user
exists. Of the invites to a room a user holds one from each server, the newest.

With -store the invites are in DIR, a file each, and so are the rooms that
"fedinvite invite" makes there; of more than 1000 invites the newest are refused.
Without it the last 1000 are kept in memory, and there are no rooms. A store belongs
to one server name; all commands of that server may use it at once.

Of each remote address, server, user and room only so many invites are taken in a
while, and for each user; see the package ratelimit for how many. What is more is
refused with M_LIMIT_EXCEEDED, and the sending server may try again later.

Each thing that happens is a line of JSON on standard output. Its member event is

    invited      an invite to a user of ours, which is stored
    refused      an invite that is not accepted
    declined     a leave of another server's user, who declined an invite of ours
    taken back   a leave that took back an invite to a user of ours: it is removed

All have sender, invitee, room_id, room_version and event_id, of the invite or of
the leave; the first two have origin too. If an invite is accepted there are
room_state, in the form for clients, and warnings; if it is refused errcode and
reason, and what was not known yet is empty.

SIGINT and SIGTERM end the server, once the requests under way are answered.

Options:
    -server-name NAME   the server's name (required)
    -listen ADDR        where to listen for HTTPS, such as :8448 (required)
    -key FILE           the signing key, see "fedinvite help keygen" (required)
    -tls-cert FILE      the certificate, in PEM (required)
    -tls-key FILE       the certificate's private key, in PEM (required)
    -ca FILE            the certificate authorities to trust, in place of the
                        system's, when other servers are asked for their keys
    -allow PREFIX       addresses that may be connected to though they are not of
                        the public internet, such as 10.0.0.0/8, or "loopback"; may
                        be repeated
    -block NAME         a server or user whose invites are refused, where * stands
                        for any text and ? for a character; may be repeated
    -store DIR          where invites and rooms are; made if it is not there

Whoever sends a request says which server it comes from, and that one is asked for
its keys. It is found by its name as the specification says, by .well-known and SRV
records if the name has no port; only addresses of the public internet, and those of
-allow, are connected to.

Example:
    $ fedinvite serve -server-name a.example:8448 -listen :8448 -key a.key \
          -tls-cert a.crt -tls-key a.tls.key -store a.store -block '*.b.example'
`

func runServe(ctx context.Context, s streams, args []string) error {
	f := newFlags("serve")
	name := f.needServer("server-name")
	address := f.needString("listen")
	keyFile := f.needString("key")
	certFile := f.needString("tls-cert")
	tlsKeyFile := f.needString("tls-key")
	others := f.network()
	blocked := f.block()
	storeDir := f.String("store", "", "")
	if err := f.parseAlone(args); err != nil {
		return err
	}
	signer, err := readSigner(*name, *keyFile)
	if err != nil {
		return err
	}
	cert, err := readCertificate(*certFile, *tlsKeyFile)
	if err != nil {
		return err
	}
	config, err := others.config()
	if err != nil {
		return err
	}
	o, err := newOutbound(signer, config)
	if err != nil {
		return err
	}
	kept, err := openStore(*storeDir)
	if err != nil {
		return err
	}
	d, err := newDoor(ratelimit.Config{}, *blocked...)
	if err != nil {
		return err
	}
	h, err := newHomeserver(o, kept, d, newOutcomes(s.out))
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", *address)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.err, "fedinvite: %s is ready on %s, with the key %s\n", *name, l.Addr(), signer.KeyID())
	defer context.AfterFunc(ctx, o.close)() // peers need not wait for us to end too
	return serve(ctx, l, newServer(h, cert, s.err))
}
