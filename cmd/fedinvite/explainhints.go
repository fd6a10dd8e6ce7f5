package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// maxHinted is how large an event may be, in bytes, that is tried in other forms. By the
// rules of every room version it has 64 KiB at most.
const maxHinted = 256 << 10

// proxyAdvice is what mends most rewritten paths.
const proxyAdvice = "a reverse proxy must pass the path on as it came: nginx: proxy_pass http://127.0.0.1:8008; " +
	"with nothing behind the port, not even a slash; Apache: ProxyPass … nocanon and AllowEncodedSlashes NoDecode"

// A hintList gathers what is usually at fault.
type hintList []string

func (h *hintList) add(format string, args ...any) {
	const most = 8
	if len(*h) < most {
		*h = append(*h, fmt.Sprintf(format, args...))
	}
}

// hints returns the usual causes for what came of a step.
func (w *walk) hints(ctx context.Context, t taken) []string {
	var h hintList
	switch t.Name {
	case stepPath:
		w.pathHints(&h)
	case stepMethod:
		h.add("servers send PUT; a proxy that redirects makes clients ask again with GET")
	case stepAuthorization:
		w.headerHints(&h)
	case stepDestination:
		w.destinationHints(&h, t)
	case stepBodySize:
		w.sizeHints(&h, t)
	case stepBody:
		w.bodyHints(&h, t)
	case stepRequestSignature:
		w.requestHints(ctx, &h, t)
	case stepRoomVersion:
		versionHints(&h, t)
	case stepEventFormat:
		w.formatHints(&h, t)
	case stepPathIDs:
		idHints(&h, t)
	case stepInvite:
		inviteHints(&h, t)
	case stepEventSignatures:
		w.signatureHints(ctx, &h, t)
	case stepContentHash:
		hashHints(&h, t)
	case stepRoomState:
		w.stateHints(&h, t)
	}
	return h
}

func (w *walk) pathHints(h *hintList) {
	path, _, _ := strings.Cut(w.capture.target, "?")
	front, ids, found := strings.Cut(path, "/invite/")
	switch {
	case strings.TrimRight(path, "/") == "/_matrix/federation/v2/invite" || strings.TrimRight(path, "/") == "/_matrix/federation/v1/invite":
		h.add("the room ID and the event ID are missing: the path was cut off")
	case !found && strings.HasPrefix(path, "/_matrix/"):
		h.add("explain knows requests for the invite endpoint only: PUT /_matrix/federation/v2/invite/{roomId}/{eventId} and v1")
		return
	case !found:
		h.add("the path should begin with /_matrix/federation/v2/invite/; is it complete?")
	case front != "/_matrix/federation/v2" && front != "/_matrix/federation/v1":
		h.add("%q stands before /invite/, where %q should be: the path seems to have been rewritten", clipped(front), "/_matrix/federation/v2")
	default:
		segments := strings.Split(ids, "/")
		_, err := url.PathUnescape(ids)
		switch {
		case err != nil:
			h.add("an escape in the path is none: %s", err)
		case slices.Contains(segments, "") && len(segments) > 2:
			h.add("there is a slash too many in the path")
		case len(segments) > 2:
			h.add("there are %d segments behind /invite/, and should be 2: an event ID with a slash in it seems to have been decoded on the way, from %%2F", len(segments))
		default:
			h.add("room ID or event ID is missing")
		}
	}
	h.add(proxyAdvice)
}

func (w *walk) headerHints(h *hintList) {
	headers := w.capture.header.Values("Authorization")
	claims := w.claims()
	switch {
	case len(headers) == 0:
		h.add("either the request was not signed, or a proxy drops the header, or it was not captured")
	case strings.HasPrefix(strings.ToLower(headers[0]), "bearer "):
		h.add("the header has an access token: this is the request of a client, not of a server")
	case len(claims) == len(headers) && slices.IndexFunc(claims, noDestination) < 0:
		h.add("a key ID begins with ed25519:, and a signature has 64 bytes in base64; several headers agree on origin and destination")
	case len(claims) == 0:
		h.add(`the form is: X-Matrix origin="a.example",destination="b.example",key="ed25519:ID",sig="BASE64"`)
	case slices.IndexFunc(claims, noDestination) >= 0:
		h.add("old servers leave the destination out; one that serves a single name may assume it (Assume of xmatrix.Verifier)")
	}
}

func (w *walk) destinationHints(h *hintList, t taken) {
	name := t.delivery.Destination
	if known := similar(name, w.names); known != "" {
		h.add("it differs from %s in case or port alone; but server names are compared byte by byte, port included", known)
	}
	e := w.readEvent()
	if e == nil {
		return
	}
	switch server := serverOf(stateKey(e)); {
	case slices.Contains(w.names, server):
		h.add("the invitee is a user of %s, which is ours: the sender signed for another name, such as the one that it connected to", server)
	case server != "":
		h.add("the invitee is a user of %s: if that is ours, name it with -server-name; else see where its name leads: fedinvite resolve %s", server, server)
	}
}

// similar returns the name that differs from another in case or port.
func similar(name fedinvite.ServerName, among []fedinvite.ServerName) fedinvite.ServerName {
	for _, other := range among {
		if other != name && strings.EqualFold(other.Host(), name.Host()) {
			return other
		}
	}
	return ""
}

func (w *walk) sizeHints(h *hintList, t taken) {
	c := w.capture
	switch {
	case errors.Is(t.Err, fedinvite.ErrTooLarge):
		h.add("an event has 64 KiB at most; it is invite_room_state that makes such a body. MaxBody of fedinvite.Config is the limit")
	case c.cut && c.length >= 0:
		h.add("%d of %d bytes came: the connection broke off, a proxy cut the body, or the capture is not whole; "+
			"an editor that changes line breaks makes it shorter too", len(c.body), c.length)
	case c.cut:
		h.add("the last chunk or the empty line behind it is missing: the connection broke off, or the capture is not whole")
	}
}

func (w *walk) bodyHints(h *hintList, t taken) {
	body := w.capture.body
	var where *fedinvite.JSONError
	errors.As(t.Err, &where)
	switch {
	case len(body) == 0:
		h.add("there is no body; was it captured?")
	case bytes.HasPrefix(body, []byte("\x1f\x8b")):
		h.add("the body is compressed; requests between servers are not")
	case bytes.HasPrefix(body, []byte("\xef\xbb\xbf")):
		h.add("a byte order mark stands before the JSON; did an editor put it there?")
	case errors.Is(t.Err, fedinvite.ErrStateLimit):
		h.add("the sender seems to send the state of the whole room; create event, name and a few more are meant")
	case errors.Is(t.Err, fedinvite.ErrMissing) && isBareEvent(body):
		h.add("the body is a bare event, as the v1 endpoint has it; for v2 it is {\"event\":{…},\"room_version\":\"…\"}")
	case errors.Is(t.Err, fedinvite.ErrMissing):
		h.add("the body of v2 has event and room_version, and may have invite_room_state")
	case where != nil:
		jsonHints(h, where, body)
	default:
		h.add("event is an object, room_version a string such as \"11\", invite_room_state an array of objects")
	}
}

// jsonHints says what usually makes such JSON.
func jsonHints(h *hintList, where *fedinvite.JSONError, text []byte) {
	switch {
	case errors.Is(where, fedinvite.ErrDuplicateKey):
		h.add("a key stands twice in one object, perhaps once with escapes: one parser takes the first, another the last, so that " +
			"it would be signed for what others do not read")
	case errors.Is(where, fedinvite.ErrBadText):
		h.add("text that is no UTF-8, or half of a surrogate pair: something in the room has it, or a proxy changed the encoding")
	case errors.Is(where, fedinvite.ErrBadNumber):
		h.add("from room version 6 on numbers are integers within ±(2^53−1), written without fraction and exponent: no 1.0, no 1e3")
	case errors.Is(where, fedinvite.ErrTooDeep):
		h.add("nobody nests that deeply without intent")
	case where.Offset >= int64(len(text)):
		h.add("the JSON ends too early: the body was cut")
	default:
		if _, err := fedinvite.LegacyCanonicalJSON(text[:max(0, where.Offset)]); err == nil {
			h.add("something follows the JSON: it was put together from two, or the capture has more than the body")
		}
	}
}

// isBareEvent reports whether a body is the one of the v1 endpoint.
func isBareEvent(body []byte) bool {
	members := membersOf(body)
	return members["type"] != nil && members["sender"] != nil && members["event"] == nil
}

// membersOf returns the members of an object, none if it is none.
func membersOf(raw []byte) (members map[string]json.RawMessage) {
	if text, err := fedinvite.LegacyCanonicalJSON(raw); err == nil {
		_ = json.Unmarshal(text, &members)
	}
	return members
}

func versionHints(h *hintList, t taken) {
	if !errors.Is(t.Err, fedinvite.ErrRoomVersion) {
		return
	}
	h.add("room versions known here: %s. A newer or an experimental one needs newer software, or rules of your own (Rules of fedinvite.Config)", listed(fedinvite.RoomVersions()))
	idHint(h, t)
}

// idHint says in which room versions the event has the ID of the path.
func idHint(h *hintList, t taken) (found bool) {
	versions := versionsWithID(t.delivery.Request.Event, t.delivery.EventID)
	if len(versions) > 0 {
		h.add("by the rules of room version %s the event has the ID of the path: is room_version what the room has?", listed(versions))
	}
	return len(versions) > 0
}

func (w *walk) formatHints(h *hintList, t taken) {
	var where *fedinvite.JSONError
	raw := t.delivery.Request.Event
	members := membersOf(raw)
	switch {
	case errors.As(t.Err, &where):
		jsonHints(h, where, raw)
	case t.delivery.V1 && isObject(members["event"]):
		h.add("the body is that of the v2 endpoint, and came by v1; there it is the bare event")
		return
	case t.delivery.V1 && errors.Is(t.Err, fedinvite.ErrMismatch):
		h.add("v1 serves room versions 1 and 2 only. Servers fall back to it if v2 is answered by 404 or 405: does the proxy let /_matrix/federation/v2/invite through?")
		if w.version != "" {
			h.add("the ID in the path fits room version %s, by which it is judged from here on", w.version)
		}
		return
	case t.delivery.Request.RoomVersion == fedinvite.RoomV12 && strings.Contains(t.Err.Error(), "create event"):
		h.add("in room version 12 the room ID stands for the create event, which auth_events must not list: the sender's software is older than that rule")
	}
	if idHint(h, t) {
		return
	}
	if len(raw) > maxHinted {
		return
	}
	var fits []fedinvite.RoomVersion
	for _, v := range fedinvite.RoomVersions() {
		if rules, err := v.Rules(); err == nil {
			if _, err := fedinvite.ParseEvent(raw, rules); err == nil {
				fits = append(fits, v)
			}
		}
	}
	if len(fits) > 0 {
		h.add("it has the form of room version %s: is room_version what the room has?", listed(fits))
	}
}

func isObject(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '{' }

func idHints(h *hintList, t taken) {
	for _, id := range []struct{ what, path, event string }{
		{"room ID", t.delivery.RoomID, t.Event.RoomID()},
		{"event ID", t.delivery.EventID, t.Event.ID()},
	} {
		decoded, err := url.PathUnescape(id.path)
		switch {
		case id.path == id.event:
		case err == nil && decoded == id.event:
			h.add("the %s of the path was escaped twice", id.what)
		case strings.ReplaceAll(id.path, " ", "+") == id.event:
			h.add("a plus in the %s of the path became a space: it was decoded like a query", id.what)
		case id.what == "room ID":
			h.add("the event is of another room than the path says")
		case !idHint(h, t):
			h.add("the ID is the hash of the event: either it was changed since, or the sender computes IDs in another way, such as by other redaction rules")
		}
	}
}

func inviteHints(h *hintList, t taken) {
	e, d := t.Event, &t.delivery
	sender, invitee := serverOf(e.Sender()), serverOf(stateKey(e))
	switch {
	case e.Type() == "m.room.member" && invitee == "":
		h.add("an invite names the invited user in state_key")
	case errors.Is(t.Err, fedinvite.ErrNotInvite):
		h.add("nothing but m.room.member events with membership \"invite\" is signed for others")
	case d.Origin == d.Destination:
		h.add("a server sends an invite to itself: its own users need no federation")
	case errors.Is(t.Err, fedinvite.ErrOrigin):
		h.add("an invite comes from the server of its sender: %s sent it, and the sender is of %s", d.Origin, sender)
		nameHint(h, d.Origin, sender)
	case errors.Is(t.Err, fedinvite.ErrNotLocal) && invitee != "":
		h.add("an invite goes to the server of the invited user: the user is of %s, and the request is for %s. "+
			"The name counts that user IDs have, not one that it is delegated to", invitee, d.Destination)
		nameHint(h, d.Destination, invitee)
	}
}

func nameHint(h *hintList, a, b fedinvite.ServerName) {
	if similar(a, []fedinvite.ServerName{b}) != "" {
		h.add("the names differ in case or port alone; they are compared byte by byte, port included")
	}
}

func (w *walk) stateHints(h *hintList, t taken) {
	if t.Err == nil {
		return
	}
	v12 := t.Event.Rules().RoomIDIsCreateEvent
	switch {
	case v12 && errors.Is(t.Err, fedinvite.ErrStateMissing):
		h.add("room version %s wants the create event as a full PDU in invite_room_state, because the room ID is its hash; here there is none", t.Event.Rules().Version)
	case v12 && errors.Is(t.Err, fedinvite.ErrStateStripped):
		h.add("room version %s wants the create event as a full PDU, because the room ID is its hash; here it is stripped: the sender's software is older than that rule (MSC4311)", t.Event.Rules().Version)
	case errors.Is(t.Err, fedinvite.ErrStateRoom):
		h.add("an entry is of another room than the invite; in room version 12 the create event's hash must be the room ID, and its room_version 12")
	case errors.Is(t.Err, fedinvite.ErrKeysUnavailable):
		h.add("keys could not be had; see \"fedinvite resolve -connect\" of the server named")
	case errors.Is(t.Err, fedinvite.ErrStateSignature):
		h.add("an entry was changed, or is signed by a key that its server does not publish any more")
	}
	if w.policy == fedinvite.StateStrict {
		h.add("this is -room-state strict, which many servers do not meet; \"create\" is what a Receiver does by itself")
	}
}

// listed writes names in one line.
func listed[T ~string](names []T) string {
	var parts []string
	for i, name := range names {
		if i == maxShown {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, plain(string(name)))
	}
	return strings.Join(parts, ", ")
}
