package main

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"time"
)

// steps says what the steps of the specification are about (server-server API,
// "Resolving server names").
var steps = map[string]string{
	"1":   "the name is an IP address",
	"2":   "the name has a port",
	"3.1": "delegated by .well-known to an IP address",
	"3.2": "delegated by .well-known to a name with a port",
	"3.3": "delegated by .well-known to a name with _matrix-fed._tcp records",
	"3.4": "delegated by .well-known to a name with _matrix._tcp records, which is deprecated",
	"3.5": "delegated by .well-known to a name, at port 8448",
	"4":   "by _matrix-fed._tcp records",
	"5":   "by _matrix._tcp records, which is deprecated",
	"6":   "the name itself, at port 8448",
}

// text implements finding.
func (r *route) text(w io.Writer) error {
	f := &fields{w: w}
	for _, a := range r.Answers {
		f.add("step "+a.Step, "%s", a.Question)
		switch {
		case a.Error != "":
			f.add("", "→ %s", a.Error)
		case a.Expires != 0:
			f.add("", "→ %s, until %s", a.Answer, moment(time.UnixMilli(a.Expires)))
		default:
			f.add("", "→ %s", a.Answer)
		}
	}
	f.add("server", "%s", r.Server)
	if r.Step == "" {
		return f.err
	}
	f.add("step", "%s, %s", r.Step, steps[r.Step])
	if r.Delegated != "" {
		f.add("delegated to", "%s", r.Delegated)
	}
	f.add("Host header", "%s", r.Host)
	f.add("certificate", "for %s", r.CertName)
	for _, t := range r.Targets {
		t.text(f)
	}
	if v := r.Version; v != nil {
		f.add("version", "%q %q, asked at %s", v.Name, v.Version, v.Address)
	}
	return f.err
}

func (t target) text(f *fields) {
	f.add("target", "%s", net.JoinHostPort(t.Host, strconv.Itoa(int(t.Port))))
	if t.Error != "" {
		f.add("", "%s", t.Error)
	}
	for _, a := range t.Addresses {
		switch {
		case !a.Permitted:
			f.add("", "%s  must not be connected to", a.Address)
		case a.Connection == nil:
			f.add("", "%s  may be connected to", a.Address)
		default:
			f.add("", "%s  %s", a.Address, a.Connection)
		}
	}
}

// String is what is shown in one line.
func (c *connection) String() string {
	var parts []string
	if c.Error != "" {
		parts = append(parts, "failed: "+c.Error)
	} else {
		parts = append(parts, c.TLS, c.Protocol)
	}
	if c.Certificate != nil {
		parts = append(parts, fmt.Sprintf("certificate for %s until %s by %q",
			strings.Join(c.Certificate.Names, " "), moment(time.UnixMilli(c.Certificate.NotAfter)), c.Certificate.Issuer))
	}
	return strings.Join(parts, ", ")
}
