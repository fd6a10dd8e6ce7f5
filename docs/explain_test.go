package docs_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// The excerpt is of the command's own golden output.
func TestExplainExcerpt(t *testing.T) {
	output := readFile(t, "../cmd/fedinvite/testdata/explain/path_decoded.txt")
	_, verdict, ok := strings.Cut(output, "\n\n")
	verdict, _, cut := strings.Cut(verdict, "\npassed        authorization")
	if !ok || !cut {
		t.Fatalf("cannot take this apart:\n%s", output)
	}
	holdTable(t, "explain.md", "excerpt", "```text\n"+verdict+"\n…\n```\n")
}

// What capture has written is the request, byte for byte where it counts: it can be read
// again, and its signature verifies.
func TestCapture(t *testing.T) {
	room := invitetest.NewRoom(fedinvite.RoomV11, "@alice:a.example")
	q := room.Request(room.Invite("@bob:b.example"), "b.example")
	dir := t.TempDir()
	var body []byte
	server := httptest.NewServer(capture(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ = io.ReadAll(r.Body)
	}), dir, 1))
	defer server.Close()
	res, err := http.DefaultClient.Do(q.HTTP(t.Context(), server.URL))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if !bytes.Equal(body, q.Body) {
		t.Error("the handler got another body")
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.http"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	raw, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(raw)))
	if err != nil {
		t.Fatal(err)
	}
	body, err = io.ReadAll(r.Body)
	if target, _ := url.Parse(r.RequestURI); err != nil || target.EscapedPath() != q.Path() {
		t.Fatalf("%v; the path is %s, want %s", err, r.RequestURI, q.Path())
	}
	c, err := xmatrix.Verifier{Keys: invitetest.Keys("a.example"), Now: time.Now}.Credentials(r)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Verify(t.Context(), body); err != nil {
		t.Error(err)
	}

	// There is no second one, and the handler gets its body all the same.
	if res, err = http.DefaultClient.Do(q.HTTP(t.Context(), server.URL)); err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if files, _ = filepath.Glob(filepath.Join(dir, "*.http")); len(files) != 1 || !bytes.Equal(body, q.Body) {
		t.Errorf("%d files", len(files))
	}
}

// Captured is what came of the body, whatever the handler made of it, and no more than a
// Receiver reads.
func TestCaptureOfRefusedRequests(t *testing.T) {
	const mib = 1 << 20
	ignoring := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	reading := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) })
	broken := io.MultiReader(strings.NewReader("{"), iotest.ErrReader(io.ErrUnexpectedEOF))
	for _, c := range []struct {
		name, target string
		body         io.Reader
		next         http.Handler
		least, most  int
	}{
		{"refused without its body", "/x/invite/", strings.NewReader("hello"), ignoring, 5, 5},
		{"broken off", "/x/invite/", broken, reading, 1, 1},
		{"large, and refused without its body", "/x/invite/", strings.NewReader(strings.Repeat(" ", 2*mib)), ignoring, mib - 200, mib},
		{"no invite", "/x/send/", strings.NewReader("hello"), reading, -1, -1},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			capture(c.next, dir, 1).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodPut, c.target, c.body))
			files, _ := filepath.Glob(filepath.Join(dir, "*.http"))
			got := -1
			for _, f := range files {
				_, body, _ := strings.Cut(readFile(t, f), "\r\n\r\n")
				got = len(body)
			}
			if got < c.least || got > c.most || len(files) > 1 {
				t.Errorf("a body of %d bytes in %d files", got, len(files))
			}
		})
	}
}

// A body that does not come is waited for as long as the Receiver says, and no longer.
func TestCaptureKeepsTheDeadline(t *testing.T) {
	rc, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer: func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error) {
			return nil, fedinvite.ErrNotLocal
		},
		Keys:        fedinvite.KeyMap{},
		Handler:     fedinvite.HandlerFunc(func(context.Context, *fedinvite.Invite) error { return nil }),
		Credentials: xmatrix.Verifier{Keys: fedinvite.KeyMap{}}.Credentials,
		Timeout:     50 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(capture(rc, t.TempDir(), 10))
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(conn, "PUT /_matrix/federation/v2/invite/a/b HTTP/1.1\r\nHost: b\r\nContent-Length: 9\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode/100 != 4 {
		t.Errorf("status %d", res.StatusCode)
	}
}
