package invitetest

import (
	"fmt"
	"strings"
	"testing"
)

// maxLogged is how much of a request and of an answer the log of a test has.
const maxLogged = 1 << 10

// A runLog is what [Run] has said already, and need not say again.
type runLog struct {
	shown   map[string]string // the check whose exchange was shown, by what came of it
	reasons []string          // for which something was skipped, in order
	skipped map[string]int
}

func (l *runLog) skip(r Result) {
	if l.skipped == nil {
		l.skipped = map[string]int{}
	}
	if l.skipped[r.Detail] == 0 {
		l.reasons = append(l.reasons, r.Detail)
	}
	l.skipped[r.Detail]++
}

// sumUp says what was skipped, a line for each reason.
func (l *runLog) sumUp(t testing.TB) {
	t.Helper()
	for _, reason := range l.reasons {
		t.Logf("skipped: %d × %s", l.skipped[reason], reason)
	}
}

// report fails a test, or not.
func (l *runLog) report(t testing.TB, r Result, excepted bool) {
	t.Helper()
	switch {
	case r.Outcome == Passed:
	case r.Outcome == Departed && r.Level == Practice || excepted:
		t.Logf("%s: %s\n%s: %s\n%s", r.Outcome, r.words(), r.Level, r.Sentence, r.Link)
	default:
		t.Errorf("%s: %s\n%s: %s\n%s%s", r.Outcome, r.words(), r.Level, r.Sentence, r.Link, l.exchange(r))
	}
}

// exchange is what was sent and came back, or where that was shown already.
func (l *runLog) exchange(r Result) string {
	x, ok := r.telling()
	if !ok {
		return ""
	}
	if before := l.shown[r.words()]; before != "" {
		return "\nrequest and answer: much as those of " + before
	}
	if l.shown == nil {
		l.shown = map[string]string{}
	}
	l.shown[r.words()] = r.Name
	return fmt.Sprintf("\n\n> %s\n< %s", shortened(x.Request), shortened(x.Response))
}

// telling is the exchange that Detail is about: the last one until then that is not for
// keys, if there is one.
func (r Result) telling() (x Exchange, ok bool) {
	all := r.Exchange
	if 0 < r.about && r.about < len(all) {
		all = all[:r.about]
	}
	for _, x = range all {
		ok = true
	}
	for i := len(all) - 1; i >= 0; i-- {
		if !strings.HasPrefix(all[i].Request, "GET /_matrix/key/") {
			return all[i], true
		}
	}
	return x, ok
}

// shortened is the beginning of a text that is fit to be shown already.
func shortened(text string) string {
	if len(text) <= maxLogged {
		return text
	}
	return strings.ToValidUTF8(text[:maxLogged], "") + "…"
}
