package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/keyring/sqlstore"
)

// Keys survive the end of the process.
func Example() {
	if err := example(); err != nil {
		fmt.Println(err)
	}
	// Output: matrix.example ed25519:a_1 true
}

func example() error {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "keys")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	source := "file:" + filepath.Join(dir, "keys.db") + "?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)"

	// A Ring does this by itself when it is given the Store as Config.Store.
	save := func() error {
		db, err := sql.Open("sqlite", source)
		if err != nil {
			return err
		}
		defer db.Close()
		store, err := sqlstore.Open(ctx, db, sqlstore.SQLite)
		if err != nil {
			return err
		}
		now := time.Now()
		return store.Save(ctx, []keyring.Record{{
			Server: "matrix.example", KeyID: "ed25519:a_1", Public: make([]byte, 32),
			ValidUntil: now.Add(24 * time.Hour), Fetched: now,
		}})
	}
	if err := save(); err != nil {
		return err
	}

	// The next process finds them.
	db, err := sql.Open("sqlite", source)
	if err != nil {
		return err
	}
	defer db.Close()
	store, err := sqlstore.Open(ctx, db, sqlstore.SQLite)
	if err != nil {
		return err
	}
	records, err := store.Load(ctx, []fedinvite.ServerName{"matrix.example", "other.example"})
	if err != nil {
		return err
	}
	for _, r := range records {
		fmt.Println(r.Server, r.KeyID, r.ValidUntil.After(time.Now()))
	}
	return nil
}
