package xmatrix

import "strings"

// A scanner reads a list of auth-params (RFC 9110, sections 5.6 and 11.2).
type scanner struct{ rest string }

// separator skips white space, commas and the empty elements between them, and
// reports whether there was a comma.
func (s *scanner) separator() bool {
	rest := strings.TrimLeft(s.rest, " \t,")
	skipped := s.rest[:len(s.rest)-len(rest)]
	s.rest = rest
	return strings.Contains(skipped, ",")
}

// parameter reads name=value. White space round "=" is bad, but must be read.
func (s *scanner) parameter() (name, value string, ok bool) {
	name = s.run(isToken)
	s.space()
	if name == "" || !strings.HasPrefix(s.rest, "=") {
		return "", "", false
	}
	s.rest = s.rest[1:]
	s.space()
	if strings.HasPrefix(s.rest, `"`) {
		value, ok = s.quoted()
	} else {
		value = s.run(isUnquoted)
		ok = value != ""
		value += s.run(func(c byte) bool { return c == '=' })
	}
	return name, value, ok
}

// quoted reads a quoted string and returns what it stands for.
func (s *scanner) quoted() (string, bool) {
	var unescaped []byte
	from := 1
	for i := 1; i < len(s.rest); i++ {
		switch c := s.rest[i]; {
		case c == '"':
			value := s.rest[from:i]
			s.rest = s.rest[i+1:]
			if unescaped == nil {
				return value, true
			}
			return string(append(unescaped, value...)), true
		case c == '\\':
			// The character behind stands for itself, even if it is a quote.
			unescaped = append(unescaped, s.rest[from:i]...)
			i++
			from = i
			if i == len(s.rest) || !isText(s.rest[i]) {
				return "", false
			}
		case !isText(c):
			return "", false
		}
	}
	return "", false
}

func (s *scanner) space() { s.rest = strings.TrimLeft(s.rest, " \t") }

// run takes the longest start all of whose bytes are in.
func (s *scanner) run(in func(byte) bool) string {
	n := 0
	for n < len(s.rest) && in(s.rest[n]) {
		n++
	}
	taken := s.rest[:n]
	s.rest = s.rest[n:]
	return taken
}

func isToken(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0
}

// isUnquoted allows colons, as the specification asks for, and the slash of base64.
func isUnquoted(c byte) bool { return isToken(c) || c == ':' || c == '/' }

func isText(c byte) bool { return c == '\t' || c >= ' ' && c != 0x7f }

func appendQuoted(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for i := range len(s) {
		if s[i] == '"' || s[i] == '\\' {
			dst = append(dst, '\\')
		}
		dst = append(dst, s[i])
	}
	return append(dst, '"')
}
