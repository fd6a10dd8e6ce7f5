// Package dnstest has a DNS server for tests, on loopback, by UDP and TCP.
//
//	dns := dnstest.New(t)
//	dns.Addr("a.ex", "127.0.0.1", "::1")
//	dns.SRV("_matrix-fed._tcp.b.ex", net.SRV{Target: "a.ex.", Port: 8448})
//	resolver := dns.Resolver() // asks this server alone
//
// Names are absolute, with or without the dot at their end, and of either case. A name
// that nothing was said of does not exist. What is said of a name may be changed at
// any time; it counts for the next question.
package dnstest

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// A Type is the type of a record that a question asks for.
type Type = dnsmessage.Type

// The types of questions that there are records for.
const (
	A    = dnsmessage.TypeA
	AAAA = dnsmessage.TypeAAAA
	SRV  = dnsmessage.TypeSRV
)

// maxUDP is what fits into one datagram; a longer answer says so, and is to be had by
// TCP.
const maxUDP = 1232

// A Server answers questions. It is safe for concurrent use.
type Server struct {
	mu        sync.Mutex
	zone      map[string]*entry
	questions map[question]int
	hook      func(name string, kind Type)
	address   string
	over      context.CancelFunc
	work      sync.WaitGroup
}

// An entry is what is known of a name.
type entry struct {
	addrs  []netip.Addr
	srv    []net.SRV
	cname  dnsmessage.Name  // without any bytes: none
	rcode  dnsmessage.RCode // other than success: the answer, whatever is asked
	silent bool
}

type question struct {
	name string
	kind Type
}

// New starts a server that knows no names. It is closed when the test ends.
func New(t testing.TB) *Server {
	t.Helper()
	s, err := Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// Start starts a server that knows no names, for where there is no test. Close ends it.
func Start() (*Server, error) {
	packets, streams, err := listen()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{zone: map[string]*entry{}, questions: map[question]int{}, address: packets.LocalAddr().String(), over: cancel}
	s.work.Go(func() { s.servePackets(packets) })
	s.work.Go(func() { s.serveStreams(ctx, streams) })
	context.AfterFunc(ctx, func() { _ = packets.Close(); _ = streams.Close() })
	return s, nil
}

// listen finds a port that is free for both protocols.
func listen() (net.PacketConn, net.Listener, error) {
	for tries := 0; ; tries++ {
		packets, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			return nil, nil, err
		}
		streams, err := net.Listen("tcp", packets.LocalAddr().String())
		if err == nil {
			return packets, streams, nil
		}
		_ = packets.Close()
		if tries == 10 {
			return nil, nil, err
		}
	}
}

// Close stops the server and waits until it has stopped.
func (s *Server) Close() {
	s.over()
	s.work.Wait()
}

// Address returns where the server listens, by UDP and TCP.
func (s *Server) Address() string { return s.address }

// Resolver returns a resolver by Go that asks this server, whatever the system is
// configured to ask. Mind that it also reads the system's table of hosts: do not use
// names that may be there, such as localhost.
func (s *Server) Resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, s.address)
	}}
}

// Addr sets the addresses of name, A and AAAA records; without any the name exists and
// has none. An address that is none panics.
func (s *Server) Addr(name string, addrs ...string) {
	var list []netip.Addr
	for _, a := range addrs {
		list = append(list, netip.MustParseAddr(a))
	}
	s.change(name, func(e *entry) { e.addrs = list })
}

// SRV sets the SRV records of name, which is whole: "_matrix-fed._tcp.a.ex". Targets are
// sent as they are; one that cannot be, such as "b..ex.", panics.
func (s *Server) SRV(name string, records ...net.SRV) {
	for _, r := range records {
		mustPack(srvResource(dnsmessage.MustNewName("."), r))
	}
	list := append([]net.SRV(nil), records...)
	s.change(name, func(e *entry) { e.srv = list })
}

// CNAME makes name an alias of target. A target that cannot be sent panics.
func (s *Server) CNAME(name, target string) {
	alias := dnsmessage.MustNewName(key(target) + ".")
	mustPack(cnameResource(dnsmessage.MustNewName("."), alias))
	s.change(name, func(e *entry) { e.cname = alias })
}

func mustPack(r dnsmessage.Resource) {
	if _, err := (&dnsmessage.Message{Answers: []dnsmessage.Resource{r}}).Pack(); err != nil {
		panic("dnstest: " + err.Error())
	}
}

// Fail has questions for name answered by SERVFAIL.
func (s *Server) Fail(name string) {
	s.change(name, func(e *entry) { e.rcode = dnsmessage.RCodeServerFailure })
}

// Silence leaves questions for name without an answer.
func (s *Server) Silence(name string) { s.change(name, func(e *entry) { e.silent = true }) }

// Remove forgets all that was said of name: it does not exist.
func (s *Server) Remove(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.zone, key(name))
}

// Hook has f called for each question before it is answered; nil: nothing. f may change
// what the answer is, and wait; name is in lower case and has no dot at its end.
func (s *Server) Hook(f func(name string, kind Type)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.hook = f
}

// Questions returns how often name was asked for records of type kind.
func (s *Server) Questions(name string, kind Type) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.questions[question{key(name), kind}]
}

// AllQuestions returns how many questions there were.
func (s *Server) AllQuestions() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, times := range s.questions {
		n += times
	}
	return n
}

func key(name string) string { return strings.ToLower(strings.TrimSuffix(name, ".")) }

// change also ends a failure or a silence.
func (s *Server) change(name string, f func(*entry)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := entry{}
	if e := s.zone[key(name)]; e != nil {
		next = *e
		next.rcode, next.silent = dnsmessage.RCodeSuccess, false
	}
	f(&next)
	s.zone[key(name)] = &next
}

func (s *Server) servePackets(conn net.PacketConn) {
	buf := make([]byte, 4096)
	for {
		n, from, err := conn.ReadFrom(buf)
		if err != nil {
			return
		}
		// In a goroutine: a hook may wait, and others have questions meanwhile.
		request := append([]byte(nil), buf[:n]...)
		s.work.Go(func() {
			if reply := s.answer(request, maxUDP); reply != nil {
				_, _ = conn.WriteTo(reply, from)
			}
		})
	}
}

func (s *Server) serveStreams(ctx context.Context, l net.Listener) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
		s.work.Go(func() {
			defer stop()
			defer conn.Close()
			s.serveStream(conn)
		})
	}
}

// serveStream answers the questions of one connection, each with its length before it.
func (s *Server) serveStream(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(time.Minute))
	for {
		var size [2]byte
		if _, err := io.ReadFull(conn, size[:]); err != nil {
			return
		}
		request := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(conn, request); err != nil {
			return
		}
		reply := s.answer(request, 1<<16-1)
		if reply == nil {
			continue
		}
		if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(reply))), reply...)); err != nil {
			return
		}
	}
}

// answer returns nil where there is to be silence.
func (s *Server) answer(request []byte, limit int) []byte {
	var m dnsmessage.Message
	if m.Unpack(request) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	name := key(q.Name.String())
	if hook := s.count(question{name, q.Type}); hook != nil {
		hook(name, q.Type)
	}
	m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true}
	m.Answers, m.Authorities, m.Additionals = nil, nil, nil
	var silent bool
	if m.Answers, m.RCode, silent = s.records(q); silent {
		return nil
	}
	reply, err := m.Pack()
	if err != nil {
		m.Answers, m.RCode = nil, dnsmessage.RCodeServerFailure
		reply, _ = m.Pack()
	}
	if len(reply) > limit {
		m.Answers, m.Truncated = nil, true
		reply, _ = m.Pack()
	}
	return reply
}

func (s *Server) count(q question) func(name string, kind Type) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.questions[q]++
	return s.hook
}

// records follows aliases, as the resolver of a provider does.
func (s *Server) records(q dnsmessage.Question) (list []dnsmessage.Resource, rcode dnsmessage.RCode, silent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := q.Name
	for range 8 {
		e := s.zone[key(name.String())]
		switch {
		case e == nil:
			return list, dnsmessage.RCodeNameError, false
		case e.silent || e.rcode != dnsmessage.RCodeSuccess:
			return nil, e.rcode, e.silent
		case e.cname.Length == 0:
			return append(list, e.resources(name, q.Type)...), dnsmessage.RCodeSuccess, false
		}
		list = append(list, cnameResource(name, e.cname))
		name = e.cname
	}
	return nil, dnsmessage.RCodeServerFailure, false
}

func (e *entry) resources(name dnsmessage.Name, kind Type) (list []dnsmessage.Resource) {
	switch kind {
	case A, AAAA:
		for _, addr := range e.addrs {
			switch {
			case kind == A && addr.Is4():
				list = append(list, resource(name, A, &dnsmessage.AResource{A: addr.As4()}))
			case kind == AAAA && addr.Is6():
				list = append(list, resource(name, AAAA, &dnsmessage.AAAAResource{AAAA: addr.As16()}))
			}
		}
	case SRV:
		for _, r := range e.srv {
			list = append(list, srvResource(name, r))
		}
	}
	return list
}

// srvResource panics if the target of r is longer than a name.
func srvResource(name dnsmessage.Name, r net.SRV) dnsmessage.Resource {
	target := dnsmessage.MustNewName(strings.TrimSuffix(r.Target, ".") + ".")
	return resource(name, SRV, &dnsmessage.SRVResource{Priority: r.Priority, Weight: r.Weight, Port: r.Port, Target: target})
}

func cnameResource(name, target dnsmessage.Name) dnsmessage.Resource {
	return resource(name, dnsmessage.TypeCNAME, &dnsmessage.CNAMEResource{CNAME: target})
}

func resource(name dnsmessage.Name, kind Type, body dnsmessage.ResourceBody) dnsmessage.Resource {
	return dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: name, Type: kind, Class: dnsmessage.ClassINET, TTL: 60}, Body: body}
}
