package leave_test

import (
	"bytes"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/leave"
	"github.com/tidwall/gjson"
)

// Whatever make_leave answers: either nothing is signed, or a leave of that user in that
// room that says what we say.
func FuzzTemplateSign(f *testing.F) {
	versions := fedinvite.RoomVersions()
	for i, v := range versions {
		template := newTemplate(f, rulesOf(f, v))
		body, err := template.MarshalJSON()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(body, uint8(i))
		for _, c := range brokenTemplates {
			f.Add(set(f, bytes.Clone(body), "event."+c.path, c.raw), uint8(i))
		}
		f.Add(set(f, bytes.Clone(body), "event.content.third_party_invite", `{"signed":{}}`), uint8(i))
		f.Add(set(f, bytes.Clone(body), "event.depth", `9223372036854775807`), uint8(i))
		f.Add(set(f, bytes.Clone(body), "event.auth_events", `[["$x:a.example",{}],["$y:a.example",{"sha256":""}]]`), uint8(i))
		f.Add(set(f, bytes.Clone(body), "room_version", ""), uint8(i))
	}
	f.Fuzz(func(t *testing.T, body []byte, version uint8) {
		rules, s := rulesOf(t, versions[int(version)%len(versions)]), counting(t, serverB)
		before := bytes.Clone(body)
		template, err := leave.ParseTemplate(body)
		if !bytes.Equal(before, body) {
			t.Fatal("ParseTemplate changed its input")
		}
		if err != nil {
			return
		}
		again, err := template.MarshalJSON()
		if err != nil {
			t.Fatalf("%s was read and cannot be written: %v", body, err)
		}
		if read, err := leave.ParseTemplate(again); err != nil || !cmp.Equal(read, template) {
			t.Fatalf("%s was read as %s and that as %s (%v)", body, template.Event, read.Event, err)
		}
		e, err := template.Sign(t.Context(), departure(rules), rules, s)
		if err != nil {
			refused(t, e, err, err, s)
			return
		}
		if checked := template.Check(roomID(rules), bob); checked != nil {
			t.Fatalf("signed in spite of %v", checked)
		}
		verified(t, e, rules)
		sameJSON(t, "content", e.Content(), []byte(`{"membership":"leave","reason":"no, thank you"}`))
		sameMembers(t, e, rules)
	})
}

// Whatever an invite has for auth_events: if it is one, its user can leave.
func FuzzLocal(f *testing.F) {
	versions := fedinvite.RoomVersions()
	for i, v := range versions {
		f.Add(gjson.GetBytes(newInvite(f, rulesOf(f, v)).AppendJSON(nil), "auth_events").Raw, uint8(i))
		f.Add(`[["$x:a.example",{}],["$x:a.example",{"sha256":""}],["$y:a.example",{"x":[1.5]}]]`, uint8(i))
		f.Add(`["$x","$x","$\u0001"]`, uint8(i))
	}
	f.Fuzz(func(t *testing.T, raw string, version uint8) {
		if !gjson.Valid(raw) {
			return
		}
		rules := rulesOf(t, versions[int(version)%len(versions)])
		invite, err := inviteWithAuthEvents(t, rules, raw)
		if err != nil {
			return
		}
		e, err := leave.Local(t.Context(), invite, departure(rules), counting(t, serverB))
		if err != nil {
			t.Fatal(err)
		}
		verified(t, e, rules)
		ids := e.AuthEventIDs()
		if ids[len(ids)-1] != invite.ID() {
			t.Fatalf("auth_events without the invite: %q", ids)
		}
		named := map[string]bool{}
		for _, id := range ids {
			if named[id] || id != invite.ID() && !slices.Contains(invite.AuthEventIDs(), id) {
				t.Fatalf("auth_events %q of %q", ids, invite.AuthEventIDs())
			}
			named[id] = true
		}
		for _, ref := range gjson.GetBytes(e.AppendJSON(nil), "auth_events.#.1").Array() {
			if more := len(ref.Map()); more > 1 || len(ref.Raw) > len(`{"sha256":"`)+50 {
				t.Fatalf("a reference with %s", ref.Raw)
			}
		}
	})
}

// sameMembers fails the test if e has members that a leave does not need.
func sameMembers(t *testing.T, e *fedinvite.Event, rules fedinvite.Rules) {
	t.Helper()
	honest, err := newTemplate(t, rules).Sign(t.Context(), departure(rules), rules, counting(t, serverB))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(members(honest), members(e)); diff != "" {
		t.Errorf("members (-want +got):\n%s", diff)
	}
}

func members(e *fedinvite.Event) []string {
	return slices.Sorted(maps.Keys(gjson.ParseBytes(e.AppendJSON(nil)).Map()))
}
