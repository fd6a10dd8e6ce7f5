package main

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// A stage is where the homeservers of the demonstration run.
type stage struct {
	authority *authority
	servers   []*http.Server
	serving   sync.WaitGroup
}

// clear ends the homeservers.
func (s *stage) clear() {
	for _, srv := range s.servers {
		_ = srv.Close() // nobody is waiting for an answer
	}
	s.serving.Wait()
}

// start starts a homeserver on a fresh port of the loopback interface. as may
// change how it answers.
func (s *stage) start(ctx context.Context, label string, as func(http.Handler) http.Handler, block ...string) (*peer, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p, err := newPeer(label, fedinvite.ServerName(l.Addr().String()), s.authority, block)
	if err != nil {
		_ = l.Close()
		return nil, err
	}
	// What goes wrong in a connection is told by the one who made it.
	srv := newServer(as(p.homeserver), p.cert, io.Discard)
	s.servers = append(s.servers, srv)
	s.serving.Go(func() { _ = srv.ServeTLS(l, "", "") })
	return p, nil
}

// A peer is one of the homeservers of the demonstration.
type peer struct {
	*outbound
	*homeserver
	kept  *memory
	cert  tls.Certificate
	label string // what the table calls it

	mu       sync.Mutex
	receipts map[string]receipt // by event ID
}

// A receipt is what a peer says of an event that it received.
type receipt struct {
	event    string // as in the lines of serve
	endpoint string // of an invite
	err      error  // why an invite was refused
}

// newPeer makes a homeserver with a fresh key.
func newPeer(label string, name fedinvite.ServerName, a *authority, block []string) (*peer, error) {
	id, key, err := fedinvite.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	signer, err := fedinvite.NewSigner(name, id, key)
	if err != nil {
		return nil, err
	}
	p := &peer{label: label, kept: newMemory(), receipts: make(map[string]receipt)}
	if p.cert, err = a.serverCertificate(); err != nil {
		return nil, err
	}
	if p.outbound, err = newOutbound(signer, connecting(a.roots, discovery.Loopback())); err != nil {
		return nil, err
	}
	d, err := newDoor(unlimited(), block...)
	if err != nil {
		return nil, err
	}
	p.homeserver, err = newHomeserver(p.outbound, p.kept, d, p)
	return p, err
}

// received, declined and takenBack make a peer the witness of its homeserver.
func (p *peer) received(_ context.Context, d *fedinvite.Delivery, _ *fedinvite.Invite, err error) {
	r := receipt{event: eventInvited, endpoint: "PUT v2", err: err}
	if err != nil {
		r.event = eventRefused
	}
	if d.V1 {
		r.endpoint = "PUT v1"
	}
	p.note(d.EventID, r)
}

func (p *peer) declined(leave *fedinvite.Event) { p.note(leave.ID(), receipt{event: eventDeclined}) }

func (p *peer) takenBack(leave, _ *fedinvite.Event) {
	p.note(leave.ID(), receipt{event: eventTakenBack})
}

func (p *peer) note(eventID string, r receipt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.receipts[eventID] = r
}

func (p *peer) receipt(eventID string) receipt {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.receipts[eventID]
}

// asked returns how many events the peer has received.
func (p *peer) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.receipts)
}

func (p *peer) user(localpart string) string { return "@" + localpart + ":" + string(p.name()) }

// introduce tells who the peer is.
func (p *peer) introduce(w io.Writer, text string) {
	fmt.Fprintf(w, "  %s  %-15s  %s  %s\n", p.label, p.name(), p.signer.KeyID(), text)
}
