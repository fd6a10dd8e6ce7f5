package fedinvite_test

import (
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	// README: imports
	"context"
	"net/http"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// README: code
// inviteRoutes answers invites and key requests for the server that signer signs for.
func inviteRoutes(signer fedinvite.Signer, store fedinvite.HandlerFunc) (http.Handler, error) {
	client, err := fedclient.New(fedclient.Config{UserAgent: "example/1.0"})
	if err != nil {
		return nil, err
	}
	local := keyring.Signers(signer)
	ring, err := keyring.New(keyring.Config{Fetcher: client, Now: time.Now, Local: local})
	if err != nil {
		return nil, err
	}
	receiver, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer: func(_ context.Context, name fedinvite.ServerName) (fedinvite.Signer, error) {
			if name != signer.ServerName() {
				return nil, fedinvite.ErrNotLocal
			}
			return signer, nil
		},
		Keys:        ring,
		Credentials: xmatrix.Verifier{Keys: ring, Now: time.Now}.Credentials,
		Handler:     store, // gets invites that are checked and signed
	})
	if err != nil {
		return nil, err
	}
	keys, err := keyring.NewPublishHandler(keyring.PublishConfig{Local: local, Now: time.Now, Default: signer.ServerName()})
	if err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.Handle("/_matrix/federation/", receiver)
	mux.Handle("/_matrix/key/", keys)
	return mux, nil
}

// README: end

// What the README shows must compile and be what is tested here.
func TestREADME(t *testing.T) {
	readme, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, block, _ := strings.Cut(string(readme), "```go\n")
	block, _, found := strings.Cut(block, "```\n")
	if !found {
		t.Fatal("README.md has no Go block")
	}
	source, err := os.ReadFile("readme_test.go")
	if err != nil {
		t.Fatal(err)
	}
	_, imports, _ := strings.Cut(string(source), "// README: imports\n")
	imports, _, _ = strings.Cut(imports, ")\n")
	_, code, _ := strings.Cut(string(source), "// README: code\n")
	code, _, _ = strings.Cut(code, "\n// README: end\n")
	if want := "import (\n" + imports + ")\n\n" + code; block != want {
		t.Errorf("the Go block of README.md is not that of readme_test.go:\n%s", block)
	}

	routes, err := inviteRoutes(newSigner(t, "b.example"), nil)
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"/_matrix/key/v2/server":                  `"server_name":"b.example"`,
		"/_matrix/federation/v2/invite/!r:a/$e:a": `"errcode":"M_UNAUTHORIZED"`,
	} {
		method := http.MethodGet
		if strings.Contains(path, "invite") {
			method = http.MethodPut
		}
		w := httptest.NewRecorder()
		routes.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader("{}")))
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("%s: %s, want %s", path, w.Body, want)
		}
	}
}
