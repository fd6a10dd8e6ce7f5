package fedserver

import (
	"slices"

	"github.com/tidwall/sjson"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/internal/detail"
)

// canonicalObject returns one JSON object of a peer's in a form that gjson may read.
// Numbers are left to the rules of the room's version.
func canonicalObject(raw []byte) ([]byte, error) {
	text, err := fedinvite.LegacyCanonicalJSON(raw)
	if err != nil {
		return nil, err
	}
	if text[0] != '{' {
		return nil, detail.Errorf(fedinvite.ErrBadJSON, "not an object")
	}
	return text, nil
}

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
