package xmatrix

import (
	"slices"
	"testing"
)

// Every reading is another one, could have been sent, and differs from what arrived.
func TestReadingsAreDistinct(t *testing.T) {
	for _, target := range []string{
		"/", "/x", "/x?", "/x?y=%2f", "/a b", "/_matrix/federation/v2/invite/%21r%3Aex/$a%20b%0A", "/v2/invite/!r:ex/$a/b/c", "//x//../%25",
	} {
		for _, content := range []string{"", "{}", `{"a":1}`} {
			c := claim{Verifier: Verifier{Assume: "Us.ex"}, request: request{"PUT", target, "a.ex", "us.ex"}, host: "us.ex:443"}
			readings := c.readings(content)
			if len(readings) == 0 || len(readings) > maxReadings {
				t.Errorf("%s: %d readings", target, len(readings))
			}
			for i, r := range readings {
				if r.fault == "" || r.origin != "a.ex" || r.request == c.request && r.body == bodyReceived {
					t.Errorf("%s: reading %+v", target, r)
				}
				if checkTarget(r.target) != nil {
					t.Errorf("%s: the target %q of a reading cannot have been sent", target, r.target)
				}
				if slices.ContainsFunc(readings[:i], func(x reading) bool { return x.request == r.request && x.body == r.body }) {
					t.Errorf("%s: %+v comes twice", target, r)
				}
			}
		}
	}
}
