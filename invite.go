package fedinvite

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"time"
)

// A Delivery is one invite as it arrives at one of our servers, by whatever
// transport. Origin is believed: authenticate it first.
type Delivery struct {
	Origin      ServerName // the server that sends it
	Destination ServerName // the server of ours that it is for
	RoomID      string     // from the request's path
	EventID     string     // from the request's path
	V1          bool       // it came by the v1 endpoint
	Remote      netip.AddrPort
	Request     Request
}

// An Invite is a delivery that passed every check.
type Invite struct {
	Origin      ServerName
	Destination ServerName
	Invitee     string // user ID, a user of Destination
	V1          bool
	// Event is the invite: the redacted copy if its content hash did not fit,
	// without unsigned, and with our signature once [Receiver.Receive] hands it
	// to the [Handler].
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
// It may be called concurrently, also for one event. A re-send has the same event
// ID and the same signature of ours, while other signatures and the room state may
// differ: look the ID up before saying "already joined". The context ends when
// the inviting server hangs up: commit under [context.WithoutCancel]. If our
// server is in the room, the event comes again in a transaction. A pending knock
// of the same user may have to be linked by hand (server-server API, "Inviting to
// a room").
type Handler interface {
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
// required. A hook refuses with an error, best an [*Error] from [Refuse]; other
// errors become 500 M_UNKNOWN and their text stays here. All may be called
// concurrently.
type Config struct {
	// Signer returns the current signing key of one of our servers, or an error
	// that wraps [ErrNotLocal] if server is not ours. It is asked for each
	// delivery, so that keys may change while the Receiver runs. Required.
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
	// ServerAllowed applies the server ACL of a room that we know.
	ServerAllowed func(ctx context.Context, roomID string, server ServerName) (bool, error)
	// Policy decides whether the invite is wanted, before any event signature is
	// checked or made. Its invite is not verified yet, and its RoomState is empty.
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
	Timeout time.Duration
	// Done is called once for each delivery, accepted (err is nil) or refused. d
	// and inv hold what was known by then; inv may be nil.
	Done func(ctx context.Context, d *Delivery, inv *Invite, err error)
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
		return fmt.Errorf("%w: the type is not m.room.member", ErrNotInvite)
	case !e.isInvite():
		return fmt.Errorf("%w: the membership is not invite", ErrNotInvite)
	case origin == destination:
		return fmt.Errorf("%w: the origin is the destination itself", ErrOrigin)
	case serverOf(e.Sender()) != origin:
		return ErrOrigin
	}
	key, ok := e.StateKey()
	if !ok {
		return fmt.Errorf("%w: there is no state_key", ErrNotLocal)
	}
	_, server, err := ParseUserID(key)
	if err != nil {
		return fmt.Errorf("%w: the state_key is no user ID", ErrNotLocal)
	}
	if server != destination {
		return fmt.Errorf("%w: the invitee is on another server", ErrNotLocal)
	}
	return nil
}
