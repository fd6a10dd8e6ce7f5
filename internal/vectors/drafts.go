package main

import "strings"

// A draft is an invite before it is an event, and what an inviting server makes of it.
type draft struct {
	head
	RoomVersion string      `json:"room_version"`
	RoomID      string      `json:"room_id"`
	Sender      string      `json:"sender"`
	Invitee     string      `json:"invitee"`
	EventID     string      `json:"event_id,omitempty"` // room versions 1 and 2
	AuthEvents  []reference `json:"auth_events"`
	PrevEvents  []reference `json:"prev_events"`
	Depth       int         `json:"depth"`
	Time        int         `json:"origin_server_ts"`
	Content     string      `json:"content"`
	RoomState   []string    `json:"invite_room_state"`
	Server      string      `json:"server_name"`
	KeyID       string      `json:"key_id"`
	Seed        string      `json:"seed"`
	Expect      string      `json:"expect"`
	Level       string      `json:"level"`
	Made        *made       `json:"made,omitempty"`
}

type reference struct {
	EventID string `json:"event_id"`
	SHA256  string `json:"sha256,omitempty"` // room versions 1 and 2
}

type made struct {
	EventID string `json:"event_id"`
	Event   string `json:"event"`
	BodyV2  string `json:"body_v2"`
	BodyV1  string `json:"body_v1,omitempty"`
}

// draftOf returns the draft of an invite that is not signed yet.
func draftOf(name string, r room, event object, k key) draft {
	d := draft{
		head: head{Name: name, Spec: specAdding}, RoomVersion: r.name, RoomID: r.id, Invitee: bob, Sender: alice,
		Depth: 6, Time: eventTime, Server: k.server, KeyID: k.id, Seed: unpadded(k.seed()),
		Expect: "accept", Level: must, RoomState: []string{},
	}
	d.Content = canonical(with(get(event, "content"), drop("membership")))
	if depth, ok := event["depth"].(int); ok {
		d.Depth = depth
	}
	if r.namedEvents {
		d.EventID, _ = event["event_id"].(string)
	}
	d.AuthEvents, d.PrevEvents = referencesOf(event["auth_events"]), referencesOf(event["prev_events"])
	for _, e := range r.state() {
		d.RoomState = append(d.RoomState, canonical(e))
	}
	return d
}

func referencesOf(refs any) []reference {
	all := []reference{}
	entries, _ := refs.(list)
	for _, entry := range entries {
		switch entry := entry.(type) {
		case string:
			all = append(all, reference{EventID: entry})
		case list:
			id, _ := entry[0].(string)
			hashes, _ := entry[1].(object)
			hash, _ := hashes["sha256"].(string)
			all = append(all, reference{id, hash})
		}
	}
	return all
}

func draftsOut() file {
	f := file{Kind: "invites-out/drafts", Source: source, About: "invites before they are events, and the events and request bodies that an inviting server makes of them"}
	good := func(name, sentence string, r room, edits ...edit) {
		event := r.draft(edits...)
		d := draftOf(name, r, event, keyA)
		d.Sentence = sentence
		signed := r.sign(event, keyA)
		d.Made = &made{EventID: r.eventID(signed), Event: canonical(signed),
			BodyV2: canonical(object{"event": signed, "invite_room_state": r.state(), "room_version": r.name})}
		if r.namedEvents {
			d.Made.BodyV1 = canonical(with(signed, set(r.state(), "unsigned", "invite_room_state")))
		}
		f.Cases = append(f.Cases, d)
	}
	for _, v := range versions() {
		good("43 room version "+v.name, "", newRoom(v))
	}
	r, v12 := briefRoom(versionOf(11)), briefRoom(versionOf(12))
	good("content with a reason and a profile", "", r, set("tea, é <&> 😀 \"\\", "content", "reason"), set("Bob", "content", "displayname"), set(true, "content", "is_direct"))
	good("third-party invite", "", r, thirdParty)
	good("44 ten auth events and twenty previous ones", "", r, set(r.references(10), "auth_events"), set(r.references(20), "prev_events"))
	good("44 the greatest depth", "If the room's depth is already at the limit, depth must be set to the limit.", r, set(1<<53-1, "depth"))

	bad := func(name, sentence, level string, r room, change func(*draft)) {
		d := draftOf(name, r, r.draft(), keyA)
		d.Sentence, d.Expect, d.Level = sentence, "reject", level
		change(&d)
		f.Cases = append(f.Cases, d)
	}
	bad("44 eleven auth events", "", must, r, func(d *draft) { d.AuthEvents = referencesOf(r.references(11)) })
	bad("44 twenty-one previous events", "", must, r, func(d *draft) { d.PrevEvents = referencesOf(r.references(21)) })
	bad("44 depth past the greatest", "", must, r, func(d *draft) { d.Depth = 1 << 53 })
	bad("44 negative depth", "", practice, r, func(d *draft) { d.Depth = -1 })
	bad("43 the create event among the auth events, room version 12", "m.room.create MUST NOT be selected", must, v12, func(d *draft) {
		d.AuthEvents = append(d.AuthEvents, reference{EventID: "$" + v12.id[1:]})
	})
	bad("room ID of room version 11 in room version 12", "", must, v12, func(d *draft) { d.RoomID = "!room:a.example" })
	bad("invitee is no user ID", "", must, r, func(d *draft) { d.Invitee = "bob" })
	bad("sender of another server", "", must, r, func(d *draft) { d.Sender = "@carol:c.example" })
	bad("float in the content", "Numbers in the JSON must be integers", must, r, func(d *draft) { d.Content = `{"n":1.5}` })
	bad("integer past 2^53 in the content", "Numbers in the JSON must be integers in the range", must, r, func(d *draft) { d.Content = `{"n":9007199254740992}` })
	bad("content is a list", "", must, r, func(d *draft) { d.Content = `[]` })
	bad("user ID of 256 bytes", "", must, r, func(d *draft) { d.Invitee = "@" + long(256-len("@:b.example")) + ":b.example" })
	bad("content of 70,000 bytes", "The complete event MUST NOT be larger than 65536 bytes", must, r, func(d *draft) { d.Content = `{"x":"` + long(70_000) + `"}` })
	bad("event ID in a room version that computes it", "", practice, r, func(d *draft) { d.EventID = "$x:a.example" })
	return f
}

func long(n int) string { return strings.Repeat("x", n) }
