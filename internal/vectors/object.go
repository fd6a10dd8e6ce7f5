package main

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"unicode/utf8"
)

// JSON values are objects, lists, strings, ints, bools, nil and texts.
type (
	object = map[string]any
	list   = []any
	text   string // JSON that is put in as it is
)

// canonical returns the canonical JSON of v (appendices, "Canonical JSON").
func canonical(v any) string { return string(appendValue(nil, v)) }

func appendValue(b []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...)
	case bool:
		return strconv.AppendBool(b, v)
	case int:
		return strconv.AppendInt(b, int64(v), 10)
	case int64:
		return strconv.AppendInt(b, v, 10)
	case string:
		return appendString(b, v)
	case text:
		return append(b, v...)
	case list:
		b = append(b, '[')
		for i, item := range v {
			if i > 0 {
				b = append(b, ',')
			}
			b = appendValue(b, item)
		}
		return append(b, ']')
	case object:
		b = append(b, '{')
		for i, key := range slices.Sorted(maps.Keys(v)) { // bytes of UTF-8 sort as code points do
			if i > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, key), ':')
			b = appendValue(b, v[key])
		}
		return append(b, '}')
	}
	return fmt.Appendf(b, "<%T>", v) // no JSON, so that the tests find it
}

func appendString(b []byte, s string) []byte {
	const short = "btnvfr" // from U+0008; there is no \v in JSON
	b = append(b, '"')
	for i := range len(s) {
		switch c := s[i]; {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c >= '\b' && c <= '\r' && c != '\v':
			b = append(b, '\\', short[c-'\b'])
		case c < ' ':
			b = fmt.Appendf(b, `\u%04x`, c)
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}

// clone copies objects and lists, however deep.
func clone[T any](v T) T {
	copied, _ := cloneValue(v).(T)
	return copied
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case object:
		c := make(object, len(v))
		for key, value := range v {
			c[key] = cloneValue(value)
		}
		return c
	case list:
		c := make(list, len(v))
		for i, value := range v {
			c[i] = cloneValue(value)
		}
		return c
	}
	return v
}

// An edit changes an object.
type edit func(object)

// with returns a copy of o with the edits.
func with(o object, edits ...edit) object {
	o = clone(o)
	for _, e := range edits {
		e(o)
	}
	return o
}

// set sets a member, however deep; objects on the way are made.
func set(value any, path ...string) edit {
	return func(o object) { parent(o, path)[path[len(path)-1]] = cloneValue(value) }
}

// drop removes a member.
func drop(path ...string) edit {
	return func(o object) { delete(parent(o, path), path[len(path)-1]) }
}

func parent(o object, path []string) object {
	for _, key := range path[:len(path)-1] {
		next, ok := o[key].(object)
		if !ok {
			next = object{}
			o[key] = next
		}
		o = next
	}
	return o
}

// get returns the object at path, which may be nil.
func get(o object, path ...string) object {
	for _, key := range path {
		o, _ = o[key].(object)
	}
	return o
}

// exact returns s for a file, in the field for text or in that for base64.
func exact(s string) (plain string, encoded string) {
	if utf8.ValidString(s) {
		return s, ""
	}
	return "", base64Padded(s)
}
