package sqlstore_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/keyring/sqlstore"
)

// later returns the steps of a program that is one version ahead.
func later(statements ...string) []sqlstore.Migration {
	return append(sqlstore.Migrations(), sqlstore.Migration{sqlstore.SQLite: statements, sqlstore.PostgreSQL: statements})
}

func version(t *testing.T, p place) (n int) {
	t.Helper()
	if err := p.db(t).QueryRow("SELECT MAX(version) FROM fedinvite_keys_schema").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestALaterVersionMigratesAndKeepsTheKeys(t *testing.T) {
	steps := later("ALTER TABLE fedinvite_keys ADD COLUMN note TEXT", "CREATE INDEX fedinvite_keys_fetched ON fedinvite_keys (fetched)")
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		p := newPlace(t, dialect)
		good := record("a.example", "ed25519:1")
		mustSave(t, p.open(t), good)
		first := version(t, p)

		for range 2 {
			store, err := sqlstore.OpenWith(t.Context(), p.db(t), dialect, steps)
			if err != nil {
				t.Fatal(err)
			}
			same(t, loaded(t, store, []keyring.Record{good}), []keyring.Record{good})
			mustSave(t, store, good, record("b.example", "ed25519:1"))
		}
		if got := version(t, p); got != first+1 {
			t.Errorf("version %d, want %d", got, first+1)
		}
		mustExec(t, p.db(t), "UPDATE fedinvite_keys SET note = 'there'")
	})
}

func TestANewerSchemaIsRefused(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		p := newPlace(t, dialect)
		if _, err := sqlstore.OpenWith(t.Context(), p.db(t), dialect, later()); err != nil {
			t.Fatal(err)
		}
		store, err := sqlstore.Open(t.Context(), p.db(t), dialect)
		newer := (*sqlstore.SchemaError)(nil)
		known := len(sqlstore.Migrations())
		if store != nil || !errors.As(err, &newer) || newer.Known != known || newer.Found != known+1 {
			t.Errorf("got %v, %v, want a SchemaError", store, err)
		}
	})
}

func TestAMigrationThatFailsLeavesNothing(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		p := newPlace(t, dialect)
		good := record("a.example", "ed25519:1")
		mustSave(t, p.open(t), good)
		first := version(t, p)
		if _, err := sqlstore.OpenWith(t.Context(), p.db(t), dialect, later("ALTER TABLE fedinvite_keys ADD COLUMN note TEXT", "nonsense")); err == nil {
			t.Fatal("no error")
		}
		if got := version(t, p); got != first {
			t.Errorf("version %d, want %d", got, first)
		}
		same(t, loaded(t, p.open(t), []keyring.Record{good}), []keyring.Record{good})
		if _, err := sqlstore.OpenWith(t.Context(), p.db(t), dialect, later("ALTER TABLE fedinvite_keys ADD COLUMN note TEXT")); err != nil {
			t.Errorf("the column of the failed migration is there: %v", err)
		}
	})
}

func TestOpenSaysThatATableIsGone(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		p := newPlace(t, dialect)
		p.open(t)
		mustExec(t, p.db(t), "DROP TABLE fedinvite_keys")
		if store, err := sqlstore.Open(t.Context(), p.db(t), dialect); store != nil || err == nil || !strings.Contains(err.Error(), "fedinvite_keys") {
			t.Errorf("got %v, %v, want an error that names the table", store, err)
		}
	})
}

// A program may be denied the right to make tables, once they are there.
func TestOpenWritesNothingIfTheTablesAreCurrent(t *testing.T) {
	p := newPlace(t, sqlstore.SQLite)
	good := record("a.example", "ed25519:1")
	mustSave(t, p.open(t), good)
	conn, err := p.db(t).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(t.Context(), "BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	same(t, loaded(t, p.open(t), []keyring.Record{good}), []keyring.Record{good})

	if slices.Contains([]string{"1", "on"}, setting(t, p, "foreign_keys")) {
		t.Error("Open has changed a setting")
	}
}

func setting(t *testing.T, p place, name string) (value string) {
	t.Helper()
	if err := p.db(t).QueryRow("PRAGMA " + name).Scan(&value); err != nil {
		t.Fatal(err)
	}
	return value
}

// The package comment promises it.
func TestSQLiteIsDurableByDefault(t *testing.T) {
	if got := setting(t, newPlace(t, sqlstore.SQLite), "synchronous"); got != "2" {
		t.Errorf("synchronous=%s, want 2, which is FULL", got)
	}
}

func TestOpenEndsWithItsContext(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if store, err := sqlstore.Open(ctx, newPlace(t, dialect).db(t), dialect); store != nil || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, %v, want %v", store, err, context.Canceled)
		}
	})
}
