package keyring_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// slowNetwork answers every request with a good document, after a while.
func slowNetwork(t *testing.T, delay time.Duration) keyring.Fetcher {
	return keyring.FetcherFunc(func(ctx context.Context, name fedinvite.ServerName) ([]byte, error) {
		select {
		case <-time.After(delay):
			s := invitetest.Signer(name)
			return invitetest.KeyDocument(s, time.Now().Add(day)), nil
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	})
}

// A server that has to wait for its turn still has all of its time, and is not
// blamed for the wait.
func TestWaitingForATurnTakesNoTimeFromTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, err := keyring.New(keyring.Config{Fetcher: slowNetwork(t, 9*time.Second), Now: time.Now, MaxFetches: 1})
		if err != nil {
			t.Fatal(err)
		}
		var both sync.WaitGroup
		for _, name := range []fedinvite.ServerName{"a.ex", "b.ex"} {
			both.Go(func() {
				if _, err := ring.VerifyKey(t.Context(), name, "ed25519:1", time.Time{}); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
	})
}

// Whoever opens many connections must not pile up look-ups without end.
func TestLookUpsThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring, err := keyring.New(keyring.Config{Fetcher: slowNetwork(t, 5*time.Second), Now: time.Now, MaxFetches: 1})
		if err != nil {
			t.Fatal(err)
		}
		const n, atOnce = 50, 1 + 16
		results := make(chan error, n)
		begin := time.Now()
		for i := range n {
			go func() {
				_, err := ring.VerifyKey(t.Context(), fedinvite.ServerName(fmt.Sprintf("s%d.ex", i)), "ed25519:1", time.Time{})
				results <- err
			}()
		}
		for i := range n {
			err := <-results
			if errors.Is(err, fedinvite.ErrUnknownKey) {
				t.Errorf("an overload is no answer of the server: %v", err)
			}
			if refused := i < n-atOnce; refused && (err == nil || time.Since(begin) != 0) {
				t.Fatalf("look-up %d: %v after %s, want a refusal at once", i, err, time.Since(begin))
			}
		}
		// Not held against those servers.
		if _, err := ring.VerifyKey(t.Context(), "s49.ex", "ed25519:1", time.Time{}); err != nil {
			t.Error(err)
		}
	})
}

// Servers that are made up, and take all their time, must not keep the keys of real ones
// from being renewed.
func TestAQuarterOfTheTurnsIsKeptForKnownServers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		known := signersOf("known", 32)
		s.publishKeys(known...)
		for _, a := range known {
			s.current(a)
		}
		s.pass(day/2 + time.Hour)
		s.publishKeys(known...)

		release := s.tarpits("made-up%d.ex", 64+16*64) // all turns, if they could have them, and more than the queue
		for _, a := range known {
			s.looked(a, 2)
		}
		release()
	})
}

// The keys of servers that the Store knows come without a turn.
func TestTarpitsDoNotKeepTheStoreFromAnswering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := newVault()
		before := newScene(t, withStore(v))
		a := before.publishes("a.ex")
		before.current(a)

		s := newScene(t, withStore(v), func(c *keyring.Config) { c.MaxFetches = 1 })
		release := s.tarpits("made-up%d.ex", 50)
		s.current(a)
		release()
	})
}

// 10,000 invites at a time from 1,000 servers that are new to us.
func TestTenThousandLookUpsOfAThousandServersMakeAThousandFetches(t *testing.T) {
	const servers, each = 1000, 10
	documents, signers := newNetwork(), signersOf("s", servers)
	for _, a := range signers {
		documents.publish(a.ServerName(), invitetest.KeyDocument(a, start.Add(day)))
	}
	for name, store := range map[string]*vault{"in memory": nil, "with a Store": newVault()} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t, func(c *keyring.Config) {
				c.Fetcher = documents
				if store != nil {
					c.Store = store
				}
			})
			clear(documents.asked)
			var all sync.WaitGroup
			for i := range servers * each {
				all.Go(func() { s.current(signers[i%servers]) })
			}
			all.Wait()
			for _, a := range signers {
				if n := documents.fetches(a.ServerName()); n != 1 {
					t.Fatalf("%s was asked %d times", a.ServerName(), n)
				}
			}
			if store != nil {
				store.counted(t, servers, servers)
			}
		})
	}
}

// What one flight has found serves all who wait for it, though memory has no room.
func TestAnAnswerThatMemoryHasNoRoomForStillServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, func(c *keyring.Config) { c.MaxServers = 1 })
		signers := signersOf("s", 40)
		s.publishKeys(signers...)
		land := s.net.hold()
		var all sync.WaitGroup
		for _, a := range signers {
			for range 3 {
				all.Go(func() { s.current(a) })
			}
		}
		synctest.Wait()
		close(land)
		all.Wait()
		for _, a := range signers {
			s.fetched(a.ServerName(), 1)
		}
	})
}

// Strangers that wait in vain, because known servers have all the turns, leave nothing
// behind.
func TestWaitingInVainCostsNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, func(c *keyring.Config) { c.MaxFetches = 4 })
		known := signersOf("known", 4)
		s.publishKeys(known...)
		for _, a := range known {
			s.current(a)
		}
		s.pass(day/2 + time.Hour)
		held := s.net.hold()
		for _, a := range known {
			s.current(a) // renews it
		}
		synctest.Wait()
		for i := range 10 {
			s.outage(fedinvite.ServerName(fmt.Sprintf("made-up%d.ex", i)), "ed25519:1")
		}
		close(held)
		s.current(s.publishes("a.ex"))
	})
}

// tarpits holds all fetches, of so many servers each of which has a name that format makes.
func (s *scene) tarpits(format string, n int) (release func()) {
	held := s.net.hold()
	for i := range n {
		go func() { _, _ = s.key(fedinvite.ServerName(fmt.Sprintf(format, i)), "ed25519:1") }()
	}
	synctest.Wait()
	s.net.setWait(nil)
	return func() {
		close(held)
		synctest.Wait()
	}
}

// Whoever has one domain, or one network, has any number of servers.
func TestTheServersOfOneDomainGetAnEighthOfTheTurns(t *testing.T) {
	for name, formats := range map[string][]string{
		"subdomains": {"s%d.evil.ex", "t%d.a.b.evil.ex:8448", "u%d.EVIL.ex", "v%d.evil.ex.", "evil.ex:%d"},
		"IPv4":       {"192.0.2.1:%d", "[::ffff:192.0.2.1]:%d"},
		"IPv6":       {"[2001:db8::%x]", "[2001:db8:0:0:1::1]:%d"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				fetches := 0
				for _, format := range formats {
					release := s.tarpits(format, 50)
					defer release()
					for i := range 50 {
						fetches += s.net.fetches(fedinvite.ServerName(fmt.Sprintf(format, i)))
					}
				}
				if fetches != 8 {
					t.Errorf("%d fetches at a time", fetches)
				}
				s.current(s.publishes("a.ex"))
			})
		})
	}
	for name, format := range map[string]string{"domains": "evil%d.ex", "IPv4 addresses": "192.0.2.%d", "IPv6 networks": "[2001:db8:0:%x::1]"} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newScene(t)
				release := s.tarpits(format, 48)
				for i := range 48 {
					s.fetched(fedinvite.ServerName(fmt.Sprintf(format, i)), 1)
				}
				release()
			})
		})
	}
}

// Servers whose keys are known, but have run out, are no better than made-up ones; and those
// of one domain leave room for other servers that are new.
func TestServersWhoseKeysRunOutAtOnceDoNotFillTheQueues(t *testing.T) {
	for format, room := range map[string]bool{"s%d.evil.ex": true, "evil%d.ex": false} {
		t.Run(format, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				const evil = 1500
				s := newScene(t)
				honest, stranger := signersOf("honest", 40), invitetest.Signer("new.ex")
				s.publishKeys(honest...)
				for _, a := range honest {
					s.current(a)
				}
				for i := range evil {
					a := invitetest.Signer(fedinvite.ServerName(fmt.Sprintf(format, i)))
					s.net.publish(a.ServerName(), invitetest.KeyDocument(a, start))
					s.current(a)
				}
				s.pass(day/2 + time.Hour)
				s.publishKeys(append(honest, stranger)...)
				release := s.tarpits(format, evil)
				for _, a := range honest {
					s.looked(a, 2)
				}
				if room {
					s.current(stranger)
				} else {
					s.outage("new.ex", "ed25519:1")
				}
				release()
				s.current(stranger) // nothing is left behind
				s.outage("another.evil.ex", "ed25519:1")
				s.fetched("another.evil.ex", 1)
			})
		})
	}
}

// A key that has run out and cannot be asked for, because of our own load, must not look as
// if its server had signed with an old one.
func TestAnOverloadIsNoAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t, func(c *keyring.Config) { c.MaxFetches = 1 })
		a := s.publishes("a.ex")
		s.current(a)
		s.pass(2 * day)
		release := s.tarpits("made-up%d.ex", 20)
		s.outage("a.ex", "ed25519:1")
		s.at(a, start)
		release()
		s.publishKeys(a)
		s.current(a)

		s.pass(2 * day)
		s.net.setWait(stall)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if key, err := s.ring.VerifyKey(ctx, "a.ex", "ed25519:1", s.clock()); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %+v, %v", key, err)
		}
		time.Sleep(time.Minute)
	})
}
