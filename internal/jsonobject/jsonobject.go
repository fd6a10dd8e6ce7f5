// Package jsonobject brings a peer's JSON object into a form that other readers may
// look into.
package jsonobject

import (
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
)

// Canonical returns src, which must be one JSON object, in canonical form, so that what
// is found in it is what everybody finds. Numbers are left to the rules of a room's
// version: see [fedinvite.LegacyCanonicalJSON], of which the errors are too, and
// [fedinvite.ErrBadJSON] for what is no object.
func Canonical(src []byte) ([]byte, error) {
	text, err := fedinvite.LegacyCanonicalJSON(src)
	if err != nil {
		return nil, err
	}
	if text[0] != '{' {
		return nil, detail.Errorf(fedinvite.ErrBadJSON, "not an object")
	}
	return text, nil
}
