package xmatrix_test

import (
	"bufio"
	"context"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

var now = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func clock() time.Time { return now }

// headerFor signs by the specification's recipe, with the root package alone.
func headerFor(t testing.TB, s fedinvite.Signer, to fedinvite.ServerName, method, target, body string) xmatrix.Auth {
	t.Helper()
	uri, err := json.Marshal(target)
	if err != nil {
		t.Fatal(err)
	}
	object := `{"method":"` + method + `","uri":` + string(uri) + `,"origin":"` + string(s.ServerName()) + `","destination":"` + string(to) + `"`
	if body != "" {
		object += `,"content":` + body
	}
	message, err := fedinvite.LegacyCanonicalJSON([]byte(object + "}"))
	if err != nil {
		t.Fatal(err)
	}
	signature, err := s.Sign(t.Context(), message)
	if err != nil {
		t.Fatal(err)
	}
	return xmatrix.Auth{Origin: s.ServerName(), Destination: to, Key: s.KeyID(), Sig: base64.RawStdEncoding.EncodeToString(signature)}
}

// countingKeys counts look-ups; err, if set, answers them all.
type countingKeys struct {
	fedinvite.KeyMap
	asked int
	err   error
}

func (k *countingKeys) VerifyKey(ctx context.Context, s fedinvite.ServerName, id fedinvite.KeyID, at time.Time) (fedinvite.VerifyKey, error) {
	k.asked++
	if k.err != nil {
		return fedinvite.VerifyKey{}, k.err
	}
	return k.KeyMap.VerifyKey(ctx, s, id, at)
}

// received turns the text of a request into what a server's handler gets.
func received(t testing.TB, method, target string, authorization ...string) *http.Request {
	t.Helper()
	var b strings.Builder
	b.WriteString(method + " " + target + " HTTP/1.1\r\nHost: us.ex\r\n")
	for _, a := range authorization {
		b.WriteString("Authorization: " + a + "\r\n")
	}
	r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(b.String() + "\r\n")))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// serve runs a server on the loopback interface for one test.
func serve(t *testing.T, h http.HandlerFunc) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s
}
