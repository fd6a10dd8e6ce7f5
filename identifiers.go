package fedinvite

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// maxIdentifier is the limit in bytes of user IDs, room IDs, event IDs, event
// types and state keys ("Size limits" of the client-server API).
const maxIdentifier = 255

// A ServerName names a homeserver: a DNS name, an IPv4 literal or an IPv6 literal
// in brackets, with an optional port (appendices, "Server Name"). Server names are
// compared case-sensitively.
type ServerName string

// ParseServerName checks s against the grammar of server names and returns it
// unchanged. s may have at most 255 bytes. The error wraps [ErrIdentifier].
func ParseServerName(s string) (ServerName, error) {
	if !validServerName(s) {
		return "", fmt.Errorf("%w: server name %q", ErrIdentifier, clip(s))
	}
	return ServerName(s), nil
}

// Host returns the name without its port, and without the brackets of an IPv6
// literal. It is meant for names that [ParseServerName] accepted.
func (n ServerName) Host() string {
	host, _ := n.split()
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// Port returns the port, or "" if the name has none.
func (n ServerName) Port() string {
	_, port := n.split()
	return strings.TrimPrefix(port, ":")
}

// split cuts before the colon of the port.
func (n ServerName) split() (host, port string) {
	s := string(n)
	if i := strings.LastIndexByte(s, ':'); i >= 0 && !strings.Contains(s[i:], "]") {
		return s[:i], s[i:]
	}
	return s, ""
}

func validServerName(s string) bool {
	if s == "" || len(s) > maxIdentifier {
		return false
	}
	host, port := ServerName(s).split()
	if port != "" && !validPort(port[1:]) {
		return false
	}
	if strings.HasPrefix(host, "[") {
		addr, err := netip.ParseAddr(strings.TrimSuffix(host[1:], "]"))
		return err == nil && strings.HasSuffix(host, "]") && addr.Is6() && addr.Zone() == ""
	}
	return validHost(host)
}

func validPort(s string) bool {
	port := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
		port = port*10 + int(s[i]-'0')
	}
	return 1 <= len(s) && len(s) <= 5 && port <= 65535
}

// validHost reports whether s is a DNS name or, if it looks like one, an IPv4 literal.
func validHost(s string) bool {
	var seen byte
	dots := 0
	for i := range len(s) {
		class := hostClass[s[i]]
		seen |= class
		dots += int(class & hostDot)
	}
	if seen&hostNone != 0 {
		return false
	}
	if seen&hostLetter == 0 && dots == 3 {
		_, err := netip.ParseAddr(s)
		return err == nil
	}
	return s != ""
}

// The classes of bytes in a host name.
const (
	hostDot    = 1 << iota // counted, so it must be 1
	hostDigit              // 0-9
	hostLetter             // A-Z, a-z and '-'
	hostNone               // may not be there
)

var hostClass = classifyHost()

func classifyHost() (class [256]byte) {
	for c := range class {
		switch {
		case c == '.':
			class[c] = hostDot
		case '0' <= c && c <= '9':
			class[c] = hostDigit
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', c == '-':
			class[c] = hostLetter
		default:
			class[c] = hostNone
		}
	}
	return class
}

// ParseUserID splits a user ID into its localpart and its server (appendices,
// "User Identifiers"). Historical localparts are accepted, as servers must: any
// text without ':' and NUL, even none. s may have at most 255 bytes. The error
// wraps [ErrIdentifier].
func ParseUserID(s string) (localpart string, server ServerName, err error) {
	local, domain, ok := splitIdentifier(s, '@')
	if !ok {
		return "", "", fmt.Errorf("%w: user ID %q", ErrIdentifier, clip(s))
	}
	return local, ServerName(domain), nil
}

// splitIdentifier parses sigil, localpart, ':' and server name.
func splitIdentifier(s string, sigil byte) (local, domain string, ok bool) {
	if len(s) > maxIdentifier || len(s) == 0 || s[0] != sigil {
		return "", "", false
	}
	local, domain, ok = strings.Cut(s[1:], ":")
	if !ok || !validServerName(domain) || strings.IndexByte(local, 0) >= 0 || !utf8.ValidString(local) {
		return "", "", false
	}
	return local, domain, true
}

// validRoomID checks a room ID against the format of the room version
// (appendices, "Room IDs"; room version 12, "Room IDs as hashes of the create event").
func validRoomID(s string, rules *Rules) bool {
	if rules.RoomIDIsCreateEvent {
		return len(s) == 1+hashIDLen && s[0] == '!' && isURLSafeBase64(s[1:])
	}
	_, _, ok := splitIdentifier(s, '!')
	return ok
}

// hashIDLen is the length of 32 bytes in unpadded base64.
const hashIDLen = 43

func isURLSafeBase64(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return false
		}
	}
	return true
}
