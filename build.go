package fedinvite

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/ed25519"
)

// maxBuiltSize is the limit for events that we make: some servers count an empty
// unsigned, and some allow one byte less than the specification.
const maxBuiltSize = 65522

// authorisedVia is a member of the content that belongs to joins alone.
const authorisedVia = "join_authorised_via_users_server"

// maxReplySignatures is how many keys an invited server may sign with: each adds to
// the event.
const maxReplySignatures = 10

// An EventRef refers to another event of the room.
type EventRef struct {
	ID     string
	SHA256 []byte // its reference hash, 32 bytes; for room versions 1–2 only
}

// A Draft is an invite, or the leave that ends one, that is still to be made into an
// event.
type Draft struct {
	RoomID  string
	Sender  string // user ID of the inviter; of whoever declines: the invitee
	Invitee string // user ID
	// EventID is for room versions 1–2 only. Empty: derived from the event.
	EventID string
	// AuthEvents are at most 10: the room's create event (not in room version 12),
	// power levels and join rules, and the memberships of sender and invitee, as far
	// as they exist (server-server API, "Auth events selection").
	AuthEvents []EventRef
	PrevEvents []EventRef // at most 20
	Depth      int64      // one more than the greatest of PrevEvents, or the version's maximum
	Time       time.Time  // origin_server_ts, to the millisecond
	// Content may hold reason, is_direct, displayname and avatar_url of the
	// invitee and whatever else; membership is set, and
	// join_authorised_via_users_server, which is for joins, is removed.
	Content json.RawMessage
}

// NewInvite makes the m.room.member event of an invite from d, hashes it and signs
// it with s, which must be of the sender's server unless the content has a
// third_party_invite (server-server API, "Adding hashes and signatures to outgoing
// events"). It is strict canonical JSON in every room version, but for a depth of more
// than 2^53−1, which versions 1–5 allow. It has at most 65,522 bytes; the invited server's
// signature will add some 150.
//
// Errors wrap [ErrRoomVersion]; [ErrBadJSON] for whatever would break the event's
// format; [ErrSignature] if others than s would have to sign; [ErrIdentifier] if s has
// a malformed name; or come from s, which is asked only when all else is right.
func NewInvite(ctx context.Context, d Draft, rules Rules, s Signer) (*Event, error) {
	return newMember(ctx, &d, `"invite"`, rules, s)
}

// NewLeave makes the m.room.member event with membership leave by which the sender
// takes an invite back or, if sender and invitee are one, declines it. AuthEvents have
// no join rules, and the membership of the invitee among them is the invite. It is as
// [NewInvite] in all else, but that s must always be of the sender's server.
func NewLeave(ctx context.Context, d Draft, rules Rules, s Signer) (*Event, error) {
	return newMember(ctx, &d, `"leave"`, rules, s)
}

func newMember(ctx context.Context, d *Draft, membership string, rules Rules, s Signer) (*Event, error) {
	if err := rules.check(); err != nil {
		return nil, err
	}
	if err := d.check(&rules); err != nil {
		return nil, err
	}
	if err := checkSigner(s); err != nil {
		return nil, err
	}
	e, err := d.event(membership, &rules, s)
	if err != nil {
		return nil, err
	}
	required, err := e.requiredSigners()
	if err != nil {
		return nil, err
	}
	for _, server := range required {
		if server != s.ServerName() {
			return nil, &SignatureError{Server: server, Err: fmt.Errorf("%w: that server has to sign, but the signer is of %s", ErrSignature, s.ServerName())}
		}
	}
	signature, err := ask(ctx, s, e.signed)
	if err != nil {
		return nil, err
	}
	e.setSignatures(mergeSignature(e.signatures, s.ServerName(), s.KeyID(), signature))
	return e, nil
}

// check refuses what could only be written after a repair, or not at all.
func (d *Draft) check(rules *Rules) error {
	if _, _, err := ParseUserID(d.Invitee); err != nil {
		return fmt.Errorf("invitee: %w", err)
	}
	for _, s := range [...]string{d.RoomID, d.Sender, d.Invitee, d.EventID} {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%w: %q", ErrBadText, clip(s))
		}
	}
	if d.EventID != "" && rules.EventIDs != EventIDServer {
		return fmt.Errorf("%w: room version %s computes the event ID", ErrBadJSON, rules.Version)
	}
	if ts := d.Time.UnixMilli(); ts < 0 || ts > maxSafeInteger {
		return fmt.Errorf("%w: Draft.Time is not set or out of range", ErrBadJSON)
	}
	if err := checkReferences(d.AuthEvents, rules); err != nil {
		return fmt.Errorf("auth_events: %w", err)
	}
	if err := checkReferences(d.PrevEvents, rules); err != nil {
		return fmt.Errorf("prev_events: %w", err)
	}
	return nil
}

func checkReferences(refs []EventRef, rules *Rules) error {
	for _, ref := range refs {
		if !utf8.ValidString(ref.ID) {
			return fmt.Errorf("%w: %q", ErrBadText, clip(ref.ID))
		}
		if rules.EventIDs == EventIDServer && len(ref.SHA256) != sha256.Size {
			return fmt.Errorf("%w: the reference hash of %q is not 32 bytes", ErrBadJSON, clip(ref.ID))
		}
	}
	return nil
}

// event returns the event, hashed and with empty signatures, after all the checks of
// [ParseEvent]. signer, whose signature is to come, counts for its size and, in room
// versions 1–2, its ID.
func (d *Draft) event(membership string, rules *Rules, signer Signer) (*Event, error) {
	s := scratches.Get().(*scratch)
	defer s.free()
	content, err := d.canonicalContent(s)
	if err != nil {
		return nil, fmt.Errorf("content: %w", err)
	}
	text, early, late := d.appendText(s.work[:0], content, membership, rules)
	if rules.EventIDs == EventIDServer {
		id := d.eventID(text, signer)
		text = slices.Insert(text, early, id...)
		early, late = early+len(id), late+len(id)
	}
	hash := sha256.Sum256(text)
	text = slices.Insert(text, late, []byte(`,"signatures":{}`)...)
	var b [80]byte
	hashes := append(b[:0], `,"hashes":{"sha256":"`...)
	hashes = append(base64.RawStdEncoding.AppendEncode(hashes, hash[:]), `"}`...)
	text = slices.Insert(text, early, hashes...)
	s.work = text
	if size := len(text) + signatureSize(signer); size > maxBuiltSize {
		return nil, fmt.Errorf("%w: event of %d bytes, more than %d", ErrBadJSON, size, maxBuiltSize)
	}
	return parseBuilt(text, &hash, rules, s)
}

// appendText writes the event, in order, but for what is made from this text: event_id and
// hashes belong at the index early, signatures at late.
func (d *Draft) appendText(dst []byte, content, membership string, rules *Rules) (text []byte, early, late int) {
	dst = append(dst, `{"auth_events":`...)
	dst = appendReferences(dst, d.AuthEvents, rules)
	dst = append(dst, `,"content":`...)
	dst = appendSet(dst, content, "membership", membership)
	dst = append(dst, `,"depth":`...)
	dst = strconv.AppendInt(dst, d.Depth, 10)
	early = len(dst)
	dst = append(dst, `,"origin_server_ts":`...)
	dst = strconv.AppendInt(dst, d.Time.UnixMilli(), 10)
	dst = append(dst, `,"prev_events":`...)
	dst = appendReferences(dst, d.PrevEvents, rules)
	dst = append(dst, `,"room_id":`...)
	dst = appendQuoted(dst, d.RoomID)
	dst = append(dst, `,"sender":`...)
	dst = appendQuoted(dst, d.Sender)
	late = len(dst)
	dst = append(dst, `,"state_key":`...)
	dst = appendQuoted(dst, d.Invitee)
	return append(dst, `,"type":"m.room.member"}`...), early, late
}

// canonicalContent returns the content without what is not the author's to say; only
// membership is still to be set.
func (d *Draft) canonicalContent(s *scratch) (string, error) {
	if len(d.Content) == 0 {
		return "{}", nil
	}
	var err error
	if s.canonical, err = appendCanonical(s.canonical[:0], d.Content, strictNumbers); err != nil {
		return "", err
	}
	content := string(s.canonical)
	if !isObject(content) {
		return "", fmt.Errorf("%w: not an object", ErrBadJSON)
	}
	if get(content, authorisedVia) != "" {
		content = with(content, authorisedVia, "")
	}
	return content, nil
}

// eventID returns the member event_id of room versions 1–2, with a comma before it. An
// ID that is not given is derived from text, the event without it.
func (d *Draft) eventID(text []byte, s Signer) []byte {
	member := []byte(`,"event_id":`)
	if d.EventID != "" {
		return appendQuoted(member, d.EventID)
	}
	hash := sha256.Sum256(text)
	local := base64.RawURLEncoding.EncodeToString(hash[:])
	room := maxIdentifier - len("$:") - len(s.ServerName()) // with a long name not for all of it
	return appendQuoted(member, "$"+local[:max(0, min(len(local), room))]+":"+string(s.ServerName()))
}

// signatureSize returns how long the entry of s in empty signatures will be.
func signatureSize(s Signer) int {
	const base64Size = (ed25519.SignatureSize*8 + 5) / 6
	return len(`"":{"":""}`) + len(s.ServerName()) + len(s.KeyID()) + base64Size
}

// appendReferences writes auth_events or prev_events: pairs of ID and hash in room
// versions 1–2, else IDs.
func appendReferences(dst []byte, refs []EventRef, rules *Rules) []byte {
	dst = append(dst, '[')
	for i, ref := range refs {
		if i > 0 {
			dst = append(dst, ',')
		}
		if rules.EventIDs != EventIDServer {
			dst = appendQuoted(dst, ref.ID)
			continue
		}
		dst = appendQuoted(append(dst, '['), ref.ID)
		dst = append(dst, `,{"sha256":"`...)
		dst = base64.RawStdEncoding.AppendEncode(dst, ref.SHA256)
		dst = append(dst, `"}]`...)
	}
	return append(dst, ']')
}

// MergeReply checks what the invited server returned for the invite sent and adds
// its signature. The reply must be the same event, but for signatures and
// unsigned ([ErrMismatch]), and every signature of invitee in it by a known key
// must verify, one at least and ten at most (a [*SignatureError]). Only these are
// added: ours are never replaced, other servers' are ignored (server-server API, PUT
// /_matrix/federation/v2/invite, response 200). If the event outgrows its limits
// with them, that is [ErrBadJSON].
//
// reply is the event of a [Response]. Errors also wrap [ErrNotJSON], [ErrBadJSON]
// and [ErrKeysUnavailable].
func MergeReply(ctx context.Context, sent *Event, reply json.RawMessage, invitee ServerName, keys KeySource) (*Event, error) {
	signatures, err := matchReply(sent, reply)
	if err != nil {
		return nil, err
	}
	v := newVerification(keys)
	checks, err := v.collect(ctx, nil, signatureSet{
		signatures: signatures,
		message:    sent.signed,
		at:         sent.OriginServerTS(),
		enforce:    sent.rules.EnforceKeyValidity,
	}, invitee)
	if err != nil {
		return nil, err
	}
	if len(checks) > maxReplySignatures {
		return nil, &SignatureError{Server: invitee, Err: fmt.Errorf("%w: more than %d of them", ErrSignature, maxReplySignatures)}
	}
	merged := sent.signatures
	for i := range checks {
		signature, err := checks[i].verify()
		if err != nil {
			return nil, err
		}
		if get(get(merged, string(invitee)), string(checks[i].id)) == "" {
			// As we write base64, not as the peer spelt it: others may refuse that.
			merged = mergeSignature(merged, invitee, checks[i].id, signature)
		}
	}
	signed := sent.withSignatures(merged)
	// What leaves here goes into the room, so everybody has to accept it.
	if err := signed.checkSignatures(); err != nil {
		return nil, fmt.Errorf("with the signature of %s: %w", invitee, err)
	}
	return signed, nil
}

// matchReply returns the signatures of the reply, if all else in it is as it was sent.
func matchReply(sent *Event, reply []byte) (signatures string, err error) {
	if signatures, ok := sent.insertedSignatures(reply); ok {
		return signatures, nil
	}
	s := scratches.Get().(*scratch)
	defer s.free()
	text, err := s.read(reply, sent.rules.numbers())
	if err != nil {
		return "", err
	}
	if !isObject(text) {
		return "", fmt.Errorf("%w: not an object", ErrBadJSON)
	}
	if !sameSigned(sent.json, text, s.members) {
		return "", fmt.Errorf("%w: the reply is not the event that was sent", ErrMismatch)
	}
	return get(text, "signatures"), nil
}

// insertedSignatures spares most replies the closer look: those that are, byte for byte,
// what was sent, but for another canonical value in the place of signatures.
func (e *Event) insertedSignatures(reply []byte) (signatures string, ok bool) {
	before, after := e.json[:e.signaturesAt], e.json[e.signaturesAt+len(e.signatures):]
	n := len(reply) - len(after)
	if e.signatures == "" || n <= len(before) || string(reply[:len(before)]) != before || string(reply[n:]) != after {
		return "", false
	}
	if checkValue(reply[:n], len(before), 1) != n {
		return "", false
	}
	return string(reply[len(before):n]), true
}

// sameSigned reports whether signatures of two canonical objects cover the same bytes.
// others are the members of b.
func sameSigned(a, b string, others []pair) bool {
	skip := func() {
		for len(others) > 0 && !isSigned(others[0].key(b)) {
			others = others[1:]
		}
	}
	for m := range membersOf(a) {
		if !isSigned(m.key(a)) {
			continue
		}
		if skip(); len(others) == 0 || a[m.start:m.end] != b[others[0].start:others[0].end] {
			return false
		}
		others = others[1:]
	}
	skip()
	return len(others) == 0
}
