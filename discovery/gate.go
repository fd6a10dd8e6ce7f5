package discovery

import (
	"errors"
	"time"
)

// queueFactor is how many wait for each turn, at most.
const queueFactor = 16

// ErrBusy: too many look-ups are under way, of all servers together. It is our own doing,
// says nothing about the server, and is over as soon as some of them are.
var ErrBusy = errors.New("too many look-ups at a time")

// A gate lets a number of look-ups in at a time. A quarter of the turns, and a queue of
// their own, are kept for names of which an answer is remembered, so that made-up names
// whose servers take their time cannot keep us from asking about real ones.
type gate struct {
	common, reserved chan struct{} // turns
	queue, reserve   chan struct{} // those who wait for one
	patience         time.Duration
}

func newGate(turns int, patience time.Duration) *gate {
	slots := func(n int) chan struct{} { return make(chan struct{}, n) }
	return &gate{slots(turns - turns/4), slots(turns / 4), slots(queueFactor * turns), slots(queueFactor * turns), patience}
}

// enter waits for a turn, as long as patience lasts. One that does not come is not held
// against the name, nor does waiting take from the time that the look-up has.
func (g *gate) enter(known bool) (leave func(), err error) {
	queue, reserved := g.queue, chan struct{}(nil) // nil has no room
	if known {
		queue, reserved = g.reserve, g.reserved
	}
	leaveCommon, leaveReserved := func() { <-g.common }, func() { <-g.reserved }
	select {
	case g.common <- struct{}{}:
		return leaveCommon, nil
	case reserved <- struct{}{}:
		return leaveReserved, nil
	default:
	}
	select {
	case queue <- struct{}{}:
		defer func() { <-queue }()
	default:
		return nil, ErrBusy
	}
	timer := time.NewTimer(g.patience)
	defer timer.Stop()
	select {
	case g.common <- struct{}{}:
		return leaveCommon, nil
	case reserved <- struct{}{}:
		return leaveReserved, nil
	case <-timer.C:
		return nil, ErrBusy
	}
}
