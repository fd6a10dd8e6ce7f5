package main

func invitesPolicy() file {
	b := newInbox("policies", "invites that the receiving server's own rules refuse", specInvite)
	r := briefRoom(versionOf(11))
	l := r.send(r.invite())
	refuse := func(name, sentence, policy string, expect ...outcome) {
		w := plainWorld()
		w.name, w.Policy = policy, policy
		b.add(name, sentence, w, l, expect...)
	}
	forbidden := []outcome{refusal(should, 403, "M_FORBIDDEN"), refusal(must, 0, "")}
	unwanted := []outcome{refusal(practice, 403, "M_FORBIDDEN"), refusal(practice, 0, "")}
	refuse("21 the room is blocked", "M_FORBIDDEN … The homeserver refuses to participate in the room.", "room_blocked", forbidden...)
	refuse("21 the origin is blocked", "M_FORBIDDEN … The sender is not allowed to send invites to the target user/homeserver.", "origin_blocked", forbidden...)
	refuse("21 the user takes no invites", "M_INVITE_BLOCKED … the homeserver rejected the invite due to invite blocking", "invites_blocked",
		refusal(should, 403, "M_INVITE_BLOCKED"), refusal(practice, 403, "M_FORBIDDEN"), refusal(must, 0, ""))
	refuse("22 there is no such user", "", "user_unknown", unwanted...)
	refuse("22 too many invites", "", "rate_limited", refusal(practice, 429, "M_LIMIT_EXCEEDED"), refusal(practice, 0, ""))
	refuse("23 the user is in the room", "", "already_joined", unwanted...)
	refuse("23 the user is banned from the room", "", "banned", unwanted...)

	aclFor := func(l letter, name, content string, expect ...outcome) *invitation {
		w := plainWorld().with("", l.from, publicKey{})
		w.name, w.ACL = name, content
		c := b.add("20 "+name, "If the server is denied access to a room, the receiving server MUST reply with a 403 HTTP status code and an errcode of M_FORBIDDEN.", w, l, expect...)
		c.Spec = specACL
		return c
	}
	acl := func(name, content string, expect ...outcome) *invitation { return aclFor(l, name, content, expect...) }
	denied := []outcome{refusal(must, 403, "M_FORBIDDEN")}
	acl("the ACL denies the origin", `{"allow":["*"],"deny":["a.example"]}`, denied...)
	acl("the ACL denies the origin, in other case", `{"allow":["*"],"deny":["A.EXAMPLE"]}`, denied...)
	acl("the ACL denies a pattern", `{"allow":["*"],"deny":["?.ex*"]}`, denied...)
	acl("the ACL allows nobody", `{"allow":[]}`, denied...)
	acl("the ACL allows others", `{"allow":["c.example"]}`, denied...)
	acl("the ACL allows and denies the origin", `{"allow":["a.example"],"deny":["a.example"]}`, denied...)
	acl("the ACL has no allow", `{"deny":[]}`, denied...)
	// What a list should have been is no list; what is no string matches nothing.
	yes := l.accepted(practice, r.shown()...)
	acl("the ACL's deny is no list", `{"allow":["*"],"deny":"a.example"}`, yes, refusal(practice, 403, "M_FORBIDDEN")).noted("what to make of a content of the wrong type is left open")
	acl("the ACL's deny has more than strings", `{"allow":["*"],"deny":[1,null,"a.example"]}`, refusal(practice, 403, "M_FORBIDDEN"), yes).noted("what to make of a content of the wrong type is left open")
	acl("the ACL's allow has more than strings", `{"allow":[1,null,"a.example"]}`, yes, refusal(practice, 403, "M_FORBIDDEN")).noted("what to make of a content of the wrong type is left open")
	at := func(server string) letter {
		k := key{server, "ed25519:1"}
		return r.send(r.sign(r.draft(set("@alice:"+server, "sender")), k), from(k))
	}
	aclFor(at("a.example:8448"), "the ACL denies the origin, which has a port", `{"allow":["*"],"deny":["a.example"]}`, denied...)
	for _, server := range []string{"192.0.2.1", "192.0.2.1:8448", "[2001:db8::1]", "[2001:db8::1]:8448"} {
		l := at(server)
		aclFor(l, "the ACL denies IP literals, "+server, `{"allow":["*"],"allow_ip_literals":false}`, denied...)
		aclFor(l, "the ACL's allow_ip_literals is a string, "+server, `{"allow":["*"],"allow_ip_literals":"false"}`, l.accepted(must, r.shown()...)).Spec = specACLEvent
	}
	acl("the ACL denies others", `{"allow":["*"],"deny":["c.example","*.a.example"]}`, l.accepted(must, r.shown()...))
	return b.file
}
