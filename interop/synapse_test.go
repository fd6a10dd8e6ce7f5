package interop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"
	"text/tabwriter"
	"time"
)

// knownVersions are the room versions that fedinvite knows.
var knownVersions = []string{"1", "2", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12"}

// row is the verdict on one room version, column by column; see README.md for
// what each of them means.
type row struct {
	version string
	columns [len(columns)]string
}

// columns are what is tried in each room version, in this order.
var columns = [...]struct{ title, name string }{
	{"(a) received", "received"},
	{"(b) sent", "sent"},
	{"(c) refused", "refused"},
	{"(d) declined by them", "declined by them"},
	{"(e) declined by us", "declined by us"},
	{"(f) taken back by them", "taken back by them"},
	{"(g) taken back by us", "taken back by us"},
}

// TestSynapse has Synapse and fedinvite invite each other's users in every room
// version that both know.
func TestSynapse(t *testing.T) {
	// End in time to stop the servers and show their logs.
	ctx := t.Context()
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-2*stopTimeout))
		defer cancel()
	}
	dir := t.TempDir()
	executable := buildFedinvite(ctx, t, dir)
	ca := newAuthority(t, dir)
	synapse := startSynapse(ctx, t, installSynapse(ctx, t), dir, ca)

	register := func(name string) client {
		c, err := synapse.client.register(ctx, synapse.secret, name)
		if err != nil {
			t.Fatalf("registering %s with Synapse: %v", name, err)
		}
		return c
	}
	alice, mallory := register("alice"), register("mallory") // both invite, one is refused
	bob, carol := register("bob"), register("carol")         // both are invited, one refuses
	if err := carol.blockInvites(ctx); err != nil {
		t.Fatalf("having Synapse refuse carol's invites: %v", err)
	}
	available, err := alice.roomVersions(ctx)
	if err != nil {
		t.Fatalf("Synapse's room versions: %v", err)
	}
	ours := startFedinvite(ctx, t, executable, dir, ca, mallory.userID)

	var rows []*row
	var newest string // of the versions that Synapse can create
	for _, version := range knownVersions {
		r := newRow(version)
		rows = append(rows, r)
		if _, ok := available[version]; !ok {
			continue
		}
		newest = version
		t.Run("v"+version, func(t *testing.T) {
			for i, test := range [len(columns)]func(*testing.T){
				func(t *testing.T) { testReceived(ctx, t, synapse, ours, alice, version) },
				func(t *testing.T) { testSent(ctx, t, synapse, ours, bob, version) },
				func(t *testing.T) { testRefused(ctx, t, ours, mallory, version) },
				func(t *testing.T) { testDeclinedByThem(ctx, t, synapse, ours, bob, version) },
				func(t *testing.T) { testDeclinedByUs(ctx, t, synapse, ours, alice, version) },
				func(t *testing.T) { testTakenBackByThem(ctx, t, ours, alice, version) },
				func(t *testing.T) { testTakenBackByUs(ctx, t, synapse, ours, bob, version) },
			} {
				r.check(t, i, test)
			}
		})
	}
	if newest == "" {
		t.Errorf("Synapse can create no room that fedinvite knows: %v", available)
	}
	t.Run("refused by Synapse", func(t *testing.T) { testRefusedBySynapse(ctx, t, ours, carol, newest) })
	ours.drain(t)
	t.Logf("Synapse %s and fedinvite:\n%s", synapse.version(ctx, t), table(rows))
}

func newRow(version string) *row {
	r := &row{version: version}
	for i := range r.columns {
		r.columns[i] = "-"
	}
	return r
}

// check runs one subtest and notes its verdict.
func (r *row) check(t *testing.T, column int, test func(*testing.T)) {
	t.Run(columns[column].name, func(t *testing.T) {
		r.columns[column] = "FAIL" // and so it stays if the test does not return
		test(t)
		if !t.Failed() {
			r.columns[column] = "ok"
		}
	})
}

// testReceived is column (a): Synapse's user invites a user of ours.
func testReceived(ctx context.Context, t *testing.T, synapse *homeserver, ours *commandServer, alice client, version string) {
	name := "Received in " + version
	invitee := "@guest:" + ours.name
	roomID, err := alice.createRoom(ctx, version, name)
	if err != nil {
		t.Fatalf("Synapse creating the room: %v", err)
	}
	start := time.Now()
	if err := alice.invite(ctx, roomID, invitee); err != nil {
		t.Fatalf("Synapse sending the invite: %v", err)
	}
	t.Logf("invited within %s", time.Since(start).Round(time.Millisecond))

	got := ours.awaitOutcome(t, roomID)
	if got.Errcode != "" {
		t.Fatalf("refused: %s: %s", got.Errcode, got.Reason)
	}
	t.Logf("warnings: %s", got.Warnings)
	state, err := got.clientState()
	if err != nil {
		t.Error(err)
	}
	if roomName(state) != name {
		t.Errorf("room_state does not have the name %q: %s", name, got.RoomState)
	}

	stored, err := synapse.storedInvite(ctx, ours, roomID, invitee)
	if err != nil {
		t.Fatal(err)
	}
	want := outcome{
		Event:       "invited",
		Origin:      synapse.name,
		Sender:      alice.userID,
		Invitee:     invitee,
		RoomID:      roomID,
		RoomVersion: version,
		EventID:     stored.EventID,
	}
	got.RoomState, got.Warnings = nil, nil
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("serve printed %+v, want %+v", got, want)
	}
}

// testSent is column (b): a user of ours invites Synapse's user.
func testSent(ctx context.Context, t *testing.T, synapse *homeserver, ours *commandServer, bob client, version string) {
	name := "Sent in " + version
	complaints := synapse.roomStateComplaints(ctx, t)
	start := time.Now()
	output, err := ours.invite(ctx, version, name, bob.userID)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("invited within %s", time.Since(start).Round(time.Millisecond))

	var finished event
	if err := json.Unmarshal(output, &finished); err != nil {
		t.Fatalf("invite did not print an event: %v\n%s", err, output)
	}
	if len(finished.Signatures[synapse.name]) == 0 {
		t.Errorf("the finished event lacks Synapse's signature: %s", output)
	}
	state, err := bob.awaitInvite(ctx, finished.RoomID)
	if err != nil {
		t.Fatal(err)
	}
	if roomName(state) != name {
		t.Errorf("Synapse's user does not see the name %q: %+v", name, state)
	}
	stored, err := synapse.storedInvite(ctx, ours, finished.RoomID, bob.userID)
	if err != nil {
		t.Fatal(err)
	}
	for server, signatures := range stored.Event.Signatures {
		if !maps.Equal(finished.Signatures[server], signatures) {
			t.Errorf("the finished event and the stored one differ in the signatures of %s: %v, %v",
				server, finished.Signatures[server], signatures)
		}
	}
	if now := synapse.roomStateComplaints(ctx, t); now != complaints {
		t.Errorf("Synapse found fault with the room state of the invite (its log says why in room version 12)")
	}
}

// testRefused is column (c): we refuse the invite of a blocked user of Synapse.
func testRefused(ctx context.Context, t *testing.T, ours *commandServer, mallory client, version string) {
	roomID, err := mallory.createRoom(ctx, version, "Refused in "+version)
	if err != nil {
		t.Fatalf("Synapse creating the room: %v", err)
	}
	err = mallory.invite(ctx, roomID, "@guest:"+ours.name)
	refusal, ok := errors.AsType[*matrixError](err)
	if !ok || refusal.Status != http.StatusForbidden || refusal.Errcode != "M_FORBIDDEN" {
		t.Errorf("the client's error is %v, want status 403, M_FORBIDDEN", err)
	} else {
		t.Logf("the client's error: %v", err)
	}
	if got := ours.awaitOutcome(t, roomID); got.Errcode != "M_FORBIDDEN" || got.Reason == "" {
		t.Errorf("serve printed %+v, want M_FORBIDDEN and a reason", got)
	}
}

// testRefusedBySynapse has a user of ours invite a user of Synapse who takes no
// invites.
func testRefusedBySynapse(ctx context.Context, t *testing.T, ours *commandServer, carol client, version string) {
	output, err := ours.invite(ctx, version, "Refused by Synapse", carol.userID)
	if err == nil {
		t.Fatalf("invite went through: %s", output)
	}
	failure, ok := errors.AsType[*commandError](err)
	if !ok {
		t.Fatal(err)
	}
	if !failure.orderly() {
		t.Errorf("%v; want status 1 and one line `fedinvite: …`", failure)
	}
	t.Log(strings.TrimSpace(failure.stderr))
}

// table lays the rows out.
func table(rows []*row) string {
	var text strings.Builder
	w := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "room version")
	for _, c := range columns {
		fmt.Fprint(w, "\t", c.title)
	}
	fmt.Fprintln(w)
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\n", r.version, strings.Join(r.columns[:], "\t"))
	}
	_ = w.Flush() // writes to memory
	return text.String()
}
