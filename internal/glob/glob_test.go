package glob_test

import (
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/internal/glob"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern, s string
		want       bool
	}{
		{"", "", true}, {"", "a", false}, {"*", "", true}, {"**", "", true}, {"?", "", false},
		{"a", "a", true}, {"a", "b", false}, {"a", "A", false}, {"a", "ab", false}, {"ab", "a", false},
		{"*.example", "evil.example", true}, {"*.example", "example", false}, {"*.example", "a.b.example", true},
		{"evil.*", "evil.", true}, {"e*l.?xample", "evil.example", true}, {"e?l", "eél", true}, {"e?l", "e\u0301l", true}, {"e??l", "eél", false},
		{"a*b*c", "aXbYbZc", true}, {"a*b*c", "aXbYbZ", false}, {"[a]", "a", false}, {`\*`, "*", false},
	} {
		if got := glob.Match(c.pattern, c.s); got != c.want {
			t.Errorf("%q matches %q: %v", c.pattern, c.s, got)
		}
	}
}

// A matcher that goes back to every star would be busy for years with this.
func TestMatchOfManyStars(t *testing.T) {
	if glob.Match(strings.Repeat("*a", 100)+"b", strings.Repeat("a", 5000)) {
		t.Error("matches")
	}
}
