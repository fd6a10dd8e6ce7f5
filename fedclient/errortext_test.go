package fedclient_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// A log needs the server's name, and not from each layer that the error has come through.
func TestAnErrorNamesTheServerOnce(t *testing.T) {
	remote := &fedclient.RemoteError{Server: "b.ex", Status: http.StatusForbidden, Code: fedinvite.CodeForbidden}
	errs := map[string]error{
		"a refusal":             remote,
		"of a policy server":    &fedclient.PolicyError{Server: "b.ex", Err: remote},
		"no use of such":        &fedclient.PolicyError{Server: "b.ex", Err: fedinvite.ErrBadKey},
		"one that is not asked": &fedclient.BackoffError{Server: "b.ex"},
	}
	synctest.Test(t, func(t *testing.T) {
		for name, answer := range map[string]tripper{
			"no connection":               refuses,
			"a refusal before the end":    answersJSON(503, `{"errcode":"M_UNKNOWN"}`),
			"an unusable reply":           answersJSON(200, `{`+strings.Repeat(" ", 2<<20)+`}`),
			"no connection before an end": func(*http.Request) (*http.Response, error) { return nil, errBroken },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(100*time.Millisecond, cancel) // in the first pause
			_, errs[name] = put(ctx, newScript(t, answer).client())
			cancel()
		}
	})
	for name, err := range errs {
		if err == nil || strings.Count(fmt.Sprint(err), "b.ex") != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
}
