package invitetest

import (
	"encoding/json"
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A stateRule is one of the rules for invite_room_state, which servers MAY apply to room
// versions 1 to 11 and SHOULD apply to others.
type stateRule struct {
	name, breaks string
	state        func(p *probe, r *Room) []json.RawMessage // that breaks the rule
}

func stateRules() []stateRule {
	return []stateRule{
		{"create-missing", "the m.room.create event is missing", func(_ *probe, r *Room) []json.RawMessage {
			return r.stateBut("m.room.create", nil)
		}},
		{"stripped", "entries are not formatted according to the room's version", func(_ *probe, r *Room) []json.RawMessage {
			return r.stateBut("m.room.name", stripped(r.Get("m.room.name", "")))
		}},
		{"signature", "an event fails a signature check", func(_ *probe, r *Room) []json.RawMessage {
			other := r.Get("m.room.join_rules", "").Signatures()
			return r.stateBut("m.room.name", Change(Encode(r.Get("m.room.name", "")), Set(other, "signatures")))
		}},
		{"other-room", "an event does not reside in the same room as the invite", func(p *probe, r *Room) []json.RawMessage {
			return r.stateBut("m.room.name", Encode(p.newRoom(r.rules.Version).Name("Elsewhere")))
		}},
	}
}

// stateBut returns the room's state with another entry of a type, or none.
func (r *Room) stateBut(eventType string, other json.RawMessage) []json.RawMessage {
	var all []json.RawMessage
	for _, raw := range r.RoomState() {
		switch {
		case Decode(raw)["type"] != eventType:
			all = append(all, raw)
		case other != nil:
			all = append(all, other)
		}
	}
	return all
}

// stripped is a stripped state event.
func stripped(e *fedinvite.Event) json.RawMessage {
	key, _ := e.StateKey()
	return Encode(Object{"type": e.Type(), "state_key": key, "sender": e.Sender(), "content": e.Content()})
}

// stateChecks are about invite_room_state.
func stateChecks() []Check {
	var all []Check
	for _, rule := range stateRules() {
		all = append(all, Check{
			Name:     "state/v12-" + rule.name,
			Sentence: fmt.Sprintf("In room version 12, an invite in whose invite_room_state %s is refused with M_INVALID_PARAM.", rule.breaks),
			Link:     linkInvite, Level: Should, harmless: true, run: rule.refused,
		})
	}
	return append(all,
		Check{
			Name:     "state/stripped",
			Sentence: "While servers are migrating, an invite whose room state is stripped is accepted in room versions 1 to 11.",
			Link:     linkInviting, Level: Practice, run: checkStateStripped,
		},
		Check{
			Name:     "state/absent",
			Sentence: "While servers are migrating, an invite without invite_room_state is accepted in room versions 1 to 11.",
			Link:     linkInviting, Level: Practice, run: checkStateAbsent,
		},
		Check{
			Name:     "state/not-a-list",
			Sentence: "An invite_room_state that is no list of objects is refused or disregarded; it is no error of the server (5xx).",
			Link:     linkInvite, Level: Practice, harmless: true, run: checkStateNotAList,
		},
	)
}

// refused sends an invite with a room state that breaks the rule.
func (rule stateRule) refused(p *probe) {
	if !p.needs(fedinvite.RoomV12) {
		return
	}
	r := p.newRoom(fedinvite.RoomV12)
	r.Name("Tea")
	q := r.RequestWithState(r.Invite(p.invitee()), p.target.Name, Encode(rule.state(p, r)))
	p.refuses(p.send(q), invalid)
}

// beforeV12 is a room version in which room state MAY be checked.
func (p *probe) beforeV12() (fedinvite.RoomVersion, bool) {
	v := p.version()
	rules, err := v.Rules()
	if err != nil || rules.RoomIDIsCreateEvent {
		p.skip("no room version before 12 is tried")
		return "", false
	}
	return v, true
}

func checkStateStripped(p *probe) {
	if v, ok := p.beforeV12(); ok {
		r := p.newRoom(v)
		var state []json.RawMessage
		for _, e := range r.State() {
			state = append(state, stripped(e))
		}
		q := r.RequestWithState(r.Invite(p.invitee()), p.target.Name, Encode(state))
		p.accepts(q, p.send(q))
	}
}

func checkStateAbsent(p *probe) {
	if v, ok := p.beforeV12(); ok {
		r := p.newRoom(v)
		q := r.RequestWithState(r.Invite(p.invitee()), p.target.Name, nil)
		p.accepts(q, p.send(q))
	}
}

func checkStateNotAList(p *probe) {
	for _, state := range []string{`null`, `{}`, `"x"`, `[1]`, `[{}]`, `[null]`} {
		r := p.newRoom(p.version())
		a := p.send(r.RequestWithState(r.Invite(p.invitee()), p.target.Name, json.RawMessage(state)))
		if !p.answered(a) {
			return
		}
		if a.status/100 != 2 && a.status/100 != 4 {
			p.departs("%s to %s", a, state)
		}
	}
}
