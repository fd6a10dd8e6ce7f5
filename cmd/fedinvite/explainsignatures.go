package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/discovery"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

func noDestination(a xmatrix.Auth) bool { return a.Destination == "" }

// requestHints looks for the reason why the request is not proven to come from its origin.
func (w *walk) requestHints(ctx context.Context, h *hintList, t taken) {
	if errors.Is(t.Err, fedinvite.ErrKeysUnavailable) {
		unavailableHint(h, t.Err, t.delivery.Origin)
		return
	}
	for _, a := range w.claims() {
		usable := w.keyHints(h, a.Origin, a.Key, purpose{at: w.at, inUse: true})
		var hinted *xmatrix.HintError
		switch {
		case errors.As(t.Err, &hinted) && hinted.Match != "":
			if strings.Contains(hinted.Fault, "rewritten") && w.taken[stepPath].Err == nil {
				h.add(proxyAdvice)
			}
			return
		case usable && w.otherTarget(ctx, h), w.otherSigner(ctx, h, a, usable):
			return
		case usable:
			w.evidence(h, a)
		}
	}
}

// otherTarget looks whether the request is signed for the target that the event should have,
// or for another spelling of it.
func (w *walk) otherTarget(ctx context.Context, h *hintList) (found bool) {
	if w.target == "" {
		return false
	}
	r := w.captured()
	r.RequestURI = w.target
	c, err := w.verifier(w.keys).Credentials(r)
	if err != nil {
		return false
	}
	err = c.Verify(ctx, w.capture.body)
	var hinted *xmatrix.HintError
	switch {
	case err == nil:
		h.add("it does verify for the path %q: the path was rewritten on the way", clipped(w.target))
	case errors.As(err, &hinted) && hinted.Match != "":
		h.add("it does verify for %s: the path was rewritten on the way", hinted.Match)
	default:
		return false
	}
	return true
}

// otherSigner looks for a key with which the request does verify.
func (w *walk) otherSigner(ctx context.Context, h *hintList, a xmatrix.Auth, usable bool) (found bool) {
	signature, err := fedinvite.DecodeBase64(a.Sig)
	if err != nil {
		return false
	}
	signed := newSignedRequest(w, a)
	var origin fedinvite.ServerName
	k, ok := w.otherKey(ctx, a.Origin, a.Key, func(k knownKey) bool {
		for _, origin = range [...]fedinvite.ServerName{a.Origin, k.server} {
			if message := signed.by(origin); message != nil && k.key.Verify(message, signature) == nil {
				return true
			}
		}
		return false
	})
	switch {
	case !ok:
		return false
	case k.server == a.Origin && k.id == a.Key && !usable:
		h.add("the signature itself is right: only the time of the key is at fault")
	case k.server == a.Origin && k.id == a.Key:
		h.add("the signature is right for PUT: the method was changed on the way")
	case origin != a.Origin:
		h.add("it does verify as a request of %s, with its key %s: the header names the wrong origin", origin, keyName(k.id))
	default:
		h.add("it does verify with the key %s of %s: the header names the wrong key", keyName(k.id), k.server)
	}
	return true
}

// A signedRequest is what a signature of the request covers, by origin.
type signedRequest struct {
	content             []byte // canonical
	target              string
	destination, origin fedinvite.ServerName
	message             []byte // of the last origin; nil: there is none
}

func newSignedRequest(w *walk, a xmatrix.Auth) *signedRequest {
	s := &signedRequest{target: w.capture.target, destination: cmp.Or(a.Destination, w.assume)}
	if len(w.capture.body) <= defaultMaxBody { // no server hashes more
		s.content, _ = fedinvite.LegacyCanonicalJSON(w.capture.body)
	}
	return s
}

// by returns what the origin would have signed for a PUT, nil if the body is no JSON.
func (s *signedRequest) by(origin fedinvite.ServerName) []byte {
	if len(s.content) == 0 || origin == s.origin {
		return s.message
	}
	head, err := fedinvite.MarshalCanonical(object{
		"destination": s.destination, "method": http.MethodPut, "origin": origin, "uri": s.target,
	})
	if err != nil {
		return nil
	}
	s.origin = origin
	s.message = slices.Concat([]byte(`{"content":`), s.content, []byte(","), head[1:])
	return s.message
}

// evidence says what the event in the request tells of its key.
func (w *walk) evidence(h *hintList, a xmatrix.Auth) {
	event, ok := w.taken[stepEventSignatures]
	if !ok || signaturesOf(event.Event)[a.Origin][a.Key] == nil {
		return
	}
	switch {
	case event.Err == nil:
		h.add("the event in it is signed rightly by this key: so what differs is the target, the destination, or the body around the event. "+
			"White space and order in the body do not count. Or somebody else made this request in the name of %s: an event can be copied", a.Origin)
	case errors.Is(event.Err, fedinvite.ErrSignature):
		h.add("the event in it does not verify either: %s seems to sign with another key than the one that it publishes under this ID, "+
			"or somebody else made both in its name", a.Origin)
	}
}

// A purpose is what a key is needed for.
type purpose struct {
	at      time.Time // when it must be valid
	inUse   bool      // an old key will not do
	endless bool      // until when one that is in use is valid does not matter
}

// keyHints says why a key is of no use for a purpose. It reports whether it is.
func (w *walk) keyHints(h *hintList, server fedinvite.ServerName, id fedinvite.KeyID, p purpose) (usable bool) {
	keys, err := w.keys.keysOf(server)
	if err != nil {
		h.add("no key of %s counts, whatever its ID: see \"fedinvite keys %s\"", server, server)
	}
	known, ok := w.keys.keyOf(server, id)
	if !ok {
		if len(keys) > 0 {
			h.add("%s has no key %s; it has %s. Either it changed its key and does not publish the old one, or what was fetched is not up to date, "+
				"or somebody else signed in its name", server, keyName(id), keyList(keys))
		}
		return false
	}
	key := known.key
	old := !key.ExpiredAt.IsZero()
	switch {
	case p.inUse && old && !w.keys.wasInUse(known):
		h.add("the key %s is listed as an old one, until %s; a request needs one that is in use", keyName(id), moment(known.expired))
	case key.ValidAt(p.at), p.endless && !old:
		return true
	case old:
		h.add("the key %s was in use until %s, and the event is of %s", keyName(id), moment(key.ExpiredAt), moment(p.at))
	default:
		h.add("the key %s was valid until %s, which is %s before %s: either its server does not renew what it publishes, or a clock is wrong, "+
			"or the request is older than the keys: -at judges as of the time of the capture",
			keyName(id), moment(key.ValidUntil), p.at.Sub(key.ValidUntil).Round(time.Second), moment(p.at))
	}
	return false
}

func keyList(keys []knownKey) string {
	var parts []string
	for i, k := range keys {
		if i == maxShown {
			parts = append(parts, "…")
			break
		}
		parts = append(parts, k.text())
	}
	return strings.Join(parts, ", ")
}

func unavailableHint(h *hintList, err error, server fedinvite.ServerName) {
	h.add("the keys of %s could not be had from this machine: see \"fedinvite keys %s\" and \"fedinvite resolve -connect %s\". "+
		"A server that cannot have them either says 503, and the peer tries again. -keys takes them from a file", server, server, server)
	if errors.Is(err, discovery.ErrAddress) {
		h.add("-allow makes exceptions for addresses that are not of the public internet")
	}
}

// otherKey returns the first key of which good is true, of those by which a signature may
// have been made that is said to be by the one named.
func (w *walk) otherKey(ctx context.Context, server fedinvite.ServerName, id fedinvite.KeyID, good func(knownKey) bool) (knownKey, bool) {
	const most = 100
	tried := 0
	for k := range w.keys.candidates(server, id) {
		if tried++; tried > most || ctx.Err() != nil {
			break
		}
		if good(k) {
			return k, true
		}
	}
	return knownKey{}, false
}

// signatureHints looks for the reason why the event is not signed as it must be.
func (w *walk) signatureHints(ctx context.Context, h *hintList, t taken) {
	var at *fedinvite.SignatureError
	if !errors.As(t.Err, &at) {
		return
	}
	if errors.Is(t.Err, fedinvite.ErrKeysUnavailable) {
		unavailableHint(h, t.Err, at.Server)
		return
	}
	whyHint(h, t, at.Server)
	e := t.Event
	signed := signaturesOf(e)
	if len(signed[at.Server]) == 0 {
		signers := slices.Sorted(maps.Keys(signed))
		if len(signers) == 0 {
			h.add("nobody has signed it: the sender hashes and signs its events before it sends them")
			return
		}
		h.add("it is signed by: %s", clipped(listed(signers)))
		for _, s := range signers {
			nameHint(h, s, at.Server)
		}
		return
	}
	usable := false
	p := purpose{at: e.OriginServerTS(), endless: !e.Rules().EnforceKeyValidity}
	for i, id := range slices.Sorted(maps.Keys(signed[at.Server])) {
		if i == maxShown || ctx.Err() != nil {
			break
		}
		k, ok := w.otherKey(ctx, at.Server, id, signedWith(e, signed[at.Server][id]))
		if ok && (k.server != at.Server || k.id != id) {
			h.add("the signature under %s does verify with the key %s of %s", keyName(id), keyName(k.id), k.server)
			continue
		}
		usable = w.keyHints(h, at.Server, id, p) || usable
	}
	if ahead := e.OriginServerTS().Sub(w.at); ahead > time.Minute {
		h.add("the time of the event lies %s ahead: the sender's clock is wrong, or ours", ahead.Round(time.Second))
	}
	if usable {
		w.formHints(ctx, h, t, at.Server)
	}
}

// whyHint says why a server must have signed that is not the sender's.
func whyHint(h *hintList, t taken, server fedinvite.ServerName) {
	switch {
	case server == serverOf(t.Event.Sender()):
	case server == t.delivery.Origin:
		h.add("%s sent the request, and must have signed the event, a third-party invite too", server)
	case errors.Is(t.Err, fedinvite.ErrAuthorisingServer):
		h.add("join_authorised_via_users_server in the content asks for a signature of its server; an invite needs no such member")
	default:
		h.add("in room versions 1 and 2 the server of the event ID must have signed too")
	}
}

// formHints looks for another form of the event for which the signature verifies.
func (w *walk) formHints(ctx context.Context, h *hintList, t taken, server fedinvite.ServerName) {
	var versions []fedinvite.RoomVersion
	for _, v := range fedinvite.RoomVersions() {
		rules, err := v.Rules()
		if err != nil {
			continue
		}
		e, err := fedinvite.ParseStored(t.delivery.Request.Event, rules)
		if err != nil || fedinvite.VerifyJSON(ctx, e.Redacted().AppendJSON(nil), server, timeless{w.keys}, time.Time{}) != nil {
			continue
		}
		versions = append(versions, v)
	}
	switch {
	case len(versions) > 0:
		h.add("it does verify by the redaction rules of room version %s: is room_version what the room has?", listed(versions))
	case !t.Event.HashOK():
		h.add("the content hash differs too: the event was changed after it was signed")
	default:
		h.add("the content hash is right: either the key that signed is not the one published under this ID, or a member that redaction keeps was changed and hashed anew")
	}
}

// signedWith returns what reports whether a key made the signature of an event.
func signedWith(e *fedinvite.Event, raw json.RawMessage) func(knownKey) bool {
	var encoded string
	message, _, err := fedinvite.SignedJSON(e.Redacted().AppendJSON(nil))
	if err != nil || json.Unmarshal(raw, &encoded) != nil {
		return func(knownKey) bool { return false }
	}
	signature, err := fedinvite.DecodeBase64(encoded)
	return func(k knownKey) bool { return err == nil && k.key.Verify(message, signature) == nil }
}

// hashHints looks for a member without which the content hash is right.
func hashHints(h *hintList, t taken) {
	h.add("something in the event is not as it was when it was hashed. A hash does not tell what; redaction takes away all that it covers alone, such as reason and displayname")
	if name := addedMember(t.delivery.Request.Event, t.Event.Rules()); name != "" {
		h.add("without %s it is right: that was added after the event was hashed", clipped(name))
	}
}

// addedMember returns the member of the event or of its content without which the hash
// fits; "" if there is none.
func addedMember(raw json.RawMessage, rules fedinvite.Rules) string {
	const most = 50
	event := membersOf(raw)
	content := membersOf(event["content"])
	if len(event)+len(content) > most {
		return ""
	}
	fits := func(members map[string]json.RawMessage) bool {
		text, err := json.Marshal(members)
		if err != nil {
			return false
		}
		e, err := fedinvite.ParseStored(text, rules)
		return err == nil && e.HashOK()
	}
	for _, key := range slices.Sorted(maps.Keys(content)) {
		less := maps.Clone(content)
		delete(less, key)
		text, err := json.Marshal(less)
		if err != nil {
			continue
		}
		changed := maps.Clone(event)
		if changed["content"] = text; fits(changed) {
			return "content." + key
		}
	}
	for _, key := range slices.Sorted(maps.Keys(event)) {
		less := maps.Clone(event)
		if delete(less, key); fits(less) {
			return key
		}
	}
	return ""
}
