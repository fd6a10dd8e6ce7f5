package ratelimit

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/time/rate"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A claim is one delivery at one bucket.
type claim struct {
	kind        *kind
	key         key
	bucket      *bucket          // nil: there is no limit
	reservation rate.Reservation // zero: none
}

// take takes one token for each claim and waits for its turn, or takes none at all. The
// first claim says who it is that waits.
func (l *Limiter) take(ctx context.Context, claims []claim) error {
	wait, err := l.reserve(claims)
	if err != nil || wait == 0 {
		return err
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		err = refuse(wait, fmt.Errorf("ratelimit: gave up waiting: %w", context.Cause(ctx)))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.places.leave(claims[0].key)
	if err != nil {
		cancel(claims, l.now())
	}
	return err
}

// reserve reserves the tokens and returns how long the delivery has to wait for them; the
// caller then counts among those that wait. On an error nothing has changed.
func (l *Limiter) reserve(claims []claim) (wait time.Duration, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now() // under the lock, so that no bucket sees time go back
	var retry time.Duration
	var refused error
	for i := range claims {
		c := &claims[i]
		if !c.open() {
			continue
		}
		c.reservation = *c.bucket.ReserveN(now, 1) // a copy stays off the heap
		delay := c.reservation.DelayFrom(now)
		wait = max(wait, delay)
		if delay > c.kind.limit.longest() && delay > retry {
			retry, refused = delay, c.kind.refused
		}
	}
	if refused == nil && wait > 0 && !l.places.free(claims[0].key) {
		retry, refused = wait, errTooManyWait
	}
	if refused != nil {
		cancel(claims, now)
		return 0, refuse(retry, refused)
	}
	for i := range claims {
		claims[i].remember(now)
	}
	if wait > 0 {
		l.places.take(claims[0].key)
	}
	return wait, nil
}

var errTooManyWait = errors.New("ratelimit: too many invites wait")

// open finds the bucket, or makes one that is full; it reports false if there is no limit.
func (c *claim) open() bool {
	if c.kind.limit.Burst < 0 {
		return false
	}
	if c.bucket = c.kind.buckets.byKey[c.key]; c.bucket == nil {
		limiter := rate.NewLimiter(rate.Every(c.kind.limit.Every), c.kind.limit.Burst)
		c.bucket = &bucket{Limiter: limiter, key: c.key}
	}
	return true
}

// remember keeps the bucket. Only deliveries that pass come here, so that those that are
// refused cannot push out what others have used.
func (c *claim) remember(now time.Time) {
	if c.bucket == nil {
		return
	}
	if c.bucket.used(now, c.kind.limit.Every); !c.bucket.known {
		c.kind.buckets.add(c.bucket)
	}
}

// cancel gives the tokens back, unless others have queued behind them since. The buckets
// may then be full sooner than their table knows, until they are used again.
func cancel(claims []claim, now time.Time) {
	for _, c := range slices.Backward(claims) {
		c.reservation.CancelAt(now) // nothing, if there is none
	}
}

// longest is the longest wait. It bounds the queue too, since every place in it takes
// Every, also one whose owner has given up.
func (l Limit) longest() time.Duration { return l.Every * time.Duration(l.Queue) }

// refuse makes a refusal. Its text does not say whose limit was reached, and its time is
// rounded up: an invitee's other invites are nobody's business.
func refuse(after time.Duration, reason error) error {
	e := fedinvite.Refuse(fedinvite.CodeLimitExceeded, "Too many invites. Try again later.")
	e.RetryAfter = (after + time.Second - 1).Truncate(time.Second)
	e.Err = reason
	return e
}
