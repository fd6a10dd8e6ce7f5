package invitetest

import (
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
)

// v1Checks are about the v1 endpoint.
func v1Checks() []Check {
	var all []Check
	for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV2} {
		all = append(all, Check{
			Name:     "v1/v" + string(v),
			Sentence: fmt.Sprintf("By the v1 endpoint, an invite to a room of version %s is answered by [200, {\"event\": …}] with the server's signature.", v),
			Link:     linkInviteV1, Level: Must, run: func(p *probe) { p.acceptsV1(v) },
		})
	}
	return append(all,
		Check{
			Name:     "v1/type",
			Sentence: "By the v1 endpoint, an event that is not of type m.room.member is refused with M_INVALID_PARAM.",
			Link:     linkInviteV1, Level: Should, run: refusesV1(Set("m.room.name", "type")),
		},
		Check{
			Name:     "v1/membership",
			Sentence: "By the v1 endpoint, an event whose membership is not invite is refused with M_INVALID_PARAM.",
			Link:     linkInviteV1, Level: Should, run: refusesV1(Set("leave", "content", "membership")),
		},
		Check{
			Name:     "v1/sender",
			Sentence: "By the v1 endpoint, an event whose sender is not a user ID on the origin server is refused with M_INVALID_PARAM.",
			Link:     linkInviteV1, Level: Should, run: refusesV1(Set("@alice:elsewhere.invalid", "sender")),
		},
		Check{
			Name:     "v1/state-key",
			Sentence: "By the v1 endpoint, an event whose state_key is not a user ID on the receiving server is refused with M_INVALID_PARAM.",
			Link:     linkInviteV1, Level: Should, run: refusesV1(Set("@bob:elsewhere.invalid", "state_key")),
		},
		Check{
			Name:     "v1/signature",
			Sentence: "By the v1 endpoint, an event that fails the signature check is refused with M_INVALID_PARAM.",
			Link:     linkInviteV1, Level: Should, run: checkV1Signature,
		},
	)
}

func (p *probe) acceptsV1(v fedinvite.RoomVersion) {
	if p.needs(v) {
		r, invite, _ := p.invite(v)
		q := r.RequestV1(invite, p.target.Name)
		p.accepts(q, p.send(q))
	}
}

// refusesV1 sends an event that is no invite.
func refusesV1(edits ...Edit) func(*probe) {
	return func(p *probe) {
		if v, ok := p.early(); ok {
			r, invite, _ := p.invite(v, edits...)
			p.refuses(p.send(r.RequestV1(invite, p.target.Name)), invalid)
		}
	}
}

func checkV1Signature(p *probe) {
	if v, ok := p.early(); ok {
		r, invite, _ := p.invite(v)
		other := r.Invite(p.invitee(), Set(1, "depth"))
		p.refuses(p.send(r.RequestV1(Change(invite, Set(other.Signatures(), "signatures")), p.target.Name)), invalid)
	}
}
