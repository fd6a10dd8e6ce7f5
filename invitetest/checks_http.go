package invitetest

import (
	"mime"
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// httpChecks are about requests and answers whatever they are about.
func httpChecks() []Check {
	return []Check{
		{
			Name:     "http/unknown-endpoint",
			Sentence: "A request for an unknown endpoint is answered by 404 M_UNRECOGNIZED.",
			Link:     linkUnsupported, Level: Must, run: checkUnknownEndpoint,
		},
		{
			Name:     "http/method",
			Sentence: "An unsupported method to a known endpoint is answered by 405 M_UNRECOGNIZED.",
			Link:     linkUnsupported, Level: Practice, run: checkMethod,
		},
		{
			Name:     "http/content-type",
			Sentence: "Servers must include a Content-Type header of application/json for all JSON responses.",
			Link:     linkStandards, Level: Must, run: checkContentType,
		},
		{
			Name:     "http/error-content-type",
			Sentence: "Servers must include a Content-Type header of application/json for all JSON responses, those with errors too.",
			Link:     linkStandards, Level: Must, run: checkErrorContentType,
		},
		{
			Name:     "http/error-body",
			Sentence: "The keys errcode and error are always present in an error response, and are strings.",
			Link:     linkErrors, Level: Must, run: checkErrorBody,
		},
		{
			Name:     "http/no-content-type",
			Sentence: "Requesting servers should supply a Content-Type, but this is not required.",
			Link:     linkStandards, Level: Must, run: checkNoContentType,
		},
		{
			Name:     "http/charset",
			Sentence: "A Content-Type of application/json with a charset parameter is application/json.",
			Link:     linkStandards, Level: Practice, run: checkCharset,
		},
	}
}

func checkUnknownEndpoint(p *probe) {
	req, err := http.NewRequestWithContext(p.ctx, http.MethodGet, p.target.base()+"/_matrix/federation/v2/org.example.unknown", nil)
	if err == nil {
		err = xmatrix.Sign(p.ctx, req, nil, p.target.Name, p.target.Peer.Signer())
	}
	if err != nil {
		p.unknown("%v", err)
		return
	}
	p.refuses(p.do(req), refusal{http.StatusNotFound, fedinvite.CodeUnrecognized})
}

func checkMethod(p *probe) {
	_, _, q := p.invite(p.version())
	req := q.HTTP(p.ctx, p.target.base())
	req.Method = http.MethodPost
	p.refuses(p.doSigned(req, q, req.URL.RequestURI()), refusal{http.StatusMethodNotAllowed, fedinvite.CodeUnrecognized})
}

func checkContentType(p *probe) {
	_, _, q := p.invite(p.version())
	a := p.send(q)
	if p.accepts(q, a) != nil {
		p.isJSON(a)
	}
}

func checkErrorContentType(p *probe) {
	if a, ok := p.anError(); ok {
		p.isJSON(a)
	}
}

// anError is an answer that refuses.
func (p *probe) anError() (answer, bool) {
	_, _, q := p.invite(p.version())
	q.From = nil
	a := p.send(q)
	p.refuses(a, refusal{})
	return a, p.result.Outcome == 0
}

func (p *probe) isJSON(a answer) {
	header := a.header.Get("Content-Type")
	if kind, _, err := mime.ParseMediaType(header); err != nil || kind != "application/json" {
		p.departs("its Content-Type is %q", header)
	}
}

func checkErrorBody(p *probe) {
	a, ok := p.anError()
	if !ok {
		return
	}
	o, err := members(a.body)
	if err != nil {
		p.departs("the body of its error is no JSON object: %v", err)
		return
	}
	for _, name := range []string{"errcode", "error"} {
		if _, ok := stringOf(o[name]); !ok {
			p.departs("its error has no %s that is a string", name)
		}
	}
}

func checkNoContentType(p *probe) {
	_, _, q := p.invite(p.version())
	req := q.HTTP(p.ctx, p.target.base())
	req.Header.Del("Content-Type")
	p.accepts(q, p.do(req))
}

func checkCharset(p *probe) {
	_, _, q := p.invite(p.version())
	req := q.HTTP(p.ctx, p.target.base())
	req.Header.Set("Content-Type", "application/json; charset=utf-8")
	p.accepts(q, p.do(req))
}
