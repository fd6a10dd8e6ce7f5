package invitetest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// roomList are the rooms that a server is in; it is a [fedclient.Room].
type roomList struct {
	mu       sync.Mutex
	rooms    map[string]*Room            // by ID
	sent     map[string]*fedinvite.Event // invites that are on their way, by room and user
	declined []*fedinvite.Event
}

func (l *roomList) add(room *Room) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rooms == nil {
		l.rooms, l.sent = map[string]*Room{}, map[string]*fedinvite.Event{}
	}
	l.rooms[room.ID()] = room
}

// sending has the invite be the user's membership from now on. The user may decline it
// before its answer has come.
func (l *roomList) sending(_ context.Context, e *fedinvite.Event) error {
	user, _ := e.StateKey()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent[e.RoomID()+user] = e
	return nil
}

// settled ends what sending began: e is what came of it, nil if nothing did. If the user
// has declined meanwhile, e takes the place of the invite before that.
func (l *roomList) settled(room *Room, user string, e *fedinvite.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sent, room.ID()+user)
	if e != nil {
		room.Add(e)
	}
}

// rules finds those of rooms with a version of one's own, too.
func (l *roomList) rules(version fedinvite.RoomVersion) (fedinvite.Rules, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, room := range l.rooms {
		if room.Rules().Version == version {
			return room.Rules(), nil
		}
	}
	return version.Rules()
}

// Snapshot implements [fedclient.Room].
func (l *roomList) Snapshot(ctx context.Context, roomID string, want []eventauth.StateKey) (*fedclient.Snapshot, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	room := l.rooms[roomID]
	if room == nil {
		return nil, fedinvite.Refuse(fedinvite.CodeNotFound, "no such room")
	}
	snapshot, err := room.Snapshot(ctx, roomID, want)
	if err != nil {
		return nil, err
	}
	for _, key := range want {
		if e := l.sent[roomID+key.Key]; e != nil && key.Type == e.Type() {
			before := snapshot.State.Get(key.Type, key.Key)
			snapshot.State = append(slices.DeleteFunc(snapshot.State, func(e *fedinvite.Event) bool { return e == before }), e)
		}
	}
	return snapshot, nil
}

// handleLeave is the HandleLeave of a [fedserver.LeavesConfig].
func (l *roomList) handleLeave(_ context.Context, e *fedinvite.Event) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	room := l.rooms[e.RoomID()]
	if room == nil {
		return errors.New("invitetest: a leave of a room that is not there")
	}
	user, _ := e.StateKey()
	if now := room.Get("m.room.member", user); now != nil && now.ID() == e.ID() {
		return nil // it was sent again
	}
	if sent := l.sent[e.RoomID()+user]; sent != nil {
		room.Add(sent)
		delete(l.sent, e.RoomID()+user)
	}
	room.Add(e)
	l.declined = append(l.declined, e)
	return nil
}

// NewRoom returns a room whose creator, and whose host, is this server. It goes by the
// server's clock. It panics as [NewRoom] does, or if creator is no user of the server.
func (s *Server) NewRoom(version fedinvite.RoomVersion, creator string) *Room {
	if serverOf(creator) != s.name {
		panic(fmt.Sprintf("invitetest: %q is no user of %s", creator, s.name))
	}
	room := RoomConfig{Version: version, Creator: creator, Now: s.now, Signer: s.signerOf}.New()
	s.rooms.add(room)
	return room
}

// signerOf finds the signers of a room. Those of other servers are [Signer]'s.
func (s *Server) signerOf(server fedinvite.ServerName) fedinvite.Signer {
	if server == s.name {
		return s.Signer()
	}
	return Signer(server)
}

// Invite has the room's creator, a user of this server, invite a user of another: it sends
// the invite, checks the reply, and puts the event, signed by both, into the room. The
// content of the event may be changed by edits; membership is set. Errors are those of
// [fedclient.Inviter.Invite]; perhaps with a hint at what the test has forgotten.
func (s *Server) Invite(ctx context.Context, room *Room, invitee string, content ...Edit) (*fedinvite.Event, error) {
	i := fedclient.Invitation{RoomID: room.ID(), Sender: room.Creator(), Invitee: invitee}
	edited := Object{}
	for _, edit := range content {
		edit(edited)
	}
	if thirdParty, ok := edited["third_party_invite"]; ok {
		i.ThirdParty = Encode(thirdParty)
	}
	i.Content = Encode(edited)
	s.rooms.add(room)
	invited, err := s.inviter().Invite(ctx, i)
	if err != nil {
		s.rooms.settled(room, invitee, nil)
		return nil, s.hint(err, serverOf(invitee))
	}
	s.rooms.settled(room, invitee, invited.Event)
	return invited.Event, nil
}

// hint adds to the error of a request what may be the cause, if the server that answered has
// not asked for the keys that it needs.
func (s *Server) hint(err error, to fedinvite.ServerName) error {
	var remote *fedclient.RemoteError
	if !errors.As(err, &remote) || remote.Status != http.StatusUnauthorized && remote.Status/100 != 5 || s.gaveKeys() {
		return err
	}
	return fmt.Errorf("%w (%s has not fetched the keys of %s: does it use Server.Transport or Server.Client?)", err, to, s.name)
}

// TakeBack has the room's creator take an invite back: it puts the leave into the room and
// sends it to the invitee's server. Errors are those of [fedclient.Inviter.TakeBack] and
// [fedclient.Client.SendTransaction].
func (s *Server) TakeBack(ctx context.Context, room *Room, invitee string) (*fedinvite.Event, error) {
	s.rooms.add(room)
	e, err := s.inviter().TakeBack(ctx, fedclient.Invitation{RoomID: room.ID(), Sender: room.Creator(), Invitee: invitee})
	if err != nil {
		return nil, err
	}
	room.Add(e)
	to := serverOf(invitee)
	if to == s.name {
		return e, nil
	}
	failed, err := s.client.SendTransaction(ctx, fedclient.Transaction{
		ID: fmt.Sprintf("%d", len(room.Events())), Destination: to, Events: []*fedinvite.Event{e}, Time: s.now(), Signer: s.Signer(),
	})
	if reason, ok := failed[e.ID()]; ok && err == nil {
		err = fmt.Errorf("invitetest: %s does not take the leave: %s", to, reason)
	}
	return e, err
}

// Decline has a user of this server decline an invite that the server accepted, by way of
// the inviting server. The error says why that did not take the leave; see
// [fedclient.Client.Decline].
func (s *Server) Decline(ctx context.Context, invite *fedinvite.Invite) (*fedinvite.Event, error) {
	declined, err := s.client.Decline(ctx, fedclient.DeclineRequest{Invite: invite.Event, Signer: s.Signer(), Time: s.now()})
	if err != nil {
		return nil, err
	}
	s.invites.drop(invite.Event)
	return declined.Event, declined.Err
}

// Declined returns the leaves by which users of other servers have left rooms of this one,
// which is how they decline invites.
func (s *Server) Declined() []*fedinvite.Event {
	s.rooms.mu.Lock()
	defer s.rooms.mu.Unlock()
	return slices.Clone(s.rooms.declined)
}

func (s *Server) inviter() *fedclient.Inviter {
	return must(fedclient.NewInviter(fedclient.InviterConfig{
		Client: s.client, Keys: s.Keys(), Room: &s.rooms, Now: s.now, Made: s.rooms.sending,
		Signer: keyring.Local(s.local).Signer, Rules: s.rooms.rules,
	}))
}
