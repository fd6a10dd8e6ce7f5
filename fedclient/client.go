package fedclient

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
)

// A Config says how a [Client] works.
type Config struct {
	// UserAgent is the User-Agent of every request, "name/version", in printable ASCII.
	// Required.
	UserAgent string
	// Transport carries the requests; see the package comment. nil: a [discovery.Transport]
	// of the Client's own, with the system's roots, that connects to public addresses only.
	// Clients that share one share its connections and what it knows.
	Transport http.RoundTripper
	// Timeout bounds one request with all its attempts and the pauses between them, and
	// all of [Client.SendInvite]; 0: 60 s. A [Request] may have another.
	Timeout time.Duration
	// KeyTimeout bounds a request for a server's keys; one to a notary has three times as
	// long. 0: 10 s.
	KeyTimeout time.Duration
	// Retries is how often a request is repeated at most; see the package comment. 0: 3;
	// negative: never.
	Retries int
	// Backoff remembers which servers are to be left alone; nil: one of [NewBackoff].
	// [NoBackoff] remembers none. Clients may share one.
	Backoff Backoff
	// FallbackAlways makes SendInvite try the v1 endpoint after any 400 or 404, as
	// the specification says, in place of only when the v2 endpoint is unknown.
	// Either way this is done for room versions 1 and 2 only.
	FallbackAlways bool
	// Now is the clock of the Backoff and the Transport that take the place of nil, and
	// tells how long a server was waited for; nil: time.Now. What bounds a request is a
	// context, which has a clock of its own.
	Now func() time.Time
	// Random returns a number from 0 up to, but not including, 1, by which pauses differ;
	// nil: math/rand/v2's.
	Random func() float64
}

const (
	defaultTimeout    = time.Minute
	defaultKeyTimeout = 10 * time.Second
	defaultRetries    = 3
)

// A Client makes requests to other servers. It is safe for concurrent use.
type Client struct{ config Config }

// New returns a Client. The error names the field that is missing or wrong.
func New(c Config) (*Client, error) {
	switch {
	case c.UserAgent == "":
		return nil, errors.New("fedclient: Config.UserAgent is required")
	case strings.ContainsFunc(c.UserAgent, func(r rune) bool { return r < ' ' || r > '~' }):
		return nil, errors.New("fedclient: Config.UserAgent must be printable ASCII")
	case c.Timeout < 0 || c.KeyTimeout < 0:
		return nil, errors.New("fedclient: Config.Timeout and KeyTimeout must not be negative")
	}
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.KeyTimeout == 0 {
		c.KeyTimeout = defaultKeyTimeout
	}
	if c.Retries == 0 {
		c.Retries = defaultRetries
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Random == nil {
		c.Random = rand.Float64
	}
	if c.Transport == nil {
		transport, err := discovery.New(discovery.Config{UserAgent: c.UserAgent, Now: c.Now})
		if err != nil {
			return nil, err
		}
		c.Transport = transport
	}
	if c.Backoff == nil {
		backoff, err := NewBackoff(BackoffConfig{Now: c.Now, Random: c.Random})
		if err != nil {
			return nil, err
		}
		c.Backoff = backoff
	}
	return &Client{c}, nil
}

// A Request is one request to another server.
type Request struct {
	Method      string
	Destination fedinvite.ServerName // before delegation
	Path        []string             // segments, unescaped, as in "_matrix", "key", "v2", "server"
	Query       url.Values
	Body        []byte           // one JSON object, or nothing; it must not be changed later
	Signer      fedinvite.Signer // of the server of ours that asks; nil: not signed
	MaxReply    int64            // bytes; 0: 1 MiB
	Timeout     time.Duration    // of all attempts together; 0: Config.Timeout
	// IgnoreBackoff: the request is made even if the server is to be left alone. It is
	// for what a user waits for.
	IgnoreBackoff bool

	pieces [][]byte // in place of Body: canonical JSON of our own
	once   bool     // it is not repeated
	others bool     // the server has to ask others for the answer: that it fails says nothing of it
}

// Do makes a request and returns the body of the answer, if that has status 200 and
// is application/json. It does not look at the body, which is the peer's and may be
// anything up to the limit.
//
// It repeats the request as the package comment says, and does not make it at all if the
// server is to be left alone: that is a [*BackoffError]. Other errors are those of the
// package comment, of the last attempt. A redirect is not followed, it is a
// [*RemoteError].
func (c *Client) Do(ctx context.Context, r Request) ([]byte, error) {
	timeout := r.Timeout
	switch {
	case timeout < 0:
		return nil, errors.New("fedclient: Request.Timeout must not be negative")
	case timeout == 0:
		timeout = c.config.Timeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return c.doTracked(ctx, r, new(track))
}
