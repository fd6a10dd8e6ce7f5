package interop

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"strings"
	"testing"
)

// testDeclinedByThem is column (d): a user of ours invites Synapse's user, who declines.
func testDeclinedByThem(ctx context.Context, t *testing.T, synapse *homeserver, ours *commandServer, bob client, version string) {
	invite := sendInvite(ctx, t, ours, bob, version, "Declined by Synapse in "+version)
	if err := bob.decline(ctx, invite.RoomID); err != nil {
		t.Fatalf("Synapse declining the invite: %v", err)
	}
	got := ours.awaitOutcome(t, invite.RoomID)
	stored, err := synapse.storedMember(ctx, ours.ca, invite.RoomID, bob.userID, "leave", synapse.name)
	if err != nil {
		t.Fatal(err)
	}
	checkEnding(t, got, outcome{
		Event:       "declined",
		Sender:      bob.userID,
		Invitee:     bob.userID,
		RoomID:      invite.RoomID,
		RoomVersion: version,
		EventID:     stored.EventID, // so Synapse did not make a leave of its own
	})
}

// testDeclinedByUs is column (e): Synapse's user invites a user of ours, who declines.
func testDeclinedByUs(ctx context.Context, t *testing.T, synapse *homeserver, ours *commandServer, alice client, version string) {
	guest := "@decliner:" + ours.name
	roomID := receiveInvite(ctx, t, ours, alice, version, guest)
	output, told, err := ours.decline(ctx, roomID, guest)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(told, synapse.name+" took the leave") {
		t.Errorf("decline says %q, not that Synapse took the leave", told)
	}
	membership, sender, err := alice.membership(ctx, roomID, guest)
	if err != nil || membership != "leave" || sender != guest {
		t.Errorf("in Synapse's room the user's membership is %q by %q (%v), want a leave by the user", membership, sender, err)
	}
	stored, err := synapse.storedMember(ctx, ours.ca, roomID, guest, "leave", ours.name)
	if err != nil {
		t.Fatal(err)
	}
	checkSame(t, output, stored, ours.name)
	if _, _, err := ours.decline(ctx, roomID, guest); err == nil {
		t.Error("the invite can be declined twice")
	}
}

// testTakenBackByThem is column (f): Synapse's user invites a user of ours and takes the
// invite back.
func testTakenBackByThem(ctx context.Context, t *testing.T, ours *commandServer, alice client, version string) {
	guest := "@unwanted:" + ours.name
	roomID := receiveInvite(ctx, t, ours, alice, version, guest)
	if err := alice.takeBack(ctx, roomID, guest); err != nil {
		t.Fatalf("Synapse taking the invite back: %v", err)
	}
	got := ours.awaitOutcome(t, roomID)
	if got.EventID == "" {
		t.Error("the line has no event ID")
	}
	checkEnding(t, got, outcome{
		Event:       "taken back",
		Sender:      alice.userID,
		Invitee:     guest,
		RoomID:      roomID,
		RoomVersion: version,
		EventID:     got.EventID,
	})
	if _, _, err := ours.decline(ctx, roomID, guest); err == nil {
		t.Error("the invite can be declined still")
	}
}

// testTakenBackByUs is column (g): a user of ours invites Synapse's user and takes the
// invite back.
func testTakenBackByUs(ctx context.Context, t *testing.T, synapse *homeserver, ours *commandServer, bob client, version string) {
	invite := sendInvite(ctx, t, ours, bob, version, "Taken back in "+version)
	output, err := ours.rescind(ctx, invite.RoomID, bob.userID)
	if err != nil {
		t.Fatal(err)
	}
	if err := bob.awaitNoInvite(ctx, invite.RoomID); err != nil {
		t.Fatal(err)
	}
	stored, err := synapse.storedMember(ctx, ours.ca, invite.RoomID, bob.userID, "leave", ours.name)
	if err != nil {
		t.Fatal(err)
	}
	checkSame(t, output, stored, ours.name)
}

// sendInvite invites Synapse's user, who gets to see it.
func sendInvite(ctx context.Context, t *testing.T, ours *commandServer, bob client, version, name string) event {
	t.Helper()
	output, err := ours.invite(ctx, version, name, bob.userID)
	if err != nil {
		t.Fatal(err)
	}
	var invite event
	if err := json.Unmarshal(output, &invite); err != nil {
		t.Fatalf("invite did not print an event: %v\n%s", err, output)
	}
	if _, err := bob.awaitInvite(ctx, invite.RoomID); err != nil {
		t.Fatal(err)
	}
	return invite
}

// receiveInvite has Synapse's user invite a user of ours into a new room.
func receiveInvite(ctx context.Context, t *testing.T, ours *commandServer, alice client, version, guest string) (roomID string) {
	t.Helper()
	roomID, err := alice.createRoom(ctx, version, "")
	if err != nil {
		t.Fatalf("Synapse creating the room: %v", err)
	}
	if err := alice.invite(ctx, roomID, guest); err != nil {
		t.Fatalf("Synapse sending the invite: %v", err)
	}
	if got := ours.awaitOutcome(t, roomID); got.Event != "invited" {
		t.Fatalf("not accepted: %+v", got)
	}
	return roomID
}

// checkEnding compares a line about the end of an invite with what it should be.
func checkEnding(t *testing.T, got, want outcome) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("serve printed %+v, want %+v", got, want)
	}
}

// checkSame makes sure that the event printed is the one that Synapse has stored: it
// bears the same signature.
func checkSame(t *testing.T, output []byte, stored storedMember, server string) {
	t.Helper()
	var printed event
	if err := json.Unmarshal(output, &printed); err != nil {
		t.Fatalf("no event was printed: %v\n%s", err, output)
	}
	if len(printed.Signatures[server]) == 0 || !maps.Equal(printed.Signatures[server], stored.Event.Signatures[server]) {
		t.Errorf("the event printed and the one stored differ in the signatures of %s: %v, %v",
			server, printed.Signatures[server], stored.Event.Signatures[server])
	}
}
