package invitetest_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

const (
	alice = "@alice:a.example"
	bob   = "@bob:b.example"
	carol = "@carol:c.example"
)

var eventTime = time.UnixMilli(1_700_000_000_000)

func clock() time.Time { return eventTime }

// quietRoom returns a room that is the same in every run.
func quietRoom(v fedinvite.RoomVersion) *invitetest.Room {
	return invitetest.RoomConfig{Version: v, Creator: alice, Seed: "tea", Now: clock}.New()
}

// everything does with a room all that the plain methods can, and returns the invites that
// are not in it.
func everything(r *invitetest.Room) []*fedinvite.Event {
	identity := invitetest.Signer("id.example")
	r.Name("Tea")
	r.Alias("#tea:a.example")
	r.ServerACL([]string{"*"}, []string{"evil.example"})
	r.PolicyServer(invitetest.SignerWithKey("ps.example", "ed25519:policy_server"))
	r.PowerLevels(invitetest.Object{"users": invitetest.Object{alice: 100, bob: 50}, "invite": 50})
	r.Set("m.room.topic", "", nil)
	r.Join(bob, invitetest.Set("Bob", "content", "displayname"))
	r.Join("@ann:a.example")
	r.Join("@policy:ps.example")
	r.SetAs(bob, "m.room.avatar", "", invitetest.Object{"url": "mxc://b.example/1"})
	r.Leave(bob)
	r.Ban(bob)
	r.Kick(bob)
	r.JoinRule("public")
	r.Join(bob)
	r.Join(bob, invitetest.Set("Robert", "content", "displayname"))
	r.Kick(bob)
	if r.Rules().Auth.Knock {
		r.JoinRule("knock")
		r.Knock(carol)
		r.Join(carol)
		r.Leave(carol)
	}
	r.JoinRule("restricted", "!other:a.example")
	r.ThirdParty("token", identity)
	r.Add(r.Invite("@dan:d.example"))
	r.Leave("@dan:d.example")
	return []*fedinvite.Event{r.Invite(bob), r.Invite(carol), r.ThirdPartyInvite(carol, "token", identity)}
}

// verifyAll checks an event as a server does that has the room: its form, its hash and
// signatures, its place, and what the rules say of it.
func verifyAll(t *testing.T, r *invitetest.Room, before []*fedinvite.Event, e *fedinvite.Event) {
	t.Helper()
	if _, err := fedinvite.ParseEvent(e.AppendJSON(nil), r.Rules()); err != nil || !e.HashOK() || e.RoomID() != r.ID() {
		t.Errorf("%s: %v, content hash right: %v, room %s", e.Type(), err, e.HashOK(), e.RoomID())
	}
	keys := invitetest.Keys("a.example", "b.example", "c.example", "d.example", "ps.example")
	_, origin, err := fedinvite.ParseUserID(e.Sender())
	if err == nil {
		err = e.Verify(t.Context(), keys, origin)
	}
	if err != nil {
		t.Errorf("%s: %v", e.Type(), err)
	}
	previous := []string{}
	if n := len(before); n > 0 {
		previous = append(previous, before[n-1].ID())
	}
	if diff := cmp.Diff(previous, e.PrevEventIDs()); diff != "" || e.Depth() != int64(len(before)+1) {
		t.Errorf("%s: depth %d, prev_events (-want +got):\n%s", e.Type(), e.Depth(), diff)
	}
	if e.Type() != "m.room.member" || len(before) < 2 {
		return
	}
	var auth eventauth.State
	for _, known := range before {
		if slices.Contains(e.AuthEventIDs(), known.ID()) {
			auth = append(auth, known)
		}
	}
	if err := eventauth.CheckAuthEvents(e, auth); err != nil {
		t.Errorf("auth_events of %s: %v", e.Membership(), err)
	}
	change, err := eventauth.ChangeOf(e)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(idsOf(eventauth.SelectAuthEvents(change, r.Rules(), stateOf(before))), e.AuthEventIDs()); diff != "" {
		t.Errorf("auth_events of %s (-want +got):\n%s", e.Membership(), diff)
	}
	if r.Rules().RoomIDIsCreateEvent {
		auth = append(auth, before[0])
	}
	for name, state := range map[string]eventauth.State{"auth_events": auth, "the state before it": stateOf(before)} {
		if err := eventauth.Authorize(e, state); err != nil && !errors.Is(err, eventauth.ErrUnsupported) {
			t.Errorf("%s by %s: %v", e.Membership(), name, err)
		}
	}
}

func stateOf(events []*fedinvite.Event) (state eventauth.State) {
	for _, e := range events {
		key, _ := e.StateKey()
		state = slices.DeleteFunc(state, func(old *fedinvite.Event) bool {
			oldKey, _ := old.StateKey()
			return old.Type() == e.Type() && oldKey == key
		})
		state = append(state, e)
	}
	return state
}

func TestPlainEventsAreAllowedInEveryRoomVersion(t *testing.T) {
	t.Parallel()
	for _, v := range fedinvite.RoomVersions() {
		t.Run(string(v), func(t *testing.T) {
			r := invitetest.NewRoom(v, alice)
			outside := everything(r)
			events := r.Events()
			ids := map[string]bool{}
			for i, e := range events {
				verifyAll(t, r, events[:i], e)
				ids[e.ID()] = true
			}
			for _, e := range outside {
				verifyAll(t, r, events, e)
				ids[e.ID()] = true
			}
			if len(ids) != len(events)+len(outside) {
				t.Errorf("%d event IDs for %d events", len(ids), len(events)+len(outside))
			}
			if diff := cmp.Diff(idsOf(stateOf(events)), idsOf(r.State()), cmp.Transformer("sort", slices.Sorted[string])); diff != "" {
				t.Errorf("state (-want +got):\n%s", diff)
			}
		})
	}
}

func idsOf(events []*fedinvite.Event) []string {
	ids := make([]string, len(events))
	for i, e := range events {
		ids[i] = e.ID()
	}
	return ids
}

func TestOneConfigMakesOneRoom(t *testing.T) {
	t.Parallel()
	for _, v := range fedinvite.RoomVersions() {
		text := func(r *invitetest.Room) string {
			var b bytes.Buffer
			outside := everything(r)
			for _, e := range append(r.Events(), outside...) {
				b.Write(append(e.AppendJSON(nil), '\n'))
			}
			return b.String()
		}
		want := text(quietRoom(v))
		if diff := cmp.Diff(want, text(quietRoom(v))); diff != "" {
			t.Errorf("version %s (-first +second):\n%s", v, diff)
		}
		other := invitetest.RoomConfig{Version: v, Creator: alice, Seed: "coffee", Now: clock}.New()
		if other.ID() == quietRoom(v).ID() {
			t.Errorf("version %s: the room ID %s whatever the seed", v, other.ID())
		}
	}
	first, second := invitetest.NewRoom(fedinvite.RoomV11, alice), invitetest.NewRoom(fedinvite.RoomV11, alice)
	if first.ID() == second.ID() {
		t.Error("two rooms without a seed have one ID")
	}
}

// Each event follows on the one before it, whoever is faster.
func TestRoomIsSafeForConcurrentUse(t *testing.T) {
	for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV12} {
		r := invitetest.NewRoom(v, alice)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				user := fmt.Sprintf("@u%d:b.example", i%4)
				r.Join(user)
				r.Name(user)
				if i < 4 {
					r.Add(r.Invite(fmt.Sprintf("@v%d:c.example", i)))
				}
				r.Invite(user)
				r.RoomState()
				r.Remove("m.room.topic", "")
				if _, err := r.Snapshot(t.Context(), r.ID(), nil); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		ids := map[string]bool{}
		for _, e := range r.Events() {
			ids[e.ID()] = true
		}
		// Four founding events, four members who were invited and joined, four who joined
		// again, eight names, four invites.
		if want := 4 + 4*2 + 4 + 8 + 4; len(ids) != want || len(r.Events()) != want {
			t.Errorf("%d events with %d IDs, want %d", len(r.Events()), len(ids), want)
		}
	}
}

func TestJoinInvitesFirstUnlessThereIsNoNeed(t *testing.T) {
	for name, c := range map[string]struct {
		before func(*invitetest.Room)
		want   []string
	}{
		"a stranger":       {func(*invitetest.Room) {}, []string{alice + " invite", bob + " join"}},
		"after a leave":    {func(r *invitetest.Room) { r.Join(bob); r.Leave(bob) }, []string{alice + " invite", bob + " join"}},
		"somebody invited": {func(r *invitetest.Room) { r.Add(r.Invite(bob)) }, []string{bob + " join"}},
		"a member":         {func(r *invitetest.Room) { r.Join(bob) }, []string{bob + " join"}},
		"a public room":    {func(r *invitetest.Room) { r.JoinRule("public") }, []string{bob + " join"}},
		"no join rule":     {func(r *invitetest.Room) { r.Remove("m.room.join_rules", "") }, []string{alice + " invite", bob + " join"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := invitetest.NewRoom(fedinvite.RoomV11, alice)
			c.before(r)
			n := len(r.Events())
			r.Join(bob)
			var got []string
			for _, e := range r.Events()[n:] {
				got = append(got, e.Sender()+" "+e.Membership())
				if err := e.Verify(t.Context(), invitetest.Keys("a.example", "b.example"), "b.example"); err != nil {
					t.Errorf("%s: %v", e.Membership(), err)
				}
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPowerLevelsNameTheCreatorWhereThatIsAllowed(t *testing.T) {
	const ann = "@ann:a.example"
	for _, c := range []struct {
		name    string
		version fedinvite.RoomVersion
		content any
		want    string
	}{
		{"none, version 11", fedinvite.RoomV11, nil, `{"users":{"@alice:a.example":100}}`},
		{"none, version 12", fedinvite.RoomV12, nil, `{"users":{}}`},
		{"others, version 11", fedinvite.RoomV11, map[string]any{"invite": 50, "users": map[string]int{bob: 50}},
			`{"invite":50,"users":{"@alice:a.example":100,"@bob:b.example":50}}`},
		{"the creator, version 11", fedinvite.RoomV11, json.RawMessage(`{"users":{"@alice:a.example":7}}`), `{"users":{"@alice:a.example":7}}`},
		{"creators, version 12", fedinvite.RoomV12, map[string]any{"users": map[string]int{alice: 100, ann: 100, bob: 50}}, `{"users":{"@bob:b.example":50}}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := invitetest.RoomConfig{
				Version: c.version, Creator: alice, Create: invitetest.Object{"additional_creators": []string{ann}},
			}.New()
			e := r.PowerLevels(c.content)
			if diff := cmp.Diff(c.want, string(e.Content())); diff != "" {
				t.Errorf("content (-want +got):\n%s", diff)
			}
			levels, err := eventauth.ParsePowerLevels(r.Get("m.room.create", ""), e)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := levels.User(alice); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestNamedStateEvents(t *testing.T) {
	r := invitetest.NewRoom(fedinvite.RoomV11, alice)
	ps := invitetest.SignerWithKey("ps.example", "ed25519:policy_server")
	for _, c := range []struct {
		event *fedinvite.Event
		want  string
	}{
		{r.Name("Tea & more"), `m.room.name {"name":"Tea & more"}`},
		{r.Alias("#tea:a.example"), `m.room.canonical_alias {"alias":"#tea:a.example"}`},
		{r.JoinRule("restricted", "!x:a.example"), `m.room.join_rules {"allow":[{"room_id":"!x:a.example","type":"m.room_membership"}],"join_rule":"restricted"}`},
		{r.ServerACL([]string{"*"}, nil), `m.room.server_acl {"allow":["*"],"deny":[]}`},
		{r.PolicyServer(ps), `m.room.policy {"public_keys":{"ed25519":"` + base64.RawStdEncoding.EncodeToString(ps.Public()) + `"},"via":"ps.example"}`},
	} {
		if diff := cmp.Diff(c.want, c.event.Type()+" "+string(c.event.Content())); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if key, ok := c.event.StateKey(); key != "" || !ok || r.Get(c.event.Type(), "") != c.event {
			t.Errorf("%s with state key %q is not the room's", c.event.Type(), key)
		}
	}
	acl, err := fedinvite.ParseServerACL(r.ServerACL([]string{"*"}, []string{"*.evil.example"}).Content())
	if err != nil || !acl.Allows("b.example") || acl.Allows("x.evil.example") {
		t.Errorf("server ACL: %v", err)
	}
}

func TestThirdPartyInvites(t *testing.T) {
	identity := invitetest.Signer("id.example")
	for _, v := range fedinvite.RoomVersions() {
		r := invitetest.NewRoom(v, alice)
		token := r.ThirdParty("token", identity)
		invite := r.ThirdPartyInvite(bob, "token", identity)
		if err := eventauth.Authorize(invite, r.State()); err != nil {
			t.Errorf("version %s: %v", v, err)
		}
		if !slices.Contains(invite.AuthEventIDs(), token.ID()) {
			t.Errorf("version %s: auth_events %v without the token", v, invite.AuthEventIDs())
		}
		signed := json.RawMessage(invite.ContentJSON("third_party_invite", "signed"))
		if keys, err := eventauth.VerifyThirdParty(signed, token); err != nil || len(keys) != 2 {
			t.Errorf("version %s: %d keys verify, want both: %v", v, len(keys), err)
		}
		other := r.ThirdPartyInvite(bob, "token", invitetest.Signer("other.example"))
		if err := eventauth.Authorize(other, r.State()); !errors.Is(err, fedinvite.ErrForbidden) {
			t.Errorf("version %s, signed by somebody else: %v", v, err)
		}
	}
}

func TestAddReplacesAndRemoveForgets(t *testing.T) {
	for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV2, fedinvite.RoomV12} {
		r := invitetest.NewRoom(v, alice)
		r.Name("Tea")
		invite := r.Invite(bob)
		r.Add(invite)
		signed, err := invite.WithSignature(t.Context(), invitetest.Signer("b.example"))
		if err != nil {
			t.Fatal(err)
		}
		if v == fedinvite.RoomV2 { // as it comes by the v1 endpoint
			rules, _ := fedinvite.RoomV1.Rules()
			if signed, err = fedinvite.ParseEvent(signed.AppendJSON(nil), rules); err != nil {
				t.Fatal(err)
			}
		}
		n := len(r.Events())
		r.Add(signed)
		got := r.Get("m.room.member", bob)
		if len(r.Events()) != n || string(got.Signatures()) != string(signed.Signatures()) || got.Rules() != r.Rules() {
			t.Errorf("version %s: the room has %d events, want %d, and the invite %s", v, len(r.Events()), n, got.AppendJSON(nil))
		}
		r.Remove("m.room.name", "")
		if r.Get("m.room.name", "") != nil || len(r.Events()) != n-1 {
			t.Errorf("version %s: the name is still there", v)
		}
	}
}

func TestSnapshotIsWhatIsWanted(t *testing.T) {
	r := invitetest.NewRoom(fedinvite.RoomV11, alice)
	r.Join(bob)
	last := r.Name("Tea")
	want := []eventauth.StateKey{{Type: "m.room.create"}, {Type: "m.room.name"}, {Type: "m.room.topic"}}
	s, err := r.Snapshot(t.Context(), r.ID(), want)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{r.Events()[0].ID(), last.ID()}, idsOf(s.State)); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]fedinvite.EventRef{last.Ref()}, s.Extremities); diff != "" || s.Depth != last.Depth() || s.Version != "11" {
		t.Errorf("depth %d, version %s, extremities (-want +got):\n%s", s.Depth, s.Version, diff)
	}
	if !s.Joined("a.example") || !s.Joined("b.example") || s.Joined("c.example") {
		t.Error("the servers that are joined are others")
	}
	r.Leave(bob)
	if !s.Joined("b.example") {
		t.Error("the snapshot changes with the room")
	}
	if s, err = r.Snapshot(t.Context(), r.ID(), want); err != nil || s.Joined("b.example") {
		t.Errorf("who has left is joined; %v", err)
	}
	if _, err := r.Snapshot(t.Context(), "!other:a.example", want); fedinvite.WireError(err).Code != fedinvite.CodeNotFound {
		t.Errorf("another room: %v", err)
	}
	empty := invitetest.NewRoom(fedinvite.RoomV11, alice)
	for _, e := range empty.Events() {
		key, _ := e.StateKey()
		empty.Remove(e.Type(), key)
	}
	if s, err := empty.Snapshot(t.Context(), empty.ID(), want); err != nil || s.Depth != 0 || len(s.Extremities) != 0 {
		t.Errorf("a room without events: %+v, %v", s, err)
	}
}

// A room's members beside its inviter are not a stranger's business.
func TestRoomStateIsThatOfTheInviter(t *testing.T) {
	r := invitetest.NewRoom(fedinvite.RoomV12, alice)
	r.Name("Tea")
	r.Join(bob)
	r.ServerACL([]string{"*"}, nil)
	var got []string
	for _, raw := range r.RoomState() {
		e := r.Parse(raw)
		key, _ := e.StateKey()
		got = append(got, e.Type()+key)
	}
	want := []string{"m.room.create", "m.room.name", "m.room.member" + alice, "m.room.join_rules"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("types and state keys (-want +got):\n%s", diff)
	}
}

func TestRoomOfOnesOwnVersion(t *testing.T) {
	rules, err := fedinvite.RoomV12.Rules()
	if err != nil {
		t.Fatal(err)
	}
	rules.Version = "org.example.tea"
	var asked []fedinvite.ServerName
	r := invitetest.RoomConfig{Rules: rules, Creator: alice, Signer: func(server fedinvite.ServerName) fedinvite.Signer {
		asked = append(asked, server)
		return invitetest.SignerWithKey(server, "ed25519:other")
	}}.New()
	r.Join(bob)
	if e := r.Get("m.room.member", bob); e.Rules() != rules || !slices.Contains(asked, "b.example") {
		t.Errorf("rules of version %s, signers of %v", e.Rules().Version, asked)
	}
	keys := fedinvite.KeyMap{}
	keys.Add(invitetest.SignerWithKey("a.example", "ed25519:other"))
	if err := r.Invite(carol).Verify(t.Context(), keys); err != nil {
		t.Error(err)
	}
	s, err := r.Snapshot(t.Context(), r.ID(), nil)
	if err != nil || s.Version != "org.example.tea" {
		t.Errorf("snapshot %+v, %v", s, err)
	}
}

func TestMisusePanics(t *testing.T) {
	r := invitetest.NewRoom(fedinvite.RoomV6, alice)
	r.Ban(carol)
	other := invitetest.NewRoom(fedinvite.RoomV6, alice).Invite(bob)
	v12 := invitetest.NewRoom(fedinvite.RoomV12, alice).Invite(bob)
	left := invitetest.NewRoom(fedinvite.RoomV6, alice)
	left.Leave(alice)
	n := len(r.Events())
	for name, f := range map[string]func(){
		"unknown room version":      func() { invitetest.NewRoom("99", alice) },
		"no user ID":                func() { invitetest.NewRoom(fedinvite.RoomV11, "alice") },
		"seed of no room ID":        func() { invitetest.RoomConfig{Version: "11", Creator: alice, Seed: string(make([]byte, 256))}.New() },
		"no server name":            func() { invitetest.Signer("a b") },
		"no key ID":                 func() { invitetest.SignerWithKey("a.example", "rsa") },
		"content that is no object": func() { r.Set("m.room.name", "", "Tea") },
		"content that is no JSON":   func() { r.Set("m.room.name", "", func() {}) },
		"what is no event":          func() { r.Set("m.room.name", "", nil, invitetest.Drop("depth")) },
		"what is no invite at all":  func() { r.Invite(bob, invitetest.Drop("sender")) },
		"what nobody can sign":      func() { r.Sign([]byte("{")) },
		"fractions in version 6":    func() { r.Sign(r.InviteDraft(bob, invitetest.Set(1.5, "depth"))) },
		"users that are no object":  func() { r.PowerLevels(invitetest.Object{"users": 7}) },
		"joining though banned":     func() { r.Join(carol) },
		"leaving from without":      func() { r.Leave(bob) },
		"kicking though no member":  func() { left.Kick(bob) },
		"knocking in version 6":     func() { r.Knock(bob) },
		"event of another room":     func() { r.Add(other) },
		"event of another version":  func() { r.Add(v12) },
		"Set without a path":        func() { invitetest.Set(1) },
		"Drop without a path":       func() { invitetest.Drop() },
		"Change of no object":       func() { invitetest.Change(json.RawMessage(`null`)) },
		"Sign of no object":         func() { invitetest.Sign(json.RawMessage(`[]`), invitetest.Signer("a.example")) },
		"Sign of a fraction":        func() { invitetest.Sign(json.RawMessage(`{"a":1.5}`), invitetest.Signer("a.example")) },
		"Decode of two objects":     func() { invitetest.Decode([]byte(`{}{}`)) },
		"no base URL":               func() { r.Request(other, "b.example").HTTP(context.Background(), ":") },
		"request to no server":      func() { r.Request(other, "b b").Inbound(context.Background()) },
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if text, ok := recover().(string); !ok || len(text) < len("invitetest: …") || text[:12] != "invitetest: " {
					t.Errorf("recovered %q, want a text that begins with the name of the package", text)
				}
			}()
			f()
		})
	}
	if len(r.Events()) != n {
		t.Error("what panicked is in the room")
	}
	r.Name("the room still works")
}
