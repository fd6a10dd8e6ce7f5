package fedclient

import (
	"context"
	"fmt"
	"net/http"
	"time"
)

// The pause before a request is repeated: it doubles, and differs from one request to the
// other, so that those that failed together are not repeated together.
const (
	firstPause   = 500 * time.Millisecond
	longestPause = 30 * time.Second
	leastFactor  = 0.8
	factorRange  = 0.6
)

// doTracked notes in t how far the request gets. ctx must have an end: it bounds all
// attempts together.
func (c *Client) doTracked(ctx context.Context, r Request, t *track) ([]byte, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if !r.IgnoreBackoff {
		if until, paused := c.config.Backoff.Paused(ctx, r.Destination); paused {
			return nil, &BackoffError{Server: r.Destination, Until: until}
		}
	}
	a := t.next()
	req, err := c.newRequest(a.watch(ctx), &r, a)
	if err != nil {
		return nil, err
	}
	var seen sighting
	answer, err := c.attempt(ctx, req, &r, a, &seen)
	for n := 0; err != nil && n < c.config.Retries && r.mayRepeat(ctx, a, err); n++ {
		pause := c.pause(n, a.refusal(err))
		// By the clock of the context, which no other can replace.
		if end, ok := ctx.Deadline(); ok && time.Until(end) <= pause {
			break
		}
		if wait(ctx, pause) != nil {
			err = fmt.Errorf("%w: %w before it was asked again, after: %v", ErrUnreachable, ctx.Err(), err)
			break
		}
		a = t.next()
		answer, err = c.attempt(ctx, r.repeated(ctx, req, a), &r, a, &seen)
	}
	c.report(ctx, &r, &seen)
	return answer, err
}

// attempt makes one attempt. Its error is a RemoteError of a's status, or wraps
// ErrUnreachable or ErrReply.
func (c *Client) attempt(ctx context.Context, req *http.Request, r *Request, a *attempt, seen *sighting) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("%w: %s %s: %w", ErrUnreachable, r.Method, r.Destination, err)
	}
	began := c.config.Now()
	answer, err := c.roundTrip(req, r, a)
	seen.note(a.refusal(err), err, func() bool { return c.gaveTime(ctx, began) })
	return answer, err
}

func (c *Client) roundTrip(req *http.Request, r *Request, a *attempt) ([]byte, error) {
	a.tried = true
	// Not an http.Client: that would follow redirects and keep cookies.
	res, err := c.config.Transport.RoundTrip(req)
	if err != nil {
		a.nowhere = isNowhere(err)
		return nil, fmt.Errorf("%w: %s %s: %w", ErrUnreachable, r.Method, r.Destination, err)
	}
	defer res.Body.Close()
	a.status = res.StatusCode
	if res.StatusCode != http.StatusOK {
		return nil, readError(r.Destination, res)
	}
	answer, err := readReply(res, r.limit())
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.Destination, err)
	}
	return answer, nil
}

// mayRepeat reports whether another attempt is right after a has failed with err.
func (r *Request) mayRepeat(ctx context.Context, a *attempt, err error) bool {
	switch refused := a.refusal(err); {
	case r.once || ctx.Err() != nil:
		return false
	case refused != nil:
		if !refused.retryable() {
			return false
		}
	case a.status != 0 || permanent(err): // a 200 that broke off was acted on
		return false
	}
	return r.repeatable() || !a.maybeSeen()
}

// pause returns how long to wait before the n-th repetition, from 0. refused is what there
// was for an answer; nil: there was none.
func (c *Client) pause(n int, refused *RemoteError) time.Duration {
	pause := longestPause
	if n < 16 { // no overflow
		pause = min(firstPause<<n, longestPause)
	}
	pause = time.Duration(float64(pause) * (leastFactor + factorRange*c.config.Random()))
	if refused != nil {
		pause = max(pause, refused.RetryAfter)
	}
	return pause
}

// wait waits for d, unless ctx ends before.
func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
