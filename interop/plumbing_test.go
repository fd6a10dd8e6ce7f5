package interop

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

const (
	delegating = "synapse.test"        // Synapse's name: only a .well-known file is there
	delegated  = "matrix.synapse.test" // where it is
)

// TestPlumbing finds a Synapse by .well-known delegation, has it as a notary, and changes
// its signing key.
func TestPlumbing(t *testing.T) {
	ctx := t.Context()
	if deadline, ok := t.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-2*stopTimeout))
		defer cancel()
	}
	dir := t.TempDir()
	ca := newAuthority(t, dir)
	synapse := newSynapse(t, installSynapse(ctx, t), dir, ca)
	synapse.name, synapse.certs = delegating, []string{delegated}
	synapse.run(ctx, t, ca)
	alice, err := synapse.client.register(ctx, synapse.secret, "alice")
	if err != nil {
		t.Fatal(err)
	}
	ours := startOurs(t, ca, synapse)

	var invited *fedinvite.Event // by Synapse, before it changed its key
	t.Run("delegation", func(t *testing.T) {
		ours.query(ctx, t, alice.userID)
		wanted := fedinvite.ServerName(delegated + ":" + portOf(t, synapse.address))
		if got, err := ours.transport.Resolver().Resolve(ctx, delegating); err != nil || got.Step != "3.2" || got.Delegated != wanted {
			t.Errorf("resolved to %+v, %v", got, err)
		}
		if n := ours.wellKnown.Load(); n != 1 {
			t.Errorf("%d requests for .well-known, want one", n)
		}
		invited = ours.receive(ctx, t, alice)
	})
	if t.Failed() {
		return
	}
	t.Run("notary", func(t *testing.T) { ours.askNotary(ctx, t, synapse) })
	t.Run("rotation", func(t *testing.T) {
		old := synapse.signer(t)
		synapse.rotate(ctx, t, ca)
		ours.advance(2 * time.Minute) // a server is asked again after a minute
		later := ours.receive(ctx, t, alice)
		if err := later.Verify(ctx, ours.ring); err != nil {
			t.Errorf("an event signed by the new key: %v", err)
		}
		key, err := ours.ring.VerifyKey(ctx, delegating, old.KeyID(), time.Time{})
		if err != nil || key.ExpiredAt.IsZero() {
			t.Fatalf("the old key: %+v, %v; want one that has expired", key, err)
		}
		if err := invited.Verify(ctx, ours.ring); err != nil {
			t.Errorf("an event from before, signed by the old key: %v", err)
		}
		if status := ours.knock(ctx, t, ca, old); status != http.StatusUnauthorized {
			t.Errorf("a request signed by the old key: status %d, want 401", status)
		}
		// The room version is unknown, which is looked at once the request is believed.
		if status := ours.knock(ctx, t, ca, synapse.signer(t)); status != http.StatusBadRequest {
			t.Errorf("a request signed by the new key: status %d, want 400", status)
		}
	})
}

// ours is a server in this process, made of the library's parts.
type ours struct {
	signer    fedinvite.Signer
	transport *discovery.Transport
	client    *fedclient.Client
	ring      *keyring.Ring
	invites   chan *fedinvite.Invite
	wellKnown atomic.Int64 // requests
	ahead     atomic.Int64 // of the real clock, in nanoseconds
}

func startOurs(t *testing.T, ca *authority, synapse *homeserver) *ours {
	t.Helper()
	o := &ours{invites: make(chan *fedinvite.Invite, 16)}
	wellKnown := serveTLS(t, ca, "wellknown", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.wellKnown.Add(1)
		if r.Host != delegating || r.URL.Path != "/.well-known/matrix/server" {
			t.Errorf("%s was asked for %s", r.Host, r.URL)
		}
		fmt.Fprintf(w, `{"m.server":"%s:%s"}`, delegated, portOf(t, synapse.address))
	}), delegating)

	roots := x509.NewCertPool()
	roots.AddCert(ca.cert)
	var err error
	o.transport, err = discovery.New(discovery.Config{
		TLS:   &tls.Config{RootCAs: roots},
		Allow: discovery.Loopback(),
		DNS:   loopbackNames{delegating, delegated},
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			if strings.HasSuffix(address, ":443") {
				address = wellKnown // a port that needs no privileges
			}
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.transport.CloseIdleConnections)
	if o.client, err = fedclient.New(fedclient.Config{UserAgent: "interop/1", Transport: o.transport}); err != nil {
		t.Fatal(err)
	}

	var h lateHandler
	name := fedinvite.ServerName(serveTLS(t, ca, "ours", &h))
	id, key, err := fedinvite.ParseSigningKey(newKeyLine("ours"))
	if err != nil {
		t.Fatal(err)
	}
	if o.signer, err = fedinvite.NewSigner(name, id, key); err != nil {
		t.Fatal(err)
	}
	local := keyring.Signers(o.signer)
	o.ring, err = keyring.New(keyring.Config{Fetcher: o.client, Now: o.now, Local: local})
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      local.Signer,
		Keys:        o.ring,
		Credentials: xmatrix.Verifier{Keys: o.ring, Now: o.now}.Credentials,
		Handler: fedinvite.HandlerFunc(func(_ context.Context, inv *fedinvite.Invite) error {
			o.invites <- inv
			return nil
		}),
	})
	if err != nil {
		t.Fatal(err)
	}
	published, err := keyring.NewPublishHandler(keyring.PublishConfig{Local: local, Now: o.now})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/_matrix/federation/v1/invite/", receiver)
	mux.Handle("/_matrix/federation/v2/invite/", receiver)
	mux.Handle("/_matrix/key/v2/server", published)
	h.set(mux)
	return o
}

func (o *ours) now() time.Time { return time.Now().Add(time.Duration(o.ahead.Load())) }

func (o *ours) advance(d time.Duration) { o.ahead.Add(int64(d)) }

// query makes a signed request that Synapse answers only if it believes it.
func (o *ours) query(ctx context.Context, t *testing.T, userID string) {
	t.Helper()
	_, err := o.client.Do(ctx, fedclient.Request{
		Method:      http.MethodGet,
		Destination: delegating,
		Path:        []string{"_matrix", "federation", "v1", "query", "profile"},
		Query:       url.Values{"user_id": {userID}},
		Signer:      o.signer,
	})
	if err != nil {
		t.Errorf("a signed request to Synapse: %v", err)
	}
}

// receive has a user of Synapse's invite one of ours.
func (o *ours) receive(ctx context.Context, t *testing.T, alice client) *fedinvite.Event {
	t.Helper()
	roomID, err := alice.createRoom(ctx, "11", "Plumbing")
	if err != nil {
		t.Fatal(err)
	}
	if err := alice.invite(ctx, roomID, "@guest:"+string(o.signer.ServerName())); err != nil {
		t.Fatalf("Synapse's invite: %v", err)
	}
	select {
	case inv := <-o.invites:
		if inv.Origin != delegating || inv.Event.RoomID() != roomID {
			t.Fatalf("received %+v", inv)
		}
		return inv.Event
	case <-ctx.Done():
		t.Fatal("no invite arrived")
		return nil
	}
}

// askNotary asks Synapse for our own keys, as a server would that cannot reach us.
func (o *ours) askNotary(ctx context.Context, t *testing.T, synapse *homeserver) {
	t.Helper()
	var mu sync.Mutex
	var reports []error
	silent := keyring.FetcherFunc(func(context.Context, fedinvite.ServerName) ([]byte, error) {
		return nil, errors.New("cannot be reached")
	})
	newRing := func(pinned ed25519.PublicKey) *keyring.Ring {
		ring, err := keyring.New(keyring.Config{
			Fetcher:       silent,
			NotaryFetcher: o.client,
			Notaries: []keyring.Notary{{
				Server: delegating,
				Keys:   map[fedinvite.KeyID]ed25519.PublicKey{synapse.signer(t).KeyID(): pinned},
			}},
			Now: o.now,
			Report: func(server fedinvite.ServerName, err error) {
				mu.Lock()
				defer mu.Unlock()
				reports = append(reports, fmt.Errorf("%s: %w", server, err))
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		return ring
	}

	us := o.signer.ServerName()
	ring := newRing(synapse.signer(t).Public())
	key, err := ring.VerifyKey(ctx, us, o.signer.KeyID(), o.now())
	if err != nil || !key.Public.Equal(o.signer.Public()) || !key.ValidAt(o.now()) {
		t.Errorf("by the notary: %+v, %v (reports: %v)", key, err, reports)
	}
	ring = newRing(synapse.signer(t).Public())
	if err := ring.Prefetch(ctx, []fedinvite.ServerName{us}); err != nil {
		t.Errorf("prefetching by the notary: %v (reports: %v)", err, reports)
	}
	if key, err = ring.VerifyKey(ctx, us, o.signer.KeyID(), time.Time{}); err != nil || !key.Public.Equal(o.signer.Public()) {
		t.Errorf("after Prefetch: %+v, %v", key, err)
	}
	ring = newRing(o.signer.Public()) // not the notary's
	if key, err = ring.VerifyKey(ctx, us, o.signer.KeyID(), o.now()); err == nil {
		t.Errorf("with another key pinned for the notary: %+v", key)
	}
}

// knock sends us an invite of an unknown room version, and returns the status.
func (o *ours) knock(ctx context.Context, t *testing.T, ca *authority, from fedinvite.Signer) int {
	t.Helper()
	us := o.signer.ServerName()
	body := []byte(`{"event":{},"room_version":"unknown"}`)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut,
		"https://"+string(us)+"/_matrix/federation/v2/invite/%21room/%24event", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if err := xmatrix.Sign(ctx, req, body, us, from); err != nil {
		t.Fatal(err)
	}
	res, err := ca.client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, _ := io.ReadAll(res.Body)
	t.Logf("%s: %d %s", from.KeyID(), res.StatusCode, text)
	return res.StatusCode
}

// signer returns Synapse's own signing key.
func (h *homeserver) signer(t *testing.T) fedinvite.Signer {
	t.Helper()
	id, key, err := fedinvite.ParseSigningKey(h.keyLine)
	if err != nil {
		t.Fatal(err)
	}
	s, err := fedinvite.NewSigner(fedinvite.ServerName(h.name), id, key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// rotate restarts Synapse with a new signing key, and publishes the one that it had as an
// old one.
func (h *homeserver) rotate(ctx context.Context, t *testing.T, ca *authority) {
	t.Helper()
	h.stop()
	old := h.signer(t)
	h.oldKeys[string(old.KeyID())] = map[string]any{
		"key":        base64.RawStdEncoding.EncodeToString(old.Public()),
		"expired_ts": time.Now().UnixMilli(),
	}
	h.keyLine = newKeyLine("a_later")
	h.run(ctx, t, ca)
}

// serveTLS runs a server on the loopback interface, with a certificate for that and for
// the given hosts, and returns its address.
func serveTLS(t *testing.T, ca *authority, name string, h http.Handler, hosts ...string) string {
	t.Helper()
	cert, err := tls.LoadX509KeyPair(ca.issue(t, name, hosts...))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{cert}}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// A lateHandler is told what to do once the server's address is known.
type lateHandler struct{ h atomic.Pointer[http.Handler] }

func (l *lateHandler) set(h http.Handler) { l.h.Store(&h) }

func (l *lateHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h := l.h.Load(); h != nil {
		(*h).ServeHTTP(w, r)
		return
	}
	http.Error(w, "not ready", http.StatusServiceUnavailable)
}

// loopbackNames are host names of the loopback interface, without SRV records.
type loopbackNames []string

func (l loopbackNames) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if !slices.Contains(l, strings.TrimSuffix(host, ".")) {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1})}, nil
}

func (loopbackNames) LookupSRV(_ context.Context, _, _, name string) (string, []*net.SRV, error) {
	return "", nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

func portOf(t *testing.T, address string) string {
	t.Helper()
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	return port
}
