package eventauth_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/eventauth"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// FuzzAuthorize holds Authorize against what must be so for an event to be allowed at all,
// worked out anew from the state.
func FuzzAuthorize(f *testing.F) {
	versions := fedinvite.RoomVersions()
	for i, v := range versions {
		rules, _ := v.Rules()
		for _, row := range rows {
			if in(v, row.versions) && (row.want == "" || i == len(versions)-1) {
				r, e := row.scene.build(f, rules)
				f.Add(e.AppendJSON(nil), []byte(invitetest.Encode(r.state)), uint8(i))
			}
		}
	}
	f.Fuzz(func(t *testing.T, event, stateJSON []byte, version uint8) {
		rules := rulesOf(t, versions[int(version)%len(versions)])
		e, err := fedinvite.ParseStored(event, rules)
		if err != nil {
			return
		}
		state := parseState(stateJSON, rules)
		err = eventauth.Authorize(e, state)
		checkKind(t, err)
		if err == nil {
			mustBeAllowed(t, e, state)
		}
		slices.Reverse(state)
		again := eventauth.Authorize(e, append(state, nil))
		if (err == nil) != (again == nil) || err != nil && errors.Is(err, fedinvite.ErrForbidden) != errors.Is(again, fedinvite.ErrForbidden) {
			t.Fatalf("%v, but %v in another order", err, again)
		}
		auth := slices.DeleteFunc(slices.Clone(state), func(s *fedinvite.Event) bool { return !slices.Contains(e.AuthEventIDs(), s.ID()) })
		checkKind(t, eventauth.CheckAuthEvents(e, auth))

		c, changeErr := eventauth.ChangeOf(e)
		if changeErr != nil {
			checkKind(t, changeErr)
			return
		}
		if alone := c.Authorize(rules, state); err == nil && alone != nil {
			t.Fatalf("the event is allowed, what it does is not: %v", alone)
		}
		chosen := eventauth.SelectAuthEvents(c, rules, state)
		if len(chosen) > 7 {
			t.Fatalf("%d events selected", len(chosen))
		}
		needs := c.Needs()
		for _, a := range chosen {
			key, _ := a.StateKey()
			if !slices.Contains(needs, eventauth.StateKey{Type: a.Type(), Key: key}) {
				t.Fatalf("%s %q is selected but not needed", a.Type(), key)
			}
		}
	})
}

// parseState takes what it can out of an array of events.
func parseState(raw []byte, rules fedinvite.Rules) eventauth.State {
	var state eventauth.State
	for _, one := range splitArray(raw) {
		if e, err := fedinvite.ParseStored(one, rules); err == nil {
			state = append(state, e)
		}
	}
	return state
}

// checkKind checks that an error is one of those that are promised.
func checkKind(t *testing.T, err error) {
	t.Helper()
	n := 0
	for _, kind := range []error{fedinvite.ErrForbidden, eventauth.ErrState, eventauth.ErrUnsupported, fedinvite.ErrRoomVersion} {
		if errors.Is(err, kind) {
			n++
		}
	}
	if err != nil && n != 1 {
		t.Fatalf("error %v is %d of those that there may be", err, n)
	}
}

// mustBeAllowed fails unless the least is so that every rule demands.
func mustBeAllowed(t *testing.T, e *fedinvite.Event, state eventauth.State) {
	t.Helper()
	if !e.HashOK() {
		e = e.Redacted()
	}
	target, _ := e.StateKey()
	membership := func(user string) string {
		if m := state.Get("m.room.member", user); m != nil {
			return m.Membership()
		}
		return ""
	}
	sender, current := membership(e.Sender()), membership(target)
	create := state.Get("m.room.create", "")
	if create == nil || create.RoomID() != e.RoomID() {
		t.Fatal("allowed in a room without a create event")
	}
	third := e.ContentJSON("third_party_invite") != ""
	ok := false
	switch e.Membership() {
	case "invite":
		if third {
			signedToken := e.ContentJSON("third_party_invite", "signed", "token")
			for _, s := range state {
				key, _ := s.StateKey()
				if s.Type() == "m.room.third_party_invite" && s.Sender() == e.Sender() && signedToken == string(canonicalText(t, key)) {
					ok = current != "ban"
				}
			}
			break
		}
		ok = sender == "join" && current != "join" && current != "ban"
	case "leave":
		ok = sender == "join" || e.Sender() == target && (sender == "invite" || sender == "knock" && e.Rules().Auth.Knock)
	case "knock":
		ok = e.Sender() == target && !slices.Contains([]string{"join", "invite", "ban"}, sender) && state.Get("m.room.join_rules", "") != nil && e.Rules().Auth.Knock
	}
	if !ok {
		t.Fatalf("allowed: %s by %s of %s, who were %q and %q: %s", e.Membership(), e.Sender(), target, sender, current, e.AppendJSON(nil))
	}
}
