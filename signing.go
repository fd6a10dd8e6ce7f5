package fedinvite

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ed25519"
)

// A KeyID names a signing key of a server: the algorithm, a colon and the key's
// version, as in "ed25519:a_key" (appendices, "Signing Details").
type KeyID string

const ed25519Prefix = "ed25519:"

// known reports whether the algorithm is one that we can verify. The algorithm
// ends at the first colon and is case-sensitive; a key without a version matches
// no published key.
func (id KeyID) known() bool {
	return len(id) > len(ed25519Prefix) && strings.HasPrefix(string(id), ed25519Prefix)
}

// ParseKeyID checks a key ID that we are to use ourselves: "ed25519:" and one or
// more of [a-zA-Z0-9_]. The IDs of other servers' keys are taken as they are. The
// error wraps [ErrIdentifier].
func ParseKeyID(s string) (KeyID, error) {
	version, ok := strings.CutPrefix(s, ed25519Prefix)
	if !ok || !isKeyVersion(version) {
		return "", fmt.Errorf("%w: key ID %q", ErrIdentifier, clip(s))
	}
	return KeyID(s), nil
}

func isKeyVersion(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		default:
			return false
		}
	}
	return s != "" && len(s) <= maxIdentifier-len(ed25519Prefix)
}

// A Signer is one signing key of one of our servers. It never changes; to rotate
// a key, use another Signer. [NewSigner] makes one from a private key; an HSM or
// a remote signing service can be another. It must be safe for concurrent use.
type Signer interface {
	// ServerName is the server of ours whose key it is.
	ServerName() ServerName
	// KeyID is the key's ID, as [ParseKeyID] takes it.
	KeyID() KeyID
	// Public is the public key, of 32 bytes.
	Public() ed25519.PublicKey
	// Sign returns the 64-byte Ed25519 signature of message.
	Sign(ctx context.Context, message []byte) ([]byte, error)
}

// NewSigner returns a Signer for name that holds key. It refuses, with an error
// that wraps [ErrIdentifier] or [ErrBadKey], a name, ID or key that is malformed.
func NewSigner(name ServerName, id KeyID, key ed25519.PrivateKey) (Signer, error) {
	if _, err := ParseServerName(string(name)); err != nil {
		return nil, err
	}
	if _, err := ParseKeyID(string(id)); err != nil {
		return nil, err
	}
	if len(key) != ed25519.PrivateKeySize {
		return nil, fmt.Errorf("%w: private key of %d bytes", ErrBadKey, len(key))
	}
	// The second half must belong to the first: signing with another public key
	// gives away the private one.
	own := ed25519.NewKeyFromSeed(key.Seed())
	if !own.Equal(key) {
		return nil, fmt.Errorf("%w: the halves of the private key do not belong together", ErrBadKey)
	}
	return &localSigner{name, id, own}, nil
}

type localSigner struct {
	name ServerName
	id   KeyID
	key  ed25519.PrivateKey
}

func (s *localSigner) ServerName() ServerName { return s.name }

func (s *localSigner) KeyID() KeyID { return s.id }

func (s *localSigner) Public() ed25519.PublicKey {
	return append(ed25519.PublicKey(nil), s.key[ed25519.SeedSize:]...)
}

func (s *localSigner) Sign(_ context.Context, message []byte) ([]byte, error) {
	return ed25519.Sign(s.key, message), nil
}

// GenerateKey makes a new signing key from rand, usually [crypto/rand.Reader], with
// a version of six letters and digits.
func GenerateKey(rand io.Reader) (KeyID, ed25519.PrivateKey, error) {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEF" // 32: no bias
	if rand == nil {
		return "", nil, errors.New("generating a signing key: no source of randomness")
	}
	var b [6 + ed25519.SeedSize]byte
	if _, err := io.ReadFull(rand, b[:]); err != nil {
		return "", nil, fmt.Errorf("generating a signing key: %w", err)
	}
	id := []byte(ed25519Prefix)
	for _, c := range b[:6] {
		id = append(id, letters[c%32])
	}
	return KeyID(id), ed25519.NewKeyFromSeed(b[6:]), nil
}

// ParseSigningKey reads the line of a signing key file as Synapse writes it: the
// algorithm "ed25519", the key's version and the 32-byte seed in base64, separated
// by white space. Errors wrap [ErrBadKey] and never show the line.
func ParseSigningKey(line string) (KeyID, ed25519.PrivateKey, error) {
	fields := strings.Fields(line)
	if len(fields) != 3 || fields[0] != "ed25519" || !isKeyVersion(fields[1]) {
		return "", nil, fmt.Errorf("%w: want a line of the form: ed25519 VERSION SEED", ErrBadKey)
	}
	seed, err := DecodeBase64(fields[2])
	if err != nil || len(seed) != ed25519.SeedSize {
		return "", nil, fmt.Errorf("%w: the seed is not 32 bytes of base64", ErrBadKey)
	}
	return KeyID(ed25519Prefix + fields[1]), ed25519.NewKeyFromSeed(seed), nil
}

// FormatSigningKey writes the line that [ParseSigningKey] reads, without a line
// break. The line is a secret. A key of the wrong length gives "".
func FormatSigningKey(id KeyID, key ed25519.PrivateKey) string {
	if len(key) != ed25519.PrivateKeySize {
		return ""
	}
	return "ed25519 " + strings.TrimPrefix(string(id), ed25519Prefix) + " " + encodeBase64(key.Seed())
}

// ParsePublicKey reads a public key in base64, as key documents publish it. The
// error wraps [ErrBadKey] if it is not 32 bytes, of small order or not in
// canonical form.
func ParsePublicKey(s string) (ed25519.PublicKey, error) {
	key, err := DecodeBase64(s)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadKey, err)
	}
	if len(key) != ed25519.PublicKeySize {
		return nil, fmt.Errorf("%w: public key of %d bytes", ErrBadKey, len(key))
	}
	if !acceptablePoint(key) {
		return nil, fmt.Errorf("%w: public key of small order or not in canonical form", ErrBadKey)
	}
	return key, nil
}

// A VerifyKey is a server's public key and how long it counts. A [KeySource]
// returns it, whoever verifies judges it.
type VerifyKey struct {
	Public ed25519.PublicKey
	// ValidUntil is the end of a current key's validity, inclusive. A source that
	// asks other servers must cap it at seven days after the time of asking. The
	// zero time is for pinned keys: no end.
	ValidUntil time.Time
	// ExpiredAt is set for an old key, one that signs no longer: the time of its
	// end, inclusive, for events. Requests by such a key are refused.
	ExpiredAt time.Time
}

// ValidAt reports whether the key could sign an event at t.
func (k VerifyKey) ValidAt(t time.Time) bool {
	end := k.ValidUntil
	if !k.ExpiredAt.IsZero() {
		end = k.ExpiredAt
	}
	return end.IsZero() || !t.After(end)
}

// Verify checks one signature as libsodium does. It never panics: a key or
// signature of the wrong length, of small order or not in canonical form gives an
// error that wraps [ErrBadKey] or [ErrSignature], as a wrong signature does.
func (k VerifyKey) Verify(message, signature []byte) error {
	switch {
	case len(k.Public) != ed25519.PublicKeySize:
		return fmt.Errorf("%w: %w: %d bytes", ErrSignature, ErrBadKey, len(k.Public))
	case !acceptablePoint(k.Public):
		return fmt.Errorf("%w: %w: small order or not in canonical form", ErrSignature, ErrBadKey)
	case len(signature) != ed25519.SignatureSize:
		return fmt.Errorf("%w: %d bytes", ErrSignature, len(signature))
	case !acceptablePoint(signature[:32]), !ed25519.Verify(k.Public, message, signature):
		return ErrSignature
	}
	return nil
}

// A KeySource finds the public keys of servers. It must be safe for concurrent
// use and bound what one call may cost.
type KeySource interface {
	// VerifyKey returns the key id of server. at is the freshness wanted: a source
	// whose copy was valid only until before at should ask again; the zero time
	// means that any copy will do. If the server has no such key, as far as can be
	// known, the error wraps [ErrUnknownKey]: such signatures are skipped. Any
	// other error means that it cannot be told now: peers are asked to try again.
	VerifyKey(ctx context.Context, server ServerName, id KeyID, at time.Time) (VerifyKey, error)
}

// A KeyMap is a [KeySource] of fixed keys, for tests and pinned keys.
type KeyMap map[ServerName]map[KeyID]VerifyKey

// VerifyKey implements [KeySource]. It returns what is in the map or [ErrUnknownKey].
func (m KeyMap) VerifyKey(_ context.Context, server ServerName, id KeyID, _ time.Time) (VerifyKey, error) {
	if k, ok := m[server][id]; ok {
		return k, nil
	}
	return VerifyKey{}, ErrUnknownKey
}

// Add puts the public key of s into the map, valid without end.
func (m KeyMap) Add(s Signer) {
	if m[s.ServerName()] == nil {
		m[s.ServerName()] = make(map[KeyID]VerifyKey)
	}
	m[s.ServerName()][s.KeyID()] = VerifyKey{Public: s.Public()}
}

// SignJSON returns object in canonical form with the signature of s added
// (appendices, "Signing JSON"). Other signatures stay, unsigned stays and is not
// signed. The errors are those of [CanonicalJSON] and of s; an object that is no
// JSON object gives [ErrBadJSON].
func SignJSON(ctx context.Context, object []byte, s Signer) ([]byte, error) {
	text, err := canonicalObject(object, eventNumbers)
	if err != nil {
		return nil, err
	}
	signature, err := sign(ctx, s, signedPart(text))
	if err != nil {
		return nil, err
	}
	signatures := mergeSignature(get(text, "signatures"), s.ServerName(), s.KeyID(), signature)
	return []byte(with(text, "signatures", signatures)), nil
}

// VerifyJSON checks that server signed object (appendices, "Checking for a
// Signature"): every signature of server by a known key must verify, and there
// must be one. Unknown keys and algorithms are skipped, other servers' entries
// never matter. at is the time at which a key must be valid; the zero time skips
// that check. Numbers follow the legacy rules, as peers verify. The error is a
// [*SignatureError], or wraps [ErrBadJSON] or [ErrNotJSON].
func VerifyJSON(ctx context.Context, object []byte, server ServerName, keys KeySource, at time.Time) error {
	text, err := canonicalObject(object, legacyNumbers)
	if err != nil {
		return err
	}
	v := newVerification(keys)
	checks, err := v.collect(ctx, nil, signatureSet{
		signatures: get(text, "signatures"), message: signedPart(text), at: at, enforce: !at.IsZero(),
	}, server)
	if err != nil {
		return err
	}
	return verifyAll(checks)
}

// SignedJSON takes a signed JSON object apart: message is what its signatures cover,
// the canonical form without signatures and unsigned, and signatures the canonical
// signatures object, nil if there is none (appendices, "Signing JSON"). It is for
// those who check signatures one by one, with [VerifyKey.Verify]; see [VerifyJSON]
// for the whole check. Numbers follow the legacy rules. Errors wrap [ErrNotJSON] or
// [ErrBadJSON].
func SignedJSON(object []byte) (message []byte, signatures json.RawMessage, err error) {
	text, err := canonicalObject(object, legacyNumbers)
	if err != nil {
		return nil, nil, err
	}
	if s := get(text, "signatures"); isObject(s) {
		signatures = json.RawMessage(s)
	}
	return signedPart(text), signatures, nil
}

func canonicalObject(object []byte, n numberRules) (string, error) {
	canonical, err := appendCanonical(make([]byte, 0, len(object)), object, n)
	if err != nil {
		return "", err
	}
	if canonical[0] != '{' {
		return "", fmt.Errorf("%w: not an object", ErrBadJSON)
	}
	return string(canonical), nil
}

// signedPart returns the bytes that a signature covers.
func signedPart(text string) []byte {
	c := copier{dst: append(make([]byte, 0, len(text)), '{'), text: text}
	for m := range membersOf(text) {
		if isSigned(m.key(text)) {
			c.keep(m)
		}
	}
	return append(c.flush(), '}')
}

// isSigned reports whether signatures cover the member key of a signed object.
func isSigned(key string) bool { return key != "signatures" && key != "unsigned" }

// sign asks s, if its names are well-formed.
func sign(ctx context.Context, s Signer, message []byte) ([]byte, error) {
	if err := checkSigner(s); err != nil {
		return nil, err
	}
	return ask(ctx, s, message)
}

func checkSigner(s Signer) error {
	if s == nil {
		return errors.New("no signer")
	}
	if !validServerName(string(s.ServerName())) {
		return fmt.Errorf("%w: the signer's server name", ErrIdentifier)
	}
	_, err := ParseKeyID(string(s.KeyID()))
	return err
}

// ask has s sign and checks the length of what it returns.
func ask(ctx context.Context, s Signer, message []byte) ([]byte, error) {
	if _, ours := s.(*localSigner); !ours {
		message = bytes.Clone(message) // who knows what they do with it
	}
	signature, err := s.Sign(ctx, message)
	if err != nil {
		return nil, fmt.Errorf("signing as %s: %w", s.ServerName(), err)
	}
	if len(signature) != ed25519.SignatureSize {
		return nil, fmt.Errorf("signing as %s: the signer returned %d bytes", s.ServerName(), len(signature))
	}
	return signature, nil
}

// mergeSignature returns the canonical signatures object with one set.
func mergeSignature(signatures string, server ServerName, id KeyID, signature []byte) string {
	var value [ed25519.SignatureSize * 2]byte
	quoted := append(base64.RawStdEncoding.AppendEncode(append(value[:0], '"'), signature), '"')
	var entry, all [512]byte // as long as most are
	own := appendSet(entry[:0], get(signatures, string(server)), string(id), quoted)
	return string(appendSet(all[:0], signatures, string(server), own))
}
