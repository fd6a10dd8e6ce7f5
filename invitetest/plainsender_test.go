package invitetest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

func withRing(ring *keyring.Ring, now func() time.Time) func(*fedinvite.Config) {
	return func(c *fedinvite.Config) {
		c.Keys, c.Credentials = ring, xmatrix.Verifier{Keys: ring, Now: now}.Credentials
	}
}

// A plainSender is a victim that is made of net/http, with the protections that a sender of
// invites needs, but one.
type plainSender struct {
	without   string
	timeout   time.Duration
	transport *discovery.Transport
	now       func() time.Time
	document  *keyring.Document
	fetched   time.Time
}

const maxReply = 1 << 20

func newPlainSender(c *courtCase, without string) victim {
	return &plainSender{without: without, timeout: ample, transport: c.peer.Transport(), now: c.clock}
}

// has reports whether the sender has a protection.
func (s *plainSender) has(protection string) bool { return s.without != protection }

func (s *plainSender) hurry() { s.timeout = soon }

func (s *plainSender) client() *http.Client {
	c := &http.Client{Transport: s.transport}
	if s.has("timeout") {
		c.Timeout = s.timeout
	}
	if s.has("stay") {
		c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return c
}

func (s *plainSender) invite(ctx context.Context, room *invitetest.Room) outcome {
	event := room.Invite("@bob:peer.example")
	o := outcome{event: event}
	q := room.Request(event.AppendJSON(nil), "peer.example")
	body, status, err := s.do(q.HTTP(ctx, "https://peer.example"))
	version := event.Rules().Version
	if status == http.StatusNotFound && s.has("fallback") && (version == "1" || version == "2" || !s.has("room version")) {
		q.V1, q.Body = true, event.AppendJSON(nil)
		body, status, err = s.do(q.HTTP(ctx, "https://peer.example"))
	}
	for range 3 {
		if status == http.StatusTooManyRequests && !s.has("pause") {
			body, status, err = s.do(q.HTTP(ctx, "https://peer.example"))
		}
	}
	switch {
	case err != nil:
		return outcome{maybeSeen: s.has("doubt"), err: err}
	case status != http.StatusOK && s.has("status"):
		return outcome{err: fmt.Errorf("status %d", status)}
	case status != http.StatusOK && status != http.StatusTooManyRequests && status != http.StatusNotFound:
		return o
	case status != http.StatusOK:
		return outcome{err: fmt.Errorf("status %d", status)}
	}
	if o.event, err = s.merge(ctx, event, body, q.V1); err != nil {
		return outcome{maybeSeen: s.has("doubt"), err: err}
	}
	return o
}

// do returns the body of an answer that is one.
func (s *plainSender) do(req *http.Request) (body []byte, status int, err error) {
	res, err := s.client().Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer res.Body.Close()
	var reader io.Reader = res.Body
	if s.has("limit") {
		reader = io.LimitReader(res.Body, maxReply+1)
	}
	body, err = io.ReadAll(reader)
	if !s.has("hang up") {
		_, _ = io.Copy(io.Discard, res.Body)
	}
	switch {
	case err != nil && s.has("end"):
		return nil, res.StatusCode, err
	case len(body) > maxReply && s.has("limit"):
		return nil, res.StatusCode, errors.New("too large")
	case res.StatusCode == http.StatusOK && s.has("type") && res.Header.Get("Content-Type") != "application/json":
		return nil, res.StatusCode, errors.New("no JSON")
	}
	return body, res.StatusCode, nil
}

func (s *plainSender) merge(ctx context.Context, event *fedinvite.Event, body []byte, v1 bool) (*fedinvite.Event, error) {
	parse := fedinvite.ParseResponseV2
	if v1 {
		parse = fedinvite.ParseResponseV1
	}
	reply, err := parse(body)
	if err != nil && !s.has("end") {
		return event, nil // the status was 200
	}
	if err != nil {
		return nil, err
	}
	return fedinvite.MergeReply(ctx, event, json.RawMessage(reply.Event), "peer.example", s)
}

// VerifyKey implements fedinvite.KeySource for the peer alone.
func (s *plainSender) VerifyKey(ctx context.Context, _ fedinvite.ServerName, id fedinvite.KeyID, _ time.Time) (fedinvite.VerifyKey, error) {
	if s.document == nil || s.has("ask again") && s.now().Sub(s.fetched) >= time.Minute {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://peer.example/_matrix/key/v2/server", nil)
		if err != nil {
			return fedinvite.VerifyKey{}, err
		}
		raw, _, err := s.do(req)
		if err != nil {
			return fedinvite.VerifyKey{}, err
		}
		if s.document, err = keyring.ReadDocument(raw, "peer.example", s.now()); err != nil {
			return fedinvite.VerifyKey{}, err
		}
		s.fetched = s.now()
	}
	for _, r := range s.document.Records {
		if r.KeyID != id {
			continue
		}
		key := fedinvite.VerifyKey{Public: r.Public, ValidUntil: r.ValidUntil, ExpiredAt: r.ExpiredAt}
		if !s.has("valid until") {
			key.ValidUntil = time.Time{}
		}
		return key, nil
	}
	return fedinvite.VerifyKey{}, fedinvite.ErrUnknownKey
}
