package leave_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/leave"
)

var update = flag.Bool("update", false, "write the golden files anew")

// The bytes of a template, of the leave that is made of it, and of the leave that is made
// of the invite alone.
func TestGolden(t *testing.T) {
	for _, v := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV3, fedinvite.RoomV11, fedinvite.RoomV12} {
		t.Run("v"+string(v), func(t *testing.T) {
			rules, s := rulesOf(t, v), invitetest.Signer(serverB)
			template, err := newTemplate(t, rules).MarshalJSON()
			if err != nil {
				t.Fatal(err)
			}
			signed, err := newTemplate(t, rules).Sign(t.Context(), departure(rules), rules, s)
			if err != nil {
				t.Fatal(err)
			}
			invite := newInvite(t, rules)
			local, err := leave.Local(t.Context(), invite, departure(rules), s)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, "v"+string(v)+".json", map[string]any{
				"template": json.RawMessage(template),
				"leave":    signed, "leave_event_id": signed.ID(),
				"invite": invite, "invite_event_id": invite.ID(),
				"local": local, "local_event_id": local.ID(),
			})
		})
	}
}

// golden compares v with a file, or writes it.
func golden(t *testing.T, name string, v any) {
	t.Helper()
	path := filepath.Join("testdata", name)
	var got bytes.Buffer
	e := json.NewEncoder(&got)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, got.Bytes(), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got.String()); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}
