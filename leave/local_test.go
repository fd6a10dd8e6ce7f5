package leave_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/leave"
	"github.com/tidwall/gjson"
)

func TestLocal(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		invite := newInvite(t, rules)
		e, err := leave.Local(t.Context(), invite, departure(rules), invitetest.Signer(serverB))
		if err != nil {
			t.Fatal(err)
		}
		verified(t, e, rules)
		if diff := cmp.Diff([]string{invite.ID()}, e.PrevEventIDs()); diff != "" {
			t.Errorf("prev_events (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(append(invite.AuthEventIDs(), invite.ID()), e.AuthEventIDs()); diff != "" {
			t.Errorf("auth_events (-want +got):\n%s", diff)
		}
		if e.Depth() != invite.Depth()+1 || !e.OriginServerTS().Equal(departure(rules).Time) {
			t.Errorf("depth %d, time %v", e.Depth(), e.OriginServerTS())
		}
		sameJSON(t, "content", e.Content(), []byte(`{"membership":"leave","reason":"no, thank you"}`))

		// The same as the leave made from the invite's references.
		want, err := fedinvite.NewLeave(t.Context(), fedinvite.Draft{
			RoomID: roomID(rules), Sender: bob, Invitee: bob, AuthEvents: append(refs(rules, "a", 3), invite.Ref()),
			PrevEvents: []fedinvite.EventRef{invite.Ref()}, Depth: 9, Time: departure(rules).Time, Content: departure(rules).Content,
		}, rules, invitetest.Signer(serverB))
		if err != nil {
			t.Fatal(err)
		}
		sameJSON(t, "event", e.AppendJSON(nil), want.AppendJSON(nil))
	})
}

func TestLocalAtTheLimits(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		invite := newInvite(t, rules, func(d *fedinvite.Draft) {
			d.AuthEvents, d.Depth = refs(rules, "a", 10), rules.MaxDepth
		})
		e, err := leave.Local(t.Context(), invite, departure(rules), invitetest.Signer(serverB))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(append(invite.AuthEventIDs()[:9], invite.ID()), e.AuthEventIDs()); diff != "" {
			t.Errorf("auth_events (-want +got):\n%s", diff)
		}
		if e.Depth() != rules.MaxDepth {
			t.Errorf("depth %d, want %d", e.Depth(), rules.MaxDepth)
		}
	})
}

// inviteWithAuthEvents returns alice's invite with any auth_events that can be parsed.
func inviteWithAuthEvents(t testing.TB, rules fedinvite.Rules, raw string) (*fedinvite.Event, error) {
	t.Helper()
	text := set(t, newInvite(t, rules).AppendJSON(nil), "auth_events", raw)
	text = set(t, set(t, text, "hashes", ""), "signatures", "")
	text, err := fedinvite.SignEventJSON(t.Context(), text, rules, invitetest.Signer(serverA))
	if err != nil {
		return nil, err
	}
	return fedinvite.ParseEvent(text, rules)
}

// localWithAuthEvents returns the leave for that invite. What of the auth_events must not
// be signed has EVIL in it.
func localWithAuthEvents(t testing.TB, rules fedinvite.Rules, raw string) (local, invite *fedinvite.Event) {
	t.Helper()
	invite, err := inviteWithAuthEvents(t, rules, raw)
	if err != nil {
		t.Fatal(err)
	}
	s := &recordingSigner{Signer: invitetest.Signer(serverB)}
	local, err = leave.Local(t.Context(), invite, departure(rules), s)
	if err != nil {
		t.Fatal(err)
	}
	verified(t, local, rules)
	if len(s.signed) != 1 || strings.Contains(s.signed[0], "EVIL") || bytes.Contains(local.AppendJSON(nil), []byte("EVIL")) {
		t.Errorf("signed: %s", s.signed)
	}
	return local, invite
}

// In room versions 1 and 2 the references of the invite stay as they are, if they are no
// more than references.
func TestLocalKeepsReferences(t *testing.T) {
	const hash = `"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU"`
	for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV2} {
		rules := rulesOf(t, v)
		own, err := fedinvite.MarshalCanonical(newInvite(t, rules).ID())
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct{ name, invite, want string }{
			{"no hash, an empty one and one", `["$x:a.example",{}],["$y:a.example",{"sha256":""}],["$z:a.example",{"sha256":` + hash + `}]`, `["$x:a.example",{}],["$y:a.example",{"sha256":""}],["$z:a.example",{"sha256":` + hash + `}],`},
			{"none", ``, ``},
			{"no hash at all", `["$x:a.example",{"sha256":"EVIL"}]`, ``},
			{"a hash in base64 of another length", `["$x:a.example",{"sha256":"EVILEVIL"}]`, ``},
			{"the hash a number", `["$EVIL:a.example",{"sha256":7}]`, ``},
			{"another member", `["$x:a.example",{"EVIL":1}]`, ``},
			{"one more member", `["$x:a.example",{"md5":"EVIL","sha256":` + hash + `}]`, ``},
			{"an object", `["$x:a.example",{"signed":{"mxid":"@b:b.example","token":"EVIL"}}]`, ``},
			{"only the others", `["$x:a.example",{"EVIL":[]}],["$y:a.example",{}],["$z:a.example",{"EVIL":{}}]`, `["$y:a.example",{}],`},
			{"one twice", `["$x:a.example",{}],["$x:a.example",{"sha256":""}],["$y:a.example",{}]`, `["$x:a.example",{}],["$y:a.example",{}],`},
			{"the good one of two", `["$x:a.example",{"EVIL":1}],["$x:a.example",{}]`, `["$x:a.example",{}],`},
			{"the invite itself", `[` + string(own) + `,{"sha256":""}],["$x:a.example",{}]`, `["$x:a.example",{}],`},
		} {
			t.Run("v"+string(v)+"/"+c.name, func(t *testing.T) {
				e, invite := localWithAuthEvents(t, rules, "["+c.invite+"]")
				last := gjson.GetBytes(e.AppendJSON(nil), "prev_events.0").Raw
				if got, want := gjson.GetBytes(e.AppendJSON(nil), "auth_events").Raw, "["+c.want+last+"]"; got != want {
					t.Errorf("auth_events %s, want %s", got, want)
				}
				if diff := cmp.Diff([]string{invite.ID()}, e.PrevEventIDs()); diff != "" {
					t.Errorf("prev_events (-want +got):\n%s", diff)
				}
			})
		}
	}
}

// What the inviter wrote must not keep the invited user from leaving.
func TestLocalOfAHostileInvite(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		long := func(i int) string { // 255 bytes, 1,521 as JSON
			return fmt.Sprintf(`"$%s%d"`, strings.Repeat(`\u0001`, 253), i)
		}
		var all, junk []string
		for i := range 10 {
			id := long(i)
			if rules.EventIDs == fedinvite.EventIDServer {
				junk = append(junk, `[`+id+`,{"x":"EVIL`+strings.Repeat("A", 4_800)+`"}]`)
				id = `[` + id + `,{}]`
			}
			all = append(all, id)
		}
		e, invite := localWithAuthEvents(t, rules, "["+strings.Join(all, ",")+"]")
		if diff := cmp.Diff(append(invite.AuthEventIDs()[:9], invite.ID()), e.AuthEventIDs()); diff != "" {
			t.Errorf("auth_events (-want +got):\n%s", diff)
		}
		e, invite = localWithAuthEvents(t, rules, "["+all[0]+","+all[0]+","+all[1]+"]")
		if diff := cmp.Diff([]string{invite.AuthEventIDs()[0], invite.AuthEventIDs()[2], invite.ID()}, e.AuthEventIDs()); diff != "" {
			t.Errorf("auth_events, of which one is named twice (-want +got):\n%s", diff)
		}
		if rules.EventIDs != fedinvite.EventIDServer {
			return
		}
		for name, raw := range map[string]string{
			"one reference":  `[["$x:a.example",{"x":"EVIL` + strings.Repeat("A", 64_700) + `"}]]`,
			"ten references": "[" + strings.Join(junk, ",") + "]",
		} {
			e, invite := localWithAuthEvents(t, rules, raw)
			if size := len(invite.AppendJSON(nil)); size < 60_000 {
				t.Errorf("%s: an invite of %d bytes", name, size)
			}
			if diff := cmp.Diff([]string{invite.ID()}, e.AuthEventIDs()); diff != "" {
				t.Errorf("%s: auth_events (-want +got):\n%s", name, diff)
			}
		}
	})
}

// A store may hold what ParseEvent would not let in.
func TestLocalOfAStoredInvite(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		var all []string
		for i := range 30 {
			id := fmt.Sprintf(`"$%s%d:a.example"`, strings.Repeat("EVIL", 100*((i+1)%2)), i)
			if rules.EventIDs == fedinvite.EventIDServer {
				id = `[` + id + `,{}]`
			}
			all = append(all, id)
		}
		raw := set(t, newInvite(t, rules).AppendJSON(nil), "auth_events", "["+strings.Join(all, ",")+"]")
		invite, err := fedinvite.ParseStored(raw, rules)
		if err != nil {
			t.Fatal(err)
		}
		e, err := leave.Local(t.Context(), invite, departure(rules), invitetest.Signer(serverB))
		if err != nil {
			t.Fatal(err)
		}
		verified(t, e, rules)
		if ids := e.AuthEventIDs(); len(ids) != 10 || bytes.Contains(e.AppendJSON(nil), []byte("EVIL")) {
			t.Errorf("auth_events %s", ids)
		}
	})
}

func TestLocalErrors(t *testing.T) {
	eachVersion(t, func(t *testing.T, rules fedinvite.Rules) {
		invite := newInvite(t, rules)
		for _, c := range []struct {
			name   string
			invite *fedinvite.Event
			edit   func(*leave.Departure)
			server fedinvite.ServerName
			want   error
		}{
			{"no invite", nil, func(*leave.Departure) {}, serverB, fedinvite.ErrNotInvite},
			{"a leave", signedLeave(t, rules, "", ""), func(*leave.Departure) {}, serverB, fedinvite.ErrNotInvite},
			{"another user", invite, func(d *leave.Departure) { d.UserID = "@x:b.example" }, serverB, fedinvite.ErrMismatch},
			{"the inviter", invite, func(d *leave.Departure) { d.UserID = alice }, serverA, fedinvite.ErrMismatch},
			{"another room", invite, func(d *leave.Departure) { d.RoomID = "!x:a.example" }, serverB, fedinvite.ErrMismatch},
			{"the inviter's server", invite, func(*leave.Departure) {}, serverA, fedinvite.ErrSignature},
			{"no time", invite, func(d *leave.Departure) { d.Time = d.Time.AddDate(-1000, 0, 0) }, serverB, fedinvite.ErrBadJSON},
			{"content a list", invite, func(d *leave.Departure) { d.Content = []byte(`[]`) }, serverB, fedinvite.ErrBadJSON},
		} {
			t.Run(c.name, func(t *testing.T) {
				d, s := departure(rules), counting(t, c.server)
				c.edit(&d)
				e, err := leave.Local(t.Context(), c.invite, d, s)
				refused(t, e, err, c.want, s)
			})
		}
		if e, err := leave.Local(t.Context(), invite, departure(rules), nil); e != nil || err == nil {
			t.Errorf("no signer: %v, %v", e, err)
		}
	})
}

// An invite for which there is no user to leave.
func TestLocalWithoutStateKey(t *testing.T) {
	rules := rulesOf(t, fedinvite.RoomV11)
	d, s := departure(rules), counting(t, serverB)
	d.UserID = ""
	e, err := leave.Local(t.Context(), withoutStateKey(t, rules), d, s)
	if !errors.Is(err, fedinvite.ErrMismatch) {
		t.Error(err)
	}
	refused(t, e, err, fedinvite.ErrMismatch, s)
}

// withoutStateKey returns alice's invite for nobody.
func withoutStateKey(t testing.TB, rules fedinvite.Rules) *fedinvite.Event {
	t.Helper()
	raw := newInvite(t, rules).AppendJSON(nil)
	for _, path := range []string{"state_key", "hashes", "signatures"} {
		raw = set(t, raw, path, "")
	}
	raw, err := fedinvite.SignEventJSON(t.Context(), raw, rules, invitetest.Signer(serverA))
	if err != nil {
		t.Fatal(err)
	}
	e, err := fedinvite.ParseEvent(raw, rules)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
