package eventauth

import (
	"slices"

	"github.com/seed-0a46cb1a/fedinvite"
)

// keys returns the state that is selected for the auth_events of the change, in order
// and without duplicates; the create event and the member by whom a join is authorised
// only if they are wanted.
func (c *Change) keys(create, via bool) []StateKey {
	keys := make([]StateKey, 0, 7)
	add := func(eventType, key string) {
		if k := (StateKey{eventType, key}); !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	if create {
		add(typeCreate, "")
	}
	add(typePowerLevels, "")
	if c.Membership == join || c.Membership == invite || c.Membership == knock {
		add(typeJoinRules, "")
	}
	add(typeMember, c.Sender)
	add(typeMember, c.Target)
	if token, ok := c.token(); ok {
		add(typeThirdParty, token)
	}
	if via && c.Membership == join {
		add(typeMember, c.AuthorisedVia)
	}
	return keys
}

// selection returns keys as the room version has them.
func (c *Change) selection(rules *fedinvite.Rules) []StateKey {
	return c.keys(rules.Auth.CreateInAuthEvents, rules.Auth.Restricted && c.AuthorisedVia != "")
}

// SelectAuthEvents chooses auth_events out of state (server-server API, "Auth events
// selection"): as far as they are there, the create event (never from room version 12
// on), the power levels, for a join, invite or knock the join rules, the membership of
// the sender and that of the target, the token of a third-party invite, and for a join
// in the versions with restricted rooms the membership of AuthorisedVia. There are at
// most seven, in this order, none twice; none at all for the zero Rules. Nothing is
// checked: see [Change.Authorize].
func SelectAuthEvents(c Change, rules fedinvite.Rules, state State) []*fedinvite.Event {
	if checkRules(&rules) != nil {
		return nil
	}
	var chosen []*fedinvite.Event
	for _, k := range c.selection(&rules) {
		if e := state.Get(k.Type, k.Key); e != nil {
			chosen = append(chosen, e)
		}
	}
	return chosen
}
