package sqlstore_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/keyring/sqlstore"
	"github.com/seed-0a46cb1a/fedinvite/keyring/storetest"
)

func TestStore(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		storetest.Run(t, func(t *testing.T) func() keyring.Store {
			p := newPlace(t, dialect)
			return func() keyring.Store { return p.open(t) }
		})
	})
}

func TestStoreOverOneConnection(t *testing.T) {
	storetest.Run(t, func(t *testing.T) func() keyring.Store {
		db, err := sql.Open("sqlite", ":memory:")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { db.Close() })
		db.SetMaxOpenConns(1)
		return func() keyring.Store {
			store, err := sqlstore.Open(context.Background(), db, sqlstore.SQLite)
			if err != nil {
				t.Fatal(err)
			}
			return store
		}
	})
}

// The rules of Merge are written twice, in Go and in SQL.
func TestTheDatabaseMergesAsMergeDoes(t *testing.T) {
	const pairs = 5000
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		store := newPlace(t, dialect).open(t)
		r := rand.New(rand.NewPCG(1, 2))
		first, second := make([]keyring.Record, pairs), make([]keyring.Record, pairs)
		want := make([]keyring.Record, pairs)
		for i := range pairs {
			a := record("a.example", "ed25519:1")
			a.Server = fedinvite.ServerName(fmt.Sprintf("%d.example", i))
			vary(r, &a)
			b := a
			vary(r, &b)
			first[i], second[i], want[i] = a, b, keyring.Merge(a, b)
		}
		mustSave(t, store, first...)
		mustSave(t, store, second...)
		same(t, loaded(t, store, want), sorted(want))
		mustSave(t, store, first...)
		same(t, loaded(t, store, want), want)
	})
}

func TestEveryNumberOfRecordsIsSavedAndLoaded(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		store := newPlace(t, dialect).open(t)
		for _, n := range []int{1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 63, 64, 65, 255, 256, 257, 511, 512, 513, 1025} {
			all := records(n)
			for i := range all {
				all[i].KeyID = fedinvite.KeyID(fmt.Sprintf("ed25519:%d", n))
			}
			mustSave(t, store, all...)
			got := slices.DeleteFunc(loaded(t, store, all), func(r keyring.Record) bool { return r.KeyID != all[0].KeyID })
			same(t, got, sorted(all))
		}
	})
}

// A row that somebody else has spoilt is neither trusted nor in the way of others.
func TestDamagedRowsArePassedOver(t *testing.T) {
	good := record("a.example", "ed25519:good")
	rows := map[string][]any{
		"a short key":   {[]byte("a.example"), []byte("ed25519:1"), make([]byte, 31), 1, nil, 1},
		"a long key":    {[]byte("a.example"), []byte("ed25519:2"), make([]byte, 33), 1, nil, 1},
		"no key":        {[]byte("a.example"), []byte("ed25519:3"), []byte{}, 1, nil, 1},
		"no end":        {[]byte("a.example"), []byte("ed25519:4"), make([]byte, 32), nil, nil, 1},
		"a bad key ID":  {[]byte("a.example"), []byte("rsa:1"), make([]byte, 32), 1, nil, 1},
		"out of time":   {[]byte("a.example"), []byte("ed25519:5"), make([]byte, 32), int64(1) << 62, nil, 1},
		"before time":   {[]byte("a.example"), []byte("ed25519:6"), make([]byte, 32), 1, nil, -int64(1) << 62},
		"a NULL as key": {[]byte("a.example"), []byte("ed25519:7"), nil, 1, nil, 1},
		"no time":       {[]byte("a.example"), []byte("ed25519:8"), make([]byte, 32), int64(math.MaxInt64), nil, 1},
		"no fetch":      {[]byte("a.example"), []byte("ed25519:9"), make([]byte, 32), 1, nil, int64(math.MaxInt64)},
		"no expiry":     {[]byte("a.example"), []byte("ed25519:10"), make([]byte, 32), nil, int64(math.MaxInt64), int64(math.MaxInt64)},
		"early expiry":  {[]byte("a.example"), []byte("ed25519:11"), make([]byte, 32), nil, int64(math.MinInt64), start.UnixMilli()},
	}
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		for _, fetched := range []time.Time{start, {}} {
			p := newPlace(t, dialect)
			store, db := p.open(t), p.db(t)
			mustSave(t, store, good)
			loosen(t, db, dialect)
			for name, row := range rows {
				query := "INSERT INTO fedinvite_keys (server, key_id, public_key, valid_until, expired_at, fetched) VALUES (?, ?, ?, ?, ?, ?)"
				if dialect == sqlstore.PostgreSQL {
					query = strings.Replace(query, "?, ?, ?, ?, ?, ?", "$1, $2, $3, $4, $5, $6", 1)
				}
				if _, err := db.Exec(query, row...); err != nil {
					t.Fatalf("%s: %v", name, err)
				}
			}
			same(t, loaded(t, p.open(t), []keyring.Record{good}), []keyring.Record{good})

			// The server's next document mends them, and so does what a notary tells, be
			// it of a current key or of an old one.
			var mended []keyring.Record
			for name, row := range rows {
				if name == "a bad key ID" {
					continue
				}
				r := record("a.example", fedinvite.KeyID(row[1].([]byte)))
				r.Fetched = fetched
				if row[3] == nil {
					r.ValidUntil, r.ExpiredAt = time.Time{}, start
				}
				mended = append(mended, r)
			}
			mustSave(t, store, mended...)
			same(t, loaded(t, store, []keyring.Record{good}), sorted(append(mended, good)))
		}
	})
}

// loosen takes the constraints away.
func loosen(t *testing.T, db *sql.DB, dialect sqlstore.Dialect) {
	t.Helper()
	if dialect == sqlstore.SQLite {
		mustExec(t, db, "CREATE TABLE copy (server, key_id, public_key, valid_until, expired_at, fetched, PRIMARY KEY (server, key_id))")
		mustExec(t, db, "INSERT INTO copy SELECT * FROM fedinvite_keys")
		mustExec(t, db, "DROP TABLE fedinvite_keys")
		mustExec(t, db, "ALTER TABLE copy RENAME TO fedinvite_keys")
		return
	}
	for _, name := range []string{"", "public_key_", "valid_until_", "expired_at_", "fetched_"} {
		mustExec(t, db, fmt.Sprintf("ALTER TABLE fedinvite_keys DROP CONSTRAINT fedinvite_keys_%scheck", name))
	}
	mustExec(t, db, "ALTER TABLE fedinvite_keys ALTER public_key DROP NOT NULL")
}

// The table itself refuses what is no key, whoever writes it.
func TestTheTableRefusesWhatIsNoKey(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		p := newPlace(t, dialect)
		p.open(t)
		db := p.db(t)
		blob := func(n int) string {
			if dialect == sqlstore.SQLite {
				return "X'" + strings.Repeat("00", n) + "'"
			}
			return `'\x` + strings.Repeat("00", n) + "'"
		}
		insert := "INSERT INTO fedinvite_keys (server, key_id, public_key, valid_until, fetched) VALUES (" + blob(1) + ", " + blob(1) + ", %s, %s, 1)"
		for _, values := range [][2]string{{blob(31), "1"}, {blob(33), "1"}, {blob(0), "1"}, {"NULL", "1"}, {blob(32), "NULL"}} {
			if _, err := db.Exec(fmt.Sprintf(insert, values[0], values[1])); err == nil {
				t.Errorf("a row with %v was taken", values)
			}
		}
		mustExec(t, db, fmt.Sprintf(insert, blob(32), "1"))

		// The zero time is NULL, and the times end with the year 9999.
		for _, column := range []string{"valid_until", "expired_at", "fetched"} {
			update := "UPDATE fedinvite_keys SET " + column + " = %d"
			for _, ms := range []int64{math.MinInt64, time.Time{}.UnixMilli(), 253402300799001, math.MaxInt64} {
				if _, err := db.Exec(fmt.Sprintf(update, ms)); err == nil {
					t.Errorf("%s = %d was taken", column, ms)
				}
			}
			mustExec(t, db, fmt.Sprintf(update, time.Time{}.UnixMilli()+1))
			mustExec(t, db, fmt.Sprintf(update, int64(253402300799000)))
		}
	})
}

func TestAServerThatMakesUpKeysFillsNoDatabase(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		store := newPlace(t, dialect).open(t)
		// All in one, one by one, and of several servers.
		mustSave(t, store, numbered("a.example", 300, start)...)
		for _, r := range numbered("b.example", 100, start) {
			mustSave(t, store, r)
		}
		both := append(numbered("c.example", 65, start), numbered("d.example", 66, time.Time{})...)
		mustSave(t, store, both...)
		good := record("good.example", "ed25519:1")
		mustSave(t, store, append(numbered("a.example", 310, start.Add(time.Hour))[300:], good)...)
		for _, server := range []fedinvite.ServerName{"a.example", "b.example", "c.example", "d.example"} {
			if got := loaded(t, store, []keyring.Record{{Server: server}}); len(got) != sqlstore.MaxKeys {
				t.Errorf("%d keys of %s, want %d", len(got), server, sqlstore.MaxKeys)
			}
		}
		newest := loaded(t, store, []keyring.Record{{Server: "a.example"}})
		newest = slices.DeleteFunc(newest, func(r keyring.Record) bool { return r.Fetched.Equal(start) })
		same(t, newest, sorted(numbered("a.example", 310, start.Add(time.Hour))[300:]))
		same(t, loaded(t, store, []keyring.Record{good}), []keyring.Record{good})
	})
}

// numbered returns n records of one server.
func numbered(server fedinvite.ServerName, n int, fetched time.Time) []keyring.Record {
	all := make([]keyring.Record, n)
	for i := range all {
		all[i] = record(server, fedinvite.KeyID(fmt.Sprintf("ed25519:%d", i)))
		all[i].Fetched = fetched
	}
	return all
}

func TestOfKeysFetchedAtOnceThoseThatExpiredFirstGoFirst(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		store := newPlace(t, dialect).open(t)
		all := numbered("a.example", sqlstore.MaxKeys+3, start)
		for i := range 5 {
			all[i].ValidUntil, all[i].ExpiredAt = time.Time{}, start.Add(time.Duration(i)*time.Hour)
		}
		mustSave(t, store, all...)
		same(t, loaded(t, store, all), sorted(all[3:]))
	})
}

// What one writer finds to be the stalest, another brings up to date at that moment.
func TestWritersAtOncePushOutNothingThatIsNew(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		p := newPlace(t, dialect)
		const writers, saves, keys = 4, 40, sqlstore.MaxKeys + 8
		var all []keyring.Record
		var group sync.WaitGroup
		for w := range writers {
			r := rand.New(rand.NewPCG(uint64(w), 0))
			var mine []keyring.Record
			for n := range saves * 8 {
				fetched := start.Add(time.Duration(n*writers+w) * time.Millisecond)
				mine = append(mine, numbered("a.example", keys, fetched)[r.IntN(keys)])
			}
			all = append(all, mine...)
			store := p.open(t)
			group.Go(func() {
				for part := range slices.Chunk(mine, 8) {
					if err := store.Save(t.Context(), part); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		group.Wait()
		want := merged(all)
		slices.SortFunc(want, func(a, b keyring.Record) int { return b.Fetched.Compare(a.Fetched) })
		want = want[:sqlstore.MaxKeys]
		oldest := want[len(want)-1].Fetched
		got := slices.DeleteFunc(loaded(t, p.open(t), want), func(r keyring.Record) bool { return r.Fetched.Before(oldest) })
		same(t, got, sorted(want))
	})
}

func TestSaveWritesAllOrNothing(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		p := newPlace(t, dialect)
		store, db := p.open(t), p.db(t)
		all := records(300) // two statements at least
		last := sorted(slices.Clone(all))[len(all)-1]
		if dialect == sqlstore.SQLite {
			mustExec(t, db, fmt.Sprintf(`CREATE TRIGGER bad BEFORE INSERT ON fedinvite_keys WHEN NEW.server = CAST('%s' AS BLOB) BEGIN SELECT RAISE(ABORT, 'a full disk'); END`, last.Server))
		} else {
			mustExec(t, db, fmt.Sprintf(`ALTER TABLE fedinvite_keys ADD CONSTRAINT bad CHECK (server <> convert_to('%s', 'UTF8'))`, last.Server))
		}
		if err := store.Save(t.Context(), all); err == nil {
			t.Fatal("no error")
		}
		same(t, loaded(t, store, all), nil)
		// The connection is good for more.
		all = slices.DeleteFunc(all, func(r keyring.Record) bool { return r.Server == last.Server })
		mustSave(t, store, all...)
		same(t, loaded(t, store, all), sorted(all))
	})
}

// Processes that have fetched the same, or older, documents cost the disk nothing.
func TestSaveWritesOnlyWhatIsNew(t *testing.T) {
	p := newPlace(t, sqlstore.SQLite)
	store, db := p.open(t), p.db(t)
	current, old := record("a.example", "ed25519:1"), record("a.example", "ed25519:2")
	old.ValidUntil, old.ExpiredAt = time.Time{}, start
	mustSave(t, store, current, old)
	mustExec(t, db, "CREATE TRIGGER quiet BEFORE UPDATE ON fedinvite_keys BEGIN SELECT RAISE(ABORT, 'written'); END")
	mustSave(t, store, current, old)
	older := current
	older.Fetched, older.ValidUntil = start.Add(-time.Hour), start.Add(time.Hour)
	mustSave(t, store, older)
	current.Fetched = start.Add(time.Hour)
	if err := store.Save(t.Context(), []keyring.Record{current}); err == nil {
		t.Error("the trigger does not work")
	}
}

// A database in memory is gone with its connection: what ends a Save must not end that.
func TestASaveThatIsCancelledKeepsTheConnection(t *testing.T) {
	db, err := sql.Open("sqlite", ":memory:")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	store, err := sqlstore.Open(t.Context(), db, sqlstore.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	good := record("good.example", "ed25519:1")
	mustSave(t, store, good)
	all := records(2000)
	for i := range 20 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*time.Millisecond)
		err := store.Save(ctx, all)
		cancel()
		if err == nil {
			break
		}
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Fatalf("got %v, want %v", err, context.DeadlineExceeded)
		}
		same(t, loaded(t, store, append(all, good)), []keyring.Record{good})
	}
	mustSave(t, store, all...)
}

// Some drivers have their own words for the end of a context.
func TestAnEndedContextIsTheErrorWhateverTheDriverSays(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	interrupted := errors.New("interrupted (9)")
	if err := sqlstore.Failed(ctx, "x", interrupted); errors.Is(err, context.Canceled) || !errors.Is(err, interrupted) {
		t.Errorf("got %v before the end", err)
	}
	cancel()
	if err := sqlstore.Failed(ctx, "x", interrupted); !errors.Is(err, context.Canceled) || !errors.Is(err, interrupted) {
		t.Errorf("got %v, want %v", err, context.Canceled)
	}
}

// A Save that waits for another writer ends with its ctx, and leaves nothing behind that
// the next one would trip over.
func TestSaveEndsWithItsContext(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		p := newPlace(t, dialect)
		store, other := p.open(t), p.db(t)
		good := record("a.example", "ed25519:1")
		mustSave(t, store, good)

		conn, err := other.Conn(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		lock, unlock := "BEGIN IMMEDIATE", "ROLLBACK"
		if dialect == sqlstore.PostgreSQL {
			lock = "BEGIN; LOCK TABLE fedinvite_keys IN ACCESS EXCLUSIVE MODE"
		}
		if _, err := conn.ExecContext(t.Context(), lock); err != nil {
			t.Fatal(err)
		}
		newer := good
		newer.Fetched = start.Add(time.Hour)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := store.Save(ctx, []keyring.Record{newer}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
		}
		if _, err := conn.ExecContext(t.Context(), unlock); err != nil {
			t.Fatal(err)
		}
		same(t, loaded(t, store, []keyring.Record{good}), []keyring.Record{good})
		mustSave(t, store, newer)
		same(t, loaded(t, store, []keyring.Record{newer}), []keyring.Record{newer})
	})
}

// Without a busy_timeout, SQLite refuses a second writer at once.
func TestSaveIsTriedAgainWhenTheDatabaseIsLocked(t *testing.T) {
	p := newPlace(t, sqlstore.SQLite)
	p.open(t)
	db, err := sql.Open("sqlite", "file:"+p.File)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store, err := sqlstore.Open(t.Context(), db, sqlstore.SQLite)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := p.db(t).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	lock := func(query string) {
		t.Helper()
		if _, err := conn.ExecContext(t.Context(), query); err != nil {
			t.Fatal(err)
		}
	}
	good := record("a.example", "ed25519:1")
	lock("BEGIN IMMEDIATE")
	err = store.Save(t.Context(), []keyring.Record{good})
	if err == nil || !strings.Contains(err.Error(), "locked") {
		t.Fatalf("got %v, want an error that says locked: tries are bounded", err)
	}
	saved := make(chan error)
	go func() { saved <- store.Save(t.Context(), []keyring.Record{good}) }()
	lock("ROLLBACK")
	if err := <-saved; err != nil {
		t.Error(err)
	}
	same(t, loaded(t, store, []keyring.Record{good}), []keyring.Record{good})
}

// As when PostgreSQL is restarted, or a pooler before it.
func TestACutConnectionIsNoError(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		if dialect == sqlstore.SQLite {
			return // has none
		}
		p := newPlace(t, dialect)
		store, other := p.open(t), p.db(t)
		cut := func() {
			t.Helper()
			mustExec(t, other, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1 AND pid <> pg_backend_pid()", p.Schema)
		}
		var all []keyring.Record
		for _, r := range numbered("a.example", 20, start) {
			cut()
			mustSave(t, store, r)
			cut()
			all = append(all, r)
			same(t, loaded(t, store, all), sorted(slices.Clone(all)))
		}
	})
}

// What a driver says of PostgreSQL.
type sqlState string

func (s sqlState) Error() string    { return "FATAL: " + string(s) }
func (s sqlState) SQLState() string { return string(s) }

func TestWhichErrorsAreTriedAgain(t *testing.T) {
	for state, want := range map[sqlState]bool{
		"40001": true, "40P01": true, "57P01": true, "57P02": true, "57P03": true, "08006": true, "08P01": true,
		"23514": false, "42P01": false, "53100": false, "57014": false, "": false,
	} {
		if got := sqlstore.Transient(sqlstore.PostgreSQL, fmt.Errorf("wrapped: %w", state)); got != want {
			t.Errorf("%q: %v, want %v", state, got, want)
		}
	}
	for _, c := range []struct {
		err  error
		want bool
	}{
		{driver.ErrBadConn, true}, {io.ErrUnexpectedEOF, true}, {&net.OpError{Op: "write", Err: syscall.EPIPE}, true},
		{&net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}, false}, {errors.New("database is locked"), false},
	} {
		if got := sqlstore.Transient(sqlstore.PostgreSQL, fmt.Errorf("wrapped: %w", c.err)); got != c.want {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
	}
}

func TestOpenNamesWhatIsMissing(t *testing.T) {
	db := newPlace(t, sqlstore.SQLite).db(t)
	for want, open := range map[string]func() (*sqlstore.Store, error){
		"a database":  func() (*sqlstore.Store, error) { return sqlstore.Open(t.Context(), nil, sqlstore.SQLite) },
		"Dialect(0)":  func() (*sqlstore.Store, error) { return sqlstore.Open(t.Context(), db, 0) },
		"Dialect(77)": func() (*sqlstore.Store, error) { return sqlstore.Open(t.Context(), db, 77) },
	} {
		if store, err := open(); store != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want an error with %q", err, want)
		}
	}
}
