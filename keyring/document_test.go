package keyring_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

func TestPlumbing32DocumentOfAnotherServer(t *testing.T) {
	s := newScene(t)
	victim, evil := invitetest.Signer("victim.ex"), invitetest.Signer("evil.ex")
	s.net.publish("victim.ex", documentOf("victim.ex", start.Add(day), victim).signed(t, victim))
	s.current(victim)

	forged, _ := fedinvite.NewSigner("victim.ex", "ed25519:1", ed25519Key("evil"))
	s.net.publish("evil.ex", documentOf("victim.ex", start.Add(day), forged).signed(t, forged))
	s.unknown("evil.ex", "ed25519:1")
	s.current(victim)

	s.pass(time.Hour)
	s.net.publish("evil.ex", documentOf("victim.ex", start.Add(day), evil).signed(t, evil))
	s.unknown("evil.ex", "ed25519:1")
	s.current(victim)
}

func TestPlumbing33UnusableKeysAreIgnored(t *testing.T) {
	good := invitetest.SignerWithKey("a.ex", "ed25519:good")
	for name, public := range map[string][]byte{
		"5 bytes":     []byte("short"),
		"nothing":     {},
		"no point":    append(bytes.Repeat([]byte{0}, 31), 2),
		"small order": make([]byte, 32),
		"33 bytes":    make([]byte, 33),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			entry := map[string]any{"key": base64.RawStdEncoding.EncodeToString(public), "expired_ts": 1}
			d := documentOf("a.ex", start.Add(day), good).withKey("ed25519:bad", entry).with("old_verify_keys", map[string]any{"ed25519:old": entry})
			text := d.signed(t, good)
			text = bytes.Replace(text, []byte(`"a.ex":{`), []byte(`"a.ex":{"ed25519:bad":"`+strings.Repeat("A", 86)+`",`), 1)
			s.net.publish("a.ex", text)
			s.current(good)
			s.unknown("a.ex", "ed25519:bad")
			if key, err := s.key("a.ex", "ed25519:old"); err == nil && key.Verify([]byte("x"), make([]byte, 64)) == nil {
				t.Errorf("the old key %x verifies", key.Public)
			}
		})
	}
}

func TestPlumbing34UnsignedDocument(t *testing.T) {
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	elsewhere := invitetest.Signer("b.ex")
	for name, raw := range map[string][]byte{
		"unsigned":                  documentOf("a.ex", start.Add(day), a).signed(t),
		"signed by an unlisted key": documentOf("a.ex", start.Add(day), a).signed(t, b),
		"signed by an old key":      documentOf("a.ex", start.Add(day), a).with("old_verify_keys", map[string]any{"ed25519:2": expired(b, start)}).signed(t, b),
		"signed by another server":  documentOf("a.ex", start.Add(day), a).signed(t, elsewhere),
		"changed after signing":     bytes.Replace(documentOf("a.ex", start.Add(day), a).signed(t, a), []byte(`_ts":17`), []byte(`_ts":18`), 1),
		"without keys":              documentOf("a.ex", start.Add(day)).signed(t, a),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.net.publish("a.ex", raw)
			s.unknown("a.ex", "ed25519:1")
			s.unknown("a.ex", "ed25519:2")
			s.fetched("a.ex", 1)
		})
	}
}

func TestPlumbing35OnlyKeysThatSignedAreUsable(t *testing.T) {
	s := newScene(t)
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	s.net.publish("a.ex", documentOf("a.ex", start.Add(day), a, b).signed(t, a))
	s.current(a)
	s.unknown("a.ex", "ed25519:2")
}

func TestAKeyWhoseOwnSignatureIsWrongSpoilsNoOther(t *testing.T) {
	s := newScene(t)
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	text := documentOf("a.ex", start.Add(day), a, b).signed(t, a)
	text = bytes.Replace(text, []byte(`"a.ex":{`), []byte(`"a.ex":{"ed25519:2":"`+strings.Repeat("A", 86)+`",`), 1)
	s.net.publish("a.ex", text)
	s.current(a)
	s.unknown("a.ex", "ed25519:2")
}

func TestPlumbing36OldKeysMissing(t *testing.T) {
	s := newScene(t)
	a := s.publishes("a.ex")
	s.current(a)
}

func TestPlumbing37To39OldKeysAreForEventsOnly(t *testing.T) {
	s := newScene(t)
	a, old := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:0")
	ended := start.Add(-day)
	s.net.publish("a.ex", documentOf("a.ex", start.Add(day), a).with("old_verify_keys", map[string]any{"ed25519:0": expired(old, ended)}).signed(t, a))
	key, err := s.key("a.ex", "ed25519:0")
	if err != nil || !key.ExpiredAt.Equal(ended) || !key.Public.Equal(old.Public()) {
		t.Fatalf("got %+v, %v", key, err)
	}
	if !key.ValidAt(ended) || key.ValidAt(ended.Add(time.Millisecond)) {
		t.Error("the key is valid up to and including expired_ts")
	}
	s.pass(time.Hour)
	if _, err = s.key("a.ex", "ed25519:0"); err != nil {
		t.Error(err)
	}
	s.fetched("a.ex", 1) // asking again would not revive it
}

func TestAKeyListedAsOldAndCurrentIsOld(t *testing.T) {
	s := newScene(t)
	a := invitetest.Signer("a.ex")
	s.net.publish("a.ex", documentOf("a.ex", start.Add(day), a).with("old_verify_keys", map[string]any{"ed25519:1": expired(a, start)}).signed(t, a))
	if key, err := s.key("a.ex", "ed25519:1"); err != nil || key.ExpiredAt.IsZero() {
		t.Errorf("got %+v, %v", key, err)
	}
}

func TestKeyIDsAsMetInTheWild(t *testing.T) {
	s := newScene(t)
	raw := documentOf("a.ex", start.Add(day))
	a := invitetest.Signer("a.ex")
	raw = raw.withKey("ed25519:1", entryOf(a)).withKey("ed448:1", entryOf(a)).withKey("ed25519:", entryOf(a)).withKey("ed25519:x", "no object")
	raw = raw.with("old_verify_keys", map[string]any{
		"ed25519:a+b-c/d.e": expired(a, start), "ed25519:f": entryOf(a), "ed25519:g": map[string]any{"key": 7, "expired_ts": 1},
	})
	s.net.publish("a.ex", raw.signed(t, a))
	s.current(a)
	if _, err := s.key("a.ex", "ed25519:a+b-c/d.e"); err != nil {
		t.Error(err)
	}
	for _, id := range []fedinvite.KeyID{"ed448:1", "ed25519:", "ed25519:x", "ed25519:f", "ed25519:g"} {
		s.unknown("a.ex", id)
	}
}

func TestMalformedDocuments(t *testing.T) {
	a := invitetest.Signer("a.ex")
	good := func() document { return documentOf("a.ex", start.Add(day), a) }
	sign := func(text string) []byte {
		signed, err := fedinvite.SignJSON(t.Context(), []byte(text), a)
		if err != nil {
			t.Fatal(err)
		}
		return signed
	}
	withTS := func(ts string) []byte {
		d := string(good().signed(t))
		return sign(strings.Replace(d, strconv.FormatInt(start.Add(day).UnixMilli(), 10), ts, 1))
	}
	without := func(name string) []byte {
		d := good()
		delete(d, name)
		return d.signed(t, a)
	}
	key := good()["verify_keys"]
	duplicate := bytes.Replace(good().signed(t, a), []byte(`"server_name"`), []byte(`"server_name":"a.ex","server_name"`), 1)
	for name, raw := range map[string][]byte{
		"empty":                             {},
		"HTML":                              []byte("<html>"),
		"an array":                          []byte("[]"),
		"null":                              []byte("null"),
		"a duplicate key":                   duplicate,
		"no server_name":                    without("server_name"),
		"a server_name that is no string":   good().with("server_name", 7).signed(t, a),
		"Server_Name":                       document{"Server_Name": "a.ex", "verify_keys": key, "valid_until_ts": start.Add(day).UnixMilli()}.signed(t, a),
		"no verify_keys":                    without("verify_keys"),
		"verify_keys null":                  good().with("verify_keys", nil).signed(t, a),
		"verify_keys a list":                good().with("verify_keys", []int{}).signed(t, a),
		"old_verify_keys a list":            good().with("old_verify_keys", []int{}).signed(t, a),
		"no valid_until_ts":                 without("valid_until_ts"),
		"valid_until_ts a string":           good().with("valid_until_ts", "1").signed(t, a),
		"valid_until_ts negative":           withTS("-1"),
		"valid_until_ts of Go's zero time":  withTS("-62135596800000"),
		"33 current keys":                   crowd(good(), "verify_keys", 33).signed(t, a),
		"65 keys":                           crowd(good(), "old_verify_keys", 64).signed(t, a),
		"more than 256 KiB":                 good().with("x", strings.Repeat("x", 256<<10)).signed(t, a),
		"trailing data":                     append(good().signed(t, a), "{}"...),
		"a lone surrogate":                  bytes.Replace(good().signed(t, a), []byte(`"server_name"`), []byte(`"x":"\ud800","server_name"`), 1),
		"a signature that is not base64":    bytes.Replace(good().signed(t, a), []byte(`ed25519:1":"`), []byte(`ed25519:1":"*`), 1),
		"signatures of the wrong type":      good().with("signatures", map[string]any{"a.ex": []string{"x"}}).signed(t),
		"signatures not even an object":     good().with("signatures", 7).signed(t),
		"a name with another port":          documentOf("a.ex:8448", start.Add(day), a).signed(t, a),
		"a name in another case of letters": documentOf("A.ex", start.Add(day), a).signed(t, a),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.net.publish("a.ex", raw)
			s.unknown("a.ex", "ed25519:1")
		})
	}
	for name, raw := range map[string][]byte{
		"16 current keys":                   crowd(good(), "verify_keys", 16).signed(t, a),
		"64 keys":                           crowd(good(), "old_verify_keys", 63).signed(t, a),
		"members in any order, white space": []byte(" " + string(good().signed(t, a)) + "\n"),
		"unknown members":                   good().with("x", nil).with("tls_fingerprints", []int{}).signed(t, a),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.net.publish("a.ex", raw)
			s.current(a)
		})
	}
}

// crowd fills verify_keys or old_verify_keys up to n entries.
func crowd(d document, name string, n int) document {
	keys, _ := d[name].(map[string]any)
	if keys == nil {
		keys = map[string]any{}
	}
	for i := 0; len(keys) < n; i++ {
		keys[fmt.Sprint("ed25519:k", i)] = map[string]any{"key": "AA", "expired_ts": 1}
	}
	return d.with(name, keys)
}

func TestExactlyTheLargestDocument(t *testing.T) {
	a := invitetest.Signer("a.ex")
	text := documentOf("a.ex", start.Add(day), a).signed(t, a)
	for n, ok := range map[int]bool{256 << 10: true, 256<<10 + 1: false} {
		s := newScene(t)
		s.net.publish("a.ex", append(bytes.Repeat([]byte(" "), n-len(text)), text...))
		if _, err := s.key("a.ex", "ed25519:1"); (err == nil) != ok {
			t.Errorf("%d bytes: %v", n, err)
		} else if err != nil && !errors.Is(err, fedinvite.ErrTooLarge) {
			t.Errorf("got %v, want ErrTooLarge", err)
		}
	}
}

// Whatever a server returns, nothing panics, and only keys that it proves count.
func FuzzDocument(f *testing.F) {
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	f.Add(documentOf("a.ex", start.Add(day), a, b).signed(f, a))
	f.Add(documentOf("a.ex", start.Add(day), a).with("old_verify_keys", map[string]any{"ed25519:2": expired(b, start)}).signed(f, a))
	f.Add([]byte(`{"server_name":"a.ex","verify_keys":{"ed25519:1":{"key":"AA"}},"valid_until_ts":1,"signatures":{"a.ex":{"ed25519:1":""}}}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s := newScene(t)
		s.net.publish("a.ex", raw)
		for _, id := range []fedinvite.KeyID{"ed25519:1", "ed25519:2"} {
			key, err := s.key("a.ex", id)
			if err != nil && !errors.Is(err, fedinvite.ErrUnknownKey) {
				t.Errorf("got %v", err)
			}
			if err == nil && key.ValidUntil.IsZero() == key.ExpiredAt.IsZero() {
				t.Errorf("a key without end or with two: %+v", key)
			}
		}
	})
}
