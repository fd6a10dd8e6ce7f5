package invitetest

import (
	"bytes"
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
)

// signingAttacks are about what a victim would vouch for with its signature.
func signingAttacks() []attack {
	return []attack{
		{
			name:     "sender-elsewhere",
			sentence: "The event sender is a user ID on the origin server: nobody invites in the name of another server's users.",
			link:     linkInvite, level: Must,
			tries: []try{
				edited("signed by the origin alone", Set("@alice:another.example", "sender")),
				withSecond("signed by the sender's server, sent by the peer", func(f *foe, s *Server) { f.fails(f.inNameOf(s, s.Signer())) }),
				withSecond("signed by both", func(f *foe, s *Server) { f.fails(f.inNameOf(s, s.Signer(), f.target.Peer.Signer())) }),
				requested("a third-party invite in the name of another server's user", func(f *foe) Request {
					return f.request(f.thirdParty("@alice:another.example"))
				}),
				requested("in the name of the invited user", func(f *foe) Request { return f.request(f.signed(Set(f.invitee, "sender"))) }),
			},
		},
		{
			name:     "not-an-invite",
			sentence: "Servers sign nothing but invites: type m.room.member, membership invite, and a state_key.",
			link:     linkInvite, level: Must,
			tries: []try{
				edited("membership join", Set("join", "content", "membership")),
				edited("membership leave", Set("leave", "content", "membership")),
				edited("membership ban", Set("ban", "content", "membership")),
				edited("membership knock", Set("knock", "content", "membership")),
				edited("membership in capitals", Set("INVITE", "content", "membership")),
				edited("membership with a space", Set("invite ", "content", "membership")),
				edited("membership in a list", Set([]any{"invite"}, "content", "membership")),
				edited("membership null", Set(nil, "content", "membership")),
				edited("no membership", Drop("content", "membership")),
				edited("membership outside of the content", Set("invite", "membership"), Drop("content", "membership")),
				edited("m.room.power_levels", Set("m.room.power_levels", "type")),
				edited("m.room.create", Set("m.room.create", "type")),
				edited("m.room.join_rules", Set("m.room.join_rules", "type")),
				edited("m.room.third_party_invite", Set("m.room.third_party_invite", "type")),
				edited("m.room.message", Set("m.room.message", "type")),
				edited("a message, no state event", Set("m.room.message", "type"), Drop("state_key")),
				edited("a type in capitals", Set("M.ROOM.MEMBER", "type")),
				edited("no state_key", Drop("state_key")),
			},
		},
		{
			name:     "invitee-elsewhere",
			sentence: "The state_key is a user ID on the receiving server.",
			link:     linkInvite, level: Must,
			tries: []try{
				edited("a user of a third server", Set("@alice:another.example", "state_key")),
				requested("a user of the origin", func(f *foe) Request { return f.inviting("@alice:" + string(f.name())) }),
				requested("a server name that ends like the victim's", func(f *foe) Request { return f.inviting("@alice:x" + string(f.target.Name)) }),
				requested("a user ID with two servers", func(f *foe) Request { return f.inviting("@alice:another.example:" + string(f.target.Name)) }),
				requested("the server alone", func(f *foe) Request { return f.inviting(string(f.target.Name)) }),
				requested("no sigil", func(f *foe) Request { return f.inviting("alice:" + string(f.target.Name)) }),
				requested("a room alias", func(f *foe) Request { return f.inviting("#alice:" + string(f.target.Name)) }),
				edited("nobody", Set("", "state_key")),
			},
		},
		{
			name:     "other-spelling",
			sentence: "Members of an event are known by their exact names: nothing else stands for membership, type, sender or state_key.",
			link:     linkJSON, level: Must,
			tries: []try{
				requested("Membership", func(f *foe) Request {
					event := f.signed(Set("join", "content", "membership"), Set("invite", "content", "Membership"))
					return f.behind(event, `{"Membership":"invite","membership":"join"}`, `{"membership":"join","Membership":"invite"}`)
				}),
				requested("Type", func(f *foe) Request {
					event := f.signed(Set("m.room.power_levels", "type"), Set("m.room.member", "Type"))
					return f.behind(event, `"Type":"m.room.member",`, ``, `"type":"m.room.power_levels"`, `"type":"m.room.power_levels","Type":"m.room.member"`)
				}),
				requested("Sender", func(f *foe) Request {
					event := f.signed(Set("@alice:another.example", "sender"), Set("@alice:"+string(f.name()), "Sender"))
					own := `"Sender":` + quoted("@alice:"+f.name())
					return f.behind(event, own+`,`, ``, `"sender":"@alice:another.example"`, `"sender":"@alice:another.example",`+own)
				}),
			},
		},
		{
			name:     "event-id-elsewhere",
			sentence: "Room versions 1 and 2 also require that a signature is present from the domain in the event_id.",
			link:     linkValidating, level: Must, rooms: hasEventID,
			tries: []try{
				edited("of a server that does not exist", Set("$invite:another.example", "event_id")),
				withSecond("of another server", func(f *foe, s *Server) {
					f.fails(f.request(f.signed(Set("$invite:"+string(s.Name()), "event_id"))))
				}),
			},
		},
		{
			name:     "authorising-server",
			sentence: "A member event that names a user in join_authorised_via_users_server is signed by that user's server.",
			link:     linkV8Auth, level: Practice,
			rooms: func(r fedinvite.Rules) bool { return r.AuthorisingServerSigns },
			tries: []try{
				edited("not signed by it", Set("@admin:another.example", "content", "join_authorised_via_users_server")),
				edited("no user ID", Set(7, "content", "join_authorised_via_users_server")),
			},
		},
		{
			name:     "changed-content",
			sentence: "If the content hash is wrong, the redacted copy counts: nothing that was changed after hashing comes back.",
			link:     linkValidating, level: Should,
			tries: []try{
				{"a reason", func(f *foe) { f.losesChange(Set("changed-after-hashing", "content", "reason")) }},
				{"a display name", func(f *foe) { f.losesChange(Set("changed-after-hashing", "content", "displayname")) }},
				{"a member beside the content", func(f *foe) { f.losesChange(Set("changed-after-hashing", "org.example.member")) }},
			},
		},
	}
}

func hasEventID(r fedinvite.Rules) bool { return r.EventIDs == fedinvite.EventIDServer }

// inNameOf returns the request with which the peer sends an invite of a user of another
// server. It is in order but for that.
func (f *foe) inNameOf(s *Server, signers ...fedinvite.Signer) Request {
	draft := f.room.InviteDraft(f.invitee, Set("@alice:"+string(s.Name()), "sender"))
	return f.request(f.room.Sign(draft, signers...))
}

// inviting returns the request with an invite of anybody.
func (f *foe) inviting(user string) Request {
	return f.request(f.signed(Set(user, "state_key")))
}

// behind returns the request for an event whose members come in another order: pairs are
// what is replaced by what. That changes nothing for who reads it rightly.
func (f *foe) behind(event []byte, pairs ...string) Request {
	q := f.request(event)
	for i := 0; i < len(pairs); i += 2 {
		q.Body = replaceOnce(q.Body, pairs[i], pairs[i+1])
	}
	return q
}

// losesChange sends an invite that was changed after hashing. It is refused, or the change
// is not in what comes back.
func (f *foe) losesChange(edit Edit) {
	q := f.request(Change(f.signed(), edit))
	a := f.send(q)
	if a.status != http.StatusOK {
		f.refuses(a)
		return
	}
	event := f.accepts(q, a)
	if event != nil && bytes.Contains(event, []byte("changed-after-hashing")) {
		f.departs("what was changed after hashing is in the event that it returns")
	}
}
