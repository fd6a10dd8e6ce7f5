package thirdparty

import (
	"encoding/json"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/seed-0a46cb1a/fedinvite/internal/jsonobject"
	"github.com/tidwall/gjson"
)

const maxString = 255 // bytes of an identifier, a token, an address

// An object reads the members of a peer's JSON object. It keeps the first error.
type object struct {
	raw     json.RawMessage // all of it
	members map[string]gjson.Result
	place   string // what the object is, with a dot, for errors
	absent  error  // what the absence of a required member wraps
	err     error
}

// parseObject reads the body of a request.
func parseObject(body []byte) (*object, error) {
	text, err := jsonobject.Canonical(body)
	if err != nil {
		return nil, err
	}
	return objectOf(gjson.ParseBytes(text), "", fedinvite.ErrMissing), nil
}

// objectOf returns nil if value, a part of canonical JSON, is no object.
func objectOf(value gjson.Result, place string, absent error) *object {
	if !value.IsObject() {
		return nil
	}
	o := &object{raw: json.RawMessage(value.Raw), members: map[string]gjson.Result{}, place: place, absent: absent}
	value.ForEach(func(key, member gjson.Result) bool {
		o.members[key.String()] = member
		return true
	})
	return o
}

func (o *object) fail(err error) {
	if o.err == nil {
		o.err = err
	}
}

func (o *object) bad(name, problem string) {
	o.fail(detail.Errorf(fedinvite.ErrBadJSON, "%s%s %s", o.place, name, problem))
}

// member returns a required member.
func (o *object) member(name string) gjson.Result {
	m, ok := o.members[name]
	if !ok {
		o.fail(detail.Errorf(o.absent, "%s%s", o.place, name))
	}
	return m
}

// text returns a required string.
func (o *object) text(name string) string {
	m := o.member(name)
	if m.Exists() && m.Type != gjson.String {
		o.bad(name, "is not a string")
	}
	return m.Str
}

// short returns a required string of at most 255 bytes.
func (o *object) short(name string) string {
	s := o.text(name)
	if len(s) > maxString {
		o.bad(name, "is too long")
	}
	return s
}

func (o *object) userID(name string) string {
	id := o.text(name)
	if o.err != nil {
		return id
	}
	if _, _, err := fedinvite.ParseUserID(id); err != nil {
		o.fail(detail.Errorf(fedinvite.ErrIdentifier, "%s%s is no user ID", o.place, name))
	}
	return id
}

// roomID takes what may be a room ID: the room version, which would say more, is not
// known here.
func (o *object) roomID(name string) string {
	id := o.short(name)
	if o.err == nil && !strings.HasPrefix(id, "!") {
		o.fail(detail.Errorf(fedinvite.ErrIdentifier, "%s%s is no room ID", o.place, name))
	}
	return id
}

// object returns a required object, or an empty one after an error.
func (o *object) object(name string) *object {
	m := o.member(name)
	inner := objectOf(m, o.place+name+".", o.absent)
	if inner != nil {
		return inner
	}
	if m.Exists() {
		o.bad(name, "is not an object")
	}
	return &object{absent: o.absent}
}

// signed returns a required object that an identity server has signed, and the user whom
// it is about.
func (o *object) signed(name string) (raw json.RawMessage, mxid string) {
	inner := o.object(name)
	mxid = inner.userID("mxid")
	inner.short("token")
	inner.object("signatures")
	if inner.err != nil {
		o.fail(inner.err)
	}
	return inner.raw, mxid
}
