package main

import (
	"io"
	"strconv"
	"strings"
	"time"
)

// text implements finding.
func (k *keysReport) text(w io.Writer) error {
	f := &fields{w: w}
	f.add("server", "%s", k.Server)
	if k.Document != nil {
		k.Document.text(f)
	}
	if k.Notary != nil {
		k.Notary.text(f)
	}
	return f.err
}

func (d *shownDocument) text(f *fields) {
	f.add("valid until", "%s as published", moment(time.UnixMilli(d.ValidUntil)))
	if len(d.Keys) > 0 && d.Keys[0].ValidUntilTS != nil {
		f.add("", "%s as it counts", moment(time.UnixMilli(*d.Keys[0].ValidUntilTS)))
	}
	for _, k := range d.Keys {
		if k.ExpiredTS != nil {
			f.add("old", "%s  for events until %s", k.text(), moment(time.UnixMilli(*k.ExpiredTS)))
			continue
		}
		f.add("in use", "%s", k.text())
	}
	for _, i := range d.Ignored {
		f.add("ignored", "%q  %s", i.KeyID, i.Reason)
	}
	for i, s := range d.Signatures {
		if i == maxSignatures {
			f.add("", "and %d more", len(d.Signatures)-i)
			break
		}
		verdict := "not verified"
		if s.Verified {
			verdict = "verified"
		}
		f.add("signed by", "%q %q  %s", s.Server, s.KeyID, verdict)
	}
}

// maxSignatures is how many signatures are shown.
const maxSignatures = 50

// text has the ID quoted unless it is such that nothing else can be meant.
func (k shownKey) text() string { return plain(string(k.KeyID)) + "  " + k.Key }

func plain(id string) string {
	if quoted := strconv.Quote(id); quoted != `"`+id+`"` || strings.Contains(id, " ") {
		return quoted
	}
	return id
}

func (r *notaryReport) text(f *fields) {
	count := "documents count"
	if r.Documents == 1 {
		count = "documents counts"
	}
	f.add("notary", "%s, %d of its %s", r.Server, r.Documents, count)
	for _, reason := range r.Ignored {
		f.add("ignored", "%s", reason)
	}
	for _, k := range r.Keys {
		if k.There == nil {
			f.add(k.Verdict, "%s", plain(string(k.KeyID)))
			continue
		}
		f.add(k.Verdict, "%s", k.There.text())
	}
}
