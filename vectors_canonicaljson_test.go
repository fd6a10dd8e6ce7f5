package fedinvite_test

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/seed-0a46cb1a/fedinvite"
)

// vectorCategories are the categories of errors.
var vectorCategories = map[string]error{
	"syntax":                 fedinvite.ErrNotJSON,
	"invalid_utf8":           fedinvite.ErrBadText,
	"lone_surrogate":         fedinvite.ErrBadText,
	"duplicate_key":          fedinvite.ErrDuplicateKey,
	"number_not_integer":     fedinvite.ErrBadNumber,
	"number_out_of_range":    fedinvite.ErrBadNumber,
	"number_too_many_digits": fedinvite.ErrBadNumber,
	"depth":                  fedinvite.ErrTooDeep,
}

type canonicalVector struct {
	vectorHead
	Input       string        `json:"input"`
	InputBase64 string        `json:"input_base64"`
	Gen         *vectorGen    `json:"input_gen"`
	InputLen    int           `json:"input_len"`
	InputSHA256 string        `json:"input_sha256"`
	Strict      canonicalWant `json:"strict"`
	Legacy      canonicalWant `json:"legacy"`
}

type canonicalWant struct {
	Output *string         `json:"output"`
	SHA256 string          `json:"output_sha256"`
	Len    int             `json:"output_len"`
	Error  string          `json:"error"`
	AnyOf  []canonicalWant `json:"any_of"`
}

func (v *canonicalVector) bytes(t testing.TB) []byte {
	t.Helper()
	if v.Gen == nil {
		return vectorText(t, v.Input, v.InputBase64)
	}
	b := v.Gen.bytes()
	if sum := sha256.Sum256(b); len(b) != v.InputLen || hex.EncodeToString(sum[:]) != v.InputSHA256 {
		t.Fatalf("made %d bytes with another SHA-256", len(b))
	}
	return b
}

// match says what is wrong with a result, or "".
func (w canonicalWant) match(out []byte, err error) string {
	switch {
	case w.AnyOf != nil:
		why := ""
		for _, one := range w.AnyOf {
			if why = one.match(out, err); why == "" {
				return ""
			}
		}
		return why
	case w.Error != "":
		if want, ok := vectorCategories[w.Error]; !ok || !errors.Is(err, want) {
			return "want error " + w.Error
		}
	case err != nil:
		return "error not wanted"
	case w.Output != nil:
		return cmp.Diff(*w.Output, string(out))
	default:
		if sum := sha256.Sum256(out); hex.EncodeToString(sum[:]) != w.SHA256 || len(out) != w.Len {
			return "another output"
		}
	}
	return ""
}

func TestVectorsCanonicalJSON(t *testing.T) {
	for _, c := range vectors[canonicalVector](t, "canonicaljson/canonicaljson").Cases {
		t.Run(c.Name, func(t *testing.T) {
			in := c.bytes(t)
			out, err := fedinvite.CanonicalJSON(in)
			if why := c.Strict.match(out, err); why != "" {
				t.Errorf("strict: %s (error %v)", why, err)
			}
			out, err = fedinvite.LegacyCanonicalJSON(in)
			if why := c.Legacy.match(out, err); why != "" {
				t.Errorf("legacy: %s (error %v)", why, err)
			}
		})
	}
}
