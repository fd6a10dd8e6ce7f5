package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A walk takes a captured request through the pipeline of a Receiver. What fails is
// forgiven, if what comes after it can be judged all the same, and the request goes in
// again: so what a walk finds is what a homeserver finds, step by step.
type walk struct {
	capture *capture
	names   []fedinvite.ServerName // ours; none: whatever the request is for
	policy  fedinvite.RoomStatePolicy
	keys    *keyBook
	at      time.Time

	steps []*explainedStep // of fedinvite.Steps
	next  int              // the first that is not explained yet
	taken map[string]taken // the explained ones, by name

	forgiven
	verified *verification // of the request's signature, once it was checked

	refusal error // what the peer was told of, by the step of the first failure
}

// A taken is a step as the Receiver took it.
type taken struct {
	fedinvite.Step
	delivery fedinvite.Delivery
	invite   fedinvite.Invite
}

// A verification is what came of checking the request's signature, once.
type verification struct{ err error }

func newWalk(c *capture, names []fedinvite.ServerName, policy fedinvite.RoomStatePolicy, keys *keyBook, at time.Time) *walk {
	w := &walk{capture: c, names: names, policy: policy, keys: keys, at: at, taken: make(map[string]taken)}
	w.unknown = make(map[string]string)
	for _, name := range fedinvite.Steps() {
		s := &explainedStep{Name: name, Result: notReached}
		if name == stepSign || name == stepHandler {
			s.Result, s.Note = notDone, errNotDone.Error()
		}
		w.steps = append(w.steps, s)
	}
	return w
}

// explain goes through the pipeline until the end, or until nothing more can be judged.
func (w *walk) explain(ctx context.Context) error {
	for range w.steps {
		failed, err := w.once(ctx)
		if err != nil {
			return err
		}
		if failed == nil || ctx.Err() != nil || !w.forgive(*failed) {
			break
		}
	}
	w.judgeRest(ctx)
	for _, s := range w.steps {
		if ctx.Err() == nil && (s.Result == failed || s.Result == warning) {
			s.Hints = w.hints(ctx, w.taken[s.Name])
		}
	}
	return context.Cause(ctx)
}

// once sends the request through the pipeline, explains the steps that are new and returns
// the one that failed of those.
func (w *walk) once(ctx context.Context) (last *taken, err error) {
	var all []taken
	rc, err := w.receiver(func(_ context.Context, s fedinvite.Step) {
		t := taken{Step: s, delivery: *s.Delivery}
		if s.Invite != nil {
			t.invite = *s.Invite
		}
		all = append(all, t)
	})
	if err != nil {
		return nil, err
	}
	rc.ServeHTTP(nobody{}, w.request().WithContext(ctx))
	for _, t := range all {
		i := slices.Index(fedinvite.Steps(), t.Name)
		if i < w.next {
			continue
		}
		w.next = i + 1
		w.record(t)
		if t.Err != nil {
			return &t, nil
		}
		if w.noBody && t.Name == stepRequestSignature {
			return nil, nil // of what comes next there is nothing
		}
	}
	return nil, nil // a step that had passed fails now: nothing more can be told
}

// receiver returns a Receiver that neither signs nor stores.
func (w *walk) receiver(trace func(context.Context, fedinvite.Step)) (*fedinvite.Receiver, error) {
	c := fedinvite.Config{
		Signer:      w.signer,
		Keys:        w.keys,
		Handler:     fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return errNotDone }),
		Credentials: w.credentials,
		RoomState:   w.policy,
		Trace:       trace,
	}
	if w.wholeBody {
		c.MaxBody = maxInput
	}
	return fedinvite.NewReceiver(c)
}

// request returns the request as the Receiver is to see it.
func (w *walk) request() *http.Request {
	c := w.capture
	method, target := c.method, c.target
	if w.forgiven.method != "" {
		method = w.forgiven.method
	}
	if w.forgiven.target != "" {
		target = w.forgiven.target
	}
	switch {
	case w.forgiven.body != nil:
		return c.request(method, target, bytes.NewReader(w.forgiven.body), int64(len(w.forgiven.body)))
	case w.wholeBody:
		return c.request(method, target, bytes.NewReader(c.body), int64(len(c.body)))
	}
	return c.request(method, target, c.reader(), c.announced())
}

// errNotDone ends the pipeline where explain does.
var errNotDone = errors.New("explain neither signs nor stores")

// signer returns what signs nothing for the servers that are ours.
func (w *walk) signer(_ context.Context, name fedinvite.ServerName) (fedinvite.Signer, error) {
	if len(w.names) > 0 && !w.anyDestination && !slices.Contains(w.names, name) {
		return nil, fedinvite.ErrNotLocal
	}
	return unable(name), nil
}

// unable is a signer that never signs.
type unable fedinvite.ServerName

func (u unable) ServerName() fedinvite.ServerName { return fedinvite.ServerName(u) }

func (unable) KeyID() fedinvite.KeyID { return "ed25519:none" }

func (unable) Public() ed25519.PublicKey { return nil }

func (unable) Sign(context.Context, []byte) ([]byte, error) { return nil, errNotDone }

// credentials reads the captured request, whatever the Receiver sees of it: what was signed
// is that, or nothing.
func (w *walk) credentials(*http.Request) (fedinvite.Credentials, error) {
	c := fedinvite.Credentials{Verify: func(context.Context, []byte) error { return nil }}
	if !w.forgiven.credentials {
		var err error
		if c, err = w.verifier(w.keys).Credentials(w.captured()); err != nil {
			return c, err
		}
	}
	if w.origin != "" {
		c.Origin = w.origin
	}
	if w.destination != "" {
		c.Destination = w.destination
	}
	verify := c.Verify
	c.Verify = func(ctx context.Context, _ []byte) error {
		if w.signature {
			return nil
		}
		if w.verified == nil {
			w.verified = &verification{verify(ctx, w.capture.body)}
		}
		return w.verified.err
	}
	return c, nil
}

func (w *walk) verifier(keys fedinvite.KeySource) xmatrix.Verifier {
	now := func() time.Time { return w.at }
	return xmatrix.Verifier{Keys: keys, Now: now, Assume: w.assume, Hints: xmatrix.NewHints(now)}
}

// captured returns the request as it was captured, without its body.
func (w *walk) captured() *http.Request {
	return w.capture.request(w.capture.method, w.capture.target, bytes.NewReader(nil), 0)
}

// record explains a step.
func (w *walk) record(t taken) {
	s := w.steps[w.next-1]
	w.taken[t.Name] = t
	s.Compared = w.compared(t)
	var why *unjudged
	reason, proves := w.unknown[t.Name]
	switch {
	case errors.Is(t.Err, errNotDone):
	case errors.As(t.Err, &why):
		s.Result, s.Note = notJudged, why.reason
	case w.noBody && (errors.Is(t.Err, fedinvite.ErrNotJSON) || errors.Is(t.Err, fedinvite.ErrBadJSON)):
		s.Result, s.Note = notJudged, "the signature covers the body as JSON, and there is none"
	case t.Err != nil:
		s.Result, s.Error = failed, t.Err.Error()
		if w.refusal == nil {
			w.refusal = fmt.Errorf("%s: %w", t.Name, t.Err)
			s.Refusal = true
		}
	case proves:
		s.Result, s.Note = notJudged, reason
	case t.Skipped:
		s.Result, s.Note = skipped, "the server's own rules are not known here"
	case t.Name == stepDestination && len(w.names) == 0:
		s.Result, s.Note = notJudged, "-server-name says which names are ours"
	case t.Name == stepContentHash && !w.taken[stepEventSignatures].Event.HashOK():
		s.Result, s.Note = warning, "the content hash differs: only the redacted copy counts, and a server that sets RefuseHashMismatch refuses it"
	case t.Name == stepRoomState && len(t.invite.RoomState.Warnings) > 0:
		s.Result, s.Note = warning, "accepted all the same"
	default:
		s.Result, s.Note = passed, w.assumption(t)
	}
}

// assumption says what a step that has passed takes for granted.
func (w *walk) assumption(t taken) string {
	if t.Name != stepRequestSignature {
		return ""
	}
	for _, a := range w.claims() {
		if k, ok := w.keys.keyOf(a.Origin, a.Key); ok && w.keys.wasInUse(k) {
			return fmt.Sprintf("the key %s is an old one since %s, and is taken to have been in use then", keyName(a.Key), moment(k.expired))
		}
	}
	return ""
}

// judgeRest judges what can be without the steps before it: if the signatures are wrong, the
// hash may be right, and the room state may be.
func (w *walk) judgeRest(ctx context.Context) {
	t, ok := w.taken[stepEventSignatures]
	if !ok || t.Err == nil || ctx.Err() != nil {
		return
	}
	e := t.Event
	if !e.HashOK() {
		e = e.Redacted()
	}
	t.Name, t.Err, t.Event, t.Skipped = stepContentHash, nil, e, false
	w.proceed(t)
	t.Name = stepRoomState
	t.invite.Event = e
	t.invite.RoomState, t.Err = fedinvite.CheckRoomState(ctx, t.delivery.Request.RoomState, e, w.keys, w.policy)
	w.proceed(t)
}

func (w *walk) proceed(t taken) {
	w.next = slices.Index(fedinvite.Steps(), t.Name) + 1
	w.record(t)
}

// nobody reads the answer of the Receiver.
type nobody struct{}

func (nobody) Header() http.Header { return make(http.Header) }

func (nobody) Write(b []byte) (int, error) { return len(b), nil }

func (nobody) WriteHeader(int) {}

var _ io.Writer = nobody{}
