package fedserver_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// sloppy signs a request as xmatrix.Sign would, though its body is not what JSON should
// be: then over no body, which does not matter where the body is refused first.
func sloppy(t testing.TB, l letter) *http.Request {
	t.Helper()
	req := httptest.NewRequest(l.method, l.target, bytes.NewReader(l.body))
	if xmatrix.Sign(t.Context(), req, l.body, l.to, invitetest.Signer(l.from)) == nil {
		return req
	}
	if err := xmatrix.Sign(t.Context(), req, nil, l.to, invitetest.Signer(l.from)); err != nil {
		t.Fatal(err)
	}
	return req
}

// brokenKeys is a key source that cannot tell.
type brokenKeys struct{}

func (brokenKeys) VerifyKey(context.Context, fedinvite.ServerName, fedinvite.KeyID, time.Time) (fedinvite.VerifyKey, error) {
	return fedinvite.VerifyKey{}, errors.New("database of keys is down")
}

// An own is an endpoint of an author's own, built on Authenticate.
type own struct {
	fedserver.Endpoint
	got []fedserver.Request
}

func (o *own) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	req, err := o.Authenticate(w, r)
	if err != nil {
		fedinvite.WriteError(w, err)
		return
	}
	o.got = append(o.got, req)
	_, _ = io.WriteString(w, "{}")
}

func TestAuthenticate(t *testing.T) {
	good := letter{"PUT", "/own/thing?x=1", serverB, serverA, []byte(`{"a":1}`)}
	auth := func(change func(a *xmatrix.Auth)) func(t *testing.T, r *http.Request) {
		return func(t *testing.T, r *http.Request) {
			a, err := xmatrix.Parse(r.Header.Get("Authorization"))
			if err != nil {
				t.Fatal(err)
			}
			change(&a)
			r.Header.Set("Authorization", a.String())
		}
	}
	const unauthorized = fedinvite.CodeUnauthorized
	for _, c := range []struct {
		name    string
		letter  func(l *letter)
		request func(t *testing.T, r *http.Request)
		config  func(p *fedserver.Endpoint)
		status  int
		code    fedinvite.Code // "": success
	}{
		{"good", nil, nil, nil, 200, ""},
		{"to our second name", func(l *letter) { l.to = serverA2 }, nil, nil, 200, ""},
		{"GET without a body", func(l *letter) { l.method, l.body = "GET", nil }, nil, nil, 200, ""},
		{"a body of MaxBody bytes", nil, nil, func(p *fedserver.Endpoint) { p.MaxBody = 7 }, 200, ""},
		{"a body of one byte more", nil, nil, func(p *fedserver.Endpoint) { p.MaxBody = 6 }, 413, fedinvite.CodeTooLarge},
		{"a body of 1 MiB", func(l *letter) { l.body = filler(1 << 20) }, nil, nil, 200, ""},
		{"a body of 1 MiB and a byte", func(l *letter) { l.body = filler(1<<20 + 1) }, nil, nil, 413, fedinvite.CodeTooLarge},
		{"a body of 1 MiB and a byte, of unknown length", func(l *letter) { l.body = filler(1<<20 + 1) }, func(_ *testing.T, r *http.Request) { r.ContentLength = -1 }, nil, 413, fedinvite.CodeTooLarge},
		{"no Authorization", func(l *letter) { l.from = "" }, nil, nil, 401, unauthorized},
		{"another scheme", nil, func(_ *testing.T, r *http.Request) { r.Header.Set("Authorization", "Bearer x") }, nil, 401, unauthorized},
		{"another destination of ours than was signed for", nil, auth(func(a *xmatrix.Auth) { a.Destination = serverA2 }), nil, 401, unauthorized},
		{"a destination that is not ours", func(l *letter) { l.to = serverC }, nil, nil, 401, unauthorized},
		{"another origin", nil, auth(func(a *xmatrix.Auth) { a.Origin = serverC }), nil, 401, unauthorized},
		{"an unknown key", nil, auth(func(a *xmatrix.Auth) { a.Key = "ed25519:2" }), nil, 401, unauthorized},
		{"an unknown server", func(l *letter) { l.from = "d.ex" }, nil, nil, 401, unauthorized},
		{"another body", nil, func(_ *testing.T, r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"a":2}`)) }, nil, 401, unauthorized},
		{"another method", nil, func(_ *testing.T, r *http.Request) { r.Method = "POST" }, nil, 401, unauthorized},
		{"another target", nil, func(_ *testing.T, r *http.Request) { r.RequestURI = "/own/thing?x=2" }, nil, 401, unauthorized},
		{"keys that are unavailable", nil, nil, func(p *fedserver.Endpoint) {
			p.Credentials = xmatrix.Verifier{Keys: brokenKeys{}, Now: clock}.Credentials
		}, 503, fedinvite.CodeUnknown},
		{"a name twice", nil, func(_ *testing.T, r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"a":1,"a":1}`)) }, nil, 400, fedinvite.CodeBadJSON},
		{"no JSON", nil, func(_ *testing.T, r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"a":1`)) }, nil, 400, fedinvite.CodeNotJSON},
		{"a body that breaks off", nil, func(_ *testing.T, r *http.Request) { r.Body = io.NopCloser(broken{}) }, nil, 400, fedinvite.CodeNotJSON},
		{"no Credentials", nil, nil, func(p *fedserver.Endpoint) { p.Credentials = nil }, 500, fedinvite.CodeUnknown},
		{"no Signer", nil, nil, func(p *fedserver.Endpoint) { p.Signer = nil }, 500, fedinvite.CodeUnknown},
		{"Credentials without Verify", nil, nil, func(p *fedserver.Endpoint) {
			p.Credentials = func(*http.Request) (fedinvite.Credentials, error) {
				return fedinvite.Credentials{Origin: serverB, Destination: serverA}, nil
			}
		}, 500, fedinvite.CodeUnknown},
		{"Credentials with a name that is none", nil, nil, func(p *fedserver.Endpoint) {
			p.Credentials = func(*http.Request) (fedinvite.Credentials, error) {
				return fedinvite.Credentials{Origin: "b_ex", Destination: serverA, Verify: func(context.Context, []byte) error { return nil }}, nil
			}
		}, 401, unauthorized},
		{"Verify with a signature error", nil, nil, func(p *fedserver.Endpoint) {
			p.Credentials = func(*http.Request) (fedinvite.Credentials, error) {
				return fedinvite.Credentials{Origin: serverB, Destination: serverA, Verify: func(context.Context, []byte) error { return fedinvite.ErrSignature }}, nil
			}
		}, 401, unauthorized},
		{"an origin that Credentials refuses", nil, nil, func(p *fedserver.Endpoint) {
			p.Credentials = func(*http.Request) (fedinvite.Credentials, error) {
				return fedinvite.Credentials{}, fedinvite.Refuse(fedinvite.CodeLimitExceeded, "slowly")
			}
		}, 429, fedinvite.CodeLimitExceeded},
		{"a Signer that fails with a sentinel of ours", nil, nil, func(p *fedserver.Endpoint) {
			p.Signer = func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) {
				return nil, fedinvite.ErrBadJSON
			}
		}, 500, fedinvite.CodeUnknown},
		{"a Signer of another name", nil, nil, func(p *fedserver.Endpoint) {
			p.Signer = func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) {
				return invitetest.Signer(serverC), nil
			}
		}, 500, fedinvite.CodeUnknown},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, h := good, &own{Endpoint: endpoint(t)}
			if c.letter != nil {
				c.letter(&l)
			}
			if c.config != nil {
				c.config(&h.Endpoint)
			}
			r := l.request(t)
			if c.request != nil {
				c.request(t, r)
			}
			w := answer(h, r)
			if c.code != "" {
				wantRefusal(t, w, c.status, c.code)
				if len(h.got) > 0 {
					t.Error("the request was let in")
				}
				return
			}
			wantOK(t, w, "{}")
			if len(h.got) != 1 || h.got[0].Origin != serverB || h.got[0].Destination != l.to || !bytes.Equal(h.got[0].Body, l.body) {
				t.Errorf("got %+v", h.got)
			}
		})
	}
}

// filler is a JSON object of n bytes.
func filler(n int) []byte { return []byte(`{"a":"` + strings.Repeat("x", n-8) + `"}`) }

// broken is a body that breaks off.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestARefusalThatLeavesTheBodyUnreadClosesTheConnection(t *testing.T) {
	for name, l := range map[string]letter{
		"no such endpoint": {"PUT", target("v1", "make_leave"), serverB, serverA, []byte(`{}`)},
		"wrong method":     {"PUT", target("v1", "make_leave", "!r:a.ex", bob), serverB, serverA, []byte(`{}`)},
		"unauthorized":     {"PUT", target("v2", "send_leave", "!r:a.ex", "$x"), "", serverA, []byte(`{}`)},
	} {
		w := answer(newResident(t, newRoom(t, fedinvite.RoomV11)), l.request(t))
		if got := w.Header().Get("Connection"); got != "close" {
			t.Errorf("%s: Connection %q", name, got)
		}
	}
	s := newResident(t, newRoom(t, fedinvite.RoomV11))
	if w := answer(s, s.makeLetter(bob, "").request(t)); w.Header().Get("Connection") != "" {
		t.Error("closed, though there is no body")
	}
}

func TestSlowBody(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	s := newResident(t, r, func(c *fedserver.LeavesConfig) { c.Timeout = 20 * time.Millisecond })
	server := httptest.NewServer(s)
	t.Cleanup(server.Close)
	l := letter{"PUT", target("v2", "send_leave", r.id, "$x"), serverB, serverA, []byte(`{"a":1}`)}
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_, err = io.WriteString(conn, "PUT "+l.target+" HTTP/1.1\r\nHost: a.ex\r\nContent-Length: 7\r\nAuthorization: "+l.request(t).Header.Get("Authorization")+"\r\n\r\n{")
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusRequestTimeout {
		t.Errorf("status %d", res.StatusCode)
	}
}

func TestUnknownPathsAndMethods(t *testing.T) {
	leaves := newResident(t, newRoom(t, fedinvite.RoomV11))
	exchanges, binds, transactions := emptyExchanges(t), emptyBinds(t), emptyTransactions(t)
	for _, c := range []struct {
		h              http.Handler
		method, target string
		allow          string // "": 404
	}{
		{leaves, "PUT", target("v1", "make_leave", "!r:a.ex", bob), "GET"},
		{leaves, "HEAD", target("v1", "make_leave", "!r:a.ex", bob), "GET"},
		{leaves, "POST", target("v2", "send_leave", "!r:a.ex", "$x"), "PUT"},
		{leaves, "GET", target("v1", "send_leave", "!r:a.ex", "$x"), "PUT"},
		{leaves, "GET", target("v2", "make_leave", "!r:a.ex", bob), ""},
		{leaves, "PUT", target("v3", "send_leave", "!r:a.ex", "$x"), ""},
		{leaves, "PUT", target("v2", "send_leave", "!r:a.ex"), ""},
		{leaves, "PUT", target("v2", "send_leave", "!r:a.ex", "$x", "y"), ""},
		{leaves, "PUT", target("v2", "send_leave", "!r:a.ex", "$x") + "%", ""},
		{exchanges, "GET", target("v1", "exchange_third_party_invite", "!r:a.ex"), "PUT"},
		{exchanges, "PUT", target("v1", "exchange_third_party_invite"), ""},
		{binds, "GET", target("v1", "3pid", "onbind"), "PUT, POST"},
		{binds, "PUT", target("v1", "3pid", "onbind") + "/", ""},
		{transactions, "POST", target("v1", "send", "1"), "PUT"},
		{transactions, "PUT", target("v1", "send") + "/", ""},
		{transactions, "PUT", target("v2", "send", "1"), ""},
	} {
		r := httptest.NewRequest(c.method, "/", nil)
		r.RequestURI = c.target
		w := answer(c.h, r)
		status := http.StatusNotFound
		if c.allow != "" {
			status = http.StatusMethodNotAllowed
		}
		wantRefusal(t, w, status, fedinvite.CodeUnrecognized)
		if got := w.Header().Get("Allow"); got != c.allow {
			t.Errorf("%s %s: Allow %q, want %q", c.method, c.target, got, c.allow)
		}
	}
}

func TestConstructorsNameTheMissingField(t *testing.T) {
	for _, c := range []struct {
		field string
		err   error
	}{
		{"Endpoint.Signer", second(fedserver.NewLeaves(fedserver.LeavesConfig{}))},
		{"Endpoint.Keys", second(fedserver.NewLeaves(fedserver.LeavesConfig{Endpoint: with(t, func(p *fedserver.Endpoint) { p.Keys = nil })}))},
		{"Endpoint.Credentials", second(fedserver.NewLeaves(fedserver.LeavesConfig{Endpoint: with(t, func(p *fedserver.Endpoint) { p.Credentials = nil })}))},
		{"Endpoint.MaxBody", second(fedserver.NewLeaves(fedserver.LeavesConfig{Endpoint: with(t, func(p *fedserver.Endpoint) { p.MaxBody = -1 })}))},
		{"Endpoint.MaxBody and Timeout", second(fedserver.NewLeaves(fedserver.LeavesConfig{Endpoint: with(t, func(p *fedserver.Endpoint) { p.Timeout = -1 })}))},
		{"LeavesConfig.Room", second(fedserver.NewLeaves(fedserver.LeavesConfig{Endpoint: endpoint(t)}))},
		{"LeavesConfig.HandleLeave", second(fedserver.NewLeaves(fedserver.LeavesConfig{Endpoint: endpoint(t), Room: &room{}}))},
		{"ExchangesConfig.Room", second(fedserver.NewExchanges(fedserver.ExchangesConfig{Endpoint: endpoint(t)}))},
		{"ExchangesConfig.Inviter", second(fedserver.NewExchanges(fedserver.ExchangesConfig{Endpoint: endpoint(t), Room: &room{}}))},
		{"ExchangesConfig.KeyValid", second(fedserver.NewExchanges(fedserver.ExchangesConfig{Endpoint: endpoint(t), Room: &room{}, Inviter: &fedclient.Inviter{}}))},
		{"Endpoint.Signer", second(fedserver.NewExchanges(fedserver.ExchangesConfig{}))},
		{"BindsConfig.HandleInvite", second(fedserver.NewBinds(fedserver.BindsConfig{}))},
		{"BindsConfig.Signer", second(fedserver.NewBinds(fedserver.BindsConfig{HandleInvite: func(context.Context, thirdparty.Invite) error { return nil }}))},
		{"BindsConfig.MaxBody", second(fedserver.NewBinds(fedserver.BindsConfig{HandleInvite: func(context.Context, thirdparty.Invite) error { return nil }, Signer: ours(), Timeout: -1}))},
		{"Endpoint.Signer", second(fedserver.NewTransactions(fedserver.TransactionsConfig{}))},
		{"TransactionsConfig.Invite", second(fedserver.NewTransactions(fedserver.TransactionsConfig{Endpoint: endpoint(t)}))},
		{"Binder.Signer", fedserver.Binder{}.Bind(t.Context(), thirdparty.Invite{})},
		{"Binder.Client", fedserver.Binder{Signer: ours()}.Bind(t.Context(), thirdparty.Invite{})},
		{"Binder.Inviter", fedserver.Binder{Signer: ours(), Client: &fedclient.Client{}, Room: &room{}}.Bind(t.Context(), thirdparty.Invite{})},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.field+" ") && !strings.Contains(c.err.Error(), c.field+",") {
			t.Errorf("got %v, want one about %s", c.err, c.field)
		}
	}
}

func second[T any](_ T, err error) error { return err }

func with(t testing.TB, change func(*fedserver.Endpoint)) fedserver.Endpoint {
	p := endpoint(t)
	change(&p)
	return p
}
