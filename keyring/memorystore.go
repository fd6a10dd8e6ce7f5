package keyring

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/lru"
)

// A Memory is a [Store] for one process, which forgets everything at its end: for tests,
// and for several Rings that share their keys. It is safe for concurrent use.
type Memory struct {
	mu      sync.Mutex
	servers *lru.Cache[fedinvite.ServerName, map[fedinvite.KeyID]Record]
}

// NewMemory returns an empty Memory for the keys of most servers; 0 or less: 10,000. It
// forgets the server that was not asked about or saved for longest. Of one server it
// keeps 64 keys, those that were fetched last.
func NewMemory(most int) *Memory {
	if most <= 0 {
		most = 10_000
	}
	return &Memory{servers: lru.New[fedinvite.ServerName, map[fedinvite.KeyID]Record](most)}
}

// Load implements [Store].
func (m *Memory) Load(ctx context.Context, servers []fedinvite.ServerName) ([]Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("keyring: loading keys: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var records []Record
	seen := make(map[fedinvite.ServerName]bool, len(servers))
	for _, server := range servers {
		if seen[server] {
			continue
		}
		seen[server] = true
		keys, _ := m.servers.Get(server)
		for _, r := range keys {
			r.Public = slices.Clone(r.Public)
			records = append(records, r)
		}
	}
	return records, nil
}

// Save implements [Store].
func (m *Memory) Save(ctx context.Context, records []Record) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("keyring: saving keys: %w", err)
	}
	for _, r := range records {
		if err := r.Check(); err != nil {
			return err
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range records {
		m.save(r)
	}
	return nil
}

func (m *Memory) save(r Record) {
	keys, ok := m.servers.Get(r.Server)
	if !ok {
		keys = make(map[fedinvite.KeyID]Record, 1)
		m.servers.Put(fedinvite.ServerName(strings.Clone(string(r.Server))), keys)
	}
	before, ok := keys[r.KeyID]
	if !ok {
		before = r
		// The names may be parts of something large.
		before.Server = fedinvite.ServerName(strings.Clone(string(r.Server)))
		before.KeyID = fedinvite.KeyID(strings.Clone(string(r.KeyID)))
	}
	r = Merge(before, r)
	r.Server, r.KeyID = before.Server, before.KeyID
	r.Public = slices.Clone(r.Public)
	keys[r.KeyID] = r
	if len(keys) > maxKeys {
		delete(keys, stalest(keys))
	}
}

// stalest returns the key that was fetched before all others. Of several it is the one
// that expired first, rather than a current one.
func stalest(keys map[fedinvite.KeyID]Record) fedinvite.KeyID {
	var first *Record
	for _, r := range keys {
		if first == nil || cmp.Or(r.Fetched.Compare(first.Fetched), cmp.Compare(r.expiry(), first.expiry()), cmp.Compare(r.KeyID, first.KeyID)) < 0 {
			first = &r
		}
	}
	return first.KeyID
}
