package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestAllowedPrefixes(t *testing.T) {
	f := newFlags("resolve")
	n := f.network()
	if err := f.parse([]string{"-allow", "loopback", "-allow", "10.1.2.3", "-allow", "fd00::/8"}, 0); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(n.allow), "[127.0.0.0/8 ::1/128 10.1.2.3/32 fd00::/8]"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	for _, text := range []string{"10.0.0.0/33", "fe80::1%eth", "localhost", ""} {
		f := newFlags("resolve")
		f.network()
		if err := f.parse([]string{"-allow", text}, 0); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}
