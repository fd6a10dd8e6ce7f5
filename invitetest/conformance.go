package invitetest

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"testing"
)

// Conformance tries all checks on a target, one after the other, and returns a result for
// each, in the order of [Checks], attacks included. If ctx ends the rest is Unknown. If there
// is something wrong with the Target all is Unknown, for the reason that [Target.Check] has.
//
// The users of the target get an invite for almost every check, each to a room of its own.
func Conformance(ctx context.Context, t Target) []Result {
	return slices.Collect(Results(ctx, t, Checks()...))
}

// Results is [Conformance] of some checks, for those who want to see each result when it is
// there. Whoever ends the loop ends the checks.
func Results(ctx context.Context, t Target, checks ...Check) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		s, err := newSession(t)
		if err == nil {
			defer s.close()
		}
		for _, c := range checks {
			result := Result{Check: c, Outcome: Unknown}
			if err != nil {
				result.Detail = err.Error()
			} else {
				result = s.try(ctx, c)
			}
			if !yield(result) {
				return
			}
		}
	}
}

// Run is [Conformance] as subtests of t: what departs from MUST or SHOULD fails, and so
// does what could not be told; the rest is logged. except names checks that may fail. It
// ends t if there is something wrong with the target, or with a name in except.
func Run(t *testing.T, target Target, except ...string) {
	t.Helper()
	if err := target.Check(); err != nil {
		t.Fatal(err)
	}
	checks := Checks()
	for _, name := range except {
		if !slices.ContainsFunc(checks, func(c Check) bool { return c.Name == name }) {
			t.Fatalf("invitetest: there is no check %q", name)
		}
	}
	for r := range Results(t.Context(), target, checks...) {
		t.Run(r.Name, func(t *testing.T) { report(t, r, slices.Contains(except, r.Name)) })
	}
}

// report fails a test, or not.
func report(t testing.TB, r Result, excepted bool) {
	t.Helper()
	switch {
	case r.Outcome == Passed:
	case r.Outcome == Skipped:
		t.Logf("skipped: %s", r.Detail)
	case r.Outcome == Departed && r.Level == Practice || excepted:
		t.Logf("%s %s\n(%s: %s)\n%s", r.Outcome, r.Detail, r.Level, r.Sentence, r.Link)
	default:
		t.Errorf("%s %s\n%s: %s\n%s%s", r.Outcome, r.Detail, r.Level, r.Sentence, r.Link, r.exchanges())
	}
}

// exchanges is what was sent and came back, for the log of a test.
func (r Result) exchanges() string {
	text := ""
	for _, x := range r.Exchange {
		text += fmt.Sprintf("\n\n> %s\n< %s", x.Request, x.Response)
	}
	return text
}
