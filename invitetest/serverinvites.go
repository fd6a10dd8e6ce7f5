package invitetest

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
)

// inviteLog are the invites that a server has accepted.
type inviteLog struct {
	mu        sync.Mutex
	all       []*fedinvite.Invite
	awaited   int // those before were returned by AwaitInvite, or are in skipped
	skipped   []*fedinvite.Invite
	held      map[string]*fedinvite.Event // neither declined nor taken back, by room and user
	takenBack []*fedinvite.Event
	changed   chan struct{} // closed when there is another; nil: nobody waits
}

func (l *inviteLog) add(inv *fedinvite.Invite) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, inv)
	if l.held == nil {
		l.held = map[string]*fedinvite.Event{}
	}
	l.held[inv.Event.RoomID()+inv.Invitee] = inv.Event
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// next returns the first invite for a user that was not returned before, or a channel that
// is closed when it is worth while to ask again.
func (l *inviteLog) next(invitee string) (*fedinvite.Invite, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.skipped = append(l.skipped, l.all[l.awaited:]...)
	l.awaited = len(l.all)
	for i, inv := range l.skipped {
		if inv.Invitee == invitee {
			l.skipped = slices.Delete(l.skipped, i, i+1)
			return inv, nil
		}
	}
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	return nil, l.changed
}

// pending is the Invite of a [fedserver.TransactionsConfig].
func (l *inviteLog) pending(_ context.Context, roomID, userID string) (*fedinvite.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[roomID+userID], nil
}

// takeBack is the HandleRescission of one.
func (l *inviteLog) takeBack(_ context.Context, e, invite *fedinvite.Event) error {
	if l.drop(invite) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.takenBack = append(l.takenBack, e)
	}
	return nil
}

// drop reports whether the invite was held.
func (l *inviteLog) drop(invite *fedinvite.Event) bool {
	user, _ := invite.StateKey()
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.held[invite.RoomID()+user]
	if held == nil || held.ID() != invite.ID() {
		return false
	}
	delete(l.held, invite.RoomID()+user)
	return true
}

// Invites returns the invites that the server accepted, in order, as they were handed to
// the Handler: signed by the server.
func (s *Server) Invites() []*fedinvite.Invite {
	s.invites.mu.Lock()
	defer s.invites.mu.Unlock()
	return slices.Clone(s.invites.all)
}

// AwaitInvite waits for the next invite that the server accepts for a user, and that was not
// returned before. It is for servers that say that they have invited before they have; the
// error is the end of ctx.
func (s *Server) AwaitInvite(ctx context.Context, invitee string) (*fedinvite.Invite, error) {
	for {
		inv, changed := s.invites.next(invitee)
		if inv != nil {
			return inv, nil
		}
		select {
		case <-changed:
		case <-s.over:
			return nil, fmt.Errorf("invitetest: no invite for %s: the server is closed", invitee)
		case <-ctx.Done():
			return nil, fmt.Errorf("invitetest: no invite for %s: %w", invitee, context.Cause(ctx))
		}
	}
}

// TakenBack returns the leaves by which others took back invites to users of this server.
func (s *Server) TakenBack() []*fedinvite.Event {
	s.invites.mu.Lock()
	defer s.invites.mu.Unlock()
	return slices.Clone(s.invites.takenBack)
}
