package leave

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strconv"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/seed-0a46cb1a/fedinvite/internal/jsonobject"
	"github.com/tidwall/gjson"
)

// A Template is the answer to make_leave: an event to be completed and signed.
type Template struct {
	RoomVersion fedinvite.RoomVersion // "" if the resident server did not say: 1 or 2
	Event       json.RawMessage
}

// ParseTemplate reads the body of the answer to GET
// /_matrix/federation/v1/make_leave/{roomId}/{userId}. The event comes out in canonical
// form; it is not checked yet, which [Template.Sign] does. Members that are not known are
// ignored. The size is the caller's to bound.
//
// Errors wrap [fedinvite.ErrNotJSON]; [fedinvite.ErrBadJSON], also if room_version is
// there but no string, or an empty one; [fedinvite.ErrMissing] without an event.
func ParseTemplate(body []byte) (Template, error) {
	text, err := jsonobject.Canonical(body)
	if err != nil {
		return Template{}, err
	}
	version, event := gjson.GetBytes(text, "room_version"), gjson.GetBytes(text, "event")
	switch {
	case version.Exists() && (version.Type != gjson.String || version.Str == ""):
		return Template{}, detail.Errorf(fedinvite.ErrBadJSON, "room_version is not a string, or empty")
	case !event.Exists():
		return Template{}, detail.Errorf(fedinvite.ErrMissing, "event")
	case !event.IsObject():
		return Template{}, detail.Errorf(fedinvite.ErrBadJSON, "event is not an object")
	}
	return Template{fedinvite.RoomVersion(version.Str), json.RawMessage(event.Raw)}, nil
}

// NewTemplate makes the template with which a resident server answers make_leave: the
// draft's auth_events, prev_events, depth and time for a leave of d.Sender, who must be
// d.Invitee ([fedinvite.ErrMismatch]). resident goes into origin, which the specification
// wants there. EventID and Content of the draft are not used: both are for the server
// that leaves.
//
// Other errors wrap [fedinvite.ErrRoomVersion], or [fedinvite.ErrBadJSON] for whatever
// would break the format of the event, as in [fedinvite.NewLeave].
func NewTemplate(d fedinvite.Draft, resident fedinvite.ServerName, rules fedinvite.Rules) (Template, error) {
	if d.Sender != d.Invitee {
		return Template{}, detail.Errorf(fedinvite.ErrMismatch, "nobody but the sender leaves")
	}
	if _, err := fedinvite.ParseServerName(string(resident)); err != nil {
		return Template{}, err
	}
	if !utf8.ValidString(d.RoomID) {
		return Template{}, detail.Errorf(fedinvite.ErrBadText, "room ID")
	}
	p, err := newParts(Departure{RoomID: d.RoomID, UserID: d.Sender, Time: d.Time}, rules)
	if err != nil {
		return Template{}, err
	}
	if p.authEvents, err = references(d.AuthEvents, rules); err != nil {
		return Template{}, fmt.Errorf("auth_events: %w", err)
	}
	if p.prevEvents, err = references(d.PrevEvents, rules); err != nil {
		return Template{}, fmt.Errorf("prev_events: %w", err)
	}
	p.depth = strconv.AppendInt(nil, d.Depth, 10)
	members, err := p.members()
	if err != nil {
		return Template{}, err
	}
	if err := p.check(members, "ed25519:1"); err != nil {
		return Template{}, err
	}
	delete(members, "event_id")
	members["origin"] = resident
	event, err := encode(members)
	if err != nil {
		return Template{}, err
	}
	return Template{rules.Version, event}, nil
}

// references writes our own auth_events or prev_events.
func references(refs []fedinvite.EventRef, rules fedinvite.Rules) (json.RawMessage, error) {
	all := make([]any, len(refs))
	for i, ref := range refs {
		if !utf8.ValidString(ref.ID) {
			return nil, detail.Errorf(fedinvite.ErrBadText, "event ID")
		}
		if rules.EventIDs == fedinvite.EventIDServer && len(ref.SHA256) != sha256.Size {
			return nil, detail.Errorf(fedinvite.ErrBadJSON, "a reference hash that is not 32 bytes")
		}
		all[i] = reference(ref, rules)
	}
	return encode(all)
}

// MarshalJSON writes the body of the answer, in canonical form, without room_version if
// that is empty. Errors wrap [fedinvite.ErrNotJSON] or [fedinvite.ErrBadJSON] if Event is
// no JSON object.
func (t Template) MarshalJSON() ([]byte, error) {
	event, err := jsonobject.Canonical(t.Event)
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	body := map[string]any{"event": json.RawMessage(event)}
	if t.RoomVersion != "" {
		body["room_version"] = t.RoomVersion
	}
	return encode(body)
}

// Check checks what the specification demands before a template may be signed
// (server-server API, GET make_leave): room_id is roomID, sender and state_key are
// userID, else the error wraps [fedinvite.ErrMismatch]; type and content.membership are
// those of a leave, else [fedinvite.ErrNotLeave]. A member that is absent or no string is
// none of these. If Event is no JSON object, that is [fedinvite.ErrNotJSON] or
// [fedinvite.ErrBadJSON].
func (t Template) Check(roomID, userID string) error {
	_, err := t.checked(roomID, userID)
	return err
}

// checked returns the event in canonical form if it passes Check.
func (t Template) checked(roomID, userID string) ([]byte, error) {
	event, err := jsonobject.Canonical(t.Event)
	if err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	for _, c := range []struct {
		path, want string
		otherwise  error
	}{
		{"room_id", roomID, fedinvite.ErrMismatch},
		{"sender", userID, fedinvite.ErrMismatch},
		{"state_key", userID, fedinvite.ErrMismatch},
		{"type", typeMember, fedinvite.ErrNotLeave},
		{"content.membership", membership, fedinvite.ErrNotLeave},
	} {
		if got := gjson.GetBytes(event, c.path); got.Type != gjson.String || got.Str != c.want {
			return nil, detail.Errorf(c.otherwise, "%s of the template", c.path)
		}
	}
	return event, nil
}

// Sign checks the template and makes the leave of it, hashed and signed by s, which must
// be of the user's server. rules are those of the room; the template has to name their
// version, or one whose rules are the same but for the name, as those of room versions 1
// and 2 are; in these it may also name none. Of the template it takes auth_events,
// prev_events and depth, nothing else; room, user, time and content are d's, and so is
// event_id in room versions 1–2. The event keeps the limits of [fedinvite.NewLeave].
//
// Errors are those of [Template.Check], with d's room and user;
// [fedinvite.ErrMismatch] if the template is of another room version;
// [fedinvite.ErrRoomVersion]; [fedinvite.ErrBadJSON] for whatever breaks the format of
// the event, in d or in the template, or [fedinvite.ErrNotJSON] for d.Content;
// [fedinvite.ErrSignature] if s is of another server; or come from s, which is asked last.
func (t Template) Sign(ctx context.Context, d Departure, rules fedinvite.Rules, s fedinvite.Signer) (*fedinvite.Event, error) {
	event, err := t.checked(d.RoomID, d.UserID)
	if err != nil {
		return nil, err
	}
	if err := t.checkVersion(rules); err != nil {
		return nil, err
	}
	p, err := newParts(d, rules)
	if err != nil {
		return nil, err
	}
	if p.authEvents, err = takeReferences(event, "auth_events", rules); err != nil {
		return nil, err
	}
	if p.prevEvents, err = takeReferences(event, "prev_events", rules); err != nil {
		return nil, err
	}
	depth := gjson.GetBytes(event, "depth")
	if depth.Type != gjson.Number {
		return nil, detail.Errorf(fedinvite.ErrBadJSON, "depth of the template is not a number")
	}
	p.depth = json.RawMessage(depth.Raw)
	return p.sign(ctx, s)
}

// checkVersion takes a template that names the version of rules, or any known one whose
// rules are the same but for the name: its events are the same too. Room versions 1 and 2
// are such, and who was invited by the v1 endpoint, which does not name the version,
// cannot tell which of them the room has. A resident server that does not say means one
// of these two, whose events have IDs of their servers' making.
func (t Template) checkVersion(rules fedinvite.Rules) error {
	named, _ := t.RoomVersion.Rules()
	switch {
	case rules == fedinvite.Rules{}:
		return detail.Errorf(fedinvite.ErrRoomVersion, "no rules")
	case t.RoomVersion == rules.Version, alike(named, rules):
	case t.RoomVersion == "" && rules.EventIDs == fedinvite.EventIDServer:
	default:
		return detail.Errorf(fedinvite.ErrMismatch, "the template is not of room version %s", rules.Version)
	}
	return nil
}

// alike reports whether rules are the same but for the names of their versions.
func alike(a, b fedinvite.Rules) bool {
	a.Version = b.Version
	return a == b
}

// takeReferences returns auth_events or prev_events of the template. What it leaves
// unchecked ParseEvent checks, but for the hashes in room versions 1–2: there any object
// would do, and all of it would be signed.
func takeReferences(event []byte, name string, rules fedinvite.Rules) (json.RawMessage, error) {
	all := gjson.GetBytes(event, name)
	if !all.IsArray() {
		return nil, detail.Errorf(fedinvite.ErrBadJSON, "%s of the template is not an array", name)
	}
	ok := true
	all.ForEach(func(_, ref gjson.Result) bool {
		ok = isReference(ref, &rules)
		return ok
	})
	if !ok {
		return nil, detail.Errorf(fedinvite.ErrBadJSON, "%s of the template holds what is no event reference of the room version", name)
	}
	return json.RawMessage(all.Raw), nil
}

// isReference reports whether a reference holds no more than hashes in room versions 1–2.
// In later ones it is left to ParseEvent.
func isReference(ref gjson.Result, rules *fedinvite.Rules) bool {
	return rules.EventIDs != fedinvite.EventIDServer || ref.IsArray() && areHashes(ref.Get("1"))
}

// areHashes reports whether hashes is an object with sha256 at most. Servers of today
// leave it out or empty.
func areHashes(hashes gjson.Result) bool {
	ok := hashes.IsObject()
	hashes.ForEach(func(key, value gjson.Result) bool {
		hash, err := fedinvite.DecodeBase64(value.Str)
		ok = ok && key.Str == "sha256" && value.Type == gjson.String && err == nil && (len(hash) == 0 || len(hash) == sha256.Size)
		return ok
	})
	return ok
}
