package fedserver

import (
	"slices"

	"github.com/tidwall/sjson"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
)

// parsePDU parses an event in canonical form, but for its unsigned: nobody vouches for
// that, and it is not to be stored. Nor is an event that comes before itself, as it may
// in room versions 1–2, where its ID is the sender's choice.
func parsePDU(canonical []byte, rules fedinvite.Rules) (*fedinvite.Event, error) {
	text, err := sjson.DeleteBytes(canonical, "unsigned")
	if err != nil {
		return nil, internal(err)
	}
	e, err := fedinvite.ParseEvent(text, rules)
	if err != nil {
		return nil, err
	}
	if slices.Contains(e.PrevEventIDs(), e.ID()) || slices.Contains(e.AuthEventIDs(), e.ID()) {
		return nil, detail.Errorf(fedinvite.ErrBadJSON, "the event is among its own prev_events or auth_events")
	}
	return e, nil
}
