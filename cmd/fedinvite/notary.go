package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/jsonobject"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// A notary is a server that is asked about the keys of another one. Its own keys are known
// beforehand, so that nobody can answer in its place.
type notary struct {
	name fedinvite.ServerName // "": none
	keys map[fedinvite.KeyID]fedinvite.VerifyKey

	given []string // the keys as they were given
}

// notary defines -notary and -notary-key.
func (f *flags) notary() *notary {
	n := new(notary)
	f.Func("notary", "", func(s string) (err error) {
		n.name, err = fedinvite.ParseServerName(s)
		return err
	})
	f.Func("notary-key", "", func(s string) error {
		if len(strings.Fields(s)) != 2 {
			return errors.New(`not of the form "ed25519:ID BASE64"`)
		}
		n.given = append(n.given, s)
		return nil
	})
	return n
}

// check puts the options together.
func (n *notary) check() error {
	switch {
	case (n.name == "") != (len(n.given) == 0):
		return usageError("-notary and -notary-key go together")
	case n.name == "":
		return nil
	}
	parsed, err := keyring.ParseNotary(string(n.name) + " " + strings.Join(n.given, " "))
	if err != nil {
		return usageError(err.Error())
	}
	n.keys = make(map[fedinvite.KeyID]fedinvite.VerifyKey, len(parsed.Keys))
	for id, key := range parsed.Keys {
		n.keys[id] = fedinvite.VerifyKey{Public: key}
	}
	return nil
}

// maxNotaryDocuments is how many documents of one server a notary may return.
const maxNotaryDocuments = 16

// What a notary says of a key, compared to the server itself.
const (
	verdictSame      = "same"
	verdictMissing   = "missing"
	verdictOnlyThere = "only there"
	verdictChanged   = "changed" // in use here, old there, or old with another end
	verdictDifferent = "DIFFERENT"
)

// A notaryReport is what a notary says.
type notaryReport struct {
	Server    fedinvite.ServerName `json:"server"`
	Documents int                  `json:"documents"` // that are signed by a key given
	Ignored   []string             `json:"ignored,omitempty"`
	Keys      []comparedKey        `json:"keys"`
}

// A comparedKey is a key that the server or the notary has.
type comparedKey struct {
	KeyID   fedinvite.KeyID `json:"key_id"`
	Verdict string          `json:"verdict"`
	There   *shownKey       `json:"there,omitempty"` // as the notary has it
}

// compare asks the notary and compares its answer with what the server says of itself.
func (n *notary) compare(ctx context.Context, f keyring.NotaryFetcher, server fedinvite.ServerName, own []keyring.Record) (*notaryReport, error) {
	now := time.Now()
	query, err := newKeyQuery(server, own, now)
	if err != nil {
		return nil, err
	}
	raw, err := f.QueryServerKeys(ctx, n.name, query)
	if err != nil {
		return nil, err
	}
	r := &notaryReport{Server: n.name, Keys: []comparedKey{}}
	theirs, err := n.read(ctx, r, raw, server, now)
	if err != nil {
		return r, fmt.Errorf("the notary %s: %w", n.name, err)
	}
	return r, r.compare(server, own, theirs)
}

// newKeyQuery asks for the keys that are known, and for all if there are none, as they
// are now (server-server API, POST /_matrix/key/v2/query).
func newKeyQuery(server fedinvite.ServerName, own []keyring.Record, now time.Time) ([]byte, error) {
	keys := make(object)
	for _, r := range own {
		keys[string(r.KeyID)] = object{"minimum_valid_until_ts": now.UnixMilli()}
	}
	return fedinvite.MarshalCanonical(object{"server_keys": object{string(server): keys}})
}

// read returns the keys in the documents that a notary has signed.
func (n *notary) read(ctx context.Context, r *notaryReport, raw []byte, server fedinvite.ServerName, now time.Time) (map[fedinvite.KeyID]keyring.Record, error) {
	text, err := jsonobject.Canonical(raw)
	if err != nil {
		return nil, err
	}
	// A map, because encoding/json matches struct fields in any case of letters.
	var reply map[string]json.RawMessage
	var documents []json.RawMessage
	if err := errors.Join(json.Unmarshal(text, &reply), json.Unmarshal(reply["server_keys"], &documents)); err != nil {
		return nil, fmt.Errorf("%w: no server_keys", fedinvite.ErrBadJSON)
	}
	if len(documents) > maxNotaryDocuments {
		return nil, fmt.Errorf("%w: more than %d documents", fedinvite.ErrTooLarge, maxNotaryDocuments)
	}
	keys := make(map[fedinvite.KeyID]keyring.Record)
	for _, raw := range documents {
		d, err := keyring.ReadDocument(raw, server, now)
		if err == nil {
			err = fedinvite.VerifyJSON(ctx, raw, n.name, fedinvite.KeyMap{n.name: n.keys}, time.Time{})
		}
		if err != nil {
			r.Ignored = append(r.Ignored, err.Error())
			continue
		}
		r.Documents++
		for _, key := range d.Records {
			if before, ok := keys[key.KeyID]; ok {
				key = keyring.Merge(before, key)
			}
			keys[key.KeyID] = key
		}
	}
	if r.Documents == 0 {
		return nil, fmt.Errorf("%w: no key document of %s that counts", fedinvite.ErrUnknownKey, server)
	}
	return keys, nil
}

// compare fills in the keys. Other bytes are an error: a key ID is never used again.
func (r *notaryReport) compare(server fedinvite.ServerName, own []keyring.Record, theirs map[fedinvite.KeyID]keyring.Record) (err error) {
	for _, key := range own {
		there, ok := theirs[key.KeyID]
		if !ok {
			r.Keys = append(r.Keys, comparedKey{KeyID: key.KeyID, Verdict: verdictMissing})
			continue
		}
		delete(theirs, key.KeyID)
		verdict := verdictSame
		switch {
		case !key.Public.Equal(there.Public):
			verdict = verdictDifferent
			err = fmt.Errorf("the notary %s has other bytes for the key %q of %s", r.Server, key.KeyID, server)
		case !key.ExpiredAt.Equal(there.ExpiredAt):
			verdict = verdictChanged
		}
		r.Keys = append(r.Keys, newComparedKey(verdict, there))
	}
	for _, there := range slices.SortedFunc(maps.Values(theirs), func(a, b keyring.Record) int { return cmp.Compare(a.KeyID, b.KeyID) }) {
		r.Keys = append(r.Keys, newComparedKey(verdictOnlyThere, there))
	}
	return err
}

func newComparedKey(verdict string, r keyring.Record) comparedKey {
	return comparedKey{r.KeyID, verdict, new(newShownKey(r))}
}
