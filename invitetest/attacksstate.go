package invitetest

import (
	"encoding/json"

	"github.com/seed-0a46cb1a/fedinvite"
)

// stateAttacks are about invite_room_state where it proves something: from room version 12
// on the room ID is made of the create event.
func stateAttacks() []attack {
	return []attack{{
		name:     "room-state",
		sentence: "From room version 12 on the create event in invite_room_state is a signed event of the room, and the one the room ID is made of.",
		link:     linkInvite, level: Should,
		rooms: func(r fedinvite.Rules) bool { return r.RoomIDIsCreateEvent },
		tries: []try{
			state("no invite_room_state", func(*foe, json.RawMessage) []json.RawMessage { return nil }),
			state("no create event", func(f *foe, _ json.RawMessage) []json.RawMessage { return f.room.RoomState()[1:] }),
			state("a stripped create event", func(_ *foe, create json.RawMessage) []json.RawMessage {
				return []json.RawMessage{Change(create, Drop("hashes"), Drop("signatures"), Drop("auth_events"), Drop("prev_events"), Drop("depth"), Drop("origin_server_ts"))}
			}),
			state("the create event of another room", func(f *foe, _ json.RawMessage) []json.RawMessage {
				return []json.RawMessage{f.anotherCreate()}
			}),
			state("the create event of another room beside it", func(f *foe, create json.RawMessage) []json.RawMessage {
				return []json.RawMessage{f.anotherCreate(), create}
			}),
			state("a create event with another creator", func(_ *foe, create json.RawMessage) []json.RawMessage {
				return []json.RawMessage{Change(create, Set("@alice:another.example", "sender"))}
			}),
			state("a create event that nobody signed", func(_ *foe, create json.RawMessage) []json.RawMessage {
				return []json.RawMessage{unsigned(create)}
			}),
			state("a create event with a wrong signature", func(f *foe, create json.RawMessage) []json.RawMessage {
				return []json.RawMessage{Change(create, f.signature(make([]byte, 64))...)}
			}),
			{"a room ID made of an event that starts no such room", func(f *foe) {
				create := f.room.Get("m.room.create", "").AppendJSON(nil)
				create = f.room.Sign(Change(create, Set("11", "content", "room_version")))
				room := f.room.Parse(create).RoomID()
				invite := f.signed(Set(room, "room_id"))
				f.fails(f.room.RequestWithState(invite, f.target.Name, Encode([]json.RawMessage{create})))
			}},
		},
	}}
}

// state is the try of an invite, in order, with a room state made from the create event.
func state(name string, entries func(f *foe, create json.RawMessage) []json.RawMessage) try {
	return requested(name, func(f *foe) Request {
		create := f.room.Get("m.room.create", "").AppendJSON(nil)
		var text json.RawMessage
		if all := entries(f, create); all != nil {
			text = Encode(all)
		}
		return f.room.RequestWithState(f.signed(), f.target.Name, text)
	})
}

func (f *foe) anotherCreate() json.RawMessage {
	return f.newRoom(f.version).Get("m.room.create", "").AppendJSON(nil)
}
