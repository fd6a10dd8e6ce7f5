package discovery

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// How long failures of .well-known are remembered.
const (
	minFailure  = 5 * time.Minute
	softFailure = 30 * time.Second // while an older delegation counts
	maxFailure  = time.Hour
	// lateFailure is how long they count after that while they are asked for again.
	lateFailure = time.Hour
)

// maxKeptError is what is kept of an error, in bytes. The error itself may hold
// certificates of the peer's.
const maxKeptError = 256

// A delegation is what .well-known says.
type delegation struct {
	to    fedinvite.ServerName // "": there is none
	place place                // of to
	err   error                // why to has no place
}

// delegationOf returns the delegation of a host name, none if asking for it failed. The
// error is about us or ctx.
func (r *Resolver) delegationOf(ctx context.Context, server fedinvite.ServerName, name string) (delegation, error) {
	n := r.delegation.recall(name)
	v := n.judge(r.config.Now())
	counts, told := v.counts, false
	if v.ask {
		if err := lookUpName(name); err != nil {
			return delegation{}, err
		}
		flight := r.delegation.join(name, r.askWellKnown(ctx, server, name))
		if v.wait {
			if err := flight.wait(ctx); err != nil {
				return delegation{}, err
			}
			n, counts = flight.note, flight.counts
			told = flight.fresh && counts == (n.failure == nil)
		}
	}
	if r.config.Trace != nil && !told {
		r.recallWellKnown(ctx, server, name, n, counts)
	}
	if !counts {
		return delegation{}, nil
	}
	return n.value, nil
}

func (r *Resolver) askWellKnown(ctx context.Context, server fedinvite.ServerName, name string) question[delegation] {
	ask := func(ctx context.Context) finding[delegation] {
		return r.wellKnown.look(ctx, name, r.config.Now())
	}
	tell := func(f finding[delegation], n *note[delegation]) {
		if r.config.Trace == nil {
			return
		}
		a := Answer{Server: server, Step: "3", Question: wellKnownURL(name), Expires: n.expires(), Err: f.failure}
		if f.failure == nil {
			a.Answer = f.value.text()
		}
		r.config.Trace(context.WithoutCancel(ctx), a)
	}
	return question[delegation]{ask, tell}
}

// recallWellKnown tells of a remembered answer.
func (r *Resolver) recallWellKnown(ctx context.Context, server fedinvite.ServerName, name string, n *note[delegation], counts bool) {
	a := Answer{Server: server, Step: "3", Question: wellKnownURL(name), Cached: true}
	if counts {
		a.Answer, a.Expires = n.value.text(), n.until
	} else {
		a.Err, a.Expires = n.failure, n.expires()
	}
	r.config.Trace(ctx, a)
}

func (d delegation) text() string { return fmt.Sprintf("m.server is %q", d.to) }

// found is the finding of a good answer.
func (d delegation) found(lifetime time.Duration) finding[delegation] {
	return finding[delegation]{value: d, real: true, lifetime: lifetime, early: lifetime / 5, late: lifetime / 5}
}

// notFound is the finding of an answer that is no good, or of none at all.
func notFound(err error, definite bool) finding[delegation] {
	return finding[delegation]{
		failure: err, kept: textOnly(err), definite: definite,
		pause: minFailure, softPause: softFailure, maxPause: maxFailure, grace: lateFailure,
	}
}

// textOnly returns an error of the same text as err, cut to a length, and nothing else.
func textOnly(err error) error {
	text := err.Error()
	return errors.New(strings.ToValidUTF8(text[:min(len(text), maxKeptError)], ""))
}
