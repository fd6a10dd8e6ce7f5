package discovery

import (
	"context"
	"testing"
	"time"
)

// Between a caller's look at the memory and its flight, another flight may land.
func TestAFlightThatComesTooLateAsksNobody(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	m := newMemory[string](2, func() time.Time { return now }, newGate(1, time.Minute))
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
