package main

import (
	"context"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/policy"
)

// A blockList refuses the invites of servers and users.
type blockList struct{ servers, users policy.Policy }

// newBlockList takes patterns for servers and, beginning with '@', for users.
func newBlockList(patterns ...string) blockList {
	var servers, users []string
	for _, p := range patterns {
		if strings.HasPrefix(p, "@") {
			users = append(users, p)
		} else {
			servers = append(servers, p)
		}
	}
	return blockList{policy.BlockServers(servers...), policy.BlockUsers(users...)}
}

// admit refuses servers, at no cost. It fits [fedinvite.Config].
func (l blockList) admit(ctx context.Context, d *fedinvite.Delivery) error {
	return l.servers(ctx, &fedinvite.Invite{Origin: d.Origin})
}

// block defines the option -block, which may be repeated.
func (f *flags) block() *[]string {
	patterns := new([]string)
	f.Func("block", "", func(s string) error {
		*patterns = append(*patterns, s)
		return checkPattern(s)
	})
	return patterns
}

// checkPattern catches slips of the pen: a pattern has to look like what it stands for.
func checkPattern(pattern string) (err error) {
	like := strings.NewReplacer("*", "x", "?", "x").Replace(pattern)
	switch {
	case pattern == "*":
	case !strings.HasPrefix(pattern, "@"):
		_, err = fedinvite.ParseServerName(like)
	default:
		_, _, err = fedinvite.ParseUserID(like)
	}
	return err
}
