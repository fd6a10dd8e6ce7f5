package invitetest

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/seed-0a46cb1a/fedinvite"
)

// Set adds a state event that the creator sends, and returns it. content is what
// [json.Marshal] makes an object of, or nil. The edits are made before the event is hashed
// and signed. Whether the creator may send it is not asked. It panics if the result is no
// event of the room version.
func (r *Room) Set(eventType, stateKey string, content any, edits ...Edit) *fedinvite.Event {
	return r.SetAs(r.creator, eventType, stateKey, content, edits...)
}

// SetAs is [Room.Set] with another sender, whose server signs.
func (r *Room) SetAs(sender, eventType, stateKey string, content any, edits ...Edit) *fedinvite.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.set(sender, eventType, stateKey, content, edits, r.signer(serverOf(sender)))
}

func (r *Room) set(sender, eventType, stateKey string, content any, edits []Edit, signers ...fedinvite.Signer) *fedinvite.Event {
	signed := r.Sign(r.draft(sender, eventType, stateKey, content, edits), signers...)
	e, err := fedinvite.ParseEvent(signed, r.rules)
	if err != nil {
		panic(fmt.Sprintf("invitetest: %s: %v", eventType, err))
	}
	r.events = append(r.events, e)
	return e
}

// Name sets the room's name.
func (r *Room) Name(name string) *fedinvite.Event {
	return r.Set("m.room.name", "", Object{"name": name})
}

// Alias sets the room's canonical alias, such as "#tea:a.example".
func (r *Room) Alias(alias string) *fedinvite.Event {
	return r.Set("m.room.canonical_alias", "", Object{"alias": alias})
}

// JoinRule sets the join rule: "public", "invite", "knock", "restricted", …. Those with
// rooms whose members may join name these.
func (r *Room) JoinRule(rule string, rooms ...string) *fedinvite.Event {
	content := Object{"join_rule": rule}
	if len(rooms) > 0 {
		allow := make([]any, len(rooms))
		for i, id := range rooms {
			allow[i] = Object{"type": "m.room_membership", "room_id": id}
		}
		content["allow"] = allow
	}
	return r.Set("m.room.join_rules", "", content)
}

// PowerLevels sets the power levels to content: what it lacks has its default. In one
// respect it is mended, so that it fits all room versions: users lists the creator, with
// 100 unless content says otherwise, but no creator from room version 12 on, where that is
// forbidden. It panics if users is there and no object.
func (r *Room) PowerLevels(content any) *fedinvite.Event {
	levels := contentOf(content)
	users, ok := levels["users"].(Object)
	if !ok && levels["users"] != nil {
		panic("invitetest: users of the power levels is no object")
	}
	if users == nil {
		users = Object{}
		levels["users"] = users
	}
	if r.rules.Auth.PrivilegedCreators {
		for _, creator := range r.creators() {
			delete(users, creator)
		}
	} else if _, listed := users[r.creator]; !listed {
		users[r.creator] = 100
	}
	return r.Set("m.room.power_levels", "", levels)
}

// creators returns the creator and the additional ones.
func (r *Room) creators() []string {
	var additional []string
	if create := r.Get("m.room.create", ""); create != nil {
		// What is no list of strings names nobody.
		_ = json.Unmarshal([]byte(create.ContentJSON("additional_creators")), &additional)
	}
	return append(additional, r.creator)
}

// ServerACL sets the server ACL: globs of server names. Nobody at all may take part unless
// allow names them.
func (r *Room) ServerACL(allow, deny []string) *fedinvite.Event {
	return r.Set("m.room.server_acl", "", Object{"allow": globs(allow), "deny": globs(deny)})
}

func globs(names []string) []string { return append([]string{}, names...) }

// PolicyServer names the room's policy server and its key, whose ID is
// "ed25519:policy_server" whatever that of s is. It counts only if a user of that server has
// joined.
func (r *Room) PolicyServer(s fedinvite.Signer) *fedinvite.Event {
	return r.Set("m.room.policy", "", Object{
		"via": s.ServerName(), "public_keys": Object{"ed25519": base64.RawStdEncoding.EncodeToString(s.Public())},
	})
}

// RoomState returns the invite_room_state for an invite of the creator: what
// [fedinvite.SelectRoomState] chooses, as full PDUs.
func (r *Room) RoomState() []json.RawMessage {
	return fedinvite.SelectRoomState(slices.DeleteFunc(r.State(), func(e *fedinvite.Event) bool {
		return e.Type() == "m.room.member" && keyOf(e).Key != r.creator
	}), 0)
}
