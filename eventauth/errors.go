package eventauth

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/seed-0a46cb1a/fedinvite"
)

// ErrUnsupported: an event whose rules this package does not know: anything but
// m.room.member events with membership invite, leave or knock.
var ErrUnsupported = errors.New("not a membership that this package authorises")

// ErrState: nothing can be said by the room state that was given. Either it cannot be
// the state of that room at one moment: two events for one type and state key, an event
// of another room or room version, a membership that no rule would have let in. Or a
// power level that is needed cannot be read. In room versions 1–9 the rules let some of
// those in (text that is no integer, true, numbers beyond 64 bits); the specification
// does not say what they mean, so that nothing is allowed by them.
var ErrState = errors.New("contradictory room state")

// A RuleError says by which rule an event is rejected. It wraps [fedinvite.ErrForbidden].
type RuleError struct {
	RoomVersion fedinvite.RoomVersion
	// Rule is its number as the version's page shows it, such as "5.4.1.7". In custom
	// room versions it follows from MemberRule and InviteRule of [fedinvite.AuthRules].
	Rule   string
	Reason string // in words that users and peers may read
}

// Error returns version, number and reason.
func (e *RuleError) Error() string {
	return "room version " + string(e.RoomVersion) + ", rule " + e.Rule + ": " + e.Reason
}

// Unwrap returns [fedinvite.ErrForbidden].
func (e *RuleError) Unwrap() error { return fedinvite.ErrForbidden }

// reject makes the error for a rule, whose number is given part by part.
func reject(rules *fedinvite.Rules, reason string, rule ...int) error {
	var number []byte
	for i, part := range rule {
		if i > 0 {
			number = append(number, '.')
		}
		number = strconv.AppendInt(number, int64(part), 10)
	}
	return &RuleError{rules.Version, string(number), reason}
}

func unsupported(what string) error { return fmt.Errorf("%w: %s", ErrUnsupported, what) }

// checkRules refuses the zero value, and rules that say nothing about authorization.
func checkRules(r *fedinvite.Rules) error {
	known := r.Auth.PowerLevels >= fedinvite.PowerLevelLoose && r.Auth.PowerLevels <= fedinvite.PowerLevelIntegers
	if r.Version == "" || !known || r.Auth.MemberRule <= 0 || r.Auth.InviteRule <= 0 {
		return fmt.Errorf("%w: no authorization rules for %q", fedinvite.ErrRoomVersion, r.Version)
	}
	return nil
}
