package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/keyring"
)

const explainUsage = `Usage:
    fedinvite explain [OPTION …] [FILE]
    fedinvite explain -path PATH [-method METHOD] [-header 'NAME: VALUE' …]
                      [OPTION …] [FILE]

Find out why an invite is refused. Read a captured request for the invite endpoint
from FILE or from standard input, take it through every check that a receiving
server makes, in order, and say what the peer was told, why, and what usually causes
it; then what came of each step. What comes after a failure is judged too, as far as
it can be. Nothing is signed and nothing is stored.

The request is as HTTP/1 has it: request line, headers, an empty line and the body,
with either kind of line breaks, 2 MiB at most. The body goes by Content-Length or
chunks, else to the end of the file. Of several requests on one connection the first
for /invite/ is taken. With -path FILE is the body alone.

    passed        what the step compares is as it must be
    warning       odd, and accepted all the same
    FAILED        the first of these is the refusal that the peer got, at the latest
                  if a step before it was not judged; those after it would have
                  come next
    skipped       nothing to check: a rule of the server's own, unknown here
    not judged    the keys are not at hand, -server-name is missing, or nothing is
                  left to judge by
    not reached   nothing could be judged any more

Keys are fetched from the servers themselves, as "fedinvite keys" does; with -keys
or -offline no server is asked. Whoever wrote the request chooses which servers:
try -offline first if you do not trust it.

The exit status is 0 if the invite is accepted, or if nothing refuses it of what
could be judged; 1 if it is refused; 2 if the command was used wrongly.

Options:
    -at TIME            judge as of that time, such as 2026-01-02T15:04:05Z, or
                        seconds or milliseconds since 1970: when it was captured;
                        default: now
    -server-name NAME   our server; may be repeated. Without it the verdict is that
                        of a server with the name that the request is for
    -keys FILE          key documents of servers, as GET /_matrix/key/v2/server or
                        a notary returns them; may be repeated. Of several of one
                        server the newest counts
    -offline            ask no server for its keys
    -room-state POLICY  how strictly invite_room_state is checked: "create" (the
                        default of servers), "strict" or "off"
    -path PATH          the request's target; FILE is its body
    -method METHOD      its method; default: PUT
    -header HEADER      a header of it, 'Authorization: X-Matrix …' above all; may
                        be repeated
    -ca FILE            the certificate authorities to trust, in place of the
                        system's
    -allow PREFIX       addresses that may be connected to though they are not of
                        the public internet, such as 10.0.0.0/8, or "loopback"; may
                        be repeated
    -dns HOST:PORT      the DNS server to ask, in place of the system's
    -v                  show also what steps compare that have passed
    -json               write one JSON object; times are in milliseconds since 1970

Examples:
    $ fedinvite explain -server-name b.example request.http
    $ fedinvite explain -at 2026-01-02T15:04:05Z -path '/_matrix/federation/v2/…' \
          -header 'Authorization: X-Matrix …' body.json
`

// The names of the policies, for -room-state.
var policyNames = [...]string{
	fedinvite.StateCreateOnly: "create",
	fedinvite.StateStrict:     "strict",
	fedinvite.StateOff:        "off",
}

func runExplain(ctx context.Context, s streams, args []string) error {
	o := newExplainOptions()
	file, err := o.parse(args)
	if err != nil {
		return err
	}
	data, err := readInput(ctx, s, file)
	if err != nil {
		return err
	}
	c, err := o.capture(data)
	if err != nil {
		return err
	}
	keys, done, err := o.keyBook(s)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithTimeoutCause(ctx, inquiryTimeout, errors.New("it took too long"))
	defer cancel()
	w := newWalk(c, *o.names, o.policy, keys, o.at)
	failure := w.explain(ctx)
	r := w.report()
	r.verbose = *o.verbose
	err = o.write(s.out, r)
	return errors.Join(failure, err, r.err())
}

// explainOptions are the options of explain.
type explainOptions struct {
	*inquiry
	names        *[]fedinvite.ServerName
	keyFiles     []string
	offline      *bool
	policy       fedinvite.RoomStatePolicy
	at           time.Time // zero: now
	verbose      *bool
	path, method *string
	headers      []string
}

func newExplainOptions() *explainOptions {
	o := &explainOptions{inquiry: newInquiry("explain")}
	o.names = o.servers("server-name")
	o.offline = o.Bool("offline", false, "")
	o.verbose = o.Bool("v", false, "")
	o.path = o.String("path", "", "")
	o.method = o.String("method", "", "")
	o.Func("keys", "", func(s string) error {
		o.keyFiles = append(o.keyFiles, s)
		return nil
	})
	o.Func("header", "", func(s string) error {
		o.headers = append(o.headers, s)
		_, err := new(capture).addTo(s)
		return err
	})
	o.Func("room-state", "", func(s string) error {
		for p, name := range policyNames {
			if s == name {
				o.policy = fedinvite.RoomStatePolicy(p)
				return nil
			}
		}
		return errors.New(`not "create", "strict" or "off"`)
	})
	o.Func("at", "", func(s string) (err error) {
		o.at, err = parseTime(s)
		return err
	})
	return o
}

// parseTime reads a time as people, Matrix or Unix write it.
func parseTime(s string) (time.Time, error) {
	const seconds = 100_000_000_000 // as seconds the year 5138, as milliseconds 1973
	n, err := strconv.ParseInt(s, 10, 64)
	switch {
	case err == nil && n > 0 && n < seconds:
		return time.Unix(n, 0), nil
	case err == nil && n > 0:
		return time.UnixMilli(n), nil
	}
	t, err := time.Parse(time.RFC3339, s)
	if err != nil {
		return time.Time{}, errors.New("no time such as 2026-01-02T15:04:05Z, and no seconds or milliseconds since 1970")
	}
	return t, nil
}

// parse reads the options, and returns the FILE.
func (o *explainOptions) parse(args []string) (string, error) {
	file, err := o.parseFile(args)
	if err != nil {
		return "", err
	}
	if *o.path == "" && (*o.method != "" || len(o.headers) > 0) {
		return "", usageError("-method and -header go with -path")
	}
	return file, nil
}

// capture returns the request that the input and the options are.
func (o *explainOptions) capture(data []byte) (*capture, error) {
	if len(data) == 0 {
		return nil, usageError("there is no request: the input is empty")
	}
	if len(data) > maxCapture {
		return nil, fmt.Errorf("the request has more than %d bytes, which no server reads: a Receiver takes a body of %d (MaxBody of fedinvite.Config)", maxCapture, defaultMaxBody)
	}
	if *o.path == "" {
		return parseCapture(data)
	}
	if !isTarget(*o.path) {
		return nil, usageError("-path is no path, or has spaces")
	}
	c := &capture{method: cmp.Or(*o.method, http.MethodPut), target: *o.path, header: make(http.Header), length: -1, body: data}
	for _, h := range o.headers {
		if _, err := c.addTo(h); err != nil {
			return nil, fmt.Errorf("-header: %w", err)
		}
	}
	c.length, c.chunked = -1, false // the file is the body
	return c, nil
}

// addTo is addHeader for a capture that may have no headers yet.
func (c *capture) addTo(line string) (string, error) {
	if c.header == nil {
		c.header = make(http.Header)
	}
	return c.addHeader(line)
}

// keyBook returns where keys come from; done is to be called at the end.
func (o *explainOptions) keyBook(s streams) (keys *keyBook, done func(), err error) {
	now := time.Now()
	if o.at.IsZero() {
		o.at = now
	}
	given, ignored, err := readKeyDocuments(o.keyFiles, o.at)
	if err != nil {
		return nil, nil, err
	}
	for _, err := range ignored[:min(len(ignored), maxShown)] {
		fmt.Fprintln(s.err, "fedinvite:", oneLine(err.Error()))
	}
	if len(o.keyFiles) > 0 || *o.offline {
		keys, err = newKeyBook(nil, given, o.at, now)
		return keys, func() {}, err
	}
	fetcher, done, err := o.fetcher()
	if err != nil {
		return nil, nil, err
	}
	keys, err = newKeyBook(fetcher, nil, o.at, now)
	return keys, done, err
}

// fetcher asks other servers.
func (o *explainOptions) fetcher() (keyring.Fetcher, func(), error) {
	config, err := o.config()
	if err != nil {
		return nil, nil, err
	}
	transport, err := discovery.New(config)
	if err != nil {
		return nil, nil, err
	}
	client, err := asker(transport)
	return client, transport.CloseIdleConnections, err
}
