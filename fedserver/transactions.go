package fedserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/seed-0a46cb1a/fedinvite/leave"
)

// What a transaction may hold (server-server API, "Transactions").
const (
	maxPDUs            = 50
	maxEDUs            = 100
	maxTransactionBody = (maxPDUs + maxEDUs) << 16 // bytes: of 64 KiB each
)

// A TransactionsConfig says how [Transactions] work.
type TransactionsConfig struct {
	Endpoint
	// Invite returns the invite that is pending for the user in the room, as it was
	// accepted, or nil. It is asked about leaves that somebody else sent, whatever user
	// they name. Required.
	Invite func(ctx context.Context, roomID, userID string) (*fedinvite.Event, error)
	// HandleRescission removes the invite; e is the leave that takes it back, without
	// unsigned and verified. It may come twice, until Invite returns the invite no more.
	// Required.
	HandleRescission func(ctx context.Context, e, invite *fedinvite.Event) error
}

// Transactions takes transactions for a server that is in no room and holds invites only:
// it applies the leaves that take such an invite back, and acknowledges everything else:
// PUT /_matrix/federation/v1/send/{txnId} (server-server API, "Transactions"). A
// homeserver with rooms has an endpoint of its own, and calls [Transactions.TakeBack] there
// for events of rooms that it is not in.
//
// Of the PDUs of a transaction, which may come from any server, only leaves for which
// there is an invite cost more than reading. The answer has a result for each of those,
// and for others that have an event_id: {} or, if a leave of the inviter cannot be
// parsed or is not validly signed, a short error. What is not about an invite of ours, the
// leave of somebody who is not the inviter too, is acknowledged and ignored.
//
// Keys are looked up for the servers of inviters alone, and for 10 of them at most in one
// transaction; the leaves of others get an error. Servers send the leaves of their own
// users only, so that none that is honest comes near this.
//
// If a hook fails, or refuses with M_LIMIT_EXCEEDED, or keys cannot be had now, the whole
// request fails, once all PDUs have been tried: the other server sends it again, while a
// result would be the end of it and the invite would stay.
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
// something else is no error. Errors wrap [fedinvite.ErrNotJSON] or [fedinvite.ErrBadJSON]
// if pdu is no JSON object or, where it is about an invite of ours, no event of the
// room's version; [fedinvite.ErrSignature]; [fedinvite.ErrKeysUnavailable]; or are a
// [*fedinvite.Error] of a hook. The last two may pass if the PDU comes again.
func (x *Transactions) TakeBack(ctx context.Context, pdu json.RawMessage) (handled bool, err error) {
	checking, cancel := context.WithTimeout(ctx, x.config.timeout())
	defer cancel()
	text, err := canonicalObject(pdu)
	if err != nil {
		return false, err
	}
	_, handled, err = x.takeBack(ctx, checking, text, keyServers{})
	return handled, err
}

// takeBack is TakeBack of a PDU in canonical form. id is "" if it cannot be known.
func (x *Transactions) takeBack(ctx, checking context.Context, pdu []byte, asked keyServers) (id string, handled bool, err error) {
	// In room versions 1–2; elsewhere it takes the room's version to know it.
	if named := gjson.GetBytes(pdu, "event_id"); named.Type == gjson.String && isEventID(named.Str) {
		id = named.Str
	}
	roomID, userID, ok := leaveOf(pdu)
	if !ok {
		return id, false, nil
	}
	invite, err := x.config.Invite(checking, roomID, userID)
	if err != nil || invite == nil {
		return id, false, fromHook(err)
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
		return e.ID(), false, err
	}
	if err := x.config.HandleRescission(ctx, e, invite); err != nil {
		return e.ID(), false, fromHook(err)
	}
	return e.ID(), true, nil
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

// leaveOf reads room and user out of what looks like the leave of a user that somebody
// else sent.
func leaveOf(pdu []byte) (roomID, userID string, ok bool) {
	m := gjson.GetManyBytes(pdu, "type", "content.membership", "sender", "room_id", "state_key")
	for _, value := range m {
		if value.Type != gjson.String || len(value.Str) > maxIdentifier {
			return "", "", false
		}
	}
	roomID, userID = m[3].Str, m[4].Str
	ok = m[0].Str == "m.room.member" && m[1].Str == "leave" && m[2].Str != userID &&
		strings.HasPrefix(roomID, "!") && strings.HasPrefix(userID, "@")
	return roomID, userID, ok
}

func isEventID(s string) bool { return strings.HasPrefix(s, "$") && len(s) <= maxIdentifier }

const pathSend = "/_matrix/federation/v1/send/"

// ServeHTTP implements [http.Handler].
func (x *Transactions) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x.config.serve(w, r, x.config.Authenticate, []route{{[]string{http.MethodPut}, pathSend, 1, x.answer}})
}

func (x *Transactions) answer(ctx, checking context.Context, req Request, _ []string) ([]byte, error) {
	pdus, err := readTransaction(req.Body, req.Origin)
	if err != nil {
		return nil, err
	}
	results, asked := make(map[string]result, len(pdus)), keyServers{}
	var failed error
	for _, pdu := range pdus {
		if !pdu.IsObject() {
			continue
		}
		id, _, err := x.takeBack(ctx, checking, []byte(pdu.Raw), asked)
		if again(err) && failed == nil {
			failed = err
		}
		if id != "" {
			results[id] = resultOf(err)
		}
	}
	if failed != nil {
		return nil, failed
	}
	body, err := json.Marshal(map[string]any{"pdus": results})
	if err != nil {
		return nil, internal(err)
	}
	return body, nil
}

// A result says how a PDU was handled.
type result struct {
	Error string `json:"error,omitempty"`
}

// resultOf says of an error what a peer may know.
func resultOf(err error) result {
	if err == nil {
		return result{}
	}
	return result{fedinvite.WireError(err).Message}
}

// again reports whether the PDU has to come again because of err.
func again(err error) bool {
	var e *fedinvite.Error
	return errors.Is(err, fedinvite.ErrKeysUnavailable) ||
		errors.As(err, &e) && (e.HTTPStatus() >= http.StatusInternalServerError || e.HTTPStatus() == http.StatusTooManyRequests)
}

// readTransaction returns the PDUs of a transaction in canonical form. That origin is who
// sent it has been proven, so it need not say so, but must not say otherwise.
func readTransaction(body []byte, origin fedinvite.ServerName) ([]gjson.Result, error) {
	text, err := canonicalObject(body)
	if err != nil {
		return nil, err
	}
	m := gjson.GetManyBytes(text, "origin", "pdus", "edus")
	if m[0].Exists() && (m[0].Type != gjson.String || m[0].Str != string(origin)) {
		return nil, detail.Errorf(fedinvite.ErrMismatch, "the origin of the transaction and that of the request")
	}
	pdus, err := listOf("pdus", m[1], maxPDUs)
	if err != nil {
		return nil, err
	}
	if _, err := listOf("edus", m[2], maxEDUs); err != nil {
		return nil, err
	}
	return pdus, nil
}

// listOf returns the elements of an array, of which there may be none.
func listOf(name string, list gjson.Result, most int) ([]gjson.Result, error) {
	if !list.Exists() {
		return nil, nil
	}
	if !list.IsArray() {
		return nil, detail.Errorf(fedinvite.ErrBadJSON, "%s is not an array", name)
	}
	var all []gjson.Result
	list.ForEach(func(_, element gjson.Result) bool {
		all = append(all, element)
		return len(all) <= most
	})
	if len(all) > most {
		return nil, detail.Errorf(fedinvite.ErrBadJSON, "too many %s", name)
	}
	return all, nil
}
