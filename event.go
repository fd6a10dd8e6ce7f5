package fedinvite

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Event types that this package gives a meaning.
const (
	typeAliases           = "m.room.aliases"
	typeCreate            = "m.room.create"
	typeHistoryVisibility = "m.room.history_visibility"
	typeJoinRules         = "m.room.join_rules"
	typeMember            = "m.room.member"
	typePowerLevels       = "m.room.power_levels"
	typeRedaction         = "m.room.redaction"
)

// An Event is a PDU: a signed event of a room, as servers exchange it
// (server-server API, "PDUs"). It is immutable and safe for concurrent use; what
// accessors return may be kept and changed. Make one with [ParseEvent],
// [ParseStored], [NewInvite] or [NewLeave].
type Event struct {
	rules Rules
	json  string // canonical, whole
	// signed is the redacted form without signatures and unsigned: what the
	// reference hash covers and signatures sign. Nobody writes to it.
	signed []byte

	id, roomID, eventType, sender, stateKey string
	hasStateKey                             bool
	depth, ts                               int64

	signaturesAt int // where signatures starts in json

	// Raw members; slices of json, "" if absent.
	content, unsigned, signatures, authEvents, prevEvents string

	referenceHash, contentHash [32]byte
	hashOK                     bool
	strict                     bool // it keeps the limits of ParseEvent
}

// ID returns the event ID: event_id in room versions 1–2, else computed from the
// reference hash.
func (e *Event) ID() string { return e.id }

// RoomID returns the room ID. That of a create event of room version 12 is
// computed from its reference hash.
func (e *Event) RoomID() string { return e.roomID }

// Type returns the event type.
func (e *Event) Type() string { return e.eventType }

// Sender returns the user ID of the sender.
func (e *Event) Sender() string { return e.sender }

// StateKey returns the state key; ok is false if the event is no state event.
func (e *Event) StateKey() (key string, ok bool) { return e.stateKey, e.hasStateKey }

// Membership returns content.membership of an m.room.member event, or "" for
// other events and if it is not a string.
func (e *Event) Membership() string {
	if e.eventType != typeMember {
		return ""
	}
	membership, _ := unquote(get(e.content, "membership"))
	return membership
}

// Content returns the content, a JSON object in canonical form.
func (e *Event) Content() json.RawMessage { return json.RawMessage(e.content) }

// ContentJSON returns the member of the content that path leads to, key by key, in
// canonical form, or "" if there is none; without a path the whole content. The keys
// are as they are, not as JSON escapes them. ContentJSON("users", "@a:a.example") of
// an m.room.power_levels event may be "100". It copies nothing.
func (e *Event) ContentJSON(path ...string) string {
	value := e.content
	for _, key := range path {
		value = get(value, key)
	}
	return value
}

// Ref returns what other events refer to the event by, in auth_events and prev_events.
func (e *Event) Ref() EventRef {
	return EventRef{ID: e.id, SHA256: bytes.Clone(e.referenceHash[:])}
}

// Unsigned returns unsigned, which nobody vouches for, or nil if there is none or
// it is no object.
func (e *Event) Unsigned() json.RawMessage {
	if !isObject(e.unsigned) {
		return nil
	}
	return json.RawMessage(e.unsigned)
}

// Signatures returns the signatures, a JSON object of server names, key IDs and
// base64. Entries are whatever the event's carriers have put there; only
// [Event.Verify] says whether they are worth something.
func (e *Event) Signatures() json.RawMessage {
	if e.signatures == "" {
		return json.RawMessage("{}")
	}
	return json.RawMessage(e.signatures)
}

// Depth returns the depth.
func (e *Event) Depth() int64 { return e.depth }

// OriginServerTS returns the time that the sender's server claims.
func (e *Event) OriginServerTS() time.Time { return time.UnixMilli(e.ts) }

// AuthEventIDs returns the IDs of auth_events, in a fresh slice.
func (e *Event) AuthEventIDs() []string { return referencedIDs(e.authEvents) }

// PrevEventIDs returns the IDs of prev_events, in a fresh slice.
func (e *Event) PrevEventIDs() []string { return referencedIDs(e.prevEvents) }

// ReferenceHash returns the SHA-256 of the redacted event without signatures and
// unsigned (server-server API, "Calculating the reference hash for an event").
func (e *Event) ReferenceHash() [32]byte { return e.referenceHash }

// ContentHash returns the SHA-256 of the event without unsigned, signatures and
// hashes, as computed from the event; [Event.HashOK] says whether the event names
// the same. Like today's servers it leaves out top-level age_ts, outlier and
// destinations too, for which therefore nobody vouches (server-server API,
// "Calculating the content hash for an event").
func (e *Event) ContentHash() [32]byte { return e.contentHash }

// Rules returns the rules by which the event was parsed.
func (e *Event) Rules() Rules { return e.rules }

// HashOK reports whether hashes.sha256 is the content hash. If it is not, the
// event was redacted or changed on its way, and [Event.Redacted] must be used
// instead (server-server API, "Validating hashes and signatures on received events").
func (e *Event) HashOK() bool { return e.hashOK }

// MarshalJSON returns the event in canonical form. [encoding/json.Marshal] escapes
// '<', '>' and '&' in it anew; call this or [Event.AppendJSON] for the bytes.
func (e *Event) MarshalJSON() ([]byte, error) { return []byte(e.json), nil }

// AppendJSON appends the event in canonical form.
func (e *Event) AppendJSON(dst []byte) []byte { return append(dst, e.json...) }

// Redacted returns the redacted copy: same ID, same signatures, only the keys
// that the room version keeps (each version's page, "Redactions"). Its content hash
// is right only if nothing was lost that had been there when it was hashed.
func (e *Event) Redacted() *Event {
	text := string(e.signed)
	r := *e
	if e.signatures != "" {
		text = with(text, "signatures", e.signatures)
		r.signaturesAt = indexOf(text, "signatures")
		r.signatures = text[r.signaturesAt:][:len(e.signatures)]
	}
	r.json = text
	r.content = get(text, "content")
	r.authEvents = get(text, "auth_events")
	r.prevEvents = get(text, "prev_events")
	r.unsigned = ""
	r.contentHash = contentHash(text)
	r.hashOK = hashMatches(get(get(text, "hashes"), "sha256"), &r.contentHash)
	return &r
}

// withoutUnsigned returns the event without unsigned.
func (e *Event) withoutUnsigned() *Event {
	if e.unsigned == "" {
		return e
	}
	r := *e
	r.json = with(e.json, "unsigned", "") // which stands behind signatures
	r.unsigned = ""
	return &r
}

func (e *Event) sizeWithoutUnsigned() int {
	if e.unsigned == "" {
		return len(e.json)
	}
	return len(e.json) - len(`,"unsigned":`) - len(e.unsigned)
}

func (e *Event) appendWithoutUnsigned(dst []byte) []byte {
	if e.unsigned == "" {
		return append(dst, e.json...)
	}
	return appendSet(dst, e.json, "unsigned", "")
}

// WithSignature returns a copy that carries a signature by s; the event itself
// does not change. Signatures do not change the event ID. With one more the event may be
// past the limits of [ParseEvent]; [ParseStored] reads it. The errors are those of
// s, and [ErrIdentifier] if its name or key ID is malformed.
func (e *Event) WithSignature(ctx context.Context, s Signer) (*Event, error) {
	if len(e.signed) == 0 {
		return nil, errors.New("signing the zero Event")
	}
	signature, err := sign(ctx, s, e.signed)
	if err != nil {
		return nil, err
	}
	return e.withSignatures(mergeSignature(e.signatures, s.ServerName(), s.KeyID(), signature)), nil
}

// WithForeignSignature returns a copy that carries a signature by somebody else, such
// as a policy server, once it has been verified with key; whether the key is valid at
// the time is for the caller to say. It takes the place of a signature of the same
// server and key ID. The error wraps [ErrIdentifier] if server or id is malformed,
// [ErrBadJSON] if the event outgrows its limits, so that [ParseEvent] would refuse it, or
// is a [*SignatureError].
func (e *Event) WithForeignSignature(server ServerName, id KeyID, key VerifyKey, signature []byte) (*Event, error) {
	if len(e.signed) == 0 {
		return nil, errors.New("signing the zero Event")
	}
	if _, err := ParseServerName(string(server)); err != nil {
		return nil, err
	}
	if _, err := ParseKeyID(string(id)); err != nil {
		return nil, err
	}
	if err := key.Verify(e.signed, signature); err != nil {
		return nil, &SignatureError{Server: server, KeyID: id, Err: err}
	}
	signed := e.withSignatures(mergeSignature(e.signatures, server, id, signature))
	if err := signed.checkSignatures(); err != nil {
		return nil, fmt.Errorf("with the signature of %s: %w", server, err)
	}
	return signed, nil
}

// withSignatures returns a copy that carries signatures in place of its own. The
// event is spliced, not written anew: it is the same but for them.
func (e *Event) withSignatures(signatures string) *Event {
	r := *e
	r.setSignatures(signatures)
	return &r
}

// setSignatures is withSignatures for an event that nobody else has seen yet.
func (e *Event) setSignatures(signatures string) {
	if e.signatures == "" {
		e.json = with(e.json, "signatures", signatures)
		e.signaturesAt = indexOf(e.json, "signatures")
	} else {
		e.json = e.json[:e.signaturesAt] + signatures + e.json[e.signaturesAt+len(e.signatures):]
	}
	e.signatures = e.json[e.signaturesAt:][:len(signatures)]
}

// RequiredSigners returns the servers that must have signed the event, without
// duplicates: the sender's server, unless the event is a third-party invite; in
// room versions 1–2 that of the event ID; from 8 on that of
// join_authorised_via_users_server on a member event (server-server API,
// "Validating hashes and signatures on received events").
//
// They are worked out on the copy that is to be kept: if [Event.HashOK] is false,
// on the redacted one. Else a forged third-party invite would need no signature
// at all and end as an ordinary invite from anybody.
func (e *Event) RequiredSigners() []ServerName {
	servers, _ := e.requiredSigners()
	return servers
}

// requiredSigners fails if join_authorised_via_users_server is no user ID.
func (e *Event) requiredSigners() ([]ServerName, error) {
	content := e.content
	if !e.hashOK {
		content = get(string(e.signed), "content")
	}
	var membership, thirdParty, via string
	if e.eventType == typeMember {
		for m := range membersOf(content) {
			switch m.key(content) {
			case "membership":
				membership = m.raw(content)
			case "third_party_invite":
				thirdParty = m.raw(content)
			case "join_authorised_via_users_server":
				via = m.raw(content)
			}
		}
	}
	servers := make([]ServerName, 0, 3)
	if membership != `"invite"` || !isObject(thirdParty) {
		servers = append(servers, serverOf(e.sender))
	}
	if e.rules.EventIDs == EventIDServer {
		servers = addServer(servers, serverOf(e.id))
	}
	if via == "" || !e.rules.AuthorisingServerSigns {
		return servers, nil
	}
	user, _ := unquote(via)
	_, authorising, err := ParseUserID(user)
	if err != nil {
		return servers, fmt.Errorf("%w: join_authorised_via_users_server is no user ID", ErrAuthorisingServer)
	}
	return addServer(servers, authorising), nil
}

func addServer(servers []ServerName, s ServerName) []ServerName {
	if slices.Contains(servers, s) {
		return servers
	}
	return append(servers, s)
}

// serverOf returns the server of an identifier that was checked before.
func serverOf(id string) ServerName {
	_, server, _ := strings.Cut(id, ":")
	return ServerName(server)
}

func (e *Event) isInvite() bool { return e.Membership() == "invite" }

// Verify checks the signatures of the event's [Event.RequiredSigners] and of
// servers: every signature of those by a known key that was valid at the event's
// time must verify, and each must have one. Keys that had expired by then, and unknown
// keys and algorithms, are skipped. If nobody is required and none is named, that is an error, never
// success. That nobody in particular is vouched for matters with third-party
// invites: success does not say that the sender's server signed, unless it is named.
//
// The error is a [*SignatureError] that wraps [ErrSignature]; [ErrAuthorisingServer]
// if it is about that server alone; [ErrKeysUnavailable] if keys cannot be had now.
// Verify does not look at the content hash: if [Event.HashOK] is false, go on with
// [Event.Redacted].
func (e *Event) Verify(ctx context.Context, keys KeySource, servers ...ServerName) error {
	return e.verify(ctx, newVerification(keys), servers...)
}

func (e *Event) verify(ctx context.Context, v *verification, servers ...ServerName) error {
	checks, err := e.collect(ctx, v, make([]signatureCheck, 0, 1), servers...)
	if err != nil {
		return err
	}
	for i := range checks {
		_, err := checks[i].verify()
		if err := e.signatureError(checks[i].server, err, servers); err != nil {
			return err
		}
	}
	return nil
}

// collect appends the checks that Verify has to do; all of them or, with an error, none.
func (e *Event) collect(ctx context.Context, v *verification, dst []signatureCheck, servers ...ServerName) ([]signatureCheck, error) {
	required, err := e.requiredSigners()
	if err != nil {
		return dst, &SignatureError{Err: err}
	}
	for _, s := range servers {
		required = addServer(required, s)
	}
	if len(required) == 0 {
		return dst, &SignatureError{Err: fmt.Errorf("%w: nobody is required to have signed", ErrSignature)}
	}
	set := signatureSet{signatures: e.signatures, message: e.signed, at: e.OriginServerTS(), enforce: e.rules.EnforceKeyValidity}
	checks := dst
	for _, s := range required {
		if checks, err = v.collect(ctx, checks, set, s); err != nil {
			return dst, e.signatureError(s, err, servers)
		}
	}
	return checks, nil
}

// signatureError turns a failure of the authorising server alone into
// ErrAuthorisingServer, by which a resident server tells it from a forged event.
func (e *Event) signatureError(server ServerName, err error, named []ServerName) error {
	if err == nil || !errors.Is(err, ErrSignature) || slices.Contains(named, server) {
		return err
	}
	if server == serverOf(e.sender) || e.rules.EventIDs == EventIDServer && server == serverOf(e.id) {
		return err
	}
	var failed *SignatureError
	if !errors.As(err, &failed) {
		return err
	}
	return &SignatureError{failed.Server, failed.KeyID, fmt.Errorf("%w: %v", ErrAuthorisingServer, failed.Err)}
}

// scratch is the memory in which events are taken apart.
type scratch struct {
	canonical, work []byte
	members         []pair
}

var scratches = sync.Pool{New: func() any { return new(scratch) }}

// What is larger is left to the garbage collector.
const (
	maxPooled        = 1 << 18
	maxPooledMembers = 1 << 12
)

func (s *scratch) free() {
	if cap(s.canonical) <= maxPooled && cap(s.work) <= maxPooled && cap(s.members) <= maxPooledMembers {
		scratches.Put(s)
	}
}

// read brings raw into canonical form and finds its members, none if it is no object.
func (s *scratch) read(raw []byte, n numberRules) (string, error) {
	var found bool
	if s.members, found = canonicalMembers(s.members[:0], raw); found {
		return string(raw), nil
	}
	var err error
	if s.canonical, err = appendCanonical(s.canonical[:0], raw, n); err != nil {
		return "", err
	}
	text := string(s.canonical)
	s.members = slices.AppendSeq(s.members[:0], membersOf(text))
	return text, nil
}

// appendHashed appends what the content hash covers.
func appendHashed(dst []byte, text string, members []pair) []byte {
	c := copier{dst: append(dst, '{'), text: text}
	for _, m := range members {
		switch m.key(text) {
		case "unsigned", "signatures", "hashes":
		case "age_ts", "outlier", "destinations": // see Event.ContentHash
		default:
			c.keep(m)
		}
	}
	return append(c.flush(), '}')
}

func contentHash(text string) [32]byte {
	return sha256.Sum256(appendHashed(nil, text, slices.Collect(membersOf(text))))
}

// SignEventJSON is the low door: it hashes and signs any JSON object as an event
// of the room version and returns it in canonical form (server-server API,
// "Adding hashes and signatures to outgoing events"). It does not ask for a full
// event; the specification's own examples are none. The content hash replaces
// hashes.sha256; other signatures stay. Nothing is checked but the JSON: what an
// author sends should come from [NewInvite] or [NewLeave].
//
// The errors are those of the signer, of the canonical form in the room version,
// [ErrBadJSON] if raw is no object, and [ErrRoomVersion].
func SignEventJSON(ctx context.Context, raw []byte, rules Rules, s Signer) ([]byte, error) {
	if err := rules.check(); err != nil {
		return nil, err
	}
	sc := scratches.Get().(*scratch)
	defer sc.free()
	text, err := sc.read(raw, rules.numbers())
	if err != nil {
		return nil, err
	}
	if !isObject(text) {
		return nil, fmt.Errorf("%w: not an object", ErrBadJSON)
	}
	sc.work = appendHashed(sc.work[:0], text, sc.members)
	hash := sha256.Sum256(sc.work)
	text = with(text, "hashes", with(get(text, "hashes"), "sha256", `"`+encodeBase64(hash[:])+`"`))
	sc.members = slices.AppendSeq(sc.members[:0], membersOf(text))
	eventType, _ := unquote(get(text, "type"))
	sc.work = appendRedacted(sc.work[:0], text, sc.members, eventType, &rules)
	signature, err := sign(ctx, s, sc.work)
	if err != nil {
		return nil, err
	}
	signatures := mergeSignature(get(text, "signatures"), s.ServerName(), s.KeyID(), signature)
	return appendSet(make([]byte, 0, len(text)+len(`"signatures":,`)+len(signatures)), text, "signatures", signatures), nil
}

// numbers says which numbers events of the version may hold.
func (r *Rules) numbers() numberRules {
	if r.StrictJSON {
		return eventNumbers
	}
	return legacyNumbers
}

// hashID returns the reference hash as an identifier with the given sigil.
func hashID(sigil byte, hash *[32]byte, format EventIDFormat) string {
	var b [1 + hashIDLen]byte
	b[0] = sigil
	if format == EventIDBase64 {
		base64.RawStdEncoding.Encode(b[1:], hash[:])
	} else {
		base64.RawURLEncoding.Encode(b[1:], hash[:])
	}
	return string(b[:])
}

// hashMatches compares hashes.sha256 with the hash that was computed. What cannot
// be decoded, or is too short or long, does not match.
func hashMatches(raw string, hash *[32]byte) bool {
	encoded, ok := unquote(raw)
	if !ok {
		return false
	}
	var usual [hashIDLen]byte
	base64.RawStdEncoding.Encode(usual[:], hash[:])
	if encoded == string(usual[:]) {
		return true
	}
	b, err := DecodeBase64(encoded)
	return err == nil && bytes.Equal(b, hash[:])
}

// integer parses the canonical value raw as a whole number.
func integer(raw string) (int64, bool) {
	n, err := strconv.ParseInt(raw, 10, 64)
	return n, err == nil
}
