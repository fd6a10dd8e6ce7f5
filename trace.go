package fedinvite

import "context"

// A Step is one step of the receive pipeline that a [Receiver] has taken with a
// delivery. It is what [Config].Trace is told: for logs and metrics of single steps,
// and for tools that show how far an invite came and why no further.
type Step struct {
	// Name is one of [Steps].
	Name string
	// Skipped says that there was nothing to do, because the hook of the step, Admit,
	// ServerAllowed or Policy, is nil.
	Skipped bool
	// Err is why the delivery is refused, and then this is its last step; nil: it goes on.
	// It is what [Receiver.Receive] returns, without the name of the step in front.
	Err error
	// Delivery is what is known of the delivery. By [Receiver.ServeHTTP], RoomID, EventID and
	// V1 are there after "path", Origin and Destination after "authorization", and Request
	// after "body"; until "request signature" has passed they are only claimed.
	Delivery *Delivery
	// Event is there once "event format" has passed. Before "event signatures" nobody
	// vouches for it, before "content hash" not for all of its content; after that it may
	// be the redacted copy.
	Event *Event
	// Invite is there once "invite" has passed. Its Event is the one above, its RoomState is
	// there after "room state".
	Invite *Invite
}

// Steps returns the names of the steps of the receive pipeline, in a fresh slice and in
// the order in which [Receiver.ServeHTTP] takes them:
//
//	path, method, authorization, server names, destination, body size, body, admit,
//	request signature, room version, event format, path IDs, invite, server ACL, policy,
//	event signatures, content hash, room state, sign, handler
//
// [Receiver.Receive] leaves out what is about HTTP: path, method, authorization, body size,
// body and request signature. [Receiver.Check] leaves out sign and handler too. The names
// are those with which errors of a Receiver begin. Later versions may have more.
func Steps() []string {
	names := make([]string, len(steps))
	for i := range steps {
		names[i] = steps[i].name
	}
	return names
}

// trace tells the Trace hook, which is there, that a step was taken.
func (r *receipt) trace(ctx context.Context, name string, skipped bool, err error) {
	r.config.Trace(ctx, Step{
		Name:     name,
		Skipped:  skipped,
		Err:      err,
		Delivery: &r.delivery,
		Event:    r.event,
		Invite:   r.invite,
	})
}
