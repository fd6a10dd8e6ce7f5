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
