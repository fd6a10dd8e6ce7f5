package fedserver_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/seed-0a46cb1a/fedinvite"
	"github.com/seed-0a46cb1a/fedinvite/fedclient"
	"github.com/seed-0a46cb1a/fedinvite/fedserver"
	"github.com/seed-0a46cb1a/fedinvite/invitetest"
	"github.com/seed-0a46cb1a/fedinvite/xmatrix"
)

// An invited is serverB, which is in no room and holds invites.
type invited struct {
	*fedserver.Transactions
	t testing.TB

	mu      sync.Mutex
	invites map[string]*fedinvite.Event // by room and user
	asked   int
	removed []*fedinvite.Event
	done    []error
}

func newInvited(t testing.TB, invites []*fedinvite.Event, change ...func(*fedserver.TransactionsConfig)) *invited {
	t.Helper()
	s := &invited{t: t, invites: map[string]*fedinvite.Event{}}
	for _, e := range invites {
		user, _ := e.StateKey()
		s.invites[e.RoomID()+user] = e
	}
	c := fedserver.TransactionsConfig{
		Endpoint: endpoint(t),
		Invite: func(_ context.Context, _ fedinvite.ServerName, roomID, userID string) (*fedinvite.Event, error) {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.asked++
			return s.invites[roomID+userID], nil
		},
		HandleRescission: func(_ context.Context, e, invite *fedinvite.Event) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			user, _ := invite.StateKey()
			delete(s.invites, invite.RoomID()+user)
			s.removed = append(s.removed, e)
			return nil
		},
	}
	c.Signer = ours(serverB)
	c.Done = func(_ *http.Request, _ fedserver.Request, err error) { s.done = append(s.done, err) }
	for _, f := range change {
		f(&c)
	}
	var err error
	if s.Transactions, err = fedserver.NewTransactions(c); err != nil {
		t.Fatal(err)
	}
	return s
}

func emptyTransactions(t testing.TB) http.Handler { return newInvited(t, nil).Transactions }

func (s *invited) send(body any) (status int, answered string) {
	s.t.Helper()
	l := letter{"PUT", target("v1", "send", "txn/1"), serverA, serverB, encode(body)}
	w := answer(s, l.request(s.t))
	return w.Code, w.Body.String()
}

// rescission is the leave by which sender takes the invite of bob back, signed by serverA.
func (r *room) rescission(sender string) object {
	return r.Draft(sender, "m.room.member", bob, object{"membership": "leave"})
}

func TestScenario64_TheInviterTakesTheInviteBack(t *testing.T) {
	for _, version := range fedinvite.RoomVersions() {
		t.Run(string(version), func(t *testing.T) {
			r := newRoom(t, version)
			invite := r.invite(bob)
			s := newInvited(t, []*fedinvite.Event{invite})
			n := newNetwork(map[fedinvite.ServerName]http.Handler{serverB: s})
			e := r.Parse(r.signed(r.rescission(alice), serverA))
			failed, err := n.client(t).SendTransaction(t.Context(), fedclient.Transaction{
				ID: "1", Destination: serverB, Events: []*fedinvite.Event{e}, Time: now, Signer: invitetest.Signer(serverA),
			})
			if err != nil || len(failed) > 0 {
				t.Fatalf("got %v, %v", failed, err)
			}
			if len(s.removed) != 1 || s.removed[0].ID() != e.ID() || len(s.invites) > 0 {
				t.Errorf("removed %v, left %v", s.removed, s.invites)
			}
			// It comes twice.
			status, body := s.send(object{"origin": serverA, "pdus": []any{json.RawMessage(e.AppendJSON(nil))}})
			if status != 200 || len(s.removed) != 1 {
				t.Errorf("the second time: %d %s, removed %d", status, body, len(s.removed))
			}
		})
	}
}

func TestScenario65_AnyOtherLeaveIsIgnored(t *testing.T) {
	for name, event := range map[string]func(r *room) object{
		"by another admin": func(r *room) object { return r.rescission(albert) },
		"the invite is not in auth_events": func(r *room) object {
			o := r.rescission(alice)
			o["auth_events"] = o["auth_events"].([]any)[:2]
			return o
		},
		"of another user": func(r *room) object {
			o := r.rescission(alice)
			o["state_key"] = "@other:b.ex"
			return o
		},
		"of a user with another invite": func(r *room) object {
			o := r.rescission(alice)
			o["state_key"] = "@ben:b.ex"
			return o
		},
		"in another room": func(r *room) object {
			o := r.rescission(alice)
			o["room_id"] = "!other:a.ex"
			return o
		},
		"by the invited user": func(r *room) object { return r.leaveOf(bob) },
		"a ban":               func(r *room) object { return r.Draft(alice, "m.room.member", bob, object{"membership": "ban"}) },
		"no m.room.member":    func(r *room) object { return r.Draft(alice, "m.room.name", bob, object{"membership": "leave"}) },
	} {
		t.Run(name, func(t *testing.T) {
			for _, version := range []fedinvite.RoomVersion{fedinvite.RoomV1, fedinvite.RoomV11} {
				r := newRoom(t, version)
				other := r.invite("@ben:b.ex")
				s := newInvited(t, []*fedinvite.Event{r.invite(bob), other})
				raw := r.signed(event(r), serverA, serverB)
				status, body := s.send(object{"origin": serverA, "pdus": []any{raw}})
				if status != 200 || strings.Contains(body, "error") || len(s.removed) > 0 {
					t.Errorf("got %d %s, removed %v", status, body, s.removed)
				}
				if handled, err := s.TakeBack(t.Context(), raw); handled || err != nil {
					t.Errorf("TakeBack: %v, %v", handled, err)
				}
			}
		})
	}
}

func TestTransactionResults(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	old := newRoom(t, fedinvite.RoomV1)
	invite := r.invite(bob)
	good := r.signed(r.rescission(alice), serverA)
	forged := r.signed(r.rescission(alice), serverC)
	id := r.Parse(good).ID()
	message := r.signed(object{"type": "m.room.message"}, serverA) // of a room that we do not know
	v1 := old.signed(old.leaveOf(bob), serverB)
	v1ID := old.Parse(v1).ID()
	for _, c := range []struct {
		name    string
		pdus    []any
		want    object
		removed int
	}{
		{"none", []any{}, object{}, 0},
		{"good", []any{good}, object{id: object{}}, 1},
		{"not signed by the sender's server", []any{forged}, object{id: object{"error": `signature check failed: signature of "a.ex"`}}, 0},
		{"the forged one does not stop the good one", []any{forged, good}, object{id: object{}}, 1},
		{"IDs that cannot be known are left out", []any{message, good}, object{id: object{}}, 1},
		{"room version 1 tells its IDs", []any{v1}, object{v1ID: object{}}, 0},
		{"no objects", []any{nil, 7, "x", []any{}, object{}}, object{}, 0},
		{"members of the wrong types", []any{object{"type": 1, "room_id": 2, "state_key": object{}, "content": "x", "event_id": 5}}, object{}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newInvited(t, []*fedinvite.Event{invite})
			status, body := s.send(object{"origin": serverA, "origin_server_ts": 1, "pdus": c.pdus, "edus": []any{object{"edu_type": "m.typing", "content": object{}}}})
			if want := string(encode(object{"pdus": c.want})); status != 200 || body != want {
				t.Errorf("got %d %s, want %s", status, body, want)
			}
			if len(s.removed) != c.removed {
				t.Errorf("removed %d, want %d", len(s.removed), c.removed)
			}
		})
	}
}

func TestARescissionIsKeptAsItIsVouchedFor(t *testing.T) {
	for name, change := range map[string]func(o object){
		"unsigned": func(o object) { o["unsigned"] = object{"age": 1} },
		"content":  func(o object) { o["content"].(object)["reason"] = "added under way" },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRoom(t, fedinvite.RoomV11)
			s := newInvited(t, []*fedinvite.Event{r.invite(bob)})
			handled, err := s.TakeBack(t.Context(), edited(r.signed(r.rescission(alice), serverA), change))
			if err != nil || !handled || len(s.removed) != 1 {
				t.Fatalf("got %v, %v", handled, err)
			}
			if e := s.removed[0]; string(e.Content()) != `{"membership":"leave"}` || e.Unsigned() != nil {
				t.Errorf("handled %s", e.AppendJSON(nil))
			}
		})
	}
}

func TestARescissionMayComeFromAnotherServer(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	s := newInvited(t, []*fedinvite.Event{r.invite(bob)})
	raw := r.signed(r.rescission(alice), serverA)
	l := letter{"PUT", target("v1", "send", "1"), serverC, serverB, encode(object{"origin": serverC, "pdus": []any{raw}})}
	wantOK(t, answer(s, l.request(t)), "")
	if len(s.removed) != 1 {
		t.Error("not removed")
	}
}

func TestTransactionsRefuse(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	invite := r.invite(bob)
	good := r.signed(r.rescission(alice), serverA)
	many := func(n int) []any {
		all := make([]any, n)
		for i := range all {
			all[i] = object{"type": "m.x"}
		}
		return all
	}
	for _, c := range []struct {
		name   string
		body   string
		status int
		code   fedinvite.Code
	}{
		{"50 PDUs, 100 EDUs", string(encode(object{"pdus": many(50), "edus": many(100)})), 200, ""},
		{"51 PDUs", string(encode(object{"pdus": many(51)})), 400, "M_BAD_JSON"},
		{"101 EDUs", string(encode(object{"pdus": []any{}, "edus": many(101)})), 400, "M_BAD_JSON"},
		{"no origin", string(encode(object{"pdus": []any{good}})), 200, ""},
		{"another origin", string(encode(object{"origin": serverC, "pdus": []any{good}})), 400, "M_INVALID_PARAM"},
		{"an origin that is no string", string(encode(object{"origin": 1, "pdus": []any{good}})), 400, "M_INVALID_PARAM"},
		{"PDUs that are no array", `{"pdus":{}}`, 400, "M_BAD_JSON"},
		{"EDUs that are no array", `{"pdus":[],"edus":7}`, 400, "M_BAD_JSON"},
		{"no members at all", `{}`, 200, ""},
		{"PDUs twice", `{"pdus":[],"pd\u0075s":[]}`, 400, "M_BAD_JSON"},
		{"a name twice in a PDU", `{"pdus":[{"type":"a","type":"b"}]}`, 400, "M_BAD_JSON"},
		{"an array", `[]`, 400, "M_BAD_JSON"},
		{"nothing", ``, 400, "M_NOT_JSON"},
		{"no JSON", `{"pdus":[`, 400, "M_NOT_JSON"},
		{"1 MiB and a byte", string(filler(1<<20 + 1)), 200, ""}, // 50 PDUs may have more
		{"more than 50 PDUs and 100 EDUs have", string(filler(150<<16 + 1)), 413, "M_TOO_LARGE"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newInvited(t, []*fedinvite.Event{invite}, func(config *fedserver.TransactionsConfig) {
				config.Credentials = believes(serverA, serverB)
			})
			w := answer(s, letter{"PUT", target("v1", "send", "1"), "", serverB, []byte(c.body)}.request(t))
			if c.status == 200 {
				wantOK(t, w, "")
				return
			}
			wantRefusal(t, w, c.status, c.code)
			if len(s.removed)+s.asked > 0 {
				t.Error("a PDU was looked at")
			}
		})
	}
	t.Run("unauthenticated", func(t *testing.T) {
		s := newInvited(t, []*fedinvite.Event{invite})
		l := letter{"PUT", target("v1", "send", "1"), "", serverB, encode(object{"pdus": []any{good}})}
		wantRefusal(t, answer(s, l.request(t)), 401, fedinvite.CodeUnauthorized)
		if s.asked > 0 {
			t.Error("a PDU was looked at")
		}
	})
}

// believes is a Credentials hook that believes every request to be from origin.
func believes(origin, destination fedinvite.ServerName) func(*http.Request) (fedinvite.Credentials, error) {
	return func(*http.Request) (fedinvite.Credentials, error) {
		return fedinvite.Credentials{Origin: origin, Destination: destination, Verify: func(context.Context, []byte) error { return nil }}, nil
	}
}

// A PDU that fails for a reason that may pass must come again, so the transaction fails.
func TestATransactionFailsAsAWholeForWhatMayPass(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*fedserver.TransactionsConfig)
		status int
	}{
		{"keys", func(c *fedserver.TransactionsConfig) { c.Keys = brokenKeys{} }, 503},
		{"Invite", func(c *fedserver.TransactionsConfig) {
			c.Invite = func(context.Context, fedinvite.ServerName, string, string) (*fedinvite.Event, error) {
				return nil, errors.New("secret")
			}
		}, 500},
		{"HandleRescission", func(c *fedserver.TransactionsConfig) {
			c.HandleRescission = func(context.Context, *fedinvite.Event, *fedinvite.Event) error { return fedinvite.ErrSignature }
		}, 500},
		{"HandleRescission, busy", func(c *fedserver.TransactionsConfig) {
			c.HandleRescission = func(context.Context, *fedinvite.Event, *fedinvite.Event) error {
				return fedinvite.Refuse(fedinvite.CodeLimitExceeded, "slowly")
			}
		}, 429},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRoom(t, fedinvite.RoomV11)
			s := newInvited(t, []*fedinvite.Event{r.invite(bob)}, func(config *fedserver.TransactionsConfig) {
				config.Credentials = xmatrix.Verifier{Keys: allKeys(), Now: clock}.Credentials
				c.change(config)
			})
			status, body := s.send(object{"pdus": []any{r.signed(r.rescission(alice), serverA)}})
			if status != c.status || strings.Contains(body, "secret") {
				t.Errorf("got %d %s, want %d", status, body, c.status)
			}
		})
	}
	t.Run("a refusal is final", func(t *testing.T) {
		r := newRoom(t, fedinvite.RoomV11)
		s := newInvited(t, []*fedinvite.Event{r.invite(bob)}, func(c *fedserver.TransactionsConfig) {
			c.HandleRescission = func(context.Context, *fedinvite.Event, *fedinvite.Event) error {
				return fedinvite.Refuse(fedinvite.CodeForbidden, "kept")
			}
		})
		status, body := s.send(object{"pdus": []any{r.signed(r.rescission(alice), serverA)}})
		if status != 200 || !strings.Contains(body, `{"error":"kept"}`) {
			t.Errorf("got %d %s", status, body)
		}
	})
}

// Only what an invite is held for costs cryptography.
func TestPDUsWithoutAnInviteCostNoKeys(t *testing.T) {
	r := newRoom(t, fedinvite.RoomV11)
	r.invite(bob)
	s := newInvited(t, nil, func(c *fedserver.TransactionsConfig) {
		c.Credentials, c.Keys = believes(serverA, serverB), brokenKeys{}
	})
	if status, body := s.send(object{"pdus": []any{r.signed(r.rescission(alice), serverA)}}); status != 200 || s.asked != 1 {
		t.Errorf("got %d %s, asked %d", status, body, s.asked)
	}
}
