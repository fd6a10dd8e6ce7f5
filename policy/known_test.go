package policy_test

import (
	"context"
	"errors"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/policy"
)

func TestKnownServers(t *testing.T) {
	p := policy.KnownServers(func(_ context.Context, server fedinvite.ServerName) (bool, error) {
		return server == "a.example", nil
	})
	for _, c := range []struct {
		name   string
		sender string
		want   verdict
	}{
		{"a known server", alice, allowed},
		{"an unknown server", "@x:c.example", forbidden},
		{"server names are compared with their case", "@alice:A.example", forbidden},
		{"server names are compared with their port", "@alice:a.example:8448", forbidden},
		{"a server knows itself", "@x:b.example", allowed},
	} {
		t.Run(c.name, func(t *testing.T) { wants(t, p, inviteFrom(t, c.sender), c.want) })
	}
	t.Run("the hook Admit has no event", func(t *testing.T) {
		wants(t, p, &fedinvite.Invite{Origin: "a.example", Destination: "b.example"}, allowed)
		wants(t, p, &fedinvite.Invite{Origin: "c.example", Destination: "b.example"}, forbidden)
	})
	t.Run("a failure is ours, whatever else known says", func(t *testing.T) {
		for _, ok := range []bool{true, false} {
			p := policy.KnownServers(func(context.Context, fedinvite.ServerName) (bool, error) { return ok, errStore })
			if err := wants(t, p, inviteFrom(t, alice), ourFault); !errors.Is(err, errStore) {
				t.Errorf("error %v, want that of the callback", err)
			}
		}
	})
}

func TestKnownUsers(t *testing.T) {
	p := policy.KnownUsers(func(_ context.Context, invitee, sender string) (bool, error) {
		return invitee == bob && sender == alice, nil
	})
	t.Run("a known user", func(t *testing.T) { wants(t, p, inviteFrom(t, alice), allowed) })
	t.Run("an unknown user of a known server", func(t *testing.T) { wants(t, p, inviteFrom(t, "@x:a.example"), forbidden) })
	t.Run("known to somebody else", func(t *testing.T) {
		inv := inviteFrom(t, alice)
		inv.Invitee = "@other:b.example"
		wants(t, p, inv, forbidden)
	})
	t.Run("a failure is ours, whatever else known says", func(t *testing.T) {
		for _, ok := range []bool{true, false} {
			p := policy.KnownUsers(func(context.Context, string, string) (bool, error) { return ok, errStore })
			if err := wants(t, p, inviteFrom(t, alice), ourFault); !errors.Is(err, errStore) {
				t.Errorf("error %v, want that of the callback", err)
			}
		}
	})
}

func TestInviteeExists(t *testing.T) {
	p := policy.InviteeExists(func(_ context.Context, userID string) (bool, error) { return userID == bob, nil })
	t.Run("a user of ours", func(t *testing.T) { wants(t, p, inviteFrom(t, alice), allowed) })
	for name, invitee := range map[string]string{
		"nobody": "@other:b.example", "the same name elsewhere": "@bob:c.example", "an Invite without invitee": "",
	} {
		t.Run(name, func(t *testing.T) {
			inv := inviteFrom(t, alice)
			inv.Invitee = invitee
			wants(t, p, inv, forbidden)
		})
	}
	t.Run("a failure is ours, whatever else exists says", func(t *testing.T) {
		for _, ok := range []bool{true, false} {
			p := policy.InviteeExists(func(context.Context, string) (bool, error) { return ok, errStore })
			if err := wants(t, p, inviteFrom(t, alice), ourFault); !errors.Is(err, errStore) {
				t.Errorf("error %v, want that of the callback", err)
			}
		}
	})
}
