package fedclient_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/internal/testkey"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A homeserver is everything together: it publishes its keys, looks up those of
// others, and sends and receives invites, by HTTPS on the loopback interface.
type homeserver struct {
	signer fedinvite.Signer
	client *fedclient.Client
	ring   *keyring.Ring

	mu       sync.Mutex
	requests map[string]int // by the start of the path
	invites  []*fedinvite.Invite
}

func newHomeserver(t *testing.T) *homeserver {
	t.Helper()
	h := &homeserver{requests: map[string]int{}}
	mux := http.NewServeMux()
	name, transport := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.mu.Lock()
		h.requests[r.URL.Path[:len("/_matrix/key/")]]++
		h.mu.Unlock()
		mux.ServeHTTP(w, r)
	}))
	h.signer = testkey.Signer(t, name, "ed25519:1")
	h.client = newClient(t, transport)
	local := keyring.Signers(h.signer)
	var err error
	if h.ring, err = keyring.New(keyring.Config{Fetcher: h.client, Now: time.Now, Local: local}); err != nil {
		t.Fatal(err)
	}
	publisher, err := keyring.NewPublishHandler(keyring.PublishConfig{Local: local, Now: time.Now})
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer: func(_ context.Context, server fedinvite.ServerName) (fedinvite.Signer, error) {
			if server != name {
				return nil, fedinvite.ErrNotLocal
			}
			return h.signer, nil
		},
		Keys:        h.ring,
		Credentials: xmatrix.Verifier{Keys: h.ring, Now: time.Now}.Credentials,
		Handler: fedinvite.HandlerFunc(func(_ context.Context, inv *fedinvite.Invite) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.invites = append(h.invites, inv)
			return nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/_matrix/key/v2/", publisher)
	mux.Handle("/_matrix/federation/", receiver)
	return h
}

func (h *homeserver) user(localpart string) string {
	return "@" + localpart + ":" + string(h.signer.ServerName())
}

// room returns the ID of a new room and its create event.
func (h *homeserver) room(t *testing.T, rules fedinvite.Rules) (string, json.RawMessage) {
	t.Helper()
	id := "!r:" + string(h.signer.ServerName())
	members := map[string]any{
		"type": "m.room.create", "state_key": "", "sender": h.user("a"), "depth": 1, "origin_server_ts": time.Now().UnixMilli(),
		"content": map[string]any{"room_version": rules.Version}, "auth_events": []any{}, "prev_events": []any{},
	}
	if !rules.RoomIDIsCreateEvent {
		members["room_id"] = id
	}
	if rules.EventIDs == fedinvite.EventIDServer {
		members["event_id"] = "$create:" + string(h.signer.ServerName())
	}
	raw, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	if raw, err = fedinvite.SignEventJSON(t.Context(), raw, rules, h.signer); err != nil {
		t.Fatal(err)
	}
	create, err := fedinvite.ParseEvent(raw, rules)
	if err != nil {
		t.Fatal(err)
	}
	return create.RoomID(), raw
}

func TestOneServerInvitesAUserOfAnother(t *testing.T) {
	a, b := newHomeserver(t), newHomeserver(t)
	for _, version := range fedinvite.RoomVersions() {
		t.Run(string(version), func(t *testing.T) {
			rules := rulesOf(t, version)
			room, create := a.room(t, rules)
			event, err := fedinvite.NewInvite(t.Context(), fedinvite.Draft{
				RoomID: room, Sender: a.user("a"), Invitee: b.user("b"), Depth: 2, Time: time.Now(),
			}, rules, a.signer)
			if err != nil {
				t.Fatal(err)
			}
			reply, err := a.client.SendInvite(t.Context(), fedclient.InviteRequest{
				Event: event, RoomState: []json.RawMessage{create}, Signer: a.signer, Keys: a.ring,
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := reply.Event.Verify(t.Context(), a.ring, b.signer.ServerName()); err != nil {
				t.Error(err)
			}
			got := b.invites[len(b.invites)-1]
			if got.Event.ID() != event.ID() || got.Invitee != b.user("b") || len(got.RoomState.Events) != 1 {
				t.Errorf("got %+v", got)
			}
		})
	}
	for _, h := range []*homeserver{a, b} {
		if n := h.requests["/_matrix/key/"]; n != 1 {
			t.Errorf("the keys of %s were fetched %d times", h.signer.ServerName(), n)
		}
	}
}

func TestAForgedOriginIsRefused(t *testing.T) {
	a, b := newHomeserver(t), newHomeserver(t)
	rules := rulesOf(t, fedinvite.RoomV11)
	forger, err := fedinvite.NewSigner(a.signer.ServerName(), "ed25519:1", newKey(t, "evil"))
	if err != nil {
		t.Fatal(err)
	}
	event, err := fedinvite.NewInvite(t.Context(), fedinvite.Draft{
		RoomID: "!r:" + string(a.signer.ServerName()), Sender: a.user("a"), Invitee: b.user("b"), Depth: 2, Time: time.Now(),
	}, rules, forger)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.client.SendInvite(t.Context(), fedclient.InviteRequest{Event: event, Signer: forger, Keys: a.ring})
	var remote *fedclient.RemoteError
	if !errors.As(err, &remote) || remote.Status != 401 || remote.Code != fedinvite.CodeUnauthorized {
		t.Errorf("got %v", err)
	}
	if len(b.invites) > 0 {
		t.Error("the invite was taken")
	}
}
