package invitetest

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A recorder is a test that notes what is said.
type recorder struct {
	testing.TB
	logs, errors []string
}

func (r *recorder) Helper() {}

func (r *recorder) Logf(format string, args ...any) {
	r.logs = append(r.logs, fmt.Sprintf(format, args...))
}

func (r *recorder) Errorf(format string, args ...any) {
	r.errors = append(r.errors, fmt.Sprintf(format, args...))
}

func TestWhatRunReports(t *testing.T) {
	for _, c := range []struct {
		level    Level
		outcome  Outcome
		excepted bool
		fails    bool
	}{
		{Must, Passed, false, false}, {Must, Departed, false, true}, {Must, Unknown, false, true},
		{Should, Departed, false, true}, {Practice, Departed, false, false}, {Practice, Unknown, false, true},
		{Must, Departed, true, false}, {Must, Unknown, true, false}, {Must, Passed, true, false},
	} {
		var rec recorder
		new(runLog).report(&rec, Result{
			Check: Check{Sentence: "It is so.", Link: "https://spec", Level: c.level}, Outcome: c.outcome, Detail: "detail",
			Exchange: []Exchange{{"PUT", "200"}},
		}, c.excepted)
		switch {
		case c.fails != (len(rec.errors) > 0) || c.outcome != Passed && len(rec.errors)+len(rec.logs) != 1:
			t.Errorf("%v %v %v: errors %q, logs %q", c.level, c.outcome, c.excepted, rec.errors, rec.logs)
		case c.fails && (!strings.Contains(rec.errors[0], "It is so.\nhttps://spec") || !strings.Contains(rec.errors[0], "> PUT\n< 200")):
			t.Errorf("%q", rec.errors)
		}
	}
}

// What several checks have in common is said once.
func TestTheLogOfRunIsShort(t *testing.T) {
	var l runLog
	var rec recorder
	long := strings.Repeat("x", maxExchange)
	for i := range 10 {
		l.skip(Result{Detail: "no sender"})
		l.report(&rec, Result{
			Check: Check{Name: fmt.Sprintf("a/%d", i), Level: Must}, Outcome: Departed, Detail: "answers 500", Said: "out of order",
			Exchange: []Exchange{{"PUT /before", "200"}, {"PUT /this" + long, "500" + long}, {"GET /_matrix/key/v2/server", "200"}, {"PUT /after", "200"}}, about: 3,
		}, false)
	}
	l.skip(Result{Detail: "no room version"})
	l.sumUp(&rec)
	if want := []string{"skipped: 10 × no sender", "skipped: 1 × no room version"}; !slices.Equal(rec.logs, want) {
		t.Errorf("%q", rec.logs)
	}
	all := strings.Join(rec.errors, "")
	if len(rec.errors) != 10 || len(all) > 4000 || strings.Count(all, "> PUT /this") != 1 || strings.Count(all, "those of a/0") != 9 ||
		strings.Count(all, `answers 500; it says "out of order"`) != 10 || strings.Contains(all, "/before") || strings.Contains(all, "/after") {
		t.Errorf("%d errors of %d bytes: %s", len(rec.errors), len(all), all)
	}
}

// The texts of answers that are no answers.
func TestAnswersInWords(t *testing.T) {
	for want, a := range map[string]answer{
		"answers 400 M_X":        {status: 400, errcode: "M_X"},
		"answers 400 M_\uFFFD":   {status: 400, errcode: "M_\x1b"},
		"answers 502":            {status: 502},
		"does not answer (huge)": {err: fmt.Errorf("huge"), status: 200},
	} {
		if got := a.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	for want, r := range map[string]refusal{"4xx": {}, "M_X": {0, "M_X"}, "401": {401, ""}, "401 M_X": {401, "M_X"}} {
		if got := r.String(); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

// Whatever a target answers, checks come to an end and have something to say of it.
func FuzzAnswers(f *testing.F) {
	room := RoomConfig{Version: fedinvite.RoomV12, Creator: "@alice:peer.example", Seed: "seed"}.New()
	q := room.Request(room.Invite("@bob:mine.example"), "mine.example")
	for _, body := range []string{
		``, `{}`, `{"errcode":"M_X","error":1,"retry_after_ms":1e9}`, `{"event":{"signatures":{"mine.example":{"ed25519:1":"A"}}}}`, `[200,{}]`,
		`{"server_name":"mine.example","verify_keys":{"ed25519:1":{"key":"AA"},"x":[]},"old_verify_keys":{"":7},"signatures":[],"valid_until_ts":-1}`,
	} {
		f.Add(200, "application/json", "1", []byte(body))
		f.Add(429, "text/html; x", "-1", []byte(body))
	}
	f.Fuzz(func(t *testing.T, status int, contentType, retry string, body []byte) {
		a := answer{status: status, body: body, errcode: errcodeOf(body), header: http.Header{"Content-Type": {contentType}, "Retry-After": {retry}}}
		s := &session{target: Target{Name: "mine.example"}, known: Keys("mine.example")}
		try := func(name string, run func(p *probe)) {
			r := s.try(context.Background(), Check{Name: name, Level: Must, run: run})
			if (r.Outcome == Passed) != (r.Detail == "") || strings.ContainsAny(r.String(), "\n\x1b") {
				t.Errorf("%s: %q", name, r)
			}
		}
		try("accepts", func(p *probe) { p.accepts(q, a) })
		try("refuses", func(p *probe) { p.refuses(a, invalid) })
		try("is JSON", func(p *probe) { p.isJSON(a) })
		if d := retryAfter(a); d < 0 {
			t.Errorf("retry after %s", d)
		}
		for _, check := range []func(*probe, keyDocument){
			checkKeyDocument, checkKeyServerName, checkKeySignatures, checkKeyValid(0), checkKeyIDs, checkKeyBase64, checkOldKeys,
		} {
			try("keys", func(p *probe) {
				if d, ok := p.readKeyDocument(a); ok {
					check(p, d)
				}
			})
		}
		if text := responseText(a); len(text) > maxExchange+100 {
			t.Errorf("%d bytes of text", len(text))
		}
	})
}
