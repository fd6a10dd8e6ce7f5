package fedclient

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/tidwall/sjson"

	"github.com/seed-0a46cb1a/fedinvite"
)

const thirdPartyInvite = "third_party_invite"

// check refuses an invitation that cannot be, and brings its content into the form in
// which it goes into the event.
func (c *composition) check(context.Context) error {
	var err error
	if _, c.senderServer, err = fedinvite.ParseUserID(c.Sender); err != nil {
		return badInvitation(fedinvite.CodeInvalidParam, "the sender is no user ID", err)
	}
	if _, c.inviteeServer, err = fedinvite.ParseUserID(c.Invitee); err != nil {
		return badInvitation(fedinvite.CodeInvalidParam, "the invited user is no user ID", err)
	}
	// The rest of a room ID's form depends on the room version; the room's own events keep to it.
	if !strings.HasPrefix(c.RoomID, "!") || len(c.RoomID) > maxEventID || !utf8.ValidString(c.RoomID) {
		return badInvitation(fedinvite.CodeInvalidParam, "the room is no room ID", fmt.Errorf("%w: room ID", fedinvite.ErrIdentifier))
	}
	if c.Time.IsZero() {
		c.Time = c.config.Now()
	}
	if c.Time.UnixMilli() < 0 {
		return errors.New("fedclient: Invitation.Time is before 1970")
	}
	switch self := c.Sender == c.Invitee; {
	case c.own && !self:
		return forbidden("users leave for themselves only")
	case self && c.membership == "invite":
		return forbidden("users cannot invite themselves")
	case self && !c.own:
		return forbidden("users decline invites of their own, nobody takes them back")
	}
	if c.membership == "leave" && len(c.ThirdParty) > 0 {
		return badInvitation(fedinvite.CodeBadJSON, "a leave has no third_party_invite", fmt.Errorf("%w: third_party_invite of a leave", fedinvite.ErrBadJSON))
	}
	if c.ThirdParty, err = object(thirdPartyInvite, c.ThirdParty); err != nil {
		return err
	}
	if c.Content, err = object("content", c.Content); err != nil {
		return err
	}
	return c.setThirdParty()
}

// setThirdParty makes content.third_party_invite what ThirdParty is: there or not, it
// decides by which rules the invite is allowed.
func (c *composition) setThirdParty() error {
	var err error
	switch {
	case len(c.ThirdParty) > 0:
		if c.Content == nil {
			c.Content = json.RawMessage("{}")
		}
		c.Content, err = sjson.SetRawBytes(c.Content, thirdPartyInvite, c.ThirdParty)
	case bytes.Contains(c.Content, []byte(thirdPartyInvite)):
		c.Content, err = sjson.DeleteBytes(c.Content, thirdPartyInvite)
	}
	if err != nil {
		return fmt.Errorf("fedclient: third_party_invite: %w", err)
	}
	return nil
}

// object returns a JSON object in canonical form; nil for nothing.
func object(name string, raw json.RawMessage) (json.RawMessage, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	text, err := fedinvite.CanonicalJSON(raw)
	if err == nil && text[0] != '{' {
		err = fmt.Errorf("%w: not an object", fedinvite.ErrBadJSON)
	}
	if err != nil {
		return nil, badInvitation(fedinvite.CodeBadJSON, name+" is no JSON object that an event may hold", err)
	}
	return text, nil
}
