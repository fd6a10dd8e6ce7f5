package eventauth_test

import (
	"fmt"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// ordinary returns an ordinary invite and the state of its room: seven events, one of them
// the levels of 100 users, of whom Alice is somewhere in the middle or, if she has just
// users_default, is not.
func ordinary(t testing.TB, v fedinvite.RoomVersion, listed bool) (*fedinvite.Event, eventauth.State) {
	t.Helper()
	users := object{bob: 50}
	if listed {
		users = object{alice: 50}
	}
	for i := range 99 {
		users[fmt.Sprintf("@%c%d:a.example", 'a'+i%26, i)] = 10
	}
	rules := rulesOf(t, v)
	r := newRoom(t, rules, carol, nil)
	profile := object{"avatar_url": "mxc://a.example/abcdefghijklmnopqrstuvwx", "displayname": "Alice", "membership": "join"}
	r.add("m.room.member", alice, alice, profile)
	profile["membership"] = "leave"
	r.add("m.room.member", bob, bob, profile)
	r.add("m.room.power_levels", "", carol, object{
		"ban": 50, "events": object{"m.room.name": 50, "m.room.power_levels": 100, "m.room.tombstone": 150},
		"events_default": 0, "invite": 50, "kick": 50, "redact": 50, "state_default": 50, "users": users, "users_default": 50,
	})
	r.add("m.room.join_rules", "", carol, object{"join_rule": "invite"})
	r.add("m.room.name", "", carol, object{"name": "A room"})
	r.add("m.room.encryption", "", carol, object{"algorithm": "m.megolm.v1.aes-sha2"})
	profile["membership"] = "invite"
	return r.event("m.room.member", alice, profile, func(o object) { o["state_key"] = bob }), r.state
}

func BenchmarkAuthorize(b *testing.B) {
	for _, v := range []fedinvite.RoomVersion{"1", "6", "10", "12"} {
		for _, listed := range []bool{true, false} {
			e, state := ordinary(b, v, listed)
			b.Run(fmt.Sprintf("v%s/listed=%v", v, listed), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if err := eventauth.Authorize(e, state); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

func BenchmarkSelectAuthEvents(b *testing.B) {
	e, state := ordinary(b, "11", true)
	c, err := eventauth.ChangeOf(e)
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if len(eventauth.SelectAuthEvents(c, e.Rules(), state)) != 5 {
			b.Fatal("other events than usual")
		}
	}
}

func TestAuthorizeOfAnInviteAllocatesLittle(t *testing.T) {
	for _, v := range fedinvite.RoomVersions() {
		e, state := ordinary(t, v, true)
		var err error
		allocs := testing.AllocsPerRun(100, func() { err = eventauth.Authorize(e, state) })
		if err != nil || allocs > 10 {
			t.Errorf("room version %s: %v allocations, want at most 10; error %v", v, allocs, err)
		}
	}
}
