package policy_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/policy"
	"github.com/tidwall/gjson"
)

// permission returns the policy for a user with that account data.
func permission(content string) policy.Policy {
	return policy.InvitePermission(func(context.Context, string) (json.RawMessage, error) { return json.RawMessage(content), nil })
}

// Client-server API, "Invite permission" and m.invite_permission_config.
func TestInvitePermission(t *testing.T) {
	const (
		block       = "When set to block, the user does not wish to receive any room invites"
		missing     = "A missing value means that the user wants to receive invites"
		invalid     = "An invalid value means that the user wants to receive invites"
		unsupported = "An unsupported value means that the user wants to receive invites"
	)
	for _, c := range []struct {
		name, content string
		want          verdict
	}{
		{block, `{"default_action":"block"}`, blocked},
		{block + ": with white space", " {\n\t\"default_action\" : \"block\"\r\n} ", blocked},
		{block + ": with escapes", `{"default\u005faction":"bl\u006fck"}`, blocked},
		{block + ": whatever else there is", `{"a":1.5e400,"default_action":"block","z":[[{}],null]}`, blocked},
		{block + ": of two values the last counts", `{"default_action":"x","default_action":"block"}`, blocked},
		{missing + ": no such member", `{}`, allowed},
		{missing + ": other members", `{"action":"block","default":{"default_action":"block"}}`, allowed},
		{missing + ": names are case-sensitive", `{"Default_Action":"block","DEFAULT_ACTION":"block"}`, allowed},
		{missing + ": a dot is no path", `{"content":{"default_action":"block"},"content.default_action":"block"}`, allowed},
		{missing + ": empty account data", ``, allowed},
		{invalid + ": null", `{"default_action":null}`, allowed},
		{invalid + ": true", `{"default_action":true}`, allowed},
		{invalid + ": a number", `{"default_action":1}`, allowed},
		{invalid + ": a list", `{"default_action":["block"]}`, allowed},
		{invalid + ": an object", `{"default_action":{"block":"block"}}`, allowed},
		{invalid + ": no object but null", `null`, allowed},
		{invalid + ": no object but a list", `["default_action","block"]`, allowed},
		{invalid + ": no object but text", `"block"`, allowed},
		{invalid + ": no JSON", `{"default_action":"block"`, allowed},
		{invalid + ": more than JSON", `{"default_action":"block"}x`, allowed},
		{invalid + ": deeper than any JSON", `{"default_action":"block","x":` + strings.Repeat("[", 1e5) + strings.Repeat("]", 1e5) + `}`, allowed},
		{unsupported, `{"default_action":"allow"}`, allowed},
		{unsupported + ": the empty text", `{"default_action":""}`, allowed},
		{unsupported + ": case counts", `{"default_action":"Block"}`, allowed},
		{unsupported + ": more than block", `{"default_action":"block "}`, allowed},
	} {
		t.Run(c.name, func(t *testing.T) { wants(t, permission(c.content), inviteFrom(t, alice), c.want) })
	}
	t.Run(missing+": no account data", func(t *testing.T) {
		p := policy.InvitePermission(func(context.Context, string) (json.RawMessage, error) { return nil, nil })
		wants(t, p, inviteFrom(t, alice), allowed)
	})
}

func TestInvitePermissionIsThatOfTheInvitee(t *testing.T) {
	var asked []string
	p := policy.InvitePermission(func(_ context.Context, userID string) (json.RawMessage, error) {
		asked = append(asked, userID)
		return nil, nil
	})
	wants(t, p, inviteFrom(t, alice), allowed)
	if len(asked) != 1 || asked[0] != bob {
		t.Errorf("asked for %q, want %s once", asked, bob)
	}
}

func TestInvitePermissionFailsClosed(t *testing.T) {
	p := policy.InvitePermission(func(context.Context, string) (json.RawMessage, error) { return nil, errStore })
	if err := wants(t, p, inviteFrom(t, alice), ourFault); !errors.Is(err, errStore) {
		t.Errorf("error %v, want that of the callback", err)
	}
}

// Clients may write anything; what blocks is JSON, and says so to another reader too.
func FuzzInvitePermission(f *testing.F) {
	for _, s := range []string{
		``, `null`, `{}`, `{"default_action":"block"}`, `{"default_action":"allow"}`, `{"default_action":["block"]}`, `[]`, "\xff",
		`{"default\u005faction":"\u0062lock"}`, `{"default_action":"block","default_action":1}`,
	} {
		f.Add([]byte(s))
	}
	inv := inviteFrom(f, alice)
	f.Fuzz(func(t *testing.T, content []byte) {
		got := verdictOf(permission(string(content))(t.Context(), inv))
		if got == blocked && !json.Valid(content) {
			t.Errorf("%q blocks", content)
		}
		canonical, err := fedinvite.LegacyCanonicalJSON(content)
		if err != nil {
			return
		}
		want := allowed
		if action := gjson.GetBytes(canonical, "default_action"); action.Type == gjson.String && action.Str == "block" {
			want = blocked
		}
		if got != want {
			t.Errorf("answer %v to %q, want %v", got, content, want)
		}
	})
}
