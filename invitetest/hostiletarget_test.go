package invitetest_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// elsewhere is a target that answers as handler does, in the clear.
func elsewhere(t *testing.T, peer *invitetest.Server, handler http.HandlerFunc) invitetest.Target {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return invitetest.Target{Name: "b.example", URL: s.URL, Invitee: "@bob:b.example", Peer: peer, Timeout: 2 * time.Second}
}

// always is a handler with one answer.
func always(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// only is a homeserver of a few room versions.
func only(versions ...fedinvite.RoomVersion) func(*fedinvite.Config) {
	return func(c *fedinvite.Config) {
		c.Policy, c.RoomState = wanted, fedinvite.StateStrict
		c.Rules = func(v fedinvite.RoomVersion) (fedinvite.Rules, error) {
			if slices.Contains(versions, v) {
				return v.Rules()
			}
			return fedinvite.Rules{}, fedinvite.ErrRoomVersion
		}
	}
}

// While the peer answers invites in its own way, it does so to the target alone, and to what
// passes all checks.
func TestThePeerAnswersOnlyTheTargetInItsOwnWay(t *testing.T) {
	n := invitetest.NewNetwork(t)
	peer, stranger := n.NewServer(t, "peer.example"), n.NewServer(t, "stranger.example")
	server := n.NewServer(t, "mine.example")
	for _, name := range []string{"send/answer-unsigned", "send/refused", "attack/reply-shape"} {
		t.Run(name, func(t *testing.T) {
			target := asTarget(peer, server)
			target.Invite = func(ctx context.Context, v fedinvite.RoomVersion, invitee string) error {
				room := invitetest.NewRoom(v, "@mallory:stranger.example")
				for what, q := range map[string]invitetest.Request{
					"no signature": room.Request(room.Invite(invitee), peer.Name()),
					"no invite":    room.Request(room.Sign(room.InviteDraft(invitee, invitetest.Set("join", "content", "membership"))), peer.Name()),
				} {
					if what == "no signature" {
						q.From = nil
					}
					if status, body, err := peer.Send(ctx, q); err != nil || status < 400 || strings.Contains(string(body), "signatures") {
						t.Errorf("%s: %d %s, %v", what, status, body, err)
					}
				}
				// A stranger's invite that is in order gets the ordinary answer.
				_, err := stranger.Invite(ctx, stranger.NewRoom(v, "@mallory:stranger.example"), invitee)
				if err != nil {
					t.Error(err)
				}
				return err
			}
			r := checkNamed(t, name).Run(t.Context(), target)
			if r.Outcome == invitetest.Passed {
				t.Error(r)
			}
		})
	}
}

// A target that is overloaded for ever, and says that one may ask again at once.
func TestRepeatedRequestsAreFewAndNotedTwice(t *testing.T) {
	var n atomic.Int32
	target := elsewhere(t, invitetest.NewServer(t, "peer.example"), func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		always(429, `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":0}`)(w, r)
	})
	target.Timeout = 800 * time.Millisecond
	r := checkNamed(t, "receive/type").Run(t.Context(), target)
	if r.Outcome != invitetest.Unknown || len(r.Exchange) > 2 || n.Load() > 10 {
		t.Errorf("%s: %d requests, %d exchanges", r, n.Load(), len(r.Exchange))
	}
}

// The IDs of keys that a target signs with are its own affair.
func TestKeyIDsOfTargetsAreNotUsedUnread(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	for _, id := range []string{"x", `ed25519:a\u0000b`, `ed25519:\"`, "", "ed25519:é"} {
		target := elsewhere(t, peer, always(200, `{"event":{"signatures":{"b.example":{"`+id+`":"AAAA"}}}}`))
		for _, name := range []string{"attack/claims-origin", "attack/victims-signature"} {
			if r := checkNamed(t, name).Run(t.Context(), target); r.Outcome != invitetest.Departed && !strings.Contains(r.Detail, "keys cannot be had") {
				t.Errorf("%q: %s", id, r)
			}
		}
	}
}

// What a stranger sends to the peer is not the target's, good or bad.
func TestRequestsOfStrangersAreNotTheTargets(t *testing.T) {
	n := invitetest.NewNetwork(t)
	peer, stranger, server := n.NewServer(t, "peer.example"), n.NewServer(t, "stranger.example"), n.NewServer(t, "mine.example")
	names := []string{"send/v11", "send/endpoint", "send/event-format", "send/content-hash", "send/destination", "send/no-fallback"}
	target := asTarget(peer, server)
	target.Versions = []fedinvite.RoomVersion{fedinvite.RoomV11}
	honest := target.Invite
	target.Invite = func(ctx context.Context, v fedinvite.RoomVersion, invitee string) error {
		_, _ = stranger.Invite(ctx, stranger.NewRoom(v, "@mallory:stranger.example"), invitee)
		return nil
	}
	for _, name := range names {
		if r := checkNamed(t, name).Run(t.Context(), target); r.Outcome != invitetest.Departed || !strings.Contains(r.Detail, "no invite came") {
			t.Errorf("instead of the target: %s", r)
		}
	}
	target.Invite = func(ctx context.Context, v fedinvite.RoomVersion, invitee string) error {
		room := invitetest.NewRoom(v, "@mallory:mine.example")
		q := room.RequestV1(room.Invite(invitee, invitetest.Set(1, "depth")), peer.Name())
		q.From = invitetest.SignerWithKey("mine.example", "ed25519:stolen")
		_, _, _ = peer.Send(ctx, q)
		return honest(ctx, v, invitee)
	}
	for _, name := range names {
		if r := checkNamed(t, name).Run(t.Context(), target); r.Outcome != invitetest.Passed {
			t.Errorf("before the target: %s", r)
		}
	}
}

// Nobody has to know all room versions, unless they say so.
func TestRoomVersionsThatAreNotKnownAreSkipped(t *testing.T) {
	t.Parallel()
	n := invitetest.NewNetwork(t)
	peer := n.NewServer(t, "peer.example")
	server := n.NewServer(t, "mine.example", func(c *invitetest.ServerConfig) { c.Receiver = only(fedinvite.RoomV10, fedinvite.RoomV11) })
	target := asTarget(peer, server)
	target.Invite = nil
	for r := range invitetest.Results(t.Context(), target, harmless()...) {
		switch {
		case r.Outcome == invitetest.Departed && r.Level == invitetest.Must, r.Outcome == invitetest.Unknown:
			t.Error(r)
		case r.Name == "receive/v11" && r.Outcome != invitetest.Passed, r.Name == "receive/v12" && r.Outcome != invitetest.Skipped:
			t.Error(r)
		}
	}
	target.Versions = []fedinvite.RoomVersion{fedinvite.RoomV11, fedinvite.RoomV12}
	if r := checkNamed(t, "receive/v12").Run(t.Context(), target); r.Outcome != invitetest.Departed {
		t.Error(r)
	}
}

// A server that is overloaded, or behind a proxy that cannot reach it, departs from nothing;
// one that takes no invites keeps nothing by that.
func TestRefusingEverythingProvesNothing(t *testing.T) {
	t.Parallel()
	peer := invitetest.NewServer(t, "peer.example")
	for status, body := range map[int]string{
		502: "", 503: "", 504: "", 401: `{"errcode":"M_UNAUTHORIZED","error":""}`, 400: `{"errcode":"M_INVALID_PARAM","error":""}`,
		403: `{"errcode":"M_FORBIDDEN","error":"no such user"}`,
	} {
		target := elsewhere(t, peer, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == keyPath {
				http.NotFound(w, r)
				return
			}
			always(status, body)(w, r)
		})
		target.Keys = invitetest.Keys("b.example")
		if _, err := peer.Keys().VerifyKey(t.Context(), peer.Name(), invitetest.DefaultKey, time.Now()); err != nil {
			t.Fatal(err)
		}
		fetchKeys(t, peer)
		checks := slices.DeleteFunc(invitetest.Checks(), func(c invitetest.Check) bool { return strings.HasPrefix(c.Name, "attack/") })
		for r := range invitetest.Results(t.Context(), target, checks...) {
			about := strings.HasPrefix(r.Name, "http/") || strings.HasPrefix(r.Name, "state/not")
			if r.Outcome == invitetest.Passed && !about || r.Outcome == invitetest.Departed && status >= 500 {
				t.Errorf("%d: %s", status, r)
			}
		}
	}
}

// fetchKeys asks a server for its keys, as its targets do.
func fetchKeys(t *testing.T, s *invitetest.Server) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+string(s.Name())+keyPath, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := s.Transport().RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
}

// That a server limits rates after an attack is no damage.
func TestRateLimitsAfterAttacksAreNoDamage(t *testing.T) {
	n := invitetest.NewNetwork(t)
	peer := n.NewServer(t, "peer.example")
	var used atomic.Int32
	server := n.NewServer(t, "mine.example", func(s *invitetest.ServerConfig) {
		s.Receiver = func(c *fedinvite.Config) {
			c.Admit = func(context.Context, *fedinvite.Delivery) error {
				if used.Add(1) > 2 {
					return &fedinvite.Error{Code: fedinvite.CodeLimitExceeded, RetryAfter: time.Minute}
				}
				return nil
			}
		}
	})
	if r := checkNamed(t, "attack/deep-nesting").Run(t.Context(), asTarget(peer, server)); r.Outcome != invitetest.Unknown || !strings.Contains(r.Detail, "429") {
		t.Error(r)
	}
}

// A listener that is silent to ten connections after the first.
type silentListener struct {
	net.Listener
	n    int
	held []net.Conn
}

func (l *silentListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if l.n++; err != nil || l.n == 1 || l.n > 11 {
			return c, err
		}
		l.held = append(l.held, c)
	}
}

func TestHandshakesThatHangAreGivenUp(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Connection", "close")
		http.NotFound(w, r)
	}))
	s.Listener = &silentListener{Listener: s.Listener}
	s.TLS = &tls.Config{Certificates: []tls.Certificate{peer.Network().Certificate("127.0.0.1")}}
	s.StartTLS()
	defer s.Close()
	target := invitetest.Target{Name: "b.example", URL: s.URL, Invitee: "@bob:b.example", Peer: peer, Timeout: 100 * time.Millisecond}
	for r := range invitetest.Results(t.Context(), target, slices.Repeat([]invitetest.Check{checkNamed(t, "receive/v11")}, 30)...) {
		if r.Outcome == invitetest.Departed { // it was answered
			return
		}
	}
	t.Error("there is no answer though only some handshakes hung")
}

// In a table for publication nothing that the target wrote is a link or a mention.
func TestTablesHaveNoLinksOfTheTarget(t *testing.T) {
	const errcode = "see https://evil.example/x www.evil.example @torvalds a/b#1 $x$ ~~y~~ `|` :boom:"
	var b bytes.Buffer
	results := []invitetest.Result{{Check: checkNamed(t, "receive/type"), Outcome: invitetest.Departed, Detail: "it answers 400 " + errcode}}
	if err := invitetest.WriteMarkdown(&b, results); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		i := strings.Index(line, "see https")
		if i < 0 {
			continue
		}
		if strings.Count(line, "`") != 2 || strings.Count(line[:i], "`") != 1 || strings.Count(line, "|") != 5 {
			t.Error(line)
		}
		return
	}
	t.Errorf("no such line: %s", &b)
}

// A key document proves nothing by keys that nobody can use.
func TestKeyDocumentsWithoutUsableKeysDepart(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	document := `{"server_name":"b.example","verify_keys":{"rot13:1":{"key":"%s"}},"signatures":{},"valid_until_ts":%d}`
	until := time.Now().Add(24 * time.Hour).UnixMilli()
	for key, name := range map[string]string{"AAAA": "keys/signatures", `AA\nAA`: "keys/base64", `AA\r\nAA`: "keys/base64"} {
		target := elsewhere(t, peer, always(200, fmt.Sprintf(document, key, until)))
		if r := checkNamed(t, name).Run(t.Context(), target); r.Outcome != invitetest.Departed {
			t.Errorf("%s: %s", key, r)
		}
	}
}

// An operator's own name may be an address anywhere, if what leads there is the operator's.
func TestServersByAddressesElsewhere(t *testing.T) {
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := invitetest.NewNetwork(t)
	s := invitetest.NewServer(t, "192.0.2.5:8449", func(c *invitetest.ServerConfig) { c.Listener, c.Transport = listener, n.Transport() })
	if s.Name() != "192.0.2.5:8449" {
		t.Error(s.Name())
	}
	if _, err := invitetest.StartServer(invitetest.ServerConfig{Name: "192.0.2.5:8449"}); err == nil {
		t.Error("a server where nothing leads")
	}
	if err := n.Serve("192.0.2.5:8448", http.NotFoundHandler()); err == nil {
		t.Error("a handler where nothing leads")
	}
}

// What a server has no use for it does not read.
func TestServersDoNotReadWhatTheyRefuse(t *testing.T) {
	for name, c := range map[string]struct {
		keysOnly bool
		path     string
		length   int
		want     string
	}{
		"keys only, an invite":      {true, "/_matrix/federation/v2/invite/a/b", 1000, "404"},
		"keys only, anything":       {true, "/", 10 << 20, "404"},
		"keys only, a large body":   {true, keyPath, 10, "413"},
		"an unknown path":           {false, "/nothing", 10 << 20, "413"},
		"an invite of ten MiB":      {false, "/_matrix/federation/v2/invite/a/b", 10 << 20, "413"},
		"a transaction of 11 MiB":   {false, "/_matrix/federation/v1/send/1", 11 << 20, "413"},
		"a departure of two MiB":    {false, "/_matrix/federation/v2/send_leave/a/b", 2 << 20, "413"},
		"keys only, a large length": {true, "/_matrix/federation/v1/send/1", 1 << 40, "404"},
	} {
		t.Run(name, func(t *testing.T) {
			s := invitetest.NewServer(t, "", func(sc *invitetest.ServerConfig) { sc.KeysOnly = c.keysOnly })
			conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: s.Network().Roots(), MinVersion: tls.VersionTLS12}}).DialContext(t.Context(), "tcp", string(s.Name()))
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			// No body follows.
			fmt.Fprintf(conn, "PUT %s HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n", c.path, c.length)
			answer := make([]byte, 12)
			if _, err := io.ReadFull(conn, answer); err != nil || string(answer) != "HTTP/1.1 "+c.want {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
	s := invitetest.NewServer(t, "", func(c *invitetest.ServerConfig) { c.KeysOnly = true })
	fetchKeys(t, s)
	if seen := s.KeyRequests(); len(seen) != 1 || seen[0].Status != http.StatusOK {
		t.Error(seen)
	}
}
