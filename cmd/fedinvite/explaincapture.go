package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// What a captured request may have.
const (
	maxCapture     = 2 << 20  // bytes
	maxHead        = 64 << 10 // bytes before its body
	maxHeaderLines = 200
)

// A capture is a request as somebody has recorded it.
type capture struct {
	method, target string
	host           string
	header         http.Header
	body           []byte
	length         int64 // of the body, as announced; -1: it was not
	chunked        bool
	cut            bool   // the body ends before its announced end
	extra          int    // bytes behind it
	odd            string // why net/http would not let it through; "": it would
}

// parseCapture reads a request as HTTP/1 writes it, with either kind of line breaks. Without
// Content-Length and chunks the body is what is left. Of several requests on one connection
// it is the first one for /invite/, if there is any.
func parseCapture(data []byte) (*capture, error) {
	text, err := cleanText(data)
	if err != nil {
		return nil, err
	}
	first, rest, err := readCapture(text)
	if err != nil {
		return nil, err
	}
	for c := first; err == nil; c, rest, err = readCapture(rest) {
		if strings.Contains(c.target, "/invite/") {
			return c, nil
		}
	}
	return first, nil
}

// readCapture reads one request, and returns what may be the next.
func readCapture(text []byte) (c *capture, next []byte, err error) {
	lines := headLines{rest: bytes.TrimLeft(text, "\r\n")}
	first, err := lines.next()
	if err != nil {
		return nil, nil, err
	}
	c = &capture{header: make(http.Header), length: -1}
	if err := c.readRequestLine(first); err != nil {
		return nil, nil, err
	}
	head := []string{c.method + " " + c.target + " HTTP/1.1"}
	last := ""
	for {
		line, err := lines.next()
		if err != nil {
			return nil, nil, err
		}
		head = append(head, line)
		if line == "" {
			break
		}
		if last != "" && (line[0] == ' ' || line[0] == '\t') { // a folded line
			values := c.header[last]
			values[len(values)-1] += " " + strings.TrimSpace(line)
			continue
		}
		if last, err = c.addHeader(line); err != nil {
			return nil, nil, fmt.Errorf("line %d: %w", lines.count, err)
		}
	}
	c.odd = c.whyOdd(head)
	next, err = c.readBody(lines.rest)
	return c, next, err
}

// whyOdd says why net/http answers 400 to a request before any handler sees it.
func (c *capture) whyOdd(head []string) string {
	text := strings.Join(append(head, ""), "\r\n")
	if _, err := http.ReadRequest(bufio.NewReader(strings.NewReader(text))); err != nil {
		return err.Error()
	}
	if len(c.header["Host"]) == 0 {
		return "missing required Host header"
	}
	return ""
}

// headLines takes the lines before a body.
type headLines struct {
	rest        []byte
	count, size int
}

func (l *headLines) next() (string, error) {
	line, rest, ended := bytes.Cut(l.rest, []byte("\n"))
	l.count++
	l.size += len(line)
	if l.size > maxHead || l.count > maxHeaderLines {
		return "", fmt.Errorf("no end of the headers within %d lines and %d bytes", maxHeaderLines, maxHead)
	}
	if !ended && len(line) == 0 && l.count == 1 {
		return "", errors.New("there is no request")
	}
	l.rest = rest
	return string(bytes.TrimSuffix(line, []byte("\r"))), nil
}

func (c *capture) readRequestLine(line string) error {
	method, rest, _ := strings.Cut(line, " ")
	target, version, _ := strings.Cut(strings.TrimRight(rest, " "), " ")
	if !isToken(method) || !isTarget(target) || version != "" && !strings.HasPrefix(version, "HTTP/") || strings.Contains(version, " ") {
		return errors.New(notARequest(line))
	}
	c.method, c.target = method, target
	return nil
}

// isTarget reports whether a text could stand in a request line.
func isTarget(s string) bool {
	return s == "*" || strings.Contains(s, "/") && !strings.ContainsAny(s, " \t\r\n")
}

// isToken reports whether s is a token of HTTP, as methods and names of headers are.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, c)
	})
}

// addHeader reads one header field and returns its name as it is kept.
func (c *capture) addHeader(line string) (name string, err error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || !isToken(name) {
		return "", errors.New(`not of the form "Name: value"`)
	}
	name, value = http.CanonicalHeaderKey(name), strings.Trim(value, " \t")
	c.header.Add(name, value)
	switch name {
	case "Host":
		c.host = value
	case "Content-Length":
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil || n < 0 {
			return "", errors.New("Content-Length is no number of bytes")
		}
		if c.length >= 0 && n != c.length {
			return "", errors.New("there is another Content-Length")
		}
		c.length = n
	case "Transfer-Encoding":
		if c.chunked = strings.EqualFold(value, "chunked"); !c.chunked {
			return "", errors.New("Transfer-Encoding is not chunked")
		}
	}
	return name, nil
}

// readBody reads the body and returns what is behind it.
func (c *capture) readBody(rest []byte) (behind []byte, err error) {
	switch {
	case c.chunked:
		return c.readChunks(rest)
	case c.length < 0:
		c.body = rest
		return rest, nil // what is no invite has no body without a length
	case c.length > int64(len(rest)):
		c.body, c.cut = rest, true
		return nil, nil
	}
	c.body, behind = rest[:c.length], rest[c.length:]
	c.extra = len(behind)
	return behind, nil
}

// readChunks reads a chunked body; trailers are left.
func (c *capture) readChunks(rest []byte) (behind []byte, err error) {
	c.length = -1
	for {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		if !ended {
			c.cut = true
			return nil, nil
		}
		digits, _, _ := strings.Cut(strings.TrimSpace(string(line)), ";")
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 16, 32)
		switch {
		case err != nil:
			return nil, fmt.Errorf("the body is not chunked: %q is no length of a chunk; leave Transfer-Encoding out if it was recorded without chunks", clipped(digits))
		case n == 0:
			return c.skipTrailers(after), nil
		case n > uint64(len(after)):
			c.body, c.cut = append(c.body, after...), true
			return nil, nil
		}
		c.body = append(c.body, after[:n]...)
		rest = bytes.TrimPrefix(after[n:], []byte("\r"))
		if len(rest) > 0 && rest[0] != '\n' {
			return nil, fmt.Errorf("the body is not chunked: no line break behind a chunk of %d bytes", n)
		}
		rest = bytes.TrimPrefix(rest, []byte("\n"))
	}
}

// skipTrailers returns what is behind the empty line that ends a chunked body.
func (c *capture) skipTrailers(rest []byte) (behind []byte) {
	for {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		if !ended {
			c.cut = true
			return nil
		}
		if rest = after; len(bytes.TrimSuffix(line, []byte("\r"))) == 0 {
			return rest
		}
	}
}

// request returns the capture as a server sees it, but for what the arguments change.
func (c *capture) request(method, target string, body io.Reader, length int64) *http.Request {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		u = &url.URL{Path: "/"} // what counts is the target
	}
	return &http.Request{
		Method: method, URL: u, RequestURI: target, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: c.header, Host: c.host, Body: io.NopCloser(body), ContentLength: length,
	}
}

// reader reads the body as it came: if it broke off, so does the reader.
func (c *capture) reader() io.Reader {
	if !c.cut {
		return bytes.NewReader(c.body)
	}
	return io.MultiReader(bytes.NewReader(c.body), brokenOff{})
}

// announced is the length of the body as a server knows it beforehand.
func (c *capture) announced() int64 {
	if c.length < 0 && !c.chunked {
		return int64(len(c.body))
	}
	return c.length
}

// brokenOff is the end of a body that did not come whole.
type brokenOff struct{}

func (brokenOff) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
