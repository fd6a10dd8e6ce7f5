// Package docs_test holds the book to what it says: its Go blocks are parts of files that
// are compiled and run here, its tables are those of the code, its links lead somewhere.
package docs_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Parts of Go files that pages show stand between these two, each alone on a line. The
// page's name follows the first.
const (
	partBegin = "// book: "
	partEnd   = "// book: end"
)

// How the first block of a file of a program begins, and its main function.
const (
	packageMain = "package main\n\n"
	funcMain    = "func main() {\n"
)

// A block is a fenced block of a page.
type block struct {
	page, language, text string
	line                 int
}

// pages returns the names of the book's pages.
func pages(t *testing.T) []string {
	t.Helper()
	names, err := filepath.Glob("*.md")
	if err != nil || len(names) == 0 {
		t.Fatal("no pages", err)
	}
	return names
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// blocksOf returns the fenced blocks of a page.
func blocksOf(t *testing.T, page string) (blocks []block) {
	t.Helper()
	open := false
	for i, line := range strings.Split(readFile(t, page), "\n") {
		fence, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && open:
			open = false
		case isFence:
			open = true
			blocks = append(blocks, block{page: page, language: fence, line: i + 1})
		case open:
			blocks[len(blocks)-1].text += line + "\n"
		}
	}
	if open {
		t.Fatalf("%s: a block without an end", page)
	}
	return blocks
}

// partsOf returns the parts of a Go file by the page that shows them.
func partsOf(t *testing.T, name string) map[string][]string {
	t.Helper()
	parts := map[string][]string{}
	page, text := "", ""
	for line := range strings.Lines(readFile(t, name)) {
		mark := strings.TrimSpace(line)
		switch {
		case mark == partEnd:
			if page == "" {
				t.Fatalf("%s: an end without a beginning", name)
			}
			parts[page] = append(parts[page], outdent(text))
			page, text = "", ""
		case strings.HasPrefix(mark, partBegin):
			if page != "" {
				t.Fatalf("%s: a part in a part of %s", name, page)
			}
			page = strings.TrimPrefix(mark, partBegin)
		case page != "":
			text += line
		}
	}
	if page != "" {
		t.Fatalf("%s: the part of %s has no end", name, page)
	}
	return parts
}

// outdent takes away the tabs that all lines begin with, and empty lines at both ends.
func outdent(text string) string {
	lines := strings.Split(strings.Trim(text, "\n"), "\n")
	for indented := true; indented; {
		for _, line := range lines {
			indented = indented && (line == "" || strings.HasPrefix(line, "\t"))
		}
		for i := range lines {
			if indented {
				lines[i] = strings.TrimPrefix(lines[i], "\t")
			}
		}
		indented = indented && strings.Join(lines, "") != ""
	}
	return strings.Join(lines, "\n") + "\n"
}

// What the pages show as Go is compiled, and what is marked for a page is shown there. The
// beginning of a file is without its package, and TestThePageIsAProgram compiles what is main.
func TestGoBlocksArePartsOfCompiledFiles(t *testing.T) {
	shown := map[string][]string{}
	for _, page := range pages(t) {
		for _, b := range blocksOf(t, page) {
			if b.language == "go" && !strings.HasPrefix(b.text, funcMain) {
				shown[page] = append(shown[page], strings.TrimPrefix(b.text, packageMain))
			}
		}
	}
	compiled := map[string][]string{}
	for _, pattern := range []string{"*_test.go", "../routers/*.go"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if file == "book_test.go" {
				continue
			}
			for page, parts := range partsOf(t, file) {
				compiled[page] = append(compiled[page], parts...)
			}
		}
	}
	for page, blocks := range shown {
		for _, text := range blocks {
			if !slices.Contains(compiled[page], text) {
				t.Errorf("%s: no Go file has this part:\n%s", page, text)
			}
		}
	}
	for page, parts := range compiled {
		for _, text := range parts {
			if !slices.Contains(shown[page], text) {
				t.Errorf("%s does not show this part:\n%s", page, text)
			}
		}
	}
}

func TestBlocksAreOfKnownLanguages(t *testing.T) {
	for _, page := range pages(t) {
		for _, b := range blocksOf(t, page) {
			switch b.language {
			case "go", "mermaid", "sh", "nginx", "apache", "text":
			case "json":
				if !json.Valid([]byte(b.text)) {
					t.Errorf("%s:%d: no JSON", page, b.line)
				}
			default:
				t.Errorf("%s:%d: a block of %q", page, b.line, b.language)
			}
		}
	}
}
