package main

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// The steps of the pipeline; a test holds them against fedinvite.Steps.
const (
	stepPath             = "path"
	stepMethod           = "method"
	stepAuthorization    = "authorization"
	stepServerNames      = "server names"
	stepDestination      = "destination"
	stepBodySize         = "body size"
	stepBody             = "body"
	stepAdmit            = "admit"
	stepRequestSignature = "request signature"
	stepRoomVersion      = "room version"
	stepEventFormat      = "event format"
	stepPathIDs          = "path IDs"
	stepInvite           = "invite"
	stepServerACL        = "server ACL"
	stepPolicy           = "policy"
	stepEventSignatures  = "event signatures"
	stepContentHash      = "content hash"
	stepRoomState        = "room state"
	stepSign             = "sign"
	stepHandler          = "handler"
)

// How much is shown.
const (
	maxShown = 20  // entries of a list
	maxValue = 300 // bytes of a value of the request
)

// A comparison is what a step looked at, and against what.
type comparison struct {
	What   string  `json:"what"`
	Values []value `json:"values"`
}

// A value is something of the request, as it is, or something of ours.
type value struct {
	Where string `json:"where,omitempty"`
	Value string `json:"value"`
	ours  bool   // it needs no quotes
}

func theirs(where, s string) value { return value{Where: where, Value: clipped(s)} }

func ours(where, format string, args ...any) value {
	return value{Where: where, Value: fmt.Sprintf(format, args...), ours: true}
}

// clipped bounds what is shown of a value.
func clipped(s string) string {
	if len(s) <= maxValue {
		return s
	}
	return strings.ToValidUTF8(s[:maxValue], "") + "…"
}

// facts gathers comparisons.
type facts []comparison

func (f *facts) add(what string, values ...value) { *f = append(*f, comparison{what, values}) }

// compared says what a step looked at.
func (w *walk) compared(t taken) []comparison {
	var f facts
	d := &t.delivery
	switch t.Name {
	case stepPath:
		w.pathFacts(&f, t)
	case stepMethod:
		f.add("method", theirs("", w.capture.method))
	case stepAuthorization:
		w.headerFacts(&f)
	case stepServerNames:
		f.add("origin", theirs("", string(d.Origin)))
		f.add("destination", theirs("", string(d.Destination)))
	case stepDestination:
		f.add("destination", append([]value{theirs("request", string(d.Destination))}, w.ourNames()...)...)
	case stepBodySize:
		w.sizeFacts(&f)
	case stepBody:
		w.bodyFacts(&f, t)
	case stepRequestSignature:
		w.requestKeyFacts(&f)
	case stepRoomVersion:
		f.add("room_version", theirs("", string(d.Request.RoomVersion)))
	case stepEventFormat:
		w.formatFacts(&f, t)
	case stepPathIDs:
		if w.unknown[stepPathIDs] != "" {
			f.add("room ID", theirs("event", t.Event.RoomID()))
			f.add("event ID", theirs("event", t.Event.ID()))
			break
		}
		f.add("room ID", theirs("path", d.RoomID), theirs("event", t.Event.RoomID()))
		f.add("event ID", theirs("path", d.EventID), theirs("event", t.Event.ID()))
	case stepInvite:
		inviteFacts(&f, t)
	case stepEventSignatures:
		w.signatureFacts(&f, t)
	case stepContentHash:
		w.hashFacts(&f)
	case stepRoomState:
		w.stateFacts(&f, t)
	}
	return f
}

func (w *walk) pathFacts(f *facts, t taken) {
	f.add("target", theirs("", w.capture.target))
	if t.Err != nil {
		return
	}
	endpoint := "v2"
	if t.delivery.V1 {
		endpoint = "v1"
	}
	f.add("endpoint", ours("", "%s", endpoint))
	f.add("room ID", theirs("", t.delivery.RoomID))
	f.add("event ID", theirs("", t.delivery.EventID))
}

// headerFacts shows the Authorization headers, without their signatures.
func (w *walk) headerFacts(f *facts) {
	headers := w.capture.header.Values("Authorization")
	if len(headers) == 0 {
		f.add("Authorization", ours("", "there is none"))
	}
	for _, header := range headers[:min(len(headers), 5)] {
		a, err := xmatrix.Parse(header)
		if err != nil {
			scheme, _, _ := strings.Cut(header, " ")
			f.add("Authorization", theirs("scheme", scheme), ours("of", "%d bytes", len(header)))
			continue
		}
		f.add("X-Matrix", theirs("origin", string(a.Origin)), theirs("destination", string(a.Destination)), theirs("key", string(a.Key)))
	}
}

func (w *walk) ourNames() []value {
	var names []value
	for _, name := range w.names {
		names = append(names, ours("ours", "%q", name))
	}
	return names
}

func (w *walk) sizeFacts(f *facts) {
	c := w.capture
	f.add("body", ours("", "%d bytes", len(c.body)), ours("at most", "%d", defaultMaxBody))
	if c.length >= 0 {
		f.add("Content-Length", ours("", "%d", c.length))
	}
	if c.cut {
		f.add("end of the body", ours("", "missing"))
	}
	if c.extra > 0 {
		f.add("behind the body", ours("", "%d bytes, which do not count", c.extra))
	}
}

// defaultMaxBody is that of fedinvite.Config.
const defaultMaxBody = 1 << 20

func (w *walk) bodyFacts(f *facts, t taken) {
	if t.Err != nil {
		position(f, t.Err, w.capture.body)
		return
	}
	r := t.delivery.Request
	f.add("room_version", theirs("", string(r.RoomVersion)))
	f.add("event", ours("", "%d bytes", len(r.Event)))
	state := ours("entries:", "%d", len(r.RoomState))
	if r.RoomState == nil {
		state = ours("", "absent")
	}
	f.add("invite_room_state", state)
}

// position shows where JSON is wrong.
func position(f *facts, err error, text []byte) {
	var where *fedinvite.JSONError
	if !errors.As(err, &where) || where.Offset < 0 || where.Offset > int64(len(text)) {
		return
	}
	const around = 40
	before := text[max(0, int(where.Offset)-around):where.Offset]
	after := text[where.Offset:min(len(text), int(where.Offset)+around)]
	f.add("position", ours("byte", "%d of %d", where.Offset, len(text)), theirs("after", string(before)), theirs("there", string(after)))
}

// requestKeyFacts shows the keys by which the request says it is signed.
func (w *walk) requestKeyFacts(f *facts) {
	for _, a := range w.claims() {
		w.keyFact(f, a.Origin, a.Key)
	}
	f.add("judged at", ours("", "%s", moment(w.at)))
}

// claims returns what the request's headers say that can be read, a few at most.
func (w *walk) claims() []xmatrix.Auth {
	var all []xmatrix.Auth
	for _, header := range w.capture.header.Values("Authorization") {
		if a, err := xmatrix.Parse(header); err == nil && len(all) < 4 {
			all = append(all, a)
		}
	}
	return all
}

// keyFact shows what is known of a key.
func (w *walk) keyFact(f *facts, server fedinvite.ServerName, id fedinvite.KeyID) {
	values := []value{theirs("", string(id)), theirs("of", string(server))}
	_, err := w.keys.keysOf(server)
	known, ok := w.keys.keyOf(server, id)
	switch {
	case !ok && w.keys.given != nil && w.keys.given[server] == nil:
		values = append(values, ours("", "not at hand"))
	case !ok && err != nil:
		values = append(values, ours("", "could not be had"))
	case !ok:
		values = append(values, ours("", "not known"))
	case known.key.ExpiredAt.IsZero():
		values = append(values, ours("in use, until", "%s", moment(known.key.ValidUntil)))
	default:
		values = append(values, ours("old, until", "%s", moment(known.key.ExpiredAt)))
	}
	f.add("key", values...)
}

func (w *walk) formatFacts(f *facts, t taken) {
	raw := t.delivery.Request.Event
	f.add("size", ours("", "%d bytes", len(raw)))
	if t.Err != nil {
		position(f, t.Err, raw)
		return
	}
	f.add("type", theirs("", t.Event.Type()))
	f.add("event ID", theirs("", t.Event.ID()))
}

func inviteFacts(f *facts, t taken) {
	e := t.Event
	f.add("type", theirs("", e.Type()))
	f.add("membership", theirs("", e.Membership()))
	f.add("sender", theirs("", e.Sender()), theirs("origin", string(t.delivery.Origin)))
	invitee := ours("", "no state_key")
	if key, ok := e.StateKey(); ok {
		invitee = theirs("", key)
	}
	f.add("invitee", invitee, theirs("destination", string(t.delivery.Destination)))
}

func (w *walk) signatureFacts(f *facts, t taken) {
	signed := signaturesOf(t.Event)
	for _, server := range requiredBy(t) {
		if len(signed[server]) == 0 {
			f.add("signature", theirs("of", string(server)), ours("", "missing"))
		}
		for _, id := range slices.Sorted(maps.Keys(signed[server])) {
			w.keyFact(f, server, id)
		}
	}
	if len(*f) > maxShown {
		*f = append((*f)[:maxShown], comparison{"and", []value{ours("", "%d more", len(*f)-maxShown)}})
	}
	f.add("time of the event", ours("", "%s", moment(t.Event.OriginServerTS())))
}

// requiredBy returns the servers that must have signed.
func requiredBy(t taken) []fedinvite.ServerName {
	return required(t.Event, []fedinvite.ServerName{t.delivery.Origin})
}

// signaturesOf returns the signatures of an event, as they are written.
func signaturesOf(e *fedinvite.Event) map[fedinvite.ServerName]map[fedinvite.KeyID]json.RawMessage {
	var servers map[fedinvite.ServerName]json.RawMessage
	_ = json.Unmarshal(e.Signatures(), &servers) // canonical; what is no object has no members
	all := make(map[fedinvite.ServerName]map[fedinvite.KeyID]json.RawMessage)
	for server, raw := range servers {
		var keys map[fedinvite.KeyID]json.RawMessage
		_ = json.Unmarshal(raw, &keys)
		all[server] = keys
	}
	return all
}

func (w *walk) hashFacts(f *facts) {
	e := w.taken[stepEventSignatures].Event // before it was redacted
	computed := e.ContentHash()
	f.add("sha256", theirs("event", namedHash(e)), ours("computed", "%q", base64.RawStdEncoding.EncodeToString(computed[:])))
}

// namedHash returns hashes.sha256.
func namedHash(e *fedinvite.Event) (hash string) {
	var members, hashes map[string]json.RawMessage
	_ = json.Unmarshal(e.AppendJSON(nil), &members)
	_ = optional(members, "hashes", &hashes)
	_ = optional(hashes, "sha256", &hash)
	return hash
}

// stateFacts shows the entries of invite_room_state, one by one.
func (w *walk) stateFacts(f *facts, t taken) {
	entries := t.delivery.Request.RoomState
	f.add("policy", ours("", "%s", policyNames[w.policy]))
	f.add("entries", ours("", "%d", len(entries)))
	for i, raw := range entries {
		if i == maxShown {
			f.add("", ours("and", "%d more", len(entries)-i))
			break
		}
		f.add(fmt.Sprintf("entry %d", i), w.entryFacts(raw, t)...)
	}
	for i, warning := range t.invite.RoomState.Warnings {
		if i == maxShown {
			break
		}
		f.add("warning", ours("", "%s", warning))
	}
}

// entryFacts says of an entry what it is and what counts as that.
func (w *walk) entryFacts(raw json.RawMessage, t taken) []value {
	e, err := fedinvite.ParseEvent(raw, t.Event.Rules())
	if err != nil {
		return strippedFacts(raw, err)
	}
	values := []value{theirs("", e.Type()), theirs("", stateKey(e)), theirs("PDU", e.ID())}
	if e.RoomID() != t.Event.RoomID() {
		values = append(values, theirs("of the room", e.RoomID()))
	}
	if !e.HashOK() {
		values = append(values, ours("", "content hash differs"))
	}
	for _, s := range t.invite.RoomState.Events {
		if s.PDU != nil && s.PDU.ID() == e.ID() && s.Verified {
			return append(values, ours("", "signatures verified"))
		}
	}
	if w.policy != fedinvite.StateStrict && !(t.Event.Rules().RoomIDIsCreateEvent && e.Type() == "m.room.create") {
		return append(values, ours("", "signatures not looked at"))
	}
	return append(values, ours("", "signatures not verified"))
}

// strippedFacts is entryFacts for what is no PDU.
func strippedFacts(raw json.RawMessage, err error) []value {
	var eventType, stateKey string
	members := membersOf(raw)
	_ = optional(members, "type", &eventType)
	_ = optional(members, "state_key", &stateKey)
	values := []value{theirs("", eventType), theirs("", stateKey)}
	if members != nil && members["signatures"] == nil {
		return append(values, ours("", "stripped"))
	}
	return append(values, ours("no PDU of the room version:", "%s", err))
}
