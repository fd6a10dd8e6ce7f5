package discovery_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// A fakeProxy is the other end of every connection that its dial makes.
type fakeProxy struct {
	answer string // to CONNECT; "": none
	dialed []string
	asked  chan *http.Request
	wire   net.Conn // the proxy's end, after the answer
}

func newFakeProxy(answer string) *fakeProxy {
	return &fakeProxy{answer: answer, asked: make(chan *http.Request, 1)}
}

func (p *fakeProxy) dial(_ context.Context, network, address string) (net.Conn, error) {
	p.dialed = append(p.dialed, network+" "+address)
	ours, theirs := net.Pipe()
	p.wire = theirs
	go func() {
		request, err := http.ReadRequest(bufio.NewReader(theirs))
		if err != nil {
			return
		}
		p.asked <- request
		_, _ = io.WriteString(theirs, p.answer)
	}()
	return ours, nil
}

func mustURL(t *testing.T, text string) *url.URL {
	t.Helper()
	u, err := url.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func mustProxy(t *testing.T, proxy string, dial discovery.DialFunc) discovery.DialFunc {
	t.Helper()
	f, err := discovery.ConnectProxy(mustURL(t, proxy), dial)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func TestConnectProxyAsksForTheAddress(t *testing.T) {
	for _, c := range []struct{ name, proxy, network, address, dialed, asked, auth string }{
		{"IPv4", "http://proxy.ex:3128", "tcp4", "8.8.8.8:8448", "tcp proxy.ex:3128", "8.8.8.8:8448", ""},
		{"IPv6", "http://[::1]:3128/", "tcp6", "[2606:4700::1]:443", "tcp [::1]:3128", "[2606:4700::1]:443", ""},
		{"mapped", "http://10.0.0.1", "tcp", "[::ffff:8.8.8.8]:443", "tcp 10.0.0.1:80", "8.8.8.8:443", ""},
		{"password", "http://u%40x:p:%0a%22@proxy.ex", "tcp4", "8.8.8.8:443", "tcp proxy.ex:80", "8.8.8.8:443", "u@x:p:\n\""},
		{"user only", "http://u@proxy.ex", "tcp4", "8.8.8.8:443", "tcp proxy.ex:80", "8.8.8.8:443", "u:"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newFakeProxy("HTTP/1.1 200 Connection established\r\n\r\n")
			conn, err := mustProxy(t, c.proxy, p.dial)(t.Context(), c.network, c.address)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			request := <-p.asked
			if diff := cmp.Diff([]string{c.dialed}, p.dialed); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			want := http.Header{}
			if c.auth != "" {
				want.Set("Proxy-Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(c.auth)))
			}
			if request.Method != "CONNECT" || request.RequestURI != c.asked || request.Host != c.asked {
				t.Errorf("asked %s %s, Host %s", request.Method, request.RequestURI, request.Host)
			}
			if diff := cmp.Diff(want, request.Header); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

func TestConnectProxyLosesNoBytes(t *testing.T) {
	for name, header := range map[string]string{
		"plain": "HTTP/1.1 200 OK\r\n\r\n",
		// RFC 9110, section 9.3.6: a client must ignore these in a successful answer.
		"length":   "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n",
		"chunked":  "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
		"HTTP/1.0": "HTTP/1.0 200 Connection established\r\nProxy-agent: x\r\n\r\n",
		"longest":  "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 16<<10-len("HTTP/1.1 200 OK\r\nX: \r\n\r\n")) + "\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			p := newFakeProxy(header + "early bytes")
			conn, err := mustProxy(t, "http://proxy.ex", p.dial)(t.Context(), "tcp", "8.8.8.8:443")
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = conn.Close() }()
			<-p.asked
			early := make([]byte, len("early bytes"))
			if _, err := io.ReadFull(iotest.OneByteReader(conn), early); err != nil || string(early) != "early bytes" {
				t.Errorf("%q, %v", early, err)
			}
			go func() { _, _ = io.Copy(p.wire, p.wire) }() // an echo
			if _, err := io.WriteString(conn, "late"); err != nil {
				t.Error(err)
			}
			late := make([]byte, 4)
			if _, err := io.ReadFull(conn, late); err != nil || string(late) != "late" {
				t.Errorf("%q, %v", late, err)
			}
		})
	}
}

func TestConnectProxyRefusesOtherAnswers(t *testing.T) {
	for name, c := range map[string]struct{ answer, want string }{
		"407":           {"HTTP/1.1 407 Authenticate\r\n\r\n", "407"},
		"403":           {"HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno", "403"},
		"201":           {"HTTP/1.1 201 Created\r\n\r\n", "201"},
		"100":           {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "100"},
		"redirect":      {"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1/\r\n\r\n", "302"},
		"no HTTP":       {"SSH-2.0-x\r\n\r\n", "malformed"},
		"long, no HTTP": {strings.Repeat("z", 10_000) + "\r\n\r\n", "malformed"},
		"an empty line": {"\r\n", "malformed"},
		"bad header":    {"HTTP/1.1 200 OK\r\n\x00\r\n\r\n", "malformed"},
		"too long":      {"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 16<<10) + "\r\n\r\n", "16384"},
		"without end":   {strings.Repeat("x", 1<<20), "16384"},
		"many headers":  {"HTTP/1.1 200 OK\r\n" + strings.Repeat("a: b\r\n", 1<<16), "16384"},
		"status, vexed": {"HTTP/1.1 500 \x1b[31m" + strings.Repeat("y", 1000) + "\r\n\r\n", "500 Internal Server Error"},
	} {
		t.Run(name, func(t *testing.T) {
			p := newFakeProxy(c.answer)
			conn, err := mustProxy(t, "http://user:secret@proxy.ex", p.dial)(t.Context(), "tcp", "8.8.8.8:443")
			if err == nil || conn != nil || !strings.Contains(err.Error(), c.want) {
				t.Fatalf("got %v, want %s", err, c.want)
			}
			if text := err.Error(); len(text) > 300 || strings.Contains(text, "secret") || strings.Contains(text, "\x1b") {
				t.Errorf("text %q", text)
			}
			if _, err := p.wire.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("the connection is open: %v", err)
			}
		})
	}
}

func TestConnectProxyRefusesWhatIsNoAddress(t *testing.T) {
	p := newFakeProxy("")
	dial := mustProxy(t, "http://proxy.ex", p.dial)
	for _, address := range []string{
		"", "a.ex:443", ":443", "8.8.8.8", "8.8.8.8:", "8.8.8.8:https", "8.8.8.8:443 HTTP/1.1\r\nX: y",
		"[fe80::1%eth0]:443", "[fe80::1%\r\nX: y]:443", "[::ffff:8.8.8.8%\r\n]:443", "0177.0.0.1:443",
	} {
		if _, err := dial(t.Context(), "tcp", address); !errors.Is(err, discovery.ErrAddress) {
			t.Errorf("%q: %v", address, err)
		}
	}
	for network, address := range map[string]string{"udp": "8.8.8.8:443", "": "8.8.8.8:443", "tcp4": "[2606:4700::1]:443", "tcp6": "8.8.8.8:443"} {
		if _, err := dial(t.Context(), network, address); !errors.As(err, new(net.UnknownNetworkError)) {
			t.Errorf("%q %s: %v", network, address, err)
		}
	}
	if len(p.dialed) > 0 {
		t.Errorf("dialled %q", p.dialed)
	}
}

func TestConnectProxyRefusesOtherURLs(t *testing.T) {
	if _, err := discovery.ConnectProxy(nil, nil); err == nil {
		t.Error("nil is accepted")
	}
	for _, text := range []string{
		"", "proxy.ex:3128", "//proxy.ex", "socks5://:secret@proxy.ex", "http://", "https://:3128", "http:proxy.ex",
		"http://u:secret@proxy.ex:0", "http://u:secret@proxy.ex:65536",
	} {
		_, err := discovery.ConnectProxy(mustURL(t, text), nil)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func TestConnectProxyEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, answer := range []string{"", "HTTP/1.1 200 OK\r\n", "HTTP/1.1 200"} {
			p := newFakeProxy(answer)
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			begin := time.Now()
			_, err := mustProxy(t, "http://proxy.ex", p.dial)(ctx, "tcp", "8.8.8.8:443")
			if took := time.Since(begin); !errors.Is(err, context.DeadlineExceeded) || took != 3*time.Second {
				t.Errorf("%q: after %s: %v", answer, took, err)
			}
			if _, err := p.wire.Write([]byte("x")); !errors.Is(err, io.ErrClosedPipe) {
				t.Errorf("%q: the connection is open: %v", answer, err)
			}
			cancel()
		}
	})
}

func TestConnectProxyOutlivesItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProxy("HTTP/1.1 200 OK\r\n\r\n")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		conn, err := mustProxy(t, "http://proxy.ex", p.dial)(ctx, "tcp", "8.8.8.8:443")
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		time.Sleep(time.Hour) // of the bubble's clock
		go func() { _, _ = io.WriteString(p.wire, "x") }()
		if _, err := conn.Read(make([]byte, 1)); err != nil {
			t.Error(err)
		}
		_ = conn.Close()
	})
}

func TestConnectProxySaysThatTheProxyIsDown(t *testing.T) {
	down := &net.OpError{Op: "dial", Err: errors.New("refused")}
	dial := mustProxy(t, "http://proxy.ex", func(context.Context, string, string) (net.Conn, error) { return nil, down })
	if _, err := dial(t.Context(), "tcp", "8.8.8.8:443"); !errors.Is(err, down) || !strings.Contains(err.Error(), "proxy proxy.ex:80") {
		t.Errorf("got %v", err)
	}
}

// The proxy is on loopback, and reached; where it may be asked to go is judged before.
func TestPlumbing55ProxyIsNotAskedForForbiddenAddresses(t *testing.T) {
	c := newCounter(t)
	d := &discovery.Dialer{DNS: dnsOf("127.0.0.1", "::ffff:10.0.0.1", "8.8.8.8"), Dial: mustProxy(t, "http://"+c.at("127.0.0.1"), nil)}
	for _, host := range []string{"127.0.0.1", "64:ff9b::7f00:1", "localhost", "", "a.ex", "a.ex"} {
		if _, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort(host, "443")); !errors.Is(err, discovery.ErrAddress) {
			t.Errorf("%q: %v", host, err)
		}
	}
	if n := c.n.Load(); n != 0 {
		t.Errorf("the proxy had %d connections", n)
	}
	if _, err := d.DialContext(t.Context(), "tcp", "a.ex:443"); err == nil || errors.Is(err, discovery.ErrAddress) {
		t.Errorf("a public address: %v", err)
	}
	if n := c.n.Load(); n != 1 {
		t.Errorf("the proxy had %d connections, want 1", n)
	}
}
