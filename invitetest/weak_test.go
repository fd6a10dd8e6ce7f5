package invitetest_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// A weak server receives invites by a pipeline of its own, made of the library's public
// functions, and lacks the protections that are named. Without any name it is complete.
type weak struct {
	peer    *invitetest.Server // the network that it is in
	keys    fedinvite.KeySource
	without []string
}

// protections are all that a weak server can lack.
var protections = []string{
	"unescape once", "authorization", "one origin", "destination", "body size", "errors are 4xx", "one value", "unique keys",
	"unique keys, first", "text", "depth", "request signature", "key of the origin", "current key", "few entries", "v1 is for 1 and 2",
	"integers", "event size", "exact names", "path room", "path event", "type", "membership", "state key", "sender on origin",
	"not ourselves", "invitee here", "event signature", "sender signs", "event ID signs", "authorising server signs", "origin signs",
	"signers of the kept copy", "every signature", "key validity", "base64", "sound keys", "order of the group", "keys are kept",
	"only required keys", "content hash", "room state", "signature replaced",

	"reply size", "reply depth", "reply JSON", "reply shape", "reply is the event", "reply is signed", "reply adds one server",
}

func (w *weak) lacks(protection string) bool {
	if !slices.Contains(protections, protection) {
		panic(protection)
	}
	return slices.Contains(w.without, protection)
}

var (
	errRefused  = errors.New("refused")
	errTooLarge = errors.New("too large")
)

// A parcel is what a request brought.
type parcel struct {
	v1    bool
	ids   []string // of the path
	claim claim
	raw   []byte // the event as it was sent
	event *fedinvite.Event
	state []json.RawMessage
}

// A claim is what a request says of where it comes from.
type claim struct {
	auths       []xmatrix.Auth
	destination fedinvite.ServerName
}

func (w *weak) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	p, err := w.receive(r)
	rw.Header().Set("Content-Type", "application/json")
	status := http.StatusBadRequest
	var syntax *json.SyntaxError
	switch {
	case err == nil && p.v1:
		fmt.Fprintf(rw, `[200,{"event":%s}]`, p.event.AppendJSON(nil))
		return
	case err == nil:
		fmt.Fprintf(rw, `{"event":%s}`, p.event.AppendJSON(nil))
		return
	case errors.Is(err, errTooLarge):
		rw.Header().Set("Connection", "close")
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, fedinvite.ErrNotJSON), errors.Is(err, fedinvite.ErrBadNumber), errors.As(err, &syntax):
		if w.lacks("errors are 4xx") {
			status = http.StatusInternalServerError
		}
	}
	rw.WriteHeader(status)
	fmt.Fprintf(rw, `{"errcode":"M_UNKNOWN","error":%q}`, err.Error())
}

// receive is the pipeline.
func (w *weak) receive(r *http.Request) (p parcel, err error) {
	segments := strings.Split(r.URL.EscapedPath(), "/")
	if len(segments) != 7 || r.Method != http.MethodPut {
		return p, errRefused
	}
	p.v1 = segments[3] == "v1"
	if p.ids, err = w.unescape(segments[5:]); err != nil {
		return p, err
	}
	if p.claim, err = w.claimed(r); err != nil {
		return p, err
	}
	body, content, err := w.read(r)
	if err != nil {
		return p, err
	}
	if !w.lacks("request signature") && !w.authenticated(r, p.claim, content) {
		return p, fedinvite.ErrUnauthorized
	}
	if err := w.parse(&p, body); err != nil {
		return p, err
	}
	return p, w.judge(r.Context(), &p)
}

func (w *weak) unescape(segments []string) (ids []string, err error) {
	times := 1
	if w.lacks("unescape once") {
		times = 2
	}
	for _, id := range segments {
		for range times {
			if id, err = url.PathUnescape(id); err != nil {
				return nil, err
			}
		}
		ids = append(ids, id)
	}
	return ids, nil
}

var parameter = regexp.MustCompile(`(\w+)="([^"]*)"`)

// claimed reads the Authorization headers.
func (w *weak) claimed(r *http.Request) (c claim, err error) {
	for _, header := range r.Header.Values("Authorization") {
		if w.lacks("one origin") {
			c.auths = append(c.auths, everyOrigin(header)...)
			continue
		}
		a, err := xmatrix.Parse(header)
		if err != nil && !w.lacks("authorization") {
			return c, err
		}
		if err == nil {
			c.auths = append(c.auths, a)
		}
	}
	if len(c.auths) == 0 && w.lacks("authorization") {
		return claim{destination: victimName}, nil
	}
	for _, a := range c.auths {
		if !w.lacks("one origin") && a.Origin != c.auths[0].Origin {
			return c, fedinvite.ErrUnauthorized
		}
		c.destination = a.Destination
	}
	if c.destination == "" {
		c.destination = victimName // older servers leave it out
	}
	if len(c.auths) == 0 || c.destination != victimName && !w.lacks("destination") {
		return c, fedinvite.ErrUnauthorized
	}
	return c, nil
}

// everyOrigin takes each origin in a header for one.
func everyOrigin(header string) (all []xmatrix.Auth) {
	var a xmatrix.Auth
	var origins []string
	for _, p := range parameter.FindAllStringSubmatch(header, -1) {
		switch p[1] {
		case "origin":
			origins = append(origins, p[2])
		case "destination":
			a.Destination = fedinvite.ServerName(p[2])
		case "key":
			a.Key = fedinvite.KeyID(p[2])
		case "sig":
			a.Sig = p[2]
		}
	}
	for _, origin := range origins {
		a.Origin = fedinvite.ServerName(origin)
		all = append(all, a)
	}
	return all
}

// read returns the body for the parser, and what its signature covers.
func (w *weak) read(r *http.Request) (body, content []byte, err error) {
	const limit = 1 << 20
	if w.lacks("body size") {
		body, err = io.ReadAll(r.Body)
	} else if body, err = io.ReadAll(io.LimitReader(r.Body, limit+1)); len(body) > limit {
		err = errTooLarge
	}
	if err != nil {
		return nil, nil, err
	}
	if w.lacks("one value") {
		var first json.RawMessage
		if err := json.NewDecoder(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff")))).Decode(&first); err != nil {
			return nil, nil, err
		}
		body = first
	}
	switch {
	case w.lacks("unique keys"), w.lacks("text"):
		if body, err = remarshal(body, 10_000); err != nil {
			return nil, nil, err
		}
	case w.lacks("unique keys, first"):
		body = firstKeys(body)
	case w.lacks("depth"):
		if content, err = remarshal(body, 10_000); err != nil {
			return nil, nil, err
		}
		body, err = remarshal(body, 100)
		return body, content, err
	}
	content, err = fedinvite.LegacyCanonicalJSON(body)
	return body, content, err
}

// authenticated reports whether one of the claims is signed.
func (w *weak) authenticated(r *http.Request, c claim, content []byte) bool {
	for _, a := range c.auths {
		message := fmt.Sprintf(`{"content":%s,"destination":%q,"method":%q,"origin":%q,"uri":%q}`,
			content, c.destination, r.Method, a.Origin, r.RequestURI)
		signature, err := fedinvite.DecodeBase64(a.Sig)
		if err != nil {
			continue
		}
		servers := []fedinvite.ServerName{a.Origin}
		if w.lacks("key of the origin") {
			servers = append(servers, attackerName)
		}
		for _, server := range servers {
			key, err := w.keys.VerifyKey(r.Context(), server, a.Key, time.Now())
			if err != nil || !w.lacks("current key") && (!key.ExpiredAt.IsZero() || !key.ValidAt(time.Now())) {
				continue
			}
			if key.Verify([]byte(message), signature) == nil {
				return true
			}
		}
	}
	return len(c.auths) == 0
}

// parse reads the event and the room state.
func (w *weak) parse(p *parcel, body []byte) error {
	if w.lacks("few entries") {
		body = invitetest.Change(body, invitetest.Drop("invite_room_state"))
	}
	q, err := w.request(body, p.v1)
	if err != nil {
		return err
	}
	rules, err := q.RoomVersion.Rules()
	if err != nil {
		return err
	}
	rules.StrictJSON = rules.StrictJSON && !w.lacks("integers")
	parse := fedinvite.ParseEvent
	if w.lacks("event size") {
		parse = fedinvite.ParseStored
	}
	p.raw, p.state = q.Event, q.RoomState
	p.event, err = parse(q.Event, rules)
	return err
}

func (w *weak) request(body []byte, v1 bool) (fedinvite.Request, error) {
	if !v1 {
		return fedinvite.ParseRequestV2(body)
	}
	q, err := fedinvite.ParseRequestV1(body)
	if err == nil && w.lacks("v1 is for 1 and 2") {
		if both, err := fedinvite.ParseRequestV2(body); err == nil {
			return both, nil
		}
		q.RoomVersion = fedinvite.RoomV11
	}
	return q, err
}

// fields are what is asked of an event.
type fields struct {
	Type, Sender string
	StateKey     *string `json:"state_key"`
	Content      struct{ Membership any }
}

func (w *weak) fields(e *fedinvite.Event, raw []byte) (f fields) {
	if w.lacks("exact names") {
		_ = json.Unmarshal(raw, &f) // which does not care about the case of names
		return f
	}
	f.Type, f.Sender = e.Type(), e.Sender()
	_ = json.Unmarshal([]byte(e.ContentJSON("membership")), &f.Content.Membership)
	if key, ok := e.StateKey(); ok {
		f.StateKey = &key
	}
	return f
}

// judge decides, and adds the server's signature.
func (w *weak) judge(ctx context.Context, p *parcel) (err error) {
	e, f := p.event, w.fields(p.event, p.raw)
	_, sender, err := fedinvite.ParseUserID(f.Sender)
	if err != nil {
		return err
	}
	origin := p.claim.origin(sender)
	var stateKey string
	if f.StateKey != nil {
		stateKey = *f.StateKey
	}
	_, invitee, _ := fedinvite.ParseUserID(stateKey)
	for protection, ok := range map[string]bool{
		"path room":        p.ids[0] == e.RoomID(),
		"path event":       p.ids[1] == e.ID(),
		"type":             f.Type == "m.room.member",
		"membership":       f.Content.Membership == "invite",
		"state key":        f.StateKey != nil,
		"sender on origin": origin == sender,
		"not ourselves":    origin != victimName,
		"invitee here":     invitee == victimName || f.StateKey == nil,
	} {
		if !ok && !w.lacks(protection) {
			return fmt.Errorf("%w: %s", errRefused, protection)
		}
	}
	if err := w.verify(ctx, e, sender, origin); err != nil {
		return err
	}
	if !e.HashOK() && !w.lacks("content hash") {
		e = e.Redacted()
	}
	if !w.lacks("room state") {
		if _, err := fedinvite.CheckRoomState(ctx, p.state, e, w.keys, fedinvite.StateCreateOnly); err != nil {
			return err
		}
	}
	if _, there := invitetest.Decode(e.Signatures())[string(victimName)]; !there || !w.lacks("signature replaced") {
		e, err = e.WithSignature(ctx, invitetest.Signer(victimName))
	}
	p.event = e
	return err
}

// origin is who a request is from: who it should be, if one of its claims says so.
func (c claim) origin(sender fedinvite.ServerName) fedinvite.ServerName {
	if len(c.auths) == 0 || slices.ContainsFunc(c.auths, func(a xmatrix.Auth) bool { return a.Origin == sender }) {
		return sender
	}
	return c.auths[0].Origin
}
