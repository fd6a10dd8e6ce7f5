package main

import (
	"maps"
	"slices"
)

// A reply is what the invited server answered with 200, and what becomes of the invite.
type reply struct {
	head
	RoomVersion string   `json:"room_version"`
	Sent        string   `json:"sent"`
	Invited     string   `json:"invited_server"`
	Keys        keyring  `json:"keys"`
	Endpoint    string   `json:"endpoint"`
	Body        string   `json:"body"`
	Expect      string   `json:"expect"`
	Level       string   `json:"level"`
	Merged      string   `json:"merged,omitempty"`
	MergedOr    []string `json:"merged_or,omitempty"`
}

func repliesOut() file {
	f := file{Kind: "invites-out/replies", Source: source, About: "answers with status 200 to invites, and the events that become of them"}
	add := func(name, sentence, level string, r room, sent object, body string, endpoint string, merged object) *reply {
		c := &reply{head: head{Name: name, Sentence: sentence, Spec: specInvite}, RoomVersion: r.name, Sent: canonical(sent),
			Invited: keyB.server, Keys: ringOf(keyA, keyB, keyC), Endpoint: endpoint, Body: body, Expect: "reject", Level: level}
		if merged != nil {
			c.Expect, c.Merged = "accept", canonical(merged)
		}
		f.Cases = append(f.Cases, c)
		return c
	}
	v2 := func(event object) string { return canonical(object{"event": event}) }
	v1 := func(event object) string { return canonical(list{200, object{"event": event}}) }
	for _, v := range versions() {
		r := newRoom(v)
		sent := r.invite()
		signed := r.addSignature(sent, keyB)
		add("01 room version "+v.name, saysReply, must, r, sent, v2(signed), "v2", signed)
		if v.namedEvents {
			add("58 v1 endpoint, room version "+v.name, saysReply, must, r, sent, v1(signed), "v1", signed)
		}
	}
	r := newRoom(versionOf(11))
	sent := r.invite(set("tea", "content", "reason"))
	signed := r.addSignature(sent, keyB)
	good := func(name, sentence, level string, body string, merged object) *reply {
		return add(name, sentence, level, r, sent, body, "v2", merged)
	}
	bad := func(name string, event object) { add(name, saysReply, practice, r, sent, v2(event), "v2", nil) }
	good("57 another unsigned", "Information included alongside the event that is not signed.", practice, v2(with(signed, set(object{"invite_room_state": r.state(), "age": 1}, "unsigned"))), signed)
	good("more members in the body", "", practice, canonical(object{"event": signed, "org.example.x": 1}), signed)
	good("written with white space and in another order", "", must, " { \"event\" : "+reversed(signed)+" }\n", signed)
	padded := with(signed, set(signatureOf(signed, keyB)+"==", "signatures", keyB.server, keyB.id))
	good("the signature is padded", "implementations SHOULD accept input with or without padding characters wherever possible", should, v2(padded), signed).MergedOr = []string{canonical(padded)}
	good("56 the inviting server's signature is replaced", "", practice, v2(with(signed, set(unpadded(make([]byte, 64)), "signatures", keyA.server, keyA.id))), signed)
	good("56 the inviting server's signature is left out", "", practice, v2(with(signed, drop("signatures", keyA.server))), signed)
	good("56 another server's signature is added", "", practice, v2(r.addSignature(signed, keyC)), signed)
	good("56 nonsense in the name of another server is added", "", practice, v2(with(signed, set("x", "signatures", keyC.server, keyC.id))), signed)
	good("a signature by an unknown key beside the right one", "If a signature is from an unknown or expired key, it is skipped.", practice,
		v2(with(signed, set(unpadded(make([]byte, 64)), "signatures", keyB.server, "ed25519:unknown"))), signed)

	bad("53 the invited server has not signed", sent)
	bad("53 the signature is wrong", with(signed, set(unpadded(make([]byte, 64)), "signatures", keyB.server, keyB.id)))
	bad("53 the signature is another event's", with(signed, set(signatureOf(r.addSignature(r.invite(), keyB), keyB), "signatures", keyB.server, keyB.id)))
	bad("53 another server has signed", r.addSignature(sent, keyC))
	bad("53 signed by an unknown key only", r.addSignature(sent, key{keyB.server, "ed25519:unknown"}))
	bad("54 content is changed", with(signed, set("coffee", "content", "reason")))
	bad("54 content is taken away", with(signed, drop("content", "reason")))
	bad("54 a member is added", with(signed, set(1, "surplus")))
	bad("54 depth is changed", with(signed, set(7, "depth")))
	bad("54 the hashes are changed", with(signed, set(unpadded(make([]byte, 32)), "hashes", "sha256")))
	bad("54 an event_id is added", with(signed, set("$x:a.example", "event_id")))
	bad("54 membership is changed, and signed", r.sign(r.draft(set("tea", "content", "reason"), set("join", "content", "membership")), keyA, keyB))
	bad("55 another invite, signed by both", r.sign(r.draft(), keyA, keyB))
	bad("55 the same invite in another room", r.sign(r.draft(set("tea", "content", "reason"), set("!x:a.example", "room_id")), keyA, keyB))
	bad("55 the redacted event", r.redact(signed))
	shape := func(name, endpoint, body string) {
		add(name, saysReply, practice, r, sent, body, endpoint, nil)
	}
	first := newRoom(versionOf(1))
	one := first.invite()
	both := first.addSignature(one, keyB)
	shapeV1 := func(name, body string) { add(name, saysReply, practice, first, one, body, "v1", nil) }
	shape("the event without its wrapping", "v2", canonical(signed))
	shape("the answer of the v1 endpoint", "v2", v1(signed))
	shape("empty object", "v2", `{}`)
	shape("event is null", "v2", `{"event":null}`)
	shape("event is a string", "v2", canonical(object{"event": canonical(signed)}))
	shape("the body goes on", "v2", v2(signed)+"}")
	shape("the body ends too early", "v2", v2(signed)[:50])
	shape("duplicate key", "v2", `{"event":{},`+v2(signed)[1:])
	shape("nothing", "v2", "")
	shapeV1("58 v1: the answer of the v2 endpoint", v2(both))
	shapeV1("58 v1: the status alone", `[200]`)
	shapeV1("58 v1: a third item", `[200,{"event":`+canonical(both)+`},1]`)
	shapeV1("58 v1: another status", `[403,{"event":`+canonical(both)+`}]`)
	shapeV1("58 v1: the status is a string", `["200",{"event":`+canonical(both)+`}]`)
	shapeV1("58 v1: changed over", `[{"event":`+canonical(both)+`},200]`)
	return f
}

func signatureOf(event object, k key) string {
	s, _ := get(event, "signatures", k.server)[k.id].(string)
	return s
}

// reversed writes an object with its members in the reverse order.
func reversed(o object) string {
	names := slices.Sorted(maps.Keys(o))
	slices.Reverse(names)
	var b []byte
	for _, name := range names {
		b = append(b, ",\n "...)
		b = appendString(b, name)
		b = append(b, " : "...)
		b = appendValue(b, o[name])
	}
	return "{" + string(b[1:]) + "}"
}
