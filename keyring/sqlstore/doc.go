// Package sqlstore keeps the keys of other servers in a SQL database: it has a
// [keyring.Store] for SQLite and PostgreSQL, which any number of processes may share.
//
//	db, err := sql.Open("sqlite", "file:keys.db?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
//	store, err := sqlstore.Open(ctx, db, sqlstore.SQLite)
//	ring, err := keyring.New(keyring.Config{Fetcher: client, Store: store})
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
// Times are milliseconds since 1970; NULL stands for no time. A key that only notaries
// have told has no time in fetched.
//
// # What has to be deleted
//
// The Store keeps 64 keys of each server, those that were fetched last. It never forgets a
// server, and everybody can have made-up ones: who has a domain with a wildcard in the
// DNS answers for any number of names, and each of them that sends something is a row.
// How fast the table grows is so decided by strangers, within the bounds of what is
// accepted and asked (see package ratelimit and keyring.Config.MaxFetches). Each key takes
// some 200 bytes. These statements forget what servers have not told again for two years;
// they may be run at any time, also while programs do:
//
//	DELETE FROM fedinvite_keys WHERE fetched < extract(epoch FROM now() - interval '2 years') * 1000;      -- PostgreSQL
//	DELETE FROM fedinvite_keys WHERE fetched < CAST(strftime('%s', 'now', '-2 years') AS INTEGER) * 1000; -- SQLite
//
// What only notaries have told stays then, because nobody knows since when it is there.
// All of it goes, and is asked for again when it is needed, with
//
//	DELETE FROM fedinvite_keys WHERE fetched IS NULL;
//
// With the keys of a server that is gone goes the only means to check its old events,
// unless a notary knows them.
//
// A process whose clock was ahead leaves times behind that lie in the future. Rings pass
// over such keys, but what is fetched now does not replace them. When the clock is right
// again:
//
//	DELETE FROM fedinvite_keys WHERE fetched > extract(epoch FROM now() + interval '1 hour') * 1000;      -- PostgreSQL
//	DELETE FROM fedinvite_keys WHERE fetched > CAST(strftime('%s', 'now', '+1 hour') AS INTEGER) * 1000; -- SQLite
//
// # SQLite
//
// The settings belong into the data source name. Wanted are journal_mode=WAL, so that
// readers and the writer do not wait for each other, and a busy_timeout of some seconds,
// so that writers wait for each other instead of failing (Save and Load try eight times at
// most, and no longer than their ctx). SQLite's default for synchronous is FULL: what was
// saved outlives a power cut. With NORMAL and WAL it outlives a kill -9 of the program
// only. The file must not be on a network file system.
//
// A database in memory belongs to one connection: give it a name and a shared cache,
// or call db.SetMaxOpenConns(1), and keep a connection open.
//
// # PostgreSQL
//
// Tables are made in the first schema of the search_path. What was saved outlives a
// crash of the server unless its synchronous_commit or fsync is off. What fails because a
// connection was cut is tried again, eight times at most within a second. Behind a pooler in
// transaction mode, choose a way of executing that the pooler bears, with pgx:
// default_query_exec_mode=exec.
package sqlstore
