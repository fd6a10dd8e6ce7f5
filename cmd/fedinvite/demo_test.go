package main

import (
	"context"
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

func TestDemo(t *testing.T) {
	out := succeed(t, "", "demo")
	row := regexp.MustCompile(`(?m)^(v\d+) +(\w+:[ABC] → \w+:[ABC]) +(\$\S+) +(PUT v[12]) +([ABC] ✓ [ABC] ✓|refused) +\d+\.\d ms$`)
	var got []string
	for _, m := range row.FindAllStringSubmatch(out, -1) {
		got = append(got, strings.Join([]string{m[1], m[2], m[4], m[5]}, " "))
	}
	var want []string
	for _, v := range fedinvite.RoomVersions() {
		want = append(want, "v"+string(v)+" alice:A → bob:B PUT v2 A ✓ B ✓", "v"+string(v)+" bob:B → alice:A PUT v2 B ✓ A ✓")
		if v == "1" || v == "2" {
			want = append(want, "v"+string(v)+" alice:A → carol:C PUT v1 A ✓ C ✓")
		}
	}
	diff(t, append(want, "v12 mallory:A → bob:B PUT v2 refused"), got)
	if !strings.Contains(out, "403 M_FORBIDDEN: invites from @mallory:127.0.0.1:") ||
		!strings.HasSuffix(out, "26 accepted, every signature verified; 1 refused, as it had to be.\n") {
		t.Errorf("the end is not as it should be:\n%s", out)
	}
	if strings.Contains(out, "FAILED") {
		t.Errorf("failures:\n%s", out)
	}
}

func TestDemoInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt signal received"))
	if r := runCommand(ctx, "", "demo"); r.status != statusRefused || !strings.HasSuffix(r.err, "fedinvite: interrupt signal received\n") {
		t.Errorf("%+v", r)
	}
}

// The demonstration notices what it is there to show.
func TestDemoFailures(t *testing.T) {
	authority, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	stage := &stage{authority: authority}
	defer stage.clear()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	a, errA := stage.start(ctx, "A", today)
	b, errB := stage.start(ctx, "B", onlyV1)
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	b.block[a.user("mallory")] = true
	for _, c := range []struct {
		name    string
		attempt attempt
		failure string
	}{
		{"accepted", attempt{version: "1", from: a, to: b, sender: "alice", invitee: "bob"}, ""},
		{"refused", attempt{version: "1", from: a, to: b, sender: "mallory", invitee: "bob", refusal: fedinvite.CodeForbidden}, ""},
		{"refused but should not be", attempt{version: "1", from: a, to: b, sender: "mallory", invitee: "bob"}, "answered 403 M_FORBIDDEN"},
		{"accepted but should not be", attempt{version: "1", from: a, to: b, sender: "alice", invitee: "bob", refusal: fedinvite.CodeForbidden}, "B had to refuse with M_FORBIDDEN"},
		{"refused otherwise", attempt{version: "3", from: a, to: b, sender: "mallory", invitee: "bob", refusal: fedinvite.CodeForbidden}, "B had to refuse with M_FORBIDDEN"},
		{"room version too new", attempt{version: "3", from: a, to: b, sender: "alice", invitee: "bob"}, "does not support the room version"},
		{"no such room version", attempt{version: "99", from: a, to: b, sender: "alice", invitee: "bob"}, "unknown room version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			err := attempts{c.attempt}.run(ctx, &out)
			if c.failure == "" && (err != nil || strings.Contains(out.String(), "FAILED")) {
				t.Errorf("%v\n%s", err, out.String())
			}
			if c.failure != "" && (err == nil || !strings.Contains(out.String(), "FAILED: ") || !strings.Contains(out.String(), c.failure)) {
				t.Errorf("%v, want %q\n%s", err, c.failure, out.String())
			}
		})
	}

	// A signature that the other side cannot verify.
	rules, err := fedinvite.RoomV11.Rules()
	if err != nil {
		t.Fatal(err)
	}
	r, err := newRoom(ctx, rules, a.signer, a.user("alice"), "")
	if err != nil {
		t.Fatal(err)
	}
	e, err := r.invite(ctx, b.user("bob"))
	if err != nil {
		t.Fatal(err)
	}
	signers, err := attempt{from: a, to: b}.verify(ctx, e)
	if signers != "A ✓" || err == nil || !strings.Contains(err.Error(), "A cannot verify B") {
		t.Errorf("not signed by B: %q, %v", signers, err)
	}
}
