package eventauth_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
)

// State that cannot be is the caller's fault, and never an approval.
func TestContradictoryState(t *testing.T) {
	good := scene{does: "invite", alice: "join", bob: "leave", levels: `{}`, joinRule: "invite", third: &thirdParty{}}
	plain := scene{does: "invite", alice: "join", bob: "leave", levels: `{}`}
	for _, tc := range []struct {
		name  string
		scene scene
		edit  func(r *room)
	}{
		{"two create events", plain, func(r *room) { r.state = append(r.state, r.state[0]) }},
		{"two power levels", plain, func(r *room) { r.add("m.room.power_levels", "", carol, object{}) }},
		{"two join rules", plain, func(r *room) {
			r.add("m.room.join_rules", "", carol, object{})
			r.add("m.room.join_rules", "", carol, object{})
		}},
		{"two memberships of the sender", plain, func(r *room) { r.member(alice, "join") }},
		{"two memberships of the target", plain, func(r *room) { r.member(bob, "invite") }},
		{"two events for the token", good, func(r *room) { r.add("m.room.third_party_invite", token, alice, object{}) }},
		{"membership of the sender unknown", scene{does: "invite", alice: "visit"}, nil},
		{"membership of the target unknown", scene{does: "invite", alice: "join", bob: "visit"}, nil},
		{"membership of the target unknown, third-party invite", scene{does: "invite", bob: "visit", third: &thirdParty{}}, nil},
		{"membership of who leaves unknown", scene{does: "leave", to: alice, alice: "visit"}, nil},
		{"membership of the sender of a leave unknown", scene{does: "leave", alice: "visit"}, nil},
		{"an event of another room", plain, func(r *room) {
			other := newRoom(r, r.rules, dave, nil)
			if !r.rules.RoomIDIsCreateEvent {
				other.id = "!other:a.example"
			}
			r.state = append(r.state, other.add("m.room.topic", "", dave, object{}))
		}},
		{"the create event of another room", plain, func(r *room) {
			other := newRoom(r, r.rules, dave, nil)
			if !r.rules.RoomIDIsCreateEvent {
				other.id = "!other:a.example"
				other.state[0] = other.add("m.room.create", "", dave, object{})
			}
			r.state[0] = other.state[0]
		}},
		{"an event of another room version", plain, func(r *room) {
			r.rules.Version = "other"
			r.state[0] = r.parse(r.state[0].AppendJSON(nil))
		}},
		{"an event of other rules of the same name", plain, func(r *room) {
			r.rules.AuthorisingServerSigns = !r.rules.AuthorisingServerSigns
			r.state[0] = r.parse(r.state[0].AppendJSON(nil))
		}},
		{"the zero event", plain, func(r *room) { r.state = append(r.state, new(fedinvite.Event)) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
				r, e := tc.scene.build(t, rules)
				if tc.edit != nil {
					if err := eventauth.Authorize(e, r.state); err != nil {
						t.Fatalf("before: %v", err)
					}
					tc.edit(r)
				}
				if err := eventauth.Authorize(e, r.state); !errors.Is(err, eventauth.ErrState) || errors.Is(err, fedinvite.ErrForbidden) {
					t.Errorf("error %v, want ErrState", err)
				}
			})
		})
	}
}

// Before version 7 nobody looks who knocks.
func TestContradictoryStateOfAKnock(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		r, e := scene{does: "knock", to: alice, alice: "visit", joinRule: "knock"}.build(t, rules)
		err := eventauth.Authorize(e, r.state)
		if !rules.Auth.Knock {
			checkRule(t, rules.Version, err, "unknown")
		} else if !errors.Is(err, eventauth.ErrState) {
			t.Errorf("error %v, want ErrState", err)
		}
	})
}

// What the rules do not ask for does not matter.
func TestStateThatIsNotNeeded(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		r, e := scene{does: "invite", alice: "join"}.build(t, rules)
		for range 2 {
			r.add("m.room.topic", "", carol, object{})
			r.add("m.room.power_levels", "with a key", carol, object{"invite": 100})
			r.add("m.room.third_party_invite", token, carol, object{})
			r.member(dave, "visit")
		}
		r.state = append(r.state, nil, r.event("m.room.power_levels", carol, object{"invite": 100})) // no state event
		checkRule(t, rules.Version, eventauth.Authorize(e, r.state), "")
	})
}

// Room versions 1 and 2 have the same rules, but for their names, and are told apart.
func TestStateOfTheTwinVersion(t *testing.T) {
	r, e := scene{does: "invite", alice: "join", levels: `{}`}.build(t, rulesOf(t, "1"))
	r.rules = rulesOf(t, "2")
	twin := r.parse(e.AppendJSON(nil))
	if err := eventauth.Authorize(twin, r.state); !errors.Is(err, eventauth.ErrState) {
		t.Errorf("error %v, want ErrState", err)
	}
	levels := r.parse(r.state.Get("m.room.power_levels", "").AppendJSON(nil))
	if _, err := eventauth.ParsePowerLevels(r.state[0], levels); !errors.Is(err, eventauth.ErrState) {
		t.Errorf("power levels: error %v, want ErrState", err)
	}
}

// Event types and IDs are what peers wrote: an error shows them on one line.
func TestErrorsQuoteWhatPeersWrote(t *testing.T) {
	const topic = "m.\nroom.topic"
	r, e := scene{does: "invite", alice: "join"}.build(t, rulesOf(t, "1"))
	odd := func(eventType, stateKey string, edits ...func(object)) *fedinvite.Event {
		return r.event(eventType, alice, object{"membership": "\n"}, append(edits, func(o object) {
			o["event_id"], o["state_key"] = "$\n:a.example", stateKey
		})...)
	}
	other := rulesOf(t, "2")
	foreign, err := fedinvite.ParseStored(odd(topic, "").AppendJSON(nil), other)
	if err != nil {
		t.Fatal(err)
	}
	for name, state := range map[string]eventauth.State{
		"other rules": {foreign},
		"other room":  {odd(topic, "", func(o object) { o["room_id"] = "!\n:a.example" })},
		"twice":       {odd("m.room.member", bob), odd("m.room.member", bob)},
		"membership":  {odd("m.room.member", bob)},
	} {
		err := eventauth.Authorize(e, append(slices.Clone(r.state), state...))
		if !errors.Is(err, eventauth.ErrState) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %q", name, err)
		}
	}
	for name, auth := range map[string][]*fedinvite.Event{"other rules": {foreign}, "not named": {r.state[0]}} {
		named := r.event("m.room.member", alice, object{"membership": "invite"}, func(o object) { o["state_key"] = bob }, r.authEvents(foreign))
		if err := eventauth.CheckAuthEvents(named, auth); !errors.Is(err, eventauth.ErrState) || strings.Contains(err.Error(), "\n") {
			t.Errorf("auth_events, %s: error %q", name, err)
		}
	}
}

func TestUnsupported(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		for _, membership := range []string{"join", "ban"} {
			r, e := scene{does: membership, alice: "join", levels: alice50}.build(t, rules)
			if err := eventauth.Authorize(e, r.state); !errors.Is(err, eventauth.ErrUnsupported) {
				t.Errorf("%s: error %v, want ErrUnsupported", membership, err)
			}
			c, err := eventauth.ChangeOf(e)
			if err != nil || c.Membership != membership {
				t.Errorf("%s: ChangeOf %v, %v", membership, c, err)
			}
			if err := c.Authorize(rules, r.state); !errors.Is(err, eventauth.ErrUnsupported) {
				t.Errorf("%s: error %v, want ErrUnsupported", membership, err)
			}
		}
		r := newRoom(t, rules, carol, nil)
		topic := r.event("m.room.topic", carol, object{"membership": "invite"}, func(o object) { o["state_key"] = "" })
		for name, e := range map[string]*fedinvite.Event{"none": nil, "a topic": topic} {
			if err := eventauth.Authorize(e, r.state); !errors.Is(err, eventauth.ErrUnsupported) {
				t.Errorf("%s: error %v, want ErrUnsupported", name, err)
			}
			if err := eventauth.CheckAuthEvents(e, nil); !errors.Is(err, eventauth.ErrUnsupported) {
				t.Errorf("%s: CheckAuthEvents: error %v, want ErrUnsupported", name, err)
			}
			if _, err := eventauth.ChangeOf(e); !errors.Is(err, eventauth.ErrUnsupported) {
				t.Errorf("%s: ChangeOf: error %v, want ErrUnsupported", name, err)
			}
		}
	})
}

func TestNothingAtAll(t *testing.T) {
	var zero fedinvite.Event
	if err := eventauth.Authorize(&zero, nil); !errors.Is(err, fedinvite.ErrRoomVersion) {
		t.Errorf("the zero event: %v", err)
	}
	if err := eventauth.CheckAuthEvents(&zero, nil); !errors.Is(err, fedinvite.ErrRoomVersion) {
		t.Errorf("the auth_events of the zero event: %v", err)
	}
	if _, err := eventauth.ChangeOf(&zero); !errors.Is(err, eventauth.ErrUnsupported) {
		t.Errorf("ChangeOf the zero event: %v", err)
	}
	if _, err := eventauth.ParsePowerLevels(&zero, &zero); !errors.Is(err, fedinvite.ErrRoomVersion) {
		t.Errorf("the power levels of zero events: %v", err)
	}
	var c eventauth.Change
	if err := c.Authorize(fedinvite.Rules{}, nil); !errors.Is(err, fedinvite.ErrRoomVersion) {
		t.Errorf("the zero rules: %v", err)
	}
	if err := c.Authorize(fedinvite.Rules{Version: "mine"}, nil); !errors.Is(err, fedinvite.ErrRoomVersion) {
		t.Errorf("rules that say nothing: %v", err)
	}
	nameless := rulesOf(t, "11")
	nameless.Version = ""
	if err := c.Authorize(nameless, nil); !errors.Is(err, fedinvite.ErrRoomVersion) {
		t.Errorf("rules without a version: %v", err)
	}
	if got := eventauth.SelectAuthEvents(c, fedinvite.Rules{}, eventauth.State{nil, &zero}); got != nil {
		t.Errorf("selected %v by the zero rules", got)
	}
	if got := (eventauth.State{nil, &zero}).Get("", ""); got != nil {
		t.Errorf("Get found %v", got)
	}
	c.Needs()
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		want := "auth.4"
		if rules.RoomIDIsCreateEvent {
			want = "create"
		}
		checkRule(t, rules.Version, c.Authorize(rules, nil), want)
		checkRule(t, rules.Version, c.Authorize(rules, eventauth.State{nil}), want)
		if got := eventauth.SelectAuthEvents(c, rules, eventauth.State{nil, &zero}); len(got) != 0 {
			t.Errorf("selected %v", got)
		}
		r := newRoom(t, rules, carol, nil)
		checkRule(t, rules.Version, eventauth.Change{RoomID: r.id}.Authorize(rules, r.state), "member.1")
		for _, membership := range []string{"invite", "leave", "knock"} {
			c := eventauth.Change{RoomID: r.id, Membership: membership}
			if err := c.Authorize(rules, r.state); !errors.Is(err, fedinvite.ErrForbidden) {
				t.Errorf("%s of nobody by nobody: %v", membership, err)
			}
		}
		// Third-party invites that are no JSON have nothing in them.
		c := eventauth.Change{RoomID: r.id, Target: bob, Membership: "invite", ThirdParty: []byte(`{"signed":`)}
		checkRule(t, rules.Version, c.Authorize(rules, r.state), "invite.1.2")
	})
}

// Custom room versions have the rules of their Rules, whatever their name.
func TestCustomRules(t *testing.T) {
	rules := rulesOf(t, "10")
	rules.Version = "org.example.custom"
	rules.Auth.MemberRule, rules.Auth.InviteRule = 7, 9
	rules.Auth.KnockRestricted = false
	rules.Auth.CreatorIsSender = true
	for _, tc := range []struct {
		name  string
		scene scene
		want  string
	}{
		{"invite", scene{does: "invite", alice: "join", bob: "ban"}, "7.9.3"},
		{"third-party invite", scene{does: "invite", third: &thirdParty{none: true}}, "7.9.1.5"},
		{"leave", scene{does: "leave"}, "7.10.2"},
		{"knock", scene{does: "knock", to: alice, joinRule: "knock_restricted"}, "7.12.1"},
		{"unknown", scene{does: "visit"}, "7.13"},
		{"the creator is the sender", scene{does: "leave", alice: "join", bob: "join", creator: alice, create: `{"creator":"` + bob + `"}`}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r, e := tc.scene.build(t, rules)
			err := eventauth.Authorize(e, r.state)
			var got *eventauth.RuleError
			if tc.want == "" && err != nil || tc.want != "" && (!errors.As(err, &got) || got.Rule != tc.want || got.RoomVersion != rules.Version) {
				t.Errorf("error %v, want rule %q", err, tc.want)
			}
		})
	}
	rules.Auth.Knock = false
	r, e := scene{does: "knock", to: alice}.build(t, rules)
	var got *eventauth.RuleError
	if err := eventauth.Authorize(e, r.state); !errors.As(err, &got) || got.Rule != "7.12" {
		t.Errorf("knock where there is none: error %v, want rule 7.12", err)
	}
	rules.RoomIDIsCreateEvent = true // but it is selected
	r, e = scene{does: "invite", alice: "join", creator: dave, create: `{"m.federate":false}`}.build(t, rules)
	if err := eventauth.Authorize(e, r.state); !errors.As(err, &got) || got.Rule != "4" {
		t.Errorf("m.federate: error %v, want rule 4", err)
	}
}

func TestNeeds(t *testing.T) {
	c := eventauth.Change{Sender: alice, Target: bob, Membership: "leave"}
	want := []eventauth.StateKey{{"m.room.create", ""}, {"m.room.power_levels", ""}, {"m.room.member", alice}, {"m.room.member", bob}}
	if got := c.Needs(); !slices.Equal(got, want) {
		t.Errorf("Needs %v, want %v", got, want)
	}
}
