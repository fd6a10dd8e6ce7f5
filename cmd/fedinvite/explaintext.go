package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite"
)

// What came of a step.
const (
	passed     = "passed"
	warning    = "warning"
	failed     = "failed"
	skipped    = "skipped"
	notJudged  = "not judged"
	notReached = "not reached"
	notDone    = "not done"
)

// What came of the request.
const (
	verdictAccepted  = "accepted"
	verdictRefused   = "refused"
	verdictUndecided = "undecided"
)

// An explanation is what explain has found out.
type explanation struct {
	Method  string           `json:"method"`
	Target  string           `json:"target"`
	Body    int              `json:"body_bytes"`
	At      int64            `json:"judged_at_ts"`
	Verdict string           `json:"verdict"`
	Served  string           `json:"if_served_here,omitempty"` // the verdict is that of a server with this name
	Refusal *refusal         `json:"refusal,omitempty"`
	Odd     string           `json:"odd,omitempty"` // why net/http would not let it through
	Steps   []*explainedStep `json:"steps"`

	verbose bool // the text shows what passed steps compare
}

// An explainedStep is one step of the pipeline.
type explainedStep struct {
	Name     string       `json:"step"`
	Result   string       `json:"result"`
	Refusal  bool         `json:"refusal,omitempty"` // it is what the peer was told of
	Compared []comparison `json:"compared,omitempty"`
	Error    string       `json:"error,omitempty"`
	Note     string       `json:"note,omitempty"`
	Hints    []string     `json:"hints,omitempty"`
}

// A refusal is what the peer was told.
type refusal struct {
	Step    string          `json:"step"`
	Status  int             `json:"status"`
	Errcode fedinvite.Code  `json:"errcode"`
	Body    json.RawMessage `json:"body"`
	// Unjudged are the steps before it that were not judged: if one of them fails, that was
	// the refusal. "destination" is not among them, which is what if_served_here is for.
	Unjudged []string `json:"not_judged_before,omitempty"`
}

// report returns what was found out.
func (w *walk) report() *explanation {
	r := &explanation{
		Method: clipped(w.capture.method), Target: clipped(w.capture.target), Body: len(w.capture.body),
		At: w.at.UnixMilli(), Steps: w.steps, Verdict: verdictAccepted, Odd: w.capture.odd,
	}
	var unjudged []string
	for _, s := range w.steps {
		switch {
		case s.Refusal:
			r.Verdict = verdictRefused
			wire := fedinvite.WireError(w.refusal)
			body, _ := json.Marshal(wire) // an Error can always be written
			r.Refusal = &refusal{s.Name, wire.HTTPStatus(), wire.Code, body, unjudged}
			return r
		case s.Name == stepDestination && s.Result == notJudged && len(w.names) == 0:
			r.Served = string(w.taken[stepDestination].delivery.Destination)
		case s.Result == notJudged || s.Result == notReached:
			unjudged = append(unjudged, s.Name)
		}
	}
	if len(unjudged) > 0 || r.Served != "" || r.Odd != "" {
		r.Verdict = verdictUndecided
	}
	return r
}

// err is what ends the command.
func (r *explanation) err() error {
	if r.Refusal == nil {
		return nil
	}
	return errors.New("the invite is refused: " + r.refused())
}

// refused says in one line what the peer was told, and as far as what is known.
func (r *explanation) refused() string {
	said := fmt.Sprintf("%d %s, at %q%s", r.Refusal.Status, r.Refusal.Errcode, r.Refusal.Step, r.latest())
	if unjudged := r.Refusal.Unjudged; len(unjudged) > 0 {
		said += "; not judged before: " + strings.Join(unjudged, ", ")
	}
	return said + r.ifServed()
}

func (r *explanation) ifServed() string {
	if r.Served == "" {
		return ""
	}
	return fmt.Sprintf(", if %s is served here (-server-name says which names are)", r.Served)
}

// text implements finding: the verdict first, for whom that is enough.
func (r *explanation) text(out io.Writer) error {
	f := &fields{w: out}
	f.add("request", "%s %q, a body of %d bytes", plain(r.Method), r.Target, r.Body)
	f.add("judged at", "%s", moment(time.UnixMilli(r.At)))
	f.blank()
	r.conclude(f)
	f.blank()
	for _, s := range r.Steps {
		s.text(f, r.verbose)
		if s.Refusal {
			f.blank()
			addWrapped(f, "", "The peer was refused here"+r.latest()+". What follows is judged as if this had passed.")
			f.blank()
		}
	}
	return f.err
}

// latest says of the refusal that something before it may have been one.
func (r *explanation) latest() string {
	if len(r.Refusal.Unjudged) > 0 || r.Odd != "" {
		return " at the latest"
	}
	return ""
}

func (r *explanation) conclude(f *fields) {
	undecided := append(r.having(notJudged), r.having(notReached)...)
	switch {
	case r.Refusal != nil:
		addWrapped(f, verdictRefused, r.refused())
		addWrapped(f, "", visible(string(r.Refusal.Body)))
		s := r.step(r.Refusal.Step)
		addWrapped(f, "because", s.Error)
		for _, h := range s.Hints {
			addWrapped(f, "hint", h)
		}
	case r.Verdict == verdictAccepted:
		addWrapped(f, verdictAccepted, "200, unless the server's own limits, policy or storage refuse it")
	case r.Served != "" && len(undecided) == 1:
		addWrapped(f, verdictUndecided, "200"+r.ifServed()+", and unless the server's own limits, policy or storage refuse it")
	case len(undecided) == 0:
		addWrapped(f, verdictUndecided, "200, if it comes as far as a Receiver")
	default:
		addWrapped(f, verdictUndecided, "nothing that was judged refuses it; not judged: "+strings.Join(undecided, ", "))
	}
	if r.Odd != "" {
		addWrapped(f, "odd", "net/http answers 400 to such a request, before a Receiver sees it: "+visible(r.Odd))
	}
	if odd := r.having(warning); len(odd) > 0 {
		addWrapped(f, "odd", strings.Join(odd, ", "))
	}
	if more := r.having(failed); len(more) > 1 {
		addWrapped(f, "fails too", strings.Join(more[1:], ", "))
	}
}

// step returns the step of a name, which there is.
func (r *explanation) step(name string) *explainedStep {
	return r.Steps[slices.IndexFunc(r.Steps, func(s *explainedStep) bool { return s.Name == name })]
}

// having returns the steps with a result.
func (r *explanation) having(result string) []string {
	var names []string
	for _, s := range r.Steps {
		if s.Result == result {
			names = append(names, s.Name)
		}
	}
	return names
}

func (s *explainedStep) text(f *fields, verbose bool) {
	result, said, hints := s.Result, s.Note, s.Hints
	switch {
	case s.Refusal: // error and hints stand above
		result, said, hints = "FAILED", "see above", nil
	case s.Result == failed:
		result, said = "FAILED", s.Error
	}
	addColumns(f, result, s.Name, said)
	if verbose || s.Result == failed || s.Result == warning {
		for _, c := range s.Compared {
			addColumns(f, "", c.What, c.text())
		}
	}
	for _, h := range hints {
		addColumns(f, "", "hint", h)
	}
}

// Where lines end and columns begin, in characters. No line is longer, but for words that
// are, so that nothing that a peer wrote begins a row of a terminal.
const (
	lineWidth    = 80
	firstColumn  = 14
	secondColumn = 33
)

// addWrapped adds text that may be long.
func addWrapped(f *fields, name, text string) {
	for _, line := range wrapped(text, lineWidth-firstColumn) {
		f.add(name, "%s", line)
		name = ""
	}
}

// addColumns is addWrapped with another column between.
func addColumns(f *fields, result, what, said string) {
	for _, line := range wrapped(said, lineWidth-secondColumn) {
		f.add(result, "%s", strings.TrimRight(fmt.Sprintf("%-*s %s", secondColumn-firstColumn-1, what, line), " "))
		result, what = "", ""
	}
}

// wrapped breaks text into lines, one at least.
func wrapped(text string, width int) (lines []string) {
	var line strings.Builder
	n := 0 // characters of line
	for _, word := range strings.Fields(text) {
		length := utf8.RuneCountInString(word)
		if n > 0 && n+1+length > width {
			lines = append(lines, line.String())
			line.Reset()
			n = 0
		}
		if n > 0 {
			line.WriteByte(' ')
			n++
		}
		line.WriteString(word)
		n += length
	}
	return append(lines, line.String())
}

// visible makes runs of spaces seen, in text that is quoted as in JSON or Go.
func visible(s string) string { return strings.ReplaceAll(s, "  ", `\u0020\u0020`) }

// quoted shows what is not ours.
func quoted(s string) string { return visible(strconv.Quote(s)) }

// blank ends a paragraph.
func (f *fields) blank() {
	if f.err == nil {
		_, f.err = io.WriteString(f.w, "\n")
	}
}

// text quotes what is not ours.
func (c comparison) text() string {
	parts := make([]string, 0, len(c.Values))
	for _, v := range c.Values {
		part := v.Value
		if !v.ours {
			part = quoted(part)
		}
		if v.Where != "" {
			part = v.Where + " " + part
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
