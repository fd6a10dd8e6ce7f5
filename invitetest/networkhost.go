package invitetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"
)

// A host serves HTTPS on loopback, by HTTP/1.1 and 2.
type host struct {
	server   *http.Server
	listener net.Listener
	over     context.CancelFunc
	serving  sync.WaitGroup

	mu       sync.Mutex
	requests int           // being handled
	closing  chan struct{} // closed when there are none; nil: the host is open
}

// How long the head of a request may take to arrive, and handlers to end once their host
// has closed.
const (
	headerTimeout = 10 * time.Second
	closeTimeout  = 5 * time.Second
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
	h := &host{listener: listener, over: over}
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
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          log.New(panicsOnly{}, "", log.LstdFlags),
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	h.serving.Go(func() { _ = h.server.ServeTLS(listener, "", "") })
	return h, nil
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

// panicsOnly is a log of the panics of handlers, which are those of a server under test:
// its author wants to see them. What else net/http has to say is of clients that broke off.
type panicsOnly struct{}

func (panicsOnly) Write(line []byte) (int, error) {
	if bytes.Contains(line, []byte("panic serving")) {
		return os.Stderr.Write(line)
	}
	return len(line), nil
}
