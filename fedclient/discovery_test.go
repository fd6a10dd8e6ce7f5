package fedclient_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/internal/internet"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

func TestPlumbing55TheDefaultTransportDoesNotConnectToLoopback(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = newClient(t, nil).FetchServerKeys(t.Context(), fedinvite.ServerName(l.Addr().String()))
	if !errors.Is(err, discovery.ErrAddress) || !errors.Is(err, fedclient.ErrUnreachable) {
		t.Errorf("got %v", err)
	}
	own, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer own.Close()
	first, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if first.RemoteAddr().String() != own.LocalAddr().String() {
		t.Error("it has connected")
	}
}

// serveInvalid starts a server whose certificate an authority has signed that n does not know.
func serveInvalid(t *testing.T, n *internet.Network, address string) {
	elsewhere := internet.New(t).Serve(address, []string{"example.com"}, func(http.ResponseWriter, *http.Request) { t.Error("asked") })
	n.Place(address, elsewhere.Listener.Addr().String())
}

// clientIn returns a Client in n, and a count of its attempts.
func clientIn(t *testing.T, n *internet.Network, change ...func(*fedclient.Config)) (*fedclient.Client, *int) {
	t.Helper()
	transport, attempts := n.Transport(nil), new(int)
	return newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
		*attempts++
		return transport.RoundTrip(r)
	}), change...), attempts
}

// What cannot have changed in a few seconds is asked once, and nobody has seen anything.
func TestServersThatDiscoveryDoesNotReach(t *testing.T) {
	notFound := new(net.DNSError)
	private := "10.0.0.1"
	for name, c := range map[string]struct {
		server fedinvite.ServerName
		change func(n *internet.Network)
		want   error // notFound: a *net.DNSError
		dialed []string
	}{
		"an address of ours":        {"127.0.0.1", nil, discovery.ErrAddress, nil},
		"an IPv4-mapped address":    {"[::ffff:10.0.0.1]:8448", nil, discovery.ErrAddress, nil},
		"what is taken for one":     {"127.1", nil, discovery.ErrAddress, nil},
		"a name of ours":            {"example.com", func(n *internet.Network) { n.DNS.Addr("example.com", private) }, discovery.ErrAddress, nil},
		"a name of ours, with port": {"example.com:8448", func(n *internet.Network) { n.DNS.Addr("example.com", private) }, discovery.ErrAddress, nil},
		"records that lead to ours": {"example.com", func(n *internet.Network) {
			n.TwoTargets("example.com")
			n.DNS.Addr("t1.ex", private)
			n.DNS.Addr("t2.ex", private)
		}, discovery.ErrAddress, nil},
		"not offered":   {"example.com", func(n *internet.Network) { n.DNS.SRV("_matrix-fed._tcp.example.com", net.SRV{Target: "."}) }, discovery.ErrNoServer, nil},
		"port 0":        {"example.com:0", nil, discovery.ErrNoServer, nil},
		"no such name":  {"example.com", nil, notFound, nil},
		"no address":    {"example.com", func(n *internet.Network) { n.DNS.Addr("example.com") }, notFound, nil},
		"no such hosts": {"example.com", func(n *internet.Network) { n.TwoTargets("example.com"); n.DNS.Remove("t1.ex"); n.DNS.Remove("t2.ex") }, notFound, nil},
		"no valid certificate": {"example.com:1", func(n *internet.Network) {
			n.DNS.Addr("example.com", "8.0.0.1")
			serveInvalid(t, n, "8.0.0.1:1")
		}, nil, []string{"8.0.0.1:1"}},
		"no valid certificates": {"example.com", func(n *internet.Network) {
			n.TwoTargets("example.com")
			serveInvalid(t, n, "8.0.0.1:9001")
			serveInvalid(t, n, "8.0.0.2:9002")
		}, nil, []string{"8.0.0.1:9001", "8.0.0.2:9002"}},
		"nothing to be connected to": {"example.com", func(n *internet.Network) {
			n.TwoTargets("example.com")
			serveInvalid(t, n, "8.0.0.1:9001")
			n.DNS.Addr("t2.ex", private)
		}, discovery.ErrAddress, []string{"8.0.0.1:9001"}},
	} {
		t.Run(name, func(t *testing.T) {
			n, b, s := internet.New(t), new(board), newStage(t, fedinvite.RoomV11)
			if c.change != nil {
				c.change(n)
			}
			client, attempts := clientIn(t, n, retrying, b.config)
			s.config.Client = client
			_, err := s.invite("@b:" + string(c.server))
			var failed *fedclient.InviteError
			if !errors.As(err, &failed) || failed.Event == nil || failed.MaybeSeen || !errors.Is(err, fedclient.ErrUnreachable) || !fedclient.Retryable(err) {
				t.Errorf("got %#v (%v)", failed, err)
			}
			var missing *net.DNSError
			if c.want == notFound && (!errors.As(err, &missing) || !missing.IsNotFound) || c.want != nil && c.want != notFound && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if dials := n.Dials(); *attempts != 1 || !slices.Equal(dials, c.dialed) {
				t.Errorf("%d attempts, dialled %v", *attempts, dials)
			}
			if diff := cmp.Diff([]string{string(c.server) + " failed"}, b.reported); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What may be otherwise in a few seconds is asked again, also if only one of its places may
// be.
func TestServersThatDiscoveryMayReachSoon(t *testing.T) {
	for name, change := range map[string]func(n *internet.Network){
		"the second is down": func(n *internet.Network) { n.TwoTargets("example.com"); serveInvalid(t, n, "8.0.0.1:9001") },
		"the first is down":  func(n *internet.Network) { n.TwoTargets("example.com"); n.DNS.Addr("t2.ex", "10.0.0.1") },
		"no DNS":             func(n *internet.Network) { n.DNS.Fail("_matrix-fed._tcp.example.com") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // there are pauses
			n, s := internet.New(t), newStage(t, fedinvite.RoomV11)
			change(n)
			client, attempts := clientIn(t, n, func(c *fedclient.Config) { c.Retries, c.Random = 1, func() float64 { return 0 } })
			s.config.Client = client
			_, err := s.invite("@b:example.com")
			var failed *fedclient.InviteError
			if !errors.As(err, &failed) || failed.MaybeSeen || !errors.Is(err, fedclient.ErrUnreachable) || *attempts != 2 {
				t.Errorf("%d attempts: %v", *attempts, err)
			}
		})
	}
}

func TestPlumbing53AnInviteIsIntactAtTheSecondTarget(t *testing.T) {
	for protocol := 1; protocol <= 2; protocol++ {
		for name, first := range map[string]func(*internet.Network){
			"refused":              func(*internet.Network) {},
			"no valid certificate": func(n *internet.Network) { serveInvalid(t, n, "8.0.0.1:9001") },
			"an address of ours":   func(n *internet.Network) { n.DNS.Addr("t1.ex", "10.0.0.1") },
		} {
			t.Run(name, func(t *testing.T) {
				n, s := internet.New(t), newStage(t, fedinvite.RoomV11)
				n.TwoTargets("example.com")
				first(n)
				s.keys.Add(invitetest.Signer("example.com"))
				receiver := s.receiver("example.com")
				n.HTTP1 = protocol == 1
				n.Serve("8.0.0.2:9002", []string{"example.com"}, func(w http.ResponseWriter, r *http.Request) {
					if r.ProtoMajor != protocol || r.Host != "example.com" {
						t.Errorf("HTTP/%d, Host %s", r.ProtoMajor, r.Host)
					}
					receiver.ServeHTTP(w, r)
				})
				client, attempts := clientIn(t, n)
				s.config.Client = client
				invited, err := s.invite("@b:example.com")
				if err != nil {
					t.Fatal(err)
				}
				if len(s.received) != 1 || s.received[0].Event.ID() != invited.Event.ID() || len(s.received[0].RoomState.Events) != 8 || *attempts != 1 {
					t.Errorf("received %+v in %d attempts", s.received, *attempts)
				}
			})
		}
	}
}

// One request, with several targets: what counts is the one that it was sent to.
func TestMaybeSeenWithSeveralTargets(t *testing.T) {
	readAnd := func(then http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			then(w, r)
		}
	}
	forbidden := answerJSON(403, `{"errcode":"M_FORBIDDEN"}`)
	unasked := func(http.ResponseWriter, *http.Request) { t.Error("the second target was asked") }
	for name, c := range map[string]struct {
		first, second http.HandlerFunc // nil: dead
		maybeSeen     bool
	}{
		"both dead":                        {nil, nil, false},
		"refused":                          {forbidden, unasked, false},
		"hung up":                          {readAnd(hangsUp), unasked, true},
		"broken":                           {answerJSON(500, `{}`), unasked, true},
		"refused by the second":            {nil, forbidden, false},
		"refused by the second, with pace": {nil, readAnd(forbidden), false},
		"hung up by the second":            {nil, readAnd(hangsUp), true},
		"broken at the second":             {nil, answerJSON(500, `{}`), true},
		"nonsense from the second":         {nil, answerJSON(200, `{}`), true},
	} {
		for protocol := 1; protocol <= 2; protocol++ {
			t.Run(name, func(t *testing.T) {
				n, s := internet.New(t), newStage(t, fedinvite.RoomV11)
				n.TwoTargets("example.com")
				n.HTTP1 = protocol == 1
				for address, h := range map[string]http.HandlerFunc{"8.0.0.1:9001": c.first, "8.0.0.2:9002": c.second} {
					if h != nil {
						n.Serve(address, []string{"example.com"}, h)
					}
				}
				client, attempts := clientIn(t, n)
				s.config.Client = client
				_, err := s.invite("@b:example.com")
				var failed *fedclient.InviteError
				if !errors.As(err, &failed) || failed.Event == nil || failed.MaybeSeen != c.maybeSeen || *attempts != 1 {
					t.Errorf("got %#v (%v), want MaybeSeen %v", failed, err, c.maybeSeen)
				}
			})
		}
	}
}

// The end of the context while the server is being looked up, or connected to.
func TestMaybeSeenWhenTheContextEndsBeforeThereIsAConnection(t *testing.T) {
	for _, at := range []string{"8.0.0.1:443", "8.0.0.1:8448"} {
		t.Run(at, func(t *testing.T) {
			n, b, s := internet.New(t), new(board), newStage(t, fedinvite.RoomV11)
			n.DNS.Addr("example.com", "8.0.0.1")
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			over := make(chan struct{})
			defer close(over)
			transport := n.Transport(func(c *discovery.Config) {
				c.Dial = func(dialing context.Context, network, address string) (net.Conn, error) {
					if address == at {
						cancel()
						<-over // later than the request
					}
					return n.Dial(dialing, network, address)
				}
			})
			s.config.Client = newClient(t, transport, b.config)
			_, err := s.inviter().Invite(ctx, s.invitation("@b:example.com"))
			var failed *fedclient.InviteError
			if !errors.As(err, &failed) || failed.Event == nil || failed.MaybeSeen || !errors.Is(err, context.Canceled) || !errors.Is(err, fedclient.ErrUnreachable) {
				t.Errorf("got %#v (%v)", failed, err)
			}
			if len(b.reported) > 0 {
				t.Errorf("reported %v", b.reported)
			}
		})
	}
}

// A oneAddress is a DNS in which all names have one address and no records.
type oneAddress struct{}

func (oneAddress) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("8.0.0.1")}, nil
}

func (oneAddress) LookupSRV(context.Context, string, string, string) (string, []*net.SRV, error) {
	return "", nil, &net.DNSError{IsNotFound: true}
}

// That we are busy with finding other servers says nothing of this one.
func TestNoTimeToFindAServerIsNotHeldAgainstIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := new(board)
		transport := newTransport(t, func(c *discovery.Config) {
			c.DNS, c.MaxFetches = oneAddress{}, 1
			c.Dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}
		})
		client := newClient(t, transport, b.config)
		go func() { _, _ = transport.Resolver().Resolve(t.Context(), "other.example.com") }()
		synctest.Wait()
		_, err := client.FetchServerKeys(t.Context(), "example.com")
		if !errors.Is(err, discovery.ErrBusy) || !errors.Is(err, fedclient.ErrUnreachable) || !fedclient.Retryable(err) {
			t.Errorf("got %v", err)
		}
		if len(b.reported) > 0 {
			t.Errorf("reported %v", b.reported)
		}
		time.Sleep(time.Minute) // the bubble demands that the other look-up ends
	})
}
