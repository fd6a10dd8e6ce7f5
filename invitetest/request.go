package invitetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A Request is a request for the invite endpoint, right or wrong. [Room.Request] makes one
// that is right.
type Request struct {
	From            fedinvite.Signer     // who signs it; nil: nobody, it has no Authorization header
	To              fedinvite.ServerName // the destination of its Authorization header
	V1              bool                 // it goes to the v1 endpoint
	RoomID, EventID string               // of the path
	Body            []byte
}

// Request returns the request with which the creator's server sends an invite to another,
// by the v2 endpoint, with the room's state. invite is a [*fedinvite.Event], an [Object] or
// JSON, of whatever kind.
func (r *Room) Request(invite any, to fedinvite.ServerName) Request {
	return r.RequestWithState(invite, to, Encode(r.RoomState()))
}

// RequestWithState is [Room.Request] with another invite_room_state; nil leaves it out.
func (r *Room) RequestWithState(invite any, to fedinvite.ServerName, state json.RawMessage) Request {
	// As text, so that what is no JSON can be sent too.
	body := `{"event":` + string(textOf(invite))
	if state != nil {
		body += `,"invite_room_state":` + string(state)
	}
	body += `,"room_version":` + string(Encode(r.rules.Version)) + "}"
	return r.RequestWithBody(invite, to, []byte(body))
}

// RequestV1 is [Room.Request] by the v1 endpoint: the body is the invite, and the room's
// state is in its unsigned.
func (r *Room) RequestV1(invite any, to fedinvite.ServerName) Request {
	q := r.RequestWithBody(invite, to, Change(textOf(invite), Set(r.RoomState(), "unsigned", "invite_room_state")))
	q.V1 = true
	return q
}

// RequestWithBody is [Room.Request] with a body of any bytes. The IDs of its path are
// those of invite, as far as it has any.
func (r *Room) RequestWithBody(invite any, to fedinvite.ServerName, body []byte) Request {
	q := Request{From: r.signer(r.Server()), To: to, RoomID: r.id, EventID: "$unknown", Body: body}
	if e, err := fedinvite.ParseStored(textOf(invite), r.rules); err == nil {
		q.RoomID, q.EventID = e.RoomID(), e.ID()
	}
	return q
}

// Path returns the path of the request, escaped.
func (q Request) Path() string {
	version := "v2"
	if q.V1 {
		version = "v1"
	}
	return "/_matrix/federation/" + version + "/invite/" + url.PathEscape(q.RoomID) + "/" + url.PathEscape(q.EventID)
}

// HTTP returns the request for the server at base, such as "https://b.example", signed by
// From. A body that nobody can sign comes with the signature of a request without one. It
// panics if base is no URL.
func (q Request) HTTP(ctx context.Context, base string) *http.Request {
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, base+q.Path(), bytes.NewReader(q.Body))
	if err != nil {
		panic(fmt.Sprintf("invitetest: %v", err))
	}
	req.Header.Set("Content-Type", "application/json")
	if q.From == nil {
		return req
	}
	signed := q.Body
	if canonical, err := fedinvite.LegacyCanonicalJSON(signed); err != nil || canonical[0] != '{' {
		signed = nil
	}
	if err := xmatrix.Sign(ctx, req, signed, q.To, q.From); err != nil {
		panic(fmt.Sprintf("invitetest: signing a request: %v", err))
	}
	return req
}

// Inbound returns the request as an [http.Handler] gets it, from a peer at 192.0.2.1. It
// panics as [Request.HTTP] does.
func (q Request) Inbound(ctx context.Context) *http.Request {
	req := q.HTTP(ctx, "")
	req.RequestURI, req.Host, req.RemoteAddr = q.Path(), string(q.To), "192.0.2.1:1234"
	return req
}

// Delivery returns the request for [fedinvite.Receiver.Receive], or the error with which
// the body cannot be read.
func (q Request) Delivery() (fedinvite.Delivery, error) {
	parse := fedinvite.ParseRequestV2
	if q.V1 {
		parse = fedinvite.ParseRequestV1
	}
	body, err := parse(q.Body)
	d := fedinvite.Delivery{Destination: q.To, RoomID: q.RoomID, EventID: q.EventID, V1: q.V1, Request: body}
	if q.From != nil {
		d.Origin = q.From.ServerName()
	}
	return d, err
}
