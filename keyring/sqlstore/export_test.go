package sqlstore

import (
	"context"
	"database/sql"
)

// What the tests of later versions of the schema need.
type Migration = migration

// Migrations returns the steps that lead to the newest version.
func Migrations() []Migration { return append([]Migration(nil), migrations...) }

// OpenWith is Open by a program that knows these steps.
func OpenWith(ctx context.Context, db *sql.DB, dialect Dialect, steps []Migration) (*Store, error) {
	return open(ctx, db, dialect, steps)
}

// MaxKeys is how many keys of a server are kept.
const MaxKeys = maxKeys

// Failed is what makes the errors of Load and Save.
func Failed(ctx context.Context, what string, err error) error { return failed(ctx, what, err) }

// Transient reports whether a transaction is tried again that failed with err.
func Transient(d Dialect, err error) bool { return d.transient(err) }
