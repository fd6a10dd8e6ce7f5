package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

const resolveUsage = `Usage:
    fedinvite resolve [-connect] [-ca FILE] [-allow PREFIX …] [-dns HOST:PORT]
                      [-json] SERVER

Find out where a server is from its name, as the specification says, and show each
step: what was asked, what was answered, and what follows from it. These are the
step of the specification that applies, the Host header of requests, the name that
the certificate must be for, and the targets in the order in which they are tried,
each with its addresses and whether they may be connected to.

The exit status is 0 if there is an address that may be connected to, and with
-connect only if the server tells its version.

Options:
    -connect            connect to each address by TLS, show protocol and
                        certificate, and ask the server for its version
    -ca FILE            the certificate authorities to trust, in place of the
                        system's
    -allow PREFIX       addresses that may be connected to though they are not of
                        the public internet, such as 10.0.0.0/8, or "loopback"; may
                        be repeated
    -dns HOST:PORT      the DNS server to ask, in place of the system's
    -json               write one JSON object; times are in milliseconds since 1970

Example:
    $ fedinvite resolve -connect matrix.org
`

func runResolve(ctx context.Context, s streams, args []string) error {
	q := newInquiry("resolve")
	connect := q.Bool("connect", false, "")
	server, err := q.parseServer(args)
	if err != nil {
		return err
	}
	config, err := q.config()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, inquiryTimeout, errors.New("it took too long"))
	defer cancel()
	r := &route{Server: server}
	err = r.find(ctx, config, *connect)
	r.Error = errorText(err)
	return errors.Join(err, q.write(s.out, r))
}

// A route is where a server is, and how that was found out.
type route struct {
	Server    fedinvite.ServerName `json:"server"`
	Answers   []answer             `json:"answers"`
	Step      string               `json:"step,omitempty"`
	Delegated fedinvite.ServerName `json:"delegated,omitempty"`
	Host      string               `json:"host_header,omitempty"`
	CertName  string               `json:"certificate_name,omitempty"`
	Targets   []target             `json:"targets,omitempty"`
	Version   *software            `json:"version,omitempty"`
	Error     string               `json:"error,omitempty"`
}

// An answer is one step on the way.
type answer struct {
	Step     string `json:"step"`
	Question string `json:"question"`
	Answer   string `json:"answer,omitempty"`
	Expires  int64  `json:"expires_ts,omitempty"`
	Error    string `json:"error,omitempty"`
}

// A target is a place to connect to.
type target struct {
	Host      string    `json:"host"`
	Port      uint16    `json:"port"`
	Addresses []address `json:"addresses,omitempty"`
	Error     string    `json:"error,omitempty"` // of looking the host up
}

// An address is one of a target's.
type address struct {
	Address    netip.Addr  `json:"address"`
	Permitted  bool        `json:"permitted"`
	Connection *connection `json:"connection,omitempty"`
}

// find fills in the route as far as it gets.
func (r *route) find(ctx context.Context, c discovery.Config, connect bool) error {
	var log answers
	c.Trace = log.add
	transport, err := discovery.New(c)
	if err != nil {
		return err
	}
	defer transport.CloseIdleConnections()
	found, err := transport.Resolver().Resolve(ctx, r.Server)
	r.Answers = log.sofar()
	if err != nil {
		return err
	}
	r.Step, r.Delegated, r.Host, r.CertName = found.Step, found.Delegated, found.Host, found.CertName
	permitted := false
	for _, t := range found.Targets {
		next := target{Host: t.Host, Port: t.Port}
		addrs, err := lookup(ctx, c.DNS, t.Host)
		next.Error = errorText(err)
		for _, addr := range addrs {
			a := address{Address: addr, Permitted: transport.Dialer().Permits(addr)}
			permitted = permitted || a.Permitted
			next.Addresses = append(next.Addresses, a)
		}
		r.Targets = append(r.Targets, next)
	}
	if connect {
		r.connect(ctx, transport.Dialer(), c.TLS)
		r.Version, err = askVersion(ctx, transport, r.Server)
		return err
	}
	if !permitted {
		return fmt.Errorf("%s has no address that may be connected to", r.Server)
	}
	return nil
}

// lookup returns the addresses of a host as a Dialer sees them, also those that must not
// be connected to.
func lookup(ctx context.Context, dns discovery.DNS, host string) ([]netip.Addr, error) {
	all := discovery.Dialer{DNS: dns, Allow: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}}
	return all.Lookup(ctx, host)
}

// answers gathers what a Resolver tells.
type answers struct {
	mu   sync.Mutex
	list []answer
}

func (l *answers) add(_ context.Context, a discovery.Answer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, answer{a.Step, a.Question, a.Answer, milliseconds(a.Expires), errorText(a.Err)})
}

// sofar returns what was told up to now. What comes later, in the background or for a
// request, is no step of the way.
func (l *answers) sofar() []answer {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]answer{}, l.list...)
}
