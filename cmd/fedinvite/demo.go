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
)

const demoUsage = `Usage:
    fedinvite demo

Start two homeservers in this process, and an old one, and have their users invite
each other in every room version, decline, and take back, over HTTPS on the loopback
interface, with real keys, signatures and certificates. Nothing is left behind.

The table has a line for each room version and pair of servers, and two for invites
that must not succeed. The exit status is 0 only if everything ended as it should,
on both servers, and every signature was verified by the other side.

Example:
    $ fedinvite demo
`

const demoHeader = `Homeservers in this process invite each other's users: signed events in signed
requests, over HTTPS on the loopback interface, under a certificate authority made
for the occasion. Each fetches the other's keys and verifies all that it gets.

`

const demoLegend = `
INVITED     the endpoint by which the invite went
SIGNED      A ✓: the other server has verified A's signature
DECLINED    by make_leave and send_leave. ✓ on the inviting server: its room shows the
            leave, verified; ✓ on the other one: it holds the invite no more
TAKEN BACK  by a leave in a transaction; ✓ as for DECLINED
LOCAL       within A, no server was asked; A ✓: another server has verified it
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
	b, errB := stage.start(ctx, "B", today, "@mallory:*")
	c, errC := stage.start(ctx, "C", onlyV1)
	if err := errors.Join(errA, errB, errC); err != nil {
		return err
	}
	fmt.Fprint(s.out, demoHeader)
	a.introduce(s.out, "users alice, amy, dave and mallory")
	b.introduce(s.out, "user bob; blocks mallory")
	c.introduce(s.out, "user bob; an old server, knows v1 endpoints only")
	writeHeader(s.out)
	return plan(a, b, c).run(ctx, s.out)
}

// A scene is what one row of the table shows.
type scene func(ctx context.Context) row

type scenes []scene

// plan lists the scenes of the demonstration.
func plan(a, b, c *peer) (all scenes) {
	versions := fedinvite.RoomVersions()
	for _, v := range versions {
		all = append(all, lives(v, a, b))
		if v == fedinvite.RoomV1 || v == fedinvite.RoomV2 {
			all = append(all, lives(v, a, c))
		}
	}
	newest := versions[len(versions)-1]
	return append(all, refused(newest, a, b, "mallory"), forbidden(newest, a, b))
}

// run plays the scenes and says what came of them.
func (all scenes) run(ctx context.Context, w io.Writer) error {
	start := time.Now()
	lived, failed := 0, 0
	for _, play := range all {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		r := play(ctx)
		r.write(w)
		if r.failure != nil {
			failed++
		} else if r.note == "" {
			lived++
		}
	}
	fmt.Fprint(w, demoLegend)
	if failed > 0 {
		return fmt.Errorf("%d of %d lines did not end as they should", failed, len(all))
	}
	fmt.Fprintf(w, "\n%d invites in %s: %d declined, %d taken back, %d local, %d refused, as they had to be.\n",
		3*lived+len(all)-lived, time.Since(start).Round(time.Millisecond), lived, lived, lived, len(all)-lived)
	return nil
}

// today leaves a homeserver as it is.
func today(h http.Handler) http.Handler { return h }

// onlyV1 has a homeserver answer as those did that were written when there was but
// one version of the endpoints.
func onlyV1(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_matrix/federation/v2/") {
			e := fedinvite.Refuse(fedinvite.CodeUnrecognized, "no such endpoint")
			e.Status = http.StatusNotFound
			fedinvite.WriteError(w, e)
			return
		}
		h.ServeHTTP(w, r)
	})
}
