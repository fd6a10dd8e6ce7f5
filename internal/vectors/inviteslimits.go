package main

import "strings"

func invitesLimits() file {
	b := newInbox("limits", "events at their limits, and past them", specSizes)
	w := plainWorld()
	r, v1 := briefRoom(versionOf(11)), briefRoom(versionOf(1))
	badJSON := refusedWith(must, 400, "M_BAD_JSON")
	id := func(sigil, server string, n int) string {
		return sigil + strings.Repeat("x", n-len(sigil)-len(server)-1) + ":" + server
	}
	pair := func(name, sentence, spec string, r room, limit int, e func(n int) edit) {
		at, past := r.send(r.invite(e(limit))), r.send(r.invite(e(limit+1)))
		b.add("29 "+name+", "+decimal(limit), sentence, w, at, at.accepted(must, r.shown()...)).Spec = spec
		b.add("29 "+name+", "+decimal(limit+1), sentence, w, past, badJSON...).Spec = spec
	}
	pair("bytes of sender", "sender MUST NOT exceed the size limit for user IDs.", specSizes, r, 255, func(n int) edit { return set(id("@", "a.example", n), "sender") })
	pair("bytes of state_key", "state_key MUST NOT exceed 255 bytes.", specSizes, r, 255, func(n int) edit { return set(id("@", "b.example", n), "state_key") })
	pair("bytes of state_key, in letters of two bytes", "state_key MUST NOT exceed 255 bytes.", specSizes, r, 255, func(n int) edit {
		return set("@"+strings.Repeat("é", (n-11)/2)+strings.Repeat("x", (n-11)%2)+":b.example", "state_key")
	})
	pair("bytes of event_id", "event_id MUST NOT exceed the size limit for event IDs.", specSizes, v1, 255, func(n int) edit { return set(id("$", "a.example", n), "event_id") })
	pair("auth_events", "auth_events: … must not contain more than 10", specReceipt, r, 10, func(n int) edit { return set(r.references(n), "auth_events") })
	pair("auth_events of room version 1", "auth_events: … must not contain more than 10", specReceipt, v1, 10, func(n int) edit { return set(v1.references(n), "auth_events") })
	pair("prev_events", "prev_events: … must not contain more than 20", specReceipt, r, 20, func(n int) edit { return set(r.references(n), "prev_events") })

	long := r.send(r.invite(set(strings.Repeat("x", 256), "type")))
	b.add("29 bytes of type, 256", "type MUST NOT exceed 255 bytes.", w, long, refusal(practice, 400, "M_BAD_JSON"), refusal(should, 400, "M_INVALID_PARAM"), refusal(must, 0, ""))
	longRoom := briefRoom(versionOf(11))
	longRoom.id = id("!", "a.example", 256)
	l := longRoom.send(longRoom.invite(), state(list{}))
	b.add("29 bytes of room_id, 256", "room_id MUST NOT exceed the size limit for room IDs.", w, l, badJSON...)
	for _, c := range []struct {
		room  room
		depth string
		ok    bool
	}{{r, "9007199254740991", true}, {r, "9007199254740992", false}, {v1, "9007199254740991", true}, {v1, "9223372036854775808", false}} {
		l := c.room.send(c.room.invite(set(text(c.depth), "depth")))
		name := "29 depth " + c.depth + ", room version " + c.room.name
		if c.ok {
			b.add(name, saysFormat, w, l, l.accepted(must, c.room.shown()...)).Spec = specReceipt
		} else {
			b.add(name, saysFormat, w, l, badJSON...).Spec = specReceipt
		}
	}
	b.sizes(w, r)
	b.bombs(w, r)
	return b.file
}

// withLong replaces the mark in a request's body by n times the text.
func withLong(r request, mark, unit string, n int) request {
	before, after, _ := strings.Cut(r.Body, mark)
	r.Body = ""
	r.BodyGen = &generator{[]repeated{{before, 1}, {unit, n}, {after, 1}}}
	return r
}

// sizes is about the size of the whole event, which is described and not written out.
func (b *inbox) sizes(w world, r room) {
	const limit, mark = 65536, "~"
	const says = "The complete event MUST NOT be larger than 65536 bytes, … including any signatures, and encoded as Canonical JSON."
	bare := len(canonical(r.invite(set("", "content", "pad"))))
	for _, c := range []struct {
		name string
		size int
		ok   bool
	}{{"60,000 bytes", 60_000, true}, {"65,537 bytes", limit + 1, false}, {"70,000 bytes", 70_000, false}} {
		n := c.size - bare
		l := r.send(r.invite(set(strings.Repeat("x", n), "content", "pad")))
		request := l.request()
		request.Body = strings.Replace(request.Body, strings.Repeat("x", n), mark, 1)
		expect := refusedWith(must, 400, "M_BAD_JSON")
		if c.ok {
			yes := l.accepted(must, r.shown()...)
			yes.Event = ""
			expect = []outcome{yes}
		}
		b.addRequest("29 event of "+c.name, says, w, r.name, withLong(request, mark, "x", n), expect...)
	}
}

// bombs is about bodies that cost a careless reader much.
func (b *inbox) bombs(w world, r room) {
	const mark = `"~"`
	base := r.send(r.invite(), body(set("~", "bomb"))).request()
	for _, c := range []struct {
		name, open, close string
		n                 int
	}{
		{"arrays 100,000 deep", "[", "]", 100_000},
		{"objects 100,000 deep", `{"a":`, "}", 100_000},
		{"arrays 100,000 deep that do not end", "[", "", 100_000},
	} {
		request := withLong(base, mark, c.open, c.n)
		parts := request.BodyGen.Concat
		parts = []repeated{parts[0], parts[1], {"0", 1}, {c.close, c.n}, parts[2]}
		if c.close == "" {
			parts = parts[:3]
		}
		request.BodyGen = &generator{parts}
		b.addRequest("bomb: "+c.name, "The answer comes soon, and the server lives on.", w, r.name, request,
			refusal(practice, 400, "M_BAD_JSON"), refusal(practice, 400, "M_NOT_JSON"), refusal(practice, 401, "M_UNAUTHORIZED"), refusal(practice, 0, ""))
	}
	huge := withLong(base, mark, " ", 2<<20)
	huge.BodyGen.Concat[2].Text = "1" + huge.BodyGen.Concat[2].Text
	b.addRequest("bomb: 2 MiB of white space", "The answer comes soon, and the server lives on.", w, r.name, huge,
		refusal(practice, 413, "M_TOO_LARGE"), refusal(practice, 401, "M_UNAUTHORIZED"), refusal(practice, 0, ""))
}
