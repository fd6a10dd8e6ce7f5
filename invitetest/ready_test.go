package invitetest_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// takesAll is a handler of invites that takes them.
var takesAll = fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil })

// A roundTripper is a function that is one.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// onlyReason fails unless err is the result of all checks.
func onlyReason(t *testing.T, target invitetest.Target, parts ...string) {
	t.Helper()
	err := target.Ready(t.Context())
	for _, part := range parts {
		if err == nil || !strings.Contains(err.Error(), part) || strings.Contains(err.Error(), "\n") {
			t.Fatalf("%v, want %q", err, part)
		}
	}
	requests := 0
	for r := range invitetest.Results(t.Context(), target, invitetest.Checks()...) {
		requests += len(r.Exchange)
		if r.Outcome != invitetest.Unknown || !strings.Contains(r.Detail, parts[0]) || requests > 0 {
			t.Fatal(r)
		}
	}
}

// A handler that finds keys elsewhere than in the network of the test.
func TestATargetThatHasNotFetchedTheKeysOfItsPeer(t *testing.T) {
	peer, other := invitetest.NewServer(t, "peer.example"), invitetest.NewServer(t, "peer.example")
	receiver := other.IntroduceHandler("mine.example", takesAll)
	handler := invitetest.WithKeys(receiver, invitetest.Signer("mine.example"))
	other.Introduce("peer.example", http.NotFoundHandler())
	onlyReason(t, invitetest.Target{Name: "mine.example", Invitee: "@bob:mine.example", Peer: peer, Handler: handler},
		"mine.example has not fetched the keys of peer.example: does it use Peer.Transport?", "answers 503")
}

// One in another process that does not trust the peer's certificate.
func TestATargetThatDoesNotTrustItsPeer(t *testing.T) {
	ours, theirs := invitetest.NewNetwork(t), invitetest.NewNetwork(t)
	peer := ours.NewServer(t, "")
	server := theirs.NewServer(t, "")
	target := asTarget(peer, server)
	target.URL, target.Roots = "https://"+string(server.Name()), theirs.Roots()
	onlyReason(t, target, string(server.Name())+" has not fetched the keys of "+string(peer.Name())+": can it reach that server",
		"(TLS: remote error: tls: ", "answers 503")
}

// It is waited for, and what is not there, or shows another's certificate, is told of at once.
func TestATargetThatIsNotUpYet(t *testing.T) {
	peer := invitetest.NewServer(t, "")
	server := peer.Network().NewServer(t, "")
	refused := &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}
	n := 0
	target := asTarget(peer, server)
	target.URL = "https://" + string(server.Name())
	target.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
		if n++; n <= 2 {
			return nil, refused
		}
		return peer.Transport().RoundTrip(r)
	})
	if r := checkNamed(t, "receive/v11").Run(t.Context(), target); r.Outcome != invitetest.Passed || n != 4+1 { // and its keys
		t.Errorf("%s after %d requests", r, n)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	target.Transport = roundTripper(func(*http.Request) (*http.Response, error) { return nil, refused })
	if err := target.Ready(ctx); !errors.Is(err, refused) || !strings.Contains(err.Error(), "there is no connection to "+target.URL) {
		t.Error(err)
	}
	target.Transport = nil
	target.Roots = invitetest.NewNetwork(t).Roots()
	onlyReason(t, target, "there is no connection to "+target.URL, "certificate")
}

// A server by another name has a check of its own.
func TestATargetByAnotherName(t *testing.T) {
	peer := invitetest.NewServer(t, "")
	server := peer.Network().NewServer(t, "")
	target := invitetest.Target{Name: "mine.example", Invitee: "@bob:mine.example", Peer: peer, URL: "https://" + string(server.Name())}
	if r := checkNamed(t, "keys/server-name").Run(t.Context(), target); r.Outcome != invitetest.Departed {
		t.Error(r)
	}
}

// What tests forget.
func TestHints(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	room := peer.NewRoom(fedinvite.RoomV11, "@alice:peer.example")
	invite := func(want, not string) {
		t.Helper()
		_, err := peer.Invite(t.Context(), room, "@bob:mine.example")
		if err == nil || !strings.Contains(err.Error(), want) || not != "" && strings.Contains(err.Error(), not) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	invite("lookup mine.example.: no server of that name in this test's Network: Introduce it", "")
	other := invitetest.NewServer(t, "peer.example")
	receiver := other.IntroduceHandler("mine.example", takesAll)
	other.Introduce("peer.example", http.NotFoundHandler())
	peer.Introduce("mine.example", invitetest.WithKeys(receiver, invitetest.Signer("mine.example")))
	const hint = "mine.example has not fetched the keys of peer.example: does it use Server.Transport"
	invite(hint, "")
	peer.IntroduceHandler("mine.example", fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return errors.New("broken") }))
	invite("500", hint)
}

func TestWhoHangsUpIsAwaited(t *testing.T) {
	peer := invitetest.NewServer(t, "")
	peer.Break(invitetest.Slow)
	for _, path := range []string{"/_matrix/federation/v1/version", "/_matrix/key/v2/server"} {
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+string(peer.Name())+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := peer.Transport().RoundTrip(req); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		cancel()
		if seen, err := peer.AwaitHungUp(t.Context()); err != nil || seen.Target != path || !seen.HungUp {
			t.Errorf("%+v, %v", seen, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("enough"))
	if _, err := peer.AwaitHungUp(ctx); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Error(err)
	}
	peer.Close()
	if _, err := peer.AwaitHungUp(t.Context()); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Error(err)
	}
}

// A server in another process reads certificate, key and roots from files.
func TestCertificatesAsPEM(t *testing.T) {
	network := invitetest.NewNetwork(t)
	certificate, err := tls.X509KeyPair(network.CertificatePEM("mine.example", "127.0.0.1"))
	if err != nil {
		t.Fatal(err)
	}
	server := network.NewServer(t, "mine.example", func(c *invitetest.ServerConfig) { c.Certificate = &certificate })
	peer := network.NewServer(t, "peer.example")
	if _, err := peer.Invite(t.Context(), peer.NewRoom(fedinvite.RoomV12, "@alice:peer.example"), "@bob:mine.example"); err != nil {
		t.Error(server.Name(), err)
	}
}

// The first of several departures is told of, and that there are more.
func TestSeveralDepartures(t *testing.T) {
	peer := invitetest.NewServer(t, "peer.example")
	for status, want := range map[int]string{500: " (first of 6)", 400: ""} {
		target := introduce(t, peer, departing{wrap: rewriting(func(r *http.Request, a *reply) {
			if isInvite(r) {
				a.status, a.body = status, []byte(`{"errcode":"M_UNKNOWN","error":"KeyError('origin')\n`+strings.Repeat("x", 100)+`"}`)
			}
		})})
		r := checkNamed(t, "state/not-a-list").Run(t.Context(), target)
		if want == "" {
			if r.Outcome != invitetest.Passed || r.Said != "" {
				t.Error(r)
			}
			continue
		}
		if !strings.HasSuffix(r.Detail, want) || len(r.Said) > 90 || !strings.HasPrefix(r.Said, "KeyError('origin') xx") || !strings.HasSuffix(r.Said, "…") {
			t.Error(r)
		}
	}
}
