package fedserver_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
)

// ways are those by which p turns its third-party invite into an invite.
var ways = map[string]func(p *pair) (status int, body string){
	"exchange": func(p *pair) (int, string) {
		w := answer(p, p.letter(exchangeOf(p.room)).request(p.t))
		return w.Code, w.Body.String()
	},
	"onbind": func(p *pair) (int, string) { return p.onbind(p.binder()) },
}

// quiet demands that nothing was made and nobody was asked since the last time.
func (p *pair) quiet(way string) {
	p.t.Helper()
	if len(p.stored)+len(p.asked)+len(p.received)+len(p.network.requests) > 0 {
		p.t.Errorf("%s: stored %d, asked %v, sent %v", way, len(p.stored), p.asked, p.network.requests)
	}
	p.forget()
}

func (p *pair) forget() { p.stored, p.asked, p.received, p.network.requests = nil, nil, nil, nil }

// Everybody in the room can read signed in the first invite, and send it to us again.
func TestAUsedThirdPartyInvite(t *testing.T) {
	for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV10, fedinvite.RoomV12} {
		for first, askFirst := range ways {
			t.Run(fmt.Sprint(version, " ", first), func(t *testing.T) {
				p := newPair(t, version)
				p.room.addToken()
				if status, body := askFirst(p); status != 200 {
					t.Fatalf("got %d %s", status, body)
				}
				invite := p.stored[0].Event
				p.forget()

				p.room.Add(invite)
				for way, again := range ways {
					if status, body := again(p); status != 200 || body != `{}` {
						t.Errorf("%s, invited: got %d %s", way, status, body)
					}
					p.quiet(way + ", invited")
				}
				p.room.member(bob, bob, "join")
				for way, want := range map[string]int{"exchange": 403, "onbind": 200} {
					if status, body := ways[way](p); status != want {
						t.Errorf("%s, joined: got %d %s", way, status, body)
					}
					p.quiet(way + ", joined")
				}
				// The state does not tell; see Exchanges for what a store may do.
				p.room.member(bob, bob, "leave")
				for way, again := range ways {
					if status, body := again(p); status != 200 || len(p.stored) != 1 {
						t.Errorf("%s, left: got %d %s, stored %d", way, status, body, len(p.stored))
					}
					p.forget()
				}
				p.room.spoil = func(s *fedclient.Snapshot) {
					for i, e := range s.State {
						if e.Type() == "m.room.third_party_invite" {
							s.State[i] = nil
						}
					}
				}
				for way, again := range ways {
					if status, body := again(p); status != 403 {
						t.Errorf("%s, left, the token is remembered: got %d %s", way, status, body)
					}
					p.quiet(way + ", the token is remembered")
				}
			})
		}
	}
}

func TestAUserWithAnotherInviteIsInvited(t *testing.T) {
	signed := signedFor(bob, identity())
	for name, content := range map[string]object{
		"an ordinary one":    {"membership": "invite"},
		"by another token":   {"membership": "invite", "third_party_invite": object{"signed": object{"token": "other", "mxid": bob}}},
		"by no token at all": {"membership": "invite", "third_party_invite": object{"signed": object{"token": object{}, "mxid": bob}}},
		"a token elsewhere":  {"membership": "invite", "third_party_invite": object{"token": "tok"}, "signed": signed},
		"a knock of theirs":  {"membership": "knock"},
	} {
		for way, ask := range ways {
			p := newPair(t, fedinvite.RoomV11)
			p.room.addToken()
			p.room.SetAs(alice, "m.room.member", bob, content)
			if status, body := ask(p); status != 200 || len(p.stored) != 1 {
				t.Errorf("%s, %s: got %d %s, stored %d", name, way, status, body, len(p.stored))
			}
		}
	}
}

// A demand of ours: the rules for third-party invites do not look at the sender.
func TestTheSenderOfAThirdPartyInviteMustBeInTheRoom(t *testing.T) {
	for name, change := range map[string]func(r *room){
		"left":       func(r *room) { r.member(alice, alice, "leave") },
		"kicked":     func(r *room) { r.member(alice, albert, "leave") },
		"banned":     func(r *room) { r.member(alice, albert, "ban") },
		"invited":    func(r *room) { r.member(alice, albert, "invite") },
		"gone":       func(r *room) { r.spoil = without(alice) },
		"and joined": func(*room) {},
	} {
		for way, ask := range ways {
			p := newPair(t, fedinvite.RoomV11)
			p.room.addToken()
			change(p.room)
			status, body := ask(p)
			if name == "and joined" {
				if status != 200 || len(p.stored) != 1 {
					t.Errorf("%s, %s: got %d %s", name, way, status, body)
				}
				continue
			}
			if status != 403 {
				t.Errorf("%s, %s: got %d %s", name, way, status, body)
			}
			p.quiet(name + ", " + way)
		}
	}
}

// without takes a user's membership out of a snapshot.
func without(userID string) func(*fedclient.Snapshot) {
	return func(s *fedclient.Snapshot) {
		for i, e := range s.State {
			if key, _ := e.StateKey(); e.Type() == "m.room.member" && key == userID {
				s.State[i] = nil
			}
		}
	}
}

func TestANotificationOfOneInviteManyTimesMakesOne(t *testing.T) {
	p := newPair(t, fedinvite.RoomV11)
	p.room.addToken()
	var o object
	if err := json.Unmarshal(p.bind(), &o); err != nil {
		t.Fatal(err)
	}
	one := o["invites"].([]any)[0]
	for range 49 {
		o["invites"] = append(o["invites"].([]any), one)
	}
	binds, _ := newBinds(t, func(c *fedserver.BindsConfig) { c.HandleInvite = p.binder().Bind })
	wantOK(t, answer(binds, onbind(t, http.MethodPost, o)), `{}`)
	if p.invitedTo(serverB); len(p.asked) != 1 {
		t.Errorf("asked %v", p.asked)
	}
}
