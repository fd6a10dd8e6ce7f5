package main

import "strings"

// A requestCheck is a request as it arrives, and whether its origin is believed.
type requestCheck struct {
	head
	World   string    `json:"world"`
	Request request   `json:"request"`
	Expect  []outcome `json:"expect"`
}

// requestVerification checks whole requests, but for what is in their body.
func requestVerification() file {
	f := file{Kind: "xmatrix/verify", Source: source, About: "requests as they arrive, and whether their origin is believed", Worlds: map[string]world{}}
	const body = `{"event":{"a":1},"room_version":"11"}`
	refused := []outcome{{Level: practice, Result: "refuse", Status: 401, Errcode: "M_UNAUTHORIZED"}, {Level: must, Result: "refuse"}}
	denied := []outcome{{Level: practice, Result: "refuse", Status: 401, Errcode: "M_UNAUTHORIZED"}, {Level: must, Result: "refuse", Status: 401}}
	sig := func(method, target, content string, k key, to string) string {
		return authorization(k.server, to, k.id, k.sign(signedRequest(method, target, k.server, to, content)))
	}
	add := func(name, sentence string, w world, r request, expect []outcome) {
		f.Worlds[w.name] = w
		f.Cases = append(f.Cases, requestCheck{head{Name: name, Sentence: sentence, Spec: specAuth}, w.name, r, expect})
	}
	believed := func(origin string) []outcome { return []outcome{{Level: must, Result: "accept", Origin: origin}} }
	put := func(body string, headers ...string) request { return newRequest("PUT", inviteTarget, body, headers...) }
	good := sig("PUT", inviteTarget, body, keyA, keyB.server)
	w := plainWorld()

	add("valid", "", w, put(body, good), believed("a.example"))
	add("valid, without a body", "", w, newRequest("GET", "/_matrix/federation/v1/version", "", sig("GET", "/_matrix/federation/v1/version", "", keyA, keyB.server)), believed("a.example"))
	add("valid, written another way", "content: the JSON-parsed request body", w, put(" {\"room_version\":\"\\u00311\" ,\n\"event\":{ \"a\" : 1 }}", good), believed("a.example"))
	add("valid, for another name of ours", "", w, put(body, sig("PUT", inviteTarget, body, keyA, keyB2.server)), believed("a.example"))
	add("valid, beside another scheme", "", w, put(body, "Bearer x", good), believed("a.example"))
	add("valid, beside one with an unknown key", "", w, put(body, sig("PUT", inviteTarget, body, keyANone, keyB.server), good),
		[]outcome{{Level: practice, Result: "accept", Origin: "a.example"}, {Level: practice, Result: "refuse"}})
	add("valid, header named in lower case", "", w, lowerCase(put(body, good)), believed("a.example"))
	add("valid, signature padded", "implementations SHOULD accept input with or without padding characters wherever possible", w, put(body, strings.TrimSuffix(good, `"`)+`=="`),
		[]outcome{{Level: should, Result: "accept", Origin: "a.example"}, {Level: practice, Result: "refuse"}})
	either := []outcome{refused[0], {Level: practice, Result: "refuse"}, believed("a.example")[0], believed("c.example")[0]}
	either[2].Level, either[3].Level = practice, practice
	add("two headers of two origins, both right", "", w, put(body, good, sig("PUT", inviteTarget, body, keyC, keyB.server)), either)
	add("no header", "Every HTTP request made by a homeserver is authenticated", w, put(body), refused)
	add("another scheme only", "Every HTTP request made by a homeserver is authenticated", w, put(body, "Bearer x"), refused)
	add("malformed header", "", w, put(body, "X-Matrix origin=a.example"), refused)
	add("no destination", "recipients should accept requests without this parameter", w, put(body, strings.Replace(good, `destination="b.example",`, "", 1)),
		[]outcome{{Level: should, Result: "accept", Origin: "a.example"}, {Level: practice, Result: "refuse", Status: 401, Errcode: "M_UNAUTHORIZED"}})
	add("destination is not ours", "the receiving server must deny the request with an HTTP status code 401 Unauthorized", w, put(body, sig("PUT", inviteTarget, body, keyA, "c.example")), denied)
	add("destination is changed to ours", "", w, put(body, strings.Replace(sig("PUT", inviteTarget, body, keyA, "c.example"), "c.example", "b.example", 1)), refused)
	add("destination in other case", "", w, put(body, sig("PUT", inviteTarget, body, keyA, "B.EXAMPLE")), denied)
	add("body changed", "", w, put(strings.Replace(body, "11", "12", 1), good), refused)
	add("body left out", "", w, put("", good), refused)
	add("body added", "", w, put(body, sig("PUT", inviteTarget, "", keyA, keyB.server)), refused)
	add("method changed", "", w, newRequest("POST", inviteTarget, body, good), refused)
	add("query added", "", w, newRequest("PUT", inviteTarget+"?x=1", body, good), refused)
	add("target spelt another way", "The request method, target and body are signed by wrapping them in a JSON object", w, newRequest("PUT", strings.Replace(inviteTarget, "%21", "!", 1), body, good), refused)
	add("origin changed", "", w, put(body, strings.Replace(good, "a.example", "c.example", 1)), refused)
	add("signature of another server", "", w, put(body, strings.Replace(sig("PUT", inviteTarget, body, keyC, keyB.server), "c.example", "a.example", 1)), refused)
	add("unknown key", "", w, put(body, sig("PUT", inviteTarget, body, keyANone, keyB.server)), refused)
	add("unknown server", "", w, put(body, sig("PUT", inviteTarget, body, key{"d.example", "ed25519:1"}, keyB.server)), refused)
	add("unknown algorithm", "", w, put(body, strings.Replace(good, "ed25519:1", "ed448:1", 1)), refused)
	add("signature cut short", "", w, put(body, good[:len(good)-3]+`"`), refused)
	add("signature is no base64", "", w, put(body, authorization("a.example", "b.example", "ed25519:1", strings.Repeat("*", 86))), refused)
	add("signature zero", "", w, put(body, authorization("a.example", "b.example", "ed25519:1", strings.Repeat("A", 86))), refused)
	valid := plainWorld().with("a-valid-until-now", keyA, publicKey{ValidUntil: now})
	add("key valid until now", "", valid, put(body, good), believed("a.example"))
	over := plainWorld().with("a-not-valid-any-more", keyA, publicKey{ValidUntil: now - 1})
	add("key not valid any more", "", over, put(body, good), refused)
	old := plainWorld().with("a-old", keyA, publicKey{Expired: now - 1000})
	add("old key", "", old, put(body, good), refused)
	return f
}

// lowerCase writes the names of the headers in lower case.
func lowerCase(r request) request {
	for i := range r.Headers {
		r.Headers[i][0] = strings.ToLower(r.Headers[i][0])
	}
	return r
}
