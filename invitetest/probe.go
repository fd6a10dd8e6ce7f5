package invitetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
)

// maxAnswer bounds what is read of an answer.
const maxAnswer = 1 << 20

// errAnswerSize: an answer goes on after maxAnswer bytes.
var errAnswerSize = errors.New("an answer of more than 1 MiB")

// A probe is one run of a check. The first departure, skip or unknown that it is told of is
// its result; it has passed if it is told of none.
type probe struct {
	*session
	ctx    context.Context
	result *Result
	tried  fedinvite.RoomVersion // of the last room that was made; "": there is none

	departures int    // that were noted
	said       string // the error of the last answer
}

// An answer is what the target said to a request.
type answer struct {
	status  int
	header  http.Header
	errcode fedinvite.Code // of an error body; "" if there is none
	body    []byte
	err     error // there was no answer
}

// said is what the target says itself of an error; "" if it says nothing.
func (a answer) said() string {
	o, err := members(a.body)
	if err != nil {
		return ""
	}
	text, _ := stringOf(o["error"])
	return oneLine(printable(text, maxSaid))
}

// maxSaid is how much of what the target says of its errors is shown.
const maxSaid = 80

// saying adds what the target said to what it did.
func saying(said string) string {
	if said == "" {
		return ""
	}
	return fmt.Sprintf(" (%q)", said)
}

// String says of an answer what matters, for details.
func (a answer) String() string {
	switch {
	case a.err != nil:
		return fmt.Sprintf("does not answer (%s)", a.err)
	case a.errcode != "":
		return fmt.Sprintf("answers %d %s", a.status, printable(string(a.errcode), 64))
	}
	return fmt.Sprintf("answers %d", a.status)
}

// A refusal is a status and an errcode; "" stands for any errcode, 0 for any 4xx status.
type refusal struct {
	status  int
	errcode fedinvite.Code
}

func (r refusal) String() string {
	switch {
	case r.status == 0 && r.errcode == "":
		return "4xx"
	case r.status == 0:
		return string(r.errcode)
	case r.errcode == "":
		return strconv.Itoa(r.status)
	}
	return fmt.Sprintf("%d %s", r.status, r.errcode)
}

// is reports whether the answer is that refusal.
func (r refusal) is(a answer) bool {
	return (r.status == a.status || r.status == 0 && a.status/100 == 4) && (r.errcode == "" || r.errcode == a.errcode)
}

// version is the room version for checks that are not about one: 11 if the target is to be
// tried with it, else the last of its versions.
func (p *probe) version() fedinvite.RoomVersion { return p.target.version() }

// newRoom returns a new room of a user of the peer. Each has a creator of its own, so that
// limits by sender do not matter.
func (p *probe) newRoom(v fedinvite.RoomVersion) *Room {
	p.rooms++
	p.tried = v
	return p.target.Peer.NewRoom(v, fmt.Sprintf("@inviter-%d:%s", p.rooms, p.target.Peer.Name()))
}

// invitee returns the next user to invite.
func (p *probe) invitee() string {
	all := p.target.invitees()
	p.invited++
	return all[p.invited%len(all)]
}

// invite returns a new room, an invite to it that was changed before it was hashed and
// signed, and the request for it.
func (p *probe) invite(v fedinvite.RoomVersion, edits ...Edit) (*Room, json.RawMessage, Request) {
	r := p.newRoom(v)
	invite := r.Sign(r.InviteDraft(p.invitee(), edits...))
	return r, invite, r.Request(invite, p.target.Name)
}

// A target that answers 429 is asked again so often, and not before that time, whatever it
// says.
const (
	maxRepeats = 20
	leastWait  = 250 * time.Millisecond
)

// send makes a request to the target and notes it and the answer. While the answer is 429 it
// waits as long as that says, but not longer than the target's timeout, and tries again. Of
// the answers to such a request the first and the last are noted.
func (p *probe) send(q Request) answer { return p.do(q.HTTP(p.ctx, p.target.base())) }

// do is send for any request. One with a body must have GetBody.
func (p *probe) do(req *http.Request) answer {
	if host := p.target.host(); host != "" {
		req.Host = host
	}
	enough, noted := time.Now().Add(p.target.timeout()), len(p.result.Exchange)
	for repeats := 0; ; repeats++ {
		a := p.once(req)
		if n := len(p.result.Exchange); n > noted+2 {
			p.result.Exchange = slices.Delete(p.result.Exchange, noted+1, n-1)
		}
		wait := max(retryAfter(a), leastWait)
		if a.err != nil || a.status != http.StatusTooManyRequests || repeats == maxRepeats || time.Now().Add(wait).After(enough) {
			return a
		}
		select {
		case <-time.After(wait):
		case <-p.ctx.Done():
			return a
		}
	}
}

// once makes a request, once.
func (p *probe) once(req *http.Request) (a answer) {
	ctx, cancel := context.WithTimeout(p.ctx, p.target.timeout())
	defer cancel()
	req = req.Clone(ctx)
	if req.GetBody != nil {
		if req.Body, a.err = req.GetBody(); a.err != nil {
			return a
		}
	}
	x := Exchange{Request: requestText(req)}
	defer func() {
		x.Response = responseText(a)
		p.result.Exchange = append(p.result.Exchange, x)
		p.said = a.said()
	}()
	res, err := p.roundTripper.RoundTrip(req)
	if err != nil {
		a.err = err
		return a
	}
	defer func() { _ = res.Body.Close() }()
	a.status, a.header = res.StatusCode, res.Header
	a.body, a.err = io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if len(a.body) > maxAnswer {
		a.body, a.err = a.body[:maxAnswer], errAnswerSize
	}
	a.errcode = errcodeOf(a.body)
	return a
}

// errcodeOf reads an error body; "" if it is none.
func errcodeOf(body []byte) fedinvite.Code {
	o, err := members(body)
	if err != nil {
		return ""
	}
	code, _ := stringOf(o["errcode"])
	return fedinvite.Code(code)
}

// members reads an object that came from the target.
func members(object []byte) (map[string]json.RawMessage, error) {
	canonical, err := fedinvite.LegacyCanonicalJSON(object)
	if err != nil {
		return nil, err
	}
	var o map[string]json.RawMessage
	if err := json.Unmarshal(canonical, &o); err != nil || o == nil {
		return nil, fmt.Errorf("%w: not an object", fedinvite.ErrBadJSON)
	}
	return o, nil
}

// stringOf returns a JSON string's value.
func stringOf(raw json.RawMessage) (s string, ok bool) {
	return s, len(raw) > 0 && raw[0] == '"' && json.Unmarshal(raw, &s) == nil
}

// retryAfter is how long an answer 429 asks to wait.
func retryAfter(a answer) time.Duration {
	if ms, err := retryAfterMS(a.body); err == nil && ms >= 0 && ms < 1e9 {
		return time.Duration(ms) * time.Millisecond
	}
	if s, err := strconv.Atoi(a.header.Get("Retry-After")); err == nil && s >= 0 && s < 1e6 {
		return time.Duration(s) * time.Second
	}
	return time.Second
}

func retryAfterMS(body []byte) (int64, error) {
	o, err := members(body)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(string(o["retry_after_ms"]), 10, 64)
}

// accepts demands that the answer is 200 with the event that was sent, with a valid signature
// of the target added, and returns that event; nil if it is not.
func (p *probe) accepts(q Request, a answer) json.RawMessage {
	event, err := p.signedEvent(q, a)
	switch {
	case err == nil:
		return event
	case unavailable(err):
		p.unknown("its keys cannot be had: %v", err)
	case !p.answered(a):
	case p.unsupported(a) && p.unsupported(p.ordinaryAnswer(p.tried)):
		p.skipsVersion(a)
	default:
		p.departs("%v", err)
	}
	return nil
}

// ordinaryAnswer is what the target answers to an invite that is in order, to a room of a
// version. It is asked once in a session, if it answers.
func (p *probe) ordinaryAnswer(v fedinvite.RoomVersion) answer {
	a, ok := p.ordinary[v]
	if !ok {
		own := &probe{session: p.session, ctx: p.ctx, result: &Result{}}
		_, _, q := own.invite(v)
		if a = own.send(q); own.answered(a) {
			p.ordinary[v] = a
		}
	}
	return a
}

// takesInvites reports whether an invite that is in order is accepted: else that something
// was refused says nothing.
func (p *probe) takesInvites(v fedinvite.RoomVersion) bool {
	p.tried = v
	a := p.ordinaryAnswer(v)
	switch {
	case a.err == nil && a.status == http.StatusOK:
		return true
	case p.unsupported(a):
		p.skipsVersion(a)
	default:
		p.unknown("it %s to an invite that is in order too", a)
	}
	return false
}

// unsupported reports whether an answer says that the target does not know the room version.
// It need not, unless it was said that it does.
func (p *probe) unsupported(a answer) bool {
	says := a.errcode == fedinvite.CodeIncompatibleRoomVersion || a.errcode == fedinvite.CodeUnsupportedRoomVersion
	return says && a.err == nil && p.tried != "" && len(p.target.Versions) == 0
}

func (p *probe) skipsVersion(a answer) {
	p.skip("it %s to room version %s; Target.Versions says which are tried", a, p.tried)
}

// answered reports whether there is an answer that says something. Else it notes that it
// cannot be told.
func (p *probe) answered(a answer) bool {
	switch a.status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
	default:
		if a.err == nil {
			return true
		}
	}
	p.unknown("it %s", a)
	return false
}

// signedEvent returns the event of an answer that accepts an invite, if it is right.
func (p *probe) signedEvent(q Request, a answer) (json.RawMessage, error) {
	if a.err != nil || a.status != http.StatusOK {
		return nil, fmt.Errorf("%s%s", a, p.expected([]refusal{{status: http.StatusOK}}))
	}
	event, err := eventOf(q, a)
	if err != nil {
		return nil, fmt.Errorf("its answer is not of the form: %w", err)
	}
	sent, err := sentEvent(q)
	if err != nil {
		return nil, err
	}
	keys, err := p.keys()
	if err != nil {
		return nil, err
	}
	_, err = fedinvite.MergeReply(p.ctx, sent, event, p.target.Name, keys)
	if err != nil && !sent.HashOK() {
		// It may have returned what it went on with.
		_, err = fedinvite.MergeReply(p.ctx, sent.Redacted(), event, p.target.Name, keys)
	}
	if err != nil {
		return nil, fmt.Errorf("the event in its answer: %w", err)
	}
	return event, nil
}

// eventOf reads the answer to an invite that was accepted.
func eventOf(q Request, a answer) (json.RawMessage, error) {
	parse := fedinvite.ParseResponseV2
	if q.V1 {
		parse = fedinvite.ParseResponseV1
	}
	r, err := parse(a.body)
	return r.Event, err
}

// sentEvent is the event of a request of ours.
func sentEvent(q Request) (*fedinvite.Event, error) {
	d, err := q.Delivery()
	if err != nil {
		return nil, err
	}
	rules, err := d.Request.RoomVersion.Rules()
	if err != nil {
		return nil, err
	}
	return fedinvite.ParseStored(d.Request.Event, rules)
}

// refuses demands that the answer is one of those, and that no signature of the target is in
// it; no alternatives: any 4xx but 401, which would be about the request, and that is in
// order. A target that also refuses ordinary invites tells nothing by it. That something was accepted is a result that should not be
// published, unless the check is harmless.
func (p *probe) refuses(a answer, any ...refusal) {
	authenticated := len(any) == 0
	if authenticated {
		any = []refusal{{}}
	}
	signs := strings.Contains(string(a.body), `"signatures"`)
	switch {
	case !p.answered(a):
	case a.status/100 == 2:
		p.result.Confidential = !p.result.harmless
		p.departs("%s%s", a, p.expected(any))
	case signs:
		p.result.Confidential = true
		p.departs("%s, with signatures in the body", a)
	case p.tried != "" && !p.takesInvites(p.tried):
	case authenticated && a.status == http.StatusUnauthorized:
		p.unknown("it %s to a request whose signature is right", a)
	case !slices.ContainsFunc(any, func(r refusal) bool { return r.is(a) }):
		p.departs("%s%s", a, p.expected(any))
	}
}

// expected says which answers would have been right, and who says so.
func (p *probe) expected(any []refusal) string {
	all := make([]string, len(any))
	for i, r := range any {
		all[i] = r.String()
	}
	list := strings.Join(all, " or ")
	switch p.result.Level {
	case Must:
		return " where the specification demands " + list
	case Should:
		return " where the specification says SHOULD " + list
	}
	return " where " + list + " is to be expected"
}

// departs notes that the target does not do what the sentence says.
func (p *probe) departs(format string, args ...any) { p.note(Departed, format, args...) }

// skip notes why the check cannot be tried.
func (p *probe) skip(format string, args ...any) { p.note(Skipped, format, args...) }

// unknown notes why it could not be told.
func (p *probe) unknown(format string, args ...any) { p.note(Unknown, format, args...) }

func (p *probe) note(o Outcome, format string, args ...any) {
	if o == Departed {
		p.departures++
	}
	if p.result.Outcome == 0 {
		p.result.Outcome, p.result.Detail = o, oneLine(printable(fmt.Sprintf(format, args...), 1000))
		p.result.Said, p.result.about = p.said, len(p.result.Exchange)
	}
}

// needs reports whether the target is to be tried with the version. Else it skips.
func (p *probe) needs(v fedinvite.RoomVersion) bool {
	if slices.Contains(p.target.versions(), v) {
		return true
	}
	p.skip("room version %s is not tried", v)
	return false
}

// unavailable reports whether something could not be told for want of keys.
func unavailable(err error) bool { return errors.Is(err, fedinvite.ErrKeysUnavailable) }
