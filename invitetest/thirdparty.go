package invitetest

import (
	"encoding/base64"
	"encoding/json"

	"github.com/seed-0a46cb1a/fedinvite"
)

// ThirdParty adds the creator's invite for somebody who is known by an e-mail address only,
// an m.room.third_party_invite event, and returns it. token is its state key; identity is
// the identity server, whose key is both public_key and in public_keys.
func (r *Room) ThirdParty(token string, identity fedinvite.Signer, edits ...Edit) *fedinvite.Event {
	key := Object{
		"public_key":       base64.RawStdEncoding.EncodeToString(identity.Public()),
		"key_validity_url": "https://" + string(identity.ServerName()) + "/_matrix/identity/v2/pubkey/isvalid",
	}
	content := Object{"display_name": "t…@e…", "public_keys": []any{key}}
	for name, value := range key {
		content[name] = value
	}
	return r.Set("m.room.third_party_invite", token, content, edits...)
}

// ThirdPartyInvite is [Room.Invite] of a user to whom the address of a [Room.ThirdParty]
// belongs, as identity says by its signature.
func (r *Room) ThirdPartyInvite(invitee, token string, identity fedinvite.Signer, edits ...Edit) *fedinvite.Event {
	content := Object{"membership": "invite", "third_party_invite": Object{
		"display_name": "t…@e…", "signed": ThirdPartySigned(invitee, token, identity),
	}}
	return r.Parse(r.Sign(r.Draft(r.creator, "m.room.member", invitee, content, edits...)))
}

// ThirdPartySigned returns what an identity server signs when the address of a token turns
// out to be that of a user: content.third_party_invite.signed of the invite, and signed in
// the requests that lead to it. The edits are made before.
func ThirdPartySigned(invitee, token string, identity fedinvite.Signer, edits ...Edit) json.RawMessage {
	return Sign(Change(Encode(Object{"mxid": invitee, "token": token}), edits...), identity)
}
