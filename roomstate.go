package fedinvite

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
)

// A RoomStatePolicy says how strictly invite_room_state is checked. The
// specification wants full PDUs since v1.16; servers from before that, and some of today,
// send stripped events, with or without a full create event in room version 12.
type RoomStatePolicy uint8

const (
	// StateCreateOnly, the default: in room version 12 and later there must be the
	// create event as a full PDU whose reference hash is the room ID. If its
	// signature is wrong the invite is refused; if its key cannot be had, as when
	// the creator's server is gone or has lost it, that is a warning, and nobody
	// vouches for who created the room. Other entries may be
	// stripped. In room versions 1–11 everything is at most a warning. Where a
	// failure would only warn, no signature is checked.
	StateCreateOnly RoomStatePolicy = iota
	// StateStrict: all that the specification says, in every room version. There
	// must be a create event, every entry must be a PDU of the room with valid
	// signatures; a key that cannot be had refuses too.
	StateStrict
	// StateOff: nothing is checked. Every entry is taken as a stripped event.
	StateOff
)

// A RoomState is what an invite tells of its room. Whatever is not Verified in it
// is only what the inviting server says.
type RoomState struct {
	// Events has one entry for each type and state key, in the order of the
	// request: the verified PDU if there is one, or the create event that the room
	// ID is made of, else the first.
	Events []StateEvent
	// Warnings wrap [ErrStateMissing], [ErrStateStripped], [ErrStateRoom] or
	// [ErrStateSignature], or say which entry was left out because it is no state
	// event at all.
	Warnings []error
}

// A StateEvent is one state event of the room, full or stripped (client-server
// API, "Stripped state").
type StateEvent struct {
	Type, StateKey, Sender string
	Content                json.RawMessage // canonical JSON; of the redacted copy if the content hash is wrong
	PDU                    *Event          // nil: the entry is stripped
	Verified               bool            // the PDU's signatures were checked, the one of the sender's server among them
}

// Get returns the entry of that type and state key, such as "m.room.name" and "".
func (s RoomState) Get(eventType, stateKey string) (e StateEvent, ok bool) {
	for _, e := range s.Events {
		if e.Type == eventType && e.StateKey == stateKey {
			return e, true
		}
	}
	return StateEvent{}, false
}

// Client returns the entries in the form for clients: type, state_key, sender and
// content, nothing else, as canonical JSON. The specification forbids passing PDUs
// on to clients.
func (s RoomState) Client() []json.RawMessage {
	all := make([]json.RawMessage, 0, len(s.Events))
	for _, e := range s.Events {
		content := string(e.Content)
		if content == "" {
			content = "{}"
		}
		all = append(all, json.RawMessage(`{"content":`+content+`,"sender":`+quote(e.Sender)+
			`,"state_key":`+quote(e.StateKey)+`,"type":`+quote(e.Type)+`}`))
	}
	return all
}

// CheckRoomState checks the invite_room_state of an invite under policy p
// (server-server API, PUT /_matrix/federation/v2/invite). A refusal wraps
// [ErrStateMissing], [ErrStateStripped], [ErrStateRoom], [ErrStateSignature] or
// [ErrStateLimit] (more than 100 entries); entries that only give a warning stay,
// except for those of other rooms and those that are no state events.
//
// Keys of at most 10 servers are asked for and at most 128 signatures checked.
func CheckRoomState(ctx context.Context, state []json.RawMessage, invite *Event, keys KeySource, p RoomStatePolicy) (RoomState, error) {
	return checkRoomState(ctx, state, invite, newVerification(keys), p)
}

func checkRoomState(ctx context.Context, state []json.RawMessage, invite *Event, v *verification, p RoomStatePolicy) (RoomState, error) {
	if invite == nil {
		return RoomState{}, errors.New("CheckRoomState without an invite")
	}
	if len(state) > maxRoomState {
		return RoomState{}, ErrStateLimit
	}
	c := stateChecker{invite: invite, policy: p}
	for i, raw := range state {
		if err := c.read(i, raw); err != nil {
			return RoomState{}, err
		}
	}
	if p != StateOff {
		if err := c.findCreate(); err != nil {
			return RoomState{}, err
		}
		if err := c.verify(ctx, v); err != nil {
			return RoomState{}, err
		}
	}
	c.dropRepeats()
	return c.state, nil
}

// A stateChecker goes through the entries of one invite.
type stateChecker struct {
	invite *Event
	policy RoomStatePolicy
	state  RoomState
}

// object refuses what the policy does not tolerate and notes what it does.
func (c *stateChecker) object(refuse bool, err error) error {
	if refuse {
		return err
	}
	c.state.Warnings = append(c.state.Warnings, err)
	return nil
}

func (c *stateChecker) strict() bool { return c.policy == StateStrict }

// read takes one entry: a PDU of the room, a stripped event or nothing usable.
func (c *stateChecker) read(i int, raw json.RawMessage) error {
	entry, err := c.readPDU(raw)
	if err != nil {
		if c.strict() {
			return fmt.Errorf("%w: entry %d: %w", ErrStateStripped, i, err)
		}
		if entry, err = readStripped(raw); err != nil {
			return c.object(false, fmt.Errorf("%w: entry %d: %w", ErrStateStripped, i, err))
		}
	}
	if entry.PDU != nil && !c.belongs(entry) {
		return c.object(c.strict() || c.provesRoom(entry), fmt.Errorf("%w: entry %d", ErrStateRoom, i))
	}
	c.state.Events = append(c.state.Events, entry)
	return nil
}

// readPDU reads an entry that is a full state event of the room's version.
func (c *stateChecker) readPDU(raw json.RawMessage) (StateEvent, error) {
	if c.policy == StateOff {
		return StateEvent{}, errors.New("taken as stripped")
	}
	e, err := ParseEvent(raw, c.invite.rules)
	if err != nil {
		return StateEvent{}, err
	}
	stateKey, ok := e.StateKey()
	if !ok {
		return StateEvent{}, errors.New("not a state event")
	}
	if !e.HashOK() {
		e = e.Redacted()
	}
	return StateEvent{Type: e.Type(), StateKey: stateKey, Sender: e.Sender(), Content: e.Content(), PDU: e}, nil
}

// belongs reports whether the PDU is of the invite's room.
func (c *stateChecker) belongs(entry StateEvent) bool {
	return entry.PDU.RoomID() == c.invite.RoomID() && (!c.provesRoom(entry) || c.startsRoom(entry.PDU))
}

// provesRoom reports whether entry is the create event of a room version in which
// that event is what the room ID is made of.
func (c *stateChecker) provesRoom(entry StateEvent) bool {
	return c.invite.rules.RoomIDIsCreateEvent && entry.isCreate()
}

// startsRoom reports whether the create event could start a room of the invite's
// version: nothing comes before it, and it names that version.
func (c *stateChecker) startsRoom(create *Event) bool {
	version, _ := unquote(get(create.content, "room_version"))
	return len(create.PrevEventIDs()) == 0 && len(create.AuthEventIDs()) == 0 && version == string(c.invite.rules.Version)
}

func (e *StateEvent) isCreate() bool { return e.Type == typeCreate && e.StateKey == "" }

// readStripped reads the four members that every state event has.
func readStripped(raw json.RawMessage) (StateEvent, error) {
	text, err := canonicalObject(raw, legacyNumbers)
	if err != nil {
		return StateEvent{}, err
	}
	var e StateEvent
	for _, m := range []struct {
		name string
		to   *string
	}{{"type", &e.Type}, {"state_key", &e.StateKey}, {"sender", &e.Sender}} {
		s, ok := unquote(get(text, m.name))
		if !ok || len(s) > maxIdentifier {
			return StateEvent{}, fmt.Errorf("%w: %s is not a string of at most %d bytes", ErrBadJSON, m.name, maxIdentifier)
		}
		*m.to = s
	}
	if _, _, err := ParseUserID(e.Sender); err != nil {
		return StateEvent{}, fmt.Errorf("%w: sender is no user ID", ErrBadJSON)
	}
	content := get(text, "content")
	if !isObject(content) {
		return StateEvent{}, fmt.Errorf("%w: content is not an object", ErrBadJSON)
	}
	e.Content = json.RawMessage(content)
	return e, nil
}

// findCreate makes sure that there is a create event, and a full one where it
// proves the room ID.
func (c *stateChecker) findCreate() error {
	refuse := c.strict() || c.invite.rules.RoomIDIsCreateEvent
	stripped := false
	for i := range c.state.Events {
		if c.state.Events[i].isCreate() {
			if c.state.Events[i].PDU != nil {
				return nil
			}
			stripped = true
		}
	}
	if stripped {
		return c.object(refuse, fmt.Errorf("%w: m.room.create", ErrStateStripped))
	}
	return c.object(refuse, ErrStateMissing)
}

// verify checks the signatures whose failure would refuse the invite.
func (c *stateChecker) verify(ctx context.Context, v *verification) error {
	checks := make([]signatureCheck, 0, len(c.state.Events))
	owners := make([]int, 0, len(c.state.Events)) // of which entry each check is
	for i := range c.state.Events {
		entry := &c.state.Events[i]
		if entry.PDU == nil || !c.strict() && !c.provesRoom(*entry) {
			continue
		}
		found := len(checks)
		var err error
		if checks, err = entry.PDU.collect(ctx, v, checks); err != nil {
			if err := c.unverified(err); err != nil {
				return err
			}
			continue
		}
		// Unless a check says otherwise. A third-party invite need not be signed by
		// the sender's server; such an entry passes, but is not vouched for.
		for k := range checks[found:] {
			owners = append(owners, i)
			entry.Verified = entry.Verified || checks[found+k].server == serverOf(entry.Sender)
		}
	}
	for i, err := range verifyEach(checks) {
		if err != nil {
			c.state.Events[owners[i]].Verified = false
			return fmt.Errorf("%w: %w", ErrStateSignature, err)
		}
	}
	return nil
}

// unverified judges an entry for whose signatures no key was found: one that
// nobody can check is tolerated outside StateStrict, one without a signature is not.
func (c *stateChecker) unverified(err error) error {
	unobtainable := errors.Is(err, ErrKeysUnavailable) || errors.Is(err, ErrUnknownKey)
	return c.object(c.strict() || !unobtainable, fmt.Errorf("%w: %w", ErrStateSignature, err))
}

// dropRepeats leaves one entry for each type and state key.
func (c *stateChecker) dropRepeats() {
	if len(c.state.Events) < 2 {
		return
	}
	type key struct{ eventType, stateKey string }
	at := make(map[key]int, len(c.state.Events))
	kept := c.state.Events[:0]
	for _, e := range c.state.Events {
		k := key{e.Type, e.StateKey}
		i, seen := at[k]
		switch {
		case !seen:
			at[k] = len(kept)
			kept = append(kept, e)
		case e.Verified && !kept[i].Verified, c.provesRoom(e) && e.PDU != nil && kept[i].PDU == nil:
			kept[i] = e
		}
	}
	c.state.Events = kept
}

// roomStateOrder is how useful a type of event is to somebody who is invited
// (client-server API, "Stripped state"); the inviter's membership stands for the
// name that the invitation shows.
var roomStateOrder = []string{
	typeCreate, "m.room.name", "m.room.canonical_alias", "m.room.avatar", typeMember,
	typeJoinRules, "m.room.encryption", "m.room.topic",
}

// SelectRoomState chooses the invite_room_state for an invite from the room's
// state: the create event first and always, then name, canonical alias, avatar,
// members (give only the inviter's), join rules, encryption and topic, as long as
// all of it has at most limit bytes; other types are left out. limit 0 means no
// limit. An entry is the event in canonical form without unsigned. At most 100
// entries are returned, in this order.
func SelectRoomState(state []*Event, limit int) []json.RawMessage {
	chosen, size := chooseState(state, limit)
	entries := make([]json.RawMessage, 0, len(chosen))
	text := make([]byte, 0, size) // of all entries
	for _, e := range chosen {
		start := len(text)
		text = e.appendWithoutUnsigned(text)
		entries = append(entries, json.RawMessage(text[start:len(text):len(text)]))
	}
	return entries
}

// chooseState returns what SelectRoomState chooses and how many bytes that has.
func chooseState(state []*Event, limit int) (chosen []*Event, size int) {
	chosen = make([]*Event, 0, min(len(state), maxRoomState))
	for _, eventType := range roomStateOrder {
		for _, e := range state {
			if e == nil || e.eventType != eventType || !e.hasStateKey || len(chosen) == maxRoomState {
				continue
			}
			n := e.sizeWithoutUnsigned()
			if eventType != typeCreate && limit > 0 && size+n > limit {
				continue
			}
			size += n
			chosen = append(chosen, e)
		}
	}
	return chosen, size
}
