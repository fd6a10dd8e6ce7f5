package main

import (
	"maps"
	"strings"
)

func invitesBodies() file {
	b := newInbox("bodies", "bodies that are no invite; the request's signature is right wherever there can be one", specInvite)
	w := plainWorld()
	r := newRoom(versionOf(11))
	base := r.send(r.invite())
	version := func(name string, e edit, expect ...outcome) *invitation {
		return b.add(name, "room_version: string. required", w, r.send(r.invite(), body(e)), expect...)
	}
	const says400 = "The request is invalid or the room the server is attempting to join has a version that is not listed in the ver parameters. … room_version: The version of the room. Required if the errcode is M_INCOMPATIBLE_ROOM_VERSION."
	unknown := refusal(should, 400, "M_INCOMPATIBLE_ROOM_VERSION")
	for _, v := range []string{"99", "011", "11 ", "org.example.unknown", "1.0"} {
		unknown.Version = v
		version("24 room_version "+canonical(v), set(v, "room_version"), unknown, refusal(practice, 400, "M_UNSUPPORTED_ROOM_VERSION"), refusal(must, 0, "")).Sentence = says400
	}
	missing, badJSON := refusedWith(must, 400, "M_MISSING_PARAM"), refusedWith(must, 400, "M_BAD_JSON")
	badJSONOrMissing := []outcome{badJSON[0], missing[0], missing[1]}
	version("25 no room_version", drop("room_version"), missing...)
	version("25 room_version empty", set("", "room_version"), append([]outcome{missing[0], refusal(practice, 400, "M_INCOMPATIBLE_ROOM_VERSION")}, missing[1:]...)...)
	version("25 room_version is a number", set(11, "room_version"), badJSON...)
	version("25 room_version is null", set(nil, "room_version"), badJSONOrMissing...)
	version("25 ROOM_VERSION for room_version", func(o object) { o["ROOM_VERSION"] = o["room_version"]; delete(o, "room_version") }, missing...)
	event := func(name string, e edit, expect ...outcome) {
		b.add(name, "event: Invite Event. required", w, r.send(r.invite(), body(e)), expect...)
	}
	event("26 no event", drop("event"), missing...)
	event("26 event is a string", set("x", "event"), badJSON...)
	event("26 event is a list", set(list{base.event}, "event"), badJSON...)
	event("26 event is null", set(nil, "event"), badJSONOrMissing...)
	event("26 event is empty", set(object{}, "event"), badJSON...)
	event("26 Event for event", func(o object) { o["Event"] = o["event"]; delete(o, "event") }, missing...)
	event("26 the event is the body, as in v1", func(o object) { clear(o); maps.Copy(o, clone(base.event)) }, missing...)

	text := canonical(base.body)
	bytes := func(name, sent, signed, errcode string) {
		b.add(name, "", w, r.send(r.invite(), raw(sent, signed)), refusedWith(must, 400, errcode)...).Spec = specErrors
	}
	bytes("27 the body ends too early", text[:len(text)-1], text, "M_NOT_JSON")
	bytes("27 the body goes on", text+"}", text, "M_NOT_JSON")
	bytes("27 the body is two objects", text+text, text, "M_NOT_JSON")
	other := func(name, value string) {
		b.add(name, "", w, r.send(r.invite(), raw(value, value)), refusal(practice, 400, "M_BAD_JSON"), refusal(practice, 401, "M_UNAUTHORIZED"), refusal(must, 0, "")).
			noted("signed as any JSON value is; a server may believe objects only").Spec = specErrors
	}
	other("27 the body is a list", "["+text+"]")
	other("27 the body is a string", `"x"`)
	other("27 the body is null", `null`)
	bytes("27 the body is no JSON", `event=x`, text, "M_NOT_JSON")
	bytes("27 a comma too many", strings.TrimSuffix(text, "}")+",}", text, "M_NOT_JSON")
	bytes("27 a comment", strings.Replace(text, "{", "{/* */", 1), text, "M_NOT_JSON")
	bytes("27 a number with a zero before it", strings.Replace(text, `"depth":6`, `"depth":06`, 1), text, "M_NOT_JSON")
	bytes("27 a byte order mark", "\uFEFF"+text, text, "M_NOT_JSON")
	bytes("27 a control character in a string", strings.Replace(text, `"Tea"`, "\"T\nea\"", 1), text, "M_NOT_JSON")
	b.addRequest("27 the body is empty", "", w, r.name, newRequest("PUT", base.target(), "", authorization("a.example", "b.example", keyA.id,
		keyA.sign(signedRequest("PUT", base.target(), "a.example", "b.example", "")))), refusedWith(must, 400, "M_NOT_JSON")...).Spec = specErrors

	// What readers could read in two ways: signed as it reads if the last one counts.
	ambiguous := func(name, old, twice string) {
		b.add(name, "", w, r.send(r.invite(), raw(strings.Replace(text, old, twice, 1), text)),
			refusal(practice, 400, "M_BAD_JSON"), refusal(practice, 400, "M_NOT_JSON"), refusal(practice, 401, "M_UNAUTHORIZED"), refusal(practice, 0, "")).noted("readers that take the first value and readers that take the last would see two bodies")
	}
	ambiguous("duplicate key of the body: event", `{"event":`, `{"event":{},"event":`)
	ambiguous("duplicate key of the body: room_version", `],"room_version":"11"}`, `],"room_version":"1","room_version":"11"}`)
	ambiguous("duplicate key of the event: sender", `"sender":"@alice:a.example","signatures"`, `"sender":"@carol:c.example","sender":"@alice:a.example","signatures"`)
	ambiguous("duplicate key of the event: state_key", `"state_key":"@bob:b.example"`, `"state_key":"@carol:c.example","state_key":"@bob:b.example"`)
	ambiguous("duplicate key of the event: type, with an escape", `"type":"m.room.member"`, `"\u0074ype":"m.room.name","type":"m.room.member"`)
	ambiguous("duplicate key of the content: membership", `"membership":"invite"`, `"membership":"join","membership":"invite"`)
	ambiguous("duplicate key, both values alike", `"depth":6`, `"depth":6,"depth":6`)
	ambiguous("duplicate key of unsigned", `"type":"m.room.member"}`, `"type":"m.room.member","unsigned":{"a":1,"a":1}}`)
	badText := func(name, in string) {
		b.add(name, "", w, r.send(r.invite(), raw(strings.Replace(text, `"Tea"`, in, 1), text)),
			refusal(practice, 400, "M_BAD_JSON"), refusal(practice, 400, "M_NOT_JSON"), refusal(practice, 401, "M_UNAUTHORIZED"), refusal(practice, 0, "")).noted("canonical JSON is UTF-8, which cannot hold this")
	}
	badText("lone surrogate", `"\ud800"`)
	badText("surrogates in the wrong order", `"\udc00\ud800"`)
	badText("invalid UTF-8", "\"\xff\"")
	badText("UTF-8 longer than it has to be", "\"\xc0\xaf\"")
	badText("surrogate in UTF-8", "\"\xed\xa0\x80\"")
	return b.file
}
