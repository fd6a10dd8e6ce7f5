// Package eventauth says whether the rules of a room allow an invite, the leave that
// declines one or takes it back, and the knock before one: the authorization rules of
// room versions 1 to 12 for m.room.member events ("Authorisation rules" in each
// version's page). It also selects the auth_events of such events.
//
// It is pure. The room's state comes from the caller, who vouches for it:
//
//	change := eventauth.Change{RoomID: roomID, Sender: alice, Target: bob, Membership: "invite"}
//	state := load(change.Needs())                 // the author's own store
//	err := change.Authorize(rules, state)         // before the event is made
//	auth := eventauth.SelectAuthEvents(change, rules, state)
//
//	err = eventauth.CheckAuthEvents(event, auth)  // an event that somebody else made
//	if event.Rules().RoomIDIsCreateEvent {
//		auth = append(auth, create) // which auth_events must not name there
//	}
//	err = eventauth.Authorize(event, auth)        // once by its auth_events
//	err = eventauth.Authorize(event, state)       // and once by the state before it
//
// A rejection is a [*RuleError], which names the rule by its number in the page of the
// room's version, and wraps [fedinvite.ErrForbidden]. State that cannot be right is
// [ErrState], which is the caller's fault and not the event's.
//
// Events whose content hash is wrong, be it the one that is authorised or one of the
// state, count as their redacted copies, as the specification demands ("Checks performed
// on receipt of a PDU").
//
// Signatures of events are not looked at, except inside of third-party invites: see
// [fedinvite.Event.Verify]. There is one deviation from the rules: a third-party invite
// is allowed if any signature in signed is by any key of the m.room.third_party_invite
// event, but no more than 128 pairs of signature and key are tried, because an event has
// room for hundreds of thousands.
package eventauth
