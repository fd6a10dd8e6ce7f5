package invitetest

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
)

// A Fault is a way in which servers fail. Each has a name, its String, and says what is
// expected of those who meet it, its Expect.
type Fault uint8

// The faults; see [Server.Break].
const (
	// Slow: no answer until the one who asks gives up, five minutes are over, or the server
	// is closed.
	Slow Fault = iota + 1
	// Cut: the right answer, but it breaks off in its middle: what it was about is done.
	Cut
	// Internal: status 500, with an error body that is no JSON. Nothing is done.
	Internal
	// Overloaded: status 429 M_LIMIT_EXCEEDED, with Retry-After: 5 seconds. Nothing is done.
	Overloaded
	// Redirect: status 307 to another address, where the server gives the right answer, even
	// if the Authorization header is left behind. Whoever follows is seen with that Host.
	Redirect
	// ContentType: the right answer, as text/html.
	ContentType
	// Huge: the right answer, with 32 MiB of white space in it.
	Huge
	// OnlyV1: a server that does not know the v2 endpoint for invites: 404 M_UNRECOGNIZED.
	OnlyV1
	// KeyRotated: it signs with a new key, and publishes the old one as expired; see
	// [Server.RotateKey].
	KeyRotated
	// KeyExpired: the validity of the keys that it publishes ended a day ago.
	KeyExpired
)

// Keys are published for 24 hours; these end as long ago.
const expiredFor = 48 * time.Hour

// faults has what there is to know of each.
var faults = [...]struct {
	name, expect string
	serve        func(e *exchange) // nil: it is not about answers
}{
	Slow:       {"slow", "waits no longer than for a bounded time, hangs up, and takes the request for one that may have been seen", serveSlow},
	Cut:        {"cut", "takes an answer that breaks off for none, and the request for one that may have been seen", serveCut},
	Internal:   {"internal", "takes the request for failed, perhaps only for the moment, whatever the body of the answer is", serveInternal},
	Overloaded: {"overloaded", "asks again after the time that Retry-After says, and not before, or gives up", serveOverloaded},
	Redirect:   {"redirect", "does not follow: requests are signed for one server", serveRedirect},
	ContentType: {
		"content-type", "takes what is not application/json for no answer of a homeserver, as it may be that of a portal or a proxy", serveContentType,
	},
	Huge:       {"huge", "reads no more than it is willing to hold, hangs up, and takes it for no answer", serveHuge},
	OnlyV1:     {"only-v1", "invites by the v1 endpoint to rooms of versions 1 and 2, and to others not at all", serveOnlyV1},
	KeyRotated: {"key-rotated", "asks for the keys again, after a minute at the earliest, and believes the new key", nil},
	KeyExpired: {"key-expired", "does not believe what is signed with the key now, but for events of room versions 1 to 4", nil},
}

// Faults returns all of them.
func Faults() []Fault {
	var all []Fault
	for f := Slow; int(f) < len(faults); f++ {
		all = append(all, f)
	}
	return all
}

// String returns a name such as "slow".
func (f Fault) String() string {
	if !f.known() {
		return fmt.Sprintf("Fault(%d)", uint8(f))
	}
	return faults[f].name
}

// Expect says in a sentence what a server does that meets the fault well: "it …".
func (f Fault) Expect() string {
	if !f.known() {
		return ""
	}
	return faults[f].expect
}

func (f Fault) known() bool { return Slow <= f && int(f) < len(faults) }

// Break has the server fail from now on, also in its answers about keys, unless it is said
// which paths are meant, by how they begin:
//
//	peer.Break(invitetest.Slow, "/_matrix/federation/")
//
// Of several faults that are about one answer the last one counts. The server goes on
// sending invites. It panics if there is no such fault.
func (s *Server) Break(f Fault, paths ...string) {
	switch {
	case !f.known():
		panic(fmt.Sprintf("invitetest: no fault %d", uint8(f)))
	case f == KeyRotated:
		s.RotateKey()
	case f == Redirect:
		s.state.startElsewhere(s)
	}
	s.state.begin(f, paths)
}

// Mend ends all faults. A key that was rotated stays so.
func (s *Server) Mend() { s.state.mend() }

// A faultState is what fails of a server.
type faultState struct {
	mu     sync.Mutex
	broken []brokenPaths // the last one counts
	target *redirected   // of Redirect; nil before
}

type brokenPaths struct {
	fault Fault
	paths []string // prefixes; none: all
}

func (f *faultState) begin(fault Fault, paths []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = append(f.broken, brokenPaths{fault, paths})
}

func (f *faultState) mend() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.broken = nil
}

func (f *faultState) has(fault Fault) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.ContainsFunc(f.broken, func(b brokenPaths) bool { return b.fault == fault })
}

// of returns the fault in answers to requests for path.
func (f *faultState) of(path string) (Fault, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, b := range slices.Backward(f.broken) {
		if faults[b.fault].serve != nil && b.about(path) {
			return b.fault, true
		}
	}
	return 0, false
}

func (b brokenPaths) about(path string) bool {
	if b.fault == OnlyV1 && !strings.HasPrefix(path, inviteV2Path) {
		return false
	}
	return len(b.paths) == 0 || slices.ContainsFunc(b.paths, func(prefix string) bool { return strings.HasPrefix(path, prefix) })
}

func (f Fault) serve(e *exchange) { faults[f].serve(e) }
