package eventauth

import (
	"encoding/json"

	"github.com/seed-0a46cb1a/fedinvite"
)

// thirdParty is content.third_party_invite of an invite, taken apart. What is nil is not there.
type thirdParty struct {
	signed, mxid json.RawMessage
	named        bool   // signed has mxid and token, of whatever type
	token        string // if it is a string
	hasToken     bool
}

// takeApart reads content.third_party_invite. What is no JSON has nothing.
func takeApart(raw json.RawMessage) (t thirdParty) {
	canonical, err := fedinvite.LegacyCanonicalJSON(raw)
	if err != nil {
		return t
	}
	t.signed = members(canonical)["signed"]
	signed := members(t.signed)
	t.mxid = signed["mxid"]
	token := signed["token"]
	t.named = t.mxid != nil && token != nil
	t.token, t.hasToken = text(string(token))
	return t
}

// thirdPartyInvite checks the rule "If content has a third_party_invite property".
func (a *attempt) thirdPartyInvite() error {
	target, err := a.membership(a.view.target)
	if err != nil {
		return err
	}
	t := &a.thirdParty
	mxid, isText := text(string(t.mxid))
	switch {
	case target == ban:
		return a.rejectThirdParty("the target is banned", 1)
	case t.signed == nil:
		return a.rejectThirdParty("third_party_invite has no signed", 2)
	case !t.named:
		return a.rejectThirdParty("signed has no mxid or no token", 3)
	case !isText || mxid != a.Target:
		return a.rejectThirdParty("mxid is not the target", 4)
	case a.view.token == nil:
		return a.rejectThirdParty("there is no m.room.third_party_invite event of that token", 5)
	case a.Sender != a.view.token.Sender():
		return a.rejectThirdParty("the sender has not sent the m.room.third_party_invite event", 6)
	}
	if _, err := signingKeys(t.signed, publicKeys(a.view.token), true); err != nil {
		return a.rejectThirdParty("signed is not signed by a key of the m.room.third_party_invite event", 8)
	}
	return nil
}

func (a *attempt) rejectThirdParty(reason string, part int) error {
	return a.rejectMember(reason, int(a.rules.Auth.InviteRule), 1, part)
}
