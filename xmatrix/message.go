package xmatrix

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A request is what a signature covers, but for the body.
type request struct {
	method, target      string
	origin, destination fedinvite.ServerName
}

// message returns the signed bytes: the canonical JSON of content, destination,
// method, origin and uri, in this order. There is no content without a body. Peers
// sign and verify what their JSON library writes, hence the legacy number rules.
// The target must have passed checkTarget.
func (r *request) message(body []byte) ([]byte, error) {
	const frame = `{"content":,"destination":"","method":"","origin":"","uri":""}`
	size := len(frame) + len(body) + len(r.destination) + len(r.method) + len(r.origin) + len(r.target)
	b := append(make([]byte, 0, size), '{')
	if len(body) > 0 {
		b = append(b, `"content":`...)
		start := len(b)
		var err error
		if b, err = fedinvite.AppendLegacyCanonicalJSON(b, body); err != nil {
			return nil, err
		}
		if b[start] != '{' {
			return nil, fmt.Errorf("%w: the body is not an object", fedinvite.ErrBadJSON)
		}
		b = append(b, ',')
	}
	b = append(b, `"destination":`...)
	b = appendQuoted(b, string(r.destination))
	b = append(b, `,"method":`...)
	b = appendQuoted(b, r.method)
	b = append(b, `,"origin":`...)
	b = appendQuoted(b, string(r.origin))
	b = append(b, `,"uri":`...)
	b = appendQuoted(b, r.target)
	return append(b, '}'), nil
}

// checkTarget makes sure that the target is one that HTTP can carry and that JSON
// can hold with no other escapes than those of quotes and backslashes.
func checkTarget(target string) error {
	if !strings.HasPrefix(target, "/") || !utf8.ValidString(target) {
		return errors.New("the request target is no path in UTF-8")
	}
	for i := range len(target) {
		if target[i] <= ' ' || target[i] == 0x7f {
			return errors.New("white space or control character in the request target")
		}
	}
	return nil
}
