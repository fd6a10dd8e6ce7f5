package main

import (
	"context"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/policy"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
)

// A door decides which invites a homeserver looks at: those of nobody who is blocked,
// and of nobody too many.
type door struct {
	block  blockList
	limits *ratelimit.Limiter
}

// newDoor takes the patterns of a block list, and limits; see [ratelimit.Config].
func newDoor(limits ratelimit.Config, blocked ...string) (door, error) {
	limits.Now = time.Now
	l, err := ratelimit.New(limits)
	return door{newBlockList(blocked...), l}, err
}

// unlimited are the limits for homeservers that know each other.
func unlimited() ratelimit.Config {
	none := ratelimit.Limit{Burst: -1}
	return ratelimit.Config{Remote: none, Origin: none, Sender: none, Invitee: none, Room: none}
}

// admit decides before any key is fetched. It fits [fedinvite.Config].
func (d door) admit(ctx context.Context, delivery *fedinvite.Delivery) error {
	if err := d.block.admit(ctx, delivery); err != nil {
		return err
	}
	return d.limits.Admit(ctx, delivery)
}

// policy decides about invites that are what they seem to be. Those of users who are
// blocked count against nobody's limit.
func (d door) policy() policy.Policy { return policy.Chain(d.block.users, d.limits.Policy) }
