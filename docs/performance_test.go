package docs_test

import (
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What the page says to have been measured can be measured.
func TestBenchmarksExist(t *testing.T) {
	named := regexp.MustCompile("`((?:Benchmark|Test)[A-Za-z0-9]+)(?:/([a-z0-9]+))?`")
	place := regexp.MustCompile(`\]\(\.\./([a-z]+)\)`)
	seen := 0
	for line := range strings.Lines(readFile(t, "performance.md")) {
		dir := ""
		if match := place.FindStringSubmatch(line); match != nil {
			dir = match[1]
		}
		for _, match := range named.FindAllStringSubmatch(line, -1) {
			seen++
			files, err := filepath.Glob(filepath.Join("..", dir, "*_test.go"))
			if err != nil {
				t.Fatal(err)
			}
			found := false
			for _, file := range files {
				source := readFile(t, file)
				found = found || strings.Contains(source, "func "+match[1]+"(") && strings.Contains(source, `"`+match[2])
			}
			if !found {
				t.Errorf("no %s in ../%s", match[0], dir)
			}
		}
	}
	if seen < 12 {
		t.Errorf("%d benchmarks named", seen)
	}
}
