package main

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

func TestParseCapture(t *testing.T) {
	for _, c := range []struct {
		name, in string
		want     capture
	}{
		{"with Content-Length", "PUT /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}",
			capture{method: "PUT", target: "/a", host: "b", length: 2, body: []byte("{}")}},
		{"with line feeds alone", "PUT /a HTTP/1.1\nHost: b\nContent-Length: 2\n\n{}",
			capture{method: "PUT", target: "/a", host: "b", length: 2, body: []byte("{}")}},
		{"to the end", "PUT /a HTTP/1.1\r\n\r\n{}\n", capture{method: "PUT", target: "/a", length: -1, body: []byte("{}\n")}},
		{"without a body", "GET /a?b=c HTTP/2\n\n", capture{method: "GET", target: "/a?b=c", length: -1}},
		{"without an end of the head", "GET /a HTTP/2", capture{method: "GET", target: "/a", length: -1}},
		{"without a version", "PUT /a\n\n", capture{method: "PUT", target: "/a", length: -1}},
		{"with a byte order mark", "\ufeffPUT /a HTTP/1.1\n\n", capture{method: "PUT", target: "/a", length: -1}},
		{"of curl -v", "*   Trying 192.0.2.1\n> PUT /a HTTP/1.1\n> Host: b\n>\n< HTTP/1.1 404 Not Found\n<\n{\"errcode\":\"M_UNKNOWN\"}\n",
			capture{method: "PUT", target: "/a", host: "b", length: -1}},
		{"of curl -v, with the body", "* x\n> PUT /a HTTP/1.1\n> Content-Length: 4\n> \n{\n}\n< HTTP/1.1 200 OK\n",
			capture{method: "PUT", target: "/a", length: 4, body: []byte("{\n}\n")}},
		{"after another on the connection", "GET /_matrix/key/v2/server HTTP/1.1\r\nHost: b\r\n\r\nPUT /_matrix/federation/v2/invite/a/b HTTP/1.1\r\n\r\n{}",
			capture{method: "PUT", target: "/_matrix/federation/v2/invite/a/b", length: -1, body: []byte("{}")}},
		{"after another with a body", "PUT /a HTTP/1.1\nContent-Length: 2\n\n{}\nPUT /invite/a/b HTTP/1.1\nContent-Length: 2\n\n[]",
			capture{method: "PUT", target: "/invite/a/b", length: 2, body: []byte("[]")}},
		{"after one in chunks", "PUT /a HTTP/1.1\nTransfer-Encoding: chunked\n\n2\n{}\n0\nX: y\n\nPUT /invite/a/b HTTP/1.1\nContent-Length: 2\n\n[]",
			capture{method: "PUT", target: "/invite/a/b", length: 2, body: []byte("[]")}},
		{"in absolute form", "PUT http://b/a HTTP/1.1\n\n", capture{method: "PUT", target: "http://b/a", length: -1}},
		{"after empty lines", "\r\n\r\nPUT /a HTTP/1.1\n\n", capture{method: "PUT", target: "/a", length: -1}},
		{"too short", "PUT /a HTTP/1.1\nContent-Length: 5\n\n{}", capture{method: "PUT", target: "/a", length: 5, body: []byte("{}"), cut: true}},
		{"too long", "PUT /a HTTP/1.1\nContent-Length: 2\n\n{}\r\n", capture{method: "PUT", target: "/a", length: 2, body: []byte("{}"), extra: 2}},
		{"in chunks", "PUT /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n1;x=y\r\n{\r\n9\r\n\"a\":\"\r\nb\"\r\n1\r\n}\r\n0\r\nX: y\r\n\r\n",
			capture{method: "PUT", target: "/a", length: -1, chunked: true, body: []byte("{\"a\":\"\r\nb\"}")}},
		{"in chunks with line feeds alone", "PUT /a HTTP/1.1\nTransfer-Encoding: Chunked\n\n2\n{}\n0\n\n",
			capture{method: "PUT", target: "/a", length: -1, chunked: true, body: []byte("{}")}},
		{"in chunks, without the last", "PUT /a HTTP/1.1\nTransfer-Encoding: chunked\n\n2\n{}\n",
			capture{method: "PUT", target: "/a", length: -1, chunked: true, cut: true, body: []byte("{}")}},
		{"in chunks, without an end", "PUT /a HTTP/1.1\nTransfer-Encoding: chunked\n\n2\n{}\n0\n",
			capture{method: "PUT", target: "/a", length: -1, chunked: true, cut: true, body: []byte("{}")}},
		{"in chunks, cut", "PUT /a HTTP/1.1\nTransfer-Encoding: chunked\n\nFFFF\n{}",
			capture{method: "PUT", target: "/a", length: -1, chunked: true, cut: true, body: []byte("{}")}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := parseCapture([]byte(c.in))
			if err != nil {
				t.Fatal(err)
			}
			if got.method != c.want.method || got.target != c.want.target || got.host != c.want.host || got.length != c.want.length ||
				got.chunked != c.want.chunked || got.cut != c.want.cut || got.extra != c.want.extra || string(got.body) != string(c.want.body) {
				t.Errorf("got %+v, want %+v", *got, c.want)
			}
			body, err := io.ReadAll(got.reader())
			if string(body) != string(c.want.body) || (err != nil) != c.want.cut {
				t.Errorf("the reader returns %q, %v", body, err)
			}
		})
	}
}

func TestParseCaptureHeaders(t *testing.T) {
	c, err := parseCapture([]byte("PUT /a HTTP/1.1\nauthorization: X-Matrix a,\n b\nAuthorization:\tc \nX-Empty:\n\n"))
	if err != nil {
		t.Fatal(err)
	}
	diff(t, http.Header{"Authorization": {"X-Matrix a, b", "c"}, "X-Empty": {""}}, c.header)
}

func TestParseCaptureRefuses(t *testing.T) {
	for _, c := range []struct{ name, in, err string }{
		{"nothing", "", "there is no request"},
		{"empty lines", "\r\n\r\n", "there is no request"},
		{"a body alone", `{"event": {}}`, "-path is for a body alone"},
		{"an array", "[]", "this is JSON"},
		{"UTF-16", "\xff\xfeP\x00U\x00T\x00", "in UTF-16"},
		{"a response", "HTTP/1.1 404 Not Found\n\n{}", "this is a response"},
		{"HTTP/2 headers", ":method: PUT\n:path: /a\n", "headers of HTTP/2"},
		{"a command", "curl -X PUT https://b.example/_matrix/federation/v2/invite/a/b", "this is a command"},
		{"tcpdump", "15:04:05.1 IP 203.0.113.7.4711 > 192.0.2.1.8008: Flags [P.], length 899: HTTP: PUT /_matrix/federation/v2/invite/a/b HTTP/1.1\n", "tcpdump -w"},
		{"nginx", `203.0.113.7 - - [02/Jan/2026:15:04:05 +0000] "PUT /_matrix/federation/v2/invite/a/b HTTP/1.1" 404 57 "-" "x"`, "access log"},
		{"Synapse", `2026-01-02 15:04:05,123 - synapse.access.http.8008 - 460 - INFO - PUT-3 - "PUT /_matrix/federation/v2/invite/a/b HTTP/1.1" "x"`, "access log"},
		{"a space in the target", "PUT /_matrix/federation/v2/invite/a b/c HTTP/1.1\n\n", "spaces in its path"},
		{"no token as a method", "P(UT /a HTTP/1.1\n\n", "no request line"},
		{"no token as a name", "PUT /a HTTP/1.1\nA\x00: b\n\n", "line 2"},
		{"no line break behind a chunk", "PUT /a HTTP/1.1\nTransfer-Encoding: chunked\n\n1\n{1\n}\n0\n\n", "no line break behind a chunk"},
		{"one word", "PUT\n\n", "no request line"},
		{"no header", "PUT /a HTTP/1.1\nHost: a\nx\n\n", `line 3: not of the form "Name: value"`},
		{"space before the colon", "PUT /a HTTP/1.1\nHost : a\n\n", "line 2"},
		{"Content-Length", "PUT /a HTTP/1.1\nContent-Length: -1\n\n", "no number"},
		{"two of them", "PUT /a HTTP/1.1\nContent-Length: 1\nContent-Length: 2\n\n", "another Content-Length"},
		{"Transfer-Encoding", "PUT /a HTTP/1.1\nTransfer-Encoding: gzip\n\n", "not chunked"},
		{"no chunks", "PUT /a HTTP/1.1\nTransfer-Encoding: chunked\n\n{\"a\x1b\":1}\n", "not chunked"},
		{"too many headers", "PUT /a HTTP/1.1\n" + strings.Repeat("A: b\n", maxHeaderLines), "no end of the headers"},
		{"too long a head", "PUT /a HTTP/1.1\nA: " + strings.Repeat("b", maxHead) + "\n\n", "no end of the headers"},
	} {
		if got, err := parseCapture([]byte(c.in)); err == nil || !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %+v, %v, want %q", c.name, got, err, c.err)
		}
	}
}

// What net/http refuses never comes to a Receiver, whatever that would say of it.
func TestCaptureThatIsOdd(t *testing.T) {
	for _, c := range []struct{ name, in, odd string }{
		{"nothing", "PUT /a HTTP/1.1\nHost: b\nX: é\n\n", ""},
		{"nothing, in HTTP/2", "PUT /a HTTP/2\nHost: b\n\n", ""},
		{"nothing, in absolute form", "PUT https://b/a HTTP/1.1\nHost: b\n\n", ""},
		{"nothing, folded", "PUT /a HTTP/1.1\nHost: b\nX: y\n z\n\n", ""},
		{"no Host", "PUT /a HTTP/1.1\n\n", "missing required Host header"},
		{"two Hosts", "PUT /a HTTP/1.1\nHost: b\nHost: b\n\n", "too many Host headers"},
		{"an escape that is none", "PUT /%zz HTTP/1.1\nHost: b\n\n", `"%zz"`},
		{"a signed length", "PUT /a HTTP/1.1\nHost: b\nContent-Length: +2\n\n{}", `bad Content-Length "+2"`},
		{"a control character", "PUT /a HTTP/1.1\nHost: b\nX: a\x01\n\n", "malformed MIME header line"},
	} {
		got, err := parseCapture([]byte(c.in))
		if err != nil || !strings.Contains(got.odd, c.odd) || (c.odd == "") != (got.odd == "") {
			t.Errorf("%s: %+v, %v", c.name, got, err)
		}
	}
}

func FuzzParseCapture(f *testing.F) {
	f.Add([]byte("PUT /a HTTP/1.1\r\nHost: b\r\nContent-Length: 2\r\n\r\n{}"))
	f.Add([]byte("PUT /a HTTP/1.1\nTransfer-Encoding: chunked\n\n2\n{}\n0\n\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := parseCapture(data)
		if err != nil {
			return
		}
		if len(c.body) > len(data) || c.extra < 0 || c.target == "" || c.method == "" {
			t.Errorf("%+v", c)
		}
	})
}
