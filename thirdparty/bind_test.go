package thirdparty_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
	"github.com/tidwall/sjson"
)

// signed is the object that the identity server signed, in canonical form.
const signed = `{"mxid":"@alice:matrix.org","signatures":{"magic.forest":{"ed25519:3":"fQpGIW1Snz+pwLZu6sTy2aHy/DYWWTspTJRPyNp0PKkymfIsNffysMl6ObMMFdIJhk6g6pwlIqZ54rxo8SLmAg"}},"token":"abc123"}`

// bindBody is made of the specification's examples.
const bindBody = `{
	"address": "alice@example.com",
	"invites": [{
		"address": "alice@example.com",
		"medium": "email",
		"mxid": "@alice:matrix.org",
		"room_id": "!somewhere:example.org",
		"sender": "@bob:matrix.org",
		"signed": ` + signed + `
	}],
	"medium": "email",
	"mxid": "@alice:matrix.org"
}`

func wantBind() thirdparty.Bind {
	return thirdparty.Bind{
		Medium: "email", Address: "alice@example.com", UserID: "@alice:matrix.org",
		Invites: []thirdparty.Invite{{
			Medium: "email", Address: "alice@example.com", UserID: "@alice:matrix.org",
			RoomID: "!somewhere:example.org", Sender: "@bob:matrix.org", Signed: json.RawMessage(signed),
		}},
	}
}

// set sets the member at an sjson path to raw JSON; "" removes it.
func set(t testing.TB, text, path, raw string) string {
	t.Helper()
	var err error
	if raw == "" {
		text, err = sjson.Delete(text, path)
	} else {
		text, err = sjson.SetRaw(text, path, raw)
	}
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func quoted(n int, prefix string) string {
	return `"` + prefix + strings.Repeat("x", n-len(prefix)) + `"`
}

func TestParseBind(t *testing.T) {
	for _, c := range []struct {
		name, body string
		edit       func(*thirdparty.Bind)
	}{
		{"the specification's example", bindBody, func(*thirdparty.Bind) {}},
		{"no invites", set(t, bindBody, "invites", `[]`), func(b *thirdparty.Bind) { b.Invites = nil }},
		{"members that are not known", set(t, set(t, bindBody, "invites.0.extra", `{"x":[1.5]}`), "Mxid", `7`), func(*thirdparty.Bind) {}},
		{"another spelling", strings.ReplaceAll(bindBody, `"mxid"`, `"\u006dxid"`), func(*thirdparty.Bind) {}},
		{"a telephone number", set(t, set(t, bindBody, "medium", `"msisdn"`), "address", `"447700900000"`), func(b *thirdparty.Bind) {
			b.Medium, b.Address = "msisdn", "447700900000"
		}},
		{"a room of version 12", set(t, bindBody, "invites.0.room_id", quoted(44, "!")), func(b *thirdparty.Bind) {
			b.Invites[0].RoomID = strings.Trim(quoted(44, "!"), `"`)
		}},
		{"a historical user ID", strings.ReplaceAll(bindBody, "@bob:", "@Bob+é:"), func(b *thirdparty.Bind) { b.Invites[0].Sender = "@Bob+é:matrix.org" }},
		{"signed with more in it", set(t, bindBody, "invites.0.signed.a", `{"z":1, "b":[12345678901234567890, 1e2, "<\u00e9>"]}`), func(b *thirdparty.Bind) {
			b.Invites[0].Signed = json.RawMessage(`{"a":{"b":[12345678901234567890,100.0,"<é>"],"z":1},` + signed[1:])
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := wantBind()
			c.edit(&want)
			got, err := thirdparty.ParseBind([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("bind (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseBindErrors(t *testing.T) {
	cases := []struct {
		name, body string
		want       error
	}{
		{"nothing", ``, fedinvite.ErrNotJSON},
		{"no JSON", `{"medium"`, fedinvite.ErrNotJSON},
		{"two bodies", bindBody + bindBody, fedinvite.ErrNotJSON},
		{"a list", `[` + bindBody + `]`, fedinvite.ErrBadJSON},
		{"null", `null`, fedinvite.ErrBadJSON},
		{"mxid twice", `{"mxid":"@eve:matrix.org",` + bindBody[1:], fedinvite.ErrDuplicateKey},
		{"mxid of signed twice", strings.Replace(bindBody, `"token"`, `"\u006dxid":"@eve:matrix.org","token"`, 1), fedinvite.ErrDuplicateKey},
		{"bad text", strings.Replace(bindBody, "alice@", `\ud800@`, 1), fedinvite.ErrBadText},
		{"too deep", set(t, bindBody, "invites.0.signed.x", strings.Repeat("[", 125)+strings.Repeat("]", 125)), fedinvite.ErrTooDeep},
		{"51 invites", set(t, bindBody, "invites", invites(51)), fedinvite.ErrBadJSON},
	}
	add := func(want error, path string, values ...string) {
		for _, raw := range values {
			cases = append(cases, struct {
				name, body string
				want       error
			}{fmt.Sprintf("%s %.40s", path, raw), set(t, bindBody, path, raw), want})
		}
	}
	wrong := []string{`null`, `7`, `true`, `[]`, `{}`}
	for _, path := range []string{"medium", "address", "mxid", "invites"} {
		add(fedinvite.ErrMissing, path, "")
	}
	for _, path := range []string{"medium", "address", "mxid"} {
		add(fedinvite.ErrBadJSON, path, append(wrong, quoted(256, "@"))...)
	}
	add(fedinvite.ErrIdentifier, "mxid", `""`, `"alice"`, `"@alice"`, `"@alice:"`, `"@a\u0000:matrix.org"`)
	add(fedinvite.ErrBadJSON, "invites", `null`, `7`, `{}`, `{"0":{}}`, `[null]`, `[[]]`, `["x"]`, `[{}]`)
	for _, path := range []string{"medium", "address", "mxid", "room_id", "sender", "signed", "signed.mxid", "signed.token", "signed.signatures"} {
		add(fedinvite.ErrBadJSON, "invites.0."+path, "", `null`, `7`, `[]`)
	}
	for _, path := range []string{"medium", "address", "signed.token"} {
		add(fedinvite.ErrBadJSON, "invites.0."+path, quoted(256, ""))
	}
	add(fedinvite.ErrIdentifier, "invites.0.room_id", `""`, `"somewhere:example.org"`, `"#somewhere:example.org"`)
	add(fedinvite.ErrBadJSON, "invites.0.room_id", quoted(256, "!"))
	add(fedinvite.ErrIdentifier, "invites.0.sender", `"bob"`, `"@bob"`, `"@bob:ex ample.org"`)
	add(fedinvite.ErrBadJSON, "mxid", `"@eve:matrix.org"`)
	add(fedinvite.ErrBadJSON, "invites.0.mxid", `"@eve:matrix.org"`)
	add(fedinvite.ErrBadJSON, "invites.0.signed.mxid", `"@eve:matrix.org"`)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := thirdparty.ParseBind([]byte(c.body))
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if c.want != fedinvite.ErrMissing && errors.Is(err, fedinvite.ErrMissing) {
				t.Errorf("error %v says that something is missing in the body itself", err)
			}
			if err != nil && strings.Contains(err.Error(), "example.com") {
				t.Errorf("error %v shows the address", err)
			}
			if diff := cmp.Diff(thirdparty.Bind{}, got); diff != "" {
				t.Errorf("a bind in spite of the error: %s", diff)
			}
		})
	}
}

func invites(n int) string {
	one := bindBody[strings.Index(bindBody, "[")+1 : strings.LastIndex(bindBody, "]")]
	return "[" + strings.TrimSuffix(strings.Repeat(one+",", n), ",") + "]"
}

func TestLimitsOfBind(t *testing.T) {
	got, err := thirdparty.ParseBind([]byte(set(t, bindBody, "invites", invites(50))))
	if err != nil || len(got.Invites) != 50 {
		t.Errorf("50 invites: %d, %v", len(got.Invites), err)
	}
	for path, raw := range map[string]string{
		"medium": quoted(255, ""), "address": quoted(255, ""), "invites.0.signed.token": quoted(255, ""), "invites.0.room_id": quoted(255, "!"),
	} {
		if _, err := thirdparty.ParseBind([]byte(set(t, bindBody, path, raw))); err != nil {
			t.Errorf("%s of 255 bytes: %v", path, err)
		}
	}
}

// One malformed invite refuses the whole body.
func TestOneMalformedInvite(t *testing.T) {
	body := set(t, set(t, bindBody, "invites", invites(3)), "invites.1.sender", `"bob"`)
	got, err := thirdparty.ParseBind([]byte(body))
	if !errors.Is(err, fedinvite.ErrBadJSON) || got.Invites != nil {
		t.Errorf("%v, %v", got, err)
	}
	if !strings.Contains(fmt.Sprint(err), "invites[1].sender") {
		t.Errorf("error %v does not say where", err)
	}
}

func FuzzParseBind(f *testing.F) {
	f.Add([]byte(bindBody))
	f.Add([]byte(set(f, bindBody, "invites", invites(3))))
	f.Add([]byte(set(f, bindBody, "invites", `[{}]`)))
	f.Add([]byte(set(f, bindBody, "invites.0.signed.x", `[1e2,12345678901234567890,{"\u0000":"<>"}]`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		b, err := thirdparty.ParseBind(body)
		if string(body) != before {
			t.Fatal("ParseBind changed its input")
		}
		if err != nil {
			if !errors.Is(err, fedinvite.ErrBadJSON) && !errors.Is(err, fedinvite.ErrNotJSON) && !errors.Is(err, fedinvite.ErrMissing) {
				t.Fatalf("error %v", err)
			}
			return
		}
		for _, inv := range b.Invites {
			x := inv.Exchange()
			sameAfterMarshal(t, x)
			_, origin, err := fedinvite.ParseUserID(inv.UserID)
			if err != nil {
				t.Fatal(err)
			}
			_, destination, err := fedinvite.ParseUserID(inv.Sender)
			if err != nil {
				t.Fatal(err)
			}
			if err := x.Check(inv.RoomID, origin, destination); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// sameAfterMarshal fails the test unless the body of x is canonical and is read as x.
func sameAfterMarshal(t *testing.T, x thirdparty.Exchange) {
	t.Helper()
	body, err := x.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if canonical, err := fedinvite.LegacyCanonicalJSON(body); err != nil || string(canonical) != string(body) {
		t.Fatalf("%s is not canonical (%v)", body, err)
	}
	again, err := thirdparty.ParseExchange(body)
	if err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if diff := cmp.Diff(x, again); diff != "" {
		t.Fatalf("read again (-want +got):\n%s", diff)
	}
}
