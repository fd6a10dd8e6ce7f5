package fedclient

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// A Backoff remembers which servers do not answer or do not want to be asked, so that they
// are left alone. It is called for each request, concurrently, and must be quick: one that
// is shared by several processes should keep what it knows in memory too. If it does not
// know, the server is not paused.
//
// A [MemoryBackoff] is one, [NoBackoff] is none.
type Backoff interface {
	// Paused reports whether server is to be left alone now, and until when.
	Paused(ctx context.Context, server fedinvite.ServerName) (until time.Time, paused bool)
	// Report says what is newly known of server: once for a request, after all its
	// attempts, and once for a call of Heard. Requests that ignore the pause, such as
	// invites and those for keys, are reported too; those to notaries only if they
	// are answered, because it may be another server that a notary waits for. ctx may have
	// no end.
	Report(ctx context.Context, server fedinvite.ServerName, o Outcome)
}

// An Outcome is what a request said of a server.
type Outcome struct {
	Kind OutcomeKind
	// RetryAfter is how long the server asked to be left alone, an hour at most; 0: it did
	// not. Only with OutcomeLimited and OutcomeFailed.
	RetryAfter time.Duration
}

// An OutcomeKind is one of the constants below.
type OutcomeKind uint8

const (
	// OutcomeAnswered: it answered, though perhaps with a refusal or with nonsense.
	OutcomeAnswered OutcomeKind = iota
	// OutcomeLimited: it answered 429.
	OutcomeLimited
	// OutcomeFailed: there was no answer, it broke off, or its status was 5xx. That we are
	// busy with finding other servers, [discovery.ErrBusy], is no outcome.
	OutcomeFailed
	// OutcomeHeard: a request came from the server; see [Client.Heard].
	OutcomeHeard
)

// String returns "answered", "limited", "failed" or "heard".
func (k OutcomeKind) String() string {
	switch k {
	case OutcomeAnswered:
		return "answered"
	case OutcomeLimited:
		return "limited"
	case OutcomeFailed:
		return "failed"
	case OutcomeHeard:
		return "heard"
	}
	return fmt.Sprintf("OutcomeKind(%d)", uint8(k))
}

// NoBackoff is a [Backoff] that leaves no server alone.
type NoBackoff struct{}

// Paused implements [Backoff].
func (NoBackoff) Paused(context.Context, fedinvite.ServerName) (time.Time, bool) {
	return time.Time{}, false
}

// Report implements [Backoff].
func (NoBackoff) Report(context.Context, fedinvite.ServerName, Outcome) {}

// A BackoffError is a request that was not made, because its server did not answer, could
// not be connected to, or asked to be left alone before; the error then said which. It
// wraps [ErrUnreachable], and may be made later: see [Retryable].
type BackoffError struct {
	Server fedinvite.ServerName
	Until  time.Time // not before
}

// Error returns a text with the server and the time.
func (e *BackoffError) Error() string {
	return fmt.Sprintf("%v: %s is left alone until %s", ErrUnreachable, e.Server, e.Until.UTC().Format(time.RFC3339))
}

// Unwrap returns [ErrUnreachable].
func (e *BackoffError) Unwrap() error { return ErrUnreachable }

// Heard says that a request has come from server, which is therefore up: if it is left
// alone because it did not answer, it is no longer. If it is because it asked for that, it
// still is. Call it only if the request was authenticated, as in Done of
// [fedinvite.Config]:
//
//	Done: func(ctx context.Context, _ *fedinvite.Delivery, inv *fedinvite.Invite, err error) {
//		if inv != nil {
//			client.Heard(ctx, inv.Origin)
//		}
//	},
func (c *Client) Heard(ctx context.Context, server fedinvite.ServerName) {
	c.config.Backoff.Report(ctx, server, Outcome{Kind: OutcomeHeard})
}

// patience is how long a server is waited for before it is held against it that the
// context has ended.
const patience = 5 * time.Second

// gaveTime reports whether a server that was asked at the time began and did not answer
// could have. If the caller went away, nothing is known of the server.
func (c *Client) gaveTime(ctx context.Context, began time.Time) bool {
	switch err := ctx.Err(); {
	case err == nil:
		return true
	case errors.Is(err, context.Canceled):
		return false
	}
	return c.config.Now().Sub(began) >= patience
}

// A sighting is what the attempts of a request say of its server: the last word counts.
type sighting struct {
	outcome Outcome
	known   bool
}

// note takes in how an attempt ended: with an answer that refused it, another error, or
// none. blamed says whether it is the server's doing that there was no answer.
func (s *sighting) note(refused *RemoteError, err error, blamed func() bool) {
	o := Outcome{Kind: OutcomeAnswered}
	switch {
	case refused != nil && refused.Status == http.StatusTooManyRequests:
		o = Outcome{OutcomeLimited, refused.RetryAfter}
	case refused != nil && refused.Status >= http.StatusInternalServerError:
		o = Outcome{OutcomeFailed, refused.RetryAfter}
	case refused == nil && errors.Is(err, ErrUnreachable):
		if errors.Is(err, discovery.ErrBusy) || !blamed() { // it was our own doing
			return
		}
		o.Kind = OutcomeFailed
	}
	s.outcome, s.known = o, true
}

// report tells the Backoff.
func (c *Client) report(ctx context.Context, r *Request, s *sighting) {
	if !s.known || r.others && s.outcome.Kind != OutcomeAnswered {
		return
	}
	if ctx.Err() != nil {
		ctx = context.WithoutCancel(ctx)
	}
	c.config.Backoff.Report(ctx, r.Destination, s.outcome)
}
