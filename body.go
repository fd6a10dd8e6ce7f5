package fedinvite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/tidwall/gjson"
	"github.com/tidwall/sjson"

	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
)

// maxRoomState is the greatest number of entries of invite_room_state.
const maxRoomState = 100

// A Request is the body of an invite request, of either version of the endpoint.
// What is raw in it is as the peer wrote it, byte for byte.
type Request struct {
	RoomVersion RoomVersion                // "1" for a v1 request, which stands for 1 and 2
	Event       json.RawMessage            // of a v1 request: the whole body, unsigned included
	RoomState   []json.RawMessage          // invite_room_state; nil if absent, null or {}
	Extra       map[string]json.RawMessage // other members of a v2 body
}

// ParseRequestV2 reads the body of PUT /_matrix/federation/v2/invite. The event
// and the entries of the room state are not looked into, beyond being JSON without
// duplicate keys and bad text.
//
// Errors wrap [ErrNotJSON]; [ErrBadJSON] if the body or a member is of the wrong
// type; [ErrMissing] if event or room_version is absent; [ErrStateLimit].
func ParseRequestV2(body []byte) (Request, error) {
	text, err := checkedObject(body)
	if err != nil {
		return Request{}, err
	}
	var req Request
	gjson.Parse(text).ForEach(func(key, value gjson.Result) bool {
		switch name := key.String(); name {
		case "event":
			req.Event, err = rawObject(name, value)
		case "room_version":
			if value.Type != gjson.String {
				err = detail.Errorf(ErrBadJSON, "room_version is not a string")
			}
			req.RoomVersion = RoomVersion(value.String())
		case "invite_room_state":
			req.RoomState, err = parseRoomState(value)
		default:
			req.Extra = keep(req.Extra, name, value)
		}
		return err == nil
	})
	switch {
	case err != nil:
		return Request{}, err
	case req.Event == nil:
		return Request{}, detail.Errorf(ErrMissing, "event")
	case req.RoomVersion == "":
		return Request{}, detail.Errorf(ErrMissing, "room_version")
	}
	return req, nil
}

// ParseRequestV1 reads the body of PUT /_matrix/federation/v1/invite: the bare
// event, with the room state in unsigned.invite_room_state. The errors are those
// of [ParseRequestV2].
func ParseRequestV1(body []byte) (Request, error) {
	text, err := checkedObject(body)
	if err != nil {
		return Request{}, err
	}
	state, err := parseRoomState(gjson.Get(text, "unsigned.invite_room_state"))
	if err != nil {
		return Request{}, err
	}
	return Request{RoomVersion: RoomV1, Event: json.RawMessage(text), RoomState: state}, nil
}

// checkedObject returns body as text in which gjson finds what our scanner found.
func checkedObject(body []byte) (string, error) {
	if err := checkObjectJSON(body); err != nil {
		return "", err
	}
	return string(body), nil
}

// checkObjectJSON is checkValueJSON for objects only.
func checkObjectJSON(src []byte) error {
	if err := checkValueJSON(src); err != nil {
		return err
	}
	if bytes.TrimLeft(src, " \t\r\n")[0] != '{' {
		return detail.Errorf(ErrBadJSON, "not an object")
	}
	return nil
}

// checkValueJSON refuses what is not one JSON value without duplicate keys and bad text.
func checkValueJSON(src []byte) error {
	if isCanonical(src) {
		return nil
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	var err error
	s.canonical, err = appendCanonical(s.canonical[:0], src, legacyNumbers)
	return err
}

func rawObject(name string, value gjson.Result) (json.RawMessage, error) {
	if !value.IsObject() {
		return nil, detail.Errorf(ErrBadJSON, "%s is not an object", name)
	}
	return json.RawMessage(value.Raw), nil
}

func parseRoomState(value gjson.Result) ([]json.RawMessage, error) {
	switch {
	case !value.Exists(), value.Type == gjson.Null:
		return nil, nil
	case value.IsObject() && isEmptyObject(value):
		return nil, nil
	case !value.IsArray():
		return nil, detail.Errorf(ErrBadJSON, "invite_room_state is not an array")
	}
	state := []json.RawMessage{}
	value.ForEach(func(_, entry gjson.Result) bool {
		state = append(state, json.RawMessage(entry.Raw))
		return len(state) <= maxRoomState
	})
	if len(state) > maxRoomState {
		return nil, ErrStateLimit
	}
	return state, nil
}

func isEmptyObject(value gjson.Result) bool {
	empty := true
	value.ForEach(func(_, _ gjson.Result) bool {
		empty = false
		return false
	})
	return empty
}

func keep(extra map[string]json.RawMessage, name string, value gjson.Result) map[string]json.RawMessage {
	if extra == nil {
		extra = make(map[string]json.RawMessage)
	}
	extra[name] = json.RawMessage(value.Raw)
	return extra
}

// MarshalV2 writes the body of PUT /_matrix/federation/v2/invite. A nil RoomState
// is left out, an empty one is []. What is not JSON gives [ErrNotJSON] or
// [ErrBadJSON], an empty Event or RoomVersion [ErrMissing].
func (r Request) MarshalV2() ([]byte, error) {
	if len(r.Event) == 0 || r.RoomVersion == "" {
		return nil, detail.Errorf(ErrMissing, "event or room_version")
	}
	if err := checkObjectJSON(r.Event); err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	size := len(`{"event":,"invite_room_state":[],"room_version":""}`) + len(r.Event) + len(r.RoomVersion)
	for _, entry := range r.RoomState {
		size += len(entry) + 1
	}
	body := append(make([]byte, 0, size), `{"event":`...)
	body = append(body, r.Event...)
	if r.RoomState != nil {
		var err error
		body = append(body, `,"invite_room_state":`...)
		if body, err = appendArray(body, r.RoomState); err != nil {
			return nil, err
		}
	}
	body = append(body, `,"room_version":`...)
	body = appendQuoted(body, string(r.RoomVersion))
	return finishObject(body, r.Extra, "event", "invite_room_state", "room_version")
}

// MarshalV1 writes the body of PUT /_matrix/federation/v1/invite: Event with
// RoomState in its unsigned. If that is what Event holds already, as after
// [ParseRequestV1], or RoomState is nil, the body is Event unchanged. The errors
// are those of [Request.MarshalV2].
func (r Request) MarshalV1() ([]byte, error) {
	if len(r.Event) == 0 {
		return nil, detail.Errorf(ErrMissing, "event")
	}
	text, err := checkedObject(r.Event)
	if err != nil {
		return nil, err
	}
	if r.RoomState == nil {
		return []byte(text), nil
	}
	if unsigned := gjson.Get(text, "unsigned"); unsigned.Exists() && !unsigned.IsObject() {
		return nil, detail.Errorf(ErrBadJSON, "unsigned is not an object")
	}
	if held, err := parseRoomState(gjson.Get(text, "unsigned.invite_room_state")); err == nil && held != nil && slices.EqualFunc(held, r.RoomState, func(a, b json.RawMessage) bool { return bytes.Equal(a, b) }) {
		return []byte(text), nil
	}
	state, err := appendArray(nil, r.RoomState)
	if err != nil {
		return nil, err
	}
	body, err := sjson.SetRawBytes([]byte(text), "unsigned.invite_room_state", state)
	if err != nil {
		return nil, fmt.Errorf("setting invite_room_state: %w", err)
	}
	return body, nil
}

// appendArray appends the room state. Each entry must be JSON by itself: what only
// adds up to JSON could bring members of its own.
func appendArray(dst []byte, entries []json.RawMessage) ([]byte, error) {
	dst = append(dst, '[')
	for i, entry := range entries {
		if err := checkValueJSON(entry); err != nil {
			return nil, fmt.Errorf("invite_room_state: %w", err)
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = append(dst, entry...)
	}
	return append(dst, ']'), nil
}

// finishObject closes the object body after adding extra, in order.
func finishObject(body []byte, extra map[string]json.RawMessage, taken ...string) ([]byte, error) {
	for _, name := range slices.Sorted(maps.Keys(extra)) {
		if slices.Contains(taken, name) {
			continue
		}
		if err := checkValueJSON(extra[name]); err != nil {
			return nil, fmt.Errorf("%q: %w", clip(name), err)
		}
		body = append(appendQuoted(append(body, ','), name), ':')
		body = append(body, extra[name]...)
	}
	return append(body, '}'), nil
}

// A Response is the answer to an invite: the event with the signature of the
// invited server.
type Response struct {
	Event json.RawMessage
	Extra map[string]json.RawMessage // other members of the body, as they came
}

// ParseResponseV2 reads the answer of the v2 endpoint, {"event":{…}}. Errors wrap
// [ErrNotJSON], [ErrBadJSON] or [ErrMissing]. See [MergeReply] for what must be
// checked then.
func ParseResponseV2(body []byte) (Response, error) {
	text, err := checkedObject(body)
	if err != nil {
		return Response{}, err
	}
	var res Response
	gjson.Parse(text).ForEach(func(key, value gjson.Result) bool {
		if name := key.String(); name == "event" {
			res.Event, err = rawObject(name, value)
		} else {
			res.Extra = keep(res.Extra, name, value)
		}
		return err == nil
	})
	if err != nil {
		return Response{}, err
	}
	if res.Event == nil {
		return Response{}, detail.Errorf(ErrMissing, "event")
	}
	return res, nil
}

// ParseResponseV1 reads the answer of the v1 endpoint, [200,{"event":{…}}]: an
// array of exactly these two. The errors are those of [ParseResponseV2].
func ParseResponseV1(body []byte) (Response, error) {
	if _, err := appendCanonical(nil, body, legacyNumbers); err != nil {
		return Response{}, err
	}
	pair := gjson.ParseBytes(body)
	if !pair.IsArray() || pair.Get("#").Int() != 2 || pair.Get("0").Raw != "200" {
		return Response{}, detail.Errorf(ErrBadJSON, "not of the form [200, {…}]")
	}
	return ParseResponseV2([]byte(pair.Get("1").Raw))
}

// MarshalV2 writes {"event":…} and Extra. What is not JSON gives [ErrNotJSON] or
// [ErrBadJSON].
func (r Response) MarshalV2() ([]byte, error) {
	if len(r.Event) == 0 {
		return nil, detail.Errorf(ErrMissing, "event")
	}
	if err := checkObjectJSON(r.Event); err != nil {
		return nil, fmt.Errorf("event: %w", err)
	}
	body := append(make([]byte, 0, len(`{"event":}`)+len(r.Event)), `{"event":`...)
	return finishObject(append(body, r.Event...), r.Extra, "event")
}

// MarshalV1 writes [200,{"event":…}]. The errors are those of [Response.MarshalV2].
func (r Response) MarshalV1() ([]byte, error) {
	body, err := r.MarshalV2()
	if err != nil {
		return nil, err
	}
	return append(append([]byte(`[200,`), body...), ']'), nil
}
