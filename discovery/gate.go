package discovery

import (
	"errors"
	"time"
)

const queueFactor = 16

var errBusy = errors.New("too many look-ups at a time")

// A gate lets a number of look-ups in at a time.
type gate struct {
	queue   chan struct{} // those who wait for a turn
	turns   chan struct{}
	timeout time.Duration
}

func newGate(turns int, timeout time.Duration) *gate {
	return &gate{make(chan struct{}, queueFactor*turns), make(chan struct{}, turns), timeout}
}

// enter waits for a turn, as long as a look-up may take at most. A turn that does not
// come is our own doing and not held against the name, nor does waiting take from the
// time that the look-up has.
func (g *gate) enter() (leave func(), err error) {
	leave = func() { <-g.turns }
	select {
	case g.turns <- struct{}{}:
		return leave, nil
	default:
	}
	select {
	case g.queue <- struct{}{}:
		defer func() { <-g.queue }()
	default:
		return nil, errBusy
	}
	timer := time.NewTimer(g.timeout)
	defer timer.Stop()
	select {
	case g.turns <- struct{}{}:
		return leave, nil
	case <-timer.C:
		return nil, errBusy
	}
}
