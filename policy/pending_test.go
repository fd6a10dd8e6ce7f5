package policy_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/policy"
)

func TestOnePending(t *testing.T) {
	for version, roomID := range map[string]string{"11": room, "12": "!Aa_" + strings.Repeat("x", 40)} {
		t.Run("v"+version, func(t *testing.T) { testOnePending(t, roomID) })
	}
}

func testOnePending(t *testing.T, roomID string) {
	type entry struct {
		origin        fedinvite.ServerName
		room, invitee string
	}
	first, second := inviteTo(t, alice, roomID), inviteTo(t, "@carol:a.example", roomID)
	another := inviteTo(t, "@mallory:c.example", roomID)
	elsewhere := inviteTo(t, alice, "!hall:a.example")
	other := inviteTo(t, alice, roomID)
	other.Invitee = "@other:b.example"
	isPending := map[entry]string{{"a.example", roomID, bob}: first.Event.ID()}
	for _, c := range []struct {
		name    string
		pending map[entry]string
		invite  *fedinvite.Invite
		want    verdict
	}{
		{"none is pending", nil, first, allowed},
		{"a re-send of the pending invite", isPending, first, allowed},
		{"another invite of the same server, room and invitee", isPending, second, forbidden},
		{"the invite of one server does not stand in the way of another's", isPending, another, allowed},
		{"of another room", isPending, elsewhere, allowed},
		{"of another invitee", isPending, other, allowed},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := policy.OnePending(func(_ context.Context, origin fedinvite.ServerName, roomID, invitee string) (string, error) {
				return c.pending[entry{origin, roomID, invitee}], nil
			})
			wants(t, p, c.invite, c.want)
		})
	}
	t.Run("a failure is ours, whatever else pending says", func(t *testing.T) {
		for _, id := range []string{"", first.Event.ID(), "$other"} {
			p := policy.OnePending(func(context.Context, fedinvite.ServerName, string, string) (string, error) { return id, errStore })
			if err := wants(t, p, first, ourFault); !errors.Is(err, errStore) {
				t.Errorf("error %v, want that of the callback", err)
			}
		}
	})
}
