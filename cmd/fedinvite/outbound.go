package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// An outbound is the side of a homeserver that speaks to others: it fetches their
// keys and sends them invites.
type outbound struct {
	signer fedinvite.Signer
	local  keyring.Local // its key, for those who ask by server name
	client *fedclient.Client
	keys   *keyring.Ring
}

// newOutbound returns the outbound side of the signer's server. It trusts the
// certificate authorities in roots; nil: the system's.
func newOutbound(signer fedinvite.Signer, roots *x509.CertPool) (*outbound, error) {
	client, err := fedclient.New(fedclient.Config{
		UserAgent: "fedinvite/" + moduleVersion(),
		Transport: fedclient.NewDirect(&tls.Config{RootCAs: roots}),
	})
	if err != nil {
		return nil, err
	}
	local := keyring.Signers(signer)
	keys, err := keyring.New(keyring.Config{Fetcher: client, Now: time.Now, Local: local})
	if err != nil {
		return nil, err
	}
	return &outbound{signer, local, client, keys}, nil
}

func (o *outbound) name() fedinvite.ServerName { return o.signer.ServerName() }

// send sends an invite into the room and returns the event with the signature of
// the invited user's server, which has been verified.
func (o *outbound) send(ctx context.Context, r *room, invite *fedinvite.Event) (*fedinvite.Event, error) {
	reply, err := o.client.SendInvite(ctx, fedclient.InviteRequest{
		Event:     invite,
		RoomState: fedinvite.SelectRoomState(r.state, 0),
		Signer:    o.signer,
		Keys:      o.keys,
	})
	return reply.Event, err
}
