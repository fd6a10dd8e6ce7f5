package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// A fullStore knows one key, valid for a day, of every server: a way to fill a Ring
// without signing and checking a document for each.
type fullStore struct{}

func (fullStore) Load(_ context.Context, servers []fedinvite.ServerName) ([]keyring.Record, error) {
	records := make([]keyring.Record, len(servers))
	for i, server := range servers {
		public := make([]byte, 32)
		copy(public, server)
		records[i] = keyring.Record{
			Server: server, KeyID: "ed25519:a_key1", Public: public,
			ValidUntil: time.Now().Add(day), Fetched: time.Now(),
		}
	}
	return records, nil
}

func (fullStore) Save(context.Context, []keyring.Record) error { return nil }

// name makes server names of a usual length.
func name(i int) fedinvite.ServerName {
	return fedinvite.ServerName(fmt.Sprintf("matrix.server-%06d.example", i))
}

// filled returns a Ring that knows the keys of so many servers.
func filled(t testing.TB, servers int, change ...func(c *keyring.Config)) *keyring.Ring {
	t.Helper()
	c := keyring.Config{Fetcher: newNetwork(), Now: time.Now, Store: fullStore{}, MaxServers: servers}
	for _, f := range change {
		f(&c)
	}
	ring, err := keyring.New(c)
	if err != nil {
		t.Fatal(err)
	}
	const chunk = 1000
	for i := 0; i < servers; i += chunk {
		names := make([]fedinvite.ServerName, min(chunk, servers-i))
		for j := range names {
			names[j] = name(i + j)
		}
		if err := ring.Prefetch(t.Context(), names); err != nil {
			t.Fatal(err)
		}
	}
	return ring
}

// hot returns the names of a hundred servers that are spread over all.
func hot(servers int) []fedinvite.ServerName {
	names := make([]fedinvite.ServerName, 100)
	for i := range names {
		names[i] = name(i * servers / len(names))
	}
	return names
}

// lookUps measures look-ups of keys of these servers, one after the other.
func lookUps(b *testing.B, ring *keyring.Ring, names []fedinvite.ServerName) {
	now := time.Now()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if _, err := ring.VerifyKey(b.Context(), names[i%len(names)], "ed25519:a_key1", now); err != nil {
			b.Fatal(err)
		}
	}
}

// Limit: 200 ns and no allocation, whether 100 or 100,000 servers are known.
func BenchmarkVerifyKey(b *testing.B) {
	for _, servers := range []int{100, 100_000} {
		b.Run(fmt.Sprintf("servers=%d", servers), func(b *testing.B) {
			lookUps(b, filled(b, servers), hot(servers))
		})
	}
}

// With a Local that is as cheap as it can be: what it costs more is the caller's.
func BenchmarkVerifyKeyLocal(b *testing.B) {
	us := invitetest.Signer("us.example")
	for what, local := range map[string]keyring.Local{
		"Signers": keyring.Signers(us),
		"bare": func(_ context.Context, server fedinvite.ServerName) (keyring.LocalKeys, error) {
			return keyring.LocalKeys{}, fedinvite.ErrNotLocal
		},
	} {
		b.Run(what, func(b *testing.B) {
			lookUps(b, filled(b, 100, func(c *keyring.Config) { c.Local = local }), hot(100))
		})
	}
}

// Limit: 200 ns by the wall for each look-up, whatever the number of processors.
func BenchmarkVerifyKeyParallel(b *testing.B) {
	ring, names, now := filled(b, 100_000), hot(100_000), time.Now()
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := ring.VerifyKey(b.Context(), names[i%len(names)], "ed25519:a_key1", now); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// A look-up of a server that is not in memory but in the Store. Limit: 20 µs beside what
// the Store costs.
func BenchmarkVerifyKeyFromStore(b *testing.B) {
	lookUps(b, filled(b, 1), hot(100_000))
}

// All that a look-up of a new server costs beside the network. Limit: the Ed25519 check of
// its document, and half as much again.
func BenchmarkFetch(b *testing.B) {
	a := invitetest.Signer("a.ex")
	document := invitetest.KeyDocument(a, start.Add(day))
	fetcher := keyring.FetcherFunc(func(context.Context, fedinvite.ServerName) ([]byte, error) { return document, nil })
	b.ReportAllocs()
	for b.Loop() {
		ring, err := keyring.New(keyring.Config{Fetcher: fetcher, Now: func() time.Time { return start }})
		if err != nil {
			b.Fatal(err)
		}
		if _, err := ring.VerifyKey(b.Context(), "a.ex", "ed25519:1", start); err != nil {
			b.Fatal(err)
		}
	}
}

func TestACachedLookUpAllocatesNothing(t *testing.T) {
	ring, server, now := filled(t, 100), name(7), time.Now()
	n := testing.AllocsPerRun(1000, func() {
		if _, err := ring.VerifyKey(context.Background(), server, "ed25519:a_key1", now); err != nil {
			t.Error(err)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// Names are parts of events and headers, errors of replies: of these nothing is kept.
func TestNothingLargeIsKeptInMemory(t *testing.T) {
	const servers, size = 200, 64 << 10
	part := func(s string) string {
		s, _, _ = strings.Cut(s+" "+strings.Repeat("x", size), " ")
		return s
	}
	refusal := errors.New(strings.Repeat("x", size))
	good := keyring.FetcherFunc(func(_ context.Context, name fedinvite.ServerName) ([]byte, error) {
		a := invitetest.Signer(fedinvite.ServerName(strings.Clone(string(name))))
		return invitetest.KeyDocument(a, start.Add(day)), nil
	})
	look := func(ring *keyring.Ring, name fedinvite.ServerName) {
		_, _ = ring.VerifyKey(t.Context(), name, fedinvite.KeyID(part("ed25519:1")), start)
	}
	prefetch := func(ring *keyring.Ring, name fedinvite.ServerName) {
		_ = ring.Prefetch(t.Context(), []fedinvite.ServerName{name})
	}
	for name, c := range map[string]struct {
		fetcher keyring.Fetcher
		store   keyring.Store
		do      func(ring *keyring.Ring, name fedinvite.ServerName)
	}{
		"keys":              {good, nil, look},
		"keys in a Store":   {good, keyring.NewMemory(0), look},
		"keys of Prefetch":  {good, nil, prefetch},
		"failures":          {fails(errDown), nil, look},
		"large refusals":    {fails(refusal), nil, look},
		"those of Prefetch": {fails(refusal), nil, prefetch},
	} {
		t.Run(name, func(t *testing.T) {
			ring, err := keyring.New(keyring.Config{Fetcher: c.fetcher, Now: func() time.Time { return start }, Store: c.store})
			if err != nil {
				t.Fatal(err)
			}
			before := heap()
			for i := range servers {
				c.do(ring, fedinvite.ServerName(part(fmt.Sprintf("s%d.ex", i))))
			}
			if grown := int64(heap()) - int64(before); grown > servers*8<<10 {
				t.Errorf("%d KiB a server", grown/servers>>10)
			}
			runtime.KeepAlive(ring)
		})
	}
}

// Config.MaxServers says what a server takes; 100,000 must fit into 60 MB.
func TestTheMemoryOf100000Servers(t *testing.T) {
	before := heap()
	ring := filled(t, 100_000)
	after := heap()
	if _, err := ring.VerifyKey(t.Context(), name(0), "ed25519:a_key1", time.Now()); err != nil {
		t.Error(err)
	}
	if mb := float64(after-before) / 1e6; mb > 60 {
		t.Errorf("%.1f MB", mb)
	} else {
		t.Logf("%.1f MB", mb)
	}
}
