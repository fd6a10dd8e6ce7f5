package main

import "strings"

// A header is the value of an Authorization header and what it says.
type header struct {
	head
	Header      string  `json:"header"`
	Expect      string  `json:"expect"` // accept, reject or implementation-defined
	Level       string  `json:"level"`
	Origin      string  `json:"origin,omitempty"`
	Destination *string `json:"destination,omitempty"`
	Key         string  `json:"key,omitempty"`
	Sig         string  `json:"sig,omitempty"`
}

// authorization is the header as the specification advises to write it.
func authorization(origin, destination, key, sig string) string {
	b := `X-Matrix origin="` + origin + `"`
	if destination != "" {
		b += `,destination="` + destination + `"`
	}
	return b + `,key="` + key + `",sig="` + sig + `"`
}

// headers is about reading the header, before any signature is looked at.
func headers() file {
	f := file{Kind: "xmatrix/parse", Source: source, About: "values of Authorization headers, and what is read from them"}
	const key, sig = "ed25519:1", "ABCDEF+/012"
	origin, destination := "a.example", "b.example"
	good := func(name, value, sentence string, level string) {
		f.Cases = append(f.Cases, header{head{Name: name, Sentence: sentence, Spec: specAuth}, value, "accept", level, origin, &destination, key, sig})
	}
	other := func(name, value, expect, sentence, level string) {
		f.Cases = append(f.Cases, header{head: head{Name: name, Sentence: sentence, Spec: specAuth}, Header: value, Expect: expect, Level: level})
	}
	full := authorization(origin, destination, key, sig)
	params := strings.TrimPrefix(full, "X-Matrix ")
	unquoted := strings.ReplaceAll(full, `"`, "")

	good("as the specification shows it", full, "", must)
	good("two spaces after the scheme", "X-Matrix  "+params, "followed by one or more spaces", must)
	good("five spaces after the scheme", "X-Matrix     "+params, "followed by one or more spaces", must)
	good("spaces and tabs around commas", strings.ReplaceAll(full, ",", " \t, \t"), "Zero or more spaces and tabs around each comma are allowed.", must)
	good("names in upper case", `X-Matrix ORIGIN="a.example",Destination="b.example",KEY="ed25519:1",Sig="`+sig+`"`, "The names are case insensitive", must)
	good("another order", `X-Matrix sig="`+sig+`",key="ed25519:1",destination="b.example",origin="a.example"`, "order does not matter", must)
	good("tokens without quotes", `X-Matrix origin=a.example,destination=b.example,key="ed25519:1",sig="`+sig+`"`,
		"if a value is a valid token, it may or may not be enclosed in quotes", must)
	good("key without quotes", `X-Matrix origin="a.example",destination="b.example",key=ed25519:1,sig="`+sig+`"`,
		"the recipient should allow colons to be included in values without requiring the value to be enclosed in quotes", should)
	good("signature without quotes", unquoted, "", practice)
	good("backslash before a letter", strings.Replace(full, "a.example", `a.ex\ample`, 1), "a backslash-character pair is replaced by the character that follows the backslash", must)
	good("backslash before a dot", strings.Replace(full, "a.example", `a\.example`, 1), "Quoted values may include backslash-escaped characters.", must)
	good("unknown parameter", full+`,foo="bar"`, "Unknown parameters are ignored.", must)
	good("unknown parameter first", "X-Matrix foo=bar,"+params, "Unknown parameters are ignored.", must)
	good("unknown parameter with an escaped quote", full+`,foo="b\"ar"`, "Quoted values may include backslash-escaped characters.", must)
	good("unknown parameter with a comma", full+`,foo="x,origin=evil.example"`, "", must)
	good("unknown parameter with an equals sign", full+`,foo="x=y"`, "", must)
	good("unknown parameter with a letter outside of ASCII", full+`,foo="é"`, "RFC 9110, section 5.6.4: obs-text in a quoted-string", must)
	good("scheme in lower case", "x-matrix "+params, "RFC 9110, section 11.1: the scheme is case insensitive", must)
	good("comma at the end", full+",", "RFC 9110, section 5.6.1: a recipient must parse and ignore empty list elements", must)
	good("comma after the scheme", "X-Matrix ,"+params, "RFC 9110, section 5.6.1: a recipient must parse and ignore empty list elements", must)
	good("empty elements", strings.ReplaceAll(full, ",", ",,"), "RFC 9110, section 5.6.1: a recipient must parse and ignore empty list elements", must)
	good("spaces around the equals sign", strings.ReplaceAll(full, `="`, ` = "`), "RFC 9110, section 5.6.3: a recipient must parse for bad white space and remove it", must)
	good("signature for sig", strings.Replace(full, "sig=", "signature=", 1), "signature: the signature of the JSON as calculated in step 1", practice)

	old := header{head{Name: "no destination", Sentence: "recipients should accept requests without this parameter", Spec: specAuth},
		authorization(origin, "", key, sig), "accept", should, origin, nil, key, sig}
	f.Cases = append(f.Cases, old)
	for _, name := range []string{"[2001:db8::1]:8448", "192.0.2.1", "a.example:8448", "A.Example", "1.example"} {
		h := old
		h.Name, h.Sentence, h.Header, h.Origin, h.Level = "server name "+name, "", authorization(name, destination, key, sig), name, must
		h.Destination = &destination
		h.Spec = specIDs
		f.Cases = append(f.Cases, h)
	}
	port := old
	port.Name, port.Sentence, port.Level = "server name with a port, without quotes", "the recipient should allow colons to be included in values without requiring the value to be enclosed in quotes", should
	port.Header, port.Origin, port.Destination = `X-Matrix origin=a.example:8448,destination=b.example,key="ed25519:1",sig="`+sig+`"`, "a.example:8448", &destination
	f.Cases = append(f.Cases, port)

	for _, missing := range []string{"origin", "key", "sig"} {
		var rest []string
		for p := range strings.SplitSeq(params, ",") {
			if !strings.HasPrefix(p, missing+"=") {
				rest = append(rest, p)
			}
		}
		other("no "+missing, "X-Matrix "+strings.Join(rest, ","), "reject", "", must)
	}
	other("nothing after the scheme", "X-Matrix", "reject", "", must)
	other("space after the scheme only", "X-Matrix ", "reject", "", must)
	other("no space after the scheme", "X-Matrix,"+params, "reject", "", must)
	other("another scheme", "Bearer abc", "reject", "", must)
	other("scheme that begins alike", "X-Matrixx "+params, "reject", "", must)
	other("empty", "", "reject", "", must)
	other("quote that does not end", strings.TrimSuffix(full, `"`), "reject", "", must)
	other("backslash at the end", strings.TrimSuffix(full, `"`)+`\"`, "reject", "", must)
	other("no commas", strings.ReplaceAll(full, ",", " "), "reject", "", must)
	other("text after a quoted value", strings.Replace(full, `"a.example"`, `"a.example"x`, 1), "reject", "", must)
	other("origin empty", authorization("", destination, key, sig), "reject", "", must)
	other("origin is no server name", authorization("a_example", destination, key, sig), "reject", "the server name of the sending server", must)
	other("origin with a path", authorization("a.example/x", destination, key, sig), "reject", "the server name of the sending server", must)
	other("origin with a user", authorization("@alice:a.example", destination, key, sig), "reject", "the server name of the sending server", must)
	other("origin with a space", authorization("a.example ", destination, key, sig), "reject", "the server name of the sending server", must)
	other("origin of 300 letters", authorization(strings.Repeat("a", 300), destination, key, sig), "reject", "", must)
	other("destination is no server name", authorization(origin, "b_example", key, sig), "reject", "", practice)
	other("origin twice", full+`,origin="c.example"`, "reject", "RFC 9110, section 11.2: parameter names must occur once", must)
	other("origin twice, alike", full+`,origin="a.example"`, "reject", "RFC 9110, section 11.2: parameter names must occur once", must)
	other("key twice", full+`,key="ed25519:2"`, "reject", "RFC 9110, section 11.2: parameter names must occur once", must)
	other("sig and signature", full+`,signature="`+sig+`"`, "implementation-defined", "", practice)
	other("origin twice, in two cases", full+`,ORIGIN="c.example"`, "reject", "The names are case insensitive", must)
	other("line break in a value", strings.Replace(full, "a.example", "a.example\n", 1), "reject", "", must)
	other("only the unknown parameter has an origin", `X-Matrix foo="x,origin=a.example",destination="b.example",key="ed25519:1",sig="`+sig+`"`, "reject", "", must)
	other("tab after the scheme", "X-Matrix\t"+params, "implementation-defined", "followed by one or more spaces", practice)
	other("origin with a letter outside of ASCII", authorization("é.example", destination, key, sig), "reject", "the server name of the sending server", must)
	other("letter outside of ASCII without quotes", full+",foo=é", "reject", "", must)
	other("signature in URL-safe base64", authorization(origin, destination, key, "ABCDEF-_012"), "implementation-defined", "", practice)
	return f
}
