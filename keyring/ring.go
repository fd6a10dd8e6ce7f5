package keyring

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"golang.org/x/sync/singleflight"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A Fetcher gets key documents; fedclient.Client is one.
type Fetcher interface {
	// FetchServerKeys returns the key document of server as server itself returns
	// it for GET /_matrix/key/v2/server, unchecked. It must end when ctx does, and
	// return no more than it is willing to hold in memory: 256 KiB is the most that
	// counts. Any error is an outage, unless it wraps [fedinvite.ErrUnknownKey].
	FetchServerKeys(ctx context.Context, server fedinvite.ServerName) ([]byte, error)
}

// A FetcherFunc is a function as a [Fetcher].
type FetcherFunc func(ctx context.Context, server fedinvite.ServerName) ([]byte, error)

// FetchServerKeys calls f.
func (f FetcherFunc) FetchServerKeys(ctx context.Context, server fedinvite.ServerName) ([]byte, error) {
	return f(ctx, server)
}

// A Config says how a [Ring] works.
type Config struct {
	// Fetcher asks other servers. Required.
	Fetcher Fetcher
	// Now is the clock by which documents age; nil: [time.Now].
	Now func() time.Time
	// Local answers for our own servers; nil: none are ours.
	Local Local

	// Store keeps the keys beyond the life of the Ring, and shares them with other
	// processes; nil: nothing does.
	Store Store
	// Notaries are asked for the keys of servers that do not answer, one after
	// another.
	Notaries []Notary
	// NotaryFetcher asks them; nil: the Fetcher, which must be a NotaryFetcher then.
	NotaryFetcher NotaryFetcher
	// NotariesFirst asks notaries before the server itself, which is then asked only
	// if they have no key that serves. It saves requests to servers that are slow or
	// gone; what the notaries say is believed. It needs Notaries.
	NotariesFirst bool

	// Refused reports keys that are not to be used whoever publishes them, because
	// they leaked; nil: none. They count as unknown, and no notary's signature by one of
	// them counts. Our own are not asked about. It is called for every look-up.
	Refused func(key ed25519.PublicKey) bool
	// KeepFirst keeps the bytes of a key that were seen first, if later the same key ID
	// comes with others from the same source, the server itself or a notary (MSC4499).
	// The server outweighs a notary all the same. The specification is silent; without
	// KeepFirst the server itself is right about its keys, the later time more than the
	// earlier. Processes that share a Store should have the same KeepFirst. What the Store
	// has counts as first; before saving, it is loaded from again, and nothing is saved if
	// that fails. Processes that save other bytes at the same moment end with those of
	// [Merge].
	KeepFirst bool
	// Report is told of what failed without failing a look-up: the Store, a notary, a
	// key ID that came with other bytes (the error wraps [fedinvite.ErrMismatch]).
	// server is the one whose keys were wanted, "" if they were several. nil: nobody
	// is told. It should be fast, and safe for concurrent use.
	Report func(server fedinvite.ServerName, err error)

	// MaxServers is the number of servers whose keys are kept in memory, and of those
	// whose failures are; 0: 10,000. A server with one key takes about 400 bytes.
	MaxServers int
	// MaxFetches is the number of fetches at a time; 0: 64. Others wait, 16 times
	// as many at most; more are refused at once. A quarter is kept for servers of
	// which a key is valid. The servers of one domain, by the last two labels of their
	// names, get an eighth of the fetches and of the places to wait, and two at least; so
	// does an IPv4 address, and an IPv6 network of 64 bits.
	MaxFetches int
	// Timeout bounds one request to a server, and the wait for a turn; 0: 10 s. A request
	// to a notary, which may have to ask others, takes three times as long at most, a call
	// of the Store a quarter of it, and the one look-up of Prefetch all of it.
	Timeout time.Duration
}

// withDefaults checks the fields and fills in those that may be missing.
func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Fetcher == nil:
		return c, errors.New("keyring: Config.Fetcher is required")
	case c.NotariesFirst && len(c.Notaries) == 0:
		return c, errors.New("keyring: Config.NotariesFirst needs Notaries")
	case c.MaxServers < 0 || c.MaxFetches < 0 || c.Timeout < 0:
		return c, errors.New("keyring: Config.MaxServers, MaxFetches and Timeout must not be negative")
	case c.MaxFetches > 1<<20:
		return c, errors.New("keyring: Config.MaxFetches must not be more than 1,048,576")
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaxServers == 0 {
		c.MaxServers = 10_000
	}
	if c.MaxFetches == 0 {
		c.MaxFetches = 64
	}
	if c.Timeout == 0 {
		c.Timeout = 10 * time.Second
	}
	if c.Report == nil {
		c.Report = func(fedinvite.ServerName, error) {}
	}
	return c, nil
}

// A Ring is a [fedinvite.KeySource] that asks servers for their keys and remembers
// them. It is safe for concurrent use. It needs no closing: what it does in the
// background ends by itself, when the requests and calls of the Store do, each of
// which is bounded as Config.Timeout says.
type Ring struct {
	config   Config
	memory   *memory
	flights  singleflight.Group // by server
	turns    *turns
	notaries []*notary
	batches  chan struct{} // requests of Prefetch to notaries
	hung     atomic.Int64  // when the Store last took all of its time, in ms; 0: never
}

// New returns a Ring that knows nothing yet. The error names the field that is
// missing or wrong. Local, if there is one, is asked whether the notaries are ours.
func New(c Config) (*Ring, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	notaries, err := newNotaries(c)
	if err != nil {
		return nil, err
	}
	return &Ring{
		config:   c,
		memory:   newMemory(c),
		turns:    newTurns(c.MaxFetches),
		notaries: notaries,
		batches:  make(chan struct{}, maxBatches),
	}, nil
}

// VerifyKey implements [fedinvite.KeySource]. It asks for the server's keys, in the order
// that Config says, if the key is not known, or known to be valid only until before at, but
// no more often than the package comment says. If the server could not be asked, or is not
// yet to be asked, it returns the key as it is remembered, whose validity the caller must
// judge; if it was not asked because there are too many fetches, or because ctx ended, the
// error says so. It returns a key at once that is past half of its time, and renews it in
// the background. The key's bytes are shared and must not be changed.
//
// An error that wraps [fedinvite.ErrUnknownKey] means that the server has no such key or no
// good key document; any other that it could not be asked, or that ctx ended. Who waited
// for a fetch that failed gets an error that wraps the Fetcher's; who asks during the pause
// after it gets a short copy of its text. ctx ends the wait of this caller, not the fetch,
// for which others may wait.
func (r *Ring) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	// No document can list an ID that is not UTF-8.
	if _, err := fedinvite.ParseServerName(string(server)); err != nil || !usableID(id) || !utf8.ValidString(string(id)) {
		return fedinvite.VerifyKey{}, fmt.Errorf("%w: malformed server name or key ID", fedinvite.ErrUnknownKey)
	}
	if own, ours, err := r.config.local(ctx, server); err != nil {
		return fedinvite.VerifyKey{}, err
	} else if ours {
		return own.find(id)
	}
	key, err := r.remote(ctx, question{server: server, id: id, at: at})
	if err != nil {
		return fedinvite.VerifyKey{}, err
	}
	if r.config.Refused != nil && r.config.Refused(key.Public) {
		return fedinvite.VerifyKey{}, fmt.Errorf("%w: the key %q of %q is refused", fedinvite.ErrUnknownKey, id, server)
	}
	if !key.ExpiredAt.IsZero() { // what was promised before counts no more
		return fedinvite.VerifyKey{Public: key.Public, ExpiredAt: key.ExpiredAt}, nil
	}
	return fedinvite.VerifyKey{Public: key.Public, ValidUntil: key.ValidUntil}, nil
}

// local returns the keys of a server of ours.
func (c *Config) local(ctx context.Context, server fedinvite.ServerName) (own LocalKeys, ours bool, err error) {
	if c.Local == nil {
		return LocalKeys{}, false, nil
	}
	own, err = c.Local(ctx, server)
	switch {
	case err == nil:
		return own, true, nil
	case errors.Is(err, fedinvite.ErrNotLocal):
		return LocalKeys{}, false, nil
	}
	return LocalKeys{}, false, fmt.Errorf("keyring: our keys of %q: %w", server, err)
}

// remote returns the key of a server that is not ours.
func (r *Ring) remote(ctx context.Context, q question) (*Record, error) {
	key, next, err := r.memory.recall(q, r.config.Now())
	switch next {
	case renew:
		q = q.own()
		q.beyond = key.ValidUntil
		r.start(ctx, q)
	case look, ask:
		q = q.own()
		var landed landing
		landed, err = r.await(ctx, q)
		if err != nil && (errors.Is(err, errBusy) || ctx.Err() != nil) {
			return nil, err // our own doing: that the key has run out is not to be blamed on the server
		}
		if found := find(landed.keys, q.id); found != nil {
			key = found
		}
	}
	switch {
	case key != nil:
		return key, nil
	case err == nil:
		err = q.unknown()
	}
	return nil, err
}
