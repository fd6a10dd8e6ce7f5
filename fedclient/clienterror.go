package fedclient

import (
	"errors"
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// ClientError returns what the inviting user's client is told of an error of an
// [Inviter] or of [Client.SendInvite]; nil for nil. The result wraps err.
//
// Of the invited server's answers, M_FORBIDDEN, M_INVITE_BLOCKED,
// M_INCOMPATIBLE_ROOM_VERSION and M_UNSUPPORTED_ROOM_VERSION pass with their status, 400
// or 403 (server-server API, PUT /_matrix/federation/v2/invite). All else that it says
// or fails to say is 502 M_UNKNOWN: M_INVALID_PARAM and M_MISSING_PARAM, because
// that is our mistake and not the client's, and every other code, because it means
// something else to a client: M_UNKNOWN_TOKEN would log it out. An [ErrOldServer] is
// 400 M_UNSUPPORTED_ROOM_VERSION.
//
// A refusal of the room's policy server passes with its status, code and message
// (server-server API, "Validating Policy Server signatures"), but for the codes and the
// status 401 that are about a client's session: these become 403 M_FORBIDDEN, as
// does a room whose policy server has no usable key. A policy server that cannot be
// reached, is none or does not work is 502 M_UNKNOWN.
//
// What the rules of the room forbid is 403 M_FORBIDDEN with the reason. A
// [*fedinvite.Error], of a hook or about the invitation, passes as it is. Any other error,
// [ErrSnapshot] among them, is 500 M_UNKNOWN without its text.
func ClientError(err error) *fedinvite.Error {
	if err == nil {
		return nil
	}
	told := clientError(err)
	told.Err = err
	return told
}

func clientError(err error) *fedinvite.Error {
	var (
		hook   *hookError
		policy *PolicyError
		remote *RemoteError
		rule   *eventauth.RuleError
		own    *fedinvite.Error
	)
	internal := &fedinvite.Error{Code: fedinvite.CodeUnknown, Status: http.StatusInternalServerError, Message: "internal error"}
	switch {
	case errors.As(err, &hook) && errors.As(hook.err, &own):
		return fedinvite.WireError(own)
	case hook != nil, errors.Is(err, ErrSnapshot):
		return internal
	case errors.As(err, &policy):
		return policy.forClient()
	case errors.Is(err, ErrOldServer):
		return &fedinvite.Error{Code: fedinvite.CodeUnsupportedRoomVersion, Status: http.StatusBadRequest, Message: ErrOldServer.Error()}
	case errors.Is(err, ErrReply): // may hold a RemoteError about keys
		return badGateway("the invited user's server sent an unusable reply")
	case errors.Is(err, ErrUnreachable): // may hold a RemoteError of the RoundTripper's
		return badGateway("the invited user's server cannot be reached")
	case errors.As(err, &remote):
		return remote.forClient()
	case errors.As(err, &rule):
		return &fedinvite.Error{Code: fedinvite.CodeForbidden, Status: http.StatusForbidden, Message: rule.Reason}
	case errors.As(err, &own):
		return fedinvite.WireError(own)
	case errors.Is(err, fedinvite.ErrForbidden):
		return &fedinvite.Error{Code: fedinvite.CodeForbidden, Status: http.StatusForbidden, Message: fedinvite.ErrForbidden.Error()}
	}
	return internal
}

func badGateway(message string) *fedinvite.Error {
	return &fedinvite.Error{Code: fedinvite.CodeUnknown, Status: http.StatusBadGateway, Message: message}
}

// forClient is about the invited server.
func (e *RemoteError) forClient() *fedinvite.Error {
	told := &fedinvite.Error{Code: fedinvite.CodeUnknown, Status: http.StatusBadGateway, Message: e.Message, RetryAfter: e.RetryAfter}
	if told.Message == "" {
		told.Message = "the invited user's server refused the invite"
	}
	if e.Status < 400 || e.retryable() {
		return told
	}
	switch e.Code {
	case fedinvite.CodeForbidden, fedinvite.CodeInviteBlocked,
		fedinvite.CodeIncompatibleRoomVersion, fedinvite.CodeUnsupportedRoomVersion:
		told.Code, told.Status, told.RoomVersion = e.Code, e.Status, e.RoomVersion
	}
	if told.Status != http.StatusBadRequest && told.Code != fedinvite.CodeUnknown {
		told.Status = http.StatusForbidden // other statuses say something else to clients and proxies
	}
	return told
}

// forClient is about the policy server.
func (e *PolicyError) forClient() *fedinvite.Error {
	var remote *RemoteError
	switch {
	case errors.Is(e.Err, ErrReply):
		return badGateway("the room's policy server sent an unusable reply")
	case errors.Is(e.Err, ErrUnreachable):
		return badGateway("the room's policy server cannot be reached")
	case errors.Is(e.Err, fedinvite.ErrBadKey):
		return &fedinvite.Error{Code: fedinvite.CodeForbidden, Status: http.StatusForbidden, Message: "the room's policy server has no usable key"}
	case errors.As(e.Err, &remote):
		return remote.verbatim()
	}
	return badGateway("the room's policy server failed")
}

// verbatim passes a policy server's refusal on, if it is one.
func (e *RemoteError) verbatim() *fedinvite.Error {
	told := &fedinvite.Error{Code: e.Code, Status: e.Status, Message: e.Message, RetryAfter: e.RetryAfter}
	if told.Message == "" {
		told.Message = "the room's policy server refused the invite"
	}
	switch {
	case e.Status < 400 || e.Status > 499 || e.unknownEndpoint():
		told.Code, told.Status = fedinvite.CodeUnknown, http.StatusBadGateway
	case e.Status == http.StatusUnauthorized || e.Code == "" || isSessionCode(e.Code):
		told.Code, told.Status = fedinvite.CodeForbidden, http.StatusForbidden
	}
	return told
}

// isSessionCode reports whether a client would take the code to be about its own session
// or account (client-server API, "Standard error response").
func isSessionCode(code fedinvite.Code) bool {
	switch code {
	case "M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", fedinvite.CodeUnauthorized,
		"M_USER_DEACTIVATED", "M_USER_LOCKED", "M_USER_SUSPENDED", "M_CONSENT_NOT_GIVEN":
		return true
	}
	return false
}
