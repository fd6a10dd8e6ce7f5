package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

func TestJournalWithoutDisk(t *testing.T) {
	if _, err := newJournal(filepath.Join(writeFile(t, ""), "store")); err == nil {
		t.Error("a store in a file")
	}
	j, err := newJournal("")
	if err != nil {
		t.Fatal(err)
	}
	failure := errors.New("x")
	if err := j.made(t.Context(), nil); err != nil || !errors.Is(j.settle(nil, failure), failure) {
		t.Error("a journal where there is nothing to store")
	}
}

// An invite that cannot be stored is not sent.
func TestJournalWithoutRoom(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	one, two := st.serve(t), st.serve(t)
	dir := kept(t)[1]
	d, err := openDisk(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Remove(d.rooms()), os.WriteFile(d.rooms(), nil, 0o600)); err != nil {
		t.Fatal(err)
	}
	if r := one.inviteStored(t, dir, "11", two.user("bob")); r.status != statusRefused || r.out != "" {
		t.Errorf("%+v", r)
	}
	// Nor if that shows only when it is about to leave.
	o, j := one.outbound(t), &journal{disk: d}
	if j.room, err = newRoom(t.Context(), newTestRules(t, "11"), o.signer, one.user("alice"), ""); err != nil {
		t.Fatal(err)
	}
	inviter, err := o.inviter(newMemory(j.room), j.made)
	if err != nil {
		t.Fatal(err)
	}
	invited, err := inviter.Invite(t.Context(), fedclient.Invitation{RoomID: j.room.id, Sender: one.user("alice"), Invitee: two.user("bob")})
	if err := j.settle(invited, err); err == nil || !strings.HasPrefix(err.Error(), "the room cannot be stored: ") {
		t.Error(err)
	}
	two.stop()
	for line := range two.lines {
		t.Errorf("the invite arrived: %+v", line)
	}
}
