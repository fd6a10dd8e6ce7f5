package keyring_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/gob"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// A bucket stands for a database that has one value for each name, and transactions.
type bucket struct {
	mu     sync.Mutex
	values map[fedinvite.ServerName][]byte
}

// update calls change with the values in a transaction; after an error nothing is changed.
func (b *bucket) update(change func(values map[fedinvite.ServerName][]byte) error) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return change(b.values)
}

// A bucketStore keeps keys in it.
type bucketStore struct{ bucket *bucket }

// Load implements [keyring.Store].
func (s bucketStore) Load(ctx context.Context, servers []fedinvite.ServerName) (all []keyring.Record, err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	servers = slices.Clone(servers)
	slices.Sort(servers)
	err = s.bucket.update(func(values map[fedinvite.ServerName][]byte) error {
		for _, server := range slices.Compact(servers) { // one that is named twice counts once
			records, err := decode(values[server])
			if err != nil {
				return err
			}
			all = append(all, records...)
		}
		return nil
	})
	return all, err
}

// Save implements [keyring.Store].
func (s bucketStore) Save(ctx context.Context, records []keyring.Record) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	news := make(map[fedinvite.ServerName][]keyring.Record)
	for _, r := range records {
		if err := r.Check(); err != nil {
			return err // before anything is saved
		}
		news[r.Server] = append(news[r.Server], r)
	}
	return s.bucket.update(func(values map[fedinvite.ServerName][]byte) error {
		for server, records := range news {
			known, err := decode(values[server])
			if err != nil {
				return err
			}
			for _, r := range records {
				known = add(known, r)
			}
			if values[server], err = encode(newest(known)); err != nil {
				return err
			}
		}
		return nil
	})
}

// add adds what is new about a key to what is known of its server.
func add(known []keyring.Record, r keyring.Record) []keyring.Record {
	for i := range known {
		if known[i].KeyID == r.KeyID {
			known[i] = keyring.Merge(known[i], r)
			return known
		}
	}
	return append(known, keyring.Merge(r, r)) // in milliseconds, in UTC
}

// newest leaves out what was fetched before 64 others.
func newest(known []keyring.Record) []keyring.Record {
	slices.SortStableFunc(known, func(a, b keyring.Record) int {
		return cmp.Or(b.Fetched.Compare(a.Fetched), cmp.Compare(a.KeyID, b.KeyID))
	})
	return known[:min(len(known), 64)]
}

// Names may be any bytes, which JSON would not keep.
func encode(records []keyring.Record) ([]byte, error) {
	var value bytes.Buffer
	err := gob.NewEncoder(&value).Encode(records)
	return value.Bytes(), err
}

func decode(value []byte) (records []keyring.Record, err error) {
	if value != nil {
		err = gob.NewDecoder(bytes.NewReader(value)).Decode(&records)
	}
	return records, err
}

// A Store of one's own, for a database that has values by name. It passes the tests of
// package storetest.
func ExampleStore() {
	var store keyring.Store = bucketStore{&bucket{values: make(map[fedinvite.ServerName][]byte)}}
	ctx, monday := context.Background(), time.Date(2026, time.March, 2, 12, 0, 0, 0, time.UTC)
	key := keyring.Record{
		Server: "a.example", KeyID: "ed25519:1", Public: make([]byte, 32),
		ValidUntil: monday.Add(24 * time.Hour), Fetched: monday,
	}
	expired := key // as a later document has it
	expired.ValidUntil, expired.ExpiredAt, expired.Fetched = time.Time{}, monday.Add(time.Hour), monday.Add(2*time.Hour)
	for _, record := range []keyring.Record{expired, key} { // whichever is saved first
		if err := store.Save(ctx, []keyring.Record{record}); err != nil {
			fmt.Println(err)
			return
		}
	}
	records, err := store.Load(ctx, []fedinvite.ServerName{"a.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range records {
		fmt.Println(r.Server, r.KeyID, "expired at", r.ExpiredAt)
	}
	// Output:
	// a.example ed25519:1 expired at 2026-03-02 13:00:00 +0000 UTC
}
