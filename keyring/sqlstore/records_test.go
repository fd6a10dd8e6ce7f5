package sqlstore_test

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

var start = time.Date(2026, time.March, 1, 12, 0, 0, int(678*time.Millisecond), time.UTC)

func record(server fedinvite.ServerName, id fedinvite.KeyID) keyring.Record {
	public := sha256.Sum256([]byte(fmt.Sprint(server, "\n", id)))
	return keyring.Record{Server: server, KeyID: id, Public: public[:], ValidUntil: start.Add(24 * time.Hour), Fetched: start}
}

// records returns n records of as many servers.
func records(n int) []keyring.Record {
	all := make([]keyring.Record, n)
	for i := range all {
		all[i] = record(fedinvite.ServerName(fmt.Sprintf("%d.example:8448", i)), "ed25519:1")
	}
	return all
}

// random returns a record of one of few keys, with few different values, so that writers
// meet and all kinds of ties happen.
func random(r *rand.Rand, servers, keys int) keyring.Record {
	record := keyring.Record{
		Server: fedinvite.ServerName(fmt.Sprintf("%d.example", r.IntN(servers))),
		KeyID:  fedinvite.KeyID(fmt.Sprintf("ed25519:%d", r.IntN(keys))),
	}
	vary(r, &record)
	return record
}

// vary sets all of a record but the names.
func vary(r *rand.Rand, record *keyring.Record) {
	moment := func() time.Time {
		if r.IntN(4) == 0 {
			return time.Time{}
		}
		return start.Add(time.Duration(r.IntN(8)) * 500 * time.Microsecond)
	}
	public := sha256.Sum256([]byte{byte(r.IntN(3))})
	record.Public, record.Fetched = public[:], moment()
	for record.ValidUntil.IsZero() && record.ExpiredAt.IsZero() {
		record.ValidUntil, record.ExpiredAt = moment(), moment()
	}
}

// merged returns what is known if all records are true, sorted.
func merged(all []keyring.Record) []keyring.Record {
	known := map[string]keyring.Record{}
	for _, r := range all {
		key := fmt.Sprint(r.Server, "\n", r.KeyID)
		before, ok := known[key]
		if !ok {
			before = r
		}
		known[key] = keyring.Merge(before, r)
	}
	var records []keyring.Record
	for _, r := range known {
		records = append(records, r)
	}
	return sorted(records)
}

func sorted(records []keyring.Record) []keyring.Record {
	slices.SortFunc(records, func(a, b keyring.Record) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.KeyID, b.KeyID))
	})
	return records
}

// loaded returns what the Store has of all servers in records, sorted.
func loaded(t testing.TB, store keyring.Store, of []keyring.Record) []keyring.Record {
	t.Helper()
	var servers []fedinvite.ServerName
	for _, r := range of {
		servers = append(servers, r.Server)
	}
	records, err := store.Load(t.Context(), servers)
	if err != nil {
		t.Fatal(err)
	}
	return sorted(records)
}

// same demands that got is want, which are sorted.
func same(t testing.TB, got, want []keyring.Record) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d", len(got), len(want))
	}
	for i := range want {
		w := keyring.Merge(want[i], want[i]) // whose times are cut to milliseconds
		if g := got[i]; g.Server != w.Server || g.KeyID != w.KeyID || !g.Public.Equal(w.Public) || g.ValidUntil != w.ValidUntil || g.ExpiredAt != w.ExpiredAt || g.Fetched != w.Fetched {
			t.Fatalf("got\n%+v, want\n%+v", got[i], w)
		}
	}
}
