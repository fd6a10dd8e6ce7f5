package main

import "maps"

// A world is what the receiving server is and knows.
type world struct {
	Now         int64             `json:"now"`
	Servers     map[string]ownKey `json:"servers"`
	Keys        keyring           `json:"keys"`
	Unavailable []string          `json:"unavailable,omitempty"` // servers whose keys cannot be had now
	ACL         string            `json:"server_acl,omitempty"`  // content of the room's m.room.server_acl event
	Policy      string            `json:"policy,omitempty"`      // what the receiving server's own rules say
	RoomState   string            `json:"room_state,omitempty"`  // "strict": all that the specification says of invite_room_state

	name string
}

type ownKey struct {
	KeyID  string `json:"key_id"`
	Seed   string `json:"seed"`
	Public string `json:"public_key"`
}

// plainWorld returns the world in which nothing is special.
func plainWorld() world {
	w := world{name: "plain", Now: now, Servers: map[string]ownKey{}, Keys: ringOf(keyA, keyB, keyB2, keyC)}
	for _, k := range []key{keyB, keyB2} {
		w.Servers[k.server] = ownKey{k.id, unpadded(k.seed()), k.public()}
	}
	return w
}

// with returns the world under another name, in which k is known too, with the validity of p.
func (w world) with(name string, k key, p publicKey) world {
	w.name = name
	keys := keyring{}
	for server, known := range w.Keys {
		keys[server] = maps.Clone(known)
	}
	w.Keys = keys.add(k, p)
	return w
}
