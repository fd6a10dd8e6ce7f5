package fedclient

import (
	"errors"
	"net/http"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// ClientError returns what the inviting user's client is told of an error of an
// [Inviter] or of [Client.SendInvite]; nil for nil, which is not a nil error: ask whether
// err is nil before. The result wraps err.
//
// Of the invited server's answers, M_FORBIDDEN, M_INVITE_BLOCKED,
// M_INCOMPATIBLE_ROOM_VERSION and M_UNSUPPORTED_ROOM_VERSION pass with their status, 400
// or 403 (server-server API, PUT /_matrix/federation/v2/invite). All else that it says
// or fails to say is 502 M_UNKNOWN: M_INVALID_PARAM and M_MISSING_PARAM, because
// that is our mistake and not the client's, and every other code, because it means
// something else to a client: M_UNKNOWN_TOKEN would log it out. An [ErrOldServer] is
// 400 M_UNSUPPORTED_ROOM_VERSION.
//
// A refusal of the room's policy server with one of its statuses, 400, 403, 404 and 429,
// passes with status, code and message (server-server API, "Validating Policy Server
// signatures", POST /_matrix/policy/v1/sign), but for the codes that a client takes to be
// about its session or account: these become 403 M_FORBIDDEN, as do all other 4xx and a
// room whose policy server has no usable key. A policy server that cannot be reached, is
// none or does not work is 502 M_UNKNOWN.
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
	case errors.Is(err, errEnded):
		return badGateway("the invite took too long")
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
	failed := e.Status < 400 || e.retryable()
	switch {
	case told.Message != "":
	case failed:
		told.Message = "the invited user's server failed to answer the invite"
	default:
		told.Message = "the invited user's server refused the invite"
	}
	if failed {
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
	case !isPolicyStatus(e.Status) || e.Code == "" || isSessionCode(e.Code):
		told.Code, told.Status = fedinvite.CodeForbidden, http.StatusForbidden
	}
	return told
}

// isPolicyStatus reports whether policy servers refuse by this status (server-server API,
// POST /_matrix/policy/v1/sign).
func isPolicyStatus(status int) bool {
	switch status {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests:
		return true
	}
	return false
}

// isSessionCode reports whether a client would take the code, in any case, to be about its
// own session, device or account, or about its own homeserver (client-server API, "Standard
// error response", and what servers have besides).
func isSessionCode(code fedinvite.Code) bool {
	switch fedinvite.Code(strings.ToUpper(string(code))) {
	case "M_UNKNOWN_TOKEN", "M_MISSING_TOKEN", fedinvite.CodeUnauthorized, "M_SESSION_EXPIRED", "M_UNKNOWN_DEVICE",
		"M_USER_DEACTIVATED", "M_USER_LOCKED", "M_USER_SUSPENDED", "M_GUEST_ACCESS_FORBIDDEN", "M_APPSERVICE_LOGIN_UNSUPPORTED",
		"M_CONSENT_NOT_GIVEN", "M_TERMS_NOT_SIGNED", "M_EXPIRED_ACCOUNT", "ORG_MATRIX_EXPIRED_ACCOUNT",
		"M_RESOURCE_LIMIT_EXCEEDED", "M_USER_LIMIT_EXCEEDED":
		return true
	}
	return false
}
