package policy_test

import (
	"context"
	"errors"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/policy"
)

func TestOnePending(t *testing.T) {
	type entry struct{ room, invitee string }
	first, second := inviteFrom(t, alice), inviteFrom(t, "@carol:c.example")
	elsewhere := inviteTo(t, alice, "!hall:a.example")
	other := inviteFrom(t, alice)
	other.Invitee = "@other:b.example"
	isPending := map[entry]string{{room, bob}: first.Event.ID()}
	for _, c := range []struct {
		name    string
		pending map[entry]string
		invite  *fedinvite.Invite
		want    verdict
	}{
		{"none is pending", nil, first, allowed},
		{"a re-send of the pending invite", isPending, first, allowed},
		{"another invite of the same room and invitee", isPending, second, forbidden},
		{"of another room", isPending, elsewhere, allowed},
		{"of another invitee", isPending, other, allowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policy.OnePending(func(_ context.Context, roomID, invitee string) (string, error) {
				return c.pending[entry{roomID, invitee}], nil
			})
			wants(t, p, c.invite, c.want)
		})
	}
	t.Run("a failure is ours, whatever else pending says", func(t *testing.T) {
		for _, id := range []string{"", first.Event.ID(), "$other"} {
			p := policy.OnePending(func(context.Context, string, string) (string, error) { return id, errStore })
			if err := wants(t, p, first, ourFault); !errors.Is(err, errStore) {
				t.Errorf("error %v, want that of the callback", err)
			}
		}
	})
}
