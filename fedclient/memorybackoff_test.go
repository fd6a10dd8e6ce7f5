package fedclient_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

var (
	answered = fedclient.Outcome{Kind: fedclient.OutcomeAnswered}
	failed   = fedclient.Outcome{Kind: fedclient.OutcomeFailed}
	heard    = fedclient.Outcome{Kind: fedclient.OutcomeHeard}
	limited  = fedclient.Outcome{Kind: fedclient.OutcomeLimited}
)

// wants is what a server says that wants to be left alone.
func wants(kind fedclient.OutcomeKind, d time.Duration) fedclient.Outcome {
	return fedclient.Outcome{Kind: kind, RetryAfter: d}
}

func newBackoff(t testing.TB, c fedclient.BackoffConfig) *fedclient.MemoryBackoff {
	t.Helper()
	if c.Random == nil {
		c.Random = func() float64 { return 0 }
	}
	b, err := fedclient.NewBackoff(c)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestMemoryBackoff(t *testing.T) {
	type step struct {
		wait time.Duration // before it
		o    fedclient.Outcome
		want time.Duration // the pause that is left after it
	}
	const s, m, h = time.Second, time.Minute, time.Hour
	for name, steps := range map[string][]step{
		"failures double the pause": {
			{0, failed, 10 * s}, {10 * s, failed, 20 * s}, {20 * s, failed, 40 * s}, {40 * s, failed, 80 * s}, {80 * s, failed, 160 * s},
			{160 * s, failed, 320 * s}, {320 * s, failed, 640 * s}, {640 * s, failed, 1280 * s}, {1280 * s, failed, 2560 * s},
			{2560 * s, failed, h}, {h, failed, h}, {1000 * h, failed, h},
		},
		"failures in a pause do not count":        {{0, failed, 10 * s}, {9 * s, failed, s}, {s, failed, 20 * s}},
		"the pause is over at its end":            {{0, failed, 10 * s}, {10*s - 1, failed, 1}, {1, failed, 20 * s}},
		"an answer ends it":                       {{0, failed, 10 * s}, {10 * s, failed, 20 * s}, {0, answered, 0}, {0, failed, 10 * s}},
		"an answer ends one that was asked for":   {{0, wants(fedclient.OutcomeLimited, m), m}, {0, answered, 0}},
		"being heard from ends it":                {{0, failed, 10 * s}, {10 * s, failed, 20 * s}, {0, heard, 0}, {0, failed, 10 * s}},
		"being heard from says nothing else":      {{0, heard, 0}, {0, answered, 0}},
		"it does not end one that was asked for":  {{0, wants(fedclient.OutcomeLimited, m), m}, {s, heard, 59 * s}},
		"nor one asked for during a failure's":    {{0, failed, 10 * s}, {0, wants(fedclient.OutcomeLimited, m), m}, {0, heard, m}},
		"it ends a failure's after that":          {{0, wants(fedclient.OutcomeLimited, m), m}, {m, failed, 10 * s}, {0, heard, 0}},
		"429 counts as it says":                   {{0, wants(fedclient.OutcomeLimited, 3*s), 3 * s}, {3 * s, wants(fedclient.OutcomeLimited, 3*s), 3 * s}},
		"the longer of two counts":                {{0, wants(fedclient.OutcomeLimited, m), m}, {0, wants(fedclient.OutcomeLimited, s), m}, {0, wants(fedclient.OutcomeLimited, h), h}},
		"a server that answers 429 is up":         {{0, failed, 10 * s}, {10 * s, wants(fedclient.OutcomeLimited, s), s}, {s, failed, 10 * s}},
		"429 shortens a pause":                    {{0, failed, 10 * s}, {0, wants(fedclient.OutcomeLimited, s), s}},
		"429 without a time is a failure":         {{0, limited, 10 * s}, {10 * s, limited, 20 * s}, {0, heard, 0}},
		"failures in one that was asked for":      {{0, wants(fedclient.OutcomeLimited, m), m}, {s, failed, 59 * s}, {59 * s, failed, 10 * s}},
		"5xx with a longer wish":                  {{0, wants(fedclient.OutcomeFailed, m), m}, {m, failed, 20 * s}},
		"5xx with a shorter wish":                 {{0, wants(fedclient.OutcomeFailed, s), 10 * s}},
		"5xx with a wish in a pause":              {{0, failed, 10 * s}, {s, wants(fedclient.OutcomeFailed, m), m}, {m, failed, 20 * s}},
		"wishes have an end":                      {{0, wants(fedclient.OutcomeLimited, 1000*h), h}},
		"so have those with 5xx":                  {{0, wants(fedclient.OutcomeFailed, 1000*h), h}},
		"a negative wish is none":                 {{0, wants(fedclient.OutcomeLimited, -h), 10 * s}, {10 * s, wants(fedclient.OutcomeFailed, -h), 20 * s}},
		"what is long over is no pause":           {{0, failed, 10 * s}, {1000 * h, heard, 0}},
		"outcomes that there are not say nothing": {{0, fedclient.Outcome{Kind: 9}, 0}, {0, failed, 10 * s}, {0, fedclient.Outcome{Kind: 9}, 10 * s}},
	} {
		t.Run(name, func(t *testing.T) {
			at := now
			b := newBackoff(t, fedclient.BackoffConfig{Now: func() time.Time { return at }})
			for i, step := range steps {
				at = at.Add(step.wait)
				b.Report(t.Context(), "b.ex", step.o)
				until, paused := b.Paused(t.Context(), "b.ex")
				if paused != (step.want > 0) || paused && until.Sub(at) != step.want || !paused && !until.IsZero() {
					t.Errorf("step %d: %v, %v, want %v", i, until.Sub(at), paused, step.want)
				}
			}
			if _, paused := b.Paused(t.Context(), "c.ex"); paused {
				t.Error("another server is paused")
			}
		})
	}
}

func TestPausesAreShortenedAtRandom(t *testing.T) {
	for random, want := range map[float64]time.Duration{0: 10 * time.Second, 0.5: 9 * time.Second, 1: 8 * time.Second} {
		b := newBackoff(t, fedclient.BackoffConfig{Now: clock, Random: func() float64 { return random }})
		b.Report(t.Context(), "b.ex", failed)
		if until, _ := b.Paused(t.Context(), "b.ex"); until.Sub(now) != want {
			t.Errorf("%v: %v, want %v", random, until.Sub(now), want)
		}
		b.Report(t.Context(), "c.ex", wants(fedclient.OutcomeLimited, 10*time.Second))
		if until, _ := b.Paused(t.Context(), "c.ex"); until.Sub(now) != 10*time.Second {
			t.Errorf("what was asked for is %v", until.Sub(now))
		}
	}
}

func TestPausesOfOtherLengths(t *testing.T) {
	at := now
	b := newBackoff(t, fedclient.BackoffConfig{First: time.Minute, Longest: 3 * time.Minute, Now: func() time.Time { return at }})
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 3 * time.Minute, 3 * time.Minute} {
		b.Report(t.Context(), "b.ex", failed)
		if until, _ := b.Paused(t.Context(), "b.ex"); until.Sub(at) != want {
			t.Errorf("%v, want %v", until.Sub(at), want)
		}
		at = at.Add(want)
	}
	b = newBackoff(t, fedclient.BackoffConfig{First: 2 * time.Hour, Now: clock}) // more than the longest
	b.Report(t.Context(), "b.ex", failed)
	if until, _ := b.Paused(t.Context(), "b.ex"); until.Sub(now) != time.Hour {
		t.Errorf("%v", until.Sub(now))
	}
	for field, c := range map[string]fedclient.BackoffConfig{"First": {First: -1}, "Longest": {Longest: -1}, "MaxServers": {MaxServers: -1}} {
		if _, err := fedclient.NewBackoff(c); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// Of more servers than there may be, those are forgotten that nobody asks for.
func TestABackoffIsBounded(t *testing.T) {
	for most, c := range map[int]fedclient.BackoffConfig{10_000: {Now: clock}, 3: {Now: clock, MaxServers: 3}} {
		b := newBackoff(t, c)
		name := func(i int) fedinvite.ServerName { return fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)) }
		for i := range most {
			b.Report(t.Context(), name(i), failed)
		}
		if _, paused := b.Paused(t.Context(), name(0)); !paused { // and so it is used last
			t.Errorf("of %d, the first is forgotten", most)
		}
		b.Report(t.Context(), name(most), failed)
		kept := 0
		for i := range most + 1 {
			if _, paused := b.Paused(t.Context(), name(i)); paused {
				kept++
			} else if i != 1 {
				t.Errorf("of %d, number %d is forgotten", most, i)
			}
		}
		if kept != most {
			t.Errorf("%d are kept, want %d", kept, most)
		}
	}
}

// Whatever comes, no pause is longer than the longest.
func TestNoPauseIsLongerThanTheLongest(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	at := now
	b := newBackoff(t, fedclient.BackoffConfig{Now: func() time.Time { return at }, Random: r.Float64})
	for range 20_000 {
		at = at.Add(time.Duration(r.Int64N(int64(time.Hour))))
		b.Report(t.Context(), "b.ex", fedclient.Outcome{
			Kind: fedclient.OutcomeKind(r.UintN(5)), RetryAfter: time.Duration(r.Uint64() >> r.UintN(64)),
		})
		if until, paused := b.Paused(t.Context(), "b.ex"); paused && (until.Sub(at) > time.Hour || !until.After(at)) {
			t.Fatalf("a pause of %v", until.Sub(at))
		}
	}
}

func TestABackoffIsSafeForConcurrentUse(t *testing.T) {
	b := newBackoff(t, fedclient.BackoffConfig{MaxServers: 10, Now: clock, Random: rand.Float64})
	client := newClient(t, tripper(refuses), func(c *fedclient.Config) { c.Backoff = b })
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 200 {
				server := fedinvite.ServerName(fmt.Sprintf("s%d.ex", (i+n)%20))
				_, _ = client.Do(t.Context(), fedclient.Request{Method: "GET", Destination: server})
				if n%7 == 0 {
					client.Heard(t.Context(), server)
				}
			}
		})
	}
	all.Wait()
}

func BenchmarkPaused(b *testing.B) {
	backoff := newBackoff(b, fedclient.BackoffConfig{})
	for i := range 10_000 {
		backoff.Report(b.Context(), fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)), failed)
	}
	ctx := b.Context()
	b.ReportAllocs()
	for b.Loop() {
		backoff.Paused(ctx, "s5000.ex")
	}
}
