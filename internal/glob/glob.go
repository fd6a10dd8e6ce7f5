// Package glob matches text with the globs of the Matrix specification.
package glob

import (
	"strings"
	"unicode/utf8"
)

// Match matches s with a pattern in which '*' stands for any text, even none, and
// '?' for one character (appendices, "Glob-style matching"). It goes back to the
// last '*' only, so that no pattern costs more than len(pattern)*len(s).
func Match(pattern, s string) bool {
	p, i := 0, 0
	star, from := -1, 0
	for i < len(s) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, from = p, i
			p++
		case p < len(pattern) && pattern[p] == '?':
			_, n := utf8.DecodeRuneInString(s[i:])
			p, i = p+1, i+n
		case p < len(pattern) && pattern[p] == s[i]:
			p, i = p+1, i+1
		case star >= 0:
			_, n := utf8.DecodeRuneInString(s[from:])
			from += n
			p, i = star+1, from
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
