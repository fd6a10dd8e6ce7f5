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
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// maxKeys is how many keys of a server may be stored for more to be added. Honest
// servers have a few, also over the years; others make up new ones all the time.
const maxKeys = 1024

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
		var err error
		if records, err = s.load(ctx, records, chunk); err != nil {
			return nil, failed(ctx, "loading keys", err)
		}
	}
	return records, nil
}

func (s *Store) load(ctx context.Context, records []keyring.Record, servers []fedinvite.ServerName) ([]keyring.Record, error) {
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
		if fetched.Valid && r.Check() == nil {
			records = append(records, r)
		}
	}
	return records, rows.Err()
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
	return sql.NullInt64{Int64: t.UnixMilli(), Valid: !t.IsZero()}
}

// Save implements [keyring.Store]. All is written in one transaction, or nothing. Of a
// server that has 1,024 keys already, and goes on making new ones, no more is saved,
// which is an error that wraps [fedinvite.ErrTooLarge].
func (s *Store) Save(ctx context.Context, records []keyring.Record) error {
	if err := ctx.Err(); err != nil {
		return failed(ctx, "saving keys", err)
	}
	records, err := merged(records)
	if err != nil || len(records) == 0 {
		return err
	}
	var full []string
	err = s.transact(ctx, func(tx executor) error {
		var err error
		if full, err = s.full(ctx, tx, records); err != nil {
			return err
		}
		rest := records
		if len(full) > 0 {
			rest = slices.DeleteFunc(slices.Clone(records), func(r keyring.Record) bool { return slices.Contains(full, string(r.Server)) })
		}
		for _, size := range writeSizes {
			for ; len(rest) >= size; rest = rest[size:] {
				if err := s.upsert(ctx, tx, rest[:size]); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return failed(ctx, "saving keys", err)
	}
	if len(full) > 0 {
		return fmt.Errorf("sqlstore: %w: %d servers have more than %d keys, among them %q", fedinvite.ErrTooLarge, len(full), maxKeys, full[0])
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

// full returns the servers that have so many keys that no more are stored.
func (s *Store) full(ctx context.Context, tx executor, records []keyring.Record) ([]string, error) {
	var servers []fedinvite.ServerName
	for _, r := range records {
		if n := len(servers); n == 0 || servers[n-1] != r.Server {
			servers = append(servers, r.Server)
		}
	}
	var full []string
	for chunk := range slices.Chunk(servers, readSizes[len(readSizes)-1]) {
		found, err := s.fullOf(ctx, tx, chunk)
		if err != nil {
			return nil, err
		}
		full = append(full, found...)
	}
	return full, nil
}

func (s *Store) fullOf(ctx context.Context, tx executor, servers []fedinvite.ServerName) (full []string, err error) {
	args := padded(servers)
	rows, err := tx.QueryContext(ctx, `SELECT server FROM fedinvite_keys WHERE server IN (`+s.list(1, len(args))+fmt.Sprintf(`) GROUP BY server HAVING COUNT(*) > %d`, maxKeys), args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var server []byte
		if err := rows.Scan(&server); err != nil {
			return nil, err
		}
		full = append(full, string(server))
	}
	return full, rows.Err()
}

// wins is the condition under which a new record is right about bytes and expiry, as
// [keyring.Merge] has it: its fetch is later, or the same and the expiry earlier, or the
// same too and the bytes greater. No expiry is later than any.
const wins = `(EXCLUDED.fetched, COALESCE(k.expired_at, 9223372036854775807), EXCLUDED.public_key) > ` +
	`(k.fetched, COALESCE(EXCLUDED.expired_at, 9223372036854775807), k.public_key)`

const longer = `(EXCLUDED.valid_until IS NOT NULL AND (k.valid_until IS NULL OR EXCLUDED.valid_until > k.valid_until))`

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
		// The zero time of Fetched is a time like any other, the least.
		args = append(args, []byte(r.Server), []byte(r.KeyID), bytes.Clone(r.Public), milliseconds(r.ValidUntil), milliseconds(r.ExpiredAt), r.Fetched.UnixMilli())
	}
	query.WriteString(onConflict)
	_, err := tx.ExecContext(ctx, query.String(), args...)
	return err
}
