package policy_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/policy"
)

// invitation is an invite for @bob:b.example as a Receiver gives it to its policy.
func invitation(sender string) *fedinvite.Invite {
	_, origin, err := fedinvite.ParseUserID(sender)
	if err != nil {
		panic(err)
	}
	signer, err := fedinvite.NewSigner(origin, "ed25519:1", ed25519.NewKeyFromSeed(make([]byte, 32)))
	if err != nil {
		panic(err)
	}
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		panic(err)
	}
	event, err := fedinvite.NewInvite(context.Background(), fedinvite.Draft{
		RoomID: "!r:a.example", Sender: sender, Invitee: "@bob:b.example", Depth: 2, Time: time.Unix(1_700_000_000, 0),
	}, rules, signer)
	if err != nil {
		panic(err)
	}
	return &fedinvite.Invite{Origin: origin, Destination: "b.example", Invitee: "@bob:b.example", Event: event}
}

// Bob accepts no invites at all; before he is asked, block lists refuse.
func ExampleChain() {
	isUser := func(_ context.Context, userID string) (bool, error) { return userID == "@bob:b.example", nil }
	accountData := func(_ context.Context, userID string) (json.RawMessage, error) {
		if userID == "@bob:b.example" {
			return json.RawMessage(`{"default_action":"block"}`), nil
		}
		return nil, nil
	}
	config := fedinvite.Config{
		Policy: policy.Chain(
			policy.InviteeExists(isUser),
			policy.BlockServers("evil.example", "*.evil.example"),
			policy.BlockUsers("@spam*:*"),
			policy.InvitePermission(accountData),
		),
	}

	for _, sender := range []string{"@x:EVIL.example:8448", "@spammer:a.example", "@alice:a.example"} {
		err := config.Policy(context.Background(), invitation(sender))
		fmt.Println(sender, err)
	}
	// Output:
	// @x:EVIL.example:8448 M_FORBIDDEN: This invite is not allowed. (policy.BlockServers: "evil.example")
	// @spammer:a.example M_FORBIDDEN: This invite is not allowed. (policy.BlockUsers: "@spam*:*")
	// @alice:a.example M_INVITE_BLOCKED: The user does not accept invites.
}

// A block list that changes while the server runs.
func ExamplePolicy() {
	var blocked atomic.Pointer[policy.Policy]
	update := func(servers ...string) {
		p := policy.BlockServers(servers...)
		blocked.Store(&p)
	}
	update()
	config := fedinvite.Config{
		Policy: func(ctx context.Context, inv *fedinvite.Invite) error { return (*blocked.Load())(ctx, inv) },
	}

	inv := invitation("@x:evil.example")
	fmt.Println(config.Policy(context.Background(), inv))
	update("*.evil.example", "evil.example")
	fmt.Println(config.Policy(context.Background(), inv))
	// Output:
	// <nil>
	// M_FORBIDDEN: This invite is not allowed. (policy.BlockServers: "evil.example")
}

// A block list before any key of the origin is looked up.
func ExampleBlockServers() {
	blockServers := policy.BlockServers("*.evil.example")
	config := fedinvite.Config{
		Admit: func(ctx context.Context, d *fedinvite.Delivery) error {
			return blockServers(ctx, &fedinvite.Invite{Origin: d.Origin})
		},
	}

	fmt.Println(config.Admit(context.Background(), &fedinvite.Delivery{Origin: "x.evil.example:8448"}))
	fmt.Println(config.Admit(context.Background(), &fedinvite.Delivery{Origin: "a.example"}))
	// Output:
	// M_FORBIDDEN: This invite is not allowed. (policy.BlockServers: "*.evil.example")
	// <nil>
}
