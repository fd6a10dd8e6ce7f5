package keyring

import (
	"context"
	"fmt"
	"time"

	"golang.org/x/sync/singleflight"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A flight gets the keys of one server, for all who wait for them: from the Store, from
// the server itself, from notaries. There is one for a server at a time.
type flight struct {
	*Ring
	q    question
	keys []Record // all that are known
	news []Record // what the Store should have
}

// A landing is what came of a flight.
type landing struct {
	keys []Record
	// done: the server itself was asked, or may not be asked now. Else the flight ended
	// when it had what it was begun for.
	done bool
}

// maxFlights is how often one caller waits. Once is the rule, twice happens.
const maxFlights = 8

// start begins a flight, or joins the one that there is.
func (r *Ring) start(ctx context.Context, q question) <-chan singleflight.Result {
	return r.flights.DoChan(string(q.server), func() (any, error) {
		// The flight is for all who wait, so the first one's cancellation must not end it.
		f := &flight{Ring: r, q: q}
		done, err := f.fly(context.WithoutCancel(ctx))
		return landing{f.keys, done}, err
	})
}

// await has q answered as well as it can be now. The error says what went wrong if
// there is no answer in the landing.
func (r *Ring) await(ctx context.Context, q question) (landing, error) {
	for range maxFlights {
		if ctx.Err() != nil {
			break
		}
		select {
		case <-ctx.Done():
		case result := <-r.start(ctx, q):
			l, _ := result.Val.(landing)
			// The flight may have been for another key of the server.
			now := r.config.Now()
			switch {
			case q.settled(l.keys, now):
				return l, nil
			case result.Err != nil:
				return l, result.Err
			case l.done:
				return l, q.unknown()
			}
		}
	}
	if ctx.Err() != nil {
		return landing{}, fmt.Errorf("keyring: waiting for the keys of %q: %w", q.server, context.Cause(ctx))
	}
	return landing{}, errBusy
}

// fly gets the keys. It returns whether the server itself was asked, or may not be.
func (f *flight) fly(ctx context.Context) (done bool, err error) {
	// Another flight may have landed between the caller's look and the start of this one.
	s := f.stand()
	if s.settled {
		return false, nil
	}
	if f.config.Store != nil && !f.q.alone {
		had := find(f.keys, f.q.id)
		if err := f.load(ctx); err != nil {
			return true, err
		}
		if s = f.stand(); s.settled && f.newer(had) {
			return false, nil
		}
	}
	if !s.mayAsk {
		return true, s.err
	}
	leave, err := f.turns.enter(ctx, parent(f.q.server), anyValid(f.keys, f.config.Now()), f.config.Timeout)
	if err != nil {
		return true, err
	}
	done, err = f.ask(ctx)
	leave()
	f.save(ctx, f.q.server, f.news)
	return done, err
}

// stand looks at what is known now. What memory has forgotten again, for want of room,
// still counts.
func (f *flight) stand() standing {
	s := f.memory.standing(f.q, f.config.Now())
	if s.keys != nil {
		f.keys = s.keys
	}
	s.settled = f.settled()
	return s
}

// newer reports whether the Store may end a renewal of the key had: another process must
// have renewed it. That a longer validity is stored does not say so, a notary may have told
// that.
func (f *flight) newer(had *Record) bool {
	if f.q.beyond.IsZero() || f.config.NotariesFirst || had == nil {
		return true
	}
	return find(f.keys, f.q.id).Fetched.After(had.Fetched)
}

func (f *flight) settled() bool { return f.q.settled(f.keys, f.config.Now()) }

// load learns what the Store knows. Only that too many are at it is an error.
func (f *flight) load(ctx context.Context) error {
	leave, ok := enterNow(f.turns.loads)
	if !ok {
		return errBusy
	}
	defer leave()
	for _, t := range f.Ring.load(ctx, f.q.server, []question{f.q}, f.config.Timeout/storeShare) {
		f.keys = f.memory.learn(t, f.config.Now()).keys
	}
	return nil
}

// ask asks the server and the notaries, in the order that the Config says. It returns
// whether the server was asked.
func (f *flight) ask(ctx context.Context) (server bool, err error) {
	if f.config.NotariesFirst && !f.q.alone {
		if f.askNotaries(ctx); f.settled() {
			return false, nil
		}
	}
	err = f.askServer(ctx)
	if f.config.NotariesFirst || f.q.alone || !f.needsNotaries(err) {
		return true, err
	}
	if f.askNotaries(ctx); f.settled() {
		return true, nil
	}
	return true, err
}

// recentEvents is the age of events up to which a server's own document says enough.
const recentEvents = time.Hour

// needsNotaries reports whether notaries may have what the server has not: any key if
// it did not answer, and a key that it lists no longer, which can have signed older
// events only.
func (f *flight) needsNotaries(err error) bool {
	if err != nil {
		return true
	}
	recent := f.q.at.After(f.config.Now().Add(-recentEvents))
	return f.q.id != "" && !recent && find(f.keys, f.q.id) == nil
}

// askServer asks the server itself, and notes what comes of it.
func (f *flight) askServer(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, f.config.Timeout)
	defer cancel()
	begun := f.config.Now()
	raw, err := f.config.Fetcher.FetchServerKeys(ctx, f.q.server)
	var records []Record
	if err != nil {
		err = fmt.Errorf("keyring: fetching keys: %w", named(f.q.server, err))
	} else {
		records, err = readDocument(raw, f.q.server, begun)
	}
	if err != nil {
		f.memory.fail(f.q.server, err, f.config.Now())
		return err
	}
	f.memory.forgive(f.q.server)
	f.learn(telling{q: f.q, records: records, at: begun.UnixMilli()})
	return nil
}

// askNotaries asks one after another, until there is an answer to the question. That
// a notary has none, or only an old one, is nobody's fault.
func (f *flight) askNotaries(ctx context.Context) {
	for _, n := range f.notaries {
		for _, t := range f.query(ctx, n, []question{f.q}) {
			f.learn(t)
		}
		if f.settled() {
			return
		}
	}
}

func (f *flight) learn(t telling) {
	l := f.Ring.learn(t)
	f.keys, f.news = l.keys, append(f.news, l.news...)
}

// learn remembers what is told, and reports keys that have changed.
func (r *Ring) learn(t telling) lesson {
	l := r.memory.learn(t, r.config.Now())
	for _, id := range l.clashes {
		r.config.Report(t.q.server, fmt.Errorf("%w: the key %q of %q came with other bytes than before", fedinvite.ErrMismatch, id, t.q.server))
	}
	return l
}
