package invitetest

import (
	"net/http"

	"github.com/seed-0a46cb1a/fedinvite"
)

// The errors for bodies that are not as they should be. The specification names them
// without a MUST.
var (
	missing = []refusal{{http.StatusBadRequest, fedinvite.CodeMissingParam}, {http.StatusBadRequest, fedinvite.CodeBadJSON}}
	badJSON = []refusal{{http.StatusBadRequest, fedinvite.CodeBadJSON}, {http.StatusBadRequest, fedinvite.CodeInvalidParam}}
	notJSON = []refusal{{http.StatusBadRequest, fedinvite.CodeNotJSON}}
	noJSON  = []refusal{{http.StatusBadRequest, fedinvite.CodeNotJSON}, {http.StatusBadRequest, fedinvite.CodeBadJSON}}
)

// bodyChecks are about the body of a request by the v2 endpoint.
func bodyChecks() []Check {
	practice := func(name, sentence string, run func(*probe)) Check {
		return Check{Name: "body/" + name, Sentence: sentence, Link: linkCodes, Level: Practice, harmless: true, run: run}
	}
	return []Check{
		{
			Name:     "body/unknown-room-version",
			Sentence: "An invite to a room of a version that is not known is refused with M_INCOMPATIBLE_ROOM_VERSION.",
			Link:     linkInvite, Level: Practice, harmless: true,
			run: refusesBody([]refusal{{http.StatusBadRequest, fedinvite.CodeIncompatibleRoomVersion}}, unknownVersion),
		},
		{
			Name:     "body/unknown-room-version-named",
			Sentence: "room_version is required if the errcode is M_INCOMPATIBLE_ROOM_VERSION.",
			Link:     linkInvite, Level: Must, run: checkRoomVersionNamed,
		},
		{
			Name:     "body/unknown-members",
			Sentence: "Members of the body that the specification does not know are ignored.",
			Link:     linkInvite, Level: Practice, run: checkUnknownBodyMembers,
		},
		practice("no-room-version", "A body without room_version, which is required, is refused with M_MISSING_PARAM or M_BAD_JSON.",
			refusesBody(missing, Drop("room_version"))),
		practice("room-version-number", "A room_version that is no string is refused with M_BAD_JSON or M_INVALID_PARAM.",
			refusesBody(badJSON, Set(11, "room_version"))),
		practice("no-event", "A body without event, which is required, is refused with M_MISSING_PARAM or M_BAD_JSON.",
			refusesBody(missing, Drop("event"))),
		practice("event-string", "An event that is a string is refused with M_BAD_JSON or M_INVALID_PARAM.",
			refusesBody(badJSON, Set("event", "event"))),
		practice("event-list", "An event that is a list is refused with M_BAD_JSON or M_INVALID_PARAM.",
			refusesBody(badJSON, Set([]any{}, "event"))),
		practice("list", "A body that is JSON but no object is refused with M_NOT_JSON or M_BAD_JSON.",
			refusesBytes(noJSON, `[]`)),
		practice("empty", "An empty body is refused with M_NOT_JSON or M_BAD_JSON.", refusesBytes(noJSON, ``)),
		practice("not-json", "A body that is not JSON is refused with M_NOT_JSON.", refusesBytes(notJSON, `{"room_version":`)),
	}
}

// unknownVersion names a room version that nobody knows.
func unknownVersion(body Object) { body["room_version"] = "org.example.unknown" }

// refusesBody sends an invite with a body that was changed.
func refusesBody(want []refusal, edits ...Edit) func(*probe) {
	return func(p *probe) {
		_, _, q := p.invite(p.version())
		q.Body = Change(q.Body, edits...)
		p.refuses(p.send(q), want...)
	}
}

// refusesBytes sends another body.
func refusesBytes(want []refusal, body string) func(*probe) {
	return func(p *probe) {
		_, _, q := p.invite(p.version())
		q.Body = []byte(body)
		p.refuses(p.send(q), want...)
	}
}

func checkRoomVersionNamed(p *probe) {
	_, _, q := p.invite(p.version())
	q.Body = Change(q.Body, unknownVersion)
	a := p.send(q)
	if !p.answered(a) {
		return
	}
	if a.errcode != fedinvite.CodeIncompatibleRoomVersion {
		p.skip("its errcode is another: it %s", a)
		return
	}
	o, err := members(a.body)
	if err != nil {
		p.departs("%v", err)
		return
	}
	if o["room_version"] == nil {
		p.departs("its error has no room_version")
	} else if version, ok := stringOf(o["room_version"]); !ok || version != "org.example.unknown" {
		p.departs("room_version of its error is %s", printable(string(o["room_version"]), 100))
	}
}

func checkUnknownBodyMembers(p *probe) {
	_, _, q := p.invite(p.version())
	q.Body = Change(q.Body, Set(Object{"a": 1}, "org.example.unknown"))
	p.accepts(q, p.send(q))
}
