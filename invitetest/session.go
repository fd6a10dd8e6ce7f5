package invitetest

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// A session is a run of checks on one target, and what they found out that others need too.
type session struct {
	target       Target
	roundTripper http.RoundTripper
	close        func()
	rooms        int // how many were made
	invited      int // how often somebody was
	known        fedinvite.KeySource
	sendings     map[fedinvite.RoomVersion]*sending
	ordinary     map[fedinvite.RoomVersion]answer
}

// newSession prepares a target. The error is that of [Target.Ready].
func newSession(ctx context.Context, t Target) (*session, error) {
	if err := t.Check(); err != nil {
		return nil, err
	}
	if t.Handler != nil {
		t.Peer.Introduce(t.Name, t.Handler)
	}
	s := &session{target: t, known: t.Keys, sendings: map[fedinvite.RoomVersion]*sending{}, ordinary: map[fedinvite.RoomVersion]answer{}}
	s.roundTripper, s.close = t.transport()
	if err := s.ready(ctx); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

// try runs a check.
func (s *session) try(ctx context.Context, c Check) Result {
	result := Result{Check: c}
	p := &probe{session: s, ctx: ctx, result: &result}
	if ctx.Err() == nil {
		p.run(c)
	}
	if err := context.Cause(ctx); err != nil && result.Outcome != Departed {
		result.Outcome, result.Detail = Unknown, err.Error()
	}
	if result.Outcome == 0 {
		result.Outcome = Passed
	}
	if p.departures > 1 && result.Outcome == Departed {
		result.Detail += fmt.Sprintf(" (first of %d)", p.departures)
	}
	return result
}

// run runs a check. What makes the suite panic is a fault of it, and says nothing of the
// target.
func (p *probe) run(c Check) {
	defer func() {
		if failure := recover(); failure != nil {
			p.unknown("the check failed: %v", failure)
		}
	}()
	c.run(p)
}

// keys returns the keys of the target. They are fetched once. An error wraps
// [fedinvite.ErrKeysUnavailable].
func (p *probe) keys() (fedinvite.KeySource, error) {
	if p.known != nil {
		return p.known, nil
	}
	a := p.get(keysPath)
	if a.err != nil || a.status != http.StatusOK {
		return nil, fmt.Errorf("%w: it %s", fedinvite.ErrKeysUnavailable, a)
	}
	d, err := keyring.ReadDocument(a.body, p.target.Name, time.Now())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", fedinvite.ErrKeysUnavailable, err)
	}
	keys := map[fedinvite.KeyID]fedinvite.VerifyKey{}
	for _, r := range d.Records {
		keys[r.KeyID] = fedinvite.VerifyKey{Public: r.Public, ValidUntil: r.ValidUntil, ExpiredAt: r.ExpiredAt}
	}
	p.known = fedinvite.KeyMap{p.target.Name: keys}
	return p.known, nil
}

// get makes a request without authentication.
func (p *probe) get(path string) answer {
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, p.target.base()+path, nil)
	if err != nil {
		return answer{err: err}
	}
	return p.do(req)
}
