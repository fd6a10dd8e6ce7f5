package eventauth

import (
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
)

// The types of state events that affect authorization.
const (
	typeCreate      = "m.room.create"
	typeJoinRules   = "m.room.join_rules"
	typeMember      = "m.room.member"
	typePowerLevels = "m.room.power_levels"
	typeThirdParty  = "m.room.third_party_invite"
)

// A StateKey names one entry of a room's state.
type StateKey struct{ Type, Key string }

// A State holds state events of one room at one moment, in any order. They have to be
// parsed by the rules of the room's own version; those of room versions 1 and 2 differ in
// their names alone, and are told apart like all others. If the content hash of an event
// is wrong, its redacted copy counts. What a function does not need may be missing or in
// it; nil entries are ignored.
type State []*fedinvite.Event

// Get returns the first event of that type and state key, or nil.
func (s State) Get(eventType, stateKey string) *fedinvite.Event {
	for _, e := range s {
		if e == nil || e.Type() != eventType {
			continue
		}
		if key, ok := e.StateKey(); ok && key == stateKey {
			return e
		}
	}
	return nil
}

// A view is what of a state the rules for one change look at; nil: there is none.
type view struct {
	create, levels, joinRules *fedinvite.Event
	sender, target            *fedinvite.Event // their m.room.member events
	token                     *fedinvite.Event // the m.room.third_party_invite event
}

// look finds the events, in the copies that count, and what is contradictory about them.
func (a *attempt) look(state State) error {
	for _, e := range state {
		if e == nil {
			continue
		}
		if e.Rules() != a.rules {
			return fmt.Errorf("%w: %q %q was parsed by other rules than those of room version %q", ErrState, e.Type(), e.ID(), a.rules.Version)
		}
		if e.RoomID() != a.RoomID {
			return fmt.Errorf("%w: %q %q is of room %q, not %q", ErrState, e.Type(), e.ID(), e.RoomID(), a.RoomID)
		}
		slot := a.slot(e)
		if slot == nil {
			continue
		}
		if *slot != nil {
			return fmt.Errorf("%w: %q and %q are both the %q of one state key", ErrState, (*slot).ID(), e.ID(), e.Type())
		}
		*slot = e
	}
	a.view.keep()
	if a.Sender == a.Target {
		a.view.target = a.view.sender
	}
	return nil
}

// keep replaces the events by the copies that count. Their IDs, rooms, types and state
// keys are the same.
func (v *view) keep() {
	for _, e := range [...]**fedinvite.Event{&v.create, &v.levels, &v.joinRules, &v.sender, &v.target, &v.token} {
		if *e != nil {
			*e = kept(*e)
		}
	}
}

// slot returns where e belongs, or nil if nobody asks for it.
func (a *attempt) slot(e *fedinvite.Event) **fedinvite.Event {
	key, ok := e.StateKey()
	if !ok {
		return nil
	}
	switch t := e.Type(); {
	case t == typeMember && key == a.Sender:
		return &a.view.sender
	case t == typeMember && key == a.Target:
		return &a.view.target
	case t == typeThirdParty && a.thirdParty.hasToken && key == a.thirdParty.token:
		return &a.view.token
	case key != "":
	case t == typeCreate:
		return &a.view.create
	case t == typePowerLevels:
		return &a.view.levels
	case t == typeJoinRules:
		return &a.view.joinRules
	}
	return nil
}

// membership returns the membership of an m.room.member event: that of the rules, or ""
// if there is no event.
func (a *attempt) membership(member *fedinvite.Event) (string, error) {
	if member == nil {
		return "", nil
	}
	m := member.Membership()
	switch {
	case m == join, m == invite, m == leave, m == ban, m == knock && a.rules.Auth.Knock:
		return m, nil
	}
	return "", fmt.Errorf("%w: unknown membership in %q", ErrState, member.ID())
}
