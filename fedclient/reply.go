package fedclient

import (
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

const (
	maxReply = 1 << 20  // bytes, unless a Request says otherwise
	maxGuess = 64 << 10 // bytes that are set aside for a reply because it says so
)

// readReply reads the body of a 200.
func readReply(res *http.Response, limit int64) ([]byte, error) {
	// A proxy's or a captive portal's page is not an answer of the server.
	if !isJSON(res.Header.Get("Content-Type")) {
		return nil, fmt.Errorf("%w: it is not application/json", ErrReply)
	}
	if coding := res.Header.Get("Content-Encoding"); coding != "" && !strings.EqualFold(coding, "identity") {
		return nil, fmt.Errorf("%w: it is encoded, which was not asked for", ErrReply)
	}
	body, err := readAll(res.Body, min(res.ContentLength, limit, maxGuess), limit)
	switch {
	case int64(len(body)) > limit:
		return nil, fmt.Errorf("%w: %w: more than %d bytes", ErrReply, fedinvite.ErrTooLarge, limit)
	case err != nil:
		return nil, fmt.Errorf("%w: reading the reply: %w", ErrUnreachable, err)
	}
	return body, nil
}

// readAll is io.ReadAll, for about guess bytes; it stops somewhere beyond limit.
func readAll(r io.Reader, guess, limit int64) ([]byte, error) {
	b := make([]byte, 0, max(guess+1, 512)) // one more, to come to the end
	for int64(len(b)) <= limit {
		if len(b) == cap(b) {
			b = append(b, 0)[:len(b)]
		}
		n, err := r.Read(b[len(b):cap(b)])
		b = b[:len(b)+n]
		if err == io.EOF {
			return b, nil
		}
		if err != nil {
			return b, err
		}
	}
	return b, nil
}

func isJSON(contentType string) bool {
	if contentType == "application/json" {
		return true
	}
	media, _, err := mime.ParseMediaType(contentType)
	return err == nil && strings.EqualFold(media, "application/json")
}
