package ratelimit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A host is b.example: a Receiver behind HTTP that counts what it looks up.
type host struct {
	server *httptest.Server
	keys   fedinvite.KeyMap

	mu     sync.Mutex
	asked  int
	stored int
}

func newHost(t *testing.T, l *ratelimit.Limiter, wrap func(http.Handler) http.Handler, origins ...fedinvite.ServerName) *host {
	t.Helper()
	h := &host{keys: fedinvite.KeyMap{}}
	for _, origin := range origins {
		h.keys.Add(invitetest.Signer(origin))
	}
	signer := invitetest.Signer("b.example")
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return signer, nil },
		Keys:        h,
		Credentials: xmatrix.Verifier{Keys: h, Now: newClock().Now}.Credentials,
		Admit:       l.Admit,
		Policy:      l.Policy,
		Handler: fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.stored++
			return nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	h.server = httptest.NewServer(wrap(receiver))
	t.Cleanup(h.server.Close)
	return h
}

func (h *host) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	h.mu.Lock()
	h.asked++
	h.mu.Unlock()
	return h.keys.VerifyKey(ctx, server, id, at)
}

func (h *host) reset() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.asked, h.stored = 0, 0
}

// A reply is what the inviting server sees.
type reply struct {
	status     int
	retryAfter string
	body       struct {
		Errcode      string `json:"errcode"`
		RetryAfterMS int64  `json:"retry_after_ms"`
	}
}

// send sends one invite; edits change the signed request.
func (h *host) send(t *testing.T, inv *fedinvite.Invite, edits ...func(*http.Request)) reply {
	t.Helper()
	body, err := fedinvite.Request{RoomVersion: fedinvite.RoomV11, Event: inv.Event.AppendJSON(nil)}.MarshalV2()
	if err != nil {
		t.Error(err)
		return reply{}
	}
	target := "/_matrix/federation/v2/invite/" + url.PathEscape(inv.Event.RoomID()) + "/" + url.PathEscape(inv.Event.ID())
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, h.server.URL+target, bytes.NewReader(body))
	if err != nil {
		t.Error(err)
		return reply{}
	}
	if err := xmatrix.Sign(t.Context(), req, body, inv.Destination, invitetest.Signer(inv.Origin)); err != nil {
		t.Error(err)
		return reply{}
	}
	for _, edit := range edits {
		edit(req)
	}
	res, err := h.server.Client().Do(req)
	if err != nil {
		t.Error(err)
		return reply{}
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Error(err)
	}
	r := reply{status: res.StatusCode, retryAfter: res.Header.Get("Retry-After")}
	if err := json.Unmarshal(text, &r.body); err != nil {
		t.Errorf("%v: %s", err, text)
	}
	return r
}

// limited checks that a refusal tells the inviting server when to come back.
func (r reply) limited(t *testing.T) {
	t.Helper()
	seconds, err := strconv.ParseInt(r.retryAfter, 10, 64)
	if r.status != http.StatusTooManyRequests || r.body.Errcode != "M_LIMIT_EXCEEDED" ||
		err != nil || seconds < 1 || r.body.RetryAfterMS < 1 || r.body.RetryAfterMS > 1000*seconds {
		t.Errorf("answer %+v", r)
	}
}

func direct(h http.Handler) http.Handler { return h }

// The clock stands still, so that exactly the burst and the queue pass.
func TestPlumbing60InvitesAtOnceFromOneOrigin(t *testing.T) {
	now := newClock()
	l := newLimiter(t, ratelimit.Config{
		Now: now.Now, Remote: off, Sender: off, Invitee: off, Room: off,
		Origin: ratelimit.Limit{Every: 5 * time.Millisecond, Burst: 10, Queue: 20},
	})
	h := newHost(t, l, direct, "a.example", "c.example")
	inv := invite(t, alice, bob, room)
	other := invite(t, "@x:c.example", bob, "!x:c.example")
	var mu sync.Mutex
	status := map[int]int{}
	var group sync.WaitGroup
	for i := range 60 {
		group.Go(func() {
			r := h.send(t, inv)
			if r.status != http.StatusOK {
				r.limited(t)
			}
			mu.Lock()
			status[r.status]++
			mu.Unlock()
		})
		if i%6 == 0 {
			group.Go(func() {
				if r := h.send(t, other); r.status != http.StatusOK {
					t.Errorf("the other origin: %+v", r)
				}
			})
		}
	}
	group.Wait()
	if status[http.StatusOK] != 30 || status[http.StatusTooManyRequests] != 30 {
		t.Errorf("answers by status: %v, want 30 × 200 and 30 × 429", status)
	}
	if h.stored != 30+10 {
		t.Errorf("%d invites stored, want 40", h.stored)
	}
	h.send(t, inv).limited(t)
	now.pass(time.Second)
	if r := h.send(t, inv); r.status != http.StatusOK {
		t.Errorf("when the time has passed: %+v", r)
	}
}

// The limit by remote address is before any key is looked up.
func TestNoKeyIsLookedUpForARemoteAddressThatIsLimited(t *testing.T) {
	config := none(newClock())
	config.Remote = ratelimit.Limit{Every: time.Minute, Burst: 2}
	h := newHost(t, newLimiter(t, config), direct)
	unknown := invite(t, "@x:unknown.example", bob, room)
	for range 2 {
		if r := h.send(t, unknown); r.status != http.StatusUnauthorized {
			t.Errorf("answer %+v, want 401", r)
		}
	}
	if h.asked != 2 {
		t.Errorf("%d look-ups", h.asked)
	}
	h.reset()
	h.send(t, unknown).limited(t)
	if h.asked != 0 {
		t.Errorf("%d look-ups for a limited address", h.asked)
	}
}

// Only a proven origin counts: nobody can use up another server's limit.
func TestForgedRequestsDoNotCountForTheirOrigin(t *testing.T) {
	config := none(newClock())
	config.Origin = ratelimit.Limit{Every: time.Minute, Burst: 1}
	h := newHost(t, newLimiter(t, config), direct, "a.example")
	inv := invite(t, alice, bob, room)
	for range 5 {
		r := h.send(t, inv, func(r *http.Request) { r.URL.RawQuery = "forged" })
		if r.status != http.StatusUnauthorized {
			t.Errorf("answer %+v, want 401", r)
		}
	}
	if r := h.send(t, inv); r.status != http.StatusOK {
		t.Errorf("answer %+v", r)
	}
	h.send(t, inv).limited(t)
}

// Behind a reverse proxy each client has its own limit.
func TestLimitsBehindAReverseProxy(t *testing.T) {
	config := none(newClock())
	config.Remote = ratelimit.Limit{Every: time.Minute, Burst: 1}
	h := newHost(t, newLimiter(t, config), func(inner http.Handler) http.Handler {
		return ratelimit.ForwardedFor(inner, netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128"))
	}, "a.example")
	inv := invite(t, alice, bob, room)
	as := func(client string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Forwarded-For", "198.51.100.1, "+client) }
	}
	for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
		if r := h.send(t, inv, as(client)); r.status != http.StatusOK {
			t.Errorf("%s: %+v", client, r)
		}
	}
	h.send(t, inv, as("192.0.2.1")).limited(t)
}

// The same by a Unix socket; whoever says nothing of the client shares one limit.
func TestLimitsBehindAUnixSocket(t *testing.T) {
	config := none(newClock())
	config.Remote = ratelimit.Limit{Every: time.Minute, Burst: 1}
	h := newHost(t, newLimiter(t, config), func(inner http.Handler) http.Handler {
		inner = ratelimit.ForwardedForUnix(inner)
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.RemoteAddr = "@" // as net/http has it there
			inner.ServeHTTP(w, r)
		})
	}, "a.example")
	inv := invite(t, alice, bob, room)
	as := func(client string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("X-Forwarded-For", client) }
	}
	for _, client := range []string{"192.0.2.1", "192.0.2.2", ""} {
		if r := h.send(t, inv, as(client)); r.status != http.StatusOK {
			t.Errorf("%s: %+v", client, r)
		}
		h.send(t, inv, as(client)).limited(t)
	}
}
