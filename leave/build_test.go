package leave_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/leave"
)

// "event_id MUST NOT exceed the size limit for event IDs", 255 bytes, however long the name
// of the server.
func TestEventIDsOfServersWithLongNames(t *testing.T) {
	for _, n := range []int{209, 210, 211, 230, 252, 253} {
		t.Run(fmt.Sprintf("%d bytes", n), func(t *testing.T) {
			eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
				server := fedinvite.ServerName(strings.Repeat("b", n))
				user := "@b:" + string(server)
				if n == 253 {
					user = "@:" + string(server)
				}
				draft, d := declineDraft(rules), departure(rules)
				draft.Sender, draft.Invitee, d.UserID = user, user, user
				template, err := leave.NewTemplate(draft, serverA, rules)
				if err != nil {
					t.Fatal(err)
				}
				s := invitetest.Signer(server)
				signed, err := template.Sign(t.Context(), d, rules, s)
				if err != nil {
					t.Fatal(err)
				}
				local, err := leave.Local(t.Context(), newInvite(t, rules, func(d *fedinvite.Draft) { d.Invitee = user }), d, s)
				if err != nil {
					t.Fatal(err)
				}
				if rules.EventIDs != fedinvite.EventIDServer {
					return
				}
				for _, id := range []string{signed.ID(), local.ID()} {
					if want := min(255, 45+n); len(id) != want || !strings.HasSuffix(id, ":"+string(server)) {
						t.Errorf("event ID of %d bytes, want %d: %s", len(id), want, id)
					}
				}
			})
		})
	}
}
