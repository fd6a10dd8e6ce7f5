package ratelimit

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A Limiter counts invites. Its memory is bounded, and so is the number of those that wait
// at a time: 256, whatever the limits' queues are. An origin, or for [Limiter.Admit] a
// remote address, gets no more of these places once it has a quarter as many as are left:
// 52 if nobody else waits, and the fewer, the more others do. It is safe for concurrent use.
type Limiter struct {
	now     func() time.Time
	trusted []netip.Prefix

	mu      sync.Mutex // of all below
	places  places
	remote  kind
	origin  kind
	sender  kind
	invitee kind
	room    kind
}

// A kind is one of the limits, with what is counted by it.
type kind struct {
	limit   Limit
	refused error // for our own logs
	buckets *table
}

// A key is whom a bucket belongs to: a name, or for remote addresses a prefix.
type key struct {
	name   string
	prefix netip.Prefix
}

// New returns a Limiter. The error names the field of c that is missing or wrong.
func New(c Config) (*Limiter, error) {
	c, err := c.withDefaults()
	if err != nil {
		return nil, err
	}
	newKind := func(limit Limit, what string) kind {
		return kind{limit, errors.New("ratelimit: too many " + what), newTable(c.MaxEntries)}
	}
	return &Limiter{
		now:     c.Now,
		trusted: c.Trusted,
		places:  places{by: make(map[key]int)},
		remote:  newKind(c.Remote, "requests from the remote address"),
		origin:  newKind(c.Origin, "invites from the origin"),
		sender:  newKind(c.Sender, "invites from the sender"),
		invitee: newKind(c.Invitee, "invites for the invitee"),
		room:    newKind(c.Room, "invites to the room"),
	}, nil
}

// errNoEvent is for an Invite that neither a Receiver nor an Inviter has made.
var errNoEvent = errors.New("ratelimit: the invite has no event")

// Admit limits by remote address, and by nothing that d claims of its origin, so that
// nobody can use up another server's limit. Deliveries without a valid Remote, such as those
// that did not come by TCP, share one limit; for those by a Unix socket see
// [ForwardedForUnix]. It fits the field Admit of [fedinvite.Config].
//
// It waits if the limit has a queue. A refusal is a [*fedinvite.Error] with code
// M_LIMIT_EXCEEDED, whose RetryAfter is the time, in whole seconds, after which this
// delivery would pass if no other came. Its message is the same for all limits; its Err
// says which it was. If ctx ends while the delivery waits it is refused too, and Err wraps
// the cause.
func (l *Limiter) Admit(ctx context.Context, d *fedinvite.Delivery) error {
	addr := plain(d.Remote.Addr())
	if contains(l.trusted, addr) {
		return nil
	}
	return l.take(ctx, []claim{{kind: &l.remote, key: key{prefix: network(addr)}}})
}

// Policy limits by origin, sender, invitee and room: it takes from all four limits, or, if
// one of them refuses, from none. An invite that is sent again counts again, and one that
// is given up while it waits counts too. It fits the field Policy of [fedinvite.Config], and
// package policy's Chain, behind InviteeExists and whatever else refuses for good; see the
// package's documentation for why. It waits and refuses as [Limiter.Admit] does.
func (l *Limiter) Policy(ctx context.Context, inv *fedinvite.Invite) error {
	if inv == nil || inv.Event == nil {
		return errNoEvent
	}
	return l.take(ctx, []claim{
		{kind: &l.origin, key: key{name: originKey(inv.Origin)}},
		{kind: &l.sender, key: key{name: inv.Event.Sender()}},
		{kind: &l.invitee, key: key{name: inv.Invitee}},
		{kind: &l.room, key: key{name: inv.Event.RoomID()}},
	})
}
