package keyring_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// A vault is a Store that counts, and that can be made to fail.
type vault struct {
	*keyring.Memory
	mu           sync.Mutex
	loads, saves int
	err          error                     // what both return
	wait         func(ctx context.Context) // during both
}

func newVault() *vault { return &vault{Memory: keyring.NewMemory(0)} }

func (v *vault) count(ctx context.Context, n *int) error {
	v.mu.Lock()
	*n++
	err, wait := v.err, v.wait
	v.mu.Unlock()
	if wait != nil {
		wait(ctx)
	}
	return err
}

func (v *vault) Load(ctx context.Context, servers []fedinvite.ServerName) ([]keyring.Record, error) {
	if err := v.count(ctx, &v.loads); err != nil {
		return nil, err
	}
	return v.Memory.Load(ctx, servers)
}

func (v *vault) Save(ctx context.Context, records []keyring.Record) error {
	if err := v.count(ctx, &v.saves); err != nil {
		return err
	}
	return v.Memory.Save(ctx, records)
}

func (v *vault) counted(t testing.TB, loads, saves int) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.loads != loads || v.saves != saves {
		t.Errorf("the Store was loaded from %d times and saved to %d times, want %d and %d", v.loads, v.saves, loads, saves)
	}
}

func withStore(s keyring.Store) func(c *keyring.Config) {
	return func(c *keyring.Config) { c.Store = s }
}

// stored returns what the Store knows of server, sorted by key ID.
func (v *vault) stored(t testing.TB, server fedinvite.ServerName) []keyring.Record {
	t.Helper()
	records, err := v.Memory.Load(t.Context(), []fedinvite.ServerName{server})
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(records, func(a, b keyring.Record) int { return slices.Compare([]byte(a.KeyID), []byte(b.KeyID)) })
	return records
}

// has demands that the Store has the keys of signers, and no others of their server.
func (v *vault) has(t testing.TB, signers ...fedinvite.Signer) {
	t.Helper()
	stored := v.stored(t, signers[0].ServerName())
	if !slices.EqualFunc(stored, signers, func(r keyring.Record, s fedinvite.Signer) bool { return r.Public.Equal(s.Public()) }) {
		t.Errorf("stored: %v", stored)
	}
}

// A careless is a Store that returns whatever it has.
type careless []keyring.Record

func (c careless) Load(context.Context, []fedinvite.ServerName) ([]keyring.Record, error) {
	return c, nil
}
func (c careless) Save(context.Context, []keyring.Record) error { return nil }

func keepFirst(c *keyring.Config) { c.KeepFirst = true }
