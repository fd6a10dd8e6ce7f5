package xmatrix_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// Each search is later than the one before by more than a second.
func tickingClock() func() time.Time {
	var ticks atomic.Int64
	return func() time.Time { return now.Add(time.Duration(ticks.Add(1)) * time.Minute) }
}

func newHintScene(t *testing.T) *scene {
	t.Helper()
	s := newScene(t)
	s.v.Hints = xmatrix.NewHints(tickingClock())
	return s
}

// A sent request is what a.ex signs, or what arrives of it.
type sent struct{ method, target, to, body string }

// hint has the request signed as one thing and received as another, from a client that
// asked for host.
func (s *scene) hint(signed, got sent, host string) *xmatrix.HintError {
	s.t.Helper()
	a := headerFor(s.t, s.signer, fedinvite.ServerName(signed.to), signed.method, signed.target, signed.body)
	a.Destination = fedinvite.ServerName(got.to)
	r := received(s.t, got.method, got.target, a.String())
	r.Host = host
	c, err := s.v.Credentials(r)
	if err == nil {
		err = c.Verify(s.t.Context(), []byte(got.body))
	}
	h, ok := errors.AsType[*xmatrix.HintError](err)
	if !ok {
		s.t.Fatalf("got %v, want a HintError", err)
	}
	if !errors.Is(err, fedinvite.ErrUnauthorized) || !errors.Is(err, fedinvite.ErrSignature) {
		s.t.Errorf("%v wraps too little", err)
	}
	if h.Readings > 40 {
		s.t.Errorf("%d readings", h.Readings)
	}
	return h
}

const (
	v2 = "/_matrix/federation/v2/invite/"
	// As Synapse, Go servers and others write "!r/x:ex" and "$a/b+c=".
	pythonTarget = v2 + "%21r%2Fx%3Aex/%24a%2Fb%2Bc%3D"
	goTarget     = v2 + "%21r%2Fx:ex/$a%2Fb+c="
	scriptTarget = v2 + "!r%2Fx%3Aex/%24a%2Fb%2Bc%3D"
	rfcTarget    = v2 + "!r%2Fx:ex/$a%2Fb+c="
)

// What a proxy does to the target, and what the hint says of it.
func TestHintOfARewrittenTarget(t *testing.T) {
	const rewritten = "the path seems to have been rewritten between the sender and here: "
	const decoded = rewritten + "it was decoded, and perhaps encoded again"
	s := newHintScene(t)
	for _, c := range []struct {
		name        string
		signed, got string
		fault       string
	}{
		{"nginx with a path in proxy_pass, from Python", v2 + "%21r%3Aex/%24a%2Fb", v2 + "!r:ex/$a/b", decoded},
		{"nginx with a path in proxy_pass, from Go", v2 + "%21r:ex/$a%2Fb", v2 + "!r:ex/$a/b", decoded},
		{"nginx with a path in proxy_pass, from JavaScript", v2 + "!r%3Aex/%24a%2Fb", v2 + "!r:ex/$a/b", decoded},
		{"nginx with a path in proxy_pass, by RFC 3986", v2 + "!r:ex/$a%2Fb", v2 + "!r:ex/$a/b", decoded},
		{"nginx that merged the slashes of an ID", v2 + "%21r%3Aex/%24a%2F%2Fb", v2 + "!r:ex/$a/b", decoded},
		{"the same from Go, the second slash", v2 + "%21r:ex/$a%2Fb%2F%2Fc", v2 + "!r:ex/$a/b/c", decoded},
		{"Python read and written by Go", pythonTarget, goTarget, decoded},
		{"Go read and written by Python", goTarget, pythonTarget, decoded},
		{"JavaScript read and written by Go", scriptTarget, goTarget, decoded},
		{"RFC 3986 read and written by Python", rfcTarget, pythonTarget, decoded},
		{"Go's whole path", "/x/%21a;b,c", "/x/!a;b,c", decoded},
		{"decoded by the sender only", "/x/!r:ex", "/x/%21r%3Aex", decoded},
		{"encoded twice by the sender", "/x/%2521r", "/x/%21r", decoded},
		{"encoded twice by the sender, from Python", "/x/%2521r%3Aex", "/x/%21r:ex", decoded},
		{"encoded again on the way", "/x/%21r", "/x/%2521r", decoded},
		{"escapes in lower case", v2 + "%21r%3aex/%24a%2fb", v2 + "%21r%3Aex/%24a%2Fb", decoded},
		{"escapes in upper case", v2 + "%21r%3Aex/%24a%2Fb", v2 + "%21r%3aex/%24a%2fb", decoded},
		{"some escapes, in lower case", v2 + "%21r%3aex/$a%2fb", v2 + "%21r%3Aex/$a%2Fb", decoded},
		{"some escapes, in upper case", v2 + "%21r%3Aex/$a%2Fb", v2 + "%21r%3aex/$a%2fb", decoded},
		{"escapes in lower case, decoded", v2 + "%21r%3aex/%24a%2fb", v2 + "!r:ex/$a/b", decoded},
		{"with a query", v2 + "%21r/%24a?x=%2F", v2 + "!r/$a?x=%2F", decoded},

		{"two slashes at the front", "/_matrix/x", "//_matrix/x", rewritten + `"/" was put in front`},
		{"slashes and dots inside", "/_matrix/x/y", "/_matrix//./x/z/../y", rewritten + "slashes or dots were added"},
		{"two slashes merged", "//_matrix/x", "/_matrix/x", rewritten + "a slash was removed from its front"},
		{"a slash at the end added", target, target + "/", rewritten + "a slash was added to its end"},
		{"a slash at the end removed", target + "/", target, rewritten + "a slash was removed from its end"},
		{"a query added", target, target + "?via=proxy", rewritten + "a query was added"},
		{"a question mark added", target, target + "?", rewritten + "a query was added"},
		{"a question mark removed", target + "?", target, rewritten + "its question mark is gone"},

		{"/_matrix cut off", v2 + "%21r/$e", "/federation/v2/invite/%21r/$e", rewritten + `"/_matrix" was cut off its front`},
		{"/_matrix/federation cut off", v2 + "%21r/$e", "/v2/invite/%21r/$e", rewritten + `"/_matrix/federation" was cut off its front`},
		{"/_matrix/federation/v2 cut off", v2 + "%21r/$e", "/invite/%21r/$e", rewritten + `"/_matrix/federation/v2" was cut off its front`},
		{"/_matrix/federation/v1 cut off", "/_matrix/federation/v1/send/1", "/send/1", rewritten + `"/_matrix/federation/v1" was cut off its front`},
		{"cut off and decoded, from Python", v2 + "%21r%3Aex/%24a%2Fb", "/v2/invite/!r:ex/$a/b",
			rewritten + `"/_matrix/federation" was cut off its front, and it was decoded`},
		{"cut off and decoded, from Go", v2 + "%21r:ex/$a%2Fb", "/federation/v2/invite/!r:ex/$a/b",
			rewritten + `"/_matrix" was cut off its front, and it was decoded`},
		{"a front added", v2 + "%21r/$e", "/hs/1" + v2 + "%21r/$e", rewritten + `"/hs/1" was put in front`},
		{"a front added and decoded", v2 + "%21r/$e", "/hs" + v2 + "!r/$e", rewritten + `"/hs" was put in front, and it was decoded`},
		{"a front replaced", v2 + "%21r/$e", "/matrix/federation/v2/invite/%21r/$e", rewritten + `"/matrix" stands where "/_matrix" was`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s.t = t
			h := s.hint(sent{"PUT", c.signed, "us.ex", body}, sent{"PUT", c.got, "us.ex", body}, "us.ex")
			if h.Fault != c.fault {
				t.Errorf("fault: %s\nwant:  %s", h.Fault, c.fault)
			}
			with := fmt.Sprintf(" to us.ex with a body of %d bytes", len(body))
			if h.Tried != `PUT "`+c.got+`"`+with || h.Match != `PUT "`+c.signed+`"`+with {
				t.Errorf("tried %s, match %s", h.Tried, h.Match)
			}
			if want := "request not authenticated: the request signature does not verify for " + h.Tried + "; it does for " + h.Match + ": " + h.Fault; h.Error() != want {
				t.Errorf("got  %s\nwant %s", h, want)
			}
		})
	}
}

// What else may differ, alone and together with the target.
func TestHintOfOtherDifferences(t *testing.T) {
	const (
		name     = "the sender seems to have signed for another name of this server"
		method   = "the method seems to have been changed between the sender and here"
		noBody   = "the sender seems to have left the body out of what it signed, or somebody added it"
		lostBody = "the sender seems to have signed a body that did not come"
		decoded  = "the path seems to have been rewritten between the sender and here: it was decoded, and perhaps encoded again"
	)
	usual := sent{"PUT", target, "us.ex", body}
	for _, c := range []struct {
		name        string
		signed, got sent
		host        string
		fault       string
		match       string
	}{
		{"Host", sent{"PUT", target, "matrix.us.ex:443", body}, usual, "matrix.us.ex:443", name, `PUT "` + target + `" to matrix.us.ex:443 with a body of 52 bytes`},
		{"Host without its port", sent{"PUT", target, "matrix.us.ex", body}, usual, "matrix.us.ex:443", name, `PUT "` + target + `" to matrix.us.ex with a body of 52 bytes`},
		{"Host that is an address, without its port", sent{"PUT", target, "[::1]", body}, usual, "[::1]:443", name, `PUT "` + target + `" to [::1] with a body of 52 bytes`},
		{"Host in lower case", sent{"PUT", target, "matrix.us.ex", body}, usual, "Matrix.us.ex:443", name, `PUT "` + target + `" to matrix.us.ex with a body of 52 bytes`},
		{"destination in lower case", usual, sent{"PUT", target, "Us.ex", body}, "x", name, `PUT "` + target + `" to us.ex with a body of 52 bytes`},
		{"the name that is assumed", sent{"PUT", target, "assumed.ex", body}, usual, "x", name, `PUT "` + target + `" to assumed.ex with a body of 52 bytes`},
		{"POST instead of PUT", sent{"POST", target, "us.ex", body}, usual, "x", method, `POST "` + target + `" to us.ex with a body of 52 bytes`},
		{"PUT instead of POST", usual, sent{"POST", target, "us.ex", body}, "x", method, `PUT "` + target + `" to us.ex with a body of 52 bytes`},
		{"GET instead of PUT", sent{"GET", target, "us.ex", ""}, sent{"PUT", target, "us.ex", ""}, "x", method, `GET "` + target + `" to us.ex without a body`},
		{"no body signed", sent{"PUT", target, "us.ex", ""}, usual, "x", noBody, `PUT "` + target + `" to us.ex without a body`},
		{"{} not signed", sent{"PUT", target, "us.ex", ""}, sent{"PUT", target, "us.ex", " { }"}, "x", noBody, `PUT "` + target + `" to us.ex without a body`},
		{"{} signed and not sent", sent{"PUT", target, "us.ex", "{}"}, sent{"PUT", target, "us.ex", ""}, "x", lostBody, `PUT "` + target + `" to us.ex with the body {}`},
		{"decoded, and the name", sent{"PUT", v2 + "%21r%3Aex/%24e", "matrix.us.ex", body}, sent{"PUT", v2 + "!r:ex/$e", "us.ex", body}, "matrix.us.ex",
			decoded + "; and " + name, `PUT "` + v2 + `%21r%3Aex/%24e" to matrix.us.ex with a body of 52 bytes`},
		{"decoded, and no body signed", sent{"PUT", v2 + "%21r%3Aex/%24e", "us.ex", ""}, sent{"PUT", v2 + "!r:ex/$e", "us.ex", body}, "us.ex",
			decoded + "; and " + noBody, `PUT "` + v2 + `%21r%3Aex/%24e" to us.ex without a body`},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newHintScene(t)
			s.v.Assume = "assumed.ex"
			h := s.hint(c.signed, c.got, c.host)
			if h.Fault != c.fault || h.Match != c.match {
				t.Errorf("fault %s, match %s\nwant  %s, match %s", h.Fault, h.Match, c.fault, c.match)
			}
		})
	}
}

// Where nothing matches, the error says so, and what is left.
func TestNoHint(t *testing.T) {
	s := newHintScene(t)
	h := s.hint(sent{"PUT", target, "us.ex", `{"a":1}`}, sent{"PUT", target, "us.ex", `{"a":2}`}, "us.ex")
	if h.Match != "" || h.Fault != "" || h.Readings < 10 {
		t.Errorf("%+v", h)
	}
	want := fmt.Sprintf(`request not authenticated: the request signature does not verify for PUT %q to us.ex with a body of 7 bytes, `+
		`nor for any of %d other readings of target, destination, method and body: either the body was changed, or the key or the sender's signing is at fault`,
		target, h.Readings)
	if h.Error() != want {
		t.Errorf("got  %s\nwant %s", h, want)
	}
}

// What the peer is told, and whether it is told anything, does not depend on hints.
func TestHintsStayHere(t *testing.T) {
	s := newHintScene(t)
	for _, signed := range []sent{{"PUT", target + "/", "us.ex", body}, {"PUT", target, "us.ex", `{"secret":1}`}} {
		h := s.hint(signed, sent{"PUT", target, "us.ex", body}, "us.ex")
		without, with := fedinvite.WireError(h.Err), fedinvite.WireError(h)
		if with.Status != without.Status || with.Code != without.Code || with.Message != without.Message || with.Message != "request not authenticated" {
			t.Errorf("a peer is told %d %s %q, without hints %d %s %q", with.Status, with.Code, with.Message, without.Status, without.Code, without.Message)
		}
	}
}

func TestHintsHoldNothingOfTheBodyAndLittleOfTheTarget(t *testing.T) {
	s := newHintScene(t)
	secret := `{"secret":"hunter2"}`
	long := "/_matrix/" + strings.Repeat("é", 1000)
	for _, signed := range []string{long + "/", "/other"} {
		h := s.hint(sent{"PUT", signed, "us.ex", secret}, sent{"PUT", long, "us.ex", secret}, "us.ex")
		if text := h.Error(); strings.Contains(text, "hunter2") || len(text) > 1500 || !utf8.ValidString(text) || !strings.Contains(text, `…"`) || strings.Contains(text, `\x`) {
			t.Errorf("%d bytes: %s", len(text), text)
		}
		if (h.Match != "") != (signed != "/other") {
			t.Errorf("match %q", h.Match)
		}
	}
}

// plain is check where there must be no hint.
func (s *scene) plain(got sent, header string) {
	s.t.Helper()
	_, err := s.check(got.method, got.target, got.body, header)
	if h, ok := errors.AsType[*xmatrix.HintError](err); ok || !errors.Is(err, fedinvite.ErrUnauthorized) {
		s.t.Errorf("got %v (%v), want a plain ErrUnauthorized", err, h)
	}
}

// Only a wrong signature by a known, valid key is looked into, and only if hints are wanted.
func TestHintsAreForWrongSignaturesOnly(t *testing.T) {
	rewritten := sent{"PUT", target + "/", "us.ex", body}
	for name, change := range map[string]func(*scene){
		"no hints":       func(s *scene) { s.v.Hints = nil },
		"the zero Hints": func(s *scene) { s.v.Hints = new(xmatrix.Hints) },
		"unknown key":    func(s *scene) { s.keys.KeyMap = fedinvite.KeyMap{} },
		"old key": func(s *scene) {
			s.keys.KeyMap["a.ex"]["ed25519:1"] = fedinvite.VerifyKey{Public: s.signer.Public(), ExpiredAt: now.Add(time.Hour)}
		},
		"key of the past": func(s *scene) {
			s.keys.KeyMap["a.ex"]["ed25519:1"] = fedinvite.VerifyKey{Public: s.signer.Public(), ValidUntil: now.Add(-time.Hour)}
		},
		"unusable key": func(s *scene) {
			s.keys.KeyMap["a.ex"]["ed25519:1"] = fedinvite.VerifyKey{Public: make([]byte, 32)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newHintScene(t)
			change(s)
			s.plain(rewritten, s.auth().String())
		})
	}
	t.Run("a target of more than 4096 bytes", func(t *testing.T) {
		s := newHintScene(t)
		long := "/" + strings.Repeat("x", 4095)
		s.hint(sent{"PUT", long + "y", "us.ex", body}, sent{"PUT", long, "us.ex", body}, "us.ex")
		s.plain(sent{"PUT", long + "y", "us.ex", body}, s.auth().String())
	})
	t.Run("an outage", func(t *testing.T) {
		s := newHintScene(t)
		s.v.Keys = outageOf{s.keys, "ed25519:2"}
		unknown := headerFor(t, invitetest.SignerWithKey("a.ex", "ed25519:2"), "us.ex", "PUT", target, body)
		_, err := s.check("PUT", target+"/", body, s.auth().String(), unknown.String())
		if h, ok := errors.AsType[*xmatrix.HintError](err); ok || !errors.Is(err, fedinvite.ErrKeysUnavailable) {
			t.Errorf("got %v (%v), want ErrKeysUnavailable", err, h)
		}
	})
	t.Run("a second header saves the request", func(t *testing.T) {
		s := newHintScene(t)
		wrong := headerFor(t, s.signer, "us.ex", "PUT", target+"/", body)
		s.accepts(wrong.String(), s.auth().String())
	})
	t.Run("another header has an unknown key", func(t *testing.T) {
		s := newHintScene(t)
		wrong := headerFor(t, s.signer, "us.ex", "PUT", target+"/", body)
		unknown := headerFor(t, invitetest.SignerWithKey("a.ex", "ed25519:2"), "us.ex", "PUT", target, body)
		_, err := s.check("PUT", target, body, wrong.String(), unknown.String())
		if h, ok := errors.AsType[*xmatrix.HintError](err); !ok || h.Match == "" {
			t.Errorf("got %v, want a hint", err)
		}
	})
}

// outageOf is a source that cannot tell one key.
type outageOf struct {
	fedinvite.KeySource
	id fedinvite.KeyID
}

func (k outageOf) VerifyKey(ctx context.Context, s fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	if id == k.id {
		return fedinvite.VerifyKey{}, errors.New("network down")
	}
	return k.KeySource.VerifyKey(ctx, s, id, at)
}

// At most one search a second, in all Verifiers together, whether it finds something or not.
func TestOneHintASecond(t *testing.T) {
	s := newScene(t)
	at := now
	s.v.Hints = xmatrix.NewHints(func() time.Time { return at })
	second := s.v
	second.Assume = "other.ex"
	found, nothing := headerFor(t, s.signer, "us.ex", "PUT", target+"/", body).String(), headerFor(t, s.signer, "us.ex", "PUT", "/other", body).String()
	got := sent{"PUT", target, "us.ex", body}
	hinted := func(header string) bool {
		t.Helper()
		_, err := s.check(got.method, got.target, got.body, header)
		_, ok := errors.AsType[*xmatrix.HintError](err)
		if !errors.Is(err, fedinvite.ErrUnauthorized) {
			t.Errorf("got %v", err)
		}
		return ok
	}
	for i, c := range []struct {
		pass   time.Duration
		header string
		want   bool
	}{
		{0, found, true}, {0, found, false}, {time.Second - 1, found, false}, {1, nothing, true},
		{time.Second - 1, found, false}, {1, found, true}, {time.Hour, s.auth().String(), false}, {0, found, true},
		{-24 * time.Hour, found, true}, {0, found, false}, // the clock was set back
	} {
		at = at.Add(c.pass)
		s.v, second = second, s.v
		if c.header == s.auth().String() {
			s.accepts(c.header) // which is no search
			continue
		}
		if got := hinted(c.header); got != c.want {
			t.Errorf("%d: hint %v, want %v", i, got, c.want)
		}
	}
}

// All of them find that it is time for a search before one of them makes it.
func TestOneHintOfManyAtOnce(t *testing.T) {
	const n = 8
	s := newScene(t)
	r := received(t, "PUT", target+"/", s.auth().String())
	var ready, group sync.WaitGroup
	ready.Add(n)
	together := func() time.Time { ready.Done(); ready.Wait(); return now }
	v := xmatrix.Verifier{Keys: s.keys.KeyMap, Now: clock, Hints: xmatrix.NewHints(together)}
	var hints atomic.Int64
	for range n {
		group.Go(func() {
			c, err := v.Credentials(r)
			if err == nil {
				err = c.Verify(t.Context(), []byte(body))
			}
			if _, ok := errors.AsType[*xmatrix.HintError](err); ok {
				hints.Add(1)
			}
		})
	}
	group.Wait()
	if hints.Load() != 1 {
		t.Errorf("%d hints, want 1", hints.Load())
	}
}

// Forty checks are the most, and fewer if the body is large or nobody waits any more.
func TestASearchIsBounded(t *testing.T) {
	ids := "!r%2f%2Fx:ex;,/$a/%2Fb//c+=/../d%25"
	for _, path := range []string{v2 + ids, "/v2/invite/" + ids, "/hs" + v2 + ids, "/matrix/federation/" + ids, "/x?y=/../z"} {
		s := newHintScene(t)
		s.v.Assume = "assumed.ex"
		h := s.hint(sent{"PATCH", "/never", "Other.ex", body}, sent{"PATCH", path, "Us.ex", body}, "Matrix.us.ex:443")
		t.Logf("%s: %d readings", path, h.Readings)
		if h.Match != "" || h.Readings != 40 {
			t.Errorf("%s: %d readings, want 40", path, h.Readings)
		}
	}
	t.Run("a large body", func(t *testing.T) {
		s := newHintScene(t)
		large := `{"a":"` + strings.Repeat("x", 1<<20) + `"}`
		h := s.hint(sent{"PUT", v2 + "%21r/%24a", "us.ex", large}, sent{"PUT", v2 + "!r/$a", "us.ex", large}, "us.ex")
		if h.Match == "" {
			t.Errorf("the likely reading was not tried: %v", h)
		}
		if h = s.hint(sent{"PUT", "/never", "us.ex", large}, sent{"PUT", v2 + "!r/$a", "us.ex", large}, "us.ex"); h.Readings != 4 {
			t.Errorf("%d readings, want 3 with a body of 1 MiB and one without", h.Readings)
		}
	})
	t.Run("the context is done", func(t *testing.T) {
		s := newHintScene(t)
		r := received(t, "PUT", target+"/", s.auth().String())
		c, err := s.v.Credentials(r)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		h, ok := errors.AsType[*xmatrix.HintError](c.Verify(ctx, []byte(body)))
		if !ok || h.Readings != 0 {
			t.Errorf("%v", h)
		}
	})
}

// Whatever arrives: a hint never panics, never lets a request pass that does not pass
// without it, and never turns a request away that does.
func FuzzHints(f *testing.F) {
	for _, target := range []string{target, pythonTarget, goTarget, "/v2/invite/!r/$a/b", "/hs/_matrix/federation/x?y", "//", "/%25", "/é/../$/", "/$", "/?"} {
		f.Add("PUT", target, "us.ex:443", []byte(body), []byte("\x00"))
		f.Add("GET", target, "[::1]:1", []byte(nil), []byte("x"))
	}
	f.Fuzz(func(t *testing.T, method, target, host string, body, signature []byte) {
		if target == "" || target[0] != '/' {
			return
		}
		s := newScene(t)
		a := s.auth()
		raw := make([]byte, 64)
		copy(raw, signature)
		a.Sig = base64.RawStdEncoding.EncodeToString(raw)
		for _, header := range []string{a.String(), s.auth().String()} {
			r := &http.Request{Method: method, RequestURI: target, Host: host, URL: &url.URL{}, Header: http.Header{"Authorization": {header}}}
			var errs [2]error
			for i, hints := range []*xmatrix.Hints{nil, xmatrix.NewHints(clock)} {
				s.v.Hints = hints
				c, err := s.v.Credentials(r)
				if err == nil {
					err = c.Verify(t.Context(), body)
				}
				errs[i] = err
			}
			if (errs[0] == nil) != (errs[1] == nil) {
				t.Fatalf("without hints %v, with hints %v", errs[0], errs[1])
			}
			if h, ok := errors.AsType[*xmatrix.HintError](errs[1]); ok {
				if h.Err.Error() != errs[0].Error() || h.Readings > 40 || !utf8.ValidString(h.Error()) {
					t.Fatalf("%+v", h)
				}
			} else if fmt.Sprint(errs[0]) != fmt.Sprint(errs[1]) {
				t.Fatalf("without hints %v, with hints %v", errs[0], errs[1])
			}
		}
	})
}

// BenchmarkHints is the cost of a search that finds nothing, with a body of 1.3 KB and with
// one of 100 KB, of which each reading is hashed.
func BenchmarkHints(b *testing.B) {
	s := invitetest.Signer("a.ex")
	keys := fedinvite.KeyMap{}
	keys.Add(s)
	for _, size := range []int{1300, 100_000} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			v := xmatrix.Verifier{Keys: keys, Now: clock, Hints: xmatrix.NewHints(tickingClock())}
			text := `{"a":"` + strings.Repeat("x", size) + `"}`
			r := received(b, "PUT", v2+"!r:ex/$a/b", headerFor(b, s, "us.ex", "PUT", "/other", text).String())
			c, err := v.Credentials(r)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if err := c.Verify(context.Background(), []byte(text)); err == nil {
					b.Fatal("the request passed")
				}
			}
		})
	}
}

// A reverse proxy in front of us.ex hands on the path decoded.
func ExampleHints() {
	signer, keys := exampleSigner()
	verifier := xmatrix.Verifier{Keys: keys, Hints: xmatrix.NewHints(nil)}

	req, err := http.NewRequest("GET", "https://us.example/_matrix/federation/v1/event/%24a%2Fb", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := xmatrix.Sign(context.Background(), req, nil, "us.example", signer); err != nil {
		fmt.Println(err)
		return
	}
	req.RequestURI = "/_matrix/federation/v1/event/$a/b" // what arrives

	credentials, err := verifier.Credentials(req)
	if err != nil {
		fmt.Println(err)
		return
	}
	err = credentials.Verify(context.Background(), nil)
	var hint *xmatrix.HintError
	if errors.As(err, &hint) {
		fmt.Println(hint.Tried)
		fmt.Println(hint.Match)
		fmt.Println(hint.Fault)
	}
	fmt.Println(fedinvite.WireError(err).Message)
	// Output:
	// GET "/_matrix/federation/v1/event/$a/b" to us.example without a body
	// GET "/_matrix/federation/v1/event/%24a%2Fb" to us.example without a body
	// the path seems to have been rewritten between the sender and here: it was decoded, and perhaps encoded again
	// request not authenticated
}

func exampleSigner() (fedinvite.Signer, fedinvite.KeyMap) {
	signer, err := fedinvite.NewSigner("a.example", "ed25519:1", ed25519.NewKeyFromSeed(make([]byte, ed25519.SeedSize)))
	if err != nil {
		return nil, nil
	}
	keys := fedinvite.KeyMap{}
	keys.Add(signer)
	return signer, keys
}
