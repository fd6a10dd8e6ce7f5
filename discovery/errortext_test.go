package discovery_test

import (
	"testing"

	"github.com/seed-0a46cb1a/fedinvite/internal/internet"
)

// Whoever makes a request says which server it was for, so its name is here only where it
// is a target too.
func TestErrorsOfATransportDoNotNameTheServerAgain(t *testing.T) {
	n := internet.New(t)
	n.DNS.Addr("a.ex", "10.0.0.1")
	for target, want := range map[string]string{
		"a.ex:0/x":    "discovery: resolving: no server of that name: port 0",
		"a.ex:8449/x": `discovery: no connection: a.ex:8449: address is not allowed: "a.ex" (10.0.0.1) is not of the public internet`,
	} {
		_, _, err := put(t.Context(), t, n.Transport(nil), target, "{}", false)
		if err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", target, err, want)
		}
	}
}
