package fedinvite

import (
	"errors"
	"runtime/debug"
	"testing"
)

// The exemption is for one member alone, the unsigned data of an event, and
// for numbers alone.
func TestEventNumbers(t *testing.T) {
	tests := []struct {
		in, want string
		err      error
	}{
		{`{"a":1}`, `{"a":1}`, nil},
		{`{"unsigned":1.5}`, `{"unsigned":1.5}`, nil},
		{`{"unsigned":{"b":[1e3,{"c":2.50}],"a":9007199254740992},"depth":1}`,
			`{"depth":1,"unsigned":{"a":9007199254740992,"b":[1000.0,{"c":2.5}]}}`, nil},
		{`{"\u0075nsigned":1E1}`, `{"unsigned":10.0}`, nil},
		{`{"unsigned":1.5,"v":1.5}`, "", ErrBadNumber},
		{`{"depth":1.0,"unsigned":1.5}`, "", ErrBadNumber},
		{`{"unsigned":1.5,"z":9007199254740992}`, "", ErrBadNumber},
		{`{"content":{"unsigned":1.5}}`, "", ErrBadNumber},
		{`{"unsigned":{"unsigned":1.5},"z":1.5}`, "", ErrBadNumber},
		{`{"Unsigned":1.5}`, "", ErrBadNumber},
		{`{"unsigned\u0000":1.5}`, "", ErrBadNumber},
		{`{"unsigned":1e999}`, "", ErrBadNumber},
		{`[{"unsigned":1.5}]`, "", ErrBadNumber},
		{`1.5`, "", ErrBadNumber},
		{`{"unsigned":{"a":1,"a":1}}`, "", ErrDuplicateKey},
		{`{"unsigned":1.5,"unsigned":1.5}`, "", ErrDuplicateKey},
		{`{"unsigned":"\ud800"}`, "", ErrBadText},
	}
	for _, test := range tests {
		got, err := appendCanonical(nil, []byte(test.in), eventNumbers)
		if string(got) != test.want || !errors.Is(err, test.err) {
			t.Errorf("%s: got %s, %v, want %s, %v", test.in, got, err, test.want, test.err)
		}
	}
}

func TestCanonicalAllocations(t *testing.T) {
	if raceEnabled() {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	for _, in := range []string{`{"a":1,"b":[2]}`, `{ "a": 1, "b": [ 2 ] }`, `{"b":[2],"a":1}`, `{"\u0062":[2],"a":1}`} {
		src, dst := []byte(in), make([]byte, 0, 100)
		if n := testing.AllocsPerRun(100, func() { dst, _ = AppendCanonicalJSON(dst[:0], src) }); n != 0 {
			t.Errorf("AppendCanonicalJSON(%s): %v allocations", in, n)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = CanonicalJSON(src) }); n != 1 {
			t.Errorf("CanonicalJSON(%s): %v allocations", in, n)
		}
	}
}

func raceEnabled() bool {
	info, ok := debug.ReadBuildInfo()
	if ok {
		for _, s := range info.Settings {
			if s.Key == "-race" {
				return s.Value == "true"
			}
		}
	}
	return false
}
