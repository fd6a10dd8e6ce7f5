package invitetest

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"unicode"
)

// maxExchange is how much of a request or answer is kept as text.
const maxExchange = 4 << 10

// requestText writes a request as it goes out, as far as that is of interest.
func requestText(req *http.Request) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s\nHost: %s\n", req.Method, req.URL.RequestURI(), cmp.Or(req.Host, req.URL.Host))
	writeHeader(&b, req.Header)
	if req.GetBody != nil {
		if body, err := req.GetBody(); err == nil {
			_, _ = io.Copy(&b, io.LimitReader(body, maxExchange))
			_ = body.Close()
		}
	}
	return printable(b.String(), maxExchange)
}

// responseText writes an answer.
func responseText(a answer) string {
	var b strings.Builder
	if a.status != 0 {
		fmt.Fprintf(&b, "%d %s\n", a.status, http.StatusText(a.status))
		writeHeader(&b, a.header)
	}
	b.Write(a.body[:min(len(a.body), maxExchange)])
	if a.err != nil {
		fmt.Fprintf(&b, "\n(%s)", a.err)
	}
	return printable(b.String(), maxExchange)
}

func writeHeader(b *strings.Builder, h http.Header) {
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			fmt.Fprintf(b, "%s: %s\n", name, value)
		}
	}
	b.WriteByte('\n')
}

// printable makes text of a target's fit for a terminal, and cuts it.
func printable(text string, limit int) string {
	cut := len(text) > limit
	if cut {
		text = text[:limit]
	}
	text = strings.Map(func(r rune) rune {
		if r != '\n' && !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, strings.ToValidUTF8(text, "\uFFFD"))
	if len(text) > limit { // what is not printable has grown
		cut = true
		text = strings.ToValidUTF8(text[:limit], "")
	}
	if cut {
		text += "…"
	}
	return text
}

func oneLine(text string) string { return strings.ReplaceAll(text, "\n", " ") }
