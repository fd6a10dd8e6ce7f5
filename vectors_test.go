package fedinvite_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
)

//go:generate go run ./internal/vectors

// The tests named TestVectors… run the files of testdata/vectors, whose README tells how to
// read them. vectorTests are the kinds that have one.
var vectorTests = []string{
	"canonicaljson/canonicaljson",
	"signatures/sign", "signatures/verify", "signatures/ed25519", "signatures/base64", "signatures/key-ids", "signatures/several-keys",
	"events/v*", "events/published", "events/format", "events/receive", "events/required-signers", "events/third-party-unsigned",
	"redactions/redactions",
	"xmatrix/parse", "xmatrix/sign", "xmatrix/verify",
	"invites-in/*",
	"invites-out/drafts", "invites-out/replies", "invites-out/fallback",
}

// vectorHead is what every case begins with.
type vectorHead struct {
	Name     string `json:"name"`
	Sentence string `json:"sentence"`
	Spec     string `json:"spec"`
	Note     string `json:"note"`
	Level    string `json:"level"` // who asks for it; in some kinds of cases
}

// vectorFile is a file of cases.
type vectorFile[C any] struct {
	Kind   string                 `json:"kind"`
	About  string                 `json:"about"`
	Source string                 `json:"source"`
	Worlds map[string]vectorWorld `json:"worlds"`
	Cases  []C                    `json:"cases"`
}

// vectors reads a file. A member that C does not have is an error: it would not be looked at.
func vectors[C any](t testing.TB, kind string) vectorFile[C] {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", "vectors", filepath.FromSlash(kind)+".json"))
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var f vectorFile[C]
	if err := d.Decode(&f); err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	if f.Kind != kind || len(f.Cases) == 0 {
		t.Fatalf("%s: kind %q, %d cases", kind, f.Kind, len(f.Cases))
	}
	return f
}

// vectorKinds returns the kinds that match a pattern, in order.
func vectorKinds(t testing.TB, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", "vectors", filepath.FromSlash(pattern)+".json"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no files for %s: %v", pattern, err)
	}
	var kinds []string
	for _, name := range names {
		kind, err := filepath.Rel(filepath.Join("testdata", "vectors"), strings.TrimSuffix(name, ".json"))
		if err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, filepath.ToSlash(kind))
	}
	return kinds
}

// A file must not change without the manifest, and every file must have a test.
func TestVectorsManifest(t *testing.T) {
	type entry struct {
		Path   string `json:"path"`
		SHA256 string `json:"sha256"`
		Cases  int    `json:"cases"`
	}
	var manifest struct {
		Version string  `json:"version"`
		Spec    string  `json:"spec_version"`
		Cases   int     `json:"cases"`
		Files   []entry `json:"files"`
	}
	root := filepath.Join("testdata", "vectors")
	text, err := os.ReadFile(filepath.Join(root, "manifest.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(text, &manifest); err != nil {
		t.Fatal(err)
	}
	if manifest.Version == "" || manifest.Spec == "" {
		t.Error("the manifest has no version")
	}
	var got []entry
	total := 0
	err = filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		local, _ := filepath.Rel(root, name)
		if err != nil || d.IsDir() || local == "README.md" || local == "manifest.json" {
			return err
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		var f vectorFile[vectorHead]
		if err := json.Unmarshal(text, &f); err != nil {
			return err
		}
		checkNames(t, name, f.Cases)
		sum := sha256.Sum256(text)
		got = append(got, entry{filepath.ToSlash(local), hex.EncodeToString(sum[:]), len(f.Cases)})
		total += len(f.Cases)
		kind := strings.TrimSuffix(filepath.ToSlash(local), ".json")
		if !slices.ContainsFunc(vectorTests, func(pattern string) bool {
			ok, _ := filepath.Match(pattern, kind)
			return ok
		}) {
			t.Errorf("no test runs %s", kind)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(manifest.Files, got); diff != "" {
		t.Errorf("raise the version in internal/vectors and go generate; -manifest +files\n%s", diff)
	}
	if manifest.Cases != total {
		t.Errorf("the manifest counts %d cases, there are %d", manifest.Cases, total)
	}
}

func checkNames(t *testing.T, file string, cases []vectorHead) {
	t.Helper()
	seen := map[string]bool{}
	for _, c := range cases {
		if c.Name == "" || seen[c.Name] {
			t.Errorf("%s: name %q is empty or there twice", file, c.Name)
		}
		seen[c.Name] = true
	}
}

// vectorKeys are the keys of servers as the vectors have them.
type vectorKeys map[fedinvite.ServerName]map[fedinvite.KeyID]struct {
	Public     string `json:"public_key"`
	ValidUntil int64  `json:"valid_until_ts"`
	Expired    int64  `json:"expired_ts"`
}

func (v vectorKeys) keyMap(t testing.TB) fedinvite.KeyMap {
	t.Helper()
	keys := fedinvite.KeyMap{}
	for server, known := range v {
		keys[server] = map[fedinvite.KeyID]fedinvite.VerifyKey{}
		for id, k := range known {
			// A key that is malformed is taken as it is, because that is what a
			// KeySource of another author may return.
			key := pinned(t, string(server), string(id), k.Public)[server][id]
			if k.ValidUntil != 0 {
				key.ValidUntil = time.UnixMilli(k.ValidUntil)
			}
			if k.Expired != 0 {
				key.ExpiredAt = time.UnixMilli(k.Expired)
			}
			keys[server][id] = key
		}
	}
	return keys
}

// vectorText is a text or, where it is no UTF-8, its base64.
func vectorText(t testing.TB, text, encoded string) []byte {
	t.Helper()
	if encoded != "" {
		return fromBase64(t, encoded)
	}
	return []byte(text)
}

// vectorGen is a text that is described.
type vectorGen struct {
	Concat []struct {
		Text  string `json:"text"`
		Times int    `json:"times"`
	} `json:"concat"`
	CountdownKeys int `json:"countdown_keys"`
}

func (g *vectorGen) bytes() []byte {
	var b []byte
	for _, part := range g.Concat {
		b = append(b, strings.Repeat(part.Text, part.Times)...)
	}
	if n := g.CountdownKeys; n > 0 {
		b = append(b, '{')
		for i := range n {
			b = fmt.Appendf(b, `"k%d":%d,`, n-i, i)
		}
		b[len(b)-1] = '}'
	}
	return b
}

// A wantAccept checks an error against "accept", "reject" or "implementation-defined".
func wantAccept(t *testing.T, expect string, err error) {
	t.Helper()
	switch expect {
	case "accept":
		if err != nil {
			t.Errorf("refused: %v", err)
		}
	case "reject":
		if err == nil {
			t.Error("accepted")
		}
	case "implementation-defined":
	default:
		t.Errorf("unknown expectation %q", expect)
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

// pinned returns a KeyMap of one key.
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

// withoutMember returns an object in canonical form without one of its members.
func withoutMember(t testing.TB, object, name string) string {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(object), &members); err != nil {
		t.Fatal(err)
	}
	delete(members, name)
	b, err := json.Marshal(members)
	if err != nil {
		t.Fatal(err)
	}
	return canonicalText(t, string(b))
}

func fromBase64(t testing.TB, s string) []byte {
	t.Helper()
	b, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
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
