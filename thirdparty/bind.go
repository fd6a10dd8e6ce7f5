package thirdparty

import (
	"encoding/json"
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/tidwall/gjson"
)

const maxInvites = 50

// A Bind is the body of PUT or POST /_matrix/federation/v1/3pid/onbind, which an identity
// server sends, unauthenticated: a third-party identifier belongs to one of our users now.
// Nothing in it is proven but what the room's own keys prove of Signed.
type Bind struct {
	Medium, Address string // such as "email" and "alice@example.com"
	UserID          string // mxid
	Invites         []Invite
}

// An Invite is a pending invite of a [Bind].
type Invite struct {
	Medium, Address string
	UserID          string // mxid; that of the Bind, and of Signed
	RoomID, Sender  string
	Signed          json.RawMessage // in canonical form, with every member that came
}

// ParseBind reads the body of an onbind request. Members that are not known are ignored,
// in the invites too, of which there may be 50. User IDs must be such; room IDs begin
// with '!', their versions are not known yet; no string may have more than 255 bytes. All
// invites must be for the user of the Bind. The size is the caller's to bound.
//
// Errors wrap [fedinvite.ErrNotJSON]; [fedinvite.ErrMissing] if medium, address, mxid or
// invites is absent; [fedinvite.ErrBadJSON] for everything else. One malformed invite
// refuses the whole body, so that whoever sent it learns of it.
func ParseBind(body []byte) (Bind, error) {
	o, err := parseObject(body)
	if err != nil {
		return Bind{}, err
	}
	b := Bind{Medium: o.short("medium"), Address: o.short("address"), UserID: o.userID("mxid")}
	invites := o.member("invites")
	if invites.Exists() && !invites.IsArray() {
		o.bad("invites", "is not an array")
	}
	if o.err != nil {
		return Bind{}, o.err
	}
	invites.ForEach(func(_, value gjson.Result) bool {
		var inv Invite
		if len(b.Invites) == maxInvites {
			err = detail.Errorf(fedinvite.ErrBadJSON, "more than %d invites", maxInvites)
		} else if inv, err = parseInvite(value, b.UserID, len(b.Invites)); err == nil {
			b.Invites = append(b.Invites, inv)
		}
		return err == nil
	})
	if err != nil {
		return Bind{}, err
	}
	return b, nil
}

// parseInvite reads invite number n of a bind of the user.
func parseInvite(value gjson.Result, userID string, n int) (Invite, error) {
	o := objectOf(value, fmt.Sprintf("invites[%d].", n), fedinvite.ErrBadJSON)
	if o == nil {
		return Invite{}, detail.Errorf(fedinvite.ErrBadJSON, "invites[%d] is not an object", n)
	}
	inv := Invite{
		Medium:  o.short("medium"),
		Address: o.short("address"),
		UserID:  o.userID("mxid"),
		RoomID:  o.roomID("room_id"),
		Sender:  o.userID("sender"),
	}
	var signedFor string
	inv.Signed, signedFor = o.signed("signed")
	if inv.UserID != userID || signedFor != userID {
		o.bad("mxid", "is not the user of the bind, or not that of signed")
	}
	if o.err != nil {
		return Invite{}, o.err
	}
	return inv, nil
}

// Exchange returns the request that asks the sender's server to make an invite of this.
// It has no display name: that is in the room, where the sender's server takes it from.
func (i Invite) Exchange() Exchange {
	return Exchange{RoomID: i.RoomID, Sender: i.Sender, Invitee: i.UserID, Signed: i.Signed}
}
