package invitetest

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// WriteTable writes results as a table for a terminal, a line each, with the sentence below
// where a server departs from it, and a line that sums them up.
func WriteTable(w io.Writer, results []Result) error {
	b := bufio.NewWriter(w)
	for _, r := range results {
		fmt.Fprintln(b, r)
		if r.Outcome == Departed {
			fmt.Fprintf(b, "         %s\n", r.Sentence)
		}
	}
	fmt.Fprintln(b, Summary(results))
	return b.Flush()
}

// Summary says in a line how many checks came out how.
func Summary(results []Result) string {
	count := map[Outcome]int{}
	departed := map[Level]int{}
	for _, r := range results {
		count[r.Outcome]++
		if r.Outcome == Departed {
			departed[r.Level]++
		}
	}
	checks := "checks"
	if len(results) == 1 {
		checks = "check"
	}
	text := fmt.Sprintf("%d %s: %d ok", len(results), checks, count[Passed])
	for _, level := range []Level{Must, Should, Practice} {
		if n := departed[level]; n > 0 {
			text += fmt.Sprintf(", %d depart from %s", n, level)
		}
	}
	for _, o := range []Outcome{Skipped, Unknown} {
		if n := count[o]; n > 0 {
			text += fmt.Sprintf(", %d %s", n, o)
		}
	}
	return text
}

// WriteMarkdown writes results as a table for publication. Attacks are not in it, not even
// as a count: what endangers running servers is for their authors only. Nor is what a server
// said of its errors.
func WriteMarkdown(w io.Writer, results []Result) error {
	b := bufio.NewWriter(w)
	fmt.Fprintln(b, "| check | level | result | what the specification says, and what came |")
	fmt.Fprintln(b, "| --- | --- | --- | --- |")
	var public []Result
	for _, r := range results {
		if r.Attack || r.Confidential {
			continue
		}
		public = append(public, r)
		text := cell(r.Sentence)
		if r.Detail != "" {
			text += "<br>" + code(r.Detail)
		}
		fmt.Fprintf(b, "| [%s](%s) | %s | %s | %s |\n", cell(r.Name), r.Link, r.Level, r.Outcome, text)
	}
	fmt.Fprintf(b, "\n%s.\n", Summary(public))
	return b.Flush()
}

// code quotes text of a target in a cell of a table in Markdown. Nothing in a code span is a
// link, a mention or HTML. There is no way to write a backtick or a vertical line in all of them.
func code(text string) string {
	return "`" + strings.NewReplacer("\n", " ", "`", "'", "|", "¦").Replace(text) + "`"
}

// cell makes text fit for a cell of a table in Markdown.
var cell = strings.NewReplacer(
	"\n", " ", "|", "\\|", "<", "&lt;", ">", "&gt;", "[", "\\[", "]", "\\]", "*", "\\*", "_", "\\_", "`", "\\`", "&", "&amp;", "\\", "\\\\",
).Replace
