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
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// book: migrating.md
// newReceiver is called once, and takes the place of the endpoint that called HandleInvite.
func newReceiver(signer fedinvite.Signer, keys fedinvite.KeySource,
	membership func(ctx context.Context, roomID, userID string) (string, error),
	store func(ctx context.Context, e *fedinvite.Event, clientState []json.RawMessage) error,
) (*fedinvite.Receiver, error) {
	return fedinvite.NewReceiver(fedinvite.Config{
		Signer:      keyring.Signers(signer).Signer,           // KeyID, PrivateKey
		Keys:        keys,                                     // Verifier
		Credentials: xmatrix.Verifier{Keys: keys}.Credentials, // VerifyHTTPRequest
		Policy: func(ctx context.Context, inv *fedinvite.Invite) error { // MembershipQuerier
			switch m, err := membership(ctx, inv.Event.RoomID(), inv.Invitee); {
			case err != nil:
				return err
			case m == "join":
				return fedinvite.Refuse(fedinvite.CodeForbidden, "user is already joined to room")
			}
			return nil
		},
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
	State      [][]byte
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
	}
	for _, raw := range l.State {
		e, err := fedinvite.ParseStored(raw, rules)
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
	receiver, err := newReceiver(b.signer, b.ring, func(_ context.Context, _, userID string) (string, error) {
		if userID == joined {
			return "join", nil
		}
		return "", nil
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

	inviter, err := fedclient.NewInviter(fedclient.InviterConfig{
		Client: a.client, Keys: a.ring, Signer: a.local.Signer,
		Room: latestRoom(func(_ context.Context, wanted string, want []eventauth.StateKey) (latest, error) {
			room := a.db.rooms[wanted]
			if room == nil {
				return latest{}, nil
			}
			l := latest{RoomExists: true, Version: room.version, PrevIDs: []string{room.latest.ID()}, Depth: room.latest.Depth() + 1}
			for _, key := range want {
				if e := room.state[key]; e != nil {
					l.State = append(l.State, e.AppendJSON(nil))
				}
			}
			return l, nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
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
}
