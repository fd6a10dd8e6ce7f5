package xmatrix_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

func TestSignFollowsTheSpecification(t *testing.T) {
	s := invitetest.Signer("a.ex")
	for _, c := range []struct{ name, method, url, body, target string }{
		{"a body", "PUT", "https://host:8448/_matrix/x?b=%20&a=1", `{"b": 1, "a": "é"}`, "/_matrix/x?b=%20&a=1"},
		{"no body, no content", "GET", "https://host/_matrix/x", "", "/_matrix/x"},
		{"the empty method is GET", "", "https://host/_matrix/x", "", "/_matrix/x"},
		{"an empty object is content", "PUT", "https://host/", `{}`, "/"},
		{"no path", "GET", "https://host", "", "/"},
		{"floats and large integers as peers write them", "PUT", "https://host/", `{"a":1.0,"b":36893488147419103232,"c":1e2}`, "/"},
		{"quotes in the query", "GET", `https://host/?a="\`, "", `/?a="\`},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			req := &http.Request{Method: c.method, URL: u}
			if err := xmatrix.Sign(t.Context(), req, []byte(c.body), "b.ex", s); err != nil {
				t.Fatal(err)
			}
			method := c.method
			if method == "" {
				method = "GET"
			}
			if got, want := req.Header.Get("Authorization"), headerFor(t, s, "b.ex", method, c.target, c.body).String(); got != want {
				t.Errorf("got  %s\nwant %s", got, want)
			}
		})
	}
}

func TestSignReplacesTheHeader(t *testing.T) {
	req, _ := http.NewRequest("GET", "https://host/x", nil)
	req.Header.Set("Authorization", "X-Matrix old")
	if err := xmatrix.Sign(t.Context(), req, nil, "b.ex", invitetest.Signer("a.ex")); err != nil {
		t.Fatal(err)
	}
	if got := req.Header.Values("Authorization"); len(got) != 1 || !strings.HasPrefix(got[0], "X-Matrix origin=") {
		t.Errorf("got %q", got)
	}
}

func TestWhatIsSignedIsWhatIsSent(t *testing.T) {
	a := invitetest.Signer("a.ex")
	keys := fedinvite.KeyMap{}
	keys.Add(a)
	v := xmatrix.Verifier{Keys: keys, Now: clock}
	server := serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c, err := v.Credentials(r)
		if err == nil {
			err = c.Verify(r.Context(), body)
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusUnauthorized)
		}
	})
	for _, target := range []string{
		"", "/", "/x?", "/%21r%3Aex/$a%2Fb%2Bc", "/!r:ex/$a+b", "/a/../b", "//x", "/./x", "/é", "/{}", `/"`, "/?q=é&x={}", "/%7Bx%7D", "/x#fragment",
	} {
		body := []byte(`{"a":1}`)
		req, err := http.NewRequest("PUT", server.URL+target, bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := xmatrix.Sign(t.Context(), req, body, "us.ex", a); err != nil {
			t.Fatal(err)
		}
		res, err := server.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		why, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%s: %d %s", target, res.StatusCode, why)
		}
	}
}

func TestSignRefuses(t *testing.T) {
	s := invitetest.Signer("a.ex")
	broken := errors.New("broken")
	for _, c := range []struct {
		name, method, url, body string
		to                      fedinvite.ServerName
		signer                  fedinvite.Signer
		want                    error
	}{
		{"no signer", "GET", "/", "", "b.ex", nil, nil},
		{"an origin that is no server name", "GET", "/", "", "b.ex", badSigner{name: "a_b", id: "ed25519:1"}, fedinvite.ErrIdentifier},
		{"a key ID that is none", "GET", "/", "", "b.ex", badSigner{name: "a.ex", id: "1"}, fedinvite.ErrIdentifier},
		{"a signer that fails", "GET", "/", "", "b.ex", badSigner{name: "a.ex", id: "ed25519:1", err: broken}, broken},
		{"a signer that returns 63 bytes", "GET", "/", "", "b.ex", badSigner{name: "a.ex", id: "ed25519:1", length: 63}, nil},
		{"a destination that is no server name", "GET", "/", "", "b ex", s, fedinvite.ErrIdentifier},
		{"a body that is no object", "PUT", "/", `[]`, "b.ex", s, fedinvite.ErrBadJSON},
		{"a body with a duplicate key", "PUT", "/", `{"a":1,"a":1}`, "b.ex", s, fedinvite.ErrDuplicateKey},
		{"a body that goes on after its end", "PUT", "/", `{},"uri":"/y"`, "b.ex", s, fedinvite.ErrNotJSON},
		{"a GET with a body", "GET", "/", `{}`, "b.ex", s, nil},
		{"an opaque URL", "GET", "x:y", "", "b.ex", s, nil},
		{"a space in the query", "GET", "/?a b", "", "b.ex", s, nil},
		{"a query that is not UTF-8", "GET", "/?\xff", "", "b.ex", s, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			req := &http.Request{Method: c.method, URL: u, Header: http.Header{}}
			err = xmatrix.Sign(t.Context(), req, []byte(c.body), c.to, c.signer)
			if err == nil || c.want != nil && !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
			if got := req.Header.Get("Authorization"); got != "" {
				t.Errorf("set the header %q", got)
			}
		})
	}
}

type badSigner struct {
	fedinvite.Signer
	name   fedinvite.ServerName
	id     fedinvite.KeyID
	length int
	err    error
}

func (s badSigner) ServerName() fedinvite.ServerName { return s.name }
func (s badSigner) KeyID() fedinvite.KeyID           { return s.id }
func (s badSigner) Sign(context.Context, []byte) ([]byte, error) {
	return make([]byte, s.length), s.err
}
