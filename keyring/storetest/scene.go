package storetest

import (
	"bytes"
	"cmp"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// A scene is one subtest and its data.
type scene struct {
	*testing.T
	open           func() keyring.Store
	writer, reader keyring.Store // of save and load
	merged         int           // how often merges has merged
}

// save saves records, which must succeed.
func (s *scene) save(records ...keyring.Record) {
	s.Helper()
	if s.writer == nil {
		s.writer = s.open()
	}
	if err := s.writer.Save(s.Context(), records); err != nil {
		s.Fatalf("Save: %v", err)
	}
}

// load loads what is known of servers, sorted, through a Store that has saved nothing.
func (s *scene) load(servers ...fedinvite.ServerName) []keyring.Record {
	s.Helper()
	if s.reader == nil {
		s.reader = s.open()
	}
	records, err := s.reader.Load(s.Context(), servers)
	if err != nil {
		s.Fatalf("Load: %v", err)
	}
	sorted(records)
	return records
}

// holds demands that the Stores have these records of the servers that they name, to
// the millisecond, and no others.
func (s *scene) holds(want ...keyring.Record) {
	s.Helper()
	want = slices.Clone(want)
	sorted(want)
	var servers []fedinvite.ServerName
	for _, r := range want {
		servers = append(servers, r.Server)
	}
	s.same(s.load(slices.Compact(servers)...), want)
}

// same demands that got, which Load returned, is want; both are sorted.
func (s *scene) same(got, want []keyring.Record) {
	s.Helper()
	if text := difference(got, want); text != "" {
		s.Error(text)
	}
}

// difference says what is wrong with the first record that is; "" if none is. Both are
// sorted, and want has one record for each key.
func difference(got, want []keyring.Record) string {
	for i, r := range got {
		if i > 0 && compareKeys(got[i-1], r) == 0 {
			return fmt.Sprintf("Load returned two records of one key:\n%s\n%s", show(got[i-1]), show(r))
		}
	}
	for i := range max(len(got), len(want)) {
		switch {
		case i == len(got) || i < len(want) && compareKeys(got[i], want[i]) > 0:
			return fmt.Sprintf("Load returned %d records, want %d; the first that is missing is\n%s", len(got), len(want), show(want[i]))
		case i == len(want) || compareKeys(got[i], want[i]) < 0:
			return fmt.Sprintf("Load returned %d records, want %d; the first that should not be there is\n%s", len(got), len(want), show(got[i]))
		case !equal(got[i], want[i]):
			return fmt.Sprintf("Load returned\n%s\nwant\n%s", show(got[i]), show(want[i]))
		}
	}
	return ""
}

// show writes a record with the key as key documents have it, and times as they count.
func show(r keyring.Record) string {
	moment := func(t time.Time) string {
		if t.IsZero() {
			return "none"
		}
		return t.Format("2006-01-02T15:04:05.000Z07:00")
	}
	return fmt.Sprintf("{Server %q, KeyID %q, Public %s, ValidUntil %s, ExpiredAt %s, Fetched %s}",
		r.Server, r.KeyID, base64.RawStdEncoding.EncodeToString(r.Public), moment(r.ValidUntil), moment(r.ExpiredAt), moment(r.Fetched))
}

func equal(a, b keyring.Record) bool {
	return a.Server == b.Server && a.KeyID == b.KeyID && bytes.Equal(a.Public, b.Public) &&
		sameTime(a.ValidUntil, b.ValidUntil) && sameTime(a.ExpiredAt, b.ExpiredAt) && sameTime(a.Fetched, b.Fetched)
}

func sameTime(a, b time.Time) bool { return a.UnixMilli() == b.UnixMilli() && a.IsZero() == b.IsZero() }

func sorted(records []keyring.Record) {
	slices.SortFunc(records, compareKeys)
}

func compareKeys(a, b keyring.Record) int {
	return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.KeyID, b.KeyID))
}

// start is the time of most records; its milliseconds are not zero.
var start = time.Date(2026, time.March, 1, 12, 0, 0, int(678*time.Millisecond), time.UTC)

// current returns the record of a current key, whose bytes depend on its names.
func current(server fedinvite.ServerName, id fedinvite.KeyID) keyring.Record {
	return keyring.Record{Server: server, KeyID: id, Public: public(string(server + "\n" + fedinvite.ServerName(id))), ValidUntil: start.Add(24 * time.Hour), Fetched: start}
}

// public returns the 32 bytes of a key that depends on seed.
func public(seed string) ed25519.PublicKey {
	sum := sha256.Sum256([]byte(seed))
	return ed25519.NewKeyFromSeed(sum[:]).Public().(ed25519.PublicKey)
}
