package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

const demoUsage = `Usage:
    fedinvite demo

Start two homeservers in this process, and an old one, and have them invite each
other's users in every room version, over HTTPS on the loopback interface, with
real keys, signatures and certificates. Nothing is left behind.

The table has a line for each invite. The exit status is 0 only if all ended as
they should and every signature was verified by the other side.

Example:
    $ fedinvite demo
`

const demoHeader = `Homeservers in this process invite each other's users: signed events in signed
requests, over HTTPS on the loopback interface, under a certificate authority made
for the occasion. Each fetches the other's keys and verifies all that it gets.

`

// demoTimeout ends a demonstration that hangs.
const demoTimeout = time.Minute

func runDemo(ctx context.Context, s streams, args []string) error {
	if err := newFlags("demo").parseAlone(args); err != nil {
		return err
	}
	authority, err := newAuthority()
	if err != nil {
		return err
	}
	stage := &stage{authority: authority}
	defer stage.clear()
	ctx, cancel := context.WithTimeoutCause(ctx, demoTimeout, errors.New("the demonstration took too long"))
	defer cancel()
	a, errA := stage.start(ctx, "A", today)
	b, errB := stage.start(ctx, "B", today)
	c, errC := stage.start(ctx, "C", onlyV1)
	if err := errors.Join(errA, errB, errC); err != nil {
		return err
	}
	b.block[a.user("mallory")] = true

	fmt.Fprint(s.out, demoHeader)
	a.introduce(s.out, "users alice and mallory")
	b.introduce(s.out, "user bob; blocks mallory")
	c.introduce(s.out, "user carol; an old server that knows only v1 of the endpoint")
	return plan(a, b, c).run(ctx, s.out)
}

// plan lists the invites of the demonstration.
func plan(a, b, c *peer) (all attempts) {
	for _, v := range fedinvite.RoomVersions() {
		all = append(all,
			attempt{version: v, from: a, to: b, sender: "alice", invitee: "bob"},
			attempt{version: v, from: b, to: a, sender: "bob", invitee: "alice"})
		if v == fedinvite.RoomV1 || v == fedinvite.RoomV2 {
			all = append(all, attempt{version: v, from: a, to: c, sender: "alice", invitee: "carol"})
		}
	}
	newest := all[len(all)-1].version
	return append(all, attempt{
		version: newest, from: a, to: b, sender: "mallory", invitee: "bob", refusal: fedinvite.CodeForbidden,
	})
}

// An attempt is one invite.
type attempt struct {
	version         fedinvite.RoomVersion
	from, to        *peer
	sender, invitee string         // localparts
	refusal         fedinvite.Code // with which the invite has to be refused; "": it has to be accepted
}

type attempts []attempt

// rowFormat lays out room version, invite, event ID, endpoint, signers and time.
const rowFormat = "%-4s  %-17s  %-44s  %-8s  %-9s  %7s\n"

// run makes the attempts, a line each, and says what came of them.
func (all attempts) run(ctx context.Context, w io.Writer) error {
	fmt.Fprintf(w, "\n"+rowFormat, "ROOM", "INVITE", "EVENT ID", "ENDPOINT", "SIGNED BY", "TIME")
	start := time.Now()
	refused, failed := 0, 0
	for _, t := range all {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r := t.run(ctx)
		r.write(w)
		switch {
		case r.failure != nil:
			failed++
		case t.refusal != "":
			refused++
		}
	}
	fmt.Fprintln(w, "\n✓ verified by the other side")
	if failed > 0 {
		return fmt.Errorf("%d of %d invites did not end as they should", failed, len(all))
	}
	fmt.Fprintf(w, "\n%d invites in %s: %d accepted, every signature verified; %d refused, as it had to be.\n",
		len(all), time.Since(start).Round(time.Millisecond), len(all)-refused, refused)
	return nil
}

// A row is one line of the table, and perhaps one below it.
type row struct {
	attempt
	eventID, endpoint, signers string
	elapsed                    time.Duration
	note                       string // what the refusing server says
	failure                    error  // what is not as it should be
}

func (r row) write(w io.Writer) {
	fmt.Fprintf(w, rowFormat, "v"+r.version, r.sender+":"+r.from.label+" → "+r.invitee+":"+r.to.label,
		r.eventID, r.endpoint, r.signers, fmt.Sprintf("%.1f ms", float64(r.elapsed.Microseconds())/1000))
	if r.note != "" {
		fmt.Fprintln(w, "     ", oneLine(r.note))
	}
	if r.failure != nil {
		fmt.Fprintln(w, "      FAILED:", oneLine(r.failure.Error()))
	}
}

// run has one user invite the other, and looks at what both servers say of it.
func (t attempt) run(ctx context.Context) row {
	start := time.Now()
	sent, finished, err := t.invite(ctx)
	r := row{attempt: t, elapsed: time.Since(start)}
	if sent == nil {
		r.failure = err
		return r
	}
	receipt := t.to.receipt(sent.ID())
	r.eventID, r.endpoint = sent.ID(), receipt.endpoint
	if t.refusal != "" {
		r.signers = "refused"
		r.note, r.failure = t.checkRefusal(err, receipt.err)
		return r
	}
	if r.failure = errors.Join(err, receipt.err); r.failure == nil {
		r.signers, r.failure = t.verify(ctx, finished)
	}
	return r
}

// invite makes a room and has one user invite the other into it. sent is nil if it
// did not come so far.
func (t attempt) invite(ctx context.Context) (sent, finished *fedinvite.Event, err error) {
	rules, err := t.version.Rules()
	if err != nil {
		return nil, nil, err
	}
	r, err := newRoom(ctx, rules, t.from.signer, t.from.user(t.sender), "Room of "+t.sender)
	if err != nil {
		return nil, nil, err
	}
	if sent, err = r.invite(ctx, t.to.user(t.invitee)); err != nil {
		return nil, nil, err
	}
	finished, err = t.from.send(ctx, r, sent)
	return sent, finished, err
}

// verify has each server check the other's signature on the finished event.
func (t attempt) verify(ctx context.Context, e *fedinvite.Event) (signers string, err error) {
	var verified []string
	for _, pair := range [][2]*peer{{t.from, t.to}, {t.to, t.from}} {
		signer, verifier := pair[0], pair[1]
		if failure := verifySignature(ctx, e, signer.name(), verifier.keys); failure != nil {
			err = errors.Join(err, fmt.Errorf("%s cannot verify %s: %w", verifier.label, signer.label, failure))
			continue
		}
		verified = append(verified, signer.label+" ✓")
	}
	return strings.Join(verified, " "), err
}

// checkRefusal makes sure that the invite was refused as it had to be: that the
// sending server was told so, and that the other one means it.
func (t attempt) checkRefusal(told, meant error) (note string, failure error) {
	var remote *fedclient.RemoteError
	if !errors.As(told, &remote) || remote.Code != t.refusal || meant == nil {
		return "", fmt.Errorf("%s had to refuse with %s, but %s was told: %v", t.to.label, t.refusal, t.from.label, told)
	}
	return fmt.Sprintf("%d %s: %s", remote.Status, remote.Code, remote.Message), nil
}

// today leaves a homeserver as it is.
func today(h http.Handler) http.Handler { return h }

// onlyV1 has a homeserver answer as those did that were written when there was but
// one version of the endpoint.
func onlyV1(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_matrix/federation/v2/") {
			writeJSON(w, http.StatusNotFound, fedinvite.Refuse(fedinvite.CodeUnrecognized, "no such endpoint"))
			return
		}
		h.ServeHTTP(w, r)
	})
}
