package fedinvite

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"
	"math/bits"
	"slices"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// string reads the rest of a string, from src[i] on.
func (e *jsonEncoder) string(i int) int {
	for e.peek(i) != '"' {
		i = skipText(e.src, i)
		if c := e.peek(i); c == '\\' {
			r, next, err := unescape(e.src, i)
			if err != nil {
				return e.fail(i, err)
			}
			e.flush(i)
			e.text = appendRune(e.text, r)
			i, e.copied = next, next
		} else if c != '"' {
			return e.badText(i)
		}
	}
	return i + 1
}

// openMember reads the key of a member. It returns the word of the key, or 0
// if the key has escapes: those are out of order by rule, see openEscaped.
func (e *jsonEncoder) openMember(i int) (word uint64, next int) {
	if e.peek(i) != '"' {
		return 0, e.fail(i, ErrNotJSON)
	}
	end := skipASCII(e.src, i+1)
	if e.peek(end) != '"' {
		if end = skipText(e.src, end); e.peek(end) == '\\' {
			return 0, e.openEscaped(i)
		} else if e.peek(end) != '"' {
			return 0, e.badText(end)
		}
	}
	word = sortWord(e.src, i+1, end)
	m := e.newMember()
	m.start = e.offset(i)
	m.word = word
	m.at = i
	m.keyLen, m.hidden = end-i-1, 0
	return word, end + 1
}

// newMember returns a new open member, its fields not set.
func (e *jsonEncoder) newMember() *jsonMember {
	n := len(e.members)
	if n == cap(e.members) {
		e.members = slices.Grow(e.members, 1)
	}
	e.members = e.members[:n+1]
	return &e.members[n]
}

// openEscaped reads a key that is not written as it sorts: it is decoded into
// the text before its member, where append will pass over it.
func (e *jsonEncoder) openEscaped(i int) int {
	e.flush(i)
	at, decoded := i, len(e.text)
	for i++; e.peek(i) != '"'; {
		end := skipText(e.src, i)
		e.text = append(e.text, e.src[i:end]...)
		if i = end; e.peek(i) == '\\' {
			r, next, err := unescape(e.src, i)
			if err != nil {
				return e.fail(i, err)
			}
			e.text = utf8.AppendRune(e.text, r)
			i = next
		} else if e.peek(i) != '"' {
			return e.badText(i)
		}
	}
	m := e.newMember()
	m.start = len(e.text)
	m.word = sortWord(e.text, decoded, m.start)
	m.at = at
	m.keyLen, m.hidden = 0, m.start-decoded
	e.hidden += m.hidden

	e.text = append(e.text, '"')
	for _, c := range e.text[decoded:m.start] {
		e.text = appendByte(e.text, c)
	}
	e.text = append(e.text, '"')
	e.copied = i + 1
	return i + 1
}

// badText refuses the byte of a string that skipText stopped at.
func (e *jsonEncoder) badText(i int) int {
	if e.peek(i) < ' ' { // or the end of src
		return e.fail(i, ErrNotJSON)
	}
	return e.fail(i, ErrBadText)
}

// eachByte times a byte is that byte eight times.
const eachByte = 0x0101010101010101

// skipText skips what stands for itself inside a string and returns the index
// of the first byte that does not: a quote, a backslash, a control character,
// a byte that is not part of valid UTF-8, or the end of src.
func skipText(src []byte, i int) int {
	for {
		i = skipASCII(src, i)
		if i == len(src) || src[i] < utf8.RuneSelf {
			return i
		}
		if i = skipRunes(src, i); i < len(src) && src[i] >= utf8.RuneSelf {
			return i
		}
	}
}

// skipASCII is skipText that stops at what is not ASCII as well: most strings
// need no more.
//
// It looks at eight bytes at once. A byte has its high bit set in stop if it
// had it before, or taking away 0x20 borrowed, or it was equal to a quote or a
// backslash. A borrow may mark bytes above it wrongly, never below.
func skipASCII(src []byte, i int) int {
	for ; i+8 <= len(src); i += 8 {
		w := binary.LittleEndian.Uint64(src[i : i+8])
		stop := (w | (w - eachByte*' ') | ((w ^ eachByte*'"') - eachByte) | ((w ^ eachByte*'\\') - eachByte)) & (eachByte * 0x80)
		if stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
	}
	for i < len(src) && src[i] >= ' ' && src[i] < utf8.RuneSelf && src[i] != '"' && src[i] != '\\' {
		i++
	}
	return i
}

// skipRunes skips valid UTF-8 outside ASCII.
func skipRunes(src []byte, i int) int {
	for i < len(src) && src[i] >= utf8.RuneSelf {
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			break
		}
		i += n
	}
	return i
}

// unescape decodes the escape at src[i], a backslash, and returns the index
// after it.
func unescape(src []byte, i int) (r rune, next int, err error) {
	if i+1 >= len(src) {
		return 0, 0, ErrNotJSON
	}
	switch src[i+1] {
	case '"', '\\', '/':
		return rune(src[i+1]), i + 2, nil
	case 'b':
		return '\b', i + 2, nil
	case 'f':
		return '\f', i + 2, nil
	case 'n':
		return '\n', i + 2, nil
	case 'r':
		return '\r', i + 2, nil
	case 't':
		return '\t', i + 2, nil
	}
	r = hexEscape(src, i)
	switch {
	case r < 0:
		return 0, 0, ErrNotJSON
	case !utf16.IsSurrogate(r):
		return r, i + 6, nil
	}
	if r = utf16.DecodeRune(r, hexEscape(src, i+6)); r == utf8.RuneError {
		return 0, 0, ErrBadText
	}
	return r, i + 12, nil
}

// hexEscape returns what the \uXXXX at src[i] stands for, or -1 if there is
// none.
func hexEscape(src []byte, i int) rune {
	if i+6 > len(src) || src[i] != '\\' || src[i+1] != 'u' {
		return -1
	}
	var r rune
	for _, c := range src[i+2 : i+6] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c|0x20 && c|0x20 <= 'f':
			c = (c | 0x20) - 'a' + 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// appendRune appends r as canonical JSON writes it inside a string.
func appendRune(dst []byte, r rune) []byte {
	if r < utf8.RuneSelf {
		return appendByte(dst, byte(r))
	}
	return utf8.AppendRune(dst, r)
}

// appendByte is appendRune for one byte of UTF-8.
func appendByte(dst []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\t':
		return append(dst, '\\', 't')
	case '\n':
		return append(dst, '\\', 'n')
	case '\f':
		return append(dst, '\\', 'f')
	case '\r':
		return append(dst, '\\', 'r')
	}
	if c < ' ' {
		return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
	}
	return append(dst, c)
}

// skipLiteral returns the index after want if that is what is at src[i], or -1.
func skipLiteral(src []byte, i int, want string) int {
	if len(src)-i < len(want) || string(src[i:][:len(want)]) != want {
		return -1
	}
	return i + len(want)
}

const (
	maxInteger      = "9007199254740991" // 2^53−1
	maxLegacyDigits = 4300               // Python takes no longer integers
	maxHardNumbers  = 100                // in one text; they cost microseconds each
)

// number reads a number.
func (e *jsonEncoder) number(i int) int {
	if end := skipShortInteger(e.src, i); end > 0 {
		return end
	}
	end, isInteger := skipNumber(e.src, i)
	if end < 0 {
		return e.fail(^end, ErrNotJSON)
	}
	token := e.src[i:end]
	switch {
	case isInteger && string(token) == "-0":
		e.flush(i)
		e.text = append(e.text, '0')
		e.copied = end
	case isInteger && integerFits(token):
	case e.numbers != legacyNumbers:
		return e.fail(i, ErrBadNumber)
	case isInteger:
		if len(digits(token)) > maxLegacyDigits {
			return e.fail(i, ErrBadNumber)
		}
	default:
		f, hard := parseFloat(token)
		if hard {
			e.hard++
		}
		if math.IsInf(f, 0) || e.hard > maxHardNumbers {
			return e.fail(i, ErrBadNumber)
		}
		e.flush(i)
		e.text = appendPythonFloat(e.text, f)
		e.copied = end
	}
	return end
}

// digits returns an integer without its sign.
func digits(integer []byte) []byte { return bytes.TrimPrefix(integer, []byte("-")) }

// integerFits reports whether an integer is in ±(2^53−1).
func integerFits(integer []byte) bool {
	d := digits(integer)
	return len(d) < len(maxInteger) || len(d) == len(maxInteger) && string(d) <= maxInteger
}

// skipShortInteger returns the index after the canonical integer at src[i], or
// -1 if there is none or it has more than 15 digits.
func skipShortInteger(src []byte, i int) int {
	start := i
	if i < len(src) && src[i] == '-' {
		start++
	}
	end := skipDigits(src, start)
	switch {
	case end == start || end-start >= len(maxInteger):
		return -1
	case src[start] == '0' && (end > start+1 || start > i):
		return -1
	case end < len(src) && (src[end] == '.' || src[end]|0x20 == 'e'):
		return -1
	}
	return end
}

// skipNumber returns the index after the number at src[i], and whether it has
// neither fraction nor exponent. If the grammar of RFC 8259 is broken at
// src[j], end is ^j.
func skipNumber(src []byte, i int) (end int, isInteger bool) {
	if i < len(src) && src[i] == '-' {
		i++
	}
	j := skipDigits(src, i)
	if j == i {
		return ^i, false
	}
	if src[i] == '0' && j > i+1 {
		return ^(i + 1), false
	}
	end = j
	if j < len(src) && src[j] == '.' {
		if end = skipDigits(src, j+1); end == j+1 {
			return ^end, false
		}
	}
	if end < len(src) && src[end]|0x20 == 'e' {
		k := end + 1
		if k < len(src) && (src[k] == '+' || src[k] == '-') {
			k++
		}
		if end = skipDigits(src, k); end == k {
			return ^end, false
		}
	}
	return end, end == j
}

func skipDigits(src []byte, i int) int {
	for i < len(src) && '0' <= src[i] && src[i] <= '9' {
		i++
	}
	return i
}

// appendPythonFloat appends repr(f) of Python: the shortest digits that read
// back as f, always with a point or an exponent.
func appendPythonFloat(dst []byte, f float64) []byte {
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	n := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if bytes.IndexByte(dst[n:], '.') < 0 {
		dst = append(dst, '.', '0')
	}
	return dst
}

// parseFloat returns the float64 nearest to a number, or an infinity, and
// whether that was hard to tell.
//
// So does strconv.ParseFloat, but it may take 20 µs for as many bytes: for
// subnormal numbers, and for those so near to the middle of two floats that it
// takes more than 19 digits to tell. Exact arithmetic settles them ten times as
// fast; a stranger can send thousands, so they are counted too. Also, it loses
// powers of ten from integers of more than 800 digits with an exponent.
func parseFloat(token []byte) (f float64, hard bool) {
	var buf [maxFloatDigits + 32]byte
	decimal, digits, exponent := parseDecimal(buf[:0], token)
	switch {
	case digits == 0 || exponent < -323: // below half of the smallest float
	case exponent > 309:
		f = math.Inf(1)
	case digits <= 19 && -300 < exponent && exponent < 300:
		f, _ = strconv.ParseFloat(string(decimal), 64)
	default:
		hard = true
		var r big.Rat
		r.SetString(string(decimal))
		f, _ = r.Float64()
	}
	if token[0] == '-' {
		f = math.Copysign(f, -1)
	}
	return f, hard
}

// maxFloatDigits is more digits than the middle of any two floats has, 768: of
// those that follow it matters only whether one is not 0.
const maxFloatDigits = 800

// parseDecimal appends the absolute value of a number to dst, as "0.", a
// limited number of digits of which the first is not 0, "e" and an exponent.
func parseDecimal(dst, token []byte) (decimal []byte, digits int, exponent int64) {
	dst = append(dst, "0."...)
	i := 0
	if token[i] == '-' {
		i++
	}
	var fraction, more bool
	for ; i < len(token) && token[i]|0x20 != 'e'; i++ {
		switch c := token[i]; {
		case c == '.':
			fraction = true
			continue
		case digits == 0 && c == '0':
			if fraction {
				exponent--
			}
			continue
		case digits < maxFloatDigits:
			dst = append(dst, c)
			digits++
		case c != '0':
			more = true
		}
		if !fraction {
			exponent++
		}
	}
	if more {
		dst = append(dst, '1')
	}
	if i < len(token) {
		exponent += parseExponent(token[i+1:])
	}
	dst = append(dst, 'e')
	return strconv.AppendInt(dst, exponent, 10), digits, exponent
}

// parseExponent returns an exponent. It stops counting at a size that no
// number of digits makes up for.
func parseExponent(b []byte) (n int64) {
	for _, c := range b {
		if c >= '0' && n < 1<<50 {
			n = n*10 + int64(c-'0')
		}
	}
	if b[0] == '-' {
		return -n
	}
	return n
}
