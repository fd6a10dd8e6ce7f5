package jsonobject_test

import (
	"errors"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/jsonobject"
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct {
		src, want string
		err       error
	}{
		{` { "b": 1.50, "a": {} } `, `{"a":{},"b":1.5}`, nil},
		{`{}`, `{}`, nil},
		{`[]`, ``, fedinvite.ErrBadJSON},
		{`"{}"`, ``, fedinvite.ErrBadJSON},
		{`null`, ``, fedinvite.ErrBadJSON},
		{`{"a":1,"\u0061":2}`, ``, fedinvite.ErrDuplicateKey},
		{`{}{}`, ``, fedinvite.ErrNotJSON},
		{``, ``, fedinvite.ErrNotJSON},
	} {
		got, err := jsonobject.Canonical([]byte(c.src))
		if string(got) != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: got %s, %v, want %s, %v", c.src, got, err, c.want, c.err)
		}
	}
}
