package fedserver

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
	"github.com/seed-0a46cb1a/fedinvite/internal/inbound"
)

const (
	defaultMaxBody = 1 << 20
	defaultTimeout = 30 * time.Second
)

// An Endpoint is what all handlers of this package need. Most fields are those of
// [fedinvite.Config], and one value serves all handlers.
type Endpoint struct {
	// Signer returns the signing key of one of our servers, or an error that wraps
	// [fedinvite.ErrNotLocal] if server is not ours. Required.
	Signer func(ctx context.Context, server fedinvite.ServerName) (fedinvite.Signer, error)
	// Keys finds other servers' keys. Required.
	Keys fedinvite.KeySource
	// Credentials reads what a request says of its origin; xmatrix.Verifier has one.
	// Wrap it to refuse origins, or to limit their rate, before any key is looked up. Its
	// errors and those of the Verify that it returns go by the table of
	// [fedinvite.WireError], unlike those of other hooks. Required.
	Credentials func(r *http.Request) (fedinvite.Credentials, error)
	// ServerAllowed reports whether the room's server ACL allows the origin; see
	// [fedinvite.ServerACL.Allows]. false is answered by 403 M_FORBIDDEN. nil: all are
	// allowed.
	ServerAllowed func(ctx context.Context, roomID string, server fedinvite.ServerName) (bool, error)
	// Rules finds the rules of a room version; nil: [fedinvite.RoomVersion.Rules].
	Rules func(fedinvite.RoomVersion) (fedinvite.Rules, error)
	// Now is the clock; nil: [time.Now].
	Now func() time.Time
	// MaxBody is the largest request body in bytes; 0: 1 MiB, for [Transactions]
	// 9,830,400: 50 PDUs and 100 EDUs of 64 KiB.
	//
	// That much is read and brought into canonical form before it is known who sent it,
	// because X-Matrix signs that form: 9 MB cost about 0.3 s of a processor, and a few
	// times their size in memory. Only servers that are in rooms get transactions of that
	// size; one that is in none may choose less, such as 1 MiB.
	MaxBody int64
	// Timeout bounds reading and checking a request; 0: 30 s. It takes the place of the
	// ReadTimeout of [http.Server] for these requests.
	Timeout time.Duration
	// Done is called once for each request that a handler of this package has answered.
	// req holds what was known of it by then, err is what it was refused for, nil if it
	// was not: logs, metrics. nil: nobody is told.
	Done func(r *http.Request, req Request, err error)
}

// A Request is an authenticated request.
type Request struct {
	Origin      fedinvite.ServerName // the server that sent it
	Destination fedinvite.ServerName // the server of ours that it is for
	Body        []byte               // as it came, at most Endpoint.MaxBody bytes
}

// Authenticate reads and authenticates a request, in the order of package xmatrix: the
// Authorization header, that the destination is ours, the body, the signature. It needs
// Signer and Credentials, and is for endpoints of your own: check path and method first,
// answer an error with [fedinvite.WriteError], and parse the body with a parser that
// refuses duplicate keys, such as [fedinvite.CanonicalJSON].
//
// Errors wrap [fedinvite.ErrUnauthorized], [fedinvite.ErrTooLarge],
// [fedinvite.ErrKeysUnavailable], [fedinvite.ErrNotJSON] or [fedinvite.ErrBadJSON], are
// a [*fedinvite.Error] of status 408 if the body was too slow, or are our own failure.
// If the body was not read, the connection is told to be closed with the answer. What is
// returned beside an error is only claimed.
func (p *Endpoint) Authenticate(w http.ResponseWriter, r *http.Request) (Request, error) {
	ctx, cancel := context.WithTimeout(r.Context(), p.timeout())
	defer cancel()
	deadline, _ := ctx.Deadline()
	inbound.SetReadDeadline(w, deadline)

	credentials, err := p.readCredentials(ctx, r)
	req := Request{Origin: credentials.Origin, Destination: credentials.Destination}
	if err == nil {
		req.Body, err = readBody(w, r, p.maxBody())
	}
	if err != nil {
		closeUnread(w, r)
		return req, err
	}
	err = credentials.Verify(ctx, req.Body)
	if !errors.Is(err, fedinvite.ErrUnauthorized) && (errors.Is(err, fedinvite.ErrSignature) || errors.Is(err, fedinvite.ErrUnknownKey)) {
		err = fmt.Errorf("%w: %w", fedinvite.ErrUnauthorized, err)
	}
	return req, err
}

// readCredentials reads what the request claims, and does what can be done about it
// before the body is read.
func (p *Endpoint) readCredentials(ctx context.Context, r *http.Request) (fedinvite.Credentials, error) {
	if p.Credentials == nil || p.Signer == nil {
		return fedinvite.Credentials{}, errors.New("fedserver: Endpoint.Credentials and Endpoint.Signer are required: requests cannot be authenticated")
	}
	c, err := p.Credentials(r)
	if err != nil {
		return c, err
	}
	if c.Verify == nil {
		return c, errors.New("fedserver: Endpoint.Credentials returned no Verify")
	}
	for _, name := range []fedinvite.ServerName{c.Origin, c.Destination} {
		if _, err := fedinvite.ParseServerName(string(name)); err != nil {
			return c, fmt.Errorf("%w: %w", detail.Errorf(fedinvite.ErrUnauthorized, "malformed server name"), err)
		}
	}
	_, err = signerOf(ctx, p.Signer, c.Destination)
	if errors.Is(err, fedinvite.ErrNotLocal) {
		err = fmt.Errorf("%w: %w", detail.Errorf(fedinvite.ErrUnauthorized, "the destination is not served here"), err)
	}
	return c, err
}

// signerOf returns the signer of one of our servers. The error wraps ErrNotLocal if it
// is not ours, and may be told as such; any other is the hook's.
func signerOf(
	ctx context.Context, signer func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error), server fedinvite.ServerName,
) (fedinvite.Signer, error) {
	s, err := signer(ctx, server)
	switch {
	case errors.Is(err, fedinvite.ErrNotLocal):
		return nil, detail.Errorf(fedinvite.ErrNotLocal, "%q", server)
	case err != nil:
		return nil, fromHook(err)
	case s == nil || s.ServerName() != server:
		return nil, fmt.Errorf("fedserver: Signer returned no signer of %q", server)
	}
	return s, nil
}

// readBody reads no more than the limit and no longer than the deadline that is set.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := inbound.ReadBody(w, r, limit)
	switch {
	case errors.Is(err, inbound.ErrTooLarge):
		return nil, fmt.Errorf("%w: %w", fedinvite.ErrTooLarge, err)
	case errors.Is(err, inbound.ErrTooSlow):
		return nil, &fedinvite.Error{Code: fedinvite.CodeUnknown, Status: http.StatusRequestTimeout, Message: inbound.ErrTooSlow.Error(), Err: err}
	case err != nil:
		return nil, fmt.Errorf("%w: %v", fedinvite.ErrNotJSON, err)
	}
	return body, nil
}

// check names the field that is missing or wrong, and fills in the clock.
func (p *Endpoint) check() error {
	err := missing("Endpoint", []field{
		{"Signer", p.Signer != nil},
		{"Keys", p.Keys != nil},
		{"Credentials", p.Credentials != nil},
	})
	if err != nil {
		return err
	}
	if p.Now == nil {
		p.Now = time.Now
	}
	return p.checkLimits("Endpoint")
}

func (p *Endpoint) checkLimits(config string) error {
	if p.MaxBody < 0 || p.Timeout < 0 {
		return fmt.Errorf("fedserver: %s.MaxBody and Timeout must not be negative", config)
	}
	return nil
}

// A field is a required field of a configuration.
type field struct {
	name  string
	there bool
}

func missing(config string, fields []field) error {
	for _, f := range fields {
		if !f.there {
			return fmt.Errorf("fedserver: %s.%s is required", config, f.name)
		}
	}
	return nil
}

func (p *Endpoint) maxBody() int64 {
	if p.MaxBody > 0 {
		return p.MaxBody
	}
	return defaultMaxBody
}

func (p *Endpoint) timeout() time.Duration {
	if p.Timeout > 0 {
		return p.Timeout
	}
	return defaultTimeout
}

// applyServerACL asks ServerAllowed.
func (p *Endpoint) applyServerACL(ctx context.Context, roomID string, server fedinvite.ServerName) error {
	if p.ServerAllowed == nil {
		return nil
	}
	allowed, err := p.ServerAllowed(ctx, roomID, server)
	switch {
	case err != nil:
		return fromHook(err)
	case !allowed:
		return fedinvite.ErrServerDenied
	}
	return nil
}
