package fedinvite

import (
	"fmt"
	"math"
)

// A RoomVersion names a set of rules for the events of a room
// (https://spec.matrix.org/v1.19/rooms/).
type RoomVersion string

// The room versions that this package knows; all are marked stable.
const (
	RoomV1  RoomVersion = "1"
	RoomV2  RoomVersion = "2"
	RoomV3  RoomVersion = "3"
	RoomV4  RoomVersion = "4"
	RoomV5  RoomVersion = "5"
	RoomV6  RoomVersion = "6"
	RoomV7  RoomVersion = "7"
	RoomV8  RoomVersion = "8"
	RoomV9  RoomVersion = "9"
	RoomV10 RoomVersion = "10"
	RoomV11 RoomVersion = "11"
	RoomV12 RoomVersion = "12"
)

// EventIDFormat says where the ID of an event comes from, and with it how events
// refer to each other.
type EventIDFormat uint8

const (
	// EventIDServer: the sender's server chooses it and writes it into event_id;
	// auth_events and prev_events are pairs of event ID and reference hash.
	EventIDServer EventIDFormat = iota + 1
	// EventIDBase64: "$" and the reference hash in unpadded standard base64.
	EventIDBase64
	// EventIDURLSafe: "$" and the reference hash in unpadded URL-safe base64.
	EventIDURLSafe
)

// Rules is what a room version means, as data. Take one from [RoomVersion.Rules];
// for a custom room version copy one and edit it. Rules are comparable. The zero
// value is refused by every function, with an error that wraps [ErrRoomVersion].
type Rules struct {
	Version  RoomVersion
	EventIDs EventIDFormat

	// StrictJSON: events must be canonical JSON in the strict sense (v6+).
	StrictJSON bool
	// EnforceKeyValidity: a key's valid_until_ts counts when events are verified (v5+);
	// expired_ts, by which its server has given it up, counts in every version.
	EnforceKeyValidity bool
	// RoomIDIsCreateEvent: the room ID is the create event's ID with the sigil
	// "!"; the create event has no room_id, and no event lists it in auth_events (v12).
	RoomIDIsCreateEvent bool
	// AuthorisingServerSigns: a member event with join_authorised_via_users_server
	// must be signed by that user's server (v8+, auth rule "m.room.member").
	AuthorisingServerSigns bool
	// MaxDepth is the greatest depth of an event.
	MaxDepth int64

	Redaction RedactionRules
	Auth      AuthRules
}

// RedactionRules says what survives redaction beyond what survives in every
// version ("Redactions" in each room version's page).
type RedactionRules struct {
	KeepOrigin        bool // top-level origin, membership and prev_state (v1–10)
	KeepAliases       bool // m.room.aliases: aliases (v1–5)
	KeepAllow         bool // m.room.join_rules: allow (v8+)
	KeepAuthorisedVia bool // m.room.member: join_authorised_via_users_server (v9+)
	KeepThirdParty    bool // m.room.member: third_party_invite.signed (v11+)
	KeepCreate        bool // m.room.create: the whole content (v11+), else creator
	KeepInvite        bool // m.room.power_levels: invite (v11+)
	KeepRedacts       bool // m.room.redaction: redacts (v11+)
}

// PowerLevelFormat says which JSON values are power levels.
type PowerLevelFormat uint8

const (
	// PowerLevelLoose: integers, strings of integers and floats, which are truncated (v1–5).
	PowerLevelLoose PowerLevelFormat = iota + 1
	// PowerLevelStrings: integers and strings of integers (v6–9).
	PowerLevelStrings
	// PowerLevelIntegers: integers only (v10+).
	PowerLevelIntegers
)

// AuthRules is what the authorization rules of a room version depend on, as far
// as membership is concerned. It is for package eventauth and others that authorise
// events; this package does not.
type AuthRules struct {
	PowerLevels        PowerLevelFormat
	CreateInAuthEvents bool // the create event is selected for auth_events (v1–11)
	CreatorIsSender    bool // the creator is the create event's sender, not content.creator (v11+)
	PrivilegedCreators bool // creators have infinite power; additional_creators count (v12)
	Knock              bool // membership and join rule knock (v7+)
	Restricted         bool // join rule restricted (v8+)
	KnockRestricted    bool // join rule knock_restricted (v10+)
	MemberRule         int8 // the number of the rule "If type is m.room.member": 5 or 4
	InviteRule         int8 // the number of its part "If membership is invite"
}

// versions holds the rules of every known room version, oldest first. It is
// never modified. A new version is one more block here and one more row in
// testdata/roomversions.txt.
var versions = describeVersions()

// describeVersions states each version as the one before it and what its page
// in the specification changes, which is how the specification states them.
func describeVersions() []Rules {
	var all []Rules
	r := Rules{}
	add := func(v RoomVersion) {
		r.Version = v
		all = append(all, r)
	}

	// https://spec.matrix.org/v1.19/rooms/v1/
	r.EventIDs = EventIDServer
	r.MaxDepth = math.MaxInt64
	r.Redaction = RedactionRules{KeepOrigin: true, KeepAliases: true}
	r.Auth = AuthRules{PowerLevels: PowerLevelLoose, CreateInAuthEvents: true, MemberRule: 5, InviteRule: 3}
	add(RoomV1)

	// https://spec.matrix.org/v1.19/rooms/v2/: state resolution only.
	add(RoomV2)

	// https://spec.matrix.org/v1.19/rooms/v3/: event IDs are hashes.
	r.EventIDs = EventIDBase64
	add(RoomV3)

	// https://spec.matrix.org/v1.19/rooms/v4/: event IDs are URL-safe.
	r.EventIDs = EventIDURLSafe
	add(RoomV4)

	// https://spec.matrix.org/v1.19/rooms/v5/: signing key validity.
	r.EnforceKeyValidity = true
	add(RoomV5)

	// https://spec.matrix.org/v1.19/rooms/v6/: strict JSON, m.room.aliases is an ordinary event.
	r.StrictJSON = true
	r.MaxDepth = maxSafeInteger
	r.Redaction.KeepAliases = false
	r.Auth.PowerLevels = PowerLevelStrings
	r.Auth.MemberRule = 4
	add(RoomV6)

	// https://spec.matrix.org/v1.19/rooms/v7/: knocking.
	r.Auth.Knock = true
	add(RoomV7)

	// https://spec.matrix.org/v1.19/rooms/v8/: restricted rooms.
	r.AuthorisingServerSigns = true
	r.Redaction.KeepAllow = true
	r.Auth.Restricted = true
	r.Auth.InviteRule = 4
	add(RoomV8)

	// https://spec.matrix.org/v1.19/rooms/v9/: redaction of restricted joins mended.
	r.Redaction.KeepAuthorisedVia = true
	add(RoomV9)

	// https://spec.matrix.org/v1.19/rooms/v10/: power levels are integers, knock_restricted.
	r.Auth.PowerLevels = PowerLevelIntegers
	r.Auth.KnockRestricted = true
	add(RoomV10)

	// https://spec.matrix.org/v1.19/rooms/v11/: redaction made consistent, creator is the sender.
	r.Redaction = RedactionRules{
		KeepAllow: true, KeepAuthorisedVia: true, KeepThirdParty: true,
		KeepCreate: true, KeepInvite: true, KeepRedacts: true,
	}
	r.Auth.CreatorIsSender = true
	add(RoomV11)

	// https://spec.matrix.org/v1.19/rooms/v12/: room IDs are hashes, creators are privileged.
	r.RoomIDIsCreateEvent = true
	r.Auth.CreateInAuthEvents = false
	r.Auth.PrivilegedCreators = true
	r.Auth.MemberRule = 5
	add(RoomV12)

	return all
}

// maxSafeInteger is the greatest integer of canonical JSON.
const maxSafeInteger = 1<<53 - 1

// RoomVersions returns the room versions that have Rules, oldest first, in a
// fresh slice.
func RoomVersions() []RoomVersion {
	all := make([]RoomVersion, len(versions))
	for i := range versions {
		all[i] = versions[i].Version
	}
	return all
}

// Rules returns the rules of v, or an error that wraps [ErrRoomVersion]. There is
// no default: a version that is not known here cannot be handled safely.
func (v RoomVersion) Rules() (Rules, error) {
	for i := range versions {
		if versions[i].Version == v {
			return versions[i], nil
		}
	}
	return Rules{}, &versionError{v}
}

// check refuses the zero value and whatever else no constructor makes.
func (r *Rules) check() error {
	if r.Version == "" || r.EventIDs < EventIDServer || r.EventIDs > EventIDURLSafe || r.MaxDepth <= 0 {
		return &versionError{r.Version}
	}
	return nil
}

// versionError keeps the version for [WireError], which has to name it.
type versionError struct{ version RoomVersion }

func (e *versionError) Error() string {
	return fmt.Sprintf("%v: %q", ErrRoomVersion, clip(string(e.version)))
}

func (e *versionError) Unwrap() error { return ErrRoomVersion }
