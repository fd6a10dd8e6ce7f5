package fedinvite_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
)

// What a peer is told, row by row. The sentinels that have no row of their own
// stand with the row that they belong to.
func TestWireErrorTable(t *testing.T) {
	type told struct {
		Status int
		Code   fedinvite.Code
	}
	for _, c := range []struct {
		err  error
		want told
	}{
		{fedinvite.ErrUnauthorized, told{401, "M_UNAUTHORIZED"}},
		{fedinvite.ErrTooLarge, told{413, "M_TOO_LARGE"}},
		{fedinvite.ErrNotJSON, told{400, "M_NOT_JSON"}},
		{fedinvite.ErrBadJSON, told{400, "M_BAD_JSON"}},
		{fedinvite.ErrDuplicateKey, told{400, "M_BAD_JSON"}},
		{fedinvite.ErrBadText, told{400, "M_BAD_JSON"}},
		{fedinvite.ErrBadNumber, told{400, "M_BAD_JSON"}},
		{fedinvite.ErrTooDeep, told{400, "M_BAD_JSON"}},
		{fedinvite.ErrIdentifier, told{400, "M_BAD_JSON"}},
		{fedinvite.ErrMissing, told{400, "M_MISSING_PARAM"}},
		{fedinvite.ErrRoomVersion, told{400, "M_INCOMPATIBLE_ROOM_VERSION"}},
		{fedinvite.ErrMismatch, told{400, "M_INVALID_PARAM"}},
		{fedinvite.ErrNotInvite, told{400, "M_INVALID_PARAM"}},
		{fedinvite.ErrNotLeave, told{400, "M_INVALID_PARAM"}},
		{fedinvite.ErrOrigin, told{400, "M_INVALID_PARAM"}},
		{fedinvite.ErrNotLocal, told{400, "M_INVALID_PARAM"}},
		{fedinvite.ErrSignature, told{400, "M_INVALID_PARAM"}},
		{fedinvite.ErrAuthorisingServer, told{400, "M_INVALID_PARAM"}},
		{fedinvite.ErrStateMissing, told{400, "M_INVALID_PARAM"}},
		{fedinvite.ErrStateStripped, told{400, "M_INVALID_PARAM"}},
		{fedinvite.ErrStateRoom, told{400, "M_INVALID_PARAM"}},
		{fedinvite.ErrStateSignature, told{400, "M_INVALID_PARAM"}},
		{fedinvite.ErrStateLimit, told{400, "M_INVALID_PARAM"}},
		{fedinvite.ErrServerDenied, told{403, "M_FORBIDDEN"}},
		{fedinvite.ErrForbidden, told{403, "M_FORBIDDEN"}},
		{fedinvite.ErrKeysUnavailable, told{503, "M_UNKNOWN"}},
		// Anything else.
		{fedinvite.ErrUnknownKey, told{500, "M_UNKNOWN"}},
		{fedinvite.ErrBadKey, told{500, "M_UNKNOWN"}},
		{errOutage, told{500, "M_UNKNOWN"}},
	} {
		for name, err := range map[string]error{
			"itself":           c.err,
			"wrapped":          fmt.Errorf("a: %w", fmt.Errorf("b: %w", c.err)),
			"joined":           errors.Join(errOutage, c.err),
			"a SignatureError": &fedinvite.SignatureError{Server: "a.example", Err: c.err},
			"a JSONError":      &fedinvite.JSONError{Offset: 1, Err: c.err},
		} {
			got := fedinvite.WireError(err)
			if diff := cmp.Diff(c.want, told{got.Status, got.Code}); diff != "" {
				t.Errorf("%v, %s: -want +got\n%s", c.err, name, diff)
			}
			if !errors.Is(got, c.err) || got.HTTPStatus() != got.Status {
				t.Errorf("%v, %s: does not wrap it, or another HTTP status: %v, %d", c.err, name, got, got.HTTPStatus())
			}
		}
	}
}

// sentinels are the errors that the comment of WireError names.
var sentinels = map[string]error{
	"ErrUnauthorized": fedinvite.ErrUnauthorized, "ErrKeysUnavailable": fedinvite.ErrKeysUnavailable, "ErrTooLarge": fedinvite.ErrTooLarge,
	"ErrRoomVersion": fedinvite.ErrRoomVersion, "ErrMismatch": fedinvite.ErrMismatch, "ErrNotInvite": fedinvite.ErrNotInvite,
	"ErrNotLeave": fedinvite.ErrNotLeave, "ErrOrigin": fedinvite.ErrOrigin, "ErrNotLocal": fedinvite.ErrNotLocal,
	"ErrSignature": fedinvite.ErrSignature, "ErrAuthorisingServer": fedinvite.ErrAuthorisingServer,
	"ErrServerDenied": fedinvite.ErrServerDenied, "ErrForbidden": fedinvite.ErrForbidden, "ErrMissing": fedinvite.ErrMissing,
	"ErrNotJSON": fedinvite.ErrNotJSON, "ErrBadJSON": fedinvite.ErrBadJSON, "ErrStateMissing": fedinvite.ErrStateMissing,
	"ErrStateStripped": fedinvite.ErrStateStripped, "ErrStateRoom": fedinvite.ErrStateRoom,
	"ErrStateSignature": fedinvite.ErrStateSignature, "ErrStateLimit": fedinvite.ErrStateLimit,
}

// The table in the comment of WireError says what WireError does, and the one in the
// source has no rows that it lacks.
func TestWireErrorDoesWhatItsCommentSays(t *testing.T) {
	_, files := rootFiles(t)
	var names, rows []string // of the comment and of the source
	for _, decl := range files["errors.go"].Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Name.Name == "WireError" {
				names = checkWireComment(t, d.Doc.Text())
			}
		case *ast.GenDecl:
			if v, ok := d.Specs[0].(*ast.ValueSpec); ok && v.Names[0].Name == "wireTable" {
				for _, row := range v.Values[0].(*ast.CompositeLit).Elts {
					rows = append(rows, row.(*ast.CompositeLit).Elts[0].(*ast.Ident).Name)
				}
			}
		}
	}
	slices.Sort(names)
	slices.Sort(rows)
	if diff := cmp.Diff(rows, names); diff != "" {
		t.Errorf("-table +comment\n%s", diff)
	}
}

// checkWireComment compares each row of the comment with WireError and returns the names.
func checkWireComment(t *testing.T, comment string) (all []string) {
	t.Helper()
	var names []string
	for line := range strings.Lines(comment) {
		if !strings.HasPrefix(line, "\t") {
			continue
		}
		for _, word := range strings.FieldsFunc(line, func(r rune) bool { return strings.ContainsRune(", \t\n", r) }) {
			switch {
			case word == "ErrState…":
				for _, name := range slices.Sorted(maps.Keys(sentinels)) {
					if strings.HasPrefix(name, "ErrState") && !slices.Contains(names, name) {
						names = append(names, name)
					}
				}
			case strings.HasPrefix(word, "Err"):
				names = append(names, word)
			case strings.HasPrefix(word, "M_"):
				for _, name := range names {
					got := fedinvite.WireError(fmt.Errorf("x: %w", sentinels[name]))
					if told := fmt.Sprint(got.Status, " ", got.Code); !strings.Contains(line, told) {
						t.Errorf("%s: %s, the comment says %s", name, told, line)
					}
				}
				all, names = append(all, names...), nil
			}
		}
	}
	return all
}

func TestWireErrorOfNilIsNil(t *testing.T) {
	if got := fedinvite.WireError(nil); got != nil {
		t.Errorf("%v", got)
	}
}

// An error that is two things: what is more specific decides.
func TestWireErrorPrefersTheMoreSpecific(t *testing.T) {
	for _, c := range []struct {
		err  error
		want fedinvite.Code
	}{
		{fmt.Errorf("%w: %w", fedinvite.ErrUnauthorized, fedinvite.ErrKeysUnavailable), "M_UNAUTHORIZED"},
		{fmt.Errorf("%w: %w", fedinvite.ErrStateStripped, fedinvite.ErrBadJSON), "M_INVALID_PARAM"},
		{fmt.Errorf("%w: %w", fedinvite.ErrStateSignature, fedinvite.ErrKeysUnavailable), "M_INVALID_PARAM"},
		{fmt.Errorf("%w: %w", fedinvite.ErrSignature, fedinvite.ErrBadKey), "M_INVALID_PARAM"},
		{fmt.Errorf("%w: %w", fedinvite.ErrMissing, fedinvite.ErrBadJSON), "M_MISSING_PARAM"},
		{fmt.Errorf("%w: %w", fedinvite.ErrTooLarge, fedinvite.ErrNotJSON), "M_TOO_LARGE"},
	} {
		if got := fedinvite.WireError(c.err).Code; got != c.want {
			t.Errorf("%v: %s, want %s", c.err, got, c.want)
		}
	}
}

func body(t *testing.T, e *fedinvite.Error) string {
	t.Helper()
	b, err := json.Marshal(e)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestHookTextNeverLeaks(t *testing.T) {
	const secret = "postgres://user:hunter2@db"
	hook := errors.New(secret)
	refusal := fedinvite.Refuse(fedinvite.CodeForbidden, "no")
	refusal.Err = hook
	for _, err := range []error{
		hook,
		fmt.Errorf("policy: %w", hook),
		fmt.Errorf("%w: %w", fedinvite.ErrSignature, hook),
		fmt.Errorf("%w: %s", fedinvite.ErrNotLocal, secret),
		fmt.Errorf("%s: %w", secret, fedinvite.ErrRoomVersion),
		fmt.Errorf("%s: %w", secret, fedinvite.ErrKeysUnavailable),
		&fedinvite.SignatureError{Server: "a.example", KeyID: "ed25519:1", Err: fmt.Errorf("%w: %w", fedinvite.ErrKeysUnavailable, hook)},
		&fedinvite.JSONError{Offset: 3, Err: fmt.Errorf("%w: %w", fedinvite.ErrBadJSON, hook)},
		errors.Join(hook, fedinvite.ErrServerDenied),
		refusal,
		fmt.Errorf("%s: %w", secret, refusal),
	} {
		wire := fedinvite.WireError(err)
		if strings.Contains(body(t, wire), "hunter2") || strings.Contains(wire.Message, "hunter2") {
			t.Errorf("%v: the peer is told %s", err, body(t, wire))
		}
		if !errors.Is(wire, err) || !strings.Contains(wire.Error(), "hunter2") {
			t.Errorf("%v: our own logs lack the reason: %v", err, wire)
		}
	}
}

func TestWireErrorSaysWhere(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&fedinvite.SignatureError{Server: "a.example", KeyID: "ed25519:1", Err: fedinvite.ErrSignature}, `signature check failed: signature of "a.example" with key "ed25519:1"`},
		{fmt.Errorf("x: %w", &fedinvite.SignatureError{Server: "a.example", Err: fedinvite.ErrSignature}), `signature check failed: signature of "a.example"`},
		{&fedinvite.JSONError{Offset: 7, Pointer: "/a", Err: fedinvite.ErrDuplicateKey}, `bad JSON: duplicate key: at byte 7, in "/a"`},
		{&fedinvite.JSONError{Offset: 7, Err: fedinvite.ErrNotJSON}, `not JSON: at byte 7`},
		{fedinvite.ErrServerDenied, `denied by the room's server ACL`},
		{errOutage, `internal error`},
	} {
		if diff := cmp.Diff(c.want, fedinvite.WireError(c.err).Message); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
}

func TestUnknownRoomVersionIsNamedToThePeer(t *testing.T) {
	_, err := fedinvite.RoomVersion("org.x").Rules()
	for _, err := range []error{err, fmt.Errorf("x: %w", err)} {
		want := `{"errcode":"M_INCOMPATIBLE_ROOM_VERSION","error":"unknown room version","room_version":"org.x"}`
		if diff := cmp.Diff(want, body(t, fedinvite.WireError(err))); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
}

func TestRefuseCountsAsItIs(t *testing.T) {
	refuse := func(code fedinvite.Code, edit func(e *fedinvite.Error)) *fedinvite.Error {
		e := fedinvite.Refuse(code, "message")
		if edit != nil {
			edit(e)
		}
		return e
	}
	for _, c := range []struct {
		name   string
		err    *fedinvite.Error
		status int
		body   string
	}{
		{"forbidden", refuse(fedinvite.CodeForbidden, nil), 403, `{"errcode":"M_FORBIDDEN","error":"message"}`},
		{"blocked", refuse(fedinvite.CodeInviteBlocked, nil), 403, `{"errcode":"M_INVITE_BLOCKED","error":"message"}`},
		{"a code of their own", refuse("ORG_EXAMPLE", nil), 403, `{"errcode":"ORG_EXAMPLE","error":"message"}`},
		{"no code", refuse("", nil), 403, `{"errcode":"M_UNKNOWN","error":"message"}`},
		{"limit", refuse(fedinvite.CodeLimitExceeded, nil), 429, `{"errcode":"M_LIMIT_EXCEEDED","error":"message"}`},
		{"limit with a time", refuse(fedinvite.CodeLimitExceeded, func(e *fedinvite.Error) { e.RetryAfter = 1500 * time.Millisecond }), 429, `{"errcode":"M_LIMIT_EXCEEDED","error":"message","retry_after_ms":1500}`},
		{"limit with a time, rounded up", refuse(fedinvite.CodeLimitExceeded, func(e *fedinvite.Error) { e.RetryAfter = time.Millisecond + 1 }), 429, `{"errcode":"M_LIMIT_EXCEEDED","error":"message","retry_after_ms":2}`},
		{"limit with a time that is over", refuse(fedinvite.CodeLimitExceeded, func(e *fedinvite.Error) { e.RetryAfter = -time.Second }), 429, `{"errcode":"M_LIMIT_EXCEEDED","error":"message"}`},
		{"a time without a limit", refuse(fedinvite.CodeForbidden, func(e *fedinvite.Error) { e.RetryAfter = time.Second }), 403, `{"errcode":"M_FORBIDDEN","error":"message"}`},
		{"room version", refuse(fedinvite.CodeIncompatibleRoomVersion, func(e *fedinvite.Error) { e.RoomVersion, e.Status = "1", 400 }), 400, `{"errcode":"M_INCOMPATIBLE_ROOM_VERSION","error":"message","room_version":"1"}`},
		{"room version, empty", refuse(fedinvite.CodeIncompatibleRoomVersion, func(e *fedinvite.Error) { e.Status = 400 }), 400, `{"errcode":"M_INCOMPATIBLE_ROOM_VERSION","error":"message","room_version":""}`},
		{"room version of another code", refuse(fedinvite.CodeForbidden, func(e *fedinvite.Error) { e.RoomVersion = "1" }), 403, `{"errcode":"M_FORBIDDEN","error":"message"}`},
		{"status of its own", refuse(fedinvite.CodeForbidden, func(e *fedinvite.Error) { e.Status = 418 }), 418, `{"errcode":"M_FORBIDDEN","error":"message"}`},
		{"status 400", refuse(fedinvite.CodeForbidden, func(e *fedinvite.Error) { e.Status = 400 }), 400, `{"errcode":"M_FORBIDDEN","error":"message"}`},
		{"status 599", refuse(fedinvite.CodeForbidden, func(e *fedinvite.Error) { e.Status = 599 }), 599, `{"errcode":"M_FORBIDDEN","error":"message"}`},
		{"status that is no error", refuse(fedinvite.CodeForbidden, func(e *fedinvite.Error) { e.Status = 200 }), 403, `{"errcode":"M_FORBIDDEN","error":"message"}`},
		{"status 399", refuse(fedinvite.CodeForbidden, func(e *fedinvite.Error) { e.Status = 399 }), 403, `{"errcode":"M_FORBIDDEN","error":"message"}`},
		{"status 600", refuse(fedinvite.CodeLimitExceeded, func(e *fedinvite.Error) { e.Status = 600 }), 429, `{"errcode":"M_LIMIT_EXCEEDED","error":"message"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := *c.err
			for _, err := range []error{c.err, fmt.Errorf("policy: %w", c.err), fmt.Errorf("%w: %w", fedinvite.ErrSignature, c.err)} {
				got := fedinvite.WireError(err)
				if got.Status != c.status || got.HTTPStatus() != c.status || got.RetryAfter != c.err.RetryAfter {
					t.Errorf("status %d, want %d", got.Status, c.status)
				}
				if diff := cmp.Diff(c.body, body(t, got)); diff != "" {
					t.Errorf("-want +got\n%s", diff)
				}
				if !errors.Is(got, c.err) {
					t.Error("it does not wrap the refusal")
				}
			}
			if *c.err != before {
				t.Error("WireError changed the refusal")
			}
		})
	}
}

func TestRefuseMakesNoMoreThanItIsTold(t *testing.T) {
	if diff := cmp.Diff(&fedinvite.Error{Code: fedinvite.CodeForbidden, Message: "no"}, fedinvite.Refuse(fedinvite.CodeForbidden, "no")); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestErrorText(t *testing.T) {
	for want, e := range map[string]*fedinvite.Error{
		"M_FORBIDDEN":                {Code: fedinvite.CodeForbidden},
		"M_FORBIDDEN: no":            {Code: fedinvite.CodeForbidden, Message: "no"},
		"M_FORBIDDEN: no (too late)": {Code: fedinvite.CodeForbidden, Message: "no", Err: errors.New("too late")},
		"M_FORBIDDEN (too late)":     {Code: fedinvite.CodeForbidden, Err: errors.New("too late")},
	} {
		if diff := cmp.Diff(want, e.Error()); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if e.Unwrap() != e.Err {
			t.Errorf("%v unwraps to %v", e, e.Unwrap())
		}
	}
}

func TestWhichErrorIsWhich(t *testing.T) {
	badJSON := []error{fedinvite.ErrDuplicateKey, fedinvite.ErrBadText, fedinvite.ErrBadNumber, fedinvite.ErrTooDeep, fedinvite.ErrIdentifier}
	for _, err := range badJSON {
		if !errors.Is(err, fedinvite.ErrBadJSON) {
			t.Errorf("%v is not ErrBadJSON", err)
		}
	}
	all := append([]error{
		fedinvite.ErrNotJSON, fedinvite.ErrBadJSON, fedinvite.ErrMissing, fedinvite.ErrTooLarge, fedinvite.ErrRoomVersion,
		fedinvite.ErrUnauthorized, fedinvite.ErrMismatch, fedinvite.ErrNotInvite, fedinvite.ErrNotLeave, fedinvite.ErrOrigin,
		fedinvite.ErrNotLocal, fedinvite.ErrServerDenied, fedinvite.ErrForbidden, fedinvite.ErrAuthorisingServer, fedinvite.ErrSignature, fedinvite.ErrUnknownKey,
		fedinvite.ErrKeysUnavailable, fedinvite.ErrBadKey, fedinvite.ErrStateMissing, fedinvite.ErrStateStripped,
		fedinvite.ErrStateRoom, fedinvite.ErrStateSignature, fedinvite.ErrStateLimit,
	}, badJSON...)
	for i, err := range all {
		for j, other := range all {
			want := i == j || i >= len(all)-len(badJSON) && other == fedinvite.ErrBadJSON
			if got := errors.Is(err, other); got != want {
				t.Errorf("errors.Is(%v, %v) = %v", err, other, got)
			}
		}
		for j := range i {
			if all[j].Error() == err.Error() {
				t.Errorf("two sentinels say %q", err)
			}
		}
	}
}

// Foreign text is cut at 255 bytes, at the start of a character.
func TestQuotedInputIsCut(t *testing.T) {
	for _, c := range []struct {
		name, quoted string
	}{
		{strings.Repeat("x", 255), strings.Repeat("x", 255)},
		{strings.Repeat("x", 256), strings.Repeat("x", 255) + "…"},
		{strings.Repeat("x", 254) + "é", strings.Repeat("x", 254) + "…"},
		{strings.Repeat("x", 253) + "é", strings.Repeat("x", 253) + "é"},
		{strings.Repeat("x", 253) + "éx", strings.Repeat("x", 253) + "é…"},
		{strings.Repeat("x", 252) + "😀", strings.Repeat("x", 252) + "…"},
		{strings.Repeat("x", 1<<20), strings.Repeat("x", 255) + "…"},
		{strings.Repeat("\uFFFD", 86), strings.Repeat("\uFFFD", 85) + "…"},
		{strings.Repeat("\xff", 300), "…"},
	} {
		err := &fedinvite.SignatureError{Server: fedinvite.ServerName(c.name), Err: fedinvite.ErrSignature}
		want := fmt.Sprintf("signature of %q: signature check failed", c.quoted)
		if diff := cmp.Diff(want, err.Error()); diff != "" {
			t.Errorf("%.20q… of %d bytes: -want +got\n%s", c.name, len(c.name), diff)
		}
		if !utf8.ValidString(fedinvite.WireError(err).Message) {
			t.Errorf("%.20q…: the message is no text", c.name)
		}
	}
}

// A name on a command line is no JSON; one in an event is refused as bad JSON.
func TestErrIdentifierSaysNothingOfJSON(t *testing.T) {
	_, err := fedinvite.ParseServerName("a b")
	if want := `malformed identifier: server name "a b"`; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if !errors.Is(err, fedinvite.ErrIdentifier) || !errors.Is(err, fedinvite.ErrBadJSON) {
		t.Errorf("%v wraps too little", err)
	}
	if e := fedinvite.WireError(err); e.Code != fedinvite.CodeBadJSON || e.Message != "bad JSON" {
		t.Errorf("a peer is told %s %q", e.Code, e.Message)
	}
}
