package keyring

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"time"

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
	// Now is the clock by which documents age. Required.
	Now func() time.Time
	// Local answers for our own servers; nil: none are ours.
	Local Local
	// Refused reports keys that are not to be used whoever publishes them, because
	// they leaked; nil: none. They count as unknown. Our own are not asked about.
	Refused func(key ed25519.PublicKey) bool
	// MaxServers is the number of servers whose keys are kept, and of those whose
	// failures are; 0: 10,000.
	MaxServers int
	// MaxFetches is the number of fetches at a time; 0: 64. Others wait, 16 times
	// as many at most; more are refused at once.
	MaxFetches int
	// Timeout bounds one fetch, and the wait for its turn before; 0: 10 s.
	Timeout time.Duration
}

// A Ring is a [fedinvite.KeySource] that asks servers for their keys and remembers
// them. It is safe for concurrent use.
type Ring struct {
	config  Config
	memory  *memory
	flights singleflight.Group
	queue   chan struct{} // those who wait for a turn
	turns   chan struct{}
}

const queueFactor = 16

// New returns a Ring that knows nothing yet. The error names the field that is
// missing or wrong.
func New(c Config) (*Ring, error) {
	switch {
	case c.Fetcher == nil:
		return nil, errors.New("keyring: Config.Fetcher is required")
	case c.Now == nil:
		return nil, errors.New("keyring: Config.Now is required")
	case c.MaxServers < 0 || c.MaxFetches < 0 || c.Timeout < 0:
		return nil, errors.New("keyring: Config.MaxServers, MaxFetches and Timeout must not be negative")
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
	return &Ring{config: c, memory: newMemory(c.MaxServers), queue: make(chan struct{}, queueFactor*c.MaxFetches), turns: make(chan struct{}, c.MaxFetches)}, nil
}

// VerifyKey implements [fedinvite.KeySource]. It asks the server if the key is not
// known, or known to be valid only until before at, but no more often than the
// package comment says. If asking fails, or is not yet due, it returns the key as it
// is remembered, whose validity the caller must judge.
//
// An error that wraps [fedinvite.ErrUnknownKey] means that the server has no such
// key or no good key document; any other that it could not be asked, or that ctx
// ended. ctx ends the wait of this caller, not the fetch, for which others may wait.
func (r *Ring) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	if _, err := fedinvite.ParseServerName(string(server)); err != nil || !usableID(id) {
		return fedinvite.VerifyKey{}, fmt.Errorf("%w: malformed server name or key ID", fedinvite.ErrUnknownKey)
	}
	if r.config.Local != nil {
		own, err := r.config.Local(ctx, server)
		if err == nil {
			return own.find(id)
		}
		if !errors.Is(err, fedinvite.ErrNotLocal) {
			return fedinvite.VerifyKey{}, fmt.Errorf("keyring: our keys of %q: %w", server, err)
		}
	}
	key, err := r.remote(ctx, question{server, id, at})
	if err == nil && r.config.Refused != nil && r.config.Refused(key.Public) {
		return fedinvite.VerifyKey{}, fmt.Errorf("%w: the key %q of %q is refused", fedinvite.ErrUnknownKey, id, server)
	}
	return key, err
}

func (r *Ring) remote(ctx context.Context, q question) (fedinvite.VerifyKey, error) {
	key, ask, err := r.memory.recall(q, r.config.Now())
	if !ask {
		return key, err
	}
	flight := r.flights.DoChan(string(q.server), func() (any, error) {
		// The flight is for all who wait, so the first one's cancellation must not end it.
		return nil, r.fetch(context.WithoutCancel(ctx), q)
	})
	select {
	case <-ctx.Done():
		return fedinvite.VerifyKey{}, fmt.Errorf("keyring: waiting for the keys of %q: %w", q.server, context.Cause(ctx))
	case landed := <-flight:
		key, _, err = r.memory.recall(q, r.config.Now())
		if key.Public == nil && landed.Err != nil {
			err = landed.Err
		}
		return key, err
	}
}

// enter waits for a turn, as long as a fetch may take at most. A turn that does not
// come is our own doing and not held against the server, nor does waiting take from
// the time that the server has.
func (r *Ring) enter(ctx context.Context) (leave func(), err error) {
	busy := errors.New("keyring: too many fetches at a time")
	select {
	case r.queue <- struct{}{}:
		defer func() { <-r.queue }()
	default:
		return nil, busy
	}
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	select {
	case r.turns <- struct{}{}:
		return func() { <-r.turns }, nil
	case <-ctx.Done():
		return nil, busy
	}
}

// fetch asks the server and remembers what comes of it.
func (r *Ring) fetch(ctx context.Context, q question) error {
	// A flight may have landed between the caller's look and the start of this one.
	if _, ask, _ := r.memory.recall(q, r.config.Now()); !ask {
		return nil
	}
	leave, err := r.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	now := r.config.Now()
	raw, err := r.config.Fetcher.FetchServerKeys(ctx, q.server)
	if err != nil {
		err = fmt.Errorf("keyring: fetching the keys of %q: %w", q.server, err)
		r.memory.fail(q.server, err, r.config.Now())
		return err
	}
	keys, err := readDocument(raw, q.server, now)
	if err != nil {
		r.memory.fail(q.server, err, r.config.Now())
		return err
	}
	r.memory.succeed(q.server, keys, now)
	return nil
}
