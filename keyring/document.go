package keyring

import (
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// What a key document may hold, whoever sends it.
const (
	maxDocument   = 256 << 10 // bytes
	maxVerifyKeys = 16        // each costs a signature check
	maxKeys       = 64        // current and old; also what is kept of one server
	maxKeyID      = 128       // bytes
)

// maxValidity is how long a key counts that claims to be valid for longer
// (server-server API, "Publishing Keys", valid_until_ts).
const maxValidity = 7 * 24 * time.Hour

type keySet map[fedinvite.KeyID]fedinvite.VerifyKey

// readDocument returns the usable keys of the document that server itself returned
// at the time fetched. Any fault of the document is an ErrUnknownKey: the server
// was asked and has no keys that could be used.
func readDocument(raw []byte, server fedinvite.ServerName, fetched time.Time) (keySet, error) {
	keys, err := checkDocument(raw, server, fetched)
	if err != nil {
		return nil, fmt.Errorf("%w: key document of %q: %w", fedinvite.ErrUnknownKey, server, err)
	}
	return keys, nil
}

func checkDocument(raw []byte, server fedinvite.ServerName, fetched time.Time) (keySet, error) {
	if len(raw) > maxDocument {
		return nil, fedinvite.ErrTooLarge
	}
	// The strict scan comes first: encoding/json would take the last of two equal keys.
	text, err := fedinvite.LegacyCanonicalJSON(raw)
	if err != nil {
		return nil, err
	}
	// Maps, because encoding/json matches struct fields in any case of letters.
	document, ok := object(text)
	if !ok {
		return nil, fmt.Errorf("%w: not an object", fedinvite.ErrBadJSON)
	}
	if name, ok := str(document["server_name"]); !ok || name != string(server) {
		return nil, fmt.Errorf("%w: it is for another server", fedinvite.ErrMismatch)
	}
	validUntil, ok := timestamp(document["valid_until_ts"], fetched)
	if !ok {
		return nil, fmt.Errorf("%w: valid_until_ts", fedinvite.ErrBadJSON)
	}
	current, ok := object(document["verify_keys"])
	if !ok {
		return nil, fmt.Errorf("%w: verify_keys", fedinvite.ErrBadJSON)
	}
	old, ok := object(document["old_verify_keys"])
	if !ok && document["old_verify_keys"] != nil {
		return nil, fmt.Errorf("%w: old_verify_keys", fedinvite.ErrBadJSON)
	}
	if len(current) > maxVerifyKeys || len(current)+len(old) > maxKeys {
		return nil, fmt.Errorf("%w: too many keys", fedinvite.ErrTooLarge)
	}

	keys, err := signingKeys(text, server, current, validUntil)
	if err != nil {
		return nil, err
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: no key that it lists has signed it", fedinvite.ErrSignature)
	}
	for name, entry := range old {
		members, _ := object(entry)
		expired, ok := timestamp(members["expired_ts"], fetched)
		if id, key, usable := readKey(name, entry); ok && usable {
			key.ExpiredAt = expired
			keys[id] = key // also over a current key: an expiry outweighs a listing
		}
	}
	return keys, nil
}

// signingKeys returns the keys of verify_keys that signed the document. Each is
// judged by its own signature, so that no other key's can spoil or replace it.
func signingKeys(text []byte, server fedinvite.ServerName, current map[string]json.RawMessage, validUntil time.Time) (keySet, error) {
	message, all, err := fedinvite.SignedJSON(text)
	if err != nil {
		return nil, err
	}
	servers, _ := object(all)
	signatures, _ := object(servers[string(server)])
	keys := make(keySet)
	for name, entry := range current {
		id, key, ok := readKey(name, entry)
		if !ok {
			continue
		}
		encoded, _ := str(signatures[name])
		signature, err := fedinvite.DecodeBase64(encoded)
		if err != nil || key.Verify(message, signature) != nil {
			continue
		}
		key.ValidUntil = validUntil
		keys[id] = key
	}
	return keys, nil
}

// readKey reads an entry of verify_keys or old_verify_keys. Entries that are of no
// use are passed over: other algorithms, and keys that no signature fits.
func readKey(name string, entry json.RawMessage) (fedinvite.KeyID, fedinvite.VerifyKey, bool) {
	if !usableID(fedinvite.KeyID(name)) {
		return "", fedinvite.VerifyKey{}, false
	}
	members, _ := object(entry)
	encoded, ok := str(members["key"])
	if !ok {
		return "", fedinvite.VerifyKey{}, false
	}
	public, err := fedinvite.ParsePublicKey(encoded)
	return fedinvite.KeyID(name), fedinvite.VerifyKey{Public: public}, err == nil
}

// usableID reports whether there can be such a key. Characters that key IDs should
// not have are met in the wild.
func usableID(id fedinvite.KeyID) bool {
	version, ok := strings.CutPrefix(string(id), "ed25519:")
	return ok && version != "" && len(id) <= maxKeyID
}

// merge adds the keys of a newer document to what is known of its server. A newer
// document is right about the keys that it lists; it does not shorten a validity
// that was promised, and keys that it lists no longer stay as they were.
func merge(known, newer keySet) keySet {
	merged := make(keySet, len(known)+len(newer))
	for id, key := range known {
		merged[id] = key
	}
	for id, key := range newer {
		before, ok := known[id]
		if ok && before.Public.Equal(key.Public) && key.ExpiredAt.IsZero() && before.ValidUntil.After(key.ValidUntil) {
			key.ValidUntil = before.ValidUntil
		}
		merged[id] = key
	}
	if len(merged) > maxKeys {
		return newer
	}
	return merged
}

func object(raw json.RawMessage) (members map[string]json.RawMessage, ok bool) {
	err := json.Unmarshal(raw, &members)
	return members, err == nil && members != nil
}

func str(raw json.RawMessage) (s string, ok bool) {
	if len(raw) == 0 || raw[0] != '"' {
		return "", false
	}
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// timestamp reads milliseconds, cut to the longest validity. Negative ones are
// refused, for one of them is Go's zero time, which would mean no end at all.
func timestamp(raw json.RawMessage, fetched time.Time) (time.Time, bool) {
	ms, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || ms < 0 {
		return time.Time{}, false
	}
	t, limit := time.UnixMilli(ms), fetched.Add(maxValidity)
	if t.After(limit) {
		t = limit
	}
	return t, true
}
