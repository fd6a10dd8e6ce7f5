package homeserver

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// departures are where the homeserver departs from what it should do, and why.
var departures = map[string]string{
	"receive/unsigned-kept": "nobody vouches for unsigned, which is therefore neither kept nor returned",
	"auth/no-destination":   "a server with several names cannot know which of them is meant",
	"state/v12-stripped":    "older servers strip all but the create event",
	"state/v12-signature":   "nor are the other events checked, which might as well be stripped",
	"state/v12-other-room":  "those of other rooms are left out, and that is all",
}

// The checks are made by several servers in turns, to several users, from many addresses:
// there are limits on rates.
func TestConformance(t *testing.T) {
	const name = fedinvite.ServerName("mine.example")
	n := invitetest.NewNetwork(t)
	db := newDatabase()
	h, err := New(db, n.Transport(), nil, invitetest.Signer(name), invitetest.Signer("also.mine.example"))
	if err != nil {
		t.Fatal(err)
	}
	var requests atomic.Int32
	target := invitetest.Target{
		Name: name, Invitee: "@bob:mine.example", Blocking: "@private:mine.example",
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			i := requests.Add(1)
			r.RemoteAddr = fmt.Sprintf("192.0.%d.%d:1234", i/256, i%256)
			h.ServeHTTP(w, r)
		}),
		Invite: func(ctx context.Context, version fedinvite.RoomVersion, invitee string) error {
			return inviteFromNewRoom(ctx, h, version, invitee)
		},
	}
	for i := range 10 {
		target.Invitees = append(target.Invitees, fmt.Sprintf("@bob-%d:mine.example", i))
	}
	for _, user := range append(target.Invitees, target.Invitee, target.Blocking) {
		db.users[user] = true
	}
	db.permissions[target.Blocking] = json.RawMessage(`{"default_action":"block"}`)

	checks := slices.DeleteFunc(invitetest.Checks(), func(c invitetest.Check) bool { return c.Attack })
	i := 0
	for some := range slices.Chunk(checks, 8) {
		i++
		target.Peer = n.NewServer(t, fedinvite.ServerName(fmt.Sprintf("peer-%d.example", i)))
		for r := range invitetest.Results(t.Context(), target, some...) {
			_, departs := departures[r.Name]
			switch {
			case r.Outcome == invitetest.Skipped && r.Name == "keys/old-keys":
			case departs != (r.Outcome == invitetest.Departed) || !departs && r.Outcome != invitetest.Passed:
				t.Error(r)
			}
		}
	}
}

// inviteFromNewRoom has a user invite somebody to a room that was just made.
func inviteFromNewRoom(ctx context.Context, h *Server, version fedinvite.RoomVersion, invitee string) error {
	const carol = "@carol:mine.example"
	room := invitetest.NewRoom(version, carol)
	room.Name("Tea")
	for _, e := range room.Events() {
		if err := h.db.addEvent(ctx, e); err != nil {
			return err
		}
	}
	return h.Invite(ctx, room.ID(), carol, invitee, nil)
}
