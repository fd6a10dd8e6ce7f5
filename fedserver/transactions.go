package fedserver

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/jsonobject"
	"github.com/seed-0a46cb1a/fedinvite/leave"
)

// A TransactionsConfig says how [Transactions] work. The field ServerAllowed of Endpoint is
// not used: Next and EDU apply the rooms' server ACLs.
type TransactionsConfig struct {
	Endpoint
	// Invite returns the invite from origin that is pending for the user in the room, as it
	// was accepted, or nil. It is asked about leaves that somebody else sent, whatever user
	// they name; origin is the server of their sender. Return nil for rooms that the server is in: the leave is one of the room's
	// events there, and goes to Next. Required.
	Invite func(ctx context.Context, origin fedinvite.ServerName, roomID, userID string) (*fedinvite.Event, error)
	// HandleRescission removes the invite, but only if the one that is stored for the user,
	// the room and the server has invite.ID() still: a newer one may have come since Invite was asked.
	// e is the leave that takes it back, without unsigned and verified. It may come twice,
	// until Invite returns the invite no more.
	//
	// Nobody else is to be told of the leave, so that no server of ours has to sign
	// anything; the user invited, and with it the server of ours, is the invite's state
	// key. Required.
	HandleRescission func(ctx context.Context, e, invite *fedinvite.Event) error
	// Next does what else there is to do with events (server-server API, "Checks performed
	// on receipt of a PDU"). It is called for each PDU that does not take back an invite of
	// ours, one after the other in the order of the transaction, after those that do; nil:
	// they are acknowledged and dropped, which only a server that is in no room may do.
	//
	// Of the PDU nothing has been checked but that it is a JSON object. pdu is not what came
	// but its canonical form, for the numbers of all room versions
	// ([fedinvite.LegacyCanonicalJSON]), unsigned and all: no name is there twice, and
	// [fedinvite.ParseEvent] takes it as it would have taken what came. It is Next's own.
	// roomID is its room_id; "" if it has none that could be one, as the create event has
	// none from room version 12 on.
	//
	// Next has to apply the room's server ACL to r.Origin (server-server API, "Server
	// Access Control Lists (ACLs)"), which is often not the sender's server.
	//
	// eventID is the event's ID, under which the answer says how it went; also return it
	// beside an error, or the other server does not hear of it. "" stands for the event_id
	// that the PDU carries, as those of room versions 1–2 do; the answer leaves out one
	// that has none.
	//
	// An error is the event's result if it is a [*fedinvite.Error] of a status other than
	// 429 and 5xx: the other server gets the message and does not send the event again.
	// [fedinvite.WireError] makes one of the errors of package fedinvite. Any other error
	// fails the whole transaction: Next is not called for what is behind the PDU, the other
	// server is told "internal error", or the message of the *fedinvite.Error, and sends
	// all of it again, and nothing else until it gets through. So an event that could never
	// be handled must be refused.
	//
	// ctx is the request's, and no Timeout bounds it. The same PDU may come again, also
	// concurrently and from other servers.
	Next func(ctx context.Context, r Request, roomID string, pdu json.RawMessage) (eventID string, err error)
	// EDU gets the ephemeral messages that are JSON objects, one after the other in the
	// order of the transaction, when all of its PDUs are done and none has to come again;
	// nil: they are dropped. edu is in the same form as Next's pdu; nothing in it has been
	// checked. The room's server ACL has to be applied to those of m.typing and m.receipt.
	// ctx is Next's. The same EDU may come again.
	EDU func(ctx context.Context, r Request, edu json.RawMessage)
}

// Transactions takes transactions: PUT /_matrix/federation/v1/send/{txnId} (server-server
// API, "Transactions"). It applies the leaves that take back an invite to a room that the
// server is not in, and hands all other PDUs to Next and the EDUs to EDU. A server that is
// in no room, and holds invites only, needs neither. One that has a /send of its own may
// call [Transactions.TakeBack] there instead, for events of rooms that it is not in.
//
// Of the PDUs of a transaction, which may come from any server, only leaves for which
// there is an invite cost more than reading, but for what Next does. The answer has a
// result for each of those, for others that have an event_id, and for those whose ID Next
// tells: {} or, if a leave of the inviter is not validly signed or a hook refuses, a short
// error. A leave that cannot be parsed by the rules of the invite's room version gets an
// error too if there is no Next. What is not about an invite of ours, the leave of somebody
// who is not the inviter too, is for Next.
//
// Keys are looked up for the servers of inviters alone, and for 10 of them at most in one
// transaction; the leaves of others get an error. Servers send the leaves of their own
// users only, so that none that is honest comes near this.
//
// If a hook fails, or refuses with M_LIMIT_EXCEEDED, or keys cannot be had now, the whole
// request fails, once all leaves have been tried and Next has been called for the rest, up
// to a PDU of which that is true: the other server sends it again, while a result would be
// the end of it, and the invite would stay or the event be lost. Transactions are not
// remembered by their IDs: if an answer got lost, all of it comes again.
type Transactions struct{ config TransactionsConfig }

// NewTransactions returns Transactions. The error names the field that is missing.
func NewTransactions(c TransactionsConfig) (*Transactions, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	err := missing("TransactionsConfig", []field{{"Invite", c.Invite != nil}, {"HandleRescission", c.HandleRescission != nil}})
	if err != nil {
		return nil, err
	}
	if c.MaxBody == 0 {
		c.MaxBody = maxTransactionBody
	}
	return &Transactions{c}, nil
}

// TakeBack applies one PDU, if it is a leave that takes back an invite of ours: its sender
// is the inviter, the invite is among its auth_events ([leave.CheckRescission]), and it
// is validly signed by the sender's server. If its content hash is wrong the redacted
// copy counts. What is said at [Leaves.Send] of leaves that others would have to sign
// too, or that have too many signatures, goes for this one: [fedinvite.ErrSignature].
//
// handled is whether it was such a leave, and HandleRescission was told. A PDU that is
// something else is no error, and Next is not called. Errors wrap [fedinvite.ErrNotJSON] or [fedinvite.ErrBadJSON]
// if pdu is no JSON object or, where it is about an invite of ours, no event of the
// room's version; [fedinvite.ErrSignature]; [fedinvite.ErrKeysUnavailable]; or are a
// [*fedinvite.Error] of a hook. The last two may pass if the PDU comes again.
func (x *Transactions) TakeBack(ctx context.Context, pdu json.RawMessage) (handled bool, err error) {
	checking, cancel := context.WithTimeout(ctx, x.config.timeout())
	defer cancel()
	text, err := jsonobject.Canonical(pdu)
	if err != nil {
		return false, err
	}
	_, ours, err := x.takeBack(ctx, checking, text, keyServers{})
	return ours && err == nil, err
}

// takeBack is TakeBack of a PDU in canonical form. id is "" if it cannot be known. ours is
// whether the PDU is the end of an invite of ours, or is as long as we cannot know: if
// not, it may be anything else, also if err says that it is no event of the invite's
// room version.
func (x *Transactions) takeBack(ctx, checking context.Context, pdu []byte, asked keyServers) (id string, ours bool, err error) {
	id = namedID(pdu)
	origin, roomID, userID, ok := leaveOf(pdu)
	if !ok {
		return id, false, nil
	}
	invite, err := x.config.Invite(checking, origin, roomID, userID)
	if err != nil {
		return id, true, fromHook(err)
	}
	if invite == nil {
		return id, false, nil
	}
	e, err := parsePDU(pdu, invite.Rules())
	if err != nil {
		return id, false, err
	}
	if !e.HashOK() {
		e = e.Redacted()
	}
	if leave.CheckRescission(e, invite) != nil {
		return e.ID(), false, nil
	}
	if err := x.verify(checking, e, asked); err != nil {
		return e.ID(), true, err
	}
	return e.ID(), true, fromHook(x.config.HandleRescission(ctx, e, invite))
}

// verify checks that the sender's server signed e, whose sender is an inviter.
func (x *Transactions) verify(ctx context.Context, e *fedinvite.Event, asked keyServers) error {
	_, server, err := fedinvite.ParseUserID(e.Sender())
	if err != nil {
		return err
	}
	if err := checkSigners(e, server); err != nil {
		return err
	}
	if err := asked.add(server); err != nil {
		return err
	}
	return e.Verify(ctx, x.config.Keys, server)
}

// leaveOf reads the sender's server, room and user out of what looks like the leave of a
// user that somebody else sent.
func leaveOf(pdu []byte) (origin fedinvite.ServerName, roomID, userID string, ok bool) {
	m := gjson.GetManyBytes(pdu, "type", "content.membership", "sender", "room_id", "state_key")
	for _, value := range m {
		if value.Type != gjson.String || len(value.Str) > maxIdentifier {
			return "", "", "", false
		}
	}
	roomID, userID = m[3].Str, m[4].Str
	_, origin, err := fedinvite.ParseUserID(m[2].Str)
	ok = err == nil && m[0].Str == "m.room.member" && m[1].Str == "leave" && m[2].Str != userID &&
		strings.HasPrefix(roomID, "!") && strings.HasPrefix(userID, "@")
	return origin, roomID, userID, ok
}

// namedID returns the ID that a PDU carries, as it does in room versions 1–2; elsewhere it
// takes the room's version to know it.
func namedID(pdu []byte) string {
	if named := gjson.GetBytes(pdu, "event_id"); named.Type == gjson.String && isEventID(named.Str) {
		return named.Str
	}
	return ""
}

// roomOf returns the room ID of a PDU, or "".
func roomOf(pdu []byte) string {
	id := gjson.GetBytes(pdu, "room_id")
	if id.Type != gjson.String || !strings.HasPrefix(id.Str, "!") || len(id.Str) > maxIdentifier {
		return ""
	}
	return id.Str
}

func isEventID(s string) bool { return strings.HasPrefix(s, "$") && len(s) <= maxIdentifier }

const pathSend = "/_matrix/federation/v1/send/"

// ServeHTTP implements [http.Handler].
func (x *Transactions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.config.serve(w, r, x.config.Authenticate, []route{{[]string{http.MethodPut}, pathSend, 1, x.answer}})
}

func (x *Transactions) answer(ctx, checking context.Context, req Request, _ []string) ([]byte, error) {
	t, err := readTransaction(req.Body, req.Origin)
	if err != nil {
		return nil, err
	}
	told := make(results, len(t.pdus))
	others, failed := x.takeBackAll(ctx, checking, t.pdus, told)
	if err := x.next(ctx, req, others, told); failed == nil {
		failed = err
	}
	if failed != nil {
		return nil, failed
	}
	if x.config.EDU != nil {
		for _, edu := range t.edus {
			x.config.EDU(ctx, req, edu)
		}
	}
	body, err := json.Marshal(map[string]any{"pdus": told})
	if err != nil {
		return nil, internal(err)
	}
	return body, nil
}

// takeBackAll applies the leaves among the PDUs that take back invites of ours, and returns
// the PDUs that are for Next. The error is the first because of which a PDU has to come
// again. These come first, as the time for checking must not pass in Next.
func (x *Transactions) takeBackAll(ctx, checking context.Context, pdus []json.RawMessage, told results) (others []json.RawMessage, failed error) {
	asked := keyServers{}
	for _, pdu := range pdus {
		id, ours, err := x.takeBack(ctx, checking, pdu, asked)
		if !ours && x.config.Next != nil {
			others = append(others, pdu)
			continue
		}
		if failed == nil && again(err) {
			failed = err
		}
		told.add(id, err)
	}
	return others, failed
}

// next calls Next for the PDUs, up to one that has to come again.
func (x *Transactions) next(ctx context.Context, req Request, pdus []json.RawMessage, told results) error {
	for _, pdu := range pdus {
		named := namedID(pdu) // before Next has it
		id, err := x.config.Next(ctx, req, roomOf(pdu), pdu)
		if err = fromHook(err); again(err) {
			return err
		}
		told.add(cmp.Or(id, named), err)
	}
	return nil
}
