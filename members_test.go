package fedinvite

import (
	"bytes"
	"encoding/json"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// documents makes random JSON: few keys, so that they meet often, and texts of
// whatever canonical JSON has to escape or to sort.
type documents struct{ *rand.Rand }

var (
	awkwardKeys = []string{
		"", "a", "aa", "ab", "b", "a.b", "a*", "unsigned", "signatures", `"`, `\`, `\\`, `a"b`, `a\`, `"]}`, "\x00", "\x01", "\x1f", "\b\t\n\f\r", " ",
		"\x7f", "é", "\u2028", "\ufb33", "\uffff", "😀", "\U0010ffff", "<>&", "/", "{", "[", ":", ",", `\u0041`,
	}
	awkwardValues = []any{nil, true, false, 0, -1, 1<<53 - 1, "", "x", `"`, `\`, `\"`, `]}`, "é😀\x01", []any{}, map[string]any{}}
)

func (d documents) key() string { return awkwardKeys[d.IntN(len(awkwardKeys))] }

func (d documents) value(depth int) any {
	switch kind := d.IntN(4); {
	case depth > 0 && kind == 0:
		list := []any{}
		for range d.IntN(5) {
			list = append(list, d.value(depth-1))
		}
		return list
	case depth > 0 && kind == 1:
		return d.object(depth - 1)
	case kind == 2:
		return d.key() + d.key()
	}
	return awkwardValues[d.IntN(len(awkwardValues))]
}

func (d documents) object(depth int) map[string]any {
	object := map[string]any{}
	for range d.IntN(7) {
		object[d.key()] = d.value(depth)
	}
	return object
}

func canonicalOf(t *testing.T, v any) string {
	t.Helper()
	b, err := MarshalCanonical(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// eachDocument runs f with random objects and their canonical form.
func eachDocument(t *testing.T, f func(d documents, object map[string]any, text string)) {
	t.Helper()
	d := documents{rand.New(rand.NewPCG(3, 4))}
	for range 2000 {
		object := d.object(4)
		f(d, object, canonicalOf(t, object))
		if t.Failed() {
			return
		}
	}
}

func TestMembersOfCanonicalObjects(t *testing.T) {
	eachDocument(t, func(_ documents, object map[string]any, text string) {
		var names []string
		for m := range membersOf(text) {
			name := m.name(text)
			names = append(names, name)
			if diff := cmp.Diff(canonicalOf(t, object[name]), m.raw(text)); diff != "" {
				t.Errorf("%s: value of %q: -want +got\n%s", text, name, diff)
			}
			if quoted := `"` + m.key(text) + `"`; quoted != canonicalOf(t, name) || text[m.start:m.end] != quoted+":"+m.raw(text) {
				t.Errorf("%s: member %q is written %s", text, name, text[m.start:m.end])
			}
		}
		// Byte order is code point order.
		if diff := cmp.Diff(slices.Sorted(maps.Keys(object)), names); diff != "" {
			t.Errorf("%s: -want +got\n%s", text, diff)
		}
	})
}

func TestGetFindsWhatEncodingJSONFinds(t *testing.T) {
	eachDocument(t, func(_ documents, object map[string]any, text string) {
		for _, key := range awkwardKeys {
			want := ""
			if value, ok := object[key]; ok {
				want = canonicalOf(t, value)
			}
			if got := get(text, key); got != want {
				t.Errorf("get(%s, %q) = %q, want %q", text, key, got, want)
			}
		}
	})
}

func TestAppendSetKeepsTheObjectCanonical(t *testing.T) {
	eachDocument(t, func(d documents, object map[string]any, text string) {
		key, value := d.key(), d.value(2)
		want := maps.Clone(object)
		want[key] = value
		prefix := []byte("prefix")
		if diff := cmp.Diff("prefix"+canonicalOf(t, want), string(appendSet(prefix, text, key, canonicalOf(t, value)))); diff != "" {
			t.Errorf("%s with %q: -want +got\n%s", text, key, diff)
		}
		if with(text, key, canonicalOf(t, value)) != canonicalOf(t, want) {
			t.Errorf("with is not appendSet")
		}
		delete(want, key)
		if diff := cmp.Diff(canonicalOf(t, want), with(text, key, "")); diff != "" {
			t.Errorf("%s without %q: -want +got\n%s", text, key, diff)
		}
	})
}

func TestElementsOfCanonicalArrays(t *testing.T) {
	d := documents{rand.New(rand.NewPCG(5, 6))}
	for range 2000 {
		list := []any{}
		for range d.IntN(6) {
			list = append(list, d.value(4))
		}
		want := []string{}
		for _, v := range list {
			want = append(want, canonicalOf(t, v))
		}
		got := []string{}
		for raw := range elementsOf(canonicalOf(t, list)) {
			got = append(got, raw)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
	}
}

func TestWhatIsNoObjectHasNoMembers(t *testing.T) {
	for _, text := range []string{"", "null", "true", "1", `"{}"`, `"x"`, "[]", `["a",1]`, "{}"} {
		for range membersOf(text) {
			t.Errorf("%s has members", text)
		}
		if got := get(text, "a"); got != "" {
			t.Errorf("get(%s) = %q", text, got)
		}
		if got := with(text, "a", "1"); got != `{"a":1}` {
			t.Errorf("with(%s) = %s", text, got)
		}
		if got := with(text, "a", ""); got != `{}` {
			t.Errorf("%s without a = %s", text, got)
		}
	}
	for _, text := range []string{"", "null", "1", `"[]"`, "{}", `{"a":[1]}`, "[]"} {
		for range elementsOf(text) {
			t.Errorf("%s has elements", text)
		}
	}
}

func TestIteratorsStopWhenAsked(t *testing.T) {
	members, elements := 0, 0
	for range membersOf(`{"a":1,"b":2}`) {
		members++
		break
	}
	for range elementsOf(`[1,2]`) {
		elements++
		break
	}
	if members != 1 || elements != 1 {
		t.Errorf("%d members, %d elements", members, elements)
	}
}

func TestQuoteAndUnquoteAreInverse(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	texts := slices.Clone(awkwardKeys)
	for range 2000 {
		var b strings.Builder
		for range random.IntN(12) {
			b.WriteString(awkwardKeys[random.IntN(len(awkwardKeys))])
		}
		texts = append(texts, b.String())
	}
	for _, s := range texts {
		quoted := quote(s)
		canonical, err := CanonicalJSON([]byte(quoted))
		if err != nil || string(canonical) != quoted {
			t.Errorf("quote(%q) = %s, canonical %s, error %v", s, quoted, canonical, err)
		}
		var want string
		if err := json.Unmarshal([]byte(quoted), &want); err != nil || want != s {
			t.Errorf("quote(%q) = %s, which is %q, error %v", s, quoted, want, err)
		}
		if got, ok := unquote(quoted); !ok || got != s {
			t.Errorf("unquote(quote(%q)) = %q, %v", s, got, ok)
		}
	}
}

func TestUnquoteUndoesEveryEscape(t *testing.T) {
	for c := range rune(0x100) {
		s := "x" + string(c) + "y"
		if got, ok := unquote(canonicalOf(t, s)); !ok || got != s {
			t.Errorf("U+%04X: %q, %v", c, got, ok)
		}
	}
	for _, raw := range []string{"", "null", "true", "1", "{}", "[]", `["x"]`, `{"a":"x"}`} {
		if s, ok := unquote(raw); ok || s != "" {
			t.Errorf("unquote(%s) = %q, %v", raw, s, ok)
		}
	}
}

func TestIntegerReadsWholeNumbersOnly(t *testing.T) {
	for raw, want := range map[string]int64{"0": 0, "-1": -1, "9223372036854775807": 1<<63 - 1, "-9223372036854775808": -1 << 63} {
		if got, ok := integer(raw); !ok || got != want {
			t.Errorf("integer(%s) = %d, %v", raw, got, ok)
		}
	}
	for _, raw := range []string{"", "1.0", "1e+16", "9223372036854775808", "-9223372036854775809", "null", `"1"`, "true", "{}", "[]"} {
		if got, ok := integer(raw); ok {
			t.Errorf("integer(%s) = %d", raw, got)
		}
	}
}

// A long chain of brackets, quotes and backslashes inside strings.
func TestSkippingIsNotFooledByStrings(t *testing.T) {
	tricky := strings.Repeat(`{[}]":,\`, 50)
	text := canonicalOf(t, map[string]any{"a" + tricky: []any{tricky, map[string]any{tricky: tricky}}, "z": 1})
	if got := get(text, "z"); got != "1" {
		t.Errorf("z = %q", got)
	}
	if got, ok := unquote(canonicalOf(t, tricky)); !ok || got != tricky {
		t.Errorf("%q", got)
	}
	backslashes := bytes.Repeat([]byte(`\`), 101)
	text = canonicalOf(t, map[string]any{string(backslashes): string(backslashes), "z": true})
	if got := get(text, "z"); got != "true" {
		t.Errorf("z = %q", got)
	}
	if got, _ := unquote(get(text, string(backslashes))); got != string(backslashes) {
		t.Errorf("%q", got)
	}
}
