package docs_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// The excerpt is of the command's own golden output.
func TestExplainExcerpt(t *testing.T) {
	output := readFile(t, "../cmd/fedinvite/testdata/explain/path_decoded.txt")
	_, failed, _ := strings.Cut(output, "\n\n")
	failed, _, ok := strings.Cut(failed, "\npassed ")
	_, verdict, end := strings.Cut(output, "\nrefused ")
	verdict, _, last := strings.Cut(verdict, "\n\n")
	if !ok || !end || !last {
		t.Fatalf("cannot take this apart:\n%s", output)
	}
	holdTable(t, "explain.md", "excerpt", "```text\n"+failed+"\n…\nrefused "+verdict+"\n```\n")
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
	}), dir))
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

	// What is not an invite, or too large for one, is not kept.
	for path, size := range map[string]int{"/_matrix/federation/v1/send/1": 2, q.Path(): 2 << 20} {
		r := httptest.NewRequest(http.MethodPut, path, strings.NewReader(strings.Repeat(" ", size)))
		n := 0
		capture(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			n = len(b)
		}), dir).ServeHTTP(httptest.NewRecorder(), r)
		if n != size {
			t.Errorf("%s: the handler got %d bytes of %d", path, n, size)
		}
	}
	if files, _ = filepath.Glob(filepath.Join(dir, "*.http")); len(files) != 1 {
		t.Errorf("%d files", len(files))
	}
}
