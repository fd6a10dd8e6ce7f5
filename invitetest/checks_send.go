package invitetest

import (
	"context"
	"encoding/json"
	"fmt"
	"mime"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// sendChecks are about the invites that a server sends.
func sendChecks() []Check {
	var all []Check
	for _, v := range fedinvite.RoomVersions() {
		all = append(all, Check{
			Name:     "send/v" + string(v),
			Sentence: fmt.Sprintf("An invite to a room of version %s that a user of the server sends passes the checks of the invited server.", v),
			Link:     linkInvite, Level: Must, run: func(p *probe) { p.sendsVersion(v) },
		})
	}
	return slices.Concat(all, sentRequestChecks(), sentEventChecks(), sentStateChecks(), sendAnswerChecks())
}

// sentRequestChecks are about the request.
func sentRequestChecks() []Check {
	return []Check{
		{
			Name:     "send/endpoint",
			Sentence: "The request is PUT /_matrix/federation/v2/invite/{roomId}/{eventId}, with the IDs of the event.",
			Link:     linkInvite, Level: Must, run: onSent(checkSentEndpoint),
		},
		{
			Name:     "send/destination",
			Sentence: "Recipients should accept requests without destination, but the sender MUST always send it.",
			Link:     linkRequestAuth, Level: Must, run: onSent(checkSentDestination),
		},
		{
			Name: "send/header-form",
			Sentence: "For compatibility with older servers, the sender should only include one space after X-Matrix, only use lower-case names, " +
				"and avoid backslashes and white space around commas.",
			Link: linkRequestAuth, Level: Should, run: onSent(checkSentHeader),
		},
		{
			Name:     "send/content-type",
			Sentence: "Requesting servers should supply a Content-Type header of application/json.",
			Link:     linkStandards, Level: Should, run: onSent(checkSentContentType),
		},
		{
			Name:     "send/room-version",
			Sentence: "room_version is the version of the room.",
			Link:     linkInvite, Level: Must, run: onSent(checkSentRoomVersion),
		},
	}
}

// sentEventChecks are about the event.
func sentEventChecks() []Check {
	return []Check{
		{
			Name:     "send/event-format",
			Sentence: "The event complies with the event format of the room version.",
			Link:     linkReceipt, Level: Must, run: onSent(checkSentFormat),
		},
		{
			Name:     "send/content-hash",
			Sentence: "Before signing the event, the content hash is calculated and stored in hashes.",
			Link:     linkSigning, Level: Must, run: onSent(checkSentHash),
		},
		{
			Name:     "send/signature",
			Sentence: "The event is signed by the server's signing key in its redacted form.",
			Link:     linkSigning, Level: Must, run: onSent(checkSentSignature),
		},
		{
			Name:     "send/auth-events",
			Sentence: "The auth_events are the create event before room version 12, power levels, join rules and the sender's membership, as far as they are known.",
			Link:     linkAuthEvents, Level: Should, run: onSent(checkSentAuthEvents),
		},
		{
			Name:     "send/v12-create-not-in-auth-events",
			Sentence: "In room version 12 the m.room.create event MUST NOT be selected for auth_events.",
			Link:     linkV12Auth, Level: Must, run: onSentIn(fedinvite.RoomV12, checkSentNoCreate),
		},
	}
}

// sentStateChecks are about invite_room_state.
func sentStateChecks() []Check {
	return []Check{
		{
			Name:     "send/state-create",
			Sentence: "invite_room_state MUST contain the m.room.create event for the room.",
			Link:     linkInvite, Level: Must, run: onSent(checkSentCreate),
		},
		{
			Name:     "send/v12-state-create",
			Sentence: "In room version 12 the m.room.create event of invite_room_state is the one that the room ID is made of.",
			Link:     linkInvite, Level: Must, run: onSentIn(fedinvite.RoomV12, checkSentCreateV12),
		},
		{
			Name:     "send/state-format",
			Sentence: "All events of invite_room_state MUST be formatted according to the room version specification.",
			Link:     linkInvite, Level: Must, run: onSent(checkSentStateFormat),
		},
		{
			Name:     "send/state-signatures",
			Sentence: "The events of invite_room_state pass the signature checks and are of the room.",
			Link:     linkInvite, Level: Must, run: onSent(checkSentStateSignatures),
		},
	}
}

// sendAnswerChecks are about what a server makes of answers.
func sendAnswerChecks() []Check {
	return []Check{
		{
			Name:     "send/fallback",
			Sentence: "Senders which receive a 404 response should retry using the v1 API if the room version is 1 or 2.",
			Link:     linkInvite, Level: Should, run: checkFallback,
		},
		{
			Name:     "send/no-fallback",
			Sentence: "The v1 API is for room versions 1 and 2 only: no other invite is sent by it.",
			Link:     linkInviteV1, Level: Must, run: checkNoFallback,
		},
		{
			Name:     "send/refused",
			Sentence: "An invite that is answered by 403 M_FORBIDDEN has failed, and the user is told.",
			Link:     linkInvite, Level: Must, run: checkRefused,
		},
		{
			Name:     "send/answer-unsigned",
			Sentence: "An answer whose event differs in unsigned only is the signed event: unsigned is not covered by signatures.",
			Link:     linkInvite, Level: Practice, run: checkAnswerUnsigned,
		},
		{
			Name:     "send/answer-unknown-members",
			Sentence: "Members of the answer that the specification does not know are ignored.",
			Link:     linkInvite, Level: Practice, run: checkAnswerUnknownMembers,
		},
	}
}

// sendsVersion demands that an invite arrives and is accepted.
func (p *probe) sendsVersion(v fedinvite.RoomVersion) {
	s, ok := p.sends(v)
	if !ok {
		return
	}
	accepted := slices.ContainsFunc(s.requests, func(r Seen) bool { return r.Status == http.StatusOK })
	switch {
	case len(s.requests) == 0:
		p.noneCame(s)
	case !accepted:
		p.departs("the invite did not pass: %s", s.requests[len(s.requests)-1].Answer)
	case s.err != nil:
		p.departs("the invite was accepted%s", says(s.err))
	}
}

// onSent checks the invite to a room of the usual version.
func onSent(check func(*probe, sent)) func(*probe) {
	return func(p *probe) {
		if t, ok := p.sent(p.version()); ok {
			check(p, t)
		}
	}
}

// onSentIn checks the invite to a room of that version.
func onSentIn(v fedinvite.RoomVersion, check func(*probe, sent)) func(*probe) {
	return func(p *probe) {
		if t, ok := p.sent(v); ok {
			check(p, t)
		}
	}
}

func checkSentEndpoint(p *probe, t sent) {
	want := Request{RoomID: t.event.RoomID(), EventID: t.event.ID()}
	path, _, _ := strings.Cut(t.Target, "?")
	if t.Method != http.MethodPut || unescaped(path) != unescaped(want.Path()) || strings.Count(path, "/") != strings.Count(want.Path(), "/") {
		p.departs("it is %s %s where %s is to be expected", t.Method, path, want.Path())
	}
}

// unescaped is a path in which nothing is percent-encoded.
func unescaped(path string) string {
	u, err := url.PathUnescape(path)
	if err != nil {
		return path
	}
	return u
}

func checkSentDestination(p *probe, t sent) {
	auth, err := xmatrix.Parse(t.auth)
	switch {
	case err != nil:
		p.departs("its Authorization header: %v", err)
	case auth.Destination != p.target.Peer.Name():
		p.departs("destination is %q", auth.Destination)
	}
}

// plainHeader is the form that older servers understand.
var plainHeader = regexp.MustCompile(`^X-Matrix [a-z]+=("[^"\\]*"|[^"\\,\s]+)(,[a-z]+=("[^"\\]*"|[^"\\,\s]+))*$`)

func checkSentHeader(p *probe, t sent) {
	if !plainHeader.MatchString(t.auth) {
		p.departs("it is %q", t.auth)
	}
}

func checkSentContentType(p *probe, t sent) {
	header := t.Header.Get("Content-Type")
	if kind, _, err := mime.ParseMediaType(header); err != nil || kind != "application/json" {
		p.departs("it is %q", header)
	}
}

func checkSentRoomVersion(p *probe, t sent) {
	switch {
	case t.v1:
		p.skip("the invite came by the v1 endpoint")
	case t.request.RoomVersion != t.rules.Version:
		p.departs("it is %q", t.request.RoomVersion)
	}
}

func checkSentFormat(p *probe, t sent) {
	if _, err := fedinvite.ParseEvent(t.request.Event, t.rules); err != nil {
		p.departs("%v", err)
	}
}

func checkSentHash(p *probe, t sent) {
	if !t.event.HashOK() {
		p.departs("hashes.sha256 is not the content hash")
	}
}

func checkSentSignature(p *probe, t sent) {
	p.verifies(t.event, "the event")
}

// verifies demands that an event of the target's is signed by all who have to.
func (p *probe) verifies(e *fedinvite.Event, name string) {
	keys, err := p.keys()
	if err == nil {
		err = e.Verify(p.ctx, keys, p.target.Name)
	}
	switch {
	case err == nil:
	case unavailable(err):
		p.unknown("its keys cannot be had: %v", err)
	default:
		p.departs("%s: %v", name, err)
	}
}

func checkSentAuthEvents(p *probe, t sent) {
	ids := t.event.AuthEventIDs()
	wanted := map[string]bool{"m.room.power_levels": true, "m.room.join_rules": true, "m.room.create": t.rules.Auth.CreateInAuthEvents}
	known := 0
	for _, e := range t.statePDUs() {
		key, _ := e.StateKey()
		own := e.Type() == "m.room.member" && key == t.event.Sender()
		if !own && !(wanted[e.Type()] && key == "") {
			continue
		}
		known++
		if !slices.Contains(ids, e.ID()) {
			p.departs("the %s event is not among them", e.Type())
		}
	}
	// In a new room there are just those four.
	most := 3
	if t.rules.Auth.CreateInAuthEvents {
		most = 4
	}
	switch unique := len(slices.Compact(slices.Sorted(slices.Values(ids)))); {
	case unique != len(ids):
		p.departs("an event is listed twice")
	case len(ids) > most:
		p.departs("there are %d where a new room has %d", len(ids), most)
	case len(ids) == 0:
		p.departs("there are none")
	}
}

// statePDUs are the entries of the room state that are full events.
func (t sent) statePDUs() []*fedinvite.Event {
	var all []*fedinvite.Event
	for _, raw := range t.request.RoomState {
		if e, err := fedinvite.ParseEvent(raw, t.rules); err == nil {
			all = append(all, e)
		}
	}
	return all
}

func checkSentNoCreate(p *probe, t sent) {
	if slices.Contains(t.event.AuthEventIDs(), "$"+strings.TrimPrefix(t.event.RoomID(), "!")) {
		p.departs("it is among them")
	}
}

func checkSentCreate(p *probe, t sent) {
	for _, raw := range t.request.RoomState {
		if entryType(raw) == "m.room.create" {
			return
		}
	}
	p.departs("of %d entries none is an m.room.create event", len(t.request.RoomState))
}

// entryType is the type of an entry of invite_room_state.
func entryType(raw json.RawMessage) string {
	o, err := members(raw)
	if err != nil {
		return ""
	}
	name, _ := stringOf(o["type"])
	return name
}

func checkSentCreateV12(p *probe, t sent) {
	for _, e := range t.statePDUs() {
		if e.Type() == "m.room.create" {
			if e.RoomID() != t.event.RoomID() {
				p.departs("it is the create event of another room")
			}
			return
		}
	}
	p.departs("there is no m.room.create event in its full form")
}

func checkSentStateFormat(p *probe, t sent) {
	var wrong []string
	for _, raw := range t.request.RoomState {
		if _, err := fedinvite.ParseEvent(raw, t.rules); err != nil {
			wrong = append(wrong, printable(entryType(raw), 64))
		}
	}
	switch {
	case len(t.request.RoomState) == 0:
		p.departs("there is no invite_room_state")
	case len(wrong) > 0:
		p.departs("%d of %d entries are stripped or otherwise no event: %s", len(wrong), len(t.request.RoomState), strings.Join(wrong, ", "))
	}
}

func checkSentStateSignatures(p *probe, t sent) {
	events := t.statePDUs()
	if len(events) == 0 {
		p.skip("there are no full events in invite_room_state")
		return
	}
	for _, e := range events {
		if e.RoomID() != t.event.RoomID() {
			p.departs("the %s event is of another room", printable(e.Type(), 64))
		}
		p.verifies(e, "the "+e.Type()+" event")
	}
}

func checkFallback(p *probe) {
	v, ok := p.early()
	if !ok || !p.canSend(v) {
		return
	}
	p.target.Peer.Break(OnlyV1)
	defer p.target.Peer.Mend()
	s := p.sendsNow(v)
	p.show(s)
	if !slices.ContainsFunc(s.requests, func(r Seen) bool {
		return strings.HasPrefix(r.Target, inviteV1Path) && r.Status == http.StatusOK
	}) {
		p.departs("no invite came by the v1 API that was accepted%s", says(s.err))
	} else if s.err != nil {
		p.departs("the invite was accepted by the v1 API%s", says(s.err))
	}
}

func checkNoFallback(p *probe) {
	v := p.version()
	if rules, err := v.Rules(); err != nil || rules.EventIDs == fedinvite.EventIDServer {
		p.skip("no room version from 3 on is tried")
		return
	}
	if !p.canSend(v) {
		return
	}
	p.target.Peer.Break(OnlyV1)
	defer p.target.Peer.Mend()
	s := p.sendsNow(v)
	p.show(s)
	switch {
	case len(s.requests) == 0:
		p.noneCame(s)
	case slices.ContainsFunc(s.requests, func(r Seen) bool { return strings.HasPrefix(r.Target, inviteV1Path) }):
		p.departs("an invite came by the v1 API%s", says(s.err))
	case s.err == nil:
		p.departs("it says that an invite was sent to a server that does not know the v2 API")
	}
}

func checkRefused(p *probe) {
	refusal := fedinvite.Refuse(fedinvite.CodeForbidden, "Not today.")
	s, ok := p.sendsTo(p.version(), func([]byte) (int, []byte) { return http.StatusForbidden, Encode(refusal) })
	switch {
	case !ok:
	case len(s.requests) == 0:
		p.noneCame(s)
	case s.err == nil:
		p.departs("it says that the invite was sent")
	}
}

func checkAnswerUnsigned(p *probe) {
	p.answersBy(func(event Object) Object {
		event["unsigned"] = Object{"invitetest": true}
		return Object{"event": event}
	})
}

func checkAnswerUnknownMembers(p *probe) {
	p.answersBy(func(event Object) Object { return Object{"event": event, "org.example.unknown": 1} })
}

// answersBy has the peer sign an invite, and answer by what body makes of it. The target is
// to take it for signed.
func (p *probe) answersBy(body func(event Object) Object) {
	v := p.version()
	rules, err := v.Rules()
	if err != nil {
		p.unknown("%v", err)
		return
	}
	s, ok := p.sendsTo(v, func(event []byte) (int, []byte) {
		sent, err := fedinvite.ParseStored(event, rules)
		if err == nil {
			sent, err = sent.WithSignature(context.WithoutCancel(p.ctx), p.target.Peer.Signer())
		}
		if err != nil {
			return http.StatusInternalServerError, nil
		}
		return http.StatusOK, Encode(body(Decode(sent.AppendJSON(nil))))
	})
	switch {
	case !ok:
	case len(s.requests) == 0:
		p.noneCame(s)
	case s.err != nil:
		p.departs("it does not take the answer%s", says(s.err))
	}
}
