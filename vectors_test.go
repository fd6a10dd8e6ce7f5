package fedinvite_test

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
)

// The vectors in testdata were made with several independent implementations;
// testdata/README.md says how to read them.

func loadVectors(t testing.TB, name string, into any) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, into); err != nil {
		t.Fatal(err)
	}
}

func rulesOf(t testing.TB, v fedinvite.RoomVersion) fedinvite.Rules {
	t.Helper()
	rules, err := v.Rules()
	if err != nil {
		t.Fatal(err)
	}
	return rules
}

func signerFromSeed(t testing.TB, server, keyID, seed string) fedinvite.Signer {
	t.Helper()
	_, key, err := fedinvite.ParseSigningKey("ed25519 x " + seed)
	if err != nil {
		t.Fatal(err)
	}
	s, err := fedinvite.NewSigner(fedinvite.ServerName(server), fedinvite.KeyID(keyID), key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// pinned returns a KeyMap of one key; a key that is malformed is taken as it is,
// because that is what a KeySource of another author may return.
func pinned(t testing.TB, server, keyID, public string) fedinvite.KeyMap {
	t.Helper()
	key, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(public, "="))
	if err != nil {
		t.Fatal(err)
	}
	return fedinvite.KeyMap{fedinvite.ServerName(server): {fedinvite.KeyID(keyID): {Public: key}}}
}

func canonicalText(t testing.TB, s string) string {
	t.Helper()
	b, err := fedinvite.LegacyCanonicalJSON([]byte(s))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

type eventVectors struct {
	PublicKey string `json:"public_key"`
	Events    []struct {
		Name             string                `json:"name"`
		RoomVersion      fedinvite.RoomVersion `json:"room_version"`
		Event            string                `json:"event"`
		ServerName       string                `json:"server_name"`
		KeyID            string                `json:"key_id"`
		Seed             string                `json:"seed"`
		ContentHash      string                `json:"content_hash"`
		Signature        string                `json:"signature"`
		SignedEvent      string                `json:"signed_event"`
		RedactedEvent    string                `json:"redacted_event"`
		ReferenceHash    string                `json:"reference_hash"`
		ReferenceHashURL string                `json:"reference_hash_urlsafe"`
		EventID          string                `json:"event_id"`
	} `json:"events"`
	EdgeCases []struct {
		Name        string                `json:"name"`
		RoomVersion fedinvite.RoomVersion `json:"room_version"`
		Event       string                `json:"event"`
		Note        string                `json:"note"`
		Recommended struct {
			Action      string `json:"action"`
			Ref         string `json:"ref"`
			ContentHash string `json:"content_hash"`
			Redacted    string `json:"redacted"`
		} `json:"recommended"`
	} `json:"edge_cases"`
	Receive []struct {
		Name        string                `json:"name"`
		RoomVersion fedinvite.RoomVersion `json:"room_version"`
		EventBase64 string                `json:"event_base64"`
		Expect      string                `json:"expect"`
		EventID     string                `json:"event_id"`
		Result      string                `json:"result_canonical_without_unsigned"`
		Server      string                `json:"server"`
		Key         string                `json:"key"`
		Pub         string                `json:"pub"`
	} `json:"receive"`
	RequiredSigners struct {
		Cases []struct {
			Name            string                `json:"name"`
			RoomVersion     fedinvite.RoomVersion `json:"room_version"`
			Event           string                `json:"event"`
			RequiredSigners []string              `json:"required_signers"`
			Note            string                `json:"note"`
		} `json:"cases"`
		Hazards []struct {
			Name        string                `json:"name"`
			RoomVersion fedinvite.RoomVersion `json:"room_version"`
			Event       string                `json:"event"`
			Expect      string                `json:"expect"`
			Note        string                `json:"note"`
		} `json:"hazards"`
	} `json:"required_signers"`
}

func loadEventVectors(t testing.TB) (v eventVectors) {
	loadVectors(t, "events.json", &v)
	return v
}

// A forged third-party invite whose content hash is wrong must not end as an
// ordinary invite that nobody signed.
func TestEventVectorsHazards(t *testing.T) {
	v := loadEventVectors(t)
	if len(v.RequiredSigners.Hazards) == 0 {
		t.Fatal("no hazards in the vectors")
	}
	for _, c := range v.RequiredSigners.Hazards {
		t.Run(c.Name+"/v"+string(c.RoomVersion), func(t *testing.T) {
			if c.Expect != "drop" {
				t.Fatalf("unknown expectation %q", c.Expect)
			}
			e, err := fedinvite.ParseEvent([]byte(c.Event), rulesOf(t, c.RoomVersion))
			if err != nil {
				t.Fatal(err)
			}
			if e.HashOK() {
				t.Fatal("the hazard needs a content hash that is wrong")
			}
			keys := pinned(t, "good.example", "ed25519:1", v.PublicKey)
			for name, e := range map[string]*fedinvite.Event{"received": e, "redacted": e.Redacted()} {
				if got := e.RequiredSigners(); !slices.Contains(got, "good.example") {
					t.Errorf("%s: required signers %q lack the sender's server", name, got)
				}
				if err := e.Verify(t.Context(), keys); err == nil {
					t.Errorf("%s: verified", name)
				}
			}
		})
	}
}

func TestEventVectorsRequiredSigners(t *testing.T) {
	for _, c := range loadEventVectors(t).RequiredSigners.Cases {
		t.Run(c.Name+"/v"+string(c.RoomVersion), func(t *testing.T) {
			// The vectors' hashes are made up; these cases are about events whose
			// hash is right.
			e, err := fedinvite.ParseEvent(rehash(t, c.Event, c.RoomVersion), rulesOf(t, c.RoomVersion))
			if err != nil {
				t.Fatal(err)
			}
			got := []string{}
			for _, s := range e.RequiredSigners() {
				got = append(got, string(s))
			}
			slices.Sort(got)
			if diff := cmp.Diff(c.RequiredSigners, got); diff != "" {
				t.Errorf("required signers (%s): -want +got\n%s", c.Note, diff)
			}
		})
	}
}

// rehash returns the event with the content hash that it should have.
func rehash(t testing.TB, event string, v fedinvite.RoomVersion) []byte {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(event), &members); err != nil {
		t.Fatal(err)
	}
	if _, ok := members["room_id"]; !ok {
		members["room_id"] = json.RawMessage(`"!x:a.example"`)
		if v == fedinvite.RoomV12 {
			members["room_id"] = json.RawMessage(`"!31hneApxJ_1o-63DmFrpeqnkFfWppnzWso1JvH3ogLM"`)
		}
	}
	b, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := fedinvite.SignEventJSON(t.Context(), b, rulesOf(t, v), newSigner(t, "nobody.example"))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func TestEventVectors(t *testing.T) {
	v := loadEventVectors(t)
	for _, c := range v.Events {
		t.Run(c.Name+"/v"+string(c.RoomVersion), func(t *testing.T) {
			rules := rulesOf(t, c.RoomVersion)
			signer := signerFromSeed(t, c.ServerName, c.KeyID, c.Seed)
			signed, err := fedinvite.SignEventJSON(t.Context(), []byte(c.Event), rules, signer)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(canonicalText(t, c.SignedEvent), string(signed)); diff != "" {
				t.Errorf("signed event: -want +got\n%s", diff)
			}
			e, err := fedinvite.ParseEvent([]byte(c.SignedEvent), rules)
			if err != nil {
				t.Fatal(err)
			}
			content, reference := e.ContentHash(), e.ReferenceHash()
			got := map[string]string{
				"content hash":            base64.RawStdEncoding.EncodeToString(content[:]),
				"reference hash":          base64.RawStdEncoding.EncodeToString(reference[:]),
				"reference hash URL-safe": base64.RawURLEncoding.EncodeToString(reference[:]),
				"event ID":                e.ID(),
				"redacted":                string(e.Redacted().AppendJSON(nil)),
				"hash OK":                 fmt.Sprint(e.HashOK()),
			}
			want := map[string]string{
				"content hash":            c.ContentHash,
				"reference hash":          c.ReferenceHash,
				"reference hash URL-safe": c.ReferenceHashURL,
				"event ID":                c.EventID,
				"redacted":                canonicalText(t, c.RedactedEvent),
				"hash OK":                 "true",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
			keys := pinned(t, c.ServerName, c.KeyID, v.PublicKey)
			for name, e := range map[string]*fedinvite.Event{"event": e, "redacted": e.Redacted()} {
				if err := e.Verify(t.Context(), keys, fedinvite.ServerName(c.ServerName)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				if e.ID() != c.EventID {
					t.Errorf("%s: ID %s", name, e.ID())
				}
			}
		})
	}
}

func TestEventVectorsEdgeCases(t *testing.T) {
	for _, c := range loadEventVectors(t).EdgeCases {
		t.Run(c.Name+"/v"+string(c.RoomVersion), func(t *testing.T) {
			e, err := fedinvite.ParseEvent([]byte(c.Event), rulesOf(t, c.RoomVersion))
			switch {
			case strings.HasPrefix(c.Recommended.Action, "reject"):
				if err == nil {
					t.Errorf("accepted: %s", c.Note)
				}
			case c.Recommended.Action == "hash":
				if err != nil {
					t.Fatal(err)
				}
				reference, content := e.ReferenceHash(), e.ContentHash()
				if got := base64.RawURLEncoding.EncodeToString(reference[:]); got != c.Recommended.Ref {
					t.Errorf("reference hash %s, want %s", got, c.Recommended.Ref)
				}
				if got := base64.RawStdEncoding.EncodeToString(content[:]); c.Recommended.ContentHash != "" && got != c.Recommended.ContentHash {
					t.Errorf("content hash %s, want %s", got, c.Recommended.ContentHash)
				}
				if c.Recommended.Redacted != "" {
					if diff := cmp.Diff(c.Recommended.Redacted, string(e.Redacted().AppendJSON(nil))); diff != "" {
						t.Errorf("redacted: -want +got\n%s", diff)
					}
				}
			case c.Recommended.Action == "implementation-defined": // what this package does is tested in event_test.go
			default:
				t.Errorf("unknown action %q", c.Recommended.Action)
			}
		})
	}
}

// The whole of "Checks performed on receipt of a PDU", steps 1 to 3.
func TestEventVectorsReceive(t *testing.T) {
	for _, c := range loadEventVectors(t).Receive {
		t.Run(c.Name+"/v"+string(c.RoomVersion), func(t *testing.T) {
			raw, err := base64.StdEncoding.DecodeString(c.EventBase64)
			if err != nil {
				t.Fatal(err)
			}
			got, id, kept := receivePDU(t, raw, rulesOf(t, c.RoomVersion), pinned(t, c.Server, c.Key, c.Pub))
			if c.Expect == "implementation-defined" {
				return
			}
			if got != c.Expect {
				t.Fatalf("%s, want %s", got, c.Expect)
			}
			if got == "drop" {
				return
			}
			if id != c.EventID {
				t.Errorf("event ID %s, want %s", id, c.EventID)
			}
			if diff := cmp.Diff(c.Result, kept); diff != "" {
				t.Errorf("kept copy: -want +got\n%s", diff)
			}
		})
	}
}

func receivePDU(t *testing.T, raw []byte, rules fedinvite.Rules, keys fedinvite.KeySource) (verdict, id, kept string) {
	e, err := fedinvite.ParseEvent(raw, rules)
	if err != nil {
		return "drop", "", ""
	}
	if err := e.Verify(t.Context(), keys); err != nil {
		return "drop", "", ""
	}
	verdict = "accept_full"
	if !e.HashOK() {
		verdict = "accept_redacted"
		e = e.Redacted()
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(e.AppendJSON(nil), &members); err != nil {
		t.Fatal(err)
	}
	delete(members, "unsigned")
	b, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return verdict, e.ID(), canonicalText(t, string(b))
}

type signingVectors struct {
	PublicKey string `json:"public_key"`
	Sign      []struct {
		Name         string `json:"name"`
		ObjectBase64 string `json:"object_base64"`
		ServerName   string `json:"server_name"`
		KeyID        string `json:"key_id"`
		Seed         string `json:"seed"`
		SignedBytes  string `json:"signed_bytes"`
		Signature    string `json:"signature"`
		SignedObject string `json:"signed_object"`
	} `json:"sign"`
	Verify []struct {
		Name         string `json:"name"`
		ObjectBase64 string `json:"object_base64"`
		ServerName   string `json:"server_name"`
		KeyID        string `json:"key_id"`
		PublicKey    string `json:"public_key"`
		Expect       string `json:"expect"`
		Note         string `json:"note"`
	} `json:"verify"`
	Ed25519Edge []struct {
		Name          string `json:"name"`
		PublicKeyHex  string `json:"public_key_hex"`
		SignatureHex  string `json:"signature_hex"`
		MessageBase64 string `json:"message_base64"`
		Recommended   string `json:"recommended"`
	} `json:"ed25519_edge"`
	Base64 []struct {
		Input       string `json:"input"`
		Recommended string `json:"recommended"`
		Note        string `json:"note"`
	} `json:"base64"`
	KeyID []struct {
		KeyID       string `json:"key_id"`
		Recommended string `json:"recommended"`
	} `json:"key_id"`
	EventSign []struct {
		Name               string          `json:"name"`
		Event              json.RawMessage `json:"event"`
		ServerName         string          `json:"server_name"`
		KeyID              string          `json:"key_id"`
		Seed               string          `json:"seed"`
		ContentHash        string          `json:"content_hash"`
		Signature          string          `json:"signature"`
		SignatureInV11     string          `json:"signature_in_v11_v12"`
		SignatureInV11Note string          `json:"note"`
	} `json:"event_sign"`
	MultiKey struct {
		Cases []struct {
			Name        string                `json:"name"`
			RoomVersion fedinvite.RoomVersion `json:"room_version"`
			EventBase64 string                `json:"event_base64"`
			ServerName  string                `json:"server_name"`
			KnownKeys   map[string]string     `json:"known_keys"`
			ValidUntil  map[string]int64      `json:"valid_until"`
			ExpiredTS   map[string]int64      `json:"expired_ts"`
			Expect      string                `json:"expect"`
			Note        string                `json:"note"`
		} `json:"cases"`
	} `json:"multi_key"`
}

func loadSigningVectors(t testing.TB) (v signingVectors) {
	loadVectors(t, "signing.json", &v)
	return v
}

func fromBase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestSigningVectorsSign(t *testing.T) {
	for _, c := range loadSigningVectors(t).Sign {
		t.Run(c.Name, func(t *testing.T) {
			signer := &recordingSigner{Signer: signerFromSeed(t, c.ServerName, c.KeyID, c.Seed)}
			got, err := fedinvite.SignJSON(t.Context(), fromBase64(t, c.ObjectBase64), signer)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.SignedBytes, string(signer.message)); diff != "" {
				t.Errorf("signed bytes: -want +got\n%s", diff)
			}
			want := canonicalText(t, c.SignedObject)
			if c.Name == "unsigned_null_value" { // the vector's maker drops a null unsigned; we keep what is not ours
				want = strings.TrimSuffix(want, "}") + `,"unsigned":null}`
			}
			if diff := cmp.Diff(want, string(got)); diff != "" {
				t.Errorf("signed object: -want +got\n%s", diff)
			}
		})
	}
}

// recordingSigner keeps the message that it was asked to sign.
type recordingSigner struct {
	fedinvite.Signer
	message []byte
}

func (s *recordingSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	s.message = append([]byte(nil), message...)
	return s.Signer.Sign(ctx, message)
}

func TestSigningVectorsVerify(t *testing.T) {
	for _, c := range loadSigningVectors(t).Verify {
		t.Run(c.Name, func(t *testing.T) {
			keys := pinned(t, c.ServerName, c.KeyID, c.PublicKey)
			err := fedinvite.VerifyJSON(t.Context(), fromBase64(t, c.ObjectBase64), fedinvite.ServerName(c.ServerName), keys, time.Time{})
			switch c.Expect {
			case "accept":
				if err != nil {
					t.Errorf("refused: %v (%s)", err, c.Note)
				}
			case "reject":
				if err == nil {
					t.Errorf("accepted (%s)", c.Note)
				}
			case "implementation-defined":
			default:
				t.Errorf("unknown expectation %q", c.Expect)
			}
		})
	}
}

func TestSigningVectorsEd25519Edge(t *testing.T) {
	for _, c := range loadSigningVectors(t).Ed25519Edge {
		t.Run(c.Name, func(t *testing.T) {
			public, err := hex.DecodeString(c.PublicKeyHex)
			if err != nil {
				t.Fatal(err)
			}
			signature, err := hex.DecodeString(c.SignatureHex)
			if err != nil {
				t.Fatal(err)
			}
			err = fedinvite.VerifyKey{Public: public}.Verify(fromBase64(t, c.MessageBase64), signature)
			if got := err == nil; got != (c.Recommended == "accept") {
				t.Errorf("verified: %v, recommended: %s", got, c.Recommended)
			}
		})
	}
}

func TestSigningVectorsEventSign(t *testing.T) {
	for _, c := range loadSigningVectors(t).EventSign {
		for _, version := range fedinvite.RoomVersions() {
			t.Run(c.Name+"/v"+string(version), func(t *testing.T) {
				signed, err := fedinvite.SignEventJSON(t.Context(), c.Event, rulesOf(t, version), signerFromSeed(t, c.ServerName, c.KeyID, c.Seed))
				if err != nil {
					t.Fatal(err)
				}
				var got struct {
					Hashes     struct{ SHA256 string }
					Signatures map[string]map[string]string
				}
				if err := json.Unmarshal(signed, &got); err != nil {
					t.Fatal(err)
				}
				if got.Hashes.SHA256 != c.ContentHash {
					t.Errorf("content hash %s, want %s", got.Hashes.SHA256, c.ContentHash)
				}
				want := c.Signature
				if version == fedinvite.RoomV11 || version == fedinvite.RoomV12 {
					want = c.SignatureInV11
				}
				if s := got.Signatures[c.ServerName][c.KeyID]; want != "" && s != want {
					t.Errorf("signature %s, want %s", s, want)
				}
			})
		}
	}
}

func TestSigningVectorsMultiKey(t *testing.T) {
	for _, c := range loadSigningVectors(t).MultiKey.Cases {
		t.Run(c.Name+"/v"+string(c.RoomVersion), func(t *testing.T) {
			keys := fedinvite.KeyMap{}
			known := map[fedinvite.KeyID]fedinvite.VerifyKey{}
			for id, public := range c.KnownKeys {
				key := pinned(t, "x", id, public)["x"][fedinvite.KeyID(id)]
				if ts, ok := c.ValidUntil[id]; ok {
					key.ValidUntil = time.UnixMilli(ts)
				}
				if ts, ok := c.ExpiredTS[id]; ok {
					key.ExpiredAt = time.UnixMilli(ts)
				}
				known[fedinvite.KeyID(id)] = key
			}
			keys[fedinvite.ServerName(c.ServerName)] = known
			e, err := fedinvite.ParseEvent(fromBase64(t, c.EventBase64), rulesOf(t, c.RoomVersion))
			if err != nil {
				t.Fatal(err)
			}
			err = e.Verify(t.Context(), keys)
			switch {
			case strings.HasPrefix(c.Expect, "implementation-defined"):
			case c.Expect == "accept" && err != nil:
				t.Errorf("refused: %v (%s)", err, c.Note)
			case c.Expect == "reject" && err == nil:
				t.Errorf("accepted (%s)", c.Note)
			case c.Expect != "accept" && c.Expect != "reject":
				t.Errorf("unknown expectation %q", c.Expect)
			}
		})
	}
}
