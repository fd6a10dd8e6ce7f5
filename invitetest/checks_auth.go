package invitetest

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// doSigned makes a request with another target of the request line, such as "/a%21?b=c".
func (p *probe) doSigned(req *http.Request, q Request, target string) answer {
	u, err := url.Parse(p.target.base() + target)
	if err != nil {
		return answer{err: err}
	}
	req.URL = u
	if err := xmatrix.Sign(p.ctx, req, q.Body, q.To, q.From); err != nil {
		return answer{err: err}
	}
	return p.do(req)
}

// authChecks are about the Authorization header of requests.
func authChecks() []Check {
	forms := []struct {
		name, sentence string
		level          Level
		write          func(a xmatrix.Auth) string // "" if there is no such form for these values
	}{
		{"scheme-case", "The name of the scheme is case insensitive (RFC 9110, section 11.1).", Practice,
			func(a xmatrix.Auth) string { return "x-matrix " + strings.TrimPrefix(a.String(), "X-Matrix ") }},
		{"names-case", "The names of parameters are case insensitive.", Must, func(a xmatrix.Auth) string {
			return parameters("Origin", quote(a.Origin), "DESTINATION", quote(a.Destination), "kEY", quote(a.Key), "Sig", quote(a.Sig))
		}},
		{"order", "The order of parameters does not matter.", Must, func(a xmatrix.Auth) string {
			return parameters("sig", quote(a.Sig), "key", quote(a.Key), "destination", quote(a.Destination), "origin", quote(a.Origin))
		}},
		{"spaces", "The scheme is followed by one or more spaces.", Must, func(a xmatrix.Auth) string {
			return strings.Replace(a.String(), " ", "   ", 1)
		}},
		{"comma-spaces", "Zero or more spaces and tabs around each comma are allowed.", Must, func(a xmatrix.Auth) string {
			return strings.Replace(strings.ReplaceAll(a.String(), `",`, "\" \t, "), ", destination", " ,destination", 1)
		}},
		{"token", "If a value is a valid token, it may or may not be enclosed in quotes.", Must, writeTokens},
		{"unquoted-colon", "The recipient should allow colons to be included in values without requiring the value to be enclosed in quotes.", Should,
			func(a xmatrix.Auth) string {
				return parameters("origin", quote(a.Origin), "destination", quote(a.Destination), "key", string(a.Key), "sig", quote(a.Sig))
			}},
		{"backslash", "A backslash-character pair in a quoted value is replaced by the character that follows the backslash.", Must,
			func(a xmatrix.Auth) string {
				return parameters("origin", escape(a.Origin), "destination", escape(a.Destination), "key", escape(a.Key), "sig", escape(a.Sig))
			}},
		{"unknown-parameter", "Unknown parameters are ignored.", Must,
			func(a xmatrix.Auth) string { return a.String() + `,invitetest="1"` }},
		{"quoted-comma", "Quoted values may have commas in them (RFC 9110, section 5.6.4), which do not separate parameters.", Practice,
			func(a xmatrix.Auth) string { return a.String() + `,invitetest="1,2"` }},
		{"signature-parameter", "The list of parameters calls sig, which it is in the examples, signature.", Practice, func(a xmatrix.Auth) string {
			return parameters("origin", quote(a.Origin), "destination", quote(a.Destination), "key", quote(a.Key), "signature", quote(a.Sig))
		}},
		{"no-destination", "For compatibility with older servers, recipients should accept requests without destination.", Should,
			func(a xmatrix.Auth) string { a.Destination = ""; return a.String() }},
	}
	var all []Check
	for _, f := range forms {
		all = append(all, Check{Name: "auth/" + f.name, Sentence: f.sentence, Link: linkRequestAuth, Level: f.level, run: acceptsHeader(f.write)})
	}
	return append(all,
		Check{
			Name:     "auth/body-respelt",
			Sentence: "The signature covers the body as JSON: white space, the order of keys and the spelling of strings do not matter.",
			Link:     linkRequestAuth, Level: Must, run: checkBodyRespelt,
		},
		Check{
			Name:     "auth/query",
			Sentence: "The target that is signed includes the ? and any query parameters if present.",
			Link:     linkRequestAuth, Level: Must, run: checkQuery,
		},
		Check{
			Name:     "auth/destination",
			Sentence: "If destination does not match the receiving server's name, the request is denied with 401.",
			Link:     linkRequestAuth, Level: Must, run: checkDestination,
		},
		Check{
			Name:     "auth/none",
			Sentence: "A request without an Authorization header is denied with 401.",
			Link:     linkRequestAuth, Level: Practice, run: checkNoAuthorization,
		},
		Check{
			Name:     "auth/wrong",
			Sentence: "A request whose signature is wrong is denied with 401.",
			Link:     linkRequestAuth, Level: Practice, run: checkWrongAuthorization,
		},
		Check{
			Name:     "auth/malformed",
			Sentence: "A request whose Authorization header lacks the signature is denied with 400 or 401.",
			Link:     linkRequestAuth, Level: Practice, run: checkMalformedAuthorization,
		},
	)
}

// acceptsHeader sends an invite with its Authorization header in another form.
func acceptsHeader(write func(xmatrix.Auth) string) func(*probe) {
	return func(p *probe) {
		_, _, q := p.invite(p.version())
		req := q.HTTP(p.ctx, p.target.base())
		auth, err := xmatrix.Parse(req.Header.Get("Authorization"))
		if err != nil {
			p.unknown("%v", err)
			return
		}
		header := write(auth)
		if header == "" {
			p.skip("neither server name is a token, because both have ports")
			return
		}
		req.Header.Set("Authorization", header)
		p.accepts(q, p.do(req))
	}
}

// parameters writes a header.
func parameters(namesAndValues ...string) string {
	var b strings.Builder
	b.WriteString("X-Matrix ")
	for i := 0; i < len(namesAndValues); i += 2 {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(namesAndValues[i] + "=" + namesAndValues[i+1])
	}
	return b.String()
}

func quote[S ~string](value S) string { return `"` + string(value) + `"` }

// escape writes a value with a backslash in it that need not be there.
func escape[S ~string](value S) string { return `"\` + string(value) + `"` }

// writeTokens quotes the server names only if it must.
func writeTokens(a xmatrix.Auth) string {
	origin, destination := token(a.Origin), token(a.Destination)
	if origin == quote(a.Origin) && destination == quote(a.Destination) {
		return ""
	}
	return parameters("origin", origin, "destination", destination, "key", quote(a.Key), "sig", quote(a.Sig))
}

// token quotes a server name if it is no token.
func token(name fedinvite.ServerName) string {
	if strings.ContainsAny(string(name), ":[]") {
		return quote(name)
	}
	return string(name)
}

func checkBodyRespelt(p *probe) {
	_, _, q := p.invite(p.version())
	respelt := strings.NewReplacer(`{"`, "\n {\t\"", `"m.room`, "\"\\u006d.room").Replace(string(q.Body))
	q.Body = []byte(respelt)
	p.accepts(q, p.send(q))
}

func checkQuery(p *probe) {
	_, _, q := p.invite(p.version())
	req := q.HTTP(p.ctx, p.target.base())
	p.accepts(q, p.doSigned(req, q, req.URL.EscapedPath()+"?org.example.unknown=1"))
}

func checkDestination(p *probe) {
	_, _, q := p.invite(p.version())
	q.To = "elsewhere.invalid"
	p.refuses(p.send(q), refusal{status: http.StatusUnauthorized})
}

func checkNoAuthorization(p *probe) {
	_, _, q := p.invite(p.version())
	q.From = nil
	p.refuses(p.send(q), refusal{status: http.StatusUnauthorized})
}

func checkWrongAuthorization(p *probe) {
	_, _, q := p.invite(p.version())
	_, _, other := p.invite(p.version())
	req := q.HTTP(p.ctx, p.target.base())
	req.Header.Set("Authorization", other.HTTP(p.ctx, p.target.base()).Header.Get("Authorization"))
	p.refuses(p.do(req), refusal{status: http.StatusUnauthorized})
}

func checkMalformedAuthorization(p *probe) {
	_, _, q := p.invite(p.version())
	req := q.HTTP(p.ctx, p.target.base())
	header, _, _ := strings.Cut(req.Header.Get("Authorization"), ",sig=")
	req.Header.Set("Authorization", header)
	p.refuses(p.do(req), refusal{status: http.StatusUnauthorized}, refusal{status: http.StatusBadRequest})
}
