package fedclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

var forbids = answersJSON(403, `{"errcode":"M_FORBIDDEN"}`)

// An attempt that may have been seen has been, whatever became of those after it.
func TestMaybeSeenOverSeveralAttempts(t *testing.T) {
	steps := map[string]struct {
		step      tripper
		maybeSeen bool
		last      bool // nothing is repeated after it
	}{
		"lost":     {loses, true, false},
		"broken":   {breaks, true, false},
		"mute":     {mute, true, false},
		"500":      {answersJSON(500, `{}`), true, false},
		"refused":  {refuses, false, false},
		"unread":   {stutters, false, false},
		"429":      {answersJSON(429, `{}`), false, false},
		"403":      {forbids, false, true},
		"404":      {answersJSON(404, `{"errcode":"M_NOT_FOUND"}`), false, true},
		"nonsense": {answersJSON(200, `{}`), true, true},
		"nowhere":  {fails(fmt.Errorf("x: %w", discovery.ErrNoServer)), false, true},
		"no time":  {fails(fmt.Errorf("x: %w", discovery.ErrBusy)), false, false},
		"private":  {fails(fmt.Errorf("x: %w", discovery.ErrAddress)), false, true},
	}
	for first, a := range steps {
		for second, b := range steps {
			t.Run(first+", "+second, func(t *testing.T) {
				s := newStage(t, fedinvite.RoomV11)
				synctest.Test(t, func(t *testing.T) {
					sequence := newScript(t, a.step, b.step)
					s.config.Client = sequence.client(func(c *fedclient.Config) { c.Retries = 1 })
					v, err := fedclient.NewInviter(s.config)
					if err != nil {
						t.Fatal(err)
					}
					_, err = v.Invite(t.Context(), s.invitation(bob))
					attempts, want := 2, a.maybeSeen || b.maybeSeen
					if a.last {
						attempts, want = 1, a.maybeSeen
					}
					var failed *fedclient.InviteError
					if !errors.As(err, &failed) || failed.Event == nil || failed.MaybeSeen != want || len(sequence.asked) != attempts {
						t.Errorf("%d attempts, MaybeSeen is not %v: %v", len(sequence.asked), want, err)
					}
				})
			})
		}
	}
}

// What is not sent because ctx ends in the pause has not been seen.
func TestMaybeSeenWhenAPauseIsEnded(t *testing.T) {
	for name, c := range map[string]struct {
		step tripper
		want bool
	}{"lost": {loses, true}, "refused": {refuses, false}, "429": {answersJSON(429, `{}`), false}} {
		s := newStage(t, fedinvite.RoomV11)
		synctest.Test(t, func(t *testing.T) {
			s.config.Client = newScript(t, c.step).client()
			v, err := fedclient.NewInviter(s.config)
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel)
			_, err = v.Invite(ctx, s.invitation(bob))
			var failed *fedclient.InviteError
			if !errors.As(err, &failed) || failed.MaybeSeen != c.want || !errors.Is(err, context.Canceled) || !fedclient.Retryable(err) {
				t.Errorf("%s: %v", name, err)
			}
			told(t, err, 502, "M_UNKNOWN")
		})
	}
}

// Which endpoint is asked is decided by the last answer of v2; who has seen the invite, by
// all attempts at both.
func TestTheFallbackAfterRetries(t *testing.T) {
	unknown := answersJSON(404, unrecognized)
	for name, c := range map[string]struct {
		steps     []tripper
		asked     string
		maybeSeen bool
	}{
		"known in the end":              {[]tripper{unknown, forbids}, "v2 v1", false},
		"refused, unknown, refused":     {[]tripper{refuses, unknown, forbids}, "v2 v2 v1", false},
		"lost, unknown, refused":        {[]tripper{loses, unknown, forbids}, "v2 v2 v1", true},
		"500, unknown, no connection":   {[]tripper{answers(500, nil, ""), unknown, refuses}, "v2 v2 v1 v1 v1 v1", true},
		"429, unknown, 429, refused":    {[]tripper{answers(429, nil, ""), unknown, answers(429, nil, ""), forbids}, "v2 v2 v1 v1", false},
		"unknown, lost, refused":        {[]tripper{unknown, loses, forbids}, "v2 v1 v1", true},
		"no fallback after what may be": {[]tripper{loses, forbids}, "v2 v2", true},
		"none after 5xx":                {[]tripper{answersJSON(500, unrecognized)}, "v2 v2 v2 v2", true},
	} {
		s := newStage(t, fedinvite.RoomV2)
		synctest.Test(t, func(t *testing.T) {
			sequence := newScript(t, c.steps...)
			s.config.Client = sequence.client()
			v, err := fedclient.NewInviter(s.config)
			if err != nil {
				t.Fatal(err)
			}
			_, err = v.Invite(t.Context(), s.invitation(bob))
			var asked []string
			for _, r := range sequence.asked {
				asked = append(asked, strings.Split(r.URL.Path, "/")[3])
			}
			var failed *fedclient.InviteError
			if !errors.As(err, &failed) || failed.MaybeSeen != c.maybeSeen || strings.Join(asked, " ") != c.asked {
				t.Errorf("%s: asked %v, %v", name, asked, err)
			}
		})
	}
}

// A server that is too old for the room may have been asked by way of one that is not.
func TestMaybeSeenByAnOldServer(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	synctest.Test(t, func(t *testing.T) {
		s.config.Client = newScript(t, loses, answersJSON(404, unrecognized)).client()
		v, err := fedclient.NewInviter(s.config)
		if err != nil {
			t.Fatal(err)
		}
		_, err = v.Invite(t.Context(), s.invitation(bob))
		var failed *fedclient.InviteError
		if !errors.As(err, &failed) || !failed.MaybeSeen || !errors.Is(err, fedclient.ErrOldServer) {
			t.Errorf("got %v", err)
		}
	})
}

// An invite that was agreed to, whose answer was lost, is agreed to again.
func TestAnInviteWhoseAnswerWasLost(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	lost := 0
	s.config.Client = newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
		res, err := s.roundTrip(r)
		if lost++; lost == 1 {
			return nil, errBroken
		}
		return res, err
	}), retrying)
	synctest.Test(t, func(t *testing.T) {
		v, err := fedclient.NewInviter(s.config)
		if err != nil {
			t.Fatal(err)
		}
		invited, err := v.Invite(t.Context(), s.invitation(bob))
		if err != nil {
			t.Fatal(err)
		}
		if len(s.received) != 2 || s.received[0].Event.ID() != invited.Event.ID() || s.received[1].Event.ID() != invited.Event.ID() {
			t.Errorf("received %v", s.received)
		}
	})
	if n := s.did("a.ex signs a request"); n != 1 {
		t.Errorf("%d signatures of the request", n)
	}
}

// leaveTemplate answers a make_leave of the decliner, of version 11.
var leaveTemplate = answersJSON(200, `{"event":{"auth_events":[],"content":{"membership":"leave"},"depth":8,"origin_server_ts":1,"prev_events":[],`+
	`"room_id":"!r/+%:a.ex","sender":"@b:b.ex","state_key":"@b:b.ex","type":"m.room.member"},"room_version":"11"}`)

// A leave that one attempt may have brought there is kept, though another was refused.
func TestDeclineOverSeveralAttempts(t *testing.T) {
	for name, c := range map[string]struct {
		steps     []tripper
		maybeSeen bool
		asked     string
	}{
		"lost, refused":          {[]tripper{loses, forbids}, true, "make_leave send_leave send_leave"},
		"no connection, refused": {[]tripper{refuses, forbids}, false, "make_leave send_leave send_leave"},
		"lost, unknown, refused": {[]tripper{loses, answersJSON(404, unrecognized), forbids}, true, "make_leave send_leave send_leave send_leave"},
	} {
		rules := rulesOf(t, fedinvite.RoomV11)
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t, append([]tripper{leaveTemplate}, c.steps...)...)
			declined, err := s.client().Decline(t.Context(), fedclient.DeclineRequest{
				Invite: inviteFor(decliner, invitetest.Signer("a.ex"), rules),
				Signer: invitetest.Signer("b.ex"), Time: now,
			})
			var asked []string
			for _, r := range s.asked {
				asked = append(asked, strings.Split(r.URL.Path, "/")[4])
			}
			if err != nil || declined.Server != "" || declined.MaybeSeen != c.maybeSeen || strings.Join(asked, " ") != c.asked {
				t.Errorf("%s: asked %v, got %+v, %v", name, asked, declined, err)
			}
		})
	}
}

// While there is another to ask, a server that does not answer is asked once.
func TestDeclineAsksTheNextServerRatherThanOneAgain(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV11)
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t, refuses)
		declined, err := s.client().Decline(t.Context(), fedclient.DeclineRequest{
			Invite: inviteFor(decliner, invitetest.Signer("a.ex"), rules),
			Signer: invitetest.Signer("b.ex"), Time: now,
			Servers: []fedinvite.ServerName{"a.ex", "c.ex", "d.ex"},
		})
		var asked []string
		for _, r := range s.asked {
			asked = append(asked, r.URL.Host)
		}
		if diff := cmp.Diff([]string{"a.ex", "c.ex", "d.ex", "d.ex", "d.ex", "d.ex"}, asked); diff != "" || err != nil || declined.Event == nil || declined.MaybeSeen {
			t.Errorf("got %+v, %v: %s", declined, err, diff)
		}
	})
}
