package fedclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// The context ends while the n-th thing is being done, for every n: nothing more is done
// then, nothing comes of it, and the error says whether the invited server may know.
func TestCancellationAtEveryStep(t *testing.T) {
	for name, c := range map[string]struct {
		invitee string
		run     func(ctx context.Context, v *fedclient.Inviter, i fedclient.Invitation) error
	}{
		"a remote invitee":              {bob, invites},
		"a local invitee":               {"@b:a.ex", invites},
		"an invitee of another of ours": {"@b:aa.ex", invites},
		"taking back": {bob, func(ctx context.Context, v *fedclient.Inviter, i fedclient.Invitation) error {
			_, err := v.TakeBack(ctx, i)
			return err
		}},
	} {
		t.Run(name, func(t *testing.T) {
			for n := 1; ; n++ {
				if n > 20 {
					t.Fatal("no end")
				}
				s := newStage(t, fedinvite.RoomV11)
				s.usePolicyServer("ps.ex", s.signs("ps.ex"))
				s.set("m.room.member", c.invitee, `{"membership":"invite"}`)
				ctx, cancel := context.WithCancel(t.Context())
				s.stopAt, s.stop = n, cancel
				err := c.run(ctx, s.inviter(), s.invitation(c.invitee))
				cancel()
				if n > len(s.record) {
					if err != nil || n < 9 {
						t.Errorf("%d steps, %v", n, err)
					}
					return
				}
				last := s.record[len(s.record)-1]
				if err == nil {
					// The last thing that there is to do, done.
					if last == "policy" || last == "aa.ex signs an event" || last == "POST ps.ex/_matrix/policy/v1/sign" {
						continue
					}
					t.Errorf("%q: no error", s.record)
					continue
				}
				var failed *fedclient.InviteError
				if !errors.As(err, &failed) || !errors.Is(err, context.Canceled) {
					t.Fatalf("%q: got %v", last, err)
				}
				if len(s.record) != n {
					t.Errorf("after %q it did %q", s.record[n-1], s.record[n:])
				}
				if made := s.did("a.ex signs an event") > 0; made != (failed.Event != nil) {
					t.Errorf("%q: event %v", last, failed.Event)
				}
				if seen := s.did("PUT b.ex") > 0; failed.MaybeSeen != seen {
					t.Errorf("%q: MaybeSeen is %v", last, failed.MaybeSeen)
				}
			}
		})
	}
}

func invites(ctx context.Context, v *fedclient.Inviter, i fedclient.Invitation) error {
	_, err := v.Invite(ctx, i)
	return err
}

func TestNothingIsDoneOnceTheContextHasEnded(t *testing.T) {
	s := newStage(t, fedinvite.RoomV11)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.inviter().Invite(ctx, s.invitation(bob))
	s.refused(err, context.Canceled)
	if len(s.record) > 0 {
		t.Errorf("did %q", s.record)
	}
}

// Between two steps or in a hook, the end of the caller's context is what it is during a
// request: an outage, not a failure of ours.
func TestTheEndOfTheContextIsOneThing(t *testing.T) {
	for _, invitee := range []string{bob, "@b:a.ex"} {
		for n := 1; ; n++ {
			s := newStage(t, fedinvite.RoomV11)
			ctx, cancel := context.WithCancel(t.Context())
			s.stopAt, s.stop = n, cancel
			_, err := s.inviter().Invite(ctx, s.invitation(invitee))
			cancel()
			if n > len(s.record) || err == nil {
				break
			}
			if last := s.record[n-1]; last == "keys" {
				// The answer was there.
			} else if !errors.Is(err, fedclient.ErrUnreachable) || !errors.Is(err, context.Canceled) || !fedclient.Retryable(err) {
				t.Errorf("%q: got %v", last, err)
			}
			told(t, err, 502, "M_UNKNOWN")
		}
	}
	hooks := map[string]func(s *stage, end func() error){
		"Signer": func(s *stage, end func() error) {
			s.config.Signer = func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return nil, end() }
		},
		"Room": func(s *stage, end func() error) {
			s.config.Room = roomFunc(func(context.Context, string, []eventauth.StateKey) (*fedclient.Snapshot, error) { return nil, end() })
		},
		"Policy": func(s *stage, end func() error) {
			s.config.Policy = func(context.Context, *fedinvite.Invite) error { return end() }
		},
		"Made": func(s *stage, end func() error) {
			s.config.Made = func(context.Context, *fedinvite.Event) error { return end() }
		},
	}
	for name, set := range hooks {
		invitee := bob
		if name == "Policy" {
			invitee = "@b:a.ex"
		}
		s := newStage(t, fedinvite.RoomV11)
		ctx, cancel := context.WithCancel(t.Context())
		set(s, func() error { cancel(); return fmt.Errorf("reading: %w", ctx.Err()) })
		_, err := s.inviter().Invite(ctx, s.invitation(invitee))
		if !errors.Is(err, fedclient.ErrUnreachable) || !fedclient.Retryable(err) {
			t.Errorf("%s: got %v", name, err)
		}
		told(t, err, 502, "M_UNKNOWN")

		// A time-out of the hook's own is its own.
		s = newStage(t, fedinvite.RoomV11)
		set(s, func() error { return context.DeadlineExceeded })
		_, err = s.invite(invitee)
		if errors.Is(err, fedclient.ErrUnreachable) || fedclient.Retryable(err) {
			t.Errorf("%s: got %v", name, err)
		}
		told(t, err, 500, "M_UNKNOWN")
	}
}

// By the connections of discovery.Transport, MaybeSeen is exact.
func TestMaybeSeenOverTheNetwork(t *testing.T) {
	read := func(w http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }
	nowhere := unconnected(t, io.EOF)
	for name, c := range map[string]struct {
		handler   http.HandlerFunc
		transport http.RoundTripper // nil: one that trusts the server
		maybeSeen bool
	}{
		"no connection":        {nil, unconnected(t, &net.OpError{Op: "dial", Err: errors.New("refused")}), false},
		"no valid certificate": {nil, newTransport(t), false},
		"no public address":    {nil, newTransport(t, func(c *discovery.Config) { c.Allow = nil }), false},
		"refused":              {answerJSON(403, `{"errcode":"M_FORBIDDEN"}`), nil, false},
		"hung up":              {hangsUp, nil, true},
		"read and hung up":     {func(w http.ResponseWriter, r *http.Request) { read(w, r); hangsUp(w, r) }, nil, true},
		"broken":               {answerJSON(500, `{}`), nil, true},
		"an unusable answer":   {answerJSON(200, `{}`), nil, true},
		"an answer cut short": {func(w http.ResponseWriter, r *http.Request) {
			read(w, r)
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "9")
			_, _ = io.WriteString(w, "{")
		}, nil, true},
		"a RoundTripper that says nothing of connections": {nil, tripper(func(*http.Request) (*http.Response, error) {
			return nil, io.ErrUnexpectedEOF
		}), true},
		// The look-up's connections are none to the invited server.
		"a RoundTripper that looks the server up and then sends": {nil, tripper(func(r *http.Request) (*http.Response, error) {
			lookUp, err := http.NewRequestWithContext(r.Context(), "GET", "https://127.0.0.1/.well-known/matrix/server", nil)
			if err != nil {
				t.Error(err)
			}
			_, _ = nowhere.RoundTrip(lookUp)
			_, _ = io.Copy(io.Discard, r.Body)
			return nil, io.ErrUnexpectedEOF
		}), true},
		"a RoundTripper that reads a fresh copy of the body": {nil, tripper(func(r *http.Request) (*http.Response, error) {
			_, _ = nowhere.RoundTrip(r)
			body, err := r.GetBody()
			if err != nil {
				t.Error(err)
			}
			_, _ = io.Copy(io.Discard, body)
			return nil, io.ErrUnexpectedEOF
		}), true},
	} {
		t.Run(name, func(t *testing.T) {
			handler := c.handler
			if handler == nil {
				handler = func(http.ResponseWriter, *http.Request) { t.Error("reached") }
			}
			server, transport := serveTLS(t, handler)
			s := newStage(t, fedinvite.RoomV11)
			s.config.Client = newClient(t, transport)
			if c.transport != nil {
				s.config.Client = newClient(t, c.transport)
			}
			_, err := s.invite("@b:" + string(server))
			var failed *fedclient.InviteError
			if !errors.As(err, &failed) || failed.Event == nil || failed.MaybeSeen != c.maybeSeen {
				t.Errorf("got %#v (%v), want MaybeSeen %v", failed, err, c.maybeSeen)
			}
		})
	}
}

// What happens to the second request says it all, because the first one was refused.
func TestMaybeSeenAfterAFallbackOverTheNetwork(t *testing.T) {
	nowhere := unconnected(t, errors.New("refused"))
	for _, breaks := range []bool{false, true} {
		server, transport := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/_matrix/federation/v2/") {
				answerJSON(404, unrecognized)(w, r)
				return
			}
			_, _ = io.Copy(io.Discard, r.Body)
			hangsUp(w, r)
		}))
		s := newStage(t, fedinvite.RoomV1)
		s.config.Client = newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
			if breaks && strings.HasPrefix(r.URL.Path, "/_matrix/federation/v1/") {
				return nowhere.RoundTrip(r)
			}
			return transport.RoundTrip(r)
		}))
		_, err := s.invite("@b:" + string(server))
		var failed *fedclient.InviteError
		if !errors.As(err, &failed) || failed.MaybeSeen == breaks || !errors.Is(err, fedclient.ErrUnreachable) {
			t.Errorf("got %#v (%v)", failed, err)
		}
	}
}

// A time-out of the client while the invited server thinks.
func TestTimeoutsOfAnInvite(t *testing.T) {
	for _, reads := range []bool{false, true} {
		s := newStage(t, fedinvite.RoomV11)
		synctest.Test(t, func(t *testing.T) {
			s.config.Client = newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
				if reads {
					_, _ = io.Copy(io.Discard, r.Body)
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			}))
			v, err := fedclient.NewInviter(s.config)
			if err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			_, err = v.Invite(t.Context(), s.invitation(bob))
			var failed *fedclient.InviteError
			if !errors.As(err, &failed) || !failed.MaybeSeen || !errors.Is(err, context.DeadlineExceeded) || !fedclient.Retryable(err) || time.Since(began) != time.Minute {
				t.Errorf("after %v: %v", time.Since(began), err)
			}
			told(t, err, 502, "M_UNKNOWN")
		})
	}
}
