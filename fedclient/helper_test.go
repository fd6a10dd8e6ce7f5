package fedclient_test

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

// serveTLS runs an HTTPS server for one test, and returns its server name and a RoundTripper
// to all such servers.
func serveTLS(t testing.TB, h http.Handler) (fedinvite.ServerName, *discovery.Transport) {
	t.Helper()
	n, err := anyNetwork()
	name := fedinvite.ServerName(strings.ToLower(rand.Text()) + ".ex")
	if err == nil {
		err = n.Serve(name, h)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Serve(name, nil) })
	return name, n.Transport()
}

var anyNetwork = sync.OnceValues(invitetest.StartNetwork)

// newTransport returns a RoundTripper to servers on the loopback interface whose certificates
// the system trusts.
func newTransport(t testing.TB, change ...func(*discovery.Config)) *discovery.Transport {
	t.Helper()
	c := discovery.Config{Allow: discovery.Loopback()}
	for _, f := range change {
		f(&c)
	}
	transport, err := discovery.New(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// unconnected returns a RoundTripper whose connections all fail so.
func unconnected(t testing.TB, err error) *discovery.Transport {
	t.Helper()
	return newTransport(t, func(c *discovery.Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, err }
	})
}

// newClient returns a Client that repeats nothing: pauses are real time.
func newClient(t testing.TB, transport http.RoundTripper, change ...func(*fedclient.Config)) *fedclient.Client {
	t.Helper()
	c := fedclient.Config{UserAgent: "fedinvite-test/1", Transport: transport, Retries: -1}
	for _, f := range change {
		f(&c)
	}
	client, err := fedclient.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

// retrying sets the default number of retries.
func retrying(c *fedclient.Config) { c.Retries = 0 }

// alwaysAsking leaves no server alone.
func alwaysAsking(c *fedclient.Config) { c.Backoff = fedclient.NoBackoff{} }

// says is an answer to whatever is asked.
func says(status int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func saysJSON(status int, body string) http.HandlerFunc {
	return says(status, "application/json", body)
}

// A peer is the invited server. It answers as the endpoints v2 and v1 of its test do, and
// where these are nil as it should.
type peer struct {
	*invitetest.Server
	t      *testing.T
	room   *invitetest.Room // of a.ex
	event  *fedinvite.Event
	client *fedclient.Client
}

const (
	v2Path = "/_matrix/federation/v2/invite/"
	v1Path = "/_matrix/federation/v1/invite/"
)

func newPeer(t *testing.T, version fedinvite.RoomVersion, v2, v1 http.Handler, change ...func(*fedclient.Config)) *peer {
	t.Helper()
	n, atNow := invitetest.NewNetwork(t), func(c *invitetest.ServerConfig) { c.Now = clock }
	n.NewServer(t, "a.ex", atNow) // publishes the key
	p := &peer{Server: n.NewServer(t, "", atNow), t: t, room: oddRoom("a.ex", rulesOf(t, version))}
	p.Handle(v2Path, v2)
	p.Handle(v1Path, v1)
	p.client = newClient(t, p.Transport(), change...)
	p.event = p.room.Invite("@b:" + string(p.Name()))
	return p
}

// oddRoom returns a room by @a of server whose ID has to be escaped.
func oddRoom(server fedinvite.ServerName, rules fedinvite.Rules) *invitetest.Room {
	return invitetest.RoomConfig{Rules: rules, Creator: "@a:" + string(server), Seed: "r/+%", Now: clock}.New()
}

// replies is a good answer of the v2 endpoint, with the event changed.
func replies(p *peer, change func(event json.RawMessage) json.RawMessage) {
	p.Handle(v2Path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			p.t.Error(err)
		}
		request, err := fedinvite.ParseRequestV2(body)
		if err != nil {
			p.t.Error(err)
		}
		saysJSON(200, string(invitetest.Encode(invitetest.Object{"event": change(request.Event)})))(w, r)
	}))
}

// inviteFor makes an invite by @a of s.
func inviteFor(invitee string, s fedinvite.Signer, rules fedinvite.Rules) *fedinvite.Event {
	return oddRoom(s.ServerName(), rules).Invite(invitee)
}

func (p *peer) sign(event json.RawMessage) json.RawMessage { return p.room.Sign(event, p.Signer()) }

func (p *peer) request() fedclient.InviteRequest {
	return fedclient.InviteRequest{
		Event: p.event, RoomState: p.room.RoomState(), Signer: invitetest.Signer("a.ex"), Keys: invitetest.Keys(p.Name()),
	}
}

func (p *peer) send() (fedclient.InviteReply, error) {
	return p.client.SendInvite(p.t.Context(), p.request())
}

// asked demands the endpoints that were used.
func (p *peer) asked(want ...string) {
	p.t.Helper()
	var got []string
	for _, r := range p.Requests() {
		got = append(got, strings.Split(r.Target, "/")[3])
		if r.Origin != "a.ex" || r.Method != "PUT" || r.Header.Get("User-Agent") != "fedinvite-test/1" || r.Header.Get("Content-Type") != "application/json" {
			p.t.Errorf("%s %s: %v", r.Method, r.Target, r.Header)
		}
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		p.t.Errorf("asked %v, want %v", got, want)
	}
}

// accepted demands that the invite was signed by the peer and is ours otherwise.
func (p *peer) accepted(reply fedclient.InviteReply, err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
	if err := reply.Event.Verify(p.t.Context(), invitetest.Keys("a.ex", p.Name()), "a.ex", p.Name()); err != nil {
		p.t.Error(err)
	}
	if got, want := stripped(reply.Event), stripped(p.event); reply.Event.ID() != p.event.ID() || got != want {
		p.t.Errorf("got  %s\nwant %s", got, want)
	}
}

// stripped is the event without signatures.
func stripped(e *fedinvite.Event) string {
	return string(invitetest.Change(e.AppendJSON(nil), invitetest.Drop("signatures")))
}

// A tripper is a RoundTripper made of a function.
type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// response is an answer without a server.
func response(status int, header map[string]string, body string) *http.Response {
	w := httptest.NewRecorder()
	for name, value := range header {
		w.Header().Set(name, value)
	}
	w.WriteHeader(status)
	_, _ = w.WriteString(body)
	return w.Result()
}

func newKey(t testing.TB, seed string) ed25519.PrivateKey {
	t.Helper()
	b := make([]byte, ed25519.SeedSize)
	copy(b, seed)
	return ed25519.NewKeyFromSeed(b)
}
