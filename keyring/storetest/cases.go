package storetest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// Each name says what a Store must do.
var cases = []struct {
	name string
	test func(s *scene)
}{
	{"nothing is known at first", nothingAtFirst},
	{"what was saved is loaded", roundTrip},
	{"times are kept to the millisecond", times},
	{"only the servers that were asked for are loaded", onlyTheAsked},
	{"a server that is named twice counts once", namedTwice},
	{"names are kept byte for byte", names},
	{"what was saved is seen by all who have it open", seenByAll},
	{"the later fetched counts, in either order", laterFetched},
	{"a validity is not shortened", validityNotShortened},
	{"an expiry outweighs a listing of the same time", expiryOutweighs},
	{"a later listing takes an expiry back", expiryTakenBack},
	{"other bytes fetched at the same time are decided alike", otherBytes},
	{"any two records are merged as Merge does", mergedAsMerge},
	{"several records of one key may be saved at once", duplicates},
	{"saving again changes nothing", again},
	{"nothing is nothing to load or save", nothing},
	{"thousands of servers are loaded at once", manyServers},
	{"a server may have 64 keys", manyKeys},
	{"a server that makes up new keys without end pushes out its own, and never the newest", madeUpKeys},
	{"what is new of a key counts, however many keys its server has", newsOfManyKeys},
	{"a record that is none is refused, and all that come with it", refused},
	{"what the caller changes afterwards is not changed in the Store", noSharing},
	{"writers at once end with the merge of all", writersAtOnce},
	{"readers see whole records while others write", readersAndWriters},
	{"an ended context is the error", ended},
}

func nothingAtFirst(s *scene) { s.same(s.load("a.example", "b.example:8448"), nil) }

func roundTrip(s *scene) {
	old := current("a.example", "ed25519:0")
	old.ValidUntil, old.ExpiredAt = time.Time{}, start.Add(-time.Hour)
	both := current("a.example", "ed25519:1")
	both.ExpiredAt = start.Add(-time.Minute)
	records := []keyring.Record{old, both, current("a.example", "ed25519:2"), current("b.example", "ed25519:2")}
	s.save(records...)
	s.holds(records...)
}

func times(s *scene) {
	epoch := time.UnixMilli(0)
	var records []keyring.Record
	for i, t := range []time.Time{
		epoch, epoch.Add(time.Millisecond), epoch.Add(-time.Millisecond), start, start.Add(999 * time.Microsecond), // cut to start
		start.In(time.FixedZone("", 3600)), time.Date(9999, time.December, 31, 0, 0, 0, 1e6, time.UTC),
		time.Date(1, time.January, 1, 0, 0, 0, 1e6, time.UTC), time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC),
	} {
		valid := current("a.example", fedinvite.KeyID(fmt.Sprintf("ed25519:valid%d", i)))
		valid.ValidUntil, valid.Fetched = t, t
		old := current("a.example", fedinvite.KeyID(fmt.Sprintf("ed25519:old%d", i)))
		old.ValidUntil, old.ExpiredAt, old.Fetched = time.Time{}, t, time.Time{}
		records = append(records, valid, old)
	}
	s.save(records...)
	s.holds(records...)

	// Less than a millisecond after the zero time is no time, and is loaded as that.
	almost := current("b.example", "ed25519:1")
	almost.ValidUntil, almost.ExpiredAt, almost.Fetched = time.Time{}.Add(time.Microsecond), start, time.Time{}.Add(time.Microsecond)
	want := almost
	want.ValidUntil, want.Fetched = time.Time{}, time.Time{}
	s.save(almost)
	s.holds(want)

	for _, r := range s.load("a.example") {
		if r.ValidUntil.Location() != time.UTC || r.ExpiredAt.Location() != time.UTC || r.Fetched.Location() != time.UTC {
			s.Errorf("a time that is not in UTC: %s", show(r))
		}
	}
}

func onlyTheAsked(s *scene) {
	a, b, c := current("a.example", "ed25519:1"), current("b.example", "ed25519:1"), current("c.example", "ed25519:1")
	s.save(a, b, c)
	s.holds(a, c)
	s.same(s.load("a.exampl", "a.example.", "A.EXAMPLE", "%", "_.example", ""), nil)
}

func namedTwice(s *scene) {
	a, b := current("a.example", "ed25519:1"), current("b.example", "ed25519:1")
	s.save(a, b)
	s.same(s.load("b.example", "a.example", "b.example"), []keyring.Record{a, b})
}

func names(s *scene) {
	versions := []string{
		"a+b", "a/b", "a.b", "-", "a_b", "a b", "ü", "u\u0308", "日本語", "😀", "\uFB33", "A", "a", "%", "_", `\`, `"`, "'", "''", "`",
		"'; DROP TABLE fedinvite_keys; --", "$1", "?", ":name", "@name", "[a]", "{}", "\x00", "a\x00b", "\n", "\t", "\u202E", "\xff",
		strings.Repeat("x", 120), strings.Repeat("é", 60),
	}
	servers := []fedinvite.ServerName{
		"a.example", "A.example", "a.example:8448", "a.example:1", "1.2.3.4", "1.2.3.4:8448", "[2001:db8::1]", "[2001:db8::1]:8448", "xn--bcher-kva.example",
		"a'; DROP TABLE fedinvite_keys; --", `a"b`, "%", "ü.example", "\x00", "\xff", fedinvite.ServerName(strings.Repeat("s", 255)),
	}
	var records []keyring.Record
	for _, version := range versions {
		records = append(records, current("ids.example", fedinvite.KeyID("ed25519:"+version)))
	}
	for _, server := range servers {
		records = append(records, current(server, "ed25519:1"))
	}
	s.save(records...)
	s.holds(records...)
}

func seenByAll(s *scene) {
	first, second := s.open(), s.open()
	a, b := current("a.example", "ed25519:1"), current("a.example", "ed25519:2")
	for _, save := range []func() error{
		func() error { return first.Save(s.Context(), []keyring.Record{a}) },
		func() error { return second.Save(s.Context(), []keyring.Record{b}) },
	} {
		if err := save(); err != nil {
			s.Fatal(err)
		}
	}
	for _, store := range []keyring.Store{first, second, s.open()} {
		got, err := store.Load(s.Context(), []fedinvite.ServerName{"a.example"})
		if err != nil {
			s.Fatal(err)
		}
		sorted(got)
		s.same(got, []keyring.Record{a, b})
	}
}

// merges demands that b after a, and a after b, and both at once leave want.
func (s *scene) merges(a, b, want keyring.Record) {
	s.Helper()
	for _, saves := range [][][]keyring.Record{{{a}, {b}}, {{b}, {a}}, {{a, b}}, {{b, a}}} {
		s.merged++
		want.Server = fedinvite.ServerName(fmt.Sprintf("%d.example", s.merged)) // not used before
		for _, records := range saves {
			for i := range records {
				records[i].Server = want.Server
			}
			s.save(records...)
		}
		s.holds(want)
	}
}

func laterFetched(s *scene) {
	older := current("a.example", "ed25519:1")
	newer := older
	newer.Public, newer.Fetched, newer.ValidUntil = public("new"), start.Add(time.Millisecond), older.ValidUntil.Add(time.Hour)
	s.merges(older, newer, newer)

	expired := older
	expired.ExpiredAt, expired.Fetched = start.Add(-time.Hour), start.Add(time.Hour)
	s.merges(older, expired, expired)

	moved := expired
	moved.ExpiredAt, moved.Fetched = start, start.Add(2*time.Hour)
	s.merges(expired, moved, moved)
}

func validityNotShortened(s *scene) {
	longer := current("a.example", "ed25519:1")
	shorter := longer
	shorter.Fetched, shorter.ValidUntil = start.Add(time.Hour), start.Add(2*time.Hour)
	want := shorter
	want.ValidUntil = longer.ValidUntil
	s.merges(longer, shorter, want)

	other := shorter
	other.Public = public("other")
	want.Public = other.Public
	s.merges(longer, other, want)
}

func expiryOutweighs(s *scene) {
	listed := current("a.example", "ed25519:1")
	old := listed
	old.ValidUntil, old.ExpiredAt = time.Time{}, start.Add(time.Hour)
	want := old
	want.ValidUntil = listed.ValidUntil
	s.merges(listed, old, want)

	earlier := old
	earlier.ExpiredAt = start
	s.merges(old, earlier, earlier)

	otherBytes := listed
	for _, seed := range []string{"x", "y", "z", "w"} { // some are greater, some are lesser
		otherBytes.Public = public(seed)
		s.merges(otherBytes, old, want)
	}
}

func expiryTakenBack(s *scene) {
	old := current("a.example", "ed25519:1")
	old.ExpiredAt = start
	listed := old
	listed.ExpiredAt, listed.Fetched, listed.ValidUntil = time.Time{}, start.Add(time.Hour), start.Add(2*time.Hour)
	want := listed
	want.ValidUntil = old.ValidUntil
	s.merges(old, listed, want)
}

func otherBytes(s *scene) {
	a, b := current("a.example", "ed25519:1"), current("a.example", "ed25519:1")
	b.Public = public("other")
	s.merges(a, b, keyring.Merge(a, b))
}

// random returns a record of one of few keys, with few different values, so that all
// kinds of ties happen.
func random(r *rand.Rand) keyring.Record {
	record := keyring.Record{
		Server:  fedinvite.ServerName(fmt.Sprintf("%d.example", r.IntN(4))),
		KeyID:   fedinvite.KeyID(fmt.Sprintf("ed25519:%d", r.IntN(10))),
		Public:  public(fmt.Sprint("random", r.IntN(3))),
		Fetched: start.Add(time.Duration(r.IntN(4)) * time.Millisecond),
	}
	if r.IntN(2) == 0 {
		record.ExpiredAt = start.Add(time.Duration(r.IntN(3)) * time.Millisecond)
	}
	if record.ExpiredAt.IsZero() || r.IntN(3) == 0 {
		record.ValidUntil = start.Add(time.Duration(r.IntN(4)) * time.Millisecond)
	}
	return record
}

func randoms(seed uint64, n int) []keyring.Record {
	r := rand.New(rand.NewPCG(seed, 0))
	records := make([]keyring.Record, n)
	for i := range records {
		records[i] = random(r)
	}
	return records
}

// mergeAll returns what is known if all records are true.
func mergeAll(records []keyring.Record) []keyring.Record {
	type key struct {
		server fedinvite.ServerName
		id     fedinvite.KeyID
	}
	known := map[key]keyring.Record{}
	for _, r := range records {
		k := key{r.Server, r.KeyID}
		before, ok := known[k]
		if !ok {
			before = r
		}
		known[k] = keyring.Merge(before, r)
	}
	var merged []keyring.Record
	for _, r := range known {
		merged = append(merged, r)
	}
	return merged
}

func mergedAsMerge(s *scene) {
	store := s.open()
	all := randoms(1, 1000)
	for batch := range slices.Chunk(all, 20) {
		if err := store.Save(s.Context(), batch); err != nil {
			s.Fatal(err)
		}
	}
	s.holds(mergeAll(all)...)
}

func duplicates(s *scene) {
	all := randoms(2, 1000)
	s.save(all...)
	s.holds(mergeAll(all)...)
}

func again(s *scene) {
	a, b := current("a.example", "ed25519:1"), current("b.example", "ed25519:1")
	for range 3 {
		s.save(a, b, a)
		s.holds(a, b)
	}
}

func nothing(s *scene) {
	s.save()
	s.same(s.load(), nil)
}

func manyServers(s *scene) {
	records := make([]keyring.Record, 5000)
	for i := range records {
		records[i] = current(fedinvite.ServerName(fmt.Sprintf("%d.example", i)), "ed25519:1")
	}
	rand.New(rand.NewPCG(3, 0)).Shuffle(len(records), func(i, j int) { records[i], records[j] = records[j], records[i] })
	s.save(records...)
	s.holds(records...)
}

func manyKeys(s *scene) {
	var records []keyring.Record
	for i := range 64 {
		records = append(records, current("a.example", fedinvite.KeyID(fmt.Sprintf("ed25519:%d", i))))
	}
	s.save(records...)
	s.save(records...)
	s.holds(records...)
}

// fetchedAt returns 64 records of one server.
func fetchedAt(t time.Time, prefix string) []keyring.Record {
	records := make([]keyring.Record, 64)
	for i := range records {
		records[i] = current("a.example", fedinvite.KeyID(fmt.Sprintf("ed25519:%s%d", prefix, i)))
		records[i].Fetched = t
	}
	return records
}

func madeUpKeys(s *scene) {
	honest := current("b.example", "ed25519:1")
	honest.Fetched = start.Add(-time.Hour)
	s.save(honest)
	notary := fetchedAt(time.Time{}, "notary")
	s.save(notary...)
	s.holds(notary...)
	for i := range 8 {
		newest := fetchedAt(start.Add(time.Duration(i)*time.Minute), fmt.Sprint(8-i, "."))
		s.save(newest...)
		s.contains(newest)
		s.save(fetchedAt(start.Add(-time.Hour), fmt.Sprint("old", i))...) // another process was late
		s.contains(newest)
		s.save(notary...)
		s.contains(newest)
	}
	s.holds(honest)
}

// contains demands that records are among those that are stored of their server.
func (s *scene) contains(records []keyring.Record) {
	s.Helper()
	wanted := make(map[fedinvite.KeyID]bool)
	for _, r := range records {
		wanted[r.KeyID] = true
	}
	got := s.load(records[0].Server)
	records = slices.Clone(records)
	sorted(records)
	s.same(slices.DeleteFunc(got, func(r keyring.Record) bool { return !wanted[r.KeyID] }), records)
}

func newsOfManyKeys(s *scene) {
	for i := range 4 {
		s.save(fetchedAt(start.Add(time.Duration(i)*time.Minute), fmt.Sprint(i, "."))...)
	}
	document := fetchedAt(start.Add(time.Hour), "3.")[:2]
	document[0].ExpiredAt = start // a stolen key
	document[1].ValidUntil = document[1].ValidUntil.Add(time.Hour)
	s.save(document...)
	s.contains(document)
}

func refused(s *scene) {
	store, good := s.open(), current("a.example", "ed25519:1")
	for name, spoil := range map[string]func(r *keyring.Record){
		"no server name":     func(r *keyring.Record) { r.Server = "" },
		"a long server name": func(r *keyring.Record) { r.Server = fedinvite.ServerName(strings.Repeat("s", 256)) },
		"no key ID":          func(r *keyring.Record) { r.KeyID = "" },
		"no version":         func(r *keyring.Record) { r.KeyID = "ed25519:" },
		"another algorithm":  func(r *keyring.Record) { r.KeyID = "ed448:1" },
		"a long key ID":      func(r *keyring.Record) { r.KeyID = fedinvite.KeyID("ed25519:" + strings.Repeat("x", 121)) },
		"no key":             func(r *keyring.Record) { r.Public = nil },
		"a key of 31 bytes":  func(r *keyring.Record) { r.Public = r.Public[:31] },
		"a key of 33 bytes":  func(r *keyring.Record) { r.Public = append(slices.Clone(r.Public), 0) },
		"no end of its time": func(r *keyring.Record) { r.ValidUntil = time.Time{} },
		"almost no end":      func(r *keyring.Record) { r.ValidUntil = time.Time{}.Add(time.Microsecond) },
		"a time after 9999":  func(r *keyring.Record) { r.ValidUntil = time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC) },
		"a time before 1":    func(r *keyring.Record) { r.Fetched = time.Time{}.Add(-time.Millisecond) },
	} {
		bad := good
		spoil(&bad)
		if err := store.Save(s.Context(), []keyring.Record{good, bad}); !errors.Is(err, keyring.ErrRecord) {
			s.Errorf("Save of a record with %s: got %v, want ErrRecord", name, err)
		}
	}
	s.same(s.load("a.example"), nil)
}

func noSharing(s *scene) {
	store := s.open()
	want := current("a.example", "ed25519:1")
	mine := []keyring.Record{want}
	mine[0].Public = slices.Clone(want.Public)
	if err := store.Save(s.Context(), mine); err != nil {
		s.Fatal(err)
	}
	clear(mine[0].Public)
	mine[0] = keyring.Record{}
	for range 2 {
		got, err := store.Load(s.Context(), []fedinvite.ServerName{"a.example"})
		if err != nil {
			s.Fatal(err)
		}
		s.same(got, []keyring.Record{want})
		for i := range got {
			clear(got[i].Public)
			got[i] = keyring.Record{}
		}
	}
}

func writersAtOnce(s *scene) {
	var all []keyring.Record
	var group sync.WaitGroup
	for i := range 8 {
		store, mine := s.open(), randoms(uint64(10+i), 200)
		all = append(all, mine...)
		group.Go(func() {
			for batch := range slices.Chunk(mine, 20) {
				if err := store.Save(s.Context(), batch); err != nil {
					s.Errorf("Save: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
	s.holds(mergeAll(all)...)
}

// Bytes and times are of one record, never of two.
func readersAndWriters(s *scene) {
	even, odd := current("a.example", "ed25519:1"), current("a.example", "ed25519:1")
	odd.Public = public("odd")
	store := s.open()
	var group sync.WaitGroup
	group.Go(func() {
		for i := range 50 {
			r := even
			if i%2 == 1 {
				r = odd
			}
			r.Fetched = start.Add(time.Duration(i) * time.Millisecond)
			if err := store.Save(s.Context(), []keyring.Record{r}); err != nil {
				s.Errorf("Save: %v", err)
				return
			}
		}
	})
	for range 4 {
		reader := s.open()
		group.Go(func() {
			for range 50 {
				got, err := reader.Load(s.Context(), []fedinvite.ServerName{"a.example"})
				if err != nil {
					s.Errorf("Load: %v", err)
					return
				}
				for _, r := range got {
					want := even
					if r.Fetched.Sub(start).Milliseconds()%2 == 1 {
						want = odd
					}
					if !r.Public.Equal(want.Public) {
						s.Errorf("half a record, half another: %s", show(r))
					}
				}
			}
		})
	}
	group.Wait()
}

func ended(s *scene) {
	store := s.open()
	good := current("a.example", "ed25519:1")
	cause := errors.New("a cause, which is not the error")
	cancelled, cancel := context.WithCancelCause(s.Context())
	cancel(cause)
	late, cancelLate := context.WithDeadline(s.Context(), time.Unix(0, 0))
	defer cancelLate()
	for _, ctx := range []context.Context{cancelled, late} {
		if err := store.Save(ctx, []keyring.Record{good}); !errors.Is(err, ctx.Err()) {
			s.Errorf("Save: got %v, want %v", err, ctx.Err())
		}
		if _, err := store.Load(ctx, []fedinvite.ServerName{"a.example"}); !errors.Is(err, ctx.Err()) {
			s.Errorf("Load: got %v, want %v", err, ctx.Err())
		}
	}
	s.same(s.load("a.example"), nil)
}
