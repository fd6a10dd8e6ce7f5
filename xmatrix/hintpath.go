package xmatrix

import (
	"net/url"
	"strings"
)

// An escaper writes one segment of a path.
type escaper func(segment string) string

// The ways in which senders write segments. All bytes but letters, digits and "-._~" are
// escaped, and all but those that are named.
var (
	asPython  = keeping("")              // urllib.parse.quote(segment, safe="")
	asGo      = escaper(url.PathEscape)  // keeps $&+=:@
	asScript  = keeping("!'()*")         // encodeURIComponent
	asRFC3986 = keeping("!$&'()*+,;=:@") // whatever a segment may hold
	escapers  = [...]escaper{asPython, asGo, asScript, asRFC3986}
)

// keeping returns an escaper that keeps the bytes of safe.
func keeping(safe string) escaper {
	const hex = "0123456789ABCDEF"
	return func(segment string) string {
		var b []byte
		for i := range len(segment) {
			c := segment[i]
			if isUnreserved(c) || strings.IndexByte(safe, c) >= 0 {
				b = append(b, c)
			} else {
				b = append(b, '%', hex[c>>4], hex[c&15])
			}
		}
		return string(b)
	}
}

func isUnreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// join writes the segments.
func (escape escaper) join(segments []string) string {
	var b strings.Builder
	for i, s := range segments {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(escape(s))
	}
	return b.String()
}

// likelySpellings returns a path as the usual servers write it, if it was decoded.
func likelySpellings(received string) []string {
	decoded, err := url.PathUnescape(received)
	if err != nil {
		return nil
	}
	segments := idSegments(decoded)
	return []string{asPython.join(segments), asGo.join(segments)}
}

// otherSpellings returns what a path may have been before somebody decoded or encoded it.
func otherSpellings(received string) []string {
	list := likelySpellings(received)
	raw := strings.Split(received, "/")
	decoded, err := url.PathUnescape(received)
	if err == nil {
		whole, segments := idSegments(decoded), make([]string, len(raw))
		for i, s := range raw {
			segments[i], _ = url.PathUnescape(s) // decoded as a whole above
		}
		for _, escape := range escapers {
			list = append(list, escape.join(whole), escape.join(segments))
		}
		list = append(list, lowerEscapes(asPython.join(whole)), decoded, (&url.URL{Path: decoded}).EscapedPath())
		list = append(list, unmerged(whole)...)
	}
	return append(list, lowerEscapes(received), upperEscapes(received), asPython.join(raw), asGo.join(raw))
}

// idSegments splits a decoded path. An event ID at its end is one segment, whatever slashes
// it holds, as those of room version 3 and older do.
func idSegments(decoded string) []string {
	before, id, found := strings.Cut(decoded, "/$")
	segments := strings.Split(before, "/")
	if found {
		segments = append(segments, "$"+id)
	}
	return segments
}

// unmerged returns the path as it was if the event ID at its end had two slashes where there
// is one.
func unmerged(segments []string) []string {
	const most = 2 // slashes that are tried
	var list []string
	last := len(segments) - 1
	id := segments[last]
	for i, tried := 0, 0; i < len(id) && tried < most; i++ {
		if id[i] != '/' {
			continue
		}
		tried++
		changed := append(segments[:last:last], id[:i]+"/"+id[i:])
		list = append(list, asPython.join(changed), asGo.join(changed))
	}
	return list
}

func lowerEscapes(s string) string { return mapEscapes(s, strings.ToLower) }

func upperEscapes(s string) string { return mapEscapes(s, strings.ToUpper) }

// mapEscapes changes the two digits of every escape.
func mapEscapes(s string, change func(string) string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			b.WriteString("%" + change(s[i+1:i+3]))
			i += 2
			continue
		}
		b.WriteByte(s[i])
	}
	return b.String()
}
