package main

import (
	"fmt"
	"testing"
)

func TestAllowedPrefixes(t *testing.T) {
	for text, want := range map[string]string{
		"loopback":    "[127.0.0.0/8 ::1/128]",
		"10.0.0.0/8":  "[10.0.0.0/8]",
		"10.1.2.3":    "[10.1.2.3/32]",
		"fd00::/8":    "[fd00::/8]",
		"::1":         "[::1/128]",
		"10.0.0.0/33": "",
		"fe80::1%eth": "",
		"a.example":   "",
		"localhost":   "",
		"":            "",
	} {
		got, err := parseAllowed(text)
		if want == "" && err == nil || want != "" && fmt.Sprint(got) != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
}
