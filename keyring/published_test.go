package keyring_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

func TestReadDocument(t *testing.T) {
	a, old := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:0")
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	raw := invitetest.Sign(invitetest.KeyDocument(a, far, invitetest.AddOldKeys(start.Add(-day), old)), notary)
	got, err := keyring.ReadDocument(raw, "a.ex", start.Add(1500*time.Microsecond))
	if err != nil {
		t.Fatal(err)
	}
	ms := start.Add(time.Millisecond) // records count in milliseconds
	want := &keyring.Document{
		Server: "a.ex", ValidUntil: far,
		Records: []keyring.Record{
			{Server: "a.ex", KeyID: "ed25519:0", Public: old.Public(), ExpiredAt: start.Add(-day), Fetched: ms},
			{Server: "a.ex", KeyID: "ed25519:1", Public: a.Public(), ValidUntil: ms.Add(7 * day), Fetched: ms},
		},
		Signers: []keyring.SignerID{{Server: "a.ex", KeyID: "ed25519:1"}, {Server: "notary.ex", KeyID: "ed25519:n"}},
	}
	same(t, want, got)
}

func TestValidityIsTheLesserOfWhatTheDocumentSaysAndSevenDays(t *testing.T) {
	a := invitetest.Signer("a.ex")
	for _, says := range []time.Time{
		time.UnixMilli(0), start.Add(-day), start, start.Add(7*day - time.Millisecond), start.Add(7 * day),
		start.Add(7*day + time.Millisecond), time.UnixMilli(1<<53 - 1),
	} {
		got, err := keyring.ReadDocument(invitetest.KeyDocument(a, says), "a.ex", start)
		if err != nil {
			t.Errorf("%v: %v", says, err)
			continue
		}
		want := says
		if limit := start.Add(7 * day); says.After(limit) {
			want = limit
		}
		if !got.ValidUntil.Equal(says) || !got.Records[0].ValidUntil.Equal(want) {
			t.Errorf("%v: got %v, counted until %v, want %v", says, got.ValidUntil, got.Records[0].ValidUntil, want)
		}
	}
}

func TestIgnoredKeysAreNamedWithTheReason(t *testing.T) {
	a, b := invitetest.SignerWithKey("a.ex", "ed25519:a"), invitetest.SignerWithKey("a.ex", "ed25519:b")
	both := invitetest.SignerWithKey("a.ex", "ed25519:both")
	key := entryOf(b)
	current := invitetest.Object{
		"ed25519:a": entryOf(a), "ed25519:b": key, "ed25519:both": entryOf(both), "ed25519:five": invitetest.Object{"key": "c2hvcnQ"},
		"ed25519:forged": key, "ed25519:order": invitetest.Object{"key": strings.Repeat("A", 43)}, "ed25519:text": "no object", "ed448:1": key,
	}
	old := invitetest.Object{
		"ed25519:both": expired(both, start), "ed25519:endless": key, "ed25519:\n": expired(b, start),
		"ed25519:before": invitetest.Object{"key": key["key"], "expired_ts": -1},
	}
	raw := invitetest.KeyDocument(a, start.Add(day), invitetest.Set(current, "verify_keys"), invitetest.Set(old, "old_verify_keys"))
	raw = invitetest.Change(invitetest.Sign(raw, both), invitetest.Set(zeros, "signatures", "a.ex", "ed25519:forged"))
	got, err := keyring.ReadDocument(raw, "a.ex", start)
	if err != nil {
		t.Fatal(err)
	}
	var ids []fedinvite.KeyID
	for _, r := range got.Records {
		ids = append(ids, r.KeyID)
	}
	same(t, []fedinvite.KeyID{"ed25519:\n", "ed25519:a", "ed25519:both"}, ids)
	var reasons []string
	for _, i := range got.Ignored {
		kind := "other"
		switch {
		case errors.Is(i.Err, fedinvite.ErrSignature):
			kind = "signature"
		case errors.Is(i.Err, fedinvite.ErrBadKey):
			kind = "key"
		}
		reasons = append(reasons, fmt.Sprintf("%s: %s: %v", i.KeyID, kind, i.Err))
	}
	want := []string{
		"ed25519:b: signature: signature check failed: the key has not signed the document",
		"ed25519:before: other: no expired_ts",
		"ed25519:both: other: listed in old_verify_keys too, and used as that",
		"ed25519:endless: other: no expired_ts",
		"ed25519:five: key: unusable key: public key of 5 bytes",
		"ed25519:forged: signature: signature check failed",
		"ed25519:order: key: unusable key: public key of small order or not in canonical form",
		"ed25519:text: other: no key in base64",
		"ed448:1: other: no ed25519 key ID of at most 128 bytes",
	}
	same(t, want, reasons)
}

func TestADocumentWithoutItsSignaturesCanStillBeLookedAt(t *testing.T) {
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	old := invitetest.SignerWithKey("a.ex", "ed25519:0")
	raw := invitetest.Sign(unsigned(invitetest.KeyDocument(a, start, invitetest.AddOldKeys(start, old))), b)
	got, err := keyring.ReadDocument(raw, "a.ex", start)
	if !errors.Is(err, fedinvite.ErrUnknownKey) || !errors.Is(err, fedinvite.ErrSignature) {
		t.Errorf("got %v", err)
	}
	if got == nil || len(got.Records) != 0 || len(got.Ignored) != 1 || got.Ignored[0].KeyID != "ed25519:1" {
		t.Fatalf("got %+v", got)
	}
	same(t, []keyring.SignerID{{Server: "a.ex", KeyID: "ed25519:2"}}, got.Signers)
	for name, raw := range map[string][]byte{
		"of another server": invitetest.KeyDocument(a, start, invitetest.Set("b.ex", "server_name")),
		"of another form":   []byte(`[]`),
	} {
		if got, err := keyring.ReadDocument(raw, "a.ex", start); got != nil || !errors.Is(err, fedinvite.ErrUnknownKey) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestSignersOfAnyFormAreListed(t *testing.T) {
	raw := invitetest.Change(invitetest.KeyDocument(invitetest.Signer("a.ex"), start), invitetest.Set(invitetest.Object{
		"": invitetest.Object{"": 7}, "b.ex": []int{}, "c.ex": invitetest.Object{"x:2": "", "x:1": nil},
	}, "signatures"))
	got, err := keyring.ReadDocument(raw, "a.ex", start)
	if err == nil || got == nil {
		t.Fatalf("got %+v, %v", got, err)
	}
	want := []keyring.SignerID{{}, {Server: "c.ex", KeyID: "x:1"}, {Server: "c.ex", KeyID: "x:2"}}
	same(t, want, got.Signers)
}

// What a Ring uses of a document is what is shown of it.
func FuzzReadDocument(f *testing.F) {
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	f.Add([]byte(invitetest.KeyDocument(a, start.Add(day), invitetest.AddKeys(b))))
	f.Add([]byte(invitetest.Sign(invitetest.KeyDocument(a, start.Add(day), invitetest.AddOldKeys(start, b)), b)))
	f.Fuzz(func(t *testing.T, raw []byte) {
		d, err := keyring.ReadDocument(raw, "a.ex", start)
		if (err == nil) != (d != nil && len(d.Records) > 0) || err != nil && !errors.Is(err, fedinvite.ErrUnknownKey) {
			t.Fatalf("got %+v, %v", d, err)
		}
		if d == nil {
			return
		}
		s := newScene(t)
		s.net.publish("a.ex", raw)
		for _, r := range d.Records {
			key, err := s.key("a.ex", r.KeyID)
			if err != nil || !key.Public.Equal(r.Public) || !key.ValidUntil.Equal(r.ValidUntil) || !key.ExpiredAt.Equal(r.ExpiredAt) {
				t.Errorf("%q is shown as %+v and used as %+v, %v", r.KeyID, r, key, err)
			}
			if r.ValidUntil.IsZero() == r.ExpiredAt.IsZero() || r.ValidUntil.After(start.Add(7*day)) || r.ExpiredAt.After(start.Add(7*day)) {
				t.Errorf("%+v", r)
			}
		}
	})
}
