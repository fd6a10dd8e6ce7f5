package keyring

import (
	"context"
	"fmt"

	"github.com/seed-0a46cb1a/fedinvite"
)

// load returns what the Store knows of the servers in question. A Store that fails is
// reported, as of the server about, and knows nothing.
func (r *Ring) load(ctx context.Context, about fedinvite.ServerName, questions []question) []telling {
	servers := make([]fedinvite.ServerName, len(questions))
	for i, q := range questions {
		servers[i] = q.server
	}
	bounded, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	records, err := r.config.Store.Load(bounded, servers)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil // nobody's fault
	case err != nil:
		r.config.Report(about, fmt.Errorf("keyring: loading from the Store: %w", err))
		return nil
	}
	now := r.config.Now()
	asked := make(map[fedinvite.ServerName]*telling, len(questions))
	tellings := make([]telling, len(questions))
	for i, q := range questions {
		tellings[i].q = q
		asked[q.server] = &tellings[i]
	}
	for _, record := range records {
		t := asked[record.Server]
		if t == nil || record.Check() != nil {
			continue
		}
		t.records = append(t.records, record)
		// A time to come is from a wrong clock, and says nothing.
		if !record.Fetched.IsZero() && !record.Fetched.After(now) {
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
	ctx, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	if err := r.config.Store.Save(ctx, records); err != nil {
		r.config.Report(about, fmt.Errorf("keyring: saving to the Store: %w", err))
	}
}
