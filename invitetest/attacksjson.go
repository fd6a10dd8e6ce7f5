package invitetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// jsonAttacks are about text that one reader takes for this and another for that. All that
// is signed in them is signed as careless readers read it.
func jsonAttacks() []attack {
	return []attack{
		{
			name:     "duplicate-keys",
			sentence: "No object has a key twice, however it is spelled: two readers would read two events.",
			link:     linkJSON, level: Practice,
			tries: []try{
				replaced("event, another one first", `{"event":`, `{"event":{"type":"m.room.message"},"event":`),
				replaced("room_version", `{"event":`, `{"room_version":"1","event":`),
				replaced("type", `"event":{`, `"event":{"type":"m.room.power_levels",`),
				replaced("sender", `"event":{`, `"event":{"sender":"@alice:another.example",`),
				replaced("content", `"event":{`, `"event":{"content":{"membership":"join"},`),
				replaced("membership, the other one first", `"content":{`, `"content":{"membership":"join",`),
				replaced("membership, the other one last", `"membership":"invite"`, `"membership":"invite","membership":"join"`),
				replaced("membership in another spelling", `"content":{`, `"content":{"\u006dembership":"join",`),
				replaced("signatures", `"event":{`, `"event":{"signatures":{},`),
				{"a key in unsigned", func(f *foe) {
					event := Change(f.signed(), Set(Object{"age": 2}, "unsigned"))
					f.failsReplaced(f.request(event), `"unsigned":{`, `"unsigned":{"age":1,`)
				}},
				{"a key in an entry of the room state", func(f *foe) {
					state := append(f.room.RoomState(), json.RawMessage(`{"type":"m.room.topic"}`))
					q := f.room.RequestWithState(f.signed(), f.target.Name, Encode(state))
					f.failsReplaced(q, `{"type":"m.room.topic"}`, `{"type":"m.room.name","type":"m.room.topic"}`)
				}},
			},
		},
		{
			name:     "bad-text",
			sentence: "Text is UTF-8 of Unicode scalar values: nothing else is repaired, signed and passed on.",
			link:     linkJSON, level: Must,
			tries: []try{
				badText("a lone surrogate", `\ud800`),
				badText("a lone low surrogate", `\udc00`),
				badText("a lone surrogate in capitals before a letter", `\uD83Dx`),
				badText("a byte that is no UTF-8", "\xff"),
				badText("an overlong form", "\xc0\xaf"),
				badText("a surrogate in UTF-8", "\xed\xa0\x80"),
			},
		},
		{
			name:     "numbers",
			sentence: "From room version 6 on numbers in events are integers in ±(2^53-1), written as such.",
			link:     linkV6Canonical, level: Must,
			rooms: func(r fedinvite.Rules) bool { return r.StrictJSON },
			tries: []try{
				number("a fraction", "1.5"),
				number("a whole number with a fraction", "1.0"),
				number("an exponent", "1e2"),
				number("2^53", "9007199254740992"),
				number("-2^53", "-9007199254740992"),
				number("a thousand digits", strings.Repeat("9", 1000)),
			},
		},
		{
			name:     "no-number",
			sentence: "What no reader can keep is refused, not an internal error.",
			link:     linkJSON, level: Practice,
			tries: []try{
				replaced("sixty thousand digits", `"content":{`, `"content":{"a":`+strings.Repeat("9", 60_000)+`,`),
				replaced("1e400", `"content":{`, `"content":{"a":1e400,`),
				replaced("-1e400", `"content":{`, `"content":{"a":-1e400,`),
				replaced("NaN", `"content":{`, `"content":{"a":NaN,`),
				replaced("Infinity", `"content":{`, `"content":{"a":Infinity,`),
				replaced("a number in hexadecimal", `"content":{`, `"content":{"a":0x10,`),
				replaced("a number with a leading zero", `"content":{`, `"content":{"a":01,`),
			},
		},
		{
			name:     "one-value",
			sentence: "The body is one JSON value and nothing else.",
			link:     linkInvite, level: Must,
			tries: []try{
				{"another object behind it", func(f *foe) { q := f.request(f.signed()); f.failsWith(q, string(q.Body)+"{}") }},
				{"text behind it", func(f *foe) { q := f.request(f.signed()); f.failsWith(q, string(q.Body)+"#") }},
				{"a zero byte behind it", func(f *foe) { q := f.request(f.signed()); f.failsWith(q, string(q.Body)+"\x00") }},
				{"a byte order mark in front of it", func(f *foe) { q := f.request(f.signed()); f.failsWith(q, "\ufeff"+string(q.Body)) }},
				{"a bracket too many", func(f *foe) { q := f.request(f.signed()); f.failsWith(q, string(q.Body)+"}") }},
			},
		},
	}
}

// replaced is the try of an invite, in order, some text of whose body is replaced once all
// is signed.
func replaced(name, old, new string) try {
	return try{name, func(f *foe) { f.failsReplaced(f.request(f.signed()), old, new) }}
}

// badText is the try of a text in the place of what careless readers take it for: of one
// replacement character for each byte or escape that they cannot read.
func badText(name, text string) try {
	return try{name, func(f *foe) {
		repaired := Decode([]byte(`{"a":"` + text + `"}`))["a"].(string)
		q := f.request(f.signed(Set(repaired, "content", "reason")))
		f.failsReplaced(q, `"reason":"`+repaired+`"`, `"reason":"`+text+`"`)
	}}
}

// number is the try of an invite with a number in its content, hashed and signed by the
// rules of a room version that allows it.
func number(name, text string) try {
	return try{name, func(f *foe) {
		lenient := f.room.Rules()
		lenient.StrictJSON = false
		invite := bytes.Replace(f.signed(), []byte(`"content":{`), []byte(`"content":{"number":`+text+`,`), 1)
		event := must(fedinvite.SignEventJSON(f.ctx, unsigned(invite), lenient, f.target.Peer.Signer()))
		q := f.request(event)
		q.EventID = must(fedinvite.ParseStored(event, lenient)).ID()
		f.fails(q)
	}}
}

// replaceOnce panics if there is nothing to replace: then an attack would attack nothing.
func replaceOnce(text []byte, old, new string) []byte {
	if !bytes.Contains(text, []byte(old)) {
		panic(fmt.Sprintf("invitetest: an attack without %q", old))
	}
	return bytes.Replace(text, []byte(old), []byte(new), 1)
}
