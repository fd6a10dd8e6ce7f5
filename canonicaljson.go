package fedinvite

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxNesting is how many arrays and objects may be open at once.
const maxNesting = 128

// CanonicalJSON returns src, one JSON text, in [Canonical JSON]: no white
// space, keys sorted by code point, the shortest escapes. Servers sign and
// hash this form. Any JSON value is taken at the top level.
//
// It is strict: a number must be an integer in ±(2^53−1) written without
// fraction or exponent; -0 becomes 0. What cannot be written canonically is
// refused, never repaired, with a [*JSONError] that wraps
//
//   - [ErrNotJSON]: src is empty, breaks the grammar of RFC 8259 or goes on
//     after the value;
//   - [ErrDuplicateKey]: an object has two members of one name, however
//     each is spelt;
//   - [ErrBadText]: invalid UTF-8, or an escaped surrogate without its pair;
//   - [ErrBadNumber]: a number outside the rule above;
//   - [ErrTooDeep]: more than 128 nested arrays and objects.
//
// The result never shares memory with src. Time and memory grow linearly with
// len(src), whatever is in it; there is no limit to its size, so cut off what
// strangers send before.
//
// [Canonical JSON]: https://spec.matrix.org/v1.19/appendices/#canonical-json
func CanonicalJSON(src []byte) ([]byte, error) {
	return appendCanonical(nil, src, strictNumbers)
}

// AppendCanonicalJSON is [CanonicalJSON], appending to dst. It does not
// allocate when dst has room. On an error it returns dst as it was. The memory
// of dst, up to its capacity, and that of src must not overlap.
func AppendCanonicalJSON(dst, src []byte) ([]byte, error) {
	return appendCanonical(dst, src, strictNumbers)
}

// LegacyCanonicalJSON is [CanonicalJSON] with the number rules that servers
// apply to events of room versions 1 to 5, and to JSON that they sign or check
// as it came: an integer is kept as written, up to 4,300 digits (-0 becomes 0);
// a number with a fraction or an exponent is rounded to binary64 and written as
// repr writes it in Python, because hashes and signatures are made over that.
// Longer integers, numbers that overflow to infinity and, because they cost
// much, more than 100 numbers that are subnormal or that have more than 19
// digits and a fraction or exponent, are [ErrBadNumber].
// What CanonicalJSON takes gives the same bytes here. The specification's
// [Canonical JSON] has no such numbers, and room version 6 and later refuse
// them: do not originate any.
//
// [Canonical JSON]: https://spec.matrix.org/v1.19/appendices/#canonical-json
func LegacyCanonicalJSON(src []byte) ([]byte, error) {
	return appendCanonical(nil, src, legacyNumbers)
}

// AppendLegacyCanonicalJSON is [LegacyCanonicalJSON], appending to dst as
// [AppendCanonicalJSON] does.
func AppendLegacyCanonicalJSON(dst, src []byte) ([]byte, error) {
	return appendCanonical(dst, src, legacyNumbers)
}

// MarshalCanonical returns the [Canonical JSON] of what [json.Marshal] makes of
// v. Its errors are those of json.Marshal and of [CanonicalJSON]: a float64
// passes if it is an integer in ±(2^53−1), because json.Marshal writes those
// without a fraction. Mind that json.Marshal replaces invalid UTF-8 in Go
// strings by U+FFFD.
//
// [Canonical JSON]: https://spec.matrix.org/v1.19/appendices/#canonical-json
func MarshalCanonical(v any) ([]byte, error) {
	src, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return CanonicalJSON(src)
}

// JSONError says where JSON was refused and why. It holds nothing of the
// document but the keys in Pointer, never a value, so that it can be logged:
// Error quotes them in ASCII.
type JSONError struct {
	Offset  int64  // of the first byte at fault; the input's length if that ends too early
	Pointer string // RFC 6901, to the value at fault or being read; cut to at most 256 bytes
	Err     error  // ErrNotJSON, ErrDuplicateKey, ErrBadText, ErrBadNumber or ErrTooDeep
}

// Error returns the text of Err, and where it is in the input.
func (e *JSONError) Error() string { return e.Err.Error() + " " + e.where() }

func (e *JSONError) where() string {
	if e.Pointer == "" {
		return fmt.Sprintf("at byte %d", e.Offset)
	}
	return fmt.Sprintf("at byte %d, in %+q", e.Offset, e.Pointer)
}

// Unwrap returns Err.
func (e *JSONError) Unwrap() error { return e.Err }

// numberRules says which numbers pass, and how they are written.
type numberRules uint8

const (
	strictNumbers numberRules = iota // of CanonicalJSON
	legacyNumbers                    // of LegacyCanonicalJSON
	eventNumbers                     // strict, but legacy inside the top-level member "unsigned"
)

// appendCanonical is the one way in. Most input is canonical already: a small
// check that keeps no records finds that out in half the time.
func appendCanonical(dst, src []byte, n numberRules) ([]byte, error) {
	if isCanonical(src) {
		return append(dst, src...), nil
	}
	e := jsonEncoders.Get().(*jsonEncoder)
	err := e.scan(src, n)
	if err == nil {
		dst = e.append(dst)
	}
	e.release()
	return dst, err
}

// isCanonical reports whether src is sure to be canonical JSON under every
// number rule. It gives up at the first thing that might not be, or that is
// rare: what it says no to may be canonical.
func isCanonical(src []byte) bool {
	return len(src) > 0 && checkValue(src, 0, 0) == len(src)
}

// canonicalMembers is isCanonical for objects only: it appends the members of src
// to dst on the way, so that they need not be looked for again.
func canonicalMembers(dst []pair, src []byte) ([]pair, bool) {
	if len(src) == 0 || src[0] != '{' || checkObject(src, 1, 1, &dst) != len(src) {
		return dst, false
	}
	return dst, true
}

// The functions below take the index to start from and return the index after
// what they checked, or -1. They recurse no deeper than maxNesting.

func checkValue(src []byte, i, depth int) int {
	if i >= len(src) {
		return -1
	}
	switch c := src[i]; c {
	case '"':
		return checkString(src, i+1)
	case '{':
		return checkObject(src, i+1, depth+1, nil)
	case '[':
		return checkArray(src, i+1, depth+1)
	case 't':
		return skipLiteral(src, i, "true")
	case 'f':
		return skipLiteral(src, i, "false")
	case 'n':
		return skipLiteral(src, i, "null")
	default:
		return skipShortInteger(src, i)
	}
}

// checkObject appends the members to found, unless that is nil.
func checkObject(src []byte, i, depth int, found *[]pair) int {
	if depth > maxNesting || i >= len(src) {
		return -1
	}
	if src[i] == '}' {
		return i + 1
	}
	var previous []byte
	for first := true; ; first = false {
		if i >= len(src) || src[i] != '"' {
			return -1
		}
		end := skipASCII(src, i+1)
		if end < len(src) && src[end] >= utf8.RuneSelf {
			end = skipText(src, end)
		}
		if end+1 >= len(src) || src[end] != '"' || src[end+1] != ':' {
			return -1 // or a key with escapes
		}
		key := src[i+1 : end]
		if !first && bytes.Compare(previous, key) >= 0 {
			return -1
		}
		previous = key
		start := i
		if i = checkValue(src, end+2, depth); i < 0 || i >= len(src) {
			return -1
		}
		if found != nil {
			*found = append(*found, pair{start, end + 2, i})
		}
		switch src[i] {
		case ',':
			i++
		case '}':
			return i + 1
		default:
			return -1
		}
	}
}

func checkArray(src []byte, i, depth int) int {
	if depth > maxNesting || i >= len(src) {
		return -1
	}
	if src[i] == ']' {
		return i + 1
	}
	for {
		if i = checkValue(src, i, depth); i < 0 || i >= len(src) {
			return -1
		}
		switch src[i] {
		case ',':
			i++
		case ']':
			return i + 1
		default:
			return -1
		}
	}
}

func checkString(src []byte, i int) int {
	if i = skipASCII(src, i); i < len(src) && src[i] == '"' {
		return i + 1 // most strings
	}
	for {
		i = skipText(src, i)
		switch {
		case i == len(src):
			return -1
		case src[i] == '"':
			return i + 1
		case src[i] != '\\' || i+1 == len(src):
			return -1
		}
		switch src[i+1] {
		case '"', '\\', 'b', 'f', 'n', 'r', 't':
			i += 2
		default:
			return -1
		}
	}
}

// jsonEncoder rewrites one JSON text in two steps. scan checks all of it and
// writes it to text, compact but with members in the order of the source; an
// object whose members are out of order is sorted when it closes, as an index
// only. append then copies text out once, following the index. Moving the
// text of an object whenever one closes would cost depth × size instead.
type jsonEncoder struct {
	src     []byte
	copied  int // src[:copied] has been dealt with
	text    []byte
	hidden  int // how many bytes of text are decoded keys, not to be written
	numbers numberRules
	hard    int // numbers that took exact arithmetic

	members []jsonMember // of the objects that are open
	sorted  []jsonSpan   // the members of the objects below
	objects []jsonObject // closed and to be rearranged, inner ones first
	sorter  keySorter

	err   error
	errAt int      // in src
	path  []string // to the error: keys and array indices, innermost first
}

// jsonMember is one member of an object that is open.
type jsonMember struct {
	jsonSpan
	word   uint64 // of its key, see sortWord
	at     int    // where its key is in src
	keyLen int    // how long that is without quotes; or, if it has escapes, …
	hidden int    // … how long it is decoded, in text just before start
}

// jsonSpan is the place of a member in text.
type jsonSpan struct {
	start, end int
	objects    int // how many objects there were at its end
}

// jsonObject is an object to be written as {, sorted[first:last], }.
type jsonObject struct {
	start, end  int // its place in text
	first, last int
	before      int // how many objects there were at its start
}

// jsonEncoders holds scratch memory only: an encoder in it remembers nothing.
// To make one anew for each call would cost more than most calls do.
var jsonEncoders = sync.Pool{New: func() any { return new(jsonEncoder) }}

// One huge document must not hold its memory for ever: an encoder is given up
// if it has grown beyond this.
const (
	maxScratchText    = 1 << 18
	maxScratchMembers = 1 << 14
)

func (e *jsonEncoder) release() {
	if e.isHuge() {
		return
	}
	e.src, e.err, e.path = nil, nil, nil
	e.copied, e.hidden, e.hard = 0, 0, 0
	e.text, e.members, e.sorted, e.objects = e.text[:0], e.members[:0], e.sorted[:0], e.objects[:0]
	jsonEncoders.Put(e)
}

func (e *jsonEncoder) isHuge() bool {
	return cap(e.text) > maxScratchText ||
		max(cap(e.members), cap(e.sorted), cap(e.objects), cap(e.sorter.keys)) > maxScratchMembers
}

// scan reads src into e.
func (e *jsonEncoder) scan(src []byte, n numberRules) error {
	e.src, e.numbers = src, n
	i := e.space(0)
	i = e.value(i, 0)
	if i >= 0 {
		if i = e.space(i); i < len(src) {
			i = e.fail(i, ErrNotJSON)
		}
	}
	if i < 0 {
		return &JSONError{Offset: int64(e.errAt), Pointer: e.pointer(), Err: e.err}
	}
	e.flush(i)
	return nil
}

// The readers below take the index in src to start from and return the index
// after what they read, or a negative one: then e.err is set.

// fail notes the first error.
func (e *jsonEncoder) fail(i int, err error) int {
	e.err, e.errAt = err, i
	return -1
}

// peek returns src[i], or 0, which no token starts with, at the end.
func (e *jsonEncoder) peek(i int) byte {
	if i < len(e.src) {
		return e.src[i]
	}
	return 0
}

// offset returns where in text the byte src[i], next to be read, will be.
func (e *jsonEncoder) offset(i int) int { return len(e.text) + i - e.copied }

// flush copies what has been read since the last time. Reading goes on in src
// without copying for as long as nothing has to be left out or rewritten.
func (e *jsonEncoder) flush(i int) {
	e.text = append(e.text, e.src[e.copied:i]...)
	e.copied = i
}

// space leaves out white space.
func (e *jsonEncoder) space(i int) int {
	if i < len(e.src) && e.src[i] > ' ' {
		return i
	}
	return e.leaveOutSpace(i)
}

// leaveOutSpace is not inlined so that space is.
//
//go:noinline
func (e *jsonEncoder) leaveOutSpace(i int) int {
	src := e.src
	e.flush(i)
	for i < len(src) && src[i] <= ' ' && jsonSpaces>>src[i]&1 != 0 {
		i++
		for i+8 <= len(src) && binary.LittleEndian.Uint64(src[i:]) == eachByte*' ' {
			i += 8 // indented
		}
	}
	e.copied = i
	return i
}

// jsonSpaces has a bit for each character that is white space.
const jsonSpaces uint64 = 1<<' ' | 1<<'\n' | 1<<'\r' | 1<<'\t'

func (e *jsonEncoder) value(i, depth int) int {
	switch c := e.peek(i); c {
	case '"':
		end := skipASCII(e.src, i+1)
		if e.peek(end) == '"' {
			return end + 1
		}
		return e.string(end)
	case '{', '[':
		if depth == maxNesting {
			return e.fail(i, ErrTooDeep)
		}
		if c == '{' {
			return e.object(i+1, depth+1)
		}
		return e.array(i+1, depth+1)
	case 't':
		return e.literal(i, "true")
	case 'f':
		return e.literal(i, "false")
	case 'n':
		return e.literal(i, "null")
	default:
		return e.number(i)
	}
}

func (e *jsonEncoder) literal(i int, want string) int {
	end := skipLiteral(e.src, i, want)
	if end < 0 {
		return e.fail(i, ErrNotJSON)
	}
	return end
}

func (e *jsonEncoder) array(i, depth int) int {
	if i = e.space(i); e.peek(i) == ']' {
		return i + 1
	}
	for n := 0; ; n++ {
		if i = e.value(i, depth); i < 0 {
			e.path = append(e.path, strconv.Itoa(n))
			return i
		}
		i = e.space(i)
		switch e.peek(i) {
		case ',':
			i = e.space(i + 1)
		case ']':
			return i + 1
		default:
			return e.fail(i, ErrNotJSON)
		}
	}
}

func (e *jsonEncoder) object(i, depth int) int {
	o := jsonObject{start: e.offset(i - 1), first: len(e.members), before: len(e.objects)}
	if i = e.space(i); e.peek(i) == '}' {
		return i + 1
	}
	ordered := true
	for last := uint64(0); ; {
		n := len(e.members)
		word, next := e.openMember(i)
		if next < 0 {
			return next
		}
		if ordered && word <= last {
			ordered = e.inOrder(n, o.first)
		}
		last = word
		if i = e.space(next); e.peek(i) != ':' {
			return e.fail(i, ErrNotJSON)
		}
		i = e.space(i + 1)
		if depth == 1 && e.numbers == eventNumbers {
			i = e.eventMember(i, &e.members[n])
		} else {
			i = e.value(i, depth)
		}
		m := &e.members[n]
		if i < 0 {
			e.path = append(e.path, string(e.key(m)))
			return i
		}
		m.end, m.objects = e.offset(i), len(e.objects)
		i = e.space(i)
		switch e.peek(i) {
		case ',':
			i = e.space(i + 1)
		case '}':
			if ordered {
				e.members = e.members[:o.first]
				return i + 1
			}
			return e.rearrange(i+1, o)
		default:
			return e.fail(i, ErrNotJSON)
		}
	}
}

// inOrder reports whether the open member n is written as it sorts, and
// follows the one before it unless it is the first.
func (e *jsonEncoder) inOrder(n, first int) bool {
	m := &e.members[n]
	if n == first || m.hidden > 0 {
		return m.hidden == 0
	}
	before := &e.members[n-1]
	if before.word != m.word {
		return before.word < m.word
	}
	return bytes.Compare(e.key(before), e.key(m)) < 0
}

// eventMember reads the value of a member of an event.
func (e *jsonEncoder) eventMember(i int, m *jsonMember) int {
	if string(e.key(m)) == "unsigned" {
		e.numbers = legacyNumbers
	}
	i = e.value(i, 1)
	e.numbers = eventNumbers
	return i
}

// key returns the decoded key of a member.
func (e *jsonEncoder) key(m *jsonMember) []byte {
	if m.hidden > 0 {
		return e.text[m.start-m.hidden : m.start]
	}
	return e.src[m.at+1:][:m.keyLen]
}

// rearrange sorts the members of o, which ends before src[i], and notes that
// it has to be written in their order.
func (e *jsonEncoder) rearrange(i int, o jsonObject) int {
	members := e.members[o.first:]
	order, twin := e.sort(members)
	if twin != nil {
		e.path = append(e.path, string(e.key(twin)))
		return e.fail(twin.at, ErrDuplicateKey)
	}
	e.members = e.members[:o.first]
	o.first, o.last = len(e.sorted), len(e.sorted)+len(members)
	for _, k := range order {
		m := &members[k.member]
		e.sorted = append(e.sorted, jsonSpan{m.start, m.end, m.objects})
	}
	o.end = e.offset(i)
	e.objects = append(e.objects, o)
	return i
}

// append appends the text to dst, from its end to its start: innermost objects
// come first in e.objects, so that this way outer ones are met before them.
func (e *jsonEncoder) append(dst []byte) []byte {
	if len(e.objects) == 0 {
		return append(dst, e.text...)
	}
	n := len(dst) + len(e.text) - e.hidden
	dst = slices.Grow(dst, n-len(dst))[:n]
	e.fill(dst, 0, len(e.text), len(e.objects))
	return dst
}

// fill writes text[start:end] to the end of dst and returns what is left of
// dst. Of the objects, those after the first n lie behind end. It recurses
// no deeper than the text is nested.
func (e *jsonEncoder) fill(dst []byte, start, end, n int) []byte {
	for n > 0 && e.objects[n-1].start >= start {
		o := &e.objects[n-1]
		dst = fillBytes(dst, e.text[o.end:end])
		dst = fillByte(dst, '}')
		for i := o.last - 1; i >= o.first; i-- {
			m := &e.sorted[i]
			if n := m.objects; n > 0 && e.objects[n-1].start >= m.start {
				dst = e.fill(dst, m.start, m.end, n)
			} else {
				dst = fillBytes(dst, e.text[m.start:m.end])
			}
			if i > o.first {
				dst = fillByte(dst, ',')
			}
		}
		dst = fillByte(dst, '{')
		end, n = o.start, o.before
	}
	return fillBytes(dst, e.text[start:end])
}

func fillBytes(dst, b []byte) []byte {
	n := len(dst) - len(b)
	copy(dst[n:], b)
	return dst[:n]
}

func fillByte(dst []byte, b byte) []byte {
	n := len(dst) - 1
	dst[n] = b
	return dst[:n]
}

// maxPointer bounds JSONError.Pointer, in bytes.
const maxPointer = 256

// pointer returns the JSON pointer of the error.
func (e *jsonEncoder) pointer() string {
	escape := strings.NewReplacer("~", "~0", "/", "~1")
	var b strings.Builder
	for i := len(e.path) - 1; i >= 0 && b.Len() <= maxPointer; i-- {
		b.WriteByte('/')
		b.WriteString(escape.Replace(e.path[i]))
	}
	return cutPointer(b.String(), maxPointer)
}

// cutPointer cuts s to at most n bytes without splitting a rune.
func cutPointer(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
