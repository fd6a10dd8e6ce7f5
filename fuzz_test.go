package fedinvite_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"golang.org/x/crypto/ed25519"
)

func FuzzParseEvent(f *testing.F) {
	versions := fedinvite.RoomVersions()
	add := func(raw []byte, v fedinvite.RoomVersion) { f.Add(raw, uint8(slices.Index(versions, v))) }
	for _, c := range eventVectors(f) {
		add([]byte(c.SignedEvent), c.RoomVersion)
	}
	for _, c := range vectors[formatVector](f, "events/format").Cases {
		add(vectorText(f, c.Event, c.EventBase64), c.RoomVersion)
	}
	for _, c := range vectors[receivedVector](f, "events/receive").Cases {
		add(vectorText(f, c.Event, c.EventBase64), c.RoomVersion)
	}
	for _, c := range vectors[signersVector](f, "events/required-signers").Cases {
		add([]byte(c.Event), c.RoomVersion)
	}
	for _, v := range versions {
		add(signedEvent(f, v, nil), v)
		add(createEvent(f, v), v)
		add(newInvite(f, inviteDraft(v), v).AppendJSON(nil), v)
	}
	signer, keys := invitetest.Signer("a.example"), invitetest.Keys("a.example")
	f.Fuzz(func(t *testing.T, raw []byte, version uint8) {
		rules := rulesOf(t, versions[int(version)%len(versions)])
		before := bytes.Clone(raw)
		e, err := fedinvite.ParseEvent(raw, rules)
		if !bytes.Equal(before, raw) {
			t.Fatal("ParseEvent changed its input")
		}
		stored, storedErr := fedinvite.ParseStored(raw, rules)
		for _, err := range []error{err, storedErr} {
			if err != nil && errors.Is(err, fedinvite.ErrBadJSON) == errors.Is(err, fedinvite.ErrNotJSON) {
				t.Fatalf("error %v is neither or both of ErrBadJSON and ErrNotJSON", err)
			}
		}
		if err != nil {
			return
		}
		if storedErr != nil {
			t.Fatalf("taken from the network, refused from the store: %v", storedErr)
		}
		sameEvent(t, "from the store", e, stored)

		text := e.AppendJSON(nil)
		canonical, err := fedinvite.LegacyCanonicalJSON(raw)
		if err != nil || !bytes.Equal(canonical, text) {
			t.Fatalf("%s is not the canonical form of %s (%v)", text, raw, err)
		}
		again := mustParse(t, text, rules)
		sameEvent(t, "parsed again", e, again)
		if again.ContentHash() != e.ContentHash() || again.HashOK() != e.HashOK() || !bytes.Equal(again.AppendJSON(nil), text) {
			t.Fatalf("parsed again: another content: %s", text)
		}

		redacted := e.Redacted()
		sameEvent(t, "redacted", e, redacted)
		parsedAgain := mustParse(t, redacted.AppendJSON(nil), rules)
		sameEvent(t, "redacted and parsed again", e, parsedAgain)
		if parsedAgain.ContentHash() != redacted.ContentHash() || parsedAgain.HashOK() != redacted.HashOK() {
			t.Fatal("the redacted copy has another content hash when parsed")
		}
		if twice := redacted.Redacted().AppendJSON(nil); !bytes.Equal(twice, redacted.AppendJSON(nil)) {
			t.Fatalf("redacted twice: %s", twice)
		}
		if !slices.Equal(e.RequiredSigners(), again.RequiredSigners()) {
			t.Fatal("other required signers when parsed again")
		}

		signed, err := e.WithSignature(t.Context(), signer)
		if err != nil {
			t.Fatal(err)
		}
		resigned, err := fedinvite.ParseStored(signed.AppendJSON(nil), rules) // it may have 101 signatures now
		if err != nil {
			t.Fatalf("signed and parsed again: %v", err)
		}
		sameEvent(t, "signed", e, resigned)
		if !bytes.Equal(resigned.AppendJSON(nil), signed.AppendJSON(nil)) || resigned.HashOK() != e.HashOK() {
			t.Fatal("what WithSignature made is not canonical")
		}
		if !bytes.Equal(e.AppendJSON(nil), text) {
			t.Fatal("WithSignature changed the event")
		}
		_ = e.Verify(t.Context(), keys, "a.example")
		_ = e.Verify(t.Context(), anyKey(signer.Public()))
	})
}

func mustParse(t testing.TB, raw []byte, rules fedinvite.Rules) *fedinvite.Event {
	t.Helper()
	e, err := fedinvite.ParseEvent(raw, rules)
	if err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return e
}

// sameEvent compares what neither redaction nor signatures may change.
func sameEvent(t *testing.T, what string, want, got *fedinvite.Event) {
	t.Helper()
	wantKey, wantState := want.StateKey()
	gotKey, gotState := got.StateKey()
	if want.ID() != got.ID() || want.ReferenceHash() != got.ReferenceHash() || want.RoomID() != got.RoomID() || want.Type() != got.Type() ||
		want.Sender() != got.Sender() || wantKey != gotKey || wantState != gotState || want.Depth() != got.Depth() ||
		!want.OriginServerTS().Equal(got.OriginServerTS()) || want.Membership() != got.Membership() ||
		!slices.Equal(want.AuthEventIDs(), got.AuthEventIDs()) || !slices.Equal(want.PrevEventIDs(), got.PrevEventIDs()) {
		t.Fatalf("%s: %s (%s) became %s (%s)", what, want.ID(), want.AppendJSON(nil), got.ID(), got.AppendJSON(nil))
	}
}

// anyKey is a KeySource that has the same key for every server and ID.
type anyKey []byte

func (k anyKey) VerifyKey(context.Context, fedinvite.ServerName, fedinvite.KeyID, time.Time) (fedinvite.VerifyKey, error) {
	return fedinvite.VerifyKey{Public: ed25519.PublicKey(k)}, nil
}

func FuzzVerifyJSON(f *testing.F) {
	for _, c := range vectors[verifyVector](f, "signatures/verify").Cases {
		for _, key := range c.Keys.keyMap(f)[c.ServerName] {
			f.Add(vectorText(f, c.Object, c.ObjectBase64), string(c.ServerName), []byte(key.Public), make([]byte, 64))
		}
	}
	small := append([]byte{1}, make([]byte, 31)...)
	object := []byte(`{"signatures":{"a.example":{"ed25519:1":"` + base64.RawStdEncoding.EncodeToString(append(small, make([]byte, 32)...)) + `"}}}`)
	for _, length := range []int{0, 5, 31, 32, 33, 64} {
		f.Add(object, "a.example", make([]byte, length), make([]byte, length+32))
	}
	f.Add(object, "a.example", small, append(small, make([]byte, 32)...))
	signer := invitetest.Signer("a.example")
	signed, err := fedinvite.SignJSON(f.Context(), []byte(`{"a":[1,{"b":null}],"signatures":{"a.example":{"ed448:1":"x"}},"unsigned":{}}`), signer)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(signed, "a.example", []byte(signer.Public()), make([]byte, 64))

	f.Fuzz(func(t *testing.T, object []byte, server string, public, signature []byte) {
		// The signature alone.
		if (fedinvite.VerifyKey{Public: public}).Verify(object, signature) == nil && !ed25519.Verify(public, object, signature) {
			t.Fatal("a signature that crypto/ed25519 refuses")
		}
		// The object, with one key for all.
		err := fedinvite.VerifyJSON(t.Context(), object, fedinvite.ServerName(server), anyKey(public), time.Time{})
		if err == nil {
			checkSignatures(t, object, server, public)
		} else if n := countTrue(errors.Is(err, fedinvite.ErrSignature), errors.Is(err, fedinvite.ErrBadJSON), errors.Is(err, fedinvite.ErrNotJSON)); n != 1 {
			t.Fatalf("error %v is %d of ErrSignature, ErrBadJSON and ErrNotJSON", err, n)
		}
		// What we sign verifies, whatever else the object holds.
		signed, err := fedinvite.SignJSON(t.Context(), object, signer)
		if err != nil {
			return
		}
		own := fedinvite.KeyMap{}
		own.Add(signer)
		if err := fedinvite.VerifyJSON(t.Context(), signed, "a.example", own, time.Time{}); err != nil {
			t.Fatalf("%s: %v", signed, err)
		}
		if again, err := fedinvite.SignJSON(t.Context(), signed, signer); err != nil || !bytes.Equal(again, signed) {
			t.Fatalf("signed twice: %s, error %v", again, err)
		}
	})
}

func countTrue(all ...bool) (n int) {
	for _, b := range all {
		if b {
			n++
		}
	}
	return n
}

// checkSignatures verifies again, with encoding/json and crypto/ed25519 alone.
func checkSignatures(t *testing.T, object []byte, server string, public []byte) {
	t.Helper()
	var all map[string]json.RawMessage
	var signatures map[string]json.RawMessage
	var own map[string]json.RawMessage
	if json.Unmarshal(object, &all) != nil || json.Unmarshal(all["signatures"], &signatures) != nil || json.Unmarshal(signatures[server], &own) != nil {
		t.Fatalf("verified without signatures: %s", object)
	}
	delete(all, "signatures")
	delete(all, "unsigned")
	rest, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	message, err := fedinvite.LegacyCanonicalJSON(rest)
	if err != nil {
		t.Fatal(err)
	}
	verified := 0
	for id, raw := range own {
		if !strings.HasPrefix(id, "ed25519:") || id == "ed25519:" {
			continue
		}
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			t.Fatalf("verified %s", raw)
		}
		text = strings.NewReplacer("-", "+", "_", "/").Replace(strings.TrimRight(text, "="))
		signature, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil || len(public) != ed25519.PublicKeySize || !ed25519.Verify(public, message, signature) {
			t.Fatalf("verified %s, which crypto/ed25519 refuses", raw)
		}
		verified++
	}
	if verified == 0 {
		t.Fatalf("verified without a signature: %s", object)
	}
}

// FuzzMergeReply gives every reply twice, once in a form that cannot be canonical: the
// way by which it is read must not show.
func FuzzMergeReply(f *testing.F) {
	versions := []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV11}
	keys := invitetest.Keys("a.example", "b.example")
	var all []*fedinvite.Event
	for _, v := range versions {
		sent := newInvite(f, inviteDraft(v), v)
		reply := replyTo(f, sent, invitetest.Signer("b.example")).AppendJSON(nil)
		unsigned := mustParse(f, changedMembers(f, reply, func(m members) { delete(m, "signatures") }), rulesOf(f, v))
		annotated := mustParse(f, changedMembers(f, reply, func(m members) { m["unsigned"] = `{"age":1.5}` }), rulesOf(f, v))
		all = append(all, sent, unsigned, annotated)
		for i := range all {
			f.Add(reply, uint8(i))
			f.Add(all[i].AppendJSON(nil), uint8(i))
			f.Add(changedMembers(f, reply, func(m members) { m["unsigned"] = "{}" }), uint8(i))
		}
	}
	f.Fuzz(func(t *testing.T, reply []byte, kind uint8) {
		sent := all[int(kind)%len(all)]
		before := string(sent.AppendJSON(nil))
		got, err := fedinvite.MergeReply(t.Context(), sent, reply, "b.example", keys)
		other, otherErr := fedinvite.MergeReply(t.Context(), sent, append([]byte(" "), reply...), "b.example", keys)
		if (err == nil) != (otherErr == nil) {
			t.Fatalf("errors %v and %v", err, otherErr)
		}
		for _, sentinel := range []error{fedinvite.ErrNotJSON, fedinvite.ErrBadJSON, fedinvite.ErrMismatch, fedinvite.ErrSignature} {
			if errors.Is(err, sentinel) != errors.Is(otherErr, sentinel) {
				t.Fatalf("errors %v and %v", err, otherErr)
			}
		}
		if string(sent.AppendJSON(nil)) != before {
			t.Fatal("the event that was sent changed")
		}
		if err != nil {
			return
		}
		sameEvent(t, "merged", sent, got)
		text := got.AppendJSON(nil)
		if !bytes.Equal(other.AppendJSON(nil), text) || !bytes.Equal(mustParse(t, text, sent.Rules()).AppendJSON(nil), text) {
			t.Fatalf("merged to %s and %s", text, other.AppendJSON(nil))
		}
		if err := fedinvite.VerifyJSON(t.Context(), got.Redacted().AppendJSON(nil), "b.example", keys, time.Time{}); err != nil {
			t.Fatal(err)
		}
	})
}

// FuzzNewInvite compares what is built from any content with what the long way gives:
// write the event, sign it, parse it.
func FuzzNewInvite(f *testing.F) {
	for _, content := range []string{``, `{}`, `{"membership":"x","a":[{"b":null}]}`, `{"z":1,"a":-0}`, `{"join_authorised_via_users_server":"x","\u006dembership":{}}`, `{"m":1e3}`, `null`} {
		f.Add([]byte(content), "@bob:b.example", false)
		f.Add([]byte(content), `@b"\é:b.example`, true)
	}
	signer := invitetest.Signer("a.example")
	f.Fuzz(func(t *testing.T, content []byte, invitee string, early bool) {
		v := fedinvite.RoomV11
		if early {
			v = fedinvite.RoomV1
		}
		d := inviteDraft(v)
		d.Content, d.Invitee = content, invitee
		e, err := fedinvite.NewInvite(t.Context(), d, rulesOf(t, v), signer)
		if err != nil {
			if errors.Is(err, fedinvite.ErrBadJSON) == errors.Is(err, fedinvite.ErrNotJSON) {
				t.Fatalf("error %v is neither or both of ErrBadJSON and ErrNotJSON", err)
			}
			return
		}
		text := e.AppendJSON(nil)
		if _, err := fedinvite.CanonicalJSON(text); err != nil || len(text) > 65522 {
			t.Fatalf("%d bytes, %v", len(text), err)
		}
		raw, err := fedinvite.SignEventJSON(t.Context(), changedMembers(t, text, func(m members) {
			delete(m, "hashes")
			delete(m, "signatures")
		}), rulesOf(t, v), signer)
		if err != nil || !bytes.Equal(raw, text) {
			t.Fatalf("%s, signed the long way %s (%v)", text, raw, err)
		}
		again := mustParse(t, raw, rulesOf(t, v))
		sameEvent(t, "parsed", e, again)
		if again.ContentHash() != e.ContentHash() || !again.HashOK() || !e.HashOK() || again.Membership() != "invite" {
			t.Fatal("another content")
		}
	})
}
