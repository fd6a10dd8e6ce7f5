package keyring

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/seed-0a46cb1a/fedinvite"
)

// maxBatches is the number of requests to notaries that Prefetch makes at a time.
const maxBatches = 4

// Prefetch gets the keys of many servers at once, those of which no valid key is
// known: from the Store in one look-up, then from the notaries, a hundred servers in a
// request and four requests at a time, then from the servers themselves, half as many
// at a time as there may be fetches. It returns when all that is done. If the keys of some
// servers could not be had, the error is a [PrefetchError], with an error for each of them.
//
// Servers that failed lately are not asked, only notaries for them. Our own need nothing.
// Many servers of one domain take longer, because of the limit that Config.MaxFetches has
// for it. No more servers stay in memory than Config.MaxServers; the others are in the
// Store, if there is one. The end of ctx ends the wait: servers that were not asked until
// then have its cause as their error.
func (r *Ring) Prefetch(ctx context.Context, servers []fedinvite.ServerName) error {
	p := &prefetch{Ring: r, results: make(map[fedinvite.ServerName]error, len(servers))}
	p.choose(ctx, servers)
	p.load(ctx)
	p.askNotaries(ctx)
	p.askServers(ctx)
	return p.result()
}

// A ServerError says what went wrong with one server.
type ServerError struct {
	Server fedinvite.ServerName
	Err    error
}

// Error returns the text of Err, with the server's name in it.
func (e *ServerError) Error() string { return named(e.Server, e.Err).Error() }

// Unwrap returns Err.
func (e *ServerError) Unwrap() error { return e.Err }

// named returns err with the name of the server that it is about. Most errors have it in
// their text, and one that is handed on from layer to layer should not have it from each.
func named(server fedinvite.ServerName, err error) error {
	if strings.Contains(err.Error(), string(server)) {
		return err
	}
	return fmt.Errorf("%q: %w", server, err)
}

// A PrefetchError has what went wrong in one [Ring.Prefetch], in the order in which the
// servers were given. There may be thousands, of which the text names the first;
// errors.Is and errors.As look at all.
type PrefetchError []*ServerError

// Error returns the text of the first error, and how many more there are.
func (e PrefetchError) Error() string {
	switch len(e) {
	case 0:
		return "no error"
	case 1:
		return e[0].Error()
	}
	return fmt.Sprintf("%v, and those of %d more servers", e[0], len(e)-1)
}

// Unwrap returns the errors of the servers.
func (e PrefetchError) Unwrap() []error {
	errs := make([]error, len(e))
	for i, of := range e {
		errs[i] = of
	}
	return errs
}

// A prefetch is one call of Prefetch.
type prefetch struct {
	*Ring
	order []fedinvite.ServerName // each once

	mu      sync.Mutex
	results map[fedinvite.ServerName]error // of those that need nothing more
}

// question asks for any key of server that is valid now.
func (p *prefetch) question(server fedinvite.ServerName) question {
	return question{server: server, at: p.config.Now(), alone: true}
}

// choose sorts out those of which nothing is wanted.
func (p *prefetch) choose(ctx context.Context, servers []fedinvite.ServerName) {
	seen := make(map[fedinvite.ServerName]bool, len(servers))
	for _, server := range servers {
		if seen[server] {
			continue
		}
		seen[server] = true
		server = question{server: server}.own().server
		p.order = append(p.order, server)
		if _, err := fedinvite.ParseServerName(string(server)); err != nil {
			p.settle(server, err)
			continue
		}
		if _, ours, err := p.config.local(ctx, server); err != nil || ours {
			p.settle(server, err)
			continue
		}
		if p.memory.standing(p.question(server), p.config.Now()).settled {
			p.settle(server, nil)
		}
	}
}

func (p *prefetch) settle(server fedinvite.ServerName, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.results[server] = err
}

// open returns the servers that need something more.
func (p *prefetch) open() []fedinvite.ServerName {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.order), func(s fedinvite.ServerName) bool {
		_, settled := p.results[s]
		return settled
	})
}

// learn remembers what is told, and returns what of it the Store should have.
func (p *prefetch) learn(tellings []telling) (news []Record) {
	for _, t := range tellings {
		l := p.Ring.learn(t)
		news = append(news, l.news...)
		if p.question(t.q.server).settled(l.keys, p.config.Now()) {
			p.settle(t.q.server, nil)
		}
	}
	return news
}

func (p *prefetch) load(ctx context.Context) {
	servers := p.open()
	if p.config.Store == nil || len(servers) == 0 || !wait(ctx, p.turns.loads) {
		return
	}
	defer func() { <-p.turns.loads }()
	questions := make([]question, len(servers))
	for i, server := range servers {
		questions[i] = p.question(server)
	}
	p.learn(p.Ring.load(ctx, "", questions, p.config.Timeout))
}

func (p *prefetch) askNotaries(ctx context.Context) {
	for _, n := range p.notaries {
		var batches sync.WaitGroup
		for servers := range slices.Chunk(p.open(), maxBatch) {
			if !wait(ctx, p.batches) {
				break
			}
			batches.Go(func() {
				defer func() { <-p.batches }()
				p.askNotary(ctx, n, servers)
			})
		}
		batches.Wait()
	}
}

func (p *prefetch) askNotary(ctx context.Context, n *notary, servers []fedinvite.ServerName) {
	leave, err := p.turns.enter(ctx, "", true, p.config.Timeout)
	if err != nil {
		return // the servers themselves are next
	}
	batch := make([]question, len(servers))
	for i, server := range servers {
		batch[i] = p.notaryQuestion(server)
	}
	tellings := p.query(ctx, n, batch)
	leave()
	p.save(context.WithoutCancel(ctx), "", p.learn(tellings))
}

// notaryQuestion asks for the key that was valid last, of which a notary is sure to get
// a newer document; else for all.
func (p *prefetch) notaryQuestion(server fedinvite.ServerName) question {
	q := p.question(server)
	for _, key := range p.memory.standing(q, q.at).keys {
		if key.ExpiredAt.IsZero() {
			q.id = key.KeyID
			break
		}
	}
	return q
}

func (p *prefetch) askServers(ctx context.Context) {
	servers := p.open()
	var next atomic.Int64
	var workers sync.WaitGroup
	for range min(len(servers), max(1, p.config.MaxFetches/2)) {
		workers.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(servers) {
					return
				}
				_, err := p.await(ctx, p.question(servers[i]))
				p.settle(servers[i], err)
			}
		})
	}
	workers.Wait()
}

// result joins the errors, in the order in which the servers were given.
func (p *prefetch) result() error {
	var errs PrefetchError
	for _, server := range p.order {
		if err := p.results[server]; err != nil {
			errs = append(errs, &ServerError{server, err})
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return errs
}
