package main

import (
	"context"
	"fmt"
	"net"
)

const serveUsage = `Usage:
    fedinvite serve -server-name HOST:PORT -listen ADDR -key FILE
                    -tls-cert FILE -tls-key FILE [-ca FILE] [-block NAME …]

Be a homeserver that receives invites: answer requests for keys and version, check
the invites to users of the server as the specification says, and sign and accept
the good ones. Every user exists, nothing is stored.

Each invite is a line of JSON on standard output, with the members origin, sender,
invitee, room_id, room_version and event_id. If it is accepted there are room_state,
in the form for clients, and warnings; if it is refused errcode and reason, and what
was not known yet is empty.

SIGINT and SIGTERM end the server, once the requests under way are answered.

Options:
    -server-name NAME   the server's name (required)
    -listen ADDR        where to listen for HTTPS, such as :8448 (required)
    -key FILE           the signing key, see "fedinvite help keygen" (required)
    -tls-cert FILE      the certificate, in PEM (required)
    -tls-key FILE       the certificate's private key, in PEM (required)
    -ca FILE            the certificate authorities to trust, in place of the
                        system's, when other servers are asked for their keys
    -block NAME         a server or user whose invites are refused; may be repeated

Other servers are asked for their keys at the host and port of their name, 8448 if
it has none; delegation is not followed. A request may claim to come from any server
that this machine can reach: do not serve strangers next to private networks.

Example:
    $ fedinvite serve -server-name a.example:8448 -listen :8448 -key a.key \
          -tls-cert a.crt -tls-key a.tls.key -block @spam:b.example
`

func runServe(ctx context.Context, s streams, args []string) error {
	f := newFlags("serve")
	name := f.needServer("server-name")
	address := f.needString("listen")
	keyFile := f.needString("key")
	certFile := f.needString("tls-cert")
	tlsKeyFile := f.needString("tls-key")
	caFile := f.String("ca", "", "")
	blocked := f.block()
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
	roots, err := readRoots(*caFile)
	if err != nil {
		return err
	}
	o, err := newOutbound(signer, roots)
	if err != nil {
		return err
	}
	h, err := newHomeserver(o, blocked, newOutcomes(s.out).done)
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", *address)
	if err != nil {
		return err
	}
	fmt.Fprintf(s.err, "fedinvite: %s is ready on %s, with the key %s\n", *name, l.Addr(), signer.KeyID())
	return serve(ctx, l, newServer(h, cert, s.err))
}
