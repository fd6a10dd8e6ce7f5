package xmatrix

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// maxHeaders bounds the key look-ups of one request.
const maxHeaders = 4

// A Verifier authenticates requests that arrive at our servers. Its methods may be
// used concurrently.
type Verifier struct {
	// Keys finds the keys of the origin. Required.
	Keys fedinvite.KeySource
	// Now is the clock by which keys are judged: only keys that are valid now
	// count for requests, old ones never. nil: [time.Now].
	Now func() time.Time
	// Assume is our server that a request without a destination, as old servers
	// send it, is taken to be for. "" refuses such requests; so should a process
	// that serves several names.
	Assume fedinvite.ServerName
	// Hints says of signatures that do not verify what the sender may have signed
	// instead; nil: it is not looked for. It is for finding out what a reverse proxy
	// does to requests; see [Hints] for what it costs.
	Hints *Hints
}

// Credentials reads what r claims in its X-Matrix Authorization headers; headers of
// other schemes are ignored. It reads neither body nor keys. It fits the field
// Credentials of [fedinvite.Config].
//
// There may be up to four headers, of one origin and one destination; one valid
// signature among them suffices. No X-Matrix header, a malformed one, contradicting
// ones, none with an Ed25519 signature, and a target that is no path give an error
// that wraps [fedinvite.ErrUnauthorized]. A Verifier that lacks Keys gives
// another error.
//
// Verify of the result wants the whole body as received, and returns nil if and
// only if the origin signed this request; see [Verifier]. It takes the request
// target from r.RequestURI, so r must come from an HTTP server. Its errors wrap
//   - [fedinvite.ErrUnauthorized] if the signature is wrong, or its key unknown, old
//     or no longer valid, or if a GET or HEAD has a body;
//   - [fedinvite.ErrKeysUnavailable] if Keys could not tell;
//   - [fedinvite.ErrNotJSON] or [fedinvite.ErrBadJSON] if there is a body and it is
//     not one JSON object.
//
// With Hints, the first of these may be a [*HintError].
func (v Verifier) Credentials(r *http.Request) (fedinvite.Credentials, error) {
	if v.Keys == nil {
		return fedinvite.Credentials{}, errors.New("xmatrix: Verifier.Keys is required")
	}
	if v.Now == nil {
		v.Now = time.Now
	}
	var first Auth
	var proofs []proof
	found := 0
	for _, header := range r.Header.Values("Authorization") {
		if _, ok := cutScheme(header); !ok {
			continue
		}
		if found++; found > maxHeaders {
			return fedinvite.Credentials{}, unauthorized("more than %d X-Matrix headers", maxHeaders)
		}
		a, err := Parse(header)
		if err != nil {
			return fedinvite.Credentials{}, err
		}
		if a.Destination == "" {
			a.Destination = v.Assume
		}
		if found == 1 {
			first = a
		}
		if a.Origin != first.Origin || a.Destination != first.Destination {
			return fedinvite.Credentials{}, unauthorized("X-Matrix headers of several origins or destinations")
		}
		if p, ok := readProof(a); ok {
			proofs = append(proofs, p)
		}
	}
	switch {
	case found == 0:
		return fedinvite.Credentials{}, unauthorized("no X-Matrix header")
	case first.Destination == "":
		return fedinvite.Credentials{}, unauthorized("no destination")
	case len(proofs) == 0:
		return fedinvite.Credentials{}, unauthorized("no Ed25519 signature")
	}
	target := originForm(r.RequestURI)
	if err := checkTarget(target); err != nil {
		return fedinvite.Credentials{}, unauthorized("%v", err)
	}
	c := claim{v, proofs, request{r.Method, target, first.Origin, first.Destination}, r.Host}
	return fedinvite.Credentials{Origin: first.Origin, Destination: first.Destination, Verify: c.verify}, nil
}

// A claim is a request and the signatures that are to prove its origin.
type claim struct {
	Verifier
	proofs  []proof
	request request
	host    string // of the request, for hints
}

func (c *claim) verify(ctx context.Context, body []byte) error {
	if len(body) > 0 && bodiless(c.request.method) {
		return unauthorized("a %s request with a body", c.request.method)
	}
	message, err := c.request.message(body)
	if err != nil {
		return err
	}
	var unavailable, refused error
	var failed failure
	for _, p := range c.proofs {
		now := c.Now()
		key, err := c.Keys.VerifyKey(ctx, c.request.origin, p.key, now)
		switch {
		case errors.Is(err, fedinvite.ErrUnknownKey):
			refused = fmt.Errorf("%w: %w", fedinvite.ErrUnauthorized, err)
		case err != nil:
			unavailable = fmt.Errorf("%w: %w", fedinvite.ErrKeysUnavailable, err)
		case !key.ExpiredAt.IsZero() || !key.ValidAt(now):
			refused = unauthorized("the key %q is not valid now", p.key)
		default:
			if err = key.Verify(message, p.signature); err == nil {
				return nil
			}
			refused = fmt.Errorf("%w: %w", fedinvite.ErrUnauthorized, err)
			if !errors.Is(err, fedinvite.ErrBadKey) {
				failed = failure{key, p.signature}
			}
		}
	}
	if unavailable != nil {
		return unavailable
	}
	return c.explain(ctx, failed, body, refused)
}

// A proof is one signature that might be verified.
type proof struct {
	key       fedinvite.KeyID
	signature []byte
}

// readProof reports false for signatures that no key could make valid, so that no
// key is fetched for them.
func readProof(a Auth) (proof, bool) {
	if version, ok := strings.CutPrefix(string(a.Key), "ed25519:"); !ok || version == "" {
		return proof{}, false
	}
	signature, err := fedinvite.DecodeBase64(a.Sig)
	return proof{a.Key, signature}, err == nil && len(signature) == ed25519.SignatureSize
}

// originForm cuts scheme and authority off a target in absolute form.
func originForm(target string) string {
	if strings.HasPrefix(target, "/") {
		return target
	}
	_, rest, _ := strings.Cut(target, "://")
	if i := strings.IndexAny(rest, "/?#"); i >= 0 && rest[i] == '/' {
		return rest[i:]
	}
	return "" // no path: refused
}

func unauthorized(format string, args ...any) error {
	return fmt.Errorf("%w: %s", fedinvite.ErrUnauthorized, fmt.Sprintf(format, args...))
}
