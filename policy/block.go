package policy

import (
	"context"
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
)

// BlockServers refuses invites from servers that match one of the patterns, with 403
// M_FORBIDDEN. In a pattern '*' stands for any text, even none, and '?' for one
// character (appendices, "Glob-style matching"). The empty pattern matches nothing.
// The entities of m.policy.rule.server events are such patterns.
//
// A pattern is compared with the server's name and with the name without its port. Some
// other spellings of the name do not get round it: the case of letters does not count,
// nor do dots at the end of the host and zeros at the start of the port. An IPv6 literal
// is compared in its canonical form, an IPv4 address as four decimal numbers, also if an
// IPv6 literal maps it or the host is in another form that inet_aton reads, such as
// 0x7f.1. The specification tells these names apart; a block list is better off too
// wide. Other names that lead to the same server are not found.
//
// An address in a pattern with wildcards has to be written in that form too:
// "[2001:db8:*]", not "[2001:0db8:*]". Subdomains need a pattern of their own:
// "evil.example" and "*.evil.example". Patterns without wildcards are looked up, however
// many there are; the others are tried one by one.
//
// The policy reads nothing but inv.Origin. It may serve the Admit hook of
// [fedinvite.Config] too, before any key is looked up: give it
// &fedinvite.Invite{Origin: d.Origin}.
func BlockServers(patterns ...string) Policy {
	blocked := newList(false, patterns)
	return func(_ context.Context, inv *fedinvite.Invite) error {
		return blocked.refuse("BlockServers", string(inv.Origin))
	}
}

// BlockUsers refuses invites from users whose ID matches one of the patterns, with
// 403 M_FORBIDDEN. The patterns are those of [BlockServers], but for the whole user
// ID, as in "@spam*:*"; the entities of m.policy.rule.user events are such patterns.
// What stands behind the first ':' is compared as server names are there, what stands
// before it exactly: @Spam:a.example and @spam:a.example are two users.
func BlockUsers(patterns ...string) Policy {
	return blockIDs("BlockUsers", patterns, (*fedinvite.Event).Sender)
}

// BlockRooms refuses invites to rooms whose ID matches one of the patterns, with 403
// M_FORBIDDEN. The patterns are those of [BlockUsers], for room IDs; the entities of
// m.policy.rule.room events are such patterns, except for room aliases, which match
// nothing. From room version 12 on a room ID has no server in it: "!*:evil.example"
// finds older rooms only.
func BlockRooms(patterns ...string) Policy {
	return blockIDs("BlockRooms", patterns, (*fedinvite.Event).RoomID)
}

func blockIDs(policy string, patterns []string, id func(*fedinvite.Event) string) Policy {
	blocked := newList(true, patterns)
	return func(_ context.Context, inv *fedinvite.Invite) error {
		if inv.Event == nil {
			return errNoEvent
		}
		return blocked.refuse(policy, id(inv.Event))
	}
}

// refuse returns nil unless a pattern matches name.
func (l *list) refuse(policy, name string) error {
	if pattern, ok := l.match(name); ok {
		return refuse(fmt.Sprintf("%s: %q", policy, pattern))
	}
	return nil
}
