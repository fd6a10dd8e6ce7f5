package xmatrix_test

import (
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

const (
	target = "/_matrix/federation/v2/invite/%21r%3Aex/$e"
	body   = `{"room_version":"10","event":{"b":[1,"é"],"a":1.5}}`
)

// A scene is a server us.ex that knows the key of a.ex.
type scene struct {
	t      *testing.T
	signer fedinvite.Signer
	keys   *countingKeys
	v      xmatrix.Verifier
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, signer: invitetest.Signer("a.ex"), keys: &countingKeys{KeyMap: fedinvite.KeyMap{}}}
	s.keys.Add(s.signer)
	s.v = xmatrix.Verifier{Keys: s.keys, Now: clock}
	return s
}

// auth is what a.ex sends with the invite to us.ex.
func (s *scene) auth() xmatrix.Auth {
	s.t.Helper()
	return headerFor(s.t, s.signer, "us.ex", "PUT", target, body)
}

// check runs the request by the Verifier.
func (s *scene) check(method, target, body string, headers ...string) (fedinvite.Credentials, error) {
	s.t.Helper()
	c, err := s.v.Credentials(received(s.t, method, target, headers...))
	if err != nil {
		return c, err
	}
	return c, c.Verify(s.t.Context(), []byte(body))
}

func (s *scene) accepts(headers ...string) {
	s.t.Helper()
	c, err := s.check("PUT", target, body, headers...)
	if err != nil {
		s.t.Errorf("%q: %v", headers, err)
	} else if c.Origin != "a.ex" || c.Destination != "us.ex" {
		s.t.Errorf("%q: from %s to %s", headers, c.Origin, c.Destination)
	}
}

func (s *scene) refuses(headers ...string) {
	s.t.Helper()
	if _, err := s.check("PUT", target, body, headers...); !errors.Is(err, fedinvite.ErrUnauthorized) {
		s.t.Errorf("%q: got %v, want ErrUnauthorized", headers, err)
	}
}

// refusesUnasked also demands that no key was looked up.
func (s *scene) refusesUnasked(headers ...string) {
	s.t.Helper()
	s.keys.asked = 0
	s.refuses(headers...)
	if s.keys.asked > 0 {
		s.t.Errorf("%q: %d keys were looked up", headers, s.keys.asked)
	}
}

func TestPlumbing01ValidRequest(t *testing.T) {
	s := newScene(t)
	s.accepts(s.auth().String())
}

func TestPlumbing02NoAuthorization(t *testing.T) {
	s := newScene(t)
	s.refusesUnasked()
	s.refusesUnasked("Bearer x")
	s.accepts("Bearer x", s.auth().String())
}

func TestPlumbing03AnyCaseAndOrder(t *testing.T) {
	s := newScene(t)
	a := s.auth()
	s.accepts(fmt.Sprintf("x-matrix SIG=%q\t,\tKEY=%q , DESTINATION=%q,ORIGIN=%q", a.Sig, a.Key, a.Destination, a.Origin))
}

func TestPlumbing04SpacesAndTrailingComma(t *testing.T) {
	s := newScene(t)
	s.accepts(strings.Replace(s.auth().String(), " ", "   ", 1) + ",")
}

func TestPlumbing05Unquoted(t *testing.T) {
	s := newScene(t)
	a := s.auth()
	s.accepts(strings.ReplaceAll(a.String(), `"`, ""))
	a.Sig += "=="
	s.accepts(strings.ReplaceAll(a.String(), `"`, ""))
}

func TestPlumbing06Escapes(t *testing.T) {
	s := newScene(t)
	s.accepts(strings.Replace(s.auth().String(), `"a.ex"`, `"a\.ex"`, 1))
}

func TestPlumbing07OriginInsideAnotherParameter(t *testing.T) {
	s := newScene(t)
	s.accepts(s.auth().String() + `,foo="x,origin=evil.ex"`)
}

func TestPlumbing08RepeatedOrigin(t *testing.T) {
	s := newScene(t)
	s.refusesUnasked(s.auth().String() + `,origin="a.ex"`)
}

func TestPlumbing09UnterminatedQuote(t *testing.T) {
	s := newScene(t)
	s.refusesUnasked(strings.TrimSuffix(s.auth().String(), `"`))
}

// The specification's list of parameters says signature: either is read, not both.
func TestPlumbing10SignatureForSig(t *testing.T) {
	s := newScene(t)
	a := s.auth()
	s.accepts(strings.Replace(a.String(), ",sig=", ",signature=", 1))
	s.refusesUnasked(a.String() + `,signature="` + a.Sig + `"`)
}

func TestPlumbing11NoDestination(t *testing.T) {
	s := newScene(t)
	a := s.auth()
	a.Destination = ""
	s.refusesUnasked(a.String())
	s.v.Assume = "us.ex"
	s.accepts(a.String())
	s.v.Assume = "other.ex"
	s.refuses(a.String())
}

// Whether a destination is ours is for the caller to say; see Credentials.
func TestPlumbing12And13DestinationIsReported(t *testing.T) {
	s := newScene(t)
	s.v.Assume = "us.ex"
	c, err := s.check("PUT", target, body, headerFor(t, s.signer, "second.ex", "PUT", target, body).String())
	if err != nil || c.Destination != "second.ex" {
		t.Errorf("got %q, %v", c.Destination, err)
	}
	a := s.auth()
	a.Destination = "second.ex" // signed for us.ex
	s.refuses(a.String())
}

func TestPlumbing14TwoHeadersOneUnknownKey(t *testing.T) {
	s := newScene(t)
	unknown := headerFor(t, invitetest.SignerWithKey("a.ex", "ed25519:2"), "us.ex", "PUT", target, body)
	s.accepts(unknown.String(), s.auth().String())
	s.accepts(s.auth().String(), unknown.String())
	wrong := s.auth()
	wrong.Sig = unknown.Sig
	s.accepts(wrong.String(), s.auth().String())
	other := s.auth()
	other.Key = "ed448:1"
	s.accepts(other.String(), s.auth().String())
	s.refuses(unknown.String(), wrong.String())
}

func TestAtMostFourHeaders(t *testing.T) {
	s := newScene(t)
	h := s.auth().String()
	s.accepts(h, h, h, h, "Bearer x")
	s.refusesUnasked(h, h, h, h, h)
}

func TestPlumbing15TwoOrigins(t *testing.T) {
	s := newScene(t)
	b := invitetest.Signer("b.ex")
	s.keys.Add(b)
	s.refusesUnasked(s.auth().String(), headerFor(t, b, "us.ex", "PUT", target, body).String())
	s.refusesUnasked(s.auth().String(), headerFor(t, s.signer, "second.ex", "PUT", target, body).String())
	s.refusesUnasked(s.auth().String(), "X-Matrix malformed")
}

func TestPlumbing16BadOrigin(t *testing.T) {
	s := newScene(t)
	for _, origin := range []fedinvite.ServerName{"a_b", "[::1", fedinvite.ServerName(strings.Repeat("a", 300)), ""} {
		a := s.auth()
		a.Origin = origin
		s.refusesUnasked(a.String())
	}
}

func TestPlumbing17BodyChanged(t *testing.T) {
	s := newScene(t)
	h := s.auth().String()
	for _, changed := range []string{strings.Replace(body, "10", "11", 1), strings.Replace(body, "1.5", "1.6", 1), `{}`, ``} {
		if _, err := s.check("PUT", target, changed, h); !errors.Is(err, fedinvite.ErrUnauthorized) {
			t.Errorf("%s: got %v, want ErrUnauthorized", changed, err)
		}
	}
}

func TestPlumbing18BodyReformatted(t *testing.T) {
	s := newScene(t)
	if _, err := s.check("PUT", target, " { \"event\" : {\"a\":1.50,\"b\":[1, \"\\u00e9\"]},\n\"room_version\":\"1\\u0030\" } ", s.auth().String()); err != nil {
		t.Error(err)
	}
}

func TestPlumbing19And20BodyThatIsNoStrictObject(t *testing.T) {
	s := newScene(t)
	h := s.auth().String()
	for _, c := range []struct {
		body string
		want error
	}{
		{`{"a":1,"a":1}`, fedinvite.ErrDuplicateKey},
		{`{"a":1,"\u0061":1}`, fedinvite.ErrDuplicateKey},
		{`{"a":"\ud800"}`, fedinvite.ErrBadText},
		{"{\"a\":\"\xff\"}", fedinvite.ErrBadText},
		{`[]`, fedinvite.ErrBadJSON},
		{`"x"`, fedinvite.ErrBadJSON},
		{`{} {}`, fedinvite.ErrNotJSON},
		{`{},"destination":"us.ex"`, fedinvite.ErrNotJSON},
	} {
		if _, err := s.check("PUT", target, c.body, h); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", c.body, err, c.want)
		}
	}
	if s.keys.asked > 0 {
		t.Error("a key was looked up")
	}
}

func TestPlumbing21EmptyBody(t *testing.T) {
	s := newScene(t)
	if _, err := s.check("PUT", target, "", headerFor(t, s.signer, "us.ex", "PUT", target, "").String()); err != nil {
		t.Error(err)
	}
}

func TestPlumbing23QueryAdded(t *testing.T) {
	s := newScene(t)
	if _, err := s.check("PUT", target+"?x", body, s.auth().String()); !errors.Is(err, fedinvite.ErrUnauthorized) {
		t.Errorf("got %v, want ErrUnauthorized", err)
	}
}

func TestPlumbing24To26TargetIsVerifiedAsSent(t *testing.T) {
	s := newScene(t)
	for _, target := range []string{
		"/%21r%3Aex/$e", "/!r:ex/$e", "/x/$a%2Fb%2Bc", "/x/$a+b", "/x/$a%252Fb", "/{}", "/é?ü", `/"\`, "//x", "/./x", "/x?",
	} {
		h := headerFor(t, s.signer, "us.ex", "PUT", target, body).String()
		if _, err := s.check("PUT", target, body, h); err != nil {
			t.Errorf("%s: %v", target, err)
		}
		if _, err := s.check("PUT", "http://us.ex:80"+target, body, h); err != nil {
			t.Errorf("http://us.ex:80%s: %v", target, err)
		}
	}
	h := headerFor(t, s.signer, "us.ex", "PUT", "/x/!r", body).String()
	if _, err := s.check("PUT", "/x/%21r", body, h); !errors.Is(err, fedinvite.ErrUnauthorized) {
		t.Errorf("another spelling of the target: got %v, want ErrUnauthorized", err)
	}
}

func TestTargetThatIsNoPath(t *testing.T) {
	s := newScene(t)
	for _, target := range []string{"http://us.ex", "http://us.ex?x=/y", "*", "/\xff"} {
		r := received(t, "OPTIONS", "*", s.auth().String())
		r.RequestURI = target
		if _, err := s.v.Credentials(r); !errors.Is(err, fedinvite.ErrUnauthorized) {
			t.Errorf("%s: got %v, want ErrUnauthorized", target, err)
		}
	}
}

func TestPlumbing27RoutersMayRewriteTheURL(t *testing.T) {
	s := newScene(t)
	handler := http.StripPrefix("/_matrix", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := s.v.Credentials(r)
		if err != nil {
			t.Error(err)
			return
		}
		text, _ := io.ReadAll(r.Body)
		if err := c.Verify(r.Context(), text); err != nil {
			t.Error(err)
		}
	}))
	r := httptest.NewRequest("PUT", target, strings.NewReader(body))
	r.Header.Set("Authorization", s.auth().String())
	handler.ServeHTTP(httptest.NewRecorder(), r)
}

func TestBodyOfGetIsRefused(t *testing.T) {
	s := newScene(t)
	for _, method := range []string{"GET", "HEAD"} {
		if _, err := s.check(method, target, body, headerFor(t, s.signer, "us.ex", method, target, body).String()); !errors.Is(err, fedinvite.ErrUnauthorized) {
			t.Errorf("%s: got %v, want ErrUnauthorized", method, err)
		}
		if _, err := s.check(method, target, "", headerFor(t, s.signer, "us.ex", method, target, "").String()); err != nil {
			t.Errorf("%s: %v", method, err)
		}
	}
}

func TestMethodIsCovered(t *testing.T) {
	s := newScene(t)
	if _, err := s.check("POST", target, body, s.auth().String()); !errors.Is(err, fedinvite.ErrUnauthorized) {
		t.Errorf("got %v, want ErrUnauthorized", err)
	}
}

func TestOnlyCurrentKeysCount(t *testing.T) {
	for _, c := range []struct {
		name string
		key  fedinvite.VerifyKey
		ok   bool
	}{
		{"a pinned key", fedinvite.VerifyKey{}, true},
		{"valid until now", fedinvite.VerifyKey{ValidUntil: now}, true},
		{"valid until a moment ago", fedinvite.VerifyKey{ValidUntil: now.Add(-time.Millisecond)}, false},
		{"an old key", fedinvite.VerifyKey{ExpiredAt: now.Add(-time.Hour)}, false},
		{"an old key that is to expire", fedinvite.VerifyKey{ExpiredAt: now.Add(time.Hour)}, false},
		{"an old key with some validity", fedinvite.VerifyKey{ExpiredAt: now.Add(time.Hour), ValidUntil: now.Add(time.Hour)}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScene(t)
			c.key.Public = s.signer.Public()
			s.keys.KeyMap["a.ex"]["ed25519:1"] = c.key
			if c.ok {
				s.accepts(s.auth().String())
			} else {
				s.refuses(s.auth().String())
			}
		})
	}
}

func TestUnusableKeysAreRefused(t *testing.T) {
	s := newScene(t)
	for _, public := range [][]byte{nil, []byte("short"), make([]byte, 32), []byte(strings.Repeat("\xff", 32))} {
		s.keys.KeyMap["a.ex"]["ed25519:1"] = fedinvite.VerifyKey{Public: public}
		s.refuses(s.auth().String())
	}
}

func TestKeysThatCannotBeHadAreAnOutage(t *testing.T) {
	s := newScene(t)
	s.keys.err = errors.New("network down")
	h := s.auth().String()
	_, err := s.check("PUT", target, body, h)
	if !errors.Is(err, fedinvite.ErrKeysUnavailable) || errors.Is(err, fedinvite.ErrUnauthorized) {
		t.Errorf("got %v, want ErrKeysUnavailable", err)
	}
	if e := fedinvite.WireError(err); e.Status != 503 {
		t.Errorf("a peer is told %d", e.Status)
	}
	s.keys.err = fmt.Errorf("no such key: %w", fedinvite.ErrUnknownKey)
	s.refuses(h)
}

func TestSignatureForms(t *testing.T) {
	s := newScene(t)
	a := s.auth()
	raw, err := base64.RawStdEncoding.DecodeString(a.Sig)
	if err != nil {
		t.Fatal(err)
	}
	for _, form := range []string{a.Sig + "==", base64.RawURLEncoding.EncodeToString(raw), base64.URLEncoding.EncodeToString(raw)} {
		a.Sig = form
		s.accepts(a.String())
	}
	for _, form := range []string{
		"AA==", a.Sig[:85], a.Sig + "A", a.Sig + " ", " " + a.Sig, a.Sig[:40] + " " + a.Sig[41:], a.Sig[:40] + "*" + a.Sig[41:],
		a.Sig[:84] + "==", strings.TrimRight(a.Sig, "=") + "=",
		base64.RawStdEncoding.EncodeToString(raw[:63]), base64.RawStdEncoding.EncodeToString(append(raw, 0)),
	} {
		a.Sig = form
		s.refusesUnasked(a.String())
	}
}

func TestOtherAlgorithmsAreRefused(t *testing.T) {
	s := newScene(t)
	for _, key := range []fedinvite.KeyID{"ed448:1", "ED25519:1", "ed25519", "ed25519:", "1", "ed25519.1"} {
		a := s.auth()
		a.Key = key
		s.refusesUnasked(a.String())
	}
}

func TestVerifierNamesWhatIsMissing(t *testing.T) {
	s := newScene(t)
	r := received(t, "PUT", target, s.auth().String())
	for _, v := range []xmatrix.Verifier{{}, {Now: clock}} {
		if _, err := v.Credentials(r); err == nil || errors.Is(err, fedinvite.ErrUnauthorized) {
			t.Errorf("got %v, want a plain error", err)
		}
	}
}

func TestWithoutNowTheTimeIsThatOfTheSystem(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newScene(t)
		s.keys.KeyMap = fedinvite.KeyMap{"a.ex": {"ed25519:1": {Public: s.signer.Public(), ValidUntil: time.Now().Add(time.Hour)}}}
		s.v = xmatrix.Verifier{Keys: s.keys, Hints: xmatrix.NewHints(nil)}
		s.accepts(s.auth().String())

		// A search a second, by the same clock.
		for i, want := range []bool{true, false, true} {
			_, err := s.check("PUT", target+"/", body, s.auth().String())
			if _, got := errors.AsType[*xmatrix.HintError](err); got != want {
				t.Errorf("%d: got %v, want a hint: %v", i, err, want)
			}
			time.Sleep(600 * time.Millisecond) // of the bubble
		}

		time.Sleep(time.Hour)
		if _, err := s.check("PUT", target, body, s.auth().String()); !errors.Is(err, fedinvite.ErrUnauthorized) {
			t.Errorf("got %v, want a refusal: the key has run out", err)
		}
	})
}
