package main

import "net/url"

// A request is an HTTP request as it arrives.
type request struct {
	Method     string      `json:"method"`
	Target     string      `json:"target"`
	Headers    [][2]string `json:"headers"`
	Body       string      `json:"body,omitempty"`
	BodyBase64 string      `json:"body_base64,omitempty"`
	BodyGen    *generator  `json:"body_gen,omitempty"`
}

// A generator describes a long text.
type generator struct {
	Concat []repeated `json:"concat"`
}

type repeated struct {
	Text  string `json:"text"`
	Times int    `json:"times"`
}

// newRequest returns a request with Authorization headers.
func newRequest(method, target, body string, authorization ...string) request {
	r := request{Method: method, Target: target, Headers: [][2]string{}}
	for _, value := range authorization {
		r.Headers = append(r.Headers, [2]string{"Authorization", value})
	}
	if body != "" {
		r.Headers = append(r.Headers, [2]string{"Content-Type", "application/json"})
	}
	r.Body, r.BodyBase64 = exact(body)
	return r
}

// An outcome is one way in which a request may end.
type outcome struct {
	Level   string  `json:"level"`
	Result  string  `json:"result"` // accept or refuse
	Status  int     `json:"status,omitempty"`
	Errcode string  `json:"errcode,omitempty"`
	Version string  `json:"room_version,omitempty"` // of the error
	Origin  string  `json:"origin,omitempty"`       // of a request that is believed
	Event   string  `json:"event,omitempty"`
	Stored  *stored `json:"stored,omitempty"`
}

// stored is what a receiving server has of an invite.
type stored struct {
	RoomVersion string   `json:"room_version"`
	RoomID      string   `json:"room_id"`
	EventID     string   `json:"event_id"`
	Sender      string   `json:"sender"`
	Invitee     string   `json:"invitee"`
	Redacted    bool     `json:"redacted,omitempty"`
	RoomState   []string `json:"room_state"`
}

// A letter is an invite on its way, before it becomes a request.
type letter struct {
	room            room
	from            key
	to              string
	endpoint        string // v1 or v2
	method          string
	roomID, eventID string
	path            string // the target; "": made of the IDs
	event           object // as sent
	body            object
	text            string   // the body as it is sent; "": body in canonical form
	signed          string   // the body as it is signed; "": text or body
	headers         []string // Authorization; nil: one that is right
}

// send returns the letter with an event.
func (r room) send(event object, edits ...func(*letter)) letter {
	l := letter{room: r, from: keyA, to: keyB.server, endpoint: "v2", method: "PUT", event: event}
	l.roomID, l.eventID = r.id, r.eventID(event)
	if id, ok := event["room_id"].(string); ok {
		l.roomID = id
	}
	l.body = object{"event": event, "room_version": r.name, "invite_room_state": r.state()}
	for _, e := range edits {
		e(&l)
	}
	return l
}

// byV1 sends the letter to the v1 endpoint, with its room state in unsigned.
func byV1(l *letter) {
	l.endpoint = "v1"
	state := l.body["invite_room_state"]
	l.body = clone(l.event)
	if state != nil {
		set(state, "unsigned", "invite_room_state")(l.body)
	}
}

// body edits the body.
func body(edits ...edit) func(*letter) {
	return func(l *letter) { l.body = with(l.body, edits...) }
}

// state sets invite_room_state.
func state(entries any) func(*letter) { return body(set(entries, "invite_room_state")) }

// from has another server send the letter.
func from(k key) func(*letter) { return func(l *letter) { l.from = k } }

// asIs changes the target, which is signed as it is sent.
func asIs(change func(string) string) func(*letter) {
	return func(l *letter) { l.path = change(l.target()) }
}

// path sets the IDs of the path.
func path(roomID, eventID string) func(*letter) {
	return func(l *letter) { l.roomID, l.eventID = roomID, eventID }
}

// raw sets the bytes of the body; as signed is what its signature covers.
func raw(text, signed string) func(*letter) {
	return func(l *letter) { l.text, l.signed = text, signed }
}

func (l letter) target() string {
	if l.path != "" {
		return l.path
	}
	return "/_matrix/federation/" + l.endpoint + "/invite/" + url.PathEscape(l.roomID) + "/" + url.PathEscape(l.eventID)
}

func (l letter) request() request {
	sent := l.text
	if sent == "" {
		sent = canonical(l.body)
	}
	signed := l.signed
	if signed == "" {
		signed = sent
	}
	headers := l.headers
	if headers == nil {
		signature := l.from.sign(signedRequest(l.method, l.target(), l.from.server, l.to, signed))
		headers = []string{authorization(l.from.server, l.to, l.from.id, signature)}
	}
	return newRequest(l.method, l.target(), sent, headers...)
}

// accepted returns the outcome that the invite is accepted: the event, or what was left
// of it, with the signature of the invited server.
func (l letter) accepted(level string, roomState ...object) outcome {
	event := with(l.event, drop("unsigned"), drop("signatures", l.to))
	redacted := get(event, "hashes")["sha256"] != contentHash(event)
	if redacted {
		event = l.room.redact(event)
	}
	event = l.room.addSignature(event, key{l.to, "ed25519:1"})
	s := &stored{
		RoomVersion: l.room.name, RoomID: l.roomID, EventID: l.eventID, Redacted: redacted, RoomState: []string{},
	}
	s.Sender, _ = event["sender"].(string)
	s.Invitee, _ = event["state_key"].(string)
	for _, e := range roomState {
		s.RoomState = append(s.RoomState, canonical(stripped(e)))
	}
	return outcome{Level: level, Result: "accept", Status: 200, Event: canonical(event), Stored: s}
}

// stripped returns a stripped state event (client-server API, "Stripped state").
func stripped(e object) object {
	return object{"type": e["type"], "state_key": e["state_key"], "sender": e["sender"], "content": e["content"]}
}

// refusal returns the outcome that the request is refused.
func refusal(level string, status int, errcode string) outcome {
	return outcome{Level: level, Result: "refuse", Status: status, Errcode: errcode}
}

// What outcomes many cases share.
func invalidParam() []outcome { // the specification asks for the code, and demands the refusal
	return []outcome{refusal(should, 400, "M_INVALID_PARAM"), refusal(must, 0, "")}
}

func refusedWith(level string, status int, errcode string) []outcome {
	return []outcome{refusal(practice, status, errcode), refusal(level, 0, "")}
}
