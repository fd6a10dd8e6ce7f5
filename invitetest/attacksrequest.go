package invitetest

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// requestAttacks are about who makes a request, and for what.
func requestAttacks() []attack {
	return []attack{
		{
			name:     "no-authorization",
			sentence: "Every request is authenticated: there is no answer without an X-Matrix signature.",
			link:     linkRequestAuth, level: Must,
			tries: []try{
				authorized("no header", func(*foe, *http.Request) []string { return nil }),
				authorized("an empty header", func(*foe, *http.Request) []string { return []string{""} }),
				authorized("another scheme", func(*foe, *http.Request) []string { return []string{"Bearer syt_token"} }),
				authorized("an empty signature", func(f *foe, r *http.Request) []string {
					return []string{f.auth(r, func(a *xmatrix.Auth) { a.Sig = "" })}
				}),
				authorized("a signature of zeros", func(f *foe, r *http.Request) []string {
					return []string{f.auth(r, func(a *xmatrix.Auth) { a.Sig = base64Of(make([]byte, 64)) })}
				}),
				authorized("an unknown key", func(f *foe, r *http.Request) []string {
					return []string{f.auth(r, func(a *xmatrix.Auth) { a.Key = "ed25519:unknown" })}
				}),
			},
		},
		{
			name:     "claims-origin",
			sentence: "The origin of a request is the server whose key has signed it.",
			link:     linkRequestAuth, level: Must,
			tries: []try{
				withSecond("another server, by a key with the ID of its own", func(f *foe, s *Server) {
					q := s.requestFor(f)
					q.From = f.as(s.Name(), s.Signer().KeyID())
					f.fails(q)
				}),
				requested("the victim itself, by a key with the ID of its own", func(f *foe) Request {
					self := f.as(f.target.Name, f.targetKey())
					draft := f.room.InviteDraft(f.invitee, Set("@alice:"+string(f.target.Name), "sender"))
					q := f.request(f.room.Sign(draft, self))
					q.From = self
					return q
				}),
			},
		},
		{
			name:     "two-origins",
			sentence: "A request has one origin: what one server signs is not taken for another's.",
			link:     linkRequestAuth, level: Must,
			tries: []try{
				twoOrigins("two headers, the other server's first", func(other, own xmatrix.Auth) []string {
					return []string{other.String(), own.String()}
				}),
				twoOrigins("two headers, the peer's first", func(other, own xmatrix.Auth) []string {
					return []string{own.String(), other.String()}
				}),
				twoOrigins("origin twice, the other server's first", func(other, own xmatrix.Auth) []string {
					return []string{strings.Replace(own.String(), "origin=", "origin="+quoted(other.Origin)+",origin=", 1)}
				}),
				twoOrigins("origin twice, the peer's first", func(other, own xmatrix.Auth) []string {
					return []string{own.String() + ",origin=" + quoted(other.Origin)}
				}),
			},
		},
		{
			name:     "signed-for-another",
			sentence: "A request that was signed for another server is refused: nobody passes on what was sent to them.",
			link:     linkRequestAuth, level: Must,
			tries: []try{
				requested("another destination", func(f *foe) Request {
					q := f.request(f.signed())
					q.To = "another.example"
					return q
				}),
				requested("the peer as the destination", func(f *foe) Request {
					q := f.request(f.signed())
					q.To = f.name()
					return q
				}),
				{"another destination, which the header does not name", func(f *foe) {
					q := f.request(f.signed())
					q.To = "another.example"
					f.failsAuthorized(q, func(r *http.Request) []string {
						return []string{f.auth(r, func(a *xmatrix.Auth) { a.Destination = "" })}
					})
				}},
				{"another destination, and the header names the victim", func(f *foe) {
					q := f.request(f.signed())
					q.To = "another.example"
					f.failsAuthorized(q, func(r *http.Request) []string {
						return []string{f.auth(r, func(a *xmatrix.Auth) { a.Destination = f.target.Name })}
					})
				}},
			},
		},
		{
			name:     "signed-something-else",
			sentence: "The signature of a request covers its method, its target and its body, as they were sent.",
			link:     linkRequestAuth, level: Must,
			tries: []try{
				{"another body", func(f *foe) { f.failsInstead(f.request(f.signedOther()).Body) }},
				{"no body", func(f *foe) { f.failsInstead(nil) }},
				{"another method", func(f *foe) {
					f.failsSigned(func(r *http.Request) { r.Method = http.MethodPost })
				}},
				{"another target", func(f *foe) {
					f.failsSigned(func(r *http.Request) { r.URL.Path, r.URL.RawPath = "/_matrix/federation/v1/version", "" })
				}},
				{"a query", func(f *foe) {
					f.failsSigned(func(r *http.Request) { r.URL.RawQuery = "a=b" })
				}},
				{"another spelling of the target", func(f *foe) {
					f.failsSigned(func(r *http.Request) { r.URL.RawPath = strings.Replace(r.URL.EscapedPath(), "$", "%24", 1) })
				}},
			},
		},
		{
			name:     "old-request-key",
			sentence: "A request that is signed by a key which is no longer current is refused.",
			link:     linkPublishing, level: Practice,
			tries: []try{
				withOldKey("a key that was given up", func(f *foe, s *Server, old fedinvite.Signer) {
					q := s.requestFor(f)
					q.From = old
					f.fails(q)
				}),
			},
		},
		{
			name:     "path-and-body",
			sentence: "The room ID and the event ID of the path are those of the event.",
			link:     linkInvite, level: Practice,
			tries: []try{
				requested("another room", func(f *foe) Request {
					q := f.request(f.signed())
					q.RoomID = f.newRoom(f.version).ID()
					return q
				}),
				requested("another event", func(f *foe) Request {
					q := f.request(f.signed())
					q.EventID = f.request(f.signedOther()).EventID
					return q
				}),
				requested("no event", func(f *foe) Request {
					q := f.request(f.signed())
					q.EventID = "$"
					return q
				}),
				requested("escaped twice", func(f *foe) Request {
					q := f.request(f.signed())
					q.RoomID = strings.Replace(url.PathEscape(q.RoomID), "!", "%21", 1)
					return q
				}),
				requested("room and event exchanged", func(f *foe) Request {
					q := f.request(f.signed())
					q.RoomID, q.EventID = q.EventID, q.RoomID
					return q
				}),
			},
		},
		{
			name:     "v1-endpoint",
			sentence: "The v1 endpoint, which does not say the room version, takes events of room versions 1 and 2 only.",
			link:     linkInviteV1, level: Practice,
			rooms: func(r fedinvite.Rules) bool { return !hasEventID(r) },
			tries: []try{
				requested("an event of another room version", func(f *foe) Request { return f.room.RequestV1(textOf(f.signed()), f.target.Name) }),
				requested("the whole body of the v2 endpoint", func(f *foe) Request {
					q := f.request(f.signed())
					q.V1 = true
					return q
				}),
			},
		},
	}
}

// authorized is the try of an invite that is in order, with other Authorization headers.
func authorized(name string, headers func(f *foe, r *http.Request) []string) try {
	return try{name, func(f *foe) {
		f.failsAuthorized(f.request(f.signed()), func(r *http.Request) []string { return headers(f, r) })
	}}
}

func (f *foe) failsAuthorized(q Request, headers func(r *http.Request) []string) {
	req := q.HTTP(f.ctx, f.target.base())
	all := headers(req)
	req.Header.Del("Authorization")
	for _, h := range all {
		req.Header.Add("Authorization", h)
	}
	f.refuses(f.do(req))
}

// auth returns the header of a request of ours, changed.
func (f *foe) auth(r *http.Request, change func(*xmatrix.Auth)) string {
	a := must(xmatrix.Parse(r.Header.Get("Authorization")))
	change(&a)
	return a.String()
}

// failsSigned sends an invite that is in order with the signature of another request.
func (f *foe) failsSigned(other func(r *http.Request)) {
	q := f.request(f.signed())
	signed := q.HTTP(f.ctx, f.target.base())
	other(signed)
	must(0, xmatrix.Sign(f.ctx, signed, q.Body, q.To, q.From))
	f.failsAuthorized(q, func(*http.Request) []string { return signed.Header["Authorization"] })
}

// signedOther returns an invite that is in order, and another event than that of signed.
func (f *foe) signedOther() []byte { return f.signed(Set("another one", "content", "reason")) }

// failsInstead sends an invite that is in order with the signature of another body.
func (f *foe) failsInstead(signed []byte) {
	q := f.request(f.signed())
	body := q.Body
	q.Body = signed
	f.failsWith(q, string(body))
}

// twoOrigins is the try of a request that both the peer and a second server seem to make:
// the invite is by a user of the second server, only the peer's signature is right.
func twoOrigins(name string, headers func(other, own xmatrix.Auth) []string) try {
	return withSecond(name, func(f *foe, s *Server) {
		q := s.requestFor(f)
		q.From = f.target.Peer.Signer()
		f.failsAuthorized(q, func(r *http.Request) []string {
			own := must(xmatrix.Parse(r.Header.Get("Authorization")))
			other := own
			other.Origin, other.Key, other.Sig = s.Name(), s.Signer().KeyID(), base64Of(make([]byte, 64))
			return headers(other, own)
		})
	})
}

// targetKey is the ID of a key that the target signs with.
func (f *foe) targetKey() fedinvite.KeyID {
	q := f.request(f.signed())
	if event, err := eventOf(q, f.send(q)); err == nil {
		for id := range keysOf(event, f.target.Name) {
			if key, err := fedinvite.ParseKeyID(id); err == nil {
				return key
			}
		}
	}
	return DefaultKey
}
