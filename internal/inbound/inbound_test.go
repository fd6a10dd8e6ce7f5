package inbound_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite/internal/inbound"
)

func TestPathIsTheOneThatWasSent(t *testing.T) {
	for _, c := range []struct{ name, target, url, want string }{
		{"origin form", "/a/b", "/a/b", "/a/b"},
		{"with a query", "/a/b?c=/d?e", "/a/b", "/a/b"},
		{"with escapes", "/a%2Fb/%41", "/a/b/A", "/a%2Fb/%41"},
		{"bad escapes", "/a%zz", "/", "/a%zz"},
		{"changed by http.StripPrefix", "/_matrix/federation/x", "/x", "/_matrix/federation/x"},
		{"absolute form", "http://b.example/a%2Fb?c", "/a/b", "/a%2Fb"},
		{"absolute form without a path", "http://b.example", "/", "/"},
		{"an address in the path", "/a/http://b.example/c", "/", "/a/http://b.example/c"},
		{"an address in the query", "/a?x=http://b.example/c", "/", "/a"},
		{"asterisk", "*", "/", "*"},
		{"slashes", "//a//b/", "/a/b", "//a//b/"},
		{"characters that no target should have", "/a{b}é\"", "/", "/a{b}é\""},
		{"a request that did not come from a server", "", "/a%2Fb/c", "/a%2Fb/c"},
	} {
		t.Run(c.name, func(t *testing.T) {
			u, err := url.Parse(c.url)
			if err != nil {
				t.Fatal(err)
			}
			if got := inbound.Path(&http.Request{RequestURI: c.target, URL: u}); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestSegmentsAreUnescapedOnceAfterSplitting(t *testing.T) {
	const prefix = "/v2/invite/"
	for _, c := range []struct {
		path string
		n    int
		want []string // nil: refused
	}{
		{"/v2/invite/!r:a.example/$e", 2, []string{"!r:a.example", "$e"}},
		{"/v2/invite/%21r%3Aa.example/%24e", 2, []string{"!r:a.example", "$e"}},
		{"/v2/invite/a%2Fb/c%2fd", 2, []string{"a/b", "c/d"}},
		{"/v2/invite/a%252Fb/c", 2, []string{"a%2Fb", "c"}},
		{"/v2/invite/a+b/%2B", 2, []string{"a+b", "+"}},
		{"/v2/invite/%00/é", 2, []string{"\x00", "é"}},
		{"/v2/invite/./..", 2, []string{".", ".."}},
		{"/v2/invite/a", 1, []string{"a"}},
		{"/v2/invite/a/b/c", 3, []string{"a", "b", "c"}},

		{"/v2/invite/a", 2, nil},
		{"/v2/invite/a/b/c", 2, nil},
		{"/v2/invite/a/b/", 2, nil},
		{"/v2/invite/a//b", 2, nil},
		{"/v2/invite/a//b", 3, nil},
		{"/v2/invite/a/", 2, nil},
		{"/v2/invite//b", 2, nil},
		{"/v2/invite//", 2, nil},
		{"/v2/invite/", 2, nil},
		{"/v2/invite/", 1, nil},
		{"/v2/invite", 2, nil},
		{"/v2/invite%2Fa/b", 2, nil},
		{"/v1/invite/a/b", 2, nil},
		{"", 2, nil},
		{"*", 2, nil},
		{"/v2/invite/a/%", 2, nil},
		{"/v2/invite/a/%2", 2, nil},
		{"/v2/invite/%zz/b", 2, nil},
		{"/v2/invite/" + strings.Repeat("/", 1<<16), 2, nil},
	} {
		got, ok := inbound.Segments(c.path, prefix, c.n)
		if diff := cmp.Diff(c.want, got); diff != "" || ok != (c.want != nil) {
			t.Errorf("%.50q in %d: %v, -want +got\n%s", c.path, c.n, ok, diff)
		}
	}
}

// deadlines is a ResponseWriter that can set deadlines.
type deadlines struct {
	*httptest.ResponseRecorder
	read []time.Time
}

func (d *deadlines) SetReadDeadline(t time.Time) error {
	d.read = append(d.read, t)
	return nil
}

func TestReadBodyLiftsTheDeadline(t *testing.T) {
	w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
	at := time.UnixMilli(1700000000000)
	inbound.SetReadDeadline(w, at)
	body, err := inbound.ReadBody(w, httptest.NewRequest(http.MethodPut, "/", strings.NewReader("{}")), 2)
	if err != nil || string(body) != "{}" {
		t.Fatalf("%q, %v", body, err)
	}
	if diff := cmp.Diff([]time.Time{at, {}}, w.read); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if w.Code != http.StatusOK || w.Body.Len() != 0 {
		t.Errorf("something was answered: %d %s", w.Code, w.Body)
	}
}

// A ResponseWriter that cannot set deadlines is no reason to fail.
func TestReadBodyWithoutDeadlines(t *testing.T) {
	w := httptest.NewRecorder()
	inbound.SetReadDeadline(w, time.UnixMilli(1))
	if body, err := inbound.ReadBody(w, httptest.NewRequest(http.MethodPut, "/", strings.NewReader("{}")), 2); err != nil || string(body) != "{}" {
		t.Errorf("%q, %v", body, err)
	}
}

func TestReadBodyTakesNoMoreThanTheLimit(t *testing.T) {
	const limit = 100_000
	for _, c := range []struct {
		name   string
		size   int
		length int64 // what is claimed
		want   error
	}{
		{"empty", 0, 0, nil},
		{"at the limit", limit, limit, nil},
		{"at the limit, of unknown length", limit, -1, nil},
		{"past it", limit + 1, limit + 1, inbound.ErrTooLarge},
		{"past it, of unknown length", limit + 1, -1, inbound.ErrTooLarge},
		{"past it, though less is claimed", limit + 1, 1, inbound.ErrTooLarge},
		{"much is claimed", 2, 1 << 40, inbound.ErrTooLarge},
	} {
		t.Run(c.name, func(t *testing.T) {
			sent := bytes.Repeat([]byte("x"), c.size)
			read := &counting{Reader: bytes.NewReader(sent)}
			r := httptest.NewRequest(http.MethodPut, "/", read)
			r.ContentLength = c.length
			body, err := inbound.ReadBody(httptest.NewRecorder(), r, limit)
			if !errors.Is(err, c.want) {
				t.Fatalf("error %v, want %v", err, c.want)
			}
			if err == nil && !bytes.Equal(body, sent) || err != nil && body != nil {
				t.Errorf("%d bytes", len(body))
			}
			if c.length > limit && read.n > 0 {
				t.Errorf("%d bytes were read, though the length said it all", read.n)
			}
			if read.n > limit+1 {
				t.Errorf("%d bytes were read", read.n)
			}
		})
	}
}

type counting struct {
	io.Reader
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

func TestReadBodyTellsSlowFromCut(t *testing.T) {
	errCut := errors.New("cut")
	for _, c := range []struct {
		name string
		body io.Reader
		want []error
		not  []error
	}{
		{"slow", after("{", os.ErrDeadlineExceeded), []error{inbound.ErrTooSlow, os.ErrDeadlineExceeded}, []error{inbound.ErrTooLarge}},
		{"cut", after("{", errCut), []error{errCut}, []error{inbound.ErrTooSlow, inbound.ErrTooLarge}},
		{"cut at once", after("", io.ErrUnexpectedEOF), []error{io.ErrUnexpectedEOF}, []error{inbound.ErrTooSlow, inbound.ErrTooLarge}},
		{"slow beyond the limit", after("{123456789x", os.ErrDeadlineExceeded), []error{inbound.ErrTooLarge}, []error{inbound.ErrTooSlow}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := &deadlines{ResponseRecorder: httptest.NewRecorder()}
			body, err := inbound.ReadBody(w, httptest.NewRequest(http.MethodPut, "/", c.body), 10)
			if body != nil {
				t.Errorf("%q", body)
			}
			for _, want := range c.want {
				if !errors.Is(err, want) {
					t.Errorf("error %v, want %v", err, want)
				}
			}
			for _, not := range c.not {
				if errors.Is(err, not) {
					t.Errorf("error %v is %v", err, not)
				}
			}
			if len(w.read) > 0 {
				t.Error("the deadline was lifted: what is left of the body may take for ever")
			}
		})
	}
}

// after gives s and then err.
func after(s string, err error) io.Reader {
	return io.MultiReader(strings.NewReader(s), iotest.ErrReader(err))
}

func TestReadBodyOfARequestWithoutOne(t *testing.T) {
	r := httptest.NewRequest(http.MethodPut, "/", nil)
	r.Body = nil
	if body, err := inbound.ReadBody(httptest.NewRecorder(), r, 1); err != nil || body != nil {
		t.Errorf("%q, %v", body, err)
	}
}
