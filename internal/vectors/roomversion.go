package main

import "slices"

// A roomVersion is what the vectors need of a room version, as its page in the
// specification has it.
type roomVersion struct {
	number       int
	name         string
	namedEvents  bool // events have an event_id
	urlSafeID    bool // else event IDs are in standard base64
	strict       bool // canonical JSON is enforced
	hashedRoomID bool // the room ID is the create event's

	top     []string            // what redaction keeps at the top
	content map[string][]string // and in the content, by event type
	create  bool                // the content of create events is kept whole
	signed  bool                // third_party_invite.signed is kept
}

// versionOf returns room version n, 1 to 12.
func versionOf(n int) roomVersion {
	v := roomVersion{
		number: n, name: decimal(n),
		namedEvents: n <= 2, urlSafeID: n >= 4, strict: n >= 6, hashedRoomID: n >= 12,
		create: n >= 11, signed: n >= 11,
		top: []string{
			"event_id", "type", "room_id", "sender", "state_key", "content", "hashes", "signatures",
			"depth", "prev_events", "auth_events", "origin_server_ts",
		},
		content: map[string][]string{
			"m.room.member":             {"membership"},
			"m.room.create":             {"creator"},
			"m.room.join_rules":         {"join_rule"},
			"m.room.power_levels":       {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"},
			"m.room.history_visibility": {"history_visibility"},
		},
	}
	keep := func(eventType, key string) { v.content[eventType] = append(v.content[eventType], key) }
	if n <= 5 {
		keep("m.room.aliases", "aliases")
	}
	if n >= 8 {
		keep("m.room.join_rules", "allow")
	}
	if n >= 9 {
		keep("m.room.member", "join_authorised_via_users_server")
	}
	if n >= 11 {
		keep("m.room.power_levels", "invite")
		keep("m.room.redaction", "redacts")
	} else {
		v.top = append(v.top, "prev_state", "origin", "membership")
	}
	return v
}

// versions returns all of them, oldest first.
func versions() []roomVersion {
	var all []roomVersion
	for n := range 12 {
		all = append(all, versionOf(n+1))
	}
	return all
}

// redact returns what redaction leaves of an event, without unsigned ("Redactions").
func (v roomVersion) redact(event object) object {
	kept := object{}
	for name, value := range event {
		if slices.Contains(v.top, name) {
			kept[name] = cloneValue(value)
		}
	}
	eventType, _ := event["type"].(string)
	content := get(event, "content")
	if v.create && eventType == "m.room.create" {
		return kept
	}
	less := object{}
	for name, value := range content {
		if slices.Contains(v.content[eventType], name) {
			less[name] = cloneValue(value)
		}
	}
	if thirdParty := get(content, "third_party_invite"); v.signed && eventType == "m.room.member" && thirdParty != nil {
		less["third_party_invite"] = object{"signed": cloneValue(thirdParty["signed"])}
	}
	kept["content"] = less
	return kept
}
