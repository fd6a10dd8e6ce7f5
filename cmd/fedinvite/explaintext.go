package main

import (
	"encoding/json"
	"fmt"
	"io"
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
	Steps   []*explainedStep `json:"steps"`
	Verdict string           `json:"verdict"`
	Refusal *refusal         `json:"refusal,omitempty"`
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
}

// report returns what was found out.
func (w *walk) report() *explanation {
	r := &explanation{
		Method: clipped(w.capture.method), Target: clipped(w.capture.target), Body: len(w.capture.body),
		At: w.at.UnixMilli(), Steps: w.steps, Verdict: verdictAccepted,
	}
	for _, s := range w.steps {
		switch s.Result {
		case notJudged, notReached:
			if r.Verdict == verdictAccepted {
				r.Verdict = verdictUndecided
			}
		}
		if s.Refusal {
			r.Verdict = verdictRefused
			wire := fedinvite.WireError(w.refusal)
			body, _ := json.Marshal(wire) // an Error can always be written
			r.Refusal = &refusal{s.Name, wire.HTTPStatus(), wire.Code, body}
		}
	}
	return r
}

// err is what ends the command.
func (r *explanation) err() error {
	if r.Refusal == nil {
		return nil
	}
	return fmt.Errorf("the invite is refused: %d %s at %q", r.Refusal.Status, r.Refusal.Errcode, r.Refusal.Step)
}

// text implements finding.
func (r *explanation) text(out io.Writer) error {
	f := &fields{w: out}
	f.add("request", "%s %q, a body of %d bytes", plain(r.Method), r.Target, r.Body)
	f.add("judged at", "%s", moment(time.UnixMilli(r.At)))
	f.blank()
	for _, s := range r.Steps {
		s.text(f)
		if s.Refusal {
			f.blank()
			f.add("", "The peer was refused here. What follows is judged as if this had passed.")
			f.blank()
		}
	}
	f.blank()
	r.conclude(f)
	return f.err
}

func (r *explanation) conclude(f *fields) {
	undecided := strings.Join(append(r.having(notJudged), r.having(notReached)...), ", ")
	switch r.Verdict {
	case verdictAccepted:
		f.add(verdictAccepted, "200, unless the server's own limits, policy or storage refuse it")
	case verdictUndecided:
		f.add(verdictUndecided, "nothing that was judged refuses it; not judged: %s", undecided)
	case verdictRefused:
		f.add(verdictRefused, "%d %s, at %q", r.Refusal.Status, r.Refusal.Errcode, r.Refusal.Step)
		f.add("", "%s", r.Refusal.Body)
	}
	if odd := r.having(warning); len(odd) > 0 {
		f.add("odd", "%s", strings.Join(odd, ", "))
	}
	if more := r.having(failed); len(more) > 1 {
		f.add("fails too", "%s", strings.Join(more[1:], ", "))
	}
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

func (s *explainedStep) text(f *fields) {
	result := s.Result
	if result == failed {
		result = "FAILED"
	}
	said := s.Error
	if said == "" {
		said = s.Note
	}
	addWrapped(f, result, s.Name, said)
	for _, c := range s.Compared {
		addColumns(f, "", c.What, c.text())
	}
	for _, h := range s.Hints {
		addWrapped(f, "", "hint", h)
	}
}

// addWrapped is addColumns for text that may be long.
func addWrapped(f *fields, result, what, said string) {
	for _, line := range wrapped(said) {
		addColumns(f, result, what, line)
		result, what = "", ""
	}
}

// wrapped breaks text into lines, one at least.
func wrapped(text string) (lines []string) {
	const width = 80
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

// blank ends a paragraph.
func (f *fields) blank() {
	if f.err == nil {
		_, f.err = io.WriteString(f.w, "\n")
	}
}

func addColumns(f *fields, result, what, said string) {
	f.add(result, "%s", strings.TrimRight(fmt.Sprintf("%-18s %s", what, said), " "))
}

// text quotes what is not ours.
func (c comparison) text() string {
	parts := make([]string, 0, len(c.Values))
	for _, v := range c.Values {
		part := v.Value
		if !v.ours {
			part = strconv.Quote(part)
		}
		if v.Where != "" {
			part = v.Where + " " + part
		}
		parts = append(parts, part)
	}
	return strings.Join(parts, ", ")
}
