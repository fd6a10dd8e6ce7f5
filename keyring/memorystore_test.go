package keyring_test

import (
	"fmt"
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
