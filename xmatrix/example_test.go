package xmatrix_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// Two servers: a.example signs a request, b.example finds out who sent it.
func Example() {
	seed := make([]byte, ed25519.SeedSize) // a real one is secret, see fedinvite.GenerateKey
	signer, err := fedinvite.NewSigner("a.example", "ed25519:1", ed25519.NewKeyFromSeed(seed))
	if err != nil {
		fmt.Println(err)
		return
	}

	// b.example knows the key of a.example; a real server has a key ring instead.
	keys := fedinvite.KeyMap{}
	keys.Add(signer)
	verifier := xmatrix.Verifier{Keys: keys}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		credentials, err := verifier.Credentials(r)
		if err == nil && credentials.Destination != "b.example" {
			err = fedinvite.ErrUnauthorized
		}
		var body []byte
		if err == nil {
			body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
		}
		if err == nil {
			err = credentials.Verify(r.Context(), body)
		}
		if err != nil {
			http.Error(w, err.Error(), fedinvite.WireError(err).HTTPStatus())
			return
		}
		fmt.Fprintf(w, "hello %s", credentials.Origin)
	}))
	defer server.Close()

	body := []byte(`{"ping": 1}`)
	for _, sign := range []bool{true, false} {
		req, err := http.NewRequest("PUT", server.URL+"/_matrix/federation/v1/ping", bytes.NewReader(body))
		if err != nil {
			fmt.Println(err)
			return
		}
		if sign {
			if err := xmatrix.Sign(context.Background(), req, body, "b.example", signer); err != nil {
				fmt.Println(err)
				return
			}
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			fmt.Println(err)
			return
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		fmt.Printf("%d %s\n", res.StatusCode, bytes.TrimSpace(text))
	}
	// Output:
	// 200 hello a.example
	// 401 request not authenticated: no X-Matrix header
}

func ExampleParse() {
	auth, err := xmatrix.Parse(`x-matrix ORIGIN=a.example, key="ed25519:1" , sig="c2ln"`)
	fmt.Println(auth.Origin, auth.Key, err)
	fmt.Println(auth)
	// Output:
	// a.example ed25519:1 <nil>
	// X-Matrix origin="a.example",key="ed25519:1",sig="c2ln"
}
