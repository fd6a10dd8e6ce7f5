package invitetest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"math/big"
	"net/http"
	"slices"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// signatureAttacks are about the signatures of events.
func signatureAttacks() []attack {
	return []attack{
		{
			name:     "event-signature",
			sentence: "The sender's server has signed the event, by a key of its own.",
			link:     linkValidating, level: Must,
			tries: []try{
				changed("no signatures", func(*foe, []byte) []Edit { return []Edit{Drop("signatures")} }),
				changed("signatures without an entry", func(*foe, []byte) []Edit { return []Edit{Set(Object{}, "signatures")} }),
				changed("an entry without a signature", func(f *foe, _ []byte) []Edit { return []Edit{Set(Object{}, "signatures", string(f.name()))} }),
				changed("a signature of something else", func(f *foe, _ []byte) []Edit { return f.signature(f.signatureOf(f.signedOther())) }),
				changed("a signature of zeros", func(f *foe, _ []byte) []Edit { return f.signature(make([]byte, 64)) }),
				changed("a signature of 63 bytes", func(f *foe, _ []byte) []Edit { return f.signature(make([]byte, 63)) }),
				changed("a signature of 65 bytes", func(f *foe, _ []byte) []Edit { return f.signature(make([]byte, 65)) }),
				changed("an empty signature", func(f *foe, _ []byte) []Edit { return f.signature(nil) }),
				changed("a signature that is no string", func(f *foe, _ []byte) []Edit {
					return []Edit{Set(Object{string(f.keyID()): []any{}}, "signatures", string(f.name()))}
				}),
				changed("an unknown algorithm alone", func(f *foe, _ []byte) []Edit {
					return []Edit{Set(Object{"x25519:1": base64Of(make([]byte, 64))}, "signatures", string(f.name()))}
				}),
				changed("a signature of a third server alone", func(f *foe, _ []byte) []Edit {
					return []Edit{Set(Object{"another.example": Object{"ed25519:1": base64Of(make([]byte, 64))}}, "signatures")}
				}),
				{"an unknown key alone", func(f *foe) { f.fails(f.signedBy(f.as(f.name(), "ed25519:unknown"))) }},
				{"the key of another server", func(f *foe) {
					f.fails(f.signedBy(borrowed{Signer("another.example"), f.name(), f.keyID()}))
				}},
				{"the signature of another event of the room, grafted", func(f *foe) {
					other := f.room.Set("m.room.topic", "", Object{"topic": "Tea"})
					f.fails(f.request(Change(f.signed(), f.signature(f.signatureOf(other.AppendJSON(nil)))...)))
				}},
			},
		},
		{
			name:     "one-good-signature",
			sentence: "All signatures from known unexpired keys of the sender's server are valid: one good one does not do.",
			link:     linkValidating, level: Should,
			tries: []try{
				withOldKey("one good, one bad", func(f *foe, s *Server, old fedinvite.Signer) {
					// At that time both keys were good.
					room := s.NewRoom(f.version, "@inviter:"+string(s.Name()))
					event := room.InviteDraft(f.invitee, Set(s.now().Add(-time.Hour).UnixMilli(), "origin_server_ts"))
					invite := Change(room.Sign(event), Set(base64Of(make([]byte, 64)), "signatures", string(s.Name()), string(old.KeyID())))
					f.fails(room.Request(invite, f.target.Name))
				}),
			},
		},
		{
			name:     "old-event-key",
			sentence: "From room version 5 on a key does not count for events after it has expired.",
			link:     linkV5Validity, level: Must,
			rooms: func(r fedinvite.Rules) bool { return r.EnforceKeyValidity },
			tries: []try{
				withOldKey("an event of an hour after", func(f *foe, s *Server, old fedinvite.Signer) {
					room := s.NewRoom(f.version, "@inviter:"+string(s.Name()))
					event := room.InviteDraft(f.invitee, Set(s.now().Add(time.Hour).UnixMilli(), "origin_server_ts"))
					f.fails(room.Request(room.Sign(event, old), f.target.Name))
				}),
			},
		},
		{
			name:     "weak-key",
			sentence: "A key by which everything is signed, whoever has made the signature, signs nothing.",
			link:     linkChecking, level: Practice,
			tries: []try{
				{"a public key of small order", func(f *foe) { f.failsByWeakKey() }},
			},
		},
		{
			name:     "lenient-base64",
			sentence: "A signature is base64 and nothing else: what others cannot read is not passed on to them.",
			link:     linkBase64, level: Practice,
			tries: []try{
				changed("white space in it", func(f *foe, event []byte) []Edit {
					return f.spelled(event, func(s string) string { return s[:40] + "\n " + s[40:] })
				}),
				changed("other characters in it", func(f *foe, event []byte) []Edit {
					return f.spelled(event, func(s string) string { return s[:40] + "*!" + s[40:] })
				}),
				changed("something behind the padding", func(f *foe, event []byte) []Edit {
					return f.spelled(event, func(s string) string { return s + "==AAAA" })
				}),
			},
		},
		{
			name:     "malleable-signature",
			sentence: "Nobody but the signer makes another signature of one: its second half is below the order of the group.",
			link:     linkChecking, level: Practice,
			tries: []try{
				changed("the order added", func(f *foe, event []byte) []Edit { return f.signature(malleable(f.signatureOf(event))) }),
			},
		},
		{
			name:     "victims-signature",
			sentence: "The signature in the answer is the victim's, whatever stood in its place.",
			link:     linkInvite, level: Must,
			tries: []try{
				replacedSignature("a wrong signature by its key", func(id string) any { return Object{id: base64Of(make([]byte, 64))} }),
				replacedSignature("what is no signature", func(string) any { return "none" }),
			},
		},
	}
}

// replacedSignature is the try of an invite that has something in the place of the target's
// own signature. It is refused, or that is replaced.
func replacedSignature(name string, entry func(id string) any) try {
	return try{name, func(f *foe) {
		edit := Set(entry(string(f.targetKey())), "signatures", string(f.target.Name))
		q := f.request(Change(f.signed(), edit))
		if a := f.send(q); a.status == http.StatusOK {
			f.accepts(q, a)
		} else {
			f.refuses(a)
		}
	}}
}

func (f *foe) keyID() fedinvite.KeyID { return f.target.Peer.Signer().KeyID() }

// signature sets the peer's signature in an event.
func (f *foe) signature(signature []byte) []Edit {
	return []Edit{Set(Object{string(f.keyID()): base64Of(signature)}, "signatures", string(f.name()))}
}

// spelled writes the peer's signature, which is right, in another way.
func (f *foe) spelled(event []byte, as func(string) string) []Edit {
	return []Edit{Set(Object{string(f.keyID()): as(base64Of(f.signatureOf(event)))}, "signatures", string(f.name()))}
}

// signatureOf is the peer's signature of an event of its own.
func (f *foe) signatureOf(event []byte) []byte {
	return must(base64.RawStdEncoding.DecodeString(keysOf(event, f.name())[string(f.keyID())]))
}

// signedBy returns the request with an invite that somebody else has signed.
func (f *foe) signedBy(s fedinvite.Signer) Request {
	return f.request(f.room.Sign(f.room.InviteDraft(f.invitee), s))
}

// keysOf returns the signatures of a server in an event, as far as they are strings.
func keysOf(event []byte, server fedinvite.ServerName) map[string]string {
	o, err := members(event)
	if err != nil {
		return nil
	}
	if o, err = members(o["signatures"]); err != nil {
		return nil
	}
	if o, err = members(o[string(server)]); err != nil {
		return nil
	}
	keys := map[string]string{}
	for id, raw := range o {
		if s, ok := stringOf(raw); ok {
			keys[id] = s
		}
	}
	return keys
}

// malleable adds the order of the group to S, which is little-endian.
func malleable(signature []byte) []byte {
	order, _ := new(big.Int).SetString("7237005577332262213973186563042994240857116359379907606001950938285454250989", 10)
	s := slices.Clone(signature[32:])
	slices.Reverse(s)
	s = new(big.Int).Add(new(big.Int).SetBytes(s), order).FillBytes(make([]byte, 32))
	slices.Reverse(s)
	return append(slices.Clone(signature[:32]), s...)
}

// failsByWeakKey has a server publish the neutral element of the group as a key. By the
// plain equation its signature, R the same and S zero, is right under everything.
func (f *foe) failsByWeakKey() {
	name := f.newName()
	if name == "" {
		f.skip("there are no names in the peer's network")
		return
	}
	weak := append([]byte{1}, make([]byte, 31)...)
	signer := borrowed{weakSigner{Signer(name), weak}, name, "ed25519:weak"}
	good := Signer(name)
	document := Sign(KeyDocument(good, f.target.Peer.now().Add(24*time.Hour), AddKeys(signer)), signer)
	handler := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = w.Write(document)
	})
	if err := f.target.Peer.Network().Serve(name, handler); err != nil {
		f.skip("there is no second server: %v", err)
		return
	}
	room := RoomConfig{Version: f.version, Creator: "@inviter:" + string(name), Now: f.target.Peer.now}.New()
	q := room.Request(room.Invite(f.invitee), f.target.Name)
	if a := f.send(q); a.status != http.StatusOK {
		f.skip("it %s to an invite of a second server of the suite, which it probably does not find", a)
		return
	}
	q = room.Request(room.Sign(room.InviteDraft(f.invitee, Set("weak", "content", "reason")), signer), f.target.Name)
	f.fails(q)
}

// A weakSigner has a public key under which one signature fits everything.
type weakSigner struct {
	fedinvite.Signer
	public ed25519.PublicKey
}

func (s weakSigner) Public() ed25519.PublicKey { return s.public }

// Sign returns R, the same point as the key, and a zero S.
func (s weakSigner) Sign(context.Context, []byte) ([]byte, error) {
	return append(bytes.Clone(s.public), make([]byte, 32)...), nil
}
