package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
)

// An inquiry is what the commands have in common that look at one server.
type inquiry struct {
	*flags
	others *network
	dns    discovery.DNS
	asJSON *bool
}

// inquiryTimeout ends a command whose questions are not answered.
const inquiryTimeout = time.Minute

// askTimeout bounds each request and each connection.
const askTimeout = 10 * time.Second

func newInquiry(command string) *inquiry {
	f := newFlags(command)
	q := &inquiry{flags: f, others: f.network(), asJSON: f.Bool("json", false, "")}
	q.dns = &net.Resolver{PreferGo: true}
	f.Func("dns", "", func(s string) error {
		if _, _, err := net.SplitHostPort(s); err != nil {
			return errors.New("not of the form HOST:PORT")
		}
		q.dns = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s)
		}}
		return nil
	})
	return q
}

// parseServer reads the options and the one argument.
func (q *inquiry) parseServer(args []string) (fedinvite.ServerName, error) {
	name, err := q.parseFile(args)
	if err != nil {
		return "", err
	}
	if name == "" {
		return "", usageError("SERVER is missing")
	}
	server, err := fedinvite.ParseServerName(name)
	if err != nil {
		return "", usageError(err.Error())
	}
	return server, nil
}

// config reads what the options name.
func (q *inquiry) config() (discovery.Config, error) {
	c, err := q.others.config()
	c.DNS = q.dns
	return c, err
}

// asker returns a client that makes its requests by t.
func asker(t *discovery.Transport) (*fedclient.Client, error) {
	return fedclient.New(fedclient.Config{UserAgent: userAgent(), Transport: t, Timeout: askTimeout, KeyTimeout: askTimeout, Retries: -1})
}

// A finding is what such a command has found out.
type finding interface {
	// text writes it for people, through fields.
	text(w io.Writer) error
}

// write writes what was found out, up to a failure, which is in the JSON too.
func (q *inquiry) write(w io.Writer, r finding) error {
	if !*q.asJSON {
		return r.text(w)
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return err
	}
	_, err := w.Write(escapeUnprintable(text.Bytes()))
	return err
}

// escapeUnprintable makes a line of JSON fit for a terminal: encoding/json leaves what is
// not ASCII as it is, and peers write some of it.
func escapeUnprintable(line []byte) []byte {
	escaped := make([]byte, 0, len(line))
	for _, r := range string(line) {
		switch high, low := utf16.EncodeRune(r); {
		case r == '\n' || unicode.IsPrint(r):
			escaped = utf8.AppendRune(escaped, r)
		case r > 0xffff:
			escaped = fmt.Appendf(escaped, `\u%04x\u%04x`, high, low)
		default:
			escaped = fmt.Appendf(escaped, `\u%04x`, r)
		}
	}
	return escaped
}

// errorText is for the JSON.
func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// milliseconds is how Matrix writes times, and the only way to write one of any year.
func milliseconds(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment writes a time for people.
func moment(t time.Time) string { return t.UTC().Truncate(time.Second).Format(time.RFC3339) }

// fields writes lines of two columns, the name of a thing and what is said of it.
type fields struct {
	w   io.Writer
	err error
}

// maxField is how many bytes of a line come from others at most.
const maxField = 1000

func (f *fields) add(name, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(text) > maxField {
		text = text[:maxField] + "…"
	}
	if f.err == nil {
		_, f.err = fmt.Fprintf(f.w, "%-14s%s\n", oneLine(name), oneLine(text))
	}
}
