package sqlstore

import (
	"database/sql/driver"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
)

// A Dialect is the kind of a database.
type Dialect uint8

// The databases that a [Store] can use.
const (
	SQLite     Dialect = iota + 1 // 3.37 or newer
	PostgreSQL                    // 12 or newer
)

// String returns the name of the database.
func (d Dialect) String() string {
	switch d {
	case SQLite:
		return "SQLite"
	case PostgreSQL:
		return "PostgreSQL"
	}
	return "Dialect(" + strconv.Itoa(int(d)) + ")"
}

// parameters appends the placeholders from the nth to text, count of them.
func (d Dialect) parameters(text *strings.Builder, n, count int) {
	for i := range count {
		if i > 0 {
			text.WriteByte(',')
		}
		if d == SQLite {
			text.WriteByte('?')
			continue
		}
		text.WriteByte('$')
		text.WriteString(strconv.Itoa(n + i))
	}
}

// transient reports whether a transaction or query failed only because others ran at the
// same time, or because its connection was cut, so that it may be tried again. It does no
// harm if the first try of a Save has succeeded after all. Drivers are recognised by what
// they say, because this package imports none.
func (d Dialect) transient(err error) bool {
	if d == SQLite { // SQLITE_BUSY, SQLITE_LOCKED
		return strings.Contains(err.Error(), "database is locked") || strings.Contains(err.Error(), "database table is locked")
	}
	var e interface{ SQLState() string }
	if !errors.As(err, &e) {
		return cut(err)
	}
	switch state := e.SQLState(); state {
	case "40001", "40P01": // serialization failure, deadlock
		return true
	case "57P01", "57P02", "57P03": // the server shuts down, has crashed, is starting
		return true
	default: // connection exceptions
		return strings.HasPrefix(state, "08")
	}
}

// cut reports whether a connection ended that there was.
func cut(err error) bool {
	for _, end := range []error{driver.ErrBadConn, io.EOF, io.ErrUnexpectedEOF} {
		if errors.Is(err, end) {
			return true
		}
	}
	var e *net.OpError
	return errors.As(err, &e) && e.Op != "dial"
}
