package fedclient_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

var (
	_ keyring.Fetcher       = (*fedclient.Client)(nil)
	_ keyring.NotaryFetcher = (*fedclient.Client)(nil)
)

func TestTargetsArriveAsSigned(t *testing.T) {
	us := invitetest.Signer("a.ex")
	keys := fedinvite.KeyMap{}
	keys.Add(us)
	var target string
	var segments []string
	name, transport := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c, err := xmatrix.Verifier{Keys: keys, Now: clock}.Credentials(r)
		if err == nil {
			err = c.Verify(r.Context(), body)
		}
		if err != nil {
			t.Errorf("%s: %v", r.RequestURI, err)
		}
		if r.ProtoMajor != 2 {
			t.Errorf("HTTP/%d", r.ProtoMajor)
		}
		target = r.RequestURI
		path, _, _ := strings.Cut(target, "?")
		segments = nil
		for _, s := range strings.Split(path, "/")[1:] {
			s, err := url.PathUnescape(s)
			if err != nil {
				t.Error(err)
			}
			segments = append(segments, s)
		}
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		_, _ = io.WriteString(w, "{}")
	}))
	client := newClient(t, transport)
	for _, path := range [][]string{
		{"x", "!r:ex", "$a/b+c"},
		{"x", "!r:ex", "$a%2Fb"},
		{"x", "é{}\"^#?&=;,\\ |", ""},
		{"..", ".", "x"},
		{"", "x"},
		{"x\n"},
	} {
		for _, query := range []url.Values{nil, {"v": {"1", "é &"}}} {
			for _, method := range []string{"PUT", "GET"} {
				r := fedclient.Request{Method: method, Destination: name, Path: path, Query: query, Signer: us}
				if method == "PUT" {
					r.Body = []byte(`{"a":1}`)
				}
				if got, err := client.Do(t.Context(), r); err != nil || string(got) != "{}" {
					t.Errorf("%q: %s, %v", path, got, err)
				}
				if diff := cmp.Diff(path, segments); diff != "" {
					t.Errorf("%s: %s", target, diff)
				}
			}
		}
	}
}

// A reply is application/json, not too much of it, and from the server that was asked.
func TestPlumbing58AnswersThatAreNone(t *testing.T) {
	elsewhere := false
	other, _ := serveTLS(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { elsewhere = true }))
	page := func(contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = []string{contentType}
			_, _ = io.WriteString(w, body)
		}
	}
	for name, c := range map[string]struct {
		serve http.HandlerFunc
		want  error
	}{
		"307": {func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://"+string(other)+r.RequestURI, http.StatusTemporaryRedirect)
		}, nil},
		"2 MiB":             {page("application/json", `"`+strings.Repeat("x", 2<<20)+`"`), fedinvite.ErrTooLarge},
		"a byte too much":   {page("application/json", strings.Repeat(" ", 1<<20+1)), fedinvite.ErrTooLarge},
		"text/html":         {page("text/html", `{}`), fedclient.ErrReply},
		"no Content-Type":   {page("", `{}`), fedclient.ErrReply},
		"application/jsonp": {page("application/jsonp", `{}`), fedclient.ErrReply},
		"a broken off body": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Content-Length", "100")
			_, _ = io.WriteString(w, `{`)
		}, fedclient.ErrUnreachable},
		"201": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(201) }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			server, transport := serveTLS(t, c.serve)
			attempts := 0
			client := newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
				attempts++
				return transport.RoundTrip(r)
			}), retrying)
			got, err := client.Do(t.Context(), fedclient.Request{Method: "PUT", Destination: server, Path: []string{"x"}})
			if attempts != 1 {
				t.Errorf("%d attempts", attempts)
			}
			var remote *fedclient.RemoteError
			if got != nil || err == nil || c.want != nil && !errors.Is(err, c.want) || c.want == nil && !errors.As(err, &remote) {
				t.Errorf("got %.20q, %v", got, err)
			}
		})
	}
	if elsewhere {
		t.Error("a redirect was followed")
	}
}

func TestExactlyTheLargestReply(t *testing.T) {
	server, transport := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "Application/JSON")
		_, _ = io.WriteString(w, strings.Repeat(" ", 1<<20))
	}))
	client := newClient(t, transport)
	r := fedclient.Request{Method: "GET", Destination: server, Path: []string{"x"}}
	if got, err := client.Do(t.Context(), r); err != nil || len(got) != 1<<20 {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	r.MaxReply = 1<<20 - 1
	if _, err := client.Do(t.Context(), r); !errors.Is(err, fedinvite.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestFetchServerKeys(t *testing.T) {
	size := 256 << 10
	server, transport := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "GET" || r.RequestURI != "/_matrix/key/v2/server" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s: %v", r.Method, r.RequestURI, r.Header)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strings.Repeat(" ", size))
	}))
	client := newClient(t, transport)
	if got, err := client.FetchServerKeys(t.Context(), server); err != nil || len(got) != size {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	size++
	if _, err := client.FetchServerKeys(t.Context(), server); !errors.Is(err, fedinvite.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestQueryServerKeys(t *testing.T) {
	const body = `{"server_keys":{"b.ex":{"ed25519:1":{"minimum_valid_until_ts":1}}}}`
	size := 4 << 20
	server, transport := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, err := io.ReadAll(r.Body)
		if err != nil || string(got) != body || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("%s, %v, %v", got, r.Header, err)
		}
		if r.Method != "POST" || r.RequestURI != "/_matrix/key/v2/query" || r.Header.Get("Authorization") != "" {
			t.Errorf("%s %s: %v", r.Method, r.RequestURI, r.Header)
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, strings.Repeat(" ", size))
	}))
	client := newClient(t, transport)
	if got, err := client.QueryServerKeys(t.Context(), server, []byte(body)); err != nil || len(got) != size {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	size++
	if _, err := client.QueryServerKeys(t.Context(), server, []byte(body)); !errors.Is(err, fedinvite.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
}

func TestTimeouts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := tripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		client := newClient(t, hangs, retrying, alwaysAsking)
		other := newClient(t, hangs, retrying, alwaysAsking, func(c *fedclient.Config) {
			c.Timeout, c.KeyTimeout = 2*time.Minute, 20*time.Second
		})
		do := func(client *fedclient.Client, timeout time.Duration) func() error {
			return func() error {
				_, err := client.Do(t.Context(), fedclient.Request{Method: "GET", Destination: "b.ex", Timeout: timeout})
				return err
			}
		}
		fetch := func(client *fedclient.Client) func() error {
			return func() error {
				_, err := client.FetchServerKeys(t.Context(), "b.ex")
				return err
			}
		}
		query := func(client *fedclient.Client) func() error {
			return func() error {
				_, err := client.QueryServerKeys(t.Context(), "b.ex", []byte(`{"server_keys":{}}`))
				return err
			}
		}
		for want, f := range map[time.Duration]func() error{
			time.Minute:       do(client, 0),
			2 * time.Minute:   do(other, 0),
			5 * time.Second:   do(client, 5*time.Second), // less and more than Config.Timeout
			100 * time.Second: do(client, 100*time.Second),
			10 * time.Second:  fetch(client),
			20 * time.Second:  fetch(other),
			30 * time.Second:  query(client),
			time.Minute + 1: func() error {
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute+1) // the caller's is shorter
				defer cancel()
				_, err := other.Do(ctx, fedclient.Request{Method: "GET", Destination: "b.ex"})
				return err
			},
		} {
			began := time.Now()
			if err := f(); !errors.Is(err, fedclient.ErrUnreachable) || !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != want {
				t.Errorf("%v after %v, want %v", err, time.Since(began), want)
			}
		}
	})
}

func TestRequestsThatAreNotMade(t *testing.T) {
	client := newClient(t, tripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, io.EOF
	}))
	us := invitetest.Signer("a.ex")
	for name, r := range map[string]fedclient.Request{
		"a destination that is no server name": {Method: "GET", Destination: "b.ex/x@", Path: []string{"x"}},
		"no destination":                       {Method: "GET"},
		"a method that is none":                {Method: "G T", Destination: "b.ex"},
		"a body that is no object":             {Method: "PUT", Destination: "b.ex", Body: []byte("[]"), Signer: us},
		"a GET with a body":                    {Method: "GET", Destination: "b.ex", Body: []byte("{}"), Signer: us},
		"a negative time-out":                  {Method: "GET", Destination: "b.ex", Timeout: -1},
	} {
		if _, err := client.Do(t.Context(), r); err == nil || errors.Is(err, fedclient.ErrUnreachable) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestRemoteErrors(t *testing.T) {
	long := strings.Repeat("é", 300)
	for name, c := range map[string]struct {
		status int
		header map[string]string
		body   string
		want   fedclient.RemoteError
	}{
		"code and message":                 {403, nil, `{"errcode":"M_FORBIDDEN","error":"no"}`, fedclient.RemoteError{Code: "M_FORBIDDEN", Message: "no"}},
		"no JSON":                          {404, nil, `<html>`, fedclient.RemoteError{}},
		"nothing":                          {404, nil, ``, fedclient.RemoteError{}},
		"no object":                        {404, nil, `[1]`, fedclient.RemoteError{}},
		"other types":                      {404, nil, `{"errcode":1,"error":{}}`, fedclient.RemoteError{}},
		"duplicate keys":                   {404, nil, `{"errcode":"M_X","errcode":"M_Y"}`, fedclient.RemoteError{}},
		"names in another case of letters": {404, nil, `{"ErrCode":"M_X","Error":"x"}`, fedclient.RemoteError{}},
		"a code of our own":                {400, nil, `{"errcode":"ORG.EX-1.M_x"}`, fedclient.RemoteError{Code: "ORG.EX-1.M_x"}},
		"a code of 64 bytes":               {400, nil, `{"errcode":"` + strings.Repeat("M", 64) + `"}`, fedclient.RemoteError{Code: fedinvite.Code(strings.Repeat("M", 64))}},
		"a code of 65 bytes":               {400, nil, `{"errcode":"` + strings.Repeat("M", 65) + `"}`, fedclient.RemoteError{Code: "M_UNKNOWN"}},
		"a code that cannot be":            {400, nil, `{"errcode":"M_X\n"}`, fedclient.RemoteError{Code: "M_UNKNOWN"}},
		"a message of 512 bytes":           {400, nil, `{"error":"` + long[:512] + `"}`, fedclient.RemoteError{Message: long[:512]}},
		"a longer message is cut":          {400, nil, `{"error":"x` + long + `"}`, fedclient.RemoteError{Message: "x" + long[:510]}},
		"too much":                         {400, nil, `{"errcode":"M_X","x":"` + strings.Repeat("x", 64<<10) + `"}`, fedclient.RemoteError{}},
		"Retry-After in seconds":           {429, map[string]string{"Retry-After": "3"}, `{"retry_after_ms":9000}`, fedclient.RemoteError{RetryAfter: 3 * time.Second}},
		"Retry-After as a date":            {503, map[string]string{"Retry-After": "Sun, 01 Mar 2026 12:00:07 GMT", "Date": "Sun, 01 Mar 2026 12:00:00 GMT"}, ``, fedclient.RemoteError{RetryAfter: 7 * time.Second}},
		"Retry-After in the past":          {503, map[string]string{"Retry-After": "Sun, 01 Mar 2026 11:00:07 GMT", "Date": "Sun, 01 Mar 2026 12:00:00 GMT"}, ``, fedclient.RemoteError{}},
		"Retry-After in years":             {429, map[string]string{"Retry-After": "9223372036854775807"}, ``, fedclient.RemoteError{RetryAfter: time.Hour}},
		"Retry-After negative":             {429, map[string]string{"Retry-After": "-1"}, ``, fedclient.RemoteError{}},
		"retry_after_ms":                   {429, nil, `{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":2500}`, fedclient.RemoteError{Code: "M_LIMIT_EXCEEDED", RetryAfter: 2500 * time.Millisecond}},
		"retry_after_ms in years":          {429, nil, `{"retry_after_ms":9223372036854775807}`, fedclient.RemoteError{RetryAfter: time.Hour}},
		"retry_after_ms negative":          {429, nil, `{"retry_after_ms":-9223372036854775808}`, fedclient.RemoteError{}},
		"a redirect":                       {307, map[string]string{"Location": "https://evil.ex/"}, ``, fedclient.RemoteError{}},
	} {
		t.Run(name, func(t *testing.T) {
			client := newClient(t, tripper(func(*http.Request) (*http.Response, error) { return response(c.status, c.header, c.body), nil }))
			_, err := client.Do(t.Context(), fedclient.Request{Method: "GET", Destination: "b.ex"})
			var got *fedclient.RemoteError
			if !errors.As(err, &got) {
				t.Fatalf("got %v", err)
			}
			c.want.Server, c.want.Status = "b.ex", c.status
			if diff := cmp.Diff(c.want, *got); diff != "" {
				t.Error(diff)
			}
			if text := got.Error(); !utf8.ValidString(text) || strings.Contains(text, "\n") || !strings.HasPrefix(text, fmt.Sprintf("b.ex answered %d", c.status)) {
				t.Errorf("%q", text)
			}
		})
	}
}

func TestClientError(t *testing.T) {
	remote := func(status int, code fedinvite.Code) error {
		return fmt.Errorf("sending: %w", &fedclient.RemoteError{Server: "b.ex", Status: status, Code: code, Message: "why"})
	}
	for name, c := range map[string]struct {
		err    error
		status int
		code   fedinvite.Code
	}{
		"a code that passes, with a status of its own": {remote(404, "M_FORBIDDEN"), 403, "M_FORBIDDEN"},
		"a 401 is not for the client":                  {remote(401, "M_FORBIDDEN"), 403, "M_FORBIDDEN"},
		"a 500 is no refusal":                          {remote(500, "M_FORBIDDEN"), 502, "M_UNKNOWN"},
		"a 429 is no refusal":                          {remote(429, "M_FORBIDDEN"), 502, "M_UNKNOWN"},
		"a redirect is no refusal":                     {remote(307, "M_FORBIDDEN"), 502, "M_UNKNOWN"},
		"no code":                                      {remote(403, ""), 502, "M_UNKNOWN"},
		"a code of clients":                            {remote(403, "M_USER_DEACTIVATED"), 502, "M_UNKNOWN"},
		"M_LIMIT_EXCEEDED":                             {remote(429, "M_LIMIT_EXCEEDED"), 502, "M_UNKNOWN"},
		"our own refusal":                              {fmt.Errorf("hook: %w", fedinvite.Refuse(fedinvite.CodeForbidden, "no")), 403, "M_FORBIDDEN"},
		"our own failure":                              {errors.New("secret"), 500, "M_UNKNOWN"},
		"no answer":                                    {fedclient.ErrUnreachable, 502, "M_UNKNOWN"},
		"a bad reply":                                  {fedclient.ErrReply, 502, "M_UNKNOWN"},
	} {
		t.Run(name, func(t *testing.T) {
			e := told(t, c.err, c.status, c.code)
			body, err := e.MarshalJSON()
			if err != nil || strings.Contains(string(body), "secret") || e.Message == "" {
				t.Errorf("%s, %v", body, err)
			}
		})
	}
	if fedclient.ClientError(nil) != nil {
		t.Error("nil is no error")
	}
}

func TestNewNamesWhatIsMissing(t *testing.T) {
	for want, c := range map[string]fedclient.Config{
		"UserAgent":  {},
		"Timeout":    {UserAgent: "x", Timeout: -1},
		"KeyTimeout": {UserAgent: "x", KeyTimeout: -1},
		"fedclient: Config.UserAgent must be printable ASCII": {UserAgent: "é"},
		"fedclient: Config.UserAgent must be printable":       {UserAgent: "a\r\nb"},
	} {
		if _, err := fedclient.New(c); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want the name %s", err, want)
		}
	}
	if _, err := fedclient.New(fedclient.Config{UserAgent: "x"}); err != nil {
		t.Error(err)
	}
}
