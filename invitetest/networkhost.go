package invitetest

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A host serves HTTPS on loopback, by HTTP/1.1 and 2.
type host struct {
	server   *http.Server
	listener net.Listener
	over     context.CancelFunc
	serving  sync.WaitGroup

	connections atomic.Int64

	mu       sync.Mutex
	requests int           // being handled
	closing  chan struct{} // closed when there are none; nil: the host is open
	tlsError string        // of the last handshake that failed
	noTLS    chan struct{} // closed when one did
}

const (
	headerTimeout  = 10 * time.Second // for the head of a request to arrive
	writeTimeout   = 5 * time.Minute  // for a request and its answer, which may be [Slow]
	idleTimeout    = 30 * time.Second // between requests
	closeTimeout   = 5 * time.Second  // for handlers to end once their host has closed
	learnTimeout   = time.Second / 5  // for word of what the other side has ended
	maxConnections = 500
)

// startHost starts a host at a free port, if listener is nil. The other certificates are
// looked for by the name that a client asks for.
func startHost(listener net.Listener, certificate tls.Certificate, handler http.Handler,
	others ...func(*tls.ClientHelloInfo) (*tls.Certificate, error),
) (*host, error) {
	if listener == nil {
		var err error
		if listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
			return nil, fmt.Errorf("invitetest: %w", err)
		}
	}
	if _, ok := listener.Addr().(*net.TCPAddr); !ok {
		return nil, fmt.Errorf("invitetest: %s is no TCP address", listener.Addr())
	}
	ctx, over := context.WithCancel(context.Background())
	h := &host{listener: listener, over: over, noTLS: make(chan struct{})}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}}
	if len(others) > 0 {
		config.GetCertificate = others[0]
	}
	h.server = &http.Server{
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if h.begin() {
				defer h.end()
				handler.ServeHTTP(w, r)
			}
		}),
		TLSConfig:         config,
		ReadHeaderTimeout: headerTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		ConnState:         h.limit,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(hostLog{h}, "", log.LstdFlags),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	h.serving.Go(func() { _ = h.server.ServeTLS(listener, "", "") })
	return h, nil
}

// limit closes connections that are too many.
func (h *host) limit(c net.Conn, state http.ConnState) {
	switch state {
	case http.StateNew:
		if h.connections.Add(1) > maxConnections {
			_ = c.Close()
		}
	case http.StateClosed, http.StateHijacked:
		h.connections.Add(-1)
	}
}

// address returns where to connect to.
func (h *host) address() string { return addressOf(h.listener) }

// addressOf returns where to connect to a listener, which is one of loopback if it listens
// everywhere.
func addressOf(listener net.Listener) string {
	address, ok := listener.Addr().(*net.TCPAddr)
	if !ok {
		return listener.Addr().String()
	}
	ip := address.IP
	if ip.IsUnspecified() {
		ip = net.IPv4(127, 0, 0, 1)
	}
	return net.JoinHostPort(ip.String(), strconv.Itoa(address.Port))
}

func (h *host) begin() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closing != nil {
		return false
	}
	h.requests++
	return true
}

func (h *host) end() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.requests--; h.requests == 0 && h.closing != nil {
		close(h.closing)
	}
}

// close ends connections and waits for handlers, but not for ever for what hangs. It is to
// be called once; of a nil host it does nothing.
func (h *host) close() {
	if h == nil {
		return
	}
	h.over()
	_ = h.server.Close()
	h.serving.Wait()
	h.mu.Lock()
	ended := make(chan struct{})
	if h.closing = ended; h.requests == 0 {
		close(ended)
	}
	h.mu.Unlock()
	hangs := time.NewTimer(closeTimeout)
	defer hangs.Stop()
	select {
	case <-ended:
	case <-hangs.C:
	}
}

// hostLog is the log of a host's server. The panics of handlers are those of a server under
// test: its author wants to see them. Why a handshake failed may be asked for. What else
// net/http has to say is of clients that broke off.
type hostLog struct{ h *host }

func (l hostLog) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic serving")) {
		return os.Stderr.Write(line)
	}
	// ... TLS handshake error from 127.0.0.1:43210: remote error: tls: bad certificate
	if _, text, ok := bytes.Cut(line, []byte("TLS handshake error from ")); ok {
		_, text, _ = bytes.Cut(text, []byte(": "))
		l.h.handshakeFailed(string(bytes.TrimSpace(text)))
	}
	return len(line), nil
}

func (h *host) handshakeFailed(text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.tlsError == "" {
		close(h.noTLS)
	}
	h.tlsError = cmp.Or(text, "handshake failed")
}

// tlsFailure is why the last handshake failed that did; "" if none has. It is asked once the
// other side gave up, and waits a moment for this one to learn of it.
func (h *host) tlsFailure() string {
	moment := time.NewTimer(learnTimeout)
	defer moment.Stop()
	select {
	case <-h.noTLS:
	case <-moment.C:
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.tlsError
}
