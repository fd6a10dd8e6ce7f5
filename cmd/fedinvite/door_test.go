package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/ratelimit"
)

func isLimit(err error) bool {
	e, ok := errors.AsType[*fedinvite.Error](err)
	return ok && e.Code == fedinvite.CodeLimitExceeded && e.RetryAfter > 0
}

func TestDoorLimitsByRemoteAddress(t *testing.T) {
	d, err := newDoor(ratelimit.Config{}, "blocked.test")
	if err != nil {
		t.Fatal(err)
	}
	come := func(d door, origin fedinvite.ServerName, addr string) error {
		return d.admit(context.Background(), &fedinvite.Delivery{Origin: origin, Remote: netip.AddrPortFrom(netip.MustParseAddr(addr), 1)})
	}
	for range 1000 {
		if err := come(d, "blocked.test", "192.0.2.1"); err == nil || isLimit(err) {
			t.Fatalf("who is blocked: %v", err)
		}
	}
	if err := come(d, "a.test", "192.0.2.1"); err != nil {
		t.Errorf("who is blocked counts: %v", err)
	}
	limited := false
	for range 10_000 {
		limited = limited || isLimit(come(d, "a.test", "192.0.2.1"))
	}
	if !limited {
		t.Error("no limit")
	}
	if err := come(d, "a.test", "192.0.2.2"); err != nil {
		t.Errorf("another address: %v", err)
	}
	free, err := newDoor(unlimited())
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		if err := come(free, "a.test", "192.0.2.1"); err != nil {
			t.Fatal(err)
		}
	}
}

func TestDoorPolicy(t *testing.T) {
	invite, blocked := testInvite(t, "@a:a.test"), testInvite(t, "@spam:a.test")
	limits := unlimited()
	limits.Invitee = ratelimit.Limit{Every: 1 << 40, Burst: 2}
	d, err := newDoor(limits, blocked.Event.Sender())
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := d.policy()(t.Context(), blocked); !isRefusal(err, fedinvite.CodeForbidden) {
			t.Fatal(err)
		}
	}
	for i := range 3 {
		if err := d.policy()(t.Context(), invite); (err == nil) != (i < 2) || i == 2 && !isLimit(err) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func testInvite(t *testing.T, sender string) *fedinvite.Invite {
	t.Helper()
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		t.Fatal(err)
	}
	signer := newTestSigner(t, "a.test")
	e, err := fedinvite.NewInvite(t.Context(), fedinvite.Draft{
		RoomID: "!r:a.test", Sender: sender, Invitee: "@b:b.test", Depth: 1, Time: time.Now(),
		AuthEvents: []fedinvite.EventRef{{ID: "$a"}}, PrevEvents: []fedinvite.EventRef{{ID: "$a"}},
	}, rules, signer)
	if err != nil {
		t.Fatal(err)
	}
	return &fedinvite.Invite{Origin: "a.test", Destination: "b.test", Invitee: "@b:b.test", Event: e}
}

// Before any key is fetched: the server that these invites claim to be of is not there.
func TestServeLimitsInvites(t *testing.T) {
	t.Parallel()
	s := newSite(t).serve(t)
	go func() { // one line for each refusal
		for range s.lines {
		}
	}()
	var mu sync.Mutex
	statuses := make(map[string]int)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for j := range 20 {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodPut,
					fmt.Sprintf("https://%s%s!r:a/$%d-%d", s.name, inviteV2Path, i, j), strings.NewReader(`{"room_version":"11","event":{}}`))
				if err != nil {
					t.Error(err)
					return
				}
				req.Header.Set("Authorization", `X-Matrix origin="127.0.0.1:1",destination="`+s.name+`",key="ed25519:1",sig="`+strings.Repeat("A", 86)+`"`)
				res, err := s.client.Do(req)
				if err != nil {
					t.Error(err)
					return
				}
				_ = res.Body.Close()
				mu.Lock()
				statuses[fmt.Sprint(res.StatusCode, res.Header.Get("Retry-After") != "")]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	if statuses["429 true"] == 0 || statuses["429 false"] > 0 || len(statuses) != 2 {
		t.Errorf("%v", statuses)
	}
}
