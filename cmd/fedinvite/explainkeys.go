package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"
	"strings"
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
	ring    *keyring.Ring
	at, now time.Time                       // judged at, and what the clock says
	given   map[fedinvite.ServerName][]byte // key documents by -keys; nil: servers are asked

	mu        sync.Mutex
	documents map[fedinvite.ServerName]*fetched
	memory    map[keyQuestion]answered
}

// A fetched is what a server answered when it was asked for its keys.
type fetched struct {
	keys []knownKey // those that count, by ID
	err  error      // what is wrong with the rest, or why there is nothing
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
// nil. It judges as of the time at; now is what the clock says.
func newKeyBook(ask keyring.Fetcher, given map[fedinvite.ServerName][]byte, at, now time.Time) (*keyBook, error) {
	b := &keyBook{
		at: at, now: now, given: given,
		documents: make(map[fedinvite.ServerName]*fetched), memory: make(map[keyQuestion]answered),
	}
	fetch := func(ctx context.Context, server fedinvite.ServerName) (raw []byte, err error) {
		if given != nil {
			return given[server], nil
		}
		raw, err = ask.FetchServerKeys(ctx, server)
		b.keep(server, raw, err)
		return raw, err
	}
	var err error
	b.ring, err = keyring.New(keyring.Config{
		Fetcher: keyring.FetcherFunc(fetch), Now: func() time.Time { return at },
		Timeout: askTimeout, MaxServers: 1000,
	})
	return b, err
}

// keep remembers the keys of a document.
func (b *keyBook) keep(server fedinvite.ServerName, raw []byte, err error) *fetched {
	doc := &fetched{err: err}
	if err == nil {
		doc.read(raw, server, b.at, b.now)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.documents[server] = doc
	return doc
}

func (f *fetched) read(raw []byte, server fedinvite.ServerName, at, now time.Time) {
	d, err := keyring.ReadDocument(raw, server, at)
	if f.err = err; err != nil {
		return
	}
	expired := make(map[fedinvite.KeyID]time.Time)
	if today, err := keyring.ReadDocument(raw, server, now); err == nil {
		for _, r := range today.Records {
			expired[r.KeyID] = r.ExpiredAt
		}
	}
	for _, r := range d.Records {
		key := fedinvite.VerifyKey{Public: r.Public, ValidUntil: r.ValidUntil, ExpiredAt: r.ExpiredAt}
		f.keys = append(f.keys, knownKey{server, r.KeyID, key, expired[r.KeyID]})
	}
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
	if known, ok := b.keyOf(server, id); ok && b.wasInUse(known) {
		key = fedinvite.VerifyKey{Public: key.Public, ValidUntil: known.expired}
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
	// expired is key.ExpiredAt as it counts today: a Ring believes no document for longer
	// than a week after it was had, and so cuts what lies ahead.
	expired time.Time
}

// text says how long the key counts.
func (k knownKey) text() string {
	if k.key.ExpiredAt.IsZero() {
		return fmt.Sprintf("%s (in use, until %s)", keyName(k.id), moment(k.key.ValidUntil))
	}
	return fmt.Sprintf("%s (old, until %s)", keyName(k.id), moment(k.key.ExpiredAt))
}

// keyName shows a key ID, which may be any text: quoted, and no longer than IDs are.
func keyName(id fedinvite.KeyID) string {
	const most = 40
	name := string(id)
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return quoted(name)
}

// wasInUse reports whether a key that is old now must have been in use at the time that is
// judged at. One that says that it will have been is an old one all the same.
func (b *keyBook) wasInUse(k knownKey) bool {
	return !k.expired.IsZero() && !k.expired.Before(b.at) && !k.expired.After(b.now)
}

// keysOf returns the keys that count of a server, as far as it was asked or its document
// was given, and what is wrong with the document.
func (b *keyBook) keysOf(server fedinvite.ServerName) ([]knownKey, error) {
	b.mu.Lock()
	doc := b.documents[server]
	b.mu.Unlock()
	switch {
	case doc == nil && b.given[server] == nil:
		return nil, nil
	case doc == nil:
		doc = b.keep(server, b.given[server], nil)
	}
	return doc.keys, doc.err
}

// keyOf returns a key, if it counts.
func (b *keyBook) keyOf(server fedinvite.ServerName, id fedinvite.KeyID) (knownKey, bool) {
	keys, _ := b.keysOf(server)
	i := slices.IndexFunc(keys, func(k knownKey) bool { return k.id == id })
	if i < 0 {
		return knownKey{}, false
	}
	return keys[i], true
}

// candidates yields the keys by which a signature may have been made that is said to be by
// that one: first that one, then the others of its server, then those that other servers
// use. The old ones of others prove nothing: who lists a key as old need not have had it.
func (b *keyBook) candidates(server fedinvite.ServerName, id fedinvite.KeyID) iter.Seq[knownKey] {
	return func(yield func(knownKey) bool) {
		if k, ok := b.keyOf(server, id); ok && !yield(k) {
			return
		}
		own, _ := b.keysOf(server)
		for _, k := range own {
			if k.id != id && !yield(k) {
				return
			}
		}
		for _, other := range b.servers() {
			keys, _ := b.keysOf(other)
			for _, k := range keys {
				if other != server && k.key.ExpiredAt.IsZero() && !yield(k) {
					return
				}
			}
		}
	}
}

// servers returns all servers of which documents were seen.
func (b *keyBook) servers() []fedinvite.ServerName {
	b.mu.Lock()
	defer b.mu.Unlock()
	servers := slices.AppendSeq(slices.Collect(maps.Keys(b.documents)), maps.Keys(b.given))
	slices.Sort(servers)
	return slices.Compact(servers)
}

// timeless is a key source whose keys are valid at any time.
type timeless struct{ fedinvite.KeySource }

func (t timeless) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	key, err := t.KeySource.VerifyKey(ctx, server, id, at)
	return fedinvite.VerifyKey{Public: key.Public}, err
}

// readKeyDocuments reads files with the key documents of servers: as GET
// /_matrix/key/v2/server returns one, or as a notary returns some. Of several of one server
// the newest counts, which is the one that is valid the longest. Entries that are no key
// document are passed over, and told of.
func readKeyDocuments(files []string, at time.Time) (all map[fedinvite.ServerName][]byte, ignored []error, err error) {
	newest := make(map[fedinvite.ServerName]*givenDocument)
	for _, name := range files {
		data, err := readFile(name, maxInput)
		if err != nil {
			return nil, nil, err
		}
		documents, err := splitDocuments(data)
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", name, err)
		}
		for i, raw := range documents {
			server, err := serverOfDocument(raw)
			if err != nil {
				ignored = append(ignored, fmt.Errorf("%s: entry %d is ignored: %w", name, i, err))
				continue
			}
			d := &givenDocument{server: server, raw: raw}
			if before := newest[server]; before == nil || d.newer(before, at) {
				newest[server] = d
			}
		}
	}
	all = make(map[fedinvite.ServerName][]byte, len(newest))
	for server, d := range newest {
		all[server] = d.raw
	}
	return all, ignored, nil
}

// A givenDocument is a key document in a file, which is read only if there are several of
// its server.
type givenDocument struct {
	server fedinvite.ServerName
	raw    []byte
	until  *time.Time // as it says; the zero time if no key of it counts
}

func (d *givenDocument) newer(than *givenDocument, at time.Time) bool {
	return d.validUntil(at).After(than.validUntil(at))
}

func (d *givenDocument) validUntil(at time.Time) time.Time {
	if d.until == nil {
		d.until = new(time.Time)
		if read, err := keyring.ReadDocument(d.raw, d.server, at); err == nil {
			*d.until = read.ValidUntil
		}
	}
	return *d.until
}

// splitDocuments returns what a file has: one document, or those of a notary.
func splitDocuments(data []byte) ([]json.RawMessage, error) {
	text, err := jsonobject.Canonical(data)
	if err != nil {
		return nil, err
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(text, &members); err != nil {
		return nil, err
	}
	list, ok := members["server_keys"]
	if !ok {
		_, err := serverOfDocument(text)
		return []json.RawMessage{text}, err
	}
	var documents []json.RawMessage
	if err := json.Unmarshal(list, &documents); err != nil {
		return nil, fmt.Errorf("server_keys: %w", err)
	}
	return documents, nil
}

// serverOfDocument returns the server_name of a key document in canonical form.
func serverOfDocument(raw json.RawMessage) (fedinvite.ServerName, error) {
	var members map[string]json.RawMessage
	var name string
	if json.Unmarshal(raw, &members) == nil {
		_ = optional(members, "server_name", &name)
	}
	server, err := fedinvite.ParseServerName(name)
	if err != nil {
		return "", errors.New("no key document of a server: server_name is missing or no server name")
	}
	return server, nil
}
