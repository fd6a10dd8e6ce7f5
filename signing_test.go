package fedinvite_test

import (
	"bytes"
	"context"
	"crypto/sha512"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"golang.org/x/crypto/ed25519"
)

var errOutage = errors.New("the network is down")

// outage is a KeySource that knows what it wraps and cannot be asked for more.
type outage struct{ known fedinvite.KeyMap }

func (o outage) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	if key, err := o.known.VerifyKey(ctx, server, id, at); err == nil {
		return key, nil
	}
	return fedinvite.VerifyKey{}, errOutage
}

// recordingKeys keeps the times that it was asked about.
type recordingKeys struct {
	fedinvite.KeySource
	at []time.Time
}

func (r *recordingKeys) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	r.at = append(r.at, at)
	return r.KeySource.VerifyKey(ctx, server, id, at)
}

// The seed of the specification's test vectors; its last character has bits that
// base64 does not use.
const specSeed = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA1"

func TestKeyLinesAreReadAsSynapseWritesThem(t *testing.T) {
	const canonicalSeed = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW+3XA0"
	for _, c := range []struct{ line, id string }{
		{"ed25519 a_key " + specSeed, "ed25519:a_key"},
		{"ed25519 a_key " + specSeed + "\n", "ed25519:a_key"},
		{"ed25519 a_key " + specSeed + "\r\n", "ed25519:a_key"},
		{" ed25519\ta_key   " + specSeed + "  ", "ed25519:a_key"},
		{"ed25519 a_key " + specSeed + "=", "ed25519:a_key"},
		{"ed25519 1 " + canonicalSeed, "ed25519:1"},
		{"ed25519 1 " + strings.ReplaceAll(canonicalSeed, "+", "-"), "ed25519:1"},
	} {
		id, key, err := fedinvite.ParseSigningKey(c.line)
		if err != nil {
			t.Errorf("%q: %v", c.line, err)
			continue
		}
		if string(id) != c.id {
			t.Errorf("%q: key ID %s, want %s", c.line, id, c.id)
		}
		// "If the public key is not XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI, something is wrong."
		public := base64.RawStdEncoding.EncodeToString(key[ed25519.SeedSize:])
		if public != "XGX0JRS2Af3be3knz2fBiRbApjm2Dh61gXDJA8kcJNI" {
			t.Errorf("%q: public key %s", c.line, public)
		}
		want := "ed25519 " + strings.TrimPrefix(c.id, "ed25519:") + " " + canonicalSeed
		if diff := cmp.Diff(want, fedinvite.FormatSigningKey(id, key)); diff != "" {
			t.Errorf("%q written again: -want +got\n%s", c.line, diff)
		}
	}
}

func TestKeyLineErrorsNeverShowTheSecret(t *testing.T) {
	const secret = "YJDBA9Xnr2sVqXD9Vj7XVUnmFZcZrlw8Md7kMW"
	for _, line := range []string{
		"",
		"ed25519",
		"ed25519 " + secret + "+3XA1",
		secret + "+3XA1",
		"ed25519 a_key " + secret,
		"ed25519 a_key " + secret + "+3XA1AAAA",
		"ed25519 a_key " + secret + "+3XA!",
		"ed25519 a_key " + secret + "/-XA1",
		"ed25519 a_key " + secret + "+3XA1 " + secret,
		"ed25519:a_key " + secret + "+3XA1",
		"ed448 a_key " + secret + "+3XA1",
		"ED25519 a_key " + secret + "+3XA1",
		"ed25519 a-key " + secret + "+3XA1",
		"ed25519 a:key " + secret + "+3XA1",
		secret + " " + secret + " " + secret,
		"ed25519 " + secret + "+ " + secret,
	} {
		id, key, err := fedinvite.ParseSigningKey(line)
		if !errors.Is(err, fedinvite.ErrBadKey) || id != "" || key != nil {
			t.Errorf("%q: %q, %v, error %v, want ErrBadKey", line, id, key, err)
			continue
		}
		for i := 0; i+6 <= len(secret); i++ {
			if strings.Contains(err.Error(), secret[i:i+6]) {
				t.Errorf("the error shows the secret: %v", err)
				break
			}
		}
	}
}

func TestFormatSigningKeyOfNoKeyIsEmpty(t *testing.T) {
	for _, length := range []int{0, 1, 32, 63, 65} {
		if got := fedinvite.FormatSigningKey("ed25519:1", make(ed25519.PrivateKey, length)); got != "" {
			t.Errorf("a key of %d bytes: %q", length, got)
		}
	}
}

func TestNewSignerRefusesWhatIsMalformed(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	mismatched := slices.Clone(key)
	mismatched[63] ^= 1
	swapped := append(slices.Clone(key[32:]), key[:32]...)
	for _, c := range []struct {
		name   string
		server fedinvite.ServerName
		id     fedinvite.KeyID
		key    ed25519.PrivateKey
		want   error
	}{
		{"all right", "a.example:8448", "ed25519:a_B9", key, nil},
		{"no server", "", "ed25519:1", key, fedinvite.ErrIdentifier},
		{"bad server", "a_b", "ed25519:1", key, fedinvite.ErrIdentifier},
		{"user ID as server", "@a:b", "ed25519:1", key, fedinvite.ErrIdentifier},
		{"no key ID", "a.example", "", key, fedinvite.ErrIdentifier},
		{"no algorithm", "a.example", "1", key, fedinvite.ErrIdentifier},
		{"no version", "a.example", "ed25519:", key, fedinvite.ErrIdentifier},
		{"other algorithm", "a.example", "ed448:1", key, fedinvite.ErrIdentifier},
		{"upper-case algorithm", "a.example", "ED25519:1", key, fedinvite.ErrIdentifier},
		{"bad version", "a.example", "ed25519:a-b", key, fedinvite.ErrIdentifier},
		{"two colons", "a.example", "ed25519:a:b", key, fedinvite.ErrIdentifier},
		{"key ID of 255 bytes", "a.example", fedinvite.KeyID("ed25519:" + strings.Repeat("x", 247)), key, nil},
		{"key ID of 256 bytes", "a.example", fedinvite.KeyID("ed25519:" + strings.Repeat("x", 248)), key, fedinvite.ErrIdentifier},
		{"no key", "a.example", "ed25519:1", nil, fedinvite.ErrBadKey},
		{"seed alone", "a.example", "ed25519:1", key[:32], fedinvite.ErrBadKey},
		{"63 bytes", "a.example", "ed25519:1", key[:63], fedinvite.ErrBadKey},
		{"65 bytes", "a.example", "ed25519:1", append(slices.Clone(key), 0), fedinvite.ErrBadKey},
		{"another public key", "a.example", "ed25519:1", mismatched, fedinvite.ErrBadKey},
		{"halves swapped", "a.example", "ed25519:1", swapped, fedinvite.ErrBadKey},
	} {
		s, err := fedinvite.NewSigner(c.server, c.id, c.key)
		if !errors.Is(err, c.want) || (s == nil) != (c.want != nil) {
			t.Errorf("%s: %v, error %v, want %v", c.name, s, err, c.want)
		}
	}
}

func TestSignerNeverChanges(t *testing.T) {
	key := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{1}, 32))
	s, err := fedinvite.NewSigner("a.example", "ed25519:1", key)
	if err != nil {
		t.Fatal(err)
	}
	public := s.Public()
	signature, err := s.Sign(t.Context(), []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	clear(key)
	clear(s.Public())
	if !bytes.Equal(s.Public(), public) || s.ServerName() != "a.example" || s.KeyID() != "ed25519:1" {
		t.Error("the signer changed with the key that it was made from")
	}
	again, err := s.Sign(t.Context(), []byte("message"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(again, signature) || !ed25519.Verify(public, []byte("message"), again) {
		t.Error("the signature changed with the key that the signer was made from")
	}
}

func TestGenerateKeyDependsOnItsReaderAlone(t *testing.T) {
	random := make([]byte, 38)
	for i := range random {
		random[i] = byte(37 * i)
	}
	id, key, err := fedinvite.GenerateKey(bytes.NewReader(random))
	if err != nil {
		t.Fatal(err)
	}
	again, sameKey, err := fedinvite.GenerateKey(io.MultiReader(bytes.NewReader(random[:1]), bytes.NewReader(append(random[1:], 1, 2, 3))))
	if err != nil {
		t.Fatal(err)
	}
	if id != again || !key.Equal(sameKey) {
		t.Errorf("%s and %s from the same bytes", id, again)
	}
	if _, err := fedinvite.ParseKeyID(string(id)); err != nil || len(id) != len("ed25519:")+6 {
		t.Errorf("key ID %s: %v", id, err)
	}
	if _, err := fedinvite.NewSigner("a.example", id, key); err != nil {
		t.Error(err)
	}
	for i := range random { // every byte matters
		other := slices.Clone(random)
		other[i] ^= 1
		otherID, otherKey, err := fedinvite.GenerateKey(bytes.NewReader(other))
		if err != nil {
			t.Fatal(err)
		}
		if otherID == id && otherKey.Equal(key) {
			t.Errorf("byte %d does not matter", i)
		}
	}
	parsedID, parsedKey, err := fedinvite.ParseSigningKey(fedinvite.FormatSigningKey(id, key))
	if err != nil || parsedID != id || !parsedKey.Equal(key) {
		t.Errorf("written and read: %s, error %v", parsedID, err)
	}
}

func TestGenerateKeyFailsWithItsReader(t *testing.T) {
	for _, c := range []struct {
		reader io.Reader
		want   error
	}{
		{bytes.NewReader(nil), io.EOF},
		{bytes.NewReader(make([]byte, 6)), io.ErrUnexpectedEOF},
		{bytes.NewReader(make([]byte, 37)), io.ErrUnexpectedEOF},
		{io.MultiReader(bytes.NewReader(make([]byte, 10)), brokenReader{}), errOutage},
	} {
		id, key, err := fedinvite.GenerateKey(c.reader)
		if !errors.Is(err, c.want) || id != "" || key != nil {
			t.Errorf("%q, %v, error %v, want %v", id, key, err, c.want)
		}
	}
	if _, key, err := fedinvite.GenerateKey(nil); err == nil || key != nil {
		t.Errorf("without a reader: %v, error %v", key, err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errOutage }

func TestParsePublicKeyWantsAUsableKey(t *testing.T) {
	good := invitetest.Signer("a.example").Public()
	encode := base64.RawStdEncoding.EncodeToString
	for _, c := range []struct {
		name, text string
		ok         bool
	}{
		{"unpadded", encode(good), true},
		{"padded", encode(good) + "=", true},
		{"URL-safe", base64.RawURLEncoding.EncodeToString(good), true},
		{"empty", "", false},
		{"31 bytes", encode(good[:31]), false},
		{"33 bytes", encode(append(slices.Clone(good), 0)), false},
		{"not base64", encode(good)[:42] + "!", false},
		{"line break", encode(good) + "\n", false},
		{"hex", hex.EncodeToString(good), false},
		{"zero", encode(make([]byte, 32)), false},
		{"identity", encode(append([]byte{1}, make([]byte, 31)...)), false},
		{"not reduced", encode(bytes.Repeat([]byte{0xff}, 32)), false},
	} {
		key, err := fedinvite.ParsePublicKey(c.text)
		if c.ok && (err != nil || !key.Equal(good)) || !c.ok && (!errors.Is(err, fedinvite.ErrBadKey) || key != nil) {
			t.Errorf("%s: %x, error %v", c.name, key, err)
		}
	}
}

func TestSignJSONKeepsWhatIsThere(t *testing.T) {
	object := `{"b":1,"signatures":{"b.example":{"ed25519:x":"other"},"a.example":{"ed25519:0":"old","ed25519:1":"replaced"}},"unsigned":{"f":1.5},"a":[]}`
	got, err := fedinvite.SignJSON(t.Context(), []byte(object), invitetest.Signer("a.example"))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := invitetest.Signer("a.example").Sign(t.Context(), []byte(`{"a":[],"b":1}`))
	if err != nil {
		t.Fatal(err)
	}
	want := `{"a":[],"b":1,"signatures":{"a.example":{"ed25519:0":"old","ed25519:1":"` + base64.RawStdEncoding.EncodeToString(signature) +
		`"},"b.example":{"ed25519:x":"other"}},"unsigned":{"f":1.5}}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
}

func TestSignJSONIsStrict(t *testing.T) {
	for _, c := range []struct {
		object string
		want   error
	}{
		{``, fedinvite.ErrNotJSON},
		{`[]`, fedinvite.ErrBadJSON},
		{`"x"`, fedinvite.ErrBadJSON},
		{`null`, fedinvite.ErrBadJSON},
		{`{"a":1,"a":2}`, fedinvite.ErrDuplicateKey},
		{`{"a":1.0}`, fedinvite.ErrBadNumber},
		{`{"a":9007199254740992}`, fedinvite.ErrBadNumber},
		{`{"a":{"unsigned":1.5}}`, fedinvite.ErrBadNumber},
		{`{"a":"\ud800"}`, fedinvite.ErrBadText},
	} {
		if got, err := fedinvite.SignJSON(t.Context(), []byte(c.object), invitetest.Signer("a.example")); !errors.Is(err, c.want) || got != nil {
			t.Errorf("%s: %s, error %v, want %v", c.object, got, err, c.want)
		}
	}
}

// badSigner misbehaves as its fields say.
type badSigner struct {
	fedinvite.Signer
	name      fedinvite.ServerName
	id        fedinvite.KeyID
	signature []byte
	err       error
}

func (s badSigner) ServerName() fedinvite.ServerName { return s.name }
func (s badSigner) KeyID() fedinvite.KeyID           { return s.id }
func (s badSigner) Sign(context.Context, []byte) ([]byte, error) {
	return s.signature, s.err
}

func TestSignersThatMisbehaveAreErrors(t *testing.T) {
	e := parsed(t, signedEvent(t, fedinvite.RoomV11, nil), fedinvite.RoomV11)
	good := make([]byte, 64)
	for _, c := range []struct {
		name   string
		signer fedinvite.Signer
		want   error // nil: any
	}{
		{"none", nil, nil},
		{"an error", badSigner{name: "a.example", id: "ed25519:1", err: errOutage}, errOutage},
		{"an error and a signature", badSigner{name: "a.example", id: "ed25519:1", signature: good, err: errOutage}, errOutage},
		{"no signature", badSigner{name: "a.example", id: "ed25519:1"}, nil},
		{"63 bytes", badSigner{name: "a.example", id: "ed25519:1", signature: good[:63]}, nil},
		{"65 bytes", badSigner{name: "a.example", id: "ed25519:1", signature: append(slices.Clone(good), 0)}, nil},
		{"no name", badSigner{id: "ed25519:1", signature: good}, fedinvite.ErrIdentifier},
		{"bad name", badSigner{name: "a\".example", id: "ed25519:1", signature: good}, fedinvite.ErrIdentifier},
		{"no key ID", badSigner{name: "a.example", signature: good}, fedinvite.ErrIdentifier},
		{"no key version", badSigner{name: "a.example", id: "ed25519:", signature: good}, fedinvite.ErrIdentifier},
		{"bad key version", badSigner{name: "a.example", id: "ed25519:\"", signature: good}, fedinvite.ErrIdentifier},
		{"other algorithm", badSigner{name: "a.example", id: "ed448:1", signature: good}, fedinvite.ErrIdentifier},
		{"no algorithm", badSigner{name: "a.example", id: "1", signature: good}, fedinvite.ErrIdentifier},
	} {
		t.Run(c.name, func(t *testing.T) {
			for name, sign := range map[string]func() error{
				"SignJSON": func() error {
					_, err := fedinvite.SignJSON(t.Context(), []byte(`{}`), c.signer)
					return err
				},
				"SignEventJSON": func() error {
					_, err := fedinvite.SignEventJSON(t.Context(), []byte(`{}`), rulesOf(t, fedinvite.RoomV11), c.signer)
					return err
				},
				"WithSignature": func() error {
					_, err := e.WithSignature(t.Context(), c.signer)
					return err
				},
				"NewInvite": func() error {
					_, err := fedinvite.NewInvite(t.Context(), inviteDraft(fedinvite.RoomV11), rulesOf(t, fedinvite.RoomV11), c.signer)
					return err
				},
				"NewLeave": func() error {
					_, err := fedinvite.NewLeave(t.Context(), inviteDraft(fedinvite.RoomV11), rulesOf(t, fedinvite.RoomV11), c.signer)
					return err
				},
				"NewInvite in version 1": func() error {
					_, err := fedinvite.NewInvite(t.Context(), inviteDraft(fedinvite.RoomV1), rulesOf(t, fedinvite.RoomV1), c.signer)
					return err
				},
			} {
				if err := sign(); err == nil || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("%s: error %v, want %v", name, err, c.want)
				}
			}
		})
	}
}

func TestSignersGetTheContextOfTheCall(t *testing.T) {
	type key struct{}
	s := &contextSigner{Signer: invitetest.Signer("a.example"), key: key{}}
	if _, err := fedinvite.SignJSON(context.WithValue(t.Context(), key{}, "here"), []byte(`{}`), s); err != nil {
		t.Fatal(err)
	}
	if s.got != "here" {
		t.Errorf("context value %v", s.got)
	}
}

type contextSigner struct {
	fedinvite.Signer
	key, got any
}

func (s *contextSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	s.got = ctx.Value(s.key)
	return s.Signer.Sign(ctx, message)
}

// signedBy returns {"a":1} with signatures of a.example by the keys named; "!" in
// front of a key ID makes the signature a wrong one.
func signedBy(t testing.TB, ids ...string) []byte {
	t.Helper()
	entries := members{}
	for _, id := range ids {
		name := strings.TrimPrefix(id, "!")
		message := []byte(`{"a":1}`)
		if name != id {
			message = []byte(`{"a":2}`)
		}
		entries[name] = `"` + base64.RawStdEncoding.EncodeToString(ed25519.Sign(testKey(name), message)) + `"`
	}
	return members{"a": "1", "signatures": string(members{"a.example": string(entries.json())}.json())}.json()
}

// testKey makes a private key from any key ID.
func testKey(id string) ed25519.PrivateKey {
	seed := bytes.Repeat([]byte{7}, ed25519.SeedSize)
	copy(seed, id)
	return ed25519.NewKeyFromSeed(seed)
}

func testVerifyKey(id string) fedinvite.VerifyKey {
	return fedinvite.VerifyKey{Public: ed25519.PublicKey(testKey(id)[ed25519.SeedSize:])}
}

// "Every signature by a known, valid key must verify, and there must be at least one."
func TestEverySignatureByAKnownValidKeyMustVerify(t *testing.T) {
	at := time.UnixMilli(1700000000000)
	before, after := at.Add(-time.Millisecond), at.Add(time.Millisecond)
	for _, c := range []struct {
		name    string
		ids     []string // of the signatures
		known   map[string]fedinvite.VerifyKey
		at      time.Time
		refused bool
	}{
		{name: "one signature by a known key", ids: []string{"ed25519:1"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {}}},
		{name: "two of two", ids: []string{"ed25519:1", "ed25519:2"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {}, "ed25519:2": {}}},
		{name: "known keys that did not sign", ids: []string{"ed25519:1"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {}, "ed25519:2": {}}},
		{name: "the first is wrong", ids: []string{"!ed25519:1", "ed25519:2"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {}, "ed25519:2": {}}, refused: true},
		{name: "the last is wrong", ids: []string{"ed25519:1", "!ed25519:2"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {}, "ed25519:2": {}}, refused: true},
		{name: "an unknown key beside a known one", ids: []string{"!ed25519:0", "ed25519:1", "!ed25519:2"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {}}},
		{name: "only an unknown key", ids: []string{"ed25519:1"}, known: map[string]fedinvite.VerifyKey{"ed25519:2": {}}, refused: true},
		{name: "an unknown algorithm beside a known key", ids: []string{"!ed448:1", "!ED25519:1", "ed25519:1", "!x"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {}, "ed448:1": {}, "ED25519:1": {}, "x": {}}},
		{name: "only an unknown algorithm", ids: []string{"ed448:1"}, known: map[string]fedinvite.VerifyKey{"ed448:1": {}}, refused: true},
		{name: "no key version", ids: []string{"ed25519:"}, known: map[string]fedinvite.VerifyKey{"ed25519:": {}}, refused: true},
		{name: "no signature at all", known: map[string]fedinvite.VerifyKey{"ed25519:1": {}}, refused: true},
		{name: "valid until that time", ids: []string{"ed25519:1"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {ValidUntil: at}}, at: at},
		{name: "valid until before", ids: []string{"ed25519:1"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {ValidUntil: before}}, at: at, refused: true},
		{name: "expired after that time", ids: []string{"ed25519:1"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {ExpiredAt: after, ValidUntil: before}}, at: at},
		{name: "expired at that time", ids: []string{"ed25519:1"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {ExpiredAt: at}}, at: at},
		{name: "expired before", ids: []string{"ed25519:1"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {ExpiredAt: before, ValidUntil: after}}, at: at, refused: true},
		{name: "a wrong one by an expired key is skipped", ids: []string{"!ed25519:1", "ed25519:2"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {ExpiredAt: before}, "ed25519:2": {}}, at: at},
		{name: "expired, at no particular time", ids: []string{"ed25519:1"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {ExpiredAt: before}}},
		{name: "valid until long ago, at no particular time", ids: []string{"ed25519:1"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {ValidUntil: time.UnixMilli(1)}}},
		{name: "a key of small order counts as known", ids: []string{"ed25519:1", "ed25519:2"}, known: map[string]fedinvite.VerifyKey{"ed25519:1": {}, "ed25519:2": {Public: make([]byte, 32)}}, refused: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			keys := fedinvite.KeyMap{"a.example": {}}
			for id, key := range c.known {
				if key.Public == nil {
					key.Public = testVerifyKey(id).Public
				}
				keys["a.example"][fedinvite.KeyID(id)] = key
			}
			err := fedinvite.VerifyJSON(t.Context(), signedBy(t, c.ids...), "a.example", keys, c.at)
			if (err != nil) != c.refused {
				t.Fatalf("error %v, want one: %v", err, c.refused)
			}
			var failed *fedinvite.SignatureError
			if c.refused && (!errors.Is(err, fedinvite.ErrSignature) || !errors.As(err, &failed) || failed.Server != "a.example") {
				t.Errorf("error %v, want ErrSignature about a.example", err)
			}
		})
	}
}

func TestVerifyJSONAsksForKeysThatWereValidAtTheTime(t *testing.T) {
	at := time.UnixMilli(1700000000000)
	for _, want := range []time.Time{at, {}} {
		keys := &recordingKeys{KeySource: fedinvite.KeyMap{"a.example": {"ed25519:1": testVerifyKey("ed25519:1")}}}
		if err := fedinvite.VerifyJSON(t.Context(), signedBy(t, "ed25519:1"), "a.example", keys, want); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]time.Time{want}, keys.at); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
	}
}

func TestVerifyJSONDoesNotLookAtOtherServers(t *testing.T) {
	keys := fedinvite.KeyMap{"a.example": {"ed25519:1": testVerifyKey("ed25519:1")}, "b.example": {"ed25519:1": testVerifyKey("ed25519:1")}}
	m := membersOfJSON(t, signedBy(t, "ed25519:1"))
	own := strings.TrimSuffix(m["signatures"], "}")
	for _, others := range []string{`,"b.example":{"ed25519:1":"wrong"}`, `,"b.example":null`, `,"b.example":[]`, `,"":{"":1}`} {
		m["signatures"] = own + others + "}"
		if err := fedinvite.VerifyJSON(t.Context(), m.json(), "a.example", keys, time.Time{}); err != nil {
			t.Errorf("%s: %v", others, err)
		}
	}
	for _, server := range []fedinvite.ServerName{"b.example", "A.example", "a.exampl", "", "a.example:8448"} {
		keys[server] = keys["a.example"]
		if err := fedinvite.VerifyJSON(t.Context(), signedBy(t, "ed25519:1"), server, keys, time.Time{}); !errors.Is(err, fedinvite.ErrSignature) {
			t.Errorf("%q: error %v, want ErrSignature", server, err)
		}
	}
}

func TestVerifyJSONRefusesEntriesThatAreNoSignatures(t *testing.T) {
	keys := fedinvite.KeyMap{"a.example": {"ed25519:1": testVerifyKey("ed25519:1")}}
	for _, signatures := range []string{
		``, `null`, `[]`, `"x"`, `{}`, `{"a.example":null}`, `{"a.example":[]}`, `{"a.example":"x"}`, `{"a.example":{}}`,
		`{"a.example":{"ed25519:1":null}}`, `{"a.example":{"ed25519:1":1}}`, `{"a.example":{"ed25519:1":{}}}`, `{"a.example":{"ed25519:1":""}}`,
		`{"a.example":{"ed25519:1":"!"}}`,
	} {
		m := members{"a": "1"}
		if signatures != "" {
			m["signatures"] = signatures
		}
		if err := fedinvite.VerifyJSON(t.Context(), m.json(), "a.example", keys, time.Time{}); !errors.Is(err, fedinvite.ErrSignature) {
			t.Errorf("signatures %s: error %v, want ErrSignature", signatures, err)
		}
	}
	good := ed25519.Sign(testKey("ed25519:1"), []byte(`{"a":1}`))
	for _, length := range []int{0, 1, 32, 63, 64, 65, 128} {
		signature := append(slices.Clone(good), make([]byte, 64)...)[:length]
		object := fmt.Sprintf(`{"a":1,"signatures":{"a.example":{"ed25519:1":%q}}}`, base64.RawStdEncoding.EncodeToString(signature))
		err := fedinvite.VerifyJSON(t.Context(), []byte(object), "a.example", keys, time.Time{})
		if (err == nil) != (length == 64) || err != nil && !errors.Is(err, fedinvite.ErrSignature) {
			t.Errorf("a signature of %d bytes: error %v", length, err)
		}
		if err := testVerifyKey("ed25519:1").Verify([]byte(`{"a":1}`), signature); (err == nil) != (length == 64) || err != nil && !errors.Is(err, fedinvite.ErrSignature) {
			t.Errorf("a signature of %d bytes: VerifyKey.Verify: error %v", length, err)
		}
	}
}

func TestVerifyJSONRefusesWhatIsNoObject(t *testing.T) {
	for _, c := range []struct {
		object string
		want   error
	}{
		{``, fedinvite.ErrNotJSON},
		{`{`, fedinvite.ErrNotJSON},
		{`[]`, fedinvite.ErrBadJSON},
		{`{"a":1,"a":1}`, fedinvite.ErrDuplicateKey},
	} {
		if err := fedinvite.VerifyJSON(t.Context(), []byte(c.object), "a.example", fedinvite.KeyMap{}, time.Time{}); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", c.object, err, c.want)
		}
	}
}

func TestKeysThatCannotBeHadNowAreNoForgery(t *testing.T) {
	known := fedinvite.KeyMap{"a.example": {"ed25519:1": testVerifyKey("ed25519:1")}}
	for _, c := range []struct {
		name string
		ids  []string
		want error
	}{
		{"the only key", []string{"ed25519:2"}, fedinvite.ErrKeysUnavailable},
		{"two keys, both out", []string{"ed25519:2", "ed25519:3"}, fedinvite.ErrKeysUnavailable},
		{"a known key beside it", []string{"ed25519:0", "ed25519:1", "ed25519:2"}, nil},
		{"a wrong signature by a known key beside it", []string{"ed25519:0", "!ed25519:1"}, fedinvite.ErrSignature},
		{"an unknown algorithm is not asked for", []string{"ed448:1"}, fedinvite.ErrSignature},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := fedinvite.VerifyJSON(t.Context(), signedBy(t, c.ids...), "a.example", outage{known}, time.Time{})
			if !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if unavailable := c.want == fedinvite.ErrKeysUnavailable; errors.Is(err, fedinvite.ErrSignature) != (c.want == fedinvite.ErrSignature) || errors.Is(err, errOutage) != unavailable {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestNoKeySourceKnowsNoKey(t *testing.T) {
	if err := fedinvite.VerifyJSON(t.Context(), signedBy(t, "ed25519:1"), "a.example", nil, time.Time{}); !errors.Is(err, fedinvite.ErrUnknownKey) || !errors.Is(err, fedinvite.ErrSignature) {
		t.Errorf("VerifyJSON: error %v, want ErrSignature and ErrUnknownKey", err)
	}
	e := parsed(t, signedEvent(t, fedinvite.RoomV11, nil), fedinvite.RoomV11)
	if err := e.Verify(t.Context(), nil); !errors.Is(err, fedinvite.ErrSignature) {
		t.Errorf("Verify: error %v, want ErrSignature", err)
	}
	if _, err := fedinvite.MergeReply(t.Context(), e, e.AppendJSON(nil), "a.example", nil); !errors.Is(err, fedinvite.ErrSignature) {
		t.Errorf("MergeReply: error %v, want ErrSignature", err)
	}
}

func TestKeySourceErrorsThatWrapErrUnknownKeySkipTheSignature(t *testing.T) {
	source := keySourceFunc(func(id fedinvite.KeyID) (fedinvite.VerifyKey, error) {
		if id == "ed25519:1" {
			return testVerifyKey("ed25519:1"), nil
		}
		return fedinvite.VerifyKey{}, fmt.Errorf("%w: %s", fedinvite.ErrUnknownKey, id)
	})
	if err := fedinvite.VerifyJSON(t.Context(), signedBy(t, "!ed25519:0", "ed25519:1"), "a.example", source, time.Time{}); err != nil {
		t.Error(err)
	}
	err := fedinvite.VerifyJSON(t.Context(), signedBy(t, "ed25519:0"), "a.example", source, time.Time{})
	if !errors.Is(err, fedinvite.ErrSignature) || !errors.Is(err, fedinvite.ErrUnknownKey) || errors.Is(err, fedinvite.ErrKeysUnavailable) {
		t.Errorf("error %v, want ErrSignature and ErrUnknownKey", err)
	}
}

type keySourceFunc func(id fedinvite.KeyID) (fedinvite.VerifyKey, error)

func (f keySourceFunc) VerifyKey(_ context.Context, _ fedinvite.ServerName, id fedinvite.KeyID, _ time.Time) (fedinvite.VerifyKey, error) {
	return f(id)
}

func TestJunkKeysFailAndNeverPanic(t *testing.T) {
	e := parsed(t, signedEvent(t, fedinvite.RoomV11, nil), fedinvite.RoomV11)
	good := invitetest.Signer("a.example").Public()
	junk := map[string]ed25519.PublicKey{"nil": nil, "small order": append([]byte{1}, make([]byte, 31)...), "not reduced": bytes.Repeat([]byte{0xff}, 32), "off the curve": append([]byte{2}, make([]byte, 31)...)}
	for _, length := range []int{0, 5, 31, 33, 64} {
		junk[fmt.Sprintf("%d bytes", length)] = append(slices.Clone(good), good...)[:length]
	}
	for name, public := range junk {
		source := keySourceFunc(func(fedinvite.KeyID) (fedinvite.VerifyKey, error) { return fedinvite.VerifyKey{Public: public}, nil })
		if err := fedinvite.VerifyJSON(t.Context(), signedBy(t, "ed25519:1"), "a.example", source, time.Time{}); !errors.Is(err, fedinvite.ErrSignature) {
			t.Errorf("%s: VerifyJSON: error %v, want ErrSignature", name, err)
		}
		if err := e.Verify(t.Context(), source); !errors.Is(err, fedinvite.ErrSignature) {
			t.Errorf("%s: Verify: error %v, want ErrSignature", name, err)
		}
		err := fedinvite.VerifyKey{Public: public}.Verify([]byte("x"), make([]byte, 64))
		if !errors.Is(err, fedinvite.ErrSignature) || errors.Is(err, fedinvite.ErrBadKey) == (name == "off the curve") {
			t.Errorf("%s: VerifyKey.Verify: error %v", name, err)
		}
	}
}

// With A = R = identity and S = 0, Go's verification alone accepts any message.
func TestSignaturesWithRPointsOfSmallOrderFail(t *testing.T) {
	identity := append([]byte{1}, make([]byte, 31)...)
	signature := append(slices.Clone(identity), make([]byte, 32)...)
	if !ed25519.Verify(identity, []byte("any"), signature) {
		t.Fatal("crypto/ed25519 refuses this now; the check may be superfluous")
	}
	for _, key := range []ed25519.PublicKey{identity, invitetest.Signer("a.example").Public()} {
		if err := (fedinvite.VerifyKey{Public: key}).Verify([]byte("any"), signature); !errors.Is(err, fedinvite.ErrSignature) {
			t.Errorf("error %v, want ErrSignature", err)
		}
	}
}

// Whoever has the private key can make a signature whose R is of small order: S is
// then a multiple of the key alone. Go accepts it, libsodium does not.
func TestSignaturesByGoodKeysWithRPointsOfSmallOrderFail(t *testing.T) {
	l, ok := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	if !ok {
		t.Fatal("l is no number")
	}
	littleEndian := func(b []byte) *big.Int {
		b = slices.Clone(b)
		slices.Reverse(b)
		return new(big.Int).SetBytes(b)
	}
	message := []byte("message")
	key := testKey("ed25519:1")
	public := ed25519.PublicKey(key[ed25519.SeedSize:])
	scalar := sha512.Sum512(key.Seed())
	scalar[0] &= 248
	scalar[31] = scalar[31]&63 | 64
	identity := append([]byte{1}, make([]byte, 31)...)
	challenge := sha512.Sum512(slices.Concat(identity, public, message))
	product := new(big.Int).Mul(littleEndian(challenge[:]), littleEndian(scalar[:32]))
	s := product.Mod(product, l).FillBytes(make([]byte, 32))
	slices.Reverse(s)
	signature := append(identity, s...)
	if !ed25519.Verify(public, message, signature) {
		t.Fatal("crypto/ed25519 refuses this now; the check may be superfluous")
	}
	if err := (fedinvite.VerifyKey{Public: public}).Verify(message, signature); !errors.Is(err, fedinvite.ErrSignature) {
		t.Errorf("error %v, want ErrSignature", err)
	}
}

func TestAtMost128SignaturesAreLookedAt(t *testing.T) {
	source := keySourceFunc(func(id fedinvite.KeyID) (fedinvite.VerifyKey, error) { return testVerifyKey(string(id)), nil })
	ids := []string{}
	for i := range 128 {
		ids = append(ids, fmt.Sprintf("ed25519:%d", i))
	}
	if err := fedinvite.VerifyJSON(t.Context(), signedBy(t, ids...), "a.example", source, time.Time{}); err != nil {
		t.Error(err)
	}
	if err := fedinvite.VerifyJSON(t.Context(), signedBy(t, append(ids, "ed25519:x")...), "a.example", source, time.Time{}); !errors.Is(err, fedinvite.ErrSignature) {
		t.Errorf("129 signatures: error %v, want ErrSignature", err)
	}
}

func TestKeysOfAtMost10ServersAreAskedFor(t *testing.T) {
	e := parsed(t, signedEvent(t, fedinvite.RoomV11, nil), fedinvite.RoomV11)
	keys := invitetest.Keys("a.example")
	var servers []fedinvite.ServerName
	for i := range 10 {
		signer := invitetest.Signer(fedinvite.ServerName(fmt.Sprintf("s%d.example", i)))
		keys.Add(signer)
		var err error
		if e, err = e.WithSignature(t.Context(), signer); err != nil {
			t.Fatal(err)
		}
		servers = append(servers, signer.ServerName())
	}
	if err := e.Verify(t.Context(), keys, servers[:9]...); err != nil {
		t.Error(err)
	}
	if err := e.Verify(t.Context(), keys, servers...); !errors.Is(err, fedinvite.ErrSignature) {
		t.Errorf("11 servers: error %v, want ErrSignature", err)
	}
}

func TestVerifyJSONTakesTheNumbersThatPeersSign(t *testing.T) {
	keys := fedinvite.KeyMap{"a.example": {"ed25519:1": testVerifyKey("ed25519:1")}}
	for object, message := range map[string]string{
		`{"a":1.0}`:                     `{"a":1.0}`,
		`{"a":1e10}`:                    `{"a":10000000000.0}`,
		`{"a":99999999999999999999999}`: `{"a":99999999999999999999999}`,
	} {
		signature := base64.RawStdEncoding.EncodeToString(ed25519.Sign(testKey("ed25519:1"), []byte(message)))
		signed := strings.TrimSuffix(object, "}") + `,"signatures":{"a.example":{"ed25519:1":"` + signature + `"}}}`
		if err := fedinvite.VerifyJSON(t.Context(), []byte(signed), "a.example", keys, time.Time{}); err != nil {
			t.Errorf("%s: %v", object, err)
		}
	}
}

func TestKeyMapIsAKeySourceOfFixedKeys(t *testing.T) {
	keys := fedinvite.KeyMap{}
	first, second := invitetest.Signer("a.example"), invitetest.SignerWithKey("a.example", "ed25519:2")
	keys.Add(first)
	keys.Add(second)
	got, err := keys.VerifyKey(t.Context(), "a.example", "ed25519:2", time.Now())
	if err != nil || !got.Public.Equal(second.Public()) || !got.ValidUntil.IsZero() || !got.ExpiredAt.IsZero() {
		t.Errorf("%+v, error %v", got, err)
	}
	for _, c := range []struct {
		server fedinvite.ServerName
		id     fedinvite.KeyID
	}{{"b.example", "ed25519:1"}, {"a.example", "ed25519:3"}, {"", ""}} {
		if _, err := keys.VerifyKey(t.Context(), c.server, c.id, time.Time{}); !errors.Is(err, fedinvite.ErrUnknownKey) {
			t.Errorf("%s %s: error %v, want ErrUnknownKey", c.server, c.id, err)
		}
	}
	if _, err := (fedinvite.KeyMap)(nil).VerifyKey(t.Context(), "a.example", "ed25519:1", time.Time{}); !errors.Is(err, fedinvite.ErrUnknownKey) {
		t.Errorf("nil KeyMap: error %v, want ErrUnknownKey", err)
	}
}

func TestSignatureErrorSaysWhose(t *testing.T) {
	for _, c := range []struct {
		err  *fedinvite.SignatureError
		want string
	}{
		{&fedinvite.SignatureError{Server: "a.example", KeyID: "ed25519:1", Err: fedinvite.ErrSignature}, `signature of "a.example" with key "ed25519:1": signature check failed`},
		{&fedinvite.SignatureError{Server: "a.example", Err: fedinvite.ErrKeysUnavailable}, `signature of "a.example": keys unavailable`},
	} {
		if diff := cmp.Diff(c.want, c.err.Error()); diff != "" {
			t.Errorf("-want +got\n%s", diff)
		}
		if !errors.Is(c.err, c.err.Err) {
			t.Errorf("%v does not wrap %v", c.err, c.err.Err)
		}
	}
}

func TestValidAt(t *testing.T) {
	at := time.UnixMilli(1700000000000)
	for _, c := range []struct {
		name string
		key  fedinvite.VerifyKey
		want bool
	}{
		{"pinned", fedinvite.VerifyKey{}, true},
		{"until then", fedinvite.VerifyKey{ValidUntil: at}, true},
		{"until a nanosecond before", fedinvite.VerifyKey{ValidUntil: at.Add(-1)}, false},
		{"old, ended then", fedinvite.VerifyKey{ExpiredAt: at}, true},
		{"old, ended before", fedinvite.VerifyKey{ExpiredAt: at.Add(-1)}, false},
		{"old, whatever ValidUntil says", fedinvite.VerifyKey{ExpiredAt: at.Add(-1), ValidUntil: at.Add(1)}, false},
	} {
		if got := c.key.ValidAt(at); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// A public JSON object through sign and verify, as encoding/json sees it.
func TestSignedJSONVerifies(t *testing.T) {
	object, err := json.Marshal(map[string]any{"b": "<é>", "a": []any{1, nil, true, map[string]any{"\u0001": "\""}}})
	if err != nil {
		t.Fatal(err)
	}
	signer := invitetest.Signer("a.example:8448")
	keys := fedinvite.KeyMap{}
	keys.Add(signer)
	signed, err := fedinvite.SignJSON(t.Context(), object, signer)
	if err != nil {
		t.Fatal(err)
	}
	if err := fedinvite.VerifyJSON(t.Context(), signed, "a.example:8448", keys, time.Time{}); err != nil {
		t.Error(err)
	}
	forged := bytes.Replace(signed, []byte("true"), []byte("false"), 1)
	if err := fedinvite.VerifyJSON(t.Context(), forged, "a.example:8448", keys, time.Time{}); !errors.Is(err, fedinvite.ErrSignature) {
		t.Errorf("forged: error %v, want ErrSignature", err)
	}
}
