package fedinvite_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/tidwall/gjson"
)

func nestJSON(open, mid, end string, n int) string {
	return strings.Repeat(open, n) + mid + strings.Repeat(end, n)
}

func TestCanonicalDepth(t *testing.T) {
	shapes := []struct{ open, mid, end string }{
		{"[", "", "]"}, {"[ ", "0", " ]"},
		{`{"a":`, "{}", "}"}, {`{"b":0,"a":`, "[]", "}"}, {`{"\u0061":`, "{}", "}"},
	}
	for _, s := range shapes {
		n := 128
		if s.mid == "{}" || s.mid == "[]" {
			n--
		}
		for name, f := range map[string]func([]byte) ([]byte, error){
			"strict": fedinvite.CanonicalJSON, "legacy": fedinvite.LegacyCanonicalJSON,
		} {
			if _, err := f([]byte(nestJSON(s.open, s.mid, s.end, n))); err != nil {
				t.Errorf("%s %s: 128 levels refused: %v", name, s.open, err)
			}
			if _, err := f([]byte(nestJSON(s.open, s.mid, s.end, n+1))); !errors.Is(err, fedinvite.ErrTooDeep) {
				t.Errorf("%s %s: 129 levels: %v", name, s.open, err)
			}
		}
	}
}

func TestCanonicalErrors(t *testing.T) {
	long := strings.Repeat("é", 200)
	tests := []struct {
		in      string
		err     error
		offset  int64
		pointer string
	}{
		{``, fedinvite.ErrNotJSON, 0, ""},
		{"  ", fedinvite.ErrNotJSON, 2, ""},
		{`{"a":1} x`, fedinvite.ErrNotJSON, 8, ""},
		{`{"a"`, fedinvite.ErrNotJSON, 4, ""},
		{`{"a" 1}`, fedinvite.ErrNotJSON, 5, ""},
		{`{"a":`, fedinvite.ErrNotJSON, 5, "/a"},
		{`{"a":1`, fedinvite.ErrNotJSON, 6, ""},
		{`{"a":1,}`, fedinvite.ErrNotJSON, 7, ""},
		{`{"a":[1,]}`, fedinvite.ErrNotJSON, 8, "/a/1"},
		{`{"a":[1 2]}`, fedinvite.ErrNotJSON, 8, "/a"},
		{`{"a":{"b":[0,tru]}}`, fedinvite.ErrNotJSON, 13, "/a/b/1"},
		{`{1:2}`, fedinvite.ErrNotJSON, 1, ""},
		{`[1.]`, fedinvite.ErrNotJSON, 3, "/0"},
		{`[-]`, fedinvite.ErrNotJSON, 2, "/0"},
		{`[012]`, fedinvite.ErrNotJSON, 2, "/0"},
		{`[1e+]`, fedinvite.ErrNotJSON, 4, "/0"},
		{`["a`, fedinvite.ErrNotJSON, 3, "/0"},
		{`["a\`, fedinvite.ErrNotJSON, 3, "/0"},
		{`["a\x"]`, fedinvite.ErrNotJSON, 3, "/0"},
		{`["a\u00"]`, fedinvite.ErrNotJSON, 3, "/0"},
		{"[\"a\x1f\"]", fedinvite.ErrNotJSON, 3, "/0"},
		{"{\"a\x1f\":1}", fedinvite.ErrNotJSON, 3, ""},
		{"{\"\\n\x1f\":1}", fedinvite.ErrNotJSON, 4, ""},
		{`{"\n\x":1}`, fedinvite.ErrNotJSON, 4, ""},
		{`["\ud800"]`, fedinvite.ErrBadText, 2, "/0"},
		{`["\ud800\udbff"]`, fedinvite.ErrBadText, 2, "/0"},
		{`["\ud800\u12"]`, fedinvite.ErrBadText, 2, "/0"},
		{`["\udc00"]`, fedinvite.ErrBadText, 2, "/0"},
		{"[\"ab\xff\"]", fedinvite.ErrBadText, 4, "/0"},
		{"{\"a\":{\"ab\xc3\":1}}", fedinvite.ErrBadText, 9, "/a"},
		{"[\xff]", fedinvite.ErrNotJSON, 1, "/0"},
		{`{"a":{"b":1.0}}`, fedinvite.ErrBadNumber, 10, "/a/b"},
		{`{"a":[0,9007199254740992]}`, fedinvite.ErrBadNumber, 8, "/a/1"},
		{`{"a":[0,-9007199254740992]}`, fedinvite.ErrBadNumber, 8, "/a/1"},
		{`{"b":{"x":1,"x":2}}`, fedinvite.ErrDuplicateKey, 12, "/b/x"},
		{`{"b":{"x":1,"c":0,"\u0078":2}}`, fedinvite.ErrDuplicateKey, 18, "/b/x"},
		{`{"~/":1,"~\/":2}`, fedinvite.ErrDuplicateKey, 8, "/~0~1"},
		{`{"b":[{"\n":1,"\u000a":2}]}`, fedinvite.ErrDuplicateKey, 14, "/b/0/\n"},
		{nestJSON("[", "", "]", 129), fedinvite.ErrTooDeep, 128, strings.Repeat("/0", 128)},
		{nestJSON(`{"ab":`, "1", "}", 129), fedinvite.ErrTooDeep, 768, strings.Repeat("/ab", 85) + "/"},
		{`{"a` + long + `":1.5}`, fedinvite.ErrBadNumber, 405, "/a" + long[:254]},
		{`{"` + long + `":1.5}`, fedinvite.ErrBadNumber, 404, "/" + long[:254]},
	}
	for _, test := range tests {
		out, err := fedinvite.CanonicalJSON([]byte(test.in))
		if out != nil {
			t.Errorf("%q: output beside an error", test.in)
		}
		var je *fedinvite.JSONError
		if !errors.As(err, &je) {
			t.Errorf("%q: %v is no *JSONError", test.in, err)
			continue
		}
		if !errors.Is(err, test.err) || je.Offset != test.offset || je.Pointer != test.pointer {
			t.Errorf("%q:\n got %v, %d, %q\nwant %v, %d, %q", test.in,
				je.Err, je.Offset, je.Pointer, test.err, test.offset, test.pointer)
		}
	}
}

func TestJSONErrorText(t *testing.T) {
	err := &fedinvite.JSONError{Offset: 7, Err: fedinvite.ErrNotJSON}
	if got, want := err.Error(), "not JSON at byte 7"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	err = &fedinvite.JSONError{Offset: 7, Pointer: "/a\n\"\u202eb", Err: fedinvite.ErrBadNumber}
	want := `bad JSON: number not allowed in canonical JSON at byte 7, in "/a\n\"\u202eb"`
	if got := err.Error(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !errors.Is(err, fedinvite.ErrBadJSON) {
		t.Error("does not unwrap")
	}
}

// Errors may be logged and sent to peers: values stay out of them.
func TestCanonicalErrorsHideValues(t *testing.T) {
	for _, in := range []string{
		`{"k":"secret` + "\xff" + `"}`, `{"k":"secret\ud800"}`, `{"k":"secret\q"}`, `{"k":"secret`,
		`{"k":31337.5}`, `{"k":3133731337313373133731337}`, `{"k":31337x}`, `{"k":secret}`,
		`{"k":"secret","k":"secret"}`, `{"l":"secret","k":"secret","l":"secret"}`,
		`{"k":"secret"}secret`, `secret`, `{"k":["secret",` + nestJSON("[", "", "]", 130) + `]}`,
		`{"k":"secret","secret` + "\xff" + `":1}`,
	} {
		_, err := fedinvite.CanonicalJSON([]byte(in))
		if err == nil {
			t.Errorf("%q accepted", in)
			continue
		}
		if s := err.Error() + fmt.Sprintf("%+v", err); strings.Contains(s, "secret") || strings.Contains(s, "31337") {
			t.Errorf("%q: the error tells: %s", in, s)
		}
	}
}

func TestAppendCanonical(t *testing.T) {
	for name, f := range map[string]func(dst, src []byte) ([]byte, error){
		"strict": fedinvite.AppendCanonicalJSON, "legacy": fedinvite.AppendLegacyCanonicalJSON,
	} {
		for _, in := range []string{`{"a":1,"b":2}`, `{"b":2,"a":1}`, ` { "a" : 1, "b" : 2 }`, `{"b":2,"\u0061":1}`} {
			for room := range 20 {
				dst := append(make([]byte, 0, 4+room), "dst:"...)
				out, err := f(dst, []byte(in))
				if err != nil || string(out) != `dst:{"a":1,"b":2}` || string(dst) != "dst:" {
					t.Errorf("%s %s: %s, %v", name, in, out, err)
				}
			}
		}
		for _, in := range []string{"", "{", `{"b":1,"a":1,"b":1}`, `{"b":1,"a":[1,2,}`, `{"a":1e999}`, `{"a":1}{`} {
			back := []byte("dst:untouched room")
			dst := back[:4]
			out, err := f(dst, []byte(in))
			if err == nil || string(out) != "dst:" || string(back) != "dst:untouched room" {
				t.Errorf("%s %s: %q in %q, %v", name, in, out, back, err)
			}
		}
	}
}

// The output is the caller's: neither the source nor a later call may change it.
func TestCanonicalAliasing(t *testing.T) {
	for _, in := range []string{`{"a":1,"b":"x"}`, `{"b":"x","a":1}`, `{"b":"x", "\u0061":1}`} {
		src := []byte(in)
		first, err := fedinvite.CanonicalJSON(src)
		if err != nil || string(src) != in {
			t.Fatalf("%s: %v", src, err)
		}
		if _, err := fedinvite.CanonicalJSON([]byte(`{"z":"zzzzzzzzzzzzzz", "y":"zzzzz"}`)); err != nil {
			t.Fatal(err)
		}
		for i := range src {
			src[i] = '#'
		}
		if string(first) != `{"a":1,"b":"x"}` {
			t.Errorf("%s changed to %s", in, first)
		}
	}
}

func TestMarshalCanonical(t *testing.T) {
	got, err := fedinvite.MarshalCanonical(map[string]any{"b": "<&>\u2028", "a": []int{1, -2}, "\U0001f600": nil, "\ufb33": true})
	if want := `{"a":[1,-2],"b":"<&>` + "\u2028" + `","` + "\ufb33" + `":true,"` + "\U0001f600" + `":null}`; err != nil || string(got) != want {
		t.Errorf("got %s, %v\nwant %s", got, err, want)
	}
	if _, err := fedinvite.MarshalCanonical(1.5); !errors.Is(err, fedinvite.ErrBadNumber) {
		t.Errorf("float: %v", err)
	}
	if _, err := fedinvite.MarshalCanonical(json.RawMessage(`{"a":1,"a":2}`)); !errors.Is(err, fedinvite.ErrDuplicateKey) {
		t.Errorf("duplicate: %v", err)
	}
	var unsupported *json.UnsupportedTypeError
	if out, err := fedinvite.MarshalCanonical(func() {}); out != nil || !errors.As(err, &unsupported) {
		t.Errorf("func: %v", err)
	}
}

func TestLegacyNumbers(t *testing.T) {
	for in, want := range map[string]string{
		"-0": "0", "-0.0": "-0.0", "0e0": "0.0", "1e-400": "0.0", "-1E-400": "-0.0",
		"0.0001": "0.0001", "0.00009": "9e-05", "1e-5": "1e-05", "1e-100": "1e-100",
		"9999999999999998.0": "9999999999999998.0", "9999999999999999.9": "1e+16",
		"1.5e300": "1.5e+300", "5e-324": "5e-324", "12345678901234567890": "12345678901234567890",
		"-9007199254740993": "-9007199254740993", "1E2": "100.0", "123e-2": "1.23",
		// Here strconv.ParseFloat, unlike Python, loses powers of ten.
		"1" + strings.Repeat("0", 5000) + "e-5000": "1.0", "-12" + strings.Repeat("0", 900) + "E-901": "-1.2",
	} {
		got, err := fedinvite.LegacyCanonicalJSON([]byte(in))
		if err != nil || string(got) != want {
			t.Errorf("%.50s: got %s, %v, want %s", in, got, err, want)
		}
	}
	for _, sign := range []string{"", "-"} {
		in := sign + strings.Repeat("9", 4300)
		if got, err := fedinvite.LegacyCanonicalJSON([]byte(in)); err != nil || string(got) != in {
			t.Errorf("%s4,300 digits: %v", sign, err)
		}
		for _, in := range []string{in + "9", sign + "1e309", sign + "1.8e308"} {
			if _, err := fedinvite.LegacyCanonicalJSON([]byte(in)); !errors.Is(err, fedinvite.ErrBadNumber) {
				t.Errorf("%.20s…: %v", in, err)
			}
		}
	}
}

// Exact arithmetic must give what strconv gives, wherever it is used.
func TestLegacyFloats(t *testing.T) {
	numbers := []string{
		"4.9e-324", "2.4703282292062327e-324", "2.4703282292062328e-324", "2.4e-324", "9e-325", "1e-330", "1e-99999999999999999999",
		"2.2250738585072011e-308", "2.2250738585072014e-308", "1.7976931348623158e308", "1.7976931348623159e308", "9.99e308",
		"0." + strings.Repeat("0", 5000) + "1e5000", "0e99999999999999999999",
		"0." + strings.Repeat("0", 400), "9007199254740993.0", "9007199254740993." + strings.Repeat("0", 900) + "1",
		"9007199254740993." + strings.Repeat("0", 790) + "1", "1.0000000000000001110223024625156540423631668090820312500000",
		"1.00000000000000011102230246251565404236316680908203125", "1.00000000000000011102230246251565404236316680908203124",
		"8.98846567431158053655e307", "8.988465674311580536e307", "179769313486231580793" + strings.Repeat("7", 288) + ".0",
	}
	r := rand.New(rand.NewPCG(3, 4))
	for range 400 {
		// The middle of two neighbours, exactly or but for the last digits.
		f := math.Float64frombits(r.Uint64() >> (1 + r.IntN(12)))
		g := math.Nextafter(f, math.Inf(1))
		if math.IsInf(g, 0) || math.IsNaN(g) {
			continue
		}
		middle := new(big.Float).SetPrec(60).Add(big.NewFloat(f), big.NewFloat(g))
		middle.Quo(middle, big.NewFloat(2))
		for _, digits := range []int{15, 17, 18, 19, 20, 30, 780} {
			numbers = append(numbers, middle.Text('e', digits))
		}
		numbers = append(numbers, fmt.Sprintf("%d.%de%d", r.Uint64N(1e6), r.Uint64(), r.IntN(660)-330))
	}
	for _, number := range numbers {
		f, err := strconv.ParseFloat(number, 64)
		for _, sign := range []string{"", "-"} {
			got, gotErr := fedinvite.LegacyCanonicalJSON([]byte(sign + number))
			if err != nil {
				if !errors.Is(gotErr, fedinvite.ErrBadNumber) {
					t.Errorf("%s%.50s: %s, %v, want an error", sign, number, got, gotErr)
				}
				continue
			}
			back, backErr := strconv.ParseFloat(string(got), 64)
			if gotErr != nil || backErr != nil || back != math.Copysign(f, float64(1-2*len(sign))) || (got[0] == '-') != (sign == "-") {
				t.Errorf("%s%.50s: got %s, %v, want %v", sign, number, got, gotErr, f)
			}
		}
	}
}

// canonicalOracle is the slow way: encoding/json into a tree, and the tree written out.
func canonicalOracle(t testing.TB, src []byte) []byte {
	d := json.NewDecoder(bytes.NewReader(src))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		t.Fatalf("%q: %v", src, err)
	}
	return oracleTree(nil, v)
}

func oracleTree(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case json.Number:
		if v == "-0" {
			v = "0"
		}
		return append(b, v...)
	case string:
		return oracleString(b, v)
	case []any:
		b = append(b, '[')
		for i, e := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = oracleTree(b, e)
		}
		return append(b, ']')
	}
	m := v.(map[string]any)
	var keys []string
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	b = append(b, '{')
	for i, k := range keys {
		if i > 0 {
			b = append(b, ',')
		}
		b = append(oracleString(b, k), ':')
		b = oracleTree(b, m[k])
	}
	return append(b, '}')
}

func oracleString(b []byte, s string) []byte {
	b = append(b, '"')
	for _, r := range s {
		switch short := strings.IndexRune("\b\t\n\f\r\"\\", r); {
		case short >= 0:
			b = append(b, '\\', `btnfr"\`[short])
		case r < ' ':
			b = fmt.Appendf(b, `\u%04x`, r)
		default:
			b = utf8.AppendRune(b, r)
		}
	}
	return append(b, '"')
}

// randomJSON writes a random document that canonical JSON has a form for, in
// random spelling.
type randomJSON struct {
	*rand.Rand
	b []byte
}

func (r *randomJSON) space() {
	for r.IntN(4) == 0 {
		r.b = append(r.b, " \n\t\r"[r.IntN(4)])
	}
}

func (r *randomJSON) string(s string) {
	r.b = append(r.b, '"')
	for _, c := range s {
		switch {
		case c < ' ' || c == '"' || c == '\\' || r.IntN(8) == 0:
			format := []string{`\u%04x`, `\u%04X`}[r.IntN(2)]
			if c > 0xffff {
				c -= 0x10000
				r.b = fmt.Appendf(r.b, format+format, 0xd800+c>>10, 0xdc00+c&0x3ff)
			} else {
				r.b = fmt.Appendf(r.b, format, c)
			}
		default:
			r.b = utf8.AppendRune(r.b, c)
		}
	}
	r.b = append(r.b, '"')
}

func (r *randomJSON) text() string {
	alphabet := []rune{'a', 'b', 'a', 'b', 'c', '"', '\\', '/', 0, '\n', 0x1f, 0x7f, 'é', 0xfb33, 0xffff, 0x1f600, 0x2028}
	var s []rune
	if r.IntN(3) == 0 {
		s = []rune("a common prefix")
	}
	for range r.IntN(1 << r.IntN(5)) {
		s = append(s, alphabet[r.IntN(len(alphabet))])
	}
	return string(s)
}

func (r *randomJSON) value(depth int) {
	r.space()
	switch kind := r.IntN(8); {
	case kind < 3 && depth > 0:
		r.b = append(r.b, '{')
		seen := map[string]bool{}
		for range r.IntN(1 << r.IntN(9-depth)) {
			key := r.text()
			if seen[key] {
				continue
			}
			if len(seen) > 0 {
				r.b = append(r.b, ',')
			}
			seen[key] = true
			r.space()
			r.string(key)
			r.space()
			r.b = append(r.b, ':')
			r.value(depth - 1)
		}
		r.space()
		r.b = append(r.b, '}')
	case kind == 3 && depth > 0:
		r.b = append(r.b, '[')
		for i := range r.IntN(6) {
			if i > 0 {
				r.b = append(r.b, ',')
			}
			r.value(depth - 1)
		}
		r.space()
		r.b = append(r.b, ']')
	case kind < 6:
		r.string(r.text())
	case kind == 6:
		r.b = append(r.b, []string{"true", "false", "null", "-0"}[r.IntN(4)]...)
	default:
		r.b = strconv.AppendInt(r.b, r.Int64N(1<<r.IntN(54))*int64(1-2*r.IntN(2)), 10)
	}
	r.space()
}

func TestCanonicalAgainstOracle(t *testing.T) {
	const n = 4000 // the fuzzer goes on from here
	r := &randomJSON{Rand: rand.New(rand.NewPCG(1, 2))}
	for range n {
		r.b = r.b[:0]
		r.value(5)
		checkCanonical(t, r.b, true)
	}
}

func TestCanonicalAdversarial(t *testing.T) {
	for name, f := range adversarial() {
		for _, size := range []int{500, 5000, 60000} {
			checkCanonical(t, f(size), !strings.Contains(name, "duplicate"))
		}
	}
}

// Twins are found however keys are sorted: few or many, near or apart, and
// whatever else they share.
func TestCanonicalTwins(t *testing.T) {
	for _, prefix := range []string{"", "short", "sevenby", "eight by", strings.Repeat("long", 20)} {
		for _, n := range []int{2, 3, 20, 63, 64, 65, 300} {
			for _, twin := range []int{1, n / 2, n - 1} {
				in := "{"
				for i := range n {
					if i == twin {
						in += fmt.Sprintf(`"%s%03d":0,`, prefix, n)
					}
					in += fmt.Sprintf(`"%s%03d":0,`, prefix, n-i)
				}
				in = in[:len(in)-1] + "}"
				_, err := fedinvite.CanonicalJSON([]byte(in))
				var je *fedinvite.JSONError
				if !errors.Is(err, fedinvite.ErrDuplicateKey) || !errors.As(err, &je) {
					t.Fatalf("%s: %v", in, err)
				}
				if want := 1 + twin*(len(prefix)+8); int(je.Offset) != want || je.Pointer != fmt.Sprintf("/%s%03d", prefix, n) {
					t.Errorf("%s: %v, want byte %d", in, err, want)
				}
			}
			in := "{" + strings.Repeat(`"`+prefix+`":0,`, n) + `"a":0}`
			if _, err := fedinvite.CanonicalJSON([]byte(in)); !errors.Is(err, fedinvite.ErrDuplicateKey) {
				t.Errorf("%s: %v", in, err)
			}
		}
	}
}

// A key is less than the same key with NULs behind it.
func TestCanonicalNULs(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for _, prefix := range []string{"", "a", "sevenby", "eight by", "shared by all"} {
		for _, n := range []int{2, 10, 63, 64, 100} {
			var in []byte
			for _, nuls := range r.Perm(n) {
				in = fmt.Appendf(in, `,"%s%s":%d`, prefix, strings.Repeat(`\u0000`, nuls), nuls)
			}
			in[0] = '{'
			checkCanonical(t, append(in, '}'), true)
			twin := fmt.Appendf(in, `,"%s%s":0}`, prefix, strings.Repeat(`\u0000`, n/2))
			if _, err := fedinvite.CanonicalJSON(twin); !errors.Is(err, fedinvite.ErrDuplicateKey) {
				t.Errorf("%s: %v", twin, err)
			}
			var few []byte // keys, all of them short
			for i := range n {
				few = fmt.Appendf(few, `,"%s%s%c":0`, prefix, strings.Repeat(`\u0000`, i%4), 'À'+i)
			}
			few[0] = '{'
			few = fmt.Appendf(few, `,"%s":1,"%s\u0000":1}`, prefix, prefix)
			checkCanonical(t, few, true)
		}
	}
	in := "{" + strings.Repeat(`"ab\u0000":0,"ab":0,`, 50) + `"a":0}`
	if _, err := fedinvite.CanonicalJSON([]byte(in)); !errors.Is(err, fedinvite.ErrDuplicateKey) {
		t.Error(err)
	}
}

// checkCanonical checks what holds for every input.
func checkCanonical(t testing.TB, src []byte, mustPass bool) {
	t.Helper()
	legacy, legacyErr := fedinvite.LegacyCanonicalJSON(src)
	if legacyErr == nil {
		if !json.Valid(legacy) || !gjson.ValidBytes(legacy) || !utf8.Valid(legacy) {
			t.Fatalf("%q: legacy output %q is not valid", src, legacy)
		}
		again, err := fedinvite.LegacyCanonicalJSON(legacy)
		if err != nil || !bytes.Equal(again, legacy) {
			t.Fatalf("%q: legacy output %q is no fixed point: %q, %v", src, legacy, again, err)
		}
	}
	out, err := fedinvite.CanonicalJSON(src)
	scanned, scanErr := fedinvite.ScanCanonical(src)
	if !bytes.Equal(out, scanned) || (err == nil) != (scanErr == nil) {
		t.Fatalf("%q: %q, %v, but without the check whether it is canonical %q, %v", src, out, err, scanned, scanErr)
	}
	if err != nil {
		if mustPass {
			t.Fatalf("%q: %v", src, err)
		}
		if errors.Is(err, fedinvite.ErrNotJSON) == errors.Is(err, fedinvite.ErrBadJSON) {
			t.Fatalf("%q: neither or both kinds of error: %v", src, err)
		}
		if json.Valid(src) && errors.Is(err, fedinvite.ErrNotJSON) {
			t.Fatalf("%q: valid JSON, but %v", src, err)
		}
		var je *fedinvite.JSONError
		if !errors.As(err, &je) || je.Offset < 0 || je.Offset > int64(len(src)) ||
			len(je.Pointer) > 256 || !utf8.ValidString(je.Pointer) {
			t.Fatalf("%q: error %#v", src, err)
		}
		return
	}
	if legacyErr != nil || !bytes.Equal(legacy, out) {
		t.Fatalf("%q: strict %q, legacy %q, %v", src, out, legacy, legacyErr)
	}
	if !json.Valid(src) {
		t.Fatalf("%q: not JSON, but accepted", src)
	}
	if want := canonicalOracle(t, src); !bytes.Equal(out, want) {
		t.Fatalf("%q:\n got %q\nwant %q", src, out, want)
	}
	again, err := fedinvite.CanonicalJSON(out)
	if err != nil || !bytes.Equal(again, out) {
		t.Fatalf("%q: %q is no fixed point: %q, %v", src, out, again, err)
	}
}

func FuzzCanonicalJSON(f *testing.F) {
	for _, v := range vectors[canonicalVector](f, "canonicaljson/canonicaljson").Cases {
		if v.Gen == nil {
			f.Add(v.bytes(f))
		}
	}
	for _, seed := range adversarial() {
		f.Add(seed(2000))
	}
	for _, seed := range []string{
		`{"a\"":1,"a\\":2,"a":3}`, "{\"\ufb33\":1,\"\U0001f600\":2}", `[-0,1.0,1e3,9007199254740992]`,
		`"\ud800"`, `"\ud83d\ude00"`, `{"":0,"\u0000":1,"\u0000\u0000":2}`,
		`{"unsigned":{"a":1.5},"b":1}`, `{"b":{"d":1,"c":{"z":1,"y":[{"b":1,"a":2}]}},"a":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, src []byte) { checkCanonical(t, src, false) })
}

// What costs much may come up to a limit only, which starts anew for each text.
func TestLegacyHardNumbers(t *testing.T) {
	hard := func(n int) []byte {
		return []byte("[" + strings.Repeat("5e-324,", n) + strings.Repeat("0.1,", 500) + "0]")
	}
	for range 2 {
		if _, err := fedinvite.LegacyCanonicalJSON(hard(100)); err != nil {
			t.Errorf("100 hard numbers: %v", err)
		}
		if _, err := fedinvite.LegacyCanonicalJSON(hard(101)); !errors.Is(err, fedinvite.ErrBadNumber) {
			t.Errorf("101 hard numbers: %v, want ErrBadNumber", err)
		}
	}
}
