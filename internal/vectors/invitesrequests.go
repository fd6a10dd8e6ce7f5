package main

import "strings"

func invitesAuthentication() file {
	b := newInbox("requests", "requests that come from nobody or go to nobody; the event is right", specAuth)
	w := plainWorld()
	r := briefRoom(versionOf(11))
	base := r.send(r.invite())
	unauthorized := []outcome{refusal(practice, 401, "M_UNAUTHORIZED"), refusal(must, 0, "")}
	denied := []outcome{refusal(practice, 401, "M_UNAUTHORIZED"), refusal(must, 401, "")}
	header := func(value ...string) letter { l := base; l.headers = append([]string{}, value...); return l }
	const says = "Every HTTP request made by a homeserver is authenticated using public key digital signatures."

	b.add("18 no Authorization", says, w, header(), unauthorized...)
	b.add("18 another scheme", says, w, header("Bearer abc"), unauthorized...)
	b.add("18 malformed header", says, w, header("X-Matrix origin="), unauthorized...)
	elsewhere := base
	elsewhere.to = "other.example"
	b.add("17 destination is not ours", "the receiving server must deny the request with an HTTP status code 401 Unauthorized", w, elsewhere, denied...)
	toC := base
	toC.to = keyC.server
	b.add("17 destination is a server that we know", "the receiving server must deny the request with an HTTP status code 401 Unauthorized", w, toC, denied...)
	wrong := base
	wrong.signed = canonical(with(base.body, set("12", "room_version")))
	b.add("signature of another body", says, w, wrong, unauthorized...)
	otherPath := base
	otherPath.headers = []string{authorization("a.example", "b.example", keyA.id, keyA.sign(signedRequest("PUT", inviteTarget, "a.example", "b.example", canonical(base.body))))}
	b.add("signature of another target", says, w, otherPath, unauthorized...)
	b.add("unknown key", says, w, r.send(r.invite(), from(keyANone)), unauthorized...)
	pretender := base
	pretender.headers = []string{strings.Replace(newLetterHeader(base, keyC), "c.example", "a.example", 1)}
	b.add("signature of another server", says, w, pretender, unauthorized...)
	old := w.with("a-old", keyA, publicKey{Expired: now - 1000})
	b.add("key that signs no longer", says, old, base, unauthorized...)
	b.add("server of somebody else brings the invite", saysSender, w, r.send(r.invite(), from(keyC)), invalidParam()...).Spec = specInvite
	down := plainWorld()
	down.name, down.Unavailable = "keys-of-a-unavailable", []string{keyA.server}
	b.add("keys cannot be had now", "", down, base, refusal(practice, 503, ""), refusal(practice, 500, ""), refusal(practice, 502, ""), refusal(practice, 504, ""), refusal(practice, 0, ""))

	wrongMethod := func(method string) {
		l := base
		l.method = method
		b.addRequest("method "+method, "a 405 M_UNRECOGNIZED error is used to denote an unsupported method to a known endpoint", w, r.name, l.request(),
			refusal(must, 405, "M_UNRECOGNIZED"), refusal(must, 0, "")).Spec = specUnknown
	}
	wrongMethod("POST")
	wrongMethod("DELETE")
	path := func(name, target string) {
		content := canonical(base.body)
		signature := keyA.sign(signedRequest("PUT", target, "a.example", "b.example", content))
		b.addRequest(name, "If a request for an unsupported (or unknown) endpoint is received then the server must respond with a 404 M_UNRECOGNIZED error.", w, r.name,
			newRequest("PUT", target, content, authorization("a.example", "b.example", keyA.id, signature)), refusal(must, 404, "M_UNRECOGNIZED"), refusal(must, 0, "")).Spec = specUnknown
	}
	path("path of an unknown version", strings.Replace(base.target(), "/v2/", "/v3/", 1))
	path("path without the event ID", strings.TrimSuffix(base.target(), "/"+base.eventID))
	path("path with a segment too many", base.target()+"/x")
	return b.file
}

// newLetterHeader returns the header that k would write.
func newLetterHeader(l letter, k key) string {
	return authorization(k.server, l.to, k.id, k.sign(signedRequest(l.method, l.target(), k.server, l.to, canonical(l.body))))
}
