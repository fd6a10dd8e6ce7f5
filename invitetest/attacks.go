package invitetest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// What is attacked beyond what the other checks are about.
const (
	linkJSON       = spec + "appendices/#canonical-json"
	linkExhaustion = spec + "appendices/#threat-resource-exhaustion"
	linkV8Auth     = spec + "rooms/v8/#authorisation-rules"
)

// An attack is a check that a hostile server makes. It tries one thing after the other, and
// a victim must not fall for any.
type attack struct {
	name, sentence, link string
	level                Level
	rooms                func(fedinvite.Rules) bool // room versions in which it makes sense; nil: all
	sends                bool                       // the victim is the one who invites
	tries                []try
}

// A try is one form of an attack.
type try struct {
	name string
	run  func(f *foe)
}

// allAttacks returns the attacks, in the order of the receive pipeline, then those on who
// invites.
func allAttacks() []attack {
	return slices.Concat(requestAttacks(), jsonAttacks(), bombAttacks(), signingAttacks(), thirdPartyAttacks(),
		signatureAttacks(), stateAttacks(), replyAttacks())
}

// attacks returns them as checks.
func attacks() []Check {
	var all []Check
	for _, a := range allAttacks() {
		all = append(all, a.check())
	}
	return all
}

func (a attack) check() Check {
	return Check{Name: "attack/" + a.name, Sentence: a.sentence, Link: a.link, Level: a.level, Attack: true, run: a.run}
}

// run makes all tries, whatever comes of one. That they fail says something only of a
// target that takes what is in order.
func (a attack) run(p *probe) {
	v, ok := a.version(p.target)
	switch {
	case !ok:
		p.skip("it is tried with no room version in which this makes sense")
		return
	case a.sends && p.target.Invite == nil:
		p.skip("Target.Invite is not set")
		return
	case a.sends && !p.invites(v), !a.sends && !p.takesInvites(v):
		return
	}
	var worst Result
	var skipped []string
	for _, t := range a.tries {
		result := Result{Check: p.result.Check}
		t.run(newFoe(p, v, &result))
		p.result.Exchange = append(p.result.Exchange, result.Exchange...)
		if result.Outcome == Skipped {
			skipped = append(skipped, t.name+": "+result.Detail)
		}
		if gravity(result.Outcome) > gravity(worst.Outcome) {
			worst = result
			worst.Detail, worst.about = t.name+": "+result.Detail, len(p.result.Exchange)
		}
	}
	switch {
	case worst.Outcome != 0:
		p.note(worst.Outcome, "%s", worst.Detail)
		p.result.Said, p.result.about = worst.Said, worst.about
	case len(skipped) == len(a.tries):
		p.skip("%s", strings.Join(skipped, "; "))
	case len(skipped) > 0:
		p.note(Passed, "but for what could not be tried: %s", strings.Join(skipped, "; "))
	}
}

// gravity orders what may have come of a try. A zero Outcome is that it failed, as it should.
func gravity(o Outcome) int { return slices.Index([]Outcome{Skipped, 0, Unknown, Departed}, o) }

// version is the room version in which the attack is made.
func (a attack) version(t Target) (fedinvite.RoomVersion, bool) {
	fits := func(v fedinvite.RoomVersion) bool {
		rules, err := v.Rules()
		return err == nil && (a.rooms == nil || a.rooms(rules))
	}
	if fits(t.version()) {
		return t.version(), true
	}
	for _, v := range slices.Backward(t.versions()) {
		if fits(v) {
			return v, true
		}
	}
	return "", false
}

// stillServes demands that an invite that is in order is accepted, after all that happened.
func (f *foe) stillServes() {
	_, _, q := f.invite(f.version)
	if a := f.send(q); f.answered(a) && a.status != http.StatusOK {
		f.departs("afterwards it %s to an invite that is in order", a)
	}
}

// A foe is the hostile peer in one try. It can do what a probe can.
type foe struct {
	*probe
	version fedinvite.RoomVersion
	room    *Room
	invitee string // whom it invites
	guest   string // whom the target invites
}

func newFoe(p *probe, v fedinvite.RoomVersion, result *Result) *foe {
	own := &probe{session: p.session, ctx: p.ctx, result: result}
	return &foe{probe: own, version: v, room: own.newRoom(v), invitee: own.invitee()}
}

// refuses demands any refusal: attacks are also about the request.
func (f *foe) refuses(a answer) { f.probe.refuses(a, refusal{}) }

// name is the server name of the peer.
func (f *foe) name() fedinvite.ServerName { return f.target.Peer.Name() }

// signed returns an invite that was changed before it was hashed and signed.
func (f *foe) signed(edits ...Edit) []byte {
	return f.room.Sign(f.room.InviteDraft(f.invitee, edits...))
}

// request returns the request that fits an event.
func (f *foe) request(event []byte) Request { return f.room.Request(textOf(event), f.target.Name) }

// fails makes a request that must be refused.
func (f *foe) fails(q Request) { f.refuses(f.send(q)) }

// failsWith makes a request with another body than the one that was signed, such as one
// that a careless reader takes for it.
func (f *foe) failsWith(q Request, body string) {
	req := q.HTTP(f.ctx, f.target.base())
	setBody(req, []byte(body))
	f.refuses(f.do(req))
}

// failsReplaced is failsWith of a text in the body that is another one.
func (f *foe) failsReplaced(q Request, old, new string) {
	f.failsWith(q, string(replaceOnce(q.Body, old, new)))
}

// edited is the try of an invite that was changed before it was hashed and signed.
func edited(name string, edits ...Edit) try {
	return requested(name, func(f *foe) Request { return f.request(f.signed(edits...)) })
}

// changed is the try of an invite that was changed after it was signed.
func changed(name string, edits func(f *foe, event []byte) []Edit) try {
	return requested(name, func(f *foe) Request {
		event := f.signed()
		return f.request(Change(event, edits(f, event)...))
	})
}

// requested is the try of a request that must be refused.
func requested(name string, request func(f *foe) Request) try {
	return try{name, func(f *foe) { f.fails(request(f)) }}
}
