package policy_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/policy"
)

const (
	alice = "@alice:a.example"
	bob   = "@bob:b.example"
	room  = "!room:a.example"
)

// rulesOf returns the rules of room version v.
func rulesOf(t testing.TB, v fedinvite.RoomVersion) fedinvite.Rules {
	t.Helper()
	rules, err := v.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

// inviteTo returns an invite from sender to bob for a room, as a Policy gets it. The
// room is of version 12 if its ID has no server, else of version 11.
func inviteTo(t testing.TB, sender, roomID string) *fedinvite.Invite {
	t.Helper()
	_, origin, err := fedinvite.ParseUserID(sender)
	if err != nil {
		t.Fatal(err)
	}
	v := fedinvite.RoomV11
	if !strings.Contains(roomID, ":") {
		v = fedinvite.RoomV12
	}
	event, err := fedinvite.NewInvite(t.Context(), fedinvite.Draft{
		RoomID: roomID, Sender: sender, Invitee: bob, Depth: 2, Time: time.UnixMilli(1_700_000_000_000),
	}, rulesOf(t, v), invitetest.Signer(origin))
	if err != nil {
		t.Fatal(err)
	}
	return &fedinvite.Invite{Origin: origin, Destination: "b.example", Invitee: bob, Event: event}
}

// inviteFrom is inviteTo for the usual room.
func inviteFrom(t testing.TB, sender string) *fedinvite.Invite {
	t.Helper()
	return inviteTo(t, sender, room)
}

// A verdict is what the peer is told; the zero verdict lets the invite through.
type verdict struct {
	Status int
	Code   fedinvite.Code
}

var (
	allowed   = verdict{}
	forbidden = verdict{http.StatusForbidden, fedinvite.CodeForbidden}
	blocked   = verdict{http.StatusForbidden, fedinvite.CodeInviteBlocked}
	ourFault  = verdict{http.StatusInternalServerError, fedinvite.CodeUnknown}
)

func verdictOf(err error) verdict {
	if err == nil {
		return allowed
	}
	e := fedinvite.WireError(err)
	return verdict{e.Status, e.Code}
}

// wants asks p about inv and returns the error.
func wants(t testing.TB, p policy.Policy, inv *fedinvite.Invite, want verdict) error {
	t.Helper()
	err := p(t.Context(), inv)
	if got := verdictOf(err); got != want {
		t.Errorf("answer %v (%v), want %v", got, err, want)
	}
	return err
}

var errStore = errors.New("the store is down")

func allow(context.Context, *fedinvite.Invite) error { return nil }

func refuse(message string) policy.Policy {
	return func(context.Context, *fedinvite.Invite) error {
		return fedinvite.Refuse(fedinvite.CodeForbidden, message)
	}
}
