package eventauth

import (
	"fmt"
	"math"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/tidwall/gjson"
)

// A Level is a power level.
type Level int64

// CreatorLevel is the level of a room's creators in room version 12 and later: above
// all that an event can give.
const CreatorLevel Level = math.MaxInt64

// The defaults (client-server API, m.room.power_levels).
const (
	creatorDefault Level = 100 // without a power-levels event
	userDefault    Level = 0
	inviteDefault  Level = 0
	kickDefault    Level = 50
	banDefault     Level = 50
)

// PowerLevels are the power levels of a room at one moment, with their defaults
// (client-server API, m.room.power_levels; each room version's page). Make one with
// [ParsePowerLevels]. All its methods fail with [ErrState] if the value that is asked
// for is there but is no power level of the room version, or does not fit into 64 bits;
// other values do not matter. In room versions 1–9, whose rules let it in, a property
// that is null counts as absent; so it does not in users, nor in later versions.
type PowerLevels struct {
	create, levels *fedinvite.Event
	rules          fedinvite.AuthRules
}

// ParsePowerLevels takes the room's m.room.create event and its m.room.power_levels
// event, nil if there is none; if the content hash of one is wrong, its redacted copy
// counts. Only values that are asked for are read. Errors wrap ErrState if they are not
// what they should be, of one room and version, or fedinvite.ErrRoomVersion.
func ParsePowerLevels(create, levels *fedinvite.Event) (PowerLevels, error) {
	if create == nil {
		return PowerLevels{}, fmt.Errorf("%w: no m.room.create event", ErrState)
	}
	rules := create.Rules()
	if err := checkRules(&rules); err != nil {
		return PowerLevels{}, err
	}
	if !isState(create, typeCreate) || levels != nil && !isState(levels, typePowerLevels) {
		return PowerLevels{}, fmt.Errorf("%w: want an m.room.create and an m.room.power_levels event", ErrState)
	}
	if levels != nil && (levels.RoomID() != create.RoomID() || levels.Rules() != rules) {
		return PowerLevels{}, fmt.Errorf("%w: power levels of another room", ErrState)
	}
	if levels != nil {
		levels = kept(levels)
	}
	return PowerLevels{kept(create), levels, rules.Auth}, nil
}

// isState reports whether e is the one state event of its type.
func isState(e *fedinvite.Event, eventType string) bool {
	key, ok := e.StateKey()
	return ok && key == "" && e.Type() == eventType
}

// User returns the level of a user: [CreatorLevel] for the creators of a room of version
// 12 or later; else users, users_default or 0; if there is no power-levels event, 100
// for the creator and 0 for everybody else.
func (p PowerLevels) User(userID string) (Level, error) {
	switch {
	case p.create == nil:
		return 0, fmt.Errorf("%w: no m.room.create event", ErrState)
	case p.rules.PrivilegedCreators && p.isPrivileged(userID):
		return CreatorLevel, nil
	case p.levels == nil && p.isCreator(userID):
		return creatorDefault, nil
	case p.levels == nil:
		return userDefault, nil
	}
	users := p.levels.ContentJSON("users")
	if users != "" && users[0] != '{' {
		return 0, fmt.Errorf("%w: users of the power levels is no object", ErrState)
	}
	if mayName(users, userID) {
		if raw := p.levels.ContentJSON("users", userID); raw != "" {
			return p.parse(raw)
		}
	}
	return p.property("users_default", userDefault)
}

// mayName is a quick look for a key that is not there, as with most users of a room: it
// reports whether a walk through the canonical object could find it.
func mayName(object, key string) bool {
	for i := range len(key) {
		if c := key[i]; c < 0x20 || c == '"' || c == '\\' {
			return true // who knows how it is spelt
		}
	}
	return strings.Contains(object, key)
}

// Invite returns the level that it takes to invite; 0 unless the room says otherwise.
func (p PowerLevels) Invite() (Level, error) { return p.property("invite", inviteDefault) }

// Kick returns the level that it takes to kick; 50 unless the room says otherwise.
func (p PowerLevels) Kick() (Level, error) { return p.property("kick", kickDefault) }

// Ban returns the level that it takes to ban; 50 unless the room says otherwise.
func (p PowerLevels) Ban() (Level, error) { return p.property("ban", banDefault) }

// property returns a level by its name.
func (p PowerLevels) property(name string, otherwise Level) (Level, error) {
	if p.create == nil {
		return 0, fmt.Errorf("%w: no m.room.create event", ErrState)
	}
	if p.levels == nil {
		return otherwise, nil
	}
	raw := p.levels.ContentJSON(name)
	if raw == "" || raw == "null" && p.rules.PowerLevels < fedinvite.PowerLevelIntegers {
		return otherwise, nil
	}
	return p.parse(raw)
}

func (p PowerLevels) parse(raw string) (Level, error) {
	n, ok := parseLevel(raw, p.rules.PowerLevels)
	// No event may reach the creators.
	if !ok || p.rules.PrivilegedCreators && n == CreatorLevel {
		return 0, fmt.Errorf("%w: a value in the power levels is none of the room version", ErrState)
	}
	return n, nil
}

// isCreator reports whether a user made the room.
func (p PowerLevels) isCreator(userID string) bool {
	if p.rules.CreatorIsSender {
		return p.create.Sender() == userID
	}
	creator, ok := text(p.create.ContentJSON("creator"))
	return ok && creator == userID
}

// isPrivileged reports whether a user is one of the creators (room version 12,
// "Authorisation rules": the sender and additional_creators).
func (p PowerLevels) isPrivileged(userID string) bool {
	if p.create.Sender() == userID {
		return true
	}
	found := false
	if more := gjson.Parse(p.create.ContentJSON("additional_creators")); more.IsArray() {
		more.ForEach(func(_, creator gjson.Result) bool {
			found = creator.Type == gjson.String && creator.Str == userID
			return !found
		})
	}
	return found
}
