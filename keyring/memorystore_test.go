package keyring_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/keyring/storetest"
)

func TestMemoryIsAStore(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() keyring.Store {
		m := keyring.NewMemory(0)
		return func() keyring.Store { return m }
	})
}

func TestTheStoreOfTheExampleIsOne(t *testing.T) {
	storetest.Run(t, func(*testing.T) func() keyring.Store {
		b := &bucket{values: make(map[fedinvite.ServerName][]byte)}
		return func() keyring.Store { return bucketStore{b} }
	})
}

func TestMemoryForgetsTheServerUnusedForLongest(t *testing.T) {
	m := keyring.NewMemory(2)
	save := func(server fedinvite.ServerName) {
		t.Helper()
		if err := m.Save(t.Context(), []keyring.Record{recordOf(server, "ed25519:1", start)}); err != nil {
			t.Fatal(err)
		}
	}
	count := func(servers ...fedinvite.ServerName) int {
		t.Helper()
		records, err := m.Load(t.Context(), servers)
		if err != nil {
			t.Fatal(err)
		}
		return len(records)
	}
	save("a.ex")
	save("b.ex")
	if count("a.ex") != 1 { // asking is a use
		t.Fatal("a.ex is not known")
	}
	save("c.ex")
	if count("a.ex") != 1 || count("b.ex") != 0 || count("c.ex") != 1 {
		t.Error("it was b.ex that should have been forgotten")
	}
}

func TestMemoryBoundsTheKeysOfAServer(t *testing.T) {
	m := keyring.NewMemory(0)
	for i := range 200 {
		id := fedinvite.KeyID(fmt.Sprintf("ed25519:%d", i))
		// The one with number 100 is the newest, the farther from it the older.
		record := recordOf("a.ex", id, start.Add(-time.Duration(max(i-100, 100-i))*time.Second))
		if err := m.Save(t.Context(), []keyring.Record{record}); err != nil {
			t.Fatal(err)
		}
	}
	records, err := m.Load(t.Context(), []fedinvite.ServerName{"a.ex"})
	if err != nil || len(records) != 64 {
		t.Fatalf("%d records, %v, want 64", len(records), err)
	}
	for _, r := range records {
		if r.Fetched.Before(start.Add(-32 * time.Second)) {
			t.Errorf("%s was kept, fetched %v before the newest", r.KeyID, start.Sub(r.Fetched))
		}
	}
}

func TestMemoryForgetsOldKeysBeforeCurrentOnes(t *testing.T) {
	m := keyring.NewMemory(0)
	var records []keyring.Record
	for i := range 67 {
		r := recordOf("a.ex", fedinvite.KeyID(fmt.Sprintf("ed25519:%d", 100+i)), start)
		if i >= 60 {
			r.ExpiredAt = start.Add(time.Duration(i) * time.Hour)
		}
		records = append(records, r)
	}
	if err := m.Save(t.Context(), records); err != nil {
		t.Fatal(err)
	}
	kept, err := m.Load(t.Context(), []fedinvite.ServerName{"a.ex"})
	if err != nil || len(kept) != 64 {
		t.Fatalf("%d records, %v, want 64", len(kept), err)
	}
	for _, r := range kept {
		if !r.ExpiredAt.IsZero() && r.ExpiredAt.Before(start.Add(63*time.Hour)) {
			t.Errorf("%s was kept", r.KeyID)
		}
	}
}

// Names come from events and headers, of which they are small parts.
func TestMemoryKeepsNothingOfWhatANameIsPartOf(t *testing.T) {
	large := strings.Repeat("x", 64<<10)
	m := keyring.NewMemory(0)
	const servers, keys = 100, 4
	before := heap()
	for i := range servers {
		for j := range keys {
			for fetched := range 2 { // a key that is new, and news of it
				server, _, _ := strings.Cut(fmt.Sprintf("%d.ex ", i)+large, " ")
				id, _, _ := strings.Cut(fmt.Sprintf("ed25519:%d ", j)+large, " ")
				r := recordOf(fedinvite.ServerName(server), fedinvite.KeyID(id), start.Add(time.Duration(fetched)*time.Second))
				if err := m.Save(t.Context(), []keyring.Record{r}); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if grown := int64(heap()) - int64(before); grown > servers*keys*8<<10 {
		t.Errorf("%d KiB for %d keys", grown>>10, servers*keys)
	}
	runtime.KeepAlive(m)
}
