package fedinvite_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// stripped returns a stripped state event by alice.
func stripped(eventType, stateKey string, content any) json.RawMessage {
	return encode(object{"type": eventType, "state_key": stateKey, "sender": alice, "content": content})
}

// signedState is a state event by alice.
func (r testRoom) signedState(eventType, stateKey string, edits ...edit) json.RawMessage {
	return r.Sign(r.Draft(alice, eventType, stateKey, nil, edits...))
}

// A stateHost checks room state and remembers whose keys it asked for.
type stateHost struct {
	keys   fedinvite.KeyMap
	errs   map[fedinvite.ServerName]error
	lookup []fedinvite.ServerName
}

func newStateHost(servers ...fedinvite.ServerName) *stateHost {
	return &stateHost{keys: invitetest.Keys(append(servers, serverA)...), errs: map[fedinvite.ServerName]error{}}
}

func (h *stateHost) VerifyKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	h.lookup = append(h.lookup, server)
	if err := h.errs[server]; err != nil {
		return fedinvite.VerifyKey{}, err
	}
	return h.keys.VerifyKey(ctx, server, id, at)
}

func (h *stateHost) check(t testing.TB, r testRoom, p fedinvite.RoomStatePolicy, state ...json.RawMessage) (fedinvite.RoomState, error) {
	t.Helper()
	return fedinvite.CheckRoomState(t.Context(), state, r.Parse(r.signedInvite()), h, p)
}

// A kept entry is what is left of an entry of the room state.
type kept struct {
	Type, StateKey string
	PDU, Verified  bool
}

func keptOf(s fedinvite.RoomState) (all []kept) {
	for _, e := range s.Events {
		all = append(all, kept{e.Type, e.StateKey, e.PDU != nil, e.Verified})
	}
	return all
}

func TestRoomStatePolicies(t *testing.T) {
	const createOnly, strict, off = fedinvite.StateCreateOnly, fedinvite.StateStrict, fedinvite.StateOff
	v11, v12 := newRoom(fedinvite.RoomV11), newRoom(fedinvite.RoomV12)
	otherCreate := v12.Sign(change(v12.create(), set(2, "depth"), drop("signatures"), drop("hashes")))

	name := stripped("m.room.name", "", object{"name": "Tea"})
	create := stripped("m.room.create", "", object{})
	unsigned := func(event json.RawMessage) json.RawMessage { return change(event, drop("signatures")) }
	byUnknownKey := func(r testRoom, event json.RawMessage) json.RawMessage {
		return r.Sign(change(event, drop("signatures"), drop("hashes")), invitetest.SignerWithKey(serverA, "ed25519:gone"))
	}
	forged := func(event json.RawMessage) json.RawMessage {
		return change(event, set(strings.Repeat("A", 86), "signatures", string(serverA), "ed25519:1"))
	}
	namePDU := func(r testRoom) json.RawMessage { return r.signedState("m.room.name", "") }
	foreign := func(r testRoom) json.RawMessage {
		id := "!other:a.example"
		if r.Rules().RoomIDIsCreateEvent {
			id = "!" + strings.Repeat("A", 43)
		}
		return r.signedState("m.room.name", "", set(id, "room_id"))
	}
	broken := func(r testRoom) json.RawMessage { // a PDU but for its depth
		return change(namePDU(r), set("deep", "depth"))
	}
	down := map[fedinvite.ServerName]error{serverA: errors.New("down")}

	createKept := kept{"m.room.create", "", true, false}
	createVerified := kept{"m.room.create", "", true, true}
	nameStripped := kept{"m.room.name", "", false, false}
	nameKept := kept{"m.room.name", "", true, false}
	nameVerified := kept{"m.room.name", "", true, true}

	for _, c := range []struct {
		name     string
		room     testRoom
		policy   fedinvite.RoomStatePolicy
		state    []json.RawMessage
		keys     map[fedinvite.ServerName]error
		want     []kept
		warnings []string
		err      error
	}{
		{"create only, v12: must hold a create PDU", v12, createOnly, []json.RawMessage{name}, nil, nil, nil, fedinvite.ErrStateMissing},
		{"create only, v12: a stripped create is none", v12, createOnly, []json.RawMessage{create}, nil, nil, nil, fedinvite.ErrStateStripped},
		{"create only, v12: a create with another state key is none", v12, createOnly, []json.RawMessage{stripped("m.room.create", "x", object{})}, nil, nil, nil, fedinvite.ErrStateMissing},
		{"create only, v12: whose reference hash is the room ID", v12, createOnly, []json.RawMessage{otherCreate}, nil, nil, nil, fedinvite.ErrStateRoom},
		{"create only, v12: create verified", v12, createOnly, []json.RawMessage{v12.create()}, nil, []kept{createVerified}, nil, nil},
		{"create only, v12: its failing signature refuses", v12, createOnly, []json.RawMessage{forged(v12.create())}, nil, nil, nil, fedinvite.ErrStateSignature},
		{"create only, v12: its absent signature refuses", v12, createOnly, []json.RawMessage{unsigned(v12.create())}, nil, nil, nil, fedinvite.ErrStateSignature},
		{"create only, v12: its unobtainable key warns", v12, createOnly, []json.RawMessage{v12.create()}, down, []kept{createKept}, []string{"signature"}, nil},
		{"create only, v12: its unknown key warns", v12, createOnly, []json.RawMessage{byUnknownKey(v12, v12.create())}, nil, []kept{createKept}, []string{"signature"}, nil},
		{"create only, v12: other entries may be stripped", v12, createOnly, []json.RawMessage{name, v12.create()}, nil, []kept{nameStripped, createVerified}, nil, nil},
		{"create only, v12: other PDUs are not verified", v12, createOnly, []json.RawMessage{v12.create(), forged(namePDU(v12))}, nil, []kept{createVerified, nameKept}, nil, nil},
		{"create only, v12: other PDUs of other rooms are dropped", v12, createOnly, []json.RawMessage{v12.create(), foreign(v12)}, nil, []kept{createVerified}, []string{"room"}, nil},
		{"create only, v12: a broken PDU counts as stripped", v12, createOnly, []json.RawMessage{v12.create(), broken(v12)}, nil, []kept{createVerified, nameStripped}, nil, nil},
		{"create only, v12: the PDU replaces the stripped create before it", v12, createOnly, []json.RawMessage{create, v12.create()}, nil, []kept{createVerified}, nil, nil},
		{"create only, v12: the PDU stays before a stripped create", v12, createOnly, []json.RawMessage{v12.create(), create}, nil, []kept{createVerified}, nil, nil},
		{"create only, v12: the create of another room refuses though the right one is there", v12, createOnly, []json.RawMessage{v12.create(), otherCreate}, nil, nil, nil, fedinvite.ErrStateRoom},

		{"create only, v11: no create warns", v11, createOnly, nil, nil, nil, []string{"missing"}, nil},
		{"create only, v11: a stripped create warns", v11, createOnly, []json.RawMessage{create}, nil, []kept{{"m.room.create", "", false, false}}, []string{"stripped"}, nil},
		{"create only, v11: no signature is checked", v11, createOnly, []json.RawMessage{forged(v11.create()), unsigned(namePDU(v11))}, nil, []kept{createKept, nameKept}, nil, nil},
		{"create only, v11: the first of two entries", v11, createOnly, []json.RawMessage{create, v11.create()}, nil, []kept{{"m.room.create", "", false, false}}, nil, nil},
		{"create only, v11: PDUs of other rooms are dropped", v11, createOnly, []json.RawMessage{v11.create(), foreign(v11)}, nil, []kept{createKept}, []string{"room"}, nil},
		{"create only, v11: what is no state event is dropped", v11, createOnly, []json.RawMessage{v11.create(), json.RawMessage("{}")}, nil, []kept{createKept}, []string{"stripped"}, nil},

		{"strict, v11: no create refuses", v11, strict, []json.RawMessage{namePDU(v11)}, nil, nil, nil, fedinvite.ErrStateMissing},
		{"strict, v11: no state refuses", v11, strict, nil, nil, nil, nil, fedinvite.ErrStateMissing},
		{"strict, v11: a stripped entry refuses", v11, strict, []json.RawMessage{v11.create(), name}, nil, nil, nil, fedinvite.ErrStateStripped},
		{"strict, v11: a broken PDU refuses", v11, strict, []json.RawMessage{v11.create(), broken(v11)}, nil, nil, nil, fedinvite.ErrStateStripped},
		{"strict, v11: what is no state event refuses", v11, strict, []json.RawMessage{v11.create(), json.RawMessage("7")}, nil, nil, nil, fedinvite.ErrStateStripped},
		{"strict, v11: a message event refuses", v11, strict, []json.RawMessage{v11.create(), v11.Sign(v11.Draft(alice, "m.room.message", "", nil, drop("state_key")))}, nil, nil, nil, fedinvite.ErrStateStripped},
		{"strict, v11: a PDU of another room refuses", v11, strict, []json.RawMessage{v11.create(), foreign(v11)}, nil, nil, nil, fedinvite.ErrStateRoom},
		{"strict, v11: a failing signature refuses", v11, strict, []json.RawMessage{v11.create(), forged(namePDU(v11))}, nil, nil, nil, fedinvite.ErrStateSignature},
		{"strict, v11: an absent signature refuses", v11, strict, []json.RawMessage{v11.create(), unsigned(namePDU(v11))}, nil, nil, nil, fedinvite.ErrStateSignature},
		{"strict, v11: an unobtainable key refuses", v11, strict, []json.RawMessage{v11.create()}, down, nil, nil, fedinvite.ErrStateSignature},
		{"strict, v11: an unknown key refuses", v11, strict, []json.RawMessage{byUnknownKey(v11, v11.create())}, nil, nil, nil, fedinvite.ErrStateSignature},
		{"strict, v11: everything verified", v11, strict, []json.RawMessage{namePDU(v11), v11.create()}, nil, []kept{nameVerified, createVerified}, nil, nil},
		{"strict, v12: everything verified", v12, strict, []json.RawMessage{v12.create(), namePDU(v12)}, nil, []kept{createVerified, nameVerified}, nil, nil},
		{"strict, v12: a stripped entry refuses", v12, strict, []json.RawMessage{v12.create(), name}, nil, nil, nil, fedinvite.ErrStateStripped},

		{"off, v12: nothing is checked", v12, off, nil, nil, nil, nil, nil},
		{"off, v12: every entry is taken as stripped", v12, off, []json.RawMessage{forged(otherCreate), foreign(v12)}, nil, []kept{{"m.room.create", "", false, false}, nameStripped}, nil, nil},
		{"off: what is no state event is dropped", v11, off, []json.RawMessage{json.RawMessage("null"), name}, nil, []kept{nameStripped}, []string{"stripped"}, nil},
		{"off: the first of two entries", v11, off, []json.RawMessage{name, namePDU(v11)}, nil, []kept{nameStripped}, nil, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := newStateHost()
			h.errs = c.keys
			got, err := h.check(t, c.room, c.policy, c.state...)
			if !errors.Is(err, c.err) || (err == nil) != (c.err == nil) {
				t.Fatalf("error %v, want %v", err, c.err)
			}
			if diff := cmp.Diff(c.want, keptOf(got)); diff != "" {
				t.Errorf("entries (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.warnings, warningNames(got.Warnings)); diff != "" {
				t.Errorf("warnings (-want +got):\n%s", diff)
			}
			if wants := c.policy == strict || c.policy == createOnly && c.room.Rules().RoomIDIsCreateEvent; !wants && len(h.lookup) > 0 {
				t.Errorf("keys of %v were asked for, want none where a failure only warns", h.lookup)
			}
		})
	}
}

// A create event that is proven by the room ID must not be hidden by a stripped one
// that anybody could have made up.
func TestRoomStateProvenCreateWithoutKey(t *testing.T) {
	r := newRoom(fedinvite.RoomV12)
	h := newStateHost()
	h.errs[serverA] = errors.New("down")
	s, err := h.check(t, r, fedinvite.StateCreateOnly, stripped("m.room.create", "", object{"type": "m.space"}), r.create())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{`{"content":{"invitetest.seed":"r","room_version":"12"},"sender":"@a:a.example","state_key":"","type":"m.room.create"}`}
	if diff := cmp.Diff(want, texts(s.Client())); diff != "" {
		t.Errorf("client form (-want +got):\n%s", diff)
	}
}

func TestRoomStateHashMismatch(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	rules := r.signedState("m.room.join_rules", "", set("invite", "content", "join_rule"))
	changed := change(rules, set("x", "content", "org.example.forged"))
	s, err := newStateHost().check(t, r, fedinvite.StateStrict, r.create(), changed)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(`{"join_rule":"invite"}`, string(s.Events[1].Content)); diff != "" {
		t.Errorf("content is not that of the redacted copy (-want +got):\n%s", diff)
	}
	if got := string(s.Events[1].PDU.AppendJSON(nil)); strings.Contains(got, "forged") {
		t.Errorf("the PDU is not the redacted copy: %s", got)
	}
}

func TestRoomStateLimit(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	for _, p := range []fedinvite.RoomStatePolicy{fedinvite.StateCreateOnly, fedinvite.StateStrict, fedinvite.StateOff} {
		state := slices.Repeat([]json.RawMessage{r.create()}, 101)
		if _, err := newStateHost().check(t, r, p, state[:100]...); err != nil {
			t.Errorf("policy %d, 100 entries: %v", p, err)
		}
		if _, err := newStateHost().check(t, r, p, state...); !errors.Is(err, fedinvite.ErrStateLimit) {
			t.Errorf("policy %d, 101 entries: %v, want %v", p, err, fedinvite.ErrStateLimit)
		}
	}
}

// What one delivery may cost, the invite's own signatures included.
func TestRoomStateBudgets(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	member := func(server fedinvite.ServerName) json.RawMessage {
		user := "@x:" + string(server)
		return r.Sign(r.Draft(alice, "m.room.member", user, nil, set(user, "sender"), set("join", "content", "membership")), invitetest.Signer(server))
	}
	serverOf := func(i int) fedinvite.ServerName { return fedinvite.ServerName(fmt.Sprintf("s%d.example", i)) }
	strict := func(keys fedinvite.KeyMap) func(*fedinvite.Config) {
		return func(c *fedinvite.Config) {
			c.RoomState = fedinvite.StateStrict
			for server, ids := range keys {
				c.Keys.(fedinvite.KeyMap)[server] = ids
			}
		}
	}

	t.Run("keys of at most 10 servers", func(t *testing.T) {
		keys := fedinvite.KeyMap{}
		state := []json.RawMessage{r.create()}
		for i := range 10 {
			keys.Add(invitetest.Signer(serverOf(i)))
			state = append(state, member(serverOf(i)))
		}
		newHost(t, strict(keys)).accepts(t, r.RequestWithState(r.signedInvite(), serverB, encode(state[:10])), nil)

		h := newHost(t, strict(keys))
		_, err := h.refuses(t, r.RequestWithState(r.signedInvite(), serverB, encode(state)).Inbound(t.Context()), invalidParam)
		if !errors.Is(err, fedinvite.ErrStateSignature) {
			t.Errorf("Done got %v, want %v", err, fedinvite.ErrStateSignature)
		}
		if slices.Contains(h.trace, "key of s9.example") {
			t.Error("the keys of an eleventh server were asked for")
		}
	})

	t.Run("at most 128 signature checks", func(t *testing.T) {
		// 30 signatures of the origin, all but one by unknown keys, and one in each entry.
		event := r.signedInvite()
		for i := range 29 {
			event = change(event, set("x", "signatures", string(serverA), fmt.Sprintf("ed25519:unknown%d", i)))
		}
		state := slices.Repeat([]json.RawMessage{r.create()}, 99)
		newHost(t, strict(nil)).accepts(t, r.RequestWithState(event, serverB, encode(state[:98])), nil)
		h := newHost(t, strict(nil))
		_, err := h.refuses(t, r.RequestWithState(event, serverB, encode(state)).Inbound(t.Context()), invalidParam)
		if !errors.Is(err, fedinvite.ErrStateSignature) {
			t.Errorf("Done got %v, want %v", err, fedinvite.ErrStateSignature)
		}
	})
}

func TestRoomStateClient(t *testing.T) {
	r := newRoom(fedinvite.RoomV12)
	name := r.signedState("m.room.name", "", set("Tea \"&\" <cake> é\u2028", "content", "name"), set(object{"prev_content": object{}}, "unsigned"))
	member := change(stripped("m.room.member", alice, object{"membership": "join", "displayname": "A\\"}),
		set("$x", "event_id"), set(object{"age": 1}, "unsigned"), set(1, "origin_server_ts"))
	s, err := newStateHost().check(t, r, fedinvite.StateCreateOnly, r.create(), name, member)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		`{"content":{"invitetest.seed":"r","room_version":"12"},"sender":"@a:a.example","state_key":"","type":"m.room.create"}`,
		`{"content":{"name":"Tea \"&\" <cake> é` + "\u2028" + `"},"sender":"@a:a.example","state_key":"","type":"m.room.name"}`,
		`{"content":{"displayname":"A\\","membership":"join"},"sender":"@a:a.example","state_key":"@a:a.example","type":"m.room.member"}`,
	}
	if diff := cmp.Diff(want, texts(s.Client())); diff != "" {
		t.Errorf("client form (-want +got):\n%s", diff)
	}
	if got := (fedinvite.RoomState{}).Client(); got == nil || len(got) != 0 {
		t.Errorf("client form of no state: %#v, want an empty list", got)
	}
	// Whoever makes a RoomState by hand may leave the content out.
	byHand := fedinvite.RoomState{Events: []fedinvite.StateEvent{{Type: "t", StateKey: "\n", Sender: alice}}}
	if diff := cmp.Diff([]string{`{"content":{},"sender":"@a:a.example","state_key":"\n","type":"t"}`}, texts(byHand.Client())); diff != "" {
		t.Errorf("client form (-want +got):\n%s", diff)
	}
}

// The entries of every list of hostile entries that are kept are state events.
func TestRoomStateHostileEntries(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	hostile := []json.RawMessage{nil, {}, json.RawMessage("{"), json.RawMessage(`"x"`), json.RawMessage(`[[[]]]`), json.RawMessage(`{"a":1,"a":2}`), json.RawMessage(`{"type":"\ud800"}`)}
	for name := range decode(r.create()) {
		for _, value := range []any{nil, 7, "x", []any{}, object{}, strings.Repeat("x", 300)} {
			hostile = append(hostile, change(r.create(), set(value, name)))
		}
		hostile = append(hostile, change(r.create(), drop(name)))
	}
	for i, raw := range hostile {
		for _, p := range []fedinvite.RoomStatePolicy{fedinvite.StateCreateOnly, fedinvite.StateStrict, fedinvite.StateOff} {
			s, err := newStateHost().check(t, r, p, raw)
			if err != nil && (p != fedinvite.StateStrict || fedinvite.WireError(err).Code != fedinvite.CodeInvalidParam) {
				t.Errorf("entry %d, policy %d: %v", i, p, err)
			}
			for _, entry := range s.Client() {
				o := decode(entry)
				_, hasType := o["type"].(string)
				_, hasContent := o["content"].(object)
				if _, _, err := fedinvite.ParseUserID(fmt.Sprint(o["sender"])); err != nil || !hasType || !hasContent || len(o) != 4 {
					t.Errorf("entry %d, policy %d: clients would get %s", i, p, entry)
				}
			}
		}
	}
}

func TestSelectRoomState(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	event := func(eventType, stateKey string, edits ...edit) *fedinvite.Event {
		return r.Parse(r.signedState(eventType, stateKey, edits...))
	}
	withUnsigned := r.Parse(change(r.signedState("m.room.name", ""), set(1, "unsigned", "age")))
	state := []*fedinvite.Event{
		event("m.room.topic", ""), event("m.room.encryption", ""), event("m.room.join_rules", ""),
		event("m.room.power_levels", ""), event("m.room.member", alice), event("m.room.avatar", ""),
		event("m.room.canonical_alias", ""), withUnsigned, event("m.room.history_visibility", ""), r.Parse(r.create()),
		r.Parse(r.Sign(r.Draft(alice, "m.room.name", "", nil, drop("state_key")))),
	}
	types := func(chosen []json.RawMessage) (all []string) {
		for _, raw := range chosen {
			all = append(all, decode(raw)["type"].(string))
		}
		return all
	}
	inOrder := []string{
		"m.room.create", "m.room.name", "m.room.canonical_alias", "m.room.avatar", "m.room.member",
		"m.room.join_rules", "m.room.encryption", "m.room.topic",
	}

	t.Run("the order, and nothing else", func(t *testing.T) {
		chosen := fedinvite.SelectRoomState(state, 0)
		if diff := cmp.Diff(inOrder, types(chosen)); diff != "" {
			t.Errorf("types (-want +got):\n%s", diff)
		}
		// Full events without unsigned: what StateStrict asks for.
		if _, err := newStateHost().check(t, r, fedinvite.StateStrict, chosen...); err != nil {
			t.Error(err)
		}
		if strings.Contains(string(chosen[1]), "unsigned") {
			t.Errorf("unsigned in %s", chosen[1])
		}
	})
	t.Run("no more bytes than the limit", func(t *testing.T) {
		all := fedinvite.SelectRoomState(state, 0)
		size := 0
		for i, entry := range all {
			size += len(entry)
			if diff := cmp.Diff(inOrder[:i+1], types(fedinvite.SelectRoomState(state[:], size))[:i+1]); diff != "" {
				t.Errorf("limit of %d entries' size (-want +got):\n%s", i+1, diff)
			}
			got := 0
			for _, entry := range fedinvite.SelectRoomState(state, size-1)[1:] {
				got += len(entry)
			}
			if got > 0 && got+len(all[0]) > size-1 {
				t.Errorf("limit %d: %d bytes chosen", size-1, got+len(all[0]))
			}
		}
	})
	t.Run("the create event always", func(t *testing.T) {
		if diff := cmp.Diff([]string{"m.room.create"}, types(fedinvite.SelectRoomState(state, 1))); diff != "" {
			t.Errorf("types (-want +got):\n%s", diff)
		}
	})
	t.Run("an entry that is too large leaves room for the next", func(t *testing.T) {
		large := event("m.room.name", "", set(strings.Repeat("x", 4000), "content", "name"))
		chosen := fedinvite.SelectRoomState([]*fedinvite.Event{large, event("m.room.topic", ""), r.Parse(r.create())}, 2000)
		if diff := cmp.Diff([]string{"m.room.create", "m.room.topic"}, types(chosen)); diff != "" {
			t.Errorf("types (-want +got):\n%s", diff)
		}
	})
	t.Run("at most 100 entries, the create event among them", func(t *testing.T) {
		crowd := slices.Repeat([]*fedinvite.Event{event("m.room.member", alice)}, 150)
		chosen := types(fedinvite.SelectRoomState(append(crowd, r.Parse(r.create())), 0))
		if len(chosen) != 100 || chosen[0] != "m.room.create" {
			t.Errorf("%d entries, first %v, want 100 with m.room.create first", len(chosen), chosen[0])
		}
	})
	t.Run("entries may be changed and grown, each on its own", func(t *testing.T) {
		want, changed := fedinvite.SelectRoomState(state, 0), fedinvite.SelectRoomState(state, 0)
		for i, entry := range changed {
			_ = append(entry, '#')
			if diff := cmp.Diff(texts(want[i:]), texts(changed[i:])); diff != "" {
				t.Fatalf("-want +got\n%s", diff)
			}
			clear(entry)
		}
		if diff := cmp.Diff(texts(want), texts(fedinvite.SelectRoomState(state, 0))); diff != "" {
			t.Errorf("the events changed: -want +got\n%s", diff)
		}
	})
	t.Run("no state", func(t *testing.T) {
		if got := fedinvite.SelectRoomState(nil, 0); got == nil || len(got) != 0 {
			t.Errorf("%#v, want an empty list, which is written as []", got)
		}
	})
}
