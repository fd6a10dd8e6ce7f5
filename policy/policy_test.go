package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/policy"
)

// A Policy is a value for both hooks.
var (
	_ = fedinvite.Config{Policy: policy.Chain()}
	_ = fedclient.InviterConfig{Policy: policy.Chain()}
)

func TestChain(t *testing.T) {
	fails := func(context.Context, *fedinvite.Invite) error { return errStore }
	for _, c := range []struct {
		name  string
		chain []policy.Policy
		want  string // in the error; "" if the invite passes
	}{
		{"an empty chain lets every invite through", nil, ""},
		{"nil entries are skipped", []policy.Policy{nil, refuse("one"), nil}, "one"},
		{"a chain of nil entries lets every invite through", []policy.Policy{nil, nil}, ""},
		{"all allow", []policy.Policy{allow, allow}, ""},
		{"the last may refuse", []policy.Policy{allow, allow, refuse("three")}, "three"},
		{"the first refusal wins", []policy.Policy{allow, refuse("two"), refuse("three")}, "two"},
		{"a failure stops the chain too", []policy.Policy{fails, refuse("two")}, errStore.Error()},
		{"chains nest", []policy.Policy{policy.Chain(allow, nil), policy.Chain(policy.Chain(), refuse("two")), fails}, "two"},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := policy.Chain(c.chain...)(t.Context(), inviteFrom(t, alice))
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, want %q", err, c.want)
			}
		})
	}
}

func TestChainAsksInOrderUntilTheFirstRefusal(t *testing.T) {
	type key struct{}
	inv := inviteFrom(t, alice)
	ctx := context.WithValue(t.Context(), key{}, "x")
	var asked []int
	ask := func(n int, err error) policy.Policy {
		return func(ctx context.Context, got *fedinvite.Invite) error {
			if ctx.Value(key{}) != "x" || got != inv {
				t.Error("another context or invite")
			}
			asked = append(asked, n)
			return err
		}
	}
	err := policy.Chain(ask(1, nil), ask(2, nil), ask(3, errStore), ask(4, nil))(ctx, inv)
	if !errors.Is(err, errStore) || !slices.Equal(asked, []int{1, 2, 3}) {
		t.Errorf("asked %v, error %v", asked, err)
	}
}

func TestChainKeepsItsPoliciesWhenTheSliceChanges(t *testing.T) {
	all := []policy.Policy{nil, refuse("one")}
	chain := policy.Chain(all...)
	if all[0] != nil || all[1] == nil {
		t.Error("Chain changed its argument")
	}
	all[1] = allow
	wants(t, chain, inviteFrom(t, alice), forbidden)
}

func TestTheCallersOfBlockListsMayChangeTheirSlices(t *testing.T) {
	patterns := []string{"a.example", "*.a.example"}
	p := policy.BlockServers(patterns...)
	patterns[0], patterns[1] = "x", "x"
	wants(t, p, inviteFrom(t, alice), forbidden)
	wants(t, p, inviteFrom(t, "@x:x.a.example"), forbidden)
}

// All M_FORBIDDEN have one message, and it names nobody.
func TestRefusalsGiveNothingAway(t *testing.T) {
	inv := inviteFrom(t, alice)
	for name, p := range map[string]policy.Policy{
		"BlockServers": policy.BlockServers("a.example"),
		"BlockUsers":   policy.BlockUsers(alice),
		"BlockRooms":   policy.BlockRooms("!room*"),
		"KnownServers": policy.KnownServers(func(context.Context, fedinvite.ServerName) (bool, error) { return false, nil }),
		"KnownUsers":   policy.KnownUsers(func(context.Context, string, string) (bool, error) { return false, nil }),
		"OnePending":   policy.OnePending(func(context.Context, fedinvite.ServerName, string, string) (string, error) { return "$other", nil }),

		"InviteeExists": policy.InviteeExists(func(context.Context, string) (bool, error) { return false, nil }),
	} {
		t.Run(name, func(t *testing.T) {
			err := wants(t, p, inv, forbidden)
			body, jsonErr := json.Marshal(fedinvite.WireError(err))
			if jsonErr != nil {
				t.Fatal(jsonErr)
			}
			if got := string(body); got != `{"errcode":"M_FORBIDDEN","error":"This invite is not allowed."}` {
				t.Errorf("the peer is told %s", got)
			}
			if !strings.Contains(err.Error(), "policy."+name) {
				t.Errorf("our logs do not say which policy refused: %v", err)
			}
		})
	}
}

func TestMissingCallbacksFailClosed(t *testing.T) {
	for name, p := range map[string]policy.Policy{
		"InvitePermission": policy.InvitePermission(nil),
		"KnownServers":     policy.KnownServers(nil),
		"KnownUsers":       policy.KnownUsers(nil),
		"OnePending":       policy.OnePending(nil),
		"InviteeExists":    policy.InviteeExists(nil),
	} {
		err := wants(t, p, inviteFrom(t, alice), ourFault)
		if err == nil || !strings.Contains(err.Error(), "policy."+name) {
			t.Errorf("%s: the error does not name it: %v", name, err)
		}
	}
}

// Whoever calls a Policy with less than a Receiver has gets an error, not a panic.
func TestInvitesWithoutEventFailClosed(t *testing.T) {
	inv := &fedinvite.Invite{Origin: "a.example", Destination: "b.example", Invitee: bob}
	for name, p := range map[string]policy.Policy{
		"BlockUsers": policy.BlockUsers("x"),
		"BlockRooms": policy.BlockRooms("x"),
		"KnownUsers": policy.KnownUsers(func(context.Context, string, string) (bool, error) { return true, nil }),
		"OnePending": policy.OnePending(func(context.Context, fedinvite.ServerName, string, string) (string, error) { return "", nil }),
	} {
		t.Run(name, func(t *testing.T) { wants(t, p, inv, ourFault) })
	}
}
