package homeserver

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
)

// A database stands for the one that a homeserver has. This one is in memory, sends no
// event to other servers in a room, and takes none of theirs.
type database struct {
	mu          sync.RWMutex
	rooms       map[string]*roomRow
	invites     map[inviteKey]*fedinvite.Event
	users       map[string]bool
	permissions map[string]json.RawMessage // m.invite_permission_config of our users
}

type roomRow struct {
	db          *database
	version     fedinvite.RoomVersion
	state       map[eventauth.StateKey]*fedinvite.Event
	extremities []fedinvite.EventRef
	depth       int64
}

// An inviteKey is unique: a user has one invite to a room from each server, so that none
// keeps another's out. Outside the room nobody can tell which is real.
type inviteKey struct {
	roomID, userID string
	origin         fedinvite.ServerName
}

// errNoRoom tells users, and servers that ask, that we are not in the room.
var errNoRoom = fedinvite.Refuse(fedinvite.CodeNotFound, "unknown room")

func newDatabase() *database {
	return &database{
		rooms: map[string]*roomRow{}, invites: map[inviteKey]*fedinvite.Event{},
		users: map[string]bool{}, permissions: map[string]json.RawMessage{},
	}
}

// read begins a read transaction, which ends with done of the result.
func (db *database) read(_ context.Context, roomID string) (*roomRow, error) {
	db.mu.RLock()
	if room := db.rooms[roomID]; room != nil {
		return room, nil
	}
	db.mu.RUnlock()
	return nil, errNoRoom
}

func (r *roomRow) done() { r.db.mu.RUnlock() }

// joined returns a test for the servers that are in the room, which outlives the
// transaction.
func (r *roomRow) joined() func(fedinvite.ServerName) bool {
	servers := map[fedinvite.ServerName]bool{}
	for key, e := range r.state {
		if _, server, err := fedinvite.ParseUserID(key.Key); err == nil && e.Membership() == "join" {
			servers[server] = true
		}
	}
	return func(server fedinvite.ServerName) bool { return servers[server] }
}

// Snapshot implements fedclient.Room: one read transaction.
func (db *database) Snapshot(ctx context.Context, roomID string, want []eventauth.StateKey) (*fedclient.Snapshot, error) {
	room, err := db.read(ctx, roomID)
	if err != nil {
		return nil, err
	}
	defer room.done()
	snapshot := &fedclient.Snapshot{Version: room.version, Extremities: room.extremities, Depth: room.depth, Joined: room.joined()}
	for _, key := range want {
		if e := room.state[key]; e != nil {
			snapshot.State = append(snapshot.State, e)
		}
	}
	return snapshot, nil
}

// serverAllowed applies the room's server ACL.
func (db *database) serverAllowed(ctx context.Context, roomID string, server fedinvite.ServerName) (bool, error) {
	acl, err := db.serverACL(ctx, roomID)
	return err == nil && acl.Allows(server), err
}

// serverACL returns the room's server ACL, nil if it has none or we are not in it.
func (db *database) serverACL(ctx context.Context, roomID string) (*fedinvite.ServerACL, error) {
	room, err := db.read(ctx, roomID)
	if err != nil {
		return nil, nil
	}
	defer room.done()
	e := room.state[eventauth.StateKey{Type: "m.room.server_acl"}]
	if e == nil {
		return nil, nil
	}
	return fedinvite.ParseServerACL(e.Content())
}

// addEvent adds a state event to its room, which its first event makes.
func (db *database) addEvent(_ context.Context, e *fedinvite.Event) error {
	key, ok := e.StateKey()
	if !ok {
		return fmt.Errorf("%s is no state event", e.ID())
	}
	db.mu.Lock()
	defer db.mu.Unlock()
	room := db.rooms[e.RoomID()]
	if room == nil {
		room = &roomRow{db: db, version: e.Rules().Version, state: map[eventauth.StateKey]*fedinvite.Event{}}
		db.rooms[e.RoomID()] = room
	}
	room.state[eventauth.StateKey{Type: e.Type(), Key: key}] = e
	room.extremities, room.depth = []fedinvite.EventRef{e.Ref()}, e.Depth()
	return nil
}

// errNoPipeline is the answer to events that came in transactions.
var errNoPipeline = fedinvite.Refuse(fedinvite.CodeForbidden, "this server takes no events of rooms from other servers")

// receiveEvent gets the events that other servers send into our rooms, and returns their
// IDs, without which the other server would not read of the refusal.
func (db *database) receiveEvent(ctx context.Context, r fedserver.Request, roomID string, pdu json.RawMessage) (string, error) {
	room, err := db.read(ctx, roomID)
	if err != nil {
		return "", err // the version, and so the ID, of an event of another room is unknown
	}
	rules, err := room.version.Rules()
	room.done()
	if err != nil {
		return "", err
	}
	e, err := fedinvite.ParseEvent(pdu, rules)
	if err != nil {
		return "", fedinvite.WireError(err)
	}
	switch allowed, err := db.serverAllowed(ctx, roomID, r.Origin); {
	case err != nil:
		return e.ID(), err
	case !allowed:
		return e.ID(), fedinvite.WireError(fedinvite.ErrServerDenied)
	}
	// Here a homeserver checks the event (server-server API, "Checks performed on receipt
	// of a PDU") and stores it. This one cannot, and must not look as if it had.
	return e.ID(), errNoPipeline
}

// handleInvite stores an invite of another server, also if that server hangs up.
func (db *database) handleInvite(ctx context.Context, inv *fedinvite.Invite) error {
	return db.addInvite(context.WithoutCancel(ctx), inv.Event, inv.RoomState.Client())
}

// addInvite stores an invite to a room that we are not in, and what its user may see of
// the room. It takes the place of an older one from the same server, which may have been
// taken back without our hearing of it; it may also be that one, sent again.
func (db *database) addInvite(_ context.Context, e *fedinvite.Event, _ []json.RawMessage) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	db.invites[keyOf(e)] = e
	return nil
}

func keyOf(invite *fedinvite.Event) inviteKey {
	user, _ := invite.StateKey()
	_, origin, _ := fedinvite.ParseUserID(invite.Sender()) // the Receiver has made sure
	return inviteKey{invite.RoomID(), user, origin}
}

// invitesTo returns the pending invites of a user to a room.
func (db *database) invitesTo(_ context.Context, roomID, userID string) (invites []*fedinvite.Event, err error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	for key, e := range db.invites {
		if key.roomID == roomID && key.userID == userID {
			invites = append(invites, e)
		}
	}
	return invites, nil
}

// inviteElsewhere returns the invite of a server to a user, for rooms that we are not in. In those that we are in, a leave is an event like any other, which
// receiveEvent gets.
func (db *database) inviteElsewhere(_ context.Context, origin fedinvite.ServerName, roomID, userID string) (*fedinvite.Event, error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	if db.rooms[roomID] != nil {
		return nil, nil
	}
	return db.invites[inviteKey{roomID, userID, origin}], nil
}

// removeInvite removes an invite that ended with a leave, but not the next one.
func (db *database) removeInvite(_ context.Context, _, e *fedinvite.Event) error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if stored := db.invites[keyOf(e)]; stored != nil && stored.ID() == e.ID() {
		delete(db.invites, keyOf(e))
	}
	return nil
}

// isUser reports whether we have a user of this ID, under any of our names.
func (db *database) isUser(_ context.Context, userID string) (bool, error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.users[userID], nil
}

func (db *database) permission(_ context.Context, userID string) (json.RawMessage, error) {
	db.mu.RLock()
	defer db.mu.RUnlock()
	return db.permissions[userID], nil
}
