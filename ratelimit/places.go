package ratelimit

// maxWaiting bounds how many wait at a time in a Limiter: each holds a connection and a
// body.
const maxWaiting = 256

// places are those of the deliveries that wait.
type places struct {
	taken int
	by    map[key]int
}

// free reports whether there is a place for who. A quarter of those that are not taken is
// the most that anybody gets: 52 alone, 20 beside eight that want all they can get, and
// always one where nobody else has come yet.
func (p *places) free(who key) bool { return 4*p.by[who] < maxWaiting-p.taken }

func (p *places) take(who key) {
	p.taken++
	p.by[who]++
}

func (p *places) leave(who key) {
	p.taken--
	if p.by[who]--; p.by[who] == 0 {
		delete(p.by, who)
	}
}
