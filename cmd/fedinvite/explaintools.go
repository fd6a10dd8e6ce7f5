package main

import (
	"bytes"
	"errors"
	"regexp"
)

// cleanText takes away what editors and curl -v put around a request.
func cleanText(data []byte) ([]byte, error) {
	for _, mark := range []string{"\xff\xfe", "\xfe\xff"} {
		if bytes.HasPrefix(data, []byte(mark)) {
			return nil, errors.New("the capture is in UTF-16; save it as UTF-8, which keeps the body as it was sent")
		}
	}
	text := bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	if bytes.HasPrefix(text, []byte("> ")) || bytes.HasPrefix(text, []byte("* ")) {
		return fromCurl(text), nil
	}
	return text, nil
}

// fromCurl returns the request of what curl -v prints: its lines are marked with >, those of
// the answer with <, remarks with *. What follows the head without a mark is the body.
func fromCurl(text []byte) []byte {
	var request []byte
	ended := false
	for line := range bytes.Lines(text) {
		marked, isHead := bytes.CutPrefix(line, []byte(">"))
		switch {
		case bytes.HasPrefix(line, []byte("* ")):
		case bytes.HasPrefix(line, []byte("< ")):
			return request
		case isHead && !ended:
			line = bytes.TrimPrefix(marked, []byte(" "))
			fallthrough
		default:
			request = append(request, line...)
			ended = ended || len(bytes.TrimRight(line, "\r\n")) == 0
		}
	}
	return request
}

// notRequests are what people have at hand in place of a request, by their first line.
var notRequests = [...]struct {
	first *regexp.Regexp
	said  string
}{
	{regexp.MustCompile(`^\s*[{\[]`), "this is JSON: -path is for a body alone, with -header for what it came with; from a HAR file take those out"},
	{regexp.MustCompile(`^HTTP/`), "this is a response; it is the request that explain wants"},
	{regexp.MustCompile(`^:[a-z]+:`), `these are the headers of HTTP/2; write ":method:" and ":path:" as a line "PUT /_matrix/… HTTP/2", and ":authority:" as Host`},
	{regexp.MustCompile(`^\s*curl\s`), "this is a command; for a body alone say with -path and -header what it is sent with"},
	{regexp.MustCompile(`\sIP6? .* > .*Flags \[`), "this is what tcpdump prints; let it write a file, tcpdump -w FILE, and save the stream as raw bytes, as Wireshark does by Follow, TCP Stream"},
	{regexp.MustCompile(`\S .*/_matrix/.*\sHTTP/\d`), "this looks like an access log, or like a request with spaces in its path; an access log has no headers and no body, and will not do"},
}

// notARequest says what a text is that is no request.
func notARequest(first string) string {
	said := `the first line is no request line such as "PUT /_matrix/federation/v2/invite/… HTTP/1.1"; -path is for a body alone`
	if len(first) > maxValue<<2 {
		first = first[:maxValue<<2]
	}
	for _, n := range notRequests {
		if n.first.MatchString(first) {
			return n.said
		}
	}
	return said
}
