package docs_test

// book: send.md
import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// book: end

// book: send.md
// A roomTx is a read transaction over one room that our server is in.
type roomTx interface {
	Version() fedinvite.RoomVersion
	// State returns a current state event as it was received, or nil.
	State(ctx context.Context, key eventauth.StateKey) ([]byte, error)
	// Extremities returns the forward extremities, the latest first, as they were received.
	Extremities(ctx context.Context) ([][]byte, error)
	// Servers returns the servers that have a joined user.
	Servers(ctx context.Context) (map[fedinvite.ServerName]bool, error)
	Close()
}

// A roomStore is a fedclient.Room.
type roomStore struct {
	// Begin begins a transaction; of a room that we are not in it returns nil.
	Begin func(ctx context.Context, roomID string) (roomTx, error)
}

func (s roomStore) Snapshot(ctx context.Context, roomID string, want []eventauth.StateKey) (*fedclient.Snapshot, error) {
	tx, err := s.Begin(ctx, roomID)
	if err != nil {
		return nil, err
	}
	if tx == nil {
		return nil, fedinvite.Refuse(fedinvite.CodeForbidden, "This server is not in the room.")
	}
	defer tx.Close()
	rules, err := tx.Version().Rules()
	if err != nil {
		return nil, err
	}
	snapshot := &fedclient.Snapshot{Version: tx.Version()}
	for _, key := range want {
		raw, err := tx.State(ctx, key)
		if err != nil {
			return nil, err
		}
		if raw == nil {
			continue
		}
		e, err := fedinvite.ParseStored(raw, rules)
		if err != nil {
			return nil, fmt.Errorf("state %v of %s: %w", key, roomID, err)
		}
		snapshot.State = append(snapshot.State, e)
	}
	latest, err := tx.Extremities(ctx)
	if err != nil {
		return nil, err
	}
	for _, raw := range latest {
		e, err := fedinvite.ParseStored(raw, rules)
		if err != nil {
			return nil, fmt.Errorf("extremity of %s: %w", roomID, err)
		}
		snapshot.Extremities = append(snapshot.Extremities, e.Ref())
		snapshot.Depth = max(snapshot.Depth, e.Depth())
	}
	if snapshot.State.Get("m.room.policy", "") != nil {
		servers, err := tx.Servers(ctx) // now: Joined is called when the transaction is over
		if err != nil {
			return nil, err
		}
		snapshot.Joined = func(server fedinvite.ServerName) bool { return servers[server] }
	}
	return snapshot, nil
}

// book: end

// book: send.md
// A roomWriter is what inviting asks of the store.
type roomWriter interface {
	// Sent notes an invite that is about to leave: Room returns it as the invitee's
	// membership from now on.
	Sent(ctx context.Context, e *fedinvite.Event) error
	// Drop forgets what Sent noted.
	Drop(ctx context.Context, e *fedinvite.Event) error
	// Append puts an event into the room, takes away what Sent noted of it, and queues it
	// for the servers in the room and for those named, but not for our own: one transaction.
	// If a leave that refers to the event is there already, that remains the state.
	Append(ctx context.Context, e *fedinvite.Event, also ...fedinvite.ServerName) error
	// ShowInvite has a user of ours see an invite.
	ShowInvite(ctx context.Context, e *fedinvite.Event, state []json.RawMessage) error
	// RetryLater keeps an invite that may have been seen, over a restart too.
	RetryLater(ctx context.Context, e *fedinvite.Event, state []json.RawMessage) error
}

// A sender invites in the name of our users.
type sender struct {
	*federation
	inviter *fedclient.Inviter
	store   roomWriter
}

func newSender(f *federation, rooms fedclient.Room, store roomWriter, wanted func(context.Context, *fedinvite.Invite) error) (*sender, error) {
	inviter, err := fedclient.NewInviter(fedclient.InviterConfig{
		Client: f.client, Keys: f.ring, Signer: f.local.Signer, Room: rooms,
		Made:   store.Sent,
		Policy: wanted, // for invites to our own users: the chain of the Receiver, without its limits
	})
	return &sender{f, inviter, store}, err
}

// book: end

// book: send.md
// Invite is POST /_matrix/client/v3/rooms/{roomId}/invite. content may hold a reason, and the
// invitee's displayname and avatar_url. The error is what fedinvite.WriteError writes.
func (s *sender) Invite(ctx context.Context, roomID, sender, invitee string, content json.RawMessage) error {
	invited, err := s.inviter.Invite(ctx, fedclient.Invitation{RoomID: roomID, Sender: sender, Invitee: invitee, Content: content})
	ctx = context.WithoutCancel(ctx) // the client may have gone; what became of the invite must be stored
	if err != nil {
		return errors.Join(fedclient.ClientError(err), s.failed(ctx, err))
	}
	return s.invited(ctx, invited)
}

// invited stores an invite that all have agreed to.
func (s *sender) invited(ctx context.Context, invited *fedclient.Invited) error {
	if invited.Local {
		if err := s.store.ShowInvite(ctx, invited.Event, invited.ClientState()); err != nil {
			return err
		}
	}
	return s.store.Append(ctx, invited.Event)
}

// failed stores what is left of an invite that failed.
func (s *sender) failed(ctx context.Context, err error) error {
	failed, ok := errors.AsType[*fedclient.InviteError](err)
	switch {
	case !ok || failed.Event == nil:
		return nil // it was never made
	case failed.MaybeSeen:
		return s.store.RetryLater(ctx, failed.Event, failed.RoomState)
	}
	return s.store.Drop(ctx, failed.Event)
}

// book: end

// book: send.md
// Retry sends again what RetryLater has kept, until the error is nil.
func (s *sender) Retry(ctx context.Context, e *fedinvite.Event, state []json.RawMessage) error {
	invited, err := s.inviter.Resend(ctx, &fedclient.InviteError{Event: e, RoomState: state, MaybeSeen: true, Err: fedclient.ErrUnreachable})
	switch {
	case err == nil:
		return s.invited(context.WithoutCancel(ctx), invited)
	case fedclient.Retryable(err):
		return err // later
	}
	// The other server has refused it now, and may have shown it to its user before: put it
	// into the room, unless the user's membership has changed since, and take it back.
	ctx = context.WithoutCancel(ctx)
	if err := s.store.Append(ctx, e); err != nil {
		return err
	}
	invitee, _ := e.StateKey()
	return s.TakeBack(ctx, e.RoomID(), e.Sender(), invitee)
}

// book: end

// book: send.md
// TakeBack is POST …/kick of a user who is only invited, by the inviter.
func (s *sender) TakeBack(ctx context.Context, roomID, sender, invitee string) error {
	e, err := s.inviter.TakeBack(ctx, fedclient.Invitation{RoomID: roomID, Sender: sender, Invitee: invitee})
	if err != nil {
		return fedclient.ClientError(err)
	}
	_, server, err := fedinvite.ParseUserID(invitee)
	if err != nil {
		return err
	}
	// The invitee's server is not in the room: nobody else tells it.
	return s.store.Append(context.WithoutCancel(ctx), e, server)
}

// sendTo is one step of the queue for a server: true if the event got there.
func (s *sender) sendTo(ctx context.Context, server fedinvite.ServerName, e *fedinvite.Event) (bool, error) {
	_, own, err := fedinvite.ParseUserID(e.Sender())
	if err != nil {
		return false, err
	}
	signer, err := s.local.Signer(ctx, own)
	if err != nil {
		return false, err
	}
	refused, err := s.client.SendTransaction(ctx, fedclient.Transaction{
		ID: e.ID(), Destination: server, Events: []*fedinvite.Event{e}, Time: time.Now(), Signer: signer,
	})
	if reason, ok := refused[e.ID()]; ok {
		return true, fmt.Errorf("%s refused %s: %s", server, e.ID(), reason) // for our logs
	}
	return err == nil, err
}

// book: end

// book: send.md
// Decline is POST …/leave by a user who holds an invite to a room that we are not in. It
// returns the event with which to end the invite.
func (f *federation) Decline(ctx context.Context, row inviteRow, content json.RawMessage) (*fedinvite.Event, error) {
	invite, err := row.parse()
	if err != nil {
		return nil, err
	}
	_, server, err := fedinvite.ParseUserID(row.UserID)
	if err != nil {
		return nil, err
	}
	signer, err := f.local.Signer(ctx, server)
	if err != nil {
		return nil, err
	}
	declined, err := f.client.Decline(ctx, fedclient.DeclineRequest{Invite: invite, Signer: signer, Time: time.Now(), Content: content})
	if err != nil {
		return nil, err
	}
	return declined.Event, nil // also if no server has taken it: the user is rid of the invite
}

// book: end

// book: send.md
// heldInvites is what Transactions ask of the table of receive.md.
type heldInvites struct{ inviteTable }

// Invite returns the invite that origin may take back.
func (h heldInvites) Invite(ctx context.Context, origin fedinvite.ServerName, roomID, userID string) (*fedinvite.Event, error) {
	row, err := h.Get(ctx, inviteKey{roomID, userID, origin})
	if err != nil || row == nil {
		return nil, err
	}
	return row.parse()
}

func (h heldInvites) Remove(ctx context.Context, _, invite *fedinvite.Event) error {
	userID, _ := invite.StateKey()
	_, origin, err := fedinvite.ParseUserID(invite.Sender())
	if err != nil {
		return err
	}
	return h.inviteTable.Remove(ctx, inviteKey{invite.RoomID(), userID, origin}, invite.ID())
}

// addEndings adds the endpoints by which invites end: ours, when another server's user
// declines, and others', when they are taken back.
func (s *sender) addEndings(mux *http.ServeMux, rooms fedclient.Room, invites inviteTable, next func(ctx context.Context, r fedserver.Request, roomID string, pdu json.RawMessage) (string, error)) error {
	endpoint := fedserver.Endpoint{
		Signer: s.local.Signer, Keys: s.ring,
		Credentials: xmatrix.Verifier{Keys: s.ring}.Credentials,
	}
	leaves, err := fedserver.NewLeaves(fedserver.LeavesConfig{
		Endpoint: endpoint, Room: rooms,
		HandleLeave: func(ctx context.Context, e *fedinvite.Event) error {
			return s.store.Append(context.WithoutCancel(ctx), e)
		},
	})
	if err != nil {
		return err
	}
	held := heldInvites{invites}
	transactions, err := fedserver.NewTransactions(fedserver.TransactionsConfig{
		Endpoint: endpoint, Invite: held.Invite, HandleRescission: held.Remove, Next: next,
	})
	if err != nil {
		return err
	}
	mux.Handle("/_matrix/federation/v1/make_leave/", leaves)
	mux.Handle("/_matrix/federation/v1/send_leave/", leaves)
	mux.Handle("/_matrix/federation/v2/send_leave/", leaves)
	mux.Handle("/_matrix/federation/v1/send/", transactions)
	return nil
}

// book: end

// book: send.md
// addThirdParty adds the endpoints of third-party invites: what other servers ask of the
// inviter's, and what identity servers tell the invitee's. keys asks the identity servers.
func (s *sender) addThirdParty(mux *http.ServeMux, rooms fedclient.Room, keys *http.Client) error {
	endpoint := fedserver.Endpoint{
		Signer: s.local.Signer, Keys: s.ring,
		Credentials: xmatrix.Verifier{Keys: s.ring}.Credentials,
	}
	exchanges, err := fedserver.NewExchanges(fedserver.ExchangesConfig{
		Endpoint: endpoint, Room: rooms, Inviter: s.inviter, KeyValid: fedclient.KeyValid(keys), HandleInvite: s.invited,
	})
	if err != nil {
		return err
	}
	binder := fedserver.Binder{
		Signer: s.local.Signer, Client: s.client,
		Room: rooms, Inviter: s.inviter, KeyValid: fedclient.KeyValid(keys), Store: s.invited,
	}
	limiter, err := ratelimit.New(ratelimit.Config{Remote: ratelimit.Limit{Burst: 50, Every: 10 * time.Second}})
	if err != nil {
		return err
	}
	binds, err := fedserver.NewBinds(fedserver.BindsConfig{
		Signer: s.local.Signer, HandleInvite: binder.Bind,
		Admit: func(ctx context.Context, remote netip.AddrPort, bind thirdparty.Bind) error {
			for range bind.Invites { // each of them is a request of ours
				if err := limiter.Admit(ctx, &fedinvite.Delivery{Remote: remote}); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		return err
	}
	mux.Handle("/_matrix/federation/v1/exchange_third_party_invite/", exchanges)
	mux.Handle("/_matrix/federation/v1/3pid/onbind", binds)
	return nil
}

// book: end
