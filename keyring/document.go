package keyring

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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

// readDocument returns the usable keys of a document of server's, which was had at the
// time fetched: one at least, sorted by ID. Any fault of the document is an
// ErrUnknownKey: the server was asked and has no keys that could be used.
func readDocument(raw []byte, server fedinvite.ServerName, fetched time.Time) ([]Record, error) {
	d, err := parseDocument(raw, server, fetched)
	if err != nil {
		return nil, badDocument(server, err)
	}
	records, _, err := d.judge()
	if err != nil {
		return nil, badDocument(server, err)
	}
	return records, nil
}

func badDocument(server fedinvite.ServerName, err error) error {
	return fmt.Errorf("%w: key document of %q: %w", fedinvite.ErrUnknownKey, server, err)
}

// A keyDocument is a key document of the right form and server, whose keys are not yet
// judged.
type keyDocument struct {
	server       fedinvite.ServerName
	fetched      time.Time
	validUntil   time.Time                  // as it says
	current, old map[string]json.RawMessage // verify_keys, old_verify_keys
	message      []byte                     // what is signed
	signatures   map[string]json.RawMessage // by server
}

func parseDocument(raw []byte, server fedinvite.ServerName, fetched time.Time) (*keyDocument, error) {
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
	// Records count in milliseconds.
	d := &keyDocument{server: server, fetched: time.UnixMilli(fetched.UnixMilli()).UTC()}
	if d.validUntil, ok = timestamp(document["valid_until_ts"]); !ok {
		return nil, fmt.Errorf("%w: valid_until_ts", fedinvite.ErrBadJSON)
	}
	if d.current, ok = object(document["verify_keys"]); !ok {
		return nil, fmt.Errorf("%w: verify_keys", fedinvite.ErrBadJSON)
	}
	if d.old, ok = object(document["old_verify_keys"]); !ok && document["old_verify_keys"] != nil {
		return nil, fmt.Errorf("%w: old_verify_keys", fedinvite.ErrBadJSON)
	}
	if len(d.current) > maxVerifyKeys || len(d.current)+len(d.old) > maxKeys {
		return nil, fmt.Errorf("%w: too many keys", fedinvite.ErrTooLarge)
	}
	message, signatures, err := fedinvite.SignedJSON(text)
	if err != nil {
		return nil, err
	}
	d.message = message
	d.signatures, _ = object(signatures)
	return d, nil
}

// Why an entry of verify_keys or old_verify_keys is not used.
var (
	errKeyID    = errors.New("no ed25519 key ID of at most 128 bytes")
	errNoKey    = errors.New("no key in base64")
	errUnsigned = fmt.Errorf("%w: the key has not signed the document", fedinvite.ErrSignature)
	errExpiry   = errors.New("no expired_ts")
	errOldToo   = errors.New("listed in old_verify_keys too, and used as that")
)

// judge returns the keys of d that may be used, and the entries that may not, each
// sorted by ID. That no current key may be used is an error, and the old ones do not
// count then either.
func (d *keyDocument) judge() (records []Record, ignored []IgnoredKey, err error) {
	usable := make(map[fedinvite.KeyID]Record, len(d.current)+len(d.old))
	ignore := func(id fedinvite.KeyID, err error) {
		ignored = append(ignored, IgnoredKey{KeyID: id, Err: err})
	}
	signatures, _ := object(d.signatures[string(d.server)])
	for name, entry := range d.current {
		id := fedinvite.KeyID(name)
		key, err := d.currentKey(id, entry, signatures[name])
		if err != nil {
			ignore(id, err)
			continue
		}
		usable[id] = key
	}
	signed := len(usable) > 0
	for name, entry := range d.old {
		id := fedinvite.KeyID(name)
		key, err := d.oldKey(id, entry)
		if err != nil {
			ignore(id, err)
			continue
		}
		// An expiry outweighs a listing.
		if _, both := usable[id]; both {
			ignore(id, errOldToo)
		}
		usable[id] = key
	}
	slices.SortFunc(ignored, func(a, b IgnoredKey) int {
		return cmp.Or(cmp.Compare(a.KeyID, b.KeyID), cmp.Compare(a.Err.Error(), b.Err.Error()))
	})
	if !signed {
		return nil, ignored, fmt.Errorf("%w: no key that it lists has signed it", fedinvite.ErrSignature)
	}
	for _, key := range usable {
		records = append(records, key)
	}
	slices.SortFunc(records, func(a, b Record) int { return cmp.Compare(a.KeyID, b.KeyID) })
	return records, ignored, nil
}

// currentKey reads an entry of verify_keys. Each is judged by its own signature, so that
// no other key's can spoil or replace it.
func (d *keyDocument) currentKey(id fedinvite.KeyID, entry, signature json.RawMessage) (Record, error) {
	key, err := d.key(id, entry)
	if err != nil {
		return Record{}, err
	}
	encoded, ok := str(signature)
	if !ok {
		return Record{}, errUnsigned
	}
	s, err := fedinvite.DecodeBase64(encoded)
	if err != nil {
		return Record{}, fmt.Errorf("%w: %w", fedinvite.ErrSignature, err)
	}
	if err := (fedinvite.VerifyKey{Public: key.Public}).Verify(d.message, s); err != nil {
		return Record{}, err
	}
	key.ValidUntil = d.cut(d.validUntil)
	return key, nil
}

// oldKey reads an entry of old_verify_keys, which need not have signed: it may be lost.
func (d *keyDocument) oldKey(id fedinvite.KeyID, entry json.RawMessage) (Record, error) {
	key, err := d.key(id, entry)
	if err != nil {
		return Record{}, err
	}
	members, _ := object(entry)
	expired, ok := timestamp(members["expired_ts"])
	if !ok {
		return Record{}, errExpiry
	}
	key.ExpiredAt = d.cut(expired)
	return key, nil
}

// key reads what both kinds of entries have. Other algorithms, and keys that no
// signature fits, are of no use.
func (d *keyDocument) key(id fedinvite.KeyID, entry json.RawMessage) (Record, error) {
	if !usableID(id) {
		return Record{}, errKeyID
	}
	members, _ := object(entry)
	encoded, ok := str(members["key"])
	if !ok {
		return Record{}, errNoKey
	}
	public, err := fedinvite.ParsePublicKey(encoded)
	if err != nil {
		return Record{}, err
	}
	return Record{Server: d.server, KeyID: id, Public: public, Fetched: d.fetched}, nil
}

// cut returns t, or the longest validity if that is less.
func (d *keyDocument) cut(t time.Time) time.Time {
	if limit := d.fetched.Add(maxValidity); t.After(limit) {
		return limit
	}
	return t
}

// usableID reports whether there can be such a key. Characters that key IDs should
// not have are met in the wild.
func usableID(id fedinvite.KeyID) bool {
	version, ok := strings.CutPrefix(string(id), "ed25519:")
	return ok && version != "" && len(id) <= maxKeyID
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

// timestamp reads milliseconds. Negative ones are refused, for one of them is Go's zero
// time, which would mean no end at all.
func timestamp(raw json.RawMessage) (time.Time, bool) {
	ms, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil || ms < 0 {
		return time.Time{}, false
	}
	return time.UnixMilli(ms).UTC(), true
}
