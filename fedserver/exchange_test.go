package fedserver_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/thirdparty"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

const validityURL = "https://id.ex/isvalid"

// identity is the identity server.
func identity() fedinvite.Signer { return invitetest.Signer("id.ex") }

func base64Of(key []byte) string { return base64.RawStdEncoding.EncodeToString(key) }

// addToken puts alice's third-party invite into the room.
func (r *room) addToken(change ...func(content object)) *fedinvite.Event {
	content := object{"display_name": "b...@mail.ex", "key_validity_url": validityURL, "public_key": base64Of(identity().Public())}
	for _, f := range change {
		f(content)
	}
	return r.SetAs(alice, "m.room.third_party_invite", "tok", content)
}

// signedFor is what the identity server says of a user.
func signedFor(userID string, s fedinvite.Signer, edits ...invitetest.Edit) json.RawMessage {
	return invitetest.ThirdPartySigned(userID, "tok", s, edits...)
}

func exchangeOf(r *room) object {
	return object{
		"type": "m.room.member", "room_id": r.id, "sender": alice, "state_key": bob,
		"content": object{"membership": "invite", "third_party_invite": object{
			"display_name": "Mallory", "signed": signedFor(bob, identity()),
		}},
	}
}

// A pair is serverA, which has the room, and serverB, whose bob is invited.
type pair struct {
	t    testing.TB
	room *room
	*fedserver.Exchanges
	network *network

	valid   bool     // what key_validity_url says
	invalid error    // why it says nothing
	asked   []string // URL and key
	stored  []*fedclient.Invited
	done    []error

	received []*fedinvite.Invite // by serverB
	refusal  error               // of serverB
}

func newPair(t testing.TB, version fedinvite.RoomVersion, change ...func(*fedserver.ExchangesConfig)) *pair {
	t.Helper()
	p := &pair{t: t, room: newRoom(t, version), valid: true}
	p.network = newNetwork(map[fedinvite.ServerName]http.Handler{serverB: p.receiver()})
	c := fedserver.ExchangesConfig{
		Endpoint: endpoint(t), Room: p.room, Inviter: p.inviter(ours(serverA, serverA2)), KeyValid: p.keyValid,
		HandleInvite: func(_ context.Context, inv *fedclient.Invited) error {
			p.stored = append(p.stored, inv)
			return nil
		},
	}
	c.Done = func(_ *http.Request, _ fedserver.Request, err error) { p.done = append(p.done, err) }
	for _, f := range change {
		f(&c)
	}
	var err error
	if p.Exchanges, err = fedserver.NewExchanges(c); err != nil {
		t.Fatal(err)
	}
	return p
}

func emptyExchanges(t testing.TB) http.Handler { return newPair(t, fedinvite.RoomV11).Exchanges }

func (p *pair) inviter(signer func(context.Context, fedinvite.ServerName) (fedinvite.Signer, error)) *fedclient.Inviter {
	p.t.Helper()
	inviter, err := fedclient.NewInviter(fedclient.InviterConfig{
		Client: p.network.client(p.t), Keys: allKeys(), Room: p.room, Now: clock, Signer: signer,
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return inviter
}

func (p *pair) keyValid(_ context.Context, url, key string) (bool, error) {
	p.asked = append(p.asked, url+" "+key)
	return p.valid, p.invalid
}

// receiver is that of serverB.
func (p *pair) receiver() http.Handler {
	p.t.Helper()
	keys := allKeys()
	rc, err := fedinvite.NewReceiver(fedinvite.Config{
		Signer: ours(serverB), Keys: keys, Credentials: xmatrix.Verifier{Keys: keys, Now: clock}.Credentials,
		Handler: fedinvite.HandlerFunc(func(_ context.Context, inv *fedinvite.Invite) error {
			if p.refusal == nil {
				p.received = append(p.received, inv)
			}
			return p.refusal
		}),
	})
	if err != nil {
		p.t.Fatal(err)
	}
	return rc
}

func (p *pair) letter(body object) letter {
	return letter{"PUT", target("v1", "exchange_third_party_invite", p.room.id), serverB, serverA, encode(body)}
}

// invitedTo demands that bob is invited, by an event that was stored once.
func (p *pair) invitedTo(signers ...fedinvite.ServerName) *fedinvite.Event {
	p.t.Helper()
	if len(p.stored) != 1 {
		p.t.Fatalf("stored %d invites", len(p.stored))
	}
	e := p.stored[0].Event
	if user, _ := e.StateKey(); user != bob || e.Membership() != "invite" || e.Sender() != alice || e.RoomID() != p.room.id {
		p.t.Errorf("stored %s", e.AppendJSON(nil))
	}
	if err := e.Verify(p.t.Context(), allKeys(), signers...); err != nil {
		p.t.Error(err)
	}
	return e
}

func TestExchange(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		t.Run(string(version), func(t *testing.T) {
			p := newPair(t, version)
			token := p.room.addToken()
			wantOK(t, answer(p, p.letter(exchangeOf(p.room)).request(t)), `{}`)
			e := p.invitedTo(serverA, serverB)
			if len(p.received) != 1 || p.received[0].Event.ID() != e.ID() {
				t.Errorf("serverB received %d", len(p.received))
			}
			var content object
			if err := json.Unmarshal(e.Content(), &content); err != nil {
				t.Fatal(err)
			}
			var signed any
			if err := json.Unmarshal(signedFor(bob, identity()), &signed); err != nil {
				t.Fatal(err)
			}
			// The display name is the room's, not the request's.
			want := object{"membership": "invite", "third_party_invite": object{"display_name": "b...@mail.ex", "signed": signed}}
			if diff := cmp.Diff(want, content); diff != "" {
				t.Errorf("content -want +got\n%s", diff)
			}
			if got := strings.Join(e.AuthEventIDs(), " "); !strings.Contains(got, token.ID()) {
				t.Errorf("auth_events %s without %s", got, token.ID())
			}
			if diff := cmp.Diff([]string{validityURL + " " + base64Of(identity().Public())}, p.asked); diff != "" {
				t.Errorf("asked -want +got\n%s", diff)
			}
		})
	}
}

func TestScenario66And68_GoodThirdPartyInvites(t *testing.T) {
	public := identity().Public()
	for name, change := range map[string]func(content object){
		"66 URL-safe key": func(c object) { c["public_key"] = base64.RawURLEncoding.EncodeToString(public) },
		"66 only public_keys": func(c object) {
			c["public_key"] = base64Of(invitetest.Signer("other.ex").Public())
			c["public_keys"] = []any{object{"public_key": base64Of(public)}}
		},
		"66 only public_key": func(object) {},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, fedinvite.RoomV11)
			p.room.addToken(change)
			wantOK(t, answer(p, p.letter(exchangeOf(p.room)).request(t)), `{}`)
			p.invitedTo(serverB)
		})
	}
	t.Run("68 an extra field that the signature covers", func(t *testing.T) {
		p := newPair(t, fedinvite.RoomV11)
		p.room.addToken()
		body := exchangeOf(p.room)
		body["content"].(object)["third_party_invite"].(object)["signed"] = signedFor(bob, identity(), invitetest.Set("more", "sender"))
		wantOK(t, answer(p, p.letter(body).request(t)), `{}`)
		if got := p.invitedTo(serverB).ContentJSON("third_party_invite", "signed", "sender"); got != `"more"` {
			t.Errorf("signed.sender is %s", got)
		}
	})
}

// says is a server that always gives this answer.
func says(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// policyServer makes serverC the policy server of the room, with this answer.
func policyServer(status int, body string) func(p *pair, _ object) {
	return func(p *pair, _ object) {
		p.room.PolicyServer(invitetest.Signer(serverC))
		p.room.Join(carol)
		p.network.servers["c.ex"] = says(status, body)
	}
}

func TestExchangeRefuses(t *testing.T) {
	signed := func(s json.RawMessage) func(p *pair, body object) {
		return func(_ *pair, body object) { body["content"].(object)["third_party_invite"].(object)["signed"] = s }
	}
	set := func(key string, value any) func(p *pair, body object) {
		return func(_ *pair, body object) { body[key] = value }
	}
	for _, c := range []struct {
		name   string
		change func(p *pair, body object)
		config func(*fedserver.ExchangesConfig)
		status int
		code   fedinvite.Code
	}{
		{"67 signed for another user", signed(signedFor("@ben:b.ex", identity())), nil, 403, "M_FORBIDDEN"},
		{"67 another sender than that of the token", set("sender", albert), nil, 403, "M_FORBIDDEN"},
		{"67 no such token", func(p *pair, _ object) { p.room.Remove("m.room.third_party_invite", "tok") }, nil, 403, "M_FORBIDDEN"},
		{"67 another key", signed(signedFor(bob, invitetest.Signer("other.ex"))), nil, 403, "M_FORBIDDEN"},
		{"67 banned", func(p *pair, _ object) { p.room.member(bob, alice, "ban") }, nil, 403, "M_FORBIDDEN"},
		{"67 empty content", func(p *pair, _ object) { p.room.SetAs(alice, "m.room.third_party_invite", "tok", object{}) }, nil, 403, "M_FORBIDDEN"},
		{"70 the room of the path is another", set("room_id", "!other:a.ex"), nil, 400, "M_BAD_JSON"},
		{"70 no state_key", func(_ *pair, body object) { delete(body, "state_key") }, nil, 400, "M_MISSING_PARAM"},
		{"70 key_validity_url says false", func(p *pair, _ object) { p.valid = false }, nil, 403, "M_FORBIDDEN"},
		{"key_validity_url cannot be asked", func(p *pair, _ object) { p.invalid = errors.New("secret") }, nil, 503, "M_UNKNOWN"},
		{"KeyValid refuses", func(p *pair, _ object) { p.invalid = fedinvite.Refuse(fedinvite.CodeLimitExceeded, "slowly") }, nil, 429, "M_LIMIT_EXCEEDED"},
		{"a type that is no m.room.member", set("type", "m.room.name"), nil, 400, "M_INVALID_PARAM"},
		{"a membership that is not invite", func(_ *pair, body object) { body["content"].(object)["membership"] = "join" }, nil, 400, "M_INVALID_PARAM"},
		{"a user of another server than the origin", set("state_key", carol), nil, 400, "M_INVALID_PARAM"},
		{"a sender who is not of the destination", set("sender", carol), nil, 400, "M_INVALID_PARAM"},
		{"signed that is no object", signed(json.RawMessage(`7`)), nil, 400, "M_BAD_JSON"},
		{"a room that is not ours", func(p *pair, _ object) { p.room.err = fedinvite.Refuse(fedinvite.CodeNotFound, "no") }, nil, 404, "M_NOT_FOUND"},
		{"a snapshot that cannot be", func(p *pair, _ object) { p.room.spoil = func(s *fedclient.Snapshot) { s.Extremities = nil } }, nil, 500, "M_UNKNOWN"},
		{"a server that the ACL denies", nil, func(c *fedserver.ExchangesConfig) { c.ServerAllowed = deny(serverB) }, 403, "M_FORBIDDEN"},
		{"serverB refuses its own invite", func(p *pair, _ object) { p.refusal = fedinvite.Refuse(fedinvite.CodeInviteBlocked, "secret") }, nil, 403, "M_FORBIDDEN"},
		{"serverB fails", func(p *pair, _ object) { p.refusal = errors.New("secret") }, nil, 502, "M_UNKNOWN"},
		{"serverB cannot be reached", func(p *pair, _ object) { delete(p.network.servers, "b.ex") }, nil, 502, "M_UNKNOWN"},
		{"the policy server refuses", policyServer(400, `{"errcode":"M_FORBIDDEN","error":"secret"}`), nil, 403, "M_FORBIDDEN"},
		{"the policy server is no such thing", policyServer(200, `{"secret":1}`), nil, 502, "M_UNKNOWN"},
		{"the policy server is overloaded", policyServer(429, `{"errcode":"M_LIMIT_EXCEEDED","error":"secret"}`), nil, 502, "M_UNKNOWN"},
		{"the policy server is down", func(p *pair, body object) {
			policyServer(0, "")(p, body)
			delete(p.network.servers, "c.ex")
		}, nil, 502, "M_UNKNOWN"},
		{"the invited server knows too little of the room version", func(p *pair, _ object) {
			p.network.servers["b.ex"] = says(404, `{"errcode":"M_UNRECOGNIZED"}`)
		}, nil, 403, "M_FORBIDDEN"},
		{"HandleInvite refuses", nil, func(c *fedserver.ExchangesConfig) {
			c.HandleInvite = func(context.Context, *fedclient.Invited) error {
				return fedinvite.Refuse(fedinvite.CodeForbidden, "no")
			}
		}, 403, "M_FORBIDDEN"},
		{"HandleInvite fails with a sentinel of ours", nil, func(c *fedserver.ExchangesConfig) {
			c.HandleInvite = func(context.Context, *fedclient.Invited) error { return fedinvite.ErrMismatch }
		}, 500, "M_UNKNOWN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var changes []func(*fedserver.ExchangesConfig)
			if c.config != nil {
				changes = append(changes, c.config)
			}
			p := newPair(t, fedinvite.RoomV11, changes...)
			p.room.addToken()
			body := exchangeOf(p.room)
			if c.change != nil {
				c.change(p, body)
			}
			w := answer(p, p.letter(body).request(t))
			wantRefusal(t, w, c.status, c.code)
			if strings.Contains(w.Body.String(), "secret") {
				t.Errorf("the peer is told %s", w.Body)
			}
			if len(p.stored) > 0 || len(p.done) != 1 || p.done[0] == nil {
				t.Errorf("stored %d, Done got %v", len(p.stored), p.done)
			}
			if strings.HasPrefix(c.name, "67") && len(p.asked) > 0 {
				t.Error("a key_validity_url was asked about an invite that the room forbids")
			}
		})
	}
	t.Run("a name twice", func(t *testing.T) {
		p := newPair(t, fedinvite.RoomV11, func(c *fedserver.ExchangesConfig) { c.Credentials = believes(serverB, serverA) })
		p.room.addToken()
		l := p.letter(exchangeOf(p.room))
		l.from, l.body = "", append([]byte(`{"sender":"`+alice+`",`), l.body[1:]...)
		wantRefusal(t, answer(p, l.request(t)), 400, fedinvite.CodeBadJSON)
	})
	t.Run("without HTTP, no signed at all is not an ordinary invite", func(t *testing.T) {
		p := newPair(t, fedinvite.RoomV11)
		p.room.addToken()
		for _, signed := range []string{``, `null`, `[]`, `{}`} {
			err := p.Exchange(t.Context(), serverB, serverA, p.room.id, thirdparty.Exchange{
				RoomID: p.room.id, Sender: alice, Invitee: bob, Signed: json.RawMessage(signed),
			})
			if err == nil || len(p.stored) > 0 {
				t.Errorf("%s: %v, stored %d", signed, err, len(p.stored))
			}
		}
	})
}

func TestADisplayNameThatIsNoneIsEmpty(t *testing.T) {
	p := newPair(t, fedinvite.RoomV11)
	p.room.addToken(func(c object) { c["display_name"] = 7 })
	wantOK(t, answer(p, p.letter(exchangeOf(p.room)).request(t)), `{}`)
	if got := p.invitedTo(serverB).ContentJSON("third_party_invite", "display_name"); got != `""` {
		t.Errorf("display_name %s", got)
	}
}

func TestWhichKeysAreAsked(t *testing.T) {
	key := base64Of(identity().Public())
	entry := func(url string) object { return object{"public_key": key, "key_validity_url": url} }
	for _, c := range []struct {
		name    string
		content func(c object)
		valid   map[string]bool
		fails   map[string]bool
		asked   int
		status  int
	}{
		{"a key without a URL is valid without end", func(c object) { c["public_keys"] = []any{object{"public_key": key}} }, nil, nil, 0, 200},
		{"one valid key suffices", func(c object) { c["public_keys"] = []any{entry("https://2.ex")} }, map[string]bool{"https://2.ex": true}, nil, 2, 200},
		{"also if the other cannot be asked", func(c object) { c["public_keys"] = []any{entry("https://2.ex")} }, map[string]bool{"https://2.ex": true}, map[string]bool{validityURL: true}, 2, 200},
		{"nobody is asked twice", func(c object) { c["public_keys"] = []any{entry(validityURL), entry(validityURL)} }, nil, nil, 1, 403},
		{"three are asked", func(c object) {
			c["public_keys"] = []any{entry("https://2.ex"), entry("https://3.ex"), entry("https://4.ex")}
		}, map[string]bool{"https://3.ex": true}, nil, 3, 200},
		{"a fourth is not asked", func(c object) {
			c["public_keys"] = []any{entry("https://2.ex"), entry("https://3.ex"), entry("https://4.ex")}
		}, map[string]bool{"https://4.ex": true}, nil, 3, 403},
		{"not the keys that did not sign", func(c object) {
			c["public_keys"] = []any{object{"public_key": base64Of(invitetest.Signer("other.ex").Public()), "key_validity_url": "https://2.ex"}}
		}, map[string]bool{"https://2.ex": true}, nil, 1, 403},
		{"invalid and not to be asked: try again", func(c object) { c["public_keys"] = []any{entry("https://2.ex")} }, nil, map[string]bool{"https://2.ex": true}, 2, 503},
	} {
		t.Run(c.name, func(t *testing.T) {
			asked := 0
			p := newPair(t, fedinvite.RoomV11, func(config *fedserver.ExchangesConfig) {
				config.KeyValid = func(_ context.Context, url, _ string) (bool, error) {
					asked++
					if c.fails[url] {
						return false, errors.New("down")
					}
					return c.valid[url], nil
				}
			})
			p.room.addToken(c.content)
			w := answer(p, p.letter(exchangeOf(p.room)).request(t))
			if w.Code != c.status || asked != c.asked {
				t.Errorf("got %d %s, asked %d; want %d, %d", w.Code, w.Body, asked, c.status, c.asked)
			}
		})
	}
}

// The other server has accepted the invite, so it must be stored though it hung up.
func TestAnInviteIsStoredThoughThePeerHungUp(t *testing.T) {
	ctx, hangUp := context.WithCancel(t.Context())
	stored := false
	p := newPair(t, fedinvite.RoomV11, func(c *fedserver.ExchangesConfig) {
		c.HandleInvite = func(ctx context.Context, _ *fedclient.Invited) error {
			hangUp()
			stored = ctx.Err() == nil
			return nil
		}
	})
	p.room.addToken()
	if answer(p, p.letter(exchangeOf(p.room)).request(t).WithContext(ctx)); !stored {
		t.Error("the context of HandleInvite ended")
	}
}

// bind is a notification of the identity server for serverB.
func (p *pair) bind() []byte {
	return encode(object{"medium": "email", "address": "bob@mail.ex", "mxid": bob, "invites": []any{object{
		"medium": "email", "address": "bob@mail.ex", "mxid": bob, "room_id": p.room.id, "sender": alice, "signed": signedFor(bob, identity()),
	}}})
}

func (p *pair) onbind(b fedserver.Binder) (status int, body string) {
	p.t.Helper()
	binds, err := fedserver.NewBinds(fedserver.BindsConfig{HandleInvite: b.Bind, Signer: b.Signer})
	if err != nil {
		p.t.Fatal(err)
	}
	w := answer(binds, letter{"POST", target("v1", "3pid", "onbind"), "", "", p.bind()}.request(p.t))
	return w.Code, w.Body.String()
}

// The whole way: identity server, serverB, serverA, serverB.
func TestABindBecomesAnInviteToARoomOfAnotherServer(t *testing.T) {
	for name, room := range map[string]fedclient.Room{"in no room": nil, "in other rooms": otherRoom(t)} {
		t.Run(name, func(t *testing.T) {
			p := newPair(t, fedinvite.RoomV12)
			p.room.addToken()
			p.network.servers["a.ex"] = p
			b := fedserver.Binder{Signer: ours(serverB), Client: p.network.client(t), Room: room}
			if room != nil {
				b.Inviter, b.KeyValid = p.inviter(b.Signer), p.keyValid
				b.Store = func(context.Context, *fedclient.Invited) error { return errors.New("not ours to store") }
			}
			if status, body := p.onbind(b); status != 200 {
				t.Errorf("got %d %s; asked %v", status, body, p.network.requests)
			}
			p.invitedTo(serverA, serverB)
			if len(p.received) != 1 {
				t.Errorf("received %d", len(p.received))
			}
		})
	}
}

func otherRoom(t testing.TB) *room { return newRoom(t, fedinvite.RoomV6) }

// If we are in the room, the invite's sender is on another server and we sign it.
func TestABindBecomesAnInviteToARoomThatWeAreIn(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		t.Run(string(version), func(t *testing.T) {
			p := newPair(t, version)
			p.room.addToken()
			b := p.binder()
			if status, body := p.onbind(b); status != 200 {
				t.Fatalf("got %d %s", status, body)
			}
			e := p.invitedTo(serverB)
			if !p.stored[0].Local || len(p.network.requests) > 0 || len(p.asked) != 1 {
				t.Errorf("local %v, asked %v and %v", p.stored[0].Local, p.network.requests, p.asked)
			}
			if got := e.ContentJSON("third_party_invite", "display_name"); got != `"b...@mail.ex"` {
				t.Errorf("display_name %s", got)
			}
		})
	}
}

// binder is that of serverB, which is in the room.
func (p *pair) binder() fedserver.Binder {
	return fedserver.Binder{
		Signer: ours(serverB), Client: p.network.client(p.t), Room: p.room, Inviter: p.inviter(ours(serverB)), KeyValid: p.keyValid,
		Store: func(_ context.Context, inv *fedclient.Invited) error {
			p.stored = append(p.stored, inv)
			return nil
		},
	}
}

func TestABindThatFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(p *pair, b *fedserver.Binder)
		status int
	}{
		{"the key is not valid any more", func(p *pair, _ *fedserver.Binder) { p.valid = false }, 403},
		{"the token is another's", func(p *pair, _ *fedserver.Binder) {
			p.room.SetAs(albert, "m.room.third_party_invite", "tok", p.room.Get("m.room.third_party_invite", "tok").Content())
		}, 403},
		{"our store fails", func(p *pair, _ *fedserver.Binder) { p.room.err = errors.New("secret") }, 500},
		{"Store fails", func(_ *pair, b *fedserver.Binder) {
			b.Store = func(context.Context, *fedclient.Invited) error { return errors.New("secret") }
		}, 500},
		{"the user is not ours", func(_ *pair, b *fedserver.Binder) { b.Signer = ours(serverC) }, 400},
		{"Room refuses for the moment", func(p *pair, _ *fedserver.Binder) {
			p.room.err = fedinvite.Refuse(fedinvite.CodeLimitExceeded, "slowly")
			p.network.servers["a.ex"] = says(200, `{}`) // not to be asked
		}, 429},
		{"Room refuses the request", func(p *pair, _ *fedserver.Binder) {
			p.room.err = &fedinvite.Error{Code: fedinvite.CodeInvalidParam, Status: 400}
			p.network.servers["a.ex"] = says(200, `{}`) // not to be asked
		}, 400},
		{"not our room, and the sender is a user of the same server", func(p *pair, b *fedserver.Binder) {
			p.room.err = fedinvite.Refuse(fedinvite.CodeForbidden, "no")
			b.Signer = ours(serverA, serverB)
			p.network.servers["a.ex"] = says(200, `{}`) // not to be asked
		}, 403},
		{"not our room, and Signer fails for the sender's server", func(p *pair, b *fedserver.Binder) {
			p.room.err = fedinvite.Refuse(fedinvite.CodeForbidden, "no")
			signer := b.Signer
			b.Signer = func(ctx context.Context, server fedinvite.ServerName) (fedinvite.Signer, error) {
				if server == serverA {
					return nil, errors.New("secret")
				}
				return signer(ctx, server)
			}
		}, 500},
		{"not our room, and the sender's server is down", func(p *pair, _ *fedserver.Binder) {
			p.room.err = fedinvite.Refuse(fedinvite.CodeNotFound, "no")
		}, 502},
		{"not our room, and the sender's server refuses", func(p *pair, _ *fedserver.Binder) {
			p.room.err = fedinvite.Refuse(fedinvite.CodeNotFound, "no")
			p.network.servers["a.ex"] = says(403, `{"errcode":"M_UNKNOWN_TOKEN","error":"secret"}`)
		}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, fedinvite.RoomV11)
			p.room.addToken()
			b := p.binder()
			c.change(p, &b)
			status, body := p.onbind(b)
			if status != c.status || strings.Contains(body, "secret") || len(p.stored) > 0 {
				t.Errorf("got %d %s, stored %d; want %d", status, body, len(p.stored), c.status)
			}
		})
	}
}

// What strangers send is not our failure, and not worth a request.
func TestABindThatCannotBe(t *testing.T) {
	good := func(p *pair) thirdparty.Invite {
		return thirdparty.Invite{UserID: bob, RoomID: p.room.id, Sender: alice, Signed: signedFor(bob, identity())}
	}
	for _, c := range []struct {
		name   string
		change func(inv *thirdparty.Invite)
		status int
		is     error
	}{
		{"a user of another server", func(inv *thirdparty.Invite) { inv.UserID, inv.Signed = carol, signedFor(carol, identity()) }, 400, fedinvite.ErrNotLocal},
		{"no user", func(inv *thirdparty.Invite) { inv.UserID = "bob" }, 400, fedinvite.ErrIdentifier},
		{"no sender", func(inv *thirdparty.Invite) { inv.Sender = "alice" }, 400, fedinvite.ErrIdentifier},
		{"no room", func(inv *thirdparty.Invite) { inv.RoomID = "#r:a.ex" }, 400, fedinvite.ErrIdentifier},
		{"signed for another user", func(inv *thirdparty.Invite) { inv.Signed = signedFor("@ben:b.ex", identity()) }, 400, fedinvite.ErrMismatch},
		{"signed that is no object", func(inv *thirdparty.Invite) { inv.Signed = json.RawMessage(`7`) }, 400, fedinvite.ErrBadJSON},
		{"signed that is no JSON", func(inv *thirdparty.Invite) { inv.Signed = nil }, 400, fedinvite.ErrNotJSON},
		{"the sender is a user of the same server", func(inv *thirdparty.Invite) { inv.Sender = "@ben:b.ex" }, 403, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPair(t, fedinvite.RoomV11)
			p.network.servers["a.ex"], p.network.servers["b.ex"] = says(200, `{}`), says(200, `{}`)
			b := p.binder()
			for _, room := range []fedclient.Room{nil, otherRoom(t)} {
				b.Room = room
				inv := good(p)
				c.change(&inv)
				err := b.Bind(t.Context(), inv)
				var told *fedinvite.Error
				if !errors.As(err, &told) || told.HTTPStatus() != c.status || c.is != nil && !errors.Is(err, c.is) {
					t.Errorf("got %v, want %d, %v", err, c.status, c.is)
				}
				p.quiet(c.name)
			}
		})
	}
	t.Run("no time is left", func(t *testing.T) {
		p := newPair(t, fedinvite.RoomV11)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.binder().Bind(ctx, good(p)); fedinvite.WireError(err).Status != 503 || !errors.Is(err, context.Canceled) {
			t.Errorf("got %v", err)
		}
		p.quiet("no time is left")
	})
}
