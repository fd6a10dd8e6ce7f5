package fedinvite

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// maxDepth is how many arrays and objects may be open at once.
const maxDepth = 128

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
// The time is linear in len(src). Limit the size of what strangers send
// before calling it: memory grows with the input.
//
// [Canonical JSON]: https://spec.matrix.org/v1.19/appendices/#canonical-json
func CanonicalJSON(src []byte) ([]byte, error) {
	return appendCanonical(nil, src, strictNumbers)
}

// AppendCanonicalJSON is [CanonicalJSON], appending to dst. It does not
// allocate when dst has room. On an error it returns dst as it was. The room
// behind dst and src must not overlap.
func AppendCanonicalJSON(dst, src []byte) ([]byte, error) {
	return appendCanonical(dst, src, strictNumbers)
}

// LegacyCanonicalJSON is [CanonicalJSON] with the number rules of events of
// room versions 1 to 5, and of the JSON that peers check as it came: integers
// are kept as written, up to 4,300 digits (-0 becomes 0); a number with a
// fraction or an exponent is rounded to binary64 and written as Python's
// repr writes it, as the hashes and signatures of such events are made over
// that form. A number that overflows to infinity is [ErrBadNumber]. Whatever
// CanonicalJSON takes gives the same bytes here.
//
// Never sign new events over this form: room version 6 and later refuse it.
func LegacyCanonicalJSON(src []byte) ([]byte, error) {
	return appendCanonical(nil, src, legacyNumbers)
}

// AppendLegacyCanonicalJSON is [LegacyCanonicalJSON], appending to dst as
// [AppendCanonicalJSON] does.
func AppendLegacyCanonicalJSON(dst, src []byte) ([]byte, error) {
	return appendCanonical(dst, src, legacyNumbers)
}

// MarshalCanonical returns the canonical JSON of what [json.Marshal] makes of
// v. Its errors are those of json.Marshal and of [CanonicalJSON]; floats fit
// only if json.Marshal writes them as integers in range. Mind that
// json.Marshal replaces invalid UTF-8 in Go strings by U+FFFD.
func MarshalCanonical(v any) ([]byte, error) {
	src, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return CanonicalJSON(src)
}

// JSONError says where JSON was refused and why. It names no content but the
// keys in Pointer, so it can be logged; Error quotes them.
type JSONError struct {
	Offset  int64  // of the first byte at fault; the input's length if that ends too early
	Pointer string // RFC 6901: the value at fault or being read; cut to at most 256 bytes
	Err     error  // such as ErrNotJSON or ErrDuplicateKey
}

func (e *JSONError) Error() string { return e.Err.Error() + " " + e.where() }

func (e *JSONError) where() string {
	if e.Pointer == "" {
		return fmt.Sprintf("at byte %d", e.Offset)
	}
	return fmt.Sprintf("at byte %d, in %+q", e.Offset, e.Pointer)
}

func (e *JSONError) Unwrap() error { return e.Err }

// numberRules says which numbers pass, and how they are written.
type numberRules uint8

const (
	strictNumbers numberRules = iota // of CanonicalJSON
	legacyNumbers                    // of LegacyCanonicalJSON
	eventNumbers                     // strict, but legacy inside the top-level member "unsigned"
)

// appendCanonical is the one way in: most input is canonical already, which a
// small check finds out without taking anything apart.
func appendCanonical(dst, src []byte, n numberRules) ([]byte, error) {
	if isCanonical(src) {
		return append(dst, src...), nil
	}
	e := encoders.Get().(*encoder)
	defer e.release()
	if err := e.scan(src, n); err != nil {
		return dst, err
	}
	return e.append(dst), nil
}

// encoder rewrites one JSON text in two steps. scan checks all of it and
// writes it to text, compact but with members in the order of the source; an
// object whose members are out of order is sorted when it closes, as an index
// only. append then copies text out once, following the index. Moving the
// text of an object whenever one closes would cost depth × size instead.
type encoder struct {
	src    []byte
	copied int    // src[:copied] has been dealt with
	text   []byte // what is to be written for it, and some decoded keys, which are not
	hidden int    // how many bytes of text are decoded keys

	members []member // of the objects that are open
	objects []object // closed and out of order, innermost first
	sorted  []member // of objects
	sorter  sorter

	numbers numberRules
	err     error
	errAt   int
	path    []string // reference tokens of the error's pointer, innermost first
}

// member is one member of an object. Offsets are those of text, but for at.
type member struct {
	start, end  int // "key":value
	key, keyEnd int // the decoded key
	objects     int // how many objects were there at its end
	at          int // the key in src
}

// object is an object to be written anew: {, its members in the order of
// sorted[first:last], }.
type object struct {
	start, end  int // in text
	first, last int // in sorted
	before      int // how many objects were there at its start
}

// encoders holds scratch memory only: an encoder in it remembers nothing.
var encoders = sync.Pool{New: func() any { return new(encoder) }}

// maxScratch bounds each buffer that is kept for the next call: one huge
// document must not hold its memory for ever.
const maxScratch = 1 << 20

func (e *encoder) release() {
	if cap(e.text) > maxScratch || cap(e.members)+cap(e.sorted) > maxScratch/32 {
		return
	}
	*e = encoder{
		text:    e.text[:0],
		members: e.members[:0],
		objects: e.objects[:0],
		sorted:  e.sorted[:0],
		sorter:  e.sorter,
	}
	encoders.Put(e)
}

// scan reads src into e.
func (e *encoder) scan(src []byte, n numberRules) error {
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
func (e *encoder) fail(i int, err error) int {
	e.err, e.errAt = err, i
	return -1
}

// peek returns src[i], or 0, which no token starts with, at the end.
func (e *encoder) peek(i int) byte {
	if i < len(e.src) {
		return e.src[i]
	}
	return 0
}

// offset returns where in text the byte src[i], next to be read, will be.
func (e *encoder) offset(i int) int { return len(e.text) + i - e.copied }

// flush copies what has been read since the last time. Reading goes on in src
// without copying for as long as nothing has to be left out or rewritten.
func (e *encoder) flush(i int) {
	e.text = append(e.text, e.src[e.copied:i]...)
	e.copied = i
}

// space leaves out white space.
func (e *encoder) space(i int) int {
	if i < len(e.src) && e.src[i] > ' ' {
		return i
	}
	return e.leaveOutSpace(i)
}

func (e *encoder) leaveOutSpace(i int) int {
	e.flush(i)
	for i < len(e.src) && isSpace(e.src[i]) {
		i++
	}
	e.copied = i
	return i
}

func isSpace(c byte) bool { return c == ' ' || c == '\n' || c == '\r' || c == '\t' }

func (e *encoder) value(i, depth int) int {
	switch c := e.peek(i); c {
	case '"':
		return e.string(i + 1)
	case '{', '[':
		if depth == maxDepth {
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

func (e *encoder) literal(i int, want string) int {
	if !bytes.HasPrefix(e.src[i:], []byte(want)) {
		return e.fail(i, ErrNotJSON)
	}
	return i + len(want)
}

func (e *encoder) array(i, depth int) int {
	if i = e.space(i); e.peek(i) == ']' {
		return i + 1
	}
	for n := 0; ; n++ {
		if i = e.value(i, depth); i < 0 {
			e.path = append(e.path, fmt.Sprint(n))
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

func (e *encoder) object(i, depth int) int {
	o := object{start: e.offset(i) - 1, first: len(e.members), before: len(e.objects)}
	if i = e.space(i); e.peek(i) == '}' {
		return i + 1
	}
	ordered := true
	var key, previous []byte
	for {
		m := member{at: i}
		if key, i = e.key(i, &m); i < 0 {
			return i
		}
		if m.key != m.start+1 { // decoded: hidden bytes are in the text
			ordered = false
		}
		if len(e.members) > o.first && ordered {
			switch c := bytes.Compare(previous, key); {
			case c == 0:
				return e.duplicate(m.at, key)
			case c > 0:
				ordered = false
			}
		}
		previous = key
		if i = e.space(i); e.peek(i) != ':' {
			return e.fail(i, ErrNotJSON)
		}
		i = e.space(i + 1)
		if i = e.memberValue(i, depth, key); i < 0 {
			e.path = append(e.path, string(key))
			return i
		}
		m.end, m.objects = e.offset(i), len(e.objects)
		e.members = append(e.members, m)
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

// memberValue reads the value of a member. The strict number rules leave out
// the unsigned data of an event, which peers may have filled with anything.
func (e *encoder) memberValue(i, depth int, key []byte) int {
	if e.numbers == eventNumbers && depth == 1 && string(key) == "unsigned" {
		e.numbers = legacyNumbers
		i = e.value(i, depth)
		e.numbers = eventNumbers
		return i
	}
	return e.value(i, depth)
}

// rearrange sorts the members of o, which ends before src[i], and notes that
// it has to be written in their order.
func (e *encoder) rearrange(i int, o object) int {
	e.flush(i)
	members := e.members[o.first:]
	order, twin := e.sorter.sort(e.text, members)
	if twin >= 0 {
		m := members[twin]
		return e.duplicate(m.at, e.text[m.key:m.keyEnd])
	}
	first := len(e.sorted)
	for _, k := range order {
		e.sorted = append(e.sorted, members[k.member])
	}
	e.members = e.members[:o.first]
	o.end, o.first, o.last = len(e.text), first, len(e.sorted)
	e.objects = append(e.objects, o)
	return i
}

func (e *encoder) duplicate(i int, key []byte) int {
	e.path = append(e.path, string(key))
	return e.fail(i, ErrDuplicateKey)
}

// append appends the text to dst, from its end to its start: innermost objects
// come first in e.objects, so that this way outer ones are met before them.
func (e *encoder) append(dst []byte) []byte {
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
func (e *encoder) fill(dst []byte, start, end, n int) []byte {
	for n > 0 && e.objects[n-1].start >= start {
		o := &e.objects[n-1]
		dst = fillBytes(dst, e.text[o.end:end])
		dst = fillByte(dst, '}')
		for i := o.last - 1; i >= o.first; i-- {
			m := &e.sorted[i]
			dst = e.fill(dst, m.start, m.end, m.objects)
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

var pointerEscapes = strings.NewReplacer("~", "~0", "/", "~1")

// pointer returns the JSON pointer of the error.
func (e *encoder) pointer() string {
	var b strings.Builder
	for i := len(e.path) - 1; i >= 0 && b.Len() <= maxPointer; i-- {
		b.WriteByte('/')
		b.WriteString(pointerEscapes.Replace(e.path[i]))
	}
	return cutText(b.String(), maxPointer)
}

// cutText cuts s to at most n bytes without splitting a rune.
func cutText(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
