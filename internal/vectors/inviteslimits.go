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
	const tenEvents, twentyEvents = "Must contain less than or equal to 10 events.", "Must contain less than or equal to 20 events."
	pair("auth_events", tenEvents, specFormat(r), r, 10, func(n int) edit { return set(r.references(n), "auth_events") })
	pair("auth_events of room version 1", tenEvents, specFormat(v1), v1, 10, func(n int) edit { return set(v1.references(n), "auth_events") })
	pair("prev_events", twentyEvents, specFormat(r), r, 20, func(n int) edit { return set(r.references(n), "prev_events") })

	long := r.send(r.invite(set(strings.Repeat("x", 256), "type")))
	b.add("29 bytes of type, 256", "type MUST NOT exceed 255 bytes.", w, long, refusal(practice, 400, "M_BAD_JSON"), refusal(should, 400, "M_INVALID_PARAM"), refusal(must, 0, ""))
	for _, n := range []int{255, 256} {
		name, says := "29 bytes of room_id, "+decimal(n), "room_id MUST NOT exceed the size limit for room IDs."
		longRoom := briefRoom(versionOf(11))
		longRoom.id = id("!", "a.example", n)
		l := longRoom.send(longRoom.invite(), state(list{}))
		if n == 255 {
			b.add(name, says, w, l, l.accepted(must), refusal(may, 0, ""))
			continue
		}
		b.add(name, says, w, l, badJSON...)
	}
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
		name   string
		size   int
		expect []string // accept, refuse or both; the first is the better
	}{
		{"60,000 bytes", 60_000, []string{"accept"}},
		{"65,500 bytes, larger than allowed with our signature", 65_500, []string{"accept", "refuse"}},
		{"65,536 bytes, larger than allowed with our signature", limit, []string{"accept", "refuse"}},
		{"65,537 bytes", limit + 1, []string{"refuse"}},
		{"70,000 bytes", 70_000, []string{"refuse"}},
	} {
		n := c.size - bare
		l := r.send(r.invite(set(strings.Repeat("x", n), "content", "pad")))
		request := l.request()
		request.Body = strings.Replace(request.Body, strings.Repeat("x", n), mark, 1)
		level := must
		if len(c.expect) > 1 {
			level = practice
		}
		var expect []outcome
		for _, result := range c.expect {
			if result == "refuse" {
				expect = append(expect, refusedWith(level, 400, "M_BAD_JSON")...)
				continue
			}
			yes := l.accepted(level, r.shown()...)
			yes.Event = ""
			expect = append(expect, yes)
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
		b.addRequest("bomb: "+c.name, "", w, r.name, request,
			refusal(practice, 400, "M_BAD_JSON"), refusal(practice, 400, "M_NOT_JSON"), refusal(practice, 401, "M_UNAUTHORIZED"), refusal(practice, 0, "")).costs()
	}
	huge := withLong(base, mark, " ", 2<<20)
	huge.BodyGen.Concat[2].Text = "1" + huge.BodyGen.Concat[2].Text
	b.addRequest("bomb: 2 MiB of white space", "", w, r.name, huge,
		refusal(practice, 413, "M_TOO_LARGE"), refusal(practice, 401, "M_UNAUTHORIZED"), refusal(practice, 0, "")).costs()
}

// costs says what a case that is no sentence of the specification is about.
func (c *invitation) costs() {
	c.noted("the answer comes soon, and the server lives on").Spec = ""
}
