package invitetest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// eventChecks are about the format of events: "Is a valid event, otherwise it is dropped."
func eventChecks() []Check {
	must := func(name, sentence, link string, run func(*probe)) Check {
		return Check{Name: "event/" + name, Sentence: sentence, Link: link, Level: Must, run: run}
	}
	// Authorisation rules are no part of the receipt of an invite.
	practice := func(name, sentence, link string, run func(*probe)) Check {
		c := must(name, sentence, link, run)
		c.Level = Practice
		return c
	}
	// Who signs what breaks a limit may make trouble for others.
	limit := func(name, sentence, link string, run func(*probe)) Check {
		c := must(name, sentence, link, run)
		c.Attack = true
		return c
	}
	checks := []Check{
		limit("auth-events-limit", "auth_events must contain less than or equal to 10 events: an event with 11 is refused.", linkV4Format,
			refusesReferences("auth_events", 11)),
		limit("prev-events-limit", "prev_events must contain less than or equal to 20 events: an event with 21 is refused.", linkV4Format,
			refusesReferences("prev_events", 21)),
		must("auth-events-form", "From room version 3 on auth_events are event IDs: an event with pairs of ID and hash is refused.", linkV4Format,
			checkAuthEventsForm),
		must("auth-events-form-v1", "In room versions 1 and 2 auth_events are pairs of event ID and hash: an event with IDs alone is refused.", linkV1Format,
			checkAuthEventsFormV1),
		must("event-id-v1", "In room versions 1 and 2 event_id is required: an event without it is refused.", linkV1Format, checkEventIDV1),
		practice("create-in-auth-events", "In room version 12 m.room.create must not be selected for auth_events: an event that lists it is refused.", linkV12Auth,
			checkCreateInAuthEvents),
		limit("state-key-limit", "state_key must not exceed 255 bytes: an event whose state_key has 256 is refused.", linkSizes, checkStateKeyLimit),
		{
			Name:     "event/canonical-json",
			Sentence: "From room version 6 on Canonical JSON is strictly enforced: an event with a fraction is refused with 400 M_BAD_JSON.",
			Link:     linkV6Canonical, Level: Must, run: checkCanonicalJSON,
		},
		{
			Name:     "event/canonical-json-ignored",
			Sentence: "In room versions 1 to 5 Canonical JSON is not strictly enforced: an event with a fraction is accepted.",
			Link:     linkV1Canonical, Level: Must, run: checkCanonicalJSONIgnored,
		},
		{
			Name:     "event/origin",
			Sentence: "An event with the member origin, which the endpoint's schema lists and PDUs do not have, is accepted.",
			Link:     linkInvite, Level: Must, run: checkOrigin,
		},
		must("no-hashes", "hashes is required: an event without it is refused.", linkV4Format, checkNoHashes),
	}
	for _, name := range []string{"auth_events", "prev_events", "depth", "origin_server_ts"} {
		checks = append(checks, must("no-"+strings.ReplaceAll(name, "_", "-"), name+" is required: an event without it is refused.", linkV4Format,
			refusesWithout(name)))
	}
	return checks
}

// malformed returns the request for an event that perhaps is none. Its path has the event ID
// all the same, so that this is nothing to stumble over.
func (p *probe) malformed(r *Room, event json.RawMessage) Request {
	q := r.Request(event, p.target.Name)
	o := Decode(event)
	if r.rules.EventIDs == fedinvite.EventIDServer {
		q.EventID, _ = o["event_id"].(string)
		return q
	}
	// The redacted form of an invite, in all room versions that have such event IDs.
	delete(o, "signatures")
	delete(o, "unsigned")
	if content, ok := o["content"].(Object); ok {
		o["content"] = Object{"membership": content["membership"]}
	}
	canonical, err := fedinvite.LegacyCanonicalJSON(Encode(o))
	if err != nil {
		return q
	}
	hash, encoding := sha256.Sum256(canonical), base64.RawURLEncoding
	if r.rules.EventIDs == fedinvite.EventIDBase64 {
		encoding = base64.RawStdEncoding
	}
	q.RoomID, q.EventID = r.ID(), "$"+encoding.EncodeToString(hash[:])
	return q
}

// refusesEdited sends an event with edits, which is none any more. Any refusal will do.
func (p *probe) refusesEdited(v fedinvite.RoomVersion, edits ...Edit) {
	r := p.newRoom(v)
	p.refuses(p.send(p.malformed(r, r.Sign(r.InviteDraft(p.invitee(), edits...)))))
}

// refusesReferences sends an invite that refers to too many events.
func refusesReferences(member string, n int) func(*probe) {
	return func(p *probe) {
		r := p.newRoom(p.version())
		all := make([]any, n)
		for i := range all {
			all[i] = r.references(r.Invite(p.target.Invitee, Set(i, "content", "org.example.counter")))[0]
		}
		p.refuses(p.send(p.malformed(r, r.Sign(r.InviteDraft(p.invitee(), Set(all, member))))))
	}
}

// refusesWithout sends an invite that lacks a member.
func refusesWithout(member string) func(*probe) {
	return func(p *probe) { p.refusesEdited(p.version(), Drop(member)) }
}

// checkNoHashes sends an event that is signed but not hashed.
func checkNoHashes(p *probe) {
	r := p.newRoom(p.version())
	// Nothing is redacted of an event that has no more than this.
	signed, err := fedinvite.SignJSON(p.ctx, Encode(r.InviteDraft(p.invitee())), p.target.Peer.Signer())
	if err != nil {
		p.unknown("%v", err)
		return
	}
	p.refuses(p.send(p.malformed(r, signed)))
}

func checkAuthEventsForm(p *probe) {
	v := p.version()
	if rules, err := v.Rules(); err != nil || rules.EventIDs == fedinvite.EventIDServer {
		p.skip("no room version from 3 on is tried")
		return
	}
	pair := func(event Object) {
		ids, _ := event["auth_events"].([]any)
		for i, id := range ids {
			ids[i] = []any{id, Object{"sha256": strings.Repeat("A", 43)}}
		}
	}
	p.refusesEdited(v, pair)
}

// early is the first version to be tried in which event IDs are chosen by servers.
func (p *probe) early() (fedinvite.RoomVersion, bool) {
	for _, v := range p.target.versions() {
		if rules, err := v.Rules(); err == nil && rules.EventIDs == fedinvite.EventIDServer {
			return v, true
		}
	}
	p.skip("neither room version 1 nor 2 is tried")
	return "", false
}

func checkAuthEventsFormV1(p *probe) {
	v, ok := p.early()
	if !ok {
		return
	}
	single := func(event Object) {
		pairs, _ := event["auth_events"].([]any)
		for i, pair := range pairs {
			if pair, ok := pair.([]any); ok {
				pairs[i] = pair[0]
			}
		}
	}
	p.refusesEdited(v, single)
}

func checkEventIDV1(p *probe) {
	v, ok := p.early()
	if !ok {
		return
	}
	p.refusesEdited(v, Drop("event_id"))
}

func checkCreateInAuthEvents(p *probe) {
	if !p.needs(fedinvite.RoomV12) {
		return
	}
	r := p.newRoom(fedinvite.RoomV12)
	event := r.InviteDraft(p.invitee())
	ids, _ := event["auth_events"].([]any)
	event["auth_events"] = append(slices.Clone(ids), "$"+strings.TrimPrefix(r.ID(), "!"))
	p.refuses(p.send(r.Request(r.Sign(event), p.target.Name)))
}

func checkStateKeyLimit(p *probe) {
	withLength := func(n int) answer {
		long := "@" + strings.Repeat("a", max(1, n-len("@:")-len(p.target.Name))) + ":" + string(p.target.Name)
		r := p.newRoom(p.version())
		return p.send(p.malformed(r, r.Sign(r.InviteDraft(long))))
	}
	short, long := withLength(255), withLength(256)
	if p.answered(short) && short.status != http.StatusOK && short.status == long.status && short.errcode == long.errcode {
		p.skip("it %s where there are 255 bytes too, perhaps because there is no such user", short)
		return
	}
	p.refuses(long)
}

// fraction is a number that Canonical JSON does not have, and that everybody writes alike.
var fraction = Set(json.RawMessage("1.5"), "content", "org.example.number")

func checkCanonicalJSON(p *probe) {
	v := p.version()
	if rules, err := v.Rules(); err != nil || !rules.StrictJSON {
		p.skip("no room version from 6 on is tried")
		return
	}
	// Signed by the rules of an earlier version, which redact the event to the same.
	rules, err := fedinvite.RoomV5.Rules()
	if err != nil {
		p.unknown("%v", err)
		return
	}
	r := p.newRoom(v)
	signed, err := fedinvite.SignEventJSON(p.ctx, Encode(r.InviteDraft(p.invitee(), fraction)), rules, p.target.Peer.Signer())
	if err != nil {
		p.unknown("%v", err)
		return
	}
	p.refuses(p.send(r.Request(signed, p.target.Name)), refusal{http.StatusBadRequest, fedinvite.CodeBadJSON})
}

func checkCanonicalJSONIgnored(p *probe) {
	for _, v := range slices.Backward(p.target.versions()) {
		if rules, err := v.Rules(); err == nil && !rules.StrictJSON {
			p.acceptsVersion(v, fraction)
			return
		}
	}
	p.skip("no room version before 6 is tried")
}

func checkOrigin(p *probe) {
	_, _, q := p.invite(p.version(), Set(p.target.Peer.Name(), "origin"))
	p.accepts(q, p.send(q))
}
