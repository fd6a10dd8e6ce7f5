package keyring_test

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// recordOf returns the record of a current key, of which only the length of the bytes is
// right.
func recordOf(server fedinvite.ServerName, id fedinvite.KeyID, fetched time.Time) keyring.Record {
	return keyring.Record{Server: server, KeyID: id, Public: bytesOf(1), ValidUntil: fetched.Add(day), Fetched: fetched}
}

func bytesOf(b byte) ed25519.PublicKey { return bytes.Repeat([]byte{b}, ed25519.PublicKeySize) }

func TestMerge(t *testing.T) {
	const hour = time.Hour
	// Times are after start, -1: none.
	type row struct {
		public                 byte
		valid, expired, fetche time.Duration
	}
	at := func(d time.Duration) time.Time {
		if d < 0 {
			return time.Time{}
		}
		return start.Add(d)
	}
	record := func(r row) keyring.Record {
		return keyring.Record{Server: "a.ex", KeyID: "ed25519:1", Public: bytesOf(r.public), ValidUntil: at(r.valid), ExpiredAt: at(r.expired), Fetched: at(r.fetche)}
	}
	for name, c := range map[string]struct{ a, b, want row }{
		"the same twice":                        {row{1, 5 * hour, -1, 0}, row{1, 5 * hour, -1, 0}, row{1, 5 * hour, -1, 0}},
		"the later fetched has the longer":      {row{1, 5 * hour, -1, 0}, row{1, 6 * hour, -1, hour}, row{1, 6 * hour, -1, hour}},
		"a promised validity is not shortened":  {row{1, 5 * hour, -1, 0}, row{1, 2 * hour, -1, hour}, row{1, 5 * hour, -1, hour}},
		"nor by other bytes":                    {row{1, 5 * hour, -1, 0}, row{2, 2 * hour, -1, hour}, row{2, 5 * hour, -1, hour}},
		"the later fetched is right on bytes":   {row{2, 5 * hour, -1, 0}, row{1, 6 * hour, -1, 1e6}, row{1, 6 * hour, -1, 1e6}},
		"and on expiry":                         {row{1, 5 * hour, -1, 0}, row{1, -1, hour, hour}, row{1, 5 * hour, hour, hour}},
		"also if it takes it back":              {row{1, -1, hour, 0}, row{1, 6 * hour, -1, hour}, row{1, 6 * hour, -1, hour}},
		"also if it is later":                   {row{1, -1, hour, 0}, row{1, -1, 2 * hour, hour}, row{1, -1, 2 * hour, hour}},
		"at the same time an expiry outweighs":  {row{1, 5 * hour, -1, 0}, row{1, -1, 9 * hour, 0}, row{1, 5 * hour, 9 * hour, 0}},
		"whatever the bytes":                    {row{2, 5 * hour, -1, 0}, row{1, -1, 9 * hour, 0}, row{1, 5 * hour, 9 * hour, 0}},
		"at the same time the earlier expiry":   {row{1, -1, hour, 0}, row{1, -1, 2 * hour, 0}, row{1, -1, hour, 0}},
		"whatever the bytes of either":          {row{1, -1, hour, 0}, row{2, -1, 2 * hour, 0}, row{1, -1, hour, 0}},
		"at the same time the greater bytes":    {row{1, 5 * hour, -1, 0}, row{2, hour, -1, 0}, row{2, 5 * hour, -1, 0}},
		"times count in milliseconds":           {row{2, 5 * hour, -1, 1e6}, row{1, 5 * hour, -1, 1e6 + 999_999}, row{2, 5 * hour, -1, 1e6}},
		"a validity from before 1970 is longer": {row{1, -1, hour, 0}, row{1, 0, hour, 0}, row{1, 0, hour, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			a, b, want := record(c.a), record(c.b), record(c.want)
			same(t, want, keyring.Merge(a, b))
			same(t, want, keyring.Merge(b, a))
		})
	}
}

func TestRecordsOfDifferentKeysAreNotMerged(t *testing.T) {
	a := recordOf("a.ex", "ed25519:1", start)
	for _, b := range []keyring.Record{recordOf("b.ex", "ed25519:1", start), recordOf("a.ex", "ed25519:2", start)} {
		same(t, keyring.Record{}, keyring.Merge(a, b))
	}
	if (keyring.Record{}).Check() == nil {
		t.Error("the zero Record could be stored")
	}
}

// A Store would give it back as another, which has no end.
func TestALimitOfLessThanAMillisecondIsNone(t *testing.T) {
	r := recordOf("a.ex", "ed25519:1", start)
	r.ValidUntil = time.Time{}.Add(time.Microsecond)
	if err := r.Check(); !errors.Is(err, keyring.ErrRecord) {
		t.Errorf("got %v, want ErrRecord", err)
	}
	r.ValidUntil = time.Time{}.Add(time.Millisecond)
	if err := r.Check(); err != nil {
		t.Error(err)
	}
	// Its milliseconds overflow.
	r.ValidUntil = time.Unix(1<<62, 0)
	if err := r.Check(); !errors.Is(err, keyring.ErrRecord) {
		t.Errorf("got %v, want ErrRecord", err)
	}
}

// anyRecord returns a record of one key with few different values, so that all kinds of
// ties happen, and with times that are no whole milliseconds.
func anyRecord(r *rand.Rand) keyring.Record {
	moment := func() time.Time {
		if r.IntN(4) == 0 {
			return time.Time{}
		}
		return start.Add(time.Duration(r.IntN(16)) * 250 * time.Microsecond).In(time.FixedZone("", r.IntN(2)*3600))
	}
	return keyring.Record{
		Server: "a.ex", KeyID: "ed25519:1", Public: bytesOf(byte(r.IntN(3))),
		ValidUntil: moment(), ExpiredAt: moment(), Fetched: moment(),
	}
}

func checkMerge(t *testing.T, a, b, c keyring.Record) {
	t.Helper()
	merge := keyring.Merge
	same := func(law string, got, want keyring.Record) {
		t.Helper()
		// Merge leaves one form of each time, and so == does.
		if !got.Public.Equal(want.Public) || got.ValidUntil != want.ValidUntil || got.ExpiredAt != want.ExpiredAt || got.Fetched != want.Fetched {
			t.Fatalf("not %s:\n%+v\n%+v\n%+v\n%s", law, a, b, c, cmp.Diff(want, got))
		}
	}
	ab := merge(a, b)
	same("commutative", merge(b, a), ab)
	same("associative", merge(a, merge(b, c)), merge(ab, c))
	same("idempotent", merge(ab, b), ab)
	same("idempotent", merge(a, ab), ab)
	same("idempotent", merge(ab, ab), ab)
}

func TestMergeDoesNotDependOnTheOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 50_000 {
		checkMerge(t, anyRecord(r), anyRecord(r), anyRecord(r))
	}
}

func FuzzMerge(f *testing.F) {
	f.Add(byte(1), int64(0), int64(1), int64(2), byte(2), int64(3), int64(4), int64(5), byte(3), int64(6), int64(7), int64(8))
	zero := time.Time{}.UnixMicro()
	f.Add(byte(1), zero, int64(1), int64(2), byte(2), zero, zero, int64(2), byte(2), zero, zero, zero)
	f.Fuzz(func(t *testing.T, p1 byte, v1, e1, f1 int64, p2 byte, v2, e2, f2 int64, p3 byte, v3, e3, f3 int64) {
		record := func(p byte, v, e, f int64) keyring.Record {
			return keyring.Record{
				Server: "a.ex", KeyID: "ed25519:1", Public: bytesOf(p),
				ValidUntil: time.UnixMicro(v), ExpiredAt: time.UnixMicro(e), Fetched: time.UnixMicro(f),
			}
		}
		checkMerge(t, record(p1, v1, e1, f1), record(p2, v2, e2, f2), record(p3, v3, e3, f3))
	})
}
