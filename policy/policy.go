package policy

import (
	"context"
	"errors"
	"slices"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A Policy decides whether an invite is wanted: nil lets it through. To refuse it,
// return what [fedinvite.Refuse] makes; any other error is a failure of ours, which
// the peer sees as 500 M_UNKNOWN. The policies of this package never change, nor do
// they change inv; they are safe for concurrent use if their callbacks are.
type Policy func(ctx context.Context, inv *fedinvite.Invite) error

// Chain asks the policies in order and returns the first error; those behind it are
// not asked. Nil entries are skipped. An empty chain lets every invite through.
func Chain(policies ...Policy) Policy {
	chain := slices.DeleteFunc(slices.Clone(policies), func(p Policy) bool { return p == nil })
	return func(ctx context.Context, inv *fedinvite.Invite) error {
		for _, p := range chain {
			if err := p(ctx, inv); err != nil {
				return err
			}
		}
		return nil
	}
}

// errNoEvent is for an Invite that neither a Receiver nor an Inviter has made.
var errNoEvent = errors.New("policy: the invite has no event")

// refuse makes a refusal. Its message is one for all policies; reason stays here.
func refuse(reason string) error {
	e := fedinvite.Refuse(fedinvite.CodeForbidden, "This invite is not allowed.")
	e.Err = errors.New("policy." + reason)
	return e
}

// withoutCallback stands in for a policy that got no callback: nothing passes, so that
// the mistake shows.
func withoutCallback(name string) Policy {
	err := errors.New("policy." + name + ": the callback is nil")
	return func(context.Context, *fedinvite.Invite) error { return err }
}
