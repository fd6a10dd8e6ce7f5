package docs_test

// book: explain.md
import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
)

// capture writes requests for the invite endpoint to files in dir, as explain reads them. Put
// it in front of the Receiver while you are looking for something: what it writes has
// signatures and what users say to each other.
func capture(next http.Handler, dir string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.RequestURI, "/invite/") {
			const most = 1 << 20
			body, err := io.ReadAll(io.LimitReader(r.Body, most+1))
			if err == nil && len(body) <= most {
				if f, err := os.CreateTemp(dir, "*.http"); err == nil {
					_, _ = fmt.Fprintf(f, "%s %s HTTP/1.1\r\nHost: %s\r\n", r.Method, r.RequestURI, r.Host)
					_ = r.Header.Write(f)
					_, _ = fmt.Fprintf(f, "\r\n%s", body)
					_ = f.Close()
				}
			}
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(bytes.NewReader(body), r.Body), r.Body}
		}
		next.ServeHTTP(w, r)
	})
}

// book: end
