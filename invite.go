// Package fedinvite implements the invites of the Matrix federation: what one
// homeserver sends to another when one of its users invites a user over there,
// and what the other has to check before it signs. It is meant for authors of
// homeservers, bridges and policy servers. It follows version 1.19 of the
// specification (https://spec.matrix.org/v1.19/server-server-api/#inviting-to-a-room)
// in room versions 1 to 12.
//
// The package is pure: it has no network, no clock, no randomness, no storage and
// no logs. Keys come from a [KeySource], signatures from a [Signer], and invites go
// to a [Handler]. Packages beside it bring the rest: xmatrix authenticates requests,
// keyring finds other servers' keys, eventauth says what a room's rules allow, policy
// has ready-made policies, leave and thirdparty are about how invites end without a join
// and how they begin at an e-mail address; fedclient sends all this, fedserver answers
// it.
//
// # An invite on its way
//
// The inviting server makes an m.room.member event with membership "invite",
// hashes and signs it ([NewInvite]), and sends it to the invited user's server:
//
//	PUT /_matrix/federation/v2/invite/{roomId}/{eventId}
//	Authorization: X-Matrix origin="a.example",destination="b.example",key="…",sig="…"
//
//	{"room_version":"11", "event":{…}, "invite_room_state":[{…},…]}
//
// The invited server is usually not in the room. It can check the request's
// signature, the event's form, hash and signatures, and that the event is an invite
// from a user of the origin to a user of its own: the origin must not get anything
// else signed. If it wants the invite it adds its signature and answers
//
//	{"event":{…}}
//
// The inviting server makes sure that it got back what it sent, signed
// ([MergeReply]), and only then sends the event into the room. An older form of
// the endpoint, v1, has the bare event as its body and [200, {"event":{…}}] as its
// answer; it serves room versions 1 and 2 only.
//
// The invite ends when its user joins, or with an event whose membership is "leave"
// ([NewLeave]): of the user, who declines, or of the inviter, who takes it back.
//
// # Three ways in
//
// Each is built on the one before; take as much as you want.
//
//   - Functions: [CanonicalJSON], [ParseEvent], [Event.Verify], [CheckInvite],
//     [CheckRoomState], [SignJSON], [VerifyJSON], …
//   - [Receiver.Check] and [Receiver.Receive]: the whole receive pipeline, without HTTP.
//   - [Receiver] as an [net/http.Handler]: both versions of the endpoint with request
//     authentication, limits and error bodies.
//
// The library owns every MUST of the specification, the hooks of [Config] own
// policy, and the Handler owns storage.
//
// # What is checked, in order
//
// Over HTTP: path and method; the Authorization header; that the destination is
// ours; the size of the body; that it is one JSON object without duplicate keys or
// bad text; the Admit hook; the request's signature. Then, by whatever way the
// invite came: the room version is known; the event has the form and keeps the
// limits of that version; its IDs are those of the path; it is an invite from a
// user of the origin to a user of the destination; ServerAllowed; Policy; the
// signatures of the origin and of every other required signer; the content hash,
// without which the redacted copy counts; invite_room_state under a
// [RoomStatePolicy]. Only then is it signed and handed to the Handler.
//
// What is cheap comes before key look-ups and cryptography. A delivery costs the
// keys of at most 10 servers and 128 signature checks.
//
// # Events
//
// An [Event] is immutable. Its ID, its hashes and the redacted form that is signed
// are worked out once, by [ParseEvent], on canonical JSON, so that no two parts of
// a program can read one event differently: duplicate keys, invalid UTF-8, lone
// surrogates and, from room version 6 on, numbers that are no integers are refused
// and never repaired. Room versions are data: see [Rules].
//
// # Errors
//
// Bad input gives an error that wraps one of the sentinels of this package; test
// with [errors.Is]. [WireError] is the one place that turns an error into an HTTP
// status and a Matrix errcode, and it never lets an inner text out. Nothing in
// this package panics because of its input.
package fedinvite

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
)

// A Delivery is one invite as it arrives at one of our servers, by whatever
// transport. Origin is believed: authenticate it first.
type Delivery struct {
	Origin      ServerName     // the server that sends it
	Destination ServerName     // the server of ours that it is for
	RoomID      string         // from the request's path
	EventID     string         // from the request's path
	V1          bool           // it came by the v1 endpoint
	Remote      netip.AddrPort // the peer, or who it forwards for; zero: not known
	Request     Request
}

// An Invite is a delivery that passed every check.
type Invite struct {
	Origin      ServerName
	Destination ServerName
	Invitee     string // user ID, a user of Destination
	V1          bool
	// Event is the invite. If it came by the v1 endpoint its rules are those of room
	// version 1, though the room may be of version 2; their events are the same. It
	// is the redacted copy if its content hash did not fit,
	// without unsigned, and with our signature once [Receiver.Receive] hands it to
	// the [Handler]. With that it may be past the limits of [ParseEvent]: read it
	// back with [ParseStored].
	Event     *Event
	RoomState RoomState
}

// A Handler stores invites; it is what a homeserver has to implement.
//
// The invite that it gets has passed every check and already carries our
// signature, so that it is stored as it will be sent. If HandleInvite returns nil
// the signed event is sent to the inviting server; if it returns an error, an
// [*Error] from [Refuse] to say why, the event is dropped.
//
// [Event.AppendJSON] and the room version of [Event.Rules] are what to store,
// [ParseStored] reads it back. The Handler may keep inv. If inv.Event.HashOK() is
// false, the event had been changed or redacted under way, and this is what is left.
//
// HandleInvite may be called concurrently, also for one event. A re-send has the
// same event ID and, as long as our key is the same, the same signature of ours,
// while other signatures and the room state may differ: look the ID up before saying
// "already joined". The context ends when
// the inviting server hangs up: commit under [context.WithoutCancel]. If our
// server is in the room, the event comes again in a transaction. The invitee is a
// user ID of ours by its form only: the localpart may be empty, unknown or hold any
// characters. A pending knock
// of the same user may have to be linked by hand (server-server API, "Inviting to
// a room").
type Handler interface {
	// HandleInvite stores an invite and returns nil, or says why our server refuses it.
	HandleInvite(ctx context.Context, inv *Invite) error
}

// A HandlerFunc is a function as a [Handler].
type HandlerFunc func(ctx context.Context, inv *Invite) error

// HandleInvite calls f.
func (f HandlerFunc) HandleInvite(ctx context.Context, inv *Invite) error { return f(ctx, inv) }

// Credentials are what a request claims about its origin. They are a claim until
// Verify returns nil.
type Credentials struct {
	Origin      ServerName
	Destination ServerName
	// Verify checks the request's signature over its method, target and body. It
	// is called once, after the body was read and found to be JSON.
	Verify func(ctx context.Context, body []byte) error
}

// A Config says how a [Receiver] works. The hooks may be nil unless marked as
// required. A hook refuses with an [*Error] from [Refuse]; other errors, the
// sentinels of this package among them, become 500 M_UNKNOWN and their text stays here. All may be called
// concurrently.
type Config struct {
	// Signer returns the current signing key of one of our servers, or an error
	// that wraps [ErrNotLocal] if server is not ours. It is asked for each
	// delivery, so that keys may change while the Receiver runs; package keyring
	// says how to change one without losing invites. Required.
	Signer func(ctx context.Context, server ServerName) (Signer, error)
	// Keys finds other servers' keys. Required.
	Keys KeySource
	// Handler stores invites. Required.
	Handler Handler
	// Credentials reads what a request says of its origin; xmatrix.Verifier has
	// one. Required by [Receiver.ServeHTTP]: without it every request gets a 500.
	Credentials func(r *http.Request) (Credentials, error)
	// Admit is asked before any key is looked up, on what is only claimed: the
	// place for rate limits and for block lists of servers.
	Admit func(ctx context.Context, d *Delivery) error
	// ServerAllowed reports whether the room's server ACL allows the origin; true
	// for rooms that we do not know. See [ServerACL.Allows]. false is answered by
	// 403 M_FORBIDDEN.
	ServerAllowed func(ctx context.Context, roomID string, server ServerName) (bool, error)
	// Policy decides whether the invite is wanted, before any event signature is
	// checked or made; here unknown users are refused too, with
	// Refuse([CodeForbidden], …). Its invite is not verified yet, and its RoomState
	// is empty.
	Policy func(ctx context.Context, inv *Invite) error
	// RoomState says how strictly invite_room_state is checked; the zero value is
	// [StateCreateOnly].
	RoomState RoomStatePolicy
	// RefuseHashMismatch refuses an invite whose content hash is wrong, with
	// [ErrMismatch], where the specification goes on with the redacted copy.
	RefuseHashMismatch bool
	// Rules finds the rules of a room version; nil: [RoomVersion.Rules]. An error
	// that wraps [ErrRoomVersion] says that there are none.
	Rules func(RoomVersion) (Rules, error)
	// MaxBody is the largest request body in bytes; 0: 1 MiB.
	MaxBody int64
	// Timeout bounds everything before Handler, reading the body included; 0: 30 s.
	// It takes the place of the ReadTimeout of [http.Server] for these requests.
	Timeout time.Duration
	// Done is called once for each delivery, accepted (err is nil) or refused. d
	// and inv hold what was known by then. inv is nil until the event is known to be an
	// invite by a user of d.Origin, which by ServeHTTP has then proved who it is; of
	// invites that are refused later it is there.
	Done func(ctx context.Context, d *Delivery, inv *Invite, err error)
	// Trace is told of each step of the pipeline when it has been taken, in order, by
	// Check, Receive and ServeHTTP; the last one failed, or is the last of [Steps]. It must
	// be quick, for the delivery waits for it; it must not change what it gets; and it must
	// not keep Delivery and Invite, which later steps write to: an Event may be kept. Peers
	// choose almost all of what it gets to see. nil costs nothing.
	Trace func(ctx context.Context, s Step)
}

const (
	defaultMaxBody = 1 << 20
	defaultTimeout = 30 * time.Second
)

// A Receiver receives invites: it checks them, signs them and hands them to the
// [Handler]. It is an [http.Handler] for both versions of the endpoint. One
// Receiver serves any number of our server names. It is safe for concurrent use.
type Receiver struct {
	config Config
}

// NewReceiver returns a Receiver. The error names the required field that is missing.
func NewReceiver(c Config) (*Receiver, error) {
	switch {
	case c.Signer == nil:
		return nil, errors.New("fedinvite: Config.Signer is required")
	case c.Keys == nil:
		return nil, errors.New("fedinvite: Config.Keys is required")
	case c.Handler == nil:
		return nil, errors.New("fedinvite: Config.Handler is required")
	case c.RoomState > StateOff:
		return nil, fmt.Errorf("fedinvite: Config.RoomState: unknown policy %d", c.RoomState)
	case c.MaxBody < 0 || c.Timeout < 0:
		return nil, errors.New("fedinvite: Config.MaxBody and Config.Timeout must not be negative")
	}
	if c.Rules == nil {
		c.Rules = RoomVersion.Rules
	}
	if c.MaxBody == 0 {
		c.MaxBody = defaultMaxBody
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	return &Receiver{c}, nil
}

// CheckInvite checks the rules that make an event an invite from origin to a user
// of destination, without any cryptography (server-server API, PUT
// /_matrix/federation/v2/invite): type and membership ([ErrNotInvite]), the sender
// on origin, which is not destination itself ([ErrOrigin]), the invitee on
// destination ([ErrNotLocal]).
func CheckInvite(e *Event, origin, destination ServerName) error {
	switch {
	case e.Type() != typeMember:
		return detail.Errorf(ErrNotInvite, "the type is not m.room.member")
	case !e.isInvite():
		return detail.Errorf(ErrNotInvite, "the membership is not invite")
	case origin == destination:
		return detail.Errorf(ErrOrigin, "the origin is the destination itself")
	case serverOf(e.Sender()) != origin:
		return ErrOrigin
	}
	key, ok := e.StateKey()
	if !ok {
		return detail.Errorf(ErrNotLocal, "there is no state_key")
	}
	_, server, err := ParseUserID(key)
	if err != nil {
		return detail.Errorf(ErrNotLocal, "the state_key is no user ID")
	}
	if server != destination {
		return detail.Errorf(ErrNotLocal, "the invitee is on another server")
	}
	return nil
}
