package sqlstore_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring/sqlstore"
)

var sizes = []int{1, 1000}

// Each Save changes every row and waits for the disk, once.
func BenchmarkSave(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			store := newPlace(b, sqlstore.SQLite).open(b)
			all := records(n)
			for b.Loop() {
				for i := range all {
					all[i].Fetched = all[i].Fetched.Add(time.Millisecond)
				}
				if err := store.Save(b.Context(), all); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Another process has saved the same before: nothing is written.
func BenchmarkSaveAgain(b *testing.B) {
	for _, n := range sizes {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			store := newPlace(b, sqlstore.SQLite).open(b)
			all := records(n)
			for b.Loop() {
				if err := store.Save(b.Context(), all); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// The keys are among those of 20,000 servers.
func BenchmarkLoad(b *testing.B) {
	store := newPlace(b, sqlstore.SQLite).open(b)
	mustSave(b, store, records(20_000)...)
	for _, n := range sizes {
		b.Run(fmt.Sprintf("keys=%d", n), func(b *testing.B) {
			var servers []fedinvite.ServerName
			for _, r := range records(n) {
				servers = append(servers, r.Server)
			}
			b.ReportAllocs()
			for b.Loop() {
				got, err := store.Load(b.Context(), servers)
				if err != nil || len(got) != n {
					b.Fatal(len(got), err)
				}
			}
		})
	}
}
