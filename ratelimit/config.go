package ratelimit

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"
)

// A Limit is a rate: Burst at once, and then one every Every. Of those that come too
// early, Queue may wait for their turn, in order, as far as a [Limiter] has places; the
// others are refused. So nobody waits
// longer than Queue × Every, which may be a minute at most; fedinvite.Config.Timeout should
// be longer than that.
type Limit struct {
	Every time.Duration // a year at most
	Burst int           // negative: no limit
	Queue int           // 0: none wait
}

// A Config says how a [Limiter] works. A zero [Limit] is the default that is given beside
// it, one with a negative Burst is none.
type Config struct {
	// Now is the clock of the limits; nil: [time.Now]. Waiting takes the time of the system.
	Now func() time.Time

	// Remote is for each remote address, before any key is fetched: an IPv4 address (in
	// whichever form), or the /64 of an IPv6 address, because a /64 is what one machine
	// has. It bounds the key fetches that somebody can cause who can sign nothing. A
	// request counts even if it turns out later that it is not authentic.
	//
	// Default: 50, then one each 100 ms; none wait. All users of a large server come from
	// a few addresses, and nobody's patience should cost us memory before they have proved
	// who they are.
	Remote Limit

	// Origin is for each inviting server, as the request's signature has proved it; its
	// port and the case of letters do not count.
	//
	// Default: 10, then one each 200 ms; 40 wait, for 8 s at most. A person who invites
	// fifty others to a new room is no attacker. Having them wait is better than refusing:
	// a server that gets 429 may leave us alone for minutes.
	Origin Limit

	// Sender is for each inviting user.
	//
	// Default: 50, then one each 3 s; none wait. That is a full room of one's own at once,
	// and then as many as a person types.
	Sender Limit

	// Invitee is for each of our users: what a wave of spam from many servers runs into.
	//
	// Default: 20, then one each minute; none wait. Whoever joins a community is invited
	// to a dozen or two of its rooms at once, while spam comes by the hundreds.
	Invitee Limit

	// Room is for each room ID, whoever invites to it.
	//
	// Default: 50, then one each 3 s; none wait. The same as for senders: an attack by
	// many accounts that advertises one room is limited as if it came from one account.
	Room Limit

	// Trusted are remote addresses that are not limited: those of our own machines. With
	// [ForwardedFor], which finds out who is behind our reverse proxies, they need not be
	// listed here.
	Trusted []netip.Prefix

	// MaxEntries is the number of addresses, of origins, of senders, of invitees and of
	// rooms that are remembered; 0: 10,000 of each, which take 30 MB at most. What is
	// forgotten starts afresh, with a full Burst, when it comes again. So it is always
	// the one that would have its full Burst again soonest: nothing is lost by one that
	// has it already. Refused invites let nothing be forgotten.
	//
	// Nobody is refused because there are too many names: otherwise whoever makes names up
	// could shut the others out. To have n invites forgotten that count against somebody,
	// though, as many have to count against each of the MaxEntries others.
	MaxEntries int
}

const (
	defaultMaxEntries = 10_000
	// maxEvery keeps sums of times from overflowing.
	maxEvery = 365 * 24 * time.Hour
	// maxWait bounds how long one invite may wait.
	maxWait = time.Minute
)

// withDefaults checks c and fills in what is zero.
func (c Config) withDefaults() (Config, error) {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.MaxEntries < 0 {
		return c, errors.New("ratelimit: Config.MaxEntries must not be negative")
	}
	if c.MaxEntries == 0 {
		c.MaxEntries = defaultMaxEntries
	}
	c.Trusted = slices.Clone(c.Trusted)
	for i, p := range c.Trusted {
		if c.Trusted[i] = unmapped(p); !p.IsValid() {
			return c, fmt.Errorf("ratelimit: Config.Trusted[%d] is no valid prefix", i)
		}
	}
	for _, l := range []struct {
		name    string
		limit   *Limit
		instead Limit
	}{
		{"Remote", &c.Remote, Limit{Every: 100 * time.Millisecond, Burst: 50}},
		{"Origin", &c.Origin, Limit{Every: 200 * time.Millisecond, Burst: 10, Queue: 40}},
		{"Sender", &c.Sender, Limit{Every: 3 * time.Second, Burst: 50}},
		{"Invitee", &c.Invitee, Limit{Every: time.Minute, Burst: 20}},
		{"Room", &c.Room, Limit{Every: 3 * time.Second, Burst: 50}},
	} {
		if *l.limit == (Limit{}) {
			*l.limit = l.instead
		}
		if err := l.limit.check(); err != nil {
			return c, fmt.Errorf("ratelimit: Config.%s%w", l.name, err)
		}
	}
	return c, nil
}

func (l Limit) check() error {
	switch {
	case l.Burst < 0:
		return nil
	case l.Burst == 0:
		return errors.New(".Burst must not be zero: nothing would pass")
	case l.Every <= 0 || l.Every > maxEvery:
		return errors.New(".Every must be positive, and a year at most")
	case l.Queue < 0:
		return errors.New(".Queue must not be negative")
	case l.Queue > 0 && l.Every > maxWait/time.Duration(l.Queue):
		return fmt.Errorf(": Queue × Every must not be more than %s", maxWait)
	}
	return nil
}
