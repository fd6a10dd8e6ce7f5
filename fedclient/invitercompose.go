package fedclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// signatureRoom is what is left for the signatures that an invite gets on its way, where
// 64 KiB have to hold it and the room state.
const (
	maxInvite     = 64 << 10
	signatureRoom = 1 << 10
)

// A composition is one event on its way: what is known of it so far.
type composition struct {
	config *InviterConfig
	Invitation
	membership string // invite or leave
	own        bool   // the leave is the sender's own

	senderServer, inviteeServer fedinvite.ServerName
	signer                      fedinvite.Signer // who signs the event and our requests
	inviteeSigner               fedinvite.Signer // nil: the invitee is remote

	change   eventauth.Change
	want     []eventauth.StateKey
	snapshot *Snapshot // as it came
	rules    fedinvite.Rules
	room     *Snapshot     // the same, checked
	policy   *policyServer // nil: the room has none

	event     *fedinvite.Event
	text      []byte // the event, as it is sent
	roomState []json.RawMessage
	maybeSeen bool
	v1        bool
}

// A step does one thing to a composition.
type step func(c *composition, ctx context.Context) error

// compose is what invites and leaves have in common. Nothing is signed before the rules
// of the room have allowed it, and nothing leaves us before the event is made.
var compose = [...]step{
	(*composition).check,
	(*composition).findSigners,
	(*composition).look,
	(*composition).understand,
	(*composition).authorise,
	(*composition).findPolicyServer,
	(*composition).build,
	(*composition).showRoom,
	(*composition).askPolicyServer,
}

// run stops between two steps if ctx has ended.
func (c *composition) run(ctx context.Context, steps []step) error {
	for _, s := range steps {
		if err := ended(ctx); err != nil {
			return err
		}
		if err := s(c, ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *composition) fail(err error) error {
	return &InviteError{Event: c.event, RoomState: c.roomState, MaybeSeen: c.maybeSeen, Err: err}
}

// findSigners settles who signs, and whether the invitee is ours.
func (c *composition) findSigners(ctx context.Context) error {
	sender, err := c.findSigner(ctx, c.senderServer)
	if err != nil {
		return err
	}
	if c.membership == "invite" {
		c.inviteeSigner = sender
		if c.inviteeServer != c.senderServer {
			if c.inviteeSigner, err = c.findSigner(ctx, c.inviteeServer); err != nil {
				return err
			}
		}
	}
	switch {
	case sender != nil:
		c.signer = sender
	case len(c.ThirdParty) > 0 && c.inviteeSigner != nil:
		c.signer = c.inviteeSigner
	default:
		return fmt.Errorf("%w: the sender is on %s", fedinvite.ErrNotLocal, c.senderServer)
	}
	return nil
}

// findSigner returns nil for a server that is not ours.
func (c *composition) findSigner(ctx context.Context, server fedinvite.ServerName) (fedinvite.Signer, error) {
	if err := ended(ctx); err != nil {
		return nil, err
	}
	s, err := c.config.Signer(ctx, server)
	switch {
	case errors.Is(err, fedinvite.ErrNotLocal):
		return nil, nil
	case err != nil:
		return nil, fromHook(ctx, err)
	case s == nil || s.ServerName() != server:
		return nil, fmt.Errorf("fedclient: InviterConfig.Signer returned no signer for %s", server)
	}
	return ownSigner{s}, nil
}

// look takes the snapshot.
func (c *composition) look(ctx context.Context) error {
	c.change = eventauth.Change{
		RoomID: c.RoomID, Sender: c.Sender, Target: c.Invitee, Membership: c.membership, ThirdParty: c.ThirdParty,
	}
	c.want = wanted(c.change)
	snapshot, err := c.config.Room.Snapshot(ctx, c.RoomID, c.want)
	switch {
	case err != nil:
		return fromHook(ctx, err)
	case snapshot == nil:
		return fmt.Errorf("%w: there is none", ErrSnapshot)
	}
	c.snapshot = snapshot
	return nil
}

// understand finds the rules of the room and checks the snapshot by them.
func (c *composition) understand(context.Context) error {
	version := c.snapshot.Version
	rules, err := c.config.Rules(version)
	switch {
	case err != nil:
		return &hookError{err}
	case rules.Version != version || rules.MaxDepth <= 0:
		return &hookError{fmt.Errorf("%w: InviterConfig.Rules returned none for %q", fedinvite.ErrRoomVersion, version)}
	}
	c.rules = rules
	c.room, err = c.snapshot.Checked(c.RoomID, c.want, rules)
	return err
}

// authorise asks the rules of the room.
func (c *composition) authorise(context.Context) error {
	if c.membership == "leave" && !c.own {
		member := c.room.State.Get("m.room.member", c.Invitee)
		if member == nil || member.Membership() != "invite" {
			return forbidden("the user is not invited")
		}
	}
	switch err := c.change.Authorize(c.rules, c.room.State); {
	case errors.Is(err, eventauth.ErrState):
		return fmt.Errorf("%w: %w", ErrSnapshot, err)
	case err != nil:
		return err
	}
	if c.membership == "invite" && len(c.ThirdParty) > 0 {
		// The rules would let it undo a join, and what it is signed by is no secret.
		if member := c.room.State.Get("m.room.member", c.Invitee); member != nil && member.Membership() == "join" {
			return forbidden("the user is in the room already")
		}
	}
	if c.membership == "invite" && !c.room.federates(c.inviteeServer) {
		return forbidden("the room is for users of its own server only (m.federate)")
	}
	return nil
}

// build makes the event. What does not fit is no event: nobody is shown it.
func (c *composition) build(ctx context.Context) error {
	auth := eventauth.SelectAuthEvents(c.change, c.rules, c.room.State)
	refs := make([]fedinvite.EventRef, len(auth))
	for i, e := range auth {
		if refs[i].ID = e.ID(); c.rules.EventIDs == fedinvite.EventIDServer {
			refs[i] = e.Ref()
		}
	}
	newMember := fedinvite.NewInvite
	if c.membership == "leave" {
		newMember = fedinvite.NewLeave
	}
	event, err := newMember(ctx, fedinvite.Draft{
		RoomID:     c.RoomID,
		Sender:     c.Sender,
		Invitee:    c.Invitee,
		AuthEvents: refs,
		PrevEvents: c.room.Extremities,
		Depth:      c.room.Depth + 1,
		Time:       c.Time,
		Content:    c.Content,
	}, c.rules, c.signer)
	// The content is all in it that was not checked for this, but for names of the signer.
	if errors.Is(err, fedinvite.ErrBadJSON) && !errors.Is(err, fedinvite.ErrIdentifier) && !isHookError(err) {
		err = badInvitation(fedinvite.CodeBadJSON, tooLarge, err)
	}
	if err != nil {
		return err
	}
	text := event.AppendJSON(nil)
	if err := c.checkFit(text); err != nil {
		return err
	}
	c.event, c.text = event, text
	return nil
}

// showRoom chooses the room state of an invite.
func (c *composition) showRoom(context.Context) error {
	if c.membership != "invite" {
		return nil
	}
	limit := c.config.MaxRoomState
	if limit == 0 {
		// 0 would be no limit, and the create event goes in any case.
		limit = max(maxInvite-len(c.text)-c.policyEntry()-signatureRoom, 1)
	}
	entries := fedinvite.SelectRoomState(c.room.roomState(c.Sender), limit)
	tooDeep := func(entry json.RawMessage) bool { return deeperThan(entry, maxEntryNesting(c.rules.Version)) }
	// The first is the create event, without which there is no invite.
	if c.inviteeSigner == nil && tooDeep(entries[0]) {
		c.event = nil
		return fmt.Errorf("%w: the m.room.create event is nested too deeply to be sent", ErrSnapshot)
	}
	c.roomState = slices.DeleteFunc(entries, tooDeep)
	return nil
}

// deliverRemote asks the invited server.
func (c *composition) deliverRemote(ctx context.Context) error {
	if c.config.Made != nil {
		if err := c.config.Made(ctx, c.event); err != nil {
			return fromHook(ctx, err)
		}
		if err := ended(ctx); err != nil {
			return err
		}
	}
	body, err := c.body()
	if err != nil {
		return err
	}
	reply, maybeSeen, err := c.config.Client.sendInvite(ctx, InviteRequest{
		Event: c.event, RoomState: c.roomState, Signer: c.signer, Keys: c.config.Keys, body: body,
	})
	if err != nil {
		c.maybeSeen = maybeSeen
		return err
	}
	c.event, c.v1 = reply.Event, reply.V1
	return nil
}

// body is what fedinvite.Request.MarshalV2 would return, in pieces. All of it is our own,
// and canonical, so that it need not be looked through again.
func (c *composition) body() ([][]byte, error) {
	version, err := quoteVersion(c.rules.Version)
	if err != nil {
		return nil, fmt.Errorf("fedclient: room version: %w", err)
	}
	const head, middle, tail = `{"event":`, `,"invite_room_state":[`, `],"room_version":`
	frame := []byte(head + middle + tail + version + "}")
	comma := frame[len(head):][:1]
	pieces := append(make([][]byte, 0, 2*len(c.roomState)+3), frame[:len(head)], c.text, frame[len(head):len(head+middle)])
	for i, entry := range c.roomState {
		if i > 0 {
			pieces = append(pieces, comma)
		}
		pieces = append(pieces, entry)
	}
	return append(pieces, frame[len(head+middle):]), nil
}

// quoteVersion writes a room version as canonical JSON.
func quoteVersion(version fedinvite.RoomVersion) (string, error) {
	for i := range len(version) {
		switch c := version[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9', c == '.', c == '-', c == '_':
		default:
			text, err := fedinvite.MarshalCanonical(version)
			return string(text), err
		}
	}
	return `"` + string(version) + `"`, nil
}

// deliverLocal asks the policy for our own users.
func (c *composition) deliverLocal(ctx context.Context) error {
	if c.config.Policy != nil {
		if err := c.config.Policy(ctx, c.localInvite()); err != nil {
			return fromHook(ctx, err)
		}
	}
	if c.inviteeServer == c.signer.ServerName() {
		return nil
	}
	if err := ended(ctx); err != nil {
		return err
	}
	signed, err := c.event.WithSignature(ctx, c.inviteeSigner)
	if err != nil {
		return err
	}
	if size := len(signed.AppendJSON(nil)); size > maxEventSize { // if a Signer's name has changed
		return fmt.Errorf("fedclient: event of %d bytes with the signature of %s, more than %d", size, c.inviteeServer, maxEventSize)
	}
	c.event = signed
	return nil
}

// localInvite is the invite as a fedinvite.Receiver would give it to its hooks.
func (c *composition) localInvite() *fedinvite.Invite {
	inv := &fedinvite.Invite{Origin: c.senderServer, Destination: c.inviteeServer, Invitee: c.Invitee, Event: c.event}
	for _, e := range c.room.roomState(c.Sender) {
		if e == nil {
			continue
		}
		key, _ := e.StateKey()
		inv.RoomState.Events = append(inv.RoomState.Events, fedinvite.StateEvent{
			Type: e.Type(), StateKey: key, Sender: e.Sender(), Content: e.Content(), PDU: e,
			Verified: true, // before it came into our store
		})
	}
	return inv
}

// An ownSigner marks what goes wrong in a Signer as our own failure.
type ownSigner struct{ fedinvite.Signer }

func (s ownSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	signature, err := s.Signer.Sign(ctx, message)
	if err != nil {
		return nil, &hookError{err}
	}
	return signature, nil
}

// asOwn makes an ownSigner of s, nil of nil.
func asOwn(s fedinvite.Signer) fedinvite.Signer {
	switch s.(type) {
	case nil, ownSigner, *watchedSigner:
		return s
	}
	return ownSigner{s}
}

// forbidden is a refusal for the user to see.
func forbidden(reason string) error {
	return &fedinvite.Error{Code: fedinvite.CodeForbidden, Status: http.StatusForbidden, Message: reason, Err: fedinvite.ErrForbidden}
}

// badInvitation is a fault of the invitation for the user to see.
func badInvitation(code fedinvite.Code, what string, err error) error {
	return &fedinvite.Error{Code: code, Status: http.StatusBadRequest, Message: what, Err: err}
}
