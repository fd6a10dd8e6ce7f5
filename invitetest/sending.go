package invitetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A sending is what came of an invite of the target.
type sending struct {
	version  fedinvite.RoomVersion
	invitee  string
	err      error  // what the target says of it
	requests []Seen // for the invite endpoints, with its signature
	unproven string // what a request was answered that says that it is its own; "": there was none
}

// sends has a user of the target invite somebody to a new room of a version, once in a
// session. If that cannot be had it is noted.
func (p *probe) sends(v fedinvite.RoomVersion) (*sending, bool) {
	if !p.canSend(v) {
		return nil, false
	}
	s := p.sendings[v]
	if s == nil {
		s = p.sendsNow(v)
		p.sendings[v] = s
	}
	p.show(s)
	return s, true
}

// canSend reports whether the target can be asked to invite somebody.
func (p *probe) canSend(v fedinvite.RoomVersion) bool {
	if p.target.Invite == nil {
		p.skip("Target.Invite is not set")
		return false
	}
	return p.needs(v) && p.hasKeys()
}

// hasKeys reports whether it can be told which requests are the target's.
func (p *probe) hasKeys() bool {
	_, err := p.keys()
	if err != nil {
		p.unknown("its keys cannot be had: %v", err)
	}
	return err == nil
}

// newGuest returns a user of the peer of whom only the target is told.
func (p *probe) newGuest() string {
	return "@invited-" + strings.ToLower(rand.Text()) + ":" + string(p.target.Peer.Name())
}

// sendsNow has a user of the target invite somebody.
func (p *probe) sendsNow(v fedinvite.RoomVersion) *sending { return p.sendsNowTo(v, p.newGuest()) }

func (p *probe) sendsNowTo(v fedinvite.RoomVersion, invitee string) *sending {
	s := &sending{version: v, invitee: invitee}
	ctx, cancel := context.WithTimeout(p.ctx, 3*p.target.timeout())
	defer cancel()
	s.err = p.target.Invite(ctx, v, s.invitee)
	s.requests, s.unproven = p.requestsAbout(s.invitee, inviteV2Path, inviteV1Path)
	return s
}

// requestsAbout returns the requests to some paths that are about a guest and that the target
// has signed: strangers may know where the peer listens. unproven is what the last one was
// answered that only says that it is the target's.
func (p *probe) requestsAbout(guest string, prefixes ...string) (proven []Seen, unproven string) {
	for _, r := range p.target.Peer.Requests() {
		meant := slices.ContainsFunc(prefixes, func(prefix string) bool { return strings.HasPrefix(r.Target, prefix) })
		switch {
		case !meant || !bytes.Contains(r.Body, []byte(guest)):
		case p.proven(r):
			proven = append(proven, r)
		case r.Origin == p.target.Name:
			unproven = fmt.Sprintf("%d %s", r.Status, printable(string(r.Answer), 200))
		}
	}
	return proven, unproven
}

// proven reports whether the target has signed a request.
func (p *probe) proven(r Seen) bool {
	keys, err := p.keys()
	if err != nil {
		return false
	}
	verifier := xmatrix.Verifier{Keys: keys, Now: p.target.Peer.now, Assume: p.target.Peer.Name()}
	credentials, err := verifier.Credentials(&http.Request{Method: r.Method, RequestURI: r.Target, Header: r.Header})
	return err == nil && credentials.Origin == p.target.Name && credentials.Verify(p.ctx, r.Body) == nil
}

// noneCame notes that there is no request of the target.
func (p *probe) noneCame(s *sending) {
	if s.unproven != "" {
		p.departs("no invite came that it has signed; one in its name was answered %s%s", s.unproven, says(s.err))
	} else {
		p.departs("no invite came%s", says(s.err))
	}
}

// sendsTo is sendsNow to a peer that answers invites in its own way.
func (p *probe) sendsTo(v fedinvite.RoomVersion, reply func(event []byte) (status int, body []byte)) (*sending, bool) {
	if !p.canSend(v) {
		return nil, false
	}
	guest := p.newGuest()
	defer p.target.Peer.answerInvites(replier{p.target.Name, guest, reply})()
	s := p.sendsNowTo(v, guest)
	p.show(s)
	return s, true
}

// show adds what was sent to the result.
func (p *probe) show(s *sending) {
	for _, r := range s.requests {
		var request strings.Builder
		fmt.Fprintf(&request, "%s %s\n", r.Method, r.Target)
		writeHeader(&request, r.Header)
		request.Write(r.Body[:min(len(r.Body), maxExchange)])
		p.result.Exchange = append(p.result.Exchange, Exchange{
			Request:  printable(request.String(), maxExchange),
			Response: printable(fmt.Sprintf("%d %s\n\n%s", r.Status, http.StatusText(r.Status), r.Answer), maxExchange),
		})
	}
}

// A sent is an invite as it came from the target.
type sent struct {
	Seen
	v1      bool
	auth    string // its Authorization header
	request fedinvite.Request
	rules   fedinvite.Rules
	event   *fedinvite.Event
}

// sent returns the first request of a sending. If there is none it is noted.
func (p *probe) sent(v fedinvite.RoomVersion) (t sent, ok bool) {
	s, ok := p.sends(v)
	if !ok {
		return t, false
	}
	if len(s.requests) == 0 {
		p.noneCame(s)
		return t, false
	}
	t.Seen = s.requests[0]
	t.v1 = strings.HasPrefix(t.Target, inviteV1Path)
	t.auth = t.Header.Get("Authorization")
	parse := fedinvite.ParseRequestV2
	if t.v1 {
		parse = fedinvite.ParseRequestV1
	}
	var err error
	if t.request, err = parse(t.Body); err == nil {
		t.rules, err = v.Rules()
	}
	if err == nil {
		t.event, err = fedinvite.ParseStored(t.request.Event, t.rules)
	}
	if err != nil {
		p.departs("its request: %v", err)
	}
	return t, err == nil
}

// says is what the target said of an invite.
func says(err error) string {
	if err == nil {
		return ", and it says that it was sent"
	}
	return fmt.Sprintf("; it says: %v", err)
}
