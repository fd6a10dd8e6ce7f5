package sqlstore

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// maxKeys is how many keys of a server are kept, as many as a document may have. Honest
// servers have a few, also over the years; others make up new ones all the time.
const maxKeys = 64

// How many rows a statement has: few numbers, so that drivers can keep statements
// prepared, and few enough parameters for both databases.
var (
	writeSizes = []int{256, 32, 4, 1}
	readSizes  = []int{1, 8, 64, 512}
)

// A Store is a [keyring.Store] in a SQL database. It is safe for concurrent use.
type Store struct {
	db      *sql.DB
	dialect Dialect
}

var _ keyring.Store = (*Store)(nil)

// Open returns a Store that uses db, which remains the caller's to configure and, after
// the last use of the Store, to close. It makes the tables that are missing. If they were
// made by a newer version of this package, the error is a [*SchemaError].
func Open(ctx context.Context, db *sql.DB, dialect Dialect) (*Store, error) {
	return open(ctx, db, dialect, migrations)
}

func open(ctx context.Context, db *sql.DB, dialect Dialect, steps []migration) (*Store, error) {
	switch {
	case db == nil:
		return nil, errors.New("sqlstore: a database is required")
	case dialect != SQLite && dialect != PostgreSQL:
		return nil, fmt.Errorf("sqlstore: no such dialect: %v", dialect)
	}
	s := &Store{db: db, dialect: dialect}
	err := s.migrate(ctx, steps)
	if newer := (*SchemaError)(nil); errors.As(err, &newer) {
		return nil, newer
	}
	if err != nil {
		return nil, failed(ctx, "making the tables", err)
	}
	// That the version is there does not mean that the keys are.
	if _, err := s.load(ctx, []fedinvite.ServerName{""}); err != nil {
		return nil, failed(ctx, "reading the tables", err)
	}
	return s, nil
}

func (s *Store) list(first, count int) string {
	var text strings.Builder
	s.dialect.parameters(&text, first, count)
	return text.String()
}

// Load implements [keyring.Store]. Rows that are no keys, because somebody else has
// changed them, are passed over: their servers are asked again.
func (s *Store) Load(ctx context.Context, servers []fedinvite.ServerName) ([]keyring.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, failed(ctx, "loading keys", err)
	}
	servers = slices.Clone(servers)
	slices.Sort(servers)
	servers = slices.Compact(servers)
	var records []keyring.Record
	for chunk := range slices.Chunk(servers, readSizes[len(readSizes)-1]) {
		err := s.persist(ctx, func() error {
			found, err := s.load(ctx, chunk)
			records = append(records, found...)
			return err
		})
		if err != nil {
			return nil, failed(ctx, "loading keys", err)
		}
	}
	return records, nil
}

func (s *Store) load(ctx context.Context, servers []fedinvite.ServerName) (records []keyring.Record, err error) {
	args := padded(servers)
	rows, err := s.db.QueryContext(ctx, `SELECT server, key_id, public_key, valid_until, expired_at, fetched FROM fedinvite_keys WHERE server IN (`+s.list(1, len(args))+`)`, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var server, id, public []byte
		var validUntil, expiredAt, fetched sql.NullInt64
		if err := rows.Scan(&server, &id, &public, &validUntil, &expiredAt, &fetched); err != nil {
			return nil, err
		}
		r := keyring.Record{
			Server: fedinvite.ServerName(server), KeyID: fedinvite.KeyID(id), Public: ed25519.PublicKey(public),
			ValidUntil: moment(validUntil), ExpiredAt: moment(expiredAt), Fetched: moment(fetched),
		}
		if r.Check() == nil {
			records = append(records, r)
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return records, nil
}

// padded returns the names as parameters, the last repeated up to one of few numbers.
func padded(servers []fedinvite.ServerName) []any {
	i, _ := slices.BinarySearch(readSizes, len(servers))
	args := make([]any, readSizes[i])
	for i := range args {
		args[i] = []byte(servers[min(i, len(servers)-1)])
	}
	return args
}

func moment(ms sql.NullInt64) time.Time {
	if !ms.Valid {
		return time.Time{}
	}
	return time.UnixMilli(ms.Int64).UTC()
}

func milliseconds(t time.Time) sql.NullInt64 {
	ms := t.UnixMilli()
	return sql.NullInt64{Int64: ms, Valid: ms != time.Time{}.UnixMilli()}
}

// Save implements [keyring.Store]. All is written in one transaction, or nothing. Of each
// server it keeps 64 keys, those that were fetched last.
func (s *Store) Save(ctx context.Context, records []keyring.Record) error {
	if err := ctx.Err(); err != nil {
		return failed(ctx, "saving keys", err)
	}
	records, err := merged(records)
	if err != nil || len(records) == 0 {
		return err
	}
	err = s.transact(ctx, func(tx executor) error {
		rest := records
		for _, size := range writeSizes {
			for ; len(rest) >= size; rest = rest[size:] {
				if err := s.upsert(ctx, tx, rest[:size]); err != nil {
					return err
				}
			}
		}
		for chunk := range slices.Chunk(servers(records), readSizes[len(readSizes)-1]) {
			if err := s.forgetStalest(ctx, tx, chunk); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return failed(ctx, "saving keys", err)
	}
	return nil
}

// merged returns one record for each key, in the order of the primary key, so that
// transactions lock rows in one order and never wait for each other in a ring. (An upsert
// must not touch a row twice either.)
func merged(records []keyring.Record) ([]keyring.Record, error) {
	for _, r := range records {
		if err := r.Check(); err != nil {
			return nil, err
		}
	}
	records = slices.Clone(records)
	slices.SortStableFunc(records, func(a, b keyring.Record) int {
		return cmp.Or(cmp.Compare(a.Server, b.Server), cmp.Compare(a.KeyID, b.KeyID))
	})
	kept := records[:0]
	for _, r := range records {
		if n := len(kept); n > 0 && kept[n-1].Server == r.Server && kept[n-1].KeyID == r.KeyID {
			kept[n-1] = keyring.Merge(kept[n-1], r)
			continue
		}
		kept = append(kept, r)
	}
	return kept, nil
}

// servers returns the servers of records, which are sorted.
func servers(records []keyring.Record) []fedinvite.ServerName {
	names := make([]fedinvite.ServerName, len(records))
	for i, r := range records {
		names[i] = r.Server
	}
	return slices.Compact(names)
}

// spoilt holds for a stored row that is not a key, whatever the constraints were to
// prevent. It counts for nothing.
const spoilt = `NOT (COALESCE(length(k.public_key), 0) = 32 AND COALESCE(k.valid_until, k.expired_at) IS NOT NULL` +
	` AND COALESCE(k.valid_until, 0) BETWEEN -62135596799999 AND 253402300799000` +
	` AND COALESCE(k.expired_at, 0) BETWEEN -62135596799999 AND 253402300799000` +
	` AND COALESCE(k.fetched, 0) BETWEEN -62135596799999 AND 253402300799000)`

// wins is the condition under which a new record is right about bytes and expiry, as
// [keyring.Merge] has it: its fetch is later, or the same and the expiry earlier, or the
// same too and the bytes greater. No fetch is earlier than any, no expiry later.
const wins = `(` + spoilt + ` OR ` +
	`(COALESCE(EXCLUDED.fetched, -62135596800000), COALESCE(k.expired_at, 9223372036854775807), EXCLUDED.public_key) > ` +
	`(COALESCE(k.fetched, -62135596800000), COALESCE(EXCLUDED.expired_at, 9223372036854775807), k.public_key))`

const longer = `(` + spoilt + ` OR EXCLUDED.valid_until IS NOT NULL AND (k.valid_until IS NULL OR EXCLUDED.valid_until > k.valid_until))`

// A row that would stay the same is not written.
const onConflict = ` ON CONFLICT (server, key_id) DO UPDATE SET
	public_key = CASE WHEN ` + wins + ` THEN EXCLUDED.public_key ELSE k.public_key END,
	expired_at = CASE WHEN ` + wins + ` THEN EXCLUDED.expired_at ELSE k.expired_at END,
	fetched = CASE WHEN ` + wins + ` THEN EXCLUDED.fetched ELSE k.fetched END,
	valid_until = CASE WHEN ` + longer + ` THEN EXCLUDED.valid_until ELSE k.valid_until END
WHERE ` + wins + ` OR ` + longer

func (s *Store) upsert(ctx context.Context, tx executor, records []keyring.Record) error {
	const columns = 6
	var query strings.Builder
	query.WriteString(`INSERT INTO fedinvite_keys AS k (server, key_id, public_key, valid_until, expired_at, fetched) VALUES `)
	args := make([]any, 0, columns*len(records))
	for i, r := range records {
		if i > 0 {
			query.WriteByte(',')
		}
		query.WriteByte('(')
		s.dialect.parameters(&query, len(args)+1, columns)
		query.WriteByte(')')
		args = append(args, []byte(r.Server), []byte(r.KeyID), bytes.Clone(r.Public), milliseconds(r.ValidUntil), milliseconds(r.ExpiredAt), milliseconds(r.Fetched))
	}
	query.WriteString(onConflict)
	_, err := tx.ExecContext(ctx, query.String(), args...)
	return err
}

// forgetStalest deletes of servers with too many keys those that were fetched before the
// others; of several that expired first, rather than current ones.
//
// In PostgreSQL others may write at the same time. A key that they have brought up to date
// is no longer as fetched as it was when it was ranked, and stays. One that they hold is
// passed over: whoever comes next forgets it, and transactions never wait in a ring.
func (s *Store) forgetStalest(ctx context.Context, tx executor, servers []fedinvite.ServerName) error {
	passOver := ""
	if s.dialect == PostgreSQL {
		passOver = ` FOR UPDATE OF k SKIP LOCKED`
	}
	args := padded(servers)
	_, err := tx.ExecContext(ctx, `DELETE FROM fedinvite_keys WHERE (server, key_id) IN (
	SELECT k.server, k.key_id FROM fedinvite_keys AS k JOIN (
		SELECT server, key_id, fetched, ROW_NUMBER() OVER (
			PARTITION BY server
			ORDER BY COALESCE(fetched, -62135596800000) DESC, COALESCE(expired_at, 9223372036854775807) DESC, key_id DESC
		) AS place
		FROM fedinvite_keys WHERE server IN (`+s.list(1, len(args))+`)
	) AS ranked ON k.server = ranked.server AND k.key_id = ranked.key_id
	WHERE ranked.place > `+strconv.Itoa(maxKeys)+` AND (k.fetched = ranked.fetched OR k.fetched IS NULL)`+passOver+`
)`, args...)
	return err
}
