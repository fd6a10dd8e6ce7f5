package main

func invitesV1() file {
	b := newInbox("v1", "invites by the v1 endpoint", specInviteV1)
	w := plainWorld()
	for _, n := range []int{1, 2} {
		r := newRoom(versionOf(n))
		l := r.send(r.invite(), byV1)
		yes := l.accepted(must, r.shown()...)
		yes.Stored.RoomVersion = "" // the request does not say it
		b.add("39 room version "+r.name+", with room state in unsigned", "Servers which receive a v1 invite request must assume that the room version is either 1 or 2.", w, l, yes)
		bare := r.send(r.invite(), body(drop("invite_room_state")), byV1)
		none := bare.accepted(must)
		none.Stored.RoomVersion = ""
		b.add("39 room version "+r.name+", without room state", saysReply, w, bare, none, refusal(may, 400, "M_INVALID_PARAM"), refusal(may, 400, "M_MISSING_PARAM"))
	}
	v1, v10 := briefRoom(versionOf(1)), briefRoom(versionOf(10))
	hostile := v1.send(with(v1.invite(), set(object{"prev_content": object{"membership": "join"}, "age": 1}, "unsigned")), byV1)
	yes := hostile.accepted(must, v1.shown()...)
	yes.Stored.RoomVersion = ""
	b.add("41 unsigned with claims about the past", "Information included alongside the event that is not signed.", w, hostile, yes)

	later := []outcome{refusal(practice, 400, "M_INVALID_PARAM"), refusal(practice, 400, "M_INCOMPATIBLE_ROOM_VERSION"), refusal(must, 0, "")}
	b.add("40 event of room version 10", "Servers which receive a v1 invite request must assume that the room version is either 1 or 2.", w, v10.send(v10.invite(), byV1), later...)
	v12 := newRoom(versionOf(12))
	b.add("40 event of room version 12", "Servers which receive a v1 invite request must assume that the room version is either 1 or 2.", w, v12.send(v12.invite(), byV1), later...)
	b.add("40 event of room version 10 with an event_id", saysSignature, w, v10.send(with(v10.invite(), set("$x:a.example", "event_id")), byV1),
		refusal(practice, 400, "M_BAD_JSON"), refusal(practice, 400, "M_INVALID_PARAM"), refusal(must, 0, ""))

	refuse := func(name, sentence string, l letter, expect ...outcome) {
		if expect == nil {
			expect = invalidParam()
		}
		b.add(name, sentence, w, l, expect...)
	}
	draft := func(edits ...edit) letter { return v1.send(v1.invite(edits...), byV1) }
	refuse("04 type m.room.name", saysType, draft(set("m.room.name", "type")))
	refuse("05 membership join", saysMember, draft(set("join", "content", "membership")))
	refuse("06 sender of another server", saysSender, v1.send(v1.sign(v1.draft(set("@carol:c.example", "sender")), keyA, keyC), byV1))
	refuse("07 state_key of another server", saysStateKey, draft(set("@bob:c.example", "state_key")))
	refuse("08 no signatures", saysSignature, v1.send(with(v1.invite(), drop("signatures")), byV1))
	refuse("08 signature of another event", saysSignature, v1.send(with(v1.invite(), set(get(v1.invite(set(7, "depth")), "signatures", keyA.server)[keyA.id], "signatures", keyA.server, keyA.id)), byV1))
	refuse("12 event_id on another server, which has not signed", "Room versions 1 and 2 also require that a signature is present from the domain in the event_id", draft(set("$x:c.example", "event_id")))
	refuse("14 room ID of the path is another room's", "", v1.send(v1.invite(), byV1, path("!other:a.example", v1.eventID(v1.invite()))), refusal(practice, 400, "M_INVALID_PARAM"), refusal(practice, 0, ""))
	refuse("15 event ID of the path is not event_id", "", v1.send(v1.invite(), byV1, path(v1.id, "$x:a.example")), refusal(practice, 400, "M_INVALID_PARAM"), refusal(practice, 0, ""))
	refuse("26 the body is that of v2", saysFormat, v1.send(v1.invite(), func(l *letter) { l.endpoint = "v1" }), append([]outcome{refusal(practice, 400, "M_INVALID_PARAM")}, refusedWith(must, 400, "M_BAD_JSON")...)...)
	refuse("27 the body is a list", "", v1.send(v1.invite(), byV1, raw("[]", "[]")), refusal(practice, 400, "M_BAD_JSON"), refusal(practice, 401, "M_UNAUTHORIZED"), refusal(must, 0, ""))
	return b.file
}
