package fedclient_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"log"
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
	"github.com/seed-0a46cb1a/fedinvite/internal/testkey"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

// serveTLS runs an HTTPS server on the loopback interface for one test, and returns
// its server name and a RoundTripper that trusts it.
func serveTLS(t testing.TB, h http.Handler) (fedinvite.ServerName, *discovery.Transport) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = true
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	roots := x509.NewCertPool()
	roots.AddCert(s.Certificate())
	return fedinvite.ServerName(strings.TrimPrefix(s.URL, "https://")), newTransport(t, roots)
}

// newTransport returns a RoundTripper to servers on the loopback interface.
func newTransport(t testing.TB, roots *x509.CertPool, change ...func(*discovery.Config)) *discovery.Transport {
	t.Helper()
	c := discovery.Config{TLS: &tls.Config{RootCAs: roots}, Allow: discovery.Loopback()}
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
	return newTransport(t, nil, func(c *discovery.Config) {
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

// An answer is what a peer says to an invite.
type answer func(p *peer, w http.ResponseWriter, event json.RawMessage)

// says is an answer that does not depend on the invite.
func says(status int, contentType, body string) answer {
	return func(_ *peer, w http.ResponseWriter, _ json.RawMessage) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func saysJSON(status int, body string) answer { return says(status, "application/json", body) }

// replies is a good answer of the v2 endpoint, with the event changed.
func replies(change func(p *peer, event json.RawMessage) json.RawMessage) answer {
	return func(p *peer, w http.ResponseWriter, event json.RawMessage) {
		w.Header().Set("Content-Type", "application/json")
		body, err := fedinvite.Response{Event: change(p, event)}.MarshalV2()
		if err != nil {
			p.t.Error(err)
		}
		_, _ = w.Write(body)
	}
}

// agrees is a good answer of the v2 endpoint, agreesV1 one of the v1 endpoint.
var agrees = replies((*peer).sign)

func agreesV1(p *peer, w http.ResponseWriter, event json.RawMessage) {
	w.Header().Set("Content-Type", "application/json")
	body, err := fedinvite.Response{Event: p.sign(event)}.MarshalV1()
	if err != nil {
		p.t.Error(err)
	}
	_, _ = w.Write(body)
}

// A peer is the invited server: it checks the request and gives the answer that its
// test wants.
type peer struct {
	t      *testing.T
	us     fedinvite.Signer // the inviting server
	signer fedinvite.Signer // the peer's
	rules  fedinvite.Rules
	event  *fedinvite.Event
	keys   fedinvite.KeyMap
	client *fedclient.Client

	mu      sync.Mutex
	v2, v1  answer
	targets []string // of all requests
}

func newPeer(t *testing.T, version fedinvite.RoomVersion, v2, v1 answer, change ...func(*fedclient.Config)) *peer {
	t.Helper()
	rules, err := version.Rules()
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, us: testkey.Signer(t, "a.ex", "ed25519:1"), rules: rules, v2: v2, v1: v1, keys: fedinvite.KeyMap{}}
	name, transport := serveTLS(t, http.HandlerFunc(p.serve))
	p.signer = testkey.Signer(t, name, "ed25519:1")
	p.keys.Add(p.us)
	p.keys.Add(p.signer)
	p.client = newClient(t, transport, change...)
	p.event = inviteFor(t, "@b:"+string(name), p.us, rules)
	return p
}

// inviteFor makes an invite by @a of s.
func inviteFor(t testing.TB, invitee string, s fedinvite.Signer, rules fedinvite.Rules) *fedinvite.Event {
	t.Helper()
	room := "!r/+%:" + string(s.ServerName())
	if rules.RoomIDIsCreateEvent {
		room = "!" + strings.Repeat("r", 43)
	}
	e, err := fedinvite.NewInvite(t.Context(), fedinvite.Draft{
		RoomID: room, Sender: "@a:" + string(s.ServerName()), Invitee: invitee, Depth: 7, Time: now,
	}, rules, s)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (p *peer) serve(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		p.t.Error(err)
	}
	credentials, err := xmatrix.Verifier{Keys: p.keys, Now: clock}.Credentials(r)
	if err == nil {
		err = credentials.Verify(r.Context(), body)
	}
	if err != nil || credentials.Destination != p.signer.ServerName() || credentials.Origin != "a.ex" {
		p.t.Errorf("%s: %+v, %v", r.RequestURI, credentials, err)
	}
	if r.Method != "PUT" || r.UserAgent() != "fedinvite-test/1" || r.Header.Get("Content-Type") != "application/json" {
		p.t.Errorf("%s %s: %v", r.Method, r.RequestURI, r.Header)
	}
	p.mu.Lock()
	p.targets = append(p.targets, r.RequestURI)
	give, parse := p.v2, fedinvite.ParseRequestV2
	if strings.HasPrefix(r.RequestURI, "/_matrix/federation/v1/") {
		give, parse = p.v1, fedinvite.ParseRequestV1
	}
	p.mu.Unlock()
	req, err := parse(body)
	if err != nil || give == nil {
		p.t.Errorf("unexpected request %s: %v", r.RequestURI, err)
		return
	}
	give(p, w, req.Event)
}

func (p *peer) sign(event json.RawMessage) json.RawMessage {
	p.t.Helper()
	signed, err := fedinvite.SignEventJSON(p.t.Context(), event, p.rules, p.signer)
	if err != nil {
		p.t.Error(err)
	}
	return signed
}

func (p *peer) request() fedclient.InviteRequest {
	return fedclient.InviteRequest{Event: p.event, RoomState: []json.RawMessage{}, Signer: p.us, Keys: p.keys}
}

func (p *peer) send() (fedclient.InviteReply, error) {
	return p.client.SendInvite(p.t.Context(), p.request())
}

// asked demands the endpoints that were used.
func (p *peer) asked(want ...string) {
	p.t.Helper()
	var got []string
	for _, target := range p.targets {
		got = append(got, strings.Split(target, "/")[3])
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
	if err := reply.Event.Verify(p.t.Context(), p.keys, "a.ex", p.signer.ServerName()); err != nil {
		p.t.Error(err)
	}
	if reply.Event.ID() != p.event.ID() || !bytes.Equal(stripped(p.t, reply.Event), stripped(p.t, p.event)) {
		p.t.Errorf("got  %s\nwant %s", stripped(p.t, reply.Event), stripped(p.t, p.event))
	}
}

// stripped is the event without signatures.
func stripped(t testing.TB, e *fedinvite.Event) []byte {
	t.Helper()
	var o map[string]any
	if err := json.Unmarshal(e.AppendJSON(nil), &o); err != nil {
		t.Fatal(err)
	}
	delete(o, "signatures")
	b, err := json.Marshal(o)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// with changes members of an event, by the names given.
func with(t testing.TB, event json.RawMessage, change func(o map[string]any)) json.RawMessage {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(event))
	d.UseNumber()
	var o map[string]any
	if err := d.Decode(&o); err != nil {
		t.Error(err)
	}
	change(o)
	b, err := json.Marshal(o)
	if err != nil {
		t.Error(err)
	}
	return b
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
