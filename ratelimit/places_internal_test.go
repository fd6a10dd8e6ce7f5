package ratelimit

import "testing"

// Names are remembered here only as long as they wait.
func TestNothingIsKeptOfThoseWhoHaveLeft(t *testing.T) {
	p := places{by: make(map[key]int)}
	who := key{name: "a.example"}
	p.take(who)
	p.take(who)
	p.leave(who)
	if p.taken != 1 || p.by[who] != 1 {
		t.Errorf("%d places taken, %d by one who has one", p.taken, p.by[who])
	}
	p.leave(who)
	if p.taken != 0 || len(p.by) != 0 {
		t.Errorf("%d places taken, %d names kept", p.taken, len(p.by))
	}
}
