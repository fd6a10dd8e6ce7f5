package keyring

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A Notary is a server that is trusted to tell other servers' keys.
type Notary struct {
	Server fedinvite.ServerName
	// Keys are the notary's own keys, one at least. They are pinned: answers that none
	// of them has signed are not used, wherever they come from.
	Keys map[fedinvite.KeyID]ed25519.PublicKey
}

// A NotaryFetcher asks notaries; fedclient.Client is one.
type NotaryFetcher interface {
	// QueryServerKeys sends body to notary, POST /_matrix/key/v2/query, and returns
	// the answer, unchecked. It must end when ctx does, and return no more than it
	// is willing to hold in memory: 4 MiB is the most that counts. Any error is an
	// outage.
	QueryServerKeys(ctx context.Context, notary fedinvite.ServerName, body []byte) ([]byte, error)
}

const (
	// maxBatch is the number of servers in one question to a notary.
	maxBatch = 100
	// maxParts is how many requests are made instead of one, enough to get a hundred
	// servers less one that is too large.
	maxParts = 16
	// notaryFactor is how many times longer than other servers a notary may take, because
	// it may have to ask them.
	notaryFactor = 3
	// maxStrikes is how many questions in a row may fail, each about another domain, before
	// a notary is left alone. Whose fault that is cannot be told: a server that takes its
	// time makes notaries slow.
	maxStrikes = 3
	// maxRest is the longest pause then.
	maxRest = 2 * time.Minute
)

// A notary is one that is in use.
type notary struct {
	server  fedinvite.ServerName
	keys    map[fedinvite.KeyID]fedinvite.VerifyKey
	refused func(key ed25519.PublicKey) bool

	mu      sync.Mutex
	strikes []string // the domains of the questions that failed since its last answer
	tried   int64    // when it was given up, or tried again since, in ms
	rest    time.Duration
}

// newNotaries checks the notaries of c.
func newNotaries(c Config) ([]*notary, error) {
	var notaries []*notary
	for _, n := range c.Notaries {
		if _, ok := c.notaryFetcher(); !ok {
			return nil, errors.New("keyring: Config.NotaryFetcher is required with Notaries")
		}
		for _, other := range notaries {
			if other.server == n.Server {
				return nil, fmt.Errorf("keyring: Config.Notaries: %q is there twice", n.Server)
			}
		}
		checked, err := newNotary(n)
		if err == nil {
			err = c.checkForeign(n.Server)
		}
		if err != nil {
			return nil, fmt.Errorf("keyring: Config.Notaries: %w", named(n.Server, err))
		}
		checked.refused = c.Refused
		notaries = append(notaries, checked)
	}
	return notaries, nil
}

// checkForeign makes sure that server is not ours.
func (c Config) checkForeign(server fedinvite.ServerName) error {
	if c.Local == nil {
		return nil
	}
	switch _, err := c.Local(context.Background(), server); {
	case errors.Is(err, fedinvite.ErrNotLocal):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%q is ours", server)
}

func newNotary(n Notary) (*notary, error) {
	if _, err := fedinvite.ParseServerName(string(n.Server)); err != nil {
		return nil, err
	}
	if len(n.Keys) == 0 {
		return nil, errors.New("no pinned key")
	}
	keys := make(map[fedinvite.KeyID]fedinvite.VerifyKey, len(n.Keys))
	for id, key := range n.Keys {
		if !usableID(id) {
			return nil, fmt.Errorf("%w: key ID %q", fedinvite.ErrIdentifier, id)
		}
		public, err := fedinvite.ParsePublicKey(base64.RawStdEncoding.EncodeToString(key))
		if err != nil {
			return nil, fmt.Errorf("key %q: %w", id, err)
		}
		keys[id] = fedinvite.VerifyKey{Public: public}
	}
	return &notary{server: n.Server, keys: keys}, nil
}

// notaryFetcher returns the one to use.
func (c Config) notaryFetcher() (NotaryFetcher, bool) {
	if c.NotaryFetcher != nil {
		return c.NotaryFetcher, true
	}
	f, ok := c.Fetcher.(NotaryFetcher)
	return f, ok
}

// query asks n and returns what it tells of those that are in question. What is too much
// for one answer is asked for in halves, until there were maxParts requests: one server
// with a large document should not spoil the answer for others.
func (r *Ring) query(ctx context.Context, n *notary, batch []question) (good []telling) {
	parts := [][]question{batch}
	for i := 0; i < min(len(parts), maxParts); i++ {
		part := parts[i]
		told, err := r.queryOnce(ctx, n, part)
		good = append(good, told...)
		if errors.Is(err, fedinvite.ErrTooLarge) && len(part) > 1 {
			half := len(part) / 2
			parts = append(parts, part[:half], part[half:])
		}
	}
	return good
}

// queryOnce asks n, unless it failed just now. Its faults are reported. The error is about
// the answer as a whole.
func (r *Ring) queryOnce(ctx context.Context, n *notary, batch []question) ([]telling, error) {
	about := fedinvite.ServerName("")
	if len(batch) == 1 {
		about = batch[0].server
	}
	begun := r.config.Now()
	if about == n.server || !n.due(begun) {
		return nil, nil
	}
	raw, err := r.exchange(ctx, n, batch)
	if err != nil && ctx.Err() != nil {
		return nil, nil // nobody's fault
	}
	n.note(err, parent(batch[0].server), r.config.Now())
	var answer notaryAnswer
	if err == nil {
		answer, err = n.read(raw, batch, begun)
	}
	if err != nil {
		r.config.Report(about, fmt.Errorf("keyring: notary %q: %w", n.server, err))
		return nil, err
	}
	for _, fault := range answer.faults {
		r.config.Report(about, fmt.Errorf("keyring: notary %q: %w", n.server, fault))
	}
	return answer.good, nil
}

// due reports whether n may be asked. After a pause one question tries it.
func (n *notary) due(now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.rest == 0:
		return true
	case !due(n.tried, n.rest, now):
		return false
	}
	n.tried = now.UnixMilli()
	return true
}

// note remembers whether n answered a question about a server of domain. An answer that
// is too large, or that cannot be read, is one: strangers may have caused that.
func (n *notary) note(err error, domain string, now time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err == nil || errors.Is(err, fedinvite.ErrTooLarge) {
		n.strikes, n.rest = nil, 0
		return
	}
	if len(n.strikes) < maxStrikes && !slices.Contains(n.strikes, domain) {
		n.strikes = append(n.strikes, domain)
	}
	if len(n.strikes) == maxStrikes {
		n.tried, n.rest = now.UnixMilli(), min(max(2*n.rest, minBackoff), maxRest)
	}
}

// exchange sends the question and returns the answer.
func (r *Ring) exchange(ctx context.Context, n *notary, batch []question) ([]byte, error) {
	body, err := notaryQuestion(batch)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, notaryFactor*r.config.Timeout)
	defer cancel()
	fetcher, _ := r.config.notaryFetcher()
	return fetcher.QueryServerKeys(ctx, n.server, body)
}

// notaryQuestion returns the body of POST /_matrix/key/v2/query.
func notaryQuestion(batch []question) ([]byte, error) {
	type criteria struct {
		Least int64 `json:"minimum_valid_until_ts"`
	}
	servers := make(map[fedinvite.ServerName]map[fedinvite.KeyID]criteria, len(batch))
	for _, q := range batch {
		keys := make(map[fedinvite.KeyID]criteria)
		if q.id != "" { // else all keys
			keys[q.id] = criteria{q.least()}
		}
		servers[q.server] = keys
	}
	return fedinvite.MarshalCanonical(map[string]any{"server_keys": servers})
}

// least returns the validity to ask a notary for, minimum_valid_until_ts: 0 if any copy
// will do, and for a renewal more than there is.
func (q question) least() int64 {
	var least int64
	if !q.at.IsZero() {
		least = max(least, q.at.UnixMilli())
	}
	if !q.beyond.IsZero() {
		least = max(least, q.beyond.UnixMilli()+1)
	}
	return least
}
