package eventauth

import (
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// Authorize checks event e against state; see [Change.Authorize]. If its content hash is
// wrong, the redacted copy counts. In room versions with
// join_authorised_via_users_server, an event that names one must carry a signature of
// that server; that it is valid is for [fedinvite.Event.Verify] to say.
//
// An event that somebody else made is authorised by its auth_events and, once more, by
// the state before it (server-server API, "Checks performed on receipt of a PDU"). In
// rooms with RoomIDIsCreateEvent auth_events must not name the create event, which the
// room ID names: add it to them, or rule 2 rejects.
func Authorize(e *fedinvite.Event, state State) error {
	rules, err := rulesOf(e)
	if err != nil {
		return err
	}
	e = kept(e)
	a := attempt{Change: changeOf(e), rules: rules}
	_, isState := e.StateKey()
	a.incomplete = !isState
	if rules.AuthorisingServerSigns {
		a.unsigned = !signedVia(e)
	}
	return a.authorize(state)
}

// Authorize checks the change against state: that of the room before it or, for an event
// that there is already, its auth_events, to which the create event has to be added in
// rooms with RoomIDIsCreateEvent. It must hold what Needs names, as far as the room has
// it. Rules about auth_events are left to CheckAuthEvents, except that there is no room
// without a create event.
//
// Errors are a [*RuleError], or wrap ErrState, ErrUnsupported or
// fedinvite.ErrRoomVersion.
func (c Change) Authorize(rules fedinvite.Rules, state State) error {
	if err := checkRules(&rules); err != nil {
		return err
	}
	a := attempt{Change: c, rules: rules}
	return a.authorize(state)
}

// rulesOf returns the rules of an m.room.member event.
func rulesOf(e *fedinvite.Event) (fedinvite.Rules, error) {
	if e == nil {
		return fedinvite.Rules{}, unsupported("no event")
	}
	rules := e.Rules()
	if err := checkRules(&rules); err != nil {
		return fedinvite.Rules{}, err
	}
	if e.Type() != typeMember {
		return fedinvite.Rules{}, unsupported("not of type m.room.member")
	}
	return rules, nil
}

// An attempt is a change that is to be authorised, and what it is judged by.
type attempt struct {
	Change
	rules      fedinvite.Rules
	incomplete bool // an event without a state key
	unsigned   bool // an event that lacks the signature of the authorising server
	thirdParty thirdParty
	view       view
}

// authorize goes through the rules in the order of the version's page.
func (a *attempt) authorize(state State) error {
	if a.Membership == join || a.Membership == ban {
		return unsupported("membership " + a.Membership)
	}
	if a.Membership == invite && len(a.ThirdParty) > 0 {
		a.thirdParty = takeApart(a.ThirdParty)
	}
	if err := a.look(state); err != nil {
		return err
	}
	if err := a.room(); err != nil {
		return err
	}
	return a.member()
}

// room checks the rules that are about the room as a whole.
func (a *attempt) room() error {
	create := a.view.create
	if create == nil {
		if a.rules.RoomIDIsCreateEvent { // one of another ID is of another room
			return a.reject("there is no m.room.create event with the ID of the room", 2)
		}
		return a.reject("there is no m.room.create event", authEventsRule(&a.rules), 4)
	}
	if create.ContentJSON("m.federate") == "false" && serverOf(a.Sender) != serverOf(create.Sender()) {
		return a.reject("the room does not federate, and the sender is not on the creator's server", authEventsRule(&a.rules)+1)
	}
	return nil
}

// member checks the rule "If type is m.room.member".
func (a *attempt) member() error {
	if a.incomplete || a.Membership == "" {
		return a.rejectMember("the event has no state key or no membership", 1)
	}
	if a.unsigned {
		return a.rejectMember("the server of join_authorised_via_users_server has not signed", 2, 1)
	}
	switch {
	case a.Membership == invite && len(a.ThirdParty) > 0:
		return a.thirdPartyInvite()
	case a.Membership == invite:
		return a.invite()
	case a.Membership == leave:
		return a.leave()
	case a.Membership == knock && a.rules.Auth.Knock:
		return a.knock()
	}
	return a.rejectMember("the membership is unknown", a.lastPart())
}

// Where the parts of the member rule are, after that about invites: about leave, ban,
// knock if there is such a thing, and all the rest.
const (
	leaveAfterInvite = 1
	knockAfterInvite = 3
)

func (a *attempt) lastPart() int {
	if a.rules.Auth.Knock {
		return int(a.rules.Auth.InviteRule) + knockAfterInvite + 1
	}
	return int(a.rules.Auth.InviteRule) + knockAfterInvite
}

func (a *attempt) reject(reason string, rule ...int) error { return reject(&a.rules, reason, rule...) }

// rejectMember is reject for parts of the rule "If type is m.room.member".
func (a *attempt) rejectMember(reason string, part ...int) error {
	return a.reject(reason, append([]int{int(a.rules.Auth.MemberRule)}, part...)...)
}

// levels returns the power levels of the room.
func (a *attempt) levels() PowerLevels {
	return PowerLevels{a.view.create, a.view.levels, a.rules.Auth}
}

// signedVia reports whether the server of join_authorised_via_users_server, if e has
// that, is among those who signed.
func signedVia(e *fedinvite.Event) bool {
	raw := e.ContentJSON(authorisedVia)
	if raw == "" {
		return true
	}
	user, _ := text(raw)
	_, server, err := fedinvite.ParseUserID(user)
	if err != nil {
		return false
	}
	return len(members(members(e.Signatures())[string(server)])) > 0
}

// serverOf returns the server of a user ID.
func serverOf(userID string) string {
	_, server, _ := strings.Cut(userID, ":")
	return server
}
