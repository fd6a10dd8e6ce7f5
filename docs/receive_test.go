package docs_test

// book: receive.md
import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/policy"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// book: end

// book: receive.md
// loadSigner reads the signing key of one of our servers.
func loadSigner(name fedinvite.ServerName, file string) (fedinvite.Signer, error) {
	line, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	id, key, err := fedinvite.ParseSigningKey(string(line))
	if err != nil {
		return nil, err
	}
	return fedinvite.NewSigner(name, id, key)
}

// book: end

// book: receive.md
// An inviteRow is a row of the table of pending invites. Room and user are its key: a user
// has one invite to a room.
type inviteRow struct {
	RoomID, UserID string
	EventID        string
	RoomVersion    fedinvite.RoomVersion // without it the event cannot be read back
	Event          []byte                // signed by both servers
	State          []json.RawMessage     // what the user's clients see of the room
}

// An inviteTable is that table, each method one transaction.
type inviteTable interface {
	// Insert adds the row, unless there is one with its key, and returns the event ID of
	// the row that is there then.
	Insert(ctx context.Context, row inviteRow) (eventID string, err error)
	// Pending returns the event ID of the row with that key, or "".
	Pending(ctx context.Context, roomID, userID string) (eventID string, err error)
}

// An inviteHandler is a fedinvite.Handler.
type inviteHandler struct{ invites inviteTable }

func (h inviteHandler) HandleInvite(ctx context.Context, inv *fedinvite.Invite) error {
	row := inviteRow{
		RoomID: inv.Event.RoomID(), UserID: inv.Invitee,
		EventID: inv.Event.ID(), RoomVersion: inv.Event.Rules().Version,
		Event: inv.Event.AppendJSON(nil),
		State: clientState(inv),
	}
	// ctx ends when the other server hangs up: too late for a commit to be cut short.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	stored, err := h.invites.Insert(ctx, row)
	if err != nil {
		return err // the other server is told 500 M_UNKNOWN, Done the error
	}
	if stored != row.EventID {
		return fedinvite.Refuse(fedinvite.CodeForbidden, "there is another invite to this room")
	}
	return nil // it is new, or it was sent again: our signature goes out
}

// book: end

// book: receive.md
// clientState is what /sync shows of the invite: the room state without anything that is
// not for clients, and the invite itself, which says who invites and why.
func clientState(inv *fedinvite.Invite) []json.RawMessage {
	state := fedinvite.RoomState{Events: []fedinvite.StateEvent{{
		Type: inv.Event.Type(), StateKey: inv.Invitee, Sender: inv.Event.Sender(), Content: inv.Event.Content(),
	}}}
	for _, e := range inv.RoomState.Events {
		if e.Type != inv.Event.Type() || e.StateKey != inv.Invitee {
			state.Events = append(state.Events, e)
		}
	}
	return state.Client()
}

// book: end

// book: receive.md
// A federation is what all endpoints share. There is one in a process.
type federation struct {
	local  keyring.Local     // our names and keys
	client *fedclient.Client // requests to other servers
	ring   *keyring.Ring     // their keys
}

// newFederation returns one. A nil transport finds servers as the specification says, and
// connects to public addresses only. store keeps keys over a restart; nil: none does.
func newFederation(local keyring.Local, transport http.RoundTripper, store keyring.Store) (*federation, error) {
	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1.0", Transport: transport})
	if err != nil {
		return nil, err
	}
	ring, err := keyring.New(keyring.Config{Fetcher: client, Local: local, Store: store})
	return &federation{local, client, ring}, err
}

// receiverConfig is enough for a Receiver that accepts every valid invite.
func (f *federation) receiverConfig(invites inviteTable) fedinvite.Config {
	return fedinvite.Config{
		Signer:      f.local.Signer,
		Keys:        f.ring,
		Credentials: xmatrix.Verifier{Keys: f.ring}.Credentials,
		Handler:     inviteHandler{invites},
	}
}

// book: end

// book: receive.md
// routes has the endpoints: invites, and our keys, without which nobody believes us.
func (f *federation) routes(c fedinvite.Config) (*http.ServeMux, error) {
	receiver, err := fedinvite.NewReceiver(c)
	if err != nil {
		return nil, err
	}
	publish, err := keyring.NewPublishHandler(keyring.PublishConfig{Local: f.local})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/_matrix/federation/v1/invite/", receiver)
	mux.Handle("/_matrix/federation/v2/invite/", receiver)
	mux.Handle("/_matrix/key/v2/", publish)
	mux.HandleFunc("/_matrix/", func(w http.ResponseWriter, _ *http.Request) { // whatever we do not know
		fedinvite.WriteError(w, &fedinvite.Error{Code: fedinvite.CodeUnrecognized, Status: http.StatusNotFound, Message: "Unrecognized request"})
	})
	return mux, nil
}

// book: end

// book: receive.md
// What the hooks ask of the homeserver.
type directory interface {
	// IsUser reports whether there is an active user of that ID.
	IsUser(ctx context.Context, userID string) (bool, error)
	// InvitePermission returns the account data m.invite_permission_config, or nil.
	InvitePermission(ctx context.Context, userID string) (json.RawMessage, error)
	// Membership returns a user's membership of a room and the ID of the last invite that
	// we have accepted for it; "" and "" for rooms that we are not in.
	Membership(ctx context.Context, roomID, userID string) (membership, inviteID string, err error)
	// ServerACL returns the room's m.room.server_acl; nil if there is none or we are not in
	// the room.
	ServerACL(ctx context.Context, roomID string) (*fedinvite.ServerACL, error)
}

// addHooks decides who may invite whom.
func addHooks(c *fedinvite.Config, d directory, invites inviteTable, blocked ...string) error {
	limiter, err := ratelimit.New(ratelimit.Config{})
	if err != nil {
		return err
	}
	blockServers := policy.BlockServers(blocked...)
	c.Admit = func(ctx context.Context, d *fedinvite.Delivery) error {
		if err := blockServers(ctx, &fedinvite.Invite{Origin: d.Origin}); err != nil {
			return err
		}
		return limiter.Admit(ctx, d) // by remote address
	}
	c.ServerAllowed = func(ctx context.Context, roomID string, server fedinvite.ServerName) (bool, error) {
		acl, err := d.ServerACL(ctx, roomID)
		return err == nil && acl.Allows(server), err
	}
	c.Policy = policy.Chain(
		policy.InviteeExists(d.IsUser),
		outside(d),
		policy.InvitePermission(d.InvitePermission),
		policy.OnePending(invites.Pending),
		limiter.Policy, // last: by origin, sender, invitee and room
	)
	return nil
}

// outside refuses invites to users who are in the room already or banned from it.
func outside(d directory) policy.Policy {
	return func(ctx context.Context, inv *fedinvite.Invite) error {
		membership, inviteID, err := d.Membership(ctx, inv.Event.RoomID(), inv.Invitee)
		if err != nil {
			return err
		}
		if inv.Event.ID() != inviteID && (membership == "join" || membership == "ban") {
			return fedinvite.Refuse(fedinvite.CodeForbidden, "This invite is not allowed.") // as package policy says it
		}
		return nil
	}
}

// book: end

// book: receive.md
// observe writes a line for each delivery, and counts the steps at which they end.
func (f *federation) observe(c *fedinvite.Config, log *slog.Logger, count func(step string)) {
	c.Done = func(ctx context.Context, d *fedinvite.Delivery, inv *fedinvite.Invite, err error) {
		if inv != nil {
			f.client.Heard(ctx, inv.Origin) // it is up: do not leave it alone any longer
		}
		if err != nil {
			told := fedinvite.WireError(err)
			log.WarnContext(ctx, "invite refused", "origin", d.Origin, "remote", d.Remote,
				"room", d.RoomID, "event", d.EventID, "status", told.HTTPStatus(), "errcode", told.Code, "error", err)
			return
		}
		log.InfoContext(ctx, "invite accepted", "origin", inv.Origin, "sender", inv.Event.Sender(), "invitee", inv.Invitee,
			"room", d.RoomID, "event", d.EventID, "warnings", len(inv.RoomState.Warnings))
	}
	c.Trace = func(_ context.Context, s fedinvite.Step) {
		if s.Err != nil {
			count(s.Name)
		}
	}
}

// book: end

// book: receive.md
// newHTTPServer returns the server for the routes. proxies are the addresses of our reverse
// proxies.
func newHTTPServer(address string, routes http.Handler, proxies ...netip.Prefix) *http.Server {
	return &http.Server{
		Addr:              address,
		Handler:           ratelimit.ForwardedFor(routes, proxies...),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      90 * time.Second, // more than Config.Timeout and the Handler take
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
	}
}

// book: end

// book: receive.md
// ownKeys are the keys of one of our servers, which change while the process runs.
type ownKeys struct {
	mu   sync.Mutex
	keys keyring.LocalKeys
}

// Local is a keyring.Local: it is asked for each delivery and each key document.
func (o *ownKeys) Local(_ context.Context, server fedinvite.ServerName) (keyring.LocalKeys, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if server != o.keys.Signers[0].ServerName() {
		return keyring.LocalKeys{}, fedinvite.ErrNotLocal
	}
	return o.keys, nil
}

// Announce publishes the next key, which does not sign yet.
func (o *ownKeys) Announce(next fedinvite.Signer) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keys.Signers = []fedinvite.Signer{o.keys.Signers[0], next}
}

// Switch, a day later, has it sign. The old one is still published as a current key.
func (o *ownKeys) Switch() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.keys.Signers = []fedinvite.Signer{o.keys.Signers[1], o.keys.Signers[0]}
}

// Retire, when nothing that the old key signed is under way any more, makes it one that
// verifies events from before now and nothing else.
func (o *ownKeys) Retire(now time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	retired := maps.Clone(o.keys.Old)
	if retired == nil {
		retired = map[fedinvite.KeyID]fedinvite.VerifyKey{}
	}
	old := o.keys.Signers[1]
	retired[old.KeyID()] = fedinvite.VerifyKey{Public: old.Public(), ExpiredAt: now}
	o.keys = keyring.LocalKeys{Signers: o.keys.Signers[:1:1], Old: retired}
}

// book: end

// book: receive.md
// receive is the endpoint for those who have no net/http: it gets what their server has read
// of a request, and returns status and body.
func receive(ctx context.Context, receiver *fedinvite.Receiver, d fedinvite.Delivery, body []byte) (status int, answer []byte, err error) {
	// Here the request has been authenticated: d.Origin has signed this very body, for
	// d.Destination. Room ID and event ID are segments of the path, unescaped once.
	if d.Request, err = fedinvite.ParseRequestV2(body); err == nil {
		var response *fedinvite.Response
		if response, err = receiver.Receive(ctx, d); err == nil {
			answer, err = response.MarshalV2()
			return http.StatusOK, answer, err
		}
	}
	told := fedinvite.WireError(err)
	answer, err = told.MarshalJSON()
	return told.HTTPStatus(), answer, err
}

// book: end

// book: receive.md
// busy is a refusal with a time after which to try again.
func busy() error {
	refusal := fedinvite.Refuse(fedinvite.CodeLimitExceeded, "Too many invites.")
	refusal.RetryAfter = 30 * time.Second
	refusal.Err = errors.New("the queue of invites is full") // for Done, never sent
	return refusal
}

// book: end
