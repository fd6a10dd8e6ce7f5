package fedclient_test

import (
	"errors"
	"io"
	"net/http"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// A compressed reply may be of any size, and of any duration without yielding a
// byte, so none is asked for and none is read.
func TestRepliesAreNotCompressed(t *testing.T) {
	coding, asked := "", ""
	name, transport := serveTLS(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.Header.Get("Accept-Encoding")
		w.Header().Set("Content-Type", "application/json")
		if coding != "" {
			w.Header().Set("Content-Encoding", coding)
		}
		_, _ = io.WriteString(w, "{}")
	}))
	client := newClient(t, transport)
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
