package keyring_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

// zeros is the text of a signature that verifies nothing.
var zeros = strings.Repeat("A", 86)

func TestPlumbing32DocumentOfAnotherServer(t *testing.T) {
	s := newScene(t)
	victim, evil := s.publishes("victim.ex"), invitetest.Signer("evil.ex")
	s.current(victim)

	s.net.publish("evil.ex", invitetest.KeyDocument(invitetest.Impostor(victim), start.Add(day)))
	s.unknown("evil.ex", "ed25519:1")
	s.current(victim)

	s.pass(time.Hour)
	s.net.publish("evil.ex", invitetest.KeyDocument(evil, start.Add(day), invitetest.Set("victim.ex", "server_name")))
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
			entry := invitetest.Object{"key": base64.RawStdEncoding.EncodeToString(public), "expired_ts": 1}
			document := invitetest.KeyDocument(good, start.Add(day),
				invitetest.Set(entry, "verify_keys", "ed25519:bad"), invitetest.Set(entry, "old_verify_keys", "ed25519:old"))
			s.net.publish("a.ex", invitetest.Change(document, invitetest.Set(zeros, "signatures", "a.ex", "ed25519:bad")))
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
	good := invitetest.KeyDocument(a, start.Add(day))
	for name, raw := range map[string][]byte{
		"unsigned":                  unsigned(good),
		"signed by an unlisted key": invitetest.Sign(unsigned(good), b),
		"signed by an old key":      invitetest.Sign(unsigned(invitetest.Change(good, invitetest.AddOldKeys(start, b))), b),
		"signed by another server":  invitetest.Sign(unsigned(good), invitetest.Signer("b.ex")),
		"changed after signing":     replaced(good, `_ts":17`, `_ts":18`),
		"without keys":              invitetest.KeyDocument(a, start.Add(day), invitetest.Drop("verify_keys", "ed25519:1")),
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
	s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(day), invitetest.AddKeys(b)))
	s.current(a)
	s.unknown("a.ex", "ed25519:2")
}

func TestAKeyWhoseOwnSignatureIsWrongSpoilsNoOther(t *testing.T) {
	s := newScene(t)
	a, b := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:2")
	s.net.publish("a.ex", invitetest.Change(documentOf(start.Add(day), a, b), invitetest.Set(zeros, "signatures", "a.ex", "ed25519:2")))
	s.current(a)
	s.unknown("a.ex", "ed25519:2")
}

func TestPlumbing36OldKeysMissing(t *testing.T) {
	s := newScene(t)
	a := invitetest.Signer("a.ex")
	s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(day), invitetest.Drop("old_verify_keys")))
	s.current(a)
}

func TestPlumbing37To39OldKeysAreForEventsOnly(t *testing.T) {
	s := newScene(t)
	a, old := invitetest.Signer("a.ex"), invitetest.SignerWithKey("a.ex", "ed25519:0")
	ended := start.Add(-day)
	s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(day), invitetest.AddOldKeys(ended, old)))
	s.old(old, ended)
	if key := s.at(old, ended); !key.ValidAt(ended) || key.ValidAt(ended.Add(time.Millisecond)) {
		t.Error("the key is valid up to and including expired_ts")
	}
	s.pass(time.Hour)
	s.old(old, ended)
	s.fetched("a.ex", 1) // asking again would not revive it
}

func TestAKeyListedAsOldAndCurrentIsOld(t *testing.T) {
	s := newScene(t)
	a := invitetest.Signer("a.ex")
	s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(day), invitetest.AddOldKeys(start, a)))
	s.old(a, start)
}

func TestKeyIDsAsMetInTheWild(t *testing.T) {
	s := newScene(t)
	a := invitetest.Signer("a.ex")
	current := invitetest.Object{"ed25519:1": entryOf(a), "ed448:1": entryOf(a), "ed25519:": entryOf(a), "ed25519:x": "no object"}
	old := invitetest.Object{
		"ed25519:a+b-c/d.e": expired(a, start), "ed25519:f": entryOf(a), "ed25519:g": invitetest.Object{"key": 7, "expired_ts": 1},
	}
	s.net.publish("a.ex", invitetest.KeyDocument(a, start.Add(day), invitetest.Set(current, "verify_keys"), invitetest.Set(old, "old_verify_keys")))
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
	good := func(edits ...invitetest.Edit) []byte { return invitetest.KeyDocument(a, start.Add(day), edits...) }
	set, drop := invitetest.Set, invitetest.Drop
	for name, raw := range map[string][]byte{
		"empty":                             {},
		"HTML":                              []byte("<html>"),
		"an array":                          []byte("[]"),
		"null":                              []byte("null"),
		"a duplicate key":                   replaced(good(), `"server_name"`, `"server_name":"a.ex","server_name"`),
		"no server_name":                    good(drop("server_name")),
		"a server_name that is no string":   good(set(7, "server_name")),
		"Server_Name":                       good(drop("server_name"), set("a.ex", "Server_Name")),
		"no verify_keys":                    good(drop("verify_keys")),
		"verify_keys null":                  good(set(nil, "verify_keys")),
		"verify_keys a list":                good(set([]int{}, "verify_keys")),
		"old_verify_keys a list":            good(set([]int{}, "old_verify_keys")),
		"no valid_until_ts":                 good(drop("valid_until_ts")),
		"valid_until_ts a string":           good(set("1", "valid_until_ts")),
		"valid_until_ts negative":           good(set(-1, "valid_until_ts")),
		"valid_until_ts of Go's zero time":  good(set(time.Time{}.UnixMilli(), "valid_until_ts")),
		"33 current keys":                   good(crowd("verify_keys", 33)),
		"65 keys":                           good(crowd("old_verify_keys", 64)),
		"more than 256 KiB":                 good(set(strings.Repeat("x", 256<<10), "x")),
		"trailing data":                     append(good(), "{}"...),
		"a lone surrogate":                  replaced(good(), `"server_name"`, `"x":"\ud800","server_name"`),
		"a signature that is not base64":    replaced(good(), `ed25519:1":"`, `ed25519:1":"*`),
		"signatures of the wrong type":      invitetest.Change(good(), set([]string{"x"}, "signatures", "a.ex")),
		"signatures not even an object":     invitetest.Change(good(), set(7, "signatures")),
		"a name with another port":          good(set("a.ex:8448", "server_name")),
		"a name in another case of letters": good(set("A.ex", "server_name")),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.net.publish("a.ex", raw)
			s.unknown("a.ex", "ed25519:1")
		})
	}
	for name, raw := range map[string][]byte{
		"16 current keys":                   good(crowd("verify_keys", 16)),
		"64 keys":                           good(crowd("old_verify_keys", 63)),
		"members in any order, white space": append([]byte(" "), append(good(), "\n"...)...),
		"unknown members":                   good(set(nil, "x"), set([]int{}, "tls_fingerprints")),
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			s.net.publish("a.ex", raw)
			s.current(a)
		})
	}
}

// crowd fills verify_keys or old_verify_keys up to n entries.
func crowd(name string, n int) invitetest.Edit {
	return func(o invitetest.Object) {
		keys := o[name].(invitetest.Object)
		for i := 0; len(keys) < n; i++ {
			keys[fmt.Sprint("ed25519:k", i)] = invitetest.Object{"key": "AA", "expired_ts": 1}
		}
	}
}

func TestExactlyTheLargestDocument(t *testing.T) {
	a := invitetest.Signer("a.ex")
	text := invitetest.KeyDocument(a, start.Add(day))
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
	f.Add([]byte(invitetest.KeyDocument(a, start.Add(day), invitetest.AddKeys(b))))
	f.Add([]byte(invitetest.KeyDocument(a, start.Add(day), invitetest.AddOldKeys(start, b))))
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
