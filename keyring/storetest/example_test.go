package storetest_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/keyring/storetest"
)

// A database of one's own, and what opens a Store onto it; here both are in memory.
type database struct{ keys *keyring.Memory }

func (d *database) open() keyring.Store { return d.keys }

func newDatabase() *database { return &database{keyring.NewMemory(0)} }

// testStore is TestStore in a test file of one's own.
func testStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() keyring.Store {
		data := newDatabase() // an empty one for each subtest, closed by t.Cleanup
		return data.open      // called several times, for processes that share it
	})
}

// The first thing that the tests demand of a Store: what one process saves is there for
// the next.
func Example() {
	_ = testStore // go test runs it

	ctx, data := context.Background(), newDatabase()
	err := data.open().Save(ctx, []keyring.Record{{
		Server: "a.example", KeyID: "ed25519:1", Public: make([]byte, 32),
		ValidUntil: time.UnixMilli(1_700_000_000_000), Fetched: time.UnixMilli(1_699_990_000_000),
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	records, err := data.open().Load(ctx, []fedinvite.ServerName{"a.example", "b.example"})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, r := range records {
		fmt.Println(r.Server, r.KeyID, r.ValidUntil)
	}
	// Output:
	// a.example ed25519:1 2023-11-14 22:13:20 +0000 UTC
}
