// Package homeserver is an example to copy from: all the wiring that a homeserver writes to
// take part in invites, inbound and outbound, under any number of server names, with server
// ACLs, block lists and rate limits, over a database that it has already; sending events to
// the servers in a room, and checking the events that they send, is the homeserver's own.
package homeserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/policy"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A Server is the part of a homeserver that deals with invites: an http.Handler for
// other servers, and methods for what our own users ask for.
type Server struct {
	*http.ServeMux
	db      *database
	local   keyring.Local
	client  *fedclient.Client
	inviter *fedclient.Inviter
}

// New returns a Server for the names of the signers. A nil transport finds other servers by
// their names and connects to public addresses only: for others see package discovery.
func New(db *database, transport http.RoundTripper, blocked []string, signers ...fedinvite.Signer) (*Server, error) {
	local := keyring.Signers(signers...)
	client, err1 := fedclient.New(fedclient.Config{UserAgent: "example/1.0", Transport: transport})
	limiter, err2 := ratelimit.New(ratelimit.Config{})
	keys, err3 := keyring.New(keyring.Config{Fetcher: client, Local: local})
	if err := errors.Join(err1, err2, err3); err != nil {
		return nil, err
	}
	wanted := policy.Chain(policy.InviteeExists(db.isUser), policy.BlockServers(blocked...), policy.InvitePermission(db.permission))
	endpoint := fedserver.Endpoint{
		Signer: local.Signer, Keys: keys, ServerAllowed: db.serverAllowed,
		Credentials: xmatrix.Verifier{Keys: keys}.Credentials,
	}
	inviter, err1 := fedclient.NewInviter(fedclient.InviterConfig{Client: client, Keys: keys, Room: db, Signer: local.Signer, Policy: wanted})
	receiver, err2 := fedinvite.NewReceiver(fedinvite.Config{
		Signer: local.Signer, Keys: keys, Credentials: endpoint.Credentials, ServerAllowed: db.serverAllowed,
		Admit: limiter.Admit, Policy: policy.Chain(wanted, limiter.Policy), Handler: fedinvite.HandlerFunc(db.handleInvite),
	})
	leaves, err3 := fedserver.NewLeaves(fedserver.LeavesConfig{Endpoint: endpoint, Room: db, HandleLeave: db.addEvent})
	transactions, err4 := fedserver.NewTransactions(fedserver.TransactionsConfig{
		Endpoint: endpoint, Invite: db.inviteElsewhere, HandleRescission: db.removeInvite, Next: db.receiveEvent,
	})
	publish, err5 := keyring.NewPublishHandler(keyring.PublishConfig{Local: local})
	if err := errors.Join(err1, err2, err3, err4, err5); err != nil {
		return nil, err
	}
	s := &Server{ServeMux: http.NewServeMux(), db: db, local: local, client: client, inviter: inviter}
	s.Handle("/_matrix/key/v2/server", publish)
	s.Handle("/", receiver) // both versions of /invite, and 404 M_UNRECOGNIZED for what is nowhere
	s.Handle("/_matrix/federation/v1/make_leave/", leaves)
	s.Handle("/_matrix/federation/v1/send_leave/", leaves)
	s.Handle("/_matrix/federation/v2/send_leave/", leaves)
	s.Handle("/_matrix/federation/v1/send/", transactions)
	return s, nil
}

// Invite is POST /_matrix/client/v3/rooms/{roomId}/invite.
func (s *Server) Invite(ctx context.Context, roomID, sender, invitee string, content json.RawMessage) error {
	i := fedclient.Invitation{RoomID: roomID, Sender: sender, Invitee: invitee, Content: content}
	invited, err := s.inviter.Invite(ctx, i)
	if err != nil {
		return fedclient.ClientError(err)
	}
	return s.db.addEvent(context.WithoutCancel(ctx), invited.Event)
}

// TakeBack is POST /_matrix/client/v3/rooms/{roomId}/kick of a user who is only invited.
func (s *Server) TakeBack(ctx context.Context, roomID, sender, invitee string) error {
	e, err := s.inviter.TakeBack(ctx, fedclient.Invitation{RoomID: roomID, Sender: sender, Invitee: invitee})
	if err != nil {
		return fedclient.ClientError(err)
	}
	err1 := s.db.addEvent(context.WithoutCancel(ctx), e)
	_, from, err2 := fedinvite.ParseUserID(sender)
	_, to, err3 := fedinvite.ParseUserID(invitee)
	signer, err4 := s.local.Signer(ctx, from)
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return err
	}
	if _, err := s.local.Signer(ctx, to); err == nil {
		return nil // one of our own users
	}
	// A homeserver has a queue for each server, from which this is sent until it gets through.
	t := fedclient.Transaction{ID: e.ID(), Destination: to, Events: []*fedinvite.Event{e}, Time: time.Now(), Signer: signer}
	_, err = s.client.SendTransaction(ctx, t)
	return err
}

// Decline is POST /_matrix/client/v3/rooms/{roomId}/leave by a user who is only invited.
func (s *Server) Decline(ctx context.Context, roomID, userID string) error {
	_, name, err1 := fedinvite.ParseUserID(userID)
	signer, err2 := s.local.Signer(ctx, name)
	invites, err3 := s.db.invitesTo(ctx, roomID, userID)
	err := errors.Join(err1, err2, err3)
	if err != nil {
		return err
	}
	for _, invite := range invites { // all: who declines leaves the room, whichever of them is real
		declined, failed := s.client.Decline(ctx, fedclient.DeclineRequest{Invite: invite, Signer: signer, Time: time.Now()})
		if failed == nil {
			failed = s.db.removeInvite(ctx, declined.Event, invite)
		}
		err = errors.Join(err, failed)
	}
	return err
}
