package eventauth

import (
	"encoding/json"

	"github.com/seed-0a46cb1a/fedinvite"
)

// The memberships (client-server API, m.room.member).
const (
	ban    = "ban"
	invite = "invite"
	join   = "join"
	knock  = "knock"
	leave  = "leave"
)

// authorisedVia is the member of a join's content that names who vouches for it.
const authorisedVia = "join_authorised_via_users_server"

// A Change is what an m.room.member event does, as far as the rules look at it. It
// may be asked about before there is an event.
type Change struct {
	RoomID     string
	Sender     string
	Target     string // whose membership it is: the state key
	Membership string // invite, leave, knock; for SelectAuthEvents join and ban too
	// ThirdParty is content.third_party_invite of an invite, as JSON; empty if there is
	// none. null is something.
	ThirdParty json.RawMessage
	// AuthorisedVia is content.join_authorised_via_users_server of a join. Only
	// SelectAuthEvents looks at it.
	AuthorisedVia string
}

// ChangeOf returns what e does; if its content hash is wrong, what its redacted copy
// does. The error wraps ErrUnsupported if e is no m.room.member state event with a
// membership.
func ChangeOf(e *fedinvite.Event) (Change, error) {
	if e == nil || e.Type() != typeMember {
		return Change{}, unsupported("no m.room.member event")
	}
	if _, ok := e.StateKey(); !ok {
		return Change{}, unsupported("no state event")
	}
	e = kept(e)
	if e.Membership() == "" {
		return Change{}, unsupported("no membership")
	}
	return changeOf(e), nil
}

// changeOf returns what e does. What is no membership at all becomes one that there is not.
func changeOf(e *fedinvite.Event) Change {
	c := Change{RoomID: e.RoomID(), Sender: e.Sender(), Membership: e.Membership()}
	c.Target, _ = e.StateKey()
	switch c.Membership {
	case "":
		c.Membership = e.ContentJSON("membership") // 7, null, "" with its quotes, or nothing
	case invite:
		if raw := e.ContentJSON("third_party_invite"); raw != "" {
			c.ThirdParty = json.RawMessage(raw)
		}
	case join:
		c.AuthorisedVia, _ = text(e.ContentJSON(authorisedVia))
	}
	return c
}

// kept returns the copy of e that counts (server-server API, "Checks performed on
// receipt of a PDU", step 3).
func kept(e *fedinvite.Event) *fedinvite.Event {
	if e.HashOK() {
		return e
	}
	return e.Redacted()
}

// Needs returns the state that Authorize and SelectAuthEvents look at, the create event
// always first. Most rooms do not have all of it.
func (c Change) Needs() []StateKey { return c.keys(true, c.AuthorisedVia != "") }

// token returns signed.token of a third-party invite.
func (c *Change) token() (string, bool) {
	if c.Membership != invite || len(c.ThirdParty) == 0 {
		return "", false
	}
	t := takeApart(c.ThirdParty)
	return t.token, t.hasToken
}
