package main

import (
	"context"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// An outbound is the side of a homeserver that speaks to others: it fetches their
// keys and sends them what its users do.
type outbound struct {
	signer fedinvite.Signer
	local  keyring.Local // its key, for those who ask by server name
	client *fedclient.Client
	keys   *keyring.Ring
	close  func() // the connections that no request is using
}

// newOutbound returns the outbound side of the signer's server, which connects as c says.
func newOutbound(signer fedinvite.Signer, c discovery.Config) (*outbound, error) {
	transport, err := discovery.New(c)
	if err != nil {
		return nil, err
	}
	// Once, because whoever runs a command can run it again.
	client, err := fedclient.New(fedclient.Config{UserAgent: userAgent(), Transport: transport, Retries: 1})
	if err != nil {
		return nil, err
	}
	local := keyring.Signers(signer)
	keys, err := keyring.New(keyring.Config{Fetcher: client, Now: time.Now, Local: local})
	if err != nil {
		return nil, err
	}
	return &outbound{signer, local, client, keys, transport.CloseIdleConnections}, nil
}

func (o *outbound) name() fedinvite.ServerName { return o.signer.ServerName() }

// inviter makes invites into the rooms. made, unless it is nil, is told of an invite
// before it is sent; see [fedclient.InviterConfig].
func (o *outbound) inviter(rooms fedclient.Room, made func(context.Context, *fedinvite.Event) error) (*fedclient.Inviter, error) {
	return fedclient.NewInviter(fedclient.InviterConfig{
		Client: o.client,
		Keys:   o.keys,
		Room:   rooms,
		Now:    time.Now,
		Signer: o.local.Signer,
		Made:   made,
	})
}
