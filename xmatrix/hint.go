package xmatrix

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite"
)

// The bounds of one search. Ed25519 takes some 50 µs for each reading, and hashing some 2 ms
// for each MiB.
const (
	hintInterval = time.Second
	maxReadings  = 40
	maxHashed    = 4 << 20 // bytes, of all readings
	maxTarget    = 4096    // bytes; a longer target is not looked into
	maxQuoted    = 256     // bytes of a target in an error
)

// Hints finds out why a signature does not verify, where a [Verifier] has it: it looks for
// another reading of the request for which it would. The usual fault of a new server is a
// reverse proxy that rewrites the path, so that what arrives is not what was signed:
//
//	nginx:  proxy_pass http://127.0.0.1:8008/;    with a path, if only a slash: wrong
//	        proxy_pass http://127.0.0.1:8008;     right
//	Apache: ProxyPass /_matrix http://…/_matrix nocanon    with AllowEncodedSlashes NoDecode
//
// The result is a [*HintError] in place of the plain error. A request never passes because
// of it, and peers are told the same as without.
//
// It is for debugging: whoever has a key can cause a search by a wrong signature. So there
// is one search a second at most in all Verifiers that share the Hints, whether it finds
// something or not, of at most 40 further signature checks, which take a few milliseconds,
// and some ten more if the body is large. Failures in between get the plain error. Leave
// Hints out when everything works.
//
// Make it with [NewHints]; the zero Hints does nothing. It is safe for concurrent use.
type Hints struct {
	now  func() time.Time
	next atomic.Int64 // Unix time in nanoseconds, before which there is no search
}

// NewHints returns Hints that count their second by now; nil: [time.Now].
func NewHints(now func() time.Time) *Hints {
	if now == nil {
		now = time.Now
	}
	return &Hints{now: now}
}

// turn reports whether it is time for a search, and counts it.
func (h *Hints) turn() bool {
	if h == nil || h.now == nil {
		return false
	}
	next := h.next.Load() // before the clock is asked, so that of several only one swaps it
	now := h.now().UnixNano()
	if wait := next - now; 0 < wait && wait <= int64(hintInterval) { // a longer wait: the clock was set back
		return false
	}
	return h.next.CompareAndSwap(next, now+int64(hintInterval))
}

// A HintError is a request signature that does not verify, although its key is known and
// valid, and what came of the search for the reason. It holds nothing of the body but its
// length; targets are cut to 256 bytes.
//
// It wraps [fedinvite.ErrUnauthorized] and [fedinvite.ErrSignature].
type HintError struct {
	// Tried is what was to be verified, such as
	//	PUT "/a" to us.example with a body of 20 bytes
	Tried string
	// Match is what the signature does verify for, in the same form; "" if nothing was
	// found.
	Match string
	// Fault says in words what the difference comes from; "" if there is no Match.
	Fault string
	// Readings is how many readings other than Tried were verified, Match among them.
	Readings int
	// Err is the error that there is without hints.
	Err error
}

// Error returns what was tried, and what was found instead or that nothing was.
func (e *HintError) Error() string {
	text := fedinvite.ErrUnauthorized.Error() + ": the request signature does not verify for " + e.Tried
	if e.Match != "" {
		return text + "; it does for " + e.Match + ": " + e.Fault
	}
	return fmt.Sprintf("%s, nor for any of %d other readings of target, destination, method and body: "+
		"either the body was changed, or the key or the sender's signing is at fault", text, e.Readings)
}

// Unwrap returns Err.
func (e *HintError) Unwrap() error { return e.Err }

// A failure is a signature that does not verify, and its key, which is valid.
type failure struct {
	key       fedinvite.VerifyKey
	signature []byte // nil: there is no such failure
}

// explain returns refused, or a HintError that wraps it; never nil.
func (c *claim) explain(ctx context.Context, failed failure, body []byte, refused error) error {
	if failed.signature == nil || len(c.request.target) > maxTarget || !c.Hints.turn() {
		return refused
	}
	content, err := canonicalBody(body)
	if err != nil {
		return refused
	}
	e := &HintError{Tried: reading{request: c.request}.describe(len(body)), Err: refused}
	hashed := 0
	for _, r := range c.readings(string(content)) {
		message, err := r.signed(content)
		if hashed += len(message); err != nil || hashed > maxHashed || ctx.Err() != nil {
			break
		}
		e.Readings++
		if failed.key.Verify(message, failed.signature) == nil {
			e.Match, e.Fault = r.describe(len(body)), r.fault
			break
		}
	}
	return e
}

func canonicalBody(body []byte) ([]byte, error) {
	if len(body) == 0 {
		return nil, nil
	}
	return fedinvite.AppendLegacyCanonicalJSON(nil, body)
}

// describe says what is read, in one line.
func (r reading) describe(bodyLen int) string {
	body := "with a body of " + strconv.Itoa(bodyLen) + " bytes"
	switch {
	case r.body == bodyEmpty:
		body = "with the body {}"
	case r.body == bodyNone || bodyLen == 0:
		body = "without a body"
	}
	method := r.method
	if strings.ContainsFunc(method, func(c rune) bool { return c > '~' || !isToken(byte(c)) }) {
		method = quote(method)
	}
	return cut(method) + " " + quote(r.target) + " to " + string(r.destination) + " " + body
}

func quote(s string) string { return strconv.Quote(cut(s)) }

// cut bounds what a text repeats of a request.
func cut(s string) string {
	if len(s) <= maxQuoted {
		return s
	}
	n := maxQuoted
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
