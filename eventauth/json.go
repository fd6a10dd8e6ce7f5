package eventauth

import (
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"
)

// This file reads canonical JSON, and only that: it has no duplicate keys and no bad text.

// text returns the string that a value of canonical JSON stands for.
func text(raw string) (s string, ok bool) {
	if raw == "" || raw[0] != '"' {
		return "", false
	}
	if strings.IndexByte(raw, '\\') < 0 {
		return raw[1 : len(raw)-1], true
	}
	err := json.Unmarshal([]byte(raw), &s)
	return s, err == nil
}

// members returns the members of a canonical object; nil if raw is none. Unlike a
// struct, a map is exact about the case of keys.
func members(raw []byte) (m map[string]json.RawMessage) {
	if json.Unmarshal(raw, &m) != nil {
		return nil
	}
	return m
}

type objectMember struct {
	key   string
	value gjson.Result
}

// objectMembers returns the members of a canonical object, in their order; none if r is
// no object.
func objectMembers(r gjson.Result) (all []objectMember) {
	if !r.IsObject() {
		return nil
	}
	r.ForEach(func(key, value gjson.Result) bool {
		all = append(all, objectMember{key.Str, value})
		return true
	})
	return all
}
