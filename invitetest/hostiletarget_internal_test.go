package invitetest

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A fault of the suite is no departure of the target, and ends no other check.
func TestAPanicOfACheckIsUnknown(t *testing.T) {
	s := &session{target: Target{Name: "mine.example"}}
	r := s.try(context.Background(), Check{Name: "a/b", Level: Must, run: func(*probe) { panic("here") }})
	if r.Outcome != Unknown || !strings.Contains(r.Detail, "here") {
		t.Error(r)
	}
}

// Whoever is sent very many invites keeps the last of them, and waits for those only.
func TestInvitesAreForgottenIfTheyAreVeryMany(t *testing.T) {
	room := NewRoom(fedinvite.RoomV11, "@alice:peer.example")
	large := fedinvite.RoomState{}
	for range 200 {
		large.Events = append(large.Events, fedinvite.StateEvent{Content: make([]byte, 60_000)})
	}
	var l inviteLog
	var last *fedinvite.Invite
	for range 20 {
		last = &fedinvite.Invite{Invitee: "@bob:mine.example", Event: room.Invite("@bob:mine.example"), RoomState: large}
		l.add(last)
		l.next("@carol:mine.example") // all are skipped
	}
	if n := len(l.all); n != maxInvites/costOf(last) || len(l.skipped) != n || l.awaited != n || l.total > maxInvites || l.all[n-1] != last {
		t.Errorf("%d are kept, %d skipped, %d awaited, %d bytes", n, len(l.skipped), l.awaited, l.total)
	}
	if len(l.held) != 1 {
		t.Errorf("%d are held", len(l.held))
	}
}

// Connections that are too many are closed, until others have ended.
func TestConnectionsAreLimited(t *testing.T) {
	s := NewServer(t, "")
	dial := func() net.Conn {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", string(s.Name()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	for range maxConnections {
		dial()
	}
	one := dial()
	if _, err := one.Read(make([]byte, 1)); !errors.Is(err, io.EOF) && !strings.Contains(err.Error(), "reset") {
		t.Error(err)
	}
	if s.host.server.IdleTimeout == 0 || s.host.server.WriteTimeout == 0 {
		t.Error("connections may last for ever")
	}
}
