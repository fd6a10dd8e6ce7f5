package eventauth

import (
	"fmt"
	"slices"

	"github.com/seed-0a46cb1a/fedinvite"
)

// CheckAuthEvents checks an m.room.member event, of whatever membership, by the rule
// "Considering the event's auth_events": 2 in room versions 1–11, 3 in 12. auth are the
// events that e names there, all of them, in any order. That none of them was itself
// rejected (2.3) is for the caller to know. Their content is not looked at, so that their
// content hashes do not matter here.
//
// Errors are a [*RuleError], or wrap ErrState if auth are not the events that e names,
// ErrUnsupported or fedinvite.ErrRoomVersion.
func CheckAuthEvents(e *fedinvite.Event, auth []*fedinvite.Event) error {
	rules, err := rulesOf(e)
	if err != nil {
		return err
	}
	rule := authEventsRule(&rules)
	named := e.AuthEventIDs()
	if hasDuplicates(named) {
		return reject(&rules, "auth_events names an event twice", rule, 1)
	}
	if auth, err = matchNames(named, auth); err != nil {
		return err
	}
	change := changeOf(kept(e))
	selected := change.selection(&rules)
	keys := make([]StateKey, 0, len(auth))
	create, stray, elsewhere := false, false, false
	for _, a := range auth {
		if a.RoomID() != e.RoomID() {
			elsewhere = true
		} else if a.Rules() != rules {
			return fmt.Errorf("%w: %q was parsed by other rules than those of room version %q", ErrState, a.ID(), rules.Version)
		}
		key, isState := a.StateKey()
		k := StateKey{a.Type(), key}
		if !isState || !slices.Contains(selected, k) {
			stray = true
		}
		if isState {
			keys = append(keys, k)
		}
		create = create || isState && k == StateKey{typeCreate, ""}
	}
	switch {
	case hasDuplicates(keys):
		return reject(&rules, "two auth_events have the same type and state key", rule, 1)
	case stray:
		return reject(&rules, "auth_events has an event that must not be selected", rule, 2)
	case rules.Auth.CreateInAuthEvents && !create:
		return reject(&rules, "auth_events lacks the m.room.create event", rule, 4)
	case elsewhere:
		return reject(&rules, "auth_events has an event of another room", rule, otherRoomRule(&rules))
	}
	return nil
}

// matchNames returns auth without nil entries, which must be the events of the given
// IDs, each once.
func matchNames(named []string, auth []*fedinvite.Event) ([]*fedinvite.Event, error) {
	missing := make(map[string]bool, len(named))
	for _, id := range named {
		missing[id] = true
	}
	found := make([]*fedinvite.Event, 0, len(named))
	for _, a := range auth {
		if a == nil {
			continue
		}
		if !missing[a.ID()] {
			return nil, fmt.Errorf("%w: auth_events does not name %q, or it is given twice", ErrState, a.ID())
		}
		delete(missing, a.ID())
		found = append(found, a)
	}
	if len(missing) > 0 {
		return nil, fmt.Errorf("%w: %d of the auth_events are not given", ErrState, len(missing))
	}
	return found, nil
}

func hasDuplicates[T comparable](all []T) bool {
	seen := make(map[T]bool, len(all))
	for _, one := range all {
		if seen[one] {
			return true
		}
		seen[one] = true
	}
	return false
}

// authEventsRule returns the number of the rule about auth_events. Where the room ID is
// the create event, a rule about that comes before it.
func authEventsRule(rules *fedinvite.Rules) int {
	if rules.RoomIDIsCreateEvent {
		return 3
	}
	return 2
}

// otherRoomRule returns the number of its part about other rooms. Room version 12 does
// without the part about a missing create event; its source leaves the number 4 out, the
// page as it is shown does not.
func otherRoomRule(rules *fedinvite.Rules) int {
	if rules.Auth.CreateInAuthEvents {
		return 5
	}
	return 4
}
