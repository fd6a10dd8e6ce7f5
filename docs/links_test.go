package docs_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
)

// linked finds the target of an inline link.
var linked = regexp.MustCompile(`\]\(([^()\s]+)\)`)

// prose returns a page without its fenced blocks and inline code.
func prose(text string) string {
	var kept strings.Builder
	open := false
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "```") {
			open = !open
		} else if !open {
			kept.WriteString(line)
		}
	}
	return kept.String()
}

// anchors returns the anchors of a page's headings, as GitHub makes them.
func anchors(text string) map[string]bool {
	found := map[string]bool{}
	for line := range strings.Lines(prose(text)) {
		heading := strings.TrimLeft(line, "#")
		if heading == line || !strings.HasPrefix(heading, " ") {
			continue
		}
		found["#"+slug(strings.TrimSpace(heading))] = true
	}
	return found
}

func slug(heading string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case unicode.IsLetter(c) || unicode.IsDigit(c) || c == '-' || c == '_':
			return unicode.ToLower(c)
		case c == ' ':
			return '-'
		}
		return -1
	}, heading)
}

// Links to other sites are not followed.
func TestLinksLeadSomewhere(t *testing.T) {
	files := []string{"../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md"}
	for _, page := range append(files, pages(t)...) {
		text := readFile(t, page)
		for _, match := range linked.FindAllStringSubmatch(prose(text), -1) {
			if strings.Contains(match[1], "://") {
				continue
			}
			target, anchor, _ := strings.Cut(match[1], "#")
			path := page
			if target != "" {
				path = filepath.Join(filepath.Dir(page), target)
			}
			if _, err := os.Stat(path); err != nil {
				t.Errorf("%s: %s leads nowhere", page, match[1])
				continue
			}
			if anchor != "" && (!strings.HasSuffix(path, ".md") || !anchors(readFile(t, path))["#"+anchor]) {
				t.Errorf("%s: %s has no anchor #%s", page, path, anchor)
			}
		}
	}
}

// Every page can be found: from the table of contents, or from a page that is in it.
func TestEveryPageIsLinked(t *testing.T) {
	all := pages(t)
	for _, page := range all {
		found := page == "README.md"
		for _, from := range all {
			found = found || from != page && strings.Contains(readFile(t, from), "]("+page+")")
		}
		if !found {
			t.Errorf("no page leads to %s", page)
		}
	}
}
