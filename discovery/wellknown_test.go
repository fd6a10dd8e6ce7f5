package discovery_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/internal/dnstest"
)

// padded returns a delegation to b.ex of so many bytes.
func padded(size int) string {
	const head, tail = `{"x":"`, `","m.server":"b.ex:443"}`
	return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
}

func TestPlumbing49AnswersThatCountAsNone(t *testing.T) {
	for name, body := range map[string]string{
		"HTML":                     "<!doctype html><title>It works</title>",
		"empty":                    "",
		"empty object":             `{}`,
		"number":                   `{"m.server":1}`,
		"null":                     `{"m.server":null}`,
		"object":                   `{"m.server":{"m.server":"b.ex"}}`,
		"list":                     `[{"m.server":"b.ex"}]`,
		"string":                   `"b.ex"`,
		"null at all":              `null`,
		"path":                     `{"m.server":"a.ex/x"}`,
		"URL":                      `{"m.server":"https://b.ex"}`,
		"user":                     `{"m.server":"u@b.ex"}`,
		"empty name":               `{"m.server":""}`,
		"space":                    `{"m.server":"b.ex "}`,
		"line feed":                `{"m.server":"b.ex\n"}`,
		"port too large":           `{"m.server":"b.ex:65536"}`,
		"zone":                     `{"m.server":"[fe80::1%25eth0]"}`,
		"256 bytes":                `{"m.server":"` + strings.Repeat("a.", 127) + `ex"}`,
		"other case":               `{"M.Server":"b.ex:443"}`,
		"path in the JSON":         `{"m":{"server":"b.ex:443"}}`,
		"duplicate":                `{"m.server":"b.ex:443","m.server":"b.ex:443"}`,
		"duplicate, spelt in part": `{"m.server":"b.ex:443","m\u002eserver":"c.ex:443"}`,
		"bad UTF-8":                "{\"m.server\":\"b.ex:443\",\"x\":\"\xff\"}",
		"trailing":                 `{"m.server":"b.ex:443"}{}`,
		"too deep":                 `{"m.server":"b.ex:443","x":` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
		"51 KiB":                   padded(51 << 10),
		"50 KiB and a byte":        padded(50<<10 + 1),
		"50 KiB and white space":   padded(50<<10) + " ",
	} {
		t.Run(name, func(t *testing.T) {
			w := newResolverWorld(t)
			w.body("a.ex", body)
			w.wantStep("a.ex", "6")
		})
	}
	for _, status := range []int{201, 204, 206, 300, 304, 400, 401, 403, 404, 410, 429, 500, 503} {
		t.Run(fmt.Sprint(status), func(t *testing.T) {
			w := newResolverWorld(t)
			w.page("a.ex", func(rw http.ResponseWriter, _ *http.Request) {
				rw.WriteHeader(status)
				_, _ = io.WriteString(rw, `{"m.server":"b.ex:443"}`)
			})
			w.wantStep("a.ex", "6")
		})
	}
}

func TestAnswersThatCount(t *testing.T) {
	for name, body := range map[string]string{
		"plain":       `{"m.server":"b.ex:443"}`,
		"escapes":     `{"\u006d.server":"b\u002eex:443"}`,
		"white space": "\r\n { \"m.server\" : \"b.ex:443\" } \n",
		"others":      `{"m.server.":1,"m":{"server":2},"M.SERVER":"c.ex","m.server":"b.ex:443","x":1e3}`,
		"50 KiB":      padded(50 << 10),
	} {
		t.Run(name, func(t *testing.T) {
			w := newResolverWorld(t)
			w.body("a.ex", body, "Content-Type: text/html")
			if res := w.resolve("a.ex"); res.Host != "b.ex:443" {
				t.Errorf("%+v", res)
			}
		})
	}
}

// A server may say anything in its first lines.
func TestAnswersThatNeverEndCountAsNone(t *testing.T) {
	raw := func(text string, again bool) http.HandlerFunc {
		return func(rw http.ResponseWriter, r *http.Request) {
			conn, _, err := rw.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			for {
				if _, err := io.WriteString(conn, text); err != nil {
					return
				}
				if !again {
					_, _ = io.Copy(io.Discard, conn) // until the other side has enough
					return
				}
			}
		}
	}
	for name, page := range map[string]http.HandlerFunc{
		"101":             raw("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", false),
		"1xx for ever":    raw("HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n", true),
		"headers":         raw("HTTP/1.1 200 OK\r\n", false),
		"headers, many":   raw("HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", 100_000)+"\r\n\r\n{\"m.server\":\"b.ex:443\"}", false),
		"body":            raw("HTTP/1.1 200 OK\r\n\r\n{\"m.server\":", false),
		"body, for ever":  raw("HTTP/1.1 200 OK\r\n\r\n"+strings.Repeat(" ", 1000), true),
		"redirect's body": raw("HTTP/1.1 302 Found\r\nLocation: https://b.ex/\r\n\r\n ", false),
		"no HTTP":         raw("SSH-2.0\r\n", false),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newResolverWorld(t, func(c *discovery.ResolverConfig) { c.Timeout = time.Second })
			w.page("a.ex", page)
			w.wantStep("a.ex", "6")
			if n := w.fetches("a.ex"); n != 1 {
				t.Error(n, "requests")
			}
		})
	}
}

func TestPlumbing50Redirects(t *testing.T) {
	hop := func(n int) string { return fmt.Sprintf("https://hop%d.ex/x?n=%d", n, n) }
	for _, c := range []struct {
		name, step string
		world      func(w *resolverWorld)
	}{
		{"5 redirects", "3.2", func(w *resolverWorld) {
			for n := range 5 {
				w.redirect(fmt.Sprintf("hop%d.ex", n), hop(n+1))
			}
			w.delegate("hop5.ex", "b.ex:443")
		}},
		{"6 redirects", "6", func(w *resolverWorld) {
			for n := range 6 {
				w.redirect(fmt.Sprintf("hop%d.ex", n), hop(n+1))
			}
			w.delegate("hop6.ex", "b.ex:443")
		}},
		{"to itself", "6", func(w *resolverWorld) { w.redirect("hop0.ex", "/.well-known/matrix/server") }},
		{"round", "6", func(w *resolverWorld) {
			w.redirect("hop0.ex", hop(1))
			w.redirect("hop1.ex", "https://hop0.ex/.well-known/matrix/server")
		}},
		{"to http", "6", func(w *resolverWorld) {
			w.redirect("hop0.ex", "http://hop1.ex/")
			w.delegate("hop1.ex", "b.ex:443")
		}},
		{"to http, later", "6", func(w *resolverWorld) {
			w.redirect("hop0.ex", hop(1))
			w.redirect("hop1.ex", "http://hop2.ex/")
			w.delegate("hop2.ex", "b.ex:443")
		}},
		{"to a file", "6", func(w *resolverWorld) { w.redirect("hop0.ex", "file:///etc/passwd") }},
		{"to nowhere", "6", func(w *resolverWorld) { w.redirect("hop0.ex", "https:///") }},
		{"to no URL", "6", func(w *resolverWorld) { w.redirect("hop0.ex", "https://%zz/") }},
		{"without a place", "6", func(w *resolverWorld) { w.redirect("hop0.ex", "") }},
		{"to another certificate", "6", func(w *resolverWorld) {
			w.redirect("hop0.ex", "https://a.b.c.ex/")
			w.delegate("a.b.c.ex", "b.ex:443")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newResolverWorld(t)
			c.world(w)
			w.wantStep("hop0.ex", c.step)
			most := 6
			switch c.name {
			case "to itself":
				most = 1
			case "round":
				most = 2
			}
			if n := len(w.net.Dialled()); n > most {
				t.Errorf("%d connections", n)
			}
		})
	}
}

func TestEveryRedirectOf30xIsFollowed(t *testing.T) {
	for _, status := range []int{301, 302, 303, 307, 308} {
		w := newResolverWorld(t)
		w.page("a.ex", func(rw http.ResponseWriter, _ *http.Request) {
			rw.Header().Set("Location", "https://b.ex/")
			rw.WriteHeader(status)
		})
		w.delegate("b.ex", "c.ex:443")
		w.wantStep("a.ex", "3.2")
	}
}

func TestNothingGoesWithARedirect(t *testing.T) {
	w := newResolverWorld(t)
	w.page("a.ex", func(rw http.ResponseWriter, _ *http.Request) {
		http.SetCookie(rw, &http.Cookie{Name: "c", Value: "v", Domain: "www.ex"})
		rw.Header().Set("Location", "https://user:password@b.www.ex/x")
		rw.WriteHeader(http.StatusFound)
	})
	w.redirect("b.www.ex", "https://c.www.ex/x")
	w.delegate("c.www.ex", "d.ex:443")
	w.wantStep("a.ex", "3.2")
	if len(w.requests) != 3 {
		t.Fatal(len(w.requests), "requests")
	}
	for _, r := range w.requests {
		r.Header.Del("Connection")
		if len(r.Header) != 0 {
			t.Error(r.Host, r.Header)
		}
	}
}

func TestPlumbing55WellKnownDoesNotLeadToForbiddenAddresses(t *testing.T) {
	for _, place := range []string{"10.0.0.1", "[::ffff:10.0.0.1]", "[64:ff9b::a00:1]", "private.ex", "mapped.ex", "2130706433", "127.1", "localhost", "[::]"} {
		t.Run(place, func(t *testing.T) {
			w := newResolverWorld(t, func(c *discovery.ResolverConfig) {
				c.Dialer.Allow = discovery.Loopback()[:1]
				c.Dialer.Deny = discovery.Loopback()[1:]
			})
			w.dns.Addr("private.ex", "10.0.0.1")
			w.dns.Addr("mapped.ex", "::ffff:10.0.0.1", "64:ff9b::a00:1")
			w.redirect("a.ex", "https://"+place+"/")
			w.wantStep("a.ex", "6")
			if a := w.freshAnswer(); place != "localhost" && !errors.Is(a.Err, discovery.ErrAddress) {
				t.Error(a.Err)
			}
			for _, address := range w.net.Dialled() {
				if address != "127.0.0.1:443" {
					t.Error("connected to", address)
				}
			}
		})
	}
	w := newResolverWorld(t, func(c *discovery.ResolverConfig) { c.Dialer.Allow = nil })
	w.delegate("a.ex", "b.ex:443")
	w.wantStep("a.ex", "6")
	if a := w.freshAnswer(); !errors.Is(a.Err, discovery.ErrAddress) || len(w.net.Dialled()) != 0 {
		t.Error(a.Err, w.net.Dialled())
	}
}

func TestWellKnownOfAnotherCertificateCountsAsNone(t *testing.T) {
	w := newResolverWorld(t)
	w.delegate("a.b.c.ex", "b.ex:443")
	w.wantStep("a.b.c.ex", "6")
	if n := w.fetches("a.b.c.ex"); n != 0 {
		t.Error(n, "requests")
	}
}

func TestPlumbing52DelegationIsNotFollowedFurther(t *testing.T) {
	w := newResolverWorld(t)
	w.delegate("a.ex", "b.ex")
	w.delegate("b.ex", "c.ex:443")
	if res := w.resolve("a.ex"); res.Step != "3.5" || res.Host != "b.ex" || w.fetches("b.ex") != 0 {
		t.Errorf("%+v, %d requests", res, w.fetches("b.ex"))
	}
	if res := w.resolve("b.ex"); res.Host != "c.ex:443" {
		t.Errorf("%+v", res)
	}
	if res := w.resolve("a.ex"); res.Host != "b.ex" { // also when it is known
		t.Errorf("%+v", res)
	}
}

func TestPlumbing51HowLongADelegationIsRemembered(t *testing.T) {
	const day = 24 * time.Hour
	date := func(since time.Duration) string { return resolverStart.Add(since).Format(http.TimeFormat) }
	for _, c := range []struct {
		name    string
		headers []string
		want    time.Duration
	}{
		{"none", nil, day},
		{"max-age 0", []string{"Cache-Control: max-age=0"}, 5 * time.Minute},
		{"max-age 60", []string{"Cache-Control: max-age=60"}, 5 * time.Minute},
		{"max-age 600", []string{"Cache-Control: max-age=600"}, 10 * time.Minute},
		{"max-age 2 days", []string{"Cache-Control: max-age=172800"}, 2 * day},
		{"max-age 2 days and a second", []string{"Cache-Control: max-age=172801"}, 2 * day},
		{"max-age 10^9", []string{"Cache-Control: max-age=1000000000"}, 2 * day},
		{"max-age 10^30", []string{"Cache-Control: max-age=1" + strings.Repeat("0", 30)}, 2 * day},
		{"max-age quoted", []string{`Cache-Control: max-age="600"`}, 10 * time.Minute},
		{"max-age negative", []string{"Cache-Control: max-age=-1"}, 5 * time.Minute},
		{"max-age with a plus", []string{"Cache-Control: max-age=+6000"}, 5 * time.Minute},
		{"max-age with a fraction", []string{"Cache-Control: max-age=6000.5"}, 5 * time.Minute},
		{"max-age without a number", []string{"Cache-Control: max-age"}, 5 * time.Minute},
		{"upper case, spaces, others", []string{"Cache-Control: public , Max-Age = 600,must-revalidate"}, 10 * time.Minute},
		{"two headers", []string{"Cache-Control: public", "Cache-Control: max-age=600"}, 10 * time.Minute},
		{"two max-age", []string{"Cache-Control: max-age=600, max-age=6000"}, 10 * time.Minute},
		{"two max-age, the first one bad", []string{"Cache-Control: max-age=x, max-age=6000"}, 5 * time.Minute},
		{"in quotes", []string{`Cache-Control: private="x, max-age=600, no-store"`}, day},
		{"in open quotes", []string{`Cache-Control: private="x, max-age=600`}, day},
		{"for shared caches", []string{"Cache-Control: s-maxage=600"}, day},
		{"no-store", []string{"Cache-Control: max-age=6000, no-store"}, 5 * time.Minute},
		{"no-cache", []string{"Cache-Control: No-Cache", "Cache-Control: max-age=6000"}, 5 * time.Minute},
		{"Age", []string{"Cache-Control: max-age=6000", "Age: 600"}, 90 * time.Minute},
		{"Age before the cut", []string{"Cache-Control: max-age=864000", "Age: 86400"}, 2 * day},
		{"Age beyond", []string{"Cache-Control: max-age=6000", "Age: 100000000000000000000"}, 5 * time.Minute},
		{"Age not understood", []string{"Cache-Control: max-age=6000", "Age: -600"}, 100 * time.Minute},
		{"Age without a lifetime", []string{"Age: 600"}, day},
		{"Expires 0", []string{"Expires: 0"}, 5 * time.Minute},
		{"Expires -1", []string{"Expires: -1"}, 5 * time.Minute},
		{"Expires empty", []string{"Expires: "}, 5 * time.Minute},
		{"Expires", []string{"Date: " + date(0), "Expires: " + date(time.Hour)}, time.Hour},
		{"Expires by the other clock", []string{"Date: " + date(-20*day), "Expires: " + date(-20*day+time.Hour)}, time.Hour},
		{"Expires by our clock", []string{"Date: x", "Expires: " + date(time.Hour)}, time.Hour},
		{"Expires in the past", []string{"Date: " + date(0), "Expires: " + date(-day)}, 5 * time.Minute},
		{"Expires in year 9999", []string{"Date: " + date(0), "Expires: Fri, 31 Dec 9999 23:59:59 GMT"}, 2 * day},
		{"Expires 8,000 years ago", []string{"Date: Fri, 31 Dec 9999 23:59:59 GMT", "Expires: " + date(0), "Age: 600"}, 5 * time.Minute},
		{"Expires twice", []string{"Date: " + date(0), "Expires: " + date(time.Hour), "Expires: 0"}, time.Hour},
		{"Expires and Age", []string{"Date: " + date(0), "Expires: " + date(time.Hour), "Age: 600"}, 50 * time.Minute},
		{"max-age over Expires", []string{"Cache-Control: max-age=600", "Date: " + date(0), "Expires: " + date(time.Hour)}, 10 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newResolverWorld(t)
			w.delegate("a.ex", "b.ex:443", c.headers...)
			w.wantStep("a.ex", "3.2")
			if got := w.freshAnswer().Expires.Sub(resolverStart); got != c.want {
				t.Fatalf("%v, want %v", got, c.want)
			}
			w.status("a.ex", 404)
			w.at(c.want - 1)
			w.wantStep("a.ex", "3.2")
			w.freshAnswer()
			w.at(c.want)
			w.wantStep("a.ex", "6")
		})
	}
}

func TestFailuresAreRememberedFrom5MinutesToAnHour(t *testing.T) {
	w := newResolverWorld(t)
	w.status("a.ex", 404)
	since := time.Duration(0)
	for i, pause := range []time.Duration{5, 10, 20, 40, 60, 60} {
		pause *= time.Minute
		w.wantStep("a.ex", "6")
		w.at(since + pause - 1)
		w.wantStep("a.ex", "6")
		if n := w.fetches("a.ex"); n != i+1 {
			t.Fatalf("%d requests within %v, want %d", n, since+pause, i+1)
		}
		since += pause
		w.at(since)
	}
	w.delegate("a.ex", "b.ex:443", "Cache-Control: max-age=0")
	w.wantStep("a.ex", "3.2")
	w.status("a.ex", 404)
	since += 5 * time.Minute
	w.at(since)
	w.wantStep("a.ex", "6") // after a success the pause is short again
	before := w.fetches("a.ex")
	w.at(since + 5*time.Minute - 1)
	w.wantStep("a.ex", "6")
	if w.fetches("a.ex") != before {
		t.Error("asked again")
	}
	w.at(since + 5*time.Minute)
	w.wantStep("a.ex", "6")
	if w.fetches("a.ex") != before+1 {
		t.Error("not asked again")
	}
}

func TestASuccessMakesFailuresForgotten(t *testing.T) {
	w := newResolverWorld(t, func(c *discovery.ResolverConfig) { c.MaxServers = 1 })
	w.status("a.ex", 404)
	w.wantStep("a.ex", "6")
	w.delegate("a.ex", "b.ex:443")
	w.at(5 * time.Minute)
	w.wantStep("a.ex", "3.2")
	w.delegate("c.ex", "b.ex:443")
	w.wantStep("c.ex", "3.2") // takes the place of the other
	w.status("a.ex", 404)
	w.wantStep("a.ex", "6")
	w.delegate("a.ex", "b.ex:443")
	w.at(10 * time.Minute)
	w.wantStep("a.ex", "3.2")
}

func TestInTheLastFifthADelegationIsAskedForAgain(t *testing.T) {
	w := newResolverWorld(t)
	w.delegate("a.ex", "b.ex:443", "Cache-Control: max-age=1000")
	w.wantStep("a.ex", "3.2")
	w.freshAnswer()
	w.at(800*time.Second - 1)
	w.wantStep("a.ex", "3.2")
	if n := w.fetches("a.ex"); n != 1 {
		t.Fatal(n, "requests")
	}
	release := make(chan struct{})
	w.page("a.ex", func(rw http.ResponseWriter, _ *http.Request) {
		<-release
		_, _ = io.WriteString(rw, `{"m.server":"c.ex:443"}`)
	})
	w.at(800 * time.Second)
	for range 10 { // nobody waits for it, and it is made once
		if res := w.resolve("a.ex"); res.Host != "b.ex:443" {
			t.Fatalf("%+v", res)
		}
	}
	close(release)
	w.freshAnswer()
	if res := w.resolve("a.ex"); res.Host != "c.ex:443" || w.fetches("a.ex") != 2 {
		t.Errorf("%+v, %d requests", res, w.fetches("a.ex"))
	}
}

func TestAnOutageOfTheWebServerDoesNotSendRequestsElsewhere(t *testing.T) {
	trouble := map[string]func(w *resolverWorld){
		"no connection":      func(w *resolverWorld) { w.dns.Addr("a.ex", "127.0.0.2") },
		"500":                func(w *resolverWorld) { w.status("a.ex", 500) },
		"503":                func(w *resolverWorld) { w.status("a.ex", 503) },
		"429":                func(w *resolverWorld) { w.status("a.ex", 429) },
		"408":                func(w *resolverWorld) { w.status("a.ex", 408) },
		"DNS":                func(w *resolverWorld) { w.dns.Fail("a.ex") },
		"another redirected": func(w *resolverWorld) { w.redirect("a.ex", "https://b.ex:444/") },
		"body breaks off": func(w *resolverWorld) {
			w.page("a.ex", func(rw http.ResponseWriter, _ *http.Request) {
				rw.Header().Set("Content-Length", "100")
				_, _ = io.WriteString(rw, `{"m.server":`)
				_ = http.NewResponseController(rw).Flush()
				panic(http.ErrAbortHandler)
			})
		},
	}
	for name, begin := range trouble {
		t.Run(name, func(t *testing.T) {
			w := newResolverWorld(t)
			w.dns.Addr("b.ex", "127.0.0.1")
			w.delegate("a.ex", "b.ex:443", "Cache-Control: max-age=1000")
			w.wantStep("a.ex", "3.2")
			w.freshAnswer()
			begin(w)
			w.at(1000 * time.Second) // after its end, and nobody has asked since
			w.wantStep("a.ex", "3.2")
			w.freshAnswer()
			w.at(1200*time.Second - 1)
			w.wantStep("a.ex", "3.2")
			w.freshAnswer()
			w.at(1200 * time.Second)
			w.wantStep("a.ex", "6")

			w.delegate("a.ex", "c.ex:443")
			w.at(2 * time.Hour)
			w.wantStep("a.ex", "3.2")
		})
	}
}

func TestInAnOutageNobodyWaitsAndTheWebServerIsAskedNowAndThen(t *testing.T) {
	w := newResolverWorld(t)
	w.delegate("a.ex", "b.ex:443", "Cache-Control: max-age=1000")
	w.wantStep("a.ex", "3.2")
	w.freshAnswer()
	w.status("a.ex", 503)
	want := 1
	for _, s := range []int{800, 830, 890, 1010, 1250} { // after 30, 60, 120 and 240 s
		w.at(time.Duration(s)*time.Second - 1)
		if s != 800 && s < 1200 {
			w.wantStep("a.ex", "3.2")
		}
		if n := w.fetches("a.ex"); n != want {
			t.Fatalf("before %d s: %d requests, want %d", s, n, want)
		}
		w.at(time.Duration(s) * time.Second)
		if s < 1200 {
			w.wantStep("a.ex", "3.2")
		} else {
			w.wantStep("a.ex", "6")
		}
		want++
		w.freshAnswer()
	}
}

func TestADefiniteAnswerEndsADelegationAtItsTime(t *testing.T) {
	for name, end := range map[string]func(w *resolverWorld){
		"404":      func(w *resolverWorld) { w.status("a.ex", 404) },
		"bad JSON": func(w *resolverWorld) { w.body("a.ex", "{") },
		"no name":  func(w *resolverWorld) { w.dns.Remove("a.ex") },
		"to http":  func(w *resolverWorld) { w.redirect("a.ex", "http://b.ex/") },
		"private":  func(w *resolverWorld) { w.dns.Addr("a.ex", "10.0.0.1") },
	} {
		t.Run(name, func(t *testing.T) {
			w := newResolverWorld(t)
			w.delegate("a.ex", "b.ex:443", "Cache-Control: max-age=1000")
			w.wantStep("a.ex", "3.2")
			w.freshAnswer()
			end(w)
			w.at(800 * time.Second)
			w.wantStep("a.ex", "3.2") // asks in the background
			w.freshAnswer()
			w.status("a.ex", 503) // too late to be trouble
			w.at(1000*time.Second - 1)
			w.wantStep("a.ex", "3.2")
			w.freshAnswer()
			w.at(1000 * time.Second)
			w.wantStep("a.ex", "6")
		})
	}
}

func TestAClockSetBackMakesAllDoubtful(t *testing.T) {
	w := newResolverWorld(t)
	w.delegate("a.ex", "b.ex:443")
	w.wantStep("a.ex", "3.2")
	w.delegate("a.ex", "c.ex:443")
	w.at(-time.Hour)
	if res := w.resolve("a.ex"); res.Host != "c.ex:443" {
		t.Errorf("%+v", res)
	}
	w.status("d.ex", 404)
	w.wantStep("d.ex", "6")
	w.delegate("d.ex", "e.ex:443")
	w.at(-2 * time.Hour)
	w.wantStep("d.ex", "3.2")
}

func TestMadeUpNamesDoNotPushOutRealOnes(t *testing.T) {
	w := newResolverWorld(t, func(c *discovery.ResolverConfig) { c.MaxServers = 2 })
	w.delegate("real.ex", "b.ex")
	w.dns.SRV("_matrix-fed._tcp.b.ex", net.SRV{Target: "c.ex.", Port: 1})
	w.wantStep("real.ex", "3.3")
	for n := range 10 {
		w.resolve(resolverName(n))
	}
	w.wantStep("real.ex", "3.3")
	if n := w.fetches("real.ex"); n != 1 {
		t.Error(n, "requests")
	}
	if n := w.dns.Questions("_matrix-fed._tcp.b.ex", dnstest.SRV); n != 1 {
		t.Error(n, "questions")
	}
	asked := w.dns.Questions("n0.ex", dnstest.A)
	w.resolve(resolverName(9)) // remembered
	w.resolve(resolverName(0)) // forgotten, in favour of the last two
	if n := w.dns.Questions("n9.ex", dnstest.A); n != 1 {
		t.Error("the last failure is not remembered")
	}
	if n := w.dns.Questions("n0.ex", dnstest.A); n != asked+1 {
		t.Error("more failures are remembered than there may be")
	}
	for n := range 10 {
		name := resolverName(n)
		w.delegate(string(name), "b.ex:443")
		w.at(time.Hour)
		w.wantStep(name, "3.2")
	}
	w.wantStep("real.ex", "3.3")
	if n := w.fetches("real.ex"); n != 2 {
		t.Error("more delegations are remembered than there may be")
	}
}

func TestTheErrorOfAFailureIsKeptAsAShortText(t *testing.T) {
	w := newResolverWorld(t)
	w.redirect("a.ex", "https://b.ex/"+strings.Repeat("x", 10_000)+"%zz")
	w.wantStep("a.ex", "6")
	w.wantStep("a.ex", "6")
	last := slices.IndexFunc(w.traced, func(a discovery.Answer) bool { return a.Step == "3" && a.Cached })
	if last < 0 {
		t.Fatal("not told")
	}
	if err := w.traced[last].Err; len(err.Error()) > 256 || errors.Unwrap(err) != nil {
		t.Errorf("%d bytes: %v", len(err.Error()), err)
	}
}

func TestWellKnownIsAskedForWithoutTheCallersContext(t *testing.T) {
	w := newResolverWorld(t)
	w.delegate("a.ex", "b.ex:443")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Resolve(ctx, "a.ex"); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	w.freshAnswer() // it comes all the same
	w.wantStep("a.ex", "3.2")
	if n := w.fetches("a.ex"); n != 1 {
		t.Error(n, "requests")
	}
}
