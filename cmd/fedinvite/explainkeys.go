package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/jsonobject"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// An unjudged is why a check could not be made: it says nothing of the request.
type unjudged struct{ reason string }

func (e *unjudged) Error() string { return e.reason }

// A keyBook is the key source of explain: a Ring, that it be judged as by a homeserver, and
// what there is to know of its keys.
type keyBook struct {
	ring  *keyring.Ring
	at    time.Time
	past  bool                            // at is not now
	given map[fedinvite.ServerName][]byte // key documents by -keys; nil: servers are asked

	mu        sync.Mutex
	documents map[fedinvite.ServerName]fetched
	memory    map[keyQuestion]answered
}

// A fetched is what a server answered when it was asked for its keys.
type fetched struct {
	raw []byte
	err error
}

type keyQuestion struct {
	server fedinvite.ServerName
	id     fedinvite.KeyID
	at     int64
}

type answered struct {
	key fedinvite.VerifyKey
	err error
}

// newKeyBook returns a key book that has the documents given, or asks servers if they are
// nil.
func newKeyBook(ask keyring.Fetcher, given map[fedinvite.ServerName][]byte, at time.Time, past bool) (*keyBook, error) {
	b := &keyBook{
		at: at, past: past, given: given,
		documents: make(map[fedinvite.ServerName]fetched), memory: make(map[keyQuestion]answered),
	}
	fetch := func(ctx context.Context, server fedinvite.ServerName) (raw []byte, err error) {
		if given != nil {
			raw = given[server]
		} else {
			raw, err = ask.FetchServerKeys(ctx, server)
		}
		b.mu.Lock()
		defer b.mu.Unlock()
		b.documents[server] = fetched{raw, err}
		return raw, err
	}
	var err error
	b.ring, err = keyring.New(keyring.Config{
		Fetcher: keyring.FetcherFunc(fetch), Now: func() time.Time { return at },
		Timeout: askTimeout, MaxServers: 1000,
	})
	return b, err
}

// VerifyKey implements [fedinvite.KeySource]. The same question gets the same answer.
func (b *keyBook) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	if b.given != nil && b.given[server] == nil {
		return fedinvite.VerifyKey{}, &unjudged{fmt.Sprintf("the keys of %s are not at hand", server)}
	}
	q := keyQuestion{server, id, at.UnixNano()}
	b.mu.Lock()
	known, ok := b.memory[q]
	b.mu.Unlock()
	if ok {
		return known.key, known.err
	}
	key, err := b.ring.VerifyKey(ctx, server, id, at)
	if err != nil && ctx.Err() != nil {
		return key, &unjudged{fmt.Sprintf("fetching the keys of %s: %v", server, context.Cause(ctx))}
	}
	if b.past && !key.ExpiredAt.IsZero() && !key.ExpiredAt.Before(b.at) {
		key = fedinvite.VerifyKey{Public: key.Public, ValidUntil: key.ExpiredAt} // it was in use then
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.memory[q] = answered{key, err}
	return key, err
}

// A knownKey is a key that counts of a document that was seen.
type knownKey struct {
	server fedinvite.ServerName
	id     fedinvite.KeyID
	key    fedinvite.VerifyKey
}

// text says how long the key counts.
func (k knownKey) text() string {
	if k.key.ExpiredAt.IsZero() {
		return fmt.Sprintf("%q (in use, until %s)", k.id, moment(k.key.ValidUntil))
	}
	return fmt.Sprintf("%q (old, until %s)", k.id, moment(k.key.ExpiredAt))
}

// keysOf returns the keys that count of a server, as far as it was asked or its document
// was given, and what is wrong with the document.
func (b *keyBook) keysOf(server fedinvite.ServerName) ([]knownKey, error) {
	b.mu.Lock()
	doc, ok := b.documents[server]
	b.mu.Unlock()
	switch {
	case !ok && b.given[server] == nil:
		return nil, nil
	case !ok:
		doc.raw = b.given[server]
	case doc.err != nil:
		return nil, doc.err
	}
	d, err := keyring.ReadDocument(doc.raw, server, b.at)
	if d == nil {
		return nil, err
	}
	var keys []knownKey
	for _, r := range d.Records {
		keys = append(keys, knownKey{server, r.KeyID, fedinvite.VerifyKey{Public: r.Public, ValidUntil: r.ValidUntil, ExpiredAt: r.ExpiredAt}})
	}
	return keys, err
}

// all returns all keys that were seen.
func (b *keyBook) all() []knownKey {
	b.mu.Lock()
	servers := slices.Collect(maps.Keys(b.documents))
	b.mu.Unlock()
	servers = slices.AppendSeq(servers, maps.Keys(b.given))
	slices.Sort(servers)
	var all []knownKey
	for _, server := range slices.Compact(servers) {
		keys, _ := b.keysOf(server)
		all = append(all, keys...)
	}
	return all
}

// timeless is a key source whose keys are valid at any time.
type timeless struct{ fedinvite.KeySource }

func (t timeless) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	key, err := t.KeySource.VerifyKey(ctx, server, id, at)
	return fedinvite.VerifyKey{Public: key.Public}, err
}

// only is a key source that has one key, whatever it is asked for.
type only fedinvite.VerifyKey

func (o only) VerifyKey(context.Context, fedinvite.ServerName, fedinvite.KeyID, time.Time) (fedinvite.VerifyKey, error) {
	return fedinvite.VerifyKey{Public: o.Public}, nil
}

// readKeyDocuments reads files with the key documents of servers: as GET
// /_matrix/key/v2/server returns one, or as a notary returns some. They are judged later.
func readKeyDocuments(files []string) (map[fedinvite.ServerName][]byte, error) {
	all := make(map[fedinvite.ServerName][]byte)
	for _, name := range files {
		data, err := readFile(name, maxInput)
		if err != nil {
			return nil, err
		}
		if err := addKeyDocuments(all, data); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
}

func addKeyDocuments(all map[fedinvite.ServerName][]byte, data []byte) error {
	text, err := jsonobject.Canonical(data)
	if err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return err
	}
	documents := []json.RawMessage{text}
	if list, ok := members["server_keys"]; ok {
		if err := json.Unmarshal(list, &documents); err != nil {
			return fmt.Errorf("server_keys: %w", err)
		}
	}
	for _, d := range documents {
		var members map[string]json.RawMessage
		var server string
		if json.Unmarshal(d, &members) == nil {
			_ = optional(members, "server_name", &server)
		}
		name, err := fedinvite.ParseServerName(server)
		if err != nil {
			return fmt.Errorf("no key document of a server: server_name is missing or no server name")
		}
		all[name] = d
	}
	return nil
}
