package discovery

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A ResolverConfig says how a [Resolver] works. The zero ResolverConfig is right for the
// public internet.
type ResolverConfig struct {
	// Dialer looks SRV records up and connects for .well-known; nil: the zero Dialer.
	Dialer *Dialer
	// TLS may set the roots for .well-known, and more; it is copied, and its ServerName
	// is not used. nil: the system's roots.
	TLS *tls.Config
	// UserAgent is the User-Agent of requests for .well-known; "": none.
	UserAgent string
	// Now is the clock by which answers age; nil: time.Now.
	Now func() time.Time
	// Random returns a number from 0 to n-1, to choose among SRV records of one
	// priority by their weights; nil: math/rand/v2's. It must be safe for concurrent use.
	Random func(n uint64) uint64
	// MaxServers is the number of names whose answers are kept, and of those whose
	// failures are; 0: 10,000. It holds for .well-known and for SRV records, each.
	MaxServers int
	// MaxFetches is the number of look-ups at a time, up to 1,048,576; 0: 64. A quarter of
	// them is for names of which an answer is remembered. Others wait, 16 times as many at
	// most; more are refused at once, see [ErrBusy].
	MaxFetches int
	// Timeout bounds what asking for a name takes; 0: 5 s, to leave a request of 10 s as
	// much for itself. Three fifths of it are for .well-known with its redirects, and two
	// for SRV records of both kinds. Where look-ups have to wait for their turn, each does
	// for a fifth more at most.
	Timeout time.Duration
	// Trace is told of each answer as it is used; nil: nobody. New answers are told
	// once, by the look-up, before those who wait for it get theirs; remembered ones by
	// each call that uses them. The context has the values of the call that began the
	// look-up, and not its end. Trace must be quick, and safe for concurrent use.
	Trace func(ctx context.Context, a Answer)
}

// A Resolver finds out where servers are, and remembers it. It is safe for concurrent
// use.
//
// A delegation by .well-known is remembered for as long as its headers Cache-Control
// and Expires say, less the Age, but for 5 minutes at least and 48 hours at most;
// 24 hours if they do not say. In the last fifth of that time it is asked for again
// while it still counts. If there is no telling then, because the web server does not
// answer or is broken (5xx, 429, 408), the old delegation counts for another fifth, so
// that an outage of the web server does not send requests elsewhere.
//
// That there is no delegation is remembered for 5 minutes, then 10, doubling up to an
// hour. While an old delegation counts, failures are remembered for 30 seconds at
// first. That there was no telling counts for an hour more, in which the web server is
// asked again without anybody waiting for it.
//
// SRV records, and that there are none, are remembered for 5 minutes, because
// [net.Resolver] does not tell their time to live. They count for an hour more, in which the
// DNS is asked again without anybody waiting for it, unless they lead nowhere. That the DNS
// failed is remembered for a second, then two, doubling up to 10.
//
// There is one look-up for a name at a time, whoever waits for it. If too many names are
// asked about at once, an old answer counts as long as it would if there were no telling,
// and that there is no delegation for an hour more.
type Resolver struct {
	config     ResolverConfig
	wellKnown  wellKnown
	dns        DNS
	delegation *memory[delegation]
	service    *memory[service]
}

// NewResolver returns a Resolver that knows nothing yet. The error names the field that
// is wrong.
func NewResolver(c ResolverConfig) (*Resolver, error) {
	switch {
	case c.MaxServers < 0 || c.MaxFetches < 0 || c.Timeout < 0:
		return nil, errors.New("discovery: ResolverConfig.MaxServers, MaxFetches and Timeout must not be negative")
	case c.MaxFetches > 1<<20:
		return nil, errors.New("discovery: ResolverConfig.MaxFetches must not be more than 1,048,576")
	case strings.ContainsFunc(c.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }):
		return nil, errors.New("discovery: ResolverConfig.UserAgent must be printable ASCII")
	}
	if c.Dialer == nil {
		c.Dialer = new(Dialer)
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Uint64N
	}
	if c.MaxServers == 0 {
		c.MaxServers = 10_000
	}
	if c.MaxFetches == 0 {
		c.MaxFetches = 64
	}
	if c.Timeout == 0 {
		c.Timeout = 5 * time.Second
	}
	fifth := max(c.Timeout/5, 1)
	gate := newGate(c.MaxFetches, fifth)
	return &Resolver{
		config:     c,
		wellKnown:  newWellKnown(c.Dialer, c.TLS, c.UserAgent),
		dns:        c.Dialer.dns(),
		delegation: newMemory[delegation](c.MaxServers, c.Now, gate, 3*fifth),
		service:    newMemory[service](c.MaxServers, c.Now, gate, 2*fifth),
	}, nil
}

// The steps of "Resolving server names", by what comes of them.
type steps struct{ literal, port, fed, legacy, plain string }

var (
	ownSteps       = steps{"1", "2", "4", "5", "6"}
	delegatedSteps = steps{"3.1", "3.2", "3.3", "3.4", "3.5"}
)

// Resolve returns where server is to be found (server-server API, "Resolving server
// names"): by asking, unless it is remembered or the name itself says so. The name is
// not followed further than to host names: their addresses are for [Dialer] to look up
// as it connects, which also judges them.
//
// Names of the DNS are the same in any case of letters, and with or without a dot at their
// end; only Host is as it is written.
//
// An answer of .well-known counts if its m.server is a server name by the grammar. If that
// then leads nowhere, as b.example:0 does, it is an error, and the name itself is not
// followed instead (step 4): its owner has said that the server is elsewhere.
//
// ctx ends the wait of this caller, not the look-up, for which others may wait. Errors
// wrap [fedinvite.ErrIdentifier] if server is no server name, [ErrAddress] if its host can
// be neither a DNS name nor an address, [ErrNoServer], [ErrBusy], the DNS's error (often a
// [*net.DNSError]) if SRV records could not be asked for, or the cause of ctx's end.
func (r *Resolver) Resolve(ctx context.Context, server fedinvite.ServerName) (Resolution, error) {
	if _, err := fedinvite.ParseServerName(string(server)); err != nil {
		return Resolution{}, fmt.Errorf("discovery: %w", err)
	}
	res, err := r.resolve(ctx, server)
	if err != nil {
		return Resolution{}, fmt.Errorf("discovery: resolving %q: %w", server, err)
	}
	return res, nil
}

func (r *Resolver) resolve(ctx context.Context, server fedinvite.ServerName) (Resolution, error) {
	own, err := placeOf(server)
	if err != nil {
		return Resolution{}, err
	}
	res := Resolution{Server: server}
	if own.kind != nameOnly {
		return settled(res, own, &ownSteps), nil
	}
	found, err := r.delegationOf(ctx, server, own.certName)
	switch {
	case err != nil:
		return Resolution{}, err
	case found.to == "":
		return r.bySRV(ctx, res, own, &ownSteps)
	}
	res.Delegated = found.to
	switch {
	case found.err != nil:
		return Resolution{}, fmt.Errorf("delegated to %q: %w", found.to, found.err)
	case found.place.kind != nameOnly:
		return settled(res, found.place, &delegatedSteps), nil
	}
	return r.bySRV(ctx, res, found.place, &delegatedSteps)
}

// settled completes res with a place that needs no asking.
func settled(res Resolution, p place, s *steps) Resolution {
	res.Step = s.port
	if p.kind == literal {
		res.Step = s.literal
	}
	res.Host, res.CertName, res.Targets = p.host, p.certName, []Target{p.target}
	return res
}

// bySRV completes res with the SRV records of the place, or without any.
func (r *Resolver) bySRV(ctx context.Context, res Resolution, p place, s *steps) (Resolution, error) {
	found, err := r.serviceOf(ctx, res.Server, p.certName, s)
	if err == nil {
		err = found.err
	}
	if err != nil {
		return Resolution{}, err
	}
	switch found.kind {
	case fedRecords:
		res.Step = s.fed
	case legacyRecords:
		res.Step = s.legacy
	default:
		res.Step = s.plain
	}
	res.Host, res.CertName, res.Targets = p.host, p.certName, found.targets(r.config.Random)
	return res, nil
}

// lookUpName refuses what cannot be asked about before anybody is asked.
func lookUpName(name string) error {
	if _, ok := absoluteName(name); !ok {
		return &AddressError{Host: name}
	}
	return nil
}
