package main

import (
	"slices"
	"strings"
)

const saysState = "servers MAY apply to room versions 1 through 11 and SHOULD apply to all other room versions"

func invitesRoomState() file {
	b := newInbox("room-state", "what invite_room_state holds", specInvite)
	w := plainWorld()
	strict := plainWorld()
	strict.name, strict.RoomState = "strict", "strict"
	v11, v12 := newRoom(versionOf(11)), newRoom(versionOf(12))

	// lax says: accepted in practice, and refused if the server checks all.
	lax := func(name string, r room, entries any, shown ...object) {
		l := r.send(r.invite(), state(entries))
		if entries == nil {
			l = r.send(r.invite(), body(drop("invite_room_state")))
		}
		level := may
		if r.hashedRoomID {
			level = should
		}
		refused := []outcome{refusal(level, 400, "M_INVALID_PARAM"), refusal(level, 400, "M_MISSING_PARAM"), refusal(level, 0, "")}
		either := append(slices.Clone(refused), l.accepted(practice, shown...))
		if level == may {
			either = append([]outcome{l.accepted(practice, shown...)}, refused...)
		}
		b.add(name, saysState, w, l, either...)
		b.add(name+", strict", saysState, strict, l, refused...)
	}
	// bad says: refused, because nothing proves the room ID.
	bad := func(name string, entries any) {
		l := v12.send(v12.invite(), state(entries))
		if entries == nil {
			l = v12.send(v12.invite(), body(drop("invite_room_state")))
		}
		b.add(name, saysState, w, l, refusal(should, 400, "M_INVALID_PARAM"), refusal(should, 400, "M_MISSING_PARAM"), refusal(should, 0, ""))
	}
	lax("30 absent, room version 11", v11, nil)
	bad("30 absent, room version 12", nil)
	lax("31 [], room version 11", v11, list{})
	bad("31 [], room version 12", list{})
	lax("31 [1], room version 11", v11, list{1})
	bad("31 [1], room version 12", list{1})
	lax("31 [{}], room version 11", v11, list{object{}})
	bad("31 [{}], room version 12", list{object{}})
	wrongType := func(name string, r room, value any) {
		l := r.send(r.invite(), state(value))
		if value == nil {
			l = r.send(r.invite(), body(func(o object) { o["invite_room_state"] = nil }))
		}
		bad, invalid := refusal(practice, 400, "M_BAD_JSON"), refusal(practice, 400, "M_INVALID_PARAM")
		refused, accepted := []outcome{bad, invalid, refusal(practice, 0, "")}, []outcome{l.accepted(practice)}
		if r.hashedRoomID {
			accepted = nil
		}
		expect := slices.Concat(refused, accepted)
		if text := canonical(value); text == "null" || text == "{}" { // as some servers write that there is none
			expect = slices.Concat(accepted, []outcome{invalid, bad}, refused[2:])
		}
		b.add(name, "", w, l, expect...).noted("what is no array is not shown to clients")
	}
	for _, r := range []room{v11, v12} {
		wrongType("31 null, room version "+r.name, r, nil)
		wrongType("31 {}, room version "+r.name, r, object{})
		wrongType("31 a string, room version "+r.name, r, "x")
		wrongType("31 an object, room version "+r.name, r, object{"a": 1})
	}
	good := func(name string, w world, r room, entries list, shown ...object) {
		l := r.send(r.invite(), state(entries))
		b.add(name, "Translated as stripped state events over the Client-Server API.", w, l, l.accepted(must, shown...)).Spec = specStripped
	}
	good("32 create event as a PDU whose hash is the room ID, room version 12", w, v12, list{v12.create}, v12.create)
	good("32 create event as a PDU whose hash is the room ID, room version 12, strict", strict, v12, list{v12.create}, v12.create)
	good("37 PDUs, of which clients see four members", strict, v11, v11.state(), v11.shown()...)
	good("37 PDUs, of which clients see four members, room version 12", strict, v12, v12.state(), v12.shown()...)

	bad("33 create event stripped, room version 12", list{stripped(v12.create)})
	other := with(v12.create, set("other", "content", "org.example.x"))
	bad("33 create event of another room, room version 12", list{v12.sign(other, keyA)})
	bad("33 create event with a wrong signature, room version 12", list{with(v12.create, set(strings.Repeat("A", 86), "signatures", keyA.server, keyA.id))})
	bad("33 create event without signatures, room version 12", list{with(v12.create, drop("signatures"))})
	bad("33 create event with a room_id, room version 12", list{with(v12.create, set(v12.id, "room_id"))})
	bad("33 create event of room version 11, room version 12", list{v11.create})

	lax("34 create event whole, name stripped, room version 12", v12, list{v12.create, stripped(v12.info)}, v12.create, v12.info)
	lax("34 all stripped, room version 11", v11, list{stripped(v11.create), stripped(v11.info)}, v11.create, v11.info)
	foreign := newRoom(versionOf(11))
	foreign.id = "!other:a.example"
	coffee := foreign.add("m.room.name", "", object{"name": "Coffee"}, 5, foreign.create)
	lax("35 name of another room, room version 11", v11, list{v11.create, coffee}, v11.create)
	b.orShown("35 name of another room, room version 11", coffee)
	lax("35 name with a wrong signature, strict only, room version 11", v11, list{v11.create, with(v11.info, set(strings.Repeat("A", 86), "signatures", keyA.server, keyA.id))}, v11.create, v11.info)
	var many list
	for range 50 {
		many = append(many, v11.create)
	}
	good("36 one event fifty times", w, v11, many, v11.create)
	var ones list
	for range 10_000 {
		ones = append(ones, 1)
	}
	flood := v11.send(v11.invite(), state(ones))
	b.add("36 ten thousand entries", "", w, flood, refusal(practice, 400, "M_INVALID_PARAM"), refusal(practice, 0, ""), flood.accepted(practice))
	return b.file
}

// orShown adds to the case that clients may be shown an entry more.
func (b *inbox) orShown(name string, entry object) {
	for _, c := range b.named(name) {
		if c.Name != name {
			continue // that of the strict server
		}
		more, shown := c.Expect[0], *c.Expect[0].Stored
		shown.RoomState = append(slices.Clone(shown.RoomState), canonical(stripped(entry)))
		more.Stored = &shown
		c.Expect = slices.Insert(c.Expect, 1, more)
	}
}
