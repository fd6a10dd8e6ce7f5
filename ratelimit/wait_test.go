package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
)

// An answer is what one of many calls got, and when.
type answer struct {
	after time.Duration
	err   error
}

// ask makes n calls at once and returns the answers in the order in which they came. It
// is for bubbles of synctest, in which waiting takes no time.
func ask(t *testing.T, n int, call func() error) []answer {
	t.Helper()
	answers := make(chan answer, n)
	begin := time.Now()
	for range n {
		go func() {
			err := call()
			answers <- answer{time.Since(begin), err}
		}()
	}
	var all []answer
	for range n {
		all = append(all, <-answers)
	}
	slices.SortStableFunc(all, func(a, b answer) int { return int(a.after - b.after) })
	return all
}

// Of 60 invites at once from one origin, 10 pass at once, 40 wait for their turn, and 10
// are refused: the defaults.
func TestWaitingForOnesTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{Now: time.Now, Sender: off, Invitee: off, Room: off})
		inv := invite(t, alice, bob, room)
		all := ask(t, 60, func() error { return l.Policy(t.Context(), inv) })
		var passed []time.Duration
		for _, a := range all {
			if a.err == nil {
				passed = append(passed, a.after)
				continue
			}
			if e := refused(t, a.err); a.after != 0 || e.RetryAfter != 9*time.Second {
				t.Errorf("refused after %s, retry after %s", a.after, e.RetryAfter)
			}
		}
		if len(passed) != 50 {
			t.Fatalf("%d passed, want 50", len(passed))
		}
		for i, after := range passed {
			if want := max(0, time.Duration(i-9)*200*time.Millisecond); after != want {
				t.Errorf("number %d passed after %s, want %s", i, after, want)
			}
		}
	})
}

// The other origin does not wait for the first one's queue.
func TestOthersDoNotWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{Now: time.Now, Sender: off, Invitee: off, Room: off})
		inv, other := invite(t, alice, bob, room), invite(t, "@x:c.example", bob, room)
		done := make(chan struct{})
		go func() {
			ask(t, 60, func() error { return l.Policy(t.Context(), inv) })
			close(done)
		}()
		synctest.Wait()
		begin := time.Now()
		if err := l.Policy(t.Context(), other); err != nil || time.Since(begin) != 0 {
			t.Errorf("%v after %s", err, time.Since(begin))
		}
		<-done
	})
}

// If two limits are over, the longer wait counts; if one of them has no queue, nobody waits.
func TestWaitingForSeveralLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := ratelimit.Config{Now: time.Now, Remote: off, Invitee: off}
		config.Origin = ratelimit.Limit{Every: time.Second, Burst: 1, Queue: 5}
		config.Sender = ratelimit.Limit{Every: 3 * time.Second, Burst: 1, Queue: 2}
		config.Room = ratelimit.Limit{Every: time.Hour, Burst: 3}
		l := newLimiter(t, config)
		inv := invite(t, alice, bob, room)
		all := ask(t, 5, func() error { return l.Policy(t.Context(), inv) })
		var got []string
		for _, a := range all {
			got = append(got, fmt.Sprint(a.after, a.err == nil))
		}
		slices.Sort(got)
		want := []string{"0s false", "0s false", "0s true", "3s true", "6s true"}
		if !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// Whoever hangs up waits no longer, and leaves the place to whoever comes next.
func TestWaitingEndsWithTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := ratelimit.Config{Now: time.Now, Sender: off, Invitee: off, Room: off}
		config.Origin = ratelimit.Limit{Every: 8 * time.Second, Burst: 1, Queue: 1}
		l := newLimiter(t, config)
		inv := invite(t, alice, bob, room)
		if err := l.Policy(t.Context(), inv); err != nil {
			t.Fatal(err)
		}
		hungUp := errors.New("hung up")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(4*time.Second, func() { cancel(hungUp) })
		begin := time.Now()
		e := refused(t, l.Policy(ctx, inv))
		if !errors.Is(e, hungUp) || time.Since(begin) != 4*time.Second {
			t.Errorf("%v after %s", e, time.Since(begin))
		}
		if err := l.Policy(t.Context(), inv); err != nil || time.Since(begin) != 8*time.Second {
			t.Errorf("the next: %v after %s", err, time.Since(begin))
		}
	})
}

// A deadline ends the wait too: the receiver's own, for example.
func TestWaitingEndsWithTheDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := ratelimit.Config{Now: time.Now, Remote: ratelimit.Limit{Every: 10 * time.Second, Burst: 1, Queue: 1}}
		l := newLimiter(t, config)
		if err := l.Admit(t.Context(), from("192.0.2.1")); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if e := refused(t, l.Admit(ctx, from("192.0.2.1"))); !errors.Is(e, context.DeadlineExceeded) || e.RetryAfter != 10*time.Second {
			t.Errorf("%v, retry after %s", e, e.RetryAfter)
		}
	})
}

// Coming and hanging up again and again makes the queue no longer than it is.
func TestHangingUpDoesNotLengthenTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := ratelimit.Config{Now: time.Now, Sender: off, Origin: off, Room: off}
		config.Invitee = ratelimit.Limit{Every: 10 * time.Second, Burst: 1, Queue: 3}
		l := newLimiter(t, config)
		inv := invite(t, alice, bob, room)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			ask(t, 4, func() error { return l.Policy(ctx, inv) })
			close(done)
		}()
		synctest.Wait()
		for range 100 {
			impatient, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() { _ = l.Policy(impatient, inv); close(ended) }()
			synctest.Wait()
			cancel()
			<-ended
		}
		cancel()
		<-done
		time.Sleep(30 * time.Second) // of the bubble: the time of the whole queue
		if err := l.Policy(t.Context(), inv); err != nil {
			t.Error(err)
		}
	})
}

// Each that waits holds a connection and a body.
func TestAtMost256Wait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := ratelimit.Config{Now: time.Now, Sender: off, Invitee: off, Room: off}
		config.Origin = ratelimit.Limit{Every: time.Second, Burst: 1, Queue: 1}
		l := newLimiter(t, config)
		senders := make(chan *fedinvite.Invite, 600)
		for i := range 300 {
			inv := invite(t, fmt.Sprintf("@a:s%d.example", i), bob, room)
			senders <- inv
			senders <- inv
		}
		passed := map[time.Duration]int{}
		for _, a := range ask(t, 600, func() error { return l.Policy(t.Context(), <-senders) }) {
			if a.err == nil {
				passed[a.after]++
			} else if e := refused(t, a.err); !strings.Contains(e.Err.Error(), "too many invites wait") {
				t.Error(e)
			}
		}
		if passed[0] != 300 || passed[time.Second] != 256 || len(passed) != 2 {
			t.Errorf("passed: %v", passed)
		}
		// The places are free again, and what was refused has cost nothing.
		inv := invite(t, "@a:s0.example", bob, room)
		time.Sleep(time.Minute) // of the bubble
		for _, a := range ask(t, 2, func() error { return l.Policy(t.Context(), inv) }) {
			if a.err != nil {
				t.Error(a.err)
			}
		}
	})
}

// The places are divided: whoever takes all they can get leaves some to others.
func TestPlacesAreLeftToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		config := ratelimit.Config{Now: time.Now, Sender: off, Invitee: off, Room: off}
		config.Origin = ratelimit.Limit{Every: 100 * time.Millisecond, Burst: 1, Queue: 300}
		l := newLimiter(t, config)
		ctx, leave := context.WithCancel(t.Context())
		waiting := func(origin string) func(int) int { // sends more, and says how many wait
			inv := invite(t, "@a:"+origin, bob, room)
			var in, out atomic.Int32
			return func(more int) int {
				for range more {
					go func() {
						in.Add(1)
						_ = l.Policy(ctx, inv)
						out.Add(1)
					}()
				}
				synctest.Wait()
				return int(in.Load() - out.Load())
			}
		}
		var origins []func(int) int
		for i := range 9 {
			origins = append(origins, waiting(fmt.Sprintf("s%d.example", i)))
		}
		// Alone, and then each that comes beside them.
		for i, want := range []int{52, 41, 33, 26, 21, 17, 14, 11, 9} {
			if got := origins[i](60); got != want {
				t.Errorf("origin %d: %d wait, want %d", i, got, want)
			}
		}
		// In time all of them wait for as many.
		for range 200 {
			time.Sleep(100 * time.Millisecond) // of the bubble: one of each has had its turn
			for _, send := range origins {
				send(2)
			}
		}
		for i, send := range origins {
			if got := send(0); got < 18 || got > 22 {
				t.Errorf("origin %d: %d wait, want about 20", i, got)
			}
		}
		leave()
		synctest.Wait()
	})
}

// Eight origins that keep coming do not stop a ninth: the defaults.
func TestOriginsThatKeepComingStopNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter(t, ratelimit.Config{Now: time.Now, Sender: off, Invitee: off, Room: off})
		ctx, leave := context.WithCancel(t.Context())
		for i := range 8 {
			inv := invite(t, fmt.Sprintf("@a:evil%d.example", i), bob, room)
			for range 60 {
				go func() {
					for ctx.Err() == nil {
						if l.Policy(ctx, inv) != nil {
							time.Sleep(100 * time.Millisecond)
						}
					}
				}()
			}
		}
		time.Sleep(20 * time.Second) // of the bubble
		inv := invite(t, alice, bob, room)
		for _, a := range ask(t, 25, func() error { return l.Policy(t.Context(), inv) }) {
			if a.err != nil {
				t.Errorf("after %s: %v", a.after, a.err)
			}
		}
		leave()
		time.Sleep(time.Minute)
	})
}
