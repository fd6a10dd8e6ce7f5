package keyring

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A Record is what is known of one key of a server. Times count in milliseconds.
type Record struct {
	Server fedinvite.ServerName
	KeyID  fedinvite.KeyID
	Public ed25519.PublicKey // 32 bytes
	// ValidUntil is the end of a current key's validity, already cut to seven days
	// after the document was had. In an old key it is what was promised before, or zero, and
	// counts no more.
	ValidUntil time.Time
	// ExpiredAt is when an old key was given up (expired_ts); zero for a current one.
	ExpiredAt time.Time
	// Fetched is when the document with this key was had from the server itself, by the
	// clock of who had it. Zero means that only notaries have told it: in a merge that
	// never outweighs the server.
	Fetched time.Time
}

// ErrRecord means that a Record is none that a [Store] keeps.
var ErrRecord = errors.New("keyring: not the record of a key")

// lastTime is the end of the times that every database can hold.
var lastTime = time.Date(9999, time.December, 31, 23, 59, 59, 0, time.UTC)

// Check returns an error that wraps [ErrRecord] if r must not be stored: the server
// name is empty or longer than 255 bytes, the key ID is not "ed25519:" and something,
// 128 bytes at most, the key is not 32 bytes long, there is neither an end of the
// validity nor an expiry, or a time is before the year 1 or after the year 9999. Stores
// check what they are given and what they read.
func (r Record) Check() error {
	switch {
	case r.Server == "" || len(r.Server) > 255:
		return fmt.Errorf("%w: a server name of %d bytes", ErrRecord, len(r.Server))
	case !usableID(r.KeyID):
		return fmt.Errorf("%w: the key ID %.140q", ErrRecord, r.KeyID)
	case len(r.Public) != ed25519.PublicKeySize:
		return fmt.Errorf("%w: a key of %d bytes", ErrRecord, len(r.Public))
	case inMilliseconds(r.ValidUntil).IsZero() && inMilliseconds(r.ExpiredAt).IsZero():
		// It would be valid for ever, once its times are cut to milliseconds.
		return fmt.Errorf("%w: neither ValidUntil nor ExpiredAt", ErrRecord)
	}
	for _, t := range []time.Time{r.ValidUntil, r.ExpiredAt, r.Fetched} {
		if t.Before(time.Time{}) || t.After(lastTime) {
			return fmt.Errorf("%w: a time out of range", ErrRecord)
		}
	}
	return nil
}

// Merge returns what is known of a key if a and b are both true of it:
//
//   - Public and ExpiredAt are those of the record that was fetched later. Of two that
//     were fetched in the same millisecond, the one that expired outweighs a current
//     one, then the earlier expiry a later one, then the greater bytes the lesser.
//   - ValidUntil is the later of the two, so that a document does not shorten what an
//     earlier one promised. The promise is for the key ID: it stays when a server
//     gives the ID to another key, and over an expiry that is taken back.
//   - Fetched is the later of the two.
//
// It does not matter which of the two is a, in which order or groups records are
// merged, nor how often, so that processes that write at once end with the same
// record. Times are cut to milliseconds, in UTC. The result shares the memory of
// Public with a or b.
//
// Merge knows no clock: what a process fetched whose clock was years ahead outweighs all
// others for years. Who has a clock must pass over records whose Fetched lies in the
// future, as a [Ring] does.
//
// Records of different keys, that is with another Server or KeyID, cannot be merged;
// the result is the zero Record then, which no Store takes.
func Merge(a, b Record) Record {
	if a.Server != b.Server || a.KeyID != b.KeyID {
		return Record{}
	}
	a, b = a.inMilliseconds(), b.inMilliseconds()
	if a.compare(b) < 0 {
		a, b = b, a
	}
	if b.ValidUntil.After(a.ValidUntil) {
		a.ValidUntil = b.ValidUntil
	}
	return a
}

// compare orders records of one key by how much they count for bytes and expiry. With
// the order of ValidUntil beside it, Merge is the least upper bound of two orders that
// are total, and so it cannot depend on the order of merging.
func (r Record) compare(other Record) int {
	return cmp.Or(
		r.Fetched.Compare(other.Fetched),
		cmp.Compare(other.expiry(), r.expiry()),
		bytes.Compare(r.Public, other.Public),
	)
}

func (r Record) expiry() int64 {
	if r.ExpiredAt.IsZero() {
		return math.MaxInt64
	}
	return r.ExpiredAt.UnixMilli()
}

func (r Record) inMilliseconds() Record {
	r.ValidUntil, r.ExpiredAt, r.Fetched = inMilliseconds(r.ValidUntil), inMilliseconds(r.ExpiredAt), inMilliseconds(r.Fetched)
	return r
}

func inMilliseconds(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }

// A Store keeps keys where they survive a restart, and for many processes at once; the
// module keyring/sqlstore has one for SQL databases, and [Memory] is one. Package
// storetest has the tests that a Store must pass. It must be safe for concurrent use,
// also by several processes if they share it; their clocks should agree to within a
// minute or so, because of two documents the one with the later Fetched counts. What a
// process saves while its clock is ahead stays, and is passed over, until that time has
// come or somebody deletes it.
//
// Once ctx has ended, Load and Save return an error that wraps ctx.Err(), whatever they
// could still do. A Store keeps nothing of the slices that it is given, and what it returns
// is the caller's. Merge(r, r) is r as a Store has it: cut to milliseconds, in UTC.
type Store interface {
	// Load returns all records of the servers, one for each key, in any order. A server
	// of which nothing is known has none, which is no error. A server that is named
	// twice counts once. Times come in UTC, and the zero time as the zero time.
	Load(ctx context.Context, servers []fedinvite.ServerName) ([]Record, error)
	// Save merges records into what is stored, each as [Merge] says. When it returns
	// nil, all of them are there to stay, as far as there is room; after an error any of
	// them may be. Several records may be of the same key. If a record fails
	// [Record.Check], the error wraps [ErrRecord] and nothing is saved.
	//
	// Some servers make up new keys all the time. Of more than 64 keys of a server,
	// which is as many as a document may have, a Store should forget those that were
	// fetched before the others; of those that were fetched at the same time, or are
	// known by notaries only, any. It must not refuse new ones instead, nor what is new
	// of those that it has, for that may be that a stolen key was given up.
	Save(ctx context.Context, records []Record) error
}
