package fedinvite

import (
	"bytes"
	"crypto/sha256"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
)

// Limits of a PDU (client-server API, "Size limits"; each room version's "Event format").
const (
	maxEventSize  = 65536 // bytes of canonical JSON, unsigned left out
	maxAuthEvents = 10
	maxPrevEvents = 20
)

// ParseEvent parses an event that came over the network and checks all that the
// room version demands of its format: canonical JSON, the members and their types,
// the limits of size, length, count and depth, and the form of IDs and
// references. Signatures and hash are not checked yet; see [Event.Verify] and
// [Event.HashOK].
//
// raw may be in any JSON form. Errors wrap [ErrNotJSON], [ErrBadJSON] or
// [ErrRoomVersion]; a [*JSONError] says where the JSON is wrong.
func ParseEvent(raw []byte, rules Rules) (*Event, error) {
	return parseEvent(raw, &rules, fromNetwork)
}

// ParseStored parses an event that the author's own store vouches for: the shape
// must be right, but limits and strictness, which may be younger than the event,
// do not count; only identifiers keep to their 255 bytes. The errors are those of
// [ParseEvent].
func ParseStored(raw []byte, rules Rules) (*Event, error) {
	return parseEvent(raw, &rules, fromStore)
}

type provenance bool

const (
	fromNetwork provenance = true
	fromStore   provenance = false
)

func parseEvent(raw []byte, rules *Rules, from provenance) (*Event, error) {
	if err := rules.check(); err != nil {
		return nil, err
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	p := parser{Event: &Event{rules: *rules, strict: from == fromNetwork}}
	if err := p.read(raw, s); err != nil {
		return nil, err
	}
	return p.parse(s)
}

// parseBuilt is [ParseEvent] for the text of an event that we have just hashed. text may
// be in s.
func parseBuilt(text []byte, hash *[32]byte, rules *Rules, s *scratch) (*Event, error) {
	p := parser{Event: &Event{rules: *rules, strict: true, contentHash: *hash, hashOK: true}}
	if err := p.read(text, s); err != nil {
		return nil, err
	}
	return p.parse(s)
}

// A parser fills in one Event. Its methods keep the first error.
type parser struct {
	*Event
	err error

	// Raw members; sha256 is the one of hashes.
	hashes, sha256, eventID, roomID, eventType, sender, stateKey, depth, ts string
}

func (p *parser) read(raw []byte, s *scratch) (err error) {
	numbers := legacyNumbers
	if p.strict {
		numbers = p.rules.numbers()
	}
	p.json, err = s.read(raw, numbers)
	return err
}

// parse checks the members and works out what follows from them.
func (p *parser) parse(s *scratch) (*Event, error) {
	if !isObject(p.json) {
		return nil, detail.Errorf(ErrBadJSON, "event is not an object")
	}
	size := len(p.json)
	for _, m := range s.members {
		p.take(m)
		if m.key(p.json) == "unsigned" {
			size -= m.end - m.start + 1
		}
	}
	if p.strict {
		p.err = checkSizes(size, p.signatures)
	}
	if p.err != nil {
		return nil, p.err
	}
	p.fields()
	if p.err != nil {
		return nil, p.err
	}
	p.identity(s)
	p.references()
	if p.err != nil {
		return nil, p.err
	}
	return p.Event, nil
}

// take remembers a member that has a meaning.
func (p *parser) take(m pair) {
	raw := m.raw(p.json)
	switch m.key(p.json) {
	case "auth_events":
		p.authEvents = raw
	case "content":
		p.content = raw
	case "depth":
		p.depth = raw
	case "event_id":
		p.eventID = raw
	case "hashes":
		p.hashes = raw
	case "origin_server_ts":
		p.ts = raw
	case "prev_events":
		p.prevEvents = raw
	case "room_id":
		p.roomID = raw
	case "sender":
		p.sender = raw
	case "signatures":
		p.signatures, p.signaturesAt = raw, m.value
	case "state_key":
		p.stateKey = raw
	case "type":
		p.eventType = raw
	case "unsigned":
		p.unsigned = raw
	}
}

func (p *parser) fail(format string, args ...any) {
	if p.err == nil {
		p.err = detail.Errorf(ErrBadJSON, format, args...)
	}
}

// fields checks every member on its own.
func (p *parser) fields() {
	e := p.Event
	e.eventType = p.string("type", p.eventType)
	e.sender = p.string("sender", p.sender)
	if _, _, ok := splitIdentifier(e.sender, '@'); !ok {
		p.fail("sender is no user ID")
	}
	if p.stateKey != "" {
		e.hasStateKey = true
		e.stateKey = p.string("state_key", p.stateKey)
	}
	if !isObject(e.content) {
		p.fail("content is not an object")
	}
	var ok bool
	if e.depth, ok = integer(p.depth); !ok || p.strict && (e.depth < 0 || e.depth > e.rules.MaxDepth) {
		p.fail("depth is not an integer from 0 to %d", e.rules.MaxDepth)
	}
	if e.ts, ok = integer(p.ts); !ok {
		p.fail("origin_server_ts is not an integer")
	}
	if p.hashes == "" {
		p.fail("hashes is missing: the event was not hashed and signed")
	}
	if p.sha256 = get(p.hashes, "sha256"); p.sha256 == "" || p.sha256[0] != '"' {
		p.fail("hashes has no sha256")
	}
	if e.signatures != "" && !isObject(e.signatures) {
		p.fail("signatures is not an object")
	}
	if !isArray(e.authEvents) {
		p.fail("auth_events is not an array")
	}
	if !isArray(e.prevEvents) {
		p.fail("prev_events is not an array")
	}
}

// string returns a required string of at most 255 bytes.
func (p *parser) string(name, raw string) string {
	s, ok := unquote(raw)
	switch {
	case raw == "":
		p.fail("%s is missing", name)
	case !ok:
		p.fail("%s is not a string", name)
	}
	if p.strict && len(s) > maxIdentifier {
		p.fail("%s of %d bytes, more than %d", name, len(s), maxIdentifier)
	}
	return s
}

// checkSizes checks what more signatures can break: the size of the event without
// unsigned, and the number of entries in signatures. What those hold matters only for
// the servers that are asked about.
func checkSizes(size int, signatures string) error {
	if size > maxEventSize {
		return detail.Errorf(ErrBadJSON, "event of %d bytes, more than %d", size, maxEventSize)
	}
	const shortest = len(`"":"",`)
	if len(signatures) <= maxSignatures*shortest {
		return nil // no room for more
	}
	count := 0
	for m := range membersOf(signatures) {
		for range membersOf(m.raw(signatures)) {
			count++
		}
	}
	if count > maxSignatures {
		return detail.Errorf(ErrBadJSON, "%d signatures, more than %d", count, maxSignatures)
	}
	return nil
}

// checkSignatures is [ParseEvent] for a copy that differs from the event that was parsed
// in its signatures alone.
func (e *Event) checkSignatures() error {
	if !e.strict {
		_, err := ParseEvent([]byte(e.json), e.rules)
		return err
	}
	return checkSizes(e.sizeWithoutUnsigned(), e.signatures)
}

// identity computes the hashes and settles event ID and room ID.
func (p *parser) identity(s *scratch) {
	e := p.Event
	if !e.hashOK { // else it was hashed a moment ago
		s.work = appendHashed(s.work[:0], e.json, s.members)
		e.contentHash = sha256.Sum256(s.work)
		e.hashOK = hashMatches(p.sha256, &e.contentHash)
	}

	s.work = appendRedacted(s.work[:0], e.json, s.members, e.eventType, &e.rules)
	e.signed = bytes.Clone(s.work)
	e.referenceHash = sha256.Sum256(e.signed)

	if e.rules.EventIDs == EventIDServer {
		e.id = p.string("event_id", p.eventID)
		if _, _, ok := splitIdentifier(e.id, '$'); !ok {
			p.fail("event_id is not of the form $id:server")
		}
	} else {
		if p.eventID != "" {
			p.fail("event_id on an event of a room version that computes it")
		}
		e.id = hashID('$', &e.referenceHash, e.rules.EventIDs)
	}

	if e.rules.RoomIDIsCreateEvent && e.eventType == typeCreate {
		if p.roomID != "" {
			p.fail("room_id on a create event of a room version that computes it")
		}
		e.roomID = hashID('!', &e.referenceHash, e.rules.EventIDs)
		return
	}
	e.roomID = p.string("room_id", p.roomID)
	if !validRoomID(e.roomID, &e.rules) {
		p.fail("room_id is no room ID of room version %s", e.rules.Version)
	}
}

// references checks auth_events and prev_events.
func (p *parser) references() {
	if n := p.countReferences("auth_events", p.authEvents); p.strict && n > maxAuthEvents {
		p.fail("%d auth_events, more than %d", n, maxAuthEvents)
	}
	if n := p.countReferences("prev_events", p.prevEvents); p.strict && n > maxPrevEvents {
		p.fail("%d prev_events, more than %d", n, maxPrevEvents)
	}
}

func (p *parser) countReferences(name, list string) int {
	n := 0
	for raw := range elementsOf(list) {
		n++
		id, ok := p.reference(raw)
		switch {
		case !ok:
			p.fail("%s holds what is no event reference of the room version", name)
		case len(id) == 0 || id[0] != '$' || p.strict && len(id) > maxIdentifier:
			p.fail("%s holds what is no event ID", name)
		case name == "auth_events" && p.rules.RoomIDIsCreateEvent && id[1:] == strings.TrimPrefix(p.Event.roomID, "!"):
			p.fail("auth_events holds the create event")
		}
	}
	return n
}

// reference returns the event ID of one reference: a pair of ID and hashes in room
// versions 1–2, else the ID alone.
func (p *parser) reference(raw string) (id string, ok bool) {
	if p.rules.EventIDs != EventIDServer {
		return unquote(raw)
	}
	if !isArray(raw) {
		return "", false
	}
	var pair [3]string
	n := 0
	for item := range elementsOf(raw) {
		if n == 2 {
			return "", false
		}
		pair[n] = item
		n++
	}
	id, ok = unquote(pair[0])
	return id, ok && isObject(pair[1])
}

// referencedIDs returns the IDs of a list of references that was checked before.
func referencedIDs(list string) []string {
	ids := []string{}
	for raw := range elementsOf(list) {
		if isArray(raw) {
			for first := range elementsOf(raw) {
				raw = first
				break
			}
		}
		id, _ := unquote(raw)
		ids = append(ids, id)
	}
	return ids
}
