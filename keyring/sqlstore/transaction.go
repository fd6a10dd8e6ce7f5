package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"time"
)

// How often a transaction or query is tried, and the pause before the second time, which doubles.
const (
	maxTries   = 8
	firstPause = 5 * time.Millisecond
)

// An executor is a transaction.
type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// transact runs f in a transaction that writes, and again if that failed for a moment.
func (s *Store) transact(ctx context.Context, f func(tx executor) error) error {
	once := s.transactPostgreSQL
	if s.dialect == SQLite {
		once = s.transactSQLite
	}
	return s.persist(ctx, func() error { return once(ctx, f) })
}

// persist calls once, and again if it failed for a reason that passes.
func (s *Store) persist(ctx context.Context, once func() error) error {
	pause := firstPause
	for tries := 1; ; tries++ {
		err := once()
		if err == nil || ctx.Err() != nil || tries == maxTries || !s.dialect.transient(err) {
			return err
		}
		select {
		case <-time.After(pause):
			pause *= 2
		case <-ctx.Done():
			return err
		}
	}
}

func (s *Store) transactPostgreSQL(ctx context.Context, f func(tx executor) error) error {
	// Under this level an upsert sees the newest row, whoever wrote it, and needs no
	// second try.
	tx, err := s.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	if err := f(tx); err != nil {
		return errors.Join(err, ignoreDone(tx.Rollback()))
	}
	return tx.Commit()
}

func ignoreDone(err error) error {
	if errors.Is(err, sql.ErrTxDone) {
		return nil // ctx has ended it
	}
	return err
}

// transactSQLite begins with IMMEDIATE, which database/sql cannot say: a transaction
// that takes the lock only when it writes fails at once if another has written since it
// read, whatever the busy_timeout.
func (s *Store) transactSQLite(ctx context.Context, f func(tx executor) error) (err error) {
	conn, err := s.db.Conn(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if e := conn.Close(); err == nil {
			err = e
		}
	}()
	if _, err = conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err == nil {
		if err = f(conn); err == nil {
			_, err = conn.ExecContext(ctx, "COMMIT")
		}
	}
	if err != nil {
		abandon(ctx, conn)
	}
	return err
}

// abandon ends a transaction, also after the end of ctx, or else the connection. Whether
// there still is one, or has been one, depends on when the error came.
func abandon(ctx context.Context, conn *sql.Conn) {
	_, err := conn.ExecContext(context.WithoutCancel(ctx), "ROLLBACK")
	if err != nil && !strings.Contains(err.Error(), "no transaction is active") {
		// database/sql throws a connection away that is reported as bad.
		_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	}
}

// failed says what failed. An ended ctx is the reason whatever the driver calls it.
func failed(ctx context.Context, what string, err error) error {
	if ended := ctx.Err(); ended != nil && !errors.Is(err, ended) {
		return fmt.Errorf("sqlstore: %s: %w: %w", what, ended, err)
	}
	return fmt.Errorf("sqlstore: %s: %w", what, err)
}
