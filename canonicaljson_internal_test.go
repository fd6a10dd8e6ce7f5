package fedinvite

import (
	"errors"
	"runtime/debug"
	"strings"
	"testing"
)

// ScanCanonical is CanonicalJSON without the check whether src is canonical
// already, which must not make a difference.
func ScanCanonical(src []byte) ([]byte, error) {
	e := new(jsonEncoder)
	if err := e.scan(src, strictNumbers); err != nil {
		return nil, err
	}
	return e.append(nil), nil
}

func TestIsCanonical(t *testing.T) {
	for _, in := range []string{
		`{}`, `[]`, `""`, `0`, `-1`, `true`, `false`, `null`, `999999999999999`,
		`{"":0}`, `{"a":{"b":[1,{"c":null}],"d":"\n\"\\"},"é":"é","ﬃ":"😀"}`,
		`{"abcdefg":1,"abcdefgh":2,"abcdefghi":3,"b":4}`,
	} {
		if !isCanonical([]byte(in)) {
			t.Errorf("%s is canonical", in)
		}
	}
	for _, in := range []string{
		``, ` `, `{`, `[`, `"`, `"a`, `"\`, `"\/"`, `"\u0041"`, "\"\xff\"", "\"a\x1f\"", `-`, `-0`, `01`, `1.0`, `1e2`, `1E2`,
		`9007199254740992`, `tru`, `fals`, `nul`, `x`, `{}x`, `{} `, ` {}`, `{"a"}`, `{"a":}`, `{"a":1,}`, `{"a":1`, `{"a":1,`,
		`{"a":1 }`, `{a:1}`, `{"b":1,"a":1}`, `{"a":1,"a":1}`, `{"a":1]`, `[1}`, `[1`, `[1,`, `[1,]`, `[,1]`, "{\"\xff\":1}",
		`{"\n":1}`, `{"a`, `{"a"`,
	} {
		if isCanonical([]byte(in)) {
			t.Errorf("%q is not canonical", in)
		}
	}
}

// However deep objects are nested, each is sorted once, and nothing that is
// inside is copied when it closes.
func TestRearrangesOnce(t *testing.T) {
	in := `{"b":0,"a":0}`
	for range maxNesting - 1 {
		in = `{"c":[],"b":` + in + `,"a":1}`
	}
	e := new(jsonEncoder)
	if err := e.scan([]byte(in), strictNumbers); err != nil {
		t.Fatal(err)
	}
	if len(e.objects) != maxNesting || len(e.sorted) != 3*maxNesting-1 || len(e.text) != len(in) {
		t.Errorf("%d objects, %d members, %d bytes", len(e.objects), len(e.sorted), len(e.text))
	}
}

// What one call leaves behind must not grow without bound.
func TestScratchIsBounded(t *testing.T) {
	for in, huge := range map[string]bool{
		`{"b":1,"a":"` + strings.Repeat("x", 65536) + `"}`:                           false,
		`{"b":1,"a":[` + strings.Repeat(`{"b":0,"a":0},`, 65536/14) + `0]}`:          false,
		`{"b":1,"a":"` + strings.Repeat("x", 2*maxScratchText) + `"}`:                true,
		`{"b":1,"a":[` + strings.Repeat(`{"b":0,"a":0},`, maxScratchMembers) + `0]}`: true,
	} {
		e := new(jsonEncoder)
		if err := e.scan([]byte(in), strictNumbers); err != nil {
			t.Fatal(err)
		}
		if e.isHuge() != huge {
			t.Errorf("%.40s…, %d bytes: huge is %v", in, len(in), !huge)
		}
		e.release()
	}
}

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
	if underRaceDetector() {
		t.Skip("sync.Pool drops items at random under the race detector")
	}
	for _, in := range []string{`{"a":1,"b":[2]}`, `{ "a": 1, "b": [ 2 ] }`, `{"b":[2],"a":1}`, `{"\u0062":[2],"a":1}`,
		`{"shared so far, b":[2],"shared so far, a":1}`,
	} {
		src, dst := []byte(in), make([]byte, 0, 100)
		if n := testing.AllocsPerRun(100, func() { dst, _ = AppendCanonicalJSON(dst[:0], src) }); n != 0 {
			t.Errorf("AppendCanonicalJSON(%s): %v allocations", in, n)
		}
		if n := testing.AllocsPerRun(100, func() { _, _ = CanonicalJSON(src) }); n != 1 {
			t.Errorf("CanonicalJSON(%s): %v allocations", in, n)
		}
	}
}

func underRaceDetector() bool {
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
