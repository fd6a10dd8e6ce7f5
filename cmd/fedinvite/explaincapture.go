package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// What a captured request may have before its body.
const (
	maxHead        = 64 << 10 // bytes
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
	cut            bool // the body ends before its announced end
	extra          int  // bytes behind it
}

// parseCapture reads a request as HTTP/1 writes it, with either kind of line breaks. Without
// Content-Length and chunks the body is what is left.
func parseCapture(data []byte) (*capture, error) {
	lines := headLines{rest: bytes.TrimLeft(data, "\r\n")}
	first, err := lines.next()
	if err != nil {
		return nil, err
	}
	c := &capture{header: make(http.Header), length: -1}
	if err := c.readRequestLine(first); err != nil {
		return nil, err
	}
	last := ""
	for {
		line, err := lines.next()
		if err != nil {
			return nil, err
		}
		if line == "" {
			break
		}
		if last != "" && (line[0] == ' ' || line[0] == '\t') { // a folded line
			values := c.header[last]
			values[len(values)-1] += " " + strings.TrimSpace(line)
			continue
		}
		if last, err = c.addHeader(line); err != nil {
			return nil, fmt.Errorf("line %d: %w", lines.count, err)
		}
	}
	return c, c.readBody(lines.rest)
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
	method, rest, ok := strings.Cut(line, " ")
	target, _, versioned := cutLast(rest, " HTTP/")
	if !versioned {
		target = strings.TrimSpace(rest)
	}
	if !ok || method == "" || target == "" || strings.HasPrefix(strings.TrimSpace(line), "{") {
		return errors.New(`the first line is no request line such as "PUT /_matrix/federation/v2/invite/… HTTP/1.1"; -path is for a body alone`)
	}
	c.method, c.target = method, target
	return nil
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// addHeader reads one header field and returns its name as it is kept.
func (c *capture) addHeader(line string) (name string, err error) {
	name, value, ok := strings.Cut(line, ":")
	if !ok || name == "" || strings.TrimSpace(name) != name {
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

func (c *capture) readBody(rest []byte) error {
	switch {
	case c.chunked:
		return c.readChunks(rest)
	case c.length < 0:
		c.body = rest
	case c.length > int64(len(rest)):
		c.body, c.cut = rest, true
	default:
		c.body, c.extra = rest[:c.length], len(rest)-int(c.length)
	}
	return nil
}

// readChunks reads a chunked body; trailers are left.
func (c *capture) readChunks(rest []byte) error {
	c.length = -1
	for {
		line, after, ended := bytes.Cut(rest, []byte("\n"))
		if !ended {
			c.cut = true
			return nil
		}
		digits, _, _ := strings.Cut(strings.TrimSpace(string(line)), ";")
		n, err := strconv.ParseUint(strings.TrimSpace(digits), 16, 32)
		switch {
		case err != nil:
			return fmt.Errorf("the body is not chunked: %q is no length of a chunk; leave Transfer-Encoding out if it was recorded without chunks", clipped(digits))
		case n == 0:
			return nil
		case n > uint64(len(after)):
			c.body, c.cut = append(c.body, after...), true
			return nil
		}
		c.body = append(c.body, after[:n]...)
		rest = bytes.TrimPrefix(after[n:], []byte("\r"))
		rest = bytes.TrimPrefix(rest, []byte("\n"))
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
