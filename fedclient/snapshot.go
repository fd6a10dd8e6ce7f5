package fedclient

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// ErrSnapshot: what the author's [Room] returned cannot be: no create event or no
// extremities, events of another room or room version, two for one state key, a policy
// server without Joined, a create event that is nested too deeply to be sent.
var ErrSnapshot = errors.New("contradictory snapshot of the room")

// Limits of what is taken from a snapshot.
const (
	maxPrevEvents = 20
	maxEventID    = 255 // bytes
)

// policyKey is the event that names the room's policy server.
var policyKey = eventauth.StateKey{Type: "m.room.policy"}

// shownKeys is the state that fedinvite.SelectRoomState chooses from, beside the sender's
// membership.
var shownKeys = []eventauth.StateKey{
	{Type: "m.room.create"}, {Type: "m.room.name"}, {Type: "m.room.canonical_alias"}, {Type: "m.room.avatar"},
	{Type: "m.room.join_rules"}, {Type: "m.room.encryption"}, {Type: "m.room.topic"},
}

// wanted returns the state that it takes to make the event of change.
func wanted(change eventauth.Change) []eventauth.StateKey {
	want := slices.Grow(change.Needs(), len(shownKeys)+1)
	add := func(keys ...eventauth.StateKey) {
		for _, k := range keys {
			if !slices.Contains(want, k) {
				want = append(want, k)
			}
		}
	}
	add(policyKey)
	if change.Membership == "invite" {
		add(shownKeys...)
	}
	return want
}

// Checked returns the snapshot cut down to what a new event in the room needs: the state
// that was wanted, without nil and redacted where the content hash is wrong, and 20
// extremities at most; one more than Depth is the event's depth. What cannot be wraps
// [ErrSnapshot]: no create event, no extremities, state events of another room or of other
// rules than the ones given, two for one key, a negative depth. It is for those who use a
// [Room] of their own for something else.
func (s *Snapshot) Checked(roomID string, want []eventauth.StateKey, rules fedinvite.Rules) (*Snapshot, error) {
	state, err := selectState(s.State, roomID, want, rules)
	if err != nil {
		return nil, err
	}
	if state.Get("m.room.create", "") == nil {
		return nil, fmt.Errorf("%w: no m.room.create event", ErrSnapshot)
	}
	prev, err := selectExtremities(s.Extremities, rules)
	if err != nil {
		return nil, err
	}
	if s.Depth < 0 {
		return nil, fmt.Errorf("%w: depth %d", ErrSnapshot, s.Depth)
	}
	return &Snapshot{s.Version, state, prev, min(s.Depth, rules.MaxDepth-1), s.Joined}, nil
}

// selectState returns what was wanted.
func selectState(state eventauth.State, roomID string, want []eventauth.StateKey, rules fedinvite.Rules) (eventauth.State, error) {
	chosen := make(eventauth.State, 0, len(want))
	for _, e := range state {
		if e == nil {
			continue
		}
		key, ok := e.StateKey()
		switch {
		case !ok:
			return nil, fmt.Errorf("%w: %q is no state event", ErrSnapshot, e.ID())
		case e.RoomID() != roomID:
			return nil, fmt.Errorf("%w: %q %q is of room %q", ErrSnapshot, e.Type(), e.ID(), e.RoomID())
		case e.Rules() != rules:
			return nil, fmt.Errorf("%w: %q %q was parsed by other rules than those of room version %q", ErrSnapshot, e.Type(), e.ID(), rules.Version)
		case !slices.Contains(want, eventauth.StateKey{Type: e.Type(), Key: key}):
			continue
		}
		if other := chosen.Get(e.Type(), key); other != nil {
			return nil, fmt.Errorf("%w: %q and %q are both the %q of %q", ErrSnapshot, other.ID(), e.ID(), e.Type(), key)
		}
		if !e.HashOK() { // what is not hashed counts for nothing
			e = e.Redacted()
		}
		chosen = append(chosen, e)
	}
	return chosen, nil
}

// selectExtremities returns the prev_events.
func selectExtremities(extremities []fedinvite.EventRef, rules fedinvite.Rules) ([]fedinvite.EventRef, error) {
	if len(extremities) == 0 {
		return nil, fmt.Errorf("%w: no forward extremities", ErrSnapshot)
	}
	prev := extremities[:min(len(extremities), maxPrevEvents)]
	for i, ref := range prev {
		switch {
		case !strings.HasPrefix(ref.ID, "$") || len(ref.ID) > maxEventID || !utf8.ValidString(ref.ID):
			return nil, fmt.Errorf("%w: an extremity without an event ID", ErrSnapshot)
		case rules.EventIDs == fedinvite.EventIDServer && len(ref.SHA256) != 32:
			return nil, fmt.Errorf("%w: the reference hash of extremity %q is not 32 bytes", ErrSnapshot, ref.ID)
		case slices.ContainsFunc(prev[:i], func(other fedinvite.EventRef) bool { return other.ID == ref.ID }):
			return nil, fmt.Errorf("%w: %q is an extremity twice", ErrSnapshot, ref.ID)
		}
	}
	return prev, nil
}

// roomState returns what the invited user is shown, in no particular order.
func (s *Snapshot) roomState(sender string) []*fedinvite.Event {
	shown := make([]*fedinvite.Event, 0, len(shownKeys)+1)
	for _, k := range shownKeys {
		shown = append(shown, s.State.Get(k.Type, k.Key)) // nil is none
	}
	return append(shown, s.State.Get("m.room.member", sender))
}

// federates reports whether users of the server can join: a room with m.federate false is
// for those of its creator's server only.
func (s *Snapshot) federates(server fedinvite.ServerName) bool {
	create := s.State.Get("m.room.create", "")
	if create.ContentJSON("m.federate") != "false" {
		return true
	}
	_, home, err := fedinvite.ParseUserID(create.Sender())
	return err == nil && home == server
}
