package discovery

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

const (
	// serviceLifetime is how long SRV records are remembered, and that there are none.
	serviceLifetime = 5 * time.Minute
	// serviceLate is how long they count after that while they are asked for again.
	serviceLate = time.Hour
	// minServicePause and maxServicePause are how long the DNS is not asked again after it
	// failed, at first and at most. RFC 9520, section 3.2, wants a second to 5 minutes of
	// resolvers, and there is one between the DNS and us that has its own pauses: ours is to
	// be no longer at first than those between attempts to send a request.
	minServicePause, maxServicePause = time.Second, 10 * time.Second
	// maxRecords is the number of records that are used and kept, at 280 bytes each.
	maxRecords = 8
)

// A serviceKind says which SRV records there are.
type serviceKind uint8

const (
	noRecords serviceKind = iota
	fedRecords
	legacyRecords // of the deprecated name
)

// serviceNames are those that are asked for, in this order.
var serviceNames = [...]struct {
	kind serviceKind
	name string
}{{fedRecords, "matrix-fed"}, {legacyRecords, "matrix"}}

// A service is what the SRV records of a name say.
type service struct {
	kind    serviceKind
	records []record // by priority, and those of weight 0 first
	only    Target   // unless there are several records
	err     error    // why none of them is of use
}

type record struct {
	host                   string
	port, priority, weight uint16
}

// serviceOf returns the SRV records of a host name.
func (r *Resolver) serviceOf(ctx context.Context, server fedinvite.ServerName, name string, s *steps) (service, error) {
	n := r.service.recall(name)
	v := n.judge(r.config.Now())
	counts, told := v.counts, false
	if v.ask {
		if err := lookUpName(name); err != nil {
			return service{}, err
		}
		flight := r.service.join(name, r.askSRV(ctx, server, name, s))
		if v.wait {
			if err := flight.wait(ctx); err != nil {
				return service{}, err
			}
			n, counts = flight.note, flight.counts
			told = flight.fresh && counts == (n.failure == nil)
		}
	}
	if r.config.Trace != nil && !told {
		a := Answer{Server: server, Cached: true}
		if counts {
			a.Expires = n.until
			r.tellService(ctx, a, name, s, n.value, nil)
		} else {
			a.Expires = n.expires()
			r.tellService(ctx, a, name, s, service{}, n.failure)
		}
	}
	if !counts {
		return service{}, n.failure
	}
	return n.value, nil
}

func (r *Resolver) askSRV(ctx context.Context, server fedinvite.ServerName, name string, s *steps) question[service] {
	ask := func(ctx context.Context) finding[service] { return lookupService(ctx, r.dns, name) }
	tell := func(f finding[service], n *note[service]) {
		if r.config.Trace != nil {
			r.tellService(context.WithoutCancel(ctx), Answer{Server: server, Expires: n.expires()}, name, s, f.value, f.failure)
		}
	}
	return question[service]{ask, tell}
}

// lookupService asks for the SRV records of name. Only if the DNS says that there are
// none of one kind, the next one counts.
func lookupService(ctx context.Context, dns DNS, name string) finding[service] {
	for _, s := range serviceNames {
		_, found, err := dns.LookupSRV(ctx, s.name, "tcp", name+".")
		if len(found) > 0 { // perhaps with an error about others
			return newService(name, s.kind, found).found()
		}
		if err != nil && !isNotFound(err) {
			err = &serviceError{s.kind, err}
			return finding[service]{failure: err, kept: err, pause: minServicePause, softPause: maxServicePause, maxPause: maxServicePause}
		}
	}
	return service{only: newTarget(name, name, defaultPort)}.found()
}

// A serviceError says for which records the DNS failed.
type serviceError struct {
	kind serviceKind
	err  error
}

func (e *serviceError) Error() string { return fmt.Sprintf("SRV records: %v", e.err) }

func (e *serviceError) Unwrap() error { return e.err }

// found is the finding of s. What leads nowhere does not outlive its time.
func (s service) found() finding[service] {
	f := finding[service]{value: s, real: len(s.records) > 0, lifetime: serviceLifetime}
	if s.err == nil {
		f.late, f.lasting = serviceLate, true
	}
	return f
}

var (
	errNotOffered = fmt.Errorf("%w: its SRV record says so", ErrNoServer)
	errNoRecord   = fmt.Errorf("%w: its SRV records cannot be used", ErrNoServer)
)

// newService keeps the records that can be used, of a certificate for certName. Of too
// many it keeps the ones that most requests would go to: those of the first priorities,
// and of the last of these the heaviest.
func newService(certName string, kind serviceKind, found []*net.SRV) service {
	s := service{kind: kind}
	for _, r := range found {
		switch {
		case r == nil:
		case r.Target == "" || r.Target == ".":
			s.err = errNotOffered
		case r.Port != 0 && isTarget(r.Target):
			s.records = append(s.records, record{plainName(r.Target), r.Port, r.Priority, r.Weight})
		}
	}
	if len(s.records) == 0 {
		s.err = cmp.Or(s.err, errNoRecord)
		return s
	}
	s.err = nil
	slices.SortFunc(s.records, func(a, b record) int {
		byName := cmp.Or(cmp.Compare(a.host, b.host), cmp.Compare(a.port, b.port))
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(b.weight, a.weight), byName)
	})
	s.records = slices.Clone(s.records[:min(len(s.records), maxRecords)]) // without the room of the others
	slices.SortStableFunc(s.records, func(a, b record) int {
		return cmp.Or(cmp.Compare(a.priority, b.priority), cmp.Compare(a.weight, b.weight))
	})
	for i, r := range s.records {
		s.records[i].host = strings.Clone(r.host) // it may be part of a long text
	}
	if len(s.records) == 1 { // the pool's keys of several would be long
		s.only = newTarget(certName, s.records[0].host, s.records[0].port)
	}
	return s
}

// isTarget reports whether a name may be the target of an SRV record: the name of a
// host, which an address is not (RFC 2782, "Target"). As in the grammar of server names,
// that has no underscore, though the DNS would find an address for it.
func isTarget(name string) bool {
	_, ok := absoluteName(name)
	return ok && !strings.Contains(name, "_")
}

// targets returns the targets of the records in an order of this call, as RFC 2782 says
// ("Weight"), or the name itself if there are no records.
func (s *service) targets(random func(n uint64) uint64) []Target {
	if len(s.records) < 2 {
		return []Target{s.only}
	}
	targets := make([]Target, 0, len(s.records))
	var left [maxRecords]record
	rest := left[:copy(left[:], s.records)]
	for len(rest) > 0 {
		i := choose(rest, random)
		targets = append(targets, Target{Host: rest[i].host, Port: rest[i].port})
		rest = slices.Delete(rest, i, i+1)
	}
	return targets
}

// choose returns the index of a record of the first priority, by weight. Those of
// weight 0 come first, and so have a small chance beside others.
func choose(records []record, random func(n uint64) uint64) int {
	sum, n := uint64(0), 0
	for n < len(records) && records[n].priority == records[0].priority {
		sum += uint64(records[n].weight)
		n++
	}
	switch {
	case n == 1:
		return 0
	case sum == 0: // all alike; of them RFC 2782 would take the first
		return int(min(random(uint64(n)), uint64(n-1)))
	}
	at := random(sum + 1)
	for i, r := range records[:n] {
		if weight := uint64(r.weight); weight < at {
			at -= weight
			continue
		}
		return i
	}
	return n - 1
}

// tellService tells of each kind of records that was asked for; a has what is common to
// them.
func (r *Resolver) tellService(ctx context.Context, a Answer, name string, steps *steps, found service, failure error) {
	var failed *serviceError
	for _, s := range serviceNames {
		a.Step = steps.fed
		if s.kind == legacyRecords {
			a.Step = steps.legacy
		}
		a.Question = "SRV _" + s.name + "._tcp." + name
		a.Answer = "no records"
		last := s.kind == found.kind
		switch {
		case errors.As(failure, &failed) && s.kind == failed.kind:
			a.Answer, a.Err, last = "", failure, true
		case last && found.err != nil:
			a.Answer, a.Err = "", found.err
		case last:
			a.Answer = found.text()
		}
		r.config.Trace(ctx, a)
		if last {
			return
		}
	}
}

// text lists the records: priority, weight, port, target.
func (s *service) text() string {
	var texts []string
	for _, r := range s.records {
		texts = append(texts, fmt.Sprintf("%d %d %d %q", r.priority, r.weight, r.port, r.host))
	}
	return strings.Join(texts, ", ")
}
