package invitetest_test

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/tidwall/gjson"

	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// remarshal writes JSON as encoding/json understands it: of duplicate keys the last one
// counts, and bad text is repaired. What is deeper than depth is left out.
func remarshal(text []byte, depth int) ([]byte, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	d.UseNumber()
	var v any
	if err := d.Decode(&v); err != nil {
		return nil, err
	}
	if d.More() {
		return nil, errRefused
	}
	return invitetest.Encode(prune(v, depth)), nil
}

func prune(v any, depth int) any {
	switch v := v.(type) {
	case invitetest.Object:
		for key, member := range v {
			if v[key] = prune(member, depth-1); depth == 0 {
				delete(v, key)
			}
		}
	case []any:
		if depth == 0 {
			return []any{}
		}
		for i := range v {
			v[i] = prune(v[i], depth-1)
		}
	}
	return v
}

// firstKeys writes JSON as those understand it for whom the first of two keys counts.
func firstKeys(text []byte) []byte { return []byte(first(gjson.ParseBytes(text))) }

func first(v gjson.Result) string {
	if !v.IsObject() && !v.IsArray() {
		return v.Raw
	}
	var parts []string
	seen := map[string]bool{}
	v.ForEach(func(key, value gjson.Result) bool {
		switch {
		case v.IsArray():
			parts = append(parts, first(value))
		case !seen[key.String()]:
			seen[key.String()] = true
			parts = append(parts, key.Raw+":"+first(value))
		}
		return true
	})
	if v.IsArray() {
		return "[" + strings.Join(parts, ",") + "]"
	}
	return "{" + strings.Join(parts, ",") + "}"
}
