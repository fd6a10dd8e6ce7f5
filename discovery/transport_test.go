package discovery_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/internet"
)

func TestServersBehindOneNameShareAConnection(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		n := internet.New(t)
		n.HTTP1 = http1
		n.DNS.Addr("a.ex", "8.0.0.1")
		n.DNS.Addr("b.ex", "8.0.0.2")
		n.DNS.Addr("d.ex", "8.0.0.3")
		n.WellKnown("a.ex", "8.0.0.1", "d.ex:9000")
		n.WellKnown("b.ex", "8.0.0.2", "d.ex:9000")
		server := n.Serve("8.0.0.3:9000", []string{"d.ex"}, nil)
		transport := n.Transport(nil)
		for _, name := range []string{"a.ex", "b.ex", "d.ex:9000", "a.ex"} {
			if _, _, err := get(t, transport, name+"/x"); err != nil {
				t.Fatal(err)
			}
		}
		if server.Connections() != 1 || len(server.Requests()) != 4 {
			t.Errorf("%d connections, %d requests", server.Connections(), len(server.Requests()))
		}
	}
}

// A connection whose certificate was demanded for one name must not serve another.
func TestServersWithDifferentCertificatesShareNoConnection(t *testing.T) {
	for _, http1 := range []bool{false, true} {
		n := internet.New(t)
		n.HTTP1 = http1
		n.DNS.Addr("t.ex", "8.0.0.3")
		for _, name := range []string{"a.ex", "b.ex", "c.ex"} {
			n.DNS.Addr(name)
			n.DNS.SRV("_matrix-fed._tcp."+name, net.SRV{Target: "t.ex.", Port: 9000})
		}
		server := n.Serve("8.0.0.3:9000", []string{"a.ex", "b.ex"}, nil)
		transport := n.Transport(nil)
		for _, name := range []string{"a.ex", "b.ex", "a.ex", "b.ex"} {
			if _, _, err := get(t, transport, name+"/x"); err != nil {
				t.Fatal(err)
			}
		}
		if server.Connections() != 2 {
			t.Errorf("%d connections", server.Connections())
		}
		if _, _, err := get(t, transport, "c.ex/x"); err == nil {
			t.Error("c.ex was asked by a connection of others")
		}
	}
}

// The pool of net/http for HTTP/2 takes both labels for U+FFFD.
func TestNamesThatHTTP2TakesForOneAreTwo(t *testing.T) {
	n := internet.New(t)
	n.DNS.Addr("xn--ib9b.ex", "8.0.0.1")
	n.DNS.Addr("xn--jb9b.ex", "8.0.0.2")
	one := n.Serve("8.0.0.1:8448", []string{"xn--ib9b.ex"}, nil)
	two := n.Serve("8.0.0.2:8448", []string{"xn--jb9b.ex"}, nil)
	transport := n.Transport(nil)
	for range 2 {
		for _, name := range []string{"xn--ib9b.ex", "xn--jb9b.ex"} {
			if _, _, err := get(t, transport, name+":8448/x"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if len(one.Requests()) != 2 || len(two.Requests()) != 2 {
		t.Errorf("got %+v and %+v", one.Requests(), two.Requests())
	}
}

// Signatures are over the target as it is sent.
func TestTargetIsSentAsItIs(t *testing.T) {
	for proto, http1 := range map[string]bool{"HTTP/1.1": true, "HTTP/2.0": false} {
		n := oneTarget(t)
		n.HTTP1 = http1
		server := n.Serve("8.0.0.1:8448", []string{"a.ex"}, nil)
		transport := n.Transport(nil)
		for _, u := range []url.URL{
			{Path: "/"},
			{},
			{Path: "/_matrix/federation/v2/invite/!r:ex/$a+b"},
			{Path: "/a/b/c", RawPath: "/a%2Fb/c"},
			{Path: "/!r:ex", RawPath: "/%21r%3Aex"},
			{Path: "//a//b/"},
			{Path: "/a/../b/./c"},
			{Path: "/a;b,c={}|\\^`\"<>é"},
			{Path: "/a", RawQuery: "x=1&&y&z=%zz;+"},
			{Path: "/a", ForceQuery: true},
			{Path: "/a", Fragment: "b"},
			{Opaque: "/a%2fb/{}"},
			{Opaque: "/a", RawQuery: "b=c"},
		} {
			for _, scheme := range []string{"matrix", "https"} {
				u.Scheme, u.Host, u.User = scheme, "a.ex", url.UserPassword("user", "secret")
				want := u.RequestURI()
				req := (&http.Request{Method: http.MethodGet, URL: &u, Host: "other.ex", Header: http.Header{}}).WithContext(t.Context())
				res, err := transport.RoundTrip(req)
				if err != nil {
					t.Errorf("%s: %s: %v", proto, want, err)
					continue
				}
				_ = res.Body.Close()
				all := server.Requests()
				if got := all[len(all)-1]; got.Target != want || got.Host != "a.ex" || got.Proto != proto {
					t.Errorf("got %+v, want %s", got, want)
				}
			}
		}
	}
}

func TestAbsoluteTargetsAreRefused(t *testing.T) {
	n := oneTarget(t)
	n.Serve("8.0.0.1:8448", []string{"a.ex"}, nil)
	for _, opaque := range []string{"//b.ex/x", "https://b.ex/x", "x", "*"} {
		req := (&http.Request{URL: &url.URL{Scheme: "https", Host: "a.ex", Opaque: opaque}, Header: http.Header{}}).WithContext(t.Context())
		if _, err := n.Transport(nil).RoundTrip(req); err == nil {
			t.Errorf("%s was sent", opaque)
		}
	}
}

func TestHeadersAreSentAsTheyAreAndTheRequestIsUntouched(t *testing.T) {
	n := twoTargets(t)
	n.HTTP1 = true
	var got http.Header
	n.Serve("8.0.0.2:9002", []string{"a.ex"}, func(_ http.ResponseWriter, r *http.Request) { got = r.Header })
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "matrix://a.ex/x?y", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "signed.ex"
	req.Header = http.Header{"Authorization": {"X-Matrix a", "X-Matrix b"}, "User-Agent": {"test/2"}}
	before, u, header, body := *req, *req.URL, req.Header.Clone(), req.Body
	res, err := n.Transport(nil).RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.Request != req {
		t.Error("the answer is to another request")
	}
	if *req.URL != u || req.Host != before.Host || req.Body != body || !maps(req.Header, header) {
		t.Errorf("got %+v", req)
	}
	header.Set("Content-Length", "2")
	if !maps(got, header) {
		t.Errorf("got %v, want %v", got, header)
	}
}

func maps(a, b http.Header) bool { return fmt.Sprint(a) == fmt.Sprint(b) }

// A compressed answer could be of any size.
func TestNothingIsDecompressed(t *testing.T) {
	n := oneTarget(t)
	n.Serve("8.0.0.1:8448", []string{"a.ex"}, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = io.WriteString(w, r.Header.Get("Accept-Encoding")+"not gzip")
	})
	if _, body, err := get(t, n.Transport(nil), "a.ex/x"); body != "not gzip" || err != nil {
		t.Errorf("got %q, %v", body, err)
	}
}

func TestHeadersOfAnswersAreBounded(t *testing.T) {
	for _, http1 := range []bool{true, false} {
		for size, ok := range map[int]bool{60 << 10: true, 70 << 10: false} {
			n := oneTarget(t)
			n.HTTP1 = http1
			n.Serve("8.0.0.1:8448", []string{"a.ex"}, func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("X", strings.Repeat("x", size))
			})
			if _, _, err := get(t, n.Transport(nil), "a.ex/x"); (err == nil) != ok {
				t.Errorf("HTTP/1: %v, %d bytes: got %v", http1, size, err)
			}
		}
	}
}

func TestRedirectsAreAnswers(t *testing.T) {
	n := oneTarget(t)
	n.Serve("8.0.0.1:8448", []string{"a.ex"}, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://127.0.0.1/", http.StatusTemporaryRedirect)
	})
	if status, _, err := get(t, n.Transport(nil), "a.ex/x"); status != 307 || err != nil {
		t.Errorf("got %d, %v", status, err)
	}
}

// A events is what a trace was told.
type events struct {
	mu   sync.Mutex
	list []string
}

func (e *events) add(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.list = append(e.list, fmt.Sprintf(format, args...))
}

// connection leaves out those to the DNS.
func (e *events) connection(network, format string, args ...any) {
	if network == "tcp" {
		e.add(format, args...)
	}
}

func (e *events) trace() *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GetConn:              func(hostPort string) { e.add("get %s", hostPort) },
		GotConn:              func(info httptrace.GotConnInfo) { e.add("got, reused %v", info.Reused) },
		ConnectStart:         func(network, _ string) { e.connection(network, "connect") },
		ConnectDone:          func(network, _ string, err error) { e.connection(network, "connected %v", err) },
		TLSHandshakeStart:    func() { e.add("handshake") },
		TLSHandshakeDone:     func(s tls.ConnectionState, err error) { e.add("%q %v", s.NegotiatedProtocol, err != nil) },
		WroteHeaders:         func() { e.add("headers") },
		GotFirstResponseByte: func() { e.add("answer") },
	}
}

func TestTraceOfTheCallerIsToldOfTheRequestAndNoOther(t *testing.T) {
	for name, c := range map[string]struct {
		world func(testing.TB) *internet.Network
		want  []string
	}{
		"one target": {func(t testing.TB) *internet.Network {
			n := internet.New(t)
			n.DNS.Addr("a.ex", "8.0.0.1")
			n.DNS.Addr("d.ex", "8.0.0.2")
			n.WellKnown("a.ex", "8.0.0.1", "d.ex:9002")
			n.Serve("8.0.0.2:9002", []string{"d.ex"}, nil)
			return n
		}, []string{
			"get a.ex", "get d.ex:9002", "connect", "connected <nil>", "handshake", `"h2" false`,
			"got, reused false", "headers", "answer", "get a.ex", "get d.ex:9002", "got, reused true", "headers", "answer",
		}},
		"two targets": {func(t testing.TB) *internet.Network {
			n := twoTargets(t)
			n.Serve("8.0.0.1:9001", []string{"t1.ex"}, nil)
			n.Serve("8.0.0.2:9002", []string{"a.ex"}, nil)
			return n
		}, []string{
			"get a.ex", "get a.ex_t1.ex:9001", "connect", "connected <nil>", "handshake", `"" true`,
			"get a.ex_t2.ex:9002", "connect", "connected <nil>", "handshake", `"h2" false`,
			"got, reused false", "headers", "answer", "get a.ex", "get a.ex_t2.ex:9002", "got, reused true", "headers", "answer",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n := c.world(t)
			transport := n.Transport(nil)
			var told events
			for range 2 {
				ctx := httptrace.WithClientTrace(t.Context(), told.trace())
				if _, _, err := put(ctx, t, transport, "a.ex/x", "{}", true); err != nil {
					t.Fatal(err)
				}
			}
			told.mu.Lock()
			defer told.mu.Unlock()
			if !slices.Equal(told.list, c.want) {
				t.Errorf("got  %q\nwant %q", told.list, c.want)
			}
		})
	}
}

// The body of a 101 is the connection, whose end no context brings.
func TestSwitchingProtocolsHasNoBody(t *testing.T) {
	n := oneTarget(t)
	hungUp := make(chan error, 2)
	n.Listen("8.0.0.1:8448", []string{"a.ex"}, "http/1.1", func(conn net.Conn) {
		r := bufio.NewReader(conn)
		if _, err := http.ReadRequest(r); err != nil {
			return
		}
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nhello")
		_, err := r.ReadByte()
		hungUp <- err
	})
	transport := n.Transport(nil)
	if status, body, err := get(t, transport, "a.ex/x"); status != 101 || body != "" || err != nil {
		t.Errorf("got %d, %q, %v", status, body, err)
	}
	if err := <-hungUp; err == nil {
		t.Error("the connection goes on")
	}
	// Who asks for it gets it.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "matrix://a.ex/x", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "x")
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	word := make([]byte, 5)
	if _, err := io.ReadFull(res.Body, word); err != nil || string(word) != "hello" {
		t.Errorf("got %q, %v", word, err)
	}
	_ = res.Body.Close()
	<-hungUp
}

// What an HTTP/2 server may say to have net/http connect again and again.
func TestServerThatTurnsRequestsAwayIsLeftAlone(t *testing.T) {
	const (
		settings  = "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
		noStreams = "\x00\x00\x06\x04\x00\x00\x00\x00\x00" + "\x00\x03\x00\x00\x00\x00"
		goAway    = "\x00\x00\x08\x07\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00"
	)
	for name, greeting := range map[string]string{"GOAWAY": settings, "no streams": noStreams} {
		for kind, world := range map[string]func(testing.TB) *internet.Network{"one target": oneTarget, "two targets": twoTargets} {
			t.Run(name+"/"+kind, func(t *testing.T) {
				n := world(t)
				var conns atomic.Int32
				turnAway := func(conn net.Conn) {
					conns.Add(1)
					_, _ = io.WriteString(conn, greeting)
					_, err := io.CopyN(io.Discard, conn, 24) // the preface
					for header := make([]byte, 9); err == nil; {
						if _, err = io.ReadFull(conn, header); err != nil {
							return
						}
						if header[3] == 1 { // HEADERS
							_, _ = io.WriteString(conn, goAway)
						}
						_, err = io.CopyN(io.Discard, conn, int64(header[1])<<8|int64(header[2]))
					}
				}
				n.Listen("8.0.0.1:8448", []string{"a.ex"}, "h2", turnAway)
				n.Listen("8.0.0.1:9001", []string{"a.ex"}, "h2", turnAway)
				second := n.Serve("8.0.0.2:9002", []string{"a.ex"}, nil)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				_, counter, err := put(ctx, t, n.Transport(nil), "a.ex/x", "{}", true)
				if conns.Load() > 20 || counter.closed() != 1 || (err == nil) != (kind == "two targets") {
					t.Errorf("got %v, %d connections, %d closes", err, conns.Load(), counter.closed())
				}
				// The first one said that it has not acted on anything.
				if got := second.Requests(); err == nil && (len(got) != 1 || got[0].Body != "{}") {
					t.Errorf("the second one got %+v", got)
				}
			})
		}
	}
}

func TestCloseIdleConnections(t *testing.T) {
	n := oneTarget(t)
	server := n.Serve("8.0.0.1:8448", []string{"a.ex"}, nil)
	transport := n.Transport(nil)
	for i := range 3 {
		if _, _, err := get(t, transport, "a.ex/x"); err != nil || server.Connections() != i+1 {
			t.Errorf("got %v, %d connections", err, server.Connections())
		}
		transport.CloseIdleConnections()
	}
}

func TestManyRequestsAtOnce(t *testing.T) {
	for _, http1 := range []bool{true, false} {
		n := twoTargets(t)
		n.HTTP1 = http1
		n.DNS.Addr("d.ex", "8.0.0.3")
		n.DNS.Addr("b.ex", "8.0.0.4")
		n.WellKnown("b.ex", "8.0.0.4", "d.ex:9003")
		n.Serve("8.0.0.2:9002", []string{"a.ex"}, nil)
		n.Serve("8.0.0.3:9003", []string{"d.ex"}, nil)
		transport := n.Transport(nil)
		var requests sync.WaitGroup
		for i := range 40 {
			requests.Go(func() {
				server := []string{"a.ex", "b.ex"}[i%2]
				ctx := httptrace.WithClientTrace(t.Context(), new(events).trace())
				res, body, err := put(ctx, t, transport, server+"/x", strings.Repeat("x", i), i%3 == 0)
				if err != nil || res.StatusCode != 200 || body.closed() == 0 {
					t.Errorf("%s: got %v", server, err)
				}
				if i%10 == 0 {
					transport.CloseIdleConnections()
				}
			})
		}
		requests.Wait()
	}
}

// net/http connects in vain then.
func TestManyRequestsAtOnceToAServerThatAllowsFewStreams(t *testing.T) {
	n := oneTarget(t)
	release := make(chan struct{})
	n.Streams = 2
	server := n.Serve("8.0.0.1:8448", []string{"a.ex"}, func(http.ResponseWriter, *http.Request) { <-release })
	transport := n.Transport(nil)
	var requests sync.WaitGroup
	for range 40 {
		requests.Go(func() {
			if _, _, err := get(t, transport, "a.ex:8448/x"); err != nil {
				t.Error(err)
			}
		})
	}
	for server.Connections() < 10 {
		runtime.Gosched()
	}
	close(release)
	requests.Wait()
}

func TestErrorsSayWhatTheRequestLacks(t *testing.T) {
	n := oneTarget(t)
	transport := n.Transport(nil)
	for text, want := range map[string]error{
		"matrix://a_b/x":         fedinvite.ErrIdentifier,
		"matrix://%5B::1/x":      nil,
		"matrix:///x":            fedinvite.ErrIdentifier,
		"matrix://[fe80::1%25e]": fedinvite.ErrIdentifier,
		"http://a.ex/x":          nil,
		"mxc://a.ex/x":           nil,
		"/x":                     nil,
		"matrix://a.ex:0/x":      discovery.ErrNoServer,
		"matrix://127.1/x":       discovery.ErrAddress,
		"matrix://0x7f000001/x":  discovery.ErrAddress,
	} {
		u, err := url.Parse(text)
		if err != nil {
			continue // net/url refuses it already
		}
		_, err = transport.RoundTrip((&http.Request{URL: u, Header: http.Header{}}).WithContext(t.Context()))
		if err == nil || want != nil && !errors.Is(err, want) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	if _, err := transport.RoundTrip((&http.Request{Header: http.Header{}}).WithContext(t.Context())); err == nil {
		t.Error("no URL: no error")
	}
	if dials := n.Dials(); len(dials) > 0 {
		t.Errorf("dialled %v", dials)
	}
}

func TestTLS12IsTheLeast(t *testing.T) {
	n := oneTarget(t)
	server := n.Serve("8.0.0.1:8448", []string{"a.ex"}, nil)
	for _, c := range []struct {
		least, server uint16 // of ours; of theirs, which is also the most
		ok            bool
	}{
		{0, tls.VersionTLS11, false},
		{tls.VersionTLS10, tls.VersionTLS11, false},
		{0, tls.VersionTLS12, true},
		{tls.VersionTLS13, tls.VersionTLS12, false},
		{tls.VersionTLS13, tls.VersionTLS13, true},
	} {
		server.TLS.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
			config := &tls.Config{Certificates: server.TLS.Certificates, MinVersion: c.server, MaxVersion: c.server}
			return config, nil
		}
		config := &tls.Config{RootCAs: n.Roots, MinVersion: c.least, ServerName: "b.ex", NextProtos: []string{"x"}}
		transport := n.Transport(func(d *discovery.Config) { d.TLS = config })
		if _, _, err := get(t, transport, "a.ex/x"); (err == nil) != c.ok {
			t.Errorf("%+v: got %v", c, err)
		}
		if config.MinVersion != c.least || config.ServerName != "b.ex" {
			t.Error("the Config was changed")
		}
	}
}

// silentNetwork connects to anything, which then says nothing.
func silentNetwork(context.Context, string, string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, theirs) }() // until ours is closed
	return ours, nil
}

// Also without a context that ends, and after one that has.
func TestHandshakeIsBounded(t *testing.T) {
	for name, patience := range map[string]time.Duration{"patient": time.Hour, "impatient": time.Second} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				transport, err := discovery.New(discovery.Config{Dial: silentNetwork})
				if err != nil {
					t.Fatal(err)
				}
				var told events
				ctx, cancel := context.WithTimeout(httptrace.WithClientTrace(t.Context(), told.trace()), patience)
				defer cancel()
				began := time.Now()
				_, counter, err := put(ctx, t, transport, "8.0.0.1/x", "{}", true)
				if !errors.Is(err, context.DeadlineExceeded) || counter.closed() != 1 {
					t.Errorf("got %v", err)
				}
				if took, want := time.Since(began), min(patience, 10*time.Second); took != want {
					t.Errorf("got %v, want %v", took, want)
				}
				// Connecting goes on without the request, but the bubble demands that it ends.
				time.Sleep(10*time.Second - patience)
			})
		})
	}
}

func TestConnectingIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		transport, err := discovery.New(discovery.Config{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}})
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		_, _, err = put(t.Context(), t, transport, "8.0.0.1/x", "{}", true)
		if took := time.Since(began); err == nil || took > 30*time.Second {
			t.Errorf("got %v after %v", err, took)
		}
	})
}
