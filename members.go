package fedinvite

import (
	"iter"
	"strings"
)

// This file reads and splices canonical JSON: text that appendCanonical wrote.
// There are no spaces, keys are sorted and unique, and every string is written in
// the one shortest way, so that comparing raw keys is comparing keys. None of it
// may be used on anything else.

// A pair is one key and value of an object, as spans of its text: the key with
// its quotes starts at start, the value is text[value:end].
type pair struct{ start, value, end int }

// key returns the key as it is written, with its escapes if it has any.
func (m pair) key(text string) string { return text[m.start+1 : m.value-2] }

// name returns the key itself.
func (m pair) name(text string) string {
	if key := m.key(text); strings.IndexByte(key, '\\') < 0 {
		return key
	}
	return unescapeText(m.key(text))
}

func (m pair) raw(text string) string { return text[m.value:m.end] }

// membersOf yields the members of the canonical object text; none if text is no object.
func membersOf(text string) iter.Seq[pair] {
	return func(yield func(pair) bool) {
		if !isObject(text) {
			return
		}
		for i := 1; text[i] == '"'; {
			value := skipString(text, i) + 1
			m := pair{i, value, skipValue(text, value)}
			if !yield(m) {
				return
			}
			if i = m.end + 1; i >= len(text) {
				return
			}
		}
	}
}

// A copier writes the members of an object that are to be kept. Neighbours are
// copied in one piece.
type copier struct {
	dst        []byte
	text       string
	start, end int // what is to be kept but not copied yet
}

func (c *copier) keep(m pair) {
	if c.end > 0 && m.start == c.end+1 {
		c.end = m.end
		return
	}
	c.flush()
	c.start, c.end = m.start, m.end
}

// flush copies what is waiting and returns dst.
func (c *copier) flush() []byte {
	if c.end > 0 {
		start, end := c.start, c.end
		c.end = 0
		c.comma()
		c.dst = append(c.dst, c.text[start:end]...)
	}
	return c.dst
}

// comma makes dst ready for one more member.
func (c *copier) comma() {
	c.dst = appendComma(c.flush())
}

// indexOf returns where the value of key starts in the canonical object text, or 0.
func indexOf(text, key string) int {
	for m := range membersOf(text) {
		if m.name(text) == key {
			return m.value
		}
	}
	return 0
}

// get returns the value of key in the canonical text, or "" if text is no object
// or has no such key.
func get(text, key string) string {
	for m := range membersOf(text) {
		if m.name(text) == key {
			return m.raw(text)
		}
	}
	return ""
}

// elementsOf yields the raw elements of the canonical array text; none if text is no array.
func elementsOf(text string) iter.Seq[string] {
	return func(yield func(string) bool) {
		if !isArray(text) {
			return
		}
		for i := 1; i < len(text) && text[i] != ']'; {
			end := skipValue(text, i)
			if !yield(text[i:end]) {
				return
			}
			i = end + 1
		}
	}
}

// skipString returns the index after the string that starts at i.
func skipString(text string, i int) int {
	for i++; ; i++ {
		j := strings.IndexByte(text[i:], '"')
		i += j
		escapes := 0
		for text[i-1-escapes] == '\\' {
			escapes++
		}
		if escapes%2 == 0 {
			return i + 1
		}
	}
}

// skipValue returns the index after the value that starts at i.
func skipValue(text string, i int) int {
	switch text[i] {
	case '"':
		return skipString(text, i)
	case '{', '[':
		depth := 0
		for ; ; i++ {
			switch text[i] {
			case '"':
				i = skipString(text, i) - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
	}
	for ; i < len(text); i++ {
		if c := text[i]; c == ',' || c == '}' || c == ']' {
			break
		}
	}
	return i
}

// unquote returns the string that the canonical value raw stands for; ok is false
// if raw is not a string. Only a string with escapes is copied.
func unquote(raw string) (s string, ok bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	s = raw[1 : len(raw)-1]
	if strings.IndexByte(s, '\\') < 0 {
		return s, true
	}
	return unescapeText(s), true
}

// quote returns s as a canonical JSON string. Invalid UTF-8 becomes U+FFFD.
func quote(s string) string {
	if isPlain(s) {
		return `"` + s + `"`
	}
	quoted, err := MarshalCanonical(s)
	if err != nil {
		return `""` // encoding/json writes every string as valid JSON
	}
	return string(quoted)
}

// appendQuoted appends what quote returns.
func appendQuoted(dst []byte, s string) []byte {
	if isPlain(s) {
		return append(append(append(dst, '"'), s...), '"')
	}
	return append(dst, quote(s)...)
}

// isPlain reports whether s is ASCII that needs no escapes.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x80 || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// unescapeText undoes the escapes of a canonical string.
func unescapeText(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '\\' {
			b.WriteByte(s[i])
			continue
		}
		i++
		switch s[i] {
		case 'b':
			b.WriteByte('\b')
		case 't':
			b.WriteByte('\t')
		case 'n':
			b.WriteByte('\n')
		case 'f':
			b.WriteByte('\f')
		case 'r':
			b.WriteByte('\r')
		case 'u': // canonical form escapes nothing but control characters this way
			b.WriteByte(unhex(s[i+3])<<4 | unhex(s[i+4]))
			i += 4
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

func unhex(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// appendSet appends the canonical object text with key set to the canonical
// value, or without key if value is empty. What is no object counts as an empty one.
func appendSet[T string | []byte](dst []byte, text, key string, value T) []byte {
	dst = append(dst, '{')
	done := len(value) == 0
	for m := range membersOf(text) {
		old := m.name(text)
		if !done && old >= key {
			done = true
			dst = appendMember(dst, key, value)
		}
		if old != key {
			dst = append(appendComma(dst), text[m.start:m.end]...)
		}
	}
	if !done {
		dst = appendMember(dst, key, value)
	}
	return append(dst, '}')
}

func appendMember[T string | []byte](dst []byte, key string, value T) []byte {
	dst = appendQuoted(appendComma(dst), key)
	return append(append(dst, ':'), value...)
}

// appendComma makes dst, which ends in an object that is open, ready for one more
// member.
func appendComma(dst []byte) []byte {
	if dst[len(dst)-1] == '{' {
		return dst
	}
	return append(dst, ',')
}

// with returns text with key set to value; see appendSet.
func with(text, key, value string) string {
	return string(appendSet(make([]byte, 0, len(text)+len(key)+len(value)+4), text, key, value))
}

// isObject reports whether the canonical value raw is an object.
func isObject(raw string) bool { return raw != "" && raw[0] == '{' }

// isArray reports whether the canonical value raw is an array.
func isArray(raw string) bool { return raw != "" && raw[0] == '[' }
