package fedclient_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

var good = answersJSON(200, "{}")

// put is a request that may be repeated.
func put(ctx context.Context, c *fedclient.Client) ([]byte, error) {
	return c.Do(ctx, fedclient.Request{Method: "PUT", Destination: "b.ex", Path: []string{"x"}, Body: []byte(`{"a":1}`)})
}

func TestPlumbing59RetryAfterIsHonoured(t *testing.T) {
	seconds := map[string]string{"Retry-After": "3"}
	ms := `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":3000}`
	for name, first := range map[string]tripper{
		"429, Retry-After":    answers(429, seconds, ""),
		"429, retry_after_ms": answersJSON(429, ms),
		"503, Retry-After":    answers(503, seconds, ""),
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t, first, good)
			if got, err := put(t.Context(), s.client()); err != nil || string(got) != "{}" {
				t.Errorf("%s: got %s, %v", name, got, err)
			}
			if diff := cmp.Diff([]time.Duration{0, 3 * time.Second}, s.at); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		})
	}
}

// What the server wants is told at once, if there is no time for it.
func TestPlumbing59RetryAfterBeyondTheDeadline(t *testing.T) {
	for name, c := range map[string]struct {
		deadline, timeout time.Duration
		attempts          int
	}{
		"of the context":          {3 * time.Second, 0, 1},
		"of the request":          {time.Hour, 3 * time.Second, 1},
		"neither":                 {3*time.Second + 1, 0, 2},
		"of the Client's timeout": {time.Hour, 0, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t, answers(429, map[string]string{"Retry-After": "3"}, ""), answers(429, map[string]string{"Retry-After": "58"}, ""))
			ctx, cancel := context.WithTimeout(t.Context(), c.deadline)
			defer cancel()
			_, err := s.client().Do(ctx, fedclient.Request{Method: "PUT", Destination: "b.ex", Timeout: c.timeout})
			var remote *fedclient.RemoteError
			if !errors.As(err, &remote) || remote.RetryAfter < 3*time.Second || !fedclient.Retryable(err) {
				t.Errorf("%s: got %v", name, err)
			}
			if len(s.asked) != c.attempts || time.Since(s.began) != s.at[c.attempts-1] {
				t.Errorf("%s: asked at %v, over after %v", name, s.at, time.Since(s.began))
			}
		})
	}
}

func TestPausesBetweenAttempts(t *testing.T) {
	const ms = time.Millisecond
	var long []time.Duration // 0.5, 1, 2, 4, 8, 16 s, and then 30 s
	for at, pause := time.Duration(0), 500*ms; len(long) <= 10; pause = min(2*pause, 30*time.Second) {
		long = append(long, at)
		at += pause * 8 / 10
	}
	for name, c := range map[string]struct {
		retries int
		random  float64
		want    []time.Duration
	}{
		"the shortest": {0, 0, []time.Duration{0, 400 * ms, 1200 * ms, 2800 * ms}},
		"the longest":  {0, 1, []time.Duration{0, 700 * ms, 2100 * ms, 4900 * ms}},
		"one":          {1, 0.5, []time.Duration{0, 550 * ms}},
		"none":         {-1, 0.5, []time.Duration{0}},
		"many":         {10, 0, long},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t, loses)
			client := s.client(func(config *fedclient.Config) {
				config.Retries, config.Random = c.retries, func() float64 { return c.random }
				config.Timeout = time.Hour
			})
			if _, err := put(t.Context(), client); !errors.Is(err, errBroken) || !errors.Is(err, fedclient.ErrUnreachable) {
				t.Errorf("%s: got %v", name, err)
			}
			near := func(a, b time.Duration) bool { return (a - b).Abs() < time.Microsecond } // of floats
			if !slices.EqualFunc(s.at, c.want, near) {
				t.Errorf("%s: asked at %v, want %v", name, s.at, c.want)
			}
		})
	}
}

func TestWhatIsRepeated(t *testing.T) {
	certificate := &tls.CertificateVerificationError{Err: errors.New("revoked")}
	for name, c := range map[string]struct {
		step     tripper
		attempts map[string]int // by method
	}{
		"the connection broke":       {loses, map[string]int{"GET": 4, "HEAD": 4, "PUT": 4, "POST": 1, "DELETE": 1}},
		"it broke early":             {breaks, map[string]int{"GET": 4, "HEAD": 4, "PUT": 4, "POST": 1}},
		"no connection":              {refuses, map[string]int{"GET": 4, "HEAD": 4, "PUT": 4, "POST": 4, "DELETE": 4}},
		"nobody knows":               {mute, map[string]int{"GET": 4, "PUT": 4, "POST": 1}},
		"DNS out of order":           {fails(&net.DNSError{Err: "server misbehaving", IsTemporary: true}), map[string]int{"PUT": 4, "POST": 4}},
		"no time to find the server": {fails(fmt.Errorf("x: %w", discovery.ErrBusy)), map[string]int{"GET": 4, "PUT": 4, "POST": 4}},
		"500":                        {answersJSON(500, `{}`), map[string]int{"GET": 4, "PUT": 4, "POST": 1}},
		"502":                        {answers(502, nil, `<html>`), map[string]int{"GET": 4, "HEAD": 4, "PUT": 4, "POST": 1}},
		"429":                        {answersJSON(429, `{}`), map[string]int{"GET": 4, "HEAD": 4, "PUT": 4, "POST": 4, "DELETE": 4}},
		"101":                        {answers(101, nil, ``), map[string]int{"GET": 1, "PUT": 1, "POST": 1}},
		"201":                        {answers(201, nil, ``), map[string]int{"GET": 1, "PUT": 1, "POST": 1}},
		"307":                        {answers(307, map[string]string{"Location": "/y"}, ``), map[string]int{"GET": 1, "PUT": 1, "POST": 1}},
		"400":                        {answersJSON(400, `{}`), map[string]int{"GET": 1, "PUT": 1, "POST": 1}},
		"404":                        {answersJSON(404, `{}`), map[string]int{"GET": 1, "PUT": 1, "POST": 1}},
		"408":                        {answersJSON(408, `{}`), map[string]int{"GET": 1, "PUT": 1, "POST": 1}},
		"a page":                     {answers(200, map[string]string{"Content-Type": "text/html"}, `{}`), map[string]int{"GET": 1, "PUT": 1, "POST": 1}},
		"a body that broke off":      {answersShort, map[string]int{"GET": 1, "PUT": 1, "POST": 1}},
		"a bad certificate":          {fails(certificate), map[string]int{"GET": 1, "PUT": 1, "POST": 1}},
		"a certificate of another":   {fails(x509.HostnameError{Certificate: new(x509.Certificate)}), map[string]int{"PUT": 1}},
		"an expired certificate":     {fails(x509.CertificateInvalidError{Reason: x509.Expired}), map[string]int{"PUT": 1}},
		"of two places, neither":     {fails(errors.Join(fmt.Errorf("t1: %w", certificate), fmt.Errorf("t2: %w", discovery.ErrAddress))), map[string]int{"PUT": 1}},
		"of two places, one":         {fails(errors.Join(fmt.Errorf("t1: %w", certificate), fmt.Errorf("t2: %w", errBroken))), map[string]int{"PUT": 4}},
		"in other words":             {fails(fmt.Errorf("%w: %w", errBroken, discovery.ErrAddress)), map[string]int{"PUT": 1}},
		"an unknown authority":       {fails(x509.UnknownAuthorityError{}), map[string]int{"PUT": 1}},
		"an address not to be asked": {fails(fmt.Errorf("x: %w", discovery.ErrAddress)), map[string]int{"GET": 1, "PUT": 1, "POST": 1}},
		"no server of that name":     {fails(fmt.Errorf("x: %w", discovery.ErrNoServer)), map[string]int{"GET": 1, "PUT": 1, "POST": 1}},
		"no such host":               {fails(&net.DNSError{Err: "no such host", IsNotFound: true}), map[string]int{"GET": 1, "PUT": 1, "POST": 1}},
	} {
		for method, want := range c.attempts {
			t.Run(name+" "+method, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					s := newScript(t, c.step)
					r := fedclient.Request{Method: method, Destination: "b.ex", Path: []string{"x"}}
					if method != "GET" && method != "HEAD" {
						r.Body = []byte(`{"a":1}`)
					}
					_, err := s.client().Do(t.Context(), r)
					if err == nil || len(s.asked) != want {
						t.Errorf("%d attempts, want %d: %v", len(s.asked), want, err)
					}
				})
			})
		}
	}
}

// answersShort ends the answer before its time.
func answersShort(*http.Request) (*http.Response, error) {
	res := response(200, map[string]string{"Content-Type": "application/json"}, "{}")
	res.Body, res.ContentLength = io.NopCloser(io.MultiReader(strings.NewReader("{"), brokenReader{})), 2
	return res, nil
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errBroken }

// A POST without a body is complete as soon as there is a connection.
func TestAPostWithoutABodyIsNotRepeated(t *testing.T) {
	for status, want := range map[string]int{"lost": 1, "429": 4} {
		synctest.Test(t, func(t *testing.T) {
			s := newScript(t, func(r *http.Request) (*http.Response, error) { connect(r); return nil, errBroken })
			if status == "429" {
				s = newScript(t, answers(429, nil, ""))
			}
			_, err := s.client().Do(t.Context(), fedclient.Request{Method: "POST", Destination: "b.ex"})
			if err == nil || len(s.asked) != want {
				t.Errorf("%s: %d attempts, want %d: %v", status, len(s.asked), want, err)
			}
		})
	}
}

// The last attempt says how it ended.
func TestTheErrorIsThatOfTheLastAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var remote *fedclient.RemoteError
		s := newScript(t, answers(503, nil, ""), loses, answersJSON(403, `{"errcode":"M_FORBIDDEN"}`))
		if _, err := put(t.Context(), s.client()); !errors.As(err, &remote) || remote.Status != 403 || errors.Is(err, fedclient.ErrUnreachable) || len(s.asked) != 3 {
			t.Errorf("got %v", err)
		}
		s = newScript(t, answers(503, nil, ""), refuses)
		if _, err := put(t.Context(), s.client()); !errors.Is(err, fedclient.ErrUnreachable) || errors.As(err, &remote) || len(s.asked) != 4 {
			t.Errorf("got %v", err)
		}
	})
}

// Each attempt has the whole body and the signature of the first, which is still good.
func TestBodiesAreIntactInEveryAttempt(t *testing.T) {
	us := invitetest.Signer("a.ex")
	keys := fedinvite.KeyMap{}
	keys.Add(us)
	large := `{"a":"` + strings.Repeat("x", 100<<10) + `"}`
	synctest.Test(t, func(t *testing.T) {
		whole := func(r *http.Request) {
			body, err := io.ReadAll(r.Body)
			if err != nil || string(body) != large || r.ContentLength != int64(len(large)) {
				t.Errorf("%d of %d bytes, %v", len(body), r.ContentLength, err)
			}
			in := httptest.NewRequest(r.Method, r.URL.RequestURI(), nil)
			in.Header = r.Header
			c, err := xmatrix.Verifier{Keys: keys, Now: clock}.Credentials(in)
			if err == nil {
				err = c.Verify(t.Context(), body)
			}
			if err != nil {
				t.Error(err)
			}
		}
		s := newScript(t, breaks, func(r *http.Request) (*http.Response, error) {
			whole(r)
			return response(500, nil, ""), nil
		}, refuses, func(r *http.Request) (*http.Response, error) {
			whole(r)
			return good(r)
		})
		signed := 0
		signer := signerFunc{us, func(string) error { signed++; return nil }}
		got, err := s.client().Do(t.Context(), fedclient.Request{
			Method: "PUT", Destination: "b.ex", Path: []string{"x", "$a/b"}, Body: []byte(large), Signer: signer,
		})
		if err != nil || string(got) != "{}" || len(s.asked) != 4 || signed != 1 {
			t.Errorf("got %s, %v; %d attempts, %d signatures", got, err, len(s.asked), signed)
		}
		for _, r := range s.asked {
			if diff := cmp.Diff(s.asked[0].Header, r.Header); diff != "" || r.Host != "b.ex" || r.URL.String() != s.asked[0].URL.String() {
				t.Errorf("%s %s: %s", r.Host, r.URL, diff)
			}
		}
		// A leftover of an attempt is none of the others' business.
		again, err := s.asked[0].GetBody()
		if err != nil {
			t.Fatal(err)
		}
		if body, err := io.ReadAll(again); err != nil || string(body) != large {
			t.Errorf("%d bytes, %v", len(body), err)
		}
	})
}

// Over the network, with connections that net/http keeps.
func TestARepeatedRequestOverTheNetwork(t *testing.T) {
	us := invitetest.Signer("a.ex")
	n := 0
	l := newListener(t, us, func(w http.ResponseWriter, r *http.Request) {
		if n++; n == 1 {
			hangsUp(w, r)
		}
		answerJSON(200, `{"n":2}`)(w, r)
	})
	client := newClient(t, l.transport, retrying, func(c *fedclient.Config) { c.Random = func() float64 { return 0 } })
	got, err := client.Do(t.Context(), fedclient.Request{Method: "PUT", Destination: l.name, Path: []string{"x"}, Body: []byte(`{"a":1}`), Signer: us})
	if err != nil || string(got) != `{"n":2}` || n != 2 || string(l.body) != `{"a":1}` {
		t.Errorf("got %s, %v after %d attempts with %s", got, err, n, l.body)
	}
}

func TestTheEndOfTheContextEndsAPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newScript(t, answersJSON(503, `{"errcode":"M_UNKNOWN"}`))
		client := s.client()
		time.AfterFunc(100*time.Millisecond, cancel)
		began := time.Now()
		_, err := put(ctx, client)
		if !errors.Is(err, context.Canceled) || !errors.Is(err, fedclient.ErrUnreachable) || !strings.Contains(err.Error(), "503") {
			t.Errorf("got %v", err)
		}
		if len(s.asked) != 1 || time.Since(began) != 100*time.Millisecond {
			t.Errorf("%d attempts, over after %v", len(s.asked), time.Since(began))
		}
	})
}

// A refusal that came just before the end is not lost.
func TestNothingIsRepeatedAfterTheEndOfTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := newScript(t, func(r *http.Request) (*http.Response, error) {
			cancel()
			return response(503, nil, ""), nil
		})
		var remote *fedclient.RemoteError
		if _, err := put(ctx, s.client()); !errors.As(err, &remote) || len(s.asked) != 1 {
			t.Errorf("%d attempts, got %v", len(s.asked), err)
		}
	})
}

func TestTheTimeoutBoundsAllAttemptsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScript(t, func(r *http.Request) (*http.Response, error) {
			select {
			case <-r.Context().Done():
				return nil, r.Context().Err()
			case <-time.After(25 * time.Second):
				return nil, errBroken
			}
		})
		_, err := put(t.Context(), s.client())
		if !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, fedclient.ErrUnreachable) {
			t.Errorf("got %v", err)
		}
		want := []time.Duration{0, 25400 * time.Millisecond, 51200 * time.Millisecond}
		if diff := cmp.Diff(want, s.at); diff != "" || time.Since(s.began) != time.Minute {
			t.Errorf("over after %v: %s", time.Since(s.began), diff)
		}
	})
}

// The key ring has pauses of its own, so that keys are asked for once.
func TestKeysAreAskedForOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, ask := range map[string]func(c *fedclient.Client) error{
			"of the server": func(c *fedclient.Client) error {
				_, err := c.FetchServerKeys(t.Context(), "b.ex")
				return err
			},
			"of a notary": func(c *fedclient.Client) error {
				_, err := c.QueryServerKeys(t.Context(), "b.ex", []byte("{}"))
				return err
			},
		} {
			for _, step := range []tripper{refuses, loses, answers(500, nil, ""), answers(429, nil, "")} {
				s := newScript(t, step)
				if err := ask(s.client()); err == nil || len(s.asked) != 1 {
					t.Errorf("%s: %d attempts, %v", name, len(s.asked), err)
				}
			}
		}
	})
}

// A caller's trace sees each attempt, and MaybeSeen is exact all the same.
func TestTracesOfTheCaller(t *testing.T) {
	server, transport := serveTLS(t, answerJSON(403, `{"errcode":"M_FORBIDDEN"}`))
	n := 0
	client := newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
		if n++; n == 1 {
			return refuses(r)
		}
		return transport.RoundTrip(r)
	}), retrying, func(c *fedclient.Config) { c.Random = func() float64 { return 0 } })
	s := newStage(t, fedinvite.RoomV11)
	s.config.Client = client
	var saw []string
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		GetConn: func(string) { saw = append(saw, "GetConn") },
		GotConn: func(httptrace.GotConnInfo) { saw = append(saw, "GotConn") },
	})
	_, err := s.inviter().Invite(ctx, s.invitation("@b:"+string(server)))
	var failed *fedclient.InviteError
	if !errors.As(err, &failed) || failed.MaybeSeen {
		t.Errorf("got %v", err)
	}
	// The second attempt is told of twice: with the server name and with what that led to.
	if diff := cmp.Diff([]string{"GetConn", "GetConn", "GetConn", "GotConn"}, saw); diff != "" {
		t.Error(diff)
	}
}
