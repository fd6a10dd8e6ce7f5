package docs_test

// book: explain.md
import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
)

// capture writes the first requests for the invite endpoint to files in dir, as explain reads
// them: most of them, for anybody can send some. Put it in front of the Receiver while you are
// looking for something: what it writes has signatures and what users say to each other.
func capture(next http.Handler, dir string, most int64) http.Handler {
	var seen atomic.Int64
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.Contains(r.RequestURI, "/invite/") || seen.Add(1) > most {
			next.ServeHTTP(w, r)
			return
		}
		var request bytes.Buffer
		fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.RequestURI, r.Host)
		_ = r.Header.Write(&request)
		request.WriteString("\r\n")
		body := io.TeeReader(r.Body, &request)
		r.Body = struct {
			io.Reader
			io.Closer
		}{body, r.Body}
		next.ServeHTTP(w, r)
		// What was refused without its body: the Receiver has set a deadline for the rest.
		_, _ = io.Copy(io.Discard, io.LimitReader(body, int64(1<<20-request.Len())))
		if f, err := os.CreateTemp(dir, "*.http"); err == nil {
			_, _ = request.WriteTo(f)
			_ = f.Close()
		}
	})
}

// book: end
