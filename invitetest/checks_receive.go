package invitetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// invalid is what the specification says SHOULD be answered to what is no invite.
var invalid = refusal{http.StatusBadRequest, fedinvite.CodeInvalidParam}

// receiveChecks are about what is done with an invite.
func receiveChecks() []Check {
	var all []Check
	for _, v := range fedinvite.RoomVersions() {
		all = append(all, Check{
			Name:     "receive/v" + string(v),
			Sentence: fmt.Sprintf("An invite to a room of version %s is answered by 200 and the event with the invited server's signature added.", v),
			Link:     linkInvite, Level: Must, run: func(p *probe) { p.acceptsVersion(v) },
		})
	}
	return append(all,
		Check{
			Name:     "receive/signature-of-published-key",
			Sentence: "The signature added is by a key in verify_keys of the invited server's key document.",
			Link:     linkPublishing, Level: Must, run: checkSignatureKey,
		},
		Check{
			Name:     "receive/signatures-kept",
			Sentence: "All other fields of the event remain untouched: the inviting server's signature is still there.",
			Link:     linkInvite, Level: Should, run: checkSignaturesKept,
		},
		Check{
			Name:     "receive/unsigned-kept",
			Sentence: "All other fields of the event remain untouched: so does what is in unsigned.",
			Link:     linkInvite, Level: Should, run: checkUnsignedKept,
		},
		Check{
			Name:     "receive/unsigned-not-added",
			Sentence: "All other fields of the event remain untouched: no unsigned is added.",
			Link:     linkInvite, Level: Should, run: checkUnsignedNotAdded,
		},
		Check{
			Name:     "receive/unknown-members",
			Sentence: "An event with members that the specification does not know, hashed and signed, is accepted and they stay.",
			Link:     linkSigning, Level: Must, run: checkUnknownMembers,
		},
		Check{
			Name:     "receive/twice",
			Sentence: "An invite that is sent twice is accepted twice, with the same signature.",
			Link:     linkInvite, Level: Practice, run: checkTwice,
		},
		Check{
			Name:     "receive/redacted-copy",
			Sentence: "If the hash check fails the event is used in its redacted form: a redacted copy of an invite is accepted.",
			Link:     linkValidating, Level: Should, run: checkRedactedCopy,
		},
		Check{
			Name:     "receive/type",
			Sentence: "An event that is not of type m.room.member is refused with M_INVALID_PARAM.",
			Link:     linkInvite, Level: Should, run: refusesEvent(invalid, Set("m.room.name", "type"), Set("x", "content", "name")),
		},
		Check{
			Name:     "receive/membership",
			Sentence: "An event whose membership is not invite is refused with M_INVALID_PARAM.",
			Link:     linkInvite, Level: Should, run: refusesEvent(invalid, Set("leave", "content", "membership")),
		},
		Check{
			Name:     "receive/no-membership",
			Sentence: "An event without a membership is refused with M_INVALID_PARAM.",
			Link:     linkInvite, Level: Should, run: refusesEvent(invalid, Drop("content", "membership")),
		},
		Check{
			Name:     "receive/sender",
			Sentence: "An event whose sender is not a user ID on the origin server is refused with M_INVALID_PARAM.",
			Link:     linkInvite, Level: Should, run: refusesEvent(invalid, Set("@alice:elsewhere.invalid", "sender")),
		},
		Check{
			Name:     "receive/state-key",
			Sentence: "An event whose state_key is not a user ID on the receiving server is refused with M_INVALID_PARAM.",
			Link:     linkInvite, Level: Should, run: refusesEvent(invalid, Set("@bob:elsewhere.invalid", "state_key")),
		},
		Check{
			Name:     "receive/no-state-key",
			Sentence: "An event without a state_key is refused with M_INVALID_PARAM.",
			Link:     linkInvite, Level: Should, run: refusesEvent(invalid, Drop("state_key")),
		},
		Check{
			Name:     "receive/signature-missing",
			Sentence: "An event that the sender's server has not signed fails the signature check and is refused with M_INVALID_PARAM.",
			Link:     linkInvite, Level: Should, run: checkSignatureMissing,
		},
		Check{
			Name:     "receive/signature-wrong",
			Sentence: "An event with a signature of another event fails the signature check and is refused with M_INVALID_PARAM.",
			Link:     linkInvite, Level: Should, run: checkSignatureWrong,
		},
		Check{
			Name:     "receive/unknown-key",
			Sentence: "If a signature is from an unknown key it is skipped: one by a known key beside it is enough.",
			Link:     linkValidating, Level: Must, run: checkUnknownKey,
		},
		Check{
			Name:     "receive/unknown-algorithm",
			Sentence: "Signing key identifiers with algorithms that are not understood are left out of account.",
			Link:     linkChecking, Level: Must, run: checkUnknownAlgorithm,
		},
		Check{
			Name:     "receive/other-signer",
			Sentence: "Only the signatures of the originating server are required: one of another server, whose key cannot be had, does not matter.",
			Link:     linkValidating, Level: Must, run: checkOtherSigner,
		},
		Check{
			Name:     "receive/key-validity",
			Sentence: "From room version 5 on, the key must be valid at the event's origin_server_ts: an invite that is dated beyond that is refused.",
			Link:     linkV5Validity, Level: Must, run: checkKeyValidity,
		},
		Check{
			Name:     "receive/key-validity-ignored",
			Sentence: "valid_until_ts is ignored in room versions 1, 2, 3 and 4: an invite that is dated beyond it is accepted.",
			Link:     linkKeys, Level: Must, run: checkKeyValidityIgnored,
		},
		Check{
			Name:     "receive/blocked",
			Sentence: "An invite to a user who has blocked invites is refused with 403 M_INVITE_BLOCKED.",
			Link:     linkBlocking, Level: Must, run: checkBlocked,
		},
		Check{
			Name:     "receive/unknown-user",
			Sentence: "An invite to a user who does not exist is refused with 403 M_FORBIDDEN, not with 404, after which some servers try another endpoint.",
			Link:     linkInvite, Level: Practice, run: checkUnknownUser,
		},
		Check{
			Name:     "receive/event-id-escaped",
			Sentence: "Event IDs of room version 3 may have the characters / and +, which are percent-encoded in the path.",
			Link:     linkV3IDs, Level: Must, run: checkEventIDEscaped,
		},
		Check{
			Name:     "receive/path-escaped",
			Sentence: "A path in which all punctuation of the IDs is percent-encoded means the same as one in which only what must be is.",
			Link:     linkInvite, Level: Practice, run: checkPathEscaped,
		},
	)
}

// acceptsVersion sends an ordinary invite.
func (p *probe) acceptsVersion(v fedinvite.RoomVersion, edits ...Edit) {
	if p.needs(v) {
		_, _, q := p.invite(v, edits...)
		p.accepts(q, p.send(q))
	}
}

// refusesEvent sends an invite with edits.
func refusesEvent(want refusal, edits ...Edit) func(*probe) {
	return func(p *probe) {
		_, _, q := p.invite(p.version(), edits...)
		p.refuses(p.send(q), want)
	}
}

func checkSignatureKey(p *probe) {
	if p.target.Keys != nil {
		p.skip("its keys are not those that it publishes")
		return
	}
	a := p.get(keysPath)
	if !p.answered(a) {
		return
	}
	if a.status != http.StatusOK {
		p.unknown("its keys cannot be had: it %s", a)
		return
	}
	document, err := members(a.body)
	if err != nil {
		p.unknown("its keys cannot be had: %v", err)
		return
	}
	_, _, q := p.invite(p.version())
	event := p.accepts(q, p.send(q))
	if event == nil {
		return
	}
	current, err := members(document["verify_keys"])
	if err != nil {
		p.departs("verify_keys: %v", err)
		return
	}
	for id := range p.signaturesOf(event, p.target.Name) {
		if current[id] == nil {
			p.departs("it signed with %q, which is not in verify_keys", id)
		}
	}
}

// signaturesOf returns what a server has signed an event of the target's with.
func (p *probe) signaturesOf(event json.RawMessage, name fedinvite.ServerName) map[string]json.RawMessage {
	o, err := members(event)
	if err != nil {
		return nil
	}
	signers, err := members(o["signatures"])
	if err != nil {
		return nil
	}
	of, _ := members(signers[string(name)]) // none, if it is no object
	return of
}

func checkSignaturesKept(p *probe) {
	_, invite, q := p.invite(p.version())
	event := p.accepts(q, p.send(q))
	if event == nil {
		return
	}
	peer := p.target.Peer.Name()
	got := p.signaturesOf(event, peer)
	for id, signature := range p.signaturesOf(invite, peer) {
		if !bytes.Equal(got[id], signature) {
			p.departs("the signature of %s by %s is not there any more", peer, id)
		}
	}
}

func checkUnsignedKept(p *probe) {
	_, invite, q := p.invite(p.version(), Set(Object{"age": 1, "invitetest": "kept"}, "unsigned"))
	event := p.accepts(q, p.send(q))
	if event == nil {
		return
	}
	p.sameUnsigned(invite, event)
}

func checkUnsignedNotAdded(p *probe) {
	_, invite, q := p.invite(p.version())
	event := p.accepts(q, p.send(q))
	if event == nil {
		return
	}
	p.sameUnsigned(invite, event)
}

// sameUnsigned demands that unsigned is the same in what was sent and what came back.
func (p *probe) sameUnsigned(sent, got json.RawMessage) {
	a, err1 := members(sent)
	b, err2 := members(got)
	if err1 != nil || err2 != nil {
		p.departs("the event in its answer is no object")
		return
	}
	was, is := string(a["unsigned"]), string(b["unsigned"])
	switch {
	case was == is:
	case was == "":
		p.departs("the event in its answer has got an unsigned: %s", printable(is, 200))
	case is == "":
		p.departs("the event in its answer has lost its unsigned")
	default:
		p.departs("the event in its answer has another unsigned: %s", printable(is, 200))
	}
}

func checkUnknownMembers(p *probe) {
	_, _, q := p.invite(p.version(), Set("content", "content", "org.example.unknown"), Set(Object{"a": []any{1, nil, true}}, "org.example.unknown"))
	p.accepts(q, p.send(q))
}

func checkTwice(p *probe) {
	_, _, q := p.invite(p.version())
	one := p.accepts(q, p.send(q))
	if one == nil {
		return
	}
	two := p.accepts(q, p.send(q))
	if two == nil {
		return
	}
	first, second := p.signaturesOf(one, p.target.Name), p.signaturesOf(two, p.target.Name)
	for id, signature := range first {
		if !bytes.Equal(second[id], signature) {
			p.departs("the second answer has another signature by %s", printable(id, 64))
		}
	}
}

func checkRedactedCopy(p *probe) {
	r := p.newRoom(p.version())
	redacted := r.Invite(p.invitee(), Set("Do come.", "content", "reason")).Redacted()
	q := r.Request(redacted, p.target.Name)
	p.accepts(q, p.send(q))
}

func checkSignatureMissing(p *probe) {
	r, invite, _ := p.invite(p.version())
	p.refuses(p.send(r.Request(Change(invite, Set(Object{}, "signatures")), p.target.Name)), invalid)
}

func checkSignatureWrong(p *probe) {
	r, invite, _ := p.invite(p.version())
	other := r.Invite(p.invitee(), Set(1, "depth"))
	p.refuses(p.send(r.Request(Change(invite, Set(other.Signatures(), "signatures")), p.target.Name)), invalid)
}

// fakeSignature is 64 bytes in base64.
var fakeSignature = strings.Repeat("A", 86)

func checkUnknownKey(p *probe) { p.acceptsSignature(p.target.Peer.Name(), "ed25519:unknown") }

func checkUnknownAlgorithm(p *probe) { p.acceptsSignature(p.target.Peer.Name(), "rot13:1") }

func checkOtherSigner(p *probe) { p.acceptsSignature("elsewhere.invalid", "ed25519:1") }

// acceptsSignature sends an invite with one more signature, which nobody can verify.
func (p *probe) acceptsSignature(by fedinvite.ServerName, id string) {
	r, invite, _ := p.invite(p.version())
	q := r.Request(Change(invite, Set(fakeSignature, "signatures", string(by), id)), p.target.Name)
	p.accepts(q, p.send(q))
}

// beyond dates an event at a time at which no key of today is valid: keys count for seven
// days at most.
func beyond(event Object) {
	event["origin_server_ts"] = time.Now().Add(30 * 24 * time.Hour).UnixMilli()
}

func checkKeyValidity(p *probe) {
	v := p.version()
	if rules, err := v.Rules(); err != nil || !rules.EnforceKeyValidity {
		p.skip("no room version from 5 on is tried")
		return
	}
	_, _, q := p.invite(v, beyond)
	p.refuses(p.send(q))
}

func checkKeyValidityIgnored(p *probe) {
	for _, v := range p.target.versions() {
		if rules, err := v.Rules(); err == nil && !rules.EnforceKeyValidity {
			p.acceptsVersion(v, beyond)
			return
		}
	}
	p.skip("no room version before 5 is tried")
}

func checkBlocked(p *probe) {
	if p.target.Blocking == "" {
		p.skip("no user is known who has blocked invites")
		return
	}
	r := p.newRoom(p.version())
	p.result.harmless = true // the invite is an ordinary one
	p.refuses(p.send(r.Request(r.Invite(p.target.Blocking), p.target.Name)), refusal{http.StatusForbidden, fedinvite.CodeInviteBlocked})
}

func checkUnknownUser(p *probe) {
	r := p.newRoom(p.version())
	q := r.Request(r.Invite("@nobody-"+r.seed[:10]+":"+string(p.target.Name)), p.target.Name)
	a := p.send(q)
	if a.err == nil && a.status == http.StatusOK {
		p.skip("it takes invites to any user")
		return
	}
	p.refuses(a, refusal{http.StatusForbidden, fedinvite.CodeForbidden})
}

func checkEventIDEscaped(p *probe) {
	if !p.needs(fedinvite.RoomV3) {
		return
	}
	r := p.newRoom(fedinvite.RoomV3)
	for i := range 10_000 { // one of some ten has both
		e := r.Invite(p.target.Invitee, Set(i, "content", "org.example.counter"))
		if strings.Contains(e.ID(), "/") && strings.Contains(e.ID(), "+") {
			q := r.Request(e, p.target.Name)
			p.accepts(q, p.send(q))
			return
		}
	}
	p.unknown("no such event ID was found")
}

func checkPathEscaped(p *probe) {
	_, _, q := p.invite(p.version())
	req := q.HTTP(p.ctx, p.target.base())
	path := req.URL.EscapedPath()
	escaped := strings.NewReplacer("!", "%21", "$", "%24", ":", "%3A").Replace(path)
	if escaped == path {
		p.unknown("the path is always written so")
		return
	}
	p.accepts(q, p.doSigned(req, q, escaped))
}
