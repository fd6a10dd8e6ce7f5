package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

const (
	// storeShare is the part of Config.Timeout that a call of the Store may take: it
	// should be much faster than what it saves.
	storeShare = 4
	// storeRest is how long a Store is left alone that did not answer in its time.
	storeRest = 10 * time.Second
	// maxAhead is how far the clocks of processes that share a Store may be apart.
	maxAhead = 2 * time.Minute
)

var errStoreRests = errors.New("keyring: the Store is left alone, because it did not answer in time")

// useStore calls the Store, unless that hung lately. Its limit is less than ctx has.
func (r *Ring) useStore(ctx context.Context, limit time.Duration, call func(ctx context.Context) error) error {
	if hung := r.hung.Load(); hung != 0 && !due(hung, storeRest, r.config.Now()) {
		return errStoreRests
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := call(bounded)
	if err != nil && bounded.Err() != nil && ctx.Err() == nil {
		r.hung.Store(r.config.Now().UnixMilli())
	}
	return err
}

// loadRecords returns what the Store has of servers and what can be right of that, and
// the names of servers of which something cannot.
func (r *Ring) loadRecords(ctx context.Context, servers []fedinvite.ServerName, limit time.Duration) (records []Record, doubtful map[fedinvite.ServerName]bool, err error) {
	err = r.useStore(ctx, limit, func(ctx context.Context) error {
		records, err = r.config.Store.Load(ctx, servers)
		return err
	})
	if err != nil {
		return nil, nil, fmt.Errorf("keyring: loading from the Store: %w", err)
	}
	now := r.config.Now()
	good := make([]Record, 0, len(records)) // the Store's slice may be its own
	doubtful = make(map[fedinvite.ServerName]bool)
	for _, record := range records {
		switch {
		case record.Check() != nil:
		case record.ahead(now):
			doubtful[record.Server] = true
		default:
			good = append(good, record)
		}
	}
	return good, doubtful, nil
}

// ahead reports whether r is from a clock that was ahead of now by more than can be
// helped. Its times say nothing then, and it is as good as unknown, so that its server is
// asked.
func (r Record) ahead(now time.Time) bool {
	latest := now.Add(maxAhead)
	limit := latest.Add(maxValidity)
	return r.Fetched.After(latest) || r.ValidUntil.After(limit) || r.ExpiredAt.After(limit)
}

// load returns what the Store knows of the servers in question. A Store that fails is
// reported, as of the server about, and knows nothing.
func (r *Ring) load(ctx context.Context, about fedinvite.ServerName, questions []question, limit time.Duration) []telling {
	servers := make([]fedinvite.ServerName, len(questions))
	for i, q := range questions {
		servers[i] = q.server
	}
	records, doubtful, err := r.loadRecords(ctx, servers, limit)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // nobody's fault
	case err != nil:
		r.config.Report(about, err)
		return nil
	}
	asked := make(map[fedinvite.ServerName]*telling, len(questions))
	tellings := make([]telling, len(questions))
	for i, q := range questions {
		tellings[i] = telling{q: q, stored: true}
		asked[q.server] = &tellings[i]
	}
	for _, record := range records {
		t := asked[record.Server]
		if t == nil {
			continue
		}
		t.records = append(t.records, record)
		// Where something was left out, the server may be asked at once.
		if !record.Fetched.IsZero() && !doubtful[record.Server] {
			t.at = max(t.at, record.Fetched.UnixMilli())
		}
	}
	return withRecords(tellings)
}

// withRecords leaves out those of whom there is nothing to tell.
func withRecords(tellings []telling) []telling {
	some := tellings[:0]
	for _, t := range tellings {
		if len(t.records) > 0 {
			some = append(some, t)
		}
	}
	return some
}

// save gives the Store what was told. That it cannot take it is reported; the keys are
// used all the same.
func (r *Ring) save(ctx context.Context, about fedinvite.ServerName, records []Record) {
	if r.config.Store == nil || len(records) == 0 {
		return
	}
	var err error
	if r.config.KeepFirst {
		records, err = r.withoutClashes(ctx, records)
	}
	if err == nil && len(records) > 0 {
		err = r.useStore(ctx, r.config.Timeout/storeShare, func(ctx context.Context) error { return r.config.Store.Save(ctx, records) })
	}
	if err != nil {
		r.config.Report(about, fmt.Errorf("keyring: saving to the Store: %w", err))
	}
}

// withoutClashes leaves out the keys that the Store has with other bytes, which it would
// replace by those that were fetched later.
func (r *Ring) withoutClashes(ctx context.Context, records []Record) ([]Record, error) {
	var servers []fedinvite.ServerName
	seen := make(map[fedinvite.ServerName]bool)
	for _, record := range records {
		if !seen[record.Server] {
			seen[record.Server] = true
			servers = append(servers, record.Server)
		}
	}
	stored, _, err := r.loadRecords(ctx, servers, r.config.Timeout/storeShare)
	if err != nil {
		return nil, err
	}
	type name struct {
		server fedinvite.ServerName
		id     fedinvite.KeyID
	}
	before := make(map[name]Record, len(stored))
	for _, s := range stored {
		before[name{s.Server, s.KeyID}] = s
	}
	var good []Record
	for _, record := range records {
		s, ok := before[name{record.Server, record.KeyID}]
		outweighs := s.Fetched.IsZero() && !record.Fetched.IsZero()
		if !ok || outweighs || bytes.Equal(s.Public, record.Public) {
			good = append(good, record)
		}
	}
	return good, nil
}
