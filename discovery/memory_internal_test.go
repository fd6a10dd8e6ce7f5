package discovery

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Between a caller's look at the memory and its flight, another flight may land.
func TestAFlightThatComesTooLateAsksNobody(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	m := newMemory[string](2, func() time.Time { return now }, newGate(1, time.Minute), time.Minute)
	asked := 0
	q := question[string]{
		ask: func(context.Context) finding[string] {
			asked++
			return finding[string]{value: "a", lifetime: time.Hour}
		},
		tell: func(finding[string], *note[string]) {},
	}
	for range 2 {
		f := m.join("a.ex", q)
		if err := f.wait(t.Context()); err != nil || !f.counts || f.note.value != "a" || asked != 1 {
			t.Errorf("%+v, asked %d times", f, asked)
		}
	}
	now = now.Add(time.Hour)
	if f := m.join("a.ex", q); f.wait(t.Context()) != nil || asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

func TestWhatIsRememberedCountsIfThereIsNoTurn(t *testing.T) {
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	now := start
	failure := errors.New("no answer")
	value := finding[string]{value: "a", lifetime: time.Hour, late: time.Minute}
	failed := finding[string]{failure: failure, kept: failure, definite: true, pause: time.Hour, maxPause: time.Hour, grace: time.Minute}
	for _, c := range []struct {
		name   string
		found  finding[string]
		after  time.Duration
		counts bool
		err    error
	}{
		{"value", value, time.Hour, true, nil},
		{"value, at the end", value, time.Hour + time.Minute - 1, true, nil},
		{"value, too old", value, time.Hour + time.Minute, false, ErrBusy},
		{"value, of the future", value, -1, false, ErrBusy},
		{"failure", failed, time.Hour, false, nil},
		{"failure, at the end", failed, time.Hour + time.Minute - 1, false, nil},
		{"failure, too old", failed, time.Hour + time.Minute, false, ErrBusy},
		{"failure, of the future", failed, -1, false, ErrBusy},
		{"nothing", finding[string]{}, 0, false, ErrBusy},
	} {
		now = start
		m := newMemory[string](2, func() time.Time { return now }, newGate(1, 1), time.Minute)
		q := question[string]{
			ask:  func(context.Context) finding[string] { t.Error(c.name, "is asked for"); return finding[string]{} },
			tell: func(finding[string], *note[string]) {},
		}
		if c.name != "nothing" {
			m.remember("a.ex", c.found, now)
		}
		leave, err := m.gate.enter(false)
		if err != nil {
			t.Fatal(err)
		}
		now = start.Add(c.after)
		f := m.join("a.ex", q)
		if err := f.wait(t.Context()); !errors.Is(err, c.err) || f.counts != c.counts || f.fresh {
			t.Errorf("%s: %v, %+v", c.name, err, f)
		}
		leave()
	}
}

func TestTheGate(t *testing.T) {
	g := newGate(8, 1)
	enter := func(known, want bool) (leave func()) {
		t.Helper()
		leave, err := g.enter(known)
		if (err == nil) != want || !want && !errors.Is(err, ErrBusy) {
			t.Fatal(err)
		}
		return leave
	}
	for range 2 { // all turns come back
		var leaves []func()
		for range 6 {
			leaves = append(leaves, enter(false, true))
		}
		enter(false, false)
		leaves = append(leaves, enter(true, true), enter(true, true))
		enter(true, false)
		leaves[0]()
		leaves[0] = enter(true, true) // those are for all
		enter(false, false)
		for _, leave := range leaves {
			leave()
		}
	}
	if queued := len(g.queue) + len(g.reserve); queued != 0 {
		t.Error(queued, "places in the queues are taken for ever")
	}
}
