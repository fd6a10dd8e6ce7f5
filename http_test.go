package fedinvite_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// The tests in this file are the black-box scenarios of requests, each with its
// number: a valid signed PUT invite from serverA to serverB, and what is different.

// authOf returns what the Authorization header of the letter says.
func authOf(t testing.TB, l letter) xmatrix.Auth {
	t.Helper()
	auth, err := xmatrix.Parse(l.Inbound(t.Context()).Header.Get("Authorization"))
	if err != nil {
		t.Fatal(err)
	}
	return auth
}

// withHeaders returns the letter's request with other Authorization headers. In
// them {O}, {D}, {K} and {S} stand for origin, destination, key and signature.
func withHeaders(t testing.TB, l letter, headers ...string) *http.Request {
	t.Helper()
	req, auth := l.Inbound(t.Context()), authOf(t, l)
	fill := strings.NewReplacer("{O}", string(auth.Origin), "{D}", string(auth.Destination), "{K}", string(auth.Key), "{S}", auth.Sig)
	req.Header.Del("Authorization")
	for _, h := range headers {
		req.Header.Add("Authorization", fill.Replace(h))
	}
	return req
}

// withTarget returns the letter's request for another target, signed for it.
func withTarget(t testing.TB, l letter, target string) *http.Request {
	t.Helper()
	req := httptest.NewRequest(http.MethodPut, target, bytes.NewReader(l.Body))
	if err := xmatrix.Sign(t.Context(), req, l.Body, l.To, l.From); err != nil {
		t.Fatal(err)
	}
	return req
}

func wantOK(t testing.TB, h http.Handler, req *http.Request) []byte {
	t.Helper()
	w := answer(h, req)
	if w.Code != http.StatusOK {
		t.Fatalf("status %d, want 200: %s", w.Code, w.Body)
	}
	return w.Body.Bytes()
}

func TestPlumbingAuthorization(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	base := r.sendInvite()
	assume := func(c *fedinvite.Config) {
		c.Credentials = xmatrix.Verifier{Keys: c.Keys, Now: eventClock, Assume: serverB}.Credentials
	}
	for _, c := range []struct {
		name    string
		headers []string
		config  func(*fedinvite.Config)
	}{
		{"01 valid", []string{`X-Matrix origin="{O}",destination="{D}",key="{K}",sig="{S}"`}, nil},
		{"03 x-matrix, upper-case names, any order", []string{`x-matrix SIG="{S}",Key="{K}",DESTINATION="{D}",oRIGIN="{O}"`}, nil},
		{"03 tabs round commas", []string{"X-Matrix origin=\"{O}\"\t,\tdestination=\"{D}\" \t, \tkey=\"{K}\"\t,sig=\"{S}\""}, nil},
		{"04 three spaces after scheme", []string{`X-Matrix   origin="{O}",destination="{D}",key="{K}",sig="{S}"`}, nil},
		{"04 trailing comma", []string{`X-Matrix origin="{O}",destination="{D}",key="{K}",sig="{S}",`}, nil},
		{"05 all values unquoted, with colons", []string{`X-Matrix origin={O},destination={D},key={K},sig={S}`}, nil},
		{"06 backslash escape", []string{`X-Matrix origin="a\.example",destination="{D}",key="{K}",sig="{S}"`}, nil},
		{"07 foo=\"x,origin=evil.ex\" added", []string{`X-Matrix foo="x,origin=evil.ex",origin="{O}",destination="{D}",key="{K}",sig="{S}"`}, nil},
		{"11 destination absent, signed for us", []string{`X-Matrix origin="{O}",key="{K}",sig="{S}"`}, assume},
		{"14 two headers, same origin, one unknown key", []string{`X-Matrix origin="{O}",destination="{D}",key="ed25519:unknown",sig="{S}"`, `X-Matrix origin="{O}",destination="{D}",key="{K}",sig="{S}"`}, nil},
	} {
		t.Run(c.name+": 200", func(t *testing.T) {
			h := newHost(t)
			if c.config != nil {
				h = newHost(t, c.config)
			}
			wantOK(t, h, withHeaders(t, base, c.headers...))
			if diff := cmp.Diff(serverA, h.handled[0].Origin); diff != "" {
				t.Errorf("origin (-want +got):\n%s", diff)
			}
		})
	}

	for _, c := range []struct {
		name    string
		headers []string
		fetches bool // whether a key has to be asked for to find out
	}{
		{"02 no Authorization", nil, false},
		{"02 only Bearer x", []string{`Bearer x`}, false},
		{"08 repeated origin", []string{`X-Matrix origin="{O}",origin="{O}",destination="{D}",key="{K}",sig="{S}"`}, false},
		{"08 repeated origin in other case", []string{`X-Matrix origin="c.example",ORIGIN="{O}",destination="{D}",key="{K}",sig="{S}"`}, false},
		{"09 unterminated quote", []string{`X-Matrix origin="{O}",destination="{D}",key="{K}",sig="{S}`}, false},
		{"10 signature= is as good as sig=, both are not", []string{`X-Matrix origin="{O}",destination="{D}",key="{K}",sig="{S}",signature="{S}"`}, false},
		{"11 destination absent, several hosts", []string{`X-Matrix origin="{O}",key="{K}",sig="{S}"`}, false},
		{"12 destination other.ex, no key fetch", []string{`X-Matrix origin="{O}",destination="other.ex",key="{K}",sig="{S}"`}, false},
		{"13 destination of our second host, signed for the first", []string{`X-Matrix origin="{O}",destination="b2.example",key="{K}",sig="{S}"`}, true},
		{"14 unknown key only", []string{`X-Matrix origin="{O}",destination="{D}",key="ed25519:unknown",sig="{S}"`}, true},
		{"15 two headers, different origins", []string{`X-Matrix origin="{O}",destination="{D}",key="{K}",sig="{S}"`, `X-Matrix origin="c.example",destination="{D}",key="{K}",sig="{S}"`}, false},
		{"16 origin a_b", []string{`X-Matrix origin="a_b",destination="{D}",key="{K}",sig="{S}"`}, false},
		{"16 origin [::1", []string{`X-Matrix origin="[::1",destination="{D}",key="{K}",sig="{S}"`}, false},
		{"16 origin of 300 characters", []string{`X-Matrix origin="` + strings.Repeat("x", 300) + `",destination="{D}",key="{K}",sig="{S}"`}, false},
		{"another origin", []string{`X-Matrix origin="c.example",destination="{D}",key="{K}",sig="{S}"`}, true},
		{"no signature", []string{`X-Matrix origin="{O}",destination="{D}",key="{K}"`}, false},
	} {
		t.Run(c.name+": 401", func(t *testing.T) {
			h := newHost(t)
			_, err := h.refuses(t, withHeaders(t, base, c.headers...), unauthorized)
			if !errors.Is(err, fedinvite.ErrUnauthorized) {
				t.Errorf("Done got %v, want %v", err, fedinvite.ErrUnauthorized)
			}
			fetched := slices.ContainsFunc(h.trace, func(hook string) bool { return strings.HasPrefix(hook, "key of") })
			if fetched != c.fetches {
				t.Errorf("keys asked for: %v, want %v", fetched, c.fetches)
			}
		})
	}
	// DESIGN S20: the specification's list says signature, everybody writes sig.
	t.Run("10 signature= instead of sig=: 200", func(t *testing.T) {
		wantOK(t, newHost(t), withHeaders(t, base, `X-Matrix origin="{O}",destination="{D}",key="{K}",signature="{S}"`))
	})
	t.Run("13 destination of our second host: 200 as that host", func(t *testing.T) {
		newHost(t).accepts(t, letterTo(r.sendInvite(set("@b:b2.example", "state_key")), serverB2), nil)
	})
	t.Run("key that is no longer valid: 401", func(t *testing.T) {
		public := invitetest.Signer(serverA).Public()
		for _, key := range []fedinvite.VerifyKey{
			{Public: public, ValidUntil: eventTime.Add(-time.Second)},
			{Public: public, ExpiredAt: eventTime.Add(time.Hour)},
		} {
			newHost(t, withKey(serverA, "ed25519:1", key)).refuses(t, base.Inbound(t.Context()), unauthorized)
		}
	})
	t.Run("Credentials missing: 500, never open", func(t *testing.T) {
		h := newHost(t)
		rc, err := fedinvite.NewReceiver(fedinvite.Config{
			Signer: func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) {
				return &tracedSigner{invitetest.Signer(serverB), h}, nil
			},
			Keys:    h.keys,
			Handler: fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { t.Error("handled"); return nil }),
		})
		if err != nil {
			t.Fatal(err)
		}
		wantVerdict(t, answer(rc, base.Inbound(t.Context())), internal)
		if h.signed != 0 {
			t.Error("signed")
		}
	})
	t.Run("Credentials without Verify: 500, never open", func(t *testing.T) {
		newHost(t, func(c *fedinvite.Config) {
			c.Credentials = func(*http.Request) (fedinvite.Credentials, error) {
				return fedinvite.Credentials{Origin: serverA, Destination: serverB}, nil
			}
		}).refuses(t, base.Inbound(t.Context()), internal)
	})
}

func TestPlumbingBody(t *testing.T) {
	r := newRoom(fedinvite.RoomV11)
	base := r.sendInvite()
	signed := func(body string) *http.Request {
		l := base
		l.Body = []byte(body)
		return l.Inbound(t.Context())
	}

	t.Run("17 body byte changed: 401", func(t *testing.T) {
		newHost(t).refuses(t, withBody(base.Inbound(t.Context()), strings.Replace(string(base.Body), `"depth":5`, `"depth":6`, 1)), unauthorized)
	})
	t.Run("17 member added to the body: 401", func(t *testing.T) {
		newHost(t).refuses(t, withBody(base.Inbound(t.Context()), string(change(base.Body, set(1, "x")))), unauthorized)
	})
	t.Run("18 body reformatted, keys reordered: 200", func(t *testing.T) {
		var members map[string]json.RawMessage
		if err := json.Unmarshal(base.Body, &members); err != nil {
			t.Fatal(err)
		}
		body := fmt.Sprintf("{\n \"room_version\" : \"11\",\t\"invite_room_state\":%s , \"\\u0065vent\":%s}\r\n", members["invite_room_state"], members["event"])
		wantOK(t, newHost(t), withBody(base.Inbound(t.Context()), body))
	})
	for name, body := range map[string]string{
		"duplicate key":                  `{"a":1,"a":2}`,
		"duplicate key in other letters": `{"a":1,"\u0061":2}`,
		"duplicate key in the event":     strings.Replace(string(base.Body), `"depth":5`, `"depth":5,"depth":5`, 1),
		"lone surrogate":                 `{"a":"\ud800"}`,
		"bad UTF-8":                      "{\"a\":\"\xc3\x28\"}",
	} {
		t.Run("19 "+name+": 400 M_BAD_JSON", func(t *testing.T) {
			newHost(t).refuses(t, withBody(base.Inbound(t.Context()), body), badJSON)
		})
	}
	for _, n := range []string{"1e3", "9007199254740992"} {
		t.Run("19 v6 with "+n+": 400 M_BAD_JSON", func(t *testing.T) {
			body := strings.Replace(string(newRoom(fedinvite.RoomV6).sendInvite().Body), `"depth":5`, `"depth":`+n, 1)
			newHost(t).refuses(t, signed(body), badJSON)
		})
	}
	t.Run("20 body is an array: 400 M_BAD_JSON", func(t *testing.T) {
		newHost(t).refuses(t, signed(`[`+string(base.Body)+`]`), badJSON)
	})
	t.Run("21 empty body, validly signed: 400 M_NOT_JSON", func(t *testing.T) {
		newHost(t).refuses(t, signed(""), notJSON)
	})
	for _, contentType := range []string{"", "application/json", "text/html"} {
		t.Run("22 Content-Type "+contentType+": 200", func(t *testing.T) {
			req := base.Inbound(t.Context())
			if contentType != "" {
				req.Header.Set("Content-Type", contentType)
			}
			wantOK(t, newHost(t), req)
		})
	}
	t.Run("30 MaxBody", func(t *testing.T) {
		limit := func(n int) func(*fedinvite.Config) {
			return func(c *fedinvite.Config) { c.MaxBody = int64(n) }
		}
		newHost(t, limit(len(base.Body))).accepts(t, base, nil)
		newHost(t, limit(len(base.Body)-1)).refuses(t, base.Inbound(t.Context()), tooLarge)
		unknownLength := base.Inbound(t.Context())
		unknownLength.ContentLength = -1
		newHost(t, limit(len(base.Body)-1)).refuses(t, unknownLength, tooLarge)
	})
	t.Run("a body that breaks off: 400 M_NOT_JSON", func(t *testing.T) {
		req := base.Inbound(t.Context())
		req.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"event":`), cutReader{}))
		newHost(t).refuses(t, req, notJSON)
	})
	t.Run("no Body, as no server has it: 400 M_NOT_JSON", func(t *testing.T) {
		req := signed("")
		req.Body = nil
		newHost(t).refuses(t, req, notJSON)
	})
	t.Run("31 replay: 200, same body", func(t *testing.T) {
		h := newHost(t)
		first := wantOK(t, h, base.Inbound(t.Context()))
		if diff := cmp.Diff(string(first), string(wantOK(t, h, base.Inbound(t.Context())))); diff != "" {
			t.Errorf("second answer (-first +second):\n%s", diff)
		}
	})
}

type cutReader struct{}

func (cutReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestPlumbingPath(t *testing.T) {
	r, v1 := newRoom(fedinvite.RoomV11), newRoom(fedinvite.RoomV1)
	base := r.sendInvite()
	const prefix = "/_matrix/federation/v2/invite/"
	withID := func(id string) letter { return v1.sendInvite(set(id, "event_id")) }

	for _, c := range []struct {
		name   string
		letter letter
		target string
	}{
		{"23 query string signed", base, base.Path() + "?x=1"},
		{"24 %21r%3Aex", base, prefix + "%21r%3Aa.example/" + base.EventID},
		{"24 !r:ex", base, prefix + "!r:a.example/" + base.EventID},
		{"24 escapes in lower case", base, prefix + "%21r%3aa.example/%24" + base.EventID[1:]},
		{"25 $a%2Fb%2Bc is $a/b+c", withID("$a/b+c:a.example"), prefix + "!r:a.example/$a%2Fb%2Bc:a.example"},
		{"25 $a+b is $a+b", withID("$a+b:a.example"), prefix + "!r:a.example/$a+b:a.example"},
		{"25 $a%252Fb is $a%2Fb", withID("$a%2Fb:a.example"), prefix + "!r:a.example/$a%252Fb:a.example"},
	} {
		t.Run(c.name+": 200", func(t *testing.T) {
			wantOK(t, newHost(t), withTarget(t, c.letter, c.target))
		})
	}
	t.Run("23 query string added: 401", func(t *testing.T) {
		req := base.Inbound(t.Context())
		req.RequestURI += "?x=1"
		newHost(t).refuses(t, req, unauthorized)
	})
	t.Run("24 path escaped otherwise than it was signed: 401", func(t *testing.T) {
		req := base.Inbound(t.Context())
		req.RequestURI = strings.Replace(req.RequestURI, "%21", "!", 1)
		if req.RequestURI == base.Path() {
			req.RequestURI = strings.Replace(req.RequestURI, "!", "%21", 1)
		}
		newHost(t).refuses(t, req, unauthorized)
	})
	for name, target := range map[string]string{
		"28 // before the event ID":        prefix + "!r:a.example//" + base.EventID,
		"28 // at the beginning":           "/" + base.Path(),
		"28 // in the middle":              strings.Replace(base.Path(), "/v2/", "//v2/", 1),
		"28 /./":                           strings.Replace(base.Path(), "/v2/", "/./v2/", 1),
		"no event ID":                      prefix + "!r:a.example",
		"empty event ID":                   prefix + "!r:a.example/",
		"empty room ID":                    prefix + "/" + base.EventID,
		"trailing slash":                   base.Path() + "/",
		"one segment more":                 base.Path() + "/x",
		"v3":                               strings.Replace(base.Path(), "/v2/", "/v3/", 1),
		"another endpoint":                 "/_matrix/federation/v2/send_join/!r:a.example/$x",
		"upper case":                       strings.Replace(base.Path(), "/invite/", "/INVITE/", 1),
		"prefix with an escape":            strings.Replace(base.Path(), "/invite/", "/%69nvite/", 1),
		"slash of the prefix as an escape": strings.Replace(base.Path(), "/invite/", "/invite%2F", 1),
		"root":                             "/",
		"asterisk":                         "*",
	} {
		t.Run(name+": 404 M_UNRECOGNIZED, no redirect", func(t *testing.T) {
			req := base.Inbound(t.Context())
			req.RequestURI = target
			newHost(t).refuses(t, req, notFound)
		})
	}
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions, "put"} {
		t.Run("29 "+method+" on invite: 405 M_UNRECOGNIZED, JSON", func(t *testing.T) {
			w := answer(newHost(t), httptest.NewRequest(method, base.Path(), nil))
			wantVerdict(t, w, verdict{http.StatusMethodNotAllowed, fedinvite.CodeUnrecognized})
			if diff := cmp.Diff("PUT", w.Header().Get("Allow")); diff != "" {
				t.Errorf("Allow (-want +got):\n%s", diff)
			}
		})
	}

	t.Run("27 under http.StripPrefix: 200", func(t *testing.T) {
		wantOK(t, http.StripPrefix("/_matrix/federation", newHost(t)), base.Inbound(t.Context()))
	})
	for _, pattern := range []string{"/", "/_matrix/federation/", "PUT /_matrix/federation/v2/invite/{roomID}/{eventID}"} {
		t.Run("27 under http.ServeMux with "+pattern+": 200", func(t *testing.T) {
			mux := http.NewServeMux()
			mux.Handle(pattern, newHost(t))
			wantOK(t, mux, base.Inbound(t.Context()))
			l := withID("$a/b+c:a.example")
			wantOK(t, mux, withTarget(t, l, l.Path()))
		})
	}
	t.Run("27 a request that a client made, without RequestURI: the path is that of its URL", func(t *testing.T) {
		h := newHost(t, func(c *fedinvite.Config) {
			c.Credentials = func(*http.Request) (fedinvite.Credentials, error) {
				return fedinvite.Credentials{Origin: serverA, Destination: serverB, Verify: func(context.Context, []byte) error { return nil }}, nil
			}
		})
		l := withID("$a/b+c:a.example")
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "https://b.example"+l.Path(), bytes.NewReader(l.Body))
		if err != nil {
			t.Fatal(err)
		}
		wantOK(t, h, req)
	})
}

// exchange writes a request to a real server, byte by byte as given, and reads the
// response.
func exchange(t *testing.T, h http.Handler, head string, body io.Reader) (*http.Response, []byte) {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // before the server, which waits for it
	if err := conn.SetDeadline(time.Now().Add(5 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, head+"\r\nHost: b.example\r\n"); err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(conn, body) // the server need not read it all
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no response: %v", err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, answer
}

// rawAuthorization signs the letter for a target that is sent as it is.
func rawAuthorization(t testing.TB, l letter, target string) string {
	t.Helper()
	req := &http.Request{Method: http.MethodPut, URL: &url.URL{Opaque: target}}
	if err := xmatrix.Sign(t.Context(), req, l.Body, l.To, l.From); err != nil {
		t.Fatal(err)
	}
	return req.Header.Get("Authorization")
}

func TestPlumbingOnTheWire(t *testing.T) {
	v1, r := newRoom(fedinvite.RoomV1), newRoom(fedinvite.RoomV11)
	base := r.sendInvite()

	for name, id := range map[string]string{
		"{}":    "$a{b}:a.example",
		"UTF-8": "$é😀:a.example",
		"quote": `$a"^|b\:a.example`,
		"#":     "$a#b:a.example",
	} {
		for form, authority := range map[string]string{"": "", " in absolute form": "http://b.example"} {
			t.Run("26 raw "+name+" in target"+form+": verified as sent", func(t *testing.T) {
				l := v1.sendInvite(set(id, "event_id"))
				target := "/_matrix/federation/v2/invite/!r:a.example/" + id
				head := fmt.Sprintf("PUT %s%s HTTP/1.1\r\nAuthorization: %s\r\nContent-Length: %d", authority, target, rawAuthorization(t, l, target), len(l.Body))
				h := newHost(t)
				res, body := exchange(t, h, head, strings.NewReader("\r\n"+string(l.Body)))
				if res.StatusCode != http.StatusOK {
					t.Fatalf("status %d, want 200: %s", res.StatusCode, body)
				}
				h.checkSigned(t, replyEvent(t, l, body), nil, l)
			})
		}
	}

	chunked := func(t *testing.T, size int) (*http.Response, []byte) {
		l := base
		l.Body = append(bytes.Clone(base.Body), strings.Repeat(" ", size-len(base.Body))...)
		head := fmt.Sprintf("PUT %s HTTP/1.1\r\nAuthorization: %s\r\nTransfer-Encoding: chunked", l.Path(), rawAuthorization(t, l, l.Path()))
		return exchange(t, newHost(t), head, strings.NewReader(fmt.Sprintf("\r\n%x\r\n%s\r\n0\r\n\r\n", len(l.Body), l.Body)))
	}
	t.Run("30 1 MiB, chunked: 200", func(t *testing.T) {
		if res, body := chunked(t, 1<<20); res.StatusCode != http.StatusOK {
			t.Errorf("status %d, want 200: %s", res.StatusCode, body)
		}
	})
	t.Run("30 1 MiB + 1, chunked: 413 M_TOO_LARGE", func(t *testing.T) {
		res, body := chunked(t, 1<<20+1)
		if got := (verdict{res.StatusCode, fedinvite.Code(fmt.Sprint(decode(body)["errcode"]))}); got != tooLarge {
			t.Errorf("%v, want %v", got, tooLarge)
		}
	})
	t.Run("30 a body that claims 1 GiB: 413 M_TOO_LARGE before it is read", func(t *testing.T) {
		head := fmt.Sprintf("PUT %s HTTP/1.1\r\nAuthorization: %s\r\nContent-Length: %d", base.Path(), rawAuthorization(t, base, base.Path()), 1<<30)
		res, body := exchange(t, newHost(t), head, strings.NewReader("\r\n{"))
		if got := (verdict{res.StatusCode, fedinvite.Code(fmt.Sprint(decode(body)["errcode"]))}); got != tooLarge {
			t.Errorf("%v, want %v", got, tooLarge)
		}
	})
	t.Run("a body that does not come: 408 after Timeout", func(t *testing.T) {
		h := newHost(t, func(c *fedinvite.Config) { c.Timeout = time.Millisecond })
		head := fmt.Sprintf("PUT %s HTTP/1.1\r\nAuthorization: %s\r\nContent-Length: %d", base.Path(), rawAuthorization(t, base, base.Path()), len(base.Body))
		res, body := exchange(t, h, head, strings.NewReader("\r\n{"))
		want := verdict{http.StatusRequestTimeout, fedinvite.CodeUnknown}
		if got := (verdict{res.StatusCode, fedinvite.Code(fmt.Sprint(decode(body)["errcode"]))}); got != want {
			t.Errorf("%v, want %v", got, want)
		}
		if len(h.done) != 1 || h.done[0].err == nil || h.signed != 0 {
			t.Errorf("done %v, signed %d times", h.done, h.signed)
		}
	})
}

// "a human-readable error … errcode … retry_after_ms", as endpoints beside the Receiver
// answer.
func TestWriteError(t *testing.T) {
	refuse := func(code fedinvite.Code, after time.Duration) error {
		e := fedinvite.Refuse(code, "not now")
		e.RetryAfter = after
		return fmt.Errorf("handler: %w", e)
	}
	for _, c := range []struct {
		name   string
		err    error
		status int
		body   string
		after  []string // Retry-After
	}{
		{"a sentinel", fmt.Errorf("x: %w", fedinvite.ErrForbidden), 403, `{"errcode":"M_FORBIDDEN","error":"not allowed in the room"}`, nil},
		{"what is not for peers", errors.New("secret"), 500, `{"errcode":"M_UNKNOWN","error":"internal error"}`, nil},
		{"a refusal", refuse(fedinvite.CodeInviteBlocked, 0), 403, `{"errcode":"M_INVITE_BLOCKED","error":"not now"}`, nil},
		{"a status of its own", &fedinvite.Error{Code: fedinvite.CodeNotFound, Status: 404, Message: "no"}, 404, `{"errcode":"M_NOT_FOUND","error":"no"}`, nil},
		{"a time to wait", refuse(fedinvite.CodeLimitExceeded, 3*time.Second), 429, `{"errcode":"M_LIMIT_EXCEEDED","error":"not now","retry_after_ms":3000}`, []string{"3"}},
		{"a part of a second", refuse(fedinvite.CodeLimitExceeded, 1), 429, `{"errcode":"M_LIMIT_EXCEEDED","error":"not now","retry_after_ms":1}`, []string{"1"}},
		{"a second and a part", refuse(fedinvite.CodeLimitExceeded, time.Second+1), 429, `{"errcode":"M_LIMIT_EXCEEDED","error":"not now","retry_after_ms":1001}`, []string{"2"}},
		{"no time to wait", refuse(fedinvite.CodeLimitExceeded, 0), 429, `{"errcode":"M_LIMIT_EXCEEDED","error":"not now"}`, nil},
		{"a time that is over", refuse(fedinvite.CodeLimitExceeded, -time.Second), 429, `{"errcode":"M_LIMIT_EXCEEDED","error":"not now"}`, nil},
		{"a time without a limit", refuse(fedinvite.CodeForbidden, time.Second), 403, `{"errcode":"M_FORBIDDEN","error":"not now"}`, nil},
		{"no error", nil, 500, `{"errcode":"M_UNKNOWN","error":"internal error"}`, nil},
		{"a nil *Error in an error that is not nil", fmt.Errorf("x: %w", (*fedinvite.Error)(nil)), 500, `{"errcode":"M_UNKNOWN","error":"internal error"}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := httptest.NewRecorder()
			fedinvite.WriteError(w, c.err)
			want := http.Header{"Content-Type": {"application/json"}, "Content-Length": {fmt.Sprint(len(c.body))}}
			if c.after != nil {
				want["Retry-After"] = c.after
			}
			if diff := cmp.Diff(want, w.Header()); diff != "" {
				t.Errorf("header: -want +got\n%s", diff)
			}
			if w.Code != c.status {
				t.Errorf("status %d, want %d", w.Code, c.status)
			}
			if diff := cmp.Diff(c.body, w.Body.String()); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}
