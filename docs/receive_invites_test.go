package docs_test

// book: receive.md
import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/policy"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
)

// book: end

// book: receive.md
// A user has one pending invite to a room from each server.
type inviteKey struct {
	RoomID, UserID string
	Origin         fedinvite.ServerName // the inviter's
}

// An inviteRow is a row of the table of pending invites.
type inviteRow struct {
	inviteKey
	EventID     string
	Hash        [32]byte              // in room versions 1 and 2 the ID does not say which event it is
	RoomVersion fedinvite.RoomVersion // without it the event cannot be read back
	Event       []byte                // signed by both servers
	State       []json.RawMessage     // what the user's clients see of the room
}

// parse reads the event back.
func (row inviteRow) parse() (*fedinvite.Event, error) {
	rules, err := row.RoomVersion.Rules()
	if err != nil {
		return nil, err
	}
	return fedinvite.ParseStored(row.Event, rules)
}

// An inviteTable is that table, each method one transaction.
type inviteTable interface {
	// Put puts the row into the place of the one with its key, unless that has the same
	// event ID and stays. It returns the row that is there then.
	Put(ctx context.Context, row inviteRow) (inviteRow, error)
	// Get returns the row with that key, or nil.
	Get(ctx context.Context, key inviteKey) (*inviteRow, error)
	// Remove removes the row with that key if it has that event ID.
	Remove(ctx context.Context, key inviteKey, eventID string) error
}

// An inviteHandler is a fedinvite.Handler.
type inviteHandler struct{ invites inviteTable }

func (h inviteHandler) HandleInvite(ctx context.Context, inv *fedinvite.Invite) error {
	row := inviteRow{
		inviteKey: inviteKey{inv.Event.RoomID(), inv.Invitee, inv.Origin},
		EventID:   inv.Event.ID(), Hash: inv.Event.ReferenceHash(), RoomVersion: inv.Event.Rules().Version,
		Event: inv.Event.AppendJSON(nil),
		State: clientState(inv),
	}
	// ctx ends when the other server hangs up: too late for a commit to be cut short.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	stored, err := h.invites.Put(ctx, row)
	if err != nil {
		return err // the other server is told 500 M_UNKNOWN, Done the error
	}
	if stored.Hash != row.Hash {
		return fedinvite.Refuse(fedinvite.CodeForbidden, "another event has this ID")
	}
	return nil // it is new, or it was sent again: our signature goes out
}

// book: end

// book: receive.md
// memoryInvites is an inviteTable to begin with. Yours is in the database.
type memoryInvites struct {
	mu   sync.Mutex
	rows map[inviteKey]inviteRow
}

func newMemoryInvites() *memoryInvites {
	return &memoryInvites{rows: map[inviteKey]inviteRow{}}
}

func (m *memoryInvites) Put(_ context.Context, row inviteRow) (inviteRow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if old, ok := m.rows[row.inviteKey]; ok && old.EventID == row.EventID {
		return old, nil
	}
	m.rows[row.inviteKey] = row
	return row, nil
}

func (m *memoryInvites) Get(_ context.Context, key inviteKey) (*inviteRow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if row, ok := m.rows[key]; ok {
		return &row, nil
	}
	return nil, nil
}

func (m *memoryInvites) Remove(_ context.Context, key inviteKey, eventID string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.rows[key].EventID == eventID {
		delete(m.rows, key)
	}
	return nil
}

// book: end

// book: receive.md
// clientState is what /sync shows of the invite: the invite itself, which says who invites
// and why; who that is; and what describes the room. Of that no more than 64 KiB: it is all
// a stranger's, who may send a megabyte with each invite.
func clientState(inv *fedinvite.Invite) []json.RawMessage {
	state := fedinvite.RoomState{Events: []fedinvite.StateEvent{{
		Type: inv.Event.Type(), StateKey: inv.Invitee, Sender: inv.Event.Sender(), Content: inv.Event.Content(),
	}}}
	left := 64 << 10
	for _, e := range inv.RoomState.Events {
		inviter := e.Type == inv.Event.Type() && e.StateKey == inv.Event.Sender()
		if (inviter || e.StateKey == "" && describesRoom(e.Type)) && len(e.Content) <= left {
			left -= len(e.Content)
			state.Events = append(state.Events, e)
		}
	}
	return state.Client()
}

func describesRoom(eventType string) bool {
	switch eventType {
	case "m.room.create", "m.room.name", "m.room.avatar", "m.room.canonical_alias", "m.room.topic",
		"m.room.join_rules", "m.room.encryption":
		return true
	}
	return false
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
func addHooks(c *fedinvite.Config, d directory, blocked ...string) error {
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
		outside(d.Membership),
		policy.InvitePermission(d.InvitePermission),
		limiter.Policy, // last: by origin, sender, invitee and room
	)
	return nil
}

// outside refuses invites to users who are in the room already or banned from it.
func outside(membershipOf func(ctx context.Context, roomID, userID string) (membership, inviteID string, err error)) policy.Policy {
	return func(ctx context.Context, inv *fedinvite.Invite) error {
		membership, inviteID, err := membershipOf(ctx, inv.Event.RoomID(), inv.Invitee)
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
// standIn is a directory to begin with: everybody is a user, and we are in no room.
type standIn struct{}

func (standIn) IsUser(context.Context, string) (bool, error)                      { return true, nil }
func (standIn) InvitePermission(context.Context, string) (json.RawMessage, error) { return nil, nil }
func (standIn) ServerACL(context.Context, string) (*fedinvite.ServerACL, error)   { return nil, nil }
func (standIn) Membership(context.Context, string, string) (membership, inviteID string, err error) {
	return "", "", nil
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
// production is receiverConfig with a table, hooks and logs.
func (f *federation) production(invites inviteTable, d directory, blocked ...string) (fedinvite.Config, error) {
	c := f.receiverConfig(inviteHandler{invites})
	f.observe(&c, slog.Default(), func(string) {}) // count steps here
	return c, addHooks(&c, d, blocked...)
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
