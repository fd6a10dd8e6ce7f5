package invitetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
	"time"
)

// How long a target that is not up yet is waited for, and how often it is tried.
const (
	startTimeout = 5 * time.Second
	startPause   = 100 * time.Millisecond
)

// Ready returns an error, in one line, that says what keeps all checks from telling anything
// of the target: what [Target.Check] has, that there is no connection to it, or that it
// cannot fetch the keys of Peer. It sends an ordinary invite. A target in another process
// that is not up yet is waited for, five seconds at most. [Conformance], [Results] and
// [Run] begin with it.
func (t Target) Ready(ctx context.Context) error {
	s, err := newSession(ctx, t)
	if err == nil {
		s.close()
	}
	return err
}

// ready returns why nothing can be told of the target. If ctx has ended, or there is a
// connection but no answer, the checks say so.
func (s *session) ready(ctx context.Context) error {
	var result Result
	p := &probe{session: s, ctx: ctx, result: &result}
	_, _, q := p.invite(p.version())
	a, connected := p.sendWhenUp(q)
	if (&probe{session: s, result: &Result{}}).answered(a) {
		s.ordinary[p.version()] = a
	}
	if p.answered(a) {
		s.ordinary[p.version()] = a
	}
	switch {
	case connected && a.err != nil, ctx.Err() != nil && !notUp(a.err):
		return nil
	case a.err != nil:
		return fmt.Errorf("invitetest: there is no connection to %s: %w", p.target.base(), a.err)
	case p.wantsKeys(a):
		return s.noKeys(a)
	}
	return nil
}

// sendWhenUp sends a request, and again while nobody listens. A handler is always up.
func (p *probe) sendWhenUp(q Request) (a answer, connected bool) {
	traced := *p
	var got atomic.Bool
	traced.ctx = httptrace.WithClientTrace(p.ctx, &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { got.Store(true) },
	})
	for enough := time.Now().Add(startTimeout); ; {
		a = traced.send(q)
		again := notUp(a.err) || timedOut(a.err) && !got.Load()
		if !again || p.target.Handler != nil || time.Now().After(enough) {
			return a, got.Load()
		}
		select {
		case <-time.After(startPause):
		case <-p.ctx.Done():
			return a, got.Load()
		}
	}
}

// notUp reports whether nobody listens where a request was to go.
func notUp(err error) bool {
	var dial *net.OpError
	return errors.As(err, &dial) && dial.Op == "dial"
}

// timedOut reports whether there was no answer in time.
func timedOut(err error) bool {
	var late net.Error
	return errors.As(err, &late) && late.Timeout()
}

// wantsKeys reports whether an ordinary invite was refused, and not for a reason that is
// looked at before keys are, and the keys were not to be had until now.
func (p *probe) wantsKeys(a answer) bool {
	switch a.status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusTooManyRequests:
		return false
	}
	return a.status/100 != 2 && !p.target.Peer.gaveKeys() && !p.hasOtherName()
}

// hasOtherName reports whether the target publishes keys of another server, for which our
// requests are not. There is a check of that.
func (p *probe) hasOtherName() bool {
	document, err := members(p.get(keysPath).body)
	if err != nil {
		return false
	}
	name, ok := stringOf(document["server_name"])
	return ok && name != string(p.target.Name)
}

// noKeys says that the target has not got the keys of the peer, and where to look for the
// cause.
func (s *session) noKeys(a answer) error {
	peer := s.target.Peer
	cause := "does it use Peer.Transport?"
	if s.target.Handler == nil {
		cause = "can it reach that server, does it trust the certificate, or does it remember other keys of that name?"
		if err := peer.host.tlsFailure(); err != "" {
			cause = fmt.Sprintf("can it reach that server, and does it trust the certificate (TLS: %s)?", printable(err, 200))
		}
	}
	return fmt.Errorf("invitetest: %s has not fetched the keys of %s: %s To an ordinary invite it %s%s",
		s.target.Name, peer.Name(), cause, a, saying(a.said()))
}
