package main

// A redaction is an event and what redaction leaves of it.
type redaction struct {
	head
	RoomVersion string `json:"room_version"`
	Event       string `json:"event"`
	Redacted    string `json:"redacted_event"`
	Hash        string `json:"reference_hash"`
	ID          string `json:"event_id"`
}

// redactions has, for every room version and event type, an event with every key that
// any room version keeps, and more.
func redactions() file {
	f := file{Kind: "redactions/redactions", Source: source,
		About: "events with every key that some room version keeps, and what redaction leaves of them"}
	types := []string{
		"m.room.member", "m.room.create", "m.room.join_rules", "m.room.power_levels", "m.room.aliases",
		"m.room.history_visibility", "m.room.redaction", "m.room.third_party_invite", "m.room.message", "M.ROOM.MEMBER",
	}
	for _, v := range versions() {
		r := newRoom(v)
		for _, t := range types {
			e := r.add(t, "", everyKey(), 6, r.create, r.power, r.join)
			for name, value := range (object{
				"membership": "join", "prev_state": list{}, "origin": "a.example", "redacts": "$x",
				"org.example.extra": object{"membership": "x"}, "Content": object{},
			}) {
				e[name] = value
			}
			if t == "m.room.create" && v.hashedRoomID {
				delete(e, "room_id")
				e["auth_events"], e["prev_events"] = list{}, list{}
			}
			e = v.sign(e, keyA)
			hash := v.referenceHash(e)
			f.Cases = append(f.Cases, redaction{
				head{Name: t + "/v" + v.name, Spec: specRooms + "v" + v.name + "/#redactions"},
				v.name, canonical(with(e, set(object{"age": 1}, "unsigned"))), canonical(v.redact(e)), unpadded(hash[:]), v.eventID(e),
			})
		}
	}
	return f
}

// everyKey returns a content with all keys that some room version keeps for some event
// type, and some that none does.
func everyKey() object {
	return object{
		"membership": "invite", "join_authorised_via_users_server": alice, "displayname": "Bob", "reason": "tea",
		"third_party_invite": object{
			"display_name": "bob",
			"signed":       object{"mxid": bob, "token": "t", "signatures": object{}},
		},
		"creator": alice, "room_version": "1", "m.federate": true,
		"join_rule": "restricted", "allow": list{object{"type": "m.room_membership", "room_id": "!other:a.example"}},
		"ban": 50, "events": object{"m.room.name": 50}, "events_default": 0, "kick": 50, "redact": 50,
		"state_default": 50, "users": object{alice: 100}, "users_default": 0, "invite": 0,
		"notifications": object{"room": 50},
		"aliases":       list{"#tea:a.example"}, "history_visibility": "shared", "redacts": "$x",
		"body": "é", "Membership": "x", "users.": nil, "": nil,
	}
}
