package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
)

func TestDemo(t *testing.T) {
	out := succeed(t, "", "demo")
	var got []string
	for _, line := range regexp.MustCompile(`(?m)^v\d+ .*$`).FindAllString(out, -1) {
		got = append(got, strings.Join(strings.Fields(line), " "))
	}
	var want []string
	for _, v := range fedinvite.RoomVersions() {
		want = append(want, "v"+string(v)+" A and B PUT v2 A ✓ B ✓ A ✓ B ✓ │ PUT v2 B ✓ A ✓ B ✓ A ✓ │ A ✓")
		if v == "1" || v == "2" {
			want = append(want, "v"+string(v)+" A and C PUT v1 A ✓ C ✓ A ✓ C ✓ │ PUT v2 C ✓ A ✓ C ✓ A ✓ │ A ✓")
		}
	}
	diff(t, append(want,
		"v12 A and B mallory → bob, refused by B: 403 M_FORBIDDEN: This invite is not allowed.",
		"v12 A and B dave → bob, not sent by A, rule 5.4.5: the sender's power level is below the invite level",
	), got)
	end := regexp.MustCompile(`\n44 invites in [\d.]+m?s: 14 declined, 14 taken back, 14 local, 2 refused, as they had to be\.\n$`)
	if !end.MatchString(out) || strings.Contains(out, "FAILED") {
		t.Errorf("the end is not as it should be:\n%s", out)
	}
	for line := range strings.Lines(out) {
		if n := len([]rune(line)); n > 110 {
			t.Errorf("line of %d characters: %s", n, line)
		}
	}
}

func TestDemoInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("interrupt signal received"))
	if r := runCommand(ctx, "", "demo"); r.status != statusRefused || !strings.HasSuffix(r.err, "fedinvite: interrupt signal received\n") {
		t.Errorf("%+v", r)
	}
}

// peers starts homeservers A and B; B is an old one and blocks mallory.
func peers(t *testing.T) (a, b *peer) {
	t.Helper()
	authority, err := newAuthority()
	if err != nil {
		t.Fatal(err)
	}
	stage := &stage{authority: authority}
	t.Cleanup(stage.clear)
	a, errA := stage.start(t.Context(), "A", today)
	b, errB := stage.start(t.Context(), "B", onlyV1, "@mallory:*")
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	return a, b
}

// The demonstration notices what it is there to show.
func TestDemoFailures(t *testing.T) {
	a, b := peers(t)
	for _, c := range []struct {
		name    string
		scene   scene
		failure string
	}{
		{"accepted", lives("1", a, b), ""},
		{"refused", refused("1", a, b, "mallory"), ""},
		{"forbidden", forbidden("1", a, b), ""},
		{"accepted but should not be", refused("1", a, b, "alice"), "B had to refuse with M_FORBIDDEN"},
		{"refused otherwise", refused("3", a, b, "mallory"), "B had to refuse with M_FORBIDDEN"},
		{"room version too new", lives("3", a, b), "does not support the room version"},
		{"no such room version", lives("99", a, b), "unknown room version"},
		{"no such room version to refuse", refused("99", a, b, "mallory"), "unknown room version"},
		{"no such room version to forbid", forbidden("99", a, b), "a rule had to forbid it, but: unknown room version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			err := scenes{c.scene}.run(t.Context(), &out)
			if c.failure == "" && (err != nil || strings.Contains(out.String(), "FAILED")) {
				t.Errorf("%v\n%s", err, out.String())
			}
			if c.failure != "" && (err == nil || !strings.Contains(out.String(), "FAILED: ") || !strings.Contains(out.String(), c.failure)) {
				t.Errorf("%v, want %q\n%s", err, c.failure, out.String())
			}
		})
	}
}

// Each step of a trial fails if the servers do not show what they should.
func TestTrialFailures(t *testing.T) {
	a, b := peers(t)
	try := func(t *testing.T) *trial {
		t.Helper()
		trial, err := newTrial(t.Context(), "1", a, "alice", b, "bob")
		if err != nil {
			t.Fatal(err)
		}
		if endpoint, err := trial.invited(t.Context()); endpoint != "PUT v1" || err != nil {
			t.Fatalf("%q, %v", endpoint, err)
		}
		return trial
	}
	fails := func(t *testing.T, step step, marks, failure string) {
		t.Helper()
		got, err := step(t.Context())
		if got != marks || err == nil || !strings.Contains(err.Error(), failure) {
			t.Errorf("%q, %v, want %q, %q", got, err, marks, failure)
		}
	}
	t.Run("not signed by the other server", func(t *testing.T) {
		trial := try(t)
		trial.invite = newTestInvite(t, trial.room, trial.sender, trial.invitee) // by another key, too
		fails(t, trial.signed, "", "A: ")
	})
	t.Run("nothing to decline", func(t *testing.T) {
		trial := try(t)
		if _, err := b.kept.drop(trial.invite); err != nil {
			t.Fatal(err)
		}
		fails(t, trial.declines, "", "B holds no invite")
	})
	t.Run("declined twice", func(t *testing.T) {
		trial := try(t)
		if marks, err := trial.declines(t.Context()); marks != "A ✓ B ✓" || err != nil {
			t.Fatalf("%q, %v", marks, err)
		}
		if err := b.kept.hold(trial.invite); err != nil {
			t.Fatal(err)
		}
		fails(t, trial.declines, "", "A did not take the leave")
		fails(t, trial.takesBack, "", "the invite of "+trial.invitee+" is over: leave by "+trial.invitee)
	})
	t.Run("taken back from somebody else", func(t *testing.T) {
		trial := try(t)
		if _, err := b.kept.drop(trial.invite); err != nil {
			t.Fatal(err)
		}
		fails(t, trial.takesBack, "A ✓", "B: it knows of no event that was taken back")
	})
	t.Run("still held", func(t *testing.T) {
		trial := try(t)
		other := newTestInvite(t, trial.room.with(trial.invite), trial.sender, trial.invitee)
		_, err := b.kept.drop(trial.invite)
		if err := errors.Join(err, b.kept.hold(other)); err != nil {
			t.Fatal(err)
		}
		fails(t, trial.takesBack, "A ✓", "B: the invite is still held")
	})
	t.Run("the room does not show it", func(t *testing.T) {
		trial := try(t)
		if err := trial.gone(trial.invite); err == nil {
			t.Error("an invite counts as a leave")
		}
	})
	t.Run("not local", func(t *testing.T) {
		trial, err := newTrial(t.Context(), "1", a, "alice", b, "bob")
		if err != nil {
			t.Fatal(err)
		}
		fails(t, func(ctx context.Context) (string, error) { return trial.local(ctx, b) }, "", "a local invite was sent")
	})
}

func TestRowStopsAtFailure(t *testing.T) {
	show := func(cell string, err error) step {
		return func(context.Context) (string, error) { return cell, err }
	}
	r := row{version: "1", servers: "A and B"}
	r.do(t.Context(), show("PUT v2", nil), show("A ✓", errors.New("B: no\x1b")), show("never", nil))
	var out strings.Builder
	r.write(&out)
	line := fmt.Sprintf(lifeFormat, "v1", "A and B", "PUT v2", "A ✓", "–", "–", "–", "–", "–")
	diff(t, line+"      FAILED: B: no\uFFFD\n", out.String())
}
