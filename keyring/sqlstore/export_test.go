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

// MaxKeys is how many keys a server may have for more to be saved.
const MaxKeys = maxKeys

// Failed is what makes the errors of Load and Save.
func Failed(ctx context.Context, what string, err error) error { return failed(ctx, what, err) }
