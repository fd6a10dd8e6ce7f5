package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// forgiven is what the Receiver gets in place of what failed.
type forgiven struct {
	method, target      string                // "": as captured
	origin, destination fedinvite.ServerName  // "": as the header says
	assume              fedinvite.ServerName  // for a header without destination
	body                []byte                // nil: as captured
	credentials         bool                  // there are none
	anyDestination      bool                  // each is ours
	wholeBody           bool                  // whatever its size and end
	noBody              bool                  // body stands for one that is none
	signature           bool                  // of the request
	unknown             map[string]string     // steps that prove nothing any more, and why
	version             fedinvite.RoomVersion // that was guessed
}

// forgive sees to it that a step passes that failed, and reports whether it can.
func (w *walk) forgive(t taken) bool {
	f := &w.forgiven
	switch t.Name {
	case stepPath:
		return w.forgivePath()
	case stepMethod:
		f.method = http.MethodPut
	case stepAuthorization:
		w.forgiveCredentials()
	case stepDestination:
		f.anyDestination = true
	case stepBodySize:
		f.wholeBody = true
	case stepBody:
		f.noBody = true
		f.body = []byte(`{"event":{},"room_version":"1"}`)
	case stepRequestSignature:
		f.signature = true
		return !f.noBody
	case stepEventFormat:
		return w.forgiveEndpoint(t)
	case stepPathIDs:
		f.target = invitePath(t.delivery.V1, t.Event.RoomID(), t.Event.ID())
	case stepInvite:
		if errors.Is(t.Err, fedinvite.ErrNotInvite) {
			return false
		}
		f.origin, f.destination = serverOf(t.Event.Sender()), t.delivery.Destination
		if key, ok := t.Event.StateKey(); ok {
			f.destination = serverOf(key)
		}
		f.anyDestination = true
		return f.destination != ""
	default:
		return false
	}
	return true
}

// forgivePath finds the IDs that the path has lost, in what is left of it or in the body.
func (w *walk) forgivePath() bool {
	e := w.readEvent()
	v1, room, event, ok := lostIDs(w.capture.target)
	switch {
	case ok && e != nil && strings.TrimSuffix(event, "/") == e.ID():
		event = e.ID()
	case !ok && e != nil:
		room, event = e.RoomID(), e.ID()
		w.unknown[stepPathIDs] = "the path has no IDs"
	case !ok:
		return false
	}
	switch { // by the body, which tells it more surely than what is left of the path
	case isBareEvent(w.capture.body):
		v1 = true
	case e != nil:
		v1 = false
	}
	w.target = invitePath(v1, room, event)
	return true
}

// lostIDs looks for the IDs in a target that is not that of an invite.
func lostIDs(target string) (v1 bool, room, event string, ok bool) {
	path, _, _ := strings.Cut(target, "?")
	before, ids, found := strings.Cut(path, "/invite/")
	if !found {
		return false, "", "", false
	}
	ids = strings.TrimLeft(ids, "/")
	room, event, _ = strings.Cut(ids, "/")
	event = strings.TrimLeft(event, "/")
	for _, id := range []*string{&room, &event} {
		if plain, err := url.PathUnescape(*id); err == nil {
			*id = plain
		}
	}
	return strings.HasSuffix(before, "/v1"), room, event, room != "" && event != ""
}

func invitePath(v1 bool, room, event string) string {
	version := "v2"
	if v1 {
		version = "v1"
	}
	return "/_matrix/federation/" + version + "/invite/" + url.PathEscape(room) + "/" + url.PathEscape(event)
}

// forgiveCredentials goes on with what a header says that only lacks its destination, or with
// what the event says of its sender and its invitee.
func (w *walk) forgiveCredentials() {
	e := w.readEvent()
	f := &w.forgiven
	f.assume = "unknown.invalid"
	origin := fedinvite.ServerName("unknown.invalid")
	switch {
	case len(w.names) > 0:
		f.assume = w.names[0]
	case e != nil && serverOf(stateKey(e)) != "":
		f.assume = serverOf(stateKey(e))
	}
	if _, err := w.verifier(w.keys).Credentials(w.captured()); err == nil {
		w.unknown[stepDestination] = fmt.Sprintf("the header has none; %s is assumed", f.assume)
		return
	}
	if e != nil {
		origin = serverOf(e.Sender())
	}
	f.origin, f.destination, f.credentials = origin, f.assume, true
	w.unknown[stepServerNames] = "they are guessed from the event"
	w.unknown[stepDestination] = "it is guessed"
	w.unknown[stepRequestSignature] = "there is none that could be read"
}

// readEvent reads the event of the body by itself, without its limits; nil if that cannot be.
func (w *walk) readEvent() *fedinvite.Event {
	req, err := fedinvite.ParseRequestV2(w.capture.body)
	if err != nil {
		req, err = fedinvite.ParseRequestV1(w.capture.body)
	}
	if err != nil {
		return nil
	}
	rules, err := req.RoomVersion.Rules()
	if err != nil {
		return nil
	}
	e, err := fedinvite.ParseStored(req.Event, rules)
	if err != nil {
		return nil
	}
	return e
}

// forgiveEndpoint goes on with an event that came by v1 and has no event_id, if the ID in
// the path tells its room version.
func (w *walk) forgiveEndpoint(t taken) bool {
	if !t.delivery.V1 || !errors.Is(t.Err, fedinvite.ErrMismatch) {
		return false
	}
	versions := versionsWithID(t.delivery.Request.Event, t.delivery.EventID)
	if len(versions) == 0 {
		return false
	}
	request := t.delivery.Request
	request.RoomVersion = versions[len(versions)-1]
	body, err := request.MarshalV2()
	if err != nil {
		return false
	}
	w.version, w.body = request.RoomVersion, body
	w.wholeBody = true
	w.target = invitePath(false, t.delivery.RoomID, t.delivery.EventID)
	return true
}

// versionsWithID returns the room versions in which an event has the ID, oldest first.
func versionsWithID(raw json.RawMessage, id string) []fedinvite.RoomVersion {
	if len(raw) > maxHinted {
		return nil
	}
	var versions []fedinvite.RoomVersion
	for _, v := range fedinvite.RoomVersions() {
		if rules, err := v.Rules(); err == nil {
			if e, err := fedinvite.ParseStored(raw, rules); err == nil && e.ID() == id {
				versions = append(versions, v)
			}
		}
	}
	return versions
}

// serverOf returns the server of a user ID, "" if it is none.
func serverOf(userID string) fedinvite.ServerName {
	_, server, err := fedinvite.ParseUserID(userID)
	if err != nil {
		return ""
	}
	return server
}

func stateKey(e *fedinvite.Event) string {
	key, _ := e.StateKey()
	return key
}
