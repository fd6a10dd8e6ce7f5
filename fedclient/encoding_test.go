package fedclient_test

import (
	"crypto/x509"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// A compressed reply may be of any size, and of any duration without yielding a
// byte, so none is asked for and none is read.
func TestRepliesAreNotCompressed(t *testing.T) {
	coding, asked := "", ""
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Accept-Encoding")
		w.Header().Set("Content-Type", "application/json")
		if coding != "" {
			w.Header().Set("Content-Encoding", coding)
		}
		_, _ = io.WriteString(w, "{}")
	}))
	defer server.Close()
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	client, err := fedclient.New(fedclient.Config{UserAgent: "test/1", Transport: newTransport(t, roots)})
	if err != nil {
		t.Fatal(err)
	}
	name := fedinvite.ServerName(strings.TrimPrefix(server.URL, "https://"))
	for _, c := range []struct {
		coding string
		want   error
	}{{"", nil}, {"identity", nil}, {"gzip", fedclient.ErrReply}, {"br", fedclient.ErrReply}} {
		coding = c.coding
		if _, err := client.FetchServerKeys(t.Context(), name); !errors.Is(err, c.want) {
			t.Errorf("Content-Encoding %q: %v, want %v", c.coding, err, c.want)
		}
		if asked != "identity" {
			t.Errorf("Accept-Encoding %q", asked)
		}
	}
}
