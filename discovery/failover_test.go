package discovery_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/internet"
)

// oneTarget returns an internet in which a.ex is at 8.0.0.1:8448.
func oneTarget(t testing.TB) *internet.Network {
	t.Helper()
	n := internet.New(t)
	n.DNS.Addr("a.ex", "8.0.0.1")
	return n
}

// twoTargets returns one in which a.ex is at two addresses, see [internet.Network.TwoTargets].
func twoTargets(t testing.TB) *internet.Network {
	t.Helper()
	n := internet.New(t)
	n.TwoTargets("a.ex")
	return n
}

// get asks for target, such as "a.ex/_matrix/key/v2/server", and returns the status and the body.
func get(t testing.TB, transport http.RoundTripper, target string) (int, string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "matrix://"+target, nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := transport.RoundTrip(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	return res.StatusCode, string(body), err
}

func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return port
}

// A closeCounter is a body that knows how often it was closed and whether it was read.
type closeCounter struct {
	io.Reader
	mu     sync.Mutex
	closes int
	read   bool
}

func (b *closeCounter) Read(p []byte) (int, error) {
	b.mu.Lock()
	b.read = true
	closes := b.closes
	b.mu.Unlock()
	if closes > 0 {
		return 0, fs.ErrClosed
	}
	return b.Reader.Read(p)
}

func (b *closeCounter) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closes++
	return nil
}

func (b *closeCounter) closed() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.closes
}

// put sends a PUT of body to target. Without rewind the body can be read once.
func put(ctx context.Context, t testing.TB, transport http.RoundTripper, target, body string, rewind bool) (*http.Response, *closeCounter, error) {
	t.Helper()
	counter := &closeCounter{Reader: strings.NewReader(body)}
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, "matrix://"+target, counter)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = int64(len(body))
	if rewind {
		req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(body)), nil }
	}
	res, err := transport.RoundTrip(req)
	if err == nil {
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
	}
	return res, counter, err
}

func TestPlumbing53FirstTargetDeadSecondUsedBodyIntact(t *testing.T) {
	wrong := func(n *internet.Network) { n.Serve("8.0.0.1:9001", []string{"t1.ex"}, nil) }
	for name, first := range map[string]func(*internet.Network){
		"no connection":         func(*internet.Network) {},
		"another's certificate": wrong,
		"no address":            func(n *internet.Network) { n.DNS.Remove("t1.ex") },
		"no public address":     func(n *internet.Network) { n.DNS.Addr("t1.ex", "10.0.0.1") },
		"no TLS":                func(n *internet.Network) { n.Listen("8.0.0.1:9001", nil, "", func(net.Conn) {}) },
	} {
		for _, rewind := range []bool{true, false} {
			t.Run(name, func(t *testing.T) {
				n := twoTargets(t)
				first(n)
				second := n.Serve("8.0.0.2:9002", []string{"a.ex"}, nil)
				body := strings.Repeat("body ", 1000)
				res, counter, err := put(t.Context(), t, n.Transport(nil), "a.ex/x", body, rewind)
				if err != nil || res.StatusCode != 200 {
					t.Fatalf("got %v, %v", res, err)
				}
				if got := second.Requests(); len(got) != 1 || got[0].Body != body || got[0].Host != "a.ex" || got[0].SNI != "a.ex" {
					t.Errorf("got %+v", got)
				}
				if counter.closed() != 1 {
					t.Errorf("the body was closed %d times", counter.closed())
				}
			})
		}
	}
}

func TestPlumbing53AnswerOfTheFirstTargetIsTheAnswer(t *testing.T) {
	n := twoTargets(t)
	first := n.Serve("8.0.0.1:9001", []string{"a.ex"}, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	second := n.Serve("8.0.0.2:9002", []string{"a.ex"}, nil)
	res, _, err := put(t.Context(), t, n.Transport(nil), "a.ex/x", "{}", true)
	if err != nil || res.StatusCode != 500 || len(first.Requests()) != 1 || second.Connections() != 0 {
		t.Errorf("got %v, %v; %d connections to the second", res, err, second.Connections())
	}
}

// What broke off may have been acted upon.
func TestPlumbing53NothingIsSentTwice(t *testing.T) {
	n := twoTargets(t)
	first := n.Serve("8.0.0.1:9001", []string{"a.ex"}, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	second := n.Serve("8.0.0.2:9002", []string{"a.ex"}, nil)
	_, counter, err := put(t.Context(), t, n.Transport(nil), "a.ex/x", "{}", true)
	if err == nil || len(first.Requests()) != 1 || second.Connections() != 0 || counter.closed() != 1 {
		t.Errorf("got %v; %d connections to the second, %d closes", err, second.Connections(), counter.closed())
	}
}

func TestAllTargetsDead(t *testing.T) {
	n := twoTargets(t)
	n.DNS.Addr("t2.ex", "127.0.0.1")
	_, counter, err := put(t.Context(), t, n.Transport(nil), "a.ex/x", "{}", false)
	var refused *discovery.AddressError
	if !errors.Is(err, syscall.ECONNREFUSED) || !errors.As(err, &refused) || refused.Host != "t2.ex" {
		t.Errorf("got %v", err)
	}
	for _, part := range []string{"discovery: no connection: t1.ex:9001: ", "; t2.ex:9002: "} {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%q is not in %q", part, err)
		}
	}
	if counter.closed() != 1 || counter.read {
		t.Errorf("got %d closes, read: %v", counter.closed(), counter.read)
	}
	if got, want := n.Dials(), []string{"8.0.0.1:9001"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestErrorOfManyTargetsIsBounded(t *testing.T) {
	n := internet.New(t)
	n.DNS.Addr("a.ex")
	var records []net.SRV
	for i := range 40 {
		target := strings.Repeat("t", i+1) + ".ex."
		n.DNS.Addr(target, "8.0.0.1")
		records = append(records, net.SRV{Target: target, Port: 9001})
	}
	n.DNS.SRV("_matrix-fed._tcp.a.ex", records...)
	long := strings.Repeat("é\n\x1b[2J", 1000)
	transport := n.Transport(func(c *discovery.Config) {
		c.Dial = func(context.Context, string, string) (net.Conn, error) { return nil, errors.New(long) }
	})
	_, _, err := put(t.Context(), t, transport, "a.ex/x", "", false)
	if err == nil || len(err.Error()) > 8*500 || strings.ContainsAny(err.Error(), "\n\x1b") {
		t.Errorf("got %d bytes: %q", len(err.Error()), err)
	}
}

// A request that is given up must not go elsewhere.
func TestNoOtherTargetAfterTheEndOfTheContext(t *testing.T) {
	n := twoTargets(t)
	n.Stick("8.0.0.1:9001")
	second := n.Serve("8.0.0.2:9002", []string{"a.ex"}, nil)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	transport := n.Transport(func(c *discovery.Config) {
		c.Dial = func(dialing context.Context, network, address string) (net.Conn, error) {
			if address == "8.0.0.1:9001" {
				cancel(enough)
			}
			return n.Dial(dialing, network, address)
		}
	})
	_, counter, err := put(ctx, t, transport, "a.ex/x", "{}", true)
	if !errors.Is(err, enough) && !errors.Is(err, context.Canceled) || second.Connections() != 0 || counter.closed() != 1 {
		t.Errorf("got %v; %d connections to the second, %d closes", err, second.Connections(), counter.closed())
	}
}

func TestRequestThatCannotBeSentIsNotTriedElsewhere(t *testing.T) {
	n := twoTargets(t)
	counter := &closeCounter{Reader: strings.NewReader("{}")}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "matrix://a.ex/x", counter)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["A B"] = []string{"c"}
	if _, err := n.Transport(nil).RoundTrip(req); err == nil || len(n.Dials()) > 0 || counter.closed() != 1 {
		t.Errorf("got %v, %v, %d closes", err, n.Dials(), counter.closed())
	}
}

// Otherwise each request would wait for a target that does not answer.
func TestDeadTargetsComeLastForAMinute(t *testing.T) {
	n := twoTargets(t)
	n.Serve("8.0.0.2:9002", []string{"a.ex"}, nil)
	now := time.Now()
	transport := n.Transport(func(c *discovery.Config) { c.Now = func() time.Time { return now } })
	ask := func(want ...string) {
		t.Helper()
		transport.CloseIdleConnections()
		if _, _, err := put(t.Context(), t, transport, "a.ex/x", "{}", true); err != nil {
			t.Fatal(err)
		}
		if got := n.Dials(); !slices.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	}
	ask("8.0.0.1:9001", "8.0.0.2:9002")
	ask("8.0.0.2:9002")
	now = now.Add(59 * time.Second)
	ask("8.0.0.2:9002")
	now = now.Add(time.Second)
	ask("8.0.0.1:9001", "8.0.0.2:9002")
	now = now.Add(time.Minute)
	n.Serve("8.0.0.1:9001", []string{"a.ex"}, nil)
	ask("8.0.0.1:9001")
	ask("8.0.0.1:9001")
	n.Place("8.0.0.1:9001", "")
	ask("8.0.0.1:9001", "8.0.0.2:9002")
	now = now.Add(-time.Second) // the clock was wrong
	ask("8.0.0.1:9001", "8.0.0.2:9002")
}

func TestTargetThatIsBackComesBeforeTheDead(t *testing.T) {
	n := internet.New(t)
	n.DNS.Addr("a.ex")
	n.DNS.Addr("t.ex", "8.0.0.1")
	n.DNS.SRV("_matrix-fed._tcp.a.ex", net.SRV{Target: "t.ex.", Port: 1}, net.SRV{Target: "t.ex.", Port: 2, Priority: 1}, net.SRV{Target: "t.ex.", Port: 3, Priority: 2})
	transport := n.Transport(nil)
	ask := func(alive, want string) {
		t.Helper()
		for _, port := range []string{"1", "2", "3"} {
			n.Place("8.0.0.1:"+port, "")
		}
		n.Serve("8.0.0.1:"+alive, []string{"a.ex"}, nil)
		transport.CloseIdleConnections()
		_, _, err := get(t, transport, "a.ex/x")
		var ports []string
		for _, address := range n.Dials() {
			ports = append(ports, portOf(address))
		}
		if got := strings.Join(ports, " "); got != want || err != nil {
			t.Errorf("got %s, %v, want %s", got, err, want)
		}
	}
	ask("3", "1 2 3")
	ask("2", "3 1 2")
	ask("2", "2")
}

func TestLastOfManyTargets(t *testing.T) {
	n := internet.New(t)
	n.DNS.Addr("a.ex")
	n.DNS.Addr("t.ex", "8.0.0.1")
	var records []net.SRV
	for i := range uint16(8) {
		records = append(records, net.SRV{Target: "t.ex.", Port: 9000 + i, Priority: i})
	}
	n.DNS.SRV("_matrix-fed._tcp.a.ex", records...)
	last := n.Serve("8.0.0.1:9007", []string{"a.ex"}, nil)
	_, counter, err := put(t.Context(), t, n.Transport(nil), "a.ex/x", "{}", false)
	if err != nil || len(last.Requests()) != 1 || len(n.Dials()) != 8 || counter.closed() != 1 {
		t.Errorf("got %v, %+v", err, last.Requests())
	}
}

func TestDeadTargetsAreTriedWhenAllAreDead(t *testing.T) {
	n := twoTargets(t)
	transport := n.Transport(nil)
	for range 2 {
		_, _, err := put(t.Context(), t, transport, "a.ex/x", "{}", true)
		if got, want := n.Dials(), []string{"8.0.0.1:9001", "8.0.0.2:9002"}; err == nil || !slices.Equal(got, want) {
			t.Errorf("got %v, %v", got, err)
		}
	}
	n.Serve("8.0.0.1:9001", []string{"a.ex"}, nil)
	if _, _, err := put(t.Context(), t, transport, "a.ex/x", "{}", true); err != nil {
		t.Error(err)
	}
}

// net/http sends again what was never sent because a kept connection was dead.
func TestKeptConnectionThatDied(t *testing.T) {
	for name, world := range map[string]func(testing.TB) (*internet.Network, string){
		"one target":  func(t testing.TB) (*internet.Network, string) { return oneTarget(t), "8.0.0.1:8448" },
		"two targets": func(t testing.TB) (*internet.Network, string) { return twoTargets(t), "8.0.0.1:9001" },
	} {
		t.Run(name, func(t *testing.T) {
			n, address := world(t)
			n.HTTP1 = true
			transport := n.Transport(nil)
			before := n.Serve(address, []string{"a.ex"}, nil)
			if _, _, err := get(t, transport, "a.ex/x"); err != nil {
				t.Fatal(err)
			}
			before.CloseClientConnections()
			after := n.Serve(address, []string{"a.ex"}, nil)
			if _, _, err := get(t, transport, "a.ex/x"); err != nil || len(after.Requests()) != 1 {
				t.Errorf("got %v, %+v", err, after.Requests())
			}
		})
	}
}

// Nor does net/http send it again then, unless the request is idempotent.
func TestKeptConnectionThatDiesWithItsTarget(t *testing.T) {
	for method, elsewhere := range map[string]bool{http.MethodGet: true, http.MethodPut: false} {
		t.Run(method, func(t *testing.T) {
			n := twoTargets(t)
			n.Listen("8.0.0.1:9001", []string{"a.ex"}, "http/1.1", func(conn net.Conn) {
				r := bufio.NewReader(conn)
				_, _ = http.ReadRequest(r)
				_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
				_, _ = http.ReadRequest(r)
				n.Place("8.0.0.1:9001", "")
			})
			second := n.Serve("8.0.0.2:9002", []string{"a.ex"}, nil)
			transport := n.Transport(nil)
			if _, _, err := get(t, transport, "a.ex/x"); err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequestWithContext(t.Context(), method, "matrix://a.ex/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			if res, err := transport.RoundTrip(req); (err == nil) != elsewhere {
				t.Errorf("got %v", err)
			} else if err == nil {
				_ = res.Body.Close()
			}
			if got := second.Requests(); len(got) > 0 != elsewhere {
				t.Errorf("the second target got %+v", got)
			}
			if !elsewhere {
				return
			}
			n.Dials()
			transport.CloseIdleConnections()
			if _, _, err := get(t, transport, "a.ex/x"); err != nil {
				t.Error(err)
			}
			if got, want := n.Dials(), []string{"8.0.0.2:9002"}; !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestBodyIsClosedOnce(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	alive := func(n *internet.Network) {
		n.Serve("8.0.0.1:8448", []string{"a.ex"}, nil)
		n.Serve("8.0.0.1:9001", []string{"a.ex"}, nil)
	}
	for name, c := range map[string]struct {
		ctx    context.Context
		url    string
		change func(*internet.Network)
		ok     bool
	}{
		"success":              {t.Context(), "matrix://a.ex/x", alive, true},
		"https":                {t.Context(), "https://a.ex/x", alive, true},
		"other scheme":         {t.Context(), "http://a.ex/x", alive, false},
		"no server name":       {t.Context(), "matrix://a_b/x", alive, false},
		"no host":              {t.Context(), "matrix:///x", alive, false},
		"other opaque":         {t.Context(), "matrix:x", alive, false},
		"unresolvable":         {t.Context(), "matrix://a.ex/x", func(n *internet.Network) { n.DNS.Fail("_matrix-fed._tcp.a.ex") }, false},
		"no such address":      {t.Context(), "matrix://1.2.3/x", alive, false},
		"dead":                 {t.Context(), "matrix://a.ex/x", func(*internet.Network) {}, false},
		"ended":                {ended, "matrix://a.ex/x", alive, false},
		"ended, known address": {ended, "matrix://8.0.0.1/x", alive, false},
	} {
		for kind, world := range map[string]func(testing.TB) *internet.Network{"one target": oneTarget, "two targets": twoTargets} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				n := world(t)
				c.change(n)
				counter := &closeCounter{Reader: strings.NewReader("{}")}
				req, err := http.NewRequestWithContext(c.ctx, http.MethodPut, c.url, counter)
				if err != nil {
					t.Fatal(err)
				}
				res, err := n.Transport(nil).RoundTrip(req)
				if (err == nil) != c.ok {
					t.Errorf("got %v", err)
				}
				if err == nil {
					_ = res.Body.Close()
				}
				if counter.closed() != 1 {
					t.Errorf("got %d closes", counter.closed())
				}
			})
		}
	}
}

func TestNoBody(t *testing.T) {
	n := twoTargets(t)
	second := n.Serve("8.0.0.2:9002", []string{"a.ex"}, nil)
	for _, body := range []io.Reader{nil, http.NoBody, bytes.NewReader(nil)} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "matrix://a.ex/x", body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := n.Transport(nil).RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	for _, got := range second.Requests() {
		if got.Body != "" {
			t.Errorf("got %+v", got)
		}
	}
}

func TestConfigNamesTheField(t *testing.T) {
	for field, c := range map[string]discovery.Config{
		"Allow":      {Allow: []netip.Prefix{{}}},
		"Deny":       {Deny: append(discovery.Loopback(), netip.Prefix{})},
		"MaxServers": {MaxServers: -1},
		"TLS":        {TLS: &tls.Config{MaxVersion: tls.VersionTLS11}},
		"UserAgent":  {UserAgent: "a\r\nb"},
	} {
		if _, err := discovery.New(c); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: got %v", field, err)
		}
	}
}
