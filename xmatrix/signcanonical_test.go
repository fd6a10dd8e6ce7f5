package xmatrix_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A canonical body gets the signature that Sign makes, however it is cut.
func TestSignCanonicalIsSign(t *testing.T) {
	s := invitetest.Signer("a.ex")
	for _, body := range []string{"", "{}", `{"a":1,"b":{"c":"\"é"}}`, `{"a":"` + strings.Repeat("x", 10000) + `"}`} {
		for _, n := range []int{1, 3, 100000} {
			var pieces [][]byte
			for rest := body; rest != ""; {
				cut := min(n, len(rest))
				pieces, rest = append(pieces, []byte(rest[:cut])), rest[cut:]
			}
			var header [2]string
			for i := range header {
				req, err := http.NewRequest("PUT", "https://b.ex/_matrix/%2Fx?q", nil)
				if err != nil {
					t.Fatal(err)
				}
				if i == 0 {
					err = xmatrix.Sign(t.Context(), req, []byte(body), "b.ex", s)
				} else {
					err = xmatrix.SignCanonical(t.Context(), req, pieces, "b.ex", s)
				}
				if err != nil {
					t.Fatal(err)
				}
				header[i] = req.Header.Get("Authorization")
			}
			if header[0] != header[1] || header[0] == "" {
				t.Errorf("%.40s in pieces of %d: got %s, want %s", body, n, header[1], header[0])
			}
		}
	}
}

func TestSignCanonicalRefusesWhatSignDoes(t *testing.T) {
	s := invitetest.Signer("a.ex")
	body := [][]byte{[]byte("{}")}
	get, _ := http.NewRequest("GET", "https://b.ex/", nil)
	put, _ := http.NewRequest("PUT", "https://b.ex/", nil)
	for name, err := range map[string]error{
		"a GET with a body":                     xmatrix.SignCanonical(t.Context(), get, body, "b.ex", s),
		"no signer":                             xmatrix.SignCanonical(t.Context(), put, body, "b.ex", nil),
		"a destination that is no server name":  xmatrix.SignCanonical(t.Context(), put, body, "b ex", s),
		"a signer that returns too few bytes":   xmatrix.SignCanonical(t.Context(), put, body, "b.ex", badSigner{name: "a.ex", id: "ed25519:1", length: 63}),
		"a signer whose server is no such name": xmatrix.SignCanonical(t.Context(), put, body, "b.ex", badSigner{name: "a_b", id: "ed25519:1"}),
	} {
		if err == nil {
			t.Errorf("%s: signed", name)
		}
	}
}
