package docs_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// book: migrating.md
// newReceiver is called once, and takes the place of the endpoint that called HandleInvite.
func newReceiver(signer fedinvite.Signer, keys fedinvite.KeySource,
	membership func(ctx context.Context, roomID, userID string) (membership, inviteID string, err error),
	store func(ctx context.Context, e *fedinvite.Event, clientState []json.RawMessage) error,
) (*fedinvite.Receiver, error) {
	return fedinvite.NewReceiver(fedinvite.Config{
		Signer:      keyring.Signers(signer).Signer,           // KeyID, PrivateKey
		Keys:        keys,                                     // Verifier
		Credentials: xmatrix.Verifier{Keys: keys}.Credentials, // VerifyHTTPRequest
		Policy:      outside(membership),                      // MembershipQuerier; outside is that of receive.md
		Handler: fedinvite.HandlerFunc(func(ctx context.Context, inv *fedinvite.Invite) error {
			// What HandleInvite returned, but for the room state in unsigned.
			return store(context.WithoutCancel(ctx), inv.Event, inv.RoomState.Client())
		}),
	})
}

// book: end

// book: migrating.md
// A latest is what your GetLatestEvents finds, with events as their JSON.
type latest struct {
	RoomExists bool
	Version    fedinvite.RoomVersion
	State      map[eventauth.StateKey][]byte
	Servers    map[fedinvite.ServerName]bool // that have a joined user
	PrevIDs    []string
	Depth      int64
}

// A latestRoom is a fedclient.Room made of that function.
type latestRoom func(ctx context.Context, roomID string, want []eventauth.StateKey) (latest, error)

func (f latestRoom) Snapshot(ctx context.Context, roomID string, want []eventauth.StateKey) (*fedclient.Snapshot, error) {
	l, err := f(ctx, roomID, want)
	if err != nil {
		return nil, err
	}
	if !l.RoomExists {
		return nil, fedinvite.Refuse(fedinvite.CodeForbidden, "This server is not in the room.")
	}
	rules, err := l.Version.Rules()
	if err != nil {
		return nil, err
	}
	snapshot := &fedclient.Snapshot{
		Version: l.Version,
		Depth:   l.Depth - 1, // theirs is that of the new event, ours that of the extremities
		Joined:  func(server fedinvite.ServerName) bool { return l.Servers[server] },
	}
	for _, key := range want {
		raw := l.State[key]
		if raw == nil {
			continue
		}
		e, err := fedinvite.ParseStored(raw, rules)
		if err != nil && shownOnly(key.Type) {
			continue
		}
		if err != nil {
			return nil, err
		}
		snapshot.State = append(snapshot.State, e)
	}
	for _, id := range l.PrevIDs {
		snapshot.Extremities = append(snapshot.Extremities, fedinvite.EventRef{ID: id}) // since version 3; before, with the hash
	}
	return snapshot, nil
}

// shownOnly says of what describes the room only that an invite can do without it.
func shownOnly(eventType string) bool {
	switch eventType {
	case "m.room.name", "m.room.topic", "m.room.avatar", "m.room.canonical_alias":
		return true
	}
	return false
}

// book: end

// book: migrating.md
// performInvite takes the place of PerformInvite.
func performInvite(ctx context.Context, inviter *fedclient.Inviter, roomID, sender, invitee, displayName string, at time.Time) (*fedinvite.Event, error) {
	content, err := json.Marshal(map[string]string{"displayname": displayName}) // EventTemplate.Content
	if err != nil {
		return nil, err
	}
	invited, err := inviter.Invite(ctx, fedclient.Invitation{
		RoomID: roomID, Sender: sender, Invitee: invitee, Content: content, Time: at,
	})
	if err != nil {
		return nil, fedclient.ClientError(err) // for the client, as PerformInvite's errors were
	}
	return invited.Event, nil
}

// book: end

func TestMigratedReceiverAndInviter(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	roomID, alice := a.newRoom(t)
	bob, joined := b.user("bob"), b.user("joined")

	var stored *fedinvite.Event
	var state []json.RawMessage
	in, led := joined, "" // who is joined, by which invite
	receiver, err := newReceiver(b.signer, b.ring, func(_ context.Context, _, userID string) (membership, inviteID string, err error) {
		if userID == in {
			return "join", led, nil
		}
		return "", "", nil
	}, func(_ context.Context, e *fedinvite.Event, clientState []json.RawMessage) error {
		stored, state = e, clientState
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	mux, err := b.routes(b.config)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("PUT /_matrix/federation/v2/invite/{roomId}/{eventId}", receiver)
	b.handler = mux

	inviter := migratedInviter(t, a, nil)
	e, err := performInvite(t.Context(), inviter, roomID, alice, bob, "Bob", eventTime)
	if err != nil {
		t.Fatal(err)
	}
	if stored == nil || stored.ID() != e.ID() || len(state) == 0 {
		t.Fatalf("stored %v with %d entries of room state", stored, len(state))
	}
	if got, want := e.Depth(), a.db.rooms[roomID].latest.Depth()+1; got != want {
		t.Errorf("depth %d, want %d", got, want)
	}
	if diff := cmp.Diff([]string{a.db.rooms[roomID].latest.ID()}, e.PrevEventIDs()); diff != "" {
		t.Errorf("prev_events -want +got:\n%s", diff)
	}
	if !strings.Contains(string(e.Content()), `"displayname":"Bob"`) || !e.OriginServerTS().Equal(eventTime) {
		t.Errorf("%s at %v", e.Content(), e.OriginServerTS())
	}
	_, err = performInvite(t.Context(), inviter, roomID, alice, joined, "", eventTime)
	wantRefusal(t, err, fedinvite.CodeForbidden)
	_, err = performInvite(t.Context(), inviter, "!other:a.example", alice, bob, "", eventTime)
	wantRefusal(t, err, fedinvite.CodeForbidden)

	in, led = bob, e.ID()
	if err := resend(t, a, b, e); err != nil {
		t.Errorf("sent again, because the answer got lost, when bob has joined: %v", err)
	}
}

// migratedInviter has an Inviter over the store of h, of which change may change what is found.
func migratedInviter(t *testing.T, h *homeserver, change func(*latest)) *fedclient.Inviter {
	t.Helper()
	inviter, err := fedclient.NewInviter(fedclient.InviterConfig{
		Client: h.client, Keys: h.ring, Signer: h.local.Signer,
		Room: latestRoom(func(_ context.Context, wanted string, want []eventauth.StateKey) (latest, error) {
			room := h.db.rooms[wanted]
			if room == nil {
				return latest{}, nil
			}
			l := latest{
				RoomExists: true, Version: room.version, State: map[eventauth.StateKey][]byte{},
				Servers: map[fedinvite.ServerName]bool{h.signer.ServerName(): true},
				PrevIDs: []string{room.latest.ID()}, Depth: room.latest.Depth() + 1,
			}
			for _, key := range want {
				if e := room.state[key]; e != nil {
					l.State[key] = e.AppendJSON(nil)
				}
			}
			if change != nil {
				change(&l)
			}
			return l, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return inviter
}

// The other library takes such events in; they are in its users' stores.
func TestMigratedStateThatCannotBeRead(t *testing.T) {
	for eventType, works := range map[string]bool{"m.room.name": true, "m.room.power_levels": false} {
		hosts := newNetwork(t, 2)
		a, b := hosts[0], hosts[1]
		roomID, alice := a.newRoom(t)
		inviter := migratedInviter(t, a, func(l *latest) {
			l.State[eventauth.StateKey{Type: eventType}] = []byte(`{"type":"` + eventType + `","state_key":"","content":{"a":1,"a":2}}`)
		})
		if _, err := performInvite(t.Context(), inviter, roomID, alice, b.user("bob"), "", time.Now()); (err == nil) != works {
			t.Errorf("%s: %v", eventType, err)
		}
	}
}

// A policy server counts if a user of it is joined, which the snapshot has to tell.
func TestMigratedRoomWithAPolicyServer(t *testing.T) {
	hosts := newNetwork(t, 2)
	a, b := hosts[0], hosts[1]
	room := invitetest.NewRoom(fedinvite.RoomV11, a.user("alice"))
	room.PolicyServer(invitetest.Signer("policy.example"))
	a.keep(t, room)
	if _, err := performInvite(t.Context(), migratedInviter(t, a, nil), room.ID(), room.Creator(), b.user("bob"), "", time.Now()); err != nil {
		t.Errorf("a policy server of which nobody is joined: %v", err)
	}
}
