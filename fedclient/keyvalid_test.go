package fedclient_test

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

const publicKey = "VXuGitF39UH5iRfvbIknlvlAVKgD1BsLDMvBf0pmp7c"

// identityServer answers what a key_validity_url is asked; asked is the last request.
func identityServer(t *testing.T, answer http.HandlerFunc) (s *httptest.Server, asked *http.Request) {
	t.Helper()
	asked = new(http.Request)
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = *r
		answer(w, r)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s, asked
}

func TestKeyValid(t *testing.T) {
	for name, c := range map[string]struct{ body, path, key, want string }{
		"valid":            {`{"valid":true}`, "/isvalid", publicKey, "/isvalid?public_key=" + publicKey},
		"not valid":        {`{"valid":false,"more":[1.5]}`, "/isvalid", publicKey, "/isvalid?public_key=" + publicKey},
		"a key as it is":   {`{"valid":true}`, "", "a+b/c_d-e=&valid=1", "/?public_key=a%2Bb%2Fc_d-e%3D%26valid%3D1"},
		"query and more":   {`{"valid":true}`, "/x%2Fy?b=1&a=%2F#fragment", publicKey, "/x%2Fy?a=%2F&b=1&public_key=" + publicKey},
		"another key":      {`{"valid":true}`, "/?public_key=other&public_key=x", publicKey, "/?public_key=" + publicKey},
		"duplicate values": {`{"valid":true}`, "/?a=1&a=2", publicKey, "/?a=1&a=2&public_key=" + publicKey},
	} {
		t.Run(name, func(t *testing.T) {
			s, asked := identityServer(t, answerJSON(200, c.body))
			valid, err := fedclient.KeyValid(s.Client())(t.Context(), s.URL+c.path, c.key)
			if err != nil || valid != strings.Contains(c.body, "true") {
				t.Errorf("got %v, %v", valid, err)
			}
			if asked.Method != "GET" || asked.RequestURI != c.want {
				t.Errorf("%s %s, want %s", asked.Method, asked.RequestURI, c.want)
			}
			if asked.Header.Get("Authorization") != "" || asked.Header.Get("Accept-Encoding") != "identity" {
				t.Errorf("got %v", asked.Header)
			}
		})
	}
}

// Scenario 70 wants a refusal for "valid": false; an error is no such answer.
func TestScenario70KeyValidityThatIsNotKnown(t *testing.T) {
	for name, answer := range map[string]http.HandlerFunc{
		"text":            answerJSON(200, `{"valid":"true"}`),
		"number":          answerJSON(200, `{"valid":1}`),
		"null":            answerJSON(200, `{"valid":null}`),
		"other case":      answerJSON(200, `{"Valid":true}`),
		"absent":          answerJSON(200, `{}`),
		"twice":           answerJSON(200, `{"valid":true,"valid":true}`),
		"an array":        answerJSON(200, `[{"valid":true}]`),
		"true":            answerJSON(200, `true`),
		"no JSON":         answerJSON(200, `valid`),
		"nothing":         answerJSON(200, ``),
		"too deep":        answerJSON(200, `{"valid":true,"a":`+strings.Repeat("[", 200)+strings.Repeat("]", 200)+`}`),
		"huge":            answerJSON(200, `{"valid":true}`+strings.Repeat(" ", 64<<10)),
		"a page":          answerWith(200, "text/html", `{"valid":true}`),
		"no content type": answerWith(200, "", `{"valid":true}`),
		"compressed": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			answerJSON(200, `{"valid":true}`)(w, r)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := identityServer(t, answer)
			if valid, err := fedclient.KeyValid(s.Client())(t.Context(), s.URL, publicKey); valid || !errors.Is(err, fedclient.ErrReply) {
				t.Errorf("got %v, %v", valid, err)
			}
		})
	}
	for _, status := range []int{201, 204, 400, 404, 500} {
		s, _ := identityServer(t, answerJSON(status, `{"valid":true}`))
		valid, err := fedclient.KeyValid(s.Client())(t.Context(), s.URL, publicKey)
		var remote *fedclient.RemoteError
		if valid || !errors.As(err, &remote) || remote.Status != status || "https://"+string(remote.Server) != s.URL {
			t.Errorf("%d: got %v, %v", status, valid, err)
		}
	}
	s, _ := identityServer(t, hangsUp)
	if valid, err := fedclient.KeyValid(s.Client())(t.Context(), s.URL, publicKey); valid || !errors.Is(err, fedclient.ErrUnreachable) {
		t.Errorf("no answer: got %v, %v", valid, err)
	}
}

func TestKeyValidFollowsNoRedirectsAndKeepsNoCookies(t *testing.T) {
	elsewhere, _ := identityServer(t, func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("asked for %s", r.RequestURI)
		answerJSON(200, `{"valid":true}`)(w, r)
	})
	s, asked := identityServer(t, func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "a", Value: "b"})
		http.Redirect(w, r, elsewhere.URL, http.StatusFound)
	})
	c := s.Client()
	var err error
	if c.Jar, err = cookiejar.New(nil); err != nil {
		t.Fatal(err)
	}
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	for range 2 {
		valid, err := fedclient.KeyValid(c)(t.Context(), s.URL, publicKey)
		var remote *fedclient.RemoteError
		if valid || !errors.As(err, &remote) || remote.Status != http.StatusFound {
			t.Errorf("got %v, %v", valid, err)
		}
		if asked.Header.Get("Cookie") != "" {
			t.Error("a cookie came back")
		}
	}
	if here, _ := url.Parse(s.URL); len(c.Jar.Cookies(here)) > 0 {
		t.Error("a cookie was kept")
	}
}

func TestKeyValidityURLsThatAreNotAsked(t *testing.T) {
	ask := fedclient.KeyValid(&http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
		t.Errorf("asked %s", r.URL)
		return nil, errors.New("no")
	})})
	for _, where := range []string{
		"", "http://id.ex/", "HTTP://id.ex", "//id.ex/", "/isvalid", "https:", "https:///x", "https://:443/x", "https:id.ex", "file:///etc/passwd",
		"https://user@id.ex/", "https://user:secret@id.ex/", "https://id.ex/%zz", "https://id.ex/?a;b", "https://id.ex/?%zz", "https://id.ex:x/",
		"https://id .ex/", "https://id.ex/\r\nHost: x", " https://id.ex/", "https://[::1/",
	} {
		if valid, err := ask(t.Context(), where, publicKey); valid || !errors.Is(err, fedinvite.ErrBadJSON) {
			t.Errorf("%q: got %v, %v", where, valid, err)
		}
	}
	if _, err := ask(t.Context(), "https://id.ex/", ""); !errors.Is(err, fedinvite.ErrBadJSON) {
		t.Errorf("no key: %v", err)
	}
	long := "https://id.ex/" + strings.Repeat("x", 2048-14-len(publicKey)+1)
	if _, err := ask(t.Context(), long, publicKey); !errors.Is(err, fedinvite.ErrTooLarge) {
		t.Errorf("%d bytes: %v", len(long)+len(publicKey), err)
	}
	asked := false
	ask = fedclient.KeyValid(&http.Client{Transport: tripper(func(*http.Request) (*http.Response, error) {
		asked = true
		return response(200, map[string]string{"Content-Type": "application/json"}, `{"valid":true}`), nil
	})})
	if valid, err := ask(t.Context(), long[:len(long)-1], publicKey); err != nil || !valid || !asked {
		t.Errorf("2048 bytes: got %v, %v", valid, err)
	}
}

func TestKeyValidHasNoDefaultTransport(t *testing.T) {
	for _, c := range []*http.Client{nil, {}} {
		if valid, err := fedclient.KeyValid(c)(t.Context(), "https://id.ex/", publicKey); valid || err == nil || errors.Is(err, fedclient.ErrUnreachable) {
			t.Errorf("got %v, %v", valid, err)
		}
	}
}

func TestKeyValidIsBoundedInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ask := fedclient.KeyValid(&http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})})
		start := time.Now()
		if valid, err := ask(t.Context(), "https://id.ex/", publicKey); valid || !errors.Is(err, fedclient.ErrUnreachable) {
			t.Errorf("got %v, %v", valid, err)
		}
		if got := time.Since(start); got != 10*time.Second {
			t.Errorf("it took %s", got)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start = time.Now()
		if _, err := ask(ctx, "https://id.ex/", publicKey); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if got := time.Since(start); got != time.Second {
			t.Errorf("it took %s", got)
		}
	})
	t.Run("a body without end", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		s, _ := identityServer(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, `{"valid":true`)
			_ = http.NewResponseController(w).Flush()
			hangsUntil(cancel)(w, r)
		})
		if valid, err := fedclient.KeyValid(s.Client())(ctx, s.URL, publicKey); valid || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, %v", valid, err)
		}
	})
}

// Whatever the URL, the request is by https and for this key.
func FuzzKeyValid(f *testing.F) {
	f.Add("https://id.ex/isvalid?a=b", publicKey, []byte(`{"valid":true}`))
	f.Add("https://u@[::1]:443/?public_key=x#y", "&", []byte(`{"valid":false}`))
	f.Add("http://id.ex/", "a", []byte(`[]`))
	f.Fuzz(func(t *testing.T, where, key string, answer []byte) {
		ask := fedclient.KeyValid(&http.Client{Transport: tripper(func(r *http.Request) (*http.Response, error) {
			if keys := r.URL.Query()["public_key"]; r.URL.Scheme != "https" || r.URL.User != nil || len(keys) != 1 || keys[0] != key || r.Header.Get("Authorization") != "" {
				t.Errorf("asked %s for %q", r.URL, key)
			}
			return response(200, map[string]string{"Content-Type": "application/json"}, string(answer)), nil
		})})
		if valid, err := ask(t.Context(), where, key); valid && (err != nil || !strings.Contains(string(answer), "true")) {
			t.Errorf("%q: got %v, %v", answer, valid, err)
		}
	})
}
