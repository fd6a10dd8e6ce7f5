package thirdparty

import (
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/tidwall/gjson"
)

const (
	typeMember = "m.room.member"
	membership = "invite"
)

// An Exchange is the body of PUT
// /_matrix/federation/v1/exchange_third_party_invite/{roomId}: a partial m.room.member
// event.
type Exchange struct {
	RoomID, Sender, Invitee string
	DisplayName             string          // content.third_party_invite.display_name
	Signed                  json.RawMessage // content.third_party_invite.signed, with every member that came
}

// ParseExchange reads the body. Type and membership must be those of an invite. Members
// that are not known are ignored. display_name may be absent, as today's servers leave it
// out: the one in the room's m.room.third_party_invite event counts. User IDs must be
// such; the room ID begins with '!', its version is not known yet; no other string but
// display_name may have more than 255 bytes. The size is the caller's to bound.
//
// Errors wrap [fedinvite.ErrNotJSON]; [fedinvite.ErrMissing] if a required member is
// absent; [fedinvite.ErrNotInvite]; [fedinvite.ErrBadJSON] for everything else.
func ParseExchange(body []byte) (Exchange, error) {
	o, err := parseObject(body)
	if err != nil {
		return Exchange{}, err
	}
	eventType := o.text("type")
	x := Exchange{RoomID: o.roomID("room_id"), Sender: o.userID("sender"), Invitee: o.userID("state_key")}
	content := o.object("content")
	is := content.text("membership")
	thirdParty := content.object("third_party_invite")
	x.DisplayName = displayName(thirdParty)
	x.Signed, _ = thirdParty.signed("signed")
	for _, o := range []*object{o, content, thirdParty} {
		if o.err != nil {
			return Exchange{}, o.err
		}
	}
	if eventType != typeMember || is != membership {
		return Exchange{}, detail.Errorf(fedinvite.ErrNotInvite, "type or membership of the event")
	}
	return x, nil
}

func displayName(thirdParty *object) string {
	name, ok := thirdParty.members["display_name"]
	if ok && name.Type != gjson.String {
		thirdParty.bad("display_name", "is not a string")
	}
	return name.Str
}

// MarshalJSON writes the body in canonical form: type, room_id, sender, state_key and
// content. [encoding/json.Marshal] escapes '<', '>' and '&' in it anew; call this for the
// bytes. Errors wrap [fedinvite.ErrNotJSON] or [fedinvite.ErrBadJSON] if Signed is no
// JSON object, and [fedinvite.ErrBadText].
func (e Exchange) MarshalJSON() ([]byte, error) {
	for _, s := range []string{e.RoomID, e.Sender, e.Invitee} {
		if !utf8.ValidString(s) {
			return nil, detail.Errorf(fedinvite.ErrBadText, "an ID")
		}
	}
	thirdParty, err := e.thirdPartyInvite()
	if err != nil {
		return nil, err
	}
	return encode(map[string]any{
		"type":      typeMember,
		"room_id":   e.RoomID,
		"sender":    e.Sender,
		"state_key": e.Invitee,
		"content":   map[string]any{"membership": membership, "third_party_invite": thirdParty},
	})
}

// ThirdPartyInvite returns content.third_party_invite of the invite that is to be made,
// in canonical form: display_name, which the resident server sets to that of the room
// first, and signed. It is nil if Signed is no JSON object or the name is no valid UTF-8.
func (e Exchange) ThirdPartyInvite() json.RawMessage {
	thirdParty, err := e.thirdPartyInvite()
	if err != nil {
		return nil
	}
	return thirdParty
}

func (e Exchange) thirdPartyInvite() (json.RawMessage, error) {
	if !utf8.ValidString(e.DisplayName) {
		return nil, detail.Errorf(fedinvite.ErrBadText, "display name")
	}
	// By itself, so that it cannot add members of its own to what is around it.
	signed, err := parseObject(e.Signed)
	if err != nil {
		return nil, fmt.Errorf("signed: %w", err)
	}
	return encode(map[string]any{"display_name": e.DisplayName, "signed": signed.raw})
}

// encode writes canonical JSON in which the numbers of others stay as they are.
func encode(v any) ([]byte, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fedinvite.ErrBadJSON, err)
	}
	return fedinvite.LegacyCanonicalJSON(text)
}

// Check checks the request against the path it came by, the server that sent it and the
// one of ours that it was sent to: the room of the path ([fedinvite.ErrBadJSON]), the
// invited user on origin ([fedinvite.ErrOrigin]), the user who invites on destination
// ([fedinvite.ErrNotLocal]), signed.mxid the invited user ([fedinvite.ErrMismatch]). If
// Signed is no JSON object, that is [fedinvite.ErrNotJSON] or [fedinvite.ErrBadJSON]. Its
// signatures are eventauth's to verify.
func (e Exchange) Check(roomID string, origin, destination fedinvite.ServerName) error {
	if e.RoomID != roomID {
		return detail.Errorf(fedinvite.ErrBadJSON, "room_id is not the room of the path")
	}
	if !isUserOf(e.Invitee, origin) {
		return detail.Errorf(fedinvite.ErrOrigin, "state_key is a user of another server")
	}
	if !isUserOf(e.Sender, destination) {
		return detail.Errorf(fedinvite.ErrNotLocal, "sender is a user of another server")
	}
	signed, err := parseObject(e.Signed)
	if err != nil {
		return fmt.Errorf("signed: %w", err)
	}
	if signed.text("mxid") != e.Invitee {
		return detail.Errorf(fedinvite.ErrMismatch, "signed.mxid is not the invited user")
	}
	return nil
}

// isUserOf reports whether userID is a user ID of server.
func isUserOf(userID string, server fedinvite.ServerName) bool {
	_, host, err := fedinvite.ParseUserID(userID)
	return err == nil && host == server
}
