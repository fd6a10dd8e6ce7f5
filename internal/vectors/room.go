package main

import "strings"

const (
	alice = "@alice:a.example"
	bob   = "@bob:b.example"
)

// eventTime is the origin_server_ts of the invites, in milliseconds, and now the time at
// which they arrive.
const (
	eventTime = 1_700_000_006_000
	now       = 1_700_000_060_000
)

// A room is one that alice made, with the events that her invites refer to.
type room struct {
	roomVersion
	id                               string
	create, join, power, rules, info object // info is the room's name
	brief                            bool   // its invite_room_state is the create event alone
}

func newRoom(v roomVersion) room {
	r := room{roomVersion: v, id: "!room:a.example"}
	content := object{"room_version": v.name}
	if v.number <= 10 {
		content["creator"] = alice
	}
	create := r.event("m.room.create", "", content, 1)
	if v.hashedRoomID {
		delete(create, "room_id")
	}
	r.create = v.sign(create, keyA)
	if v.hashedRoomID {
		r.id = "!" + strings.TrimPrefix(v.eventID(r.create), "$")
	}
	levels := object{"users": object{alice: 100}, "invite": 0}
	if v.hashedRoomID {
		levels["users"] = object{} // creators are not listed
	}
	r.join = r.add("m.room.member", alice, object{"membership": "join"}, 2, r.create)
	r.power = r.add("m.room.power_levels", "", levels, 3, r.create, r.join)
	r.rules = r.add("m.room.join_rules", "", object{"join_rule": "invite"}, 4, r.create, r.power, r.join)
	r.info = r.add("m.room.name", "", object{"name": "Tea"}, 5, r.create, r.power, r.join)
	return r
}

// briefRoom is newRoom with less to send.
func briefRoom(v roomVersion) room {
	r := newRoom(v)
	r.brief = true
	return r
}

// event returns a state event of alice that nobody has signed.
func (r room) event(eventType, stateKey string, content object, depth int) object {
	e := object{
		"type": eventType, "state_key": stateKey, "sender": alice, "room_id": r.id, "content": content,
		"depth": depth, "origin_server_ts": eventTime + 1000*(depth-6), "auth_events": list{}, "prev_events": list{},
	}
	if r.namedEvents {
		e["event_id"] = "$" + strings.TrimPrefix(eventType, "m.room.") + decimal(depth) + ":a.example"
	}
	return e
}

// add makes a signed event that others lead up to.
func (r room) add(eventType, stateKey string, content object, depth int, auth ...object) object {
	e := r.event(eventType, stateKey, content, depth)
	e["auth_events"] = r.refs(auth...)
	e["prev_events"] = list{r.reference(map[int]object{2: r.create, 3: r.join, 4: r.power, 5: r.rules, 6: r.info}[depth])}
	return r.sign(e, keyA)
}

// refs returns references to events, but for the create event where it must not be among them.
func (r room) refs(events ...object) list {
	all := list{}
	for _, e := range events {
		if e["type"] != "m.room.create" || !r.hashedRoomID {
			all = append(all, r.reference(e))
		}
	}
	return all
}

// draft returns alice's invite for bob, which nobody has hashed or signed.
func (r room) draft(edits ...edit) object {
	e := r.event("m.room.member", bob, object{"membership": "invite"}, 6)
	e["auth_events"] = r.refs(r.create, r.power, r.rules, r.join)
	e["prev_events"] = list{r.reference(r.info)}
	return with(e, edits...)
}

// invite returns the invite, signed by alice's server.
func (r room) invite(edits ...edit) object { return r.sign(r.draft(edits...), keyA) }

// shown is the room's state that goes with invites.
func (r room) shown() []object {
	if r.brief {
		return []object{r.create}
	}
	return []object{r.create, r.rules, r.info}
}

// state returns the invite_room_state: all events whole.
func (r room) state() list {
	all := list{}
	for _, e := range r.shown() {
		all = append(all, e)
	}
	return all
}
