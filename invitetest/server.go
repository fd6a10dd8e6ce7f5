package invitetest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// A ServerConfig says how a [Server] works. The zero ServerConfig is right for most tests.
type ServerConfig struct {
	// Name is the server's name; "": the address it listens on, such as 127.0.0.1:43210, by
	// which servers find it that have no part in a Network. An address elsewhere than on
	// loopback needs a Listener and a Transport, as no Network leads there.
	Name fedinvite.ServerName
	// Network is the one it is in; nil: one of its own.
	Network *Network
	// Listener is where it listens, by TCP; nil: a free port of 127.0.0.1.
	Listener net.Listener
	// Certificate is what it shows; nil: one of the Network for its name and address.
	Certificate *tls.Certificate
	// Transport carries what it sends; nil: that of the Network.
	Transport http.RoundTripper
	// Signer is its signing key; nil: [Signer] of its name. For servers that are to be
	// believed by others than tests give a key of their own.
	Signer fedinvite.Signer
	// Now is its clock, by which it signs events, publishes keys and judges those of others;
	// nil: time.Now. TLS goes by the real time.
	Now func() time.Time
	// KeysOnly: it answers requests for its keys and its version, and all others by 404
	// before it reads their bodies. That is all that a server under test needs which is not
	// asked to invite anybody; set it where strangers can reach the Listener.
	KeysOnly bool
	// Receiver changes the configuration with which invites are received: hooks, policies.
	// A Handler that it sets may refuse; invites that are accepted are remembered all the
	// same.
	Receiver func(*fedinvite.Config)
}

// A Server is a homeserver on loopback: it publishes its keys, receives invites to its
// users, all of whom exist, and sends invites to rooms of its users; those who decline can
// do so by make_leave and send_leave, and invites of others to its users can be taken back
// by a transaction. It remembers what it saw. It is safe for concurrent use.
//
// A request takes ten seconds at most, and none is repeated.
type Server struct {
	name       fedinvite.ServerName
	network    *Network
	ownNetwork bool
	transport  http.RoundTripper
	now        func() time.Time
	client     *fedclient.Client
	home       *homeserver
	keysOnly   bool
	reading    atomic.Int64 // bytes of bodies that are being read and answered
	host       *host
	over       chan struct{} // closed by Close
	end        sync.Once
	seen       seenLog
	invites    inviteLog
	rooms      roomList
	state      faultState
	handlers   handlerList

	mu     sync.Mutex
	signer fedinvite.Signer
	old    map[fedinvite.KeyID]fedinvite.VerifyKey
	ring   *keyring.Ring
}

const (
	userAgent  = "invitetest/1"
	timeout    = 10 * time.Second
	keyTimeout = 5 * time.Second
)

// NewServer starts a server that ends with the test; change may change what it is made of.
func NewServer(tb testing.TB, name fedinvite.ServerName, change ...func(*ServerConfig)) *Server {
	tb.Helper()
	c := ServerConfig{Name: name}
	for _, f := range change {
		f(&c)
	}
	s, err := StartServer(c)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// StartServer starts a server for programs that are no tests. Close it.
func StartServer(c ServerConfig) (*Server, error) {
	s := &Server{network: c.Network, ownNetwork: c.Network == nil, transport: c.Transport, now: c.Now, keysOnly: c.KeysOnly, over: make(chan struct{})}
	if s.ownNetwork {
		var err error
		if s.network, err = StartNetwork(); err != nil {
			return nil, err
		}
	}
	if err := s.start(c); err != nil {
		s.Close()
		return nil, err
	}
	return s, nil
}

func (s *Server) start(c ServerConfig) error {
	if s.now == nil {
		s.now = time.Now
	}
	if s.transport == nil {
		s.transport = s.network.transport
	}
	listener := c.Listener
	if listener == nil {
		var err error
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return fmt.Errorf("invitetest: %w", err)
		}
	}
	if err := s.open(c, listener); err != nil {
		_ = listener.Close()
		return err
	}
	if c.Name != "" {
		if err := onLoopback(s.name); err != nil && (c.Listener == nil || c.Transport == nil) {
			return err
		}
		if err := s.network.settle(s.name, place{address: s.host.address()}); err != nil {
			return err
		}
	}
	s.network.join(s)
	return nil
}

// open makes all that there is of the server, and begins to listen.
func (s *Server) open(c ServerConfig, listener net.Listener) error {
	address := addressOf(listener)
	if s.name = c.Name; s.name == "" {
		s.name = fedinvite.ServerName(address)
	}
	if _, err := fedinvite.ParseServerName(string(s.name)); err != nil {
		return fmt.Errorf("invitetest: %w", err)
	}
	if s.signer = c.Signer; s.signer == nil {
		s.signer = Signer(s.name)
	}
	if s.signer.ServerName() != s.name {
		return fmt.Errorf("invitetest: the Signer is of %q, and the server is %q", s.signer.ServerName(), s.name)
	}
	var err error
	if s.client, err = newClient(s.transport, s.now); err != nil {
		return err
	}
	if s.ring, err = s.newRing(); err != nil {
		return err
	}
	if s.home, err = newHomeserver(s, c.Receiver); err != nil {
		return err
	}
	certificate := c.Certificate
	if certificate == nil {
		own, err := s.network.authority.certificate(s.name.Host(), fedinvite.ServerName(address).Host())
		if err != nil {
			return err
		}
		certificate = &own
	}
	s.host, err = startHost(listener, *certificate, http.HandlerFunc(s.serveHTTP))
	return err
}

// newClient returns a client that repeats nothing and leaves nobody alone.
func newClient(transport http.RoundTripper, now func() time.Time) (*fedclient.Client, error) {
	return fedclient.New(fedclient.Config{
		UserAgent: userAgent, Transport: transport, Timeout: timeout, KeyTimeout: keyTimeout,
		Retries: -1, Backoff: fedclient.NoBackoff{}, Now: now,
	})
}

// Close ends the server, its connections and, if it is its own, the Network. It may be
// called again.
func (s *Server) Close() {
	s.end.Do(func() {
		close(s.over)
		s.state.elsewhere().close()
		s.host.close()
		if s.host != nil {
			s.network.leave(s)
		}
		if s.ownNetwork {
			s.network.Close()
		}
	})
}

// Name returns the server's name.
func (s *Server) Name() fedinvite.ServerName { return s.name }

// Network returns the network that the server is in.
func (s *Server) Network() *Network { return s.network }

// Signer returns the signing key as it is now; see [Server.RotateKey].
func (s *Server) Signer() fedinvite.Signer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.signer
}

// Keys finds the keys of the other servers, as the server itself does, by asking them, and
// those of the server itself. It asks a server again after a minute at the earliest, or
// when there is another of that name; see [Server.Introduce].
func (s *Server) Keys() fedinvite.KeySource { return serverKeys{s} }

// Introduce makes the server under test known to this one, and to all in its Network:
// requests to name go to handler, by TLS. It may be introduced before it is complete, and
// again: then the new handler takes the place of the old one, and the keys of that are
// forgotten; nil is a server that is down. It panics if name is malformed.
//
// The other server needs the keys of this one, which it finds by [Server.Transport] or
// [Server.Client]. It has to publish its own; for one that does not, such as a
// [fedinvite.Receiver] alone, there is [WithKeys], and for a [fedinvite.Handler] alone
// [Server.IntroduceHandler].
func (s *Server) Introduce(name fedinvite.ServerName, handler http.Handler) {
	if err := s.network.Serve(name, handler); err != nil {
		panic(err.Error())
	}
}

// Transport carries requests of the server under test: it finds this server, and all in
// its Network, by name.
func (s *Server) Transport() *discovery.Transport { return s.network.transport }

// Client returns a client for the server under test, which uses [Server.Transport]. It
// repeats nothing, so that tests of failures need not wait.
func (s *Server) Client() *fedclient.Client { return must(newClient(s.network.transport, s.now)) }

// Send makes a request to q.To as it is, and returns status and body of what that answers,
// whatever it is, up to 1 MiB.
func (s *Server) Send(ctx context.Context, q Request) (status int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	response, err := s.transport.RoundTrip(q.HTTP(ctx, "https://"+string(q.To)))
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(io.LimitReader(response.Body, 1<<20))
	return response.StatusCode, body, err
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(fmt.Sprintf("invitetest: %v", err))
	}
	return v
}
