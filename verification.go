package fedinvite

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// What one delivery may cost us, whoever sent it.
const (
	maxKeyServers      = 10  // servers whose keys are asked for
	maxSignatureChecks = 128 // signatures looked at
	maxSignatures      = 100 // signatures in one event
)

// A verification finds the keys for the signatures of one delivery and keeps
// count of what that costs.
type verification struct {
	keys    KeySource
	servers [maxKeyServers]ServerName
	asked   int // how many of servers
	checks  int
}

func newVerification(keys KeySource) *verification {
	if keys == nil {
		keys = KeyMap(nil) // knows no key, which makes a better error than a crash
	}
	return &verification{keys: keys}
}

// A signatureSet is the canonical signatures object of one document, and what
// there is to know to check it.
type signatureSet struct {
	signatures string
	message    []byte
	at         time.Time // when it was signed; the zero time: not known
	enforce    bool      // whether the keys must have been valid then; else not known to have expired
}

// counts reports whether a signature by the key does.
func (s *signatureSet) counts(key VerifyKey) bool {
	if s.enforce {
		return key.ValidAt(s.at)
	}
	return key.ExpiredAt.IsZero() || !s.at.After(key.ExpiredAt)
}

// A signatureCheck is one Ed25519 operation that is still to be done.
type signatureCheck struct {
	server    ServerName
	id        KeyID
	key       VerifyKey
	message   []byte
	signature string // canonical JSON value
}

// verify returns the signature if it is good.
func (c *signatureCheck) verify() ([]byte, error) {
	encoded, ok := unquote(c.signature)
	if !ok {
		return nil, &SignatureError{c.server, c.id, fmt.Errorf("%w: not a string", ErrSignature)}
	}
	signature, err := DecodeBase64(encoded)
	if err != nil {
		return nil, &SignatureError{c.server, c.id, fmt.Errorf("%w: not base64", ErrSignature)}
	}
	if err := c.key.Verify(c.message, signature); err != nil {
		return nil, &SignatureError{c.server, c.id, err}
	}
	return signature, nil
}

// collect appends the checks that server's part of the set needs: one for each
// signature by a known key that counts at the time; at least one, else an error.
//
// A key that cannot be had now is treated like an unknown one if another is
// known: anybody may append signatures with made-up key IDs.
func (v *verification) collect(ctx context.Context, dst []signatureCheck, set signatureSet, server ServerName) ([]signatureCheck, error) {
	if err := v.enter(server); err != nil {
		return dst, err
	}
	entry := get(set.signatures, string(server))
	if !isObject(entry) {
		return dst, &SignatureError{Server: server, Err: fmt.Errorf("%w: there is none", ErrSignature)}
	}
	var at time.Time
	if set.enforce {
		at = set.at
	}
	found := len(dst)
	var unavailable, last error
	for m := range membersOf(entry) {
		id := KeyID(m.name(entry))
		if !id.known() {
			continue
		}
		if v.checks++; v.checks > maxSignatureChecks {
			return dst, &SignatureError{server, id, fmt.Errorf("%w: more than %d signatures to check", ErrSignature, maxSignatureChecks)}
		}
		key, err := v.keys.VerifyKey(ctx, server, id, at)
		switch {
		case errors.Is(err, ErrUnknownKey):
			last = &SignatureError{server, id, fmt.Errorf("%w: %w", ErrSignature, ErrUnknownKey)}
		case err != nil:
			unavailable = &SignatureError{server, id, fmt.Errorf("%w: %w", ErrKeysUnavailable, err)}
		case !set.counts(key):
			last = &SignatureError{server, id, fmt.Errorf("%w: the key was not valid at that time", ErrSignature)}
		default:
			dst = append(dst, signatureCheck{server, id, key, set.message, m.raw(entry)})
		}
	}
	switch {
	case len(dst) > found:
		return dst, nil
	case unavailable != nil:
		return dst, unavailable
	case last != nil:
		return dst, last
	}
	return dst, &SignatureError{Server: server, Err: fmt.Errorf("%w: there is none by a known algorithm", ErrSignature)}
}

// enter counts the servers whose keys are asked for.
func (v *verification) enter(server ServerName) error {
	if slices.Contains(v.servers[:v.asked], server) {
		return nil
	}
	if v.asked == maxKeyServers {
		return &SignatureError{Server: server, Err: fmt.Errorf("%w: keys of more than %d servers wanted", ErrSignature, maxKeyServers)}
	}
	v.servers[v.asked] = server
	v.asked++
	return nil
}

// verifyAll does the checks one after another and returns the first error.
func verifyAll(checks []signatureCheck) error {
	for i := range checks {
		if _, err := checks[i].verify(); err != nil {
			return err
		}
	}
	return nil
}

// verifyEach does the checks on all processors and returns an error for each.
func verifyEach(checks []signatureCheck) []error {
	if len(checks) == 0 {
		return nil
	}
	errs := make([]error, len(checks))
	var next atomic.Int64
	work := func() {
		for {
			i := int(next.Add(1)) - 1
			if i >= len(checks) {
				return
			}
			_, errs[i] = checks[i].verify()
		}
	}
	workers := min(runtime.GOMAXPROCS(0), len(checks)) - 1
	if workers < 1 || len(checks) < 3 {
		work()
		return errs
	}
	// One goroutine more than there is work for: the scheduler leaves the newest
	// one to this processor, and an idle one takes the others at once.
	var wg sync.WaitGroup
	for range workers + 1 {
		wg.Go(work)
	}
	work()
	wg.Wait()
	return errs
}
