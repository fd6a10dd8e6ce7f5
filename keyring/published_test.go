package keyring_test

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

func TestReadDocument(t *testing.T) {
	a, old := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:0")
	notary := invitetest.SignerWithKey("notary.ex", "ed25519:n")
	far := time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)
	raw := documentOf("a.ex", far, a).
		with("old_verify_keys", map[string]any{"ed25519:0": expired(old, start.Add(-day))}).signed(t, a, notary)
	fetched := start.Add(1500 * time.Microsecond)
	got, err := keyring.ReadDocument(raw, "a.ex", fetched)
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
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestValidityIsTheLesserOfWhatTheDocumentSaysAndSevenDays(t *testing.T) {
	a := invitetest.Signer("a.ex")
	for _, says := range []time.Time{
		time.UnixMilli(0), start.Add(-day), start, start.Add(7*day - time.Millisecond), start.Add(7 * day),
		start.Add(7*day + time.Millisecond), time.UnixMilli(1<<53 - 1),
	} {
		got, err := keyring.ReadDocument(documentOf("a.ex", says, a).signed(t, a), "a.ex", start)
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
	d := documentOf("a.ex", start.Add(day), a, b, both).
		withKey("ed25519:five", map[string]any{"key": "c2hvcnQ"}).
		withKey("ed25519:forged", entryOf(b)).
		withKey("ed25519:order", map[string]any{"key": strings.Repeat("A", 43)}).
		withKey("ed25519:text", "no object").
		withKey("ed448:1", entryOf(b)).
		with("old_verify_keys", map[string]any{
			"ed25519:both": expired(both, start), "ed25519:endless": entryOf(b), "ed25519:\n": expired(b, start),
			"ed25519:before": map[string]any{"key": entryOf(b)["key"], "expired_ts": -1},
		})
	raw := bytes.Replace(d.signed(t, a, both), []byte(`"a.ex":{`), []byte(`"a.ex":{"ed25519:forged":"`+strings.Repeat("A", 86)+`",`), 1)
	got, err := keyring.ReadDocument(raw, "a.ex", start)
	if err != nil {
		t.Fatal(err)
	}
	var ids []fedinvite.KeyID
	for _, r := range got.Records {
		ids = append(ids, r.KeyID)
	}
	if want := []fedinvite.KeyID{"ed25519:\n", "ed25519:a", "ed25519:both"}; cmp.Diff(want, ids) != "" {
		t.Error(cmp.Diff(want, ids))
	}
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
	if diff := cmp.Diff(want, reasons); diff != "" {
		t.Error(diff)
	}
}

func TestADocumentWithoutItsSignaturesCanStillBeLookedAt(t *testing.T) {
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	old := map[string]any{"ed25519:0": expired(b, start)}
	got, err := keyring.ReadDocument(documentOf("a.ex", start, a).with("old_verify_keys", old).signed(t, b), "a.ex", start)
	if !errors.Is(err, fedinvite.ErrUnknownKey) || !errors.Is(err, fedinvite.ErrSignature) {
		t.Errorf("got %v", err)
	}
	if got == nil || len(got.Records) != 0 || len(got.Ignored) != 1 || got.Ignored[0].KeyID != "ed25519:1" ||
		cmp.Diff([]keyring.SignerID{{Server: "a.ex", KeyID: "ed25519:2"}}, got.Signers) != "" {
		t.Errorf("got %+v", got)
	}
	for name, raw := range map[string][]byte{
		"of another server": documentOf("b.ex", start, a).signed(t, a),
		"of another form":   []byte(`[]`),
	} {
		if got, err := keyring.ReadDocument(raw, "a.ex", start); got != nil || !errors.Is(err, fedinvite.ErrUnknownKey) {
			t.Errorf("%s: got %+v, %v", name, got, err)
		}
	}
}

func TestSignersOfAnyFormAreListed(t *testing.T) {
	a := invitetest.Signer("a.ex")
	raw := documentOf("a.ex", start, a).with("signatures", map[string]any{
		"": map[string]any{"": 7}, "b.ex": []int{}, "c.ex": map[string]any{"x:2": "", "x:1": nil},
	}).signed(t)
	got, err := keyring.ReadDocument(raw, "a.ex", start)
	if err == nil || got == nil {
		t.Fatalf("got %+v, %v", got, err)
	}
	want := []keyring.SignerID{{}, {Server: "c.ex", KeyID: "x:1"}, {Server: "c.ex", KeyID: "x:2"}}
	if diff := cmp.Diff(want, got.Signers); diff != "" {
		t.Error(diff)
	}
}

// What a Ring uses of a document is what is shown of it.
func FuzzReadDocument(f *testing.F) {
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	f.Add(documentOf("a.ex", start.Add(day), a, b).signed(f, a))
	f.Add(documentOf("a.ex", start.Add(day), a).with("old_verify_keys", map[string]any{"ed25519:2": expired(b, start)}).signed(f, a, b))
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
