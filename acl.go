package fedinvite

import (
	"encoding/json"
	"net/netip"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite/internal/glob"
)

// A ServerACL is the content of an m.room.server_acl event (client-server API,
// "Server Access Control Lists (ACLs) for rooms"). It is immutable. The nil
// ServerACL, that of a room without such an event, allows every server.
type ServerACL struct {
	allow, deny []string // globs in lower case
	denyIPs     bool
}

// ParseServerACL reads the content of an m.room.server_acl event. As the
// specification has it for events that anybody could have sent, members of the
// wrong type count as absent and list entries that are no strings are skipped; a
// room whose allow list is absent or empty allows nobody. Errors wrap [ErrNotJSON]
// or [ErrBadJSON].
func ParseServerACL(content json.RawMessage) (*ServerACL, error) {
	text, err := canonicalObject(content, legacyNumbers)
	if err != nil {
		return nil, err
	}
	return &ServerACL{
		allow:   globs(get(text, "allow")),
		deny:    globs(get(text, "deny")),
		denyIPs: get(text, "allow_ip_literals") == "false",
	}, nil
}

func globs(list string) []string {
	var all []string
	for raw := range elementsOf(list) {
		if s, ok := unquote(raw); ok {
			all = append(all, strings.ToLower(s))
		}
	}
	return all
}

// Allows reports whether the server may take part in the room. Its port does not
// count, nor does the case of letters.
func (a *ServerACL) Allows(server ServerName) bool {
	if a == nil {
		return true
	}
	host, _ := server.split()
	host = strings.ToLower(host)
	if a.denyIPs && isIPLiteral(host) {
		return false
	}
	return !matchAny(a.deny, host) && matchAny(a.allow, host)
}

func isIPLiteral(host string) bool {
	if strings.HasPrefix(host, "[") {
		return true
	}
	_, err := netip.ParseAddr(host)
	return err == nil
}

func matchAny(patterns []string, s string) bool {
	for _, p := range patterns {
		if glob.Match(p, s) {
			return true
		}
	}
	return false
}
