package main

import "strings"

// unwise is what becomes of an event that the specification does not forbid to sign.
func unwise(level string) []outcome {
	return []outcome{refusal(level, 400, "M_INVALID_PARAM"), refusal(practice, 0, "")}
}

func invitesRefused() file {
	b := newInbox("refused", "events that must not be signed, or had better not be", specInvite)
	w := plainWorld()
	r := briefRoom(versionOf(11))
	v1, v3, v10, v12 := briefRoom(versionOf(1)), briefRoom(versionOf(3)), briefRoom(versionOf(10)), briefRoom(versionOf(12))
	refuse := func(name, sentence string, l letter, expect ...outcome) *invitation {
		if expect == nil {
			expect = invalidParam()
		}
		return b.add(name, sentence, w, l, expect...)
	}
	draft := func(edits ...edit) letter { return r.send(r.invite(edits...)) }
	by := func(r room, keys ...key) letter { return r.send(r.sign(r.draft(), keys...)) }
	changed := func(edits ...edit) letter { return r.send(with(r.invite(), edits...)) }
	badJSON := refusedWith(must, 400, "M_BAD_JSON")

	for _, t := range []string{"m.room.name", "m.room.power_levels", "m.room.third_party_invite", "m.room.message", "M.ROOM.MEMBER", "m.room.member ", ""} {
		refuse("04 type "+canonical(t), saysType, draft(set(t, "type")))
	}
	refuse("04 the room's create event, room version 12", saysType, v12.send(v12.create, path(v12.id, v12.eventID(v12.create)))).noted("it has no room_id and no user ID for a state_key either")
	for _, m := range []string{"join", "leave", "ban", "knock", "INVITE", "invite ", ""} {
		refuse("05 membership "+canonical(m), saysMember, draft(set(m, "content", "membership")))
	}
	refuse("05 membership is a number", saysMember, draft(set(7, "content", "membership")))
	refuse("05 membership is null", saysMember, draft(set(nil, "content", "membership")))
	refuse("05 membership is a list", saysMember, draft(set(list{"invite"}, "content", "membership")))
	refuse("05 no membership", saysMember, draft(drop("content", "membership")))
	refuse("05 membership only at the top", saysMember, v10.send(v10.invite(drop("content", "membership"), set("invite", "membership"))))

	carol := set("@carol:c.example", "sender")
	refuse("06 sender of another server, which has signed", saysSender, r.send(r.sign(r.draft(carol), keyC)))
	refuse("06 sender of another server, both have signed", saysSender, r.send(r.sign(r.draft(carol), keyA, keyC)))
	refuse("06 sender of another server, the origin has signed", saysSender, r.send(r.sign(r.draft(carol), keyA)))
	refuse("06 sender of the origin with a port", saysSender, draft(set("@alice:a.example:8448", "sender")))
	refuse("06 sender of the origin in other case", saysSender, draft(set("@alice:A.EXAMPLE", "sender")))
	refuse("06 sender of a server below the origin", saysSender, draft(set("@alice:x.a.example", "sender")))
	refuse("06 sender is the invitee", saysSender, r.send(r.sign(r.draft(set(bob, "sender")), keyA)))
	guest := r.send(r.sign(r.draft(thirdParty, carol), keyA))
	refuse("06 third-party invite with a sender of another server", saysSender, guest, append(unwise(should), guest.accepted(practice, r.shown()...))...).
		noted("the sentence has no exception for third-party invites; of these the signature check says that the server which actually sends the event may be a different server")
	refuse("06 sender of the invited server, which has signed", saysSender, r.send(r.sign(r.draft(set("@x:b.example", "sender")), keyB)))
	self := r.send(r.sign(r.draft(set("@x:b.example", "sender")), keyB), from(keyB))
	refuse("19 the origin is the invited server", "", self, append(unwise(practice), self.accepted(practice, r.shown()...))...)

	for _, key := range []string{"@bob:c.example", "@bob:b2.example", "@bob:B.EXAMPLE", "@bob:b.example:8448", "@bob:x.b.example", "", "bob:b.example", "@bob", "@bob:", "@alice:a.example"} {
		refuse("07 state_key "+canonical(key), saysStateKey, draft(set(key, "state_key")))
	}
	refuse("07 no state_key", saysStateKey, draft(drop("state_key")))
	refuse("07 state_key is null", saysFormat, draft(set(nil, "state_key")), badJSON...)

	signature := func(value any) letter { return changed(set(value, "signatures", keyA.server, keyA.id)) }
	other := get(r.invite(set(7, "depth")), "signatures", keyA.server)[keyA.id]
	of, _ := other.(string)
	refuse("08 no signatures", saysSignature, changed(drop("signatures")))
	refuse("08 signatures empty", saysSignature, changed(set(object{}, "signatures")))
	refuse("08 the origin's signatures empty", saysSignature, changed(set(object{}, "signatures", keyA.server)))
	refuse("08 the origin's signatures are a string", saysSignature, changed(set("x", "signatures", keyA.server)))
	refuse("08 signatures are a list", saysSignature, changed(set(list{}, "signatures")), append([]outcome{refusal(practice, 400, "M_BAD_JSON")}, invalidParam()...)...)
	refuse("08 signed by another server only", saysSignature, by(r, keyC))
	refuse("08 signed by the invited server only", saysSignature, by(r, keyB))
	refuse("08 unknown key only", saysSignature, by(r, keyANone))
	refuse("08 unknown algorithm only", saysSignature, changed(set(object{"rsa:1": of}, "signatures", keyA.server)))
	refuse("08 signature of another event", saysSignature, signature(of))
	refuse("08 signature cut short", saysSignature, signature(of[:80]))
	refuse("08 signature with a byte too many", saysSignature, signature(of+"AA"))
	refuse("08 signature empty", saysSignature, signature(""))
	refuse("08 signature is a number", saysSignature, signature(7))
	refuse("08 signature is no base64", saysSignature, signature(strings.Repeat("!", 86)))
	refuse("08 signature zero", saysSignature, signature(strings.Repeat("A", 86)))
	refuse("08 server name in other case", saysSignature, changed(drop("signatures", keyA.server), set(object{keyA.id: get(r.invite(), "signatures", keyA.server)[keyA.id]}, "signatures", "A.EXAMPLE")))
	waived := func(name string, event object) {
		l := r.send(event)
		refuse(name, "", l, append(unwise(practice), l.accepted(practice, r.shown()...))...).
			noted("the signature check asks for no signature of the sender's server on a third-party invite; its origin can sign it all the same")
	}
	waived("08 third-party invite that nobody signed", with(r.invite(thirdParty), set(object{}, "signatures")))
	waived("08 third-party invite signed by others only", r.sign(r.draft(thirdParty), keyB, keyC))
	two := w.with("a-has-two-keys", keyA2, publicKey{})
	b.add("09 two known keys, one signature wrong", "If all signatures from known unexpired keys from the originating server(s) are found to be valid", two,
		changed(set(of, "signatures", keyA.server, keyA2.id)), invalidParam()...).Spec = specSigning

	for _, v := range []room{v1, briefRoom(versionOf(2))} {
		elsewhere := set("$x:c.example", "event_id")
		const says = "Room versions 1 and 2 also require that a signature is present from the domain in the event_id"
		refuse("12 event_id on another server, which has not signed, room version "+v.name, says, v.send(v.invite(elsewhere))).Spec = specSigning
		refuse("12 event_id on another server, only that has signed, room version "+v.name, says, v.send(v.sign(v.draft(elsewhere), keyC))).Spec = specSigning
	}

	refuse("13 membership changed after signing", saysSignature, r.send(with(r.invite(set("leave", "content", "membership")), set("invite", "content", "membership"))))
	refuse("13 invitee changed after signing", saysSignature, changed(set("@bob2:b.example", "state_key")))
	refuse("13 sender changed after signing", saysSignature, changed(set("@alice2:a.example", "sender")))
	refuse("13 room changed after signing", saysSignature, changed(set("!x:a.example", "room_id")))
	refuse("13 depth changed after signing", saysSignature, changed(set(7, "depth")))
	refuse("13 hashes changed after signing", saysSignature, changed(set(unpadded(make([]byte, 32)), "hashes", "sha256")))

	const saysPath = "roomId: The room ID that the user is being invited to. eventId: The event ID for the invite event"
	mismatch := []outcome{refusal(practice, 400, "M_INVALID_PARAM"), refusal(practice, 0, "")}
	id := r.eventID(r.invite())
	refuse("14 room ID of the path is another room's", saysPath, r.send(r.invite(), path("!other:a.example", id)), mismatch...)
	refuse("14 room ID of the path is another room's, room version 12", saysPath, v12.send(v12.invite(), path("!"+strings.Repeat("A", 43), v12.eventID(v12.invite()))), mismatch...)
	refuse("15 event ID of the path is no event's", saysPath, r.send(r.invite(), path(r.id, "$"+strings.Repeat("A", 43))), mismatch...)
	refuse("15 event ID of the path is another event's, room version 3", saysPath, v3.send(v3.invite(), path(v3.id, v3.eventID(v3.invite(set(7, "depth"))))), mismatch...)
	refuse("15 event ID of the path is not event_id, room version 1", saysPath, v1.send(v1.invite(), path(v1.id, "$x:a.example")), mismatch...)
	refuse("15 path with room ID and event ID changed over", saysPath, r.send(r.invite(), path(id, r.id)), mismatch...)
	refuse("15 path with an empty room ID", saysPath, r.send(r.invite(), path("", id)), append([]outcome{refusal(practice, 404, "M_UNRECOGNIZED")}, mismatch...)...)
	refuse("15 path with an empty event ID", saysPath, r.send(r.invite(), path(r.id, "")), append([]outcome{refusal(practice, 404, "M_UNRECOGNIZED")}, mismatch...)...)
	refuse("15 path with a percent escape that is no UTF-8", saysPath, r.send(r.invite(), path(r.id+"\xff", id)), mismatch...)
	refuse("15 path with the user ID for the event ID", saysPath, r.send(r.invite(), path(r.id, bob)), mismatch...)

	const saysVia = "If content has a join_authorised_via_users_server key: If the event is not validly signed by the homeserver of the user ID denoted by the key, reject."
	for _, v := range []room{briefRoom(versionOf(8)), r, v12} {
		l := v.send(v.invite(via("@carol:c.example")))
		refuse("42 join_authorised_via_users_server, whose server has not signed, room version "+v.name, saysVia, l, append(unwise(practice), l.accepted(practice, v.shown()...))...).Spec = specV8Auth
	}
	number := draft(via(7))
	refuse("42 join_authorised_via_users_server is a number", saysVia, number, append(unwise(practice), number.accepted(practice, r.shown()...))...).Spec = specV8Auth

	create := "$" + strings.TrimPrefix(v12.id, "!")
	selected := v12.send(v12.invite(set(append(list{create}, v12.refs(v12.power, v12.join)...), "auth_events")))
	refuse("38 auth_events with the create event, room version 12", "m.room.create MUST NOT be selected", selected,
		append(refusedWith(practice, 400, "M_BAD_JSON"), selected.accepted(practice, v12.shown()...))...).
		noted("said to those who make events; those who receive them learn it by the authorization rules").Spec = specV12Auth
	b.malformed(r, v1, v12)
	return b.file
}

// malformed is about events that are none of the room version.
func (b *inbox) malformed(r, v1, v12 room) {
	badJSON := refusedWith(must, 400, "M_BAD_JSON")
	refuse := func(name string, r room, edits ...edit) {
		b.add(name, saysFormat, plainWorld(), r.send(r.invite(edits...)), badJSON...).Spec = specReceipt
	}
	for _, required := range []string{"auth_events", "content", "depth", "origin_server_ts", "prev_events", "room_id", "sender", "type"} {
		refuse("event without "+required, r, drop(required))
	}
	for _, c := range []struct {
		name  string
		value any
	}{
		{"auth_events", object{}},
		{"auth_events", list{1}},
		{"content", "x"},
		{"content", list{}},
		{"content", nil},
		{"depth", "6"},
		{"origin_server_ts", "1700000006000"},
		{"prev_events", "x"},
		{"prev_events", list{list{"$x", object{}}}},
		{"room_id", 7},
		{"room_id", "room:a.example"},
		{"sender", "alice"},
		{"sender", nil},
		{"type", 7},
	} {
		refuse("event whose "+c.name+" is "+canonical(c.value), r, set(c.value, c.name))
	}
	b.add("event without event_id, room version 1", saysFormat, plainWorld(), v1.send(v1.invite(drop("event_id")), path(v1.id, "$x:a.example")), badJSON...).Spec = specReceipt
	refuse("auth_events of room version 3 in room version 1", v1, set(list{"$x"}, "auth_events"))
	refuse("room ID of room version 11 in room version 12", v12, set("!room:a.example", "room_id"))
	lax := func(name string, e edit) {
		l := r.send(r.invite(e))
		b.add(name, "", plainWorld(), l, append(refusedWith(practice, 400, "M_BAD_JSON"), l.accepted(practice, r.shown()...))...)
	}
	lax("event with an event_id, room version 11", set("$x:a.example", "event_id"))
	lax("event whose depth is -1", set(-1, "depth"))
	b.add("event without hashes", saysFormat, plainWorld(), r.send(r.addSignature(r.draft(), keyA)), badJSON...).Spec = specReceipt
	for _, v := range versions() {
		if !v.strict {
			continue
		}
		r := briefRoom(v)
		for _, n := range []string{"1.5", "1.0", "1e3", "9007199254740992", "-9007199254740992"} {
			// Signed over what Python writes, as a careless peer would.
			written := map[string]string{"1e3": "1000.0"}[n]
			if written == "" {
				written = n
			}
			event := r.invite(set(text(written), "content", "n"))
			l := r.send(event)
			l.signed = canonical(l.body)
			l.text = strings.Replace(l.signed, `"n":`+written, `"n":`+n, 1)
			b.add("28 "+n+" in room version "+v.name, "Servers MUST strictly enforce the JSON format specified in the appendices. This translates to a 400 M_BAD_JSON error on most endpoints",
				plainWorld(), l, refusal(must, 400, "M_BAD_JSON"), refusal(must, 0, "")).Spec = specStrict
		}
	}
}
