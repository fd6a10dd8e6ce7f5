// Package sqlstore keeps the keys of other servers in a SQL database: it has a
// [keyring.Store] for SQLite and PostgreSQL, which any number of processes may share.
//
//	db, err := sql.Open("sqlite", "file:keys.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
//	store, err := sqlstore.Open(ctx, db, sqlstore.SQLite)
//	ring, err := keyring.New(keyring.Config{Fetcher: client, Now: time.Now, Store: store})
//
// It uses database/sql alone; the driver is the caller's choice, and so is the [sql.DB],
// which may hold other tables too. The tests use modernc.org/sqlite and
// github.com/jackc/pgx/v5/stdlib.
//
// # Tables
//
// [Open] makes two tables, in a transaction and under a lock, so that many processes may
// open an empty database at once: fedinvite_keys, and fedinvite_keys_schema with the
// versions of the schema that were applied. A later version of this package adds to
// them by itself. If the tables are there and current, Open only reads: the program may
// run as a database user who must not create any.
//
// Names of servers and key IDs are stored as bytes, because peers choose them: no
// encoding and no collation of the database can refuse or confuse them. To read them:
//
//	SELECT convert_from(server, 'UTF8'), convert_from(key_id, 'UTF8'), to_timestamp(valid_until / 1000.0) FROM fedinvite_keys; -- PostgreSQL
//	SELECT CAST(server AS TEXT), CAST(key_id AS TEXT), datetime(valid_until / 1000, 'unixepoch') FROM fedinvite_keys;          -- SQLite
//
// Times are milliseconds since 1970; NULL stands for no time. The Store deletes nothing.
// To forget what was not fetched for years, at any time, also while programs run:
//
//	DELETE FROM fedinvite_keys WHERE fetched < 1700000000000;
//
// # SQLite
//
// The settings belong into the data source name. Wanted are journal_mode=WAL, so that
// readers and the writer do not wait for each other, and a busy_timeout of some seconds,
// so that writers wait for each other instead of failing (a Save tries eight times at
// most, and no longer than its ctx). SQLite's default for synchronous is FULL: what was
// saved outlives a power cut. With NORMAL and WAL it outlives a kill -9 of the program
// only. The file must not be on a network file system.
//
// A database in memory belongs to one connection: give it a name and a shared cache,
// or call db.SetMaxOpenConns(1), and keep a connection open.
//
// # PostgreSQL
//
// Tables are made in the first schema of the search_path. What was saved outlives a
// crash of the server unless its synchronous_commit or fsync is off. Behind a pooler in
// transaction mode, choose a way of executing that the pooler bears, with pgx:
// default_query_exec_mode=exec.
package sqlstore
