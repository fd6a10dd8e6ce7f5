package invitetest_test

import (
	"bytes"
	"context"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

const (
	attackerName = fedinvite.ServerName("peer.example")
	victimName   = fedinvite.ServerName("mine.example")
	victimUser   = "@bob:mine.example"
)

// realTarget is the library itself as the server under test: a Receiver and an Inviter.
func realTarget(t *testing.T) invitetest.Target {
	peer := invitetest.NewServer(t, attackerName)
	peer.IntroduceHandler(victimName, fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }))
	return invitetest.Target{Name: victimName, Invitee: victimUser, Peer: peer, Invite: realInvite(peer)}
}

// realInvite invites by a fedclient.Inviter and sends the event on to the peer, as if that
// were in the room.
func realInvite(peer *invitetest.Server) func(context.Context, fedinvite.RoomVersion, string) error {
	return func(ctx context.Context, v fedinvite.RoomVersion, guest string) error {
		room := invitetest.NewRoom(v, victimUser)
		client := peer.Client()
		inviter, err := fedclient.NewInviter(fedclient.InviterConfig{
			Client: client, Keys: peer.Keys(), Room: room, Now: time.Now,
			Signer: keyring.Signers(invitetest.Signer(victimName)).Signer,
		})
		if err != nil {
			return err
		}
		invited, err := inviter.Invite(ctx, fedclient.Invitation{RoomID: room.ID(), Sender: victimUser, Invitee: guest})
		if err != nil {
			return err
		}
		return sendOn(ctx, peer, invited.Event)
	}
}

// sendOn sends an event to the peer in a transaction.
func sendOn(ctx context.Context, peer *invitetest.Server, e *fedinvite.Event) error {
	_, err := peer.Client().SendTransaction(ctx, fedclient.Transaction{
		ID: e.ID(), Destination: peer.Name(), Events: []*fedinvite.Event{e}, Time: time.Now(), Signer: invitetest.Signer(victimName),
	})
	return err
}

func TestRealOnesWithstandAttacks(t *testing.T) {
	t.Parallel()
	target := realTarget(t)
	for r := range invitetest.Results(t.Context(), target, hostile()...) {
		t.Run(r.Name, func(t *testing.T) {
			if r.Outcome != invitetest.Passed || r.Detail != "" {
				t.Errorf("%v: %s", r.Outcome, r.Detail)
			}
		})
	}
}

// hostile returns the attacks that a peer makes. Further checks are attacks because of what
// it means to fail them.
func hostile() []invitetest.Check {
	return slices.DeleteFunc(invitetest.Attacks(), func(c invitetest.Check) bool { return !strings.HasPrefix(c.Name, "attack/") })
}

// outcomes are those of some attacks; no names: of all.
func outcomes(t *testing.T, target invitetest.Target, names ...string) map[string]invitetest.Result {
	t.Helper()
	all := map[string]invitetest.Result{}
	for _, c := range hostile() {
		if name := strings.TrimPrefix(c.Name, "attack/"); len(names) == 0 || slices.Contains(names, name) {
			all[name] = c.Run(t.Context(), target)
		}
	}
	return all
}

// That attacks fail says nothing of a server to which everything fails.
func TestNothingIsSaidOfAServerThatRefusesEverything(t *testing.T) {
	peer := invitetest.NewServer(t, attackerName)
	peer.Introduce(victimName, http.NotFoundHandler())
	target := invitetest.Target{Name: victimName, Invitee: victimUser, Peer: peer}
	target.Invite = func(ctx context.Context, v fedinvite.RoomVersion, guest string) error {
		room := invitetest.NewRoom(v, victimUser)
		_, _, _ = peer.Send(ctx, room.Request(room.Invite(guest), attackerName))
		return errRefused
	}
	for name, r := range outcomes(t, target) {
		if r.Outcome != invitetest.Unknown {
			t.Errorf("%s: %v: %s", name, r.Outcome, r.Detail)
		}
	}
}

func TestWhatCannotBeTriedIsSkipped(t *testing.T) {
	peer := invitetest.NewServer(t, attackerName)
	onlyPeer := func(c *fedinvite.Config) {
		c.Keys = invitetest.Keys(attackerName)
		c.Credentials = xmatrix.Verifier{Keys: c.Keys, Now: time.Now}.Credentials
	}
	peer.IntroduceHandler(victimName, fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }), onlyPeer)
	all := outcomes(t, invitetest.Target{
		Name: victimName, Invitee: victimUser, Peer: peer, Versions: []fedinvite.RoomVersion{fedinvite.RoomV1},
	}, "two-origins", "room-state", "reply-unsigned", "sender-elsewhere")
	for name, want := range map[string]string{
		"two-origins":    "second server",            // which it does not find
		"room-state":     "no room version",          // only in 12
		"reply-unsigned": "Target.Invite is not set", // it cannot be made to invite
	} {
		if r := all[name]; r.Outcome != invitetest.Skipped || !strings.Contains(r.Detail, want) {
			t.Errorf("%s: %v: %s", name, r.Outcome, r.Detail)
		}
	}
	if r := all["sender-elsewhere"]; r.Outcome != invitetest.Passed || !strings.Contains(r.Detail, "could not be tried") {
		t.Errorf("%v: %s", r.Outcome, r.Detail)
	}
}

func TestAttackNamesAreUnique(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range hostile() {
		if seen[c.Name] || !c.Attack || c.Sentence == "" || c.Link == "" || c.Level == 0 {
			t.Errorf("%+v", c)
		}
		seen[c.Name] = true
	}
	for attack, tries := range invitetest.Tries() {
		slices.Sort(tries)
		if n := len(slices.Compact(slices.Clone(tries))); n != len(tries) {
			t.Errorf("%s: two tries of one name", attack)
		}
	}
}

// A peer that is in no network of names is found by its address, and so are the others.
func TestAttacksByAPeerThatIsNamedByItsAddress(t *testing.T) {
	peer := invitetest.NewServer(t, "")
	peer.IntroduceHandler(victimName, fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }))
	target := invitetest.Target{Name: victimName, Invitee: victimUser, Peer: peer, Invite: realInvite(peer)}
	for name, r := range outcomes(t, target, "two-origins", "old-event-key", "key-requests", "weak-key", "reply-unsigned") {
		want := invitetest.Passed
		if name == "weak-key" {
			want = invitetest.Skipped // it is published by hand, for a name
		}
		if r.Outcome != want || want == invitetest.Passed && r.Detail != "" {
			t.Errorf("%s: %v: %s", name, r.Outcome, r.Detail)
		}
	}
}

// A server that has refused a bomb must be there afterwards.
func TestBombsAreFollowedByAnInviteThatIsInOrder(t *testing.T) {
	s := newStage(t)
	var broken atomic.Bool
	s.wrap = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken.Load() {
				http.Error(w, "out of memory", http.StatusInternalServerError)
				return
			}
			broken.Store(r.ContentLength > 60_000)
			h.ServeHTTP(w, r)
		})
	}
	r := s.try(t, "large-event", "65537 bytes")
	if r.Outcome != invitetest.Departed || !strings.Contains(r.Detail, "afterwards") {
		t.Errorf("%v: %s", r.Outcome, r.Detail)
	}
}

// An error alone does not save who invites: it has to come, and nothing else before it.
func TestWhoInvitesHasToEndAndToSendNothingOn(t *testing.T) {
	peer := invitetest.NewServer(t, attackerName)
	peer.Introduce(victimName, invitetest.WithKeys(http.NotFoundHandler(), invitetest.Signer(victimName)))
	target := invitetest.Target{Name: victimName, Invitee: victimUser, Peer: peer, Timeout: 100 * time.Millisecond}
	for want, badly := range map[string]func(ctx context.Context, sent *fedinvite.Event) error{
		"come to an end": func(ctx context.Context, _ *fedinvite.Event) error {
			<-ctx.Done()
			return ctx.Err()
		},
		"sends the event on": func(ctx context.Context, sent *fedinvite.Event) error {
			_ = sendOn(ctx, peer, sent)
			return errRefused
		},
	} {
		target.Invite = func(ctx context.Context, v fedinvite.RoomVersion, guest string) error {
			room := invitetest.NewRoom(v, victimUser)
			sent := room.Invite(guest)
			_, answer, err := peer.Send(ctx, room.Request(sent, attackerName))
			if err != nil || bytes.Contains(answer, []byte(`"peer.example":{`)) {
				return err // signed by the peer, as it should
			}
			return badly(ctx, sent)
		}
		r := invitetest.Try(t.Context(), target, "reply-unsigned", "no signature of the peer")
		if r.Outcome != invitetest.Departed || !strings.Contains(r.Detail, want) {
			t.Errorf("%v: %s, want %q", r.Outcome, r.Detail, want)
		}
	}
}
