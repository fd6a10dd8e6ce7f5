package main

// A requestSignature is a request and what is signed of it.
type requestSignature struct {
	head
	Method        string `json:"method"`
	Target        string `json:"target"`
	Origin        string `json:"origin"`
	Destination   string `json:"destination"`
	Body          string `json:"body,omitempty"`
	Key           string `json:"key_id"`
	Seed          string `json:"seed"`
	SignedBytes   string `json:"signed_bytes"`
	Signature     string `json:"signature"`
	Authorization string `json:"authorization"`
}

// signedRequest returns what the signature of a request covers; content is its body in
// canonical form, or "" (server-server API, "Request Authentication").
func signedRequest(method, target, origin, destination, content string) string {
	o := object{"method": method, "uri": target, "origin": origin, "destination": destination}
	if content != "" {
		o["content"] = text(content)
	}
	return canonical(o)
}

const inviteTarget = "/_matrix/federation/v2/invite/%21room%3Aa.example/$x"

func requestSignatures() file {
	f := file{Kind: "xmatrix/sign", Source: source, About: "requests, the bytes that are signed of them, and the Authorization header"}
	add := func(name, sentence, method, target string, origin key, destination, body, content string) {
		signed := signedRequest(method, target, origin.server, destination, content)
		sig := origin.sign(signed)
		f.Cases = append(f.Cases, requestSignature{
			head{Name: name, Sentence: sentence, Spec: specAuth}, method, target, origin.server, destination, body,
			origin.id, unpadded(origin.seed()), signed, sig, authorization(origin.server, destination, origin.id, sig),
		})
	}
	same := func(name, sentence, method, target, body string) {
		add(name, sentence, method, target, keyA, keyB.server, body, body)
	}
	same("GET without a body", "", "GET", "/_matrix/federation/v1/version", "")
	same("PUT with a body", "", "PUT", inviteTarget, `{"event":{},"room_version":"11"}`)
	same("PUT with an empty object", "", "PUT", "/_matrix/federation/v1/send/1", `{}`)
	same("POST", "", "POST", "/_matrix/federation/v1/user/keys/query", `{"device_keys":{"@bob:b.example":[]}}`)
	same("query parameters", "including the ? and any query parameters if present", "GET", "/_matrix/federation/v1/make_leave/!r:a/@u:b?ver=1&ver=2", "")
	same("question mark without parameters", "including the ? and any query parameters if present", "GET", "/_matrix/federation/v1/version?", "")
	same("percent escapes stay", "The request method, target and body are signed by wrapping them in a JSON object", "PUT", "/_matrix/federation/v2/invite/%21r%3aa/%24a%2Fb%2Bc", `{}`)
	same("no percent escapes", "The request method, target and body are signed by wrapping them in a JSON object", "PUT", "/_matrix/federation/v2/invite/!r:a/$a+b", `{}`)
	same("percent escapes of percent signs", "The request method, target and body are signed by wrapping them in a JSON object", "PUT", "/_matrix/federation/v2/invite/%2521r/$a", `{}`)
	same("two slashes and dots", "The request method, target and body are signed by wrapping them in a JSON object", "GET", "//_matrix/./federation/../v1/version/", "")
	same("quotes and backslashes in the target", "", "GET", `/"\`, "")
	add("body that is not canonical", "content: the JSON-parsed request body", "PUT", inviteTarget, keyA, keyB.server,
		" {\"room_version\" : \"1\\u0031\",\n\t\"event\": {\"b\":\"\\u00e9\\/\",\"a\":[ ]}} ", `{"event":{"a":[],"b":"é/"},"room_version":"11"}`)
	add("keys sorted by code point", "", "PUT", inviteTarget, keyA, keyB.server,
		`{"\ud83d\ude00":1,"\ufb33":2,"a":3,"A":4,"":5}`, "{\"\":5,\"A\":4,\"a\":3,\"\ufb33\":2,\"\U0001f600\":1}")
	add("integer past 2^53", "Events in room versions 1, 2, 3, 4, and 5 might not be fully compliant with these restrictions.", "PUT", inviteTarget, keyA, keyB.server,
		`{"n":9007199254740993}`, `{"n":9007199254740993}`)
	same("members called as the signed ones", "", "PUT", inviteTarget, `{"content":{"destination":"c.example"},"method":"GET","signatures":{},"unsigned":{}}`)
	same("text that needs escapes", "", "PUT", inviteTarget, `{"a":"\"\\\b\t\n\f\r\u0000\u001f</>&'"}`)
	ipv6 := key{"[2001:db8::1]:8448", "ed25519:a_Key9"}
	add("server names with ports", "The server names in the JSON above are the server names for each homeserver involved. Delegation … do not affect these", "PUT", inviteTarget, ipv6, "b.example:443", `{}`, `{}`)
	return f
}
