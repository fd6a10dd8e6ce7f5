package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
)

// A SchemaError means that the tables were made by a newer version of this package.
type SchemaError struct {
	Found int // the version of the schema in the database
	Known int // the newest that this program knows
}

// Error returns a text with both versions.
func (e *SchemaError) Error() string {
	return fmt.Sprintf("sqlstore: the database has version %d of the schema, this program knows versions up to %d", e.Found, e.Known)
}

// A migration brings the tables from one version of the schema to the next, as one
// statement or several for each Dialect. Migrations are never changed once they are
// released, only added.
type migration map[Dialect][]string

// The first brings version 0, which is nothing, to version 1.
//
// Constraints say what the columns are, so that no tool can leave a row behind that is
// not a key: of the bytes of the key, of the times, which are those that a
// [keyring.Record] may have and never the zero time, and that a key has an end.
var migrations = []migration{
	{
		SQLite: {`CREATE TABLE fedinvite_keys (
	server BLOB NOT NULL,
	key_id BLOB NOT NULL,
	public_key BLOB NOT NULL CHECK (length(public_key) = 32),
	valid_until INTEGER CHECK (valid_until BETWEEN -62135596799999 AND 253402300799000),
	expired_at INTEGER CHECK (expired_at BETWEEN -62135596799999 AND 253402300799000),
	fetched INTEGER CHECK (fetched BETWEEN -62135596799999 AND 253402300799000),
	CHECK (valid_until IS NOT NULL OR expired_at IS NOT NULL),
	PRIMARY KEY (server, key_id)
) STRICT, WITHOUT ROWID`},
		PostgreSQL: {`CREATE TABLE fedinvite_keys (
	server BYTEA NOT NULL,
	key_id BYTEA NOT NULL,
	public_key BYTEA NOT NULL CHECK (length(public_key) = 32),
	valid_until BIGINT CHECK (valid_until BETWEEN -62135596799999 AND 253402300799000),
	expired_at BIGINT CHECK (expired_at BETWEEN -62135596799999 AND 253402300799000),
	fetched BIGINT CHECK (fetched BETWEEN -62135596799999 AND 253402300799000),
	CHECK (valid_until IS NOT NULL OR expired_at IS NOT NULL),
	PRIMARY KEY (server, key_id)
)`},
	},
}

const (
	createVersions = `CREATE TABLE IF NOT EXISTS fedinvite_keys_schema (version BIGINT PRIMARY KEY)`
	readVersion    = `SELECT COALESCE(MAX(version), 0) FROM fedinvite_keys_schema`
	// The number only has to be one that nothing else in the database locks.
	lockSchema = `SELECT pg_advisory_xact_lock(7091362480521946271)`
)

// migrate brings the schema to the version after the last of steps.
func (s *Store) migrate(ctx context.Context, steps []migration) error {
	// Mostly nothing has to be done, and nobody has to wait or be allowed to write.
	if found, err := version(ctx, s.db); err == nil && found >= len(steps) {
		return check(found, steps)
	}
	return s.transact(ctx, func(tx executor) error {
		if s.dialect == PostgreSQL { // SQLite's transactions are alone
			if _, err := tx.ExecContext(ctx, lockSchema); err != nil {
				return err
			}
		}
		if _, err := tx.ExecContext(ctx, createVersions); err != nil {
			return err
		}
		found, err := version(ctx, tx)
		if err != nil {
			return err
		}
		if err := check(found, steps); err != nil {
			return err
		}
		for ; found < len(steps); found++ {
			if err := s.apply(ctx, tx, found+1, steps[found]); err != nil {
				return fmt.Errorf("version %d of the schema: %w", found+1, err)
			}
		}
		return nil
	})
}

func (s *Store) apply(ctx context.Context, tx executor, version int, step migration) error {
	for _, statement := range step[s.dialect] {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	insert := "INSERT INTO fedinvite_keys_schema (version) VALUES (" + s.list(1, 1) + ")"
	_, err := tx.ExecContext(ctx, insert, version)
	return err
}

func version(ctx context.Context, db interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}) (found int, err error) {
	rows, err := db.QueryContext(ctx, readVersion)
	if err != nil {
		return 0, err
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&found); err != nil {
			return 0, err
		}
	}
	return found, rows.Err()
}

func check(found int, steps []migration) error {
	if found > len(steps) {
		return &SchemaError{Found: found, Known: len(steps)}
	}
	return nil
}
