package fedserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

const maxIdentifier = 255 // bytes

// A roomView is a room of ours as it is now, checked.
type roomView struct {
	rules fedinvite.Rules
	state eventauth.State      // what was wanted, none nil
	prev  []fedinvite.EventRef // of a new event
	depth int64                // of a new event
}

// A roomReader finds rooms and the rules of their versions.
type roomReader struct {
	room  fedclient.Room
	rules func(fedinvite.RoomVersion) (fedinvite.Rules, error) // nil: RoomVersion.Rules
}

// read returns the room with the state wanted. Peers may be told its errors: that there
// is no such room, what the author's Room refuses with, or that something is wrong here.
func (r roomReader) read(ctx context.Context, roomID string, want []eventauth.StateKey) (*roomView, error) {
	if !strings.HasPrefix(roomID, "!") || len(roomID) > maxIdentifier {
		return nil, refuse(http.StatusNotFound, fedinvite.CodeNotFound, "no such room", nil)
	}
	s, err := r.room.Snapshot(ctx, roomID, want)
	if err != nil {
		return nil, noSuchRoom(fromHook(err))
	}
	if s == nil {
		return nil, internal(fmt.Errorf("%w: none", fedclient.ErrSnapshot))
	}
	rules, err := r.rulesOf(s.Version)
	if err != nil {
		return nil, internal(err) // also of an unknown version: the room is ours
	}
	if s, err = s.Checked(roomID, want, rules); err != nil {
		return nil, internal(err)
	}
	return &roomView{rules, s.State, s.Extremities, s.Depth + 1}, nil
}

// noSuchRoom gives Refuse(CodeNotFound, …) the status that it has here.
func noSuchRoom(err error) error {
	var e *fedinvite.Error
	if errors.As(err, &e) && e.Code == fedinvite.CodeNotFound && e.Status == 0 {
		found := *e
		found.Status = http.StatusNotFound
		return &found
	}
	return err
}

func (r roomReader) rulesOf(version fedinvite.RoomVersion) (fedinvite.Rules, error) {
	if r.rules != nil {
		return r.rules(version)
	}
	return version.Rules()
}

func refsOf(events []*fedinvite.Event) []fedinvite.EventRef {
	refs := make([]fedinvite.EventRef, len(events))
	for i, e := range events {
		refs[i] = e.Ref()
	}
	return refs
}
