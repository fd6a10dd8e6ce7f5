package sqlstore_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/keyring/sqlstore"
)

// A place is where a database is; another process can be told.
type place struct {
	Dialect sqlstore.Dialect
	File    string // of SQLite
	Schema  string // of PostgreSQL
}

// connect opens a handle with connections of its own, as another process would have.
func (p place) connect() (*sql.DB, error) {
	if p.Dialect == sqlstore.SQLite {
		return sql.Open("sqlite", "file:"+p.File+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(20000)")
	}
	config, err := pgx.ParseConfig(os.Getenv(postgresVariable))
	if err != nil {
		return nil, err
	}
	config.RuntimeParams["search_path"] = p.Schema
	config.RuntimeParams["application_name"] = p.Schema
	return stdlib.OpenDB(*config), nil
}

func (p place) db(t testing.TB) *sql.DB {
	t.Helper()
	db, err := p.connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// open opens the Store over connections of its own.
func (p place) open(t testing.TB) *sqlstore.Store {
	t.Helper()
	store, err := sqlstore.Open(context.Background(), p.db(t), p.Dialect)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

func (p place) String() string {
	text, _ := json.Marshal(p)
	return string(text)
}

// newPlace makes an empty database, which is gone after the test.
func newPlace(t testing.TB, dialect sqlstore.Dialect) place {
	t.Helper()
	if dialect == sqlstore.SQLite {
		return place{Dialect: dialect, File: filepath.Join(t.TempDir(), "keys.db")}
	}
	p := place{Dialect: dialect, Schema: "test_" + strings.ToLower(rand.Text())}
	db := p.db(t)
	if _, err := db.Exec(fmt.Sprintf("CREATE SCHEMA %q", p.Schema)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := db.Exec(fmt.Sprintf("DROP SCHEMA %q CASCADE", p.Schema)); err != nil {
			t.Error(err)
		}
	})
	return p
}

// onEach runs test as subtests, one for each database that there is.
func onEach(t *testing.T, test func(t *testing.T, dialect sqlstore.Dialect)) {
	dialects := []sqlstore.Dialect{sqlstore.SQLite}
	if os.Getenv(postgresVariable) != "" {
		dialects = append(dialects, sqlstore.PostgreSQL)
	}
	for _, dialect := range dialects {
		t.Run(dialect.String(), func(t *testing.T) { test(t, dialect) })
	}
}

func mustExec(t testing.TB, db *sql.DB, query string, args ...any) {
	t.Helper()
	if _, err := db.Exec(query, args...); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func mustSave(t testing.TB, store keyring.Store, records ...keyring.Record) {
	t.Helper()
	if err := store.Save(t.Context(), records); err != nil {
		t.Fatal(err)
	}
}
