package fedinvite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// maxBuiltSize is the limit for events that we make: some servers count an empty
// unsigned, and some allow one byte less than the specification.
const maxBuiltSize = 65522

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
// events"). It is strict canonical JSON in every room version, of at most 65,522
// bytes; the invited server's signature will add some 150.
//
// Errors wrap [ErrRoomVersion]; [ErrBadJSON] for whatever would break the event's
// format; [ErrSignature] if others than s would have to sign; or come from s.
func NewInvite(ctx context.Context, d Draft, rules Rules, s Signer) (*Event, error) {
	return newMember(ctx, &d, "invite", rules, s)
}

// NewLeave makes the m.room.member event with membership leave by which the sender
// takes an invite back or, if sender and invitee are one, declines it. It is as
// NewInvite in all else; AuthEvents have no join rules, and the membership of the
// invitee among them is the invite.
func NewLeave(ctx context.Context, d Draft, rules Rules, s Signer) (*Event, error) {
	return newMember(ctx, &d, "leave", rules, s)
}

func newMember(ctx context.Context, d *Draft, membership string, rules Rules, s Signer) (*Event, error) {
	if err := rules.check(); err != nil {
		return nil, err
	}
	if _, _, err := ParseUserID(d.Invitee); err != nil {
		return nil, fmt.Errorf("invitee: %w", err)
	}
	text, err := d.unsigned(membership, &rules, s)
	if err != nil {
		return nil, err
	}
	signed, err := SignEventJSON(ctx, []byte(text), rules, s)
	if err != nil {
		return nil, err
	}
	if len(signed) > maxBuiltSize {
		return nil, fmt.Errorf("%w: event of %d bytes, more than %d", ErrBadJSON, len(signed), maxBuiltSize)
	}
	e, err := ParseEvent(signed, rules)
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
	return e, nil
}

// unsigned returns the event without hashes and signatures, in canonical form.
func (d *Draft) unsigned(membership string, rules *Rules, s Signer) (string, error) {
	if err := d.check(); err != nil {
		return "", err
	}
	content := "{}"
	if len(d.Content) > 0 {
		var err error
		if content, err = canonicalObject(d.Content, strictNumbers); err != nil {
			return "", fmt.Errorf("content: %w", err)
		}
	}
	content = with(content, "join_authorised_via_users_server", "")
	content = with(content, "membership", quote(membership))

	auth, err := references(d.AuthEvents, rules)
	if err != nil {
		return "", fmt.Errorf("auth_events: %w", err)
	}
	prev, err := references(d.PrevEvents, rules)
	if err != nil {
		return "", fmt.Errorf("prev_events: %w", err)
	}
	text := `{"auth_events":` + auth +
		`,"content":` + content +
		`,"depth":` + strconv.FormatInt(d.Depth, 10) +
		`,"origin_server_ts":` + strconv.FormatInt(d.Time.UnixMilli(), 10) +
		`,"prev_events":` + prev +
		`,"room_id":` + quote(d.RoomID) +
		`,"sender":` + quote(d.Sender) +
		`,"state_key":` + quote(d.Invitee) +
		`,"type":"m.room.member"}`
	if rules.EventIDs != EventIDServer {
		if d.EventID != "" {
			return "", fmt.Errorf("%w: room version %s computes the event ID", ErrBadJSON, rules.Version)
		}
		return text, nil
	}
	id := d.EventID
	if id == "" {
		if s == nil {
			return "", errors.New("no signer")
		}
		hash := sha256.Sum256([]byte(text))
		id = "$" + base64.RawURLEncoding.EncodeToString(hash[:]) + ":" + string(s.ServerName())
	}
	return with(text, "event_id", quote(id)), nil
}

// check refuses what could only be written after a repair.
func (d *Draft) check() error {
	texts := []string{d.RoomID, d.Sender, d.Invitee, d.EventID}
	for _, refs := range [][]EventRef{d.AuthEvents, d.PrevEvents} {
		for _, ref := range refs {
			texts = append(texts, ref.ID)
		}
	}
	for _, s := range texts {
		if !utf8.ValidString(s) {
			return fmt.Errorf("%w: %q", ErrBadText, clip(s))
		}
	}
	if ts := d.Time.UnixMilli(); ts < 0 || ts > maxSafeInteger {
		return fmt.Errorf("%w: Draft.Time is not set or out of range", ErrBadJSON)
	}
	return nil
}

// references writes auth_events or prev_events: pairs of ID and hash in room
// versions 1–2, else IDs.
func references(refs []EventRef, rules *Rules) (string, error) {
	var b bytes.Buffer
	b.WriteByte('[')
	for i, ref := range refs {
		if i > 0 {
			b.WriteByte(',')
		}
		if rules.EventIDs != EventIDServer {
			b.WriteString(quote(ref.ID))
			continue
		}
		if len(ref.SHA256) != sha256.Size {
			return "", fmt.Errorf("%w: the reference hash of %q is not 32 bytes", ErrBadJSON, clip(ref.ID))
		}
		b.WriteString("[" + quote(ref.ID) + `,{"sha256":"` + encodeBase64(ref.SHA256) + `"}]`)
	}
	b.WriteByte(']')
	return b.String(), nil
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
	text, err := canonicalObject(reply, sent.rules.numbers())
	if err != nil {
		return nil, err
	}
	if !bytes.Equal(signedPart(text), signedPart(sent.json)) {
		return nil, fmt.Errorf("%w: the reply is not the event that was sent", ErrMismatch)
	}
	v := newVerification(keys)
	checks, err := v.collect(ctx, nil, signatureSet{
		signatures: get(text, "signatures"),
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
	if _, err := ParseEvent(signed.AppendJSON(nil), sent.rules); err != nil {
		return nil, fmt.Errorf("with the signature of %s: %w", invitee, err)
	}
	return signed, nil
}
