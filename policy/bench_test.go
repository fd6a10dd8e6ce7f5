package policy_test

import (
	"fmt"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/policy"
)

// lists returns a chain of three block lists of n patterns each, made by format from
// a number; none matches alice and her room.
func lists(n int, server, user, room string) policy.Policy {
	var servers, users, rooms []string
	for i := range n {
		servers = append(servers, fmt.Sprintf(server, i))
		users = append(users, fmt.Sprintf(user, i))
		rooms = append(rooms, fmt.Sprintf(room, i))
	}
	return policy.Chain(policy.BlockServers(servers...), policy.BlockUsers(users...), policy.BlockRooms(rooms...))
}

// The lists of the benchmarks: names only, the usual globs, and globs of which the
// begin and the end tell nothing.
func benchLists() map[string]policy.Policy {
	const n = 1000
	return map[string]policy.Policy{
		"names": lists(n, "evil%d.example", "@spam%d:evil.example", "!bad%d:evil.example"),
		"globs": lists(n, "*.evil%d.example", "@spam%d*:*", "!bad%d:*"),
		"stars": lists(n, "*evil%d*", "*spam%d*", "*bad%d*"),
	}
}

func TestBlockListsAllocateNothingForAllowedInvites(t *testing.T) {
	ctx := t.Context()
	for _, sender := range []string{alice, "@alice:a.example:8448"} {
		inv := inviteFrom(t, sender)
		for name, p := range benchLists() {
			allocs := testing.AllocsPerRun(10, func() {
				if err := p(ctx, inv); err != nil {
					t.Fatal(err)
				}
			})
			if allocs != 0 {
				t.Errorf("%s: %v allocations for an invite from %s, want none", name, allocs, sender)
			}
		}
	}
}

// BenchmarkBlockLists is the cost of an allowed invite with three lists of 1,000
// patterns.
func BenchmarkBlockLists(b *testing.B) {
	inv := inviteFrom(b, alice)
	for name, p := range benchLists() {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if err := p(b.Context(), inv); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
