package fedserver

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/tidwall/gjson"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/seed-0a46cb1a/fedinvite/internal/jsonobject"
	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
)

// maxValidityURLs is how many key_validity_urls are asked for one invite.
const maxValidityURLs = 3

// Why there is no invite to be made.
var (
	errJoined  = errors.New("the user is joined already")
	errInvited = errors.New("the user is invited already, by the same token")
)

// A converter makes invites of third-party invites to our rooms.
type converter struct {
	roomReader
	inviter  *fedclient.Inviter
	keyValid func(ctx context.Context, url, key string) (bool, error)
}

func changeOf(e thirdparty.Exchange) eventauth.Change {
	return eventauth.Change{
		RoomID: e.RoomID, Sender: e.Sender, Target: e.Invitee, Membership: "invite", ThirdParty: e.ThirdPartyInvite(),
	}
}

// view returns the room that e is about, with the state that invite needs.
func (c *converter) view(ctx context.Context, e thirdparty.Exchange) (*roomView, error) {
	change := changeOf(e)
	if change.ThirdParty == nil { // never to become an ordinary invite
		return nil, detail.Errorf(fedinvite.ErrBadJSON, "signed")
	}
	return c.read(ctx, e.RoomID, change.Needs())
}

// invite makes the invite. checking is for what comes before the Inviter. Peers may be
// told the errors. They wrap errJoined or errInvited if there is nothing to do.
func (c *converter) invite(ctx, checking context.Context, e thirdparty.Exchange, view *roomView) (*fedclient.Invited, error) {
	change := changeOf(e)
	// First the rules, so that nobody is asked about a key for an invite that they forbid.
	if err := change.Authorize(view.rules, view.state); err != nil {
		return nil, fromRules(err)
	}
	token, err := findToken(e.Signed, view.state)
	if err != nil {
		return nil, err
	}
	if err := checkMembers(e, token, view.state); err != nil {
		return nil, err
	}
	keys, err := eventauth.VerifyThirdParty(e.Signed, token)
	if err != nil {
		return nil, refuse(http.StatusForbidden, fedinvite.CodeForbidden, "the third-party invite is not signed by a key of the room", err)
	}
	if err := c.checkKeys(checking, keys); err != nil {
		return nil, err
	}
	// The name is the room's to choose: the request could say anything.
	e.DisplayName = displayName(token)
	invited, err := c.inviter.Invite(ctx, fedclient.Invitation{
		RoomID: e.RoomID, Sender: e.Sender, Invitee: e.Invitee, ThirdParty: e.ThirdPartyInvite(),
	})
	return invited, fromInviter(err)
}

// checkMembers demands what is not in the rules, which are for whoever sees such an
// invite later; we are the ones who make it. The rules look at no membership but a ban,
// and signed is no secret once it was used: every member of the room can read it in the
// invite. By them anybody could have us turn a join into an invite again, or make any
// number of invites.
func checkMembers(e thirdparty.Exchange, token *fedinvite.Event, state eventauth.State) error {
	forbidden := func(why string, err error) error {
		return refuse(http.StatusForbidden, fedinvite.CodeForbidden, why, err)
	}
	switch member := state.Get("m.room.member", e.Invitee); {
	case is(member, "join"):
		return forbidden("the user is in the room already", errJoined)
	case is(member, "invite") && usesToken(member, token):
		return forbidden("the user is invited already", errInvited)
	case !is(state.Get("m.room.member", e.Sender), "join"):
		return forbidden("the sender is not in the room", nil)
	}
	return nil
}

func is(member *fedinvite.Event, membership string) bool {
	return member != nil && member.Membership() == membership
}

// usesToken reports whether an invite was made of the third-party invite token.
func usesToken(invite, token *fedinvite.Event) bool {
	used := gjson.Parse(invite.ContentJSON("third_party_invite", "signed", "token"))
	key, _ := token.StateKey()
	return used.Type == gjson.String && used.Str == key
}

// findToken returns the m.room.third_party_invite event that signed is about.
func findToken(signed json.RawMessage, state eventauth.State) (*fedinvite.Event, error) {
	token, err := tokenOf(signed)
	if err != nil {
		return nil, err
	}
	event := state.Get("m.room.third_party_invite", token)
	if event == nil {
		return nil, refuse(http.StatusForbidden, fedinvite.CodeForbidden, "there is no such third-party invite", nil)
	}
	return event, nil
}

// tokenOf returns signed.token.
func tokenOf(signed json.RawMessage) (string, error) {
	text, err := jsonobject.Canonical(signed)
	if err != nil {
		return "", err
	}
	token := gjson.GetBytes(text, "token")
	if token.Type != gjson.String {
		return "", detail.Errorf(fedinvite.ErrBadJSON, "signed.token is not a string")
	}
	return token.Str, nil
}

// displayName returns that of an m.room.third_party_invite event, "" if it is no string.
func displayName(token *fedinvite.Event) string {
	name := gjson.Parse(token.ContentJSON("display_name"))
	if name.Type != gjson.String {
		return ""
	}
	return name.Str
}

// checkKeys demands that one at least of the keys is still valid. A key without a URL is
// valid without end (client-server API, m.room.third_party_invite).
func (c *converter) checkKeys(ctx context.Context, keys []eventauth.ThirdPartyKey) error {
	for _, k := range keys {
		if k.ValidityURL == "" {
			return nil
		}
	}
	var failed error
	asked := make(map[eventauth.ThirdPartyKey]bool, maxValidityURLs)
	for _, k := range keys {
		if asked[k] || len(asked) == maxValidityURLs {
			continue
		}
		asked[k] = true
		valid, err := c.keyValid(ctx, k.ValidityURL, k.Public)
		switch {
		case err != nil:
			failed = err
		case valid:
			return nil
		}
	}
	var refused *fedinvite.Error
	switch {
	case errors.As(failed, &refused) && refused != nil:
		return fromHook(failed)
	case failed != nil:
		return refuse(http.StatusServiceUnavailable, fedinvite.CodeUnknown, "whether the key of the third-party invite is valid cannot be told now", failed)
	}
	return refuse(http.StatusForbidden, fedinvite.CodeForbidden, "the key of the third-party invite is not valid any more", nil)
}
