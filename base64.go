package fedinvite

import (
	"encoding/base64"
	"fmt"
	"strings"
)

// encodeBase64 writes unpadded standard base64 (appendices, "Unpadded Base64").
func encodeBase64(b []byte) string { return base64.RawStdEncoding.EncodeToString(b) }

// DecodeBase64 reads base64 as peers write it (appendices, "Unpadded Base64"):
// padded or not, standard or URL-safe, with trailing bits of any value, of which the
// specification's own example seed has some. White space and everything else is
// refused; Go's decoder alone would skip line breaks. The error wraps [ErrBadJSON].
func DecodeBase64(s string) ([]byte, error) {
	if len(s)%4 == 0 {
		s = strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	}
	b, err := base64.RawStdEncoding.DecodeString(s)
	if err != nil {
		b, err = base64.RawURLEncoding.DecodeString(s)
	}
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %v", ErrBadJSON, err)
	case base64.RawStdEncoding.EncodedLen(len(b)) != len(s): // something was skipped
		return nil, fmt.Errorf("%w: line break in base64", ErrBadJSON)
	}
	return b, nil
}
