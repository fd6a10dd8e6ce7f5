package docs_test

import (
	"strings"
	"testing"
)

// What the page says of nginx is what a real one is tested with.
func TestProxyLinesAreTested(t *testing.T) {
	tested := readFile(t, "../interop/nginx_test.go")
	lines := 0
	for _, b := range blocksOf(t, "routers.md") {
		if b.language != "nginx" {
			continue
		}
		for line := range strings.Lines(b.text) {
			if strings.HasPrefix(line, "proxy_set_header ") {
				continue // has nothing to do with the request line
			}
			lines++
			config := strings.ReplaceAll(strings.TrimSpace(line), "127.0.0.1:8008", "UPSTREAM")
			if !strings.Contains(tested, "`"+config+"`") {
				t.Errorf("no test has %s", config)
			}
		}
	}
	if lines != 6 {
		t.Errorf("%d lines, and the page says six", lines)
	}
	for _, hint := range []string{"the path seems to have been rewritten between the sender and here: ", "it was decoded, and perhaps encoded again"} {
		if !strings.Contains(tested, hint) || !strings.Contains(readFile(t, "routers.md"), hint) {
			t.Errorf("no test or no page has the hint %q", hint)
		}
	}
}
