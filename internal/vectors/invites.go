package main

import "strings"

// An invitation is a request for the invite endpoint and how it may end.
type invitation struct {
	head
	World       string    `json:"world"`
	RoomVersion string    `json:"room_version,omitempty"`
	Twice       bool      `json:"twice,omitempty"`
	Request     request   `json:"request"`
	Expect      []outcome `json:"expect"`
}

// An inbox is a file of invitations that is being written.
type inbox struct {
	file
	spec string
}

func newInbox(kind, about, spec string) *inbox {
	return &inbox{file{Kind: "invites-in/" + kind, About: about, Source: source, Worlds: map[string]world{}}, spec}
}

func (b *inbox) add(name, sentence string, w world, l letter, expect ...outcome) *invitation {
	return b.addRequest(name, sentence, w, l.room.name, l.request(), expect...)
}

func (b *inbox) addRequest(name, sentence string, w world, version string, r request, expect ...outcome) *invitation {
	b.Worlds[w.name] = w
	c := &invitation{head: head{Name: name, Sentence: sentence, Spec: b.spec}, World: w.name, RoomVersion: version, Request: r, Expect: expect}
	b.Cases = append(b.Cases, c)
	return c
}

// noted gives the case a note.
func (c *invitation) noted(note string) *invitation {
	c.Note = note
	return c
}

// from the endpoint's page, whose code is for all of them.
const (
	saysType      = "servers SHOULD return M_INVALID_PARAM if: The event type is not m.room.member."
	saysMember    = "servers SHOULD return M_INVALID_PARAM if: The membership field inside the event content is not invite."
	saysSender    = "servers SHOULD return M_INVALID_PARAM if: The event sender is not a user ID on the origin server."
	saysStateKey  = "servers SHOULD return M_INVALID_PARAM if: The state_key is not a user ID on the receiving server."
	saysSignature = "servers SHOULD return M_INVALID_PARAM if: The invite event fails a signature check."
	saysReply     = "The event with the invited server's signature added. All other fields of the events should remain untouched."
	saysFormat    = "For an event to be valid, it must comply with the event format of that room version."
)

// thirdParty makes an invite a third-party invite.
var thirdParty = set(object{
	"display_name": "bob",
	"signed":       object{"mxid": bob, "token": "abc", "signatures": object{}},
}, "content", "third_party_invite")

// via names the user whose server has to have signed too.
func via(user any) edit { return set(user, "content", "join_authorised_via_users_server") }

func invitesAccepted() file {
	b := newInbox("accepted", "invites that are to be accepted, and the times of the keys that signed them", specInvite)
	w := plainWorld()
	for _, v := range versions() {
		r := newRoom(v)
		l := r.send(r.invite())
		b.add("03 room version "+v.name, saysReply, w, l, l.accepted(must, r.shown()...))
	}
	r := briefRoom(versionOf(11))
	base := r.send(r.invite())
	b.add("01 the plain invite", saysReply, w, base, base.accepted(must, r.shown()...))
	b.add("02 sent twice: the same answer twice", "", w, base, base.accepted(must, r.shown()...)).Twice = true

	accept := func(name, sentence, level string, w world, l letter) *invitation {
		return b.add(name, sentence, w, l, l.accepted(level, r.shown()...))
	}
	draft := func(edits ...edit) letter { return r.send(r.invite(edits...)) }
	byKeys := func(r room, keys ...key) object { return r.sign(r.draft(), keys...) }

	accept("another name of ours", saysReply, must, w, r.send(r.invite(set("@bob:b2.example", "state_key")), func(l *letter) { l.to = keyB2.server }))
	accept("content with a reason, a profile and more", saysReply, must, w, draft(
		set("tea, é <&>   😀 \"\\", "content", "reason"), set("Bob", "content", "displayname"), set(true, "content", "is_direct"), set(list{1, nil, object{"": "x"}}, "content", "org.example.x")))
	accept("more members in the body", "", practice, w, r.send(r.invite(), body(set(list{1, nil}, "org.example.y"))))
	accept("origin in the event", saysReply, must, w, draft(set("a.example", "origin")))
	const historical = "clients and servers MUST accept user IDs with localparts consisting of any legal non-surrogate Unicode code points except for : and NUL (U+0000), including other control characters and the empty string."
	accept("historical user ID", historical, must, w, draft(set("@BOB é/+=:b.example", "state_key"))).Spec = specIDs
	accept("empty localpart", historical, must, w, draft(set("@:b.example", "state_key"))).Spec = specIDs
	accept("body written with white space, escapes and in another order", "content: the JSON-parsed request body", must, w,
		r.send(r.invite(), func(l *letter) {
			l.signed = canonical(l.body)
			l.text = " {\"\\u0072oom_version\" :\t\"1\\u0031\" ,\r\n\"invite_room_state\": " + canonical(l.body["invite_room_state"]) + ", \"event\": " + canonical(l.event) + "}\n"
		}))
	accept("08 a signature in the name of the invited server is replaced", saysReply, practice, w,
		r.send(with(r.invite(), set(unpadded(make([]byte, 64)), "signatures", keyB.server, keyB.id))))
	accept("10 a known key and an unknown one", "If a signature is from an unknown or expired key, it is skipped.", must, w, r.send(byKeys(r, keyA, keyANone)))
	accept("10 another algorithm too", "Removes any signing key identifiers from the entry with algorithms it doesn't understand.", must, w,
		r.send(with(r.invite(), set("AAAA", "signatures", keyA.server, "ml-dsa:1"))))
	accept("10 another algorithm too, whose signature is a number", "", practice, w,
		r.send(with(r.invite(), set(7, "signatures", keyA.server, "ml-dsa:1"))))
	b.mayRefuse("10 another algorithm too, whose signature is a number", refusal(practice, 400, "M_BAD_JSON"))
	accept("10 nonsense in the name of other servers", "only the signature(s) from the originating server … are required for verification", must, w,
		r.send(with(r.invite(), set(unpadded(make([]byte, 64)), "signatures", keyC.server, keyC.id))))
	accept("10 two known keys", "If all signatures from known unexpired keys from the originating server(s) are found to be valid", must,
		w.with("a-has-two-keys", keyA2, publicKey{}), r.send(byKeys(r, keyA, keyA2)))
	accept("10 the signature is padded", "", should, w, r.send(padded(r.invite())))
	accept("third-party invite signed by the origin", "", must, w, draft(thirdParty))
	accept("42 join_authorised_via_users_server, signed by its server", "If the event is not validly signed by the homeserver of the user ID denoted by the key, reject.", practice, w,
		r.send(r.sign(r.draft(via("@carol:c.example")), keyA, keyC)))
	accept("13 a top-level member was added under way", "the receiving server should use the redacted copy it calculated rather than the full copy it received", should, w,
		r.send(with(r.invite(), set("forged", "surplus"))))
	accept("13 content was added under way", "the receiving server should use the redacted copy it calculated rather than the full copy it received", should, w,
		r.send(with(r.invite(), set("forged", "content", "reason"))))
	accept("13 content was taken away under way", "it is assumed that this is because we have only been given a redacted version of the event", should, w,
		r.send(with(r.invite(set("tea", "content", "reason")), drop("content", "reason"))))
	accept("13 a third-party invite was made of it under way", "the receiving server should use the redacted copy it calculated rather than the full copy it received", should, w,
		r.send(with(r.invite(), set("x", "content", "third_party_invite"))))
	b.mayRefuse("13 ")
	accept("14 room ID and event ID of the path with $ and : percent-encoded", "", must, w, r.send(r.invite(), asIs(func(target string) string {
		return strings.NewReplacer("$", "%24", ":", "%3A", "%21", "!").Replace(target)
	})))
	accept("path with a query", "", practice, w, r.send(r.invite(), asIs(func(target string) string { return target + "?x=1" })))
	accept("41 unsigned with claims about the past", "Information included alongside the event that is not signed.", must, w,
		r.send(with(r.invite(), set(object{"prev_content": object{"membership": "join"}, "redacted_because": object{"type": "m.room.redaction"}}, "unsigned"))))
	accept("41 unsigned with a float", "Information included alongside the event that is not signed.", practice, w,
		r.send(with(r.invite(), set(text("1.5"), "unsigned", "age"))))
	b.mayRefuse("41 unsigned with a float", refusal(practice, 400, "M_BAD_JSON"))

	v7 := briefRoom(versionOf(7))
	l := v7.send(v7.invite(via("@carol:c.example")))
	b.add("42 join_authorised_via_users_server in room version 7, where it means nothing", "", w, l, l.accepted(must, v7.shown()...))
	b.keyTimes()
	b.eventIDs()
	b.numbers()
	return b.file
}

// mayRefuse adds to the cases of that name that a server may be stricter.
func (b *inbox) mayRefuse(name string, first ...outcome) {
	for _, c := range b.named(name) {
		c.Expect = append(append(c.Expect, first...), refusal(practice, 0, ""))
	}
}

// named returns the cases whose names begin so.
func (b *inbox) named(prefix string) (all []*invitation) {
	for _, c := range b.Cases {
		if c, ok := c.(*invitation); ok && strings.HasPrefix(c.Name, prefix) {
			all = append(all, c)
		}
	}
	return all
}

// keyTimes is about keys that were not valid any more when the event was made.
func (b *inbox) keyTimes() {
	const expired = "any keys that are known to have expired prior to the event's origin_server_ts are ignored"
	const until = "servers MUST enforce the valid_until_ts property from a key request is at least as large as the origin_server_ts for the event"
	old := plainWorld().with("a-has-an-old-key", keyAOld, publicKey{Expired: eventTime - 1})
	justOld := plainWorld().with("a-has-a-key-expired-at-the-event", keyAOld, publicKey{Expired: eventTime})
	invalid := plainWorld().with("a-has-a-key-valid-before-the-event", keyAOld, publicKey{ValidUntil: eventTime - 1})
	justValid := plainWorld().with("a-has-a-key-valid-until-the-event", keyAOld, publicKey{ValidUntil: eventTime})
	for _, n := range []int{4, 5, 12} {
		r := briefRoom(versionOf(n))
		l := r.send(r.sign(r.draft(), keyAOld))
		yes := l.accepted(must, r.shown()...)
		name := "room version " + r.name
		b.add("11 key expired at the event, "+name, expired, justOld, l, yes).Spec = specSigning
		b.add("11 key valid until the event, "+name, until, justValid, l, yes).Spec = specKeyTime
		if n < 5 {
			b.add("11 key not valid any more at the event, "+name, "", invalid, l, yes).noted("valid_until_ts counts from room version 5 on").Spec = specKeyTime
		} else {
			b.add("11 key not valid any more at the event, "+name, until, invalid, l, invalidParam()...).Spec = specKeyTime
		}
		b.add("11 key expired before the event, "+name, expired, old, l, invalidParam()...).Spec = specSigning
	}
	b.longValidity()
}

// longValidity is about a key that claims to be valid for a month.
func (b *inbox) longValidity() {
	const lesser = "Servers MUST use the lesser of valid_until_ts and 7 days into the future when determining if a key is valid."
	const day = 24 * 60 * 60 * 1000
	month := plainWorld().with("a-has-a-key-valid-for-a-month", keyAOld, publicKey{ValidUntil: now + 30*day})
	r := briefRoom(versionOf(11))
	soon, late := r.send(r.sign(r.draft(), keyAOld)), r.send(r.sign(r.draft(set(now+8*day, "origin_server_ts")), keyAOld))
	b.add("11 key valid for a month", lesser, month, soon, soon.accepted(must, r.shown()...)).Spec = specKeyTime
	b.add("11 key valid for a month, event of the eighth day", lesser, month, late, invalidParam()...).Spec = specKeyTime
}

// eventIDs is about event IDs, which the path has percent-encoded.
func (b *inbox) eventIDs() {
	for _, n := range []int{3, 4} {
		r := briefRoom(versionOf(n))
		want := "/+"
		if r.urlSafeID {
			want = "-_"
		}
		event := r.invite()
		for i := 7; !strings.Contains(r.eventID(event), want[:1]) || !strings.Contains(r.eventID(event), want[1:]); i++ {
			event = r.invite(set(i, "depth"))
		}
		l := r.send(event)
		b.add("16 event ID with "+want[:1]+" and "+want[1:]+", room version "+r.name, "", plainWorld(), l, l.accepted(must, r.shown()...)).Spec = specRooms + "v" + r.name + "/#event-ids"
	}
	for _, n := range []int{1, 2} {
		r := briefRoom(versionOf(n))
		l := r.send(r.sign(r.draft(set("$x:c.example", "event_id")), keyA, keyC))
		b.add("12 event_id on another server, which has signed, room version "+r.name, "Room versions 1 and 2 also require that a signature is present from the domain in the event_id",
			plainWorld(), l, l.accepted(must, r.shown()...)).Spec = specSigning
	}
}

// numbers is about numbers that are not canonical.
func (b *inbox) numbers() {
	r := briefRoom(versionOf(5))
	for _, n := range []string{"1.5", "9007199254740992", "-9007199254740993", "123456789012345678901234567890"} {
		l := r.send(r.invite(set(text(n), "content", "n")))
		b.add("28 "+n+" in room version 5", "Servers MUST NOT strictly enforce the JSON format specified in the appendices", plainWorld(), l, l.accepted(must, r.shown()...)).Spec = specLoose
	}
}

// padded writes the signature of the origin with its padding.
func padded(event object) object {
	sig, _ := get(event, "signatures", keyA.server)[keyA.id].(string)
	return with(event, set(sig+"==", "signatures", keyA.server, keyA.id))
}
