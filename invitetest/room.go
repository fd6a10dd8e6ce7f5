package invitetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// A RoomConfig says what room is made. Version, or Rules, and Creator are required. Two
// rooms of one RoomConfig with Seed and a clock that stands still are the same, event by
// event, if the same is done with them.
type RoomConfig struct {
	Version fedinvite.RoomVersion
	Creator string // user ID
	// Seed tells rooms apart: it is in the room ID or, from room version 12 on, in the
	// create event, and in the event IDs of versions 1 and 2; "": random.
	Seed string
	// Create is what the content of the create event has besides what every room has:
	// additional_creators, m.federate, …
	Create Object
	// Now is the clock of origin_server_ts; nil: time.Now.
	Now func() time.Time
	// Signer finds the signing key of a server whose users send events; nil: [Signer].
	Signer func(server fedinvite.ServerName) fedinvite.Signer
	// Rules are those of a room version of one's own; zero: those of Version.
	Rules fedinvite.Rules
}

// A Room is a room with real events, each after the one before it: with auth events,
// hashed, and signed as servers do it.
//
// A new Room has its create event, its creator's membership, power levels and the join
// rule "invite". Some methods add events to it, such as [Room.Join] and [Room.Name]. Those
// that return an invite, such as [Room.Invite], do not: [Room.Add] does, once it is signed
// by all who have to.
//
// Events that nobody should accept are made in three steps: [Room.Draft], an [Edit],
// [Room.Sign].
//
// A Room is also a [fedclient.Room], that is the store of a homeserver that has one room.
// It is safe for concurrent use.
type Room struct {
	rules   fedinvite.Rules
	creator string
	seed    string
	now     func() time.Time
	signer  func(fedinvite.ServerName) fedinvite.Signer
	id      string // does not change once the room is made

	mu     sync.Mutex
	drafts int // how many events were begun: event IDs of room versions 1 and 2 differ by it
	events []*fedinvite.Event
}

// NewRoom returns a room that creator, a user ID, has just made. It panics if the room
// version is unknown or the user ID malformed.
func NewRoom(version fedinvite.RoomVersion, creator string) *Room {
	return RoomConfig{Version: version, Creator: creator}.New()
}

// New returns a room. It panics as [NewRoom] does, and if Seed or Create make no create
// event of the room version.
func (c RoomConfig) New() *Room {
	r := &Room{rules: c.Rules, creator: c.Creator, seed: c.Seed, now: c.Now, signer: c.Signer}
	if r.rules == (fedinvite.Rules{}) {
		var err error
		if r.rules, err = c.Version.Rules(); err != nil {
			panic(fmt.Sprintf("invitetest: %v", err))
		}
	}
	if r.now == nil {
		r.now = time.Now
	}
	if r.signer == nil {
		r.signer = Signer
	}
	if r.seed == "" {
		r.seed = rand.Text()
	}
	r.found(c.Create)
	return r
}

// found makes the first events.
func (r *Room) found(create Object) {
	content := Object{"room_version": r.rules.Version}
	if !r.rules.Auth.CreatorIsSender {
		content["creator"] = r.creator
	}
	if r.rules.RoomIDIsCreateEvent {
		content["invitetest.seed"] = r.seed
	} else {
		r.id = "!" + r.seed + ":" + string(r.Server())
	}
	maps.Copy(content, create)
	r.id = r.Set("m.room.create", "", content).RoomID()
	r.Set("m.room.member", r.creator, Object{"membership": "join"})
	r.PowerLevels(Object{})
	r.JoinRule("invite")
}

// ID returns the room ID.
func (r *Room) ID() string { return r.id }

// Creator returns the user ID of the creator.
func (r *Room) Creator() string { return r.creator }

// Server returns the server of the creator.
func (r *Room) Server() fedinvite.ServerName { return serverOf(r.creator) }

// Rules returns the rules of the room's version.
func (r *Room) Rules() fedinvite.Rules { return r.rules }

// Add puts an event into the room that was made elsewhere, such as an invite that the
// invited server has signed. If the room has an event of that ID, it takes its place. It
// panics if it is no event of this room.
func (r *Room) Add(e *fedinvite.Event) {
	if e.Rules() != r.rules { // an invite that came by the v1 endpoint has those of version 1
		e = r.Parse(e.AppendJSON(nil))
	}
	if e.RoomID() != r.id {
		panic(fmt.Sprintf("invitetest: %q is no event of room %q", e.ID(), r.id))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	i := slices.IndexFunc(r.events, func(known *fedinvite.Event) bool { return known.ID() == e.ID() })
	if i >= 0 {
		r.events[i] = e
		return
	}
	r.events = append(r.events, e)
}

// Remove takes the events of that type and state key out of the room, as if they had never
// been sent; later events may still refer to them.
func (r *Room) Remove(eventType, stateKey string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = slices.DeleteFunc(r.events, func(e *fedinvite.Event) bool {
		return keyOf(e) == eventauth.StateKey{Type: eventType, Key: stateKey}
	})
}

// Events returns the events of the room in their order.
func (r *Room) Events() []*fedinvite.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

// State returns the room's state, in the order of its events: of each type and state key
// the latest.
func (r *Room) State() eventauth.State {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state()
}

func (r *Room) state() eventauth.State {
	var state eventauth.State
	seen := map[eventauth.StateKey]bool{}
	for _, e := range slices.Backward(r.events) {
		if _, ok := e.StateKey(); ok && !seen[keyOf(e)] {
			seen[keyOf(e)] = true
			state = append(state, e)
		}
	}
	slices.Reverse(state)
	return state
}

func keyOf(e *fedinvite.Event) eventauth.StateKey {
	key, _ := e.StateKey()
	return eventauth.StateKey{Type: e.Type(), Key: key}
}

// Get returns the event of the room's state of that type and state key, or nil.
func (r *Room) Get(eventType, stateKey string) *fedinvite.Event {
	return r.State().Get(eventType, stateKey)
}

// Snapshot implements [fedclient.Room]: the state that is wanted, and the last event as the
// only forward extremity. The error for other rooms is a [*fedinvite.Error] with M_NOT_FOUND.
func (r *Room) Snapshot(_ context.Context, roomID string, want []eventauth.StateKey) (*fedclient.Snapshot, error) {
	if roomID != r.id {
		return nil, fedinvite.Refuse(fedinvite.CodeNotFound, "no such room")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	state := r.state()
	s := &fedclient.Snapshot{Version: r.rules.Version, Joined: joined(state)}
	for _, e := range state {
		if slices.Contains(want, keyOf(e)) {
			s.State = append(s.State, e)
		}
	}
	if n := len(r.events); n > 0 {
		s.Extremities, s.Depth = []fedinvite.EventRef{r.events[n-1].Ref()}, r.events[n-1].Depth()
	}
	return s, nil
}

// joined returns what tells the servers whose users are joined.
func joined(state eventauth.State) func(fedinvite.ServerName) bool {
	return func(server fedinvite.ServerName) bool {
		return slices.ContainsFunc(state, func(e *fedinvite.Event) bool {
			_, of, err := fedinvite.ParseUserID(keyOf(e).Key)
			return e.Membership() == "join" && err == nil && of == server
		})
	}
}
