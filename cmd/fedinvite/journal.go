package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// A journal stores a room with the invite into it before the invite is sent: the invited
// user may decline, at a serve with the same store, before we have read the answer.
type journal struct {
	disk   *disk // nil: nothing is stored
	room   *room // without the invite
	stored bool
}

// newJournal returns a journal for a store in a directory, or for none.
func newJournal(dir string) (*journal, error) {
	if dir == "" {
		return new(journal), nil
	}
	d, err := openDisk(dir)
	return &journal{disk: d}, err
}

// made fits [fedclient.InviterConfig].
func (j *journal) made(_ context.Context, invite *fedinvite.Event) error {
	if j.disk == nil {
		return nil
	}
	if err := j.disk.found(j.room.with(invite)); err != nil {
		return fmt.Errorf("the room cannot be stored: %w", err)
	}
	j.stored = true
	return nil
}

// settle makes the store fit what became of the invite: the finished event replaces the
// one that was sent, and a room whose invite nobody has seen is of no use.
func (j *journal) settle(invited *fedclient.Invited, failure error) error {
	switch unsure := (*fedclient.InviteError)(nil); {
	case !j.stored:
		return failure
	case failure == nil:
		if err := j.disk.replace(invited.Event); err != nil {
			return fmt.Errorf("the invite is accepted, but storing that failed: %w", err)
		}
		return nil
	case errors.As(failure, &unsure) && unsure.MaybeSeen:
		return fmt.Errorf("%w; the invite may have arrived and is stored, take it back from %s", failure, j.room.id)
	}
	return errors.Join(failure, j.disk.discard(j.room))
}
