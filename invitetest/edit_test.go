package invitetest_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

func TestChange(t *testing.T) {
	const event = `{"content":{"a":1.50,"m":{"n":9007199254740993}},"x":"<&>"}`
	for _, c := range []struct {
		name  string
		edits []invitetest.Edit
		want  string
	}{
		{"nothing", nil, event},
		{"set a member", []invitetest.Edit{invitetest.Set("join", "content", "a")}, `{"content":{"a":"join","m":{"n":9007199254740993}},"x":"<&>"}`},
		{"make objects on the way", []invitetest.Edit{invitetest.Set(nil, "x", "y", "z")}, `{"content":{"a":1.50,"m":{"n":9007199254740993}},"x":{"y":{"z":null}}}`},
		{"drop a member", []invitetest.Edit{invitetest.Drop("content", "m"), invitetest.Drop("none")}, `{"content":{"a":1.50},"x":"<&>"}`},
		{"raw JSON stays as it is", []invitetest.Edit{invitetest.Set(json.RawMessage(`{"a":1,"a":2.0}`), "content")}, `{"content":{"a":1,"a":2.0},"x":"<&>"}`},
		{"raw JSON can be edited", []invitetest.Edit{invitetest.Set(json.RawMessage(`{"a":1,"b":2}`), "content"), invitetest.Set(3, "content", "b")},
			`{"content":{"a":1,"b":3},"x":"<&>"}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, string(invitetest.Change(json.RawMessage(event), c.edits...))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// An Edit does not remember what others made of the value that it set.
func TestEditsCanBeUsedAgain(t *testing.T) {
	value := invitetest.Object{"list": []any{invitetest.Object{"n": 1}}}
	set := invitetest.Set(value, "content")
	want := `{"content":{"list":[{"n":1}]}}`
	for range 2 {
		if got := string(invitetest.Change(json.RawMessage(`{}`), set)); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		invitetest.Change(json.RawMessage(`{}`), set, invitetest.Set(2, "content", "list"), func(o invitetest.Object) {
			o["content"].(invitetest.Object)["other"] = true
		})
	}
	if diff := cmp.Diff(invitetest.Object{"list": []any{invitetest.Object{"n": 1}}}, value); diff != "" {
		t.Errorf("the value was changed (-want +got):\n%s", diff)
	}
}
