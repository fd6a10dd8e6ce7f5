package invitetest

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
)

// A sending is what came of an invite of the target.
type sending struct {
	version  fedinvite.RoomVersion
	invitee  string
	err      error  // what the target says of it
	requests []Seen // for the invite endpoints
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
	return p.needs(v)
}

// sendsNow has a user of the target invite somebody.
func (p *probe) sendsNow(v fedinvite.RoomVersion) *sending {
	peer := p.target.Peer
	p.rooms++
	s := &sending{version: v, invitee: fmt.Sprintf("@invited-%d:%s", p.rooms, peer.Name())}
	ctx, cancel := context.WithTimeout(p.ctx, 3*p.target.timeout())
	defer cancel()
	s.err = p.target.Invite(ctx, v, s.invitee)
	for _, r := range peer.Requests() {
		invites := strings.HasPrefix(r.Target, inviteV2Path) || strings.HasPrefix(r.Target, inviteV1Path)
		if invites && bytes.Contains(r.Body, []byte(s.invitee)) {
			s.requests = append(s.requests, r)
		}
	}
	return s
}

// sendsTo is sendsNow to a peer that answers invites in its own way.
func (p *probe) sendsTo(v fedinvite.RoomVersion, reply func(event []byte) (status int, body []byte)) (*sending, bool) {
	if !p.canSend(v) {
		return nil, false
	}
	p.target.Peer.replyBy(reply)
	defer p.target.Peer.replyBy(nil)
	s := p.sendsNow(v)
	p.show(s)
	return s, true
}

// replyBy has invites answered by reply; nil: by the Receiver.
func (s *Server) replyBy(reply func(event []byte) (status int, body []byte)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reply = reply
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
		p.departs("no invite came%s", says(s.err))
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
