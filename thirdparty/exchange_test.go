package thirdparty_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
	"github.com/tidwall/gjson"
)

// exchangeBody is the specification's example, in canonical form, but that its user is
// invited under one name.
const exchangeBody = `{"content":{"membership":"invite","third_party_invite":{"display_name":"alice","signed":` + signed + `}},` +
	`"room_id":"!abc123:matrix.org","sender":"@joe:matrix.org","state_key":"@alice:matrix.org","type":"m.room.member"}`

func wantExchange() thirdparty.Exchange {
	return thirdparty.Exchange{
		RoomID: "!abc123:matrix.org", Sender: "@joe:matrix.org", Invitee: "@alice:matrix.org", DisplayName: "alice", Signed: json.RawMessage(signed),
	}
}

func TestExchangeRoundTrip(t *testing.T) {
	x, err := thirdparty.ParseExchange([]byte(exchangeBody))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(wantExchange(), x); diff != "" {
		t.Errorf("exchange (-want +got):\n%s", diff)
	}
	body, err := x.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(exchangeBody, string(body)); diff != "" {
		t.Errorf("body (-want +got):\n%s", diff)
	}
	if got, want := string(x.ThirdPartyInvite()), gjson.Get(exchangeBody, "content.third_party_invite").Raw; got != want {
		t.Errorf("third_party_invite %s, want %s", got, want)
	}
}

func TestParseExchange(t *testing.T) {
	const thirdParty = "content.third_party_invite."
	for _, c := range []struct {
		name, body string
		edit       func(*thirdparty.Exchange)
	}{
		{"display_name is left out", set(t, exchangeBody, thirdParty+"display_name", ""), func(x *thirdparty.Exchange) { x.DisplayName = "" }},
		{"display_name in another script", set(t, exchangeBody, thirdParty+"display_name", `"\u0000<\"é\">"`), func(x *thirdparty.Exchange) { x.DisplayName = "\x00<\"é\">" }},
		{"members that are not known", set(t, set(t, set(t, exchangeBody, "event_id", `7`), "content.reason", `null`), thirdParty+"x", `1.5`), func(*thirdparty.Exchange) {}},
		{"white space", strings.ReplaceAll(exchangeBody, ",", "\n,\t"), func(*thirdparty.Exchange) {}},
		{"a room of version 12", set(t, exchangeBody, "room_id", quoted(44, "!")), func(x *thirdparty.Exchange) { x.RoomID = strings.Trim(quoted(44, "!"), `"`) }},
		{"signed with more in it", set(t, exchangeBody, thirdParty+"signed.z", `[2, -0, 9007199254740993]`), func(x *thirdparty.Exchange) {
			x.Signed = json.RawMessage(strings.TrimSuffix(signed, "}") + `,"z":[2,0,9007199254740993]}`)
		}},
		{"signed for somebody else, which Check refuses", set(t, exchangeBody, thirdParty+"signed.mxid", `"@eve:matrix.org"`), func(x *thirdparty.Exchange) {
			x.Signed = json.RawMessage(strings.Replace(signed, "@alice", "@eve", 1))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			want := wantExchange()
			c.edit(&want)
			got, err := thirdparty.ParseExchange([]byte(c.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("exchange (-want +got):\n%s", diff)
			}
			sameAfterMarshal(t, got)
		})
	}
}

func TestParseExchangeErrors(t *testing.T) {
	cases := []struct {
		name, body string
		want       error
	}{
		{"nothing", ``, fedinvite.ErrNotJSON},
		{"no JSON", exchangeBody[1:], fedinvite.ErrNotJSON},
		{"a list", `[` + exchangeBody + `]`, fedinvite.ErrBadJSON},
		{"state_key twice", `{"state_key":"@eve:matrix.org",` + exchangeBody[1:], fedinvite.ErrDuplicateKey},
		{"bad text", strings.Replace(exchangeBody, "alice", "\xff", 1), fedinvite.ErrBadText},
	}
	add := func(want error, path string, values ...string) {
		for _, raw := range values {
			cases = append(cases, struct {
				name, body string
				want       error
			}{fmt.Sprintf("%s %.40s", path, raw), set(t, exchangeBody, path, raw), want})
		}
	}
	const signedAt = "content.third_party_invite.signed"
	for _, path := range []string{
		"type", "room_id", "sender", "state_key", "content", "content.membership", "content.third_party_invite",
		signedAt, signedAt + ".mxid", signedAt + ".token", signedAt + ".signatures",
	} {
		add(fedinvite.ErrMissing, path, "")
		add(fedinvite.ErrBadJSON, path, `null`, `7`, `[]`, `true`)
	}
	add(fedinvite.ErrBadJSON, "content.third_party_invite.display_name", `null`, `7`, `{}`)
	add(fedinvite.ErrNotInvite, "type", `"m.room.third_party_invite"`, `""`)
	add(fedinvite.ErrNotInvite, "content.membership", `"join"`, `"leave"`, `""`, quoted(1000, ""))
	add(fedinvite.ErrIdentifier, "room_id", `""`, `"abc123:matrix.org"`)
	add(fedinvite.ErrBadJSON, "room_id", quoted(256, "!"))
	add(fedinvite.ErrIdentifier, "sender", `""`, `"joe"`, `"@joe"`)
	add(fedinvite.ErrIdentifier, "state_key", `""`, `"alice"`, `"@alice:"`, quoted(250, "@alice:matrix.org:"))
	add(fedinvite.ErrIdentifier, signedAt+".mxid", `""`, `"alice"`)
	add(fedinvite.ErrBadJSON, signedAt+".token", quoted(256, ""))
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := thirdparty.ParseExchange([]byte(c.body))
			if !errors.Is(err, c.want) {
				t.Errorf("error %v, want %v", err, c.want)
			}
			if diff := cmp.Diff(thirdparty.Exchange{}, got); diff != "" {
				t.Errorf("an exchange in spite of the error: %s", diff)
			}
		})
	}
}

// Scenario 70, what of it can be seen in the body: path≠body is 400 M_BAD_JSON, no
// state_key 400 M_MISSING_PARAM.
func TestScenario70(t *testing.T) {
	_, err := thirdparty.ParseExchange([]byte(set(t, exchangeBody, "state_key", "")))
	if told := fedinvite.WireError(err); told == nil || told.Status != 400 || told.Code != fedinvite.CodeMissingParam {
		t.Errorf("no state_key: %v", told)
	}
	err = wantExchange().Check("!other:matrix.org", "matrix.org", "matrix.org")
	if told := fedinvite.WireError(err); told == nil || told.Status != 400 || told.Code != fedinvite.CodeBadJSON {
		t.Errorf("path≠body: %v", told)
	}
}

func TestExchangeCheck(t *testing.T) {
	const room, a, b = "!r:a.example", fedinvite.ServerName("a.example"), fedinvite.ServerName("b.example")
	signedFor := func(mxid string) json.RawMessage { return json.RawMessage(`{"mxid":` + mxid + `,"token":"t"}`) }
	good := thirdparty.Exchange{RoomID: room, Sender: "@a:a.example", Invitee: "@b:b.example", Signed: signedFor(`"@b:b.example"`)}
	for _, c := range []struct {
		name   string
		edit   func(*thirdparty.Exchange)
		origin fedinvite.ServerName
		want   error
	}{
		{"good", func(*thirdparty.Exchange) {}, b, nil},
		{"another room", func(x *thirdparty.Exchange) { x.RoomID = "!R:a.example" }, b, fedinvite.ErrBadJSON},
		{"the invited user is not of the origin", func(*thirdparty.Exchange) {}, "c.example", fedinvite.ErrOrigin},
		{"nor of its port", func(*thirdparty.Exchange) {}, b + ":8448", fedinvite.ErrOrigin},
		{"the invited user is one of ours", func(x *thirdparty.Exchange) {
			x.Invitee, x.Signed = "@x:a.example", signedFor(`"@x:a.example"`)
		}, b, fedinvite.ErrOrigin},
		{"no invited user", func(x *thirdparty.Exchange) { x.Invitee = "b.example" }, b, fedinvite.ErrOrigin},
		{"the sender is not ours", func(x *thirdparty.Exchange) { x.Sender = "@c:c.example" }, b, fedinvite.ErrNotLocal},
		{"the sender is of the origin", func(x *thirdparty.Exchange) { x.Sender = "@x:b.example" }, b, fedinvite.ErrNotLocal},
		{"no sender", func(x *thirdparty.Exchange) { x.Sender = "" }, b, fedinvite.ErrNotLocal},
		{"signed for somebody else", func(x *thirdparty.Exchange) { x.Signed = signedFor(`"@c:b.example"`) }, b, fedinvite.ErrMismatch},
		{"signed for a list", func(x *thirdparty.Exchange) { x.Signed = signedFor(`["@b:b.example"]`) }, b, fedinvite.ErrMismatch},
		{"signed for nobody", func(x *thirdparty.Exchange) { x.Signed = json.RawMessage(`{"Mxid":"@b:b.example"}`) }, b, fedinvite.ErrMismatch},
		{"signed for two", func(x *thirdparty.Exchange) { x.Signed = signedFor(`"@c:b.example","mxid":"@b:b.example"`) }, b, fedinvite.ErrDuplicateKey},
		{"nothing signed", func(x *thirdparty.Exchange) { x.Signed = nil }, b, fedinvite.ErrNotJSON},
		{"signed is a list", func(x *thirdparty.Exchange) { x.Signed = json.RawMessage(`[]`) }, b, fedinvite.ErrBadJSON},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := good
			c.edit(&x)
			if err := x.Check(room, c.origin, a); !errors.Is(err, c.want) || c.want == nil && err != nil {
				t.Errorf("error %v, want %v", err, c.want)
			}
		})
	}
	if err := (thirdparty.Exchange{}).Check("", "", ""); err == nil {
		t.Error("the zero Exchange passes")
	}
}

// What is put together by hand and is no exchange is not written.
func TestExchangeMarshalErrors(t *testing.T) {
	for _, c := range []struct {
		name string
		edit func(*thirdparty.Exchange)
		want error
	}{
		{"nothing signed", func(x *thirdparty.Exchange) { x.Signed = nil }, fedinvite.ErrNotJSON},
		{"signed is null", func(x *thirdparty.Exchange) { x.Signed = json.RawMessage(`null`) }, fedinvite.ErrBadJSON},
		{"signed brings members of its own", func(x *thirdparty.Exchange) { x.Signed = json.RawMessage(signed + `,"x":{}`) }, fedinvite.ErrNotJSON},
		{"signed has a key twice", func(x *thirdparty.Exchange) { x.Signed = json.RawMessage(`{"a":1,"a":2}`) }, fedinvite.ErrDuplicateKey},
		{"a display name that is no text", func(x *thirdparty.Exchange) { x.DisplayName = "\xff" }, fedinvite.ErrBadText},
	} {
		x := wantExchange()
		c.edit(&x)
		if body, err := x.MarshalJSON(); body != nil || !errors.Is(err, c.want) {
			t.Errorf("%s: %s, %v, want %v", c.name, body, err, c.want)
		}
		if got := x.ThirdPartyInvite(); got != nil {
			t.Errorf("%s: third_party_invite %s", c.name, got)
		}
	}
	x := wantExchange()
	x.Sender = "@\xff:matrix.org"
	if body, err := x.MarshalJSON(); body != nil || !errors.Is(err, fedinvite.ErrBadText) {
		t.Errorf("a sender that is no text: %s, %v", body, err)
	}
}

// Scenario 68, what of it happens here: signed has an extra field, the signature covers
// it, and it verifies after the way from the identity server into the invite.
func TestScenario68(t *testing.T) {
	s := invitetest.SignerWithKey("id.example", "ed25519:0")
	object, err := fedinvite.SignJSON(t.Context(), []byte(`{"mxid":"@alice:matrix.org","token":"abc123","org.example":{"n":[1,-9007199254740991],"s":"<\u2028é>"}}`), s)
	if err != nil {
		t.Fatal(err)
	}
	// The identity server may write its JSON in any way.
	var spaced map[string]json.RawMessage
	if err := json.Unmarshal(object, &spaced); err != nil {
		t.Fatal(err)
	}
	loose, err := json.MarshalIndent(spaced, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	bind, err := thirdparty.ParseBind([]byte(set(t, bindBody, "invites.0.signed", string(loose))))
	if err != nil {
		t.Fatal(err)
	}
	body, err := bind.Invites[0].Exchange().MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	x, err := thirdparty.ParseExchange(body)
	if err != nil {
		t.Fatal(err)
	}
	keys := fedinvite.KeyMap{}
	keys.Add(s)
	for _, raw := range []string{string(bind.Invites[0].Signed), string(x.Signed), gjson.GetBytes(x.ThirdPartyInvite(), "signed").Raw} {
		if err := fedinvite.VerifyJSON(t.Context(), []byte(raw), s.ServerName(), keys, time.Time{}); err != nil {
			t.Errorf("%v in %s", err, raw)
		}
	}
}

func FuzzParseExchange(f *testing.F) {
	f.Add([]byte(exchangeBody))
	f.Add([]byte(set(f, exchangeBody, "content.third_party_invite.display_name", "")))
	f.Add([]byte(set(f, exchangeBody, "content.membership", `"join"`)))
	f.Add([]byte(set(f, exchangeBody, "content.third_party_invite.signed.x", `[1e2,12345678901234567890,{"\u0000":"<>"}]`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		before := string(body)
		x, err := thirdparty.ParseExchange(body)
		if string(body) != before {
			t.Fatal("ParseExchange changed its input")
		}
		if err != nil {
			for _, known := range []error{fedinvite.ErrBadJSON, fedinvite.ErrNotJSON, fedinvite.ErrMissing, fedinvite.ErrNotInvite} {
				if errors.Is(err, known) {
					return
				}
			}
			t.Fatalf("error %v", err)
		}
		sameAfterMarshal(t, x)
		if !gjson.ValidBytes(x.ThirdPartyInvite()) {
			t.Fatalf("third_party_invite %s", x.ThirdPartyInvite())
		}
	})
}
