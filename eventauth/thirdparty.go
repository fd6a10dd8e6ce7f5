package eventauth

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/tidwall/gjson"
	"golang.org/x/crypto/ed25519"
)

// maxChecks is how many signatures of one third-party invite are checked. The rule has no
// such limit: see the package comment.
const maxChecks = 128

// A ThirdPartyKey is a public key of an m.room.third_party_invite event.
type ThirdPartyKey struct {
	Public string // base64, as in the event
	// ValidityURL is its key_validity_url, or "" if it has none and is valid without end.
	// Whoever turns a third-party invite into an invite must ask there; servers that see
	// the invite later must not.
	ValidityURL string
}

// VerifyThirdParty returns the keys of token, an m.room.third_party_invite event, by
// which signed is signed: the object of that name in content.third_party_invite, exactly
// as it came (server-server API, "Verifying the invite"). They come in the order of the
// event, public_key before public_keys; one that is there twice is returned twice, for
// its URLs. One whose key_validity_url is no string, or an empty one, is left out, as
// nobody can ask whether it is still valid; the rules of the room, which do not ask, take
// it. Whose user signed is invited, and by which token, is not looked at. If the content
// hash of token is wrong, its redacted copy counts, which has no keys.
//
// At most 128 signatures are checked, first those by the first key; what is left then
// counts as not signed. No key at all wraps fedinvite.ErrSignature, as it does if
// the content of token is empty, which is how such an invite is revoked. Errors also
// wrap fedinvite.ErrNotJSON or fedinvite.ErrBadJSON if signed is no JSON object, and
// ErrState if token is no such event.
func VerifyThirdParty(signed json.RawMessage, token *fedinvite.Event) ([]ThirdPartyKey, error) {
	if token == nil || token.Type() != typeThirdParty {
		return nil, fmt.Errorf("%w: no m.room.third_party_invite event", ErrState)
	}
	usable := slices.DeleteFunc(publicKeys(kept(token)), func(k publicKey) bool { return !k.usable })
	return signingKeys(signed, usable, false)
}

// signingKeys returns those of the keys by which signed is signed, or just the first.
func signingKeys(signed json.RawMessage, keys []publicKey, first bool) ([]ThirdPartyKey, error) {
	message, all, err := fedinvite.SignedJSON(signed)
	if err != nil {
		return nil, fmt.Errorf("signed of a third-party invite: %w", err)
	}
	v := verification{message: message, signatures: ed25519Signatures(all), known: map[string]bool{}}
	var found []ThirdPartyKey
	for _, key := range keys {
		if !v.signedBy(key.Public) {
			continue
		}
		if found = append(found, key.ThirdPartyKey); first {
			break
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%w: by no key of the m.room.third_party_invite event", fedinvite.ErrSignature)
	}
	return found, nil
}

// A verification checks the signatures of one object, within its limit.
type verification struct {
	message    []byte
	signatures [][]byte
	checks     int
	known      map[string]bool // by public key: whether it signed
}

func (v *verification) signedBy(public string) bool {
	key, err := fedinvite.ParsePublicKey(public)
	if err != nil {
		return false
	}
	if signed, ok := v.known[string(key)]; ok {
		return signed
	}
	signed := false
	for _, s := range v.signatures {
		if v.checks++; v.checks > maxChecks {
			return false
		}
		if signed = (fedinvite.VerifyKey{Public: key}).Verify(v.message, s) == nil; signed {
			break
		}
	}
	v.known[string(key)] = signed
	return signed
}

// ed25519Signatures returns whatever may be an Ed25519 signature, of whatever server and
// key ID; more than may be checked are not needed.
func ed25519Signatures(signatures json.RawMessage) (all [][]byte) {
	for _, entries := range objectMembers(gjson.ParseBytes(signatures)) {
		for _, m := range objectMembers(entries.value) {
			if len(all) == maxChecks {
				return all
			}
			if m.value.Type != gjson.String || !strings.HasPrefix(m.key, "ed25519:") {
				continue
			}
			if s, err := fedinvite.DecodeBase64(m.value.Str); err == nil && len(s) == ed25519.SignatureSize {
				all = append(all, s)
			}
		}
	}
	return all
}

// A publicKey is a key as the event has it.
type publicKey struct {
	ThirdPartyKey
	usable bool // there is no key_validity_url, or one to ask
}

// publicKeys returns the keys of an m.room.third_party_invite event. What is none is
// left out.
func publicKeys(token *fedinvite.Event) (keys []publicKey) {
	add := func(o gjson.Result) {
		if !o.IsObject() {
			return
		}
		public, url := o.Get("public_key"), o.Get("key_validity_url")
		if public.Type != gjson.String {
			return
		}
		usable := !url.Exists() || url.Type == gjson.String && url.Str != ""
		keys = append(keys, publicKey{ThirdPartyKey{public.Str, url.Str}, usable})
	}
	add(gjson.ParseBytes(token.Content()))
	if list := gjson.Parse(token.ContentJSON("public_keys")); list.IsArray() {
		list.ForEach(func(_, entry gjson.Result) bool {
			add(entry)
			return true
		})
	}
	return keys
}
