package fedinvite

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidwall/gjson"

	"github.com/seed-0a46cb1a/fedinvite/internal/inbound"

	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
)

// A receipt is one delivery on its way through the steps: what is known of it so
// far.
type receipt struct {
	config   *Config
	delivery Delivery
	http     *exchange // nil unless it came by HTTP

	signer Signer
	rules  Rules
	event  *Event
	invite *Invite
	checks *verification
}

// A phase says for whom a step is.
type phase uint8

const (
	always   phase = iota // Check, Receive and ServeHTTP
	overHTTP              // ServeHTTP only
	finally               // Receive and ServeHTTP: what Check does not do
)

// A step is one check or action of the receive pipeline. Its run returns noHook if there is
// nothing to do.
type step struct {
	name  string
	phase phase
	run   func(ctx context.Context, r *receipt) error
}

// noHook is what a step returns that only asks a hook, and there is none. It is no failure,
// and stays in here.
type noHook struct{}

func (noHook) Error() string { return "no hook" }

// steps is the receive pipeline, in order: what is cheap comes before what costs
// key fetches and cryptography, and nothing is signed that was not checked.
var steps = [...]step{
	{"path", overHTTP, checkPath},
	{"method", overHTTP, checkMethod},
	{"authorization", overHTTP, readCredentials},
	{"server names", always, checkServerNames},
	{"destination", always, findSigner},
	{"body size", overHTTP, readBody},
	{"body", overHTTP, parseBody},
	{"admit", always, admit},
	{"request signature", overHTTP, verifyRequest},
	{"room version", always, findRules},
	{"event format", always, parseInvite},
	{"path IDs", always, comparePath},
	{"invite", always, checkInvite},
	{"server ACL", always, applyServerACL},
	{"policy", always, applyPolicy},
	{"event signatures", always, verifyEvent},
	{"content hash", always, checkContentHash},
	{"room state", always, readRoomState},
	{"sign", finally, signInvite},
	{"handler", finally, handleInvite},
}

// Check runs every check of the pipeline on d: nothing is signed, nothing is
// stored, Done is not called. The origin is believed. The errors are those that
// [WireError] maps, and those of the hooks.
func (rc *Receiver) Check(ctx context.Context, d Delivery) (*Invite, error) {
	r := &receipt{config: &rc.config, delivery: d}
	if err := r.run(ctx, func(p phase) bool { return p == always }); err != nil {
		return nil, err
	}
	return r.invite, nil
}

// Receive checks d, signs the event, hands it to the [Handler] and returns the
// answer for the inviting server. The origin is believed: authenticate it first.
// Nothing is signed unless every check passed. The errors are those of
// [Receiver.Check], of the signer and of the Handler.
func (rc *Receiver) Receive(ctx context.Context, d Delivery) (*Response, error) {
	r := &receipt{config: &rc.config, delivery: d}
	err := r.run(ctx, func(p phase) bool { return p != overHTTP })
	r.done(ctx, err)
	if err != nil {
		return nil, err
	}
	return r.response(), nil
}

// run goes through the steps of the wanted phases until one fails. All before the
// Handler has to be over within Config.Timeout; the Handler gets the caller's own
// context, so that a commit is not cut short.
func (r *receipt) run(ctx context.Context, wanted func(phase) bool) error {
	bounded, cancel := context.WithTimeout(ctx, r.config.Timeout)
	defer cancel()
	if r.http != nil {
		deadline, _ := bounded.Deadline()
		inbound.SetReadDeadline(r.http.w, deadline)
	}
	for i := range steps {
		s := &steps[i]
		if !wanted(s.phase) {
			continue
		}
		stepCtx := bounded
		if i == len(steps)-1 {
			stepCtx = ctx
		}
		err := s.run(stepCtx, r)
		_, skipped := err.(noHook)
		if skipped {
			err = nil
		}
		if r.config.Trace != nil {
			r.trace(ctx, s.name, skipped, err)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// done tells the Done hook.
func (r *receipt) done(ctx context.Context, err error) {
	if r.config.Done != nil {
		r.config.Done(ctx, &r.delivery, r.invite, err)
	}
}

func (r *receipt) response() *Response {
	return &Response{Event: r.event.AppendJSON(nil)}
}

func checkServerNames(_ context.Context, r *receipt) error {
	for _, name := range []ServerName{r.delivery.Origin, r.delivery.Destination} {
		if !validServerName(string(name)) {
			return detail.Errorf(ErrUnauthorized, "malformed server name %q", clip(string(name)))
		}
	}
	return nil
}

func findSigner(ctx context.Context, r *receipt) error {
	s, err := r.config.Signer(ctx, r.delivery.Destination)
	switch {
	case errors.Is(err, ErrNotLocal):
		return fmt.Errorf("%w: %w", detail.Errorf(ErrUnauthorized, "the destination is not served here"), err)
	case err != nil:
		return fromHook(err)
	case s == nil || s.ServerName() != r.delivery.Destination:
		return fmt.Errorf("Config.Signer returned no signer for %s", r.delivery.Destination)
	}
	r.signer = s
	return nil
}

func admit(ctx context.Context, r *receipt) error {
	if r.config.Admit == nil {
		return noHook{}
	}
	return fromHook(r.config.Admit(ctx, &r.delivery))
}

func findRules(_ context.Context, r *receipt) error {
	version := r.delivery.Request.RoomVersion
	if version == "" {
		return detail.Errorf(ErrMissing, "room_version")
	}
	if len(version) > maxIdentifier {
		return detail.Errorf(ErrBadJSON, "room_version of %d bytes", len(version))
	}
	rules, err := r.config.Rules(version)
	if err == nil {
		err = rules.check()
	}
	if errors.Is(err, ErrRoomVersion) {
		return &versionError{version}
	}
	if err != nil {
		return fromHook(err)
	}
	if r.delivery.V1 && rules.EventIDs != EventIDServer {
		return detail.Errorf(ErrMismatch, "the v1 endpoint is for room versions 1 and 2")
	}
	r.rules = rules
	return nil
}

func parseInvite(_ context.Context, r *receipt) error {
	raw := r.delivery.Request.Event
	if len(raw) == 0 {
		return detail.Errorf(ErrMissing, "event")
	}
	event, err := ParseEvent(raw, r.rules)
	if err != nil {
		if r.delivery.V1 && gjson.ValidBytes(raw) && !gjson.GetBytes(raw, "event_id").Exists() {
			return detail.Errorf(ErrMismatch, "the v1 endpoint is for room versions 1 and 2, whose events have an event_id")
		}
		return err
	}
	r.event = event.withoutUnsigned()
	return nil
}

func comparePath(_ context.Context, r *receipt) error {
	switch {
	case r.delivery.RoomID != r.event.RoomID():
		return detail.Errorf(ErrMismatch, "the room ID of the path and that of the event")
	case r.delivery.EventID != r.event.ID():
		return detail.Errorf(ErrMismatch, "the event ID of the path and that of the event")
	}
	return nil
}

func checkInvite(_ context.Context, r *receipt) error {
	if err := CheckInvite(r.event, r.delivery.Origin, r.delivery.Destination); err != nil {
		return err
	}
	invitee, _ := r.event.StateKey()
	r.invite = &Invite{
		Origin:      r.delivery.Origin,
		Destination: r.delivery.Destination,
		Invitee:     invitee,
		V1:          r.delivery.V1,
		Event:       r.event,
	}
	return nil
}

func applyServerACL(ctx context.Context, r *receipt) error {
	if r.config.ServerAllowed == nil {
		return noHook{}
	}
	allowed, err := r.config.ServerAllowed(ctx, r.event.RoomID(), r.delivery.Origin)
	if err != nil {
		return fromHook(err)
	}
	if !allowed {
		return ErrServerDenied
	}
	return nil
}

func applyPolicy(ctx context.Context, r *receipt) error {
	if r.config.Policy == nil {
		return noHook{}
	}
	return fromHook(r.config.Policy(ctx, r.invite))
}

// verifyEvent always demands the origin's signature, also of a third-party
// invite, whose sender need not have signed.
func verifyEvent(ctx context.Context, r *receipt) error {
	r.checks = newVerification(r.config.Keys)
	return r.event.verify(ctx, r.checks, r.delivery.Origin)
}

func checkContentHash(_ context.Context, r *receipt) error {
	if r.event.HashOK() {
		return nil
	}
	if r.config.RefuseHashMismatch {
		return detail.Errorf(ErrMismatch, "content hash")
	}
	r.event = r.event.Redacted()
	r.invite.Event = r.event
	return nil
}

func readRoomState(ctx context.Context, r *receipt) error {
	state, err := checkRoomState(ctx, r.delivery.Request.RoomState, r.event, r.checks, r.config.RoomState)
	if err != nil {
		return err
	}
	r.invite.RoomState = state
	return nil
}

func signInvite(ctx context.Context, r *receipt) error {
	signed, err := r.event.WithSignature(ctx, r.signer)
	if err != nil {
		return fromHook(err)
	}
	r.event = signed
	r.invite.Event = signed
	return nil
}

func handleInvite(ctx context.Context, r *receipt) error {
	return fromHook(r.config.Handler.HandleInvite(ctx, r.invite))
}
