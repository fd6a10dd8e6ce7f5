package fedinvite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// What the ways into the pipeline leave out of [fedinvite.Steps].
var (
	notInReceive = []string{"path", "method", "authorization", "body size", "body", "request signature"}
	notInCheck   = append(slices.Clone(notInReceive), "sign", "handler")
)

func without(names []string, some ...string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(some, name) })
}

// tracing has a receiver append to steps what it is told.
func tracing(steps *[]fedinvite.Step) func(*fedinvite.Config) {
	return func(c *fedinvite.Config) {
		c.Trace = func(_ context.Context, s fedinvite.Step) { *steps = append(*steps, s) }
	}
}

func namesOf(steps []fedinvite.Step) []string {
	var names []string
	for _, s := range steps {
		names = append(names, s.Name)
	}
	return names
}

func TestStepsAreFresh(t *testing.T) {
	fedinvite.Steps()[0] = "x"
	if got := fedinvite.Steps()[0]; got != "path" {
		t.Errorf("the first step is %q", got)
	}
}

func TestTraceOfAnAcceptedInvite(t *testing.T) {
	l := newRoom(fedinvite.RoomV11).sendInvite()
	for _, c := range []struct {
		name string
		run  func(h *host) error
		want []string
	}{
		{"Check", func(h *host) error { _, err := h.Check(t.Context(), deliveryOf(t, l)); return err }, without(fedinvite.Steps(), notInCheck...)},
		{"Receive", func(h *host) error { _, err := h.Receive(t.Context(), deliveryOf(t, l)); return err }, without(fedinvite.Steps(), notInReceive...)},
		{"ServeHTTP", func(h *host) error {
			if w := answer(h, l.Inbound(t.Context())); w.Code != http.StatusOK {
				return errors.New(w.Body.String())
			}
			return nil
		}, fedinvite.Steps()},
	} {
		t.Run(c.name, func(t *testing.T) {
			var steps []fedinvite.Step
			if err := c.run(newHost(t, tracing(&steps))); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, namesOf(steps)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			for _, s := range steps {
				if s.Err != nil || s.Skipped || s.Delivery == nil {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// A refusal's last step has the error, and the error of the delivery begins with it.
func TestTraceOfARefusalInEachStep(t *testing.T) {
	r, v12 := newRoom(fedinvite.RoomV11), newRoom(fedinvite.RoomV12)
	base := r.sendInvite()
	no := fedinvite.Refuse(fedinvite.CodeForbidden, "no")
	type config = fedinvite.Config
	for _, c := range []struct {
		step    string
		letter  letter
		request func(*http.Request)
		config  func(*config)
	}{
		{"path", base, func(req *http.Request) { req.RequestURI += "/x" }, nil},
		{"method", base, func(req *http.Request) { req.Method = http.MethodPost }, nil},
		{"authorization", base, func(req *http.Request) { req.Header.Del("Authorization") }, nil},
		{"server names", base, nil, func(c *config) {
			c.Credentials = func(*http.Request) (fedinvite.Credentials, error) {
				return fedinvite.Credentials{Origin: "a b", Verify: func(context.Context, []byte) error { return nil }}, nil
			}
		}},
		{"destination", letterTo(base, serverC), nil, nil},
		{"body size", base, nil, func(c *config) { c.MaxBody = 100 }},
		{"body", base, func(req *http.Request) { *req = *withBody(req, "{") }, nil},
		{"admit", base, nil, func(c *config) { c.Admit = func(context.Context, *fedinvite.Delivery) error { return no } }},
		{"request signature", base, func(req *http.Request) { *req = *withBody(req, string(r.sendInvite(set(6, "depth")).Body)) }, nil},
		{"room version", r.withVersion(`"99"`), nil, nil},
		{"event format", r.sendInvite(drop("depth")), nil, nil},
		{"path IDs", toRoom(base, "!x:a.example"), nil, nil},
		{"invite", r.sendInvite(set("join", "content", "membership")), nil, nil},
		{"server ACL", base, nil, withACL(t, `{"allow":[]}`)},
		{"policy", base, nil, withPolicy(no)},
		{"event signatures", r.Request(change(r.signedInvite(), drop("signatures")), serverB), nil, nil},
		{"content hash", r.Request(change(r.signedInvite(), set("x", "content", "reason")), serverB), nil, func(c *config) { c.RefuseHashMismatch = true }},
		{"room state", v12.RequestWithState(v12.signedInvite(), serverB, nil), nil, nil},
		{"sign", base, nil, func(c *config) {
			inner := c.Signer
			c.Signer = func(ctx context.Context, name fedinvite.ServerName) (fedinvite.Signer, error) {
				s, err := inner(ctx, name)
				return mute{s}, err
			}
		}},
		{"handler", base, nil, func(c *config) {
			c.Handler = fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return no })
		}},
	} {
		t.Run(c.step, func(t *testing.T) {
			var steps []fedinvite.Step
			edits := []func(*config){tracing(&steps)}
			if c.config != nil {
				edits = append(edits, c.config)
			}
			h := newHost(t, edits...)
			req := c.letter.Inbound(t.Context())
			if c.request != nil {
				c.request(req)
			}
			answer(h, req)

			all := fedinvite.Steps()
			want := all[:slices.Index(all, c.step)+1]
			if diff := cmp.Diff(want, namesOf(steps)); diff != "" {
				t.Fatalf("-want +got:\n%s", diff)
			}
			for _, s := range steps[:len(steps)-1] {
				if s.Err != nil {
					t.Errorf("%s: %v", s.Name, s.Err)
				}
			}
			last := steps[len(steps)-1].Err
			if last == nil || len(h.done) != 1 || h.done[0].err.Error() != c.step+": "+last.Error() || !errors.Is(h.done[0].err, last) {
				t.Errorf("%v, and to Done: %+v", last, h.done)
			}
		})
	}
}

// mute is a signer that is out of order.
type mute struct{ fedinvite.Signer }

func (mute) Sign(context.Context, []byte) ([]byte, error) { return nil, errors.New("out of order") }

func TestTraceSaysWhichHooksAreMissing(t *testing.T) {
	l := newRoom(fedinvite.RoomV11).sendInvite()
	var skipped []string
	rc := bareReceiver(t, func(_ context.Context, s fedinvite.Step) {
		if s.Skipped {
			skipped = append(skipped, s.Name)
		}
	})
	if _, err := rc.Receive(t.Context(), deliveryOf(t, l)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"admit", "server ACL", "policy"}, skipped); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// bareReceiver has no hook but Trace.
func bareReceiver(t testing.TB, trace func(context.Context, fedinvite.Step)) *fedinvite.Receiver {
	t.Helper()
	keys, ours := fedinvite.KeyMap{}, invitetest.Signer(serverB)
	keys.Add(invitetest.Signer(serverA))
	rc, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return ours, nil },
		Keys:        keys,
		Credentials: xmatrix.Verifier{Keys: keys, Now: eventClock}.Credentials,
		Handler:     fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
		Trace:       trace,
	})
	if err != nil {
		t.Fatal(err)
	}
	return rc
}

// What a Step holds is there from the step on of which its documentation says so.
func TestTraceSaysWhatIsKnown(t *testing.T) {
	r := newRoom(fedinvite.RoomV12)
	l := r.Request(change(r.signedInvite(set(object{}, "unsigned")), set("changed", "content", "reason")), serverB)
	since := map[string]string{} // what is known, and since which step
	var hash []bool
	h := newHost(t, func(c *fedinvite.Config) {
		c.Trace = func(ctx context.Context, s fedinvite.Step) {
			if ctx.Err() != nil {
				t.Errorf("%s: %v", s.Name, ctx.Err())
			}
			for what, known := range map[string]bool{
				"room ID":    s.Delivery.RoomID == l.RoomID,
				"event ID":   s.Delivery.EventID == l.EventID,
				"origin":     s.Delivery.Origin == serverA && s.Delivery.Destination == l.To,
				"request":    s.Delivery.Request.RoomVersion == r.Rules().Version,
				"event":      s.Event != nil && s.Event.ID() == l.EventID && s.Event.Unsigned() == nil,
				"invite":     s.Invite != nil && s.Invite.Event == s.Event && s.Invite.Invitee == bob,
				"redacted":   s.Event != nil && !bytes.Contains(s.Event.Content(), []byte("changed")),
				"room state": s.Invite != nil && len(s.Invite.RoomState.Events) > 0,
				"signed":     s.Event != nil && bytes.Contains(s.Event.Signatures(), []byte(serverB)),
			} {
				if known && since[what] == "" {
					since[what] = s.Name
				}
				if !known && since[what] != "" {
					t.Errorf("%s: %s is gone", s.Name, what)
				}
			}
			if s.Name == "event signatures" {
				hash = append(hash, s.Event.HashOK())
			}
		}
	})
	if w := answer(h, l.Inbound(t.Context())); w.Code != http.StatusOK {
		t.Fatal(w.Body.String())
	}
	want := map[string]string{
		"room ID": "path", "event ID": "path", "origin": "authorization", "request": "body", "event": "event format",
		"invite": "invite", "redacted": "content hash", "room state": "room state", "signed": "sign",
	}
	if diff := cmp.Diff(want, since); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !slices.Equal(hash, []bool{false}) {
		t.Errorf("HashOK at the signatures: %v", hash)
	}
}

func TestTraceIsFree(t *testing.T) {
	l := newRoom(fedinvite.RoomV11).sendInvite()
	d := deliveryOf(t, l)
	count := func(rc *fedinvite.Receiver) float64 {
		return testing.AllocsPerRun(100, func() {
			if _, err := rc.Receive(t.Context(), d); err != nil {
				t.Fatal(err)
			}
		})
	}
	steps := 0
	off, on := count(bareReceiver(t, nil)), count(bareReceiver(t, func(context.Context, fedinvite.Step) { steps++ }))
	if off != on && !raceDetector() {
		t.Errorf("%v allocations without Trace, %v with it", off, on)
	}
	if want := 101 * len(without(fedinvite.Steps(), notInReceive...)); steps != want {
		t.Errorf("told of %d steps, want %d", steps, want)
	}
}

// A Step tells how far a request came.
func ExampleStep() {
	ours := exampleSigner("b.example")
	keys := fedinvite.KeyMap{}
	keys.Add(exampleSigner("a.example"))
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer:      func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) { return ours, nil },
		Keys:        keys,
		Credentials: xmatrix.Verifier{Keys: keys, Now: time.Now}.Credentials,
		Handler:     fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
		Trace: func(_ context.Context, s fedinvite.Step) {
			switch {
			case s.Err != nil:
				fmt.Printf("%s: %d\n", s.Name, fedinvite.WireError(s.Err).HTTPStatus())
			default:
				fmt.Println(s.Name)
			}
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	request := httptest.NewRequest(http.MethodPut, "/_matrix/federation/v2/invite/!room:a.example/$event", strings.NewReader("{}"))
	response := httptest.NewRecorder()
	receiver.ServeHTTP(response, request)

	// Output:
	// path
	// method
	// authorization: 401
}
