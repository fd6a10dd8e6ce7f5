package invitetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"strings"
	"sync"

	"github.com/seed-0a46cb1a/fedinvite"
)

// replyAttacks are about the answer to an invite: the peer is the invited user's server.
func replyAttacks() []attack {
	return []attack{
		{
			name:     "reply-unsigned",
			sentence: "The event in the answer is signed by the invited user's server; without that nobody was invited.",
			link:     linkInvite, level: Must, sends: true,
			tries: []try{
				reply("no signature of the peer", func(_ *foe, sent *fedinvite.Event) []byte { return sent.AppendJSON(nil) }),
				reply("no signatures", func(_ *foe, sent *fedinvite.Event) []byte { return unsigned(sent.AppendJSON(nil)) }),
				reply("a signature of zeros", func(f *foe, sent *fedinvite.Event) []byte {
					return Change(sent.AppendJSON(nil), f.signature(make([]byte, 64))...)
				}),
				reply("a signature of 63 bytes", func(f *foe, sent *fedinvite.Event) []byte {
					return Change(sent.AppendJSON(nil), f.signature(make([]byte, 63))...)
				}),
				reply("a signature of something else", func(f *foe, sent *fedinvite.Event) []byte {
					return Change(sent.AppendJSON(nil), f.signature(f.signatureOf(f.signed()))...)
				}),
				reply("an unknown key", func(f *foe, sent *fedinvite.Event) []byte { return f.sign(sent, f.as(f.name(), "ed25519:unknown")) }),
				reply("a third server's signature", func(f *foe, sent *fedinvite.Event) []byte { return f.sign(sent, Signer("another.example")) }),
				reply("a third server's key in the peer's name", func(f *foe, sent *fedinvite.Event) []byte {
					return f.sign(sent, borrowed{Signer("another.example"), f.name(), f.keyID()})
				}),
			},
		},
		{
			name:     "reply-changed",
			sentence: "The event in the answer is the one that was sent: all other fields remain untouched.",
			link:     linkInvite, level: Must, sends: true,
			tries: []try{
				rewritten("a reason", Set("changed", "content", "reason")),
				rewritten("another membership", Set("join", "content", "membership")),
				rewritten("another sender", Set("@alice:another.example", "sender")),
				rewritten("another room", Set("!another:room.example", "room_id")),
				rewritten("another depth", Set(1, "depth")),
				rewritten("another time", Set(1, "origin_server_ts")),
				rewritten("no auth_events", Set([]any{}, "auth_events")),
				rewritten("another type", Set("m.room.message", "type")),
				rewritten("a further member", Set("changed", "org.example.member")),
				reply("a reason, with the old hash", func(f *foe, sent *fedinvite.Event) []byte {
					return Change(f.sign(sent, f.target.Peer.Signer()), Set("changed", "content", "reason"))
				}),
			},
		},
		{
			name:     "reply-another-event",
			sentence: "Another event is no answer, whoever has signed it.",
			link:     linkInvite, level: Must, sends: true,
			tries: []try{
				reply("an event of the peer's own", func(f *foe, _ *fedinvite.Event) []byte {
					event := f.room.Set("m.room.name", "", Object{"name": "Tea"})
					return event.AppendJSON(nil)
				}),
				reply("the join of the invited user", func(f *foe, sent *fedinvite.Event) []byte {
					user, _ := sent.StateKey()
					return f.resigned(unsigned(sent.AppendJSON(nil)), Set("join", "content", "membership"), Set(user, "sender"))
				}),
				{"an invite that was answered before", func(f *foe) {
					var first []byte
					honest := func(sent *fedinvite.Event) []byte {
						first = f.sign(sent, f.target.Peer.Signer())
						return inAnswer(first)
					}
					if err := f.invited(honest); err != nil {
						f.unknown("it does not invite even if the answer is right: %v", err)
						return
					}
					f.notInvited(func(*fedinvite.Event) []byte { return inAnswer(first) })
				}},
			},
		},
		{
			name:     "reply-replaces-signatures",
			sentence: "From the answer nothing but the invited server's signature is taken: the inviter's own stays, others are not passed on.",
			link:     linkInvite, level: Practice, sends: true,
			tries: []try{
				{"the inviter's replaced", func(f *foe) {
					f.keepsSignatures(func(event []byte) []byte {
						keys := Object{}
						for id := range keysOf(event, f.target.Name) {
							keys[id] = base64Of(make([]byte, 64))
						}
						return Change(event, Set(keys, "signatures", string(f.target.Name)))
					})
				}},
				{"the inviter's removed", func(f *foe) {
					f.keepsSignatures(func(event []byte) []byte { return Change(event, Drop("signatures", string(f.target.Name))) })
				}},
				{"a third server's added", func(f *foe) {
					f.keepsSignatures(func(event []byte) []byte {
						return Change(event, Set(Object{"ed25519:1": base64Of(make([]byte, 64))}, "signatures", "another.example"))
					})
				}},
			},
		},
		{
			name:     "reply-ambiguous",
			sentence: "An answer that two readers take for two events is none.",
			link:     linkJSON, level: Practice, sends: true,
			tries: []try{
				answerText("event twice", `{"event":`, `{"event":{},"event":`),
				answerText("membership twice", `"membership":"invite"`, `"membership":"join","membership":"invite"`),
				answerText("membership in two spellings", `"membership":"invite"`, `"\u006dembership":"join","membership":"invite"`),
				answerText("signatures twice", `"signatures":`, `"signatures":{},"signatures":`),
				answerText("a lone surrogate in unsigned", `"event":{`, `"event":{"unsigned":{"a":"\ud800"},`),
				answerText("a lone surrogate beside the event", `{"event":`, `{"a":"\ud800","event":`),
				{"something behind it", func(f *foe) {
					f.notInvited(func(sent *fedinvite.Event) []byte { return append(f.answer(sent), "{}"...) })
				}},
			},
		},
		{
			name:     "reply-shape",
			sentence: "The answer to the v2 endpoint is an object with the event in it, and nothing else will do.",
			link:     linkInvite, level: Must, sends: true,
			tries: []try{
				shaped("the event alone", func(event []byte) []byte { return event }),
				shaped("as the v1 endpoint has it", func(event []byte) []byte { return []byte(`[200,{"event":` + string(event) + `}]`) }),
				shaped("the event in a list", func(event []byte) []byte { return []byte(`{"event":[` + string(event) + `]}`) }),
				shaped("the event as a text", func(event []byte) []byte { return Encode(Object{"event": string(event)}) }),
				shaped("another spelling", func(event []byte) []byte { return []byte(`{"Event":` + string(event) + `}`) }),
				shaped("no event", func([]byte) []byte { return []byte(`{}`) }),
				shaped("null", func([]byte) []byte { return []byte(`{"event":null}`) }),
				shaped("an error, with status 200", func([]byte) []byte { return []byte(`{"errcode":"M_FORBIDDEN","error":"no"}`) }),
				shaped("a page", func([]byte) []byte { return []byte("<!DOCTYPE html><title>OK</title>") }),
				shaped("nothing", func([]byte) []byte { return nil }),
			},
		},
		{
			name:     "reply-bomb",
			sentence: "An answer is not read beyond what an event can be, however large or deep it is.",
			link:     linkExhaustion, level: Practice, sends: true,
			tries: []try{
				beside("nested thousands deep", func() string { return strings.Repeat("[", bombDepth) + strings.Repeat("]", bombDepth) }),
				{"white space", func(f *foe) {
					f.target.Peer.Break(Huge, inviteV2Path, inviteV1Path)
					defer f.target.Peer.Mend()
					f.notInvited(nil)
				}},
			},
		},
	}
}

// reply is the try of an answer with an event made of the one that was sent.
func reply(name string, event func(f *foe, sent *fedinvite.Event) []byte) try {
	return try{name, func(f *foe) {
		f.notInvited(func(sent *fedinvite.Event) []byte { return inAnswer(event(f, sent)) })
	}}
}

// rewritten is the try of an event that was changed, hashed and signed anew by the peer.
func rewritten(name string, edits ...Edit) try {
	return reply(name, func(f *foe, sent *fedinvite.Event) []byte { return f.resigned(sent.AppendJSON(nil), edits...) })
}

// answerText is the try of the right answer with some text of it replaced.
func answerText(name, old, new string) try {
	return try{name, func(f *foe) {
		f.notInvited(func(sent *fedinvite.Event) []byte { return replaceOnce(f.answer(sent), old, new) })
	}}
}

// shaped is the try of the right event in another answer.
func shaped(name string, answer func(event []byte) []byte) try {
	return try{name, func(f *foe) {
		f.notInvited(func(sent *fedinvite.Event) []byte { return answer(f.sign(sent, f.target.Peer.Signer())) })
	}}
}

// beside is the try of the right answer with another member in it.
func beside(name string, member func() string) try {
	return try{name, func(f *foe) {
		f.notInvited(func(sent *fedinvite.Event) []byte {
			return replaceOnce(f.answer(sent), `{"event":`, `{"a":`+member()+`,"event":`)
		})
	}}
}

// sign adds a signature.
func (f *foe) sign(sent *fedinvite.Event, s fedinvite.Signer) []byte {
	return must(sent.WithSignature(f.ctx, s)).AppendJSON(nil)
}

// resigned changes an event and has the peer hash and sign it.
func (f *foe) resigned(event []byte, edits ...Edit) []byte {
	return must(fedinvite.SignEventJSON(f.ctx, Change(event, edits...), f.room.Rules(), f.target.Peer.Signer()))
}

func inAnswer(event []byte) []byte { return []byte(`{"event":` + string(event) + `}`) }

// answer is the right one.
func (f *foe) answer(sent *fedinvite.Event) []byte {
	return inAnswer(f.sign(sent, f.target.Peer.Signer()))
}

var errNotAsked = errors.New("no invite to a room of the version came from it")

// An answering is how the peer answers the invites of one try.
type answering struct {
	mu     sync.Mutex
	rules  fedinvite.Rules
	answer func(sent *fedinvite.Event) []byte
	asked  bool
}

func (a *answering) reply(event []byte) (status int, body []byte) {
	a.mu.Lock()
	defer a.mu.Unlock()
	sent, err := fedinvite.ParseEvent(event, a.rules)
	if err != nil || sent.Membership() != "invite" || a.answer == nil {
		return http.StatusBadRequest, []byte(`{"errcode":"M_INVALID_PARAM","error":"not an invite to a room of this version"}`)
	}
	a.asked = true
	return http.StatusOK, a.answer(sent)
}

// end reports whether there was an invite. None is answered from then on.
func (a *answering) end() (asked bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.answer = nil
	return a.asked
}

// invited has the target invite a new user of the peer, who answers so; nil: as it does.
func (f *foe) invited(answer func(sent *fedinvite.Event) []byte) error {
	f.guest = f.newGuest()
	a := &answering{rules: f.room.Rules(), answer: answer}
	if answer != nil {
		defer f.target.Peer.answerInvites(replier{f.target.Name, f.guest, a.reply})()
	}
	ctx, cancel := context.WithTimeout(f.ctx, f.target.timeout())
	defer cancel()
	err := f.target.Invite(ctx, f.version, f.guest)
	asked := a.end() || answer == nil && len(f.requests(inviteV2Path)) > 0
	switch {
	case !asked:
		return errors.Join(errNotAsked, err)
	case err == nil:
		return ctx.Err()
	}
	return err
}

// invites reports whether the target invites users of the peer, if that answers as it should.
func (p *probe) invites(v fedinvite.RoomVersion) bool {
	if !p.hasKeys() {
		return false
	}
	f := newFoe(p, v, &Result{})
	if err := f.invited(f.answer); err != nil {
		p.unknown("it does not invite even if the answer is right: %v", err)
		return false
	}
	return true
}

// requests returns the requests of the target about the guest.
func (f *foe) requests(path string) []Seen {
	proven, _ := f.requestsAbout(f.guest, path)
	return proven
}

// notInvited demands that the target does not take an answer for an acceptance.
func (f *foe) notInvited(answer func(sent *fedinvite.Event) []byte) {
	err := f.invited(answer)
	switch {
	case errors.Is(err, errNotAsked):
		f.unknown("%v", err)
	case errors.Is(err, context.DeadlineExceeded) && f.ctx.Err() == nil:
		f.departs("it does not come to an end with the answer")
	case err == nil:
		f.departs("it takes the answer for an acceptance")
	case len(f.requests(transactionPath)) > 0:
		f.departs("it sends the event on")
	}
}

// keepsSignatures answers with the right event and other signatures in it. Whatever the
// target makes of that: what it sends on has its own signature, and nobody else's but the
// peer's.
func (f *foe) keepsSignatures(change func(event []byte) []byte) {
	var own map[string]string
	err := f.invited(func(sent *fedinvite.Event) []byte {
		own = keysOf(sent.AppendJSON(nil), f.target.Name)
		return inAnswer(change(f.sign(sent, f.target.Peer.Signer())))
	})
	if errors.Is(err, errNotAsked) {
		f.unknown("%v", err)
		return
	}
	for _, event := range f.sentOn() {
		switch {
		case !maps.Equal(own, keysOf(event, f.target.Name)):
			f.departs("the signature of its own that it sends on is another one")
		case len(keysOf(event, "another.example")) > 0:
			f.departs("it sends on a signature that it cannot have checked")
		}
	}
}

// sentOn returns the events about the guest that the target sends in transactions.
func (f *foe) sentOn() (events []json.RawMessage) {
	for _, r := range f.requests(transactionPath) {
		o, err := members(r.Body)
		if err != nil {
			continue
		}
		var all []json.RawMessage
		if err := json.Unmarshal(o["pdus"], &all); err != nil {
			continue
		}
		for _, e := range all {
			if bytes.Contains(e, []byte(f.guest)) {
				events = append(events, e)
			}
		}
	}
	return events
}
