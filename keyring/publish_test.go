package keyring_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

// countingSigner counts what it signs.
type countingSigner struct {
	fedinvite.Signer
	signed int
}

func (s *countingSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	s.signed++
	return s.Signer.Sign(ctx, message)
}

func ask(t *testing.T, h http.Handler, method, host, path string) (status int, body string) {
	t.Helper()
	r := httptest.NewRequest(method, path, nil)
	r.Host = host
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if got := w.Header().Get("Content-Type"); got != "application/json" {
		t.Errorf("Content-Type %q", got)
	}
	return w.Code, w.Body.String()
}

func newHandler(t *testing.T, c keyring.PublishConfig) *keyring.PublishHandler {
	t.Helper()
	h, err := keyring.NewPublishHandler(c)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// get returns the document of a server of the handler.
func get(t *testing.T, h http.Handler, server fedinvite.ServerName) string {
	t.Helper()
	status, body := ask(t, h, "GET", string(server), "/_matrix/key/v2/server")
	if status != 200 {
		t.Error(status, body)
	}
	return body
}

// read is get of a document that has to be good.
func read(t *testing.T, h http.Handler, server fedinvite.ServerName, now time.Time) *keyring.Document {
	t.Helper()
	d, err := keyring.ReadDocument([]byte(get(t, h, server)), server, now)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func clock() time.Time { return start }

func TestPublishedDocument(t *testing.T) {
	a, b, old := invitetest.SignerWithKey("us.ex", "ed25519:a"), invitetest.SignerWithKey("us.ex", "ed25519:b"), invitetest.SignerWithKey("us.ex", "ed25519:old")
	h := newHandler(t, keyring.PublishConfig{Now: clock, Local: locals{"us.ex": {
		Signers: []fedinvite.Signer{a, b},
		Old:     map[fedinvite.KeyID]fedinvite.VerifyKey{"ed25519:old": {Public: old.Public(), ExpiredAt: start.Add(-day)}},
	}}.keys})
	body := get(t, h, "us.ex")
	want := invitetest.Sign(invitetest.KeyDocument(a, start.Add(day), invitetest.AddKeys(b), invitetest.AddOldKeys(start.Add(-day), old)), b)
	same(t, string(want), body)
	if canonical, err := fedinvite.CanonicalJSON([]byte(body)); err != nil || string(canonical) != body {
		t.Errorf("not canonical: %v", err)
	}
}

func TestDocumentIsSignedAgainAtHalfItsTime(t *testing.T) {
	us := &countingSigner{Signer: invitetest.SignerWithKey("us.ex", "ed25519:a")}
	s := newScene(t)
	h := newHandler(t, keyring.PublishConfig{Now: s.clock, Local: keyring.Signers(us)})
	first := get(t, h, "us.ex")
	s.pass(12*time.Hour - 1)
	if get(t, h, "us.ex") != first || us.signed != 1 {
		t.Errorf("signed %d times", us.signed)
	}
	s.pass(1)
	if get(t, h, "us.ex") == first || us.signed != 2 {
		t.Errorf("signed %d times", us.signed)
	}
}

func TestEachServerHasItsOwnDocument(t *testing.T) {
	a := &countingSigner{Signer: invitetest.Signer("a.ex")}
	b := &countingSigner{Signer: invitetest.Signer("b.ex")}
	old := invitetest.SignerWithKey("b.ex", "ed25519:0")
	s := newScene(t)
	h := newHandler(t, keyring.PublishConfig{Now: s.clock, Local: locals{"a.ex": {Signers: []fedinvite.Signer{a}}, "b.ex": {
		Signers: []fedinvite.Signer{b},
		Old:     map[fedinvite.KeyID]fedinvite.VerifyKey{"ed25519:0": {Public: old.Public(), ExpiredAt: start.Add(-day)}},
	}}.keys})
	for range 3 {
		for _, host := range []fedinvite.ServerName{"a.ex", "b.ex"} {
			s.net.publish(host, []byte(get(t, h, host)))
		}
	}
	if a.signed != 1 || b.signed != 1 {
		t.Errorf("signed %d and %d times", a.signed, b.signed)
	}
	// A Ring gets from them what they are to say: old keys verify events from before.
	s.current(a)
	s.current(b)
	s.unknown("a.ex", "ed25519:0")
	s.old(old, start.Add(-day))
	s.pass(12 * time.Hour)
	get(t, h, "b.ex")
	if a.signed != 1 || b.signed != 2 {
		t.Errorf("signed %d and %d times", a.signed, b.signed)
	}
}

// A doorSigner signs one after the other, when it is told to.
type doorSigner struct {
	fedinvite.Signer
	door   chan error
	signed atomic.Int32
}

func (s *doorSigner) Sign(ctx context.Context, message []byte) ([]byte, error) {
	s.signed.Add(1)
	select {
	case err := <-s.door:
		if err != nil {
			return nil, err
		}
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	return s.Signer.Sign(ctx, message)
}

func TestADocumentIsSignedOnceForAllWhoAsk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		us := &doorSigner{Signer: invitetest.SignerWithKey("us.ex", "ed25519:a"), door: make(chan error)}
		h := newHandler(t, keyring.PublishConfig{Now: time.Now, Local: keyring.Signers(us)})
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() { get(t, h, "us.ex") })
		}
		synctest.Wait()
		close(us.door)
		all.Wait()
		if n := us.signed.Load(); n != 1 {
			t.Errorf("signed %d times", n)
		}
	})
}

func TestTheEndOfOneRequestDoesNotEndTheSigningForOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		us := &doorSigner{Signer: invitetest.SignerWithKey("us.ex", "ed25519:a"), door: make(chan error)}
		h := newHandler(t, keyring.PublishConfig{Now: time.Now, Local: keyring.Signers(us)})
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		all.Go(func() {
			r := httptest.NewRequest("GET", "https://us.ex/_matrix/key/v2/server", nil).WithContext(ctx)
			h.ServeHTTP(httptest.NewRecorder(), r)
		})
		synctest.Wait()
		all.Go(func() { get(t, h, "us.ex") })
		synctest.Wait()
		cancel()
		synctest.Wait()
		close(us.door)
		all.Wait()
	})
}

func TestASignerThatHangsIsGivenUpAfterTenSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		us := &doorSigner{Signer: invitetest.SignerWithKey("us.ex", "ed25519:a"), door: make(chan error)}
		h := newHandler(t, keyring.PublishConfig{Now: time.Now, Local: keyring.Signers(us)})
		begin := time.Now()
		if status, _ := ask(t, h, "GET", "us.ex", "/_matrix/key/v2/server"); status != 500 || time.Since(begin) != 10*time.Second {
			t.Errorf("%d after %v", status, time.Since(begin))
		}
	})
}

func TestTheLastDocumentIsServedWhenSigningFails(t *testing.T) {
	outage := errors.New("no hardware")
	us := &doorSigner{Signer: invitetest.SignerWithKey("us.ex", "ed25519:a"), door: make(chan error, 1)}
	keys := keyring.LocalKeys{Signers: []fedinvite.Signer{us}}
	s := newScene(t)
	var reports []error
	h := newHandler(t, keyring.PublishConfig{
		Now:   s.clock,
		Local: func(context.Context, fedinvite.ServerName) (keyring.LocalKeys, error) { return keys, nil },
		Report: func(server fedinvite.ServerName, err error) {
			if server != "us.ex" || !errors.Is(err, outage) {
				t.Errorf("reported %q, %v", server, err)
			}
			reports = append(reports, err)
		},
	})
	get := func(sign error) (status int, body string) {
		us.door <- sign
		defer func() {
			select {
			case <-us.door:
			default:
			}
		}()
		return ask(t, h, "GET", "us.ex", "/_matrix/key/v2/server")
	}
	tried := func(want int) {
		t.Helper()
		if n := us.signed.Swap(0); n != int32(want) || len(reports) > want {
			t.Errorf("signed %d times, %d reports, want %d", n, len(reports), want)
		}
		reports = nil
	}
	_, first := get(nil)
	tried(1)
	s.pass(12 * time.Hour)
	for range 3 { // it is tried once a minute
		for range 3 {
			if status, body := get(outage); status != 200 || body != first {
				t.Fatalf("%d %s", status, body)
			}
		}
		tried(1)
		s.pass(time.Minute)
	}

	// Until it holds for less than an hour.
	s.pass(11*time.Hour - 3*time.Minute)
	if status, body := get(outage); status != 200 || body != first {
		t.Errorf("%d %s", status, body)
	}
	tried(1)
	s.pass(time.Millisecond)
	if status, _ := get(outage); status != 500 {
		t.Errorf("%d when it holds for less than an hour", status)
	}
	tried(1)

	_, second := get(nil)
	tried(1)
	if second == first {
		t.Error("the signer is back, but the last document is served")
	}
	keys.Old = map[fedinvite.KeyID]fedinvite.VerifyKey{"ed25519:0": {Public: invitetest.SignerWithKey("us.ex", "ed25519:0").Public(), ExpiredAt: start}}
	if status, _ := get(outage); status != 500 {
		t.Errorf("%d when the keys are others", status)
	}
}

func TestDocumentIsSignedAgainWhenTheClockWasSetBack(t *testing.T) {
	for _, back := range []time.Duration{time.Second, 13 * time.Hour, 10 * 365 * day} {
		us := &countingSigner{Signer: invitetest.SignerWithKey("us.ex", "ed25519:a")}
		s := newScene(t)
		h := newHandler(t, keyring.PublishConfig{Now: s.clock, Local: keyring.Signers(us)})
		get(t, h, "us.ex")
		s.pass(-back)
		if d := read(t, h, "us.ex", s.clock()); !d.ValidUntil.Equal(s.clock().Add(day)) || us.signed != 2 {
			t.Errorf("%v back: signed %d times, %+v", back, us.signed, d)
		}
	}
}

func TestFaultsOfOurKeysAreReported(t *testing.T) {
	var reports []error
	h := newHandler(t, keyring.PublishConfig{
		Now: clock, Local: locals{"us.ex": {}}.keys,
		Report: func(_ fedinvite.ServerName, err error) { reports = append(reports, err) },
	})
	if status, _ := ask(t, h, "GET", "us.ex", "/_matrix/key/v2/server"); status != 500 || len(reports) != 1 {
		t.Errorf("%d, reported %v", status, reports)
	}
}

// "Originating servers should avoid returning responses that expire in less than an hour."
func TestWhatIsServedHoldsForAnHourAtLeast(t *testing.T) {
	for _, validity := range []time.Duration{2 * time.Hour, 0, 9 * day} {
		us := invitetest.SignerWithKey("us.ex", "ed25519:a")
		s := newScene(t)
		h := newHandler(t, keyring.PublishConfig{Now: s.clock, Local: keyring.Signers(us), Validity: validity})
		for range 1000 {
			if d := read(t, h, "us.ex", s.clock()); d.ValidUntil.Before(s.clock().Add(time.Hour)) {
				t.Fatalf("at %v valid until %v", s.clock(), d.ValidUntil)
			}
			s.pass(13*time.Minute + 7*time.Millisecond)
		}
	}
}

func TestAnOldKeyThatComesLaterIsPublishedAtOnce(t *testing.T) {
	us, old := invitetest.SignerWithKey("us.ex", "ed25519:a"), invitetest.SignerWithKey("us.ex", "ed25519:0")
	keys := keyring.LocalKeys{Signers: []fedinvite.Signer{us}}
	local := locals{"us.ex": keys}
	h := newHandler(t, keyring.PublishConfig{Now: clock, Local: local.keys})
	get(t, h, "us.ex")
	keys.Old = map[fedinvite.KeyID]fedinvite.VerifyKey{"ed25519:0": {Public: old.Public(), ExpiredAt: start}}
	local["us.ex"] = keys
	if d := read(t, h, "us.ex", start); len(d.Records) != 2 || d.Records[0].KeyID != "ed25519:0" {
		t.Errorf("got %+v", d)
	}
}

func TestManyAskAtOnce(t *testing.T) {
	a, b := invitetest.Signer("a.ex"), invitetest.Signer("b.ex")
	s := newScene(t)
	h := newHandler(t, keyring.PublishConfig{Now: s.clock, Local: keyring.Signers(a, b)})
	var all sync.WaitGroup
	for i := range 40 {
		host := []fedinvite.ServerName{"a.ex", "b.ex"}[i%2]
		all.Go(func() {
			if _, err := keyring.ReadDocument([]byte(get(t, h, host)), host, start); err != nil {
				t.Error(err)
			}
			s.pass(time.Hour)
		})
	}
	all.Wait()
}

func TestServerIsChosenByTheHost(t *testing.T) {
	a, b := invitetest.Signer("a.ex"), invitetest.Signer("b.ex:443")
	c := keyring.PublishConfig{Now: clock, Local: keyring.Signers(a, b)}
	plain := newHandler(t, c)
	c.Default = "a.ex"
	withDefault := newHandler(t, c)
	for _, test := range []struct {
		handler http.Handler
		host    string
		want    string
	}{
		{plain, "a.ex", "a.ex"},
		{plain, "a.ex:8448", "a.ex"},
		{plain, "b.ex:443", "b.ex:443"},
		{plain, "b.ex", ""},
		{plain, "", ""},
		{plain, "matrix.a.ex", ""},
		{withDefault, "matrix.a.ex", "a.ex"},
		{withDefault, "not a name", "a.ex"},
		{withDefault, "b.ex:443", "b.ex:443"},
	} {
		status, body := ask(t, test.handler, "GET", test.host, "/_matrix/key/v2/server")
		var got struct {
			Name string `json:"server_name"`
			Code string `json:"errcode"`
		}
		if err := json.Unmarshal([]byte(body), &got); err != nil {
			t.Fatal(err)
		}
		if got.Name != test.want || test.want == "" && (status != 404 || got.Code != "M_NOT_FOUND") {
			t.Errorf("%q: %d %s", test.host, status, body)
		}
	}
}

func TestPublishPathsAndMethods(t *testing.T) {
	h := newHandler(t, keyring.PublishConfig{Now: clock, Local: keyring.Signers(invitetest.SignerWithKey("us.ex", "ed25519:a"))})
	for _, c := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/_matrix/key/v2/server", 200},
		{"HEAD", "/_matrix/key/v2/server", 200},
		{"GET", "/_matrix/key/v2/server/", 200},
		{"GET", "/_matrix/key/v2/server/ed25519:a", 200},
		{"GET", "/_matrix/key/v2/server/ed25519%3Aa%2Fb?x=y", 200},
		{"GET", "/_matrix/key/v2/server/a/b", 404},
		{"GET", "/_matrix/key/v2/servers", 404},
		{"GET", "/_matrix/key/v2/query", 404},
		{"GET", "/", 404},
		{"POST", "/_matrix/key/v2/server", 405},
		{"PUT", "/_matrix/key/v2/server/ed25519:a", 405},
	} {
		status, body := ask(t, h, c.method, "us.ex", c.path)
		if status != c.status {
			t.Errorf("%s %s: %d, want %d", c.method, c.path, status, c.status)
		}
		if status != 200 && !strings.Contains(body, `"errcode":"M_UNRECOGNIZED"`) {
			t.Errorf("%s %s: %s", c.method, c.path, body)
		}
	}
}

func TestPublishingFaultsAreOurs(t *testing.T) {
	us := invitetest.SignerWithKey("us.ex", "ed25519:a")
	for name, local := range map[string]keyring.LocalKeys{
		"no signer":                      {},
		"a signer of another server":     {Signers: []fedinvite.Signer{invitetest.SignerWithKey("other.ex", "ed25519:a")}},
		"an old key without its end":     {Signers: []fedinvite.Signer{us}, Old: map[fedinvite.KeyID]fedinvite.VerifyKey{"ed25519:0": {Public: us.Public()}}},
		"a key that is old and in use":   {Signers: []fedinvite.Signer{us}, Old: map[fedinvite.KeyID]fedinvite.VerifyKey{"ed25519:a": {Public: us.Public(), ExpiredAt: start}}},
		"an old key of 5 bytes":          {Signers: []fedinvite.Signer{us}, Old: map[fedinvite.KeyID]fedinvite.VerifyKey{"ed25519:0": {Public: []byte("short"), ExpiredAt: start}}},
		"a signer that fails":            {Signers: []fedinvite.Signer{failingSigner{us}}},
		"an error of Local, not told on": {},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHandler(t, keyring.PublishConfig{Now: clock, Local: func(context.Context, fedinvite.ServerName) (keyring.LocalKeys, error) {
				if strings.HasPrefix(name, "an error") {
					return local, errors.New("secret")
				}
				return local, nil
			}})
			status, body := ask(t, h, "GET", "us.ex", "/_matrix/key/v2/server")
			if status != 500 || !strings.Contains(body, "M_UNKNOWN") || strings.Contains(body, "secret") {
				t.Errorf("%d %s", status, body)
			}
		})
	}
}

type failingSigner struct{ fedinvite.Signer }

func (failingSigner) Sign(context.Context, []byte) ([]byte, error) { return nil, errors.New("secret") }

func TestNewPublishHandlerNamesWhatIsMissing(t *testing.T) {
	local := keyring.Signers(invitetest.SignerWithKey("us.ex", "ed25519:a"))
	for want, c := range map[string]keyring.PublishConfig{
		"Local":    {Now: time.Now},
		"Validity": {Now: time.Now, Local: local, Validity: 2*time.Hour - 1},
		`Default: "other.ex": not a local server or user`:  {Local: local, Default: "other.ex"},
		`Default: malformed identifier: server name "a/b"`: {Local: local, Default: "a/b"},
		`Default: "broken.ex": connection refused`:         {Local: locals{}.keys, Default: "broken.ex"},
		`PublishConfig.Default: no signing key of "us.ex"`: {Local: locals{"us.ex": {}}.keys, Default: "us.ex"},
	} {
		if _, err := keyring.NewPublishHandler(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want the name %s", err, want)
		}
	}
}

func TestOtherMethodsAreToldTheAllowedOnes(t *testing.T) {
	h := newHandler(t, keyring.PublishConfig{Now: clock, Local: keyring.Signers(invitetest.SignerWithKey("us.ex", "ed25519:a"))})
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest("DELETE", "https://us.ex/_matrix/key/v2/server", nil))
	if got := w.Header().Get("Allow"); w.Code != 405 || got != "GET, HEAD" {
		t.Errorf("%d, Allow %q", w.Code, got)
	}
}
