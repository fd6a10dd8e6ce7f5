package fedserver

import (
	"context"
	"net/http"
	"slices"

	"github.com/tidwall/gjson"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/seed-0a46cb1a/fedinvite/internal/jsonobject"
	"github.com/seed-0a46cb1a/fedinvite/leave"
)

// A LeavesConfig says how [Leaves] work.
type LeavesConfig struct {
	Endpoint
	// Room finds our rooms. Required.
	Room fedclient.Room
	// HandleLeave stores a leave and sends it to the servers in the room. Required.
	//
	// The leave has passed every check of the endpoint and is allowed by the room's
	// state as it is now. It has no unsigned, and is the redacted copy if its content
	// hash did not fit. What remains is to do as for an event of a transaction
	// (server-server API, "Checks performed on receipt of a PDU"): its prev_events are
	// the other server's choice, and its auth_events too, which are checked here only if
	// all of them are in the room's state as it is now.
	//
	// Which of our server names was asked does not matter: the transactions go out in the
	// name, and are signed by, the server of any of our users who is joined to the room.
	//
	// It may come twice, also concurrently, until [Room] has it as the user's membership.
	HandleLeave func(ctx context.Context, e *fedinvite.Event) error
}

// Leaves lets users of other servers leave our rooms, which is how they decline an
// invite or end a knock (server-server API, "Leaving Rooms (Rejecting Invites)"): GET
// /_matrix/federation/v1/make_leave/{roomId}/{userId} and PUT
// /_matrix/federation/v2/send_leave/{roomId}/{eventId}. The latter's v1, which is gone
// from the specification since v1.18, is answered for old servers: [200, {}].
type Leaves struct{ config LeavesConfig }

// NewLeaves returns Leaves. The error names the field that is missing.
func NewLeaves(c LeavesConfig) (*Leaves, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	if err := missing("LeavesConfig", []field{{"Room", c.Room != nil}, {"HandleLeave", c.HandleLeave != nil}}); err != nil {
		return nil, err
	}
	return &Leaves{c}, nil
}

// Make returns the template for a leave of userID, a user of origin, from one of the rooms
// of destination, a server of ours. Both are believed. The template is what the room's
// rules allow now: a user who was neither invited, nor has joined or knocked, is refused.
//
// The refusal is a [*fedinvite.Error] of M_FORBIDDEN, or what [fedclient.Room] refuses
// with; M_NOT_FOUND without a status gets 404. It wraps [fedinvite.ErrServerDenied], or
// [fedinvite.ErrForbidden] and the *eventauth.RuleError, where one of these is the cause.
func (l *Leaves) Make(ctx context.Context, origin, destination fedinvite.ServerName, roomID, userID string) (leave.Template, error) {
	ctx, cancel := context.WithTimeout(ctx, l.config.timeout())
	defer cancel()
	if _, server, err := fedinvite.ParseUserID(userID); err != nil || server != origin {
		return leave.Template{}, refuse(http.StatusForbidden, fedinvite.CodeForbidden, "the user is not on the origin server", fedinvite.ErrOrigin)
	}
	change, view, err := l.leaving(ctx, origin, roomID, userID)
	if err != nil {
		return leave.Template{}, err
	}
	if err := change.Authorize(view.rules, view.state); err != nil {
		return leave.Template{}, fromRules(err)
	}
	t, err := leave.NewTemplate(fedinvite.Draft{
		RoomID:     roomID,
		Sender:     userID,
		Invitee:    userID,
		AuthEvents: refsOf(eventauth.SelectAuthEvents(change, view.rules, view.state)),
		PrevEvents: view.prev,
		Depth:      view.depth,
		Time:       l.config.Now(),
	}, destination, view.rules)
	if err != nil {
		return leave.Template{}, internal(err)
	}
	return t, nil
}

// leaving returns the leave as the rules see it and the room that it is from, for a
// server that the room's ACL allows.
func (l *Leaves) leaving(ctx context.Context, origin fedinvite.ServerName, roomID, userID string) (eventauth.Change, *roomView, error) {
	change := eventauth.Change{RoomID: roomID, Sender: userID, Target: userID, Membership: "leave"}
	if err := l.config.applyServerACL(ctx, roomID, origin); err != nil {
		return change, nil, err
	}
	view, err := roomReader{l.config.Room, l.config.Rules}.read(ctx, roomID, change.Needs())
	return change, view, err
}

// Send checks a leave that origin, which is believed, sent us, and hands it to HandleLeave
// (server-server API, PUT send_leave). body is the event, roomID and eventID are those of
// the path. In this order: it is JSON; the sender is a user of origin; the ACL allows
// origin; the event has the form that the room's version demands and does not name
// itself in prev_events or auth_events; IDs are those of the path; it is a leave of the
// sender; it is validly signed by origin; the room's rules allow it. If its content hash
// is wrong, the redacted copy counts.
//
// Keys of origin alone are looked up. A leave that somebody else would have to sign too,
// by join_authorised_via_users_server or, in room versions 1–2, by the server of its
// event ID, is refused unverified: no server has cause to make one. So is one with more
// than 10 signatures of origin.
//
// A leave that the room has already as the user's membership is a success, of which
// HandleLeave is not told again.
//
// Refusals wrap the sentinels of package fedinvite: ErrNotJSON, ErrBadJSON, ErrOrigin,
// ErrServerDenied, ErrMismatch, ErrNotLeave, ErrSignature, ErrAuthorisingServer,
// ErrKeysUnavailable, ErrForbidden; or are a [*fedinvite.Error] as with [Leaves.Make].
func (l *Leaves) Send(ctx context.Context, origin fedinvite.ServerName, roomID, eventID string, body []byte) error {
	checking, cancel := context.WithTimeout(ctx, l.config.timeout())
	defer cancel()
	return l.send(ctx, checking, origin, roomID, eventID, body)
}

func (l *Leaves) send(ctx, checking context.Context, origin fedinvite.ServerName, roomID, eventID string, body []byte) error {
	text, err := jsonobject.Canonical(body)
	if err != nil {
		return err
	}
	sender := gjson.GetBytes(text, "sender")
	if sender.Type != gjson.String {
		return detail.Errorf(fedinvite.ErrBadJSON, "sender")
	}
	if _, server, err := fedinvite.ParseUserID(sender.Str); err != nil || server != origin {
		return fedinvite.ErrOrigin
	}
	_, view, err := l.leaving(checking, origin, roomID, sender.Str)
	if err != nil {
		return err
	}
	e, err := parsePDU(text, view.rules)
	if err != nil {
		return err
	}
	switch {
	case e.RoomID() != roomID:
		return detail.Errorf(fedinvite.ErrMismatch, "the room ID of the path and that of the event")
	case e.ID() != eventID:
		return detail.Errorf(fedinvite.ErrMismatch, "the event ID of the path and that of the event")
	}
	if err := leave.Check(e, origin); err != nil {
		return err
	}
	if isCurrent(e, view.state) {
		return nil
	}
	if err := checkSigners(e, origin); err != nil {
		return err
	}
	if err := e.Verify(checking, l.config.Keys, origin); err != nil {
		return err
	}
	if !e.HashOK() {
		e = e.Redacted()
	}
	if err := authorizeLeave(e, view.state); err != nil {
		return fromRules(err)
	}
	return fromHook(l.config.HandleLeave(ctx, e))
}

// isCurrent reports whether e is the sender's membership already. Event IDs alone do not
// tell, as in room versions 1–2 they are the sender's choice.
func isCurrent(e *fedinvite.Event, state eventauth.State) bool {
	current := state.Get("m.room.member", e.Sender())
	return current != nil && current.ID() == e.ID() && current.ReferenceHash() == e.ReferenceHash()
}

// authorizeLeave applies the rules to the room's current state, and to the event's own
// auth_events if they are all there (server-server API, "Checks performed on receipt of a
// PDU").
func authorizeLeave(e *fedinvite.Event, state eventauth.State) error {
	if err := eventauth.Authorize(e, state); err != nil {
		return err
	}
	auth, complete := authEvents(e, state)
	if !complete {
		return nil
	}
	if err := eventauth.CheckAuthEvents(e, auth); err != nil {
		return err
	}
	if e.Rules().RoomIDIsCreateEvent { // named by the room ID
		auth = append(auth, state.Get("m.room.create", ""))
	}
	return eventauth.Authorize(e, auth)
}

// authEvents returns those events that e names as its auth_events, and whether they are
// all of them.
func authEvents(e *fedinvite.Event, state eventauth.State) (auth eventauth.State, complete bool) {
	ids := e.AuthEventIDs()
	for _, id := range ids {
		i := slices.IndexFunc(state, func(s *fedinvite.Event) bool { return s.ID() == id })
		if i < 0 {
			return auth, false
		}
		auth = append(auth, state[i])
	}
	return auth, true
}

const (
	pathMakeLeave   = "/_matrix/federation/v1/make_leave/"
	pathSendLeaveV1 = "/_matrix/federation/v1/send_leave/"
	pathSendLeave   = "/_matrix/federation/v2/send_leave/"
)

// ServeHTTP implements [http.Handler].
func (l *Leaves) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.config.serve(w, r, l.config.Authenticate, []route{
		{[]string{http.MethodGet}, pathMakeLeave, 2, l.serveMake},
		{[]string{http.MethodPut}, pathSendLeave, 2, func(ctx, checking context.Context, req Request, ids []string) ([]byte, error) {
			return []byte(`{}`), l.send(ctx, checking, req.Origin, ids[0], ids[1], req.Body)
		}},
		{[]string{http.MethodPut}, pathSendLeaveV1, 2, func(ctx, checking context.Context, req Request, ids []string) ([]byte, error) {
			return []byte(`[200,{}]`), l.send(ctx, checking, req.Origin, ids[0], ids[1], req.Body)
		}},
	})
}

func (l *Leaves) serveMake(_, checking context.Context, req Request, ids []string) ([]byte, error) {
	t, err := l.Make(checking, req.Origin, req.Destination, ids[0], ids[1])
	if err != nil {
		return nil, err
	}
	body, err := t.MarshalJSON()
	if err != nil {
		return nil, internal(err)
	}
	return body, nil
}
