package internet

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
)

// A Peer is a server that notes what it is asked.
type Peer struct {
	*httptest.Server
	mu    sync.Mutex
	asked []Asked
	conns int
}

// An Asked is a request as it arrived. Its body is noted only where no handler is to read it.
type Asked struct{ Target, Host, SNI, Proto, Body string }

// Serve starts a server at an address such as "8.0.0.1:8448", with a certificate for names.
// It answers with handler, or 200 and {} if that is nil.
func (n *Network) Serve(address string, names []string, handler http.HandlerFunc) *Peer {
	n.t.Helper()
	p := new(Peer)
	p.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var body []byte
		if handler == nil {
			body, _ = io.ReadAll(r.Body)
		}
		p.mu.Lock()
		p.asked = append(p.asked, Asked{r.RequestURI, r.Host, r.TLS.ServerName, r.Proto, string(body)})
		p.mu.Unlock()
		if handler != nil {
			handler(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, "{}")
	}))
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			p.mu.Lock()
			p.conns++
			p.mu.Unlock()
		}
	}
	p.EnableHTTP2, p.Config.HTTP2 = !n.HTTP1, &http.HTTP2Config{MaxConcurrentStreams: n.Streams}
	p.TLS = &tls.Config{Certificates: []tls.Certificate{n.Certificate(names...)}}
	p.StartTLS()
	n.t.Cleanup(p.Close)
	n.Place(address, p.Listener.Addr().String())
	return p
}

// WellKnown serves a delegation from host at an address of it, such as "8.0.0.1" or "[2a00::1]".
func (n *Network) WellKnown(host, address, delegated string) *Peer {
	n.t.Helper()
	return n.Serve(address+":443", []string{host}, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"m.server":"`+delegated+`"}`)
	})
}

// Requests returns what p was asked.
func (p *Peer) Requests() []Asked {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.asked)
}

// Connections returns how many connections p has had.
func (p *Peer) Connections() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.conns
}

// Listen has handle speak a protocol by hand with whoever connects to address, until the test
// ends: over TLS with a certificate for names or, without names, bare.
func (n *Network) Listen(address string, names []string, protocol string, handle func(net.Conn)) {
	n.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { _ = l.Close() })
	n.Place(address, l.Addr().String())
	if names != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{n.Certificate(names...)}, NextProtos: []string{protocol}})
	}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(n.t.Context(), func() { _ = conn.Close() })
			go func() {
				defer stop()
				defer conn.Close()
				handle(conn)
			}()
		}
	}()
}
