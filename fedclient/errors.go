package fedclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite"
)

// What is taken from an error answer.
const (
	maxErrorBody  = 64 << 10 // bytes
	maxCode       = 64       // bytes
	maxMessage    = 512      // bytes
	maxRetryAfter = time.Hour
)

var (
	// ErrUnreachable: there was no answer, or it broke off: no connection, no valid
	// certificate, out of time, before the server was asked or after. In a
	// [*BackoffError], the server was not asked, because that is how it was before.
	ErrUnreachable = errors.New("server cannot be reached")
	// ErrReply: the server answered with success, but what it sent cannot be used.
	ErrReply = errors.New("unusable reply")
	// ErrOldServer: the server does not know the endpoint that the room version
	// needs, so its users cannot be invited to the room.
	ErrOldServer = errors.New("the server does not support the room version")

	// errEnded: the caller's context ended while no request was on its way. For the caller
	// it is as if one had been.
	errEnded = fmt.Errorf("%w: out of time", ErrUnreachable)
)

// A RemoteError is an answer other than 200. All text in it is the peer's.
type RemoteError struct {
	Server  fedinvite.ServerName
	Status  int            // HTTP status, also of a redirect
	Code    fedinvite.Code // errcode; "" if there is none; M_UNKNOWN for one that cannot be
	Message string         // at most 512 bytes
	// RoomVersion is the version of the invite that was refused, if Code is
	// M_INCOMPATIBLE_ROOM_VERSION.
	RoomVersion fedinvite.RoomVersion
	// RetryAfter is how long the server wants to be left alone, at most an hour; 0
	// if it did not say.
	RetryAfter time.Duration
}

// Error returns one line, in which the message is quoted.
func (e *RemoteError) Error() string {
	s := fmt.Sprintf("%s answered %d", e.Server, e.Status)
	if e.Code != "" {
		s += " " + string(e.Code)
	}
	if e.Message != "" {
		s += fmt.Sprintf(": %q", e.Message)
	}
	return s
}

// unknownEndpoint reports whether the server does not have the endpoint. Servers of
// old said so with a page of text.
func (e *RemoteError) unknownEndpoint() bool {
	switch e.Status {
	case http.StatusNotFound, http.StatusMethodNotAllowed:
		return e.Code == "" || e.Code == fedinvite.CodeUnrecognized
	case http.StatusBadRequest:
		return e.Code == fedinvite.CodeUnrecognized
	}
	return false
}

// retryable reports whether the answer is about the moment, not about the request.
func (e *RemoteError) retryable() bool {
	return e.Status == http.StatusTooManyRequests || e.Status >= 500
}

// A hookError is what a hook of [InviterConfig], a [Room] or a [fedinvite.Signer]
// returned. It may wrap any error of ours, say from asking another server, which then says
// nothing of the request at hand.
type hookError struct{ err error }

func (e *hookError) Error() string { return e.err.Error() }

func (e *hookError) Unwrap() error { return e.err }

// fromHook marks what a hook returned, unless it failed because ctx, the caller's, ended.
func fromHook(ctx context.Context, err error) error {
	if end := ctx.Err(); end != nil && errors.Is(err, end) {
		return fmt.Errorf("%w: %w", errEnded, err)
	}
	return &hookError{err}
}

// ended returns an error once ctx, the caller's, has ended.
func ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("%w: %w", errEnded, err)
	}
	return nil
}

func isHookError(err error) bool {
	if err == nil {
		return false
	}
	var hook *hookError
	return errors.As(err, &hook)
}

// Retryable reports whether the request that gave err may succeed later: the server
// was not reached, is overloaded or broken, or keys to check its reply were not to
// be had. A [RemoteError] or a [BackoffError] may say when. The Client has repeated it
// already where that was right. If err has a [*PolicyError] in it, that was a
// policy server, and [Inviter.Invite] is what to call again; else an [InviteError] holds
// what to send again, if it holds an event, and if not, Invite is to be called again. What
// a hook or a Signer returned is never retryable: its author knows.
func Retryable(err error) bool {
	var remote *RemoteError
	switch {
	case isHookError(err):
		return false
	case errors.Is(err, ErrReply): // may hold a RemoteError about keys
		return errors.Is(err, fedinvite.ErrKeysUnavailable)
	case errors.Is(err, ErrUnreachable): // may hold a RemoteError of the RoundTripper's
		return true
	case errors.As(err, &remote):
		return remote.retryable()
	}
	return false
}

// readError makes a RemoteError of an answer other than 200.
func readError(server fedinvite.ServerName, res *http.Response) *RemoteError {
	e := &RemoteError{Server: server, Status: res.StatusCode}
	e.RetryAfter = retryAfter(res.Header)
	if e.Status < http.StatusOK {
		return e // after a 101 the body is the connection, whose end no context brings
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxErrorBody+1))
	if err != nil || len(body) > maxErrorBody {
		return e
	}
	if body, err = fedinvite.LegacyCanonicalJSON(body); err != nil {
		return e
	}
	var members map[string]json.RawMessage // exact names, unlike a struct
	if json.Unmarshal(body, &members) != nil {
		return e
	}
	var code string
	if json.Unmarshal(members["errcode"], &code) == nil {
		e.Code = knownForm(code)
	}
	var message string
	if json.Unmarshal(members["error"], &message) == nil {
		e.Message = cut(message, maxMessage)
	}
	if ms, err := strconv.ParseInt(string(members["retry_after_ms"]), 10, 64); err == nil && e.RetryAfter == 0 {
		e.RetryAfter = min(time.Duration(max(ms, 0)), maxRetryAfter/time.Millisecond) * time.Millisecond
	}
	return e
}

// retryAfter reads seconds, or a date by the peer's own clock.
func retryAfter(h http.Header) time.Duration {
	value := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(value, 10, 64); err == nil {
		return min(time.Duration(max(seconds, 0)), maxRetryAfter/time.Second) * time.Second
	}
	until, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return min(max(until.Sub(date), 0), maxRetryAfter)
}

// knownForm returns errcodes of a form that there can be.
func knownForm(code string) fedinvite.Code {
	odd := strings.ContainsFunc(code, func(r rune) bool {
		return !('a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9' || r == '_' || r == '.' || r == '-')
	})
	if odd || len(code) > maxCode {
		return fedinvite.CodeUnknown
	}
	return fedinvite.Code(code)
}

// cut shortens s to most bytes, at the end of a character.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return strings.Clone(s[:most]) // s may be long, and errors are kept
}
