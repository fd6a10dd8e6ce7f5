// Package detail lets an error say in words that peers may read what is wrong in
// particular. The rest of an error's text stays here, because a hook may have written
// it; see fedinvite.WireError.
package detail

import "fmt"

// An Error adds a detail to a sentinel. It names members, rules and limits, never what
// a document holds.
type Error struct {
	Err    error
	Detail string
}

// Errorf makes an Error that wraps err.
func Errorf(err error, format string, args ...any) error {
	return &Error{err, fmt.Sprintf(format, args...)}
}

func (e *Error) Error() string { return e.Err.Error() + ": " + e.Detail }

func (e *Error) Unwrap() error { return e.Err }
