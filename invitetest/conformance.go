package invitetest

import (
	"context"
	"iter"
	"slices"
	"testing"
)

// Conformance tries all checks on a target, one after the other, and returns a result for
// each, in the order of [Checks], attacks included. If ctx ends the rest is Unknown. If
// nothing can be told of the Target all is Unknown, for the reason that [Target.Ready] has.
//
// The users of the target get an invite for almost every check, each to a room of its own.
// Server ACLs, by which an invite MUST be refused with 403 M_FORBIDDEN, are not tried: they
// count in rooms that the target is in, and it is in none of these.
func Conformance(ctx context.Context, t Target) []Result {
	return slices.Collect(Results(ctx, t, Checks()...))
}

// Results is [Conformance] of some checks, for those who want to see each result when it is
// there. Whoever ends the loop ends the checks.
func Results(ctx context.Context, t Target, checks ...Check) iter.Seq[Result] {
	return func(yield func(Result) bool) {
		s, err := newSession(ctx, t)
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
// does what could not be told; the rest is logged, and what was skipped is summed up.
// except names checks that may fail. It ends t if nothing can be told of the target, see
// [Target.Ready], or if there is no check of a name in except.
//
// Of what was sent and came back it shows the beginning, for the first of those that fail in
// one way; [Results] have more of it.
func Run(t *testing.T, target Target, except ...string) {
	t.Helper()
	checks := Checks()
	for _, name := range except {
		if !slices.ContainsFunc(checks, func(c Check) bool { return c.Name == name }) {
			t.Fatalf("invitetest: there is no check %q", name)
		}
	}
	s, err := newSession(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	var log runLog
	for _, c := range checks {
		r := s.try(t.Context(), c)
		if r.Outcome == Skipped {
			log.skip(r)
			continue
		}
		t.Run(r.Name, func(t *testing.T) { log.report(t, r, slices.Contains(except, r.Name)) })
	}
	log.sumUp(t)
}
