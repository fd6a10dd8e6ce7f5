package fedserver

import (
	"errors"
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// fromHook marks what a hook returned: a *fedinvite.Error passes, anything else is our
// own failure, also if it wraps a sentinel, which then says nothing of the request.
func fromHook(err error) error {
	var refused *fedinvite.Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused) && refused != nil:
		e := *refused
		e.Err = err
		return &e
	}
	return internal(err)
}

// internal is a failure of ours, of which a peer is told nothing else.
func internal(err error) error {
	return &fedinvite.Error{Code: fedinvite.CodeUnknown, Status: http.StatusInternalServerError, Message: "internal error", Err: err}
}

// refuse is a refusal with a code of its own and something for our logs.
func refuse(status int, code fedinvite.Code, message string, err error) error {
	return &fedinvite.Error{Code: code, Status: status, Message: message, Err: err}
}

// fromRules tells a rule of the room, which the peer may read, from a failure to apply
// the rules, which is ours.
func fromRules(err error) error {
	var rule *eventauth.RuleError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &rule):
		return refuse(http.StatusForbidden, fedinvite.CodeForbidden, rule.Reason, err)
	}
	return internal(err)
}

// fromInviter is what a peer is told of an error of the Inviter or the Client: 403 if the
// room's rules, its policy server or another server did not want the invite, 502 if one
// could not be asked. Nothing of what another server said is passed on.
func fromInviter(err error) error {
	told := fedclient.ClientError(err)
	if told == nil {
		return nil
	}
	switch {
	case told.Status == http.StatusInternalServerError:
		return internal(err)
	case isRefusal(err):
		return refuse(http.StatusForbidden, fedinvite.CodeForbidden, "refused by a server that has to agree", err)
	case told.Status == http.StatusBadGateway, isForeign(err):
		return refuse(http.StatusBadGateway, fedinvite.CodeUnknown, "a server that has to agree could not be asked", err)
	}
	return told
}

// isForeign reports whether err is what another server said.
func isForeign(err error) bool {
	var remote *fedclient.RemoteError
	var policy *fedclient.PolicyError
	return errors.As(err, &remote) || errors.As(err, &policy)
}

// isRefusal reports whether another server said no, and not only for the moment.
func isRefusal(err error) bool {
	var remote *fedclient.RemoteError
	switch {
	case errors.Is(err, fedclient.ErrReply), errors.Is(err, fedclient.ErrUnreachable): // may hold a RemoteError about keys
		return false
	case errors.As(err, &remote):
		return remote.Status >= 400 && remote.Status < 500 && remote.Status != http.StatusTooManyRequests
	}
	return isForeign(err) || errors.Is(err, fedclient.ErrOldServer)
}
