package fedinvite

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// string reads a string, from behind its opening quote.
func (e *encoder) string(i int) int {
	for {
		i = skipText(e.src, i)
		switch e.peek(i) {
		case '"':
			return i + 1
		case '\\':
			r, next, err := unescape(e.src, i)
			if err != nil {
				return e.fail(i, err)
			}
			e.flush(i)
			e.text = appendRune(e.text, r)
			i, e.copied = next, next
		default:
			return e.badText(i)
		}
	}
}

// key reads a key and returns it decoded. It sets where in the text it, and
// the member that it opens, will be.
func (e *encoder) key(i int, m *member) (key []byte, next int) {
	if e.peek(i) != '"' {
		return nil, e.fail(i, ErrNotJSON)
	}
	end := skipText(e.src, i+1)
	switch e.peek(end) {
	case '"':
		m.start = e.offset(i)
		m.key, m.keyEnd = m.start+1, m.start+end-i
		return e.src[i+1 : end], end + 1
	case '\\':
		return e.escapedKey(i, m)
	}
	return nil, e.badText(end)
}

// escapedKey reads a key that is not written as it sorts: it is decoded into
// the text before its member, where append passes over it.
func (e *encoder) escapedKey(i int, m *member) (key []byte, next int) {
	e.flush(i)
	m.key = len(e.text)
	for i++; ; {
		end := skipText(e.src, i)
		e.text = append(e.text, e.src[i:end]...)
		switch e.peek(end) {
		case '"':
			m.keyEnd = len(e.text)
			m.start = m.keyEnd
			e.hidden += m.keyEnd - m.key
			e.text = append(e.text, '"')
			for j := m.key; j < m.keyEnd; j++ {
				e.text = appendByte(e.text, e.text[j])
			}
			e.text = append(e.text, '"')
			e.copied = end + 1
			return e.text[m.key:m.keyEnd], end + 1
		case '\\':
			r, next, err := unescape(e.src, end)
			if err != nil {
				return nil, e.fail(end, err)
			}
			e.text = utf8.AppendRune(e.text, r)
			i = next
		default:
			return nil, e.badText(end)
		}
	}
}

// badText refuses the byte of a string that skipText stopped at.
func (e *encoder) badText(i int) int {
	if e.peek(i) < ' ' { // or the end of src
		return e.fail(i, ErrNotJSON)
	}
	return e.fail(i, ErrBadText)
}

// skipText skips what stands for itself inside a string and returns the index
// of the first byte that does not: a quote, a backslash, a control character,
// a byte that is not part of valid UTF-8, or the end of src.
func skipText(src []byte, i int) int {
	for {
		i = skipASCII(src, i)
		if i == len(src) || src[i] < utf8.RuneSelf {
			return i
		}
		r, n := utf8.DecodeRune(src[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
}

// skipASCII is skipText that stops at anything outside ASCII as well. It
// looks at eight bytes at once: a byte has its high bit set in stop if it had
// it before, or if taking away 0x20 borrowed, or if it was equal to a quote or
// a backslash. A borrow may mark bytes above it wrongly, never below.
func skipASCII(src []byte, i int) int {
	const ones = 0x0101010101010101
	for ; i+8 <= len(src); i += 8 {
		w := binary.LittleEndian.Uint64(src[i:])
		stop := (w | (w - ones*' ') | ((w ^ ones*'"') - ones) | ((w ^ ones*'\\') - ones)) & (ones * 0x80)
		if stop != 0 {
			return i + bits.TrailingZeros64(stop)/8
		}
	}
	for ; i < len(src); i++ {
		if c := src[i]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			break
		}
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
			c = c | 0x20 - 'a' + 10
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
