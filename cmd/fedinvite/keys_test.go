package main

import (
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
)

const (
	keysQueryPath = "/_matrix/key/v2/query"
	year9999      = 253370764800000
)

func keyOf(s fedinvite.Signer) string { return base64.RawStdEncoding.EncodeToString(s.Public()) }

var aKey = regexp.MustCompile(`[0-9A-Za-z+/]{43}`)

// seeded returns a signer whose key depends on the seed alone.
func seeded(t testing.TB, server fedinvite.ServerName, id fedinvite.KeyID, seed string) fedinvite.Signer {
	t.Helper()
	hash := sha256.Sum256([]byte(seed))
	s, err := fedinvite.NewSigner(server, id, ed25519.NewKeyFromSeed(hash[:]))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// keyDocument makes a key document, signed by the signers.
func keyDocument(t testing.TB, server string, verifyKeys, oldKeys object, signers ...fedinvite.Signer) json.RawMessage {
	t.Helper()
	return invitetest.Sign(invitetest.Encode(object{
		"server_name": server, "valid_until_ts": year9999, "verify_keys": verifyKeys, "old_verify_keys": oldKeys,
	}), signers...)
}

// serveKeys has a server answer with a key document, and as a notary.
func (st *site) serveKeys(t testing.TB, document func(server string) []byte, query http.HandlerFunc) (name string) {
	t.Helper()
	name = freeAddress(t)
	st.listenAndServe(t, name, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch {
		case r.Method == http.MethodGet && r.URL.Path == keysPath && document != nil:
			_, _ = w.Write(document(name))
		case r.Method == http.MethodPost && r.URL.Path == keysQueryPath && query != nil:
			query(w, r)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	return name
}

// keys runs the command.
func (st *site) keys(t testing.TB, args ...string) result {
	t.Helper()
	return runCommand(t.Context(), "", append([]string{"keys", "-ca", st.ca, "-allow", "loopback"}, args...)...)
}

func TestKeysOfServe(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	s := st.serve(t)
	signer, err := readSigner(fedinvite.ServerName(s.name), s.keyFile)
	if err != nil {
		t.Fatal(err)
	}
	r := st.keys(t, s.name)
	if r.status != statusOK || r.err != "" {
		t.Errorf("%+v", r)
	}
	diff(t, `server        127.0.0.1:PORT
valid until   TIME as published
              TIME as it counts
in use        `+string(signer.KeyID())+"  "+keyOf(signer)+`
signed by     "127.0.0.1:PORT" "`+string(signer.KeyID())+`"  verified
`, steady(r.out))

	r = runCommand(t.Context(), "", "keys", "-ca", st.ca, s.name)
	if r.status != statusRefused || !strings.Contains(r.err, "address is not allowed") || strings.Count(r.err, "\n") != 1 {
		t.Errorf("without -allow: %+v", r)
	}
}

func TestKeysOfAnOddDocument(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	var a, old fedinvite.Signer
	name := st.serveKeys(t, func(server string) []byte {
		a, old = invitetest.SignerWithKey(fedinvite.ServerName(server), "ed25519:a"), invitetest.SignerWithKey(fedinvite.ServerName(server), "ed25519:old")
		return keyDocument(t, server,
			object{"ed25519:a": object{"key": keyOf(a)}, "ed25519:b\x1b[2J": object{"key": keyOf(old)}, "ed25519:s": object{"key": "AA"}},
			object{"ed25519:old": object{"key": keyOf(old), "expired_ts": 1000}},
			a, invitetest.SignerWithKey("notary.test", "ed25519:a"))
	}, nil)
	before := time.Now().Truncate(time.Second)
	r := st.keys(t, name)
	if r.status != statusOK || r.err != "" {
		t.Errorf("%+v", r)
	}
	diff(t, `server        127.0.0.1:PORT
valid until   TIME as published
              TIME as it counts
in use        ed25519:a  `+keyOf(a)+`
old           ed25519:old  `+keyOf(old)+`  for events until TIME
ignored       "ed25519:b\x1b[2J"  signature check failed: the key has not signed the document
ignored       "ed25519:s"  unusable key: public key of 1 bytes
signed by     "127.0.0.1:PORT" "ed25519:a"  verified
signed by     "notary.test" "ed25519:a"  not verified
`, steady(r.out))
	if !strings.Contains(r.out, "9999-01-01T00:00:00Z as published") || !strings.Contains(r.out, "1970-01-01T00:00:01Z") {
		t.Error(r.out)
	}

	r = st.keys(t, "-json", name)
	var got keysReport
	if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.status != statusOK || got.Document == nil {
		t.Fatalf("%+v, %v", r, err)
	}
	d := got.Document
	counts, fetched := *d.Keys[0].ValidUntilTS, d.Fetched
	if counts != fetched+7*24*time.Hour.Milliseconds() || time.UnixMilli(fetched).Before(before) {
		t.Errorf("fetched %d, counts until %d", fetched, counts)
	}
	end := int64(1000)
	diff(t, keysReport{Server: fedinvite.ServerName(name), Document: &shownDocument{
		Fetched: fetched, ValidUntil: year9999,
		Keys: []shownKey{
			{KeyID: "ed25519:a", Key: keyOf(a), ValidUntilTS: &counts},
			{KeyID: "ed25519:old", Key: keyOf(old), ExpiredTS: &end},
		},
		Ignored: []ignoredKey{
			{"ed25519:b\x1b[2J", "signature check failed: the key has not signed the document"},
			{"ed25519:s", "unusable key: public key of 1 bytes"},
		},
		Signatures: []shownSignature{{fedinvite.ServerName(name), "ed25519:a", true}, {"notary.test", "ed25519:a", false}},
	}}, got)
}

func TestKeysFailures(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	for _, c := range []struct {
		name     string
		document func(server string) []byte
		out, err string
	}{
		{"not signed by itself", func(server string) []byte {
			a := invitetest.SignerWithKey(fedinvite.ServerName(server), "ed25519:a")
			return keyDocument(t, server, object{"ed25519:a": object{"key": keyOf(a)}}, object{})
		}, `ignored       "ed25519:a"  signature check failed: the key has not signed the document`, "no key that it lists has signed it"},
		{"of another server", func(string) []byte {
			a := invitetest.SignerWithKey("a.test", "ed25519:a")
			return keyDocument(t, "a.test", object{"ed25519:a": object{"key": keyOf(a)}}, object{}, a)
		}, "server ", "it is for another server"},
		{"none", nil, "server ", "404"},
		{"garbage", func(string) []byte { return []byte("\x1b[2J") }, "server ", "not JSON"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			name := st.serveKeys(t, c.document, nil)
			r := st.keys(t, name)
			if r.status != statusRefused || strings.Count(r.err, "\n") != 1 || !strings.Contains(r.err, c.err) || !strings.Contains(r.out, c.out) {
				t.Errorf("%+v, want %q and %q", r, c.out, c.err)
			}
			r = st.keys(t, "-json", name)
			var got keysReport
			if err := json.Unmarshal([]byte(r.out), &got); err != nil || r.status != statusRefused || !strings.Contains(got.Error, c.err) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// twice returns two documents, one of before the key became old, and one of after.
func twice(t testing.TB, server string, own, sign fedinvite.Signer, after int) []json.RawMessage {
	t.Helper()
	b := invitetest.SignerWithKey(fedinvite.ServerName(server), "ed25519:b")
	all := make([]json.RawMessage, 2)
	all[after] = keyDocument(t, server, object{"ed25519:b": object{"key": keyOf(b)}}, object{"ed25519:a": object{"key": keyOf(own), "expired_ts": 1000}}, b, sign)
	all[1-after] = keyDocument(t, server, object{"ed25519:a": object{"key": keyOf(own)}}, object{}, own, sign)
	return all
}

func TestKeysByNotary(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	const id = fedinvite.KeyID("ed25519:a")
	for _, c := range []struct {
		name    string
		answer  func(server string, own fedinvite.Signer, sign fedinvite.Signer) any // of server_keys
		status  int
		out     []string // after the line about the notary
		summary string
		err     string
	}{
		{"the same", func(server string, own, sign fedinvite.Signer) any {
			return []any{keyDocument(t, server, object{"ed25519:a": object{"key": keyOf(own)}}, object{}, own, sign)}
		}, statusOK, []string{"same          ed25519:a  KEY"}, "1 of its documents counts", ""},
		{"two documents, one of another server", func(server string, own, sign fedinvite.Signer) any {
			b, other := invitetest.SignerWithKey(fedinvite.ServerName(server), "ed25519:b"), invitetest.SignerWithKey("a.test", "ed25519:a")
			return []any{
				keyDocument(t, server, object{"ed25519:b": object{"key": keyOf(b)}}, object{}, b, sign),
				keyDocument(t, "a.test", object{"ed25519:a": object{"key": keyOf(other)}}, object{}, other, sign),
				keyDocument(t, server, object{"ed25519:a": object{"key": keyOf(own)}}, object{}, own, sign),
			}
		}, statusOK, []string{"same          ed25519:a  KEY", "only there    ed25519:b  KEY"}, "2 of its documents count", ""},
		{"an old key there", func(server string, own, sign fedinvite.Signer) any {
			b := invitetest.SignerWithKey(fedinvite.ServerName(server), "ed25519:b")
			return []any{keyDocument(t, server, object{"ed25519:b": object{"key": keyOf(b)}},
				object{"ed25519:a": object{"key": keyOf(own), "expired_ts": 1000}}, b, sign)}
		}, statusOK, []string{"changed       ed25519:a  KEY", "only there    ed25519:b  KEY"}, "1 of its documents counts", ""},
		{"old in the first document", func(server string, own, sign fedinvite.Signer) any { return twice(t, server, own, sign, 0) },
			statusOK, []string{"changed       ed25519:a  KEY", "only there    ed25519:b  KEY"}, "2 of its documents count", ""},
		{"old in the second document", func(server string, own, sign fedinvite.Signer) any { return twice(t, server, own, sign, 1) },
			statusOK, []string{"changed       ed25519:a  KEY", "only there    ed25519:b  KEY"}, "2 of its documents count", ""},
		{"missing there", func(server string, _, sign fedinvite.Signer) any {
			b := invitetest.SignerWithKey(fedinvite.ServerName(server), "ed25519:b")
			return []any{keyDocument(t, server, object{"ed25519:b": object{"key": keyOf(b)}}, object{}, b, sign)}
		}, statusOK, []string{"missing       ed25519:a", "only there    ed25519:b  KEY"}, "1 of its documents counts", ""},
		{"other bytes", func(server string, _, sign fedinvite.Signer) any {
			other := seeded(t, fedinvite.ServerName(server), id, "other")
			return []any{keyDocument(t, server, object{"ed25519:a": object{"key": keyOf(other)}}, object{}, other, sign)}
		}, statusRefused, []string{"DIFFERENT     ed25519:a  KEY"}, "1 of its documents counts", `has other bytes for the key "ed25519:a"`},
		{"not signed by the notary", func(server string, own, _ fedinvite.Signer) any {
			return []any{keyDocument(t, server, object{"ed25519:a": object{"key": keyOf(own)}}, object{}, own)}
		}, statusRefused, nil, "0 of its documents count", "no key document of 127.0.0.1"},
		{"signed by the notary alone", func(server string, own, sign fedinvite.Signer) any {
			return []any{keyDocument(t, server, object{"ed25519:a": object{"key": keyOf(own)}}, object{}, sign)}
		}, statusRefused, nil, "0 of its documents count", "no key document of 127.0.0.1"},
		{"signed by another key of the notary", func(server string, own, sign fedinvite.Signer) any {
			other := seeded(t, sign.ServerName(), sign.KeyID(), "other")
			return []any{keyDocument(t, server, object{"ed25519:a": object{"key": keyOf(own)}}, object{}, own, other)}
		}, statusRefused, nil, "0 of its documents count", "no key document of 127.0.0.1"},
		{"nothing known", func(string, fedinvite.Signer, fedinvite.Signer) any { return []any{} }, statusRefused, nil, "0 of its documents count", "no key document of 127.0.0.1"},
		{"an object", func(string, fedinvite.Signer, fedinvite.Signer) any { return object{} }, statusRefused, nil, "0 of its documents count", "server_keys"},
		{"too many", func(string, fedinvite.Signer, fedinvite.Signer) any { return make([]object, 17) }, statusRefused, nil, "0 of its documents count", "too large"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var own fedinvite.Signer
			name := st.serveKeys(t, func(server string) []byte {
				own = invitetest.SignerWithKey(fedinvite.ServerName(server), id)
				return keyDocument(t, server, object{"ed25519:a": object{"key": keyOf(own)}}, object{}, own)
			}, nil)
			var asked object
			var notaryName string
			notaryName = st.serveKeys(t, nil, func(w http.ResponseWriter, r *http.Request) {
				if err := json.NewDecoder(r.Body).Decode(&asked); err != nil || r.Header.Get("Authorization") != "" {
					t.Errorf("the question: %v, authorization %q", err, r.Header.Get("Authorization"))
				}
				sign := seeded(t, fedinvite.ServerName(notaryName), "ed25519:n", "notary")
				text, err := json.Marshal(object{"server_keys": c.answer(name, own, sign)})
				if err != nil {
					t.Error(err)
				}
				_, _ = w.Write(text)
			})
			pinned := seeded(t, "any.test", "ed25519:n", "notary")
			r := st.keys(t, "-notary", notaryName, "-notary-key", "ed25519:n "+keyOf(pinned), name)
			if r.status != c.status || !strings.Contains(r.err, c.err) || (c.err != "") != (strings.Count(r.err, "\n") == 1) {
				t.Errorf("status %d, %q, want %d and %q", r.status, r.err, c.status, c.err)
			}
			_, about, _ := strings.Cut(r.out, "\nnotary        ")
			head, lines, _ := strings.Cut(about, "\n")
			if want := notaryName + ", " + c.summary; head != want {
				t.Errorf("got %q, want %q", head, want)
			}
			var got []string
			for line := range strings.Lines(lines) {
				if !strings.HasPrefix(line, "ignored ") {
					got = append(got, aKey.ReplaceAllString(strings.TrimRight(line, "\n"), "KEY"))
				}
			}
			diff(t, c.out, got)
			question := asked["server_keys"].(object)[name].(object)
			if ts, ok := question["ed25519:a"].(object)["minimum_valid_until_ts"].(float64); !ok || len(question) != 1 || ts < 1e12 {
				t.Errorf("asked %v", asked)
			}
		})
	}
}

// A notary is worth most when the server itself is gone.
func TestKeysOfAServerThatIsGone(t *testing.T) {
	t.Parallel()
	st := newSite(t)
	own := invitetest.SignerWithKey("127.0.0.1:1", "ed25519:a")
	var asked, notaryName string
	notaryName = st.serveKeys(t, nil, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		asked = string(body)
		if err != nil {
			t.Error(err)
		}
		sign := seeded(t, fedinvite.ServerName(notaryName), "ed25519:n", "notary")
		text, err := json.Marshal(object{"server_keys": []any{keyDocument(t, "127.0.0.1:1", object{"ed25519:a": object{"key": keyOf(own)}}, object{}, own, sign)}})
		if err != nil {
			t.Error(err)
		}
		_, _ = w.Write(text)
	})
	sign := seeded(t, "any.test", "ed25519:n", "notary")
	r := st.keys(t, "-notary", notaryName, "-notary-key", "ed25519:n "+keyOf(sign), "127.0.0.1:1")
	if r.status != statusRefused || !strings.Contains(r.err, "connection refused") || strings.Count(r.err, "\n") != 1 {
		t.Errorf("%+v", r)
	}
	if want := "only there    ed25519:a  " + keyOf(own) + "\n"; !strings.HasSuffix(r.out, want) {
		t.Errorf("got\n%s, want %q", r.out, want)
	}
	if want := `{"server_keys":{"127.0.0.1:1":{}}}`; asked != want {
		t.Errorf("asked %s, want %s", asked, want)
	}
}

// What counts of a notary's answer is signed by the server and by the notary.
func FuzzNotaryAnswer(f *testing.F) {
	own, sign := invitetest.SignerWithKey("a.test", "ed25519:a"), invitetest.SignerWithKey("notary.test", "ed25519:n")
	n := &notary{name: "notary.test", keys: map[fedinvite.KeyID]fedinvite.VerifyKey{"ed25519:n": {Public: sign.Public()}}}
	for _, signers := range [][]fedinvite.Signer{{own, sign}, {own}, {sign}} {
		f.Add([]byte(`{"server_keys":[` + string(keyDocument(f, "a.test", object{"ed25519:a": object{"key": keyOf(own)}}, object{}, signers...)) + `]}`))
	}
	f.Fuzz(func(t *testing.T, answer []byte) {
		r := new(notaryReport)
		keys, err := n.read(context.Background(), r, answer, "a.test", time.Now())
		if (err == nil) != (len(keys) > 0) || (err == nil) != (r.Documents > 0) {
			t.Errorf("%v, %v, %d documents", keys, err, r.Documents)
		}
		for id, key := range keys {
			if id != "ed25519:a" || !key.Public.Equal(own.Public()) {
				t.Errorf("%q: %+v", id, key)
			}
		}
	})
}
