package sqlstore_test

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/keyring/sqlstore"
)

// statements returns the statements of the package comment that contain text, as the
// database is to be told them.
func statements(t *testing.T, dialect sqlstore.Dialect, text string) (all []string) {
	t.Helper()
	source, err := os.ReadFile("doc.go")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(source)) {
		statement, ok := strings.CutPrefix(strings.TrimSpace(line), "//\t")
		statement, database, _ := strings.Cut(statement, ";")
		if _, name, named := strings.Cut(database, "-- "); named && name != dialect.String() {
			ok = false
		}
		if ok && strings.Contains(statement, text) {
			all = append(all, statement)
		}
	}
	return all
}

func TestTheStatementsOfThePackageComment(t *testing.T) {
	now := time.Now()
	dead, gone, live := record("dead.example", "ed25519:1"), record("gone.example", "ed25519:1"), record("live.example", "ed25519:1")
	dead.Fetched, gone.Fetched, live.Fetched = now.AddDate(-2, 0, -2), now.AddDate(-2, 0, 2), now
	ahead := record("ahead.example", "ed25519:1")
	ahead.Fetched = now.AddDate(2, 0, 0)
	told, toldOld := record("told.example", "ed25519:1"), record("told.example", "ed25519:0")
	told.Fetched, toldOld.Fetched = time.Time{}, time.Time{}
	toldOld.ValidUntil, toldOld.ExpiredAt = time.Time{}, now.AddDate(-9, 0, 0)
	all := sorted([]keyring.Record{dead, gone, live, ahead, told, toldOld})
	without := func(server string) (rest []keyring.Record) {
		for _, r := range all {
			if string(r.Server) != server {
				rest = append(rest, r)
			}
		}
		return rest
	}
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		for start, want := range map[string][]keyring.Record{
			"DELETE FROM fedinvite_keys WHERE fetched < ":      without("dead.example"),
			"DELETE FROM fedinvite_keys WHERE fetched > ":      without("ahead.example"),
			"DELETE FROM fedinvite_keys WHERE fetched IS NULL": without("told.example"),
		} {
			p := newPlace(t, dialect)
			store := p.open(t)
			mustSave(t, store, all...)
			found := statements(t, dialect, start)
			if len(found) != 1 {
				t.Fatalf("%d statements %s", len(found), start)
			}
			mustExec(t, p.db(t), found[0])
			same(t, loaded(t, store, all), want)
			mustSave(t, store, all...) // and everything can come back
			same(t, loaded(t, store, all), all)
		}
		if n := len(statements(t, dialect, "DELETE")); n != 3 {
			t.Errorf("%d statements delete, of which 3 are tested", n)
		}
	})
}

func TestNamesCanBeRead(t *testing.T) {
	onEach(t, func(t *testing.T, dialect sqlstore.Dialect) {
		p := newPlace(t, dialect)
		mustSave(t, p.open(t), record("a.example", "ed25519:1"))
		found := statements(t, dialect, "SELECT")
		if len(found) != 1 {
			t.Fatalf("%d statements", len(found))
		}
		var server, id string
		var validUntil any
		if err := p.db(t).QueryRow(found[0]).Scan(&server, &id, &validUntil); err != nil {
			t.Fatal(err)
		}
		if server != "a.example" || id != "ed25519:1" || validUntil == nil {
			t.Errorf("%q %q %v", server, id, validUntil)
		}
	})
}
