package fedclient

import (
	"context"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// A Room is a homeserver's store of rooms, as far as invites need it. It must be safe for
// concurrent use.
type Room interface {
	// Snapshot returns the room as it is now, all of one moment: one read transaction.
	// want names the current state that is needed, a dozen entries, none twice;
	// there may be no event for most of it. It must not be changed.
	//
	// An error for the user to see, say about a room that the server is not in, should be
	// a [*fedinvite.Error], as fedinvite.Refuse(fedinvite.CodeForbidden, "…") makes it:
	// [ClientError] passes it on. Any other is our own failure.
	Snapshot(ctx context.Context, roomID string, want []eventauth.StateKey) (*Snapshot, error)
}

// A Snapshot is a room at one moment. The Inviter believes it, but refuses with
// [ErrSnapshot] what cannot be true. It changes nothing in it.
type Snapshot struct {
	Version fedinvite.RoomVersion
	// State holds the current state events that were wanted, as far as there are any; the
	// m.room.create event always is one. It may hold more, and nil, which are not looked
	// at but for their room. [fedinvite.ParseStored] reads an event back, by the Rules of
	// Version.
	State eventauth.State
	// Extremities are the forward extremities, with their reference hashes in room
	// versions 1–2; see [fedinvite.Event.Ref]. One at least; of more than 20 the first 20
	// are used, so that the latest should come first.
	Extremities []fedinvite.EventRef
	// Depth is the greatest depth among the extremities. The new event gets one more, or
	// the room version's maximum.
	Depth int64
	// Joined reports whether a user of the server is joined to the room. It is called once
	// at most, soon after Snapshot has returned, and only for the server that m.room.policy
	// names: a policy server counts only if it is joined. nil is for stores that never have
	// that event: with one that names a server it is an [ErrSnapshot].
	Joined func(server fedinvite.ServerName) bool
}
