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
	held      map[string]*fedinvite.Event // neither declined nor taken back, by room, user and origin
	takenBack []*fedinvite.Event
	total     int           // bytes of all
	changed   chan struct{} // closed when there is another; nil: nobody waits
}

const (
	maxInvites   = 64 << 20 // bytes of invites that are kept
	inviteCost   = 4 << 10  // about what one takes without its events
	maxTakenBack = 1000
)

func (l *inviteLog) add(inv *fedinvite.Invite) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all = append(l.all, inv)
	if l.held == nil {
		l.held = map[string]*fedinvite.Event{}
	}
	l.held[inviteKey(inv.Event)] = inv.Event
	for l.total += costOf(inv); l.total > maxInvites && len(l.all) > 1; {
		l.forgetFirst()
	}
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// forgetFirst forgets an invite, because there are very many. l.mu is held.
func (l *inviteLog) forgetFirst() {
	first := l.all[0]
	l.all[0] = nil
	l.all, l.awaited = l.all[1:], max(0, l.awaited-1)
	l.total -= costOf(first)
	l.skipped = slices.DeleteFunc(l.skipped, func(inv *fedinvite.Invite) bool { return inv == first })
	if at := inviteKey(first.Event); l.held[at] == first.Event {
		delete(l.held, at)
	}
}

// costOf is about how many bytes an invite takes.
func costOf(inv *fedinvite.Invite) int {
	n := inviteCost + len(inv.Event.AppendJSON(nil))
	for _, e := range inv.RoomState.Events {
		if n += inviteCost/8 + len(e.Content); e.PDU != nil {
			n += len(e.PDU.AppendJSON(nil))
		}
	}
	return n
}

// inviteKey is by what a pending invite is held: those of other servers do not displace it.
func inviteKey(invite *fedinvite.Event) string {
	user, _ := invite.StateKey()
	_, origin, _ := fedinvite.ParseUserID(invite.Sender()) // was checked
	return invite.RoomID() + user + " " + string(origin)
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
func (l *inviteLog) pending(_ context.Context, origin fedinvite.ServerName, roomID, userID string) (*fedinvite.Event, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.held[roomID+userID+" "+string(origin)], nil
}

// takeBack is the HandleRescission of one.
func (l *inviteLog) takeBack(_ context.Context, e, invite *fedinvite.Event) error {
	if l.drop(invite) {
		l.mu.Lock()
		defer l.mu.Unlock()
		if l.takenBack = append(l.takenBack, e); len(l.takenBack) > maxTakenBack {
			l.takenBack = slices.Delete(l.takenBack, 0, 1)
		}
	}
	return nil
}

// drop reports whether the invite was held.
func (l *inviteLog) drop(invite *fedinvite.Event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	held := l.held[inviteKey(invite)]
	if held == nil || held.ID() != invite.ID() {
		return false
	}
	delete(l.held, inviteKey(invite))
	return true
}

// Invites returns the invites that the server accepted, in order, as they were handed to
// the Handler: signed by the server. Of very many the first are forgotten: 64 MiB of them
// are kept.
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
