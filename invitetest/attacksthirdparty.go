package invitetest

import "github.com/seed-0a46cb1a/fedinvite"

// thirdPartyAttacks are about third-party invites, which their sender's server need not
// have signed.
func thirdPartyAttacks() []attack {
	return []attack{
		{
			name:     "third-party-unsigned",
			sentence: "The server that sends a third-party invite has signed it, whoever its sender is.",
			link:     linkValidating, level: Must,
			rooms: func(r fedinvite.Rules) bool { return !hasEventID(r) }, // else the event ID's server has to sign
			tries: []try{
				requested("a user of the origin, signed by nobody", func(f *foe) Request {
					return f.request(unsigned(f.thirdParty("@alice:" + string(f.name()))))
				}),
				requested("a user of another server, signed by nobody", func(f *foe) Request {
					return f.request(unsigned(f.thirdParty("@alice:another.example")))
				}),
				withSecond("a user of the origin, signed by another server that it names", func(f *foe, s *Server) {
					event := unsigned(f.thirdParty("@alice:" + string(f.name())))
					via := Set("@admin:"+string(s.Name()), "content", "join_authorised_via_users_server")
					f.fails(f.request(f.room.Sign(Change(event, via), s.Signer())))
				}),
			},
		},
		{
			name:     "third-party-forged",
			sentence: "Who must have signed is asked of the copy that is kept: what redaction makes an ordinary invite is one.",
			link:     linkValidating, level: Must,
			rooms: func(r fedinvite.Rules) bool { return !hasEventID(r) && !r.Redaction.KeepThirdParty },
			tries: []try{
				requested("by another server's user, signed by nobody", func(f *foe) Request { return f.request(f.forged("@alice:another.example")) }),
				requested("by a user of the origin, signed by nobody", func(f *foe) Request { return f.request(f.forged("@alice:" + string(f.name()))) }),
			},
		},
	}
}

// thirdParty returns a third-party invite, signed by the peer.
func (f *foe) thirdParty(sender string) []byte {
	invite := Object{"display_name": "a…@e…", "signed": ThirdPartySigned(f.invitee, "token", Signer("identity.example"))}
	return f.signed(Set(sender, "sender"), Set(invite, "content", "third_party_invite"))
}

// forged returns an invite that looks like a third-party one until its content hash, which
// is wrong, has it redacted.
func (f *foe) forged(sender string) []byte {
	return Change(unsigned(f.thirdParty(sender)), Set("changed", "content", "reason"))
}

// unsigned takes all signatures off an event.
func unsigned(event []byte) []byte { return Change(event, Set(Object{}, "signatures")) }
