package invitetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// SuiteVersion is the version of the conformance suite. It grows when checks are added, or
// come to demand something else.
const SuiteVersion = 1

// A Level says how binding a sentence is.
type Level uint8

const (
	// Must: the specification says MUST, or the protocol cannot work without it.
	Must Level = iota + 1
	// Should: the specification says SHOULD.
	Should
	// Practice: it says nothing, or MAY; what well-made servers do.
	Practice
)

// String returns "MUST", "SHOULD" or "practice".
func (l Level) String() string {
	switch l {
	case Must:
		return "MUST"
	case Should:
		return "SHOULD"
	case Practice:
		return "practice"
	}
	return fmt.Sprintf("level %d", uint8(l))
}

// MarshalText implements [encoding.TextMarshaler] by String.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// An Outcome is what a check has found.
type Outcome uint8

const (
	// Passed: the target does what the sentence says.
	Passed Outcome = iota + 1
	// Departed: it does not.
	Departed
	// Skipped: it could not be tried with this target; Detail says why.
	Skipped
	// Unknown: it could not be told: no answer, or an overloaded server.
	Unknown
)

// String returns "ok", "departs", "skipped" or "unknown".
func (o Outcome) String() string {
	switch o {
	case Passed:
		return "ok"
	case Departed:
		return "departs"
	case Skipped:
		return "skipped"
	case Unknown:
		return "unknown"
	}
	return fmt.Sprintf("outcome %d", uint8(o))
}

// MarshalText implements [encoding.TextMarshaler] by String.
func (o Outcome) MarshalText() ([]byte, error) { return []byte(o.String()), nil }

// A Check is one sentence and the way to prove it of a server. [Checks] has all there are.
type Check struct {
	Name     string `json:"name"`     // short, unique and stable: "receive/type"
	Sentence string `json:"sentence"` // what is proved
	Link     string `json:"link"`     // where the specification says so, or says most of it
	Level    Level  `json:"level"`
	// Attack says that a hostile server would do this. Who departs here may be in danger:
	// do not publish such results of servers that others run.
	Attack bool `json:"attack,omitempty"`

	// harmless: a target that accepts what it should refuse endangers nobody.
	harmless bool
	run      func(p *probe)
}

// Checks returns all checks, those about receiving first, in a fresh slice.
func Checks() []Check {
	return slices.Concat(receiveChecks(), bodyChecks(), eventChecks(), stateChecks(), v1Checks(),
		authChecks(), httpChecks(), keyChecks(), sendChecks(), attacks())
}

// Attacks returns the checks that are attacks.
func Attacks() []Check {
	return slices.DeleteFunc(Checks(), func(c Check) bool { return !c.Attack })
}

// Run tries it. [Conformance] and [Results] are faster for more than one.
func (c Check) Run(ctx context.Context, t Target) Result {
	for r := range Results(ctx, t, c) {
		return r
	}
	return Result{Check: c, Outcome: Unknown}
}

// A Result is what a check found out about a target.
type Result struct {
	Check
	Outcome Outcome `json:"outcome"`
	// Confidential says that the target accepts what it should refuse, so that it may be in
	// danger though the check is no attack: do not publish it either.
	Confidential bool `json:"confidential,omitempty"`
	// Detail says in words what was expected and what came; "" if all is well. What comes
	// from the target is quoted in it.
	Detail string `json:"detail,omitempty"`
	// Said is the error that the target's answer told in its own words, cut to 80 bytes; ""
	// if there was none. It may have more in it than is to be published.
	Said     string     `json:"said,omitempty"`
	Exchange []Exchange `json:"exchange,omitempty"` // what was sent and what came back

	about int // the number of exchanges until Detail was said; 0: unknown
}

// An Exchange is a request and its answer as printable text, cut to 4 KiB each.
type Exchange struct {
	Request  string `json:"request"`
	Response string `json:"response"`
}

// String returns the result as one line of a table; see [WriteTable].
func (r Result) String() string {
	line := fmt.Sprintf("%-8s %-8s %-32s %s", r.Outcome, r.Level, r.Name, r.words())
	return strings.TrimRight(line, " ")
}

// words are Detail and Said.
func (r Result) words() string {
	said := oneLine(printable(r.Said, maxSaid))
	if r.Detail == "" || said == "" {
		return oneLine(r.Detail)
	}
	return fmt.Sprintf("%s; it says %q", oneLine(r.Detail), said)
}
