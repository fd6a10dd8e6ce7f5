package fedclient_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// A board is a Backoff that says what its test wants and keeps what it is told.
type board struct {
	until time.Time // zero: not paused

	mu       sync.Mutex
	reported []string
}

func (b *board) Paused(_ context.Context, server fedinvite.ServerName) (time.Time, bool) {
	return b.until, !b.until.IsZero()
}

func (b *board) Report(ctx context.Context, server fedinvite.ServerName, o fedclient.Outcome) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if ctx.Err() != nil {
		b.reported = append(b.reported, "too late")
	}
	kind := o.Kind.String()
	b.reported = append(b.reported, strings.TrimSuffix(fmt.Sprintf("%s %s %v", server, kind, o.RetryAfter), " 0s"))
}

func (b *board) config(c *fedclient.Config) { c.Backoff = b }

func TestOutcomes(t *testing.T) {
	after := map[string]string{"Retry-After": "7"}
	for name, c := range map[string]struct {
		steps []tripper
		want  []string // what is reported, one thing for each request
	}{
		"an answer":                     {[]tripper{good}, []string{"b.ex answered"}},
		"a refusal":                     {[]tripper{forbids}, []string{"b.ex answered"}},
		"a 401":                         {[]tripper{answers(401, nil, "")}, []string{"b.ex answered"}},
		"a redirect":                    {[]tripper{answers(307, nil, "")}, []string{"b.ex answered"}},
		"a page":                        {[]tripper{answers(200, nil, "<html>")}, []string{"b.ex answered"}},
		"too much":                      {[]tripper{answersJSON(200, strings.Repeat(" ", 1<<20+1))}, []string{"b.ex answered"}},
		"an answer that broke off":      {[]tripper{answersShort}, []string{"b.ex failed"}},
		"a 500":                         {[]tripper{answers(500, nil, "")}, []string{"b.ex failed"}},
		"a 503 with Retry-After":        {[]tripper{answers(503, after, "")}, []string{"b.ex failed 7s"}},
		"a 429":                         {[]tripper{answers(429, nil, "")}, []string{"b.ex limited"}},
		"a 429 with Retry-After":        {[]tripper{answers(429, after, "")}, []string{"b.ex limited 7s"}},
		"no connection":                 {[]tripper{refuses}, []string{"b.ex failed"}},
		"a lost connection":             {[]tripper{loses}, []string{"b.ex failed"}},
		"an address not to be asked":    {[]tripper{fails(discovery.ErrAddress)}, []string{"b.ex failed"}},
		"no time to find the server":    {[]tripper{fails(discovery.ErrBusy)}, nil},
		"no answer, and no time then":   {[]tripper{loses, fails(discovery.ErrBusy)}, []string{"b.ex failed"}},
		"an answer at the second":       {[]tripper{loses, good}, []string{"b.ex answered"}},
		"a refusal at the second":       {[]tripper{answers(503, nil, ""), forbids}, []string{"b.ex answered"}},
		"a 429 at the last":             {[]tripper{loses, loses, loses, answers(429, after, "")}, []string{"b.ex limited 7s"}},
		"no connection after an answer": {[]tripper{answers(429, after, ""), refuses}, []string{"b.ex failed"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := new(board)
			_, _ = put(t.Context(), newScript(t, c.steps...).client(b.config))
			if diff := cmp.Diff(c.want, b.reported); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		})
	}
}

// That the caller went away says nothing of the server, if that had no time to answer.
func TestTheCallersPatience(t *testing.T) {
	hangs := func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	for name, c := range map[string]struct {
		end  func(context.Context) (context.Context, context.CancelFunc)
		step []tripper
		want []string
	}{
		"cancelled late": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(30*time.Second, cancel)
			return ctx, cancel
		}, []tripper{hangs}, nil},
		"less than 5 s": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 5*time.Second-1)
		}, []tripper{hangs}, nil},
		"5 s": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 5*time.Second)
		}, []tripper{hangs}, []string{"b.ex failed"}},
		"ours": {context.WithCancel, []tripper{hangs}, []string{"b.ex failed"}},
		"ended before": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			cancel()
			return ctx, cancel
		}, []tripper{hangs}, nil},
		// What the first attempt said stands.
		"at the second attempt": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, time.Second)
		}, []tripper{refuses, hangs}, []string{"b.ex failed"}},
		"in a pause": {func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(100*time.Millisecond, cancel)
			return ctx, cancel
		}, []tripper{answers(503, nil, "")}, []string{"b.ex failed"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := new(board)
			ctx, cancel := c.end(t.Context())
			defer cancel()
			if _, err := put(ctx, newScript(t, c.step...).client(b.config)); err == nil {
				t.Error("no error")
			}
			if diff := cmp.Diff(c.want, b.reported); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		})
	}
}

// Nothing is known of a server that was not asked.
func TestWhatIsNotReported(t *testing.T) {
	b := new(board)
	client := newScript(t, good).client(b.config)
	us := invitetest.Signer("a.ex")
	for name, r := range map[string]fedclient.Request{
		"no server name":     {Method: "GET", Destination: "b.ex/x"},
		"no method":          {Method: "G T", Destination: "b.ex"},
		"a signer's failure": {Method: "PUT", Destination: "b.ex", Body: []byte("{}"), Signer: signerFunc{us, func(string) error { return errNotary }}},
	} {
		if _, err := client.Do(t.Context(), r); err == nil || len(b.reported) > 0 {
			t.Errorf("%s: %v, reported %q", name, err, b.reported)
		}
	}
}

func TestARequestToAServerThatIsLeftAlone(t *testing.T) {
	b := &board{until: now.Add(90 * time.Second)}
	s := newScript(t, good)
	client := s.client(b.config)
	us := invitetest.Signer("a.ex")
	locked := signerFunc{us, func(string) error { t.Error("signed"); return nil }}
	for name, ask := range map[string]func() error{
		"Do": func() error {
			_, err := client.Do(t.Context(), fedclient.Request{Method: "GET", Destination: "b.ex", Signer: locked})
			return err
		},
		"SendTransaction": func() error {
			_, err := client.SendTransaction(t.Context(), fedclient.Transaction{
				ID: "1", Destination: "b.ex", Events: []*fedinvite.Event{anEvent(t, fedinvite.RoomV11, 0, "")}, Time: now, Signer: locked,
			})
			return err
		},
	} {
		err := ask()
		var paused *fedclient.BackoffError
		if !errors.As(err, &paused) || paused.Server != "b.ex" || !paused.Until.Equal(b.until) {
			t.Errorf("%s: got %v", name, err)
		}
		if !errors.Is(err, fedclient.ErrUnreachable) || !fedclient.Retryable(err) || !strings.Contains(err.Error(), "b.ex is left alone until 2026-03-01T12:01:30Z") {
			t.Errorf("%s: got %v", name, err)
		}
		told(t, err, 502, "M_UNKNOWN")
	}
	if len(s.asked) > 0 || len(b.reported) > 0 {
		t.Errorf("%d requests, reported %q", len(s.asked), b.reported)
	}
}

// What a user or the key ring waits for is asked for all the same, and reported.
func TestRequestsThatAreMadeAllTheSame(t *testing.T) {
	us := invitetest.Signer("a.ex")
	them := invitetest.Signer("b.ex")
	rules := rulesOf(t, fedinvite.RoomV11)
	for name, c := range map[string]struct {
		ask  func(ctx context.Context, c *fedclient.Client) error
		want []string
	}{
		"IgnoreBackoff": {func(ctx context.Context, c *fedclient.Client) error {
			_, err := c.Do(ctx, fedclient.Request{Method: "GET", Destination: "b.ex", IgnoreBackoff: true})
			return err
		}, []string{"b.ex failed"}},
		"SendInvite": {func(ctx context.Context, c *fedclient.Client) error {
			_, err := c.SendInvite(ctx, fedclient.InviteRequest{Event: inviteFor(bob, us, rules), Signer: us, Keys: fedinvite.KeyMap{}})
			return err
		}, []string{"b.ex failed"}},
		"Decline": {func(ctx context.Context, c *fedclient.Client) error {
			d, err := c.Decline(ctx, fedclient.DeclineRequest{Invite: inviteFor(decliner, us, rules), Signer: them, Time: now})
			return errors.Join(err, d.Err)
		}, []string{"a.ex failed"}},
		"ExchangeThirdPartyInvite": {func(ctx context.Context, c *fedclient.Client) error {
			return c.ExchangeThirdPartyInvite(ctx, exchangeWith("a.ex"), them)
		}, []string{"a.ex failed"}},
		"FetchServerKeys": {func(ctx context.Context, c *fedclient.Client) error {
			_, err := c.FetchServerKeys(ctx, "b.ex")
			return err
		}, []string{"b.ex failed"}},
		// The servers that it asks may be the reason.
		"QueryServerKeys": {func(ctx context.Context, c *fedclient.Client) error {
			_, err := c.QueryServerKeys(ctx, "b.ex", []byte("{}"))
			return err
		}, nil},
		"Inviter, policy server": {func(ctx context.Context, c *fedclient.Client) error {
			s := newStage(t, fedinvite.RoomV11).usePolicyServer("ps.ex", nil)
			s.config.Client = c
			_, err := s.inviter().Invite(ctx, s.invitation(bob))
			return err
		}, []string{"ps.ex failed"}},
		"Inviter": {func(ctx context.Context, c *fedclient.Client) error {
			s := newStage(t, fedinvite.RoomV11)
			s.config.Client = c
			_, err := s.inviter().Invite(ctx, s.invitation(bob))
			return err
		}, []string{"b.ex failed"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := &board{until: now.Add(time.Hour)}
			script := newScript(t, refuses)
			err := c.ask(t.Context(), script.client(b.config))
			var paused *fedclient.BackoffError
			if err == nil || errors.As(err, &paused) || len(script.asked) == 0 {
				t.Errorf("%s: %d requests, %v", name, len(script.asked), err)
			}
			if diff := cmp.Diff(c.want, b.reported); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		})
	}
}

func TestALeaveIsSentAllTheSame(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV11)
	b := &board{until: now.Add(time.Hour)}
	declined, err := newScript(t, leaveTemplate, good).client(b.config).Decline(t.Context(), fedclient.DeclineRequest{
		Invite: inviteFor(decliner, invitetest.Signer("a.ex"), rules), Signer: invitetest.Signer("b.ex"), Time: now,
	})
	if err != nil || declined.Server != "a.ex" {
		t.Errorf("got %+v, %v", declined, err)
	}
	if diff := cmp.Diff([]string{"a.ex answered", "a.ex answered"}, b.reported); diff != "" {
		t.Error(diff)
	}
}

// An answer of a notary is one all the same.
func TestANotaryThatAnswersIsUp(t *testing.T) {
	b := new(board)
	if _, err := newScript(t, good).client(b.config).QueryServerKeys(t.Context(), "b.ex", []byte("{}")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{"b.ex answered"}, b.reported); diff != "" {
		t.Error(diff)
	}
}

// The default Backoff, from a failure to being asked again. The time is that of the bubble.
func TestTheDefaultBackoff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t, refuses)
		client := s.client(func(c *fedclient.Config) { c.Retries = -1 })
		ask := func(server fedinvite.ServerName) (asked bool) {
			before := len(s.asked)
			_, _ = client.Do(t.Context(), fedclient.Request{Method: "GET", Destination: server})
			return len(s.asked) > before
		}
		demand := func(asked bool) {
			t.Helper()
			if ask("b.ex") != asked {
				t.Errorf("asked is not %v", asked)
			}
		}
		demand(true)
		demand(false)
		if !ask("c.ex") {
			t.Error("another server was left alone")
		}
		time.Sleep(10*time.Second - time.Nanosecond)
		demand(false)
		time.Sleep(time.Nanosecond)
		demand(true)
		time.Sleep(20*time.Second - time.Nanosecond)
		demand(false)
		client.Heard(t.Context(), "b.ex")
		demand(true)
		s.steps = []tripper{good}
		time.Sleep(10 * time.Second)
		demand(true)
		demand(true)
	})
}

func TestNoBackoff(t *testing.T) {
	s := newScript(t, refuses)
	client := s.client(alwaysAsking, func(c *fedclient.Config) { c.Retries = -1 })
	for range 3 {
		_, _ = put(t.Context(), client)
	}
	client.Heard(t.Context(), "b.ex")
	if len(s.asked) != 3 {
		t.Errorf("asked %d times", len(s.asked))
	}
}
