package fedinvite

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
)

// The sentinel errors: everything that this module returns for bad input wraps one
// of them; test with [errors.Is]. These are about the form of the input.
var (
	// ErrNotJSON: the bytes are not one JSON value (syntax, trailing data, nothing at all).
	ErrNotJSON = errors.New("not JSON")
	// ErrBadJSON: JSON, but not as the protocol wants it: a member of the wrong
	// type, or an event that breaks the format or the limits of its room version.
	ErrBadJSON = errors.New("bad JSON")
	// ErrDuplicateKey: an object names a key twice, perhaps with different escapes.
	ErrDuplicateKey = fmt.Errorf("%w: duplicate key", ErrBadJSON)
	// ErrBadText: invalid UTF-8 or a surrogate without its partner.
	ErrBadText = fmt.Errorf("%w: invalid UTF-8 or lone surrogate", ErrBadJSON)
	// ErrBadNumber: a number that the canonical form in use cannot express.
	ErrBadNumber = fmt.Errorf("%w: number not allowed in canonical JSON", ErrBadJSON)
	// ErrTooDeep: arrays and objects nested more than 128 deep.
	ErrTooDeep = fmt.Errorf("%w: nested too deeply", ErrBadJSON)
	// ErrMissing: a required member of a request body is absent.
	ErrMissing = errors.New("required member missing")
	// ErrTooLarge: more bytes than the limit of the request or reply.
	ErrTooLarge = errors.New("too large")
	// ErrRoomVersion: a room version that is not known here, or the zero [Rules].
	ErrRoomVersion = errors.New("unknown room version")
	// ErrIdentifier: a server name, user ID, room ID or key ID that its grammar does not allow.
	// It wraps [ErrBadJSON], for identifiers in events and requests, and its text says nothing
	// of JSON, for all others.
	ErrIdentifier = fmt.Errorf("malformed identifier%.0w", ErrBadJSON)
)

// Why an invite, or whoever sent it, is refused.
var (
	// ErrUnauthorized: the request is not proven to come from its origin, or not meant for us.
	ErrUnauthorized = errors.New("request not authenticated")
	// ErrMismatch: two things that must be the same differ: path and event, or an event and its signed copy.
	ErrMismatch = errors.New("does not match")
	// ErrNotInvite: the event is no m.room.member event with membership invite.
	ErrNotInvite = errors.New("not an invite")
	// ErrNotLeave: the event is no m.room.member event by which a user leaves.
	ErrNotLeave = errors.New("not a leave")
	// ErrOrigin: the sender is not a user of the server that sent the request.
	ErrOrigin = errors.New("sender is not on the origin server")
	// ErrNotLocal: a server or user that is not ours. Config.Signer returns it for names it does not serve.
	ErrNotLocal = errors.New("not a local server or user")
	// ErrServerDenied: the room's server ACL denies the origin.
	ErrServerDenied = errors.New("denied by the room's server ACL")
	// ErrForbidden: the authorization rules of the room do not allow the event.
	ErrForbidden = errors.New("not allowed in the room")
	// ErrAuthorisingServer: a member event names join_authorised_via_users_server,
	// and that user's server did not validly sign it.
	ErrAuthorisingServer = errors.New("not signed by the authorising server")
)

// Keys and signatures.
var (
	// ErrSignature: a required signature is absent or wrong.
	ErrSignature = errors.New("signature check failed")
	// ErrUnknownKey: a [KeySource] does not know that key, and asking again will not help.
	ErrUnknownKey = errors.New("unknown key")
	// ErrKeysUnavailable: a [KeySource] could not tell; nothing is known of the signature.
	ErrKeysUnavailable = errors.New("keys unavailable")
	// ErrBadKey: a key that is malformed, of the wrong length, of small order or not in canonical form.
	ErrBadKey = errors.New("unusable key")
)

// What is wrong with an invite_room_state; refusals and [RoomState].Warnings wrap these.
var (
	// ErrStateMissing: there is no m.room.create event.
	ErrStateMissing = errors.New("invite_room_state: no m.room.create event")
	// ErrStateStripped: an entry is no PDU of the room's version.
	ErrStateStripped = errors.New("invite_room_state: entry is not a PDU of the room version")
	// ErrStateRoom: an entry belongs to another room.
	ErrStateRoom = errors.New("invite_room_state: entry of another room")
	// ErrStateSignature: an entry's signatures cannot be verified.
	ErrStateSignature = errors.New("invite_room_state: entry fails its signature check")
	// ErrStateLimit: there are more than 100 entries.
	ErrStateLimit = errors.New("invite_room_state: too many entries")
)

// A SignatureError says whose signature is missing or wrong, and by which key if
// it is about one key. Err wraps [ErrSignature], [ErrAuthorisingServer] or
// [ErrKeysUnavailable].
type SignatureError struct {
	Server ServerName
	KeyID  KeyID // "" if no key can be named
	Err    error
}

// Error returns the names and the text of Err.
func (e *SignatureError) Error() string { return e.where() + ": " + e.Err.Error() }

// Unwrap returns Err.
func (e *SignatureError) Unwrap() error { return e.Err }

// where holds nothing but names, so that it may be told to peers.
func (e *SignatureError) where() string {
	if e.KeyID == "" {
		return fmt.Sprintf("signature of %q", clip(string(e.Server)))
	}
	return fmt.Sprintf("signature of %q with key %q", clip(string(e.Server)), clip(string(e.KeyID)))
}

// A Code is a Matrix error code, the errcode of an error body.
type Code string

// The codes that invites use (client-server API, "Standard error response";
// server-server API, "Inviting to a room").
const (
	CodeBadJSON                 Code = "M_BAD_JSON"
	CodeForbidden               Code = "M_FORBIDDEN"
	CodeIncompatibleRoomVersion Code = "M_INCOMPATIBLE_ROOM_VERSION"
	CodeInvalidParam            Code = "M_INVALID_PARAM"
	CodeInviteBlocked           Code = "M_INVITE_BLOCKED"
	CodeLimitExceeded           Code = "M_LIMIT_EXCEEDED"
	CodeMissingParam            Code = "M_MISSING_PARAM"
	CodeNotFound                Code = "M_NOT_FOUND"
	CodeNotJSON                 Code = "M_NOT_JSON"
	CodeTooLarge                Code = "M_TOO_LARGE"
	CodeUnauthorized            Code = "M_UNAUTHORIZED"
	CodeUnknown                 Code = "M_UNKNOWN"
	CodeUnrecognized            Code = "M_UNRECOGNIZED"
	CodeUnsupportedRoomVersion  Code = "M_UNSUPPORTED_ROOM_VERSION"
)

// An Error is what a peer is told: an HTTP status and the JSON body of a Matrix
// error. Err is for our own logs and never leaves this process.
type Error struct {
	Code        Code
	Status      int           // HTTP status; 0: the usual one of Code
	Message     string        // for humans; sent to the peer
	RoomVersion RoomVersion   // sent with M_INCOMPATIBLE_ROOM_VERSION
	RetryAfter  time.Duration // sent with M_LIMIT_EXCEEDED, rounded up; 0: not sent
	Err         error
}

// Refuse makes the error with which a hook of [Config] or a [Handler] refuses an
// invite: status 429 for M_LIMIT_EXCEEDED, else 403. Set Status, RetryAfter or Err
// on the result to say more. The message is sent to the peer. Of codes, servers pass on
// to the user who invites M_FORBIDDEN and M_INVITE_BLOCKED and those about room versions;
// with any other it reads like a failure of the servers.
func Refuse(code Code, message string) *Error {
	return &Error{Code: code, Message: message}
}

// Error returns what is for the peer, and what is for our own logs.
func (e *Error) Error() string {
	if e == nil {
		return "nil *Error" // in an error that is not nil, a hook's mistake
	}
	s := string(e.Code)
	if e.Message != "" {
		s += ": " + e.Message
	}
	if e.Err != nil {
		s += " (" + e.Err.Error() + ")"
	}
	return s
}

// Unwrap returns Err.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Err
}

// HTTPStatus returns Status, or the usual one of Code if Status is not a valid
// error status: 429 for M_LIMIT_EXCEEDED, else 403.
func (e *Error) HTTPStatus() int {
	switch {
	case e.Status >= 400 && e.Status <= 599:
		return e.Status
	case e.Code == CodeLimitExceeded:
		return http.StatusTooManyRequests
	}
	return http.StatusForbidden
}

// MarshalJSON returns the body of a Matrix error: errcode, error and, where the
// code has them, room_version and retry_after_ms.
func (e *Error) MarshalJSON() ([]byte, error) {
	body := struct {
		Code         Code         `json:"errcode"`
		Message      string       `json:"error"`
		RoomVersion  *RoomVersion `json:"room_version,omitempty"`
		RetryAfterMS int64        `json:"retry_after_ms,omitempty"`
	}{Code: cmp.Or(e.Code, CodeUnknown), Message: e.Message}
	if e.Code == CodeIncompatibleRoomVersion {
		body.RoomVersion = &e.RoomVersion
	}
	if e.Code == CodeLimitExceeded {
		body.RetryAfterMS = int64((max(e.RetryAfter, 0) + time.Millisecond - 1) / time.Millisecond)
	}
	return json.Marshal(body)
}

// A hookError is what a hook of [Config], a [Handler] or a [Signer] returned. It
// may wrap one of our sentinels, say from reading the author's own store, which
// then says nothing of the invite.
type hookError struct{ err error }

func (e *hookError) Error() string { return e.err.Error() }

func (e *hookError) Unwrap() error { return e.err }

// fromHook marks err as a hook's; nil stays nil.
func fromHook(err error) error {
	if err == nil {
		return nil
	}
	return &hookError{err}
}

// wireTable is the one place that maps an error to a status and an errcode. The
// first row that matches counts, so what is more specific stands first.
var wireTable = []struct {
	err    error
	status int
	code   Code
}{
	{ErrUnauthorized, http.StatusUnauthorized, CodeUnauthorized},
	{ErrStateMissing, http.StatusBadRequest, CodeInvalidParam},
	{ErrStateStripped, http.StatusBadRequest, CodeInvalidParam},
	{ErrStateRoom, http.StatusBadRequest, CodeInvalidParam},
	{ErrStateSignature, http.StatusBadRequest, CodeInvalidParam},
	{ErrStateLimit, http.StatusBadRequest, CodeInvalidParam},
	{ErrKeysUnavailable, http.StatusServiceUnavailable, CodeUnknown},
	{ErrTooLarge, http.StatusRequestEntityTooLarge, CodeTooLarge},
	{ErrRoomVersion, http.StatusBadRequest, CodeIncompatibleRoomVersion},
	{ErrMismatch, http.StatusBadRequest, CodeInvalidParam},
	{ErrNotInvite, http.StatusBadRequest, CodeInvalidParam},
	{ErrNotLeave, http.StatusBadRequest, CodeInvalidParam},
	{ErrOrigin, http.StatusBadRequest, CodeInvalidParam},
	{ErrNotLocal, http.StatusBadRequest, CodeInvalidParam},
	{ErrAuthorisingServer, http.StatusBadRequest, CodeInvalidParam},
	{ErrSignature, http.StatusBadRequest, CodeInvalidParam},
	{ErrServerDenied, http.StatusForbidden, CodeForbidden},
	{ErrForbidden, http.StatusForbidden, CodeForbidden},
	{ErrMissing, http.StatusBadRequest, CodeMissingParam},
	{ErrNotJSON, http.StatusBadRequest, CodeNotJSON},
	{ErrBadJSON, http.StatusBadRequest, CodeBadJSON},
}

// WireError returns what a peer may be told of err; nil for nil:
//
//	ErrUnauthorized                                   401 M_UNAUTHORIZED
//	ErrStateMissing and the other ErrState…           400 M_INVALID_PARAM
//	ErrKeysUnavailable                                503 M_UNKNOWN
//	ErrTooLarge                                       413 M_TOO_LARGE
//	ErrRoomVersion                                    400 M_INCOMPATIBLE_ROOM_VERSION
//	ErrMismatch, ErrNotInvite, ErrNotLeave, ErrOrigin,
//	ErrNotLocal, ErrSignature, ErrAuthorisingServer   400 M_INVALID_PARAM
//	ErrServerDenied, ErrForbidden                     403 M_FORBIDDEN
//	ErrMissing                                        400 M_MISSING_PARAM
//	ErrNotJSON                                        400 M_NOT_JSON
//	ErrBadJSON                                        400 M_BAD_JSON
//
// An [*Error] in err's tree counts as it is, the sentinels of this package by their
// table, unless a hook of [Config] returned them; all else is 500 M_UNKNOWN without
// any inner text. The result wraps err.
func WireError(err error) *Error {
	if err == nil {
		return nil
	}
	// A refusal inside of an outage is about our own question to a [KeySource].
	outage := errors.Is(err, ErrKeysUnavailable)
	var refused *Error
	if errors.As(err, &refused) && refused != nil && (!outage || errors.Is(refused, ErrKeysUnavailable)) {
		e := *refused
		e.Status = e.HTTPStatus()
		e.Code = cmp.Or(e.Code, CodeUnknown)
		e.Err = err
		return &e
	}
	var hook *hookError
	fromHook := errors.As(err, &hook)
	for _, row := range wireTable {
		if !fromHook && errors.Is(err, row.err) {
			e := &Error{Code: row.code, Status: row.status, Message: wireMessage(row.err, err), Err: err}
			var unknown *versionError
			if errors.As(err, &unknown) {
				e.RoomVersion = unknown.version
			}
			return e
		}
	}
	return &Error{Code: CodeUnknown, Status: http.StatusInternalServerError, Message: "internal error", Err: err}
}

// wireMessage tells what is wrong and where, from the types whose text holds places and
// names only. The rest of err's text may hold what a hook wrote.
func wireMessage(sentinel, err error) string {
	var js *JSONError
	if errors.As(err, &js) {
		for _, fault := range []error{ErrDuplicateKey, ErrBadText, ErrBadNumber, ErrTooDeep} {
			if js.Err == fault && errors.Is(fault, sentinel) {
				sentinel = fault
			}
		}
		return sentinel.Error() + ": " + js.where()
	}
	var sig *SignatureError
	if errors.As(err, &sig) {
		return sentinel.Error() + ": " + sig.where()
	}
	var detailed *detail.Error
	if errors.As(err, &detailed) {
		return sentinel.Error() + ": " + detailed.Detail
	}
	return sentinel.Error()
}

// clip bounds what is quoted of foreign input.
func clip(s string) string {
	const most = 255
	if len(s) <= most {
		return s
	}
	s = s[:most]
	for len(s) > 0 {
		if r, n := utf8.DecodeLastRuneInString(s); r != utf8.RuneError || n > 1 {
			break
		}
		s = s[:len(s)-1]
	}
	return s + "…"
}
