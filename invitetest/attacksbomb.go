package invitetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// What bombs are made of. An invite and its room state are some ten KiB, and even a hundred
// and fifty events of the largest size are less than bombBytes.
const (
	bombBytes = 13 << 20
	bombDepth = 5000
)

// bombAttacks are about what costs the victim more than the attacker. After each an invite
// that is in order has to be accepted.
func bombAttacks() []attack {
	return []attack{
		{
			name:     "deep-nesting",
			sentence: "What is nested thousands deep is refused: not every server could read it.",
			link:     linkJSON, level: Practice,
			tries: []try{
				bomb("in unsigned", func(f *foe) *http.Request { return f.nested(`"event":{`, `"event":{"unsigned":{"a":%s},`) }),
				bomb("beside the event", func(f *foe) *http.Request { return f.nested(`{"event":`, `{"a":%s,"event":`) }),
				bomb("in the room state", func(f *foe) *http.Request {
					return f.nested(`"invite_room_state":[`, `"invite_room_state":[{"a":%s},`)
				}),
			},
		},
		{
			name:     "large-event",
			sentence: "The complete event is not larger than 65536 bytes.",
			link:     linkSizes, level: Must,
			tries: []try{
				bomb("65537 bytes", func(f *foe) *http.Request { return f.http(f.request(f.ofSize(65_537))) }),
				bomb("a megabyte", func(f *foe) *http.Request { return f.http(f.request(f.ofSize(1_000_000))) }),
			},
		},
		{
			name:     "large-body",
			sentence: "Of a body that is far larger than an invite can be nothing is signed.",
			link:     linkExhaustion, level: Practice,
			tries: []try{
				largeBody("a text of 13 MiB", func() []byte { return []byte(`"` + strings.Repeat("a", bombBytes) + `"`) }),
				largeBody("two hundred thousand members of 13 MiB", func() []byte {
					const each = bombBytes / 200_000
					b := []byte{'{'}
					for i := range 200_000 {
						b = fmt.Appendf(b, `"%0*d":0,`, each-len(`"":0,`)+1, i)
					}
					b[len(b)-1] = '}'
					return b
				}),
			},
		},
		{
			name:     "many-entries",
			sentence: "An invite_room_state of ten thousand entries is refused.",
			link:     linkInvite, level: Practice,
			tries: []try{
				bomb("empty ones", func(f *foe) *http.Request {
					entries := append(f.room.RoomState(), make([]json.RawMessage, 10_000)...)
					for i := range entries {
						if entries[i] == nil {
							entries[i] = json.RawMessage("{}")
						}
					}
					return f.http(f.room.RequestWithState(f.signed(), f.target.Name, Encode(entries)))
				}),
			},
		},
		{
			name:     "key-requests",
			sentence: "An invite has a server ask for few keys: those of servers that had to sign, once.",
			link:     linkPublishing, level: Practice,
			tries: []try{
				withSecond("fifty unknown keys of the origin", func(f *foe, s *Server) {
					q := s.requestFor(f)
					keys := Object{string(s.Signer().KeyID()): keysOf(eventIn(q), s.Name())[string(s.Signer().KeyID())]}
					for i := range 50 {
						keys[fmt.Sprintf("ed25519:k%d", i)] = base64Of(make([]byte, 64))
					}
					q.Body = changeEvent(q, Set(keys, "signatures", string(s.Name())))
					before := len(s.KeyRequests())
					f.send(q)
					if n := len(s.KeyRequests()) - before; n > 10 {
						f.departs("it asked the origin for its keys %d times", n)
					}
				}),
				withSecond("signatures of another server", func(f *foe, s *Server) {
					other, err := f.start()
					if err != nil {
						f.skip("there is no other server: %v", err)
						return
					}
					defer other.Close()
					q := s.requestFor(f)
					q.Body = changeEvent(q, Set(Object{"ed25519:1": base64Of(make([]byte, 64))}, "signatures", string(other.Name())))
					f.send(q)
					if n := len(other.KeyRequests()); n > 0 {
						f.departs("it asked a server for its keys that had nothing to sign")
					}
				}),
			},
		},
	}
}

// bomb is the try of a request that must be refused and leave no damage.
func bomb(name string, request func(f *foe) *http.Request) try {
	return try{name, func(f *foe) {
		f.refuses(f.do(request(f)))
		f.stillServes()
	}}
}

// http signs a request.
func (f *foe) http(q Request) *http.Request { return q.HTTP(f.ctx, f.target.base()) }

// nested puts what is nested deeply in the place of a text in the body, and signs that as
// somebody does who has no limits.
func (f *foe) nested(old, new string) *http.Request {
	q := f.request(f.signed())
	deep := strings.Repeat("[", bombDepth) + strings.Repeat("]", bombDepth)
	q.Body = Encode(json.RawMessage(replaceOnce(q.Body, old, fmt.Sprintf(new, deep))))
	q.Body = Encode(Decode(q.Body))
	return f.signNaively(q)
}

// ofSize returns an invite of that many bytes.
func (f *foe) ofSize(n int) []byte {
	empty := len(f.signed(Set("", "content", "reason")))
	return f.signed(Set(strings.Repeat("a", n-empty), "content", "reason"))
}

// largeBody is the try of an invite with another member beside it. The target may hang up on
// who sends that much.
func largeBody(name string, member func() []byte) try {
	return try{name, func(f *foe) {
		q := f.request(f.signed())
		q.Body = append(append(append([]byte(`{"a":`), member()...), ','), q.Body[1:]...)
		req := f.signNaively(q)
		if a := f.do(req); a.err == nil {
			f.refuses(a)
		}
		f.stillServes()
	}}
}

// eventIn returns the event of a request by the v2 endpoint.
func eventIn(q Request) json.RawMessage { return must(fedinvite.ParseRequestV2(q.Body)).Event }

// changeEvent returns the body of a request with a changed event.
func changeEvent(q Request, edits ...Edit) []byte {
	return Change(q.Body, Set(Change(eventIn(q), edits...), "event"))
}
