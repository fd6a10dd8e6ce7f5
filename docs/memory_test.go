package docs_test

import (
	"context"
	"encoding/json"
	"slices"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// A memory is the database behind the pages' interfaces.
type memory struct {
	mu      sync.Mutex
	users   map[string]bool
	acl     *fedinvite.ServerACL
	blocks  map[string]json.RawMessage // m.invite_permission_config
	led     string                     // the invite that led to the memberships that there are
	rooms   map[string]*memoryRoom
	invites *memoryInvites
	later   []*fedinvite.Event  // what is to be sent again
	states  [][]json.RawMessage // and its room state
	queue   []queued
	shown   []*fedinvite.Event
}

type queued struct {
	event *fedinvite.Event
	also  []fedinvite.ServerName
}

type memoryRoom struct {
	version fedinvite.RoomVersion
	state   map[eventauth.StateKey]*fedinvite.Event
	latest  *fedinvite.Event
	sent    *fedinvite.Event // an invite under way
}

func newMemory(users ...string) *memory {
	m := &memory{
		users: map[string]bool{}, blocks: map[string]json.RawMessage{}, rooms: map[string]*memoryRoom{},
		invites: newMemoryInvites(),
	}
	for _, user := range users {
		m.users[user] = true
	}
	return m
}

// invite returns the invite of a server that a user holds to a room; a zero row: none.
func (m *memory) invite(roomID, userID string, origin fedinvite.ServerName) inviteRow {
	row, _ := m.invites.Get(context.Background(), inviteKey{roomID, userID, origin})
	if row == nil {
		return inviteRow{}
	}
	return *row
}

func (m *memory) IsUser(_ context.Context, userID string) (bool, error) { return m.users[userID], nil }

func (m *memory) InvitePermission(_ context.Context, userID string) (json.RawMessage, error) {
	return m.blocks[userID], nil
}

func (m *memory) Membership(_ context.Context, roomID, userID string) (membership, inviteID string, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	room := m.rooms[roomID]
	if room == nil {
		return "", "", nil
	}
	if e := room.state[eventauth.StateKey{Type: "m.room.member", Key: userID}]; e != nil {
		return e.Membership(), m.led, nil
	}
	return "", "", nil
}

func (m *memory) ServerACL(context.Context, string) (*fedinvite.ServerACL, error) { return m.acl, nil }

func (m *memory) Sent(_ context.Context, e *fedinvite.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rooms[e.RoomID()].sent = e
	return nil
}

func (m *memory) Drop(_ context.Context, e *fedinvite.Event) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.rooms[e.RoomID()].sent = nil
	return nil
}

func (m *memory) Append(_ context.Context, e *fedinvite.Event, also ...fedinvite.ServerName) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	room := m.rooms[e.RoomID()]
	if room == nil {
		room = &memoryRoom{version: e.Rules().Version, state: map[eventauth.StateKey]*fedinvite.Event{}}
		m.rooms[e.RoomID()] = room
	}
	key := eventauth.StateKey{Type: e.Type(), Key: stateKey(e)}
	room.sent = nil
	if old := room.state[key]; old == nil || !slices.Contains(old.AuthEventIDs(), e.ID()) {
		room.state[key], room.latest = e, e
	}
	m.queue = append(m.queue, queued{e, also})
	return nil
}

func (m *memory) ShowInvite(_ context.Context, e *fedinvite.Event, _ []json.RawMessage) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.shown = append(m.shown, e)
	return nil
}

func (m *memory) RetryLater(_ context.Context, e *fedinvite.Event, state []json.RawMessage) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.later, m.states = append(m.later, e), append(m.states, state)
	return nil
}

// Begin returns a transaction, which holds the lock until it is closed.
func (m *memory) Begin(_ context.Context, roomID string) (roomTx, error) {
	m.mu.Lock()
	room := m.rooms[roomID]
	if room == nil {
		m.mu.Unlock()
		return nil, nil
	}
	return memoryTx{m, room}, nil
}

type memoryTx struct {
	m    *memory
	room *memoryRoom
}

func (tx memoryTx) Version() fedinvite.RoomVersion { return tx.room.version }

func (tx memoryTx) Close() { tx.m.mu.Unlock() }

func (tx memoryTx) State(_ context.Context, key eventauth.StateKey) ([]byte, error) {
	e := tx.room.state[key]
	if sent := tx.room.sent; sent != nil && (eventauth.StateKey{Type: sent.Type(), Key: stateKey(sent)}) == key {
		e = sent
	}
	if e == nil {
		return nil, nil
	}
	return e.AppendJSON(nil), nil
}

func (tx memoryTx) Extremities(context.Context) ([][]byte, error) {
	return [][]byte{tx.room.latest.AppendJSON(nil)}, nil
}

func (tx memoryTx) Servers(context.Context) (map[fedinvite.ServerName]bool, error) {
	servers := map[fedinvite.ServerName]bool{}
	for key, e := range tx.room.state {
		if _, server, err := fedinvite.ParseUserID(key.Key); err == nil && e.Membership() == "join" {
			servers[server] = true
		}
	}
	return servers, nil
}

func stateKey(e *fedinvite.Event) string {
	key, _ := e.StateKey()
	return key
}

// membership is what the room says of a user.
func (m *memory) membership(roomID, userID string) string {
	membership, _, _ := m.Membership(context.Background(), roomID, userID)
	return membership
}
