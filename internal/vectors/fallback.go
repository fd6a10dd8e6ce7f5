package main

// A fallback is an answer of the v2 endpoint, and whether v1 is asked then.
type fallback struct {
	head
	RoomVersion string            `json:"room_version"`
	Status      int               `json:"status"`
	ContentType string            `json:"content_type,omitempty"`
	Body        string            `json:"body,omitempty"`
	Expect      []fallbackOutcome `json:"expect"`
}

type fallbackOutcome struct {
	Level string `json:"level"`
	V1    bool   `json:"asks_v1"`
}

func fallbackOut() file {
	f := file{Kind: "invites-out/fallback", Source: source, About: "refusals of the v2 endpoint, and whether the inviting server asks the v1 endpoint then"}
	const says = "Senders which receive a 400 or 404 response to this endpoint should retry using the v1 API as the server may be older, if the room version is 1 or 2."
	errors := func(code string) string { return `{"errcode":"` + code + `","error":"no"}` }
	const asJSON = "application/json"
	yes, no := fallbackOutcome{should, true}, fallbackOutcome{practice, false}
	never := []fallbackOutcome{{practice, false}}
	later := []fallbackOutcome{{should, false}}
	add := func(name, version string, status int, contentType, body string, expect ...fallbackOutcome) {
		f.Cases = append(f.Cases, fallback{head{Name: name + ", room version " + version, Sentence: says, Spec: specInvite}, version, status, contentType, body, expect})
	}
	for _, v := range []string{"1", "2"} {
		add("45 404 M_UNRECOGNIZED", v, 404, asJSON, errors("M_UNRECOGNIZED"), yes)
		add("48 404 with a page", v, 404, "text/html", "<html>not found</html>", yes)
		add("48 404 without a body", v, 404, "", "", yes)
		add("45 400 M_UNRECOGNIZED", v, 400, asJSON, errors("M_UNRECOGNIZED"), yes)
		add("48 405 without a body", v, 405, "", "", fallbackOutcome{practice, true}, no)
		add("47 404 M_NOT_FOUND", v, 404, asJSON, errors("M_NOT_FOUND"), yes, no)
		add("47 400 M_INVALID_PARAM", v, 400, asJSON, errors("M_INVALID_PARAM"), yes, no)
		add("403 M_FORBIDDEN", v, 403, asJSON, errors("M_FORBIDDEN"), never...)
		add("401 M_UNAUTHORIZED", v, 401, asJSON, errors("M_UNAUTHORIZED"), never...)
		add("429 M_LIMIT_EXCEEDED", v, 429, asJSON, errors("M_LIMIT_EXCEEDED"), never...)
		add("500 M_UNKNOWN", v, 500, asJSON, errors("M_UNKNOWN"), never...)
		add("502 with a page", v, 502, "text/html", "<html>bad gateway</html>", never...)
		add("307 without a Location", v, 307, "", "", never...)
	}
	for _, v := range versions()[2:] {
		add("46 404 M_UNRECOGNIZED", v.name, 404, asJSON, errors("M_UNRECOGNIZED"), later...)
	}
	for _, v := range []string{"3", "10", "12"} {
		add("46 404 with a page", v, 404, "text/html", "<html>not found</html>", later...)
		add("46 400 M_INVALID_PARAM", v, 400, asJSON, errors("M_INVALID_PARAM"), later...)
		add("46 404 M_NOT_FOUND", v, 404, asJSON, errors("M_NOT_FOUND"), later...)
	}
	return f
}
