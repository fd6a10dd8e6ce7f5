package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/policy"
)

// A host is a Receiver for b.example that counts what it does.
type host struct {
	receiver               *fedinvite.Receiver
	keys                   fedinvite.KeyMap
	asked, signed, handled int
	told                   error // by the Done hook
}

func newHost(t *testing.T, p policy.Policy) *host {
	t.Helper()
	h := &host{keys: fedinvite.KeyMap{}}
	ours := &countingSigner{invitetest.Signer("b.example"), &h.signed}
	var err error
	h.receiver, err = fedinvite.NewReceiver(fedinvite.Config{
		Signer: func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return ours, nil },
		Keys:   h,
		Handler: fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error {
			h.handled++
			return nil
		}),
		Policy: p,
		Done:   func(_ context.Context, _ *fedinvite.Delivery, _ *fedinvite.Invite, err error) { h.told = err },
	})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// VerifyKey counts how often a key is needed.
func (h *host) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	h.asked++
	return h.keys.VerifyKey(ctx, server, id, at)
}

type countingSigner struct {
	fedinvite.Signer
	n *int
}

func (s *countingSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	*s.n++
	return s.Signer.Sign(ctx, message)
}

// receive delivers the event of inv.
func (h *host) receive(t *testing.T, inv *fedinvite.Invite) error {
	t.Helper()
	h.keys.Add(invitetest.Signer(inv.Origin))
	res, err := h.receiver.Receive(t.Context(), fedinvite.Delivery{
		Origin: inv.Origin, Destination: inv.Destination, RoomID: inv.Event.RoomID(), EventID: inv.Event.ID(),
		Request: fedinvite.Request{RoomVersion: inv.Event.Rules().Version, Event: inv.Event.AppendJSON(nil)},
	})
	if (res == nil) != (err != nil) {
		t.Errorf("response %v and error %v", res, err)
	}
	return err
}

// A chain of all policies, as a homeserver has it, over real deliveries.
func TestReceiver(t *testing.T) {
	const pendingRoom = "!pending:a.example"
	chain := policy.Chain(
		policy.InviteeExists(func(_ context.Context, userID string) (bool, error) { return userID == bob, nil }),
		policy.BlockServers("evil.example", "*.evil.example"),
		policy.BlockUsers("@spam*:*"),
		policy.BlockRooms("!bad:*"),
		policy.KnownServers(func(_ context.Context, server fedinvite.ServerName) (bool, error) {
			return strings.HasSuffix(string(server), ".example"), nil
		}),
		policy.KnownUsers(func(_ context.Context, invitee, sender string) (bool, error) {
			return invitee == bob && sender != "@stranger:a.example", nil
		}),
		policy.InvitePermission(func(_ context.Context, userID string) (json.RawMessage, error) {
			return json.RawMessage(`{"default_action":"allow"}`), nil
		}),
		policy.OnePending(func(_ context.Context, _ fedinvite.ServerName, roomID, _ string) (string, error) {
			if roomID == pendingRoom {
				return "$pending", nil
			}
			return "", nil
		}),
	)
	for _, c := range []struct {
		name   string
		policy policy.Policy
		invite *fedinvite.Invite
		want   verdict
	}{
		{"allowed", chain, inviteFrom(t, alice), allowed},
		{"an empty chain", policy.Chain(), inviteFrom(t, alice), allowed},
		{"no policy", nil, inviteFrom(t, alice), allowed},
		{"blocked server", chain, inviteFrom(t, "@x:evil.example"), forbidden},
		{"blocked server by case and port", chain, inviteFrom(t, "@x:EVIL.example:8448"), forbidden},
		{"blocked user", chain, inviteFrom(t, "@spam1:a.example"), forbidden},
		{"blocked room", chain, inviteTo(t, alice, "!bad:a.example"), forbidden},
		{"unknown server", chain, inviteFrom(t, "@x:a.test"), forbidden},
		{"unknown user", chain, inviteFrom(t, "@stranger:a.example"), forbidden},
		{"pending", chain, inviteTo(t, alice, pendingRoom), forbidden},
		{"no such invitee", policy.InviteeExists(func(context.Context, string) (bool, error) { return false, nil }), inviteFrom(t, alice), forbidden},
		{"the invitee blocks invites", permission(`{"default_action":"block"}`), inviteFrom(t, alice), blocked},
		{"missing callback", policy.KnownUsers(nil), inviteFrom(t, alice), ourFault},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newHost(t, c.policy)
			err := h.receive(t, c.invite)
			if got := verdictOf(err); got != c.want {
				t.Errorf("answer %v (%v), want %v", got, err, c.want)
			}
			if !errors.Is(h.told, err) {
				t.Errorf("Done got %v, want %v", h.told, err)
			}
			want := 1
			if c.want != allowed {
				want = 0
			}
			if h.asked != want || h.signed != want || h.handled != want {
				t.Errorf("asked for %d keys, signed %d times, handled %d invites; want %d of each", h.asked, h.signed, h.handled, want)
			}
		})
	}
}
